// A GPU as the parts of its devices share it: the driver's context, and whether it can be used.
#ifndef WEFT_RUNTIME_CUDA_CONTEXT_H_
#define WEFT_RUNTIME_CUDA_CONTEXT_H_

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/cuda/driver.h"
#include "runtime/cuda/launches.h"
#include "runtime/cuda/staging.h"
#include "runtime/limits.h"

namespace weft::cuda {

// Thread-safe. It must outlive whatever was made in it.
class Context {
 public:
  // The primary context of a GPU, which the process may share with other libraries. There is one of
  // these for each while somebody has it: what one device learns of the GPU, all know.
  static absl::StatusOr<std::shared_ptr<Context>> Open(const Driver* driver, int ordinal);
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  // Makes the context the calling thread's for a scope, whatever it was before; where the driver
  // refuses that, nothing of the context may be used.
  class Current {
   public:
    explicit Current(Context& context)
        : context_(context), result_(context.api().cuCtxPushCurrent_v2(context.context_)) {}
    Current(const Current&) = delete;
    Current& operator=(const Current&) = delete;
    ~Current() {
      CUcontext popped = nullptr;
      if (ok()) (void)context_.api().cuCtxPopCurrent_v2(&popped);
    }
    bool ok() const { return result_ == CUDA_SUCCESS; }
    absl::Status status() const { return context_.StatusOf(result_, "using its context"); }

   private:
    Context& context_;
    const CUresult result_;
  };

  const Driver& driver() const { return *driver_; }
  const DriverApi& api() const { return driver_->api(); }
  // "cuda:0 (NVIDIA A100, sm_80)".
  const std::string& name() const { return name_; }
  int sm() const { return sm_; }
  int max_block_threads() const { return max_block_threads_; }
  int multiprocessors() const { return multiprocessors_; }
  // Shared memory of a block whose kernel asks for as much as there is.
  int max_shared_bytes() const { return max_shared_bytes_; }

  // The status of a call's result: "cuda:0 (...): DOING: what the driver says". Memory that is
  // short is ResourceExhausted. An error that the context does not outlive may come back from any
  // call, whatever it does: the text names the launches that are under way instead, and Usable says
  // it from then on.
  absl::Status StatusOf(CUresult result, const std::string& doing, bool waiting = false);
  // FailedPrecondition once the context is lost.
  absl::Status Usable() const;
  // What a queue gave the GPU, and has not seen done. To be forgotten before the queue ends.
  void SetUnderWay(const void* queue, const Launches& launches);
  void ForgetUnderWay(const void* queue);

  // All of these need the context current.
  // Work that nobody waits for on the host is recorded in an event: other streams wait for it.
  void Abandon(CUevent event);
  // Its owner saw it done.
  void Settle(CUevent event);
  // Makes a stream wait for what was abandoned and is not done; `*waits` tells whether there is
  // any, and else stays.
  absl::Status WaitForAbandoned(CUstream stream, bool* waits);
  // Gives something back that abandoned work may use: at once where nothing is under way, otherwise
  // when somebody calls this or Release after it is done, or with the context's end.
  void ReleaseLater(std::function<void(const DriverApi&)> release);
  void Release();
  // Memory of the GPU, with anything in it; given back by cuMemFree. ResourceExhausted where there
  // is not so much: how much is free. Where there would be with what is borrowed, that is waited
  // for: Cancelled or DeadlineExceeded where the limits ended it.
  absl::StatusOr<CUdeviceptr> Allocate(size_t bytes, const RunLimits& limits);
  // The same for what is soon given back, whatever others do: whoever borrows is not waited for in
  // vain. It waits for no other borrower; 0 where there is not so much.
  CUdeviceptr Borrow(size_t bytes);
  // Gives it back as ReleaseLater does.
  void Return(CUdeviceptr borrowed, size_t bytes);
  // Memory of the host that the GPU can reach; given back by cuMemFreeHost. ResourceExhausted where
  // the system has no more of it.
  absl::StatusOr<void*> Pin(size_t bytes);
  // Makes memory zero on the GPU, as work that is abandoned.
  absl::Status Clear(CUdeviceptr address, size_t bytes);
  // Waits until all memory is clear, so that what waits for no more than that is released.
  void FinishClearing();

  StagingPool& staging() { return staging_; }

 private:
  struct Abandoned {
    CUevent event;
    uint64_t number;  // counts what was abandoned
  };
  struct Deferred {
    std::function<void(const DriverApi&)> release;
    uint64_t number;  // of what was abandoned last before
  };

  explicit Context(const Driver* driver) : driver_(driver) {}
  absl::Status Describe(int ordinal);
  absl::Status MakeStream();
  // With the lock held: forgets abandoned work that is done.
  void ForgetDone();
  CUresult AllocateNow(size_t bytes, CUdeviceptr* address);
  void CountReturn(size_t bytes);

  const Driver* const driver_;
  CUdevice device_ = 0;
  CUcontext context_ = nullptr;  // null: not retained
  std::string name_;
  int sm_ = 0, max_block_threads_ = 0, max_shared_bytes_ = 0, multiprocessors_ = 0;

  mutable std::mutex mutex_;  // of these two
  std::string lost_;          // the first error that the context did not outlive
  std::map<const void*, Launches> under_way_;

  std::mutex abandoned_mutex_;  // of these three
  std::vector<Abandoned> abandoned_;
  std::vector<Deferred> deferred_;
  uint64_t last_number_ = 0;

  std::mutex borrowing_mutex_;  // of these three
  size_t borrowed_ = 0;         // bytes
  uint64_t returned_ = 0;       // so often was some given back
  std::condition_variable has_returned_;

  std::mutex clearing_mutex_;  // so that an event is recorded after the work that it is for
  CUstream clearing_ = nullptr;
  CUevent cleared_ = nullptr;

  StagingPool staging_;
};

}  // namespace weft::cuda

#endif  // WEFT_RUNTIME_CUDA_CONTEXT_H_
