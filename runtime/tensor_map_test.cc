#include "runtime/tensor_map.h"

#include <tuple>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace weft {
namespace {

using testing::IsNull;
using testing::StrEq;

// Rows of 128 bytes, 8 of them at a time, of each of several matrices.
constexpr KernelMap kMap = {
    .buffer = 0, .element_bytes = 2, .swizzle_bytes = 128, .rank = 3, .box = {64, 8, 1}};

const char* Changed(void (*change)(KernelMap&)) {
  KernelMap map = kMap;
  change(map);
  return CheckKernelMap(map);
}

TEST(TensorMap, WhatAMapStates) {
  EXPECT_THAT(CheckKernelMap(kMap), IsNull());
  EXPECT_THAT(Changed([](KernelMap& m) { m.rank = 0; }), StrEq("1 to 5 dimensions"));
  EXPECT_THAT(Changed([](KernelMap& m) { m.rank = 6; }), StrEq("1 to 5 dimensions"));
  for (const uint32_t bytes : {0u, 3u, 16u, 0xffffffffu}) {
    KernelMap map = kMap;
    map.element_bytes = bytes;
    EXPECT_THAT(CheckKernelMap(map), StrEq("elements of 1, 2, 4 or 8 bytes"));
  }
  EXPECT_THAT(Changed([](KernelMap& m) { m.swizzle_bytes = 16; }),
              StrEq("a swizzle of 0, 32, 64 or 128 bytes"));
  EXPECT_THAT(Changed([](KernelMap& m) { m.box[1] = 0; }),
              StrEq("a box of 1 to 256 elements each way"));
  EXPECT_THAT(Changed([](KernelMap& m) { m.box[1] = 257; }),
              StrEq("a box of 1 to 256 elements each way"));
  EXPECT_THAT(Changed([](KernelMap& m) { m.box[0] = 12; }),
              StrEq("rows of its box of a multiple of 16 bytes"));
  EXPECT_THAT(Changed([](KernelMap& m) { m.box[0] = 72; }),
              StrEq("rows of its box that are no longer than the swizzle"));
  EXPECT_THAT(Changed([](KernelMap& m) { m.swizzle_bytes = 0, m.box[0] = 256; }), IsNull());
  EXPECT_THAT(Changed([](KernelMap& m) { m.box[1] = m.box[2] = 256; }),
              StrEq("a box of at most 262144 bytes"));
}

// 16 channels of a pixel of up to 32 windows, two columns and one line apart.
constexpr KernelMap kImages = {.buffer = 0,
                               .element_bytes = 2,
                               .swizzle_bytes = 32,
                               .rank = 4,
                               .box = {16, 32},
                               .of_images = true,
                               .lower_corner = {-1, 0},
                               .upper_corner = {-1, -2},
                               .element_strides = {2, 1}};

TEST(TensorMap, WhatAMapOfImagesStates) {
  EXPECT_THAT(CheckKernelMap(kImages), IsNull());
  const auto changed = [](void (*change)(KernelMap&)) {
    KernelMap map = kImages;
    change(map);
    return CheckKernelMap(map);
  };
  EXPECT_THAT(changed([](KernelMap& m) { m.rank = 3; }), StrEq("images of 4 dimensions"));
  EXPECT_THAT(changed([](KernelMap& m) { m.rank = 5; }), StrEq("images of 4 dimensions"));
  for (const int32_t corner : {-129, 128, INT32_MIN, INT32_MAX}) {
    for (const size_t i : {0, 1}) {
      KernelMap lower = kImages, upper = kImages;
      lower.lower_corner[i] = upper.upper_corner[i] = corner;
      EXPECT_THAT(CheckKernelMap(lower), StrEq("corners from -128 to 127"));
      EXPECT_THAT(CheckKernelMap(upper), StrEq("corners from -128 to 127"));
    }
  }
  for (const uint32_t stride : {0u, 9u, UINT32_MAX}) {
    for (const size_t i : {0, 1}) {
      KernelMap map = kImages;
      map.element_strides[i] = stride;
      EXPECT_THAT(CheckKernelMap(map), StrEq("strides of windows from 1 to 8"));
    }
  }
  EXPECT_THAT(changed([](KernelMap& m) { m.box[0] = 0; }),
              StrEq("a box of 1 to 256 elements each way"));
  EXPECT_THAT(changed([](KernelMap& m) { m.box[1] = 0; }), StrEq("1 to 1024 windows"));
  EXPECT_THAT(changed([](KernelMap& m) { m.box[1] = 1025; }), StrEq("1 to 1024 windows"));
  EXPECT_THAT(changed([](KernelMap& m) { m.box[1] = 1024; }), IsNull());
  EXPECT_THAT(changed([](KernelMap& m) { m.box[0] = 12; }),
              StrEq("rows of its box of a multiple of 16 bytes"));
  EXPECT_THAT(changed([](KernelMap& m) { m.box[0] = 24; }),
              StrEq("rows of its box that are no longer than the swizzle"));
}

// Without a place for a window it is as without elements.
TEST(TensorMap, ImagesWithoutWindows) {
  // 24 channels, 6 columns, 5 lines, 3 images.
  const std::vector<int64_t> good = {24, 6, 5, 3, 48, 288, 1440};
  EXPECT_THAT(CheckMappedTensor(kImages, good.data(), 4320), IsNull());
  EXPECT_THAT(CheckMappedTensor(kImages, good.data(), 4319), StrEq("a tensor within its buffer"));
  EXPECT_FALSE(MappedTensor(kImages, good.data()).empty);
  for (const auto& [columns, lines, empty] :
       {std::tuple(1, 5, false), {6, 3, false}, {6, 2, true}, {0, 5, true}}) {
    std::vector<int64_t> numbers = good;
    numbers[1] = columns;
    numbers[2] = lines;
    EXPECT_EQ(MappedTensor(kImages, numbers.data()).empty, empty) << columns << " " << lines;
    EXPECT_THAT(CheckMappedTensor(kImages, numbers.data(), 4320), IsNull());
  }
}

TEST(TensorMap, WhatALaunchMakesOfIt) {
  // 40 elements of 5 rows of 2 matrices.
  const std::vector<int64_t> good = {40, 5, 2, 80, 400};
  EXPECT_THAT(CheckMappedTensor(kMap, good.data(), 800), IsNull());
  EXPECT_THAT(CheckMappedTensor(kMap, good.data(), 799), StrEq("a tensor within its buffer"));
  EXPECT_THAT(CheckMappedTensor(kMap, good.data(), -1), StrEq("a tensor within its buffer"));
  const MappedTensor tensor(kMap, good.data());
  EXPECT_FALSE(tensor.empty);
  EXPECT_EQ(tensor.sizes, (std::array<uint64_t, 5>{40, 5, 2, 0, 0}));
  EXPECT_EQ(tensor.stride_bytes, (std::array<uint64_t, 5>{0, 80, 400, 0, 0}));
  const auto with = [&](size_t i, int64_t number) {
    std::vector<int64_t> numbers = good;
    numbers[i] = number;
    return CheckMappedTensor(kMap, numbers.data(), int64_t{1} << 47);
  };
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_THAT(with(i, -1), StrEq("sizes from 0 to 2147483647"));
    EXPECT_THAT(with(i, int64_t{1} << 31), StrEq("sizes from 0 to 2147483647"));
    EXPECT_THAT(with(i, INT64_MIN), StrEq("sizes from 0 to 2147483647"));
    EXPECT_THAT(with(i, 0), IsNull());
  }
  for (const size_t i : {3, 4}) {
    for (const int64_t stride :
         {int64_t{0}, int64_t{8}, int64_t{-16}, int64_t{1} << 40, INT64_MIN}) {
      EXPECT_THAT(with(i, stride), StrEq("strides that are multiples of 16 bytes below 2^40"));
    }
  }
  // The product of these passes 64 bits.
  const std::vector<int64_t> huge = {40, INT32_MAX, INT32_MAX, (int64_t{1} << 40) - 16,
                                     (int64_t{1} << 40) - 16};
  EXPECT_THAT(CheckMappedTensor(kMap, huge.data(), INT64_MAX), StrEq("a tensor within its buffer"));
  // Without elements, it has no strides that matter.
  const std::vector<int64_t> none = {0, 5, 2, 0, 0};
  EXPECT_THAT(CheckMappedTensor(kMap, none.data(), 0), IsNull());
  EXPECT_TRUE(MappedTensor(kMap, none.data()).empty);
}

}  // namespace
}  // namespace weft
