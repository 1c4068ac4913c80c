#include "compiler/passes/pack.h"

#include <algorithm>
#include <cstring>

#include "compiler/codegen/target.h"
#include "compiler/passes/build_ops.h"
#include "compiler/passes/op_kinds.h"
#include "compiler/passes/passes.h"
#include "graph/ir/dialect.h"
#include "graph/ir/types.h"

namespace weft {

absl::StatusOr<HostTensor> PackTensor(plan::PackOp op, const HostTensor& x) {
  const int64_t panel = op.getPanel(), groups = op.getGroups();
  const bool transpose = op.getTranspose();
  const std::vector<int64_t>& shape = x.shape();
  const size_t batch_dims = shape.size() - 1 - static_cast<size_t>(op.getKDims());
  int64_t batch = 1, k = 1, n = shape.back();
  std::vector<int64_t> packed_shape(shape.begin(),
                                    shape.begin() + static_cast<int64_t>(batch_dims));
  for (int64_t size : packed_shape) batch *= size;
  for (size_t i = batch_dims; i + 1 < shape.size(); ++i) k *= shape[i];
  if (transpose) std::swap(k, n);
  const int64_t columns = n / groups, panels = (columns + panel - 1) / panel;
  packed_shape.insert(packed_shape.end(), {groups, panels, k, panel});
  absl::StatusOr<HostTensor> packed = HostTensor::Create(x.dtype(), packed_shape);
  if (!packed.ok()) return packed;
  const size_t bytes = static_cast<size_t>(SizeOf(x.dtype()));
  const char* from = static_cast<const char*>(x.data());
  char* to = static_cast<char*>(packed->mutable_data());
  for (int64_t row = 0; row < batch * groups * panels * k; ++row) {
    const int64_t in_k = row % k, in_panel = row / k % panels, in_group = row / k / panels % groups;
    const int64_t in_batch = row / k / panels / groups;
    const int64_t first = in_panel * panel, count = std::min(panel, columns - first);
    const int64_t column = in_group * columns + first;
    char* out = to + static_cast<size_t>(row * panel) * bytes;
    const char* matrix = from + static_cast<size_t>(in_batch * k * n) * bytes;
    if (!transpose) {
      std::memcpy(out, matrix + static_cast<size_t>(in_k * n + column) * bytes,
                  static_cast<size_t>(count) * bytes);
      continue;
    }
    for (int64_t j = 0; j < count; ++j) {
      std::memcpy(out + static_cast<size_t>(j) * bytes,
                  matrix + static_cast<size_t>((column + j) * k + in_k) * bytes, bytes);
    }
  }
  return packed;
}

absl::StatusOr<bool> PackContractions(
    mlir::func::FuncOp function,
    const std::function<int64_t(mlir::Operation* op, bool is_constant)>& panel_of) {
  if (absl::Status status = AssignDevices(function); !status.ok()) return status;
  std::vector<mlir::Operation*> contractions;
  function.walk([&](mlir::Operation* op) {
    if (KindOf(op) == OpKind::kContraction) contractions.push_back(op);
  });
  bool changed = false;
  for (mlir::Operation* op : contractions) {
    mlir::Value right = op->getOperand(1);
    const bool is_constant =
        llvm::isa_and_nonnull<ir::ConstantOp, plan::WeightOp>(right.getDefiningOp());
    const int64_t panel = panel_of(op, is_constant);
    if (panel == 0) continue;
    mlir::OpBuilder builder(op);
    auto matmul = llvm::dyn_cast<ir::MatMulOp>(op);
    const bool transpose = matmul && matmul.getTransposeB();
    const int64_t k_dims =
        matmul ? 1 : llvm::cast<mlir::RankedTensorType>(right.getType()).getRank() - 1;
    const int64_t groups = matmul ? 1 : op->getAttrOfType<mlir::IntegerAttr>("groups").getInt();
    auto type = llvm::cast<mlir::RankedTensorType>(right.getType());
    llvm::SmallVector<mlir::NamedAttribute> attributes = {
        builder.getNamedAttr("panel", builder.getI64IntegerAttr(panel)),
        builder.getNamedAttr("k_dims", builder.getI64IntegerAttr(k_dims)),
        builder.getNamedAttr("groups", builder.getI64IntegerAttr(groups)),
        builder.getNamedAttr("transpose", builder.getBoolAttr(transpose))};
    auto pack = plan::PackOp::create(
        builder, op->getLoc(),
        mlir::TypeRange(plan::PackedType(type, panel, k_dims, groups, transpose)),
        mlir::ValueRange(right), attributes);
    auto unpack = plan::UnpackOp::create(builder, op->getLoc(), mlir::TypeRange(type),
                                         mlir::ValueRange(pack.getY()), attributes);
    op->setOperand(1, unpack.getY());
    changed = true;
  }
  return changed;
}

}  // namespace weft
