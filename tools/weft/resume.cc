#include "tools/weft/resume.h"

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "proto/file.h"
#include "proto/safetensors.h"
#include "tools/common/exit_code.h"
#include "tools/common/json_text.h"

namespace weft::cli {
namespace {

using nlohmann::json;

// A value, or a list of them. Those of a file may be nested without end, and printing and comparing
// take stack for each level (parsing takes none).
bool IsOption(const json& value) {
  const auto is_value = [](const json& each) { return each.is_primitive(); };
  return value.is_array() ? std::all_of(value.begin(), value.end(), is_value) : is_value(value);
}

// "4" and "[8]" as on the command line: 4 and 8.
std::string OptionText(const json& value) {
  if (!value.is_array()) return JsonText(value);
  std::string text;
  for (const json& each : value) absl::StrAppend(&text, text.empty() ? "" : ",", JsonText(each));
  return text;
}

absl::Status CheckOptions(const std::string& before, const std::string& now,
                          const std::set<std::string>& given, const std::string& folder) {
  const json old = json::parse(before, nullptr, /*allow_exceptions=*/false);
  const json options = json::parse(now, nullptr, /*allow_exceptions=*/false);
  if (!old.is_object() || !std::all_of(old.begin(), old.end(), IsOption)) {
    return AsBadInput(absl::InvalidArgumentError(
        absl::StrCat(folder,
                     "/last.safetensors: expected as options of the model, in its metadata, a JSON "
                     "object of values and lists of values; to begin anew, leave out --resume")));
  }
  for (const auto& [name, value] : options.items()) {
    if (!given.count(name) || !old.contains(name) || old[name] == value) continue;
    return UsageError(absl::StrCat("--resume goes on with the model in ", folder, ", which has ",
                                   name, " ", OptionText(old[name]), "; leave out ", name, " ",
                                   OptionText(value)));
  }
  return absl::OkStatus();
}

}  // namespace

std::string OptionsText(const StandardModelOptions& options) {
  return JsonText({{"--hidden", options.hidden},
                   {"--learning-rate", options.learning_rate},
                   {"--dropout", options.dropout},
                   {"--weight-decay", options.weight_decay}});
}

absl::StatusOr<RunFacts> FactsOfCheckpoint(const std::string& folder) {
  const std::string path = absl::StrCat(folder, "/last.safetensors");
  absl::StatusOr<std::shared_ptr<const Bytes>> bytes = Bytes::Load(path);
  if (!bytes.ok()) return AsBadInput(bytes.status());
  absl::StatusOr<Safetensors> file = ReadSafetensors((*bytes)->view(), *bytes);
  if (file.ok()) return std::move(file->metadata);
  return AsBadInput(
      absl::Status(file.status().code(), absl::StrCat(path, ": ", file.status().message())));
}

absl::Status CheckSameRun(const RunFacts& before, const RunFacts& now,
                          const std::set<std::string>& given, const std::string& folder) {
  const auto differs = [&](const char* fact) {
    return before.count(fact) && now.count(fact) && before.at(fact) != now.at(fact);
  };
  if (differs("seed")) {
    return UsageError(
        absl::StrCat("--resume goes on with the split of the first run: expected "
                     "--seed ",
                     before.at("seed"), ", got ", now.at("seed"),
                     ", which would train on rows that are kept for tests"));
  }
  if (before.count("options") && now.count("options")) {
    if (differs("model")) {
      return UsageError(absl::StrCat("--resume goes on with the model in ", folder, ": expected ",
                                     before.at("model"), ", got ", now.at("model")));
    }
    absl::Status same = CheckOptions(before.at("options"), now.at("options"), given, folder);
    if (!same.ok()) return same;
  }
  if (differs("graph")) {
    return AsBadInput(absl::InvalidArgumentError(
        absl::StrCat("the model is not the one that ", folder,
                     "/last.safetensors is a checkpoint of; --resume "
                     "goes on with that one, and to begin anew, leave out --resume")));
  }
  for (const char* fact : {"classes", "features", "target"}) {
    if (!differs(fact)) continue;
    return AsBadInput(absl::InvalidArgumentError(
        absl::StrCat("the data does not go with the model in ", folder, ": expected ", fact, " ",
                     before.at(fact), ", got ", now.at(fact))));
  }
  return absl::OkStatus();
}

}  // namespace weft::cli
