#include "tools/common/signature_io.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <type_traits>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "proto/file.h"
#include "proto/json_scanner.h"
#include "proto/npy.h"
#include "proto/suggest.h"
#include "tools/common/exit_code.h"

namespace weft::cli {
namespace {

// Whether `text` is a value of T, which then goes to `*value`: integers have to be whole and to
// fit.
template <typename T>
bool ParseValue(const std::string& text, T* value) {
  double number = 0;
  if constexpr (std::is_same_v<T, bool>) {
    return absl::SimpleAtob(text, value);
  } else if constexpr (std::is_integral_v<T>) {
    int64_t whole = 0;
    if (!absl::SimpleAtoi(text, &whole)) {
      // "1e6" is whole as well; beyond 2^53 it need not be the number meant.
      constexpr double kExact = 9007199254740992;
      if (!absl::SimpleAtod(text, &number) || std::trunc(number) != number ||
          std::abs(number) > kExact) {
        return false;
      }
      whole = static_cast<int64_t>(number);
    }
    *value = static_cast<T>(whole);
    return static_cast<int64_t>(*value) == whole;
  } else {
    if (!absl::SimpleAtod(text, &number)) return false;
    if constexpr (std::is_same_v<T, double>) {
      *value = number;
    } else {
      *value = static_cast<T>(static_cast<float>(number));
    }
    return true;
  }
}

absl::StatusOr<HostTensor> ScalarOf(const std::string& name, const std::string& text,
                                    DataType dtype) {
  absl::StatusOr<HostTensor> scalar = HostTensor::Create(dtype, {});
  if (!scalar.ok()) return scalar;
  const bool parsed = WithType(dtype, [&](auto type) {
    return ParseValue(text, static_cast<decltype(type)*>(scalar->mutable_data()));
  });
  if (parsed) return scalar;
  return UsageError(absl::StrCat("feed '", name, "': expected a .npy file or a number of dtype ",
                                 std::string(NameOf(dtype)), ", got '", text, "'"));
}

bool IsNpz(const std::string& path) { return absl::EndsWith(path, ".npz"); }

}  // namespace

absl::StatusOr<Session::SignatureInfo> FindSignature(const Session& session,
                                                     const std::string& name) {
  const std::vector<Session::SignatureInfo> signatures = session.Signatures();
  std::vector<std::string> names, besides_init;
  for (const Session::SignatureInfo& signature : signatures) {
    names.push_back(signature.name);
    if (signature.name != "init") besides_init.push_back(signature.name);
  }
  std::string wanted = name;
  if (wanted.empty()) {
    if (std::count(names.begin(), names.end(), "predict")) {
      wanted = "predict";
    } else if (besides_init.size() == 1) {
      wanted = besides_init[0];
    } else {
      return UsageError(
          absl::StrCat("--signature is needed: there is ", absl::StrJoin(names, ", ")));
    }
  }
  for (const Session::SignatureInfo& signature : signatures) {
    if (signature.name == wanted) return signature;
  }
  return UsageError(
      absl::StrCat("there is no signature '", wanted, "'", Suggestion(wanted, names)));
}

absl::StatusOr<NamedTensors> ReadFeeds(const std::vector<std::string>& feeds,
                                       const std::vector<Session::ValueInfo>& inputs) {
  NamedTensors tensors;
  for (const std::string& feed : feeds) {
    const size_t equals = feed.find('=');
    if (equals == std::string::npos) {
      auto all = LoadNpz(feed);
      if (!all.ok()) return AsBadInput(all.status());
      for (auto& [name, tensor] : *all) tensors[name] = std::move(tensor);
      continue;
    }
    const std::string name = feed.substr(0, equals), value = feed.substr(equals + 1);
    absl::StatusOr<HostTensor> tensor;
    if (absl::EndsWith(value, ".npy")) {
      tensor = LoadNpy(value);
      if (!tensor.ok()) return AsBadInput(tensor.status());
    } else {
      DataType dtype = DataType::kF32;
      for (const Session::ValueInfo& input : inputs) {
        if (input.name == name) dtype = input.dtype;
      }
      tensor = ScalarOf(name, value, dtype);
      if (!tensor.ok()) return tensor.status();
    }
    tensors[name] = *std::move(tensor);
  }
  std::vector<std::string> names;
  for (const Session::ValueInfo& input : inputs) names.push_back(input.name);
  if (inputs.empty()) return tensors;
  for (const auto& [name, tensor] : tensors) {
    if (!std::count(names.begin(), names.end(), name)) {
      return UsageError(absl::StrCat("there is no input '", name, "'", Suggestion(name, names)));
    }
  }
  for (const Session::ValueInfo& input : inputs) {
    if (!tensors.count(input.name)) {
      return UsageError(absl::StrCat("input '", input.name, "' (", TypeText(input),
                                     ") is not fed; --feed ", input.name, "=FILE.npy"));
    }
  }
  return tensors;
}

std::string TypeText(const Session::ValueInfo& value) {
  return absl::StrCat(std::string(NameOf(value.dtype)), "[", absl::StrJoin(value.dims, ", "), "]");
}

absl::Status CheckFetches(const Session::SignatureInfo& signature,
                          const std::vector<std::string>& fetches) {
  std::vector<std::string> names;
  for (const Session::ValueInfo& output : signature.outputs) names.push_back(output.name);
  for (const std::string& fetch : fetches) {
    if (std::count(names.begin(), names.end(), fetch)) continue;
    return UsageError(absl::StrCat("signature '", signature.name, "' has no output '", fetch, "'",
                                   Suggestion(fetch, names)));
  }
  return absl::OkStatus();
}

void KeepFetches(const std::vector<std::string>& fetches, NamedTensors* results) {
  if (fetches.empty()) return;
  for (auto it = results->begin(); it != results->end();) {
    const bool wanted = std::count(fetches.begin(), fetches.end(), it->first);
    it = wanted ? std::next(it) : results->erase(it);
  }
}

absl::Status CheckNoInput(const char* option, const std::string& path, const std::string& model,
                          const std::vector<std::string>& feeds) {
  if (path.empty()) return absl::OkStatus();
  for (const std::string& feed : feeds) {
    if (SameFile(feed.substr(feed.find('=') + 1), path)) {
      return UsageError(absl::StrCat(option, " '", path, "' would overwrite an input"));
    }
  }
  if (!SameFile(path, model)) return absl::OkStatus();
  return UsageError(absl::StrCat(option, " '", path, "' would overwrite the model"));
}

absl::Status CheckOut(const std::string& out, const std::string& model,
                      const std::vector<std::string>& feeds) {
  if (out.empty()) return absl::OkStatus();
  if (!IsNpz(out) && !absl::EndsWith(out, ".npy")) {
    return UsageError(absl::StrCat("--out writes .npy or .npz, got '", out, "'"));
  }
  return CheckNoInput("--out", out, model, feeds);
}

absl::Status WriteResults(const NamedTensors& results, const std::string& out, bool json,
                          int64_t limit) {
  if (json) {
    std::string text;
    for (const auto& [name, tensor] : results) {
      absl::StrAppend(&text, text.empty() ? "" : ",", JsonQuote(name), ":{\"dtype\":\"",
                      std::string(NameOf(tensor.dtype())), "\",\"shape\":[",
                      absl::StrJoin(tensor.shape(), ","),
                      "],\"text\":", JsonQuote(tensor.ToString(limit)), "}");
    }
    std::printf("{\"outputs\":{%s}}\n", text.c_str());
  } else if (out.empty()) {
    for (const auto& [name, tensor] : results) {
      std::printf("%s %s\n", name.c_str(), tensor.ToString(limit).c_str());
    }
  }
  if (out.empty()) return absl::OkStatus();
  if (IsNpz(out)) return SaveNpz(out, results);
  if (results.size() != 1) {
    return UsageError(absl::StrCat("there are ", results.size(),
                                   " outputs and a .npy file holds one: choose one with --fetch, "
                                   "or write an .npz file"));
  }
  return SaveNpy(out, results.begin()->second);
}

}  // namespace weft::cli
