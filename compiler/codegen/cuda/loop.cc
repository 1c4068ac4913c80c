// Element-wise work and ops that move elements, on a GPU: a thread computes one element, or as many
// neighbours as are 16 bytes.
#include <algorithm>

#include "compiler/codegen/cuda/thread.h"
#include "compiler/codegen/fusion_emitter.h"
#include "graph/ir/dialect.h"
#include "graph/ir/types.h"

namespace weft {

using mlir::Value;

namespace {

// The most bytes that one access of a thread moves.
constexpr int64_t kAccessBytes = 16;

// Whether some operand is read with another coordinate than `last`, the results' innermost one,
// varying fastest.
bool ReadsAcross(const FusionEmitter& f, int last) {
  for (const auto& [operand, index] : f.values.reads()) {
    for (size_t i = 0; i + 1 < index.size(); ++i) {
      if (index[i].root == last) return true;
    }
  }
  return false;
}

// Whether neighbouring results may have different sources: then each lane branches.
bool ChoosesByLane(mlir::Operation* op) {
  const Shape shape = ir::ShapeOf(op->getResult(0));
  if (shape.empty()) return false;
  if (auto pad = mlir::dyn_cast<ir::PadOp>(op)) {
    auto moves = [](mlir::Attribute dims) { return ir::DimsFromAttr(dims)->back() != DimExpr(0); };
    return moves(pad.getLow()) || moves(pad.getHigh()) || pad.getInterior().back() != 0;
  }
  auto concat = mlir::dyn_cast<ir::ConcatOp>(op);
  if (!concat) return false;
  const int64_t rank = static_cast<int64_t>(shape.size());
  return (static_cast<int64_t>(concat.getAxis()) + rank) % rank == rank - 1;
}

// Elements that one thread computes: whole accesses of the widest dtype that the body meets, where
// those are neighbours in the results. 0 is one element, by scalar code.
int64_t LanesPerThread(const FusionEmitter& f, const std::vector<DimExpr>& space, int last) {
  if (space.empty() || f.values.has_lane_index() || ReadsAcross(f, last) ||
      llvm::any_of(f.values.visited(), ChoosesByLane)) {
    return 0;
  }
  int64_t bytes = 1;
  auto consider = [&](Value value) {
    bytes = std::max<int64_t>(bytes, SizeOf(ir::DataTypeOf(value)));
  };
  for (mlir::Operation* op : f.values.visited()) {
    for (Value operand : op->getOperands()) {
      if (!ir::ShapeOf(operand).empty()) consider(operand);
    }
    consider(op->getResult(0));
  }
  for (Value result : f.results) consider(result);
  const int64_t lanes = kAccessBytes / bytes;
  // A row that does not hold a whole number of accesses has all but its first ones misaligned.
  const bool one_row = space.size() == 1;
  const auto extent = space.back().Constant();
  if (lanes < 2 || (!one_row && !(extent && *extent % lanes == 0))) return 0;
  return lanes;
}

}  // namespace

absl::Status EmitCudaLoop(FusionEmitter& f) {
  KernelBuilder& kernel = f.kernel;
  SetBlockThreads(f, kThreadsPerBlock);
  const DimExpr total = NumElements(ir::ShapeOf(f.results[0]));
  if (total.Constant() == 0) {
    f.spec.tiles = 0;
    return absl::OkStatus();
  }
  const std::vector<DimExpr> split = f.values.SplitSpace({total}, [&](const Index& index) {
    for (Value result : f.results) f.values.Evaluate(result, index, {});
  });
  std::vector<DimExpr> space;
  int last = -1;  // the root of the innermost coordinate
  for (size_t i = 0; i < split.size(); ++i) {
    if (split[i].Constant() == 1) continue;
    space.push_back(split[i]);
    last = static_cast<int>(i);
  }
  std::vector<size_t> all(f.results.size());
  for (size_t i = 0; i < all.size(); ++i) all[i] = i;
  f.FindSharing(all);

  const int64_t lanes = LanesPerThread(f, space, last);
  std::vector<DimExpr> units = space;
  if (lanes > 0) units.back() = DimExpr::CeilDiv(units.back(), lanes);
  f.spec.tiles = DimExpr::CeilDiv(NumElements(units), kThreadsPerBlock);

  auto compute = [&](const Index& index, int64_t width) {
    ValueEmitter::Scope scope(f.values);
    f.values.set_lanes(width);
    // All before the first is stored, since an operand may lie where a result goes.
    std::vector<Element> elements;
    for (Value result : f.results) elements.push_back(f.values.Evaluate(result, index, {}));
    const Coord offset = f.values.Offset(index);
    for (size_t i = 0; i < elements.size(); ++i) {
      kernel.Store(elements[i], kernel.Buffer(f.ResultBuffer(i)), offset, width, {});
    }
  };
  Value unit = GlobalThread(kernel);
  // Of one coordinate: whole accesses while there are, and what is left by elements.
  if (lanes > 0 && space.size() == 1) {
    Value size = kernel.SizeArgument(space[0]);
    Value begin = kernel.Mul(unit, lanes), end = kernel.Add(begin, lanes);
    const auto extent = space[0].Constant();
    kernel.If(
        kernel.Less(size, end),
        [&] {
          if (extent && *extent % lanes == 0) return;
          kernel.For(begin, size, 1, [&](Value i) { compute({{space[0], {i, 0, {}}, -1}}, 0); });
        },
        [&] { compute({{space[0], {begin, 1, {}}, last}}, lanes); });
    return absl::OkStatus();
  }
  kernel.If(kernel.Less(unit, kernel.SizeArgument(NumElements(units))), [&] {
    Index index = f.IndexOf(unit, units);
    if (lanes > 0) {
      index.back() = {space.back(), {kernel.Mul(index.back().coord.base, lanes), 1, {}}, last};
    }
    compute(index, lanes);
  });
  return absl::OkStatus();
}

}  // namespace weft
