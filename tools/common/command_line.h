// How the programs declare and read their command lines: help texts, checks of values, messages.
#ifndef WEFT_TOOLS_COMMON_COMMAND_LINE_H_
#define WEFT_TOOLS_COMMON_COMMAND_LINE_H_

#include <CLI/CLI.hpp>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

namespace weft::cli {

// Help in one layout for all commands: what each option takes, wrapped to the width of a page.
std::shared_ptr<CLI::FormatterBase> HelpFormatter();

// Reads the command line, subcommands included. Where the program ends with that (help, version, a
// usage error that was printed in two lines at most), its exit code; otherwise nothing.
std::optional<int> ParseCommandLine(CLI::App& program, int argc, char** argv);

// What a value has to be; the message says so, and what was given.
CLI::Validator WholeNumber(int64_t least, int64_t most = std::numeric_limits<int64_t>::max());
CLI::Validator PositiveNumber();
CLI::Validator NumberBetween(double least, double most);
CLI::Validator OneOf(std::vector<std::string> names);  // suggests the nearest

// An option that may be given several times, with one value each.
CLI::Option* AddRepeatable(CLI::App* app, const std::string& name, std::vector<std::string>& values,
                           const std::string& description);

}  // namespace weft::cli

#endif  // WEFT_TOOLS_COMMON_COMMAND_LINE_H_
