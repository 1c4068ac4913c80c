#ifndef WEFT_RUNTIME_PTX_EMULATOR_TENSOR_MAP_H_
#define WEFT_RUNTIME_PTX_EMULATOR_TENSOR_MAP_H_

#include <array>
#include <cstdint>

#include "absl/status/status.h"

namespace weft::ptx {

// What cuTensorMapEncodeTiled is told: a tensor in global memory and the box of it that one copy
// moves. Dimension 0 is the innermost. Or what cuTensorMapEncodeIm2col is told: the tensor is
// images, and a copy moves one pixel of each of several windows.
struct TensorMap {
  uint64_t address = 0;  // a multiple of 16
  int rank = 0;          // 1 to 5
  uint32_t element_bytes = 0;
  std::array<uint64_t, 5> sizes{};  // in elements
  std::array<uint64_t, 5>
      stride_bytes{};             // of dimensions 1 and up: multiples of 16; [0] is not used
  std::array<uint32_t, 5> box{};  // elements, at most 256 along each dimension
  uint32_t swizzle_bytes = 0;     // 0, 32, 64, 128: what the box's innermost row fits in

  bool im2col = false;  // then rank is 3 to 5: channels, what windows go over, images; and the box
                        // is channels, and up to 1024 windows
  // Of what windows go over, dimension 1 and up: where they begin, at most (from 0 and from the
  // size - 1 on), and from one to the next.
  std::array<int32_t, 3> lower_corner{}, upper_corner{};
  std::array<uint32_t, 3> element_strides{};

  int box_rank() const { return im2col ? 2 : rank; }
};

inline constexpr int kTensorMapBytes = 128;
// Corners of windows of tensors of 3, 4 and 5 dimensions have so many bits, with a sign, and the
// offsets of pixels in them, without.
inline constexpr int kIm2colBits[] = {16, 8, 5};

// Writes the form in which a kernel takes the map: 128 bytes that mean something to this emulator
// alone. InvalidArgument for a map that the driver would refuse.
absl::Status EncodeTensorMap(const TensorMap& map, void* encoded);
// InvalidArgument if the bytes are no tensor map that EncodeTensorMap may have written: a kernel
// may have made them up.
absl::Status DecodeTensorMap(const void* encoded, TensorMap* map);

// Where a byte of shared memory lies under a swizzle: bits of the 16-byte column exchanged by those
// of the row.
inline uint32_t Swizzle(uint32_t address, uint32_t swizzle_bytes) {
  switch (swizzle_bytes) {
    case 32:
      return address ^ (address >> 3 & 0x10);
    case 64:
      return address ^ (address >> 3 & 0x30);
    case 128:
      return address ^ (address >> 3 & 0x70);
    default:
      return address;
  }
}

}  // namespace weft::ptx

#endif  // WEFT_RUNTIME_PTX_EMULATOR_TENSOR_MAP_H_
