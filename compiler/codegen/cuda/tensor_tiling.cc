#include "compiler/codegen/cuda/tensor_tiling.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "compiler/codegen/estimate.h"

namespace weft {
namespace {

constexpr int64_t kMostStages = 4;
// Of a contraction of an open number, how many there are.
constexpr int64_t kOpenBatches = 16;

// Per cycle and multiprocessor: products of warps and of warpgroups, of elements of 2 bytes, and
// bytes from the second-level cache. These are of the largest GPUs of a generation.
constexpr double kWarpProducts = 1024, kGroupProducts = 2048, kCacheBytes = 32;
// Cycles of a step of depth below which no schedule comes.
constexpr double kLeastCycles = 4;

// Products of warpgroups are of 9.0 alone: later generations have others.
bool HasWarpgroupProducts(const Target& target) {
  return target.sm == 90 && target.generation_only;
}

// Shared memory of a block. Later generations run what is not for one alone, and the smallest GPUs
// of them (8.6, 8.9, 12.0) have the least.
int64_t SharedBytes(const Target& target) {
  return (HasWarpgroupProducts(target) ? 227 : 99) << 10;
}

// From large to small; a part has at most 64 x 64 sums for each warp, 128 registers of each thread.
constexpr TensorTiling kWarpTilings[] = {
    {128, 256, 64, 64}, {256, 128, 64, 64}, {128, 128, 64, 32}, {128, 64, 64, 32},
    {64, 128, 64, 32},  {64, 64, 32, 32},   {32, 64, 16, 32},   {32, 32, 16, 16},
};
constexpr TensorTiling kGroupTilings[] = {
    {128, 256, 64, 256, true}, {256, 128, 128, 128, true}, {128, 128, 64, 128, true},
    {128, 64, 64, 64, true},   {64, 128, 64, 128, true},   {64, 64, 64, 64, true},
    {32, 64, 16, 32},          {32, 32, 16, 16},
};

std::span<const TensorTiling> TilingsFor(const Target& target) {
  if (HasWarpgroupProducts(target)) return kGroupTilings;
  return kWarpTilings;
}

double CyclesOfDepth(const ContractionShape& shape, const TensorTiling& tiling,
                     int64_t processors) {
  // In doubles, which no size overflows.
  auto tiles = [](const DimExpr& size, int64_t tile) {
    return std::ceil(static_cast<double>(Estimate(size)) / static_cast<double>(tile));
  };
  const auto batches = static_cast<double>(shape.batches.Constant().value_or(kOpenBatches));
  const double blocks =
      batches * tiles(shape.rows, tiling.rows) * tiles(shape.columns, tiling.columns);
  const double products = static_cast<double>(tiling.rows * tiling.columns) /
                          (tiling.warpgroups ? kGroupProducts : kWarpProducts);
  const double bytes = static_cast<double>(2 * (tiling.rows + tiling.columns)) / kCacheBytes;
  const double rounds = std::ceil(blocks / static_cast<double>(processors));
  return std::max(rounds * std::max(products, bytes), kLeastCycles);
}

}  // namespace

TensorTiling ChooseTensorTiling(const ContractionShape& shape, int64_t element_bytes,
                                const Target& target, bool mapped) {
  const std::span<const TensorTiling> tilings = TilingsFor(target);
  const TensorTiling* best = &tilings[0];
  for (const TensorTiling& tiling : tilings) {
    if (CyclesOfDepth(shape, tiling, target.multiprocessors) <
        CyclesOfDepth(shape, *best, target.multiprocessors)) {
      best = &tiling;
    }
  }
  TensorTiling tiling = *best;
  tiling.element_bytes = element_bytes;
  tiling.producer = mapped && tiling.warpgroups;
  tiling.stages = 1;
  const int64_t stage_bytes = tiling.shared_bytes();
  tiling.stages = std::min(kMostStages, SharedBytes(target) / stage_bytes);
  if (tiling.producer) return tiling;
  // No more than there are steps, and those to spare.
  const auto segments = shape.segments.Constant(), depth = shape.depth.Constant();
  if (segments && depth) {
    const int64_t steps = (*segments * *depth + tiling.depth() - 1) / tiling.depth();
    const int64_t spare = tiling.stages - tiling.ahead();
    tiling.stages = std::clamp<int64_t>(steps + spare, 1 + spare, tiling.stages);
  }
  return tiling;
}

}  // namespace weft
