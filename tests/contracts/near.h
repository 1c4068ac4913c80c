// Results on one device beside those on another.
#ifndef WEFT_TESTS_CONTRACTS_NEAR_H_
#define WEFT_TESTS_CONTRACTS_NEAR_H_

#include <algorithm>
#include <cmath>
#include <string>

#include "gtest/gtest.h"
#include "proto/host_tensor.h"

namespace weft {

// f32 within the tolerance, of numbers above 1 relative to them; other dtypes to the bit.
inline void ExpectNear(const HostTensor& a, const HostTensor& b, double tolerance,
                       const std::string& what) {
  ASSERT_EQ(a.shape(), b.shape()) << what;
  if (a.dtype() != DataType::kF32) {
    EXPECT_EQ(a.ToString(1 << 12), b.ToString(1 << 12)) << what;
    return;
  }
  for (int64_t i = 0; i < a.num_elements(); ++i) {
    const double x = a.values<float>()[i], y = b.values<float>()[i];
    ASSERT_LE(std::fabs(x - y), tolerance * std::max(1.0, std::fabs(y))) << what << " " << i;
  }
}

}  // namespace weft

#endif  // WEFT_TESTS_CONTRACTS_NEAR_H_
