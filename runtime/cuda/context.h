// A GPU as the parts of its device share it: the driver's context, and whether it can be used.
#ifndef WEFT_RUNTIME_CUDA_CONTEXT_H_
#define WEFT_RUNTIME_CUDA_CONTEXT_H_

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/cuda/driver.h"
#include "runtime/cuda/staging.h"

namespace weft::cuda {

// Thread-safe. It must outlive whatever was made in it.
class Context {
 public:
  // Retains the primary context of a GPU, which the process may share with other libraries.
  static absl::StatusOr<std::shared_ptr<Context>> Open(const Driver* driver, int ordinal);
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  // Makes the context the calling thread's for a scope, whatever it was before.
  class Current {
   public:
    explicit Current(const Context& context) : context_(context) {
      (void)context_.api().cuCtxPushCurrent_v2(context_.context_);
    }
    Current(const Current&) = delete;
    Current& operator=(const Current&) = delete;
    ~Current() {
      CUcontext popped = nullptr;
      (void)context_.api().cuCtxPopCurrent_v2(&popped);
    }

   private:
    const Context& context_;
  };

  const Driver& driver() const { return *driver_; }
  const DriverApi& api() const { return driver_->api(); }
  // "cuda:0 (NVIDIA A100, sm_80)".
  const std::string& name() const { return name_; }
  int sm() const { return sm_; }
  int max_block_threads() const { return max_block_threads_; }
  int max_shared_bytes() const { return max_shared_bytes_; }

  // The status of a call's result: "cuda:0 (...): DOING: what the driver says". Memory that is
  // short is ResourceExhausted. After an error that the context does not outlive, Usable says so.
  absl::Status StatusOf(CUresult result, const std::string& doing);
  // FailedPrecondition once the context is lost.
  absl::Status Usable() const;

  // Work that a run gave up waiting for is recorded in an event, which stays its owner's.
  void Abandon(CUevent event);
  void Settle(CUevent event);
  bool has_abandoned() const;
  // Makes a stream wait for the work that other streams abandoned. Needs the context current.
  absl::Status WaitForAbandoned(CUstream stream);

  StagingPool& staging() { return staging_; }

 private:
  explicit Context(const Driver* driver) : driver_(driver) {}
  absl::Status Describe(int ordinal);

  const Driver* const driver_;
  CUdevice device_ = 0;
  CUcontext context_ = nullptr;  // null: not retained
  std::string name_;
  int sm_ = 0, max_block_threads_ = 0, max_shared_bytes_ = 0;

  mutable std::mutex mutex_;
  std::string lost_;  // the first error that the context did not outlive
  std::vector<CUevent> abandoned_;
  StagingPool staging_;
};

}  // namespace weft::cuda

#endif  // WEFT_RUNTIME_CUDA_CONTEXT_H_
