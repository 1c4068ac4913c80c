// What the structured ops compute, in plain C++ over tensors in memory: simple and obviously right
// rather than fast. No MLIR in here; graph/ops/*_evaluate.cc reads the attributes and calls these.
//
// Operands are as the op's verifier wants them (graph/ops/*.td states it; axes may be negative),
// with sizes known. Floats add up in double and are rounded once at the end; integers wrap around.
// Errors: InvalidArgument where sizes of open dimensions turn out not to fit, and those of
// HostTensor::Create.
#ifndef WEFT_GRAPH_REFERENCE_KERNELS_H_
#define WEFT_GRAPH_REFERENCE_KERNELS_H_

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "proto/host_tensor.h"

namespace weft::reference {

using Sizes = absl::Span<const int64_t>;

// reduction.cc
enum class Reduction { kSum, kProd, kMax, kMin, kAnd, kOr };
absl::StatusOr<HostTensor> Reduce(Reduction reduction, const HostTensor& x, Sizes axes,
                                  bool keep_dims);
// Index of the first largest (or smallest) element; the first NaN if there is one.
absl::StatusOr<HostTensor> ArgReduce(bool max, const HostTensor& x, int64_t axis, bool keep_dims);
absl::StatusOr<HostTensor> CumSum(const HostTensor& x, int64_t axis, bool exclusive, bool reverse);

// linear_algebra.cc
absl::StatusOr<HostTensor> MatMul(const HostTensor& a, const HostTensor& b, bool transpose_a,
                                  bool transpose_b);

// convolution.cc
// Where the elements of a window lie: strides and dilations are [h, w], padding [top, bottom, left,
// right].
struct Window {
  std::vector<int64_t> strides = {1, 1};
  std::vector<int64_t> padding = {0, 0, 0, 0};
  std::vector<int64_t> dilations = {1, 1};
};
absl::StatusOr<HostTensor> Conv2D(const HostTensor& x, const HostTensor& filter,
                                  const Window& window, int64_t groups);
absl::StatusOr<HostTensor> Conv2DInputGrad(const HostTensor& dy, const HostTensor& filter,
                                           Sizes image_shape, const Window& window, int64_t groups);
absl::StatusOr<HostTensor> Conv2DFilterGrad(const HostTensor& x, const HostTensor& dy,
                                            Sizes filter_size, const Window& window,
                                            int64_t groups);
// Pooling: `size` is the window's [h, w]. First the maxima, then their places in the windows.
absl::StatusOr<std::pair<HostTensor, HostTensor>> MaxPool(const HostTensor& x, Sizes size,
                                                          const Window& window);
absl::StatusOr<HostTensor> MaxUnpool(const HostTensor& dy, const HostTensor& index,
                                     Sizes image_shape, Sizes size, const Window& window);
absl::StatusOr<HostTensor> MaxPoolAt(const HostTensor& x, const HostTensor& index, Sizes size,
                                     const Window& window);
absl::StatusOr<HostTensor> AvgPool(const HostTensor& x, Sizes size, const Window& window,
                                   bool count_padding);
absl::StatusOr<HostTensor> AvgPoolGrad(const HostTensor& dy, Sizes image_shape, Sizes size,
                                       const Window& window, bool count_padding);

// shape.cc
absl::StatusOr<HostTensor> Reshape(const HostTensor& x, Sizes shape);
absl::StatusOr<HostTensor> Transpose(const HostTensor& x, Sizes permutation);
absl::StatusOr<HostTensor> Broadcast(const HostTensor& x, Sizes shape);
absl::StatusOr<HostTensor> Concat(absl::Span<const HostTensor> xs, int64_t axis);
absl::StatusOr<HostTensor> Slice(const HostTensor& x, Sizes starts, Sizes limits, Sizes steps);
absl::StatusOr<HostTensor> Pad(const HostTensor& x, const HostTensor& value, Sizes low, Sizes high,
                               Sizes interior);
absl::StatusOr<HostTensor> Reverse(const HostTensor& x, Sizes axes);
absl::StatusOr<HostTensor> Iota(Sizes shape, int64_t axis, DataType dtype);

// indexing.cc
absl::StatusOr<HostTensor> Gather(const HostTensor& x, const HostTensor& indices, int64_t axis);
absl::StatusOr<HostTensor> ScatterAdd(const HostTensor& x, const HostTensor& indices,
                                      const HostTensor& updates);
absl::StatusOr<HostTensor> OneHot(const HostTensor& indices, int64_t depth, DataType dtype);
absl::StatusOr<HostTensor> StackPush(const HostTensor& x, const HostTensor& value, int64_t index);

// random.cc
absl::StatusOr<HostTensor> RandomUniform(uint32_t seed, int64_t stream, Sizes shape,
                                         DataType dtype);
absl::StatusOr<HostTensor> RandomNormal(uint32_t seed, int64_t stream, Sizes shape, DataType dtype);
absl::StatusOr<HostTensor> RandomBits(uint32_t seed, int64_t stream, Sizes shape);

}  // namespace weft::reference

#endif  // WEFT_GRAPH_REFERENCE_KERNELS_H_
