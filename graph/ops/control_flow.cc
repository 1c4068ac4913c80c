#include "absl/strings/str_cat.h"
#include "graph/ops/infer.h"

namespace weft {
namespace {

const TensorType kBoolScalar = {DataType::kBool, {}};

std::string Text(const std::vector<TensorType>& types) {
  std::string text = "(";
  for (const TensorType& type : types) {
    absl::StrAppend(&text, text.size() == 1 ? "" : ", ", type.ToString());
  }
  return text + ")";
}

absl::Status CheckTypes(const InferContext& c, int constraint, const char* body, const char* what,
                        const std::vector<TensorType>& expected,
                        const std::vector<TensorType>& got) {
  if (expected == got) return absl::OkStatus();
  return c.Error(constraint, absl::StrCat(body, " ", what, " of types ", Text(expected)),
                 Text(got));
}

}  // namespace

absl::Status InferYield(InferContext&) { return absl::OkStatus(); }

absl::Status InferWhile(InferContext& c) {
  int64_t carried = c.attributes().Int("num_carried");
  if (carried < 0 || carried > c.num_operands()) {
    return c.Error(0, absl::StrCat("num_carried in [0, ", c.num_operands(), "]"),
                   absl::StrCat(carried));
  }
  const InferContext::Body &condition = c.bodies()[0], &body = c.bodies()[1];
  std::vector<TensorType> carried_types(c.operands().begin(), c.operands().begin() + carried);
  absl::Status s = CheckTypes(c, 1, "condition", "arguments", c.operands(), condition.arguments);
  if (s.ok()) s = CheckTypes(c, 1, "condition", "results", {kBoolScalar}, condition.results);
  if (s.ok()) s = CheckTypes(c, 2, "body", "arguments", c.operands(), body.arguments);
  if (s.ok()) s = CheckTypes(c, 2, "body", "results", carried_types, body.results);
  if (!s.ok()) return s;
  int64_t limit = c.attributes().Int("max_iterations");
  if (limit < 0) return c.Error(3, "max_iterations >= 0", absl::StrCat(limit));
  for (TensorType& type : carried_types) c.AddResult(type.dtype, std::move(type.shape));
  return absl::OkStatus();
}

absl::Status InferCond(InferContext& c) {
  if (c.operand(0) != kBoolScalar) {
    return c.Error(1, "a predicate of type bool[]", c.operand(0).ToString());
  }
  std::vector<TensorType> values(c.operands().begin() + 1, c.operands().end());
  const InferContext::Body &then_body = c.bodies()[0], &else_body = c.bodies()[1];
  absl::Status s = CheckTypes(c, 2, "then_body", "arguments", values, then_body.arguments);
  if (s.ok()) s = CheckTypes(c, 2, "else_body", "arguments", values, else_body.arguments);
  if (s.ok()) s = CheckTypes(c, 2, "else_body", "results", then_body.results, else_body.results);
  if (!s.ok()) return s;
  for (const TensorType& type : then_body.results) c.AddResult(type.dtype, type.shape);
  return absl::OkStatus();
}

absl::Status InferCustomGradient(InferContext& c) {
  auto floats = [](const std::vector<TensorType>& types) {
    std::vector<TensorType> result;
    for (const TensorType& type : types) {
      if (IsFloat(type.dtype)) result.push_back(type);
    }
    return result;
  };
  const InferContext::Body &body = c.bodies()[0], &adjoint = c.bodies()[1];
  std::vector<TensorType> arguments = c.operands();
  arguments.insert(arguments.end(), body.results.begin(), body.results.end());
  for (TensorType& type : floats(body.results)) arguments.push_back(std::move(type));
  absl::Status s = CheckTypes(c, 1, "body", "arguments", c.operands(), body.arguments);
  if (s.ok()) s = CheckTypes(c, 2, "adjoint", "arguments", arguments, adjoint.arguments);
  if (s.ok()) s = CheckTypes(c, 2, "adjoint", "results", floats(c.operands()), adjoint.results);
  if (!s.ok()) return s;
  for (const TensorType& type : body.results) c.AddResult(type.dtype, type.shape);
  return absl::OkStatus();
}

absl::Status InferStackPush(InferContext& c) {
  if (c.operand(2) != TensorType{DataType::kI64, {}}) {
    return c.Error(1, "an index of type i64[]", c.operand(2).ToString());
  }
  if (c.rank(0) == 0) return c.Error(2, "x of rank >= 1", c.operand(0).ToString());
  TensorType slice{c.dtype(0), Shape(c.shape(0).begin() + 1, c.shape(0).end())};
  if (c.operand(1) != slice) {
    return c.Error(2, "a value of type " + slice.ToString(), c.operand(1).ToString());
  }
  c.AddResult(c.dtype(0), c.shape(0));
  return absl::OkStatus();
}

}  // namespace weft
