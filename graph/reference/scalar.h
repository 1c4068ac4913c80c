// Scalars as the reference evaluator computes with them. The expressions in graph/ops/*.td
// (`evaluate`) are compiled against this header.
#ifndef WEFT_GRAPH_REFERENCE_SCALAR_H_
#define WEFT_GRAPH_REFERENCE_SCALAR_H_

#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "proto/dtype.h"

namespace weft::reference {

// Wide enough that one operation on two elements neither overflows nor rounds more than the element
// type would: floats in double (which rounds sums, products, quotients and roots of f32, f16 and
// bf16 correctly), integers in twice their width, so that storing the result wraps around.
template <typename T>
using Compute = std::conditional_t<
    std::is_same_v<T, bool>, bool,
    std::conditional_t<std::is_same_v<T, int64_t>, __int128,
                       std::conditional_t<std::is_integral_v<T>, int64_t, double>>>;

// Sums and products of many elements: modulo 2^64 for integers, whose low bits are then those of
// wrapping arithmetic in any narrower type.
template <typename T>
using Accumulator = std::conditional_t<std::is_integral_v<T>, uint64_t, double>;

template <typename T>
inline constexpr bool kIsFloat = std::is_same_v<T, double> || std::is_same_v<T, float> ||
                                 std::is_same_v<T, F16> || std::is_same_v<T, BF16>;

template <typename T>
Compute<T> Load(T x) {
  if constexpr (std::is_same_v<T, BF16>) {
    return static_cast<float>(x);
  } else {
    return static_cast<Compute<T>>(x);
  }
}

template <typename T>
Accumulator<T> LoadForSum(T x) {
  if constexpr (std::is_same_v<T, BF16>) {
    return static_cast<float>(x);
  } else {
    return static_cast<Accumulator<T>>(x);
  }
}

// Rounds to nearest even; f16 and bf16 by way of f32, as compiled code does. Integers wrap around.
template <typename T, typename C>
T Store(C x) {
  if constexpr (std::is_same_v<T, BF16> || std::is_same_v<T, F16>) {
    return static_cast<T>(static_cast<float>(x));
  } else {
    return static_cast<T>(x);
  }
}

// Integers: truncates toward zero; 0 where b is 0.
template <typename C>
C Divide(C a, C b) {
  if constexpr (std::is_floating_point_v<C>) {
    return a / b;
  } else {
    return b == 0 ? C{0} : static_cast<C>(a / b);
  }
}

// With the sign of a; integers: 0 where b is 0.
template <typename C>
C Remainder(C a, C b) {
  if constexpr (std::is_floating_point_v<C>) {
    return std::fmod(a, b);
  } else {
    return b == 0 ? C{0} : static_cast<C>(a % b);
  }
}

// NaN if either is.
template <typename C>
C Maximum(C a, C b) {
  if (a != a) return a;
  if (b != b) return b;
  return a > b ? a : b;
}
template <typename C>
C Minimum(C a, C b) {
  if (a != a) return a;
  if (b != b) return b;
  return a < b ? a : b;
}

template <typename C>
C Absolute(C x) {
  if constexpr (std::is_floating_point_v<C>) {
    return std::fabs(x);
  } else {
    return x < 0 ? static_cast<C>(-x) : x;
  }
}

template <typename C>
C Sign(C x) {
  if (x != x) return x;
  return static_cast<C>((x > 0) - (x < 0));
}

template <typename C>
C Complement(C x) {
  if constexpr (std::is_same_v<C, bool>) {
    return !x;
  } else {
    return ~x;
  }
}

// Conversion of one element: float to integer truncates, saturates at the ends of the range and
// turns NaN to 0; anything to bool is x != 0; integers keep their low bits.
template <typename To, typename From>
To Convert(From x) {
  if constexpr (std::is_same_v<To, bool>) {
    return Load(x) != 0;
  } else if constexpr (kIsFloat<From> && std::is_integral_v<To>) {
    const double value = Load(x);
    // The upper end may round up to a power of two that is out of range already.
    constexpr double kEnd = static_cast<double>(std::numeric_limits<To>::max());
    constexpr double kStart = static_cast<double>(std::numeric_limits<To>::min());
    if (value != value) return To{0};
    if (value >= kEnd) return std::numeric_limits<To>::max();
    if (value <= kStart) return std::numeric_limits<To>::min();
    return static_cast<To>(value);
  } else if constexpr (kIsFloat<To> && std::is_integral_v<From>) {
    // Straight to f32, without a first rounding to double on the way.
    if constexpr (std::is_same_v<To, double>) {
      return static_cast<double>(x);
    } else {
      return Store<To>(static_cast<float>(x));
    }
  } else if constexpr (std::is_integral_v<To> || std::is_same_v<From, To>) {
    return static_cast<To>(x);
  } else {
    return Store<To>(Load(x));
  }
}

}  // namespace weft::reference

#endif  // WEFT_GRAPH_REFERENCE_SCALAR_H_
