#include "compiler/codegen/cuda/staged_operand.h"

#include <algorithm>
#include <numeric>
#include <optional>
#include <utility>

#include "compiler/codegen/cuda/thread.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

namespace weft {

using mlir::Value;
using Values = CodeBuilder::Values;
namespace arith = mlir::arith;
namespace LLVM = mlir::LLVM;
namespace NVVM = mlir::NVVM;

namespace {

constexpr unsigned kGlobalSpace = 1;
// Bytes of an asynchronous copy.
constexpr int64_t kLeastCopy = 4;

std::optional<int64_t> ConstantOf(Value value) { return CodeBuilder::ConstantOf(value); }

// Rounded to tf32, to nearest; `bits` is an i32, as is the result.
Value RoundedToTf32(KernelBuilder& kb, Value bits) {
  mlir::ImplicitLocOpBuilder& b = kb.b();
  Value x = LLVM::BitcastOp::create(b, b.getF32Type(), bits);
  return NVVM::ConvertFloatToTF32Op::create(b, b.getI32Type(), x, NVVM::FPRoundingMode::RNA);
}

}  // namespace

void RoundChunkToTf32(KernelBuilder& kernel, Value address) {
  mlir::ImplicitLocOpBuilder& b = kernel.b();
  constexpr int64_t kElements = 4;
  constexpr unsigned kBytes = 16;
  const auto chunk = mlir::VectorType::get({kElements}, b.getI32Type());
  Value elements = LLVM::LoadOp::create(b, chunk, address, kBytes);
  for (int64_t i = 0; i < kElements; ++i) {
    Value x = mlir::vector::ExtractOp::create(b, elements, i);
    elements = mlir::vector::InsertOp::create(b, RoundedToTf32(kernel, x), elements, i);
  }
  LLVM::StoreOp::create(b, elements, address, kBytes);
}

// The longest run, up to `most`, a power of two, that certainly divides the extent.
int64_t StagedOperand::RunIn(Value extent, int64_t most) {
  const auto known = ConstantOf(extent);
  return known ? std::gcd(*known, most) : 1;
}

StagedOperand StagedOperand::Left(const ContractionTiles& tiles, const ContractionTiles::Tile& tile,
                                  const TensorTiling& tiling, Value thread) {
  KernelBuilder& kb = tiles.kb();
  const cpu::Contraction& c = tiles.contraction();
  const int64_t chunk = kChunkBytes / tiling.element_bytes;
  const auto rows = ConstantOf(c.rows);
  Value base = c.left_base(tile.batch);
  Source source{
      .pointer = c.left,
      .first = tile.first_row,
      .count = c.rows,
      .whole = rows && *rows % tiling.rows == 0,
      .steps = tile.steps,
      .own_offset = [&tiles, &kb, base](Value row) { return kb.Add(base, tiles.LeftRow(row)); },
      .depth_offset = [&tiles, &kb, first = tile.first_step](
                          Value step) { return tiles.LeftDepth(kb.Add(first, step)); },
      .along_depth = ConstantOf(c.left_depth_stride) == 1 || ConstantOf(c.left_row_stride) != 1,
      .run = 1,
      .wide = nullptr};
  const bool simple = ConstantOf(c.segments) == 1 && !c.left_line;
  Value extent;
  if (source.along_depth) {
    extent = c.depth;
  } else {
    extent = c.left_line ? c.left_line_rows : c.rows;
  }
  Value stride = source.along_depth ? c.left_row_stride : c.left_depth_stride;
  const bool neighbours =
      ConstantOf(source.along_depth ? c.left_depth_stride : c.left_row_stride) == 1;
  if (neighbours) source.run = RunIn(extent, chunk);
  if (neighbours && simple && !(ConstantOf(extent) && ConstantOf(stride))) {
    Value both = arith::OrIOp::create(kb.b(), extent, stride);
    source.wide = kb.Equal(kb.Rem(both, chunk), kb.I64(0));
  }
  return StagedOperand(tiles, tiling, thread, /*is_left=*/true, tiling.rows, std::move(source));
}

StagedOperand StagedOperand::Right(const ContractionTiles& tiles,
                                   const ContractionTiles::Tile& tile, const TensorTiling& tiling,
                                   Value thread) {
  KernelBuilder& kb = tiles.kb();
  const cpu::Contraction& c = tiles.contraction();
  const int64_t chunk = kChunkBytes / tiling.element_bytes;
  const auto columns = ConstantOf(c.columns);
  Value base = c.right_base(tile.batch);
  Source source{.pointer = c.right,
                .first = tile.first_column,
                .count = c.columns,
                .whole = columns && *columns % tiling.columns == 0,
                .steps = tile.steps,
                .own_offset = [&tiles, &kb, base](
                                  Value column) { return kb.Add(base, tiles.RightColumn(column)); },
                .depth_offset = [&tiles, &kb, first = tile.first_step](
                                    Value step) { return tiles.RightDepth(kb.Add(first, step)); },
                .along_depth = ConstantOf(c.right_column_stride) != 1,
                .run = 1,
                .wide = nullptr};
  Value extent = source.along_depth ? tiles.depth() : c.columns;
  Value stride = source.along_depth ? c.right_column_stride : c.right_depth_stride;
  if (!source.along_depth || ConstantOf(c.right_depth_stride) == 1) {
    source.run = RunIn(extent, chunk);
    if (!(ConstantOf(extent) && ConstantOf(stride))) {
      Value both = arith::OrIOp::create(kb.b(), extent, stride);
      source.wide = kb.Equal(kb.Rem(both, chunk), kb.I64(0));
    }
  }
  return StagedOperand(tiles, tiling, thread, /*is_left=*/false, tiling.columns, std::move(source));
}

StagedOperand::StagedOperand(const ContractionTiles& tiles, const TensorTiling& tiling,
                             Value thread, bool is_left, int64_t size, Source source)
    : kb_(&tiles.kb()),
      thread_(thread),
      is_left_(is_left),
      size_(size),
      threads_(tiling.threads()),
      depth_(tiling.depth()),
      element_bytes_(tiling.element_bytes),
      chunk_(kChunkBytes / element_bytes_),
      panels_(tiling.warpgroups),
      source_(std::move(source)) {
  rows_are_own_ = source_.along_depth || element_bytes_ == 4;
  turned_ = rows_are_own_ && !source_.along_depth;
  stage_bytes_ = size_ * depth_ * element_bytes_;
  // The stages of A, then those of B.
  const int64_t before = is_left_ ? 0 : tiling.stages * tiling.rows * tiling.step_bytes();
  shared_ = kb_->At(kb_->BlockScratch(), before, kb_->b().getI8Type());
  row_chunks_ = (rows_are_own_ ? depth_ : size_) / chunk_;
  per_thread_ = stage_bytes_ / kChunkBytes / threads_;
  if (turned_) {
    // Of the operand's own, each warp brings eight neighbours at a time.
    Value first = kb_->Add(kb_->Mul(kb_->Div(thread_, kWarp), kMatrix), kb_->Rem(thread_, kMatrix));
    row_ = first;
    const int64_t between = threads_ / kWarp * kMatrix;
    for (int64_t row = 0; row < size_; row += between) {
      Value own = kb_->Add(source_.first, kb_->Add(first, row));
      if (!source_.whole) own = kb_->Min(own, kb_->Sub(source_.count, 1));
      turned_offsets_.push_back(source_.own_offset(own));
    }
    return;
  }
  row_ = kb_->Div(thread_, row_chunks_);
  in_row_ = kb_->Rem(thread_, row_chunks_);
  shared_offset_ = kb_->Mul(PlaceOf(row_, in_row_), kChunkBytes);
  narrow_ = MakePath(source_.run);
  if (source_.wide) wide_ = MakePath(chunk_);
}

// Eight chunks are as wide as all banks. A row of fewer is followed by others in the same line of
// banks; rows are told apart by their line.
Value StagedOperand::Swizzled(Value row, Value chunk) const {
  const int64_t line = std::min(row_chunks_, kLine);
  return arith::XOrIOp::create(kb_->b(), chunk, kb_->Rem(kb_->Div(row, kLine / line), line));
}

Value StagedOperand::PlaceOf(Value row, Value chunk) const {
  if (!panels_) return kb_->Add(kb_->Mul(row, row_chunks_), Swizzled(row, chunk));
  const int64_t rows = rows_are_own_ ? size_ : depth_;
  Value panel = kb_->Mul(kb_->Div(chunk, kLine), rows * kLine);
  Value in_panel = kb_->Add(kb_->Mul(row, kLine), Swizzled(row, kb_->Rem(chunk, kLine)));
  return kb_->Add(panel, in_panel);
}

Value StagedOperand::OwnAt(int64_t number, int64_t element) const {
  Value own = source_.along_depth ? kb_->Add(row_, number * rows_between())
                                  : kb_->Add(kb_->Mul(in_row_, chunk_), element);
  return kb_->Add(source_.first, own);
}

Value StagedOperand::DepthAt(int64_t number, int64_t element) const {
  return source_.along_depth ? kb_->Add(kb_->Mul(in_row_, chunk_), element)
                             : kb_->Add(row_, number * rows_between());
}

// What lies outside of the own is replaced by the last inside, and never stored.
StagedOperand::Path StagedOperand::MakePath(int64_t run) const {
  Path path{run, {}};
  auto add = [&](Value own, int64_t together) {
    if (!source_.whole) own = kb_->Min(own, kb_->Sub(source_.count, together));
    path.own_offsets.push_back(source_.own_offset(own));
  };
  if (source_.along_depth) {
    for (int64_t number = 0; number < per_thread_; ++number) add(OwnAt(number, 0), 1);
  } else {
    for (int64_t element = 0; element < chunk_; element += run) add(OwnAt(0, element), run);
  }
  return path;
}

StagedOperand::Piece StagedOperand::PieceAt(const Path& path, Value step, int64_t number,
                                            int64_t element, bool clamped) const {
  const int64_t in_run = element % path.run, first = element - in_run;
  Value all = source_.steps;
  Value depth = kb_->Add(step, DepthAt(number, first));
  Value inside;
  if (const auto known = ConstantOf(all); !known || *known % depth_ != 0) {
    inside = kb_->Less(depth, all);
    if (clamped) depth = kb_->Min(depth, kb_->Sub(all, source_.along_depth ? path.run : 1));
  }
  const size_t own = static_cast<size_t>(source_.along_depth ? number : first / path.run);
  Value offset = kb_->Add(path.own_offsets[own], source_.depth_offset(depth));
  return {kb_->Add(offset, in_run), inside};
}

Value StagedOperand::SharedAt(Value stage, int64_t number) const {
  Value offset = kb_->Add(kb_->Mul(stage, stage_bytes_), shared_offset_);
  const mlir::Type byte = kb_->b().getI8Type();
  // The exchange of chunks repeats within the rows that lie between a thread's chunks.
  const int64_t row_bytes = panels_ ? WarpgroupMatrix::kRowBytes : row_chunks_ * kChunkBytes;
  return kb_->At(kb_->At(shared_, offset, byte), number * rows_between() * row_bytes, byte);
}

void StagedOperand::Bring(Value step, Value stage) const {
  if (turned_) return BringTurned(step, stage);
  if (!source_.wide) return Bring(narrow_, step, stage);
  kb_->If(source_.wide, [&] { Bring(wide_, step, stage); }, [&] { Bring(narrow_, step, stage); });
}

void StagedOperand::Bring(const Path& path, Value step, Value stage) const {
  int64_t together = path.run;
  auto aligned = [&] {
    if (&path == &wide_) return true;
    const Piece piece = PieceAt(path, step, 0, together % chunk_, false);
    return KernelBuilder::AlignmentAt(piece.offset, element_bytes_) >= together * element_bytes_;
  };
  while (together > 1 && !aligned()) together /= 2;
  const int64_t bytes = together * element_bytes_;
  if (bytes < kLeastCopy) return BringByElements(path, step, stage);
  for (int64_t number = 0; number < per_thread_; ++number) {
    Value to = SharedAt(stage, number);
    for (int64_t i = 0; i < chunk_; i += together) {
      Value at = kb_->At(to, i * element_bytes_, kb_->b().getI8Type());
      Copy(at, PieceAt(path, step, number, i, false), bytes);
    }
  }
}

void StagedOperand::Copy(Value to, const Piece& piece, int64_t bytes) const {
  mlir::ImplicitLocOpBuilder& b = kb_->b();
  const mlir::Type i32 = b.getI32Type(), element = b.getIntegerType(8 * element_bytes_);
  auto constant = [&](int64_t value) -> Value {
    return arith::ConstantIntOp::create(b, i32, value);
  };
  const auto global = LLVM::LLVMPointerType::get(b.getContext(), kGlobalSpace);
  Value from = LLVM::AddrSpaceCastOp::create(b, global, source_.pointer);
  // Not "inbounds": of what is past the depth, nothing is read, and zeros are written.
  Value address =
      LLVM::GEPOp::create(b, global, element, from, llvm::ArrayRef<LLVM::GEPArg>{piece.offset});
  Value size = piece.inside ? kb_->Select(piece.inside, constant(bytes), constant(0)) : Value();
  NVVM::CpAsyncOp::create(
      b, to, address, static_cast<uint32_t>(bytes),
      bytes == kChunkBytes ? NVVM::LoadCacheModifierKind::CG : NVVM::LoadCacheModifierKind::CA,
      size);
}

// Four steps of depth, a chunk, of eight neighbours go to a warp's copy: it reads 32 bytes that lie
// together four times, and writes to each bank once.
void StagedOperand::ForTurned(
    Value stage,
    const std::function<void(int64_t row, Value depth, Value address)>& function) const {
  const mlir::Type byte = kb_->b().getI8Type();
  const int64_t between = threads_ / kWarp * kMatrix;
  Value in_chunk = kb_->Div(kb_->Rem(thread_, kWarp), kMatrix);
  Value in_stage = kb_->Add(kb_->Mul(stage, stage_bytes_), kb_->Mul(in_chunk, element_bytes_));
  for (int64_t chunk = 0; chunk < row_chunks_; ++chunk) {
    Value depth = kb_->Add(in_chunk, chunk * chunk_);
    // The exchange of chunks repeats within the rows that lie between a thread's.
    Value place = kb_->Mul(PlaceOf(row_, kb_->I64(chunk)), kChunkBytes);
    Value first = kb_->At(shared_, kb_->Add(in_stage, place), byte);
    for (int64_t row = 0; row < static_cast<int64_t>(turned_offsets_.size()); ++row) {
      function(row, depth, kb_->At(first, row * between * row_chunks_ * kChunkBytes, byte));
    }
  }
}

void StagedOperand::BringTurned(Value step, Value stage) const {
  const auto known = ConstantOf(source_.steps);
  const bool whole = known && *known % depth_ == 0;
  ForTurned(stage, [&](int64_t row, Value depth, Value address) {
    depth = kb_->Add(step, depth);
    Value inside = whole ? Value() : kb_->Less(depth, source_.steps);
    Value offset = kb_->Add(turned_offsets_[static_cast<size_t>(row)], source_.depth_offset(depth));
    Copy(address, {offset, inside}, element_bytes_);
  });
}

void StagedOperand::RoundBrought(Value stage) const {
  mlir::ImplicitLocOpBuilder& b = kb_->b();
  const mlir::Type i32 = b.getI32Type();
  if (turned_) {
    return ForTurned(stage, [&](int64_t, Value, Value address) {
      Value x = LLVM::LoadOp::create(b, i32, address, static_cast<unsigned>(element_bytes_));
      LLVM::StoreOp::create(b, RoundedToTf32(*kb_, x), address,
                            static_cast<unsigned>(element_bytes_));
    });
  }
  for (int64_t number = 0; number < per_thread_; ++number) {
    RoundChunkToTf32(*kb_, SharedAt(stage, number));
  }
}

// What no copy is aligned for, elements of 2 bytes, goes through registers.
void StagedOperand::BringByElements(const Path& path, Value step, Value stage) const {
  // So many chunks at a time have room in registers beside the sums.
  constexpr int64_t kTogether = 4;
  for (int64_t first = 0; first < per_thread_; first += kTogether) {
    BringByElements(path, step, stage, first, std::min(first + kTogether, per_thread_));
  }
}

void StagedOperand::BringByElements(const Path& path, Value step, Value stage, int64_t first,
                                    int64_t end) const {
  mlir::ImplicitLocOpBuilder& b = kb_->b();
  const mlir::Type i16 = b.getI16Type();
  std::vector<Values> chunks(static_cast<size_t>(per_thread_));
  for (int64_t number = first; number < end; ++number) {
    for (int64_t i = 0; i < chunk_; ++i) {
      const Piece piece = PieceAt(path, step, number, i, true);
      Value x = kb_->LoadAt(kb_->At(source_.pointer, piece.offset, i16), i16);
      if (piece.inside) x = kb_->Select(piece.inside, x, kb_->Zero(i16));
      chunks[static_cast<size_t>(number)].push_back(x);
    }
  }
  // Vectors are made after all the offsets: those may take branches, across which LLVM would carry
  // vectors in the making, whose other elements have no value yet.
  for (int64_t number = first; number < end; ++number) {
    Value chunk = kb_->Zero(mlir::VectorType::get({chunk_}, i16));
    for (int64_t i = 0; i < chunk_; ++i) {
      Value x = chunks[static_cast<size_t>(number)][static_cast<size_t>(i)];
      chunk = mlir::vector::InsertOp::create(b, x, chunk, i);
    }
    LLVM::StoreOp::create(b, chunk, SharedAt(stage, number), static_cast<unsigned>(kChunkBytes));
  }
}

// Of the four matrices, of eight rows of a chunk, that one instruction loads, the second of A
// begins eight rows down, the third a chunk of depth on; of B it is the other way round. Lane l has
// the address of row l % 8 of matrix l / 8.
void StagedOperand::SetWarp(Value first, int64_t size) {
  warp_size_ = size;
  Value lane = kb_->Rem(thread_, kWarp);
  Value row = kb_->Rem(lane, kMatrix);
  Value low = kb_->Rem(kb_->Div(lane, kMatrix), 2), high = kb_->Div(lane, 2 * kMatrix);
  Value own = is_left_ ? low : high, depth = is_left_ ? high : low;
  auto add = [&](Value at_row, Value chunk) {
    fragment_offsets_.push_back(kb_->Mul(PlaceOf(at_row, chunk), kChunkBytes));
  };
  if (rows_are_own_) {
    Value at = kb_->Add(kb_->Add(first, row), kb_->Mul(own, kMatrix));
    for (int64_t part = 0; part < row_chunks_ / 2; ++part) {
      add(at, kb_->Add(depth, 2 * part));
    }
  } else {
    Value at = kb_->Add(row, kb_->Mul(depth, kMatrix));
    for (int64_t i = 0; i < size / 16; ++i) {
      add(at, kb_->Add(kb_->Add(kb_->Div(first, chunk_), own), 2 * i));
    }
  }
}

std::vector<Values> StagedOperand::LoadFragments(Value stage, int64_t part) const {
  mlir::ImplicitLocOpBuilder& b = kb_->b();
  const mlir::Type i32 = b.getI32Type(), byte = b.getI8Type();
  const auto four = LLVM::LLVMStructType::getLiteral(b.getContext(), {i32, i32, i32, i32});
  const auto shape = NVVM::LdStMatrixShapeAttr::get(b.getContext(), 8, 8);
  const auto layout = rows_are_own_ ? NVVM::MMALayout::row : NVVM::MMALayout::col;
  // What lies between fragments that differ by a constant.
  const int64_t apart = 16 * row_chunks_ * kChunkBytes;
  Value stage_offset = kb_->Mul(stage, stage_bytes_);
  std::vector<Values> fragments;
  for (int64_t i = 0; i < warp_size_ / 16; ++i) {
    const int64_t variant = rows_are_own_ ? part : i, times = rows_are_own_ ? i : part;
    Value offset = kb_->Add(stage_offset, fragment_offsets_[static_cast<size_t>(variant)]);
    Value address = kb_->At(kb_->At(shared_, offset, byte), times * apart, byte);
    Value loaded =
        NVVM::LdMatrixOp::create(b, four, address, 4, layout, shape, NVVM::LdStMatrixEltType::B16);
    Values fragment;
    for (int64_t r = 0; r < 4; ++r) {
      Value bits = LLVM::ExtractValueOp::create(b, loaded, r);
      fragment.push_back(element_bytes_ == 4 ? RoundedToTf32(*kb_, bits) : bits);
    }
    fragments.push_back(std::move(fragment));
  }
  return fragments;
}

WarpgroupMatrix StagedOperand::matrix() const {
  return {.shared = shared_,
          .stage_bytes = stage_bytes_,
          .depth = depth_,
          .rows_are_own = rows_are_own_};
}

}  // namespace weft
