#include "runtime/ptx_emulator/global_traffic.h"

#include <algorithm>
#include <cstddef>

namespace weft::ptx {
namespace {

constexpr uint64_t kSectorBytes = 32;

}  // namespace

GlobalTraffic CountSectors(const uint64_t (&addresses)[kWarpSize], uint32_t mask, int bytes) {
  uint64_t sorted[kWarpSize];
  size_t count = 0;
  bool in_order = true;  // as they mostly are
  for (int lane = 0; lane < kWarpSize; ++lane) {
    if ((mask >> lane & 1) == 0) continue;
    in_order = in_order && (count == 0 || sorted[count - 1] <= addresses[lane]);
    sorted[count++] = addresses[lane];
  }
  if (!in_order) std::sort(sorted, sorted + count);
  uint64_t different = 0, sectors = 0;
  for (size_t i = 0; i < count; ++i) {
    if (i == 0 || sorted[i] != sorted[i - 1]) ++different;
    if (i == 0 || sorted[i] / kSectorBytes != sorted[i - 1] / kSectorBytes) ++sectors;
  }
  const uint64_t needed = different * static_cast<uint64_t>(bytes);
  return {static_cast<int64_t>(sectors),
          static_cast<int64_t>((needed + kSectorBytes - 1) / kSectorBytes)};
}

}  // namespace weft::ptx
