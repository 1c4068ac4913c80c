#include "compiler/codegen/cuda/mapped_operand.h"

#include <array>

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

using Windows = ContractionShape::Windows;

// Of a tensor that is copied in boxes.
constexpr int64_t kAlignment = 16, kMostSize = INT32_MAX, kMostStride = int64_t{1} << 40;
// Of windows of images: their corners, the pixels in them, and what lies between them.
constexpr int64_t kLeastCorner = -128, kMostCorner = 127, kMostOffset = 255, kMostBetween = 8;
// Elements of windows, and how many of them are a step of depth.
constexpr int64_t kHalfBytes = 2, kStep = WarpgroupMatrix::kRowBytes / kHalfBytes;

bool Fits(const DimExpr& size) { return size.Constant().value_or(0) <= kMostSize; }
bool FitsAsStride(const DimExpr& stride, int64_t element_bytes) {
  return DimExpr::DivideExactly(stride, kAlignment / element_bytes) &&
         stride.Constant().value_or(0) < kMostStride / element_bytes;
}

bool HasBatches(const ContractionShape& shape, const MatrixStrides& strides) {
  return shape.whole_batches().Constant() != 1 && strides.batch != DimExpr(0);
}

// Whether steps of depth are neighbours, rather than own.
bool LiesAlongDepth(const MatrixStrides& strides, int64_t element_bytes) {
  return strides.depth == DimExpr(1) && FitsAsStride(strides.own, element_bytes);
}

bool Serves(const ContractionShape& shape, const MatrixStrides& strides, int64_t element_bytes) {
  const bool lies_along_own = element_bytes == kHalfBytes && strides.own == DimExpr(1) &&
                              FitsAsStride(strides.depth, element_bytes);
  return (LiesAlongDepth(strides, element_bytes) || lies_along_own) &&
         (!HasBatches(shape, strides) || FitsAsStride(strides.batch, element_bytes));
}

// A pixel's channels in whole steps of depth.
int64_t StepsOfPixel(const Windows& windows) {
  return (*windows.channels.Constant() + kStep - 1) / kStep * kStep;
}
int64_t PixelsOfWindow(const Windows& windows) {
  return *windows.filter_height.Constant() * *windows.filter_width.Constant();
}

// Along lines or columns.
bool CornersFit(const DimExpr& extent, int64_t pixels, int64_t stride, int64_t dilation,
                int64_t before, int64_t after) {
  if (pixels - 1 > kMostOffset || (pixels > 1 && dilation > kMostOffset)) return false;
  const int64_t reach = (pixels - 1) * dilation;
  // Of an image without pixels, which has no map, there must be no windows, of zeros alone.
  if (extent.Constant().value_or(0) < 1 && before + after > reach) return false;
  return stride <= kMostBetween && reach <= kMostOffset && -before >= kLeastCorner &&
         after - reach >= kLeastCorner && after - reach <= kMostCorner;
}

bool WindowsServe(const ContractionShape& shape) {
  const Windows& windows = *shape.windows;
  const auto channels = windows.channels.Constant(), height = windows.filter_height.Constant(),
             width = windows.filter_width.Constant();
  // No more than a quarter of what is brought and multiplied may be zeros that stand for channels.
  if (!channels || !height || !width || *channels < 1 || *height < 1 || *width < 1 ||
      !Fits(windows.channels) || 4 * *channels < 3 * StepsOfPixel(windows)) {
    return false;
  }
  // Rows of a filter's gradient are cut into panels, each of one pixel; parts of a convolution's
  // depth end where they do, whatever comes as zeros.
  const bool whole = *channels % kStep == 0;
  if ((windows.are_depth || shape.parts > 1) && !whole) return false;
  const auto& [above, below, left, right] = windows.padding;
  const DimExpr line = windows.width * windows.channels;
  return CornersFit(windows.height, *height, windows.strides[0], windows.dilations[0], above,
                    below) &&
         CornersFit(windows.width, *width, windows.strides[1], windows.dilations[1], left, right) &&
         FitsAsStride(windows.channels, kHalfBytes) && FitsAsStride(line, kHalfBytes) &&
         FitsAsStride(windows.height * line, kHalfBytes) &&
         FitsAsStride(shape.columns, kHalfBytes) && Fits(windows.images) && Fits(windows.height) &&
         Fits(windows.width);
}

}  // namespace

bool MappedOperand::Serve(const ContractionShape& shape, int64_t element_bytes) {
  // A box of a part's last step has nothing of the next part.
  static_assert(ContractionShape::kPartMultiple % kStep == 0);
  const DimExpr depth = shape.segments * shape.depth;
  if (depth.Constant() == 0 || !Fits(depth) || !Fits(shape.batches) || !Fits(shape.rows) ||
      !Fits(shape.columns)) {
    return false;
  }
  if (shape.windows) return element_bytes == kHalfBytes && WindowsServe(shape);
  return shape.matrices && Serves(shape, shape.matrices->left, element_bytes) &&
         Serves(shape, shape.matrices->right, element_bytes);
}

MappedOperand MappedOperand::Left(const ContractionTiles& tiles, const TensorTiling& tiling) {
  return MappedOperand(tiles, tiling, /*is_left=*/true);
}

MappedOperand MappedOperand::Right(const ContractionTiles& tiles, const TensorTiling& tiling) {
  return MappedOperand(tiles, tiling, /*is_left=*/false);
}

Value MappedOperand::Steps(const ContractionTiles& tiles, const ContractionTiles::Tile& tile) {
  const auto& windows = tiles.shape().windows;
  if (!windows || windows->are_depth || *windows->channels.Constant() % kStep == 0) {
    return tile.steps;
  }
  return tiles.kb().I64(PixelsOfWindow(*windows) * StepsOfPixel(*windows));
}

// A box is as wide as a row of a stage: 128 bytes of depth, of all own; or of own, of all the
// step's depth.
MappedOperand::MappedOperand(const ContractionTiles& tiles, const TensorTiling& tiling,
                             bool is_left)
    : tiles_(&tiles),
      is_left_(is_left),
      size_(is_left ? tiling.rows : tiling.columns),
      element_bytes_(tiling.element_bytes) {
  KernelBuilder& kb = tiles.kb();
  const cpu::Contraction& c = tiles.contraction();
  // The stages of A, then those of B.
  const int64_t before = is_left ? 0 : tiling.stages * tiling.rows * tiling.step_bytes();
  matrix_.shared = kb.At(kb.BlockScratch(), before, kb.b().getI8Type());
  matrix_.stage_bytes = size_ * tiling.step_bytes();
  matrix_.depth = tiling.depth();
  const auto& windows = tiles.shape().windows;
  std::vector<DimExpr> numbers;
  KernelMap map;
  if (windows && is_left) {
    kind_ = Kind::kWindows;
    map = MapOfWindows(&numbers);
  } else if (windows && !windows->are_depth) {
    kind_ = Kind::kFilter;
    map = MapOfFilter(&numbers);
  } else {
    map = MapOfMatrix(&numbers);
  }
  map.element_bytes = static_cast<uint32_t>(element_bytes_);
  map.swizzle_bytes = static_cast<uint32_t>(WarpgroupMatrix::kRowBytes);
  map.box[0] = static_cast<uint32_t>(width());
  map.box[1] = static_cast<uint32_t>(matrix_.rows_are_own ? size_ : matrix_.depth);
  map_ = kb.TensorMap(is_left ? c.left : c.right, map, numbers);
}

KernelMap MappedOperand::MapOfMatrix(std::vector<DimExpr>* numbers) {
  const ContractionShape& shape = tiles_->shape();
  const DimExpr& own = is_left_ ? shape.rows : shape.columns;
  const DimExpr depth = shape.segments * shape.depth, bytes = element_bytes_;
  // The right operand of a filter's gradient has a row for each window.
  MatrixStrides strides = {.batch = 0, .own = 1, .depth = shape.columns};
  if (shape.matrices) strides = is_left_ ? shape.matrices->left : shape.matrices->right;
  const bool along_depth = LiesAlongDepth(strides, element_bytes_);
  matrix_.rows_are_own = along_depth;
  has_batches_ = HasBatches(shape, strides);
  KernelMap map;
  map.rank = has_batches_ ? 3 : 2;
  *numbers = {along_depth ? depth : own, along_depth ? own : depth};
  if (has_batches_) {
    map.box[2] = 1;
    numbers->push_back(shape.whole_batches());
  }
  numbers->push_back((along_depth ? strides.own : strides.depth) * bytes);
  if (has_batches_) numbers->push_back(strides.batch * bytes);
  return map;
}

KernelMap MappedOperand::MapOfWindows(std::vector<DimExpr>* numbers) {
  const Windows& windows = *tiles_->shape().windows;
  matrix_.rows_are_own = !windows.are_depth;
  KernelMap map;
  map.rank = KernelMap::kRankOfImages;
  map.of_images = true;
  const auto& [above, below, left, right] = windows.padding;
  const int64_t before[] = {left, above}, after[] = {right, below},
                pixels[] = {*windows.filter_width.Constant(), *windows.filter_height.Constant()};
  for (size_t i = 0; i < 2; ++i) {
    const int64_t reach = (pixels[i] - 1) * windows.dilations[1 - i];
    map.lower_corner[i] = static_cast<int32_t>(-before[i]);
    map.upper_corner[i] = static_cast<int32_t>(after[i] - reach);
    map.element_strides[i] = static_cast<uint32_t>(windows.strides[1 - i]);
  }
  const DimExpr pixel = windows.channels * DimExpr(element_bytes_), line = windows.width * pixel;
  *numbers = {windows.channels,     windows.width, windows.height, windows.images, pixel, line,
              windows.height * line};
  return map;
}

KernelMap MappedOperand::MapOfFilter(std::vector<DimExpr>* numbers) {
  const ContractionShape& shape = tiles_->shape();
  const Windows& windows = *shape.windows;
  const DimExpr row = shape.columns * DimExpr(element_bytes_);
  KernelMap map;
  map.rank = 3;
  map.box[2] = 1;
  *numbers = {shape.columns, windows.channels, PixelsOfWindow(windows), row,
              windows.channels * row};
  return map;
}

void MappedOperand::Prefetch() const {
  NVVM::PrefetchOp::create(tiles_->kb().b(), NVVM::PrefetchCacheLevelAttr(),
                           NVVM::CacheEvictionPriorityAttr(), map_, Value(), /*tensormap=*/true);
}

MappedOperand::WindowPlace MappedOperand::WindowAt(Value window) const {
  KernelBuilder& kb = tiles_->kb();
  const Windows& windows = *tiles_->shape().windows;
  // Where there are no windows, tiles of a filter's gradient have no steps.
  Value out_width = kb.Max(kb.Size(windows.out_width), 1);
  Value out_height = kb.Max(kb.Size(windows.out_height), 1);
  Value lines = kb.Div(window, out_width);
  return {kb.Rem(window, out_width), kb.Rem(lines, out_height), kb.Div(lines, out_height)};
}

MappedOperand::WindowPlace MappedOperand::FirstWindows(const ContractionTiles::Tile& tile) const {
  if (kind_ != Kind::kWindows) return {};
  return WindowAt(depth_is_windows() ? tile.first_step : tile.first_row);
}

MappedOperand::WindowPlace MappedOperand::StepOfWindows() const {
  if (!depth_is_windows()) return {};
  return WindowAt(tiles_->kb().I64(matrix_.depth));
}

// As numbers are added, whose digits are column and line: one is carried at most.
MappedOperand::WindowPlace MappedOperand::NextWindows(const WindowPlace& now,
                                                      const WindowPlace& step) const {
  if (!depth_is_windows()) return now;
  KernelBuilder& kb = tiles_->kb();
  const Windows& windows = *tiles_->shape().windows;
  const DimExpr* const bases[] = {&windows.out_width, &windows.out_height};
  WindowPlace next;
  for (size_t i = 0; i < now.size(); ++i) next.push_back(kb.Add(now[i], step[i]));
  for (size_t i = 0; i < 2; ++i) {
    Value base = kb.Size(*bases[i]), fits = kb.Less(next[i], base);
    next[i + 1] = kb.Select(fits, next[i + 1], kb.Add(next[i + 1], 1));
    next[i] = kb.Select(fits, next[i], kb.Sub(next[i], base));
  }
  return next;
}

MappedOperand::Place MappedOperand::PlaceAt(Value own, Value depth, Value batch,
                                            const WindowPlace& windows) const {
  KernelBuilder& kb = tiles_->kb();
  if (kind_ == Kind::kWindows) {
    return PlaceInWindows(windows, depth_is_windows() ? own : depth);
  }
  if (kind_ == Kind::kFilter) {
    const int64_t steps = StepsOfPixel(*tiles_->shape().windows);
    return {{own, kb.Rem(depth, steps), kb.Div(depth, steps)}, {}};
  }
  Place place;
  place.coordinates = {own, depth};
  if (matrix_.rows_are_own) place.coordinates = {depth, own};
  if (has_batches_) place.coordinates.push_back(batch);
  return place;
}

MappedOperand::Place MappedOperand::PlaceInWindows(const WindowPlace& at, Value element) const {
  KernelBuilder& kb = tiles_->kb();
  const Windows& windows = *tiles_->shape().windows;
  Value column = kb.Mul(at[0], windows.strides[1]), line = kb.Mul(at[1], windows.strides[0]);
  const int64_t steps = StepsOfPixel(windows), width = *windows.filter_width.Constant();
  // Rows of a tile may pass the window's last element.
  Value pixel = kb.Div(element, steps);
  if (windows.are_depth) pixel = kb.Min(pixel, kb.I64(PixelsOfWindow(windows) - 1));
  return {{kb.Rem(element, steps), kb.Sub(column, windows.padding[2]),
           kb.Sub(line, windows.padding[0]), at[2]},
          {kb.Mul(kb.Rem(pixel, width), windows.dilations[1]),
           kb.Mul(kb.Div(pixel, width), windows.dilations[0])}};
}

void MappedOperand::Bring(const ContractionTiles::Tile& tile, Value step,
                          const WindowPlace& windows, Value stage, Value barrier) const {
  // Of all shared memory of a cluster, which is this block's where there are none.
  constexpr unsigned kClusterSpace = 7;
  KernelBuilder& kb = tiles_->kb();
  mlir::ImplicitLocOpBuilder& b = kb.b();
  const auto narrow = [&](const std::vector<Value>& wide, mlir::Type type) {
    std::vector<Value> values;
    for (Value x : wide) values.push_back(arith::TruncIOp::create(b, type, x));
    return values;
  };
  Value own = is_left_ ? tile.first_row : tile.first_column;
  Value depth = kb.Add(tile.first_step, step), batch = tile.batch;
  if (tiles_->shape().parts > 1) batch = kb.Rem(batch, kb.Size(tiles_->shape().whole_batches()));
  Value to = kb.At(matrix_.shared, kb.Mul(stage, matrix_.stage_bytes), b.getI8Type());
  const int64_t panels = matrix_.rows_are_own ? 1 : size_ / width();
  for (int64_t panel = 0; panel < panels; ++panel) {
    const Place at = PlaceAt(kb.Add(own, panel * width()), depth, batch, windows);
    Value place = kb.At(to, panel * matrix_.panel_bytes(), b.getI8Type());
    place = LLVM::AddrSpaceCastOp::create(
        b, LLVM::LLVMPointerType::get(b.getContext(), kClusterSpace), place);
    NVVM::CpAsyncBulkTensorGlobalToSharedClusterOp::create(
        b, place, map_, narrow(at.coordinates, b.getI32Type()), barrier,
        narrow(at.offsets, b.getI16Type()), /*multicastMask=*/Value(), /*l2CacheHint=*/Value(),
        kind_ == Kind::kWindows ? NVVM::TMALoadMode::IM2COL : NVVM::TMALoadMode::TILE,
        /*isCTAOnly=*/false, /*group=*/NVVM::CTAGroupKindAttr(), /*predicate=*/Value());
  }
}

}  // namespace weft
