#include "compiler/codegen/library_contraction.h"

#include <cmath>
#include <limits>
#include <vector>

#include "compiler/codegen/strided_view.h"
#include "compiler/passes/op_kinds.h"
#include "compiler/plan_dialect/plan.h"
#include "graph/ir/dialect.h"
#include "graph/ir/types.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/Casting.h"

namespace weft {
namespace {

using mlir::Value;

bool IsRow(const StridedView& view) {
  const size_t rank = view.strides.size();
  for (size_t i = 0; i + 1 < rank; ++i) {
    if (view.strides[i] != DimExpr(0)) return false;
  }
  return view.strides[rank - 1] == DimExpr(1);
}

// What `op` does to a value of the chain from the contraction on, as a part of the product; false
// where it is none.
class Chain {
 public:
  Chain(Value value, ContractionSpec& product)
      : value_(value), shape_(ir::ShapeOf(value)), product_(product) {}

  bool Follow(mlir::Operation* op) {
    if (op->getNumOperands() != 2 || !value_.hasOneUse() || *value_.user_begin() != op ||
        ir::ShapeOf(op->getResult(0)) != shape_) {
      return false;
    }
    const Value other = op->getOperand(op->getOperand(0) == value_ ? 1 : 0);
    value_ = op->getResult(0);
    if (llvm::isa<ir::MulOp>(op)) return Scale(other);
    return llvm::isa<ir::AddOp>(op) && Add(other);
  }
  Value value() const { return value_; }

 private:
  // Before anything is added, and once: a product of factors may overflow where theirs with the
  // contraction does not. The library takes it as an f32, and by 0 it need not multiply at all.
  bool Scale(Value other) {
    const std::optional<double> factor = ir::SplatValueOf(SplatOfValue(other));
    if (!factor || product_.addend || product_.bias || product_.scale != 1) return false;
    if (!(std::abs(*factor) <= std::numeric_limits<float>::max()) || *factor == 0 ||
        static_cast<float>(*factor) != *factor) {
      return false;
    }
    product_.scale = *factor;
    return true;
  }

  bool Add(Value other) {
    mlir::BlockArgument argument;
    const auto view = ViewOfArgument(other, &argument);
    if (!view || view->shape != shape_) return false;
    const int buffer = static_cast<int>(argument.getArgNumber());
    // A row that is all of the result may be what lies in its place.
    if (*view == StridedView::Of(shape_)) return Set(product_.addend, buffer);
    return IsRow(*view) && Set(product_.bias, buffer);
  }

  static bool Set(std::optional<int>& operand, int buffer) {
    if (operand) return false;
    operand = buffer;
    return true;
  }

  Value value_;
  const Shape shape_;
  ContractionSpec& product_;
};

std::vector<DimExpr> SizesOf(const ContractionShape& shape) {
  const ContractionShape::Matrices& matrices = *shape.matrices;
  return {
      shape.batches,       shape.rows,          shape.columns,       shape.segments * shape.depth,
      matrices.left.batch, matrices.left.own,   matrices.left.depth, matrices.right.batch,
      matrices.right.own,  matrices.right.depth};
}

// Of a convolution, or its filters' gradient.
std::vector<DimExpr> SizesOf(mlir::Operation* root, const ContractionOp& op) {
  const Shape image = ir::ShapeOf(root->getOperand(0)), right = ir::ShapeOf(root->getOperand(1));
  const Shape& filter = op.is_filter_grad() ? op.result() : right;
  const Shape& out = op.is_filter_grad() ? right : op.result();
  std::vector<DimExpr> sizes(image.begin(), image.end());
  for (const DimExpr& size :
       {filter[0], filter[1], filter[3], out[1], out[2], DimExpr(op.Int("groups"))}) {
    sizes.push_back(size);
  }
  for (const char* name : {"strides", "dilations", "padding"}) {
    for (const int64_t size : op.Ints(name)) sizes.push_back(DimExpr(size));
  }
  return sizes;
}

}  // namespace

std::optional<ContractionSpec> LibraryContractionOf(plan::FusionOp fusion, mlir::Operation* root,
                                                    const ContractionShape& shape,
                                                    const Target& target) {
  const ContractionOp op(root);
  const DataType dtype = op.dtype();
  if (shape.parts > 1 || !IsFloat(dtype) || fusion->getNumResults() != 1 ||
      ir::DataTypeOf(root->getResult(0)) != dtype) {
    return std::nullopt;
  }
  auto left = llvm::dyn_cast<mlir::BlockArgument>(root->getOperand(0));
  auto right = llvm::dyn_cast<mlir::BlockArgument>(root->getOperand(1));
  if (!left || !right) return std::nullopt;
  ContractionSpec spec;
  spec.kind = shape.matrices        ? LaunchContraction::kProduct
              : op.is_filter_grad() ? LaunchContraction::kFilterGradient
                                    : LaunchContraction::kConvolution;
  spec.dtype = dtype;
  spec.tf32 = dtype == DataType::kF32 && target.tf32;
  spec.left = static_cast<int>(left.getArgNumber());
  spec.right = static_cast<int>(right.getArgNumber());
  Chain chain(root->getResult(0), spec);
  for (mlir::Operation& each : fusion.body()->without_terminator()) {
    if (&each == root || llvm::isa<ir::BroadcastOp, ir::ReshapeOp, ir::ConstantOp>(each)) continue;
    if (!shape.matrices || !chain.Follow(&each)) return std::nullopt;
  }
  if (fusion.yield()->getOperand(0) != chain.value()) return std::nullopt;
  spec.sizes = shape.matrices ? SizesOf(shape) : SizesOf(root, op);
  // What is too long to write down, nobody could ask a library for.
  if (llvm::any_of(spec.sizes, [](const DimExpr& size) { return size.IsOverflow(); })) {
    return std::nullopt;
  }
  return spec;
}

}  // namespace weft
