// Launches that are matrix products, which libraries for GPUs have as well: what a package states
// of them, and whether that is so at the sizes of a call. MatrixProduct in proto/plan.proto says
// what it means.
#ifndef WEFT_RUNTIME_MATRIX_PRODUCT_H_
#define WEFT_RUNTIME_MATRIX_PRODUCT_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "proto/dtype.h"

namespace weft {

struct LaunchProduct {
  // Of `sizes`, as the package has them; strides in elements.
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
    kNumSizes
  };
  static constexpr uint32_t kNone = UINT32_MAX;

  uint32_t step = 0;  // of the plan
  DataType dtype = DataType::kInvalid;
  bool tf32 = false;
  double scale = 1;
  // Which of the launch's buffers; the last two may be kNone.
  uint32_t left = 0, right = 0, addend = kNone, bias = kNone;
  std::array<uint32_t, kNumSizes> sizes{};  // formulas
};

// The values of a product's sizes.
using ProductSizes = std::array<int64_t, LaunchProduct::kNumSizes>;

// What is wrong with the product at these sizes, where the launch's buffers have so many bytes from
// their addresses on: in words that follow "expected"; null where nothing is.
const char* CheckProductSizes(const LaunchProduct& product, const ProductSizes& sizes,
                              std::span<const int64_t> buffer_bytes);

}  // namespace weft

#endif  // WEFT_RUNTIME_MATRIX_PRODUCT_H_
