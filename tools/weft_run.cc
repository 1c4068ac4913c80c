// weft-run: runs a package, with no compiler behind it. The same as `weft run` for packages.
#include <google/protobuf/stubs/logging.h>

#include <CLI/CLI.hpp>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "runtime/api.h"
#include "tools/common/exit_code.h"
#include "tools/common/profile.h"
#include "tools/common/signature_io.h"

namespace weft::cli {
namespace {

struct Flags {
  std::string package, signature, out, checkpoint, save_checkpoint;
  std::vector<std::string> feeds, fetches;
  int threads = 0;
  double timeout = 0;
  int64_t limit = 32;
  bool init = false, profile = false, json = false, list = false;
};

absl::StatusOr<std::unique_ptr<Session>> Open(const Flags& flags) {
  SessionOptions options;
  options.threads = flags.threads;
  absl::StatusOr<std::unique_ptr<Session>> session = Session::Load(flags.package, options);
  if (!session.ok()) return AsBadInput(session.status());
  if (!flags.checkpoint.empty()) {
    auto restored = (*session)->RestoreCheckpoint(flags.checkpoint);
    if (!restored.ok()) return AsBadInput(restored.status());
  }
  return session;
}

// "predict(x f32[batch, 64]) -> class i64[batch]".
void List(const Session& session) {
  const auto text = [](const std::vector<Session::ValueInfo>& values) {
    std::string list;
    for (const Session::ValueInfo& value : values) {
      absl::StrAppend(&list, list.empty() ? "" : ", ", value.name, " ", TypeText(value));
    }
    return list;
  };
  for (const Session::SignatureInfo& signature : session.Signatures()) {
    std::printf("%s(%s) -> %s\n", signature.name.c_str(), text(signature.inputs).c_str(),
                signature.outputs.empty() ? "nothing" : text(signature.outputs).c_str());
  }
}

absl::Status Run(const Flags& flags) {
  absl::Status status =
      CheckNoInput("--save-checkpoint", flags.save_checkpoint, flags.package, flags.feeds);
  if (status.ok()) status = CheckOut(flags.out, flags.package, flags.feeds);
  if (!status.ok()) return status;
  absl::StatusOr<std::unique_ptr<Session>> session = Open(flags);
  if (!session.ok()) return session.status();
  if (flags.list) {
    List(**session);
    return absl::OkStatus();
  }
  absl::StatusOr<Session::SignatureInfo> signature = FindSignature(**session, flags.signature);
  if (!signature.ok()) return signature.status();
  if (status = CheckFetches(*signature, flags.fetches); !status.ok()) return status;
  absl::StatusOr<NamedTensors> feeds = ReadFeeds(flags.feeds, signature->inputs);
  if (!feeds.ok()) return feeds.status();
  RunOptions options;
  if (flags.timeout > 0) options.deadline = absl::Now() + absl::Seconds(flags.timeout);
  if (flags.init) {
    auto done = (*session)->Run("init", {}, options);
    if (!done.ok()) return done.status();
  }
  (*session)->EnableProfiling(flags.profile);
  absl::StatusOr<NamedTensors> results = (*session)->Run(signature->name, *feeds, options);
  if (!results.ok()) return results.status();
  if (flags.profile) PrintProfile((*session)->Profile());
  KeepFetches(flags.fetches, &*results);
  status = WriteResults(*results, flags.out, flags.json, flags.limit);
  if (status.ok() && !flags.save_checkpoint.empty()) {
    status = (*session)->SaveCheckpoint(flags.save_checkpoint);
  }
  return status;
}

int Main(int argc, char** argv) {
  // A damaged manifest is reported once, as an error of ours.
  google::protobuf::SetLogHandler(nullptr);
  CLI::App program("Runs a package once.", "weft-run");
  Flags flags;
  program.set_version_flag("--version", "weft-run 0.1");
  program.add_option("package", flags.package, "A .weftpkg file")->required()->type_name("PACKAGE");
  program.add_option("--signature", flags.signature, "Default: predict, or the only one");
  program.add_option("--feed", flags.feeds,
                     "NAME=FILE.npy, NAME=NUMBER for a scalar, or FILE.npz for all in it; "
                     "repeatable");
  program.add_option("--fetch", flags.fetches, "Output to keep; all if not given");
  program.add_option("--out", flags.out, "Write results to a .npy or .npz file");
  program.add_option("--checkpoint", flags.checkpoint, "Values of variables, a .safetensors file");
  program.add_flag("--init", flags.init, "Run `init` first");
  program.add_option("--save-checkpoint", flags.save_checkpoint, "Write the variables afterwards");
  program.add_option("--threads", flags.threads, "0: one per core")
      ->check(CLI::Range(0, kMaxThreads));
  program.add_option("--timeout", flags.timeout, "Give up after so many seconds");
  program.add_option("--limit", flags.limit, "Elements of a tensor that are printed at most");
  program.add_flag("--list", flags.list, "Show the package's signatures and run nothing");
  program.add_flag("--profile", flags.profile, "Time of each step to standard error");
  program.add_flag("--json", flags.json, "Results as JSON");
  program.footer(
      "Example: weft-run digits.weftpkg --feed x=images.npy --fetch class --out classes.npy\n"
      "Exit codes: 0 done, 1 failed while running, 2 wrong usage, 3 invalid input file.");
  try {
    program.parse(argc, argv);
  } catch (const CLI::Success& help) {
    program.exit(help);
    return kOk;
  } catch (const CLI::ParseError& error) {
    PrintError(UsageError(absl::StrCat(error.what(), "\n(weft-run --help lists all options)")),
               "weft-run");
    return kUsage;
  }
  return Finish([&] { return Run(flags); }, "weft-run");
}

}  // namespace
}  // namespace weft::cli

int main(int argc, char** argv) { return weft::cli::Main(argc, argv); }
