// Element-wise work and ops that move elements, on a GPU: a thread computes one element, or as many
// neighbours as are 16 bytes; what lies across goes through shared memory (transpose.h).
#include <algorithm>

#include "compiler/codegen/cuda/access.h"
#include "compiler/codegen/cuda/thread.h"
#include "compiler/codegen/cuda/transpose.h"
#include "compiler/codegen/fusion_emitter.h"
#include "graph/ir/types.h"

namespace weft {

using mlir::Value;

absl::Status EmitCudaLoop(FusionEmitter& f) {
  KernelBuilder& kernel = f.kernel;
  SetBlockThreads(f.kernel, f.spec, kThreadsPerBlock);
  const DimExpr total = NumElements(ir::ShapeOf(f.results[0]));
  if (total.Constant() == 0) {
    f.spec.tiles = 0;
    return absl::OkStatus();
  }
  const std::vector<DimExpr> split = f.values.SplitSpace({total}, [&](const Index& index) {
    for (Value result : f.results) f.values.Evaluate(result, index, {});
  });
  if (f.values.failed()) return absl::OkStatus();
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
  if (auto transposed = TransposedLoop::Find(f, split)) {
    transposed->Emit(compute);
    return absl::OkStatus();
  }
  std::vector<DimExpr> units = space;
  // Of one coordinate: whole accesses while there are, and what is left by elements.
  const int64_t lanes =
      space.size() == 1 ? LanesPerThread(f, space.back(), last, /*one_row=*/true) : 0;
  if (lanes > 0) {
    f.spec.tiles = DimExpr::CeilDiv(DimExpr::CeilDiv(space[0], lanes), kThreadsPerBlock);
    Value unit = GlobalThread(kernel);
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
  const RowAccesses accesses(f, space.empty() ? DimExpr(1) : space.back(), last, total);
  if (!units.empty()) units.back() = accesses.number();
  f.spec.tiles = DimExpr::CeilDiv(NumElements(units), kThreadsPerBlock);
  Value unit = GlobalThread(kernel);
  kernel.If(kernel.Less(unit, kernel.SizeArgument(NumElements(units))), [&] {
    accesses.Emit(f, [&](int64_t width) {
      Index index = f.IndexOf(unit, units);
      if (!index.empty()) {
        Value first = kernel.Mul(index.back().coord.base, std::max<int64_t>(width, 1));
        index.back() = {space.back(), {first, width > 0 ? 1 : 0, {}}, width > 0 ? last : -1};
      }
      compute(index, width);
    });
  });
  return absl::OkStatus();
}

}  // namespace weft
