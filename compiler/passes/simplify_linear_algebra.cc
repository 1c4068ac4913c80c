// Rules whose root is a reduction or a contraction.
#include "compiler/passes/simplify.h"
#include "graph/ir/dialect.h"
#include "graph/ir/types.h"

namespace weft {
namespace {

using Op = mlir::Operation*;

std::vector<int64_t> Axes(Op reduction) {
  const int64_t rank = static_cast<int64_t>(ir::ShapeOf(reduction->getOperand(0)).size());
  std::vector<int64_t> axes;
  for (int64_t axis : reduction->getAttrOfType<mlir::DenseI64ArrayAttr>("axes").asArrayRef()) {
    axes.push_back(axis < 0 ? axis + rank : axis);
  }
  return axes;
}

// Whether they are neighbours, in order: kernels reduce one range.
bool IsRange(const std::vector<int64_t>& axes) {
  return !axes.empty() && axes.back() - axes.front() + 1 == static_cast<int64_t>(axes.size());
}

// A reduction of a reduction of the same kind over neighbouring ranges is one. Sums are rounded
// differently, within the ops' tolerance; those of narrow floats stay, since the first is rounded.
mlir::Value ReductionOfReduction(Op op, OpMaker make) {
  Op inner = op->getOperand(0).getDefiningOp();
  if (inner == nullptr || inner->getName() != op->getName() || !inner->getResult(0).hasOneUse()) {
    return {};
  }
  const DataType dtype = ir::DataTypeOf(op->getResult(0));
  if (dtype == DataType::kF16 || dtype == DataType::kBF16) return {};
  std::vector<int64_t> first = Axes(inner), second = Axes(op);
  const bool kept = inner->getAttrOfType<mlir::BoolAttr>("keep_dims").getValue();
  if (!kept) {
    // Axes of the outer one count what the inner one left.
    const size_t rank = ir::ShapeOf(inner->getOperand(0)).size();
    std::vector<int64_t> left;
    for (size_t i = 0; i < rank; ++i) {
      if (!llvm::is_contained(first, static_cast<int64_t>(i))) {
        left.push_back(static_cast<int64_t>(i));
      }
    }
    for (int64_t& axis : second) axis = left[static_cast<size_t>(axis)];
  }
  for (int64_t axis : second) {
    if (!llvm::is_contained(first, axis)) first.push_back(axis);
  }
  llvm::sort(first);
  if (!IsRange(first)) return {};
  mlir::Value y =
      make.Reduce(std::string_view(op->getName().stripDialect()), inner->getOperand(0), first);
  return make.Reshape(y, ir::ShapeOf(op->getResult(0)));
}

// What a transposition only brings to a reduction is reduced as it lies, and of the result, which
// is smaller, what is left changes places. Sums may add in another order.
mlir::Value ReductionOfTranspose(Op op, OpMaker make) {
  auto transpose = op->getOperand(0).getDefiningOp<ir::TransposeOp>();
  if (!transpose || !transpose->hasOneUse()) return {};
  const std::vector<int64_t> reduced = Axes(op);
  std::vector<int64_t> axes, left;  // of what is transposed
  for (size_t i = 0; i < transpose.getPermutation().size(); ++i) {
    const bool is_reduced = llvm::is_contained(reduced, static_cast<int64_t>(i));
    (is_reduced ? axes : left).push_back(transpose.getPermutation()[i]);
  }
  llvm::sort(axes);
  if (!IsRange(axes)) return {};
  std::vector<int64_t> places;
  for (const int64_t axis : left) {
    places.push_back(llvm::count_if(left, [&](int64_t other) { return other < axis; }));
  }
  mlir::Value y =
      make.Reduce(std::string_view(op->getName().stripDialect()), transpose.getX(), axes);
  if (!llvm::is_sorted(places)) y = make.Transpose(y, places);
  return make.Reshape(y, ir::ShapeOf(op->getResult(0)));
}

// The maximum of what is repeated is the thing itself.
mlir::Value ExtremeOfBroadcastNumber(Op op, OpMaker make) {
  auto broadcast = op->getOperand(0).getDefiningOp<ir::BroadcastOp>();
  if (!broadcast || !ir::ShapeOf(broadcast.getX()).empty()) return {};
  // Of no elements it would be another value.
  const std::optional<int64_t> least = NumElements(ir::ShapeOf(op->getOperand(0))).LowerBound();
  if (!least || *least < 1) return {};
  return make.Broadcast(broadcast.getX(), ir::ShapeOf(op->getResult(0)));
}

// matmul(transpose(a)) reads a the other way round, where only the last two dimensions change
// places.
mlir::Value MatMulOfTranspose(Op op, OpMaker make) {
  auto matmul = llvm::cast<ir::MatMulOp>(op);
  mlir::Value operands[2] = {matmul.getA(), matmul.getB()};
  bool transposed[2] = {matmul.getTransposeA(), matmul.getTransposeB()};
  bool changed = false;
  for (int i = 0; i < 2; ++i) {
    auto transpose = operands[i].getDefiningOp<ir::TransposeOp>();
    if (!transpose) continue;
    const auto permutation = transpose.getPermutation();
    const int64_t rank = static_cast<int64_t>(permutation.size());
    bool last_two =
        rank >= 2 && permutation[rank - 1] == rank - 2 && permutation[rank - 2] == rank - 1;
    for (int64_t d = 0; d + 2 < rank; ++d) last_two &= permutation[d] == d;
    if (!last_two) continue;
    operands[i] = transpose.getX();
    transposed[i] = !transposed[i];
    changed = true;
  }
  if (!changed) return {};
  return make.Make(
      "matmul", operands,
      {make.Bool("transpose_a", transposed[0]), make.Bool("transpose_b", transposed[1])});
}

}  // namespace

const std::vector<SimplifyRule>& ReductionRules() {
  static const auto& rules = *new std::vector<SimplifyRule>{
      {"sum_of_sum", "reduce_sum", ReductionOfReduction},
      {"prod_of_prod", "reduce_prod", ReductionOfReduction},
      {"max_of_max", "reduce_max", ReductionOfReduction},
      {"min_of_min", "reduce_min", ReductionOfReduction},
      {"and_of_and", "reduce_and", ReductionOfReduction},
      {"or_of_or", "reduce_or", ReductionOfReduction},
      {"sum_of_transpose", "reduce_sum", ReductionOfTranspose},
      {"prod_of_transpose", "reduce_prod", ReductionOfTranspose},
      {"max_of_transpose", "reduce_max", ReductionOfTranspose},
      {"min_of_transpose", "reduce_min", ReductionOfTranspose},
      {"and_of_transpose", "reduce_and", ReductionOfTranspose},
      {"or_of_transpose", "reduce_or", ReductionOfTranspose},
      {"max_of_number", "reduce_max", ExtremeOfBroadcastNumber},
      {"min_of_number", "reduce_min", ExtremeOfBroadcastNumber},
  };
  return rules;
}

const std::vector<SimplifyRule>& LinearAlgebraRules() {
  static const auto& rules = *new std::vector<SimplifyRule>{
      {"matmul_of_transpose", "matmul", MatMulOfTranspose},
  };
  return rules;
}

}  // namespace weft
