// What this machine, or a device, can do at most: the yardstick of a benchmark.
#ifndef WEFT_TOOLS_WEFT_MACHINE_H_
#define WEFT_TOOLS_WEFT_MACHINE_H_

#include "absl/status/statusor.h"
#include "runtime/device.h"

namespace weft::cli {

struct MachinePeaks {
  double gflops = 0;    // f32 multiply-adds, two operations each, all threads together
  double copy_gbs = 0;  // bytes read plus bytes written, memory far larger than the caches
};

// Measured now, in about half a second. Widest vectors that this processor has.
MachinePeaks MeasurePeaks(int threads);

// GB/s, bytes read plus bytes written, of copies within the memory of a device that is not this
// processor. Takes 512 MiB of it meanwhile. Error: what the device says.
absl::StatusOr<double> MeasureCopy(Device& device);

}  // namespace weft::cli

#endif  // WEFT_TOOLS_WEFT_MACHINE_H_
