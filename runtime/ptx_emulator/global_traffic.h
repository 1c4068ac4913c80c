#ifndef WEFT_RUNTIME_PTX_EMULATOR_GLOBAL_TRAFFIC_H_
#define WEFT_RUNTIME_PTX_EMULATOR_GLOBAL_TRAFFIC_H_

#include <cstdint>

#include "runtime/ptx_emulator/program.h"

namespace weft::ptx {

// Global memory moves in sectors of 32 bytes: those that accesses of warps touch, each counted once
// for an access, and the fewest that it would be if what the lanes access lay side by side.
struct GlobalTraffic {
  int64_t sectors = 0;
  int64_t fewest = 0;
};

// Of one access: `addresses` are of the lanes of `mask`, `bytes` (1 to 32, a power of two that
// divides the addresses) each.
GlobalTraffic CountSectors(const uint64_t (&addresses)[kWarpSize], uint32_t mask, int bytes);

}  // namespace weft::ptx

#endif  // WEFT_RUNTIME_PTX_EMULATOR_GLOBAL_TRAFFIC_H_
