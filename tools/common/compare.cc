#include "tools/common/compare.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

namespace weft::cli {
namespace {

std::vector<int64_t> IndexOf(int64_t element, const std::vector<int64_t>& shape) {
  std::vector<int64_t> index(shape.size());
  for (size_t i = shape.size(); i-- > 0;) {
    index[i] = element % shape[i];
    element /= shape[i];
  }
  return index;
}

// |a - b|, to within the rounding of a double, and 0 only of equal numbers: those of 64 bits may
// differ where their doubles do not.
template <typename T>
double Difference(T a, T b) {
  if constexpr (std::is_integral_v<T>) {
    const auto high = static_cast<uint64_t>(std::max(a, b));
    return static_cast<double>(high - static_cast<uint64_t>(std::min(a, b)));
  } else {
    const auto x = static_cast<double>(a), y = static_cast<double>(b);
    if (x == y || (std::isnan(x) && std::isnan(y))) return 0;
    const double difference = std::abs(x - y);
    return std::isnan(difference) ? std::numeric_limits<double>::infinity() : difference;
  }
}

// As it is read: %.9g says all of a float, and little of a large integer.
template <typename T>
std::string TextOf(T value) {
  if constexpr (std::is_integral_v<T>) return absl::StrCat(static_cast<int64_t>(value));
  return absl::StrFormat("%.9g", static_cast<double>(value));
}

template <typename T>
void CompareElements(const T* actual, const T* expected, double rtol, double atol,
                     const std::vector<int64_t>& shape, Comparison& result) {
  double worst = 0;  // how far out of tolerance
  for (int64_t i = 0; i < result.elements; ++i) {
    const double difference = Difference(actual[i], expected[i]);
    if (difference == 0) continue;
    const auto b = static_cast<double>(expected[i]);
    result.max_absolute = std::max(result.max_absolute, difference);
    result.max_relative =
        std::max(result.max_relative,
                 difference / std::max(std::abs(b), std::numeric_limits<double>::min()));
    const double tolerance = std::isfinite(b) ? atol + rtol * std::abs(b) : 0;
    if (difference <= tolerance) continue;
    ++result.differing;
    if (difference - tolerance > worst) {
      worst = difference - tolerance;
      result.worst = IndexOf(i, shape);
      result.worst_actual = TextOf(actual[i]);
      result.worst_expected = TextOf(expected[i]);
    }
  }
}

}  // namespace

Comparison Compare(const HostTensor& actual, const HostTensor& expected, double rtol, double atol) {
  Comparison result;
  result.same_type = actual.dtype() == expected.dtype() && actual.shape() == expected.shape();
  if (!result.same_type) {
    result.types = absl::StrCat(actual.TypeString(), ", expected ", expected.TypeString());
    return result;
  }
  result.elements = actual.num_elements();
  WithType(actual.dtype(), [&](auto type) {
    using T = decltype(type);
    CompareElements(static_cast<const T*>(actual.data()), static_cast<const T*>(expected.data()),
                    rtol, atol, actual.shape(), result);
  });
  result.agrees = result.differing == 0;
  return result;
}

std::string Comparison::Text() const {
  if (!same_type) return absl::StrCat("differs: ", types);
  std::string text =
      absl::StrFormat("%s: largest difference %.3g absolute, %.3g relative, of %d elements",
                      agrees ? "agrees" : "differs", max_absolute, max_relative, elements);
  if (!agrees) {
    absl::StrAppendFormat(&text, "; %d out of tolerance, worst at [%s]: %s, expected %s", differing,
                          absl::StrJoin(worst, ", "), worst_actual, worst_expected);
  }
  return text;
}

}  // namespace weft::cli
