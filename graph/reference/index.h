// Walking over the elements of tensors.
#ifndef WEFT_GRAPH_REFERENCE_INDEX_H_
#define WEFT_GRAPH_REFERENCE_INDEX_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"

namespace weft::reference {

// Distance in elements between neighbours along each dimension of a row-major tensor.
inline std::vector<int64_t> RowMajorStrides(absl::Span<const int64_t> shape) {
  std::vector<int64_t> strides(shape.size(), 1);
  for (size_t i = shape.size(); i-- > 1;) strides[i - 1] = strides[i] * shape[i];
  return strides;
}

inline int64_t Product(absl::Span<const int64_t> sizes) {
  int64_t product = 1;
  for (int64_t size : sizes) product *= size;
  return product;
}

inline int64_t NormalizeAxis(int64_t axis, int64_t rank) { return axis < 0 ? axis + rank : axis; }

// Calls f(i, offset) for each index tuple of `shape` in row-major order, i counting from 0, where
// offset is start + sum of index * stride.
template <typename F>
void ForEachOffset(absl::Span<const int64_t> shape, absl::Span<const int64_t> strides,
                   int64_t start, F&& f) {
  const int64_t count = Product(shape);
  std::vector<int64_t> index(shape.size(), 0);
  int64_t offset = start;
  for (int64_t i = 0; i < count; ++i) {
    f(i, offset);
    for (size_t d = shape.size(); d-- > 0;) {
      offset += strides[d];
      if (++index[d] < shape[d]) break;
      offset -= strides[d] * shape[d];
      index[d] = 0;
    }
  }
}

// A tensor seen as [outer, size, inner] around one axis.
struct AxisView {
  AxisView(absl::Span<const int64_t> shape, int64_t axis)
      : outer(Product(shape.subspan(0, axis))),
        size(shape[axis]),
        inner(Product(shape.subspan(axis + 1))) {}
  int64_t outer, size, inner;
};

}  // namespace weft::reference

#endif  // WEFT_GRAPH_REFERENCE_INDEX_H_
