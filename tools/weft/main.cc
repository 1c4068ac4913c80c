// The `weft` command.
#include <vector>

#include "tools/common/command_line.h"
#include "tools/progress/progress.h"
#include "tools/weft/command.h"

namespace weft::cli {
namespace {

int Main(int argc, char** argv) {
  CLI::App program("Compiles, trains and runs static dataflow graphs.", "weft");
  program.formatter(HelpFormatter());
  program.set_version_flag("--version", "weft 0.1", "Print the version");
  program.set_help_flag("-h,--help", "Print this help");
  program.require_subcommand(1);
  program.footer(
      "weft COMMAND --help shows a command's options and an example.\n"
      "Exit codes: 0 done, 1 failed while running, 2 wrong usage, 3 invalid input file,\n"
      "130 interrupted (Ctrl-C; weft train writes a checkpoint first).");
  const std::vector<Command> commands = {AddTrain(program),   AddRun(program),  AddCompile(program),
                                         AddInspect(program), AddGrad(program), AddVerify(program),
                                         AddBench(program)};
  if (argc < 2) {
    std::fputs(program.help().c_str(), stderr);
    return kUsage;
  }
  if (const std::optional<int> code = ParseCommandLine(program, argc, argv)) return *code;
  for (const Command& command : commands) {
    if (!command.app->parsed()) continue;
    return Finish([&] {
      absl::Status status = command.run();
      // What was given up waiting for may be at work still.
      Progress::HideAll();
      return status;
    });
  }
  return kUsage;
}

}  // namespace
}  // namespace weft::cli

int main(int argc, char** argv) { return weft::cli::Main(argc, argv); }
