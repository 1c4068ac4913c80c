#include "compiler/codegen/window.h"

#include <limits>

#include "absl/strings/str_cat.h"
#include "compiler/codegen/cuda/thread.h"
#include "compiler/codegen/kernel_builder.h"
#include "graph/ir/dialect.h"
#include "graph/ir/types.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

namespace weft {
namespace {

using mlir::Value;
using Values = CodeBuilder::Values;
namespace arith = mlir::arith;

// Along one axis of the image: which windows there are and what they cover.
struct Axis {
  int64_t window, stride, pad_before;
  // Whether windows may reach past the image.
  bool padded;
  Value image, windows;  // sizes
};

class WindowEmitter {
 public:
  WindowEmitter(plan::FusionOp fusion, const Target& target, mlir::ModuleOp kernels,
                mlir::Operation* op)
      : op_(op),
        image_first_(mlir::isa<ir::MaxPoolOp, ir::MaxPoolAtOp, ir::AvgPoolOp>(op)),
        image_shape_(ir::ShapeOf(image_first_ ? op->getOperand(0) : op->getResult(0))),
        window_shape_(ir::ShapeOf(image_first_ ? op->getResult(0) : op->getOperand(0))),
        kb_(fusion, kernels, target),
        dtype_(ir::DataTypeOf(op->getOperand(0))) {
    auto ints = [&](llvm::StringRef name) {
      return op->getAttrOfType<mlir::DenseI64ArrayAttr>(name).asArrayRef();
    };
    llvm::ArrayRef<int64_t> window = ints("window"), stride = ints("strides"),
                            pad = ints("padding");
    channels_ = kb_.Size(image_shape_[3]);
    auto axis = [&](size_t i) {
      const int64_t before = pad[2 * i], after = pad[2 * i + 1];
      return Axis{window[i],
                  stride[i],
                  before,
                  before + after > 0,
                  kb_.Size(image_shape_[i + 1]),
                  kb_.Size(window_shape_[i + 1])};
    };
    rows_ = axis(0);
    columns_ = axis(1);
    compute_ = kb_.e().RegisterType(ScalarEmitter::AccumulatorType(dtype_), 0);
    lanes_ = target.Lanes(static_cast<int>(ElementBytes(compute_)));
    // A block of a few channels needs no wide vector.
    if (std::optional<int64_t> c = image_shape_[3].Constant()) {
      while (lanes_ > 1 && lanes_ / 2 >= *c) lanes_ /= 2;
    }
  }

  absl::StatusOr<KernelSpec> Run() {
    Value height = image_first_ ? rows_.windows : rows_.image;
    Value width = image_first_ ? columns_.windows : columns_.image;
    // Buffers are loaded once, before the loops.
    for (Value operand : op_->getOperands()) inputs_.push_back(kb_.BufferOf(operand));
    for (Value result : op_->getResults()) outputs_.push_back(kb_.ResultBufferOf(result));
    KernelSpec spec;
    if (kb_.on_gpu()) {
      EmitThread(spec, height, width);
    } else {
      EmitTiles(height, width);
      spec.tiles = OutShape()[0] * OutShape()[1];
    }
    DimExpr total;
    for (Value operand : op_->getOperands()) {
      total = total + NumElements(ir::ShapeOf(operand)) * DimExpr(SizeOf(ir::DataTypeOf(operand)));
    }
    for (Value result : op_->getResults()) {
      if (result.use_empty()) continue;
      total = total + NumElements(ir::ShapeOf(result)) * DimExpr(SizeOf(ir::DataTypeOf(result)));
    }
    spec.bytes = total;
    spec.flops = NumElements(window_shape_) * DimExpr(rows_.window) * DimExpr(columns_.window);
    kb_.Finish(spec);
    return spec;
  }

 private:
  const Shape& OutShape() const { return image_first_ ? window_shape_ : image_shape_; }

  void EmitResult(Value image, Value row, Value column, Value channel) {
    if (image_first_) {
      EmitWindowResult(image, row, column, channel);
    } else {
      EmitImageResult(image, row, column, channel);
    }
  }

  // On a CPU, a tile is a row of results.
  void EmitTiles(Value height, Value width) {
    kb_.ForTiles([&](Value tile) {
      Value image = kb_.Div(tile, height), line = kb_.Rem(tile, height);
      kb_.For(width, [&](Value column) {
        kb_.VectorFor(kb_.I64(0), channels_, lanes_, [&](Value channel, Value mask) {
          mask_ = mask;
          EmitResult(image, line, column, channel);
        });
      });
    });
  }

  // On a GPU, a thread computes a few channels of one result.
  void EmitThread(KernelSpec& spec, Value height, Value width) {
    SetBlockThreads(kb_, spec, kThreadsPerBlock);
    const auto known = image_shape_[3].Constant();
    if (!known || *known % lanes_ != 0) lanes_ = 1;
    const DimExpr groups = *DimExpr::DivideExactly(image_shape_[3], lanes_);
    const DimExpr total = OutShape()[0] * OutShape()[1] * OutShape()[2] * groups;
    spec.tiles = DimExpr::CeilDiv(total, kThreadsPerBlock);
    Value thread = GlobalThread(kb_), num_groups = kb_.Size(groups);
    kb_.If(kb_.Less(thread, kb_.Size(total)), [&] {
      Value channel = kb_.Mul(kb_.Rem(thread, num_groups), lanes_);
      Value place = kb_.Div(thread, num_groups);
      Value column = kb_.Rem(place, width);
      Value line = kb_.Div(place, width);
      EmitResult(kb_.Div(line, height), kb_.Rem(line, height), column, channel);
    });
  }

  // Offset of element (image, row, column, channel) in a buffer of images, or of window results.
  Value ImageIndex(Value image, Value row, Value column, Value channel) {
    Value line = kb_.Add(kb_.Mul(image, rows_.image), row);
    return kb_.Add(kb_.Mul(kb_.Add(kb_.Mul(line, columns_.image), column), channels_), channel);
  }
  Value WindowIndex(Value image, Value row, Value column, Value channel) {
    Value line = kb_.Add(kb_.Mul(image, rows_.windows), row);
    return kb_.Add(kb_.Mul(kb_.Add(kb_.Mul(line, columns_.windows), column), channels_), channel);
  }

  Value LoadFloat(int operand, Value index) {
    return kb_.LoadWide(inputs_[operand], dtype_, index, lanes_, mask_);
  }
  Value LoadPlace(int operand, Value index) {
    return kb_.LoadWide(inputs_[operand], DataType::kI32, index, lanes_, mask_);
  }
  mlir::VectorType FloatVector() { return mlir::VectorType::get({lanes_}, compute_); }
  Value Splat(double value) {
    return arith::ConstantOp::create(
        kb_.b(),
        mlir::DenseElementsAttr::get(FloatVector(), kb_.b().getFloatAttr(compute_, value)));
  }
  // row * window width + column, as a vector of i32.
  Value Place(Value row, Value column) {
    Value place = kb_.Add(kb_.Mul(row, columns_.window), column);
    return kb_.Splat(arith::TruncIOp::create(kb_.b(), kb_.b().getI32Type(), place), lanes_);
  }

  // The elements [first, last) of window `index` that lie in the image.
  std::pair<Value, Value> Covered(const Axis& axis, Value index) {
    if (!axis.padded) return {kb_.I64(0), kb_.I64(axis.window)};
    Value start = kb_.Sub(kb_.Mul(index, axis.stride), kb_.I64(axis.pad_before));
    return {kb_.Max(kb_.Sub(kb_.I64(0), start), kb_.I64(0)),
            kb_.Min(kb_.Sub(axis.image, start), kb_.I64(axis.window))};
  }
  // The windows [first, last) that cover `position` of the image.
  std::pair<Value, Value> Covering(const Axis& axis, Value position) {
    Value padded = kb_.Add(position, axis.pad_before);
    // ceil((padded - window + 1) / stride), not below 0: shifted by a multiple of the stride so
    // that the division is of whole numbers >= 0.
    const int64_t shift = (axis.window + axis.stride - 1) / axis.stride;
    Value first = kb_.Sub(
        kb_.Div(kb_.Add(padded, shift * axis.stride - axis.window + axis.stride), axis.stride),
        kb_.I64(shift));
    Value last = kb_.Add(kb_.Div(padded, axis.stride), 1);
    return {kb_.Max(first, kb_.I64(0)), kb_.Min(last, axis.windows)};
  }

  // body(row in window, column in window, carried) over the elements of a window in the image.
  Values OverWindow(
      Value row, Value column, Values carried,
      const std::function<Values(Value, Value, Value, Value, mlir::ValueRange)>& body) {
    auto [row_first, row_last] = Covered(rows_, row);
    auto [column_first, column_last] = Covered(columns_, column);
    auto position = [&](const Axis& axis, Value index, Value inside) {
      return kb_.Sub(kb_.Add(kb_.Mul(index, axis.stride), inside), kb_.I64(axis.pad_before));
    };
    constexpr int64_t kUnrolled = 9;
    if (!rows_.padded && !columns_.padded && rows_.window * columns_.window <= kUnrolled) {
      for (int64_t r = 0; r < rows_.window; ++r) {
        for (int64_t c = 0; c < columns_.window; ++c) {
          Value y = kb_.I64(r), x = kb_.I64(c);
          carried = body(y, x, position(rows_, row, y), position(columns_, column, x), carried);
        }
      }
      return carried;
    }
    Value first_row = row_first, first_column = column_first;
    Value width = kb_.Sub(column_last, column_first);
    return kb_.For(kb_.Sub(row_last, row_first), carried, [&](Value i, mlir::ValueRange outer) {
      Value y = kb_.Add(first_row, i);
      return kb_.For(
          width, Values(outer.begin(), outer.end()), [&](Value j, mlir::ValueRange inner) {
            Value x = kb_.Add(first_column, j);
            return body(y, x, position(rows_, row, y), position(columns_, column, x), inner);
          });
    });
  }

  // 1 / number of elements that a window counts.
  Value Weight(Value row, Value column) {
    auto count_padding = op_->getAttrOfType<mlir::BoolAttr>("count_padding");
    const bool whole =
        (count_padding && count_padding.getValue()) || (!rows_.padded && !columns_.padded);
    if (whole) {
      return Splat(static_cast<double>(rows_.window) * static_cast<double>(columns_.window));
    }
    auto [row_first, row_last] = Covered(rows_, row);
    auto [column_first, column_last] = Covered(columns_, column);
    Value count = kb_.Mul(kb_.Sub(row_last, row_first), kb_.Sub(column_last, column_first));
    // The mean of nothing is 0.
    count = kb_.Max(count, 1);
    return kb_.Splat(arith::SIToFPOp::create(kb_.b(), compute_, count), lanes_);
  }

  // One vector of a result that has an element for each window.
  void EmitWindowResult(Value image, Value row, Value column, Value channel) {
    mlir::ImplicitLocOpBuilder& b = kb_.b();
    Value out = WindowIndex(image, row, column, channel);
    if (mlir::isa<ir::MaxPoolOp>(op_)) {
      Value start = Splat(-std::numeric_limits<double>::infinity());
      const bool wants_place = outputs_[1] != nullptr;
      Values carried = {start};
      if (wants_place) {
        auto [row_first, row_last] = Covered(rows_, row);
        auto [column_first, column_last] = Covered(columns_, column);
        // Of a window with nothing in it, the first.
        Value some = arith::AndIOp::create(b, kb_.Less(row_first, row_last),
                                           kb_.Less(column_first, column_last));
        Value none = kb_.I64(0);
        carried.push_back(
            Place(kb_.Select(some, row_first, none), kb_.Select(some, column_first, none)));
      }
      Values best = OverWindow(
          row, column, carried,
          [&](Value y, Value x, Value in_row, Value in_column, mlir::ValueRange now) {
            Value value = LoadFloat(0, ImageIndex(image, in_row, in_column, channel));
            // Larger, or the first NaN.
            Value larger = arith::CmpFOp::create(b, arith::CmpFPredicate::UGT, value, now[0]);
            Value number = arith::CmpFOp::create(b, arith::CmpFPredicate::ORD, now[0], now[0]);
            Value take = arith::AndIOp::create(b, larger, number);
            Values next = {arith::SelectOp::create(b, take, value, now[0])};
            if (wants_place) {
              next.push_back(arith::SelectOp::create(b, take, Place(y, x), now[1]));
            }
            return next;
          });
      if (outputs_[0]) kb_.StoreRounded(best[0], outputs_[0], dtype_, out, mask_);
      if (wants_place) kb_.StoreRounded(best[1], outputs_[1], DataType::kI32, out, mask_);
      return;
    }
    if (mlir::isa<ir::MaxPoolAtOp>(op_)) {
      Value place = LoadPlace(1, out);
      Values taken = OverWindow(
          row, column, {Splat(0)},
          [&](Value y, Value x, Value in_row, Value in_column, mlir::ValueRange now) {
            Value value = LoadFloat(0, ImageIndex(image, in_row, in_column, channel));
            Value here = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, place, Place(y, x));
            return Values{arith::SelectOp::create(b, here, value, now[0])};
          });
      return kb_.StoreRounded(taken[0], outputs_[0], dtype_, out, mask_);
    }
    Values sum = OverWindow(row, column, {Splat(0)},
                            [&](Value, Value, Value in_row, Value in_column, mlir::ValueRange now) {
                              Value value =
                                  LoadFloat(0, ImageIndex(image, in_row, in_column, channel));
                              return Values{arith::AddFOp::create(b, now[0], value)};
                            });
    Value mean = arith::DivFOp::create(b, sum[0], Weight(row, column));
    kb_.StoreRounded(mean, outputs_[0], dtype_, out, mask_);
  }

  // One vector of a result that has an element for each of the image: what the windows over it
  // add to it, in the order of the windows.
  void EmitImageResult(Value image, Value row, Value column, Value channel) {
    mlir::ImplicitLocOpBuilder& b = kb_.b();
    auto [row_first, row_last] = Covering(rows_, row);
    auto [column_first, column_last] = Covering(columns_, column);
    Value first_row = row_first, first_column = column_first;
    Value width = kb_.Sub(column_last, column_first);
    Values sum =
        kb_.For(kb_.Sub(row_last, row_first), {Splat(0)}, [&](Value i, mlir::ValueRange outer) {
          Value window_row = kb_.Add(first_row, i);
          return kb_.For(
              width, Values(outer.begin(), outer.end()), [&](Value j, mlir::ValueRange now) {
                Value window_column = kb_.Add(first_column, j);
                Value index = WindowIndex(image, window_row, window_column, channel);
                Value value = LoadFloat(0, index);
                if (mlir::isa<ir::MaxUnpoolOp>(op_)) {
                  auto inside = [&](const Axis& axis, Value position, Value window) {
                    return kb_.Sub(kb_.Add(position, axis.pad_before),
                                   kb_.Mul(window, axis.stride));
                  };
                  Value here = Place(inside(rows_, row, window_row),
                                     inside(columns_, column, window_column));
                  Value hit =
                      arith::CmpIOp::create(b, arith::CmpIPredicate::eq, LoadPlace(1, index), here);
                  value = arith::SelectOp::create(b, hit, value, Splat(0));
                } else {
                  value = arith::DivFOp::create(b, value, Weight(window_row, window_column));
                }
                return Values{arith::AddFOp::create(b, now[0], value)};
              });
        });
    kb_.StoreRounded(sum[0], outputs_[0], dtype_, ImageIndex(image, row, column, channel), mask_);
  }

  mlir::Operation* op_;
  bool image_first_;  // the result has an element for each window
  Shape image_shape_, window_shape_;
  KernelBuilder kb_;
  DataType dtype_;
  mlir::Type compute_;
  int64_t lanes_ = 1;
  Value channels_, mask_;
  Axis rows_, columns_;
  std::vector<Value> inputs_, outputs_;
};

}  // namespace

absl::StatusOr<KernelSpec> EmitWindow(plan::FusionOp fusion, const Target& target,
                                      mlir::ModuleOp kernels) {
  mlir::Operation* op = &fusion.body()->front();
  if (!mlir::isa<ir::MaxPoolOp, ir::MaxPoolAtOp, ir::MaxUnpoolOp, ir::AvgPoolOp, ir::AvgPoolGradOp>(
          op) ||
      op->getNextNode() != fusion.yield()) {
    return absl::InternalError(absl::StrCat(
        "expected one pooling op in a fusion of kind window, at ", ir::Describe(fusion.getLoc())));
  }
  return WindowEmitter(fusion, target, kernels, op).Run();
}

}  // namespace weft
