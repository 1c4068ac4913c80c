#include "compiler/codegen/fusion_emitter.h"

#include <algorithm>
#include <bit>
#include <map>

#include "compiler/codegen/accumulator.h"
#include "graph/ir/dialect.h"
#include "graph/ir/types.h"
#include "graph/ops/op_info.h"

namespace weft {

using mlir::Value;

namespace {

// Relative cost of a function that arithmetic approximates, such as exp.
constexpr int kFunctionCost = 16;

// Functions in the longest chain of them that ends with `op`, from the last reduction on.
int FunctionsInChain(mlir::Operation* op, std::map<mlir::Operation*, int>& known) {
  if (op == nullptr || IsReduction(op)) return 0;
  const auto [entry, is_new] = known.emplace(op, 0);
  if (!is_new) return entry->second;
  int before = 0;
  for (Value operand : op->getOperands()) {
    before = std::max(before, FunctionsInChain(operand.getDefiningOp(), known));
  }
  return entry->second = before + (CostOf(op) >= kFunctionCost ? 1 : 0);
}

}  // namespace

int CostOf(mlir::Operation* op) {
  if (mlir::isa<ir::ExpOp, ir::Expm1Op, ir::LogOp, ir::Log1pOp, ir::TanhOp, ir::LogisticOp,
                ir::ErfOp, ir::SinOp, ir::CosOp, ir::PowOp, ir::Atan2Op, ir::RandomUniformOp,
                ir::RandomBitsOp, ir::RandomNormalOp>(op)) {
    return kFunctionCost;
  }
  if (mlir::isa<ir::DivOp, ir::RemOp, ir::SqrtOp, ir::RsqrtOp, ir::ReciprocalOp>(op)) return 4;
  if (mlir::isa<ir::ConstantOp, ir::BroadcastOp, ir::ReshapeOp, ir::StopGradientOp>(op)) return 0;
  return 1;
}

FusionEmitter::FusionEmitter(plan::FusionOp fusion, const Target& target, mlir::ModuleOp kernels)
    : fusion(fusion), target(target), kernel(fusion, kernels, target), values(&kernel) {
  for (Value value : fusion.yield()->getOperands()) results.push_back(value);
  DimExpr bytes = 0, flops = 0;
  for (Value value : fusion.getOperation()->getOperands()) {
    bytes = bytes + NumElements(ir::ShapeOf(value)) * SizeOf(ir::DataTypeOf(value));
  }
  for (Value value : fusion.getOperation()->getResults()) {
    bytes = bytes + NumElements(ir::ShapeOf(value)) * SizeOf(ir::DataTypeOf(value));
  }
  for (mlir::Operation& op : fusion.body()->without_terminator()) {
    // Reductions work on their operands.
    Value basis = op.getNumOperands() > 0 && IsReduction(&op) ? op.getOperand(0) : op.getResult(0);
    flops = flops + NumElements(ir::ShapeOf(basis)) * CostOf(&op);
  }
  spec.bytes = bytes;
  spec.flops = flops;
  spec.scratch_bytes = 0;
}

FusionEmitter::Range FusionEmitter::SplitIntoTiles(const DimExpr& units, int64_t per_tile) {
  spec.tiles = DimExpr::CeilDiv(units, per_tile);
  auto constant = units.Constant();
  if (constant && *constant <= per_tile && *constant > 0) {
    return {kernel.I64(0), kernel.Size(units)};
  }
  Value count = kernel.SizeArgument(units);
  Value step = kernel.I64(per_tile);
  return {kernel.Mul(kernel.tile_begin(), step),
          kernel.Min(kernel.Mul(kernel.tile_end(), step), count)};
}

Index FusionEmitter::IndexOf(Value unit, const std::vector<DimExpr>& extents) {
  Index index(extents.size());
  for (size_t i = extents.size(); i-- > 0;) {
    Value coordinate = unit;
    if (i > 0) {
      Value extent = kernel.Size(extents[i]);
      coordinate = kernel.Rem(unit, extent);
      unit = kernel.Div(unit, extent);
    }
    index[i] = {extents[i], {coordinate, 0, {}}, -1};
  }
  return index;
}

int64_t FusionEmitter::ChooseLanes(const DimExpr& extent) const {
  int bytes = values.has_lane_index() ? 8 : 1;
  int cost = 0;
  int functions = 0;
  std::map<mlir::Operation*, int> known;
  auto consider = [&](Value value) {
    const DataType dtype = ir::DataTypeOf(value);
    bytes = std::max(bytes, IsFloat(dtype) ? std::max(4, SizeOf(dtype)) : SizeOf(dtype));
  };
  for (mlir::Operation* op : values.visited()) {
    for (Value operand : op->getOperands()) {
      if (!ir::ShapeOf(operand).empty()) consider(operand);
    }
    consider(op->getResult(0));
    cost += CostOf(op);
    functions = std::max(functions, FunctionsInChain(op, known));
  }
  for (Value value : results) consider(value);
  // Four vectors at once, and the next ones that a processor starts meanwhile, hide the latency of
  // arithmetic. Functions of functions are chains so long that it sees no further: eight keep its
  // units busy, even where not all of them fit the registers. Where many values live at the same
  // time, two vectors do.
  const int vectors = cost > 100 || values.has_lane_index() ? 2 : functions >= 2 ? 8 : 4;
  int64_t lanes = std::min<int64_t>(std::max(vectors, 4) * 16, vectors * target.Lanes(bytes));
  if (auto constant = extent.Constant()) {
    // No masks where four vectors need none.
    if (vectors == 8 && *constant % lanes != 0 && *constant % (lanes / 2) == 0) lanes /= 2;
    lanes = std::min<int64_t>(lanes, static_cast<int64_t>(std::bit_ceil(
                                         static_cast<uint64_t>(std::max<int64_t>(*constant, 2)))));
  }
  return lanes;
}

void FusionEmitter::FindSharing(const std::vector<size_t>& result_numbers) {
  for (size_t operand = 0; operand < fusion.getInputs().size(); ++operand) {
    Value x = fusion.getInputs()[operand];
    if (!values.ReadInPlace(static_cast<int>(operand))) continue;
    for (size_t i : result_numbers) {
      Value y = fusion.getOuts()[i];
      if (SizeOf(ir::DataTypeOf(x)) == SizeOf(ir::DataTypeOf(y)) &&
          NumElements(ir::ShapeOf(x)) == NumElements(ir::ShapeOf(y))) {
        spec.may_share.emplace_back(static_cast<int>(operand), static_cast<int>(i));
      }
    }
  }
}

bool FusionEmitter::PassesCaches() const {
  const auto bytes = spec.bytes.Constant();
  return bytes && *bytes >= 2 * target.l3_bytes;
}

Value FusionEmitter::Stream(size_t i, const DimExpr& extent, int64_t lanes) {
  Value result = fusion.getOuts()[i];
  const int size = SizeOf(ir::DataTypeOf(result));
  const auto length = extent.Constant();
  const auto bytes = (NumElements(ir::ShapeOf(result)) * size).Constant();
  // Lines are written whole, and a small result may stay in the cache.
  if (!PassesCaches() || !length || *length % lanes != 0 || *length * size % 64 != 0 || !bytes ||
      *bytes < target.l3_bytes / 2) {
    return {};
  }
  Value pointer = kernel.Buffer(ResultBuffer(i));
  Value stream = kernel.IsAligned(pointer);
  // Lines that have just been read are in the cache.
  for (const auto& [operand, shared] : spec.may_share) {
    if (shared != static_cast<int>(i)) continue;
    stream = kernel.Both(stream, kernel.AreDifferent(pointer, kernel.Buffer(operand)));
  }
  return stream;
}

std::vector<int> FusionEmitter::StreamedOperands(const DimExpr& num_elements) {
  std::vector<int> operands;
  for (int i = 0; i < static_cast<int>(fusion.getInputs().size()); ++i) {
    const Shape shape = ir::ShapeOf(fusion.getInputs()[static_cast<unsigned>(i)]);
    if (NumElements(shape) == num_elements && values.ReadInPlace(i)) operands.push_back(i);
  }
  return operands;
}

void FusionEmitter::PrefetchRange(const DimExpr& num_elements, Value first, Value last) {
  for (int operand : StreamedOperands(num_elements)) {
    const DataType dtype = ir::DataTypeOf(fusion.getInputs()[static_cast<unsigned>(operand)]);
    kernel.For(first, last, 64 / SizeOf(dtype),
               [&](Value at) { kernel.Prefetch(kernel.Buffer(operand), dtype, at); });
  }
}

}  // namespace weft
