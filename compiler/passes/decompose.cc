// What kernels cannot do in one launch, or do better in another form, becomes several ops:
//   reductions       over several ranges of axes -> one after the other; over none -> the operand
//   convolutions     with padding -> pad, then without
//   conv2d_input_grad  -> a convolution of the gradient with the reversed filter; with strides, one
//                         for each remainder of places in the image, with its part of the filter
//   check_numerics   -> is_finite, reduce_and, assert
#include <algorithm>
#include <numeric>
#include <vector>

#include "absl/strings/str_cat.h"
#include "compiler/passes/build_ops.h"
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

// [kh, kw, c / g, o] -> [kh, kw, o / g, c], upside down: what a convolution of the gradient needs.
mlir::Value TransposedFilter(mlir::Value filter, int64_t groups, OpMaker make) {
  const Shape shape = ir::ShapeOf(filter);
  const DimExpr per_group = *DimExpr::DivideExactly(shape[3], groups);
  mlir::Value reversed = make.Make("reverse", filter, make.Ints("axes", {0, 1}));
  mlir::Value split = make.Reshape(reversed, {shape[0], shape[1], shape[2], groups, per_group});
  mlir::Value turned = make.Transpose(split, {0, 1, 4, 3, 2});
  return make.Reshape(turned, {shape[0], shape[1], per_group, shape[2] * DimExpr(groups)});
}

// With strides, the elements of the padded image fall into phases by their remainders, and each
// phase sees some of the filter's elements only. Along one axis, phase p has the places
// stride * t + p for t in [0, size), and to each the elements first, first + step, ... of the
// filter contribute: a convolution of the gradient, padded by `low` and `high`.
struct Phase {
  int64_t first = 0, taps = 0, step = 1, dilation = 1;
  int64_t low = 0, high = 0;
};

Phase PhaseOf(int64_t number, int64_t stride, int64_t dilation, int64_t window, int64_t gradient,
              int64_t size) {
  Phase phase;
  const int64_t divisor = std::gcd(stride, dilation);
  phase.step = stride / divisor;
  phase.dilation = dilation / divisor;
  while (phase.first < phase.step && phase.first * dilation % stride != number) ++phase.first;
  if (phase.first == phase.step || phase.first >= window) return phase;
  phase.taps = (window - phase.first + phase.step - 1) / phase.step;
  const int64_t shift = (phase.first * dilation - number) / stride;
  phase.low = shift + (phase.taps - 1) * phase.dilation;
  phase.high = size - shift - gradient;
  return phase;
}

// Whether height and width of images are known.
bool HasKnownSpace(mlir::Value images) {
  const Shape shape = ir::ShapeOf(images);
  return shape[1].IsConstant() && shape[2].IsConstant();
}

mlir::Value DecomposeStridedInputGrad(mlir::Operation* op, OpMaker make) {
  mlir::Value dy = op->getOperand(0), filter = op->getOperand(1);
  const Shape image = ir::ShapeOf(op->getResult(0)), out = ir::ShapeOf(dy);
  const Shape window = ir::ShapeOf(filter);
  const Ints strides = IntsOf(op, "strides"), padding = IntsOf(op, "padding"),
             dilations = IntsOf(op, "dilations");
  const int64_t groups = op->getAttrOfType<mlir::IntegerAttr>("groups").getInt();
  int64_t sizes[2];
  std::vector<Phase> phases[2];
  for (size_t i = 0; i < 2; ++i) {
    const int64_t padded = *image[i + 1].Constant() + padding[2 * i] + padding[2 * i + 1];
    sizes[i] = (padded + strides[i] - 1) / strides[i];
    for (int64_t p = 0; p < strides[i]; ++p) {
      phases[i].push_back(PhaseOf(p, strides[i], dilations[i], *window[i].Constant(),
                                  *out[i + 1].Constant(), sizes[i]));
    }
  }
  const Shape part = {image[0], sizes[0], sizes[1], image[3]};
  auto part_of = [&](const Phase& down, const Phase& across) {
    if (down.taps == 0 || across.taps == 0) return make.Full(ir::DataTypeOf(dy), part, 0);
    mlir::Value taps = make.Make(
        "slice", filter,
        {make.Dims("starts", {down.first, across.first, 0, 0}), make.Dims("limits", window),
         make.Ints("steps", {down.step, across.step, 1, 1})});
    mlir::Value padded =
        make.Pad(dy, 0, {0, down.low, across.low, 0}, {0, down.high, across.high, 0}, {0, 0, 0, 0});
    return make.Make(
        "conv2d", {padded, TransposedFilter(taps, groups, make)},
        {make.Ints("strides", {1, 1}), make.Ints("padding", {0, 0, 0, 0}),
         make.Ints("dilations", {down.dilation, across.dilation}), make.Int("groups", groups)});
  };
  auto side_by_side = [&](const std::vector<mlir::Value>& parts, int64_t axis) {
    return parts.size() == 1 ? parts[0] : make.Make("concat", parts, make.Int("axis", axis));
  };
  // [n, rows, phases of rows, columns, phases of columns, channels]
  std::vector<mlir::Value> lines;
  for (const Phase& down : phases[0]) {
    std::vector<mlir::Value> parts;
    for (const Phase& across : phases[1]) {
      parts.push_back(
          make.Reshape(part_of(down, across), {part[0], part[1], 1, part[2], 1, part[3]}));
    }
    lines.push_back(side_by_side(parts, 4));
  }
  const Shape padded = {part[0], sizes[0] * strides[0], sizes[1] * strides[1], part[3]};
  mlir::Value dx = make.Reshape(side_by_side(lines, 2), padded);
  if (padded == image) return dx;
  const Shape starts = {0, padding[0], padding[2], 0};
  Shape limits = image;
  for (size_t i = 0; i < 2; ++i) limits[i + 1] = image[i + 1] + starts[i + 1];
  return make.Make(
      "slice", dx,
      {make.Dims("starts", starts), make.Dims("limits", limits), make.Ints("steps", {1, 1, 1, 1})});
}

mlir::Value DecomposeInputGrad(mlir::Operation* op, OpMaker make) {
  // With open sizes, the zeros that strides leave between the gradient's elements are multiplied.
  const bool strided = llvm::any_of(IntsOf(op, "strides"), [](int64_t s) { return s > 1; });
  const Shape taps = ir::ShapeOf(op->getOperand(1));
  if (strided && HasKnownSpace(op->getResult(0)) && HasKnownSpace(op->getOperand(0)) &&
      taps[0].IsConstant() && taps[1].IsConstant()) {
    return DecomposeStridedInputGrad(op, make);
  }
  mlir::Value dy = op->getOperand(0), filter = op->getOperand(1);
  const Shape image = ir::ShapeOf(op->getResult(0)), out = ir::ShapeOf(dy);
  const Shape window = ir::ShapeOf(filter);
  const Ints strides = IntsOf(op, "strides"), padding = IntsOf(op, "padding"),
             dilations = IntsOf(op, "dilations");
  const int64_t groups = op->getAttrOfType<mlir::IntegerAttr>("groups").getInt();
  // The gradient of the padded image, of which the padding is cut off: where possible by padding
  // the gradient less.
  Shape low = {0, 0, 0, 0}, high = {0, 0, 0, 0}, cut_low = low, cut_high = image;
  for (size_t i = 0; i < 2; ++i) {
    const DimExpr reach = DimExpr(dilations[i]) * (window[i] - DimExpr(1));
    const DimExpr spread = (out[i + 1] - DimExpr(1)) * DimExpr(strides[i]) + DimExpr(1);
    const int64_t before = padding[2 * i], after = padding[2 * i + 1];
    const int64_t room = reach.LowerBound().value_or(0);
    low[i + 1] = reach;
    // The padded image without what the spread-out gradient covers.
    high[i + 1] = image[i + 1] + DimExpr(before + after) - spread;
    const bool fits = before <= room && after <= room;
    if (fits) {
      low[i + 1] = reach - DimExpr(before);
      high[i + 1] = high[i + 1] - DimExpr(after);
    } else {
      cut_low[i + 1] = before;
      cut_high[i + 1] = image[i + 1] + DimExpr(before);
    }
  }
  mlir::Value spread = make.Pad(dy, 0, low, high, {0, strides[0] - 1, strides[1] - 1, 0});
  mlir::Value dx = make.Make("conv2d", {spread, TransposedFilter(filter, groups, make)},
                             {make.Ints("strides", {1, 1}), make.Ints("padding", {0, 0, 0, 0}),
                              make.Ints("dilations", dilations), make.Int("groups", groups)});
  if (ir::ShapeOf(dx) == image) return dx;
  return make.Make("slice", dx,
                   {make.Dims("starts", cut_low), make.Dims("limits", cut_high),
                    make.Ints("steps", {1, 1, 1, 1})});
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

mlir::Value DecomposeOp(mlir::Operation* op, mlir::OpBuilder& builder) {
  OpMaker make(builder, op->getLoc());
  return llvm::TypeSwitch<mlir::Operation*, mlir::Value>(op)
      .Case<ir::ReduceSumOp, ir::ReduceProdOp, ir::ReduceMaxOp, ir::ReduceMinOp, ir::ReduceAndOp,
            ir::ReduceOrOp>([&](auto) { return DecomposeReduction(op, make); })
      .Case<ir::Conv2DOp, ir::Conv2DFilterGradOp>([&](auto) { return DecomposePadded(op, make); })
      .Case<ir::Conv2DInputGradOp>([&](auto) { return DecomposeInputGrad(op, make); })
      .Case<ir::CheckNumericsOp>(
          [&](auto check) { return DecomposeCheckNumerics(check, builder, make); })
      .Default([](mlir::Operation*) { return mlir::Value(); });
}

}  // namespace

absl::StatusOr<bool> Decompose(mlir::func::FuncOp function) {
  std::vector<mlir::Operation*> ops;
  function.walk([&](mlir::Operation* op) { ops.push_back(op); });
  bool changed = false;
  for (size_t i = 0; i < ops.size(); ++i) {
    mlir::OpBuilder builder(ops[i]);
    mlir::Operation* before = ops[i]->getPrevNode();
    mlir::Value value = DecomposeOp(ops[i], builder);
    if (!value) continue;
    // What was made may need it as well.
    for (mlir::Operation* made = before == nullptr ? &ops[i]->getBlock()->front()
                                                   : before->getNextNode();
         made != ops[i]; made = made->getNextNode()) {
      ops.push_back(made);
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
