// A CUDA driver for tests, over the PTX emulator. It does the work of streams as late as a driver
// may: when somebody waits or asks, and then one piece for each question. What forgets to wait, or
// reuses memory too early, shows in the results.
//
// The library that the device loads passes calls on to it (driver_stub.cc); it is itself part of
// the program, which tells it what to do by these functions.
#ifndef WEFT_RUNTIME_CUDA_TESTING_FAKE_DRIVER_H_
#define WEFT_RUNTIME_CUDA_TESTING_FAKE_DRIVER_H_

#include <atomic>
#include <cstdint>
#include <string>

namespace weft::cuda {

struct FakeDriverOptions {
  int version = 12040;
  // Of cuDriverGetVersion, cuInit, cuDevicePrimaryCtxRetain, cuCtxPushCurrent.
  int version_result = 0, init_result = 0, retain_result = 0, push_result = 0;
  int devices = 1;
  int sm = 80;
  int multiprocessors = 4;
  int64_t memory_bytes = int64_t{1} << 30;
  int threads_of_kernels = 1024;  // the most of a block, as registers leave it
  // Which call fails from now on, counted from 1; 0: none. Loads say so in their log.
  int64_t fail_allocation = 0, fail_pinning = 0, fail_load = 0, fail_launch = 0;
  int64_t fail_capture = 0, fail_instantiate = 0, fail_graph_launch = 0, fail_record = 0;
  int launch_result = 701;  // of the launch that fails
  int64_t fail_tensor_map = 0;
  bool no_memory = false;  // every allocation fails
  bool no_pinned = false;
  bool no_machine_code = false;     // it is of a newer toolkit
  double kernel_microseconds = 10;  // that each takes, by the clock of events
  // Which kernel stops at an illegal address when its turn comes, or what else it does.
  int64_t fail_kernel = 0;
  int kernel_result = 700;
  // Work is done as it is given, so that an error of a kernel comes back from any call after it.
  bool eager = false;
  // Asking does no work, as if kernels took long. Waiting does.
  bool busy = false;
  // Where not null, set when somebody asks whether a stream is done, and it is not.
  std::atomic<bool>* asked = nullptr;
  // Set when this copy to the host is done, counted from 1.
  std::atomic<bool>* copied = nullptr;
  int64_t copied_at = 0;
};

// What there is at the moment, and what was done since the options were set.
struct FakeDriverCounts {
  int64_t contexts, modules, allocations, pinned, streams, events, graphs, executable_graphs;
  int64_t nodes;         // of executable graphs
  int64_t machine_code;  // modules of it that were loaded
  int64_t launches;      // one by one
  int64_t captures, graph_launches;
  int64_t tensor_maps;            // made
  int64_t kernels;                // executed
  int64_t library_calls;          // the same
  int64_t copied_in, copied_out;  // bytes, executed
  int64_t event_waits;            // of streams for events
  int64_t refused_allocations;    // for want of memory
  // How often somebody waited for a busy GPU inside the driver, where nothing ends that.
  int64_t blocked;
};

// `library` is what dlopen takes: from now on it is this driver.
void InstallFakeDriver(const std::string& library);
// For calls from now on. What was made before stays, but for a lost context, which is well again.
// The GPU's generation and memory are those of the time when the first context was made.
void ConfigureFakeDriver(const FakeDriverOptions& options = {});
FakeDriverCounts CountInFakeDriver();
// What no program may do with a driver and this one did: a line each; empty if there is nothing.
// That includes what was not given back when the last context ended.
std::string FakeDriverComplains();
// What was made and is still there, a line each.
std::string LeftInFakeDriver();

}  // namespace weft::cuda

#endif  // WEFT_RUNTIME_CUDA_TESTING_FAKE_DRIVER_H_
