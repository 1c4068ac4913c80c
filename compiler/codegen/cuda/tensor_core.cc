#include "compiler/codegen/cuda/tensor_core.h"

#include <algorithm>
#include <array>
#include <functional>
#include <utility>
#include <vector>

#include "compiler/codegen/cuda/mapped_operand.h"
#include "compiler/codegen/cuda/stage_ring.h"
#include "compiler/codegen/cuda/staged_operand.h"
#include "compiler/codegen/cuda/thread.h"
#include "compiler/codegen/cuda/warpgroup.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

namespace weft {
namespace {

using mlir::Value;
using mlir::ValueRange;
using Values = CodeBuilder::Values;
namespace arith = mlir::arith;
namespace LLVM = mlir::LLVM;
namespace NVVM = mlir::NVVM;

// One instruction's product: 16 rows, 8 columns, 32 bytes of depth. Thread l of a warp has four of
// its sums: columns 2 * (l % 4) and the next, of row l / 4 and of the one 8 rows down. A
// warpgroup's has 64 rows, 16 of each warp, and any number of times 8 columns.
constexpr int64_t kRows = 16, kColumns = 8, kDepthBytes = 32, kSums = 4, kGroupRows = 64;

class TensorCoreTiles {
 public:
  TensorCoreTiles(ContractionTiles& tiles, DataType dtype)
      : tiles_(tiles), kb_(tiles.kb()), b_(kb_.b()), dtype_(dtype) {}

  void Emit(KernelSpec& spec) {
    tiling_ = TensorCoreTiling(tiles_.shape(), dtype_, kb_.target());
    SetBlockThreads(kb_, spec, static_cast<int>(tiling_.threads()));
    if (tiling_.producer) return EmitPersistent(spec);
    const ContractionTiles::Tile tile = tiles_.Place(tiling_.rows, tiling_.columns, spec);
    Value thread = ThreadInBlock(kb_);
    const auto [first_row, first_column] = PartOf(thread);

    Values sums = NoSums();
    if (CodeBuilder::ConstantOf(tile.steps) != 0) {
      spec.scratch_bytes = tiling_.shared_bytes();
      StagedOperand left = StagedOperand::Left(tiles_, tile, tiling_, thread);
      StagedOperand right = StagedOperand::Right(tiles_, tile, tiling_, thread);
      if (tiling_.warpgroups) {
        sums = AddUp(left, right, tile.steps, std::move(sums), [&](Value stage, Values& now) {
          MultiplyByWarpgroup(left.matrix(), right.matrix(), first_row, first_column, stage, now);
        });
        sums = FinishWarpgroupProducts(kb_, sums);
      } else {
        left.SetWarp(first_row, tiling_.part_rows);
        right.SetWarp(first_column, tiling_.part_columns);
        sums = AddUp(left, right, tile.steps, std::move(sums),
                     [&](Value stage, Values& now) { Multiply(left, right, stage, now); });
      }
    }
    Store(sums, tile, first_row, first_column, thread);
  }

 private:
  // One warpgroup brings the operands of one tile of the block after the other, as far ahead as
  // there are stages, while the others multiply and store: so the first steps of the next tile come
  // during the epilogue of this one. All blocks share the tiles. One thread
  // is enough to bring them; a whole warpgroup has registers to give to others.
  void EmitPersistent(KernelSpec& spec) {
    const DimExpr count = tiles_.Count(tiling_.rows, tiling_.columns);
    spec.tiles = count;
    spec.shares_tiles = true;
    spec.scratch_bytes = tiling_.shared_bytes();
    const MappedOperand left = MappedOperand::Left(tiles_, tiling_);
    const MappedOperand right = MappedOperand::Right(tiles_, tiling_);
    const int64_t readers = tiling_.parts() * TensorTiling::kGroup;
    Value barriers = kb_.At(kb_.BlockScratch(), tiling_.stage_bytes(), b_.getI8Type());
    StageRing ring(kb_, barriers, tiling_.stages, readers / kWarp);
    Value thread = ThreadInBlock(kb_);
    ring.Make(thread);
    Barrier(kb_);
    // `body` of one tile after the other, from where it left the ring.
    auto for_tiles = [&](auto body) {
      const StageRing::Position start = ring.Start();
      kb_.For(BlockInGrid(kb_), kb_.Size(count), BlocksInGrid(kb_), {start.stage, start.round},
              [&](Value number, ValueRange at) {
                ContractionTiles::Tile tile = tiles_.At(number, tiling_.rows, tiling_.columns);
                tile.steps = MappedOperand::Steps(tiles_, tile);
                const StageRing::Position next = body(tile, {at[0], at[1]});
                return Values{next.stage, next.round};
              });
    };
    // Of three warpgroups each thread has 168 at first; of two, as many as there can be.
    constexpr uint32_t kOfConsumer = 232, kOfProducer = 40;
    const bool moves = tiling_.parts() > 1;
    if (moves) ExpectOneBlock(kb_);
    kb_.If(
        kb_.Less(thread, kb_.I64(readers)),
        [&] {
          if (moves) Registers(kOfConsumer, NVVM::SetMaxRegisterAction::increase);
          for_tiles([&](const ContractionTiles::Tile& tile, const StageRing::Position& at) {
            return Consume(ring, left.matrix(), right.matrix(), tile, thread, at);
          });
        },
        [&] {
          if (moves) Registers(kOfProducer, NVVM::SetMaxRegisterAction::decrease);
          kb_.If(kb_.Equal(thread, kb_.I64(readers)), [&] {
            left.Prefetch();
            right.Prefetch();
            for_tiles([&](const ContractionTiles::Tile& tile, const StageRing::Position& at) {
              return Produce(ring, left, right, tile, at);
            });
          });
        });
  }

  // Lets the threads of this warpgroup have so many registers each.
  void Registers(uint32_t count, NVVM::SetMaxRegisterAction action) {
    NVVM::SetMaxRegisterOp::create(b_, count, action);
  }

  StageRing::Position Produce(StageRing& ring, const MappedOperand& left,
                              const MappedOperand& right, const ContractionTiles::Tile& tile,
                              const StageRing::Position& start) {
    Values carried = {start.stage, start.round};
    const Values first = left.FirstWindows(tile), step_of_windows = left.StepOfWindows();
    carried.insert(carried.end(), first.begin(), first.end());
    const Values last =
        kb_.For(kb_.I64(0), tile.steps, tiling_.depth(), carried, [&](Value step, ValueRange now) {
          const StageRing::Position at = {now[0], now[1]};
          const ValueRange carried_windows = now.drop_front(2);
          const Values windows(carried_windows.begin(), carried_windows.end());
          Value full = ring.BeginToFill(at, left.bytes() + right.bytes());
          left.Bring(tile, step, windows, at.stage, full);
          right.Bring(tile, step, {}, at.stage, full);
          const StageRing::Position next = ring.Next(at);
          Values after = {next.stage, next.round};
          const Values further = left.NextWindows(windows, step_of_windows);
          after.insert(after.end(), further.begin(), further.end());
          return after;
        });
    return {last[0], last[1]};
  }

  // The products of one step go on while the next is waited for: a stage is given back when those
  // after it have been started.
  StageRing::Position Consume(StageRing& ring, const WarpgroupMatrix& left,
                              const WarpgroupMatrix& right, const ContractionTiles::Tile& tile,
                              Value thread, const StageRing::Position& start) {
    const auto [first_row, first_column] = PartOf(thread);
    Value is_first_of_warp = kb_.Equal(kb_.Rem(thread, kWarp), kb_.I64(0));
    Values carried = NoSums();
    carried.push_back(start.stage);
    carried.push_back(start.round);
    Values last =
        kb_.For(kb_.I64(0), tile.steps, tiling_.depth(), carried, [&](Value step, ValueRange now) {
          const StageRing::Position at = {now[now.size() - 2], now.back()};
          const ValueRange so_far = now.drop_back(2);
          Values sums(so_far.begin(), so_far.end());
          ring.WaitUntilFull(at);
          if (dtype_ == DataType::kF32) Round(left, right, at.stage, thread);
          MultiplyByWarpgroup(left, right, first_row, first_column, at.stage, sums);
          WaitForWarpgroupProducts(kb_, 1);
          Value earlier = kb_.Less(kb_.I64(0), step);
          kb_.If(kb_.Both(is_first_of_warp, earlier), [&] { ring.Release(ring.Before(at)); });
          const StageRing::Position next = ring.Next(at);
          sums.push_back(next.stage);
          sums.push_back(next.round);
          return sums;
        });
    const StageRing::Position end = {last[last.size() - 2], last.back()};
    last.resize(last.size() - 2);
    const Values sums = FinishWarpgroupProducts(kb_, last);
    Value any = kb_.Less(kb_.I64(0), tile.steps);
    kb_.If(kb_.Both(is_first_of_warp, any), [&] { ring.Release(ring.Before(end)); });
    Store(sums, tile, first_row, first_column, thread);
    return end;
  }

  // Rounds what a stage holds to tf32 where it lies: each thread that multiplies its share, before
  // any multiplies. Copies of boxes leave elements as they are.
  void Round(const WarpgroupMatrix& left, const WarpgroupMatrix& right, Value stage, Value thread) {
    constexpr int64_t kChunk = 16;
    const int64_t threads = tiling_.parts() * TensorTiling::kGroup;
    for (const WarpgroupMatrix& matrix : {left, right}) {
      Value first = kb_.Add(kb_.Mul(stage, matrix.stage_bytes), kb_.Mul(thread, kChunk));
      Value address = kb_.At(matrix.shared, first, b_.getI8Type());
      for (int64_t at = 0; at < matrix.stage_bytes; at += threads * kChunk) {
        RoundChunkToTf32(kb_, kb_.At(address, at, b_.getI8Type()));
      }
    }
    FenceForWarpgroups(kb_);
    BarrierOfThreads(kb_, threads);
  }

  // The rows and columns of the tile, from these on, that the thread's warp or warpgroup computes.
  std::pair<Value, Value> PartOf(Value thread) {
    Value part = kb_.Div(thread, tiling_.part_threads());
    const int64_t parts_down = tiling_.rows / tiling_.part_rows;
    return {kb_.Mul(kb_.Rem(part, parts_down), tiling_.part_rows),
            kb_.Mul(kb_.Div(part, parts_down), tiling_.part_columns)};
  }

  Values NoSums() {
    return Values(static_cast<size_t>(rows() * columns() * kSums), kb_.Zero(b_.getF32Type()));
  }

  // Products of one instruction in the part of a warp or warpgroup, down and across: of 8 columns
  // each, whatever the instruction has.
  int64_t product_rows() const { return tiling_.warpgroups ? kGroupRows : kRows; }
  int64_t rows() const { return tiling_.part_rows / product_rows(); }
  int64_t columns() const { return tiling_.part_columns / kColumns; }
  // Instructions that follow one another in a step of depth.
  int64_t parts_of_step() const { return tiling_.step_bytes() / kDepthBytes; }

  // Steps of depth go through a ring of stages: while one is multiplied, those after it are on
  // their way. Each step ends a group of copies, an empty one where nothing is left to bring, so
  // that the groups under way tell which step has come. One barrier a step: it is passed when all
  // see what came, and when all are done with the stage that is filled next: that of the step
  // before; or, by warpgroups, of the one before that, for which each has waited after it started
  // the next products, so that those go on meanwhile. What warpgroups take for tf32 is rounded in
  // shared memory, by the thread that brought it.
  Values AddUp(const StagedOperand& left, const StagedOperand& right, Value depth, Values sums,
               const std::function<void(Value stage, Values& sums)>& multiply) {
    const int64_t depth_of_step = tiling_.depth(), stages = tiling_.stages, ahead = tiling_.ahead();
    const bool rounds = tiling_.warpgroups && dtype_ == DataType::kF32;
    auto bring = [&](Value step, Value stage) {
      kb_.If(kb_.Less(step, depth), [&] {
        left.Bring(step, stage);
        right.Bring(step, stage);
      });
      NVVM::CpAsyncCommitGroupOp::create(b_);
    };
    for (int64_t i = 0; i < ahead; ++i) bring(kb_.I64(i * depth_of_step), kb_.I64(i));
    auto next_stage = [&](Value stage) {
      Value next = kb_.Add(stage, 1);
      return kb_.Select(kb_.Equal(next, kb_.I64(stages)), kb_.I64(0), next);
    };
    Values carried = std::move(sums);
    carried.push_back(kb_.I64(0));      // the stage that has come
    carried.push_back(kb_.I64(ahead));  // the one to fill
    Values last =
        kb_.For(kb_.I64(0), depth, depth_of_step, carried, [&](Value step, ValueRange now) {
          NVVM::CpAsyncWaitGroupOp::create(b_, static_cast<uint32_t>(ahead - 1));
          Value come = now[now.size() - 2], fill = now[now.size() - 1];
          if (rounds) {
            left.RoundBrought(come);
            right.RoundBrought(come);
          }
          if (tiling_.warpgroups) FenceForWarpgroups(kb_);
          Barrier(kb_);
          bring(kb_.Add(step, ahead * depth_of_step), fill);
          const ValueRange so_far = now.drop_back(2);
          Values next(so_far.begin(), so_far.end());
          multiply(come, next);
          if (tiling_.warpgroups) WaitForWarpgroupProducts(kb_, 1);
          next.push_back(next_stage(come));
          next.push_back(next_stage(fill));
          return next;
        });
    last.resize(last.size() - 2);
    return last;
  }

  // Starts the products of one stage, in the order of their depth.
  void MultiplyByWarpgroup(const WarpgroupMatrix& left, const WarpgroupMatrix& right,
                           Value first_row, Value first_column, Value stage, Values& sums) {
    auto operand = [&](const WarpgroupMatrix& matrix, Value first) {
      return WarpgroupProduct::Operand{matrix.Descriptor(kb_, stage, first),
                                       matrix.descriptor_of_depth(), !matrix.rows_are_own};
    };
    const WarpgroupProduct product{.dtype = dtype_,
                                   .row_blocks = rows(),
                                   .columns = tiling_.part_columns,
                                   .steps = parts_of_step(),
                                   .left = operand(left, first_row),
                                   .right = operand(right, first_column),
                                   .row_block_step = WarpgroupMatrix::kDescriptorOfOwn};
    sums = StartWarpgroupProduct(kb_, product, sums);
  }

  // Adds the products of one stage. Fragments are loaded before the products of the part of the
  // step before them.
  void Multiply(const StagedOperand& left, const StagedOperand& right, Value stage, Values& sums) {
    std::vector<Values> a = left.LoadFragments(stage, 0), b = right.LoadFragments(stage, 0);
    for (int64_t part = 0; part < parts_of_step(); ++part) {
      std::vector<Values> next_a, next_b;
      if (part + 1 < parts_of_step()) {
        next_a = left.LoadFragments(stage, part + 1);
        next_b = right.LoadFragments(stage, part + 1);
      }
      for (int64_t i = 0; i < rows(); ++i) {
        const Values rows_of = Operand(a[static_cast<size_t>(i)]);
        for (int64_t j = 0; j < columns(); ++j) {
          const Values& both = b[static_cast<size_t>(j / 2)];
          const auto first = both.begin() + j % 2 * 2;
          MultiplyAdd(rows_of, Operand({first, first + 2}), &sums[Index(i, j, 0)]);
        }
      }
      a = std::move(next_a);
      b = std::move(next_b);
    }
  }

  size_t Index(int64_t i, int64_t j, int64_t sum) const {
    return static_cast<size_t>((i * columns() + j) * kSums + sum);
  }

  // Registers as the instruction wants them: pairs of f16, or 32 bits.
  Values Operand(const Values& registers) {
    if (dtype_ != DataType::kF16) return registers;
    Values pairs;
    const auto pair = mlir::VectorType::get({2}, b_.getF16Type());
    for (Value bits : registers) pairs.push_back(LLVM::BitcastOp::create(b_, pair, bits));
    return pairs;
  }

  void MultiplyAdd(const Values& a, const Values& b, Value* sums) {
    const mlir::Type f32 = b_.getF32Type();
    const auto result = LLVM::LLVMStructType::getLiteral(b_.getContext(), {f32, f32, f32, f32});
    const NVVM::MMATypes type = dtype_ == DataType::kF32   ? NVVM::MMATypes::tf32
                                : dtype_ == DataType::kF16 ? NVVM::MMATypes::f16
                                                           : NVVM::MMATypes::bf16;
    Value product = NVVM::MmaOp::create(
        b_, result, a, b, ValueRange(llvm::ArrayRef<Value>(sums, kSums)),
        llvm::ArrayRef<int64_t>{kRows, kColumns, kDepthBytes / tiling_.element_bytes}, std::nullopt,
        std::nullopt, std::array<NVVM::MMATypes, 2>{type, type},
        std::array<NVVM::MMALayout, 2>{NVVM::MMALayout::row, NVVM::MMALayout::col});
    for (int64_t i = 0; i < kSums; ++i) sums[i] = LLVM::ExtractValueOp::create(b_, product, i);
  }

  // The four threads that share a row exchange their sums until each has as many neighbouring
  // columns as can be stored at once, of one product where they had two columns of each. The first
  // row and column are those of the thread's part in the tile.
  void Store(const Values& sums, const ContractionTiles::Tile& tile, Value first_row,
             Value first_column, Value thread) {
    Value lane = kb_.Rem(thread, kWarp), batch = tile.batch;
    first_row = kb_.Add(tile.first_row, first_row);
    first_column = kb_.Add(tile.first_column, first_column);
    if (tiling_.warpgroups) {
      Value warp = kb_.Div(kb_.Rem(thread, TensorTiling::kGroup), kWarp);
      first_row = kb_.Add(first_row, kb_.Mul(warp, kRows));
    }
    const int64_t together =
        std::max<int64_t>(2, tiles_.ColumnsTogether(std::min(kColumns, 2 * columns())));
    const int64_t products = together / 2;  // that are exchanged
    Value quarter = kb_.Rem(lane, 4);
    Value product = kb_.Rem(quarter, products);  // which of them the thread gets
    Value in_product = kb_.Mul(kb_.Div(quarter, products), together);
    for (int64_t i = 0; i < rows(); ++i) {
      for (int64_t half = 0; half < 2; ++half) {
        Value row = kb_.Add(kb_.Add(first_row, kb_.Div(lane, 4)), i * product_rows() + half * 8);
        std::vector<Values> stores;
        for (int64_t j = 0; j < columns(); j += products) {
          std::vector<Values> slots;
          for (int64_t k = 0; k < products; ++k) {
            slots.push_back({sums[Index(i, j + k, half * 2)], sums[Index(i, j + k, half * 2 + 1)]});
          }
          stores.push_back(Exchange(std::move(slots), quarter));
        }
        kb_.If(kb_.Less(row, tiles_.contraction().rows), [&] {
          for (int64_t j = 0; j < columns(); j += products) {
            Value column =
                kb_.Add(kb_.Add(first_column, kb_.Mul(kb_.Add(product, j), kColumns)), in_product);
            tiles_.Store(Vector(stores[static_cast<size_t>(j / products)]), batch, row, column);
          }
        });
      }
    }
  }

  // Thread t's slot s goes to slot t of thread s, as far as there are slots: in each round, threads
  // whose numbers differ in a bit swap the slots whose numbers differ in it.
  Values Exchange(std::vector<Values> slots, Value thread) {
    for (size_t bit = 1; bit < slots.size(); bit *= 2) {
      Value upper = kb_.Equal(kb_.Rem(kb_.Div(thread, static_cast<int64_t>(bit)), 2), kb_.I64(1));
      for (size_t s = 0; s < slots.size(); ++s) {
        if ((s & bit) != 0) continue;
        for (size_t v = 0; v < slots[s].size(); ++v) {
          Value &low = slots[s][v], &high = slots[s | bit][v];
          Value come = ShuffleXor(kb_, kb_.Select(upper, low, high), static_cast<int>(bit));
          low = kb_.Select(upper, come, low);
          high = kb_.Select(upper, high, come);
        }
      }
    }
    Values all;
    for (const Values& slot : slots) all.insert(all.end(), slot.begin(), slot.end());
    return all;
  }

  Value Vector(const Values& scalars) {
    Value vector = kb_.Zero(
        mlir::VectorType::get({static_cast<int64_t>(scalars.size())}, scalars[0].getType()));
    for (size_t i = 0; i < scalars.size(); ++i) {
      vector = mlir::vector::InsertOp::create(b_, scalars[i], vector, static_cast<int64_t>(i));
    }
    return vector;
  }

  ContractionTiles& tiles_;
  KernelBuilder& kb_;
  mlir::ImplicitLocOpBuilder& b_;
  const DataType dtype_;
  TensorTiling tiling_;
};

}  // namespace

bool TensorCoresServe(DataType dtype, const Target& target) {
  if (dtype == DataType::kF32) return target.tf32;
  return target.sm >= 80 && (dtype == DataType::kF16 || dtype == DataType::kBF16);
}

TensorTiling TensorCoreTiling(const ContractionShape& shape, DataType dtype, const Target& target) {
  const int64_t element_bytes = SizeOf(dtype);
  return ChooseTensorTiling(shape, element_bytes, target,
                            MappedOperand::Serve(shape, element_bytes));
}

void EmitTensorCoreTiles(ContractionTiles& tiles, DataType dtype, KernelSpec& spec) {
  TensorCoreTiles(tiles, dtype).Emit(spec);
}

}  // namespace weft
