// A reduction of much to little is the work of few tiles, or of one: it becomes two, of which the
// first makes partial results that are many. Where it is cut depends on sizes alone, so results do
// not depend on the number of threads; and sums in two stages are more accurate than in one.
#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <vector>

#include "compiler/passes/build_ops.h"
#include "compiler/passes/diagnostics.h"
#include "compiler/passes/op_kinds.h"
#include "compiler/passes/passes.h"
#include "graph/ir/dialect.h"
#include "graph/ir/types.h"

namespace weft {
namespace {

// Fewer elements than these are not worth another launch.
constexpr double kMuch = 1 << 17;
// Tiles that are enough for many threads.
constexpr double kEnough = 16;
// Parts to make where any number will do: many threads, and still long parts.
constexpr int64_t kParts = 64;
constexpr int64_t kMostParts = 4096;
// Parts with fewer elements, or that reduce fewer to one, are not worth it.
constexpr double kSmallestPart = 256, kShortestPart = 16;
// A part runs to its end, whatever the deadline: it should take no longer than a second or so.
constexpr double kLongestPart = 1 << 28;
// Results of a column reduction that a tile computes side by side, about.
constexpr double kColumnsPerTile = 512;

// Where the reduced dimensions are cut: the second stage reduces those before `at`. With parts,
// dimension `at` itself is cut in so many, which are the second stage's as well.
struct Cut {
  size_t at = 0;
  int64_t parts = 1;
};

double Estimate(const DimExpr& size) { return static_cast<double>(size.Constant().value_or(1024)); }

double Product(const Shape& shape, size_t begin, size_t end) {
  double product = 1;
  for (size_t i = begin; i < end; ++i) product *= Estimate(shape[i]);
  return product;
}

// Whether what is computed from `value` is repeated to as many elements as `domain` has: then the
// reduction is better in one kernel with that.
bool GoesBack(mlir::Value value, const DimExpr& domain) {
  std::vector<mlir::Value> values = {value};
  for (size_t i = 0; i < values.size() && i < 32; ++i) {
    for (mlir::Operation* user : values[i].getUsers()) {
      if (user->getNumResults() != 1) continue;
      mlir::Value result = user->getResult(0);
      if (llvm::isa<ir::BroadcastOp>(user) && NumElements(ir::ShapeOf(result)) == domain) {
        return true;
      }
      if (ir::ShapeOf(result) == ir::ShapeOf(value) || llvm::isa<ir::ReshapeOp>(user)) {
        values.push_back(result);
      }
    }
  }
  return false;
}

std::optional<Cut> FindCut(mlir::Operation* op) {
  const Shape shape = ir::ShapeOf(op->getOperand(0));
  const AxisRange range = ReducedRange(op);
  const size_t begin = static_cast<size_t>(range.begin), end = static_cast<size_t>(range.end);
  const double outer = Product(shape, 0, begin), reduced = Product(shape, begin, end),
               inner = Product(shape, end, shape.size());
  const bool is_row = KindOf(op) == OpKind::kRowReduction;
  const double tiles = is_row ? outer : outer * std::ceil(inner / kColumnsPerTile);
  if (!(outer * reduced * inner >= kMuch) || tiles >= kEnough) return std::nullopt;
  if (is_row && GoesBack(op->getResult(0), NumElements(shape))) return std::nullopt;
  // Whether so many parts are enough for threads, and not too many.
  auto is_good = [&](double parts) {
    return parts * tiles >= kEnough && reduced / parts >= kShortestPart &&
           reduced * inner / parts >= kSmallestPart;
  };
  double before = 1;  // parts by the dimensions so far
  for (size_t i = begin; i < end; ++i) {
    const std::optional<int64_t> size = shape[i].Constant();
    if (i > begin && is_good(before)) return Cut{i};
    // A divisor of this dimension, the closest to what is wanted.
    const double wanted = std::max({2.0, kParts / (before * tiles),
                                    outer * reduced * inner / (before * tiles * kLongestPart)});
    int64_t best = 1;
    for (int64_t parts = 2; size && parts <= kMostParts && parts <= *size; ++parts) {
      const double count = static_cast<double>(parts);
      const double ratio = std::max(count / wanted, wanted / count),
                   best_ratio = std::max(static_cast<double>(best) / wanted,
                                         wanted / static_cast<double>(best));
      if (*size % parts == 0 && is_good(before * count) && (best == 1 || ratio < best_ratio)) {
        best = parts;
      }
    }
    // A boundary between dimensions needs no reshape.
    const double with = before * Estimate(shape[i]);
    const bool boundary = i + 1 < end && is_good(with);
    if (best > 1 && !boundary) return Cut{i, best};
    before = with;
  }
  return std::nullopt;
}

// Computes what the reduction reduces under another shape: reshapes move through the element-wise
// work that nobody else needs, so that it still is of the reduction's kernel.
class Reshaper {
 public:
  Reshaper(mlir::Operation* reduction, const Shape& to, OpMaker make) : to_(to), make_(make) {
    std::vector<mlir::Operation*> all = {reduction};
    moved_[reduction] = {};
    // An op moves where all its users do; one that is met too early is met again.
    for (bool changed = true; changed;) {
      changed = false;
      for (size_t i = 0; i < all.size() && all.size() < 64; ++i) {
        for (mlir::Value operand : all[i]->getOperands()) {
          mlir::Operation* op = operand.getDefiningOp();
          if (op == nullptr || moved_.count(op) || KindOf(op) != OpKind::kElementwise ||
              op->getBlock() != reduction->getBlock() ||
              !llvm::all_of(op->getUsers(), [&](auto* user) { return moved_.count(user); })) {
            continue;
          }
          moved_[op] = {};
          all.push_back(op);
          changed = true;
        }
      }
    }
  }

  mlir::Value Reshape(mlir::Value value) {
    mlir::Operation* op = value.getDefiningOp();
    if (op != nullptr && llvm::isa<ir::BroadcastOp>(op) && ir::ShapeOf(op->getOperand(0)).empty()) {
      return make_.Broadcast(op->getOperand(0), to_);
    }
    auto known = moved_.find(op);
    if (op == nullptr || known == moved_.end()) return make_.Reshape(value, to_);
    if (known->second) return known->second;
    std::vector<mlir::Value> operands;
    for (mlir::Value operand : op->getOperands()) operands.push_back(Reshape(operand));
    return moved_[op] =
               make_.Make(std::string_view(op->getName().stripDialect()), operands, op->getAttrs());
  }

 private:
  Shape to_;
  OpMaker make_;
  std::map<mlir::Operation*, mlir::Value> moved_;
};

void Split(mlir::Operation* op, const Cut& cut) {
  mlir::OpBuilder builder(op);
  OpMaker make(builder, op);
  const AxisRange range = ReducedRange(op);
  mlir::Value x = op->getOperand(0);
  Shape shape = ir::ShapeOf(x);
  int64_t end = range.end;
  if (cut.parts > 1) {
    const DimExpr rest = *DimExpr::DivideExactly(shape[cut.at], cut.parts);
    shape[cut.at] = cut.parts;
    shape.insert(shape.begin() + static_cast<int64_t>(cut.at) + 1, rest);
    ++end;
    x = Reshaper(op, shape, make).Reshape(x);
  }
  auto axes = [](int64_t first, int64_t last) {
    std::vector<int64_t> all;
    for (int64_t axis = first; axis < last; ++axis) all.push_back(axis);
    return all;
  };
  // Between the stages of a sum, nothing is rounded to a narrow type.
  const DataType dtype = ir::DataTypeOf(x);
  const bool widen = IsFloat(dtype) && SizeOf(dtype) == 2;
  if (widen) x = make.Cast(x, DataType::kF32);
  const std::string_view name(op->getName().stripDialect());
  const int64_t second_end = static_cast<int64_t>(cut.at) + (cut.parts > 1 ? 1 : 0);
  mlir::Value parts = make.Reduce(name, x, axes(second_end, end));
  mlir::Value y = make.Reduce(name, parts, axes(range.begin, second_end));
  op->getResult(0).replaceAllUsesWith(
      make.Reshape(make.Cast(y, dtype), ir::ShapeOf(op->getResult(0))));
  op->erase();
}

}  // namespace

absl::StatusOr<bool> SplitReductions(mlir::func::FuncOp function) {
  std::vector<std::pair<mlir::Operation*, Cut>> cuts;
  function.walk([&](mlir::Operation* op) {
    if (!llvm::isa<ir::ReduceSumOp, ir::ReduceProdOp, ir::ReduceMaxOp, ir::ReduceMinOp,
                   ir::ReduceAndOp, ir::ReduceOrOp>(op)) {
      return;
    }
    if (std::optional<Cut> cut = FindCut(op)) cuts.emplace_back(op, *cut);
  });
  const FirstError error(function.getContext());
  for (const auto& [op, cut] : cuts) {
    Split(op, cut);
    if (!error.text().empty()) return absl::InternalError(error.text());
  }
  return !cuts.empty();
}

}  // namespace weft
