// What a queue was told to do and has not given to the GPU yet.
#ifndef WEFT_RUNTIME_CUDA_WORK_H_
#define WEFT_RUNTIME_CUDA_WORK_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "runtime/core/executor.h"
#include "runtime/cuda/code.h"
#include "runtime/cuda/driver_api.h"

namespace weft::cuda {

inline CUdeviceptr AddressOf(const void* device) {
  return static_cast<CUdeviceptr>(reinterpret_cast<uintptr_t>(device));
}

// Launches, for messages about them.
struct Launches {
  int64_t count = 0;
  const WeftStep* first = nullptr;
  const WeftStep* last = nullptr;

  void Add(const Launches& more);
  // "exp at y (m.cc:3)", "one of 3 launches, from ... to ...; ..."; empty if there are none.
  std::string Describe() const;
};

// Launches and copies, in order, in one row of words: lists are compared at the cost of comparing
// memory, and to fill one again allocates nothing.
class Work {
 public:
  void Launch(const Kernel& kernel, const WeftLaunch& launch);
  void CopyWithin(CUdeviceptr to, CUdeviceptr from, size_t bytes);
  // Host memory is pinned.
  void CopyIn(CUdeviceptr to, const void* from, size_t bytes);
  void CopyOut(void* to, CUdeviceptr from, size_t bytes);

  // Gives all of it to a stream. After an error, `failed` has the launch that it is about.
  CUresult Issue(const DriverApi& api, CUstream stream, Launches* failed) const;

  // Launches and copies.
  int64_t size() const { return size_; }
  size_t words() const { return words_.size(); }
  const Launches& launches() const { return launches_; }
  void Clear();
  friend bool operator==(const Work& a, const Work& b) { return a.words_ == b.words_; }

 private:
  void Copy(uint64_t kind, uint64_t to, uint64_t from, size_t bytes);

  std::vector<uint64_t> words_;
  int64_t size_ = 0;
  Launches launches_;
};

}  // namespace weft::cuda

#endif  // WEFT_RUNTIME_CUDA_WORK_H_
