#include "compiler/codegen/contraction_layout.h"

#include "compiler/codegen/strided_view.h"
#include "compiler/plan_dialect/plan.h"
#include "graph/ir/dialect.h"
#include "graph/ir/types.h"
#include "llvm/Support/Casting.h"

namespace weft {
namespace {

DimExpr DividedBy(const DimExpr& x, int64_t divisor) {
  auto exact = DimExpr::DivideExactly(x, divisor);
  return exact ? *exact : DimExpr::FloorDiv(x, divisor);
}

ContractionShape MatMulShape(const Shape& a, const Shape& b, const Shape& y, bool transpose_a,
                             bool transpose_b) {
  const size_t rank = y.size();
  ContractionShape shape;
  shape.batches = NumElements(y, 0, rank - 2);
  shape.rows = y[rank - 2];
  shape.columns = y[rank - 1];
  shape.segments = 1;
  shape.depth = transpose_a ? a[rank - 2] : a[rank - 1];
  shape.left_transposed = transpose_a;
  // One right operand for the whole batch: the rows of all its matrices in a line.
  if (b.size() == 2 && !transpose_a) {
    shape.rows = shape.rows * shape.batches;
    shape.batches = 1;
  }
  const DimExpr one = 1;
  // Rows of one matrix: a batch that went into the rows is gone from the batches.
  shape.matrices = {
      .left = {.batch = shape.rows * shape.depth,
               .own = transpose_a ? one : shape.depth,
               .depth = transpose_a ? a[rank - 1] : one},
      .right = {.batch = b.size() == 2 && rank > 2 ? DimExpr(0) : shape.depth * shape.columns,
                .own = transpose_b ? shape.depth : one,
                .depth = transpose_b ? one : shape.columns}};
  return shape;
}

// Of a convolution, or its filter's gradient, whose windows are pixels.
ContractionShape::Matrices PixelMatrices(const DimExpr& channels, const DimExpr& columns,
                                         bool pixels_are_depth) {
  const DimExpr one = 1;
  return {.left = {.batch = 0,
                   .own = pixels_are_depth ? one : channels,
                   .depth = pixels_are_depth ? channels : one},
          .right = {.batch = 0, .own = one, .depth = columns}};
}

bool IsPointwise(const Shape& filter, const ContractionOp& op) {
  const auto are = [](llvm::ArrayRef<int64_t> values, int64_t number) {
    return llvm::all_of(values, [&](int64_t value) { return value == number; });
  };
  return filter[0] == DimExpr(1) && filter[1] == DimExpr(1) && are(op.Ints("strides"), 1) &&
         are(op.Ints("padding"), 0);
}

ContractionShape::Windows WindowsOf(const ContractionOp& op, const Shape& image,
                                    const Shape& filter, const Shape& out) {
  ContractionShape::Windows windows{.images = image[0],
                                    .height = image[1],
                                    .width = image[2],
                                    .channels = image[3],
                                    .filter_height = filter[0],
                                    .filter_width = filter[1],
                                    .out_height = out[1],
                                    .out_width = out[2],
                                    .strides = {},
                                    .dilations = {},
                                    .padding = {},
                                    .are_depth = op.is_filter_grad()};
  llvm::copy(op.Ints("strides"), windows.strides.begin());
  llvm::copy(op.Ints("dilations"), windows.dilations.begin());
  llvm::copy(op.Ints("padding"), windows.padding.begin());
  return windows;
}

// `image` is [n, h, w, c], `filter` [kh, kw, c / groups, o], `out` [n, oh, ow, o].
ContractionShape ConvolutionShape(const ContractionOp& op, const Shape& image, const Shape& filter,
                                  const Shape& out) {
  const int64_t groups = op.Int("groups"), dilation_w = op.Ints("dilations")[1];
  ContractionShape shape;
  shape.depthwise = groups > 1 && filter[2] == DimExpr(1) && filter[3] == DimExpr(groups);
  shape.batches = shape.depthwise ? 1 : groups;
  shape.rows = NumElements(out, 0, 3);
  shape.columns = shape.depthwise ? out[3] : DividedBy(out[3], groups);
  // A line of the window lies in one piece where nothing is left out between its pixels.
  if (dilation_w == 1 && groups == 1) {
    shape.segments = filter[0];
    shape.depth = filter[1] * filter[2];
  } else {
    shape.segments = filter[0] * filter[1];
    shape.depth = filter[2];
  }
  if (groups != 1) return shape;
  if (IsPointwise(filter, op)) {
    shape.matrices = PixelMatrices(filter[2], shape.columns, /*pixels_are_depth=*/false);
  } else {
    shape.windows = WindowsOf(op, image, filter, out);
  }
  return shape;
}

ContractionShape FilterGradShape(const ContractionOp& op, const Shape& image, const Shape& filter,
                                 const Shape& out) {
  const int64_t groups = op.Int("groups");
  ContractionShape shape;
  shape.depthwise = groups > 1 && filter[2] == DimExpr(1) && filter[3] == DimExpr(groups);
  shape.batches = shape.depthwise ? 1 : groups;
  shape.rows = NumElements(filter, 0, 3);
  shape.columns = shape.depthwise ? filter[3] : DividedBy(filter[3], groups);
  shape.segments = out[0] * out[1];
  shape.depth = out[2];
  shape.left_across = true;
  if (IsPointwise(filter, op)) {
    // Without gaps, all lines of the image are one.
    shape.depth = shape.segments * shape.depth;
    shape.segments = 1;
    shape.left_across = shape.depthwise;
    shape.left_transposed = !shape.depthwise;
    if (groups == 1) {
      shape.matrices = PixelMatrices(filter[2], shape.columns, /*pixels_are_depth=*/true);
    }
  } else if (groups == 1) {
    shape.windows = WindowsOf(op, image, filter, out);
  }
  return shape;
}

}  // namespace

bool ContractionOp::Is(mlir::Operation* op) {
  return llvm::isa<ir::MatMulOp, ir::Conv2DOp, ir::Conv2DFilterGradOp, plan::PartialSumsOp>(op);
}

ContractionOp::ContractionOp(mlir::Operation* op)
    : op_(op),
      name_(op->getName().stripDialect()),
      attributes_(op->getAttrDictionary()),
      result_(ir::ShapeOf(op->getResult(0))) {
  auto partial = llvm::dyn_cast<plan::PartialSumsOp>(op);
  if (!partial) return;
  name_ = partial.getContraction();
  attributes_ = partial.getOptions();
  parts_ = *result_.front().Constant();
  part_steps_ = partial.getLengthAttr().getInt();
  result_.erase(result_.begin());
}

bool ContractionOp::Flag(llvm::StringRef name) const {
  auto flag = attributes_.getAs<mlir::BoolAttr>(name);
  return flag && flag.getValue();
}
int64_t ContractionOp::Int(llvm::StringRef name) const {
  return attributes_.getAs<mlir::IntegerAttr>(name).getInt();
}
llvm::ArrayRef<int64_t> ContractionOp::Ints(llvm::StringRef name) const {
  return attributes_.getAs<mlir::DenseI64ArrayAttr>(name).asArrayRef();
}
DataType ContractionOp::dtype() const { return ir::DataTypeOf(op_->getOperand(0)); }

ContractionShape ShapeOfContraction(mlir::Operation* op) {
  const ContractionOp contraction(op);
  const Shape a = ir::ShapeOf(op->getOperand(0)), b = ir::ShapeOf(op->getOperand(1));
  ContractionShape shape;
  if (contraction.is_matmul()) {
    shape = MatMulShape(a, b, contraction.result(), contraction.Flag("transpose_a"),
                        contraction.Flag("transpose_b"));
  } else if (contraction.is_filter_grad()) {
    shape = FilterGradShape(contraction, a, contraction.result(), b);
  } else {
    shape = ConvolutionShape(contraction, a, b, contraction.result());
  }
  shape.parts = contraction.parts();
  shape.part_steps = contraction.part_steps();
  shape.batches = DimExpr(shape.parts) * shape.batches;
  return shape;
}

cpu::ContractionSchedule ScheduleOfContraction(mlir::Operation* op, const Target& target) {
  const ContractionShape shape = ShapeOfContraction(op);
  auto matmul = llvm::dyn_cast<ir::MatMulOp>(op);
  const int element_bytes = std::max(4, SizeOf(ir::DataTypeOf(op->getResult(0))));
  const mlir::Value right = op->getOperand(1);
  auto unpack = right.getDefiningOp<plan::UnpackOp>();
  // Narrow numbers are widened on the way into panels.
  const bool right_in_rows = !(matmul && matmul.getTransposeB()) && !unpack &&
                             SizeOf(ir::DataTypeOf(right)) == element_bytes;
  const std::optional<int64_t> panel =
      unpack ? std::optional<int64_t>(static_cast<int64_t>(unpack.getPanel())) : std::nullopt;
  cpu::ContractionMachine machine;
  machine.vector_bytes = target.vector_bits / 8;
  machine.vector_registers = target.vector_registers;
  machine.l1_bytes = target.l1_bytes;
  machine.l2_bytes = target.l2_bytes;
  return cpu::ChooseSchedule(
      {shape.batches.Constant(), shape.rows.Constant(), shape.columns.Constant(),
       shape.segments.Constant(), shape.depth.Constant(), shape.depthwise, shape.left_transposed,
       shape.left_across, right_in_rows, panel},
      element_bytes, machine);
}

int64_t PreferredPanel(mlir::Operation* op, bool right_is_constant, const Target& target) {
  // GPUs have no use for panels.
  if (target.kind == Target::Kind::kCuda) return 0;
  if (!right_is_constant || ShapeOfContraction(op).depthwise) return 0;
  return ScheduleOfContraction(op, target).panel();
}

bool EpilogueReads(mlir::Value value, llvm::ArrayRef<mlir::Operation*> through) {
  mlir::Operation* source = value.getDefiningOp();
  if (source != nullptr && llvm::isa<ir::IotaOp, ir::DimSizeOp>(source)) return false;
  auto constant = llvm::dyn_cast_or_null<ir::ConstantOp>(source);
  if (constant && ir::SplatValueOf(constant.getValue())) return true;
  std::optional<StridedView> view = StridedView::Of(ir::ShapeOf(value));
  bool in_memory = true;  // under some shape
  for (mlir::Operation* op : through) {
    const Shape shape = ir::ShapeOf(op->getResult(0));
    if (llvm::isa<plan::CutOp>(op)) return false;
    if (llvm::isa<ir::BroadcastOp>(op)) {
      view = view->Broadcast(shape);
      in_memory = false;
    } else {
      view = in_memory ? StridedView::Of(shape) : view->Reshape(shape);
    }
    if (!view) return false;
  }
  return view->strides.empty() || view->strides.back() == DimExpr(0) ||
         view->strides.back() == DimExpr(1);
}

}  // namespace weft
