// What the device's tests share: a device on the fake driver, and queues that add 1 to numbers.
#ifndef WEFT_RUNTIME_CUDA_TESTING_DEVICE_FIXTURE_H_
#define WEFT_RUNTIME_CUDA_TESTING_DEVICE_FIXTURE_H_

#include <gtest/gtest.h>
#include <time.h>

#include <atomic>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "proto/container.h"
#include "proto/file.h"
#include "runtime/core/executor.h"
#include "runtime/cuda/testing/test_driver.h"

namespace weft {

// to[i] = from[i] + 1 for i below n.
inline constexpr char kIncrement[] = R"(.version 7.0
.target sm_70
.address_size 64
.visible .entry increment(.param .u64 from, .param .u64 to, .param .u64 n)
{
  .reg .pred %p<2>;
  .reg .b32 %r<3>;
  .reg .f32 %f<3>;
  .reg .b64 %rd<10>;
  ld.param.u64 %rd1, [from];
  ld.param.u64 %rd2, [to];
  ld.param.u64 %rd3, [n];
  mov.u32 %r1, %ctaid.x;
  mov.u32 %r2, %tid.x;
  mul.wide.u32 %rd4, %r1, 32;
  cvt.u64.u32 %rd5, %r2;
  add.u64 %rd6, %rd4, %rd5;
  setp.ge.u64 %p1, %rd6, %rd3;
  @%p1 bra done;
  shl.b64 %rd7, %rd6, 2;
  add.u64 %rd8, %rd1, %rd7;
  add.u64 %rd9, %rd2, %rd7;
  ld.global.f32 %f1, [%rd8];
  add.f32 %f2, %f1, 0f3F800000;
  st.global.f32 [%rd9], %f2;
done:
  ret;
}
)";

inline std::string Message(const absl::Status& status) { return std::string(status.message()); }

inline Container CodeOf(std::string_view code) {
  return Container::Open(Bytes::Of(WriteContainer({{"code", code, 12}}), "p.weftpkg")).value();
}

inline int64_t InMilliseconds(int64_t milliseconds) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec + milliseconds * 1'000'000;
}

class CudaDeviceTest : public testing::Test {
 protected:
  CudaDeviceTest() { cuda::ConfigureFakeDriver(); }
  ~CudaDeviceTest() override {
    device_ = nullptr;
    // All that was made is gone, and nothing was done that no driver allows.
    EXPECT_EQ(cuda::LeftInFakeDriver(), "");
    EXPECT_EQ(cuda::FakeDriverComplains(), "");
  }

  Device& device() {
    if (device_ == nullptr) device_ = cuda::FakeCudaDevice().value();
    return *device_;
  }

  std::shared_ptr<Device> device_;
};

// Some numbers on the device, and launches that add 1 to them.
class QueueTest : public CudaDeviceTest {
 protected:
  static constexpr int64_t kCount = 100;
  static constexpr size_t kBytes = kCount * sizeof(float);

  QueueTest()
      : code_(device().Load(CodeOf(kIncrement), {.section = "code"}).value()),
        kernel_(code_->Find({"increment", 0, 32}).value()) {}

  struct Run {
    explicit Run(DeviceQueue& q, int64_t deadline = INT64_MAX,
                 const std::atomic<bool>* cancel = nullptr)
        : queue(q) {
      args.deadline = deadline;
      args.cancel = reinterpret_cast<const uint8_t*>(cancel);
      queue.Bind(&args);
    }
    int Launch(const WeftLaunch& launch) { return args.device->launch(args.queue, &launch); }
    int Copy(const DeviceMemory& to, const DeviceMemory& from) {
      return args.device->copy(args.queue, to.data(), from.data(), kBytes);
    }
    int Read(void* host, const DeviceMemory& from, size_t bytes) {
      return args.device->read(args.queue, host, from.data(), static_cast<int64_t>(bytes));
    }
    void Commit() { args.device->commit(args.queue); }

    DeviceQueue& queue;
    WeftRunArgs args = {};
  };

  // A run that is given up when its launch was started: whoever asks for its end is cancelled then,
  // however fast this machine is. The GPU stays busy.
  void GiveUp(DeviceQueue& queue, const WeftLaunch& launch) {
    asked_ = false;
    cuda::ConfigureFakeDriver({.busy = true, .asked = &asked_});
    Run run(queue, INT64_MAX, &asked_);
    EXPECT_EQ(run.Launch(launch), 0);
    EXPECT_EQ(queue.Finish().code(), absl::StatusCode::kCancelled);
    cuda::ConfigureFakeDriver({.busy = true});
  }

  std::atomic<bool> asked_ = false;

  // A launch that stays as long as the test. `name` is of its node.
  WeftLaunch Increment(const DeviceMemory& from, const DeviceMemory& to,
                       const char* name = "node") {
    void** buffers = buffers_.emplace_back(std::vector<void*>{from.data(), to.data()}).data();
    steps_.push_back({});
    WeftStep& step = steps_.back();
    step.label = "fusion(add)";
    step.nodes = name;
    step.location = "model.cc:12";
    step.message = "";
    return {kernel_, buffers, &kSize, 2, 1, (kCount + 31) / 32, 0, &step, nullptr};
  }

  DeviceMemory Numbers(float value) {
    DeviceMemory memory = device().Allocate(kBytes).value();
    const std::vector<float> values(kCount, value);
    EXPECT_TRUE(device().CopyIn(memory.data(), values.data(), kBytes).ok());
    return memory;
  }
  std::vector<float> ValuesOf(const DeviceMemory& memory) {
    std::vector<float> values(kCount);
    EXPECT_TRUE(device().CopyOut(values.data(), memory.data(), kBytes).ok());
    return values;
  }
  // The lost context outlives the test otherwise.
  void ForgetLostContext() { cuda::ConfigureFakeDriver(); }

  static constexpr int64_t kSize = kCount;
  const std::unique_ptr<DeviceCode> code_;
  const WeftKernel kernel_;
  std::deque<std::vector<void*>> buffers_;
  std::deque<WeftStep> steps_;
};

}  // namespace weft

#endif  // WEFT_RUNTIME_CUDA_TESTING_DEVICE_FIXTURE_H_
