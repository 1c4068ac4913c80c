// weft-run: runs a package, with no compiler behind it. The same as `weft run` for packages.
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "proto/printable.h"
#include "runtime/api.h"
#include "runtime/hardware_devices.h"
#include "runtime/named_devices.h"
#include "tools/common/command_line.h"
#include "tools/common/exit_code.h"
#include "tools/common/golden.h"
#include "tools/common/run_command.h"
#include "tools/common/signature_io.h"

namespace weft::cli {
namespace {

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
    const std::string line =
        absl::StrCat(signature.name, "(", text(signature.inputs), ") -> ",
                     signature.outputs.empty() ? "nothing" : text(signature.outputs));
    std::printf("%s\n", Printable(line).c_str());
  }
}

// Whether this machine computes what the package says it should.
absl::Status Verify(Session& session, const RunFlags& flags, const Golden& golden) {
  std::string text;
  absl::Status agrees =
      CheckGolden(session, golden, std::nullopt, flags.json, flags.model, &text, OptionsOf(flags));
  std::fputs(text.c_str(), stdout);
  return agrees;
}

absl::Status Run(const RunFlags& flags, bool list, bool verify) {
  absl::Status status = CheckRunFlags(flags);
  if (!status.ok()) return status;
  std::optional<Golden> golden;
  if (verify) {
    absl::StatusOr<Golden> carried = ReadGolden(flags.model);
    if (!carried.ok()) return carried.status();
    golden = *std::move(carried);
  }
  SessionOptions options;
  options.threads = flags.threads;
  status = SetDevices(flags.device, {}, MakeHardwareDevice, &options);
  if (!status.ok()) return OfDevice(status);
  absl::StatusOr<std::unique_ptr<Session>> session = Session::Load(flags.model, options);
  if (!session.ok()) return OfFile(session.status());
  if (golden) status = ForDevices(flags.model, options, &*golden);
  if (!status.ok()) return status;
  if (!flags.checkpoint.empty()) {
    auto restored = (*session)->RestoreCheckpoint(flags.checkpoint);
    if (!restored.ok()) return OfFile(restored.status());
  }
  if (golden) return Verify(**session, flags, *golden);
  if (list) {
    List(**session);
    return absl::OkStatus();
  }
  absl::StatusOr<Session::SignatureInfo> signature = FindSignature(**session, flags.signature);
  if (!signature.ok()) return signature.status();
  return RunWith(**session, flags, [&](const RunOptions& run) {
    return CallSignature(**session, flags, *signature, run);
  });
}

int Main(int argc, char** argv) {
  CLI::App program("Runs a package once.", "weft-run");
  RunFlags flags;
  bool list = false, verify = false;
  program.formatter(HelpFormatter());
  program.set_version_flag("--version", "weft-run 0.1", "Print the version");
  program.set_help_flag("-h,--help", "Print this help");
  program.add_option("PACKAGE", flags.model, "A .weftpkg file")->required()->type_name("PACKAGE");
  AddRepeatable(&program, "--fetch", flags.fetches, "Output to keep; all if not given; repeatable")
      ->type_name("NAME");
  AddRunOptions(&program, flags);
  program
      .add_option("--device", flags.device, "cpu (if not given), or cuda:0 and the like for a GPU")
      ->type_name("NAME");
  CLI::Option* shows =
      program.add_flag("--list", list, "Show the package's signatures and run nothing");
  CLI::Option* verifies = program.add_flag(
      "--verify", verify, "Check the package by the golden values in it (weft compile --golden)");
  // What says how to run means nothing to them.
  for (const char* option : {"--feed", "--fetch", "--signature", "--out", "--init", "--profile",
                             "--memory", "--limit", "--save-checkpoint"}) {
    shows->excludes(option);
    verifies->excludes(option);
  }
  for (const char* option : {"--checkpoint", "--json", "--timeout", "--verify"}) {
    shows->excludes(option);
  }
  program.footer(
      "Examples: weft-run digits.weftpkg --feed x=images.npy --fetch class --out classes.npy\n"
      "          weft-run train.weftpkg --signature init --save-checkpoint w.safetensors\n"
      "          weft-run train.weftpkg --signature train_step --checkpoint w.safetensors \\\n"
      "              --feed x=images.npy --feed y=labels.npy --save-checkpoint w.safetensors\n"
      "Exit codes: 0 done, 1 failed while running, 2 wrong usage, 3 invalid input file.");
  if (const std::optional<int> code = ParseCommandLine(program, argc, argv)) return *code;
  return Finish([&] { return Run(flags, list, verify); }, "weft-run");
}

}  // namespace
}  // namespace weft::cli

int main(int argc, char** argv) { return weft::cli::Main(argc, argv); }
