// A cuDNN for tests, on the GPU of the fake driver: it computes on the emulator's memory when its
// turn in the stream comes, takes the time that it is told to, and refuses what cuDNN does.
//
// The library that the device loads passes calls on to it (cudnn_stub.cc); it is itself part of the
// program.
#ifndef WEFT_RUNTIME_CUDA_TESTING_FAKE_CUDNN_H_
#define WEFT_RUNTIME_CUDA_TESTING_FAKE_CUDNN_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace weft::cuda {

inline constexpr char kFakeCudnn[] = "runtime/cuda/testing/cudnn/libcudnn.so.9";
// The same without its parts.
inline constexpr char kCudnnAlone[] = "runtime/cuda/testing/cudnn_alone/libcudnn.so.9";

struct FakeCudnnOptions {
  struct Algorithm {
    int32_t id = 1;           // the library's number
    double microseconds = 1;  // by the clock of events; turning filters takes none
    size_t workspace_bytes = 0;
    int refuses = 0;  // the status of each call with it
    int math = 3;     // that it says it needs
    bool deterministic = true;
    int status = 0;  // that the answer has for it
  };
  size_t version = 90100;
  int create_result = 0, heuristic_result = 0, transform_result = 0;
  int64_t refusals = INT64_MAX;  // how many creations have that result
  // The best first, for either kind of convolution.
  std::vector<Algorithm> algorithms = {{}};
  // Which convolution fails from now on, counted from 1; 0: none.
  int64_t fail_convolution = 0;
};

// What there is, and what was done since the options were set.
struct FakeCudnnCounts {
  int64_t handles, descriptions;
  int64_t questions;                // for algorithms
  int64_t convolutions, gradients;  // that were taken; gradients are those of filters
  int64_t transforms;               // the same
  int math;                         // of the last of them
  int64_t groups, padded, dilated;  // how many had more than one, any zeros, any gaps
};

// `library` is what dlopen takes: from now on it is this library.
void InstallFakeCudnn(const std::string& library = kFakeCudnn);
void ConfigureFakeCudnn(const FakeCudnnOptions& options = {});
FakeCudnnCounts CountInFakeCudnn();

}  // namespace weft::cuda

#endif  // WEFT_RUNTIME_CUDA_TESTING_FAKE_CUDNN_H_
