#include "runtime/matrix_product.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace weft {
namespace {

using P = LaunchProduct;
using ::testing::HasSubstr;

// 3 batches of [5, 7] x [7, 11] + [5, 11] + [11], all in rows, of f32, right transposed.
constexpr P kProduct = {.dtype = DataType::kF32, .left = 0, .right = 1, .addend = 2, .bias = 3};
constexpr ProductSizes kSizes = {3, 5, 11, 7, 35, 7, 1, 77, 7, 1};
const std::vector<int64_t> kBytes = {3 * 35 * 4, 3 * 77 * 4, 3 * 55 * 4, 11 * 4, 3 * 55 * 4};

std::string Problem(const P& product, const ProductSizes& sizes,
                    const std::vector<int64_t>& bytes = kBytes) {
  const char* problem = CheckProductSizes(product, sizes, bytes);
  return problem == nullptr ? "" : problem;
}
std::string ProblemWith(P::Size which, int64_t size) {
  ProductSizes sizes = kSizes;
  sizes[which] = size;
  return Problem(kProduct, sizes);
}

TEST(MatrixProduct, OperandsEndWhereTheirBuffersDo) {
  EXPECT_EQ(Problem(kProduct, kSizes), "");
  for (size_t i = 0; i < kBytes.size(); ++i) {
    std::vector<int64_t> bytes = kBytes;
    bytes[i] -= 1;
    EXPECT_THAT(Problem(kProduct, kSizes, bytes), HasSubstr("within their buffers")) << i;
    bytes[i] = -1;
    EXPECT_THAT(Problem(kProduct, kSizes, bytes), HasSubstr("within their buffers")) << i;
  }
  // What there is not has no end.
  P bare = kProduct;
  bare.addend = bare.bias = P::kNone;
  EXPECT_EQ(Problem(bare, kSizes, {420, 924, 0, 0, 660}), "");
  P wide = kProduct;
  wide.dtype = DataType::kF64;
  EXPECT_NE(Problem(wide, kSizes), "");
}

TEST(MatrixProduct, StridesReachNoFurther) {
  for (size_t i = P::kLeftBatch; i < P::kNumSizes; ++i) {
    EXPECT_THAT(ProblemWith(static_cast<P::Size>(i), kSizes[i] + 1), HasSubstr("within")) << i;
    EXPECT_EQ(ProblemWith(static_cast<P::Size>(i), 0), "") << i;
    EXPECT_THAT(ProblemWith(static_cast<P::Size>(i), -1), HasSubstr("strides")) << i;
    EXPECT_THAT(ProblemWith(static_cast<P::Size>(i), int64_t{1} << 40), HasSubstr("within")) << i;
    EXPECT_THAT(ProblemWith(static_cast<P::Size>(i), INT64_MAX), HasSubstr("strides")) << i;
  }
}

TEST(MatrixProduct, SizesAreBounded) {
  for (const P::Size which : {P::kBatches, P::kRows, P::kColumns, P::kDepth}) {
    EXPECT_NE(ProblemWith(which, kSizes[which] + 1), "") << which;
    EXPECT_NE(ProblemWith(which, INT32_MAX), "") << which;
    EXPECT_THAT(ProblemWith(which, -1), HasSubstr("sizes")) << which;
    EXPECT_THAT(ProblemWith(which, int64_t{1} << 31), HasSubstr("sizes")) << which;
    // Nothing is read or written.
    EXPECT_EQ(ProblemWith(which, 0), "") << which;
  }
  // All as large as may be, which 64 bits could not count.
  constexpr int64_t kSize = INT32_MAX, kStride = int64_t{1} << 40;
  EXPECT_THAT(Problem(kProduct, {kSize, kSize, kSize, kSize, kStride, kStride, kStride, kStride,
                                 kStride, kStride}),
              HasSubstr("within"));
}

}  // namespace
}  // namespace weft
