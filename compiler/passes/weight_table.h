// Large constants of a compilation. They lie outside of the IR, where a constant's elements would
// be copied and kept for as long as the context lives; ops refer to them by number (plan.weight).
#ifndef WEFT_COMPILER_PASSES_WEIGHT_TABLE_H_
#define WEFT_COMPILER_PASSES_WEIGHT_TABLE_H_

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "mlir/IR/Builders.h"
#include "proto/host_tensor.h"

namespace weft {

// Shared by all functions of a compilation, so that they share what is made of weights. Not
// thread-safe.
class WeightTable {
 public:
  // Constants of this many bytes at least are better here than in the IR, unless all elements are
  // one number.
  static constexpr size_t kMinBytes = 4096;
  static bool Takes(const HostTensor& tensor);

  // The number of a tensor, whose elements are shared, not copied. The same elements under the same
  // type have the same number.
  int64_t Add(const HostTensor& tensor);
  // What `make` makes of the weight `from` where it is not known yet under the name `how`.
  absl::StatusOr<int64_t> Derive(int64_t from, const std::string& how,
                                 const std::function<absl::StatusOr<HostTensor>()>& make);
  // The columns of a panel in which the weight is packed for vectors of so many bits: `wanted`, or
  // fewer where another function of the compilation has packed it so, for the weight not to be
  // there twice. Narrow panels serve any number of rows, wide ones few.
  int64_t ShareablePanel(int64_t index, int vector_bits, int64_t wanted);
  const HostTensor& at(int64_t index) const { return tensors_[static_cast<size_t>(index)]; }

 private:
  std::vector<HostTensor> tensors_;
  // By address and type.
  std::map<std::pair<const void*, std::string>, int64_t> known_;
  std::map<std::pair<int64_t, std::string>, int64_t> derived_;
  std::map<std::pair<int64_t, int>, int64_t> panels_;
};

// An op whose result is the tensor: a weight where it is large, else a constant of the graph.
mlir::Value MakeConstant(mlir::OpBuilder& builder, mlir::Location location,
                         const HostTensor& tensor, WeightTable& weights);

}  // namespace weft

#endif  // WEFT_COMPILER_PASSES_WEIGHT_TABLE_H_
