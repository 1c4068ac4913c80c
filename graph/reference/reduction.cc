#include <algorithm>
#include <limits>

#include "graph/reference/index.h"
#include "graph/reference/kernels.h"
#include "graph/reference/scalar.h"

namespace weft::reference {
namespace {

// The shape of the result, and for each dimension of x how far a step along it goes in the result.
struct ReducedView {
  ReducedView(Sizes shape, Sizes axes, bool keep_dims) : strides(shape.size(), 0) {
    std::vector<bool> reduced(shape.size(), false);
    for (int64_t axis : axes) reduced[NormalizeAxis(axis, shape.size())] = true;
    int64_t stride = 1;
    for (size_t d = shape.size(); d-- > 0;) {
      if (reduced[d]) {
        if (keep_dims) result.push_back(1);
        continue;
      }
      result.push_back(shape[d]);
      strides[d] = stride;
      stride *= shape[d];
    }
    std::reverse(result.begin(), result.end());
  }
  std::vector<int64_t> result;
  std::vector<int64_t> strides;
};

// Folds x's elements into the result's: `load` makes an accumulator of an element.
template <typename T, typename A, typename LoadFn, typename Combine>
absl::StatusOr<HostTensor> Fold(const HostTensor& x, const ReducedView& view, A initial,
                                LoadFn load, Combine combine) {
  absl::StatusOr<HostTensor> y = HostTensor::Create(x.dtype(), view.result);
  if (!y.ok()) return y;
  std::vector<A> totals(y->num_elements(), initial);
  absl::Span<const T> in = x.values<T>();
  ForEachOffset(x.shape(), view.strides, 0, [&](int64_t i, int64_t offset) {
    totals[offset] = combine(totals[offset], load(in[i]));
  });
  absl::Span<T> out = y->mutable_values<T>();
  for (size_t i = 0; i < out.size(); ++i) out[i] = Store<T>(totals[i]);
  return y;
}

template <typename T>
Compute<T> Lowest() {
  if constexpr (kIsFloat<T>) {
    return -std::numeric_limits<double>::infinity();
  } else {
    return std::numeric_limits<T>::lowest();
  }
}

template <typename T>
Compute<T> Highest() {
  if constexpr (kIsFloat<T>) {
    return std::numeric_limits<double>::infinity();
  } else {
    return std::numeric_limits<T>::max();
  }
}

}  // namespace

absl::StatusOr<HostTensor> Reduce(Reduction reduction, const HostTensor& x, Sizes axes,
                                  bool keep_dims) {
  const ReducedView view(x.shape(), axes, keep_dims);
  return WithType(x.dtype(), [&](auto type) -> absl::StatusOr<HostTensor> {
    using T = decltype(type);
    if constexpr (std::is_same_v<T, bool>) {
      const bool all = reduction == Reduction::kAnd;
      // Not vector<bool>'s business: the accumulator is a char.
      return Fold<T, char>(
          x, view, all, [](bool v) -> char { return v; },
          [all](char a, char b) -> char { return all ? (a && b) : (a || b); });
    } else {
      using A = Accumulator<T>;
      auto load = [](T v) { return LoadForSum<T>(v); };
      auto exact = [](T v) { return Load<T>(v); };
      switch (reduction) {
        case Reduction::kProd:
          return Fold<T, A>(x, view, A{1}, load, [](A a, A b) { return a * b; });
        case Reduction::kMax:
          return Fold<T>(x, view, Lowest<T>(), exact, [](auto a, auto b) { return Maximum(a, b); });
        case Reduction::kMin:
          return Fold<T>(x, view, Highest<T>(), exact,
                         [](auto a, auto b) { return Minimum(a, b); });
        default:
          return Fold<T, A>(x, view, A{0}, load, [](A a, A b) { return a + b; });
      }
    }
  });
}

absl::StatusOr<HostTensor> ArgReduce(bool max, const HostTensor& x, int64_t axis, bool keep_dims) {
  axis = NormalizeAxis(axis, x.rank());
  const ReducedView reduced(x.shape(), {axis}, keep_dims);
  const AxisView view(x.shape(), axis);
  absl::StatusOr<HostTensor> y = HostTensor::Create(DataType::kI64, reduced.result);
  if (!y.ok()) return y;
  absl::Span<int64_t> out = y->mutable_values<int64_t>();
  WithType(x.dtype(), [&](auto type) {
    using T = decltype(type);
    const T* in = x.values<T>().data();
    for (int64_t o = 0; o < view.outer; ++o) {
      for (int64_t i = 0; i < view.inner; ++i) {
        auto at = [&](int64_t k) { return Load(in[(o * view.size + k) * view.inner + i]); };
        int64_t best = 0;
        for (int64_t k = 1; k < view.size && at(best) == at(best); ++k) {
          const auto value = at(k);
          if (value != value || (max ? value > at(best) : value < at(best))) best = k;
        }
        out[o * view.inner + i] = best;
      }
    }
  });
  return y;
}

absl::StatusOr<HostTensor> CumSum(const HostTensor& x, int64_t axis, bool exclusive, bool reverse) {
  const AxisView view(x.shape(), NormalizeAxis(axis, x.rank()));
  absl::StatusOr<HostTensor> y = HostTensor::Create(x.dtype(), x.shape());
  if (!y.ok()) return y;
  WithType(x.dtype(), [&](auto type) {
    using T = decltype(type);
    const T* in = x.values<T>().data();
    T* out = y->mutable_values<T>().data();
    for (int64_t o = 0; o < view.outer; ++o) {
      for (int64_t i = 0; i < view.inner; ++i) {
        Accumulator<T> total{0};
        for (int64_t step = 0; step < view.size; ++step) {
          const int64_t k = reverse ? view.size - 1 - step : step;
          const int64_t at = (o * view.size + k) * view.inner + i;
          const Accumulator<T> before = total;
          total += LoadForSum(in[at]);
          out[at] = Store<T>(exclusive ? before : total);
        }
      }
    }
  });
  return y;
}

}  // namespace weft::reference
