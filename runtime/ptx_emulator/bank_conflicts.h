#ifndef WEFT_RUNTIME_PTX_EMULATOR_BANK_CONFLICTS_H_
#define WEFT_RUNTIME_PTX_EMULATOR_BANK_CONFLICTS_H_

#include <cstdint>

#include "runtime/ptx_emulator/program.h"

namespace weft::ptx {

// Shared memory has 32 banks of 4 bytes, each of which gives one word at a time. An access of a
// warp goes in groups of as many lanes as move 128 bytes, at most all 32; a group takes as many
// passes as one bank has different words to give. Returns the passes beyond one for each group:
// those lost to conflicts. `addresses` are of the lanes of `mask`, `bytes` (1 to 32) each.
int CountBankConflicts(const uint32_t (&addresses)[kWarpSize], uint32_t mask, int bytes);

}  // namespace weft::ptx

#endif  // WEFT_RUNTIME_PTX_EMULATOR_BANK_CONFLICTS_H_
