#include "runtime/gpu_kernel.h"

#include "absl/strings/str_cat.h"
#include "runtime/blame.h"

namespace weft {
namespace {

// In one dimension of a grid.
constexpr int64_t kMaxBlocks = 0x7fffffff;

}  // namespace

absl::Status CheckGpuKernel(const KernelEntry& kernel, int64_t max_block_threads,
                            std::span<const size_t> parameter_bytes) {
  for (size_t i = 0; i < parameter_bytes.size(); ++i) {
    const size_t expected = i < kernel.maps.size() ? kTensorMapBytes : 8;
    if (parameter_bytes[i] == expected) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("kernel '", kernel.name, "': expected a parameter of ", expected,
                     " bytes, got one of ", parameter_bytes[i], " (number ", i + 1, ")"));
  }
  if (kernel.block_threads == 0 || int64_t{kernel.block_threads} > max_block_threads) {
    return absl::InvalidArgumentError(absl::StrCat("kernel '", kernel.name, "': expected 1 to ",
                                                   max_block_threads, " threads in a block, got ",
                                                   kernel.block_threads));
  }
  return absl::OkStatus();
}

absl::Status CheckGpuLaunch(const WeftLaunch& launch, std::span<const KernelMap> maps,
                            int64_t num_parameters, int64_t max_scratch_bytes) {
  const int64_t num_sizes = int64_t{launch.num_sizes} - NumMapSizes(maps);
  const auto num_maps = static_cast<int64_t>(maps.size());
  if (num_parameters >= 0 && num_parameters != num_maps + launch.num_buffers + num_sizes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "expected a kernel of ", num_maps > 0 ? absl::StrCat(num_maps, " tensor maps, ") : "",
        launch.num_buffers, " buffers and ", num_sizes, " sizes, got one of ", num_parameters,
        " parameters; in ", PlaceOfStep(*launch.step)));
  }
  if (launch.tiles > kMaxBlocks) {
    return absl::ResourceExhaustedError(absl::StrCat("expected at most ", kMaxBlocks,
                                                     " blocks, got ", launch.tiles, "; in ",
                                                     PlaceOfStep(*launch.step)));
  }
  if (launch.scratch_bytes > max_scratch_bytes) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "expected at most ", max_scratch_bytes,
        " bytes of scratch, the shared memory that the GPU has for a block of this kernel besides "
        "what its code declares, got ",
        launch.scratch_bytes, "; in ", PlaceOfStep(*launch.step)));
  }
  return absl::OkStatus();
}

}  // namespace weft
