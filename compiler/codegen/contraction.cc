#include "compiler/codegen/contraction.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "compiler/codegen/contraction_layout.h"
#include "compiler/codegen/cuda/contraction.h"
#include "compiler/codegen/elementwise_lower.h"
#include "compiler/codegen/kernel_builder.h"
#include "compiler/codegen/library_contraction.h"
#include "compiler/codegen/scalar_emitter.h"
#include "compiler/codegen/strided_view.h"
#include "compiler/passes/op_kinds.h"
#include "compiler/plan_dialect/plan.h"
#include "graph/ir/dialect.h"
#include "graph/ir/types.h"
#include "graph/ops/op_info.h"
#include "kernels/cpu/contraction.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/DenseSet.h"
#include "llvm/Support/Casting.h"

namespace weft {
namespace {

using mlir::Value;

absl::Status Broken(mlir::Operation* op, absl::string_view problem) {
  return absl::InternalError(
      absl::StrCat("contraction fusion: ", problem, ", at ", ir::Describe(op->getLoc())));
}

class ContractionEmitter {
 public:
  ContractionEmitter(plan::FusionOp fusion, const Target& target, mlir::ModuleOp kernels)
      : fusion_(fusion), target_(target), k_(fusion, kernels, target) {}

  absl::StatusOr<KernelSpec> Emit() {
    absl::StatusOr<KernelSpec> spec = EmitFunction();
    if (!spec.ok()) k_.function().erase();
    return spec;
  }

 private:
  absl::StatusOr<KernelSpec> EmitFunction() {
    for (mlir::Operation& op : fusion_.body()->without_terminator()) {
      if (ContractionOp::Is(&op)) {
        if (root_ != nullptr) return Broken(&op, "a second contraction");
        root_ = &op;
      }
    }
    if (root_ == nullptr) return Broken(fusion_, "no contraction");
    shape_ = ShapeOfContraction(root_);
    absl::Status status = CheckParts();
    if (!status.ok()) return status;
    if (!k_.on_gpu()) schedule_ = ScheduleOfContraction(root_, target_);
    status = SetOperands();
    if (!status.ok()) return status;
    const ContractionOp op(root_);
    status = op.is_matmul() ? DescribeMatMul() : DescribeConvolution(op);
    if (!status.ok()) return status;
    if (shape_.parts > 1) {
      // Parts differ in their steps alone.
      c_.left_base = InWhole(c_.left_base);
      c_.right_base = InWhole(c_.right_base);
    }
    status = DescribeEpilogue();
    if (!status.ok()) return status;

    KernelSpec spec;
    if (k_.on_gpu()) {
      EmitCudaContraction(k_, c_, shape_, dtype_, spec);
      spec.contraction = LibraryContractionOf(fusion_, root_, shape_, target_);
    } else {
      EmitContraction(k_, c_, schedule_, k_.tile_begin(), k_.tile_end(), k_.scratch());
      spec.tiles = shape_.batches * DimExpr::CeilDiv(shape_.rows, schedule_.row_block) *
                   DimExpr::CeilDiv(shape_.columns, schedule_.column_block);
      spec.scratch_bytes = cpu::ContractionScratch(schedule_, ElementBytes(c_.element));
    }
    k_.Finish(spec);
    spec.flops = DimExpr(2) * shape_.whole_batches() * shape_.rows * shape_.columns *
                 shape_.segments * shape_.depth;
    for (Value value : fusion_->getOperands()) spec.bytes = spec.bytes + Bytes(value);
    for (Value value : fusion_->getResults()) spec.bytes = spec.bytes + Bytes(value);
    spec.may_share = std::move(may_share_);
    return spec;
  }

  static DimExpr Bytes(Value value) {
    return NumElements(ir::ShapeOf(value)) * DimExpr(SizeOf(ir::DataTypeOf(value)));
  }

  // plan.partial_sums: parts are a GPU's batches, and all of the depth that there is.
  absl::Status CheckParts() {
    if (shape_.parts == 1) return absl::OkStatus();
    if (!k_.on_gpu() || shape_.depthwise) return Broken(root_, "parts of what has none");
    if (shape_.part_steps % ContractionShape::kPartMultiple != 0) {
      return Broken(root_, absl::StrCat("parts that do not begin at multiples of ",
                                        ContractionShape::kPartMultiple, " steps"));
    }
    const std::optional<int64_t> steps = (shape_.segments * shape_.depth).Constant();
    const bool all = steps && *steps > 0 && (*steps - 1) / shape_.part_steps == shape_.parts - 1;
    return all ? absl::OkStatus() : Broken(root_, "other parts than the depth takes");
  }

  absl::Status SetOperands() {
    c_.batches = k_.Size(shape_.batches);
    c_.rows = k_.Size(shape_.rows);
    c_.columns = k_.Size(shape_.columns);
    c_.segments = k_.Size(shape_.segments);
    c_.depth = k_.Size(shape_.depth);
    c_.left_along_columns = shape_.depthwise;
    dtype_ = ContractionOp(root_).dtype();
    c_.element = k_.e().RegisterType(ScalarEmitter::AccumulatorType(dtype_), 0);
    c_.stored = k_.e().MemoryType(dtype_, 0);
    c_.widen = [this](Value x) { return k_.e().ToAccumulator(k_.e().FromMemory(x, dtype_)).value; };

    left_ = llvm::dyn_cast<mlir::BlockArgument>(root_->getOperand(0));
    Value right = root_->getOperand(1);
    if (auto unpack = right.getDefiningOp<plan::UnpackOp>()) {
      if (k_.on_gpu()) return Broken(unpack, "panels, which are a CPU's");
      if (static_cast<int64_t>(unpack.getPanel()) != schedule_.panel() || shape_.depthwise) {
        return Broken(unpack, "panels of another width than PreferredPanel's");
      }
      c_.right_in_panels = true;
      right = unpack.getX();
    }
    right_ = llvm::dyn_cast<mlir::BlockArgument>(right);
    if (!left_ || !right_) return Broken(root_, "an operand is computed inside");
    c_.left = k_.BufferOf(left_);
    c_.right = k_.BufferOf(right_);
    return absl::OkStatus();
  }

  // g * factor.
  std::function<Value(Value)> Times(const DimExpr& factor) {
    // A GPU's wide accesses need to know what the offset is a multiple of.
    constexpr int64_t kMultiple = 8;
    const auto part = DimExpr::DivideExactly(factor, kMultiple);
    if (k_.on_gpu() && !factor.Constant() && part) {
      return [this, size = k_.Size(*part)](Value g) { return k_.Mul(k_.Mul(g, size), kMultiple); };
    }
    return [this, size = k_.Size(factor)](Value g) { return k_.Mul(g, size); };
  }
  // What `of_batch` gives for the batch that a part is of.
  std::function<Value(Value)> InWhole(std::function<Value(Value)> of_batch) {
    return [this, of_batch = std::move(of_batch), batches = k_.Size(shape_.whole_batches())](
               Value g) { return of_batch(k_.Rem(g, batches)); };
  }
  // Elements of one batch of right, in panels.
  DimExpr PanelsOfBatch() {
    return DimExpr::CeilDiv(shape_.columns, schedule_.panel()) * DimExpr(schedule_.panel()) *
           shape_.segments * shape_.depth;
  }

  absl::Status DescribeMatMul() {
    const auto& [left, right] = *shape_.matrices;
    c_.left_base = Times(left.batch);
    c_.left_row_stride = k_.Size(left.own);
    c_.left_depth_stride = k_.Size(left.depth);
    const bool panels = c_.right_in_panels && right.batch != DimExpr(0);
    c_.right_base = Times(panels ? PanelsOfBatch() : right.batch);
    c_.right_depth_stride = k_.Size(right.depth);
    c_.right_column_stride = k_.Size(right.own);
    return absl::OkStatus();
  }

  // conv2d reads windows of its image for output pixels (rows) along the window (segments and
  // depth); the filter's gradient reads the same elements for places in the window (rows) along the
  // output pixels.
  absl::Status DescribeConvolution(const ContractionOp& op) {
    const bool grad = op.is_filter_grad();
    const auto strides = op.Ints("strides"), dilations = op.Ints("dilations");
    if (llvm::any_of(op.Ints("padding"), [](int64_t padding) { return padding != 0; }) &&
        !ConvolutionPads(root_, target_)) {
      return Broken(root_, "a convolution with padding");
    }
    const int64_t groups = op.Int("groups");
    const Shape image = ir::ShapeOf(root_->getOperand(0));
    const Shape right = ir::ShapeOf(root_->getOperand(1));
    const Shape& filter = grad ? op.result() : right;
    const Shape& out = grad ? right : op.result();
    Value height = k_.Size(image[1]), width = k_.Size(image[2]);
    Value channels = k_.Size(image[3]);
    Value filter_width = k_.Size(filter[1]), filter_channels = k_.Size(filter[2]);
    Value out_height = k_.Size(out[1]), out_width = k_.Size(out[2]);
    Value line = k_.Mul(width, channels);

    // Offset of an output line (of all images' lines), and of a place in the window.
    auto out_line = [=, this](Value index) {
      Value lines = k_.Add(k_.Mul(k_.Div(index, out_height), height),
                           k_.Mul(k_.Rem(index, out_height), strides[0]));
      return k_.Mul(lines, line);
    };
    auto window_pixel = [=, this](Value index) {
      Value down = k_.Mul(k_.Mul(k_.Div(index, filter_width), dilations[0]), line);
      Value right = k_.Mul(k_.Mul(k_.Rem(index, filter_width), dilations[1]), channels);
      return k_.Add(down, right);
    };
    const bool runs = dilations[1] == 1 && groups == 1;  // as in ShapeOfContraction
    const bool pointwise = filter[0] == DimExpr(1) && filter[1] == DimExpr(1);

    if (!grad) {
      if (pointwise && strides[0] == 1 && strides[1] == 1) {
        c_.left_row_stride = channels;
      } else {
        c_.left_line = out_line;
        c_.left_line_rows = out_width;
        c_.left_row_stride = k_.Mul(channels, strides[1]);
      }
      c_.left_segment = [=, this](Value s) {
        return runs ? k_.Mul(k_.Mul(s, dilations[0]), line) : window_pixel(s);
      };
      c_.left_depth_stride = k_.I64(1);
    } else {
      c_.left_row_stride = k_.I64(1);
      if (!pointwise) {
        c_.left_line = window_pixel;
        c_.left_line_rows = filter_channels;
      }
      c_.left_segment = out_line;
      c_.left_depth_stride = k_.Mul(channels, strides[1]);
    }
    const DimExpr per_group = shape_.depthwise ? DimExpr(0) : shape_.columns;
    c_.left_base = Times(shape_.depthwise ? DimExpr(0) : filter[2]);
    c_.right_base = Times(c_.right_in_panels ? PanelsOfBatch() : per_group);
    c_.right_depth_stride = k_.Size(out[3]);
    c_.right_column_stride = k_.I64(1);
    return absl::OkStatus();
  }

  // How element (batch, row, column) is found in a view of the result's shape.
  absl::StatusOr<cpu::EpilogueAccess> Access(StridedView view, Value pointer, DataType dtype) {
    if (shape_.parts == 1) return AccessInWhole(view, pointer, dtype);
    auto step = Times(view.strides[0]);
    view.shape.erase(view.shape.begin());
    view.strides.erase(view.strides.begin());
    auto access = AccessInWhole(view, pointer, dtype);
    if (!access.ok()) return access;
    Value batches = k_.Size(shape_.whole_batches());
    access->base = [this, step, base = InWhole(access->base), batches](Value g) {
      return k_.Add(step(k_.Div(g, batches)), base(g));
    };
    return access;
  }
  // The same, but for parts.
  absl::StatusOr<cpu::EpilogueAccess> AccessInWhole(const StridedView& view, Value pointer,
                                                    DataType dtype) {
    cpu::EpilogueAccess access;
    access.pointer = pointer;
    access.element = k_.e().MemoryType(dtype, 0);
    const size_t rank = view.shape.size();
    const DimExpr column_stride = view.strides[rank - 1];
    if (column_stride != DimExpr(0) && column_stride != DimExpr(1)) {
      return Broken(root_, "an operand that does not lie along the columns");
    }
    access.along_columns = column_stride == DimExpr(1);

    // Batches of a matrix product are leading dimensions; those of a convolution are runs of
    // columns.
    const bool matmul = ContractionOp(root_).is_matmul();
    const bool batched = matmul && shape_.rows == view.shape[rank - 2];
    const size_t row_begin = batched ? rank - 2 : 0;
    if (matmul) {
      access.base = [unravel = Unravel(view, 0, row_begin)](Value g) { return unravel(g); };
    } else {
      access.base = Times(access.along_columns ? shape_.columns : DimExpr(0));
    }
    if (auto stride = view.Merged(row_begin, rank - 1)) {
      access.row_stride = k_.Size(*stride);
    } else {
      access.row = Unravel(view, row_begin, rank - 1);
    }
    return access;
  }

  // The offset that an index over dimensions [begin, end) of the view comes to.
  std::function<Value(Value)> Unravel(const StridedView& view, size_t begin, size_t end) {
    if (auto stride = view.Merged(begin, end)) return Times(*stride);
    std::vector<std::pair<Value, Value>> dims;  // size, stride
    for (size_t i = begin; i < end; ++i) {
      dims.emplace_back(k_.Size(view.shape[i]), k_.Size(view.strides[i]));
    }
    return [this, dims](Value index) {
      Value offset = k_.I64(0);
      for (size_t i = dims.size(); i-- > 0;) {
        Value coordinate = i == 0 ? index : k_.Rem(index, dims[i].first);
        offset = k_.Add(offset, k_.Mul(coordinate, dims[i].second));
        index = k_.Div(index, dims[i].first);
      }
      return offset;
    };
  }

  absl::Status DescribeEpilogue() {
    const Shape shape = ir::ShapeOf(root_->getResult(0));
    const StridedView whole = StridedView::Of(shape);
    const size_t num_operands = fusion_->getNumOperands();
    std::vector<int> uses(num_operands, 0);
    // Operands that lie as the result does.
    std::vector<std::pair<int, DataType>> in_place;
    llvm::DenseSet<Value> known = {root_->getResult(0)};
    for (mlir::Operation& op : fusion_.body()->without_terminator()) {
      for (Value operand : op.getOperands()) {
        if (auto argument = llvm::dyn_cast<mlir::BlockArgument>(operand)) {
          ++uses[argument.getArgNumber()];
        }
      }
      if (&op == root_ ||
          llvm::isa<ir::BroadcastOp, ir::ReshapeOp, ir::ConstantOp, plan::UnpackOp>(op)) {
        continue;
      }
      const OpInfo* info = FindOp(std::string_view(op.getName().getStringRef()));
      if (info == nullptr || !info->elementwise)
        return Broken(&op, "an op that is not element-wise");
      for (Value operand : op.getOperands()) {
        if (known.contains(operand) || SplatOfValue(operand)) continue;
        mlir::BlockArgument argument;
        auto view = ViewOfArgument(operand, &argument);
        if (!view || view->shape != shape) {
          return Broken(&op, "an operand that is no broadcast or reshape of the fusion's");
        }
        const DataType dtype = ir::DataTypeOf(operand);
        auto access = Access(*view, k_.BufferOf(argument), dtype);
        if (!access.ok()) return access.status();
        epilogue_values_.push_back(operand);
        known.insert(operand);
        c_.operands.push_back(*access);
        if (*view == whole) in_place.emplace_back(argument.getArgNumber(), dtype);
      }
      known.insert(op.getResult(0));
      epilogue_ops_.push_back(&op);
    }
    auto yielded = fusion_.yield()->getOperands();
    for (size_t i = 0; i < yielded.size(); ++i) {
      if (ir::ShapeOf(yielded[i]) != shape || !known.contains(yielded[i])) {
        return Broken(fusion_, "a result of another shape, or computed from no contraction");
      }
      const DataType dtype = ir::DataTypeOf(yielded[i]);
      auto access = Access(whole, k_.Buffer(static_cast<int>(num_operands + i)), dtype);
      if (!access.ok()) return access.status();
      c_.results.push_back(*access);
      for (const auto& [operand, operand_dtype] : in_place) {
        if (uses[operand] == 1 && SizeOf(operand_dtype) == SizeOf(dtype)) {
          may_share_.emplace_back(operand, static_cast<int>(i));
        }
      }
    }
    c_.epilogue = [this](Value acc, const CodeBuilder::Values& operands) {
      return Epilogue(acc, operands);
    };
    return absl::OkStatus();
  }

  CodeBuilder::Values Epilogue(Value acc, const CodeBuilder::Values& operands) {
    ScalarEmitter& e = k_.e();
    const int64_t lanes = ScalarEmitter::LanesOf(acc);
    llvm::DenseMap<Value, Element> values;
    values[root_->getResult(0)] = e.FromAccumulator(
        Element{acc, ScalarEmitter::AccumulatorType(dtype_)}, ir::DataTypeOf(root_->getResult(0)));
    for (size_t i = 0; i < operands.size(); ++i) {
      Value value = epilogue_values_[i];
      values[value] = e.FromMemory(operands[i], ir::DataTypeOf(value));
    }
    for (mlir::Operation* op : epilogue_ops_) {
      std::vector<Element> elements;
      for (Value operand : op->getOperands()) {
        if (mlir::DenseElementsAttr splat = SplatOfValue(operand)) {
          elements.push_back(e.Splat(EmitSplat(e, splat), lanes));
        } else {
          elements.push_back(values[operand]);
        }
      }
      values[op->getResult(0)] = EmitElementwise(e, op, elements);
    }
    CodeBuilder::Values results;
    for (Value value : fusion_.yield()->getOperands()) {
      results.push_back(e.ToMemory(e.Splat(values[value], lanes)));
    }
    return results;
  }

  plan::FusionOp fusion_;
  const Target& target_;
  KernelBuilder k_;
  mlir::Operation* root_ = nullptr;
  DataType dtype_ = DataType::kInvalid;  // of the operands
  ContractionShape shape_;
  cpu::ContractionSchedule schedule_;
  cpu::Contraction c_;
  mlir::BlockArgument left_, right_;
  // Values of the epilogue that come from memory, in the order of c_.operands.
  std::vector<Value> epilogue_values_;
  std::vector<mlir::Operation*> epilogue_ops_;
  std::vector<std::pair<int, int>> may_share_;
};

}  // namespace

bool ConvolutionPads(mlir::Operation* op, const Target& target) {
  const ContractionShape shape = ShapeOfContraction(op);
  return shape.windows && target.kind == Target::Kind::kCuda &&
         CudaMapsOperands(shape, ContractionOp(op).dtype(), target);
}

absl::StatusOr<KernelSpec> EmitContractionKernel(plan::FusionOp fusion, const Target& target,
                                                 mlir::ModuleOp kernels) {
  return ContractionEmitter(fusion, target, kernels).Emit();
}

}  // namespace weft
