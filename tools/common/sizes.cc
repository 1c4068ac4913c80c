#include "tools/common/sizes.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "proto/dim_expr.h"
#include "proto/suggest.h"
#include "tools/common/exit_code.h"

namespace weft::cli {

absl::StatusOr<std::map<std::string, std::vector<int64_t>>> ParseSizes(
    const std::vector<std::string>& sizes, const std::set<std::string>& dimensions) {
  std::map<std::string, std::vector<int64_t>> parsed;
  for (const std::string& size : sizes) {
    const std::vector<std::string> parts = absl::StrSplit(size, '=');
    const auto error = UsageError(
        absl::StrCat("expected a dimension and sizes such as batch=1,32, got '", size, "'"));
    if (parts.size() != 2 || parts[0].empty()) return error;
    if (!dimensions.count(parts[0])) {
      const std::vector<std::string> names(dimensions.begin(), dimensions.end());
      return UsageError(
          absl::StrCat("there is no open dimension '", parts[0], "'",
                       names.empty() ? ": all sizes are fixed" : Suggestion(parts[0], names)));
    }
    for (const absl::string_view number : absl::StrSplit(parts[1], ',')) {
      int64_t value = 0;
      if (!absl::SimpleAtoi(number, &value) || value < 0) return error;
      parsed[parts[0]].push_back(value);
    }
  }
  return parsed;
}

absl::StatusOr<std::map<std::string, int64_t>> ParseSingleSizes(
    const std::vector<std::string>& sizes, const std::set<std::string>& dimensions) {
  auto parsed = ParseSizes(sizes, dimensions);
  if (!parsed.ok()) return parsed.status();
  std::map<std::string, int64_t> single;
  for (const auto& [name, values] : *parsed) {
    if (values.size() > 1) {
      return UsageError(absl::StrCat("expected one size for dimension '", name, "', got ",
                                     absl::StrJoin(values, ",")));
    }
    single[name] = values[0];
  }
  return single;
}

std::set<std::string> OpenDimensions(const std::vector<Session::SignatureInfo>& signatures) {
  std::set<std::string> dimensions;
  for (const Session::SignatureInfo& signature : signatures) {
    for (const auto* values : {&signature.inputs, &signature.outputs}) {
      for (const Session::ValueInfo& value : *values) {
        for (const std::string& dim : value.dims) {
          absl::StatusOr<DimExpr> expression = DimExpr::Parse(dim);
          if (!expression.ok()) continue;
          for (const std::string& symbol : expression->Symbols()) dimensions.insert(symbol);
        }
      }
    }
  }
  return dimensions;
}

absl::StatusOr<std::vector<std::vector<int64_t>>> ShapesAt(
    const Session::SignatureInfo& signature, const std::map<std::string, int64_t>& sizes) {
  std::vector<std::vector<int64_t>> shapes;
  for (const Session::ValueInfo& input : signature.inputs) {
    std::vector<int64_t>& shape = shapes.emplace_back();
    for (const std::string& dim : input.dims) {
      absl::StatusOr<DimExpr> expression = DimExpr::Parse(dim);
      if (!expression.ok()) return expression.status();
      std::map<std::string, int64_t> all = sizes;
      for (const std::string& symbol : expression->Symbols()) all.emplace(symbol, 1);
      absl::StatusOr<int64_t> size = expression->Evaluate(all);
      if (!size.ok()) return size.status();
      shape.push_back(*size);
    }
  }
  return shapes;
}

}  // namespace weft::cli
