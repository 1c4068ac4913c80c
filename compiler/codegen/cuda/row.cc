// Reductions over the innermost dimensions on a GPU, with the work around them: a row is shared by
// neighbouring threads of a warp or, if it is long, by a block. Short rows of known length are read
// once and stay in registers; longer ones are read again in each pass, from the caches.
#include <algorithm>
#include <bit>

#include "compiler/codegen/cuda/access.h"
#include "compiler/codegen/cuda/thread.h"
#include "compiler/codegen/row_emitter.h"
#include "compiler/codegen/sum_blocks.h"
#include "graph/ir/types.h"

namespace weft {

using mlir::Value;
using mlir::ValueRange;

namespace {

// Accesses of a thread to a row that stays in its registers.
constexpr int64_t kMostKept = 8;
constexpr int64_t kMostThreads = 1024;

class CudaRow : RowEmitter {
 public:
  explicit CudaRow(FusionEmitter& f) : RowEmitter(f) {}

  void Emit() {
    SetBlockThreads(f_.kernel, f_.spec, kThreadsPerBlock);
    if (!Analyze()) return;
    f_.FindSharing(domain_results_);
    const RowAccesses along(f_, columns_.empty() ? DimExpr(1) : columns_.back(), last_root_,
                            columns_total_);
    access_extents_ = columns_;
    if (!columns_.empty()) access_extents_.back() = along.number();
    accesses_ = NumElements(access_extents_);
    Team team(kernel_, TeamSize());
    team_ = &team;
    SetBlockThreads(f_.kernel, f_.spec, team.block_threads());
    f_.spec.tiles = DimExpr::CeilDiv(rows_total_, team.per_block());
    // Threads of teams past the last row do what the last team does, since all take part in
    // shuffles, and store nothing.
    Value row = team.number(), inside;
    if (team.per_block() > 1) {
      Value count = kernel_.SizeArgument(rows_total_);
      inside = kernel_.Less(row, count);
      row = kernel_.Min(row, kernel_.Sub(count, 1));
    }
    const Index index = f_.IndexOf(row, rows_);
    const auto accesses = accesses_.Constant();
    along.Emit(f_, [&](int64_t lanes) {
      lanes_ = lanes;
      if (accesses && *accesses <= kMostKept * team.size()) {
        EmitKept(index, inside, *accesses);
      } else {
        EmitPasses(index, inside);
      }
      f_.values.set_lanes(0);
      Value first = kernel_.Both(inside, kernel_.Equal(team.rank(), kernel_.I64(0)));
      kernel_.If(first, [&] { StoreResults(row_results_, index, 0, {row, 0, {}}); });
    });
  }

 private:
  int64_t TeamSize() {
    const auto known = accesses_.Constant();
    const auto power = [](int64_t x) {
      return static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(std::max<int64_t>(x, 1))));
    };
    const int64_t accesses = known ? *known : Estimate(columns_total_);
    if (accesses <= kMostKept * kWarp) return std::min<int64_t>(kWarp, power(accesses));
    // As many threads as there is work for; more where it would not stay in registers otherwise.
    const int64_t threads = power((accesses + kMostKept / 2 - 1) / (kMostKept / 2));
    return std::clamp<int64_t>(threads, kThreadsPerBlock / 2, kMostThreads);
  }

  // Access number `number` of a row: the index of its first element.
  Index At(const Index& row, Value number) {
    Index index = row;
    if (columns_.empty()) return index;
    Index inner = f_.IndexOf(number, access_extents_);
    Value first = kernel_.Mul(inner.back().coord.base, std::max<int64_t>(lanes_, 1));
    inner.back() = {columns_.back(), {first, lanes_ > 0 ? 1 : 0, {}}, lanes_ > 0 ? last_root_ : -1};
    index.insert(index.end(), inner.begin(), inner.end());
    return index;
  }
  Coord ElementNumber(Value access) {
    if (lanes_ == 0) return {access, 0, {}};
    return {kernel_.Mul(access, lanes_), 1, {}};
  }

  void Finish(int level, Values values) {
    values = team_->Reduce(Join(level, values, lanes_),
                           [&](const Values& a, const Values& b) { return Combine(level, a, b); });
    SetResults(level, values);
  }

  // What was read and computed of a row is remembered from pass to pass.
  void EmitKept(const Index& row, Value inside, int64_t accesses) {
    struct Access {
      Index index;
      Value number, valid;
    };
    std::vector<Access> all;
    for (int64_t first = 0; first < accesses; first += team_->size()) {
      Value number = kernel_.Add(team_->rank(), first), valid;
      if (first + team_->size() > accesses) {
        valid = kernel_.Less(number, kernel_.I64(accesses));
        // What another thread reads as well is not counted.
        number = kernel_.Min(number, accesses - 1);
      }
      all.push_back({At(row, number), number, valid});
    }
    f_.values.set_lanes(lanes_);
    for (int level = 0; level <= LastLevel(); ++level) {
      Values values = Start(level, lanes_);
      for (const Access& access : all) {
        values = Add(level, values, access.index, ElementNumber(access.number), {}, access.valid,
                     lanes_);
      }
      Finish(level, values);
    }
    for (const Access& access : all) {
      Value store = kernel_.Both(access.valid, inside);
      auto emit = [&] {
        StoreResults(domain_results_, access.index, lanes_, f_.values.Offset(access.index));
      };
      if (domain_results_.empty()) break;
      if (store) {
        kernel_.If(store, emit);
      } else {
        emit();
      }
    }
  }

  void EmitPasses(const Index& row, Value inside) {
    f_.values.set_lanes(lanes_);
    Value end = kernel_.Size(accesses_);
    const int64_t step = team_->size();
    for (int level = 0; level <= LastLevel(); ++level) {
      SumLoop loop;
      loop.start = [&] { return Start(level, lanes_); };
      loop.combine = [&](const Values& a, const Values& b) { return Combine(level, a, b); };
      loop.range = [&](Value begin, Value range_end, const Values& start) {
        return kernel_.For(begin, range_end, step, start, [&](Value access, ValueRange values) {
          ValueEmitter::Scope scope(f_.values);
          return Add(level, Values(values.begin(), values.end()), At(row, access),
                     ElementNumber(access), {}, {}, lanes_);
        });
      };
      const BlockLengths lengths =
          AddsFloats(level) ? SumBlocks({accesses_}, step)[0] : BlockLengths();
      const Values values = loop.Emit(kernel_, team_->rank(), end, lengths, Start(level, lanes_));
      Finish(level, values);
    }
    if (domain_results_.empty()) return;
    auto store = [&] {
      kernel_.For(team_->rank(), end, step, [&](Value access) {
        const Index index = At(row, access);
        StoreResults(domain_results_, index, lanes_, f_.values.Offset(index));
      });
    };
    if (inside) {
      kernel_.If(inside, store);
    } else {
      store();
    }
  }

  // All before the first is stored, since an operand may lie where a result goes.
  void StoreResults(const std::vector<size_t>& numbers, const Index& index, int64_t lanes,
                    const Coord& offset) {
    ValueEmitter::Scope scope(f_.values);
    std::vector<Element> elements;
    for (size_t i : numbers) elements.push_back(f_.values.Evaluate(f_.results[i], index, {}));
    for (size_t i = 0; i < numbers.size(); ++i) {
      kernel_.Store(elements[i], kernel_.Buffer(f_.ResultBuffer(numbers[i])), offset, lanes, {});
    }
  }

  int64_t lanes_ = 0;
  DimExpr accesses_;                     // of a thread alone, to a row
  std::vector<DimExpr> access_extents_;  // of which that is the product
  Team* team_ = nullptr;
};

}  // namespace

absl::Status EmitCudaRow(FusionEmitter& f) {
  CudaRow(f).Emit();
  return absl::OkStatus();
}

}  // namespace weft
