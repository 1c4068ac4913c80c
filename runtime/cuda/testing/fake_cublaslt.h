// A cuBLASLt for tests, on the GPU of the fake driver: it computes on the emulator's memory when
// its turn in the stream comes, takes the time that it is told to, and refuses what cuBLASLt does.
//
// The library that the device loads passes calls on to it (cublaslt_stub.cc); it is itself part of
// the program.
#ifndef WEFT_RUNTIME_CUDA_TESTING_FAKE_CUBLASLT_H_
#define WEFT_RUNTIME_CUDA_TESTING_FAKE_CUBLASLT_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace weft::cuda {

inline constexpr char kFakeCublasLt[] = "runtime/cuda/testing/cublaslt/libcublasLt.so.12";

struct FakeCublasLtOptions {
  struct Algorithm {
    int32_t id = 1;
    double microseconds = 1;  // by the clock of events
    size_t workspace_bytes = 0;
    int refuses = 0;  // the status of each call with it
  };
  size_t version = 120304;
  int create_result = 0, heuristic_result = 0;
  int64_t refusals = INT64_MAX;  // how many creations have that result
  // The best first, as far as the workspace that is allowed goes.
  std::vector<Algorithm> algorithms = {{}};
  // Which call fails from now on, with CUBLAS_STATUS_EXECUTION_FAILED, counted from 1; 0: none.
  int64_t fail_matmul = 0;
  double load_microseconds = 0;  // that the GPU waits at the first call, while it loads its code
};

// What there is, and what was done since the options were set.
struct FakeCublasLtCounts {
  int64_t handles, descriptions;  // matmuls, layouts and preferences
  int64_t questions;              // for algorithms
  int64_t calls;                  // of cublasLtMatmul that were taken
  // Of the last call.
  int compute_type, epilogue;
  uint32_t reduction_schemes;  // those of the last question
  uint32_t alignment;          // the least of the last question
};

// `library` is what dlopen takes: from now on it is this library.
void InstallFakeCublasLt(const std::string& library = kFakeCublasLt);
void ConfigureFakeCublasLt(const FakeCublasLtOptions& options = {});
FakeCublasLtCounts CountInFakeCublasLt();

}  // namespace weft::cuda

#endif  // WEFT_RUNTIME_CUDA_TESTING_FAKE_CUBLASLT_H_
