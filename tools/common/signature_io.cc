#include "tools/common/signature_io.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <functional>
#include <set>
#include <type_traits>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "proto/feed.h"
#include "proto/json_quote.h"
#include "proto/npy.h"
#include "proto/printable.h"
#include "proto/suggest.h"
#include "tools/common/exit_code.h"
#include "tools/common/not_finite.h"
#include "tools/common/outputs.h"

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

// kBadInput where a tensor read from `file` is not what the signature declares, or does not go with
// those before.
absl::Status CheckFits(const std::string& file, const HostTensor& tensor,
                       const Session::ValueInfo& value, const char* kind, FeedChecker& checker) {
  const FeedType type = {absl::StrCat(file, ": ", kind, " '", value.name, "'"), value.dtype,
                         value.dims};
  const absl::Status fits = checker.Add(value.name, type, tensor.dtype(), tensor.shape());
  if (!fits.ok() && tensor.dtype() == DataType::kF64 && value.dtype == DataType::kF32) {
    return AsBadInput(Reworded(
        fits, absl::StrCat(fits.message(), "; NumPy's default is f64: save it as float32")));
  }
  return AsBadInput(fits);
}

template <typename T>
std::string JsonNumber(T value) {
  if constexpr (std::is_same_v<T, bool>) {
    return value ? "true" : "false";
  } else if constexpr (std::is_integral_v<T>) {
    return absl::StrCat(static_cast<int64_t>(value));
  } else if constexpr (std::is_same_v<T, float> || std::is_same_v<T, double>) {
    if (const char* name = NotFiniteName(value)) return JsonQuote(name);
    char text[32];
    return std::string(text, std::to_chars(text, text + sizeof(text), value).ptr);
  } else {
    return JsonNumber(static_cast<float>(value));
  }
}

// Nested lists, the shape's last dimension innermost.
std::string JsonValues(const HostTensor& tensor) {
  if (tensor.num_elements() == 0) return "[]";
  std::string json;
  WithType(tensor.dtype(), [&](auto type) {
    using T = decltype(type);
    const T* next = static_cast<const T*>(tensor.data());
    const std::function<void(size_t)> append = [&](size_t dim) {
      if (dim == tensor.shape().size()) {
        json += JsonNumber<T>(*next++);
        return;
      }
      json += '[';
      for (int64_t i = 0; i < tensor.shape()[dim]; ++i) {
        if (i > 0) json += ',';
        append(dim + 1);
      }
      json += ']';
    };
    append(0);
  });
  return json;
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
                                       const std::vector<Session::ValueInfo>& values,
                                       const char* kind) {
  std::vector<std::string> names;
  for (const Session::ValueInfo& value : values) names.push_back(value.name);
  NamedTensors tensors;
  FeedChecker checker(absl::StrCat(kind, "s"));
  const auto add = [&](const std::string& file, const std::string& name,
                       HostTensor tensor) -> absl::Status {
    const auto known = std::find(names.begin(), names.end(), name);
    if (!values.empty() && known == names.end()) {
      return UsageError(
          absl::StrCat("there is no ", kind, " '", name, "'", Suggestion(name, names)));
    }
    if (known != names.end()) {
      absl::Status fits = CheckFits(file, tensor, values[known - names.begin()], kind, checker);
      if (!fits.ok()) return fits;
    }
    if (tensors.emplace(name, std::move(tensor)).second) return absl::OkStatus();
    return UsageError(absl::StrCat(kind, " '", name, "' is given twice"));
  };
  for (const std::string& feed : feeds) {
    const size_t equals = feed.find('=');
    if (equals == std::string::npos && absl::EndsWith(feed, ".npy")) {
      return UsageError(absl::StrCat("expected NAME=", feed, ", got ", feed,
                                     names.empty() ? "" : "; there is ",
                                     absl::StrJoin(names, ", ")));
    }
    absl::Status status;
    if (equals == std::string::npos) {
      auto all = LoadNpz(feed);
      if (!all.ok()) return AsBadInput(all.status());
      for (auto& [name, tensor] : *all) {
        if (status.ok()) status = add(feed, name, std::move(tensor));
      }
    } else if (const std::string value = feed.substr(equals + 1); absl::EndsWith(value, ".npy")) {
      absl::StatusOr<HostTensor> tensor = LoadNpy(value);
      if (!tensor.ok()) return AsBadInput(tensor.status());
      status = add(value, feed.substr(0, equals), *std::move(tensor));
    } else {
      const std::string name = feed.substr(0, equals);
      const auto known = std::find(names.begin(), names.end(), name);
      const bool scalar = known == names.end() || values[known - names.begin()].dims.empty();
      if (!scalar) {
        return UsageError(absl::StrCat("expected ", name, "=FILE.npy, since ", kind, " '", name,
                                       "' is ", TypeText(values[known - names.begin()]), ", got '",
                                       value, "'"));
      }
      const DataType dtype =
          known == names.end() ? DataType::kF32 : values[known - names.begin()].dtype;
      absl::StatusOr<HostTensor> tensor = ScalarOf(name, value, dtype);
      if (!tensor.ok()) return tensor.status();
      status = add(value, name, *std::move(tensor));
    }
    if (!status.ok()) return status;
  }
  for (const Session::ValueInfo& value : values) {
    if (tensors.count(value.name)) continue;
    return UsageError(absl::StrCat(kind, " '", value.name, "' (", TypeText(value),
                                   ") is not given; ", value.name, "=FILE.npy"));
  }
  return tensors;
}

std::string TypeText(const Session::ValueInfo& value) { return TypeText(value.dtype, value.dims); }

absl::Status CheckFetches(const Session::SignatureInfo& signature,
                          const std::vector<std::string>& fetches, const std::string& out) {
  std::vector<std::string> names;
  for (const Session::ValueInfo& output : signature.outputs) names.push_back(output.name);
  for (const std::string& fetch : fetches) {
    if (std::count(names.begin(), names.end(), fetch)) continue;
    return UsageError(absl::StrCat("signature '", signature.name, "' has no output '", fetch, "'",
                                   Suggestion(fetch, names)));
  }
  const std::set<std::string> kept(fetches.begin(), fetches.end());
  return CheckCount(kept.empty() ? names.size() : kept.size(), out);
}

absl::Status CheckCount(size_t results, const std::string& out) {
  if (out.empty() || IsNpz(out) || results == 1) return absl::OkStatus();
  return UsageError(absl::StrCat("there are ", results,
                                 " outputs and a .npy file holds one: choose one with --fetch, or "
                                 "write an .npz file"));
}

void KeepFetches(const std::vector<std::string>& fetches, NamedTensors* results) {
  if (fetches.empty()) return;
  for (auto it = results->begin(); it != results->end();) {
    const bool wanted = std::count(fetches.begin(), fetches.end(), it->first);
    it = wanted ? std::next(it) : results->erase(it);
  }
}

absl::Status CheckOut(const std::string& out, const std::vector<std::string>& inputs) {
  if (!out.empty() && !IsNpz(out) && !absl::EndsWith(out, ".npy")) {
    return UsageError(absl::StrCat("--out writes .npy or .npz, got '", out, "'"));
  }
  return CheckOutput("--out", out, inputs);
}

absl::Status WriteResults(const NamedTensors& results, const std::string& out, bool json,
                          int64_t limit) {
  if (json) {
    std::string text;
    for (const auto& [name, tensor] : results) {
      absl::StrAppend(&text, text.empty() ? "" : ",", JsonQuote(name), ":{\"dtype\":\"",
                      std::string(NameOf(tensor.dtype())), "\",\"shape\":[",
                      absl::StrJoin(tensor.shape(), ","), "]",
                      out.empty() ? absl::StrCat(",\"values\":", JsonValues(tensor)) : "", "}");
    }
    std::printf("{\"outputs\":{%s}}\n", text.c_str());
  } else if (out.empty()) {
    for (const auto& [name, tensor] : results) {
      std::printf("%s %s\n", Printable(name).c_str(), tensor.ToString(limit).c_str());
    }
  }
  if (out.empty()) return absl::OkStatus();
  if (IsNpz(out)) return SaveNpz(out, results);
  if (absl::Status status = CheckCount(results.size(), out); !status.ok()) return status;
  return SaveNpy(out, results.begin()->second);
}

absl::Status WithHint(const absl::Status& status, const char* options) {
  if (!absl::StrContains(status.message(), "has no value")) return status;
  return Reworded(status, absl::StrCat(status.message(), "\n(", options, ")"));
}

}  // namespace weft::cli
