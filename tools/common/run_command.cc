#include "tools/common/run_command.h"

#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "runtime/cpu_features.h"
#include "tools/common/command_line.h"
#include "tools/common/exit_code.h"
#include "tools/common/memory.h"
#include "tools/common/outputs.h"
#include "tools/common/profile.h"
#include "tools/common/signature_io.h"

namespace weft::cli {

void AddRunOptions(CLI::App* app, RunFlags& flags) {
  app->add_option("--signature", flags.signature,
                  "What to run; predict, or the only one, if not given")
      ->type_name("NAME");
  AddRepeatable(app, "--feed", flags.feeds,
                "An input: NAME=FILE.npy, NAME=NUMBER for a scalar, or FILE.npz for all in it; "
                "repeatable")
      ->type_name("INPUT");
  app->add_option("--out", flags.out, "Write results to a .npy or .npz file, not to the screen")
      ->type_name("FILE");
  app->add_option("--checkpoint", flags.checkpoint, "Values of variables: a .safetensors file")
      ->type_name("FILE");
  app->add_flag("--init", flags.init, "Run init first, which gives variables their first values");
  app->add_option("--save-checkpoint", flags.save_checkpoint,
                  "Write the variables afterwards; may be the file of --checkpoint")
      ->type_name("FILE");
  app->add_option("--threads", flags.threads, "0: one per core")
      ->type_name("N")
      ->check(WholeNumber(0, kMaxThreads));
  app->add_option("--timeout", flags.timeout, "Give up after so many seconds")
      ->type_name("SECONDS")
      ->check(PositiveNumber());
  app->add_option("--limit", flags.limit, "Elements of a tensor on the screen at most")
      ->type_name("N")
      ->check(WholeNumber(0))
      ->default_str("32");
  app->add_flag("--profile", flags.profile, "Time of each step, to standard error");
  app->add_flag("--memory", flags.memory, "Memory certified and taken, to standard error");
  app->add_flag("--json", flags.json, "Results as JSON, with all elements");
}

absl::Status CheckRunFlags(const RunFlags& flags) {
  std::vector<std::string> inputs = FilesOf(flags.feeds);
  inputs.push_back(flags.model);
  // Written when everything is read, and as a whole: a step of training may go on from its own
  // file.
  absl::Status status = CheckOutput("--save-checkpoint", flags.save_checkpoint, inputs);
  inputs.push_back(flags.checkpoint);
  inputs.push_back(flags.save_checkpoint);
  if (status.ok()) status = CheckOut(flags.out, inputs);
  if (status.ok() && flags.init && !flags.checkpoint.empty()) {
    status = UsageError("--init and --checkpoint both give variables their values; choose one");
  }
  return status;
}

RunOptions OptionsOf(const RunFlags& flags) {
  RunOptions options;
  if (flags.timeout > 0) options.deadline = absl::Now() + absl::Seconds(flags.timeout);
  return options;
}

absl::Status RunWith(Session& session, const RunFlags& flags, const RunCall& call) {
  const RunOptions options = OptionsOf(flags);
  if (flags.init) {
    absl::StatusOr<Session::SignatureInfo> init = FindSignature(session, "init");
    if (!init.ok()) return init.status();
    auto done = session.Run("init", {}, options);
    if (!done.ok()) return done.status();
  }
  session.EnableProfiling(flags.profile);
  absl::StatusOr<NamedTensors> results = call(options);
  if (!results.ok()) return WithHint(results.status(), "--checkpoint FILE, or --init");
  if (flags.profile) PrintProfile(session.Profile());
  absl::Status status = WriteResults(*results, flags.out, flags.json, flags.limit);
  if (status.ok() && !flags.save_checkpoint.empty()) {
    status = session.SaveCheckpoint(flags.save_checkpoint);
  }
  return status;
}

absl::Status OfFeeds(const absl::Status& status) {
  return absl::IsInvalidArgument(status) ? AsBadInput(status) : status;
}

absl::StatusOr<NamedTensors> CallSignature(Session& session, const RunFlags& flags,
                                           const Session::SignatureInfo& signature,
                                           const RunOptions& options) {
  absl::Status status = CheckFetches(signature, flags.fetches, flags.out);
  if (!status.ok()) return status;
  absl::StatusOr<NamedTensors> feeds = ReadFeeds(flags.feeds, signature.inputs);
  if (!feeds.ok()) return feeds.status();
  const int64_t before = AnonymousBytes();
  absl::StatusOr<NamedTensors> results = session.Run(signature.name, *feeds, options);
  if (!results.ok()) return OfFeeds(results.status());
  if (flags.memory) {
    // The session keeps the arena of a call for the next one, so it is still there.
    const int64_t taken = AnonymousBytes() - before;
    std::vector<std::vector<int64_t>> shapes;
    for (const auto& input : signature.inputs) shapes.push_back(feeds->at(input.name).shape());
    absl::StatusOr<std::unique_ptr<Call>> call = session.Prepare(signature.name, shapes);
    if (!call.ok()) return call.status();
    size_t outputs = 0;
    for (const auto& [name, tensor] : *results) outputs += tensor.size_bytes();
    // Each thread of a processor has scratch of its own.
    const int threads = flags.threads > 0 ? flags.threads : NumCores();
    const std::string with =
        flags.device == "cpu" ? absl::StrCat(" with ", threads, " thread", threads == 1 ? "" : "s")
                              : "";
    std::fprintf(stderr,
                 "memory: certificate %s of arena and scratch%s; measured %s taken by the run, of "
                 "which outputs %s; process %s at its highest\n",
                 ByteText(static_cast<double>((*call)->peak_bytes())).c_str(), with.c_str(),
                 ByteText(static_cast<double>(taken)).c_str(),
                 ByteText(static_cast<double>(outputs)).c_str(),
                 ByteText(static_cast<double>(PeakResidentBytes())).c_str());
  }
  KeepFetches(flags.fetches, &*results);
  return results;
}

}  // namespace weft::cli
