#include <algorithm>
#include <type_traits>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "graph/reference/elementwise.h"
#include "graph/reference/index.h"
#include "graph/reference/kernels.h"
#include "graph/reference/scalar.h"

namespace weft::reference {
namespace {

absl::StatusOr<HostTensor> IndicesAsI64(const HostTensor& indices) {
  return Cast(indices, DataType::kI64);
}

}  // namespace

absl::StatusOr<HostTensor> Gather(const HostTensor& x, const HostTensor& indices, int64_t axis) {
  axis = NormalizeAxis(axis, x.rank());
  const AxisView view(x.shape(), axis);
  std::vector<int64_t> shape(x.shape().begin(), x.shape().begin() + axis);
  shape.insert(shape.end(), indices.shape().begin(), indices.shape().end());
  shape.insert(shape.end(), x.shape().begin() + axis + 1, x.shape().end());
  absl::StatusOr<HostTensor> y = HostTensor::Create(x.dtype(), shape);
  absl::StatusOr<HostTensor> at = IndicesAsI64(indices);
  if (!y.ok()) return y;
  if (!at.ok()) return at;
  absl::Span<const int64_t> places = at->values<int64_t>();
  WithType(x.dtype(), [&](auto type) {
    using T = decltype(type);
    const T* in = x.values<T>().data();
    T* out = y->mutable_values<T>().data();
    for (int64_t o = 0; o < view.outer; ++o) {
      for (int64_t place : places) {
        const bool inside = place >= 0 && place < view.size;
        for (int64_t i = 0; i < view.inner; ++i) {
          *out++ = inside ? in[(o * view.size + place) * view.inner + i] : T{};
        }
      }
    }
  });
  return y;
}

absl::StatusOr<HostTensor> ScatterAdd(const HostTensor& x, const HostTensor& indices,
                                      const HostTensor& updates) {
  const AxisView view(x.shape(), 0);
  absl::StatusOr<HostTensor> y = HostTensor::Create(x.dtype(), x.shape());
  absl::StatusOr<HostTensor> at = IndicesAsI64(indices);
  if (!y.ok()) return y;
  if (!at.ok()) return at;
  absl::Span<const int64_t> places = at->values<int64_t>();
  if (updates.num_elements() != static_cast<int64_t>(places.size()) * view.inner) {
    return absl::InvalidArgumentError(absl::StrCat("expected a slice of ", x.TypeString(),
                                                   " for each of ", indices.TypeString(), ", got ",
                                                   updates.TypeString()));
  }
  WithType(x.dtype(), [&](auto type) {
    using T = decltype(type);
    absl::Span<const T> in = x.values<T>();
    const T* update = updates.values<T>().data();
    std::vector<Accumulator<T>> total;
    for (T value : in) total.push_back(LoadForSum(value));
    for (int64_t place : places) {
      for (int64_t i = 0; i < view.inner; ++i, ++update) {
        if (place < 0 || place >= view.size) continue;
        Accumulator<T>& sum = total[place * view.inner + i];
        sum += LoadForSum(*update);
        // Narrow numbers are rounded each time: kernels add to what lies in memory.
        if constexpr (sizeof(T) == 2 && !std::is_integral_v<T>) sum = LoadForSum(Store<T>(sum));
      }
    }
    absl::Span<T> out = y->mutable_values<T>();
    for (size_t i = 0; i < out.size(); ++i) out[i] = Store<T>(total[i]);
  });
  return y;
}

absl::StatusOr<HostTensor> OneHot(const HostTensor& indices, int64_t depth, DataType dtype) {
  std::vector<int64_t> shape = indices.shape();
  shape.push_back(depth);
  absl::StatusOr<HostTensor> y = HostTensor::Create(dtype, shape);
  absl::StatusOr<HostTensor> at = IndicesAsI64(indices);
  if (!y.ok()) return y;
  if (!at.ok()) return at;
  absl::Span<const int64_t> places = at->values<int64_t>();
  WithType(dtype, [&](auto type) {
    using T = decltype(type);
    T* out = y->mutable_values<T>().data();
    for (size_t i = 0; i < places.size(); ++i) {
      if (places[i] >= 0 && places[i] < depth) out[i * depth + places[i]] = Store<T>(1);
    }
  });
  return y;
}

absl::StatusOr<HostTensor> StackPush(const HostTensor& x, const HostTensor& value, int64_t index) {
  const AxisView view(x.shape(), 0);
  if (value.num_elements() != view.inner) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected a slice of ", x.TypeString(), ", got ", value.TypeString()));
  }
  HostTensor y = x.Clone();
  if (index >= 0 && index < view.size) {
    WithType(x.dtype(), [&](auto type) {
      using T = decltype(type);
      absl::Span<const T> in = value.values<T>();
      std::copy(in.begin(), in.end(), y.mutable_values<T>().begin() + index * view.inner);
    });
  }
  return y;
}

}  // namespace weft::reference
