#include "runtime/ptx_emulator/tensor_map.h"

#include <algorithm>
#include <cstring>

#include "runtime/ptx_emulator/text.h"

namespace weft::ptx {
namespace {

constexpr uint64_t kMagic = 0x50414d524f534e54;
constexpr int kMaxRank = 5;

// No box fits in shared memory beyond this.
constexpr uint64_t kMaxBoxBytes = 256 << 10;

uint64_t BoxBytes(const TensorMap& map) {
  uint64_t bytes = map.element_bytes;
  for (int i = 0; i < map.box_rank() && bytes <= kMaxBoxBytes; ++i) bytes *= map.box[i];
  return bytes;
}

struct Encoded {
  uint64_t magic;
  uint64_t address;
  uint64_t strides[4];
  uint32_t sizes[5];
  uint16_t box[5];
  uint8_t rank, element_bytes, swizzle;
  int16_t lower_corner[3], upper_corner[3];
  uint8_t element_strides[3], im2col;
};
static_assert(sizeof(Encoded) <= kTensorMapBytes);

absl::Status Error(const std::string& message) {
  return absl::InvalidArgumentError("tensor map: " + message);
}

absl::Status CheckWindows(const TensorMap& map) {
  if (map.rank < 3) return Error(Cat("expected images of 3 to 5 dimensions, got ", map.rank));
  const int32_t least = -(1 << (kIm2colBits[map.rank - 3] - 1)), most = -least - 1;
  for (int i = 0; i < map.rank - 2; ++i) {
    const int32_t lower = map.lower_corner[i], upper = map.upper_corner[i];
    for (const int32_t corner : {lower, upper}) {
      if (corner < least || corner > most)
        return Error(Cat("expected corners from ", least, " to ", most, ", got ", corner));
    }
    if (map.element_strides[i] < 1 || map.element_strides[i] > 8)
      return Error(Cat("expected windows 1 to 8 apart, got ", map.element_strides[i]));
    if (static_cast<int64_t>(map.sizes[i + 1]) - 1 + upper < lower)
      return Error("expected a place for a window");
  }
  return absl::OkStatus();
}

absl::Status CheckTensorMap(const TensorMap& map) {
  const auto error = Error;
  if (map.rank < 1 || map.rank > kMaxRank)
    return error(Cat("expected 1 to 5 dimensions, got ", map.rank));
  if (map.address % 16 != 0) return error("expected an address that is a multiple of 16");
  const uint32_t e = map.element_bytes;
  if (e != 1 && e != 2 && e != 4 && e != 8)
    return error(Cat("expected elements of 1, 2, 4 or 8 bytes, got ", e));
  for (int i = 0; i < map.rank; ++i) {
    if (map.sizes[i] == 0 || map.sizes[i] > uint64_t{1} << 32)
      return error(Cat("expected a size of 1 to 2^32, got ", map.sizes[i]));
    const uint32_t most = map.im2col && i == 1 ? 1024 : 256;
    if (i < map.box_rank() && (map.box[i] == 0 || map.box[i] > most))
      return error(
          Cat("expected a box of 1 to ", most, " elements along each dimension, got ", map.box[i]));
    if (i > 0 && (map.stride_bytes[i] % 16 != 0 || map.stride_bytes[i] >= uint64_t{1} << 40)) {
      return error(
          Cat("expected strides that are multiples of 16 below 2^40, got ", map.stride_bytes[i]));
    }
  }
  const uint32_t row = map.box[0] * e;
  if (row % 16 != 0)
    return error(Cat("expected an innermost row of the box of a multiple of 16 bytes, got ", row));
  if (map.swizzle_bytes != 0 && map.swizzle_bytes != 32 && map.swizzle_bytes != 64 &&
      map.swizzle_bytes != 128) {
    return error("expected a swizzle of 0, 32, 64 or 128 bytes");
  }
  if (map.swizzle_bytes != 0 && row > map.swizzle_bytes) {
    return error(Cat("expected an innermost row of the box of at most the swizzle's ",
                     map.swizzle_bytes, " bytes, got ", row));
  }
  if (BoxBytes(map) > kMaxBoxBytes) {
    return error(Cat("expected a box of at most ", kMaxBoxBytes, " bytes"));
  }
  return map.im2col ? CheckWindows(map) : absl::OkStatus();
}

}  // namespace

absl::Status EncodeTensorMap(const TensorMap& map, void* encoded) {
  if (absl::Status status = CheckTensorMap(map); !status.ok()) return status;
  Encoded bytes{};
  bytes.magic = kMagic;
  bytes.address = map.address;
  for (int i = 0; i < map.rank; ++i) {
    if (i > 0) bytes.strides[i - 1] = map.stride_bytes[i];
    bytes.sizes[i] = static_cast<uint32_t>(map.sizes[i] - 1);
    bytes.box[i] = static_cast<uint16_t>(map.box[i]);
  }
  bytes.rank = static_cast<uint8_t>(map.rank);
  bytes.element_bytes = static_cast<uint8_t>(map.element_bytes);
  bytes.swizzle = static_cast<uint8_t>(map.swizzle_bytes);
  bytes.im2col = map.im2col ? 1 : 0;
  for (int i = 0; i < 3; ++i) {
    bytes.lower_corner[i] = static_cast<int16_t>(map.lower_corner[i]);
    bytes.upper_corner[i] = static_cast<int16_t>(map.upper_corner[i]);
    bytes.element_strides[i] = static_cast<uint8_t>(map.element_strides[i]);
  }
  std::memset(encoded, 0, kTensorMapBytes);
  std::memcpy(encoded, &bytes, sizeof bytes);
  return absl::OkStatus();
}

absl::Status DecodeTensorMap(const void* encoded, TensorMap* map) {
  Encoded bytes;
  std::memcpy(&bytes, encoded, sizeof bytes);
  if (bytes.magic != kMagic)
    return absl::InvalidArgumentError("tensor map: expected one, got other bytes");
  *map = {};
  map->address = bytes.address;
  map->rank = bytes.rank;
  map->element_bytes = bytes.element_bytes;
  map->swizzle_bytes = bytes.swizzle;
  map->im2col = bytes.im2col != 0;
  for (int i = 0; i < 3; ++i) {
    map->lower_corner[i] = bytes.lower_corner[i];
    map->upper_corner[i] = bytes.upper_corner[i];
    map->element_strides[i] = bytes.element_strides[i];
  }
  for (int i = 0; i < std::min<int>(bytes.rank, kMaxRank); ++i) {
    map->sizes[i] = uint64_t{bytes.sizes[i]} + 1;
    map->stride_bytes[i] = i > 0 ? bytes.strides[i - 1] : 0;
    map->box[i] = bytes.box[i];
  }
  return CheckTensorMap(*map);
}

}  // namespace weft::ptx
