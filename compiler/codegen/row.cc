// Reductions over the innermost dimensions, with element-wise work before, between and after: row
// by row, with as many passes over a row, which stays in the cache, as reductions wait for one
// another.
#include <algorithm>
#include <map>

#include "compiler/codegen/accumulator.h"
#include "compiler/codegen/fusion_emitter.h"
#include "graph/ir/types.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

namespace weft {

using mlir::Value;
using mlir::ValueRange;

namespace {

// In units of CostOf: a transcendental function.
constexpr int kWorthKeeping = 16;
constexpr int64_t kLongestKept = 32768;

class Row {
 public:
  explicit Row(FusionEmitter& f) : f_(f), kernel_(f.kernel) {}

  void Emit() {
    FindReductions();
    mlir::Operation* first = reductions_[0].accumulator.op();
    const Shape domain = ir::ShapeOf(first->getOperand(0));
    const std::vector<size_t> axes = ReducedAxes(first);
    rows_total_ = Product(domain, 0, axes.front());
    columns_total_ = Product(domain, axes.front(), domain.size());
    if (rows_total_.Constant() == 0) {
      f_.spec.tiles = 0;
      return;
    }

    f_.values.set_hook([this](Value value, Index& index) -> std::optional<Element> {
      auto known = reduced_.find(value.getAsOpaquePointer());
      if (known != reduced_.end()) return known->second;
      const Kept* kept = FindKept(value);
      if (kept == nullptr || kept->pass >= pass_) return std::nullopt;
      if (index.size() != rows_.size() + columns_.size()) return std::nullopt;
      return kernel_.Load(kept->row, ir::DataTypeOf(value), ColumnOf(index), lanes_, {},
                          /*invariant=*/false);
    });
    for (Reduction& reduction : reductions_) {
      Value result = reduction.accumulator.op()->getResult(0);
      reduced_[result.getAsOpaquePointer()] = {{}, ir::DataTypeOf(result)};
    }
    for (size_t i = 0; i < f_.results.size(); ++i) {
      // Of the domain, unless it has the elements of the rows (with one column, that is the same).
      const bool is_row = NumElements(ir::ShapeOf(f_.results[i])) == rows_total_;
      (is_row ? row_results_ : domain_results_).push_back(i);
    }
    std::vector<DimExpr> space =
        f_.values.SplitSpace({rows_total_, columns_total_}, [&](const Index& index) {
          Index at = index;
          const size_t boundary = f_.values.Boundary(at, columns_total_);
          for (Reduction& reduction : reductions_) {
            f_.values.Evaluate(reduction.accumulator.op()->getOperand(0), at, {});
          }
          for (size_t i : domain_results_) f_.values.Evaluate(f_.results[i], at, {});
          const Index row(at.begin(), at.begin() + static_cast<int64_t>(boundary));
          for (size_t i : row_results_) f_.values.Evaluate(f_.results[i], row, {});
        });
    // The space is the rows' extents and then the columns'.
    DimExpr product = 1;
    size_t split = space.size();
    while (split > 0 && product != columns_total_) product = product * space[--split];
    for (size_t i = 0; i < space.size(); ++i) {
      if (space[i].Constant() == 1) continue;
      (i < split ? rows_ : columns_).push_back(space[i]);
    }
    lanes_ = columns_.empty() ? 0 : f_.ChooseLanes(columns_.back());
    f_.FindSharing(domain_results_);
    ChooseKept();
    const int64_t per_tile =
        std::max<int64_t>(1, kElementsPerTile / std::max<int64_t>(1, Estimate(columns_total_)));
    const auto range = f_.SplitIntoTiles(rows_total_, per_tile);
    kernel_.For(range.begin, range.end, 1, [&](Value unit) {
      ValueEmitter::Scope scope(f_.values);
      EmitRow(unit, f_.IndexOf(unit, rows_));
    });
  }

 private:
  struct Reduction {
    Accumulator accumulator;
    int level;  // the pass that computes it
  };

  void FindReductions() {
    std::map<mlir::Operation*, int> levels;  // passes that must be over before
    for (mlir::Operation& op : f_.fusion.body()->without_terminator()) {
      int level = 0;
      for (Value operand : op.getOperands()) {
        if (mlir::Operation* source = operand.getDefiningOp()) {
          level = std::max(level, levels[source]);
        }
      }
      if (IsReduction(&op)) reductions_.push_back({Accumulator(&op, kernel_), level++});
      levels[&op] = level;
    }
  }

  // A value that an earlier pass computes at a price and a later one needs again: it waits in
  // scratch, which is in the cache.
  struct Kept {
    int pass;  // the first that computes it
    Value value;
    Value row;  // address in scratch
  };

  int LastLevel() const {
    int last = 0;
    for (const Reduction& reduction : reductions_) last = std::max(last, reduction.level);
    return last;
  }

  bool IsOfDomain(Value value) const {
    return NumElements(ir::ShapeOf(value)) == rows_total_ * columns_total_;
  }

  // Cost of an element of the domain with all that leads to it; what passes kWorthKeeping is cut,
  // so paths that meet count more than once only below it.
  int CostWithOperands(Value value) {
    mlir::Operation* op = value.getDefiningOp();
    if (op == nullptr || IsReduction(op) || !IsOfDomain(value)) return 0;
    auto [known, is_new] = costs_.emplace(op, 0);
    if (!is_new) return known->second;
    int cost = CostOf(op);
    for (Value operand : op->getOperands()) cost += CostWithOperands(operand);
    return costs_[op] = std::min(cost, kWorthKeeping);
  }

  const Kept* FindKept(Value value) const {
    for (const Kept& kept : kept_) {
      if (kept.value == value) return &kept;
    }
    return nullptr;
  }

  void ChooseKept() {
    // Longer rows would leave the cache.
    if (columns_.empty() || Estimate(columns_total_) > kLongestKept) return;
    const int last = LastLevel();
    std::map<const void*, int> computed;
    for (int pass = 0; pass <= last + 1; ++pass) {
      std::vector<Value> needed;
      for (Reduction& reduction : reductions_) {
        if (reduction.level == pass) needed.push_back(reduction.accumulator.op()->getOperand(0));
      }
      if (pass == last + 1) {
        for (size_t i : domain_results_) needed.push_back(f_.results[i]);
      }
      while (!needed.empty()) {
        Value value = needed.back();
        needed.pop_back();
        mlir::Operation* op = value.getDefiningOp();
        if (op == nullptr || IsReduction(op) || !IsOfDomain(value)) continue;
        auto [known, is_new] = computed.emplace(value.getAsOpaquePointer(), pass);
        if (!is_new) {
          if (known->second == pass || FindKept(value) != nullptr) continue;
          if (CostWithOperands(value) >= kWorthKeeping) {
            kept_.push_back({known->second, value, {}});
            continue;
          }
        }
        for (Value operand : op->getOperands()) needed.push_back(operand);
      }
    }
    for (Kept& kept : kept_) {
      kept.row =
          kernel_.Address(kernel_.scratch(), DataType::kU8, kernel_.Size(f_.spec.scratch_bytes));
      // Whole vectors are stored, past the end of the row as well.
      const DimExpr bytes = (columns_total_ + 64) * SizeOf(ir::DataTypeOf(kept.value));
      f_.spec.scratch_bytes = f_.spec.scratch_bytes + DimExpr::CeilDiv(bytes, 64) * 64;
    }
  }

  Coord ColumnOf(const Index& index) {
    return f_.values.Offset(Index(index.begin() + static_cast<int64_t>(rows_.size()), index.end()));
  }

  void EmitRow(Value unit, const Index& row) {
    const int last = LastLevel();
    for (int level = 0; level <= last; ++level) Reduce(row, level);
    pass_ = last + 1;
    if (!domain_results_.empty()) {
      f_.values.set_lanes(lanes_);
      ForColumns(row, 0, {}, [&](const Index& index, Value tail, ValueRange) {
        PrefetchNextRow(index);
        StoreResults(domain_results_, index, {tail, {}}, lanes_, f_.values.Offset(index));
        return std::vector<Value>();
      });
    }
    f_.values.set_lanes(0);
    StoreResults(row_results_, row, {}, 0, {unit, 0, {}});
  }

  // While this row is written, the operands' next one comes into the cache: the first pass over it
  // then need not wait.
  void PrefetchNextRow(const Index& index) {
    if (lanes_ == 0) return;
    Value next = kernel_.Add(f_.values.Offset(index).base, kernel_.Size(columns_total_));
    for (size_t operand = 0; operand < f_.fusion.getInputs().size(); ++operand) {
      Value x = f_.fusion.getInputs()[operand];
      if (!IsOfDomain(x) || !f_.values.ReadInPlace(static_cast<int>(operand))) continue;
      const DataType dtype = ir::DataTypeOf(x);
      const int64_t lanes_per_line = 64 / SizeOf(dtype);
      for (int64_t lane = 0; lane < lanes_; lane += lanes_per_line) {
        // After the last row it is outside the buffer, which a prefetch may be.
        Value buffer = kernel_.Buffer(static_cast<int>(operand));
        Value offset = kernel_.Add(next, kernel_.I64(lane));
        Value at = mlir::LLVM::GEPOp::create(kernel_.b(), buffer.getType(),
                                             kernel_.e().MemoryType(dtype, 0), buffer,
                                             llvm::ArrayRef<mlir::LLVM::GEPArg>{offset});
        mlir::LLVM::Prefetch::create(kernel_.b(), at, /*rw=*/0, /*hint=*/3, /*cache=*/1);
      }
    }
  }

  // All before the first is stored, since an operand may lie where a result goes.
  void StoreResults(const std::vector<size_t>& numbers, const Index& index, const Guard& guard,
                    int64_t lanes, const Coord& offset) {
    std::vector<Element> elements;
    for (size_t i : numbers) {
      Element x = f_.values.Evaluate(f_.results[i], index, guard);
      elements.push_back(lanes > 0 ? kernel_.e().Splat(x, lanes) : x);
    }
    for (size_t i = 0; i < numbers.size(); ++i) {
      kernel_.Store(elements[i], kernel_.Buffer(f_.ResultBuffer(numbers[i])), offset, lanes, guard);
    }
  }

  using Body = std::function<std::vector<Value>(const Index&, Value tail, ValueRange)>;

  // The columns of one row, the innermost by lanes.
  std::vector<Value> ForColumns(const Index& index, size_t depth, std::vector<Value> carried,
                                const Body& body) {
    if (columns_.empty()) return body(index, nullptr, carried);
    auto inner = [&](Value i, int64_t step) {
      Index at = index;
      at.push_back({columns_[depth], {i, step, {}}, -1});
      return at;
    };
    if (depth + 1 < columns_.size()) {
      return kernel_.For(kernel_.I64(0), kernel_.Size(columns_[depth]), 1, carried,
                         [&](Value i, ValueRange values) {
                           ValueEmitter::Scope scope(f_.values);
                           return ForColumns(inner(i, 0), depth + 1,
                                             std::vector<Value>(values.begin(), values.end()),
                                             body);
                         });
    }
    return kernel_.VectorFor(kernel_.I64(0), kernel_.Size(columns_[depth]),
                             columns_[depth].Constant(), lanes_, carried,
                             [&](Value i, Value tail, ValueRange values) {
                               ValueEmitter::Scope scope(f_.values);
                               return body(inner(i, lanes_ > 0 ? 1 : 0), tail, values);
                             });
  }

  // One pass over the row for all reductions of a level.
  void Reduce(const Index& row, int level) {
    pass_ = level;
    f_.values.set_lanes(lanes_);
    std::vector<Value> carried;
    for (Reduction& reduction : reductions_) {
      if (reduction.level != level) continue;
      for (Value value : reduction.accumulator.Start(lanes_)) carried.push_back(value);
    }
    carried = ForColumns(row, 0, carried, [&](const Index& index, Value tail, ValueRange values) {
      const Coord number =
          f_.values.Offset(Index(index.begin() + static_cast<int64_t>(row.size()), index.end()));
      std::vector<Value> next;
      size_t at = 0;
      for (Reduction& reduction : reductions_) {
        if (reduction.level != level) continue;
        const size_t size = reduction.accumulator.size();
        std::vector<Value> own(values.begin() + static_cast<int64_t>(at),
                               values.begin() + static_cast<int64_t>(at + size));
        Element x =
            f_.values.Evaluate(reduction.accumulator.op()->getOperand(0), index, {tail, {}});
        for (Value value : reduction.accumulator.Add(own, x, number, tail, lanes_)) {
          next.push_back(value);
        }
        at += size;
      }
      for (const Kept& kept : kept_) {
        if (kept.pass != level) continue;
        Element x = f_.values.Evaluate(kept.value, index, {tail, {}});
        kernel_.Store(kernel_.e().Splat(x, lanes_), kept.row, number, lanes_, {});
      }
      return next;
    });
    size_t at = 0;
    for (Reduction& reduction : reductions_) {
      if (reduction.level != level) continue;
      Accumulator& accumulator = reduction.accumulator;
      std::vector<Value> own(carried.begin() + static_cast<int64_t>(at),
                             carried.begin() + static_cast<int64_t>(at + accumulator.size()));
      at += accumulator.size();
      if (lanes_ > 0) own = accumulator.Join(own, lanes_);
      reduced_[accumulator.op()->getResult(0).getAsOpaquePointer()] = accumulator.Result(own);
    }
  }

  FusionEmitter& f_;
  KernelBuilder& kernel_;
  std::vector<Reduction> reductions_;
  std::map<const void*, Element> reduced_;
  DimExpr rows_total_, columns_total_;
  std::vector<DimExpr> rows_, columns_;
  std::vector<size_t> domain_results_, row_results_;
  int64_t lanes_ = 0;
  int pass_ = -1;  // before the first: a dry run
  std::vector<Kept> kept_;
  std::map<mlir::Operation*, int> costs_;
};

}  // namespace

absl::Status EmitRow(FusionEmitter& f) {
  Row(f).Emit();
  return absl::OkStatus();
}

}  // namespace weft
