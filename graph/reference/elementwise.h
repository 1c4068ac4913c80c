// Element-wise evaluation of a scalar expression. graph/opgen calls Map for each op that has one.
#ifndef WEFT_GRAPH_REFERENCE_ELEMENTWISE_H_
#define WEFT_GRAPH_REFERENCE_ELEMENTWISE_H_

#include <string>
#include <type_traits>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "graph/reference/scalar.h"
#include "proto/host_tensor.h"

namespace weft::reference {

template <typename... Ts>
struct Types {};

// Calls f(T{}) with the C++ type of `dtype` if it is one of the list, else gives InvalidArgument.
template <typename... Ts, typename F>
absl::StatusOr<HostTensor> WithTypeOf(Types<Ts...>, DataType dtype, F&& f) {
  absl::StatusOr<HostTensor> result = absl::InvalidArgumentError(
      absl::StrCat("dtype ", std::string(NameOf(dtype)), " not supported"));
  (void)((DataTypeOfT<Ts>::value == dtype && ((result = f(Ts{})), true)) || ...);
  return result;
}

namespace internal {

// A function that gives a bool makes a bool tensor; any other one a tensor of the operands' type.
template <typename T, typename Function, typename... Arguments>
absl::StatusOr<HostTensor> MapTyped(absl::Span<const int64_t> shape, Function& function,
                                    const Arguments*... arguments) {
  using Result = decltype(function(Load(*arguments)...));
  using Element = std::conditional_t<std::is_same_v<Result, bool>, bool, T>;
  absl::StatusOr<HostTensor> y = HostTensor::Create(DataTypeOfT<Element>::value, shape);
  if (!y.ok()) return y;
  absl::Span<Element> out = y->template mutable_values<Element>();
  for (size_t i = 0; i < out.size(); ++i) {
    out[i] = Store<Element>(function(Load(arguments[i])...));
  }
  return y;
}

}  // namespace internal

// `function` of the elements of kOperands operands, as Compute<T> of their common type T, which is
// one of `List`; with kCondition the first operand is bool instead. All have one shape. Error:
// InvalidArgument where that does not hold.
template <typename List, int kOperands, bool kCondition = false, typename Function>
absl::StatusOr<HostTensor> Map(absl::Span<const HostTensor> operands, Function function) {
  const HostTensor& last = operands.back();
  for (size_t i = 0; i < operands.size(); ++i) {
    const DataType expected = kCondition && i == 0 ? DataType::kBool : last.dtype();
    if (operands.size() != kOperands || operands[i].shape() != last.shape() ||
        operands[i].dtype() != expected) {
      return absl::InvalidArgumentError(absl::StrCat(
          "operands do not agree: ", operands[i].TypeString(), " and ", last.TypeString()));
    }
  }
  return WithTypeOf(List{}, last.dtype(), [&](auto type) -> absl::StatusOr<HostTensor> {
    using T = decltype(type);
    using First = std::conditional_t<kCondition, bool, T>;
    absl::Span<const int64_t> shape = last.shape();
    const First* first = operands[0].template values<First>().data();
    auto data = [&](size_t i) { return operands[i].template values<T>().data(); };
    if constexpr (kOperands == 1) {
      return internal::MapTyped<T>(shape, function, first);
    } else if constexpr (kOperands == 2) {
      return internal::MapTyped<T>(shape, function, first, data(1));
    } else {
      static_assert(kOperands == 3);
      return internal::MapTyped<T>(shape, function, first, data(1), data(2));
    }
  });
}

// The same elements in another type.
absl::StatusOr<HostTensor> Cast(const HostTensor& x, DataType dtype);

}  // namespace weft::reference

#endif  // WEFT_GRAPH_REFERENCE_ELEMENTWISE_H_
