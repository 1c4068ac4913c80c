// A contraction of few results is the work of few blocks, however great its depth: on a GPU it
// becomes the sums of parts of that (plan.partial_sums), which are batches of one kernel, and a
// reduction that adds them up, in the order of the parts, with what followed the contraction in its
// kernel. A weight's gradient, whose depth is a whole batch, is such a contraction.
#include "compiler/passes/split_contractions.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "compiler/codegen/target.h"
#include "compiler/passes/build_ops.h"
#include "compiler/passes/diagnostics.h"
#include "compiler/passes/op_kinds.h"
#include "compiler/passes/passes.h"
#include "compiler/passes/place.h"
#include "compiler/plan_dialect/plan.h"
#include "graph/ir/dialect.h"
#include "graph/ir/types.h"

namespace weft {
namespace {

constexpr double kMultiprocessors = 128;
// Bytes per cycle: from the second-level cache to one multiprocessor, and from memory to all.
constexpr double kCacheBytes = 32, kMemoryBytes = 1024;
constexpr double kLaunchCycles = 4096;
// The operands' elements as they mostly are where this matters.
constexpr double kElementBytes = 2, kSumBytes = 4;
constexpr int64_t kSides[] = {128, 64, 32};
constexpr int64_t kMostParts = 256, kLeastSteps = 256;
constexpr int64_t kMultiple = ContractionShape::kPartMultiple;
// Of the time without parts, what is left with them at most.
constexpr double kWorthIt = 0.75;

// Sizes of a contraction, in doubles, which no size overflows.
struct Known {
  double batches, rows, columns, operand_bytes;

  double results() const { return batches * rows * columns; }
  double Cycles(double parts, double steps) const {
    double least = 0;
    for (const int64_t side : kSides) {
      const double length = static_cast<double>(side);
      const double tiles = parts * batches * std::ceil(rows / length) * std::ceil(columns / length);
      const double step = 2 * length * kElementBytes / kCacheBytes;
      const double cycles = steps * std::ceil(tiles / kMultiprocessors) * step;
      least = side == kSides[0] ? cycles : std::min(least, cycles);
    }
    const double cycles = std::max(least, operand_bytes / kMemoryBytes);
    if (parts == 1) return cycles;
    return cycles + kLaunchCycles + 2 * kSumBytes * parts * results() / kMemoryBytes;
  }
};

void Split(mlir::Operation* op, const DepthParts& cut) {
  mlir::OpBuilder builder(op);
  OpMaker make(builder, op);
  const DataType dtype = ir::DataTypeOf(op->getResult(0));
  const DataType sums = IsFloat(dtype) && SizeOf(dtype) == 2 ? DataType::kF32 : dtype;
  Shape shape = ir::ShapeOf(op->getResult(0));
  shape.insert(shape.begin(), cut.parts);
  // Those of the op itself; others say where it is, and whether it is computed again.
  std::vector<mlir::NamedAttribute> options, notes;
  for (mlir::NamedAttribute attribute : op->getAttrs()) {
    (attribute.getNameDialect() == nullptr ? options : notes).push_back(attribute);
  }
  auto parts = plan::PartialSumsOp::create(
      builder, op->getLoc(), ir::MakeTensorType(builder.getContext(), sums, shape),
      op->getOperand(0), op->getOperand(1), op->getName().stripDialect(),
      builder.getDictionaryAttr(options), static_cast<uint64_t>(cut.steps));
  for (mlir::NamedAttribute note : notes) parts->setAttr(note.getName(), note.getValue());
  mlir::Value y = make.Cast(make.Reduce("reduce_sum", parts.getY(), {0}), dtype);
  op->getResult(0).replaceAllUsesWith(y);
  op->erase();
}

}  // namespace

std::optional<DepthParts> ChooseDepthParts(const ContractionShape& shape,
                                           const DimExpr& operand_elements) {
  const auto batches = shape.batches.Constant(), rows = shape.rows.Constant(),
             columns = shape.columns.Constant(), depth = (shape.segments * shape.depth).Constant(),
             elements = operand_elements.Constant();
  if (shape.depthwise || shape.parts > 1 || !batches || !rows || !columns || !depth || !elements) {
    return std::nullopt;
  }
  const Known known{static_cast<double>(*batches), static_cast<double>(*rows),
                    static_cast<double>(*columns), kElementBytes * static_cast<double>(*elements)};
  if (known.results() == 0) return std::nullopt;
  double least = kWorthIt * known.Cycles(1, static_cast<double>(*depth));
  std::optional<DepthParts> best;
  for (int64_t count = 2; count <= kMostParts; ++count) {
    const int64_t even = (*depth - 1) / count + 1;
    const int64_t steps = (even - 1) / kMultiple * kMultiple + kMultiple;
    if (steps < kLeastSteps) break;
    // Rounding leaves less for the last ones, or nothing.
    const int64_t parts = (*depth - 1) / steps + 1;
    const double sums = static_cast<double>(parts);
    if (parts < 2 || sums * known.results() * kSumBytes > known.operand_bytes) break;
    const double cycles = known.Cycles(sums, static_cast<double>(steps));
    if (cycles >= least) continue;
    least = cycles;
    best = DepthParts{parts, steps};
  }
  return best;
}

absl::StatusOr<bool> SplitContractions(mlir::func::FuncOp function, const DeviceTargets& targets) {
  if (absl::Status status = AssignDevices(function); !status.ok()) return status;
  std::vector<std::pair<mlir::Operation*, DepthParts>> cuts;
  function.walk([&](mlir::Operation* op) {
    if (!ContractionOp::Is(op) || targets.Of(op).kind != Target::Kind::kCuda) return;
    const DimExpr elements =
        NumElements(ir::ShapeOf(op->getOperand(0))) + NumElements(ir::ShapeOf(op->getOperand(1)));
    if (auto parts = ChooseDepthParts(ShapeOfContraction(op), elements)) {
      cuts.emplace_back(op, *parts);
    }
  });
  const FirstError error(function.getContext());
  for (const auto& [op, parts] : cuts) {
    Split(op, parts);
    if (!error.text().empty()) return absl::InternalError(error.text());
  }
  return !cuts.empty();
}

}  // namespace weft
