// What this machine can do at most: the yardstick of a benchmark.
#ifndef WEFT_TOOLS_WEFT_MACHINE_H_
#define WEFT_TOOLS_WEFT_MACHINE_H_

namespace weft::cli {

struct MachinePeaks {
  double gflops = 0;    // f32 multiply-adds, two operations each, all threads together
  double copy_gbs = 0;  // bytes read plus bytes written, memory far larger than the caches
};

// Measured now, in about half a second. Widest vectors that this processor has.
MachinePeaks MeasurePeaks(int threads);

}  // namespace weft::cli

#endif  // WEFT_TOOLS_WEFT_MACHINE_H_
