// Reductions over the innermost dimensions, with element-wise work before, between and after: row
// by row, with as many passes over a row, which stays in the cache, as reductions wait for one
// another.
#include <algorithm>
#include <map>

#include "compiler/codegen/row_emitter.h"
#include "compiler/codegen/sum_blocks.h"
#include "graph/ir/types.h"

namespace weft {

using mlir::Value;
using mlir::ValueRange;

namespace {

// In units of CostOf: a transcendental function.
constexpr int kWorthKeeping = 16;
constexpr int64_t kLongestKept = 32768;

class Row : RowEmitter {
 public:
  explicit Row(FusionEmitter& f) : RowEmitter(f) {}

  void Emit() {
    if (!Analyze()) return;
    lanes_ = columns_.empty() ? 0 : f_.ChooseLanes(columns_.back());
    f_.FindSharing(domain_results_);
    for (size_t i = 0; i < f_.results.size(); ++i) {
      streams_.push_back(lanes_ > 0 ? f_.Stream(i, columns_.back(), lanes_) : Value());
    }
    ChoosePrefetchPass();
    ChooseKept();
    const int64_t per_tile =
        std::max<int64_t>(1, kElementsPerTile / std::max<int64_t>(1, Estimate(columns_total_)));
    const auto range = f_.SplitIntoTiles(rows_total_, per_tile);
    kernel_.For(range.begin, range.end, 1, [&](Value unit) {
      auto emit = [&] {
        ValueEmitter::Scope scope(f_.values);
        EmitRow(unit, f_.IndexOf(unit, rows_));
      };
      if (kept_.empty() || columns_total_.Constant()) return emit();
      const std::vector<Kept> kept = kept_;
      Value is_long = kernel_.Less(kernel_.I64(kLongestKept), kernel_.Size(columns_total_));
      auto emit_long = [&] {
        kept_.clear();
        emit();
        kept_ = kept;
      };
      kernel_.If(is_long, emit_long, emit);
    });
  }

 private:
  std::optional<Element> Lookup(Value value, const Index& index) override {
    if (auto known = RowEmitter::Lookup(value, index)) return known;
    const Kept* kept = FindKept(value);
    if (kept == nullptr || kept->pass >= pass_) return std::nullopt;
    if (index.size() != rows_.size() + columns_.size()) return std::nullopt;
    return kernel_.Load(kept->row, ir::DataTypeOf(value), ColumnOf(index), lanes_, {},
                        /*invariant=*/false);
  }

  // A value that an earlier pass computes at a price and a later one needs again: it waits in
  // scratch, which is in the cache.
  struct Kept {
    int pass;  // the first that computes it
    Value value;
    Value row;  // address in scratch
  };

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
    // Longer rows would leave the cache; whether those of open length do, the kernel finds out.
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
      const DimExpr columns = DimExpr::Min(columns_total_, kLongestKept);
      const DimExpr bytes = (columns + lanes_) * SizeOf(ir::DataTypeOf(kept.value));
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

  // In one pass over a row, the operands' next row comes into the cache, so that the first pass
  // over that need not wait: in the pass that computes most, if that writes nothing, since memory
  // that reads and writes in turn is slow; else in the last.
  void ChoosePrefetchPass() {
    const int last = LastLevel();
    prefetch_pass_ = last + 1;
    std::vector<int> costs(static_cast<size_t>(last) + 1, 0);
    std::map<mlir::Operation*, int> seen;
    for (const Reduction& reduction : reductions_) {
      std::vector<Value> needed = {reduction.accumulator.op()->getOperand(0)};
      while (!needed.empty()) {
        mlir::Operation* op = needed.back().getDefiningOp();
        needed.pop_back();
        if (op == nullptr || IsReduction(op) || !seen.emplace(op, 0).second) continue;
        costs[static_cast<size_t>(reduction.level)] += CostOf(op);
        for (Value operand : op->getOperands()) needed.push_back(operand);
      }
    }
    const auto most = std::max_element(costs.begin(), costs.end());
    if (*most >= kWorthKeeping) prefetch_pass_ = static_cast<int>(most - costs.begin());
    // This row, what is kept of it and the next one lie in the second cache together.
    int64_t bytes = 0;
    prefetched_ = f_.StreamedOperands(rows_total_ * columns_total_);
    for (int operand : prefetched_) {
      bytes += SizeOf(ir::DataTypeOf(f_.fusion.getInputs()[static_cast<unsigned>(operand)]));
    }
    if (4 * bytes * Estimate(columns_total_) > f_.target.l2_bytes) prefetched_.clear();
  }

  void PrefetchNextRow(const Index& index) {
    if (lanes_ == 0 || pass_ != prefetch_pass_ || prefetched_.empty()) return;
    Value next = kernel_.Add(f_.values.Offset(index).base, kernel_.Size(columns_total_));
    for (int operand : prefetched_) {
      const DataType dtype = ir::DataTypeOf(f_.fusion.getInputs()[static_cast<unsigned>(operand)]);
      for (int64_t lane = 0; lane < lanes_; lane += 64 / SizeOf(dtype)) {
        kernel_.Prefetch(kernel_.Buffer(operand), dtype, kernel_.Add(next, kernel_.I64(lane)));
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
      kernel_.Store(elements[i], kernel_.Buffer(f_.ResultBuffer(numbers[i])), offset, lanes, guard,
                    streams_[numbers[i]]);
    }
  }

  using Body = std::function<std::vector<Value>(const Index&, Value tail, ValueRange)>;
  struct Blocks {
    std::vector<BlockLengths> lengths;  // for each extent of the columns
    SumLoop loop;                       // but for its range
  };

  // The columns of one row, the innermost by lanes; `blocks` for sums of many elements.
  std::vector<Value> ForColumns(const Index& index, size_t depth, std::vector<Value> carried,
                                const Body& body, const Blocks* blocks = nullptr) {
    if (columns_.empty()) return body(index, nullptr, carried);
    const DimExpr& extent = columns_[depth];
    const BlockLengths lengths = blocks == nullptr ? BlockLengths() : blocks->lengths[depth];
    std::optional<int64_t> length = extent.Constant();
    if (!lengths.empty()) {
      const bool whole = length && *length % lengths.back() == 0;
      length = whole ? std::optional(lengths.back()) : std::nullopt;
    }
    auto inner = [&](Value i, int64_t step, int root) {
      Index at = index;
      at.push_back({extent, {i, step, {}}, root});
      return at;
    };
    auto range = [&](Value begin, Value end, const std::vector<Value>& start) {
      if (depth + 1 < columns_.size()) {
        return kernel_.For(begin, end, 1, start, [&](Value i, ValueRange values) {
          ValueEmitter::Scope scope(f_.values);
          return ForColumns(inner(i, 0, -1), depth + 1,
                            std::vector<Value>(values.begin(), values.end()), body, blocks);
        });
      }
      return kernel_.VectorFor(
          begin, end, length, lanes_, start, [&](Value i, Value tail, ValueRange values) {
            ValueEmitter::Scope scope(f_.values);
            return body(inner(i, lanes_ > 0 ? 1 : 0, last_root_), tail, values);
          });
    };
    SumLoop loop = blocks == nullptr ? SumLoop() : blocks->loop;
    loop.range = range;
    return loop.Emit(kernel_, kernel_.I64(0), kernel_.Size(extent), lengths, carried);
  }

  // One pass over the row for all reductions of a level.
  void Reduce(const Index& row, int level) {
    pass_ = level;
    f_.values.set_lanes(lanes_);
    const Blocks blocks{SumBlocks(columns_, lanes_),
                        {[&] { return Start(level, lanes_); },
                         [&](const Values& a, const Values& b) { return Combine(level, a, b); },
                         {}}};
    auto add = [&](const Index& index, Value tail, ValueRange values) {
      const Coord number =
          f_.values.Offset(Index(index.begin() + static_cast<int64_t>(row.size()), index.end()));
      PrefetchNextRow(index);
      Values next =
          Add(level, Values(values.begin(), values.end()), index, number, {tail, {}}, tail, lanes_);
      for (const Kept& kept : kept_) {
        if (kept.pass != level) continue;
        Element x = f_.values.Evaluate(kept.value, index, {tail, {}});
        kernel_.Store(kernel_.e().Splat(x, lanes_), kept.row, number, lanes_, {});
      }
      return next;
    };
    const Values sum =
        ForColumns(row, 0, Start(level, lanes_), add, AddsFloats(level) ? &blocks : nullptr);
    SetResults(level, Join(level, sum, lanes_));
  }

  int64_t lanes_ = 0;
  int pass_ = -1;  // before the first: a dry run
  std::vector<Kept> kept_;
  std::map<mlir::Operation*, int> costs_;
  std::vector<Value> streams_;  // for each result, see FusionEmitter::Stream
  int prefetch_pass_ = 0;
  std::vector<int> prefetched_;  // operands
};

}  // namespace

absl::Status EmitRow(FusionEmitter& f) {
  Row(f).Emit();
  return absl::OkStatus();
}

}  // namespace weft
