#include "runtime/contraction.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

namespace weft {
namespace {

using C = LaunchContraction;
using ::testing::HasSubstr;

// 3 batches of [5, 7] x [7, 11] + [5, 11] + [11], all in rows, of f32, right transposed.
constexpr C kProduct = {.dtype = DataType::kF32, .left = 0, .right = 1, .addend = 2, .bias = 3};
constexpr ContractionSizes kSizes = {3, 5, 11, 7, 35, 7, 1, 77, 7, 1};
const std::vector<int64_t> kBytes = {3 * 35 * 4, 3 * 77 * 4, 3 * 55 * 4, 11 * 4, 3 * 55 * 4};

std::string Problem(const C& contraction, const ContractionSizes& sizes,
                    const std::vector<int64_t>& bytes = kBytes) {
  const char* problem = CheckContractionSizes(contraction, sizes, bytes);
  return problem == nullptr ? "" : problem;
}
std::string ProblemWith(C::Size which, int64_t size) {
  ContractionSizes sizes = kSizes;
  sizes[which] = size;
  return Problem(kProduct, sizes);
}

TEST(Contraction, OperandsEndWhereTheirBuffersDo) {
  EXPECT_EQ(Problem(kProduct, kSizes), "");
  for (size_t i = 0; i < kBytes.size(); ++i) {
    std::vector<int64_t> bytes = kBytes;
    bytes[i] -= 1;
    EXPECT_THAT(Problem(kProduct, kSizes, bytes), HasSubstr("within their buffers")) << i;
    bytes[i] = -1;
    EXPECT_THAT(Problem(kProduct, kSizes, bytes), HasSubstr("within their buffers")) << i;
  }
  // What there is not has no end.
  C bare = kProduct;
  bare.addend = bare.bias = C::kNone;
  EXPECT_EQ(Problem(bare, kSizes, {420, 924, 0, 0, 660}), "");
  C wide = kProduct;
  wide.dtype = DataType::kF64;
  EXPECT_NE(Problem(wide, kSizes), "");
}

TEST(Contraction, StridesReachNoFurther) {
  for (size_t i = C::kLeftBatch; i < C::kNumProductSizes; ++i) {
    EXPECT_THAT(ProblemWith(static_cast<C::Size>(i), kSizes[i] + 1), HasSubstr("within")) << i;
    EXPECT_EQ(ProblemWith(static_cast<C::Size>(i), 0), "") << i;
    EXPECT_THAT(ProblemWith(static_cast<C::Size>(i), -1), HasSubstr("strides")) << i;
    EXPECT_THAT(ProblemWith(static_cast<C::Size>(i), int64_t{1} << 40), HasSubstr("within")) << i;
    EXPECT_THAT(ProblemWith(static_cast<C::Size>(i), INT64_MAX), HasSubstr("strides")) << i;
  }
}

TEST(Contraction, SizesAreBounded) {
  for (const C::Size which : {C::kBatches, C::kRows, C::kColumns, C::kDepth}) {
    EXPECT_NE(ProblemWith(which, kSizes[which] + 1), "") << which;
    EXPECT_NE(ProblemWith(which, INT32_MAX), "") << which;
    EXPECT_THAT(ProblemWith(which, -1), HasSubstr("sizes")) << which;
    EXPECT_THAT(ProblemWith(which, int64_t{1} << 40), HasSubstr("within")) << which;
    EXPECT_THAT(ProblemWith(which, (int64_t{1} << 40) + 1), HasSubstr("sizes")) << which;
    // Nothing is read or written.
    EXPECT_EQ(ProblemWith(which, 0), "") << which;
  }
  // All as large as may be, which 64 bits could not count.
  ContractionSizes largest = {};
  std::fill_n(largest.begin(), C::kNumProductSizes, int64_t{1} << 40);
  EXPECT_THAT(Problem(kProduct, largest), HasSubstr("within"));
  // Of nothing, strides may be any.
  ContractionSizes empty = kSizes;
  empty[C::kBatches] = 0;
  empty[C::kLeftBatch] = int64_t{1} << 42;
  EXPECT_EQ(Problem(kProduct, empty), "");
  // More rows than 32 bits count, of which there are as many.
  constexpr int64_t kRows = int64_t{3} << 30;
  const C bare = {.dtype = DataType::kF16, .left = 0, .right = 1};
  EXPECT_EQ(Problem(bare, {1, kRows, 8, 8, 0, 8, 1, 0, 8, 1}, {kRows * 16, 128, kRows * 16}), "");
}

// 2 images of 9 x 8 with 6 channels, in 3 groups; 12 filters of 3 x 2, 1 and 2 apart; windows 2 and
// 1 apart, with 1, 0, 2, 1 zeros around: 4 x 9 windows.
constexpr C kConvolution = {
    .kind = C::kConvolution, .dtype = DataType::kF16, .left = 0, .right = 1};
constexpr ContractionSizes kGeometry = {2, 9, 8, 6, 3, 2, 12, 4, 9, 3, 2, 1, 1, 2, 1, 0, 2, 1};
const std::vector<int64_t> kImageFilterOut = {2 * 72 * 6 * 2, 6 * 2 * 12 * 2, 2 * 36 * 12 * 2};

std::string ProblemOf(const C& convolution, C::ConvolutionSize which, int64_t size) {
  ContractionSizes sizes = kGeometry;
  sizes[which] = size;
  return Problem(convolution, sizes, kImageFilterOut);
}

TEST(Contraction, WindowsAlongALine) {
  EXPECT_EQ(WindowsAlong(9, 1, 0, 3, 1, 2), 4);
  EXPECT_EQ(WindowsAlong(8, 2, 1, 2, 2, 1), 9);
  EXPECT_EQ(WindowsAlong(3, 0, 0, 3, 1, 7), 1);
  EXPECT_EQ(WindowsAlong(3, 0, 0, 4, 1, 1), 0);
  EXPECT_EQ(WindowsAlong(1, 0, 0, 2, INT32_MAX, 1), 0);
}

TEST(Contraction, ConvolutionsLieInTheirBuffers) {
  C filter_gradient = kConvolution;
  filter_gradient.kind = C::kFilterGradient;
  const std::vector<int64_t> image_out_filter = {kImageFilterOut[0], kImageFilterOut[2],
                                                 kImageFilterOut[1]};
  EXPECT_EQ(Problem(kConvolution, kGeometry, kImageFilterOut), "");
  EXPECT_EQ(Problem(filter_gradient, kGeometry, image_out_filter), "");
  for (size_t i = 0; i < 3; ++i) {
    std::vector<int64_t> bytes = kImageFilterOut, others = image_out_filter;
    --bytes[i];
    --others[i];
    EXPECT_THAT(Problem(kConvolution, kGeometry, bytes), HasSubstr("within their buffers")) << i;
    EXPECT_THAT(Problem(filter_gradient, kGeometry, others), HasSubstr("within")) << i;
  }
  EXPECT_THAT(ProblemOf(kConvolution, C::kImages, 3), HasSubstr("within"));
  EXPECT_THAT(ProblemOf(kConvolution, C::kFilters, 15), HasSubstr("within"));
  EXPECT_THAT(ProblemOf(kConvolution, C::kChannels, 9), HasSubstr("within"));
  // All as large as may be, which 64 bits could not count.
  ContractionSizes large;
  large.fill(INT32_MAX);
  for (const C::ConvolutionSize size :
       {C::kFilterHeight, C::kFilterWidth, C::kGroups, C::kStrideDown, C::kStrideAcross}) {
    large[size] = 1;
  }
  for (size_t i = C::kPaddingAbove; i < C::kNumConvolutionSizes; ++i) large[i] = 0;
  EXPECT_THAT(Problem(kConvolution, large, kImageFilterOut), HasSubstr("within"));
}

TEST(Contraction, ConvolutionsHaveTheWindowsThatTheyState) {
  for (const C::ConvolutionSize which :
       {C::kHeight, C::kWidth, C::kFilterHeight, C::kFilterWidth, C::kOutHeight, C::kOutWidth,
        C::kDilationDown, C::kDilationAcross, C::kPaddingBelow, C::kPaddingRight}) {
    EXPECT_THAT(ProblemOf(kConvolution, which, kGeometry[which] + 2), HasSubstr("windows"))
        << which;
  }
  EXPECT_THAT(ProblemOf(kConvolution, C::kStrideAcross, 2), HasSubstr("windows"));
  EXPECT_THAT(ProblemOf(kConvolution, C::kGroups, 4), HasSubstr("groups divide"));
  EXPECT_THAT(ProblemOf(kConvolution, C::kFilters, 13), HasSubstr("groups divide"));
  for (size_t i = 0; i < C::kNumConvolutionSizes; ++i) {
    const auto which = static_cast<C::ConvolutionSize>(i);
    EXPECT_THAT(ProblemOf(kConvolution, which, -1), HasSubstr("sizes from 0")) << i;
    EXPECT_THAT(ProblemOf(kConvolution, which, int64_t{1} << 31), HasSubstr("sizes from 0")) << i;
    const bool counts = i <= C::kOutWidth, divides = i > C::kOutWidth && i < C::kPaddingAbove;
    EXPECT_EQ(HasSums(kConvolution, kGeometry), true);
    if (counts) EXPECT_EQ(ProblemOf(kConvolution, which, 0), "") << i;
    if (divides) EXPECT_THAT(ProblemOf(kConvolution, which, 0), HasSubstr("1 or more")) << i;
  }
  ContractionSizes none = kGeometry;
  none[C::kOutHeight] = 0;
  EXPECT_FALSE(HasSums(kConvolution, none));
}

TEST(Contraction, NothingIsAddedToConvolutions) {
  C convolution = kConvolution;
  convolution.scale = 2;
  EXPECT_THAT(Problem(convolution, kGeometry, kImageFilterOut), HasSubstr("scale of 1"));
  convolution = kConvolution;
  convolution.bias = 1;
  EXPECT_THAT(Problem(convolution, kGeometry, kImageFilterOut), HasSubstr("nothing added"));
  convolution = kConvolution;
  convolution.addend = 0;
  EXPECT_THAT(Problem(convolution, kGeometry, kImageFilterOut), HasSubstr("nothing added"));
}

}  // namespace
}  // namespace weft
