#include "compiler/passes/weight_table.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "compiler/passes/build_ops.h"
#include "compiler/plan_dialect/plan.h"
#include "graph/ir/types.h"

namespace weft {
namespace {

// Such a constant is one number to all passes, however large it is.
bool IsSplat(const HostTensor& tensor) {
  const size_t element = static_cast<size_t>(SizeOf(tensor.dtype()));
  const char* bytes = static_cast<const char*>(tensor.data());
  return tensor.size_bytes() <= element ||
         std::memcmp(bytes, bytes + element, tensor.size_bytes() - element) == 0;
}

}  // namespace

bool WeightTable::Takes(const HostTensor& tensor) {
  return tensor.size_bytes() >= kMinBytes && !IsSplat(tensor);
}

int64_t WeightTable::Add(const HostTensor& tensor) {
  auto [known, is_new] = known_.try_emplace({tensor.data(), tensor.TypeString()},
                                            static_cast<int64_t>(tensors_.size()));
  if (is_new) tensors_.push_back(tensor);
  return known->second;
}

absl::StatusOr<int64_t> WeightTable::Derive(
    int64_t from, const std::string& how, const std::function<absl::StatusOr<HostTensor>()>& make) {
  const std::pair<int64_t, std::string> key(from, how);
  if (auto known = derived_.find(key); known != derived_.end()) return known->second;
  absl::StatusOr<HostTensor> made = make();
  if (!made.ok()) return made.status();
  return derived_[key] = Add(*made);
}

int64_t WeightTable::ShareablePanel(int64_t index, int vector_bits, int64_t wanted) {
  int64_t& panel = panels_.try_emplace({index, vector_bits}, wanted).first->second;
  return panel = std::min(panel, wanted);
}

mlir::Value MakeConstant(mlir::OpBuilder& builder, mlir::Location location,
                         const HostTensor& tensor, WeightTable& weights) {
  if (WeightTable::Takes(tensor)) {
    const Shape shape(tensor.shape().begin(), tensor.shape().end());
    return plan::WeightOp::create(builder, location,
                                  ir::MakeTensorType(builder.getContext(), tensor.dtype(), shape),
                                  builder.getI64IntegerAttr(weights.Add(tensor)));
  }
  return OpMaker(builder, location)
      .Make("constant", {},
            builder.getNamedAttr("value", ir::ElementsAttrOf(builder.getContext(), tensor)));
}

}  // namespace weft
