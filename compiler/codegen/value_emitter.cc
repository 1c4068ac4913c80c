#include "compiler/codegen/value_emitter.h"

#include <utility>

#include "compiler/codegen/elementwise_lower.h"
#include "compiler/codegen/random_emitter.h"
#include "compiler/plan_dialect/plan.h"
#include "graph/ir/dialect.h"
#include "graph/ir/types.h"
#include "graph/ops/op_info.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

namespace weft {

using mlir::Value;
namespace arith = mlir::arith;

namespace {

// Whether a dimension is known to be 0.
bool IsEmpty(const Shape& shape) {
  for (const DimExpr& dim : shape) {
    if (dim.Constant() == 0) return true;
  }
  return false;
}

// Whether all are known to be at least 1.
bool IsNonempty(const Shape& shape) {
  for (const DimExpr& dim : shape) {
    if (dim.LowerBound().value_or(0) < 1) return false;
  }
  return true;
}

// Loops of one kernel at most; splits that would need more become divisions.
constexpr size_t kMaxCoordinates = 24;

}  // namespace

ValueEmitter::ValueEmitter(KernelBuilder* kernel) : kernel_(kernel) { memo_.emplace_back(); }

std::vector<DimExpr> ValueEmitter::SplitSpace(std::vector<DimExpr> space,
                                              const std::function<void(const Index&)>& visit) {
  dry_ = true;
  for (;;) {
    const Index index = BeginDryRun(space);
    {
      Scope scope(*this);
      visit(index);
    }
    // Each round adds a coordinate, so that there are few rounds whatever the body asks for: splits
    // beyond the bound stay divisions.
    if (splits_.empty() || space.size() >= kMaxCoordinates) break;
    // One a time, the others are found again.
    const auto& [root, inner] = splits_.front();
    const DimExpr outer = *DimExpr::DivideExactly(space[root], inner);
    space[root] = inner;
    space.insert(space.begin() + root, outer);
  }
  dry_ = false;
  return space;
}

Index ValueEmitter::BeginDryRun(const std::vector<DimExpr>& space) {
  splits_.clear();
  moved_operands_.clear();
  visited_.clear();
  has_lane_index_ = false;
  reads_.clear();
  Index index;
  for (size_t i = 0; i < space.size(); ++i) {
    if (space[i].Constant() != 1) index.push_back({space[i], {}, static_cast<int>(i)});
  }
  num_roots_ = index.size();
  last_root_ = index.empty() ? -1 : index.back().root;
  return index;
}

IndexEntry ValueEmitter::Merged(const Index& index, size_t begin, size_t end) {
  if (end - begin == 1) return index[begin];
  IndexEntry merged{1, {dry_ ? Value() : kernel_->I64(0), 0, {}}, -1};
  for (size_t i = begin; i < end; ++i) {
    if (!dry_) {
      merged.coord =
          kernel_->Add(kernel_->Mul(merged.coord, kernel_->Size(index[i].extent), lanes_),
                       index[i].coord, lanes_);
    }
    merged.extent = merged.extent * index[i].extent;
  }
  return merged;
}

Coord ValueEmitter::Offset(const Index& index) { return Merged(index, 0, index.size()).coord; }

size_t ValueEmitter::Boundary(Index& index, const DimExpr& suffix) {
  auto split = [&](size_t i, const DimExpr& outer, const DimExpr& inner) {
    IndexEntry entry = index[i];
    if (dry_) {
      if (entry.root >= 0) {
        splits_.emplace_back(entry.root, inner);
      } else {
        has_lane_index_ = true;
      }
      entry.coord = {};
    }
    IndexEntry left{outer, {}, -1}, right{inner, {}, -1};
    if (!dry_) {
      Value divisor = kernel_->Size(inner);
      // Where nothing is there to be read, the division is made all the same.
      if (inner.LowerBound().value_or(0) < 1) divisor = kernel_->Max(divisor, kernel_->I64(1));
      left.coord = kernel_->Div(entry.coord, divisor, lanes_);
      right.coord = kernel_->Rem(entry.coord, divisor, lanes_);
    }
    index[i] = left;
    index.insert(index.begin() + static_cast<int64_t>(i) + 1, right);
    return i + 1;
  };
  auto fail = [&] {
    failed_ = true;
    return size_t{0};
  };
  // Any overflow equals any other.
  if (suffix.IsOverflow()) return fail();
  DimExpr product = 1;
  for (size_t i = index.size(); !product.IsOverflow(); --i) {
    if (product == suffix) return i;
    if (i == 0) break;
    const DimExpr& extent = index[i - 1].extent;
    auto inner = DimExpr::DivideExactly(suffix, product);
    if (inner && *inner != extent && *inner != DimExpr(1)) {
      if (auto outer = DimExpr::DivideExactly(extent, *inner)) return split(i - 1, *outer, *inner);
    }
    product = product * extent;
  }
  // Coordinates cross the boundary: those between the nearest positions on either side that it
  // nests with become one, which is divided. So the other boundaries of the same shape stay, as
  // each of two of them divides the other.
  size_t begin = 0, end = index.size();
  DimExpr right = 1;
  product = 1;
  for (size_t i = index.size(); i-- > 0;) {
    product = product * index[i].extent;
    if (!DimExpr::DivideExactly(suffix, product)) continue;
    end = i;
    right = product;
  }
  product = right;
  bool nests = false;
  for (size_t i = end; i-- > 0 && !nests;) {
    product = product * index[i].extent;
    nests = DimExpr::DivideExactly(product, suffix).has_value();
    begin = i;
  }
  // All coordinates together nest with it, but their product may be too long an expression.
  if (!nests) return fail();
  const IndexEntry crossing = Merged(index, begin, end);
  const auto inner = DimExpr::DivideExactly(suffix, right);
  const auto outer = inner ? DimExpr::DivideExactly(crossing.extent, *inner) : std::nullopt;
  if (!outer) return fail();
  index.erase(index.begin() + static_cast<int64_t>(begin) + 1,
              index.begin() + static_cast<int64_t>(end));
  index[begin] = crossing;
  return split(begin, *outer, *inner);
}

std::vector<size_t> ValueEmitter::Boundaries(Index& index, const std::vector<DimExpr>& suffixes) {
  // Each that is made moves the others, so they are found again once all are there.
  for (const DimExpr& suffix : suffixes) Boundary(index, suffix);
  std::vector<size_t> positions;
  for (const DimExpr& suffix : suffixes) positions.push_back(Boundary(index, suffix));
  // Not all are there, but callers take what lies between two of them.
  if (failed_) positions.assign(suffixes.size(), 0);
  return positions;
}

ValueEmitter::Dimension ValueEmitter::DimensionAt(Index& index, const Shape& shape, size_t dim) {
  const std::vector<size_t> ends = Boundaries(
      index, {NumElements(shape, dim, shape.size()), NumElements(shape, dim + 1, shape.size())});
  const size_t begin = ends[0], after = ends[1];
  if (begin == after) return {begin, after, {dry_ ? Value() : kernel_->I64(0), 0, {}}};
  return {begin, after, Merged(index, begin, after).coord};
}

void ValueEmitter::Replace(Index& index, const Dimension& dimension, const DimExpr& extent,
                           const Coord& coord) {
  auto begin = index.begin() + static_cast<int64_t>(dimension.begin);
  begin = index.erase(begin, index.begin() + static_cast<int64_t>(dimension.end));
  if (extent.Constant() != 1) index.insert(begin, {extent, coord, -1});
}

Element ValueEmitter::Zero(DataType dtype) {
  return dry_ ? Element{{}, dtype} : kernel_->e().Constant(dtype, 0);
}

Element ValueEmitter::Evaluate(Value value, Index index, const Guard& guard) {
  const DataType dtype = ir::DataTypeOf(value);
  if (hook_) {
    if (std::optional<Element> element = hook_(value, index)) return *element;
  }
  // A dry run remembers as well: it would otherwise take every path through the body.
  Key key{value.getAsOpaquePointer(),
          guard.tail.getAsOpaquePointer(),
          guard.predicate.getAsOpaquePointer(),
          lanes_,
          {},
          {}};
  for (const IndexEntry& entry : index) {
    std::get<4>(key).emplace_back(entry.coord.base.getAsOpaquePointer(),
                                  dry_ ? entry.root : entry.coord.step,
                                  entry.coord.lanes.getAsOpaquePointer());
    std::get<5>(key).push_back(entry.extent);
  }
  for (const auto& scope : memo_) {
    auto known = scope.find(key);
    if (known != scope.end()) return known->second;
  }
  Element result;
  if (IsEmpty(ir::ShapeOf(value))) {
    result = Zero(dtype);
  } else if (auto argument = mlir::dyn_cast<mlir::BlockArgument>(value)) {
    result = EvaluateArgument(argument, index, guard);
  } else {
    if (dry_) visited_.insert(value.getDefiningOp());
    result = EvaluateOp(value.getDefiningOp(), index, guard);
  }
  if (dry_) result = {{}, dtype};
  memo_.back()[key] = result;
  return result;
}

Element ValueEmitter::EvaluateArgument(mlir::BlockArgument argument, const Index& index,
                                       const Guard& guard) {
  const int operand = static_cast<int>(argument.getArgNumber());
  const DataType dtype = ir::DataTypeOf(argument);
  if (dry_) {
    bool in_place = index.size() == num_roots_;
    for (size_t i = 1; in_place && i < index.size(); ++i) {
      in_place = index[i].root > index[i - 1].root;
    }
    if (in_place && !index.empty()) in_place = index[0].root >= 0;
    if (!in_place) moved_operands_.insert(operand);
    reads_.emplace_back(operand, index);
    return {{}, dtype};
  }
  return kernel_->Load(kernel_->Buffer(operand), dtype, Offset(index), lanes_, guard,
                       /*invariant=*/!ReadInPlace(operand));
}

Element ValueEmitter::EvaluateElementwise(mlir::Operation* op, const Index& index,
                                          const Guard& guard) {
  std::vector<Element> operands;
  for (Value operand : op->getOperands()) operands.push_back(Evaluate(operand, index, guard));
  if (dry_) return {};
  return EmitElementwise(kernel_->e(), op, operands);
}

Element ValueEmitter::EvaluateOp(mlir::Operation* op, Index& index, const Guard& guard) {
  const DataType dtype = ir::DataTypeOf(op->getResult(0));
  if (mlir::isa<plan::CutOp>(op)) return EvaluateCut(op, index, guard);
  if (FindOp(std::string_view(op->getName().getStringRef()))->elementwise) {
    return EvaluateElementwise(op, index, guard);
  }
  if (auto constant = mlir::dyn_cast<ir::ConstantOp>(op)) {
    if (dry_) return {};
    return EmitSplat(kernel_->e(), mlir::cast<mlir::DenseElementsAttr>(constant.getValue()));
  }
  if (mlir::isa<ir::ReshapeOp>(op)) return Evaluate(op->getOperand(0), index, guard);
  if (mlir::isa<ir::BroadcastOp>(op)) {
    return Evaluate(op->getOperand(0), BroadcastIndex(op, index), guard);
  }
  if (mlir::isa<ir::TransposeOp>(op)) {
    return Evaluate(op->getOperand(0), TransposeIndex(op, index), guard);
  }
  if (mlir::isa<ir::SliceOp, ir::ReverseOp>(op)) return EvaluateSlice(op, index, guard);
  if (mlir::isa<ir::PadOp>(op)) return EvaluatePad(op, index, guard);
  if (mlir::isa<ir::ConcatOp>(op)) return EvaluateConcat(op, index, guard);
  if (mlir::isa<ir::GatherOp>(op)) return EvaluateGather(op, index, guard);
  if (mlir::isa<ir::OneHotOp>(op)) return EvaluateOneHot(op, index, guard);
  if (mlir::isa<ir::RandomUniformOp, ir::RandomNormalOp, ir::RandomBitsOp>(op)) {
    return EvaluateRandom(op, index, guard);
  }
  if (auto iota = mlir::dyn_cast<ir::IotaOp>(op)) {
    const Shape shape = ir::ShapeOf(op->getResult(0));
    const int64_t axis = iota.getAxis();
    const size_t dim =
        static_cast<size_t>(axis < 0 ? axis + static_cast<int64_t>(shape.size()) : axis);
    return AsElement(DimensionAt(index, shape, dim).coord, dtype);
  }
  if (auto size = mlir::dyn_cast<ir::DimSizeOp>(op)) {
    if (dry_) return {};
    Value value = kernel_->Size(*ir::DimFromAttr(size.getExprAttr()));
    return kernel_->e().Cast({value, DataType::kI64}, dtype);
  }
  // EmitKernel checks the ops of a body first.
  llvm::report_fatal_error("an op that cannot be in a fusion");
}

Index ValueEmitter::BroadcastIndex(mlir::Operation* op, Index& index) {
  const Shape from = ir::ShapeOf(op->getOperand(0)), to = ir::ShapeOf(op->getResult(0));
  const size_t added = to.size() - from.size();
  auto repeated = [&](size_t dim) { return dim < added || from[dim - added] != to[dim]; };
  // Ends of runs of dimensions that are all kept or all repeated; dimensions of size 1 are part of
  // any run.
  std::vector<DimExpr> ends;  // from the last
  std::optional<bool> current;
  for (size_t dim = to.size(); dim-- > 0;) {
    if (to[dim].Constant() == 1) continue;
    if (current && *current != repeated(dim)) {
      ends.push_back(NumElements(to, dim + 1, to.size()));
    }
    current = repeated(dim);
  }
  if (!current || (ends.empty() && *current)) return {};
  if (ends.empty()) return index;
  const std::vector<size_t> positions = Boundaries(index, ends);
  Index result;
  size_t right = index.size();
  bool keep = true;
  for (size_t dim = to.size(); dim-- > 0;) {
    if (to[dim].Constant() == 1) continue;
    keep = !repeated(dim);
    break;
  }
  for (size_t i = 0; i <= ends.size(); ++i, keep = !keep) {
    const size_t left = i < ends.size() ? positions[i] : 0;
    if (keep) {
      result.insert(result.begin(), index.begin() + static_cast<int64_t>(left),
                    index.begin() + static_cast<int64_t>(right));
    }
    right = left;
  }
  return result;
}

Index ValueEmitter::TransposeIndex(mlir::Operation* op, Index& index) {
  const Shape to = ir::ShapeOf(op->getResult(0));
  const llvm::ArrayRef<int64_t> permutation = mlir::cast<ir::TransposeOp>(op).getPermutation();
  // Dimensions that matter, and runs of them that stay together.
  std::vector<size_t> dims;
  for (size_t i = 0; i < to.size(); ++i) {
    if (to[i].Constant() != 1) dims.push_back(i);
  }
  struct Run {
    size_t begin, end;  // dimensions of the result
    int64_t source;     // first dimension of the operand
  };
  std::vector<Run> runs;
  auto follows = [&](size_t a, size_t b) {
    // Whether operand dimension of b comes next after that of a, but for dimensions of size 1.
    if (permutation[b] <= permutation[a]) return false;
    for (size_t other : dims) {
      if (permutation[other] > permutation[a] && permutation[other] < permutation[b]) return false;
    }
    return true;
  };
  for (size_t i = 0; i < dims.size(); ++i) {
    if (i > 0 && follows(dims[i - 1], dims[i])) {
      runs.back().end = dims[i] + 1;
    } else {
      runs.push_back({dims[i], dims[i] + 1, permutation[dims[i]]});
    }
  }
  if (runs.size() <= 1) return index;
  std::vector<DimExpr> suffixes;
  for (const Run& run : runs) suffixes.push_back(NumElements(to, run.begin, to.size()));
  std::vector<size_t> begins = Boundaries(index, suffixes);
  begins.push_back(index.size());
  std::map<int64_t, Index> sorted;
  for (size_t i = 0; i < runs.size(); ++i) {
    sorted[runs[i].source] = Index(index.begin() + static_cast<int64_t>(begins[i]),
                                   index.begin() + static_cast<int64_t>(begins[i + 1]));
  }
  Index result;
  for (const auto& [source, entries] : sorted) {
    result.insert(result.end(), entries.begin(), entries.end());
  }
  return result;
}

Element ValueEmitter::EvaluateSlice(mlir::Operation* op, Index& index, const Guard& guard) {
  Shape from = ir::ShapeOf(op->getOperand(0)), shape = ir::ShapeOf(op->getResult(0));
  for (size_t dim = 0; dim < shape.size(); ++dim) {
    DimExpr start = 0;
    int64_t step = 1;
    if (auto slice = mlir::dyn_cast<ir::SliceOp>(op)) {
      start = (*ir::DimsFromAttr(slice.getStarts()))[dim];
      step = slice.getSteps()[dim];
      if (start == DimExpr(0) && step == 1 && shape[dim] == from[dim]) continue;
    } else {
      bool reversed = false;
      for (int64_t axis : mlir::cast<ir::ReverseOp>(op).getAxes()) {
        if (axis < 0) axis += static_cast<int64_t>(shape.size());
        reversed |= axis == static_cast<int64_t>(dim);
      }
      if (!reversed || shape[dim].Constant() == 1) continue;
      start = shape[dim] - 1;
      step = -1;
    }
    const Dimension at = DimensionAt(index, shape, dim);
    Coord coord;
    if (!dry_) {
      Coord first{kernel_->Size(start), 0, {}};
      coord = kernel_->Add(first, kernel_->Mul(at.coord, kernel_->I64(step), lanes_), lanes_);
    }
    Replace(index, at, from[dim], coord);
    shape[dim] = from[dim];
  }
  return Evaluate(op->getOperand(0), index, guard);
}

Value ValueEmitter::Within(const Coord& coord, Value low, Value high) {
  // low <= c < high, as one unsigned comparison.
  mlir::ImplicitLocOpBuilder& b = kernel_->b();
  const int64_t lanes = coord.uniform() ? 0 : lanes_;
  Value c = kernel_->Expand(coord, lanes);
  Value first = kernel_->Expand({low, 0, {}}, lanes);
  Value size = kernel_->Expand({kernel_->Sub(high, low), 0, {}}, lanes);
  Value distance = arith::SubIOp::create(b, c, first);
  return arith::CmpIOp::create(b, arith::CmpIPredicate::ult, distance, size);
}

Element ValueEmitter::EvaluatePad(mlir::Operation* op, Index& index, const Guard& guard) {
  auto pad = mlir::cast<ir::PadOp>(op);
  const Shape from = ir::ShapeOf(pad.getX());
  Shape shape = ir::ShapeOf(op->getResult(0));
  const Shape low = *ir::DimsFromAttr(pad.getLow()), high = *ir::DimsFromAttr(pad.getHigh());
  Value valid;
  for (size_t dim = 0; dim < shape.size(); ++dim) {
    const int64_t interior = pad.getInterior()[dim];
    if (low[dim] == DimExpr(0) && high[dim] == DimExpr(0) && interior == 0) continue;
    const Dimension at = DimensionAt(index, shape, dim);
    Coord coord;
    if (!dry_) {
      Value first = kernel_->Size(low[dim]), size = kernel_->Size(from[dim]);
      Value spread = kernel_->Mul(size, kernel_->I64(interior + 1));
      valid = kernel_->Both(valid, Within(at.coord, first, kernel_->Add(first, spread)));
      Coord minus{kernel_->Sub(kernel_->I64(0), first), 0, {}};
      coord = kernel_->Add(at.coord, minus, lanes_);
      if (interior > 0) {
        Value step = kernel_->I64(interior + 1);
        // Outside, the coordinate may be negative: 0 divides as well.
        const int64_t lanes = coord.uniform() ? 0 : lanes_;
        Value c = kernel_->Expand(coord, lanes);
        Value zero = kernel_->Expand({kernel_->I64(0), 0, {}}, lanes);
        Value positive = arith::MaxSIOp::create(kernel_->b(), c, zero);
        Coord safe = lanes == 0 ? Coord{positive, 0, {}} : Coord{{}, 0, positive};
        Value rest = kernel_->Expand(kernel_->Rem(safe, step, lanes_), lanes);
        valid = kernel_->Both(
            valid, arith::CmpIOp::create(kernel_->b(), arith::CmpIPredicate::eq, rest, zero));
        coord = kernel_->Div(safe, step, lanes_);
      }
    }
    Replace(index, at, from[dim], coord);
    shape[dim] = from[dim];
  }
  Element padding = Evaluate(pad.getValue(), {}, {guard.tail, {}});
  if (IsEmpty(from)) return padding;
  Element x = Evaluate(pad.getX(), index,
                       {guard.tail, dry_ ? Value() : kernel_->Both(guard.predicate, valid)});
  if (dry_ || !valid) return x;
  return kernel_->e().Select({valid, DataType::kBool}, x, padding);
}

Element ValueEmitter::EvaluateCut(mlir::Operation* op, Index& index, const Guard& guard) {
  const Shape from = ir::ShapeOf(op->getOperand(0)), shape = ir::ShapeOf(op->getResult(0));
  const size_t dim = static_cast<size_t>(mlir::cast<plan::CutOp>(op).getAxis());
  const DimExpr &size = from[dim], &length = shape[dim + 1];
  const DimExpr after = NumElements(shape, dim + 2, shape.size());
  const std::vector<size_t> ends =
      Boundaries(index, {NumElements(shape, dim, shape.size()), length * after, after});
  Coord coord;
  Guard inner_guard = guard;
  Value valid;
  if (!dry_) {
    const Coord part = Merged(index, ends[0], ends[1]).coord;
    coord = kernel_->Add(kernel_->Mul(part, kernel_->Size(length), lanes_),
                         Merged(index, ends[1], ends[2]).coord, lanes_);
    Value end = kernel_->Size(size);
    // Lanes of which all are elements, or none.
    const bool together = !coord.uniform() && ends[2] == ends[1] + 1 && index[ends[1]].root >= 0 &&
                          index[ends[1]].root == last_root_ &&
                          DimExpr::DivideExactly(length, lanes_) &&
                          DimExpr::DivideExactly(size, lanes_);
    if (coord.uniform() || together) {
      // The last ones stand for those past the end, which costs no branch. Where there are none at
      // all, parts have no length either.
      valid = kernel_->Less(coord.base, end);
      coord.base = kernel_->Min(coord.base, kernel_->Sub(end, together ? lanes_ : 1));
    } else {
      valid = Within(coord, kernel_->I64(0), end);
      inner_guard.predicate = kernel_->Both(guard.predicate, valid);
    }
  }
  Index inner(index.begin(), index.begin() + static_cast<int64_t>(ends[0]));
  if (size.Constant() != 1) inner.push_back({size, coord, -1});
  inner.insert(inner.end(), index.begin() + static_cast<int64_t>(ends[2]), index.end());
  Element x = Evaluate(op->getOperand(0), inner, inner_guard);
  if (dry_) return x;
  return kernel_->e().Select({valid, DataType::kBool}, x, Zero(x.dtype));
}

Element ValueEmitter::EvaluateConcat(mlir::Operation* op, Index& index, const Guard& guard) {
  const Shape shape = ir::ShapeOf(op->getResult(0));
  int64_t axis = mlir::cast<ir::ConcatOp>(op).getAxis();
  if (axis < 0) axis += static_cast<int64_t>(shape.size());
  const size_t dim = static_cast<size_t>(axis);
  const Dimension at = DimensionAt(index, shape, dim);
  Element result;
  DimExpr start = 0;
  for (Value operand : op->getOperands()) {
    const Shape from = ir::ShapeOf(operand);
    const DimExpr size = from[dim];
    if (size.Constant() == 0) continue;
    Index inner = index;
    Coord coord;
    Value valid;
    if (!dry_) {
      valid = Within(at.coord, kernel_->Size(start), kernel_->Size(start + size));
      coord = kernel_->Add(at.coord, {kernel_->Sub(kernel_->I64(0), kernel_->Size(start)), 0, {}},
                           lanes_);
    }
    Replace(inner, at, size, coord);
    Element x = Evaluate(operand, inner,
                         {guard.tail, dry_ ? Value() : kernel_->Both(guard.predicate, valid)});
    if (!dry_) result = result ? kernel_->e().Select({valid, DataType::kBool}, x, result) : x;
    start = start + size;
  }
  return result;
}

Element ValueEmitter::AsElement(const Coord& coord, DataType dtype) {
  if (dry_) return {{}, dtype};
  const int64_t lanes = coord.uniform() ? 0 : lanes_;
  return kernel_->e().Cast({kernel_->Expand(coord, lanes), DataType::kI64}, dtype);
}

ValueEmitter::Position ValueEmitter::CheckedPosition(Element index, Value size) {
  ScalarEmitter& e = kernel_->e();
  Element wide = e.Cast(index, DataType::kI64);
  Coord coord =
      ScalarEmitter::LanesOf(wide.value) == 0 ? Coord{wide.value, 0, {}} : Coord{{}, 0, wide.value};
  Value valid = Within(coord, kernel_->I64(0), size);
  Element safe = e.Select({valid, DataType::kBool}, wide, e.IntegerConstant(DataType::kI64, 0));
  return {coord.uniform() ? Coord{safe.value, 0, {}} : Coord{{}, 0, safe.value}, valid};
}

Element ValueEmitter::EvaluateGather(mlir::Operation* op, Index& index, const Guard& guard) {
  auto gather = mlir::cast<ir::GatherOp>(op);
  const Shape from = ir::ShapeOf(gather.getX()), indices = ir::ShapeOf(gather.getIndices());
  const Shape shape = ir::ShapeOf(op->getResult(0));
  int64_t axis = gather.getAxis();
  if (axis < 0) axis += static_cast<int64_t>(from.size());
  const size_t dim = static_cast<size_t>(axis);
  const DimExpr after = NumElements(from, dim + 1, from.size());
  const DimExpr with_indices = after * NumElements(indices, 0, indices.size());
  const std::vector<size_t> ends = Boundaries(index, {with_indices, after});
  const size_t begin = ends[0], end = ends[1];
  Index at(index.begin() + static_cast<int64_t>(begin), index.begin() + static_cast<int64_t>(end));
  Element position = Evaluate(gather.getIndices(), at, guard);
  Index inner(index.begin(), index.begin() + static_cast<int64_t>(begin));
  Guard inner_guard = guard;
  Position checked;
  if (dry_) {
    for (const IndexEntry& entry : at)
      has_lane_index_ |= entry.root + 1 == static_cast<int>(num_roots_);
  } else {
    checked = CheckedPosition(position, kernel_->Size(from[dim]));
    // Place 0 stands in for one outside; if there may be none, nothing is read.
    if (!IsNonempty({from[dim]})) {
      inner_guard.predicate = kernel_->Both(guard.predicate, checked.valid);
    }
  }
  if (from[dim].Constant() != 1) inner.push_back({from[dim], checked.coord, -1});
  inner.insert(inner.end(), index.begin() + static_cast<int64_t>(end), index.end());
  Element x = Evaluate(gather.getX(), inner, inner_guard);
  if (dry_) return x;
  return kernel_->e().Select({checked.valid, DataType::kBool}, x, Zero(x.dtype));
}

Element ValueEmitter::EvaluateOneHot(mlir::Operation* op, Index& index, const Guard& guard) {
  const Shape shape = ir::ShapeOf(op->getResult(0));
  const DataType dtype = ir::DataTypeOf(op->getResult(0));
  const Dimension at = DimensionAt(index, shape, shape.size() - 1);
  Index outer(index.begin(), index.begin() + static_cast<int64_t>(at.begin));
  Element position = Evaluate(op->getOperand(0), outer, guard);
  if (dry_) return {};
  ScalarEmitter& e = kernel_->e();
  Element place = e.Cast(position, DataType::kI64);
  Element equal = e.Compare(Comparison::kEqual, place, AsElement(at.coord, DataType::kI64));
  return e.Cast(equal, dtype);
}

Element ValueEmitter::EvaluateRandom(mlir::Operation* op, const Index& index, const Guard& guard) {
  Element stream = Evaluate(op->getOperand(0), {}, {guard.tail, {}});
  // Lanes along the innermost coordinate begin at multiples of their number.
  const bool whole_blocks =
      !index.empty() && index.back().root >= 0 && index.back().root == last_root_ &&
      (index.size() == 1 || index.back().extent.Constant().value_or(1) % 4 == 0);
  if (dry_) {
    if (!whole_blocks) has_lane_index_ = true;
    return {};
  }
  const RandomKind kind = mlir::isa<ir::RandomBitsOp>(op)     ? RandomKind::kBits
                          : mlir::isa<ir::RandomNormalOp>(op) ? RandomKind::kNormal
                                                              : RandomKind::kUniform;
  const int64_t seed = op->getAttrOfType<mlir::IntegerAttr>("seed").getInt();
  return EmitRandom(*kernel_, kind, ir::DataTypeOf(op->getResult(0)), seed, stream.value,
                    Offset(index), lanes_, whole_blocks);
}

}  // namespace weft
