#include "tools/common/command_line.h"

#include <algorithm>
#include <cstdio>
#include <memory>
#include <string_view>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "proto/suggest.h"
#include "tools/common/exit_code.h"

namespace weft::cli {
namespace {

constexpr size_t kWidth = 100;  // columns of a help page
constexpr size_t kIndent = 30;  // where descriptions begin

// `left`, then `right` from kIndent on, in lines of words.
std::string Entry(const std::string& left, const std::string& right) {
  std::string text, line = left;
  auto end_line = [&] {
    absl::StrAppend(&text, line, "\n");
    line.clear();
  };
  if (line.size() >= kIndent) end_line();
  line.resize(kIndent, ' ');
  bool first = true;
  for (const absl::string_view word : absl::StrSplit(right, ' ', absl::SkipEmpty())) {
    if (!first && line.size() + 1 + word.size() > kWidth) {
      end_line();
      line.resize(kIndent, ' ');
      first = true;
    }
    absl::StrAppend(&line, first ? "" : " ", word);
    first = false;
  }
  end_line();
  return text;
}

class Formatter : public CLI::Formatter {
 public:
  std::string make_usage(const CLI::App* app, std::string name) const override {
    std::string usage = absl::StrCat("Usage: ", name);
    bool optional = false;
    for (const CLI::Option* option : app->get_options()) {
      if (option->get_positional()) {
        absl::StrAppend(&usage, " ", option->get_type_name());
      } else if (option->get_required()) {
        absl::StrAppend(&usage, " ", option->get_name(), " ", option->get_type_name());
      } else {
        optional = true;
      }
    }
    const bool commands = app->get_require_subcommand_min() > 0;
    return absl::StrCat(usage, commands ? " COMMAND ..." : optional ? " [OPTION ...]" : "", "\n");
  }

  std::string make_option(const CLI::Option* option, bool positional) const override {
    std::string left = absl::StrCat("  ", option->get_name(positional, !positional));
    if (!positional && option->get_type_size() != 0) {
      absl::StrAppend(&left, " ", option->get_type_name());
    }
    std::string description = option->get_description();
    const std::string& value = option->get_default_str();
    if (!value.empty()) absl::StrAppend(&description, " (", value, " if not given)");
    return Entry(left, description);
  }

  std::string make_subcommand(const CLI::App* app) const override {
    return Entry(absl::StrCat("  ", app->get_name()), app->get_description());
  }

  std::string make_footer(const CLI::App* app) const override {
    return absl::StrCat(app->get_footer(), "\n");
  }
};

std::vector<std::string> CommandNames(const CLI::App& program) {
  std::vector<std::string> names;
  for (const CLI::App* command : program.get_subcommands({})) names.push_back(command->get_name());
  return names;
}

// The error in words of ours, with the nearest name where one was mistyped.
std::string UsageMessage(const CLI::App& program, const CLI::ParseError& error,
                         const std::vector<std::string>& arguments) {
  const std::vector<std::string> commands = CommandNames(program);
  const std::vector<CLI::App*> chosen = program.get_subcommands();
  if (!commands.empty() && chosen.empty()) {
    const bool option = !arguments.empty() && absl::StartsWith(arguments[0], "-");
    if (option) {
      return absl::StrCat(program.get_name(), " has no option '", arguments[0], "'",
                          DidYouMean(arguments[0], {"--help", "--version"}),
                          "; expected a command: ", absl::StrJoin(commands, ", "));
    }
    const auto word = std::find_if(arguments.begin(), arguments.end(),
                                   [](const auto& a) { return !absl::StartsWith(a, "-"); });
    if (word == arguments.end()) {
      return absl::StrCat("expected a command: ", absl::StrJoin(commands, ", "));
    }
    return absl::StrCat("there is no command '", *word, "'", Suggestion(*word, commands));
  }
  const CLI::App& app = chosen.empty() ? program : *chosen.front();
  std::string name = program.get_name();
  if (!chosen.empty()) absl::StrAppend(&name, " ", app.get_name());
  const std::string help = absl::StrCat("\n(", name, " --help lists all options)");
  std::vector<std::string> options, repeatable;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& long_name : option->get_lnames()) {
      options.push_back(absl::StrCat("--", long_name));
      if (option->get_expected_max() > 1) repeatable.push_back(options.back());
    }
  }
  for (size_t i = 0; i < arguments.size() && arguments[i] != "--"; ++i) {
    const std::string option = arguments[i].substr(0, arguments[i].find('='));
    if (!absl::StartsWith(option, "--") || std::count(options.begin(), options.end(), option)) {
      continue;
    }
    return absl::StrCat(name, " has no option '", option, "'", DidYouMean(option, options), help);
  }
  const std::vector<std::string> rest = program.remaining(/*recurse=*/true);
  if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::ExtrasError) && !rest.empty()) {
    // "--data a b": a shell's pattern, or a habit from elsewhere.
    const auto at = std::find(arguments.rbegin(), arguments.rend(), rest.front());
    const std::string before = arguments.rend() - at > 2 ? *(at + 2) : std::string();
    const bool repeat = std::count(repeatable.begin(), repeatable.end(), before) > 0;
    return absl::StrCat(
        "did not expect '", rest.front(), "'",
        repeat ? absl::StrCat("; ", before, " takes one value each time it is given") : "", help);
  }
  // "--epochs" as the last word, and an option of one value that comes twice.
  if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::ArgumentMismatch)) {
    const std::string text = error.what();
    const size_t end = text.find(':');
    if (end != std::string::npos) {
      const bool again = text.find("At Most", end) != std::string::npos;
      return absl::StrCat(text.substr(0, end),
                          again ? " is given more than once" : " is given without a value", help);
    }
  }
  return absl::StrCat(error.what(), help);
}

CLI::Validator Check(std::function<bool(const std::string&)> holds, std::string what) {
  return CLI::Validator(
      [holds = std::move(holds), what = std::move(what)](const std::string& value) {
        return holds(value) ? std::string()
                            : absl::StrCat("expected ", what, ", got '", value, "'");
      },
      "");
}

}  // namespace

std::shared_ptr<CLI::FormatterBase> HelpFormatter() { return std::make_shared<Formatter>(); }

std::optional<int> ParseCommandLine(CLI::App& program, int argc, char** argv) {
  std::vector<std::string> arguments(argv + 1, argv + argc);
  // "weft help train" is "weft train --help".
  if (!CommandNames(program).empty() && !arguments.empty() && arguments[0] == "help") {
    arguments.erase(arguments.begin());
    arguments.push_back("--help");
  }
  try {
    // CLI11 takes them from the back.
    program.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
    return std::nullopt;
  } catch (const CLI::CallForVersion& version) {
    std::printf("%s\n", version.what());
    return kOk;
  } catch (const CLI::Success&) {
    std::fputs(program.help().c_str(), stdout);
    return kOk;
  } catch (const CLI::ParseError& error) {
    PrintError(UsageError(UsageMessage(program, error, arguments)), program.get_name().c_str());
    return kUsage;
  }
}

CLI::Validator WholeNumber(int64_t least, int64_t most) {
  return Check(
      [=](const std::string& value) {
        int64_t number = 0;
        return absl::SimpleAtoi(value, &number) && number >= least && number <= most;
      },
      most < std::numeric_limits<int64_t>::max()
          ? absl::StrCat("a whole number from ", least, " to ", most)
          : absl::StrCat("a whole number of ", least, " or more"));
}

CLI::Validator PositiveNumber() {
  return Check(
      [](const std::string& value) {
        double number = 0;
        return absl::SimpleAtod(value, &number) && number > 0 &&
               number <= std::numeric_limits<double>::max();
      },
      "a number above 0");
}

CLI::Validator NumberBetween(double least, double most) {
  return Check(
      [=](const std::string& value) {
        double number = 0;
        return absl::SimpleAtod(value, &number) && number >= least && number <= most;
      },
      most < std::numeric_limits<double>::max()
          ? absl::StrCat("a number from ", least, " to ", most)
          : absl::StrCat("a number of ", least, " or more"));
}

CLI::Validator OneOf(std::vector<std::string> names) {
  return CLI::Validator(
      [names = std::move(names)](const std::string& value) {
        if (std::count(names.begin(), names.end(), value)) return std::string();
        return absl::StrCat("expected one of ", absl::StrJoin(names, ", "), ", got '", value, "'",
                            DidYouMean(value, names));
      },
      "");
}

CLI::Option* AddRepeatable(CLI::App* app, const std::string& name, std::vector<std::string>& values,
                           const std::string& description) {
  return app->add_option(name, values, description)->allow_extra_args(false);
}

}  // namespace weft::cli
