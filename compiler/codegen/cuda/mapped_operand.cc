#include "compiler/codegen/cuda/mapped_operand.h"

#include <vector>

#include "compiler/codegen/cuda/thread.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

namespace weft {

using mlir::Value;
namespace arith = mlir::arith;
namespace LLVM = mlir::LLVM;
namespace NVVM = mlir::NVVM;

namespace {

constexpr int64_t kElementBytes = 2, kAlignment = 16 / kElementBytes;
// Of a tensor that is copied in boxes.
constexpr int64_t kMostSize = INT32_MAX, kMostStride = (int64_t{1} << 40) / kElementBytes;

bool Fits(const DimExpr& size) { return size.Constant().value_or(0) <= kMostSize; }
bool FitsAsStride(const DimExpr& stride) {
  return DimExpr::DivideExactly(stride, kAlignment) && stride.Constant().value_or(0) < kMostStride;
}

bool HasBatches(const ContractionShape& shape, const MatrixStrides& strides) {
  return shape.whole_batches().Constant() != 1 && strides.batch != DimExpr(0);
}

// Whether steps of depth are neighbours, rather than own.
bool LiesAlongDepth(const MatrixStrides& strides) {
  return strides.depth == DimExpr(1) && FitsAsStride(strides.own);
}

bool Serves(const ContractionShape& shape, const MatrixStrides& strides) {
  const bool lies =
      LiesAlongDepth(strides) || (strides.own == DimExpr(1) && FitsAsStride(strides.depth));
  return lies && (!HasBatches(shape, strides) || FitsAsStride(strides.batch));
}

}  // namespace

bool MappedOperand::Serve(const ContractionShape& shape, int64_t element_bytes) {
  // A box of a part's last step has nothing of the next part.
  static_assert(ContractionShape::kPartMultiple % (WarpgroupMatrix::kRowBytes / kElementBytes) ==
                0);
  return element_bytes == kElementBytes && shape.matrices && shape.depth.Constant() != 0 &&
         Fits(shape.batches) && Fits(shape.rows) && Fits(shape.columns) && Fits(shape.depth) &&
         Serves(shape, shape.matrices->left) && Serves(shape, shape.matrices->right);
}

MappedOperand MappedOperand::Left(const ContractionTiles& tiles, const TensorTiling& tiling) {
  return MappedOperand(tiles, tiling, /*is_left=*/true);
}

MappedOperand MappedOperand::Right(const ContractionTiles& tiles, const TensorTiling& tiling) {
  return MappedOperand(tiles, tiling, /*is_left=*/false);
}

// A box is as wide as a panel of shared memory: 128 bytes of depth, of all own; or of own, of all
// the step's depth.
MappedOperand::MappedOperand(const ContractionTiles& tiles, const TensorTiling& tiling,
                             bool is_left)
    : tiles_(&tiles), is_left_(is_left), size_(is_left ? tiling.rows : tiling.columns) {
  KernelBuilder& kb = tiles.kb();
  const ContractionShape& shape = tiles.shape();
  const cpu::Contraction& c = tiles.contraction();
  const MatrixStrides& strides = is_left ? shape.matrices->left : shape.matrices->right;
  const DimExpr& own = is_left ? shape.rows : shape.columns;
  const DimExpr bytes = kElementBytes;
  const bool along_depth = LiesAlongDepth(strides);
  has_batches_ = HasBatches(shape, strides);

  KernelMap map = {.buffer = 0,
                   .element_bytes = kElementBytes,
                   .swizzle_bytes = static_cast<uint32_t>(WarpgroupMatrix::kRowBytes),
                   .rank = has_batches_ ? 3u : 2u,
                   .box = {static_cast<uint32_t>(WarpgroupMatrix::kRowBytes / kElementBytes)}};
  map.box[1] = static_cast<uint32_t>(along_depth ? size_ : tiling.depth());
  std::vector<DimExpr> numbers = {along_depth ? shape.depth : own, along_depth ? own : shape.depth};
  if (has_batches_) {
    map.box[2] = 1;
    numbers.push_back(shape.whole_batches());
  }
  numbers.push_back((along_depth ? strides.own : strides.depth) * bytes);
  if (has_batches_) numbers.push_back(strides.batch * bytes);
  map_ = kb.TensorMap(is_left ? c.left : c.right, map, numbers);

  // The stages of A, then those of B.
  const int64_t before = is_left ? 0 : tiling.stages * tiling.rows * tiling.step_bytes();
  matrix_ = {.shared = kb.At(kb.BlockScratch(), before, kb.b().getI8Type()),
             .stage_bytes = size_ * tiling.step_bytes(),
             .depth = tiling.depth(),
             .rows_are_own = along_depth};
}

void MappedOperand::Prefetch() const {
  NVVM::PrefetchOp::create(tiles_->kb().b(), NVVM::PrefetchCacheLevelAttr(),
                           NVVM::CacheEvictionPriorityAttr(), map_, Value(), /*tensormap=*/true);
}

void MappedOperand::Bring(const ContractionTiles::Tile& tile, Value step, Value stage,
                          Value barrier) const {
  // Of all shared memory of a cluster, which is this block's where there are none.
  constexpr unsigned kClusterSpace = 7;
  KernelBuilder& kb = tiles_->kb();
  mlir::ImplicitLocOpBuilder& b = kb.b();
  const auto i32 = [&](Value x) -> Value { return arith::TruncIOp::create(b, b.getI32Type(), x); };
  Value own = is_left_ ? tile.first_row : tile.first_column;
  Value depth = kb.Add(tile.first_step, step), batch = tile.batch;
  if (tiles_->shape().parts > 1) batch = kb.Rem(batch, kb.Size(tiles_->shape().whole_batches()));
  Value to = kb.At(matrix_.shared, kb.Mul(stage, matrix_.stage_bytes), b.getI8Type());
  const int64_t width = WarpgroupMatrix::kRowBytes / kElementBytes;
  const int64_t panels = matrix_.rows_are_own ? 1 : size_ / width;
  for (int64_t panel = 0; panel < panels; ++panel) {
    std::vector<Value> at;
    if (matrix_.rows_are_own) {
      at = {i32(depth), i32(own)};
    } else {
      at = {i32(kb.Add(own, panel * width)), i32(depth)};
    }
    if (has_batches_) at.push_back(i32(batch));
    Value place = kb.At(to, panel * matrix_.panel_bytes(), b.getI8Type());
    place = LLVM::AddrSpaceCastOp::create(
        b, LLVM::LLVMPointerType::get(b.getContext(), kClusterSpace), place);
    NVVM::CpAsyncBulkTensorGlobalToSharedClusterOp::create(
        b, place, map_, at, barrier, /*im2colOffsets=*/mlir::ValueRange(),
        /*multicastMask=*/Value(), /*l2CacheHint=*/Value(), NVVM::TMALoadMode::TILE,
        /*isCTAOnly=*/false, /*group=*/NVVM::CTAGroupKindAttr(), /*predicate=*/Value());
  }
}

}  // namespace weft
