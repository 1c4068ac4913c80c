#include "tools/common/signature_io.h"

#include <algorithm>
#include <cstdio>
#include <type_traits>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "proto/json_scanner.h"
#include "proto/npy.h"
#include "proto/suggest.h"
#include "tools/common/exit_code.h"

namespace weft::cli {
namespace {

absl::StatusOr<HostTensor> ScalarOf(const std::string& text, DataType dtype) {
  double number = 0;
  if (!absl::SimpleAtod(text, &number)) {
    return UsageError(absl::StrCat("expected NAME=FILE.npy or NAME=NUMBER, got '", text, "'"));
  }
  absl::StatusOr<HostTensor> scalar = HostTensor::Create(dtype, {});
  if (!scalar.ok()) return scalar;
  WithType(dtype, [&](auto type) {
    using T = decltype(type);
    *static_cast<T*>(scalar->mutable_data()) = static_cast<T>(static_cast<float>(number));
    if constexpr (std::is_same_v<T, double> || std::is_same_v<T, int64_t> ||
                  std::is_same_v<T, int32_t>) {
      *static_cast<T*>(scalar->mutable_data()) = static_cast<T>(number);
    }
  });
  return scalar;
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
      tensor = ScalarOf(value, dtype);
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

absl::Status CheckOut(const std::string& out, const std::string& model,
                      const std::vector<std::string>& feeds) {
  if (out.empty()) return absl::OkStatus();
  if (!IsNpz(out) && !absl::EndsWith(out, ".npy")) {
    return UsageError(absl::StrCat("--out writes .npy or .npz, got '", out, "'"));
  }
  for (const std::string& feed : feeds) {
    if (feed.substr(feed.find('=') + 1) == out) {
      return UsageError(absl::StrCat("--out '", out, "' would overwrite an input"));
    }
  }
  if (out == model) return UsageError(absl::StrCat("--out '", out, "' would overwrite the model"));
  return absl::OkStatus();
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
