// A plan's tensor maps on the emulator.
#ifndef WEFT_RUNTIME_PTX_EMULATOR_KERNEL_MAP_H_
#define WEFT_RUNTIME_PTX_EMULATOR_KERNEL_MAP_H_

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/ptx_emulator/buffer_launch.h"
#include "runtime/tensor_map.h"

namespace weft {

// Lets the launch have its kernel's maps: `sizes` are all that the plan's launch has, and the
// buffers are there.
inline void SetMaps(std::span<const KernelMap> maps, std::span<const int64_t> sizes,
                    ptx::BufferLaunch* launch) {
  launch->sizes = sizes.first(sizes.size() - NumMapSizes(maps));
  const int64_t* numbers = launch->sizes.data() + launch->sizes.size();
  for (const KernelMap& map : maps) {
    const MappedTensor tensor(map, numbers);
    numbers += map.num_sizes();
    ptx::TensorMap& made = launch->maps.emplace_back();
    if (tensor.empty) continue;
    made = {.address = launch->buffers[map.buffer].address,
            .rank = static_cast<int>(map.rank),
            .element_bytes = map.element_bytes,
            .sizes = tensor.sizes,
            .stride_bytes = tensor.stride_bytes,
            .box = map.box,
            .swizzle_bytes = map.swizzle_bytes,
            .im2col = map.of_images,
            .lower_corner = {map.lower_corner[0], map.lower_corner[1]},
            .upper_corner = {map.upper_corner[0], map.upper_corner[1]},
            .element_strides = {map.element_strides[0], map.element_strides[1]}};
  }
}

}  // namespace weft

#endif  // WEFT_RUNTIME_PTX_EMULATOR_KERNEL_MAP_H_
