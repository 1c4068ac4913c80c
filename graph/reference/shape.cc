#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "graph/reference/index.h"
#include "graph/reference/kernels.h"
#include "graph/reference/scalar.h"

namespace weft::reference {
namespace {

// The result whose element i is x's element at start + (index of i) . strides.
absl::StatusOr<HostTensor> Strided(const HostTensor& x, Sizes shape, Sizes strides, int64_t start) {
  absl::StatusOr<HostTensor> y = HostTensor::Create(x.dtype(), shape);
  if (!y.ok()) return y;
  WithType(x.dtype(), [&](auto type) {
    using T = decltype(type);
    const T* in = x.values<T>().data();
    T* out = y->mutable_values<T>().data();
    ForEachOffset(shape, strides, start, [&](int64_t i, int64_t offset) { out[i] = in[offset]; });
  });
  return y;
}

// The other way round: x's elements go to start + (their index) . strides of y.
void Place(const HostTensor& x, Sizes strides, int64_t start, HostTensor& y) {
  WithType(x.dtype(), [&](auto type) {
    using T = decltype(type);
    const T* in = x.values<T>().data();
    T* out = y.mutable_values<T>().data();
    ForEachOffset(x.shape(), strides, start,
                  [&](int64_t i, int64_t offset) { out[offset] = in[i]; });
  });
}

absl::Status Mismatch(const HostTensor& x, Sizes shape) {
  return absl::InvalidArgumentError(absl::StrCat("expected a shape that ", x.TypeString(),
                                                 " fits, got [", absl::StrJoin(shape, ", "), "]"));
}

}  // namespace

absl::StatusOr<HostTensor> Reshape(const HostTensor& x, Sizes shape) {
  absl::StatusOr<int64_t> count = CheckedNumElements(shape);
  if (!count.ok()) return count.status();
  if (*count != x.num_elements()) return Mismatch(x, shape);
  return x.Reshaped(shape);
}

absl::StatusOr<HostTensor> Transpose(const HostTensor& x, Sizes permutation) {
  const std::vector<int64_t> strides = RowMajorStrides(x.shape());
  std::vector<int64_t> shape, permuted;
  for (int64_t axis : permutation) {
    shape.push_back(x.shape()[axis]);
    permuted.push_back(strides[axis]);
  }
  return Strided(x, shape, permuted, 0);
}

absl::StatusOr<HostTensor> Broadcast(const HostTensor& x, Sizes shape) {
  const std::vector<int64_t> x_strides = RowMajorStrides(x.shape());
  std::vector<int64_t> strides(shape.size(), 0);
  const size_t leading = shape.size() - x.shape().size();
  for (size_t d = leading; d < shape.size(); ++d) {
    const int64_t size = x.shape()[d - leading];
    if (size != 1 && size != shape[d]) return Mismatch(x, shape);
    if (size != 1) strides[d] = x_strides[d - leading];
  }
  return Strided(x, shape, strides, 0);
}

absl::StatusOr<HostTensor> Concat(absl::Span<const HostTensor> xs, int64_t axis) {
  axis = NormalizeAxis(axis, xs[0].rank());
  std::vector<int64_t> shape = xs[0].shape();
  shape[axis] = 0;
  for (const HostTensor& x : xs) {
    std::vector<int64_t> other = x.shape();
    shape[axis] += other[axis];
    other[axis] = shape[axis];
    if (other != shape) return Mismatch(x, shape);
  }
  absl::StatusOr<HostTensor> y = HostTensor::Create(xs[0].dtype(), shape);
  if (!y.ok()) return y;
  const std::vector<int64_t> strides = RowMajorStrides(shape);
  int64_t at = 0;
  for (const HostTensor& x : xs) {
    Place(x, strides, at * strides[axis], *y);
    at += x.shape()[axis];
  }
  return y;
}

absl::StatusOr<HostTensor> Slice(const HostTensor& x, Sizes starts, Sizes limits, Sizes steps) {
  std::vector<int64_t> strides = RowMajorStrides(x.shape()), shape;
  int64_t start = 0;
  for (size_t d = 0; d < strides.size(); ++d) {
    if (starts[d] < 0 || limits[d] > x.shape()[d]) {
      return absl::InvalidArgumentError(
          absl::StrCat("expected 0 <= start and limit <= size in dimension ", d, ", got start ",
                       starts[d], " and limit ", limits[d], " of ", x.TypeString()));
    }
    // A start past the limit takes nothing.
    const int64_t length = std::max<int64_t>(limits[d] - starts[d], 0);
    shape.push_back((length + steps[d] - 1) / steps[d]);
    start += starts[d] * strides[d];
    strides[d] *= steps[d];
  }
  return Strided(x, shape, strides, start);
}

absl::StatusOr<HostTensor> Pad(const HostTensor& x, const HostTensor& value, Sizes low, Sizes high,
                               Sizes interior) {
  std::vector<int64_t> shape;
  for (int64_t d = 0; d < x.rank(); ++d) {
    const int64_t size = x.shape()[d];
    shape.push_back(low[d] + size + std::max<int64_t>(size - 1, 0) * interior[d] + high[d]);
  }
  absl::StatusOr<HostTensor> y = Broadcast(value, shape);
  if (!y.ok()) return y;
  std::vector<int64_t> strides = RowMajorStrides(shape);
  int64_t start = 0;
  for (size_t d = 0; d < strides.size(); ++d) {
    start += low[d] * strides[d];
    strides[d] *= interior[d] + 1;
  }
  Place(x, strides, start, *y);
  return y;
}

absl::StatusOr<HostTensor> Reverse(const HostTensor& x, Sizes axes) {
  std::vector<int64_t> strides = RowMajorStrides(x.shape());
  int64_t start = 0;
  for (int64_t axis : axes) {
    axis = NormalizeAxis(axis, x.rank());
    start += (x.shape()[axis] - 1) * strides[axis];
    strides[axis] = -strides[axis];
  }
  return Strided(x, x.shape(), strides, start);
}

absl::StatusOr<HostTensor> Iota(Sizes shape, int64_t axis, DataType dtype) {
  absl::StatusOr<HostTensor> y = HostTensor::Create(dtype, shape);
  if (!y.ok()) return y;
  std::vector<int64_t> strides(shape.size(), 0);
  strides[NormalizeAxis(axis, shape.size())] = 1;
  WithType(dtype, [&](auto type) {
    using T = decltype(type);
    T* out = y->mutable_values<T>().data();
    ForEachOffset(shape, strides, 0, [&](int64_t i, int64_t offset) { out[i] = Store<T>(offset); });
  });
  return y;
}

}  // namespace weft::reference
