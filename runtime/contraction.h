// Launches that are matrix products or convolutions, which libraries for GPUs have as well: what a
// package states of them, and whether that is so at the sizes of a call. Contraction in
// proto/plan.proto says what it means.
#ifndef WEFT_RUNTIME_CONTRACTION_H_
#define WEFT_RUNTIME_CONTRACTION_H_

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "proto/dtype.h"

namespace weft {

struct LaunchContraction {
  // As the package has them.
  enum Kind : uint32_t { kProduct, kConvolution, kFilterGradient };
  // Of `sizes` of a product; strides in elements.
  enum Size : size_t {
    kBatches,
    kRows,
    kColumns,
    kDepth,
    kLeftBatch,
    kLeftRow,
    kLeftDepth,
    kRightBatch,
    kRightColumn,
    kRightDepth,
    kNumProductSizes
  };
  // Of the others. Down is along the height, across along the width.
  enum ConvolutionSize : size_t {
    kImages,
    kHeight,
    kWidth,
    kChannels,
    kFilterHeight,
    kFilterWidth,
    kFilters,
    kOutHeight,
    kOutWidth,
    kGroups,
    kStrideDown,
    kStrideAcross,
    kDilationDown,
    kDilationAcross,
    kPaddingAbove,
    kPaddingBelow,
    kPaddingLeft,
    kPaddingRight,
    kNumConvolutionSizes
  };
  static constexpr size_t kMaxSizes = std::max<size_t>(kNumProductSizes, kNumConvolutionSizes);
  static constexpr uint32_t kNone = UINT32_MAX;

  Kind kind = kProduct;
  uint32_t step = 0;  // of the plan
  DataType dtype = DataType::kInvalid;
  bool tf32 = false;
  double scale = 1;
  // Which of the launch's buffers; the last two may be kNone.
  uint32_t left = 0, right = 0, addend = kNone, bias = kNone;
  std::array<uint32_t, kMaxSizes> sizes{};  // formulas: the first num_sizes()

  // 0 where there is no such kind.
  size_t num_sizes() const {
    if (kind == kProduct) return kNumProductSizes;
    return kind == kConvolution || kind == kFilterGradient ? kNumConvolutionSizes : 0;
  }
};

// The values of a contraction's sizes; those that it does not have are 0.
using ContractionSizes = std::array<int64_t, LaunchContraction::kMaxSizes>;

// Windows of so many elements, `dilation` apart, that lie `stride` apart in a line of `size`
// elements with padding. All but the padding are 1 or more, and all are below 2^31.
int64_t WindowsAlong(int64_t size, int64_t padding_before, int64_t padding_after, int64_t window,
                     int64_t dilation, int64_t stride);

// Whether, at sizes that CheckContractionSizes takes, the result has elements that are sums of at
// least one product.
bool HasSums(const LaunchContraction& contraction, const ContractionSizes& sizes);

// What is wrong with the contraction at these sizes, where the launch's buffers have so many bytes
// from their addresses on: in words that follow "expected"; null where nothing is.
const char* CheckContractionSizes(const LaunchContraction& contraction,
                                  const ContractionSizes& sizes,
                                  std::span<const int64_t> buffer_bytes);

}  // namespace weft

#endif  // WEFT_RUNTIME_CONTRACTION_H_
