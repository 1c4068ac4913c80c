#include <iterator>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "graph/ops/evaluate_support.h"

namespace weft {
namespace {

absl::Status SetResults(EvaluateContext& c, absl::StatusOr<std::vector<HostTensor>> results) {
  if (!results.ok()) return results.status();
  for (size_t i = 0; i < results->size(); ++i) {
    c.SetResult(static_cast<int>(i), std::move((*results)[i]));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status EvaluateWhile(EvaluateContext& c) {
  const int64_t carried = c.attributes().Int("num_carried");
  const int64_t limit = c.attributes().Int("max_iterations");
  std::vector<HostTensor> values = c.operands();
  for (int64_t i = 0;; ++i) {
    absl::StatusOr<std::vector<HostTensor>> more = c.RunBody(0, values);
    if (!more.ok()) return more.status();
    if (!more->at(0).values<bool>()[0]) break;
    if (limit > 0 && i == limit) {
      return absl::FailedPreconditionError(
          absl::StrCat("expected the loop to end within max_iterations = ", limit,
                       " iterations, and its condition still holds; raise max_iterations"));
    }
    absl::StatusOr<std::vector<HostTensor>> next = c.RunBody(1, values);
    if (!next.ok()) return next.status();
    std::move(next->begin(), next->end(), values.begin());
  }
  for (int64_t i = 0; i < carried; ++i) c.SetResult(static_cast<int>(i), values[i]);
  return absl::OkStatus();
}

absl::Status EvaluateCond(EvaluateContext& c) {
  const int body = c.operand(0).values<bool>()[0] ? 0 : 1;
  return SetResults(c, c.RunBody(body, {std::next(c.operands().begin()), c.operands().end()}));
}

absl::Status EvaluateCustomGradient(EvaluateContext& c) {
  return SetResults(c, c.RunBody(0, c.operands()));
}

absl::Status EvaluateStackPush(EvaluateContext& c) {
  return SetOnlyResult(
      c, reference::StackPush(c.operand(0), c.operand(1), c.operand(2).values<int64_t>()[0]));
}

}  // namespace weft
