#include "graph/reference/elementwise.h"

namespace weft::reference {

absl::StatusOr<HostTensor> Cast(const HostTensor& x, DataType dtype) {
  absl::StatusOr<HostTensor> y = HostTensor::Create(dtype, x.shape());
  if (!y.ok()) return y;
  WithType(x.dtype(), [&](auto from) {
    using From = decltype(from);
    WithType(dtype, [&](auto to) {
      using To = decltype(to);
      absl::Span<const From> in = x.values<From>();
      absl::Span<To> out = y->mutable_values<To>();
      for (size_t i = 0; i < in.size(); ++i) out[i] = Convert<To>(in[i]);
    });
  });
  return y;
}

}  // namespace weft::reference
