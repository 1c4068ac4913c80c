// The `weft` command.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "proto/suggest.h"
#include "tools/weft/command.h"

namespace weft::cli {
namespace {

constexpr char kVersion[] = "weft 0.1";

// Names that begin with '-', of every option of the command.
std::vector<std::string> OptionNames(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

// The message of a parse error, with the nearest name where one was mistyped.
std::string UsageMessage(const CLI::App& program, const CLI::ParseError& error,
                         const std::vector<std::string>& arguments) {
  const std::vector<CLI::App*> chosen = program.get_subcommands();
  if (chosen.empty()) return error.what();
  const CLI::App& command = *chosen.front();
  const std::vector<std::string> names = OptionNames(command);
  const std::string help = absl::StrCat("\n(weft ", command.get_name(), " --help lists all)");
  for (const std::string& argument : arguments) {
    const std::string name = argument.substr(0, argument.find('='));
    if (name == "--") break;
    if (name.rfind("--", 0) != 0 || std::count(names.begin(), names.end(), name)) continue;
    return absl::StrCat("weft ", command.get_name(), " has no option '", name, "'",
                        Nearest(name, names).empty() ? "" : Suggestion(name, names), help);
  }
  return absl::StrCat(error.what(), help);
}

int Main(int argc, char** argv) {
  CLI::App program("Compiles, trains and runs static dataflow graphs.", "weft");
  program.set_version_flag("--version", kVersion);
  program.require_subcommand(1);
  program.footer(
      "weft COMMAND --help shows a command's options and an example.\n"
      "Exit codes: 0 done, 1 failed while running, 2 wrong usage, 3 invalid input file.");
  const std::vector<Command> commands = {AddTrain(program),   AddRun(program),  AddCompile(program),
                                         AddInspect(program), AddGrad(program), AddVerify(program),
                                         AddBench(program)};
  if (argc < 2) {
    std::fputs(program.help().c_str(), stderr);
    return kUsage;
  }
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  std::vector<std::string> names;
  for (const Command& command : commands) names.push_back(command.app->get_name());
  if (arguments[0][0] != '-' && !std::count(names.begin(), names.end(), arguments[0])) {
    PrintError(UsageError(
        absl::StrCat("there is no command '", arguments[0], "'", Suggestion(arguments[0], names))));
    return kUsage;
  }
  try {
    program.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    const auto chosen = program.get_subcommands();
    std::fputs((chosen.empty() ? program.help() : chosen.front()->help()).c_str(), stdout);
    return kOk;
  } catch (const CLI::CallForVersion&) {
    std::puts(kVersion);
    return kOk;
  } catch (const CLI::ParseError& error) {
    PrintError(UsageError(UsageMessage(program, error, arguments)));
    return kUsage;
  }
  for (const Command& command : commands) {
    if (!command.app->parsed()) continue;
    return Finish(command.run);
  }
  return kUsage;
}

}  // namespace
}  // namespace weft::cli

int main(int argc, char** argv) { return weft::cli::Main(argc, argv); }
