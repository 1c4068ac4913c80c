// What the subcommands share: how they are declared, and (tools/common/exit_code.h) how they end.
#ifndef WEFT_TOOLS_WEFT_COMMAND_H_
#define WEFT_TOOLS_WEFT_COMMAND_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "tools/common/exit_code.h"

namespace CLI {
class App;
}

namespace weft::cli {

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
