// A stream of a GPU as a queue of a device.
#ifndef WEFT_RUNTIME_CUDA_QUEUE_H_
#define WEFT_RUNTIME_CUDA_QUEUE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/cuda/context.h"
#include "runtime/cuda/encode_maps.h"
#include "runtime/cuda/graph_cache.h"
#include "runtime/cuda/library_calls.h"
#include "runtime/cuda/staging.h"
#include "runtime/cuda/work.h"
#include "runtime/device.h"

namespace weft::cuda {

// Work is collected (work.h) until somebody waits, or moves a large tensor. Small tensors cross in
// pinned memory of the queue's own, at the same place in each run, so that their copies are part of
// a graph; larger ones go through a ring (staging.h), piece by piece. Values from other devices, of
// which a loop may bring any number, lie at the end of that memory, anew from there whenever the
// stream was seen done: so rounds of a loop are the same work as well.
class Queue final : public DeviceQueue {
 public:
  // `tuner`: null where all launches are kernels'.
  static absl::StatusOr<std::unique_ptr<Queue>> Make(std::shared_ptr<Context> context,
                                                     std::shared_ptr<Tuner> tuner = nullptr);
  // What is under way is abandoned: all that it uses is released afterwards.
  ~Queue() override;
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;

  absl::Status CopyIn(void* device, const void* host, size_t bytes) override;
  absl::Status CopyOut(void* host, const void* device, size_t bytes) override;
  void Bind(WeftRunArgs* args) override;
  absl::Status Finish() override;
  bool may_have_written() const override { return may_have_written_; }
  int64_t held_bytes() const override;
  absl::Status Tune(const TuningRequest& request) override;

 private:
  // Of a tensor that goes through `small_`, and of all of them together.
  static constexpr size_t kSmallBytes = size_t{256} << 10;
  // At the start of `small_`: for Read of little.
  static constexpr size_t kReadBytes = size_t{4} << 10;
  // Places at its end, after which the stream is waited for, so that graphs of long loops are few.
  static constexpr int kMaxWrites = 512;

  // A tensor that crosses at Finish: from pinned memory, or a large one from the device.
  struct SmallResult {
    void* host;
    const char* pinned;
    size_t bytes;
  };
  struct LargeResult {
    char* host;
    CUdeviceptr device;
    size_t bytes;
  };
  // Not waited for.
  struct Piece {
    char* host = nullptr;  // null: none
    size_t bytes = 0;
    bool is_result = false;
  };
  // What work that is under way uses.
  struct Resources {
    CUstream stream = nullptr;
    CUevent abandonment = nullptr;
    char* small = nullptr;
    GraphCache graphs;
    void Release(const DriverApi& api);
  };

  Queue(std::shared_ptr<Context> context, std::shared_ptr<Tuner> tuner)
      : context_(std::move(context)),
        tuner_(std::move(tuner)),
        resources_(std::make_shared<Resources>()) {}

  // The functions of a run, and its commit.
  static int Launch(void* queue, const WeftLaunch* launch);
  static int CopyWithin(void* queue, void* destination, const void* source, int64_t bytes);
  static int Read(void* queue, void* host, const void* source, int64_t bytes);
  static void Commit(void* queue);
  static int Write(void* queue, void* destination, const void* host, int64_t bytes);

  absl::Status Record(const WeftLaunch& launch);
  // CopyIn; `write`: from another device, in the midst of a run, in small pieces where no ring can
  // be had.
  absl::Status Bring(CUdeviceptr device, const char* host, size_t bytes, bool write);
  absl::Status FlushWhereFull();
  // Before anything that may overwrite large results: they cross now.
  absl::Status MoveLargeResults();
  // Through the first bytes of `small`, waiting for each piece.
  absl::Status ReadPieces(char* host, CUdeviceptr source, size_t bytes, bool is_result);
  // The same the other way round.
  absl::Status WritePieces(CUdeviceptr destination, const char* host, size_t bytes);
  // What a function of the run returns: the error is kept for Finish.
  int Keep(absl::Status status);

  // These need the context current.
  // Before anything else of a run: the GPU can be used, and nothing that was abandoned is touched.
  absl::Status Begin();
  // Gives the work collected so far to the stream.
  absl::Status Flush();
  absl::Status Complete();
  // Behind the work that was flushed, through the ring, which is there.
  absl::Status CopyInLarge(CUdeviceptr device, const char* host, size_t bytes);
  absl::Status CopyOutLarge();
  // What the work that was flushed made, now; in small pieces where no ring can be had.
  absl::Status ReadLarge(std::vector<LargeResult> all, bool are_results);
  absl::Status TakeRing();
  // A place of its own for so many bytes; null where there is none left.
  char* TakeSmall(size_t bytes);
  // The same for a value from another device, until the stream is seen done.
  char* TakeForWrite(size_t bytes);
  // Until the piece in the slot is where it belongs, and the slot free.
  absl::Status Drain(StagingRing::Slot& slot, Piece& piece);
  // Until the event, or, where that is null, all of the stream is done; or the run's limits end it:
  // then what was started is abandoned.
  absl::Status Wait(CUevent event);
  CUresult Poll(CUevent event, absl::Status* interruption) const;
  // Nobody waits for what is under way.
  void Abandon();
  void NothingIsUnderWay();
  // What the queue has given the stream and not seen done.
  void SetUnderWay(const Launches& launches);
  // DeadlineExceeded or Cancelled, where so and allowed.
  absl::Status Interruption() const;
  bool interruptible() const {
    return !committed_ && !delivering_ && (deadline_ != INT64_MAX || cancel_ != nullptr);
  }
  CUstream stream() const { return resources_->stream; }

  const std::shared_ptr<Context> context_;
  const std::shared_ptr<Tuner> tuner_;
  const std::shared_ptr<Resources> resources_;
  std::vector<std::unique_ptr<LibraryCalls>> calls_;  // of each of the plan's devices that is tuned

  // Of the run.
  Work work_;
  EncodedMaps maps_;
  std::vector<SmallResult> small_results_;
  std::vector<LargeResult> large_results_;
  std::unique_ptr<StagingRing> ring_;
  size_t small_used_ = kReadBytes;
  size_t written_ = 0;      // bytes from the end of `small_` on
  int writes_ = 0;          // values in them
  Launches launched_;       // since the stream was last seen done
  int64_t given_ = 0;       // launches and copies, since then
  bool in_flight_ = false;  // something was
  bool begun_ = false;
  bool interrupted_ = false;  // a wait of the run was
  bool abandoned_ =
      false;  // what an earlier run, or this one, started: so it is until all of the stream is done
  bool committed_ = true;  // nothing ends its waiting
  // Some of a large result is in the caller's memory: the rest will be.
  bool delivering_ = false;
  int64_t committed_at_ = 0;  // how much of work_ came before the commit
  bool may_have_written_ = false;
  int64_t deadline_ = INT64_MAX;
  const uint8_t* cancel_ = nullptr;
  absl::Status status_;
};

}  // namespace weft::cuda

#endif  // WEFT_RUNTIME_CUDA_QUEUE_H_
