#include "runtime/tensor_map.h"

#include <initializer_list>

// Runs once for each kernel and set of shapes: small rather than quick, since the size of weft-run
// is bounded.
#pragma clang attribute push(__attribute__((minsize)), apply_to = function)

namespace weft {
namespace {

// Coordinates are of 32 bits, with a sign.
constexpr int64_t kMaxSize = INT32_MAX;
constexpr int64_t kMaxStride = int64_t{1} << 40;
constexpr uint32_t kMaxBox = 256, kMaxWindows = 1024;
constexpr int32_t kMaxCorner = 127;
constexpr uint32_t kMaxElementStride = 8;
constexpr uint64_t kAlignment = 16;
// More than any shared memory.
constexpr uint64_t kMaxBoxBytes = 256 << 10;

bool IsOneOf(uint32_t x, std::initializer_list<uint32_t> values) {
  for (const uint32_t value : values) {
    if (x == value) return true;
  }
  return false;
}

}  // namespace

const char* CheckKernelMap(const KernelMap& map) {
  if (map.rank < 1 || map.rank > KernelMap::kMaxRank) return "1 to 5 dimensions";
  if (!IsOneOf(map.element_bytes, {1, 2, 4, 8})) return "elements of 1, 2, 4 or 8 bytes";
  if (!IsOneOf(map.swizzle_bytes, {0, 32, 64, 128})) return "a swizzle of 0, 32, 64 or 128 bytes";
  if (map.of_images) {
    if (map.rank != KernelMap::kRankOfImages) return "images of 4 dimensions";
    for (uint32_t i = 0; i < 2; ++i) {
      for (const int32_t corner : {map.lower_corner[i], map.upper_corner[i]}) {
        if (corner < -kMaxCorner - 1 || corner > kMaxCorner) return "corners from -128 to 127";
      }
      const uint32_t stride = map.element_strides[i];
      if (stride < 1 || stride > kMaxElementStride) return "strides of windows from 1 to 8";
    }
  }
  uint64_t bytes = map.element_bytes;
  for (uint32_t i = 0; i < map.box_rank(); ++i) {
    const bool windows = map.of_images && i == 1;
    if (map.box[i] < 1 || map.box[i] > (windows ? kMaxWindows : kMaxBox)) {
      return windows ? "1 to 1024 windows" : "a box of 1 to 256 elements each way";
    }
    bytes *= map.box[i];
  }
  const uint32_t row = map.box[0] * map.element_bytes;
  if (row % kAlignment != 0) return "rows of its box of a multiple of 16 bytes";
  if (map.swizzle_bytes != 0 && row > map.swizzle_bytes) {
    return "rows of its box that are no longer than the swizzle";
  }
  return bytes > kMaxBoxBytes ? "a box of at most 262144 bytes" : nullptr;
}

MappedTensor::MappedTensor(const KernelMap& map, const int64_t* numbers) {
  for (uint32_t i = 0; i < map.rank; ++i) {
    sizes[i] = static_cast<uint64_t>(numbers[i]);
    empty = empty || numbers[i] == 0;
    if (i > 0) stride_bytes[i] = static_cast<uint64_t>(numbers[map.rank + i - 1]);
  }
  for (uint32_t i = 0; map.of_images && i < 2; ++i) {
    empty = empty || numbers[i + 1] - 1 + map.upper_corner[i] < map.lower_corner[i];
  }
}

const char* CheckMappedTensor(const KernelMap& map, const int64_t* numbers, int64_t bytes) {
  for (uint32_t i = 0; i < map.rank; ++i) {
    if (numbers[i] < 0 || numbers[i] > kMaxSize) return "sizes from 0 to 2147483647";
  }
  const MappedTensor tensor(map, numbers);
  if (tensor.empty) return nullptr;
  // No size passes 2^31, no stride 2^40, so nothing overflows in 128 bits.
  auto end = static_cast<unsigned __int128>(tensor.sizes[0]) * map.element_bytes;
  for (uint32_t i = 1; i < map.rank; ++i) {
    const int64_t stride = numbers[map.rank + i - 1];
    if (stride <= 0 || stride >= kMaxStride || stride % int64_t{kAlignment} != 0) {
      return "strides that are multiples of 16 bytes below 2^40";
    }
    end += static_cast<unsigned __int128>(tensor.sizes[i] - 1) * tensor.stride_bytes[i];
  }
  return bytes < 0 || end > static_cast<unsigned __int128>(bytes) ? "a tensor within its buffer"
                                                                  : nullptr;
}

}  // namespace weft

#pragma clang attribute pop
