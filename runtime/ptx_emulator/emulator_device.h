// The PTX emulator as a device of sessions.
#ifndef WEFT_RUNTIME_PTX_EMULATOR_EMULATOR_DEVICE_H_
#define WEFT_RUNTIME_PTX_EMULATOR_EMULATOR_DEVICE_H_

#include <memory>

#include "absl/status/statusor.h"
#include "runtime/device.h"
#include "runtime/ptx_emulator/emulator.h"

namespace weft {

// Runs code for cuda targets up to the compute capability in `options` on the CPU, and checks each
// launch: it touches its own buffers alone, writes no operand but where a result shares its buffer,
// and every byte of every result (whatever the arena held there before). A finding is an Internal
// error that names kernel, line of PTX, nodes and source line. Work is done at once; launches of
// several sessions that share the device go on side by side. Deadline and cancellation end a launch
// as well, up to the plan's commit step. Plans that are compiled for it are for the capability, or,
// where `accelerated` (from 9.0 on), for that generation alone: "cuda:sm_90a".
absl::StatusOr<std::shared_ptr<Device>> MakeEmulatorDevice(const ptx::EmulatorOptions& options,
                                                           bool accelerated = false);

}  // namespace weft

#endif  // WEFT_RUNTIME_PTX_EMULATOR_EMULATOR_DEVICE_H_
