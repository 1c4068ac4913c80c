#include "runtime/cuda/encode_maps.h"

#include <array>
#include <utility>

#include "runtime/blame.h"
#include "runtime/cuda/work.h"

namespace weft::cuda {

absl::Status EncodeMaps(Context& context, const Kernel& kernel, const WeftLaunch& launch,
                        std::vector<CUtensorMap>* maps) {
  maps->clear();
  if (kernel.maps.empty()) return absl::OkStatus();
  const Context::Current current(context);
  if (!current.ok()) return current.status();
  const int64_t* numbers = launch.sizes + launch.num_sizes - NumMapSizes(kernel.maps);
  for (const KernelMap& map : kernel.maps) {
    CUtensorMap& encoded = maps->emplace_back();
    encoded = {};
    const MappedTensor tensor(map, numbers);
    numbers += map.num_sizes();
    if (tensor.empty) continue;
    // Only the size of elements matters: they are copied as they are.
    const auto type = map.element_bytes == 8   ? CU_TENSOR_MAP_DATA_TYPE_UINT64
                      : map.element_bytes == 4 ? CU_TENSOR_MAP_DATA_TYPE_UINT32
                      : map.element_bytes == 2 ? CU_TENSOR_MAP_DATA_TYPE_UINT16
                                               : CU_TENSOR_MAP_DATA_TYPE_UINT8;
    const auto swizzle = map.swizzle_bytes == 128  ? CU_TENSOR_MAP_SWIZZLE_128B
                         : map.swizzle_bytes == 64 ? CU_TENSOR_MAP_SWIZZLE_64B
                         : map.swizzle_bytes == 32 ? CU_TENSOR_MAP_SWIZZLE_32B
                                                   : CU_TENSOR_MAP_SWIZZLE_NONE;
    const auto [columns, lines] = map.of_images ? map.element_strides : std::array{1u, 1u};
    const uint32_t strides[KernelMap::kMaxRank] = {1, columns, lines, 1, 1};
    void* const address = launch.buffers[map.buffer];
    const DriverApi& api = context.api();
    const CUresult result =
        map.of_images
            ? api.cuTensorMapEncodeIm2col(
                  &encoded, type, map.rank, address, tensor.sizes.data(),
                  tensor.stride_bytes.data() + 1, map.lower_corner.data(), map.upper_corner.data(),
                  map.box[0], map.box[1], strides, CU_TENSOR_MAP_INTERLEAVE_NONE, swizzle,
                  CU_TENSOR_MAP_L2_PROMOTION_L2_128B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE)
            : api.cuTensorMapEncodeTiled(&encoded, type, map.rank, address, tensor.sizes.data(),
                                         tensor.stride_bytes.data() + 1, map.box.data(), strides,
                                         CU_TENSOR_MAP_INTERLEAVE_NONE, swizzle,
                                         CU_TENSOR_MAP_L2_PROMOTION_L2_128B,
                                         CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    if (result == CUDA_SUCCESS) continue;
    return context.StatusOf(result, "making a tensor map for " + PlaceOfStep(*launch.step));
  }
  return absl::OkStatus();
}

absl::StatusOr<const std::vector<CUtensorMap>*> EncodedMaps::Of(Context& context,
                                                                const Kernel& kernel,
                                                                const WeftLaunch& launch) {
  key_.clear();
  if (!kernel.maps.empty()) {
    key_.push_back(kernel.number);
    for (const KernelMap& map : kernel.maps) {
      key_.push_back(reinterpret_cast<uintptr_t>(launch.buffers[map.buffer]));
    }
    const int64_t* const end = launch.sizes + launch.num_sizes;
    key_.insert(key_.end(), end - NumMapSizes(kernel.maps), end);
  }
  const auto known = made_.find(key_);
  if (known != made_.end()) return &known->second;
  std::vector<CUtensorMap> maps;
  if (absl::Status status = EncodeMaps(context, kernel, launch, &maps); !status.ok()) return status;
  if (made_.size() >= kMost) made_.clear();
  return &(made_[key_] = std::move(maps));
}

}  // namespace weft::cuda
