#include <cmath>
#include <cstdio>
#include <string>

#include "absl/strings/str_cat.h"
#include "graph/ops/evaluate_support.h"
#include "graph/reference/scalar.h"

namespace weft {
namespace {

// The first element that is infinite or NaN; -1 where there is none.
int64_t FirstNotFinite(const HostTensor& x) {
  return WithType(x.dtype(), [&](auto type) -> int64_t {
    using T = decltype(type);
    if constexpr (reference::kIsFloat<T>) {
      absl::Span<const T> values = x.values<T>();
      for (size_t i = 0; i < values.size(); ++i) {
        if (!std::isfinite(reference::Load(values[i]))) return static_cast<int64_t>(i);
      }
    }
    return -1;
  });
}

}  // namespace

absl::Status EvaluateCheckNumerics(EvaluateContext& c) {
  const int64_t at = FirstNotFinite(c.operand(0));
  if (at >= 0) {
    const std::string message = c.attributes().String("message");
    return absl::FailedPreconditionError(
        absl::StrCat("expected finite elements, got an infinite one or NaN at element ", at, " of ",
                     c.operand(0).TypeString(), message.empty() ? "" : ": ", message));
  }
  c.SetResult(0, c.operand(0));
  return absl::OkStatus();
}

absl::Status EvaluatePrint(EvaluateContext& c) {
  const std::string text = absl::StrCat(c.attributes().String("message"), " ",
                                        c.operand(0).ToString(c.attributes().Int("limit")), "\n");
  std::fputs(text.c_str(), stderr);
  c.SetResult(0, c.operand(0));
  return absl::OkStatus();
}

absl::Status EvaluateAssert(EvaluateContext& c) {
  if (!c.operand(0).values<bool>()[0]) {
    return absl::FailedPreconditionError(
        absl::StrCat("assertion failed: ", c.attributes().String("message")));
  }
  c.SetResult(0, c.operand(1));
  return absl::OkStatus();
}

}  // namespace weft
