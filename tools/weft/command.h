// What the subcommands share: how they are declared, and how they end.
#ifndef WEFT_TOOLS_WEFT_COMMAND_H_
#define WEFT_TOOLS_WEFT_COMMAND_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace CLI {
class App;
}

namespace weft::cli {

// What the program returns to the shell.
enum ExitCode { kOk = 0, kRunFailed = 1, kUsage = 2, kBadInput = 3 };

// Marks an error so that it ends the program with that code; what a status says otherwise does not
// matter. An error that nobody marked is kRunFailed.
absl::Status AsUsage(const absl::Status& status);
absl::Status AsBadInput(const absl::Status& status);
absl::Status UsageError(const std::string& message);
ExitCode ExitCodeOf(const absl::Status& status);

// "weft: what went wrong": one line to standard error, two at most.
void PrintError(const absl::Status& status);

struct Command {
  CLI::App* app;
  std::function<absl::Status()> run;
};

// Each adds its subcommand with options, help text and an example.
Command AddTrain(CLI::App& program);
Command AddRun(CLI::App& program);
Command AddCompile(CLI::App& program);
Command AddInspect(CLI::App& program);
Command AddGrad(CLI::App& program);
Command AddVerify(CLI::App& program);
Command AddBench(CLI::App& program);

}  // namespace weft::cli

#endif  // WEFT_TOOLS_WEFT_COMMAND_H_
