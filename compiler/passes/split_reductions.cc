// A reduction of much to little is the work of few tiles, or of one: it becomes two, of which the
// first makes partial results that are many. Where it is cut depends on sizes and on the kind of
// device alone, so results do not depend on the number of threads or of multiprocessors; and sums
// in two stages are more accurate than in one.
#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <vector>

#include "compiler/codegen/estimate.h"
#include "compiler/codegen/target.h"
#include "compiler/passes/build_ops.h"
#include "compiler/passes/diagnostics.h"
#include "compiler/passes/op_kinds.h"
#include "compiler/passes/passes.h"
#include "compiler/passes/place.h"
#include "compiler/plan_dialect/plan.h"
#include "graph/ir/dialect.h"
#include "graph/ir/types.h"
#include "graph/ops/infer.h"

namespace weft {
namespace {

// What keeps a kind of device busy.
struct Machine {
  // Fewer elements than these are not worth another launch.
  double much;
  // Tiles that are enough for all its threads.
  double enough;
  // Parts to make where any number will do: many threads, and still long parts.
  double parts;
  // Parts with fewer elements are not worth it.
  double smallest_part;
  // Results of a column reduction that a tile computes side by side, about.
  double columns_per_tile;
  // Whether parts may be of another length than a divisor of what is reduced. Its end then lies
  // anywhere in a part, which masks show, and open dimensions are cut as well: some instructions
  // for each element, of which a GPU has many while it waits for memory.
  bool cuts_anywhere;
  // Cycles that an element of a row takes in a kernel of its own tile, and in kernels that have all
  // threads; and those of the launches that are more. See IsLongRow.
  double element_of_row, element_of_all, launches;
  // What open extents that are reduced may well be, each, or all of them where that is less.
  double open_extent, open_extents;
};

constexpr Machine kProcessor = {.much = 1 << 17,
                                .enough = 16,
                                .parts = 64,
                                .smallest_part = 256,
                                .columns_per_tile = 512,
                                .cuts_anywhere = false,
                                .element_of_row = 0,
                                .element_of_all = 0,
                                .launches = 0,
                                .open_extent = 1024,
                                .open_extents = 1 << 30};
// Two blocks for each of 128 multiprocessors, each with some elements for each thread.
constexpr Machine kGpu = {.much = 1 << 15,
                          .enough = 256,
                          .parts = 512,
                          .smallest_part = 1024,
                          .columns_per_tile = 32,
                          .cuts_anywhere = true,
                          // Twice read and once written, at 32 bytes a cycle by one of them; twice
                          // more by all, at 1024.
                          .element_of_row = 3 * 4.0 / 32,
                          .element_of_all = 2 * 4.0 / 1024,
                          .launches = 4 * 4096,
                          .open_extent = 1 << 20,
                          .open_extents = 1 << 20};

constexpr int64_t kMostParts = 4096;
// Parts that reduce fewer to one are not worth it.
constexpr double kShortestPart = 16;
// A part runs to its end, whatever the deadline: it should take no longer than a second or so.
constexpr double kLongestPart = 1 << 28;
// Where a row is cut anywhere, the length of parts is a multiple of this, so that all begin at
// multiples of 16 bytes.
constexpr int64_t kAlignedLength = 16;

// Where the reduced dimensions are cut: the second stage reduces those before `at`. With parts,
// dimension `at` itself is cut in so many, which are the second stage's as well; and with a
// `length`, that and all reduced ones behind it are one, of which each part has so many elements.
struct Cut {
  size_t at = 0;
  int64_t parts = 1;
  std::optional<DimExpr> length = std::nullopt;
};

// `open`: what an open dimension counts as.
double Product(const Shape& shape, size_t begin, size_t end, double open = kOpenExtent) {
  double product = 1;
  for (size_t i = begin; i < end; ++i) {
    const std::optional<int64_t> size = shape[i].Constant();
    product *= size ? static_cast<double>(*size) : open;
  }
  return product;
}

bool IsArg(mlir::Operation* op) { return llvm::isa<ir::ArgMaxOp, ir::ArgMinOp>(op); }

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

// Whether rows from whose reductions something is computed for all of their elements, as by a
// softmax, are few and long enough to be read by several kernels, each of which has all threads,
// rather than by one with a tile for each row: where that takes less than half of the time. Known
// sizes alone are long.
bool IsLongRow(const Shape& shape, double rows, double length, const Machine& machine) {
  return NumElements(shape).IsConstant() &&
         length * machine.element_of_row >
             2 * (machine.launches + rows * length * machine.element_of_all);
}

std::optional<Cut> FindCut(mlir::Operation* op, const Machine& machine) {
  const Shape shape = ir::ShapeOf(op->getOperand(0));
  const AxisRange range = ReducedRange(op);
  const size_t begin = static_cast<size_t>(range.begin), end = static_cast<size_t>(range.end);
  const double outer = Product(shape, 0, begin),
               reduced = std::min(Product(shape, begin, end, machine.open_extent),
                                  Product(shape, begin, end, 1) * machine.open_extents),
               inner = Product(shape, end, shape.size());
  const double total = outer * reduced * inner;
  const bool is_row = KindOf(op) == OpKind::kRowReduction;
  const double tiles = is_row ? outer : outer * std::ceil(inner / machine.columns_per_tile);
  // As many as there is work for.
  const double enough = std::min(machine.enough, total / (2 * machine.smallest_part));
  if (!(total >= machine.much) || tiles >= enough) return std::nullopt;
  if (is_row && !IsLongRow(shape, outer, reduced, machine) &&
      GoesBack(op->getResult(0), NumElements(shape))) {
    return std::nullopt;
  }
  // Whether so many parts are enough for threads, and not too many.
  auto is_good = [&](double parts) {
    return parts * tiles >= enough && reduced / parts >= kShortestPart &&
           reduced * inner / parts >= machine.smallest_part;
  };
  double before = 1;  // parts by the dimensions so far
  for (size_t i = begin; i < end; ++i) {
    const std::optional<int64_t> size = shape[i].Constant();
    if (i > begin && is_good(before) && !IsArg(op)) return Cut{i};
    const double wanted =
        std::max({2.0, machine.parts / (before * tiles), total / (before * tiles * kLongestPart)});
    // A divisor of this dimension, the closest to what is wanted.
    int64_t best = 1;
    for (int64_t parts = 2; size && parts <= kMostParts && parts <= *size; ++parts) {
      const double count = static_cast<double>(parts);
      const double ratio = std::max(count / wanted, wanted / count),
                   best_ratio = std::max(static_cast<double>(best) / wanted,
                                         wanted / static_cast<double>(best));
      const bool aligned =
          !machine.cuts_anywhere || !is_row || i + 1 < end || *size / parts % kAlignedLength == 0;
      if (*size % parts == 0 && aligned && is_good(before * count) &&
          (best == 1 || ratio < best_ratio)) {
        best = parts;
      }
    }
    // A boundary between dimensions needs no reshape.
    const double with = before * Product(shape, i, i + 1);
    const bool boundary = i + 1 < end && is_good(with) && with <= kMostParts &&
                          (size || !machine.cuts_anywhere) && !IsArg(op);
    if (best > 1 && !boundary) return Cut{i, best};
    if (!boundary && machine.cuts_anywhere) {
      // Parts of what is left, with no more of them than it takes.
      const double left = reduced / before;
      const int64_t parts = static_cast<int64_t>(
          std::min({wanted, left / kShortestPart, left * inner / machine.smallest_part,
                    static_cast<double>(kMostParts)}));
      if (parts > 1 && is_good(before * static_cast<double>(parts))) {
        const DimExpr elements = NumElements(shape, i, end);
        const int64_t multiple = is_row ? kAlignedLength : 1;
        const DimExpr length = DimExpr::CeilDiv(elements, parts * multiple) * multiple;
        const auto known = elements.Constant(), known_length = length.Constant();
        if (elements.IsOverflow() || length.IsOverflow()) return std::nullopt;
        // Rounding leaves some of the last ones empty.
        const int64_t used = known ? (*known + *known_length - 1) / *known_length : parts;
        Shape cut(shape.begin(), shape.begin() + static_cast<int64_t>(i));
        cut.insert(cut.end(), {used, length});
        cut.insert(cut.end(), shape.begin() + static_cast<int64_t>(end), shape.end());
        // Sizes that are hard to write down are harder to write down in parts; whatever is reduced
        // is computed of elements that are no larger than these.
        if (!CheckSizes({DataType::kF64, cut}).ok()) return std::nullopt;
        return Cut{i, used, length};
      }
    }
    if (!size && machine.cuts_anywhere) return std::nullopt;
    before = with;
  }
  return std::nullopt;
}

// Computes what the reduction reduces under another shape: that moves through the element-wise work
// that nobody else needs, so that it still is of the reduction's kernel.
class Reshaper {
 public:
  // The dimensions [begin, end) become others, as `to` has them; with `is_cut`, by plan.cut.
  Reshaper(mlir::OpBuilder& builder, mlir::Operation* reduction, const Shape& to, size_t begin,
           size_t end, bool is_cut)
      : builder_(builder),
        make_(builder, reduction),
        loc_(reduction->getLoc()),
        to_(to),
        begin_(begin),
        end_(end),
        is_cut_(is_cut) {
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
    if (auto broadcast = llvm::dyn_cast_or_null<ir::BroadcastOp>(op)) {
      if (mlir::Value moved = ReshapeBroadcast(broadcast)) return moved;
    }
    auto known = moved_.find(op);
    if (op == nullptr || known == moved_.end()) return Leaf(value, begin_, end_);
    if (known->second) return known->second;
    std::vector<mlir::Value> operands;
    for (mlir::Value operand : op->getOperands()) operands.push_back(Reshape(operand));
    return moved_[op] =
               make_.Make(std::string_view(op->getName().stripDialect()), operands, op->getAttrs());
  }

  // Of what Reshape gave for `x`, elements past the end are as if they were not: `none`.
  mlir::Value Mask(mlir::Value reshaped, mlir::Value x, mlir::Value none) {
    mlir::Value everywhere = make_.Full(DataType::kBool, ir::ShapeOf(x), 1);
    return make_.Make("select", {Leaf(everywhere, begin_, end_), reshaped,
                                 make_.Broadcast(none, ir::ShapeOf(reshaped))});
  }
  bool Moves(mlir::Operation* op) const { return moved_.count(op) > 0; }

 private:
  // What is repeated along what is cut, or along other dimensions alone, stays small.
  mlir::Value ReshapeBroadcast(ir::BroadcastOp op) {
    const Shape from = ir::ShapeOf(op.getX()), shape = ir::ShapeOf(op.getY());
    if (from.empty()) return make_.Broadcast(op.getX(), to_);
    if (!is_cut_) return {};
    const size_t added = shape.size() - from.size();
    size_t repeated = 0;
    for (size_t i = begin_; i < end_; ++i) {
      repeated += i < added || from[i - added] != shape[i] ? 1 : 0;
    }
    if (repeated == end_ - begin_) {
      if (end_ <= added) return make_.Broadcast(op.getX(), to_);
      Shape ones(from.begin(),
                 from.begin() + static_cast<int64_t>(std::max(begin_, added) - added));
      ones.insert(ones.end(), 2, 1);
      ones.insert(ones.end(), from.begin() + static_cast<int64_t>(end_ - added), from.end());
      return make_.Broadcast(make_.Reshape(op.getX(), ones), to_);
    }
    if (repeated != 0) return {};
    return make_.Broadcast(Leaf(op.getX(), begin_ - added, end_ - added), to_);
  }

  // A value that is not computed anew, whose dimensions [begin, end) become others.
  mlir::Value Leaf(mlir::Value value, size_t begin, size_t end) {
    if (!is_cut_) return make_.Reshape(value, to_);
    Shape shape = ir::ShapeOf(value);
    const DimExpr elements = NumElements(shape, begin, end);
    shape.erase(shape.begin() + static_cast<int64_t>(begin),
                shape.begin() + static_cast<int64_t>(end));
    shape.insert(shape.begin() + static_cast<int64_t>(begin), elements);
    return plan::CutOp::create(builder_, loc_, make_.Reshape(value, shape),
                               static_cast<int64_t>(begin), *to_[begin_].Constant(),
                               to_[begin_ + 1])
        .getY();
  }

  mlir::OpBuilder& builder_;
  OpMaker make_;
  mlir::Location loc_;
  Shape to_;
  size_t begin_, end_;
  bool is_cut_;
  std::map<mlir::Operation*, mlir::Value> moved_;
};

// What a reduction starts with, and what changes nothing in it.
mlir::Value Neutral(mlir::Operation* op, DataType dtype, mlir::OpBuilder& builder, OpMaker make) {
  if (llvm::isa<ir::ReduceSumOp, ir::ReduceOrOp>(op)) return make.Scalar(dtype, 0);
  if (llvm::isa<ir::ReduceProdOp, ir::ReduceAndOp>(op)) return make.Scalar(dtype, 1);
  const bool lowest = llvm::isa<ir::ReduceMaxOp, ir::ArgMaxOp>(op);
  if (IsFloat(dtype)) {
    const double infinity = std::numeric_limits<double>::infinity();
    return make.Scalar(dtype, lowest ? -infinity : infinity);
  }
  const mlir::Attribute value = WithType(dtype, [&](auto zero) -> mlir::Attribute {
    using T = decltype(zero);
    const T element = lowest ? std::numeric_limits<T>::lowest() : std::numeric_limits<T>::max();
    return ir::SplatAttrOf(builder.getContext(), dtype, {}, &element);
  });
  return make.Make("constant", {}, builder.getNamedAttr("value", value));
}

// The place of the best of all parts, from the places within parts, and what is best there: the
// first of those that have what is best.
mlir::Value FirstBest(mlir::Operation* op, mlir::Value best, mlir::Value place, int64_t parts_axis,
                      const DimExpr& length, mlir::OpBuilder& builder, OpMaker make) {
  const Shape shape = ir::ShapeOf(best);
  const std::string_view name = llvm::isa<ir::ArgMaxOp>(op) ? "reduce_max" : "reduce_min";
  auto index_type = builder.getNamedAttr(
      "dtype", mlir::TypeAttr::get(ir::ElementTypeOf(builder.getContext(), DataType::kI64)));
  mlir::Value part =
      make.Make("iota", {}, {make.Dims("shape", shape), make.Int("axis", parts_axis), index_type});
  mlir::Value each = make.Make(
      "dim_size", {},
      {builder.getNamedAttr("expr", ir::DimAttr(builder.getContext(), length)), index_type});
  mlir::Value at = make.Make("add", {make.Make("mul", {part, make.Broadcast(each, shape)}), place});
  mlir::Value best_of_all =
      make.Broadcast(make.Reduce(name, best, parts_axis, /*keep_dims=*/true), shape);
  mlir::Value is_best = make.Make("equal", {best, best_of_all});
  if (IsFloat(ir::DataTypeOf(best))) {
    mlir::Value both_nan = make.Make("and", {make.Make("not_equal", {best, best}),
                                             make.Make("not_equal", {best_of_all, best_of_all})});
    is_best = make.Make("or", {is_best, both_nan});
  }
  const int64_t far = std::numeric_limits<int64_t>::max();
  mlir::Value none =
      make.Make("constant", {},
                builder.getNamedAttr(
                    "value", ir::SplatAttrOf(builder.getContext(), DataType::kI64, {}, &far)));
  return make.Reduce("reduce_min", make.Make("select", {is_best, at, make.Broadcast(none, shape)}),
                     parts_axis);
}

void Split(mlir::Operation* op, const Cut& cut) {
  mlir::OpBuilder builder(op);
  OpMaker make(builder, op);
  const AxisRange range = ReducedRange(op);
  mlir::Value x = op->getOperand(0);
  const DataType dtype = ir::DataTypeOf(x);
  int64_t end = range.end;
  if (cut.parts > 1) {
    Shape shape = ir::ShapeOf(x);
    const size_t last = cut.length ? static_cast<size_t>(end) : cut.at + 1;
    const DimExpr length =
        cut.length ? *cut.length : *DimExpr::DivideExactly(shape[cut.at], cut.parts);
    const auto at = shape.begin() + static_cast<int64_t>(cut.at);
    *at = cut.parts;
    shape.erase(at + 1, shape.begin() + static_cast<int64_t>(last));
    shape.insert(shape.begin() + static_cast<int64_t>(cut.at) + 1, length);
    Reshaper reshaper(builder, op, shape, cut.at, last, cut.length.has_value());
    mlir::Value reshaped = reshaper.Reshape(x);
    // A cut puts zeros there.
    const bool zero = llvm::isa<ir::ReduceSumOp, ir::ReduceOrOp>(op) &&
                      !reshaper.Moves(x.getDefiningOp()) &&
                      !llvm::isa_and_nonnull<ir::BroadcastOp>(x.getDefiningOp());
    if (cut.length && !zero) {
      reshaped = reshaper.Mask(reshaped, x, Neutral(op, dtype, builder, make));
    }
    x = reshaped;
    end += static_cast<int64_t>(shape.size()) -
           static_cast<int64_t>(ir::ShapeOf(op->getOperand(0)).size());
  }
  auto axes = [](int64_t first, int64_t last) {
    std::vector<int64_t> all;
    for (int64_t axis = first; axis < last; ++axis) all.push_back(axis);
    return all;
  };
  const int64_t second_end = static_cast<int64_t>(cut.at) + (cut.parts > 1 ? 1 : 0);
  const Shape result = ir::ShapeOf(op->getResult(0));
  if (IsArg(op)) {
    const Shape shape = ir::ShapeOf(x);
    const int64_t axis = second_end;
    mlir::Value place = make.Make(std::string_view(op->getName().stripDialect()), x,
                                  {make.Int("axis", axis), make.Bool("keep_dims", false)});
    mlir::Value best =
        make.Reduce(llvm::isa<ir::ArgMaxOp>(op) ? "reduce_max" : "reduce_min", x, axis);
    mlir::Value y =
        FirstBest(op, best, place, range.begin, shape[static_cast<size_t>(axis)], builder, make);
    op->getResult(0).replaceAllUsesWith(make.Reshape(y, result));
    op->erase();
    return;
  }
  // Between the stages of a sum, nothing is rounded to a narrow type.
  const bool widen = IsFloat(dtype) && SizeOf(dtype) == 2;
  if (widen) x = make.Cast(x, DataType::kF32);
  const std::string_view name(op->getName().stripDialect());
  mlir::Value parts = make.Reduce(name, x, axes(second_end, end));
  mlir::Value y = make.Reduce(name, parts, axes(range.begin, second_end));
  op->getResult(0).replaceAllUsesWith(make.Reshape(make.Cast(y, dtype), result));
  op->erase();
}

}  // namespace

absl::StatusOr<bool> SplitReductions(mlir::func::FuncOp function, const DeviceTargets& targets) {
  if (absl::Status status = AssignDevices(function); !status.ok()) return status;
  std::vector<std::pair<mlir::Operation*, Cut>> cuts;
  function.walk([&](mlir::Operation* op) {
    const OpKind kind = KindOf(op);
    if (kind != OpKind::kRowReduction && kind != OpKind::kColumnReduction) return;
    const Machine& machine = targets.Of(op).kind == Target::Kind::kCuda ? kGpu : kProcessor;
    // Parts of those need what is best beside its place, which one thread would pay for.
    if (IsArg(op) &&
        (!machine.cuts_anywhere || ir::DataTypeOf(op->getOperand(0)) == DataType::kBool)) {
      return;
    }
    if (std::optional<Cut> cut = FindCut(op, machine)) cuts.emplace_back(op, *cut);
  });
  const FirstError error(function.getContext());
  for (const auto& [op, cut] : cuts) {
    Split(op, cut);
    if (!error.text().empty()) return absl::InternalError(error.text());
  }
  return !cuts.empty();
}

}  // namespace weft
