// Element-wise work and ops that move elements, on a GPU: a thread computes one element, or as many
// neighbours as are 16 bytes.
#include <algorithm>

#include "compiler/codegen/cuda/thread.h"
#include "compiler/codegen/fusion_emitter.h"
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

// Elements that one thread computes: whole accesses of the widest dtype that the body meets, where
// those are neighbours in the results. 0 is one element, by scalar code.
int64_t LanesPerThread(const FusionEmitter& f, const std::vector<DimExpr>& space, int last) {
  if (space.empty() || f.values.has_lane_index() || ReadsAcross(f, last)) return 0;
  int64_t bytes = 1;
  auto consider = [&](Value value) {
    bytes = std::max<int64_t>(bytes, SizeOf(ir::DataTypeOf(value)));
  };
  for (mlir::Operation* op : f.values.visited()) {
    for (Value operand : op->getOperands()) consider(operand);
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
  f.values.set_lanes(lanes);
  std::vector<DimExpr> units = space;
  if (lanes > 0) units.back() = DimExpr::CeilDiv(units.back(), lanes);
  const DimExpr count = NumElements(units);
  f.spec.tiles = DimExpr::CeilDiv(count, kThreadsPerBlock);

  auto compute = [&](const Index& index, const Guard& guard) {
    ValueEmitter::Scope scope(f.values);
    // All before the first is stored, since an operand may lie where a result goes.
    std::vector<Element> elements;
    for (Value result : f.results) elements.push_back(f.values.Evaluate(result, index, guard));
    const Coord offset = f.values.Offset(index);
    for (size_t i = 0; i < elements.size(); ++i) {
      kernel.Store(elements[i], kernel.Buffer(f.ResultBuffer(i)), offset, lanes, guard);
    }
  };
  Value unit = GlobalThread(kernel);
  kernel.If(kernel.Less(unit, kernel.SizeArgument(count)), [&] {
    Index index = f.IndexOf(unit, units);
    if (lanes == 0) {
      compute(index, {});
      return;
    }
    Value begin = kernel.Mul(index.back().coord.base, lanes);
    const auto extent = space.back().Constant();
    if (extent && *extent % lanes == 0) {
      index.back() = {space.back(), {begin, 1, {}}, -1};
      compute(index, {});
      return;
    }
    index.pop_back();
    Value size = kernel.SizeArgument(space.back());
    kernel.VectorFor(begin, kernel.Min(kernel.Add(begin, lanes), size), lanes,
                     [&](Value i, Value tail) {
                       Index inner = index;
                       inner.push_back({space.back(), {i, 1, {}}, -1});
                       compute(inner, {tail, {}});
                     });
  });
  return absl::OkStatus();
}

}  // namespace weft
