// What kernels cannot do in one launch, or do better in another form, becomes several ops:
//   reductions       over several ranges of axes -> one after the other; over none -> the operand
//   convolutions     with padding -> pad, then without
//   conv2d_input_grad  -> convolutions of the gradient: conv_input_grad.cc
//   concat           of many -> concat of concats
//   check_numerics   -> is_finite, reduce_and, assert
#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "compiler/passes/build_ops.h"
#include "compiler/passes/conv_input_grad.h"
#include "compiler/passes/diagnostics.h"
#include "compiler/passes/op_kinds.h"
#include "compiler/passes/passes.h"
#include "graph/ir/dialect.h"
#include "graph/ir/types.h"
#include "llvm/ADT/TypeSwitch.h"

namespace weft {
namespace {

using Ints = llvm::ArrayRef<int64_t>;

Ints IntsOf(mlir::Operation* op, llvm::StringRef name) {
  return op->getAttrOfType<mlir::DenseI64ArrayAttr>(name).asArrayRef();
}

// Axes that really reduce, in order.
std::vector<int64_t> RealAxes(mlir::Operation* op, const Shape& shape) {
  std::vector<int64_t> axes;
  for (int64_t axis : IntsOf(op, "axes")) {
    if (axis < 0) axis += static_cast<int64_t>(shape.size());
    if (shape[static_cast<size_t>(axis)] != DimExpr(1)) axes.push_back(axis);
  }
  std::sort(axes.begin(), axes.end());
  return axes;
}

// The last run of neighbouring axes in `axes`.
std::vector<int64_t> LastRange(const std::vector<int64_t>& axes) {
  size_t first = axes.size() - 1;
  while (first > 0 && axes[first - 1] + 1 == axes[first]) --first;
  return {axes.begin() + static_cast<int64_t>(first), axes.end()};
}

mlir::Value DecomposeReduction(mlir::Operation* op, OpMaker make) {
  mlir::Value x = op->getOperand(0);
  const Shape shape = ir::ShapeOf(x), result = ir::ShapeOf(op->getResult(0));
  std::vector<int64_t> axes = RealAxes(op, shape);
  const size_t num_axes = IntsOf(op, "axes").size();
  if (axes.empty()) return make.Reshape(x, result);
  const std::vector<int64_t> range = LastRange(axes);
  if (range.size() == axes.size() && axes.size() == num_axes) return {};
  const std::string_view name(op->getName().stripDialect());
  // Between the parts of a sum, nothing is rounded to a narrow type.
  const DataType dtype = ir::DataTypeOf(x);
  const bool widen = range.size() != axes.size() && SizeOf(dtype) == 2;
  mlir::Value y = widen ? make.Cast(x, DataType::kF32) : x;
  for (std::vector<int64_t> part = range; !axes.empty();) {
    y = make.Reduce(name, y, part, /*keep_dims=*/true);
    axes.resize(axes.size() - part.size());
    if (!axes.empty()) part = LastRange(axes);
  }
  return make.Reshape(make.Cast(y, dtype), result);
}

// x with `padding` ([top, bottom, left, right]) of zeros around the image.
mlir::Value PadImage(mlir::Value x, Ints padding, OpMaker make) {
  if (llvm::all_of(padding, [](int64_t p) { return p == 0; })) return x;
  return make.Pad(x, 0, {0, padding[0], padding[2], 0}, {0, padding[1], padding[3], 0},
                  {0, 0, 0, 0});
}

bool IsPadded(mlir::Operation* op) {
  return llvm::any_of(IntsOf(op, "padding"), [](int64_t p) { return p != 0; });
}

std::vector<mlir::NamedAttribute> WithoutPadding(mlir::Operation* op, OpMaker make) {
  std::vector<mlir::NamedAttribute> attributes;
  for (mlir::NamedAttribute attribute : op->getAttrs()) {
    attributes.push_back(attribute.getName() == "padding" ? make.Ints("padding", {0, 0, 0, 0})
                                                          : attribute);
  }
  return attributes;
}

mlir::Value DecomposePadded(mlir::Operation* op, OpMaker make) {
  if (!IsPadded(op)) return {};
  mlir::Value x = PadImage(op->getOperand(0), IntsOf(op, "padding"), make);
  return make.Make(std::string_view(op->getName().stripDialect()), {x, op->getOperand(1)},
                   WithoutPadding(op, make));
}

mlir::Value DecomposeCheckNumerics(ir::CheckNumericsOp op, mlir::OpBuilder& builder, OpMaker make) {
  mlir::Value x = op.getX();
  const Shape shape = ir::ShapeOf(x);
  mlir::Value finite = make.Make("is_finite", x);
  if (!shape.empty()) {
    std::vector<int64_t> axes(shape.size());
    for (size_t i = 0; i < axes.size(); ++i) axes[i] = static_cast<int64_t>(i);
    finite = make.Reduce("reduce_and", finite, axes);
  }
  const std::string message =
      absl::StrCat("expected finite numbers, got an infinity or NaN",
                   op.getMessage().empty() ? "" : ": ", op.getMessage().str());
  return make.Make("assert", {finite, x},
                   builder.getNamedAttr("message", builder.getStringAttr(message)));
}

// Concatenations of more operands become concatenations of those: a kernel chooses among its
// operands for each element.
constexpr size_t kMaxConcatOperands = 16;

mlir::Value DecomposeConcat(ir::ConcatOp op, OpMaker make) {
  const size_t size = op->getNumOperands();
  if (size <= kMaxConcatOperands) return {};
  const size_t parts = (size + kMaxConcatOperands - 1) / kMaxConcatOperands;
  const mlir::NamedAttribute axis = make.Int("axis", op.getAxis());
  std::vector<mlir::Value> joined;
  for (size_t i = 0; i < parts; ++i) {
    const size_t begin = i * size / parts, end = (i + 1) * size / parts;
    joined.push_back(make.Make("concat", op->getOperands().slice(begin, end - begin), axis));
  }
  return make.Make("concat", joined, axis);
}

using Made = absl::StatusOr<mlir::Value>;

// A null value where the op stays.
Made DecomposeOp(mlir::Operation* op, mlir::OpBuilder& builder) {
  OpMaker make(builder, op);
  return llvm::TypeSwitch<mlir::Operation*, Made>(op)
      .Case<ir::ReduceSumOp, ir::ReduceProdOp, ir::ReduceMaxOp, ir::ReduceMinOp, ir::ReduceAndOp,
            ir::ReduceOrOp>([&](auto) { return DecomposeReduction(op, make); })
      .Case<ir::Conv2DOp, ir::Conv2DFilterGradOp>([&](auto) { return DecomposePadded(op, make); })
      .Case<ir::Conv2DInputGradOp>([&](auto) { return DecomposeConvInputGrad(op, make); })
      .Case<ir::ConcatOp>([&](auto concat) { return DecomposeConcat(concat, make); })
      .Case<ir::CheckNumericsOp>(
          [&](auto check) { return DecomposeCheckNumerics(check, builder, make); })
      .Default([](mlir::Operation*) { return mlir::Value(); });
}

}  // namespace

absl::StatusOr<bool> Decompose(mlir::func::FuncOp function) {
  std::vector<mlir::Operation*> ops;
  function.walk([&](mlir::Operation* op) { ops.push_back(op); });
  const FirstError error(function.getContext());
  bool changed = false;
  for (size_t i = 0; i < ops.size(); ++i) {
    mlir::OpBuilder builder(ops[i]);
    mlir::Operation* before = ops[i]->getPrevNode();
    const Made made = DecomposeOp(ops[i], builder);
    if (!made.ok()) return made.status();
    if (!error.text().empty()) return absl::InternalError(error.text());
    mlir::Value value = *made;
    if (!value) continue;
    // What was made may need it as well.
    for (mlir::Operation* op = before == nullptr ? &ops[i]->getBlock()->front()
                                                 : before->getNextNode();
         op != ops[i]; op = op->getNextNode()) {
      ops.push_back(op);
    }
    ops[i]->getResult(0).replaceAllUsesWith(value);
    ops[i]->erase();
    changed = true;
  }
  return changed;
}

absl::Status CheckDecomposed(mlir::func::FuncOp function) {
  absl::Status status;
  function.walk([&](mlir::Operation* op) {
    if (!status.ok()) return;
    const bool padded = llvm::isa<ir::Conv2DOp, ir::Conv2DFilterGradOp>(op) && IsPadded(op);
    const bool ranges = op->hasAttr("axes") && KindOf(op) != OpKind::kMove &&
                        (RealAxes(op, ir::ShapeOf(op->getOperand(0))).empty() ||
                         LastRange(RealAxes(op, ir::ShapeOf(op->getOperand(0)))).size() !=
                             IntsOf(op, "axes").size());
    if (padded || ranges ||
        llvm::isa<ir::CheckNumericsOp, ir::Conv2DInputGradOp, ir::InputOp, ir::ReadVariableOp,
                  ir::AssignOp>(op)) {
      status = absl::InternalError(absl::StrCat("'", op->getName().getStringRef().str(),
                                                "' is left after decomposition, at ",
                                                ir::Describe(op->getLoc())));
    }
  });
  return status;
}

}  // namespace weft
