#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "graph/reference/index.h"
#include "graph/reference/kernels.h"
#include "graph/reference/scalar.h"

namespace weft::reference {

absl::StatusOr<HostTensor> MatMul(const HostTensor& a, const HostTensor& b, bool transpose_a,
                                  bool transpose_b) {
  const int64_t rank = a.rank();
  const int64_t m = a.shape()[rank - (transpose_a ? 1 : 2)];
  const int64_t k = a.shape()[rank - (transpose_a ? 2 : 1)];
  const int64_t n = b.shape()[b.rank() - (transpose_b ? 2 : 1)];
  const int64_t b_k = b.shape()[b.rank() - (transpose_b ? 1 : 2)];
  const bool batched = b.rank() > 2;
  const Sizes batch = Sizes(a.shape()).subspan(0, rank - 2);
  if (b_k != k || (batched && Sizes(b.shape()).subspan(0, b.rank() - 2) != batch)) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected matching sizes, got ", a.TypeString(), " and ", b.TypeString()));
  }
  std::vector<int64_t> shape(batch.begin(), batch.end());
  shape.push_back(m);
  shape.push_back(n);
  absl::StatusOr<HostTensor> y = HostTensor::Create(a.dtype(), shape);
  if (!y.ok()) return y;
  WithType(a.dtype(), [&](auto type) {
    using T = decltype(type);
    const T* a_data = a.values<T>().data();
    const T* b_data = b.values<T>().data();
    T* out = y->mutable_values<T>().data();
    std::vector<Accumulator<T>> row(n);
    for (int64_t p = 0; p < Product(batch); ++p) {
      const T* a_matrix = a_data + p * m * k;
      const T* b_matrix = b_data + (batched ? p * k * n : 0);
      for (int64_t i = 0; i < m; ++i) {
        std::fill(row.begin(), row.end(), Accumulator<T>{0});
        for (int64_t l = 0; l < k; ++l) {
          const auto factor = LoadForSum(a_matrix[transpose_a ? l * m + i : i * k + l]);
          for (int64_t j = 0; j < n; ++j) {
            row[j] += factor * LoadForSum(b_matrix[transpose_b ? j * k + l : l * n + j]);
          }
        }
        for (int64_t j = 0; j < n; ++j) *out++ = Store<T>(row[j]);
      }
    }
  });
  return y;
}

}  // namespace weft::reference
