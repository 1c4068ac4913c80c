#include "runtime/ptx_emulator/buffer_launch.h"

#include <algorithm>
#include <array>
#include <limits>

#include "runtime/ptx_emulator/text.h"

namespace weft::ptx {
namespace {

constexpr int64_t kMaxBlocks = std::numeric_limits<int32_t>::max();  // in one dimension of a grid

}  // namespace

absl::Status LaunchOnBuffers(Emulator& emulator, const BufferLaunch& launch) {
  if (launch.blocks > kMaxBlocks) {
    return absl::ResourceExhaustedError(
        Cat("expected at most ", kMaxBlocks, " blocks, got ", launch.blocks));
  }
  std::vector<Region> regions;
  std::vector<size_t> results;  // which regions those are that lie in no operand's buffer
  const size_t num_operands = launch.buffers.size() - launch.num_results;
  for (size_t i = 0; i < launch.buffers.size(); ++i) {
    const auto& [address, bytes] = launch.buffers[i];
    if (bytes == 0) continue;
    const bool is_result = i >= num_operands;
    const auto same = std::find_if(regions.begin(), regions.end(),
                                   [&](const Region& other) { return other.address == address; });
    if (same != regions.end()) {
      same->bytes = std::max(same->bytes, bytes);
      same->writable |= is_result;
      continue;
    }
    if (is_result) results.push_back(regions.size());
    regions.push_back({address, bytes,
                       is_result ? Cat("result ", i - num_operands) : Cat("operand ", i),
                       is_result});
  }
  // None at all would mean all of the memory.
  if (regions.empty()) regions.push_back({});
  for (const size_t result : results) {
    absl::Status status =
        emulator.memory().MarkUnwritten(regions[result].address, regions[result].bytes);
    if (!status.ok()) return status;
  }
  if (launch.blocks > 0) {
    struct alignas(64) Encoded {
      std::array<std::byte, kTensorMapBytes> bytes{};
    };
    std::vector<Encoded> maps(launch.maps.size());
    std::vector<const void*> parameters;
    for (size_t i = 0; i < maps.size(); ++i) {
      if (launch.maps[i].rank > 0) {
        absl::Status status = EncodeTensorMap(launch.maps[i], &maps[i].bytes);
        if (!status.ok()) return status;
      }
      parameters.push_back(&maps[i].bytes);
    }
    for (const BufferLaunch::Buffer& buffer : launch.buffers) parameters.push_back(&buffer.address);
    for (const int64_t& size : launch.sizes) parameters.push_back(&size);
    absl::Status status =
        emulator.Launch(launch.function, {.grid = {static_cast<uint32_t>(launch.blocks)},
                                          .block = {launch.block_threads},
                                          .dynamic_shared_bytes = launch.dynamic_shared_bytes,
                                          .parameters = parameters,
                                          .regions = regions,
                                          .interrupt = launch.interrupt});
    if (!status.ok()) return status;
  }
  for (const size_t index : results) {
    const Region& result = regions[index];
    const absl::StatusOr<uint64_t> unwritten =
        emulator.memory().CountUnwritten(result.address, result.bytes);
    if (!unwritten.ok()) return unwritten.status();
    if (*unwritten == 0) continue;
    return absl::InternalError(Cat("the kernel leaves ", *unwritten, " of the ", result.bytes,
                                   " bytes of ", result.name, " unwritten"));
  }
  return absl::OkStatus();
}

}  // namespace weft::ptx
