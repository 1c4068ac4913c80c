// Tensors of which kernels for GPUs copy boxes to shared memory (TMA): what a package states of
// them with a kernel, and what the sizes of a launch make of it. TensorMapParameter in
// proto/plan.proto says what holds for both.
#ifndef WEFT_RUNTIME_TENSOR_MAP_H_
#define WEFT_RUNTIME_TENSOR_MAP_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace weft {

// Of a parameter that is a tensor map.
inline constexpr size_t kTensorMapBytes = 128;

struct KernelMap {
  static constexpr uint32_t kMaxRank = 5, kRankOfImages = 4;

  uint32_t buffer = 0;  // which of the launch's
  uint32_t element_bytes = 0;
  uint32_t swizzle_bytes = 0;
  uint32_t rank = 0;
  std::array<uint32_t, kMaxRank> box{};  // elements; dimension 0 is the innermost
  // Windows of images are copied, rather than a box of the tensor.
  bool of_images = false;
  // Of dimensions 1 and 2 then.
  std::array<int32_t, 2> lower_corner{}, upper_corner{};
  std::array<uint32_t, 2> element_strides{};

  uint32_t box_rank() const { return of_images ? 2 : rank; }
  // Of the launch's sizes, how many are the tensor's: its sizes and strides.
  uint32_t num_sizes() const { return 2 * rank - 1; }

  friend bool operator==(const KernelMap&, const KernelMap&) = default;
};

// The last so many of a launch's sizes are those of its kernel's maps.
inline uint32_t NumMapSizes(std::span<const KernelMap> maps) {
  uint32_t sum = 0;
  for (const KernelMap& map : maps) sum += map.num_sizes();
  return sum;
}

struct MappedTensor {
  // The numbers are those that the launch has for the map, which CheckMappedTensor took.
  MappedTensor(const KernelMap& map, const int64_t* numbers);

  bool empty = false;
  std::array<uint64_t, KernelMap::kMaxRank> sizes{};  // elements
  // Of dimensions 1 and up; the first is not used.
  std::array<uint64_t, KernelMap::kMaxRank> stride_bytes{};
};

// What is wrong with a map whatever the sizes, or with its tensor at these, of which the buffer has
// so many bytes left: in words that follow "expected"; null where nothing is.
const char* CheckKernelMap(const KernelMap& map);
const char* CheckMappedTensor(const KernelMap& map, const int64_t* numbers, int64_t bytes);

}  // namespace weft

#endif  // WEFT_RUNTIME_TENSOR_MAP_H_
