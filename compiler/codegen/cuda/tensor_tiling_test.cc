#include "compiler/codegen/cuda/tensor_tiling.h"

#include <utility>

#include "gtest/gtest.h"

namespace weft {
namespace {

TensorTiling Choose(const char* target, const DimExpr& rows, const DimExpr& columns,
                    const DimExpr& depth, const DimExpr& batches = 1, int64_t element_bytes = 2) {
  ContractionShape shape;
  shape.batches = batches;
  shape.rows = rows;
  shape.columns = columns;
  shape.segments = 1;
  shape.depth = depth;
  return ChooseTensorTiling(shape, element_bytes, *Target::Parse(target));
}

std::pair<int64_t, int64_t> TileOf(const TensorTiling& tiling) {
  return {tiling.rows, tiling.columns};
}

TEST(TensorTilingTest, LargeResultsHaveLargeTiles) {
  const TensorTiling tiling = Choose("cuda:sm_80", 4096, 4096, 4096);
  EXPECT_EQ(tiling, (TensorTiling{128, 256, 64, 64, false, 4}));
  EXPECT_EQ(tiling.threads(), 256);
  EXPECT_EQ(tiling.shared_bytes(), 96 << 10);
  // Where few columns need no more than one tile.
  EXPECT_EQ(TileOf(Choose("cuda:sm_80", 55296, 128, 64)), std::pair(int64_t{256}, int64_t{128}));
  EXPECT_EQ(TileOf(Choose("cuda:sm_80", 64, 128, 64, 4096)), std::pair(int64_t{64}, int64_t{128}));
}

TEST(TensorTilingTest, SmallOnesHaveAsManyTilesAsTheGpuCanTake) {
  EXPECT_EQ(TileOf(Choose("cuda:sm_80", 512, 512, 512)), std::pair(int64_t{64}, int64_t{64}));
  EXPECT_EQ(TileOf(Choose("cuda:sm_80", 256, 256, 512)), std::pair(int64_t{32}, int64_t{32}));
  EXPECT_EQ(TileOf(Choose("cuda:sm_80", 8, 4096, 1024)), std::pair(int64_t{32}, int64_t{64}));
  // One round of tiles on the GPU with more multiprocessors, two on the other.
  EXPECT_EQ(TileOf(Choose("cuda:sm_90", 1024, 1024, 512)), std::pair(int64_t{128}, int64_t{64}));
  EXPECT_EQ(TileOf(Choose("cuda:sm_80", 1024, 1024, 512)), std::pair(int64_t{128}, int64_t{128}));
}

TEST(TensorTilingTest, OpenSizesAreTakenForMiddling) {
  const DimExpr n = DimExpr::Symbol("n");
  EXPECT_EQ(TileOf(Choose("cuda:sm_80", n, 1024, 512)),
            TileOf(Choose("cuda:sm_80", 1024, 1024, 512)));
  EXPECT_EQ(TileOf(Choose("cuda:sm_80", 128, 128, 64, n)),
            TileOf(Choose("cuda:sm_80", 128, 128, 64, 16)));
  EXPECT_NE(TileOf(Choose("cuda:sm_80", 128, 128, 64, n)),
            TileOf(Choose("cuda:sm_80", 128, 128, 64, 1)));
  EXPECT_EQ(Choose("cuda:sm_80", 4096, 4096, n).stages, 4);
}

TEST(TensorTilingTest, Warpgroups) {
  const TensorTiling large = Choose("cuda:sm_90a", 4096, 4096, 4096);
  EXPECT_EQ(large, (TensorTiling{128, 256, 64, 256, true, 4}));
  EXPECT_EQ(large.threads(), 256);
  EXPECT_EQ(large.shared_bytes(), 192 << 10);
  EXPECT_EQ(large.ahead(), 2);
  EXPECT_EQ(Choose("cuda:sm_90a", 4096, 4096, 64).stages, 3);
  // They have 64 rows.
  EXPECT_FALSE(Choose("cuda:sm_90a", 32, 8192, 4096).warpgroups);
  EXPECT_FALSE(Choose("cuda:sm_90", 4096, 4096, 4096).warpgroups);
}

// The warpgroup that brings operands, and what it waits at. The stages are the next tile's as well.
TEST(TensorTilingTest, Producers) {
  ContractionShape shape;
  shape.batches = shape.segments = 1;
  shape.rows = shape.columns = 4096;
  shape.depth = 64;
  const TensorTiling large = ChooseTensorTiling(shape, 2, *Target::Parse("cuda:sm_90a"), true);
  EXPECT_EQ(TileOf(large), std::pair(int64_t{128}, int64_t{256}));
  EXPECT_TRUE(large.producer);
  EXPECT_EQ(large.threads(), 384);
  EXPECT_EQ(large.stages, 4);
  EXPECT_EQ(large.stage_bytes(), 192 << 10);
  EXPECT_EQ(large.shared_bytes(), (192 << 10) + 64);
  shape.rows = 32;
  EXPECT_FALSE(ChooseTensorTiling(shape, 2, *Target::Parse("cuda:sm_90a"), true).producer);
  EXPECT_FALSE(ChooseTensorTiling(shape, 2, *Target::Parse("cuda:sm_90"), true).producer);
}

// A block of any GPU that runs code for the target has so much shared memory.
TEST(TensorTilingTest, WhatTheSmallestGpuHas) {
  for (const auto& [target, bytes] :
       {std::pair("cuda:sm_80", 99 << 10), {"cuda:sm_90", 99 << 10}, {"cuda:sm_90a", 227 << 10}}) {
    for (int64_t rows = 1; rows < 10000; rows *= 3) {
      for (int64_t columns = 1; columns < 10000; columns *= 3) {
        for (int64_t element_bytes : {2, 4}) {
          EXPECT_LE(Choose(target, rows, columns, 4096, 1, element_bytes).shared_bytes(), bytes);
          ContractionShape shape;
          shape.batches = shape.segments = 1;
          shape.rows = rows;
          shape.columns = columns;
          shape.depth = 4096;
          const Target parsed = *Target::Parse(target);
          EXPECT_LE(ChooseTensorTiling(shape, 2, parsed, true).shared_bytes(), bytes);
        }
      }
    }
  }
}

// As many bytes of depth at a time, so half of the steps.
TEST(TensorTilingTest, ElementsOfFourBytes) {
  for (const char* target : {"cuda:sm_80", "cuda:sm_90a"}) {
    for (int64_t size : {40, 300, 1024, 4096}) {
      TensorTiling two = Choose(target, size, size, 4096);
      const TensorTiling four = Choose(target, size, size, 4096, 1, 4);
      EXPECT_EQ(four.depth() * 2, two.depth());
      EXPECT_EQ(four.shared_bytes(), two.shared_bytes());
      two.element_bytes = 4;
      EXPECT_EQ(four, two);
    }
  }
  EXPECT_EQ(Choose("cuda:sm_80", 64, 64, 32, 1, 4).stages, 3);
}

TEST(TensorTilingTest, NoMoreStagesThanSteps) {
  EXPECT_EQ(Choose("cuda:sm_80", 64, 64, 32).stages, 2);
  EXPECT_EQ(Choose("cuda:sm_80", 64, 64, 64).stages, 3);
  EXPECT_EQ(Choose("cuda:sm_80", 64, 64, 4096).stages, 4);
  EXPECT_EQ(Choose("cuda:sm_80", 64, 64, 0).stages, 2);
}

}  // namespace
}  // namespace weft
