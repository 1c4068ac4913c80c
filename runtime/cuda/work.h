// What a queue was told to do and has not given to the GPU yet.
#ifndef WEFT_RUNTIME_CUDA_WORK_H_
#define WEFT_RUNTIME_CUDA_WORK_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "runtime/core/executor.h"
#include "runtime/cuda/code.h"
#include "runtime/cuda/driver_api.h"
#include "runtime/cuda/launches.h"
#include "runtime/cuda/library_calls.h"

namespace weft::cuda {

inline CUdeviceptr AddressOf(const void* device) {
  return static_cast<CUdeviceptr>(reinterpret_cast<uintptr_t>(device));
}

// How far giving work to a stream came.
struct Issued {
  CUresult result = CUDA_SUCCESS;
  int64_t size = 0;                     // entries before the one that was refused
  Launches launches;                    // among them
  Launches refused;                     // the launch that `result` is about, if it is about one
  const char* library_error = nullptr;  // what a library said of it, where that refused
};

// Launches and copies, in order, in one row of words: lists are compared at the cost of comparing
// memory, and to fill one again allocates nothing.
class Work {
 public:
  // `maps`: those that the kernel takes, made for this launch.
  void Launch(const Kernel& kernel, const WeftLaunch& launch, std::span<const CUtensorMap> maps);
  // Instead of that: `call`, which stays.
  void Call(const LibraryCall& call, const WeftLaunch& launch);
  void CopyWithin(CUdeviceptr to, CUdeviceptr from, size_t bytes);
  // Host memory is pinned.
  void CopyIn(CUdeviceptr to, const void* from, size_t bytes);
  void CopyOut(void* to, CUdeviceptr from, size_t bytes);

  // Gives all of it to a stream, or what comes before an error.
  Issued Issue(const DriverApi& api, CUstream stream) const;

  // Launches and copies.
  int64_t size() const { return size_; }
  // What they are on the GPU, where a call of a library is several; about.
  int64_t starts() const { return starts_; }
  size_t words() const { return words_.size(); }
  // Of everything in it: of others it is another, almost always.
  uint64_t Hash() const;
  const Launches& launches() const { return launches_; }
  void Clear();
  friend bool operator==(const Work& a, const Work& b) { return a.words_ == b.words_; }

 private:
  void Push(uint64_t word);
  void Copy(uint64_t kind, uint64_t to, uint64_t from, size_t bytes);

  std::vector<uint64_t> words_;
  int64_t size_ = 0, starts_ = 0;
  Launches launches_;
};

}  // namespace weft::cuda

#endif  // WEFT_RUNTIME_CUDA_WORK_H_
