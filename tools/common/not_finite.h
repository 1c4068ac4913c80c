// How JSON holds the numbers that it has none for: as texts.
#ifndef WEFT_TOOLS_COMMON_NOT_FINITE_H_
#define WEFT_TOOLS_COMMON_NOT_FINITE_H_

#include <cmath>
#include <limits>

namespace weft::cli {

struct NotFinite {
  const char* name;
  double value;
};

inline constexpr NotFinite kNotFinite[] = {{"NaN", std::numeric_limits<double>::quiet_NaN()},
                                           {"Infinity", std::numeric_limits<double>::infinity()},
                                           {"-Infinity", -std::numeric_limits<double>::infinity()}};

// Null for a number that is finite.
inline const char* NotFiniteName(double value) {
  if (std::isfinite(value)) return nullptr;
  return kNotFinite[std::isnan(value) ? 0 : value > 0 ? 1 : 2].name;
}

}  // namespace weft::cli

#endif  // WEFT_TOOLS_COMMON_NOT_FINITE_H_
