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

// An element of any dtype; `whole` is set of integers and bool.
struct Number {
  double value = 0;
  int64_t whole = 0;
  bool is_whole = false;
};
using NumberAt = Number (*)(const void* data, int64_t element);

template <typename T>
Number NumberOfType(const void* data, int64_t element) {
  const T x = static_cast<const T*>(data)[element];
  if constexpr (std::is_integral_v<T>) {
    return {static_cast<double>(x), static_cast<int64_t>(x), true};
  } else {
    return {static_cast<double>(x)};
  }
}

// |a - b|, to within the rounding of a double, and 0 only of equal numbers: those of 64 bits may
// differ where their doubles do not.
double Difference(const Number& a, const Number& b) {
  if (a.is_whole) {
    const auto high = static_cast<uint64_t>(std::max(a.whole, b.whole));
    return static_cast<double>(high - static_cast<uint64_t>(std::min(a.whole, b.whole)));
  }
  if (a.value == b.value || (std::isnan(a.value) && std::isnan(b.value))) return 0;
  const double difference = std::abs(a.value - b.value);
  return std::isnan(difference) ? std::numeric_limits<double>::infinity() : difference;
}

// As it is read: %.9g says all of a float, and little of a large integer.
std::string TextOf(const Number& number) {
  return number.is_whole ? absl::StrCat(number.whole) : absl::StrFormat("%.9g", number.value);
}

// One loop for all dtypes: this is in programs that are to stay small.
void CompareElements(const void* actual, const void* expected, NumberAt at, double rtol,
                     double atol, const std::vector<int64_t>& shape, Comparison& result) {
  double worst = 0;  // how far out of tolerance
  for (int64_t i = 0; i < result.elements; ++i) {
    const Number got = at(actual, i), wanted = at(expected, i);
    const double difference = Difference(got, wanted);
    if (difference == 0) continue;
    const double b = wanted.value;
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
      result.worst_actual = TextOf(got);
      result.worst_expected = TextOf(wanted);
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
  const NumberAt at =
      WithType(actual.dtype(), [](auto type) -> NumberAt { return &NumberOfType<decltype(type)>; });
  CompareElements(actual.data(), expected.data(), at, rtol, atol, actual.shape(), result);
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
