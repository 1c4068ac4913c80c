#include "runtime/matrix_product.h"

namespace weft {
namespace {

// Sizes of a library's are of 32 bits in places; strides stay so that nothing below overflows.
constexpr int64_t kMaxSize = INT32_MAX;
constexpr int64_t kMaxStride = int64_t{1} << 40;

using Wide = __int128;
using P = LaunchProduct;

}  // namespace

const char* CheckProductSizes(const LaunchProduct& product, const ProductSizes& sizes,
                              std::span<const int64_t> buffer_bytes) {
  bool empty = false;
  for (size_t i = 0; i < P::kNumSizes; ++i) {
    const bool stride = i > P::kDepth;
    if (sizes[i] < 0 || sizes[i] > (stride ? kMaxStride : kMaxSize)) {
      return stride ? "strides from 0 to 2^40" : "sizes from 0 to 2147483647";
    }
    empty = empty || (!stride && sizes[i] == 0);
  }
  if (empty) return nullptr;  // nothing is read or written
  const auto fits = [&](uint32_t buffer, Wide elements) {
    return buffer == P::kNone || elements * SizeOf(product.dtype) <= buffer_bytes[buffer];
  };
  const auto end = [&](P::Size batch, P::Size own, P::Size own_size, P::Size depth) {
    return Wide{sizes[P::kBatches] - 1} * sizes[batch] + Wide{sizes[own_size] - 1} * sizes[own] +
           Wide{sizes[P::kDepth] - 1} * sizes[depth] + 1;
  };
  const Wide result = Wide{sizes[P::kBatches]} * sizes[P::kRows] * sizes[P::kColumns];
  if (!fits(product.left, end(P::kLeftBatch, P::kLeftRow, P::kRows, P::kLeftDepth)) ||
      !fits(product.right, end(P::kRightBatch, P::kRightColumn, P::kColumns, P::kRightDepth)) ||
      !fits(product.addend, result) || !fits(product.bias, sizes[P::kColumns]) ||
      !fits(static_cast<uint32_t>(buffer_bytes.size() - 1), result)) {
    return "operands and a result within their buffers";
  }
  return nullptr;
}

}  // namespace weft
