// The device on a driver made for tests (testing/fake_driver.h): what it asks of the driver, what
// it says when the driver refuses, and that it waits for what it must. Whole graphs are in
// tests/contracts.
#include "runtime/cuda/cuda_device.h"

#include <elf.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <time.h>

#include <atomic>
#include <cstring>
#include <deque>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "proto/container.h"
#include "proto/file.h"
#include "runtime/core/executor.h"
#include "runtime/cuda/driver_api.h"
#include "runtime/cuda/testing/test_driver.h"

namespace weft {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::Not;

// to[i] = from[i] + 1 for i below n.
constexpr char kIncrement[] = R"(.version 7.0
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

std::string Message(const absl::Status& status) { return std::string(status.message()); }

Container CodeOf(std::string_view code) {
  return Container::Open(Bytes::Of(WriteContainer({{"code", code, 12}}), "p.weftpkg")).value();
}

int64_t InMilliseconds(int64_t milliseconds) {
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

// Loading the driver, and finding the GPU.

TEST_F(CudaDeviceTest, NoDriver) {
  const auto device = MakeCudaDevice({.driver_library = "libno_such_driver.so.1"});
  EXPECT_EQ(device.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(Message(device.status()), AllOf(HasSubstr("libno_such_driver.so.1 cannot be loaded"),
                                              HasSubstr("install the driver")));
}

TEST_F(CudaDeviceTest, ADriverThatLacksAFunction) {
  const auto device = MakeCudaDevice({.driver_library = cuda::kIncompleteDriver});
  EXPECT_EQ(device.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(Message(device.status()), HasSubstr("has no function cuGetErrorName"));
}

TEST_F(CudaDeviceTest, ADriverThatIsTooOldOrCannotStart) {
  const auto message = [](const cuda::FakeDriverOptions& options) {
    cuda::ConfigureFakeDriver(options);
    const auto device = MakeCudaDevice({.driver_library = cuda::NewNameOfFakeDriver()});
    EXPECT_EQ(device.status().code(), absl::StatusCode::kFailedPrecondition);
    return Message(device.status());
  };
  EXPECT_THAT(message({.version = 11020}),
              AllOf(HasSubstr("expected a driver for CUDA 11.4 or newer, got one for 11.2"),
                    HasSubstr("update the driver")));
  EXPECT_THAT(message({.init_result = cuda::CUDA_ERROR_NO_DEVICE}),
              HasSubstr("CUDA_VISIBLE_DEVICES"));
  EXPECT_THAT(message({.init_result = cuda::CUDA_ERROR_STUB_LIBRARY}), HasSubstr("stub"));
  EXPECT_THAT(message({.init_result = cuda::CUDA_ERROR_SYSTEM_DRIVER_MISMATCH}),
              HasSubstr("restart the machine"));
  EXPECT_THAT(message({.init_result = 46}), HasSubstr("cannot be initialised: error 46"));
}

TEST_F(CudaDeviceTest, AGpuThatIsNotThere) {
  cuda::ConfigureFakeDriver({.devices = 2});
  const auto third = cuda::FakeCudaDevice(2);
  EXPECT_EQ(third.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(Message(third.status()), HasSubstr("expected one of cuda:0 to cuda:1"));
  EXPECT_TRUE(cuda::FakeCudaDevice(1).ok());
  cuda::ConfigureFakeDriver({.devices = 1});
  EXPECT_THAT(Message(cuda::FakeCudaDevice(1).status()), HasSubstr("cuda:0, the only GPU"));
}

TEST_F(CudaDeviceTest, GenerationsOfGpus) {
  cuda::ConfigureFakeDriver({.sm = 61});
  const auto old = cuda::FakeCudaDevice();
  EXPECT_EQ(old.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(Message(old.status()),
              AllOf(HasSubstr("Emulated GPU, sm_61"), HasSubstr("7.0 or more, got 6.1")));
  const std::pair<int, std::string> targets[] = {{70, "cuda:sm_70"}, {75, "cuda:sm_70"},
                                                 {80, "cuda:sm_80"}, {89, "cuda:sm_80"},
                                                 {90, "cuda:sm_90"}, {100, "cuda:sm_90"}};
  for (const auto& [sm, target] : targets) {
    cuda::ConfigureFakeDriver({.sm = sm});
    const auto device = cuda::FakeCudaDevice();
    ASSERT_TRUE(device.ok()) << device.status();
    EXPECT_EQ((*device)->target(), target);
    std::string why;
    EXPECT_GE((*device)->Suits(target, {}, &why), 0) << why;
  }
  cuda::ConfigureFakeDriver({.sm = 90});
  std::string why;
  EXPECT_GT(device().Suits("cuda:sm_90a", {}, &why), device().Suits("cuda:sm_90", {}, &why));
  EXPECT_GT(device().Suits("cuda:sm_90", {}, &why), device().Suits("cuda:sm_80", {}, &why));
  EXPECT_EQ(device().Suits("cuda:sm_100", {}, &why), -1);
  EXPECT_EQ(device().Suits("cpu:x86-64-v3", {}, &why), -1);
  EXPECT_EQ(why, "cuda:sm_100 is newer than cuda:sm_90; cpu:x86-64-v3 is for another device");
}

// Memory.

TEST_F(CudaDeviceTest, MemoryIsZeroAndCopiesArrive) {
  for (const size_t size :
       {size_t{1}, size_t{100'000}, size_t{300'000}, size_t{1} << 20, (size_t{9} << 20) + 5}) {
    const DeviceMemory memory = device().Allocate(size).value();
    std::vector<uint8_t> bytes(size, 1);
    ASSERT_TRUE(device().CopyOut(bytes.data(), memory.data(), size).ok());
    EXPECT_THAT(bytes, Each(0)) << size;
    for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<uint8_t>(i * 7 / 5);
    ASSERT_TRUE(device().CopyIn(memory.data(), bytes.data(), size).ok());
    std::vector<uint8_t> back(size);
    ASSERT_TRUE(device().CopyOut(back.data(), memory.data(), size).ok());
    EXPECT_EQ(bytes, back) << size;
  }
  EXPECT_EQ(device().Allocate(0).value().data(), nullptr);
  EXPECT_TRUE(device().CopyIn(nullptr, nullptr, 0).ok());
}

TEST_F(CudaDeviceTest, MemoryThatIsShort) {
  cuda::ConfigureFakeDriver({.memory_bytes = 10 << 20});
  const auto half = device().Allocate(5 << 20);
  ASSERT_TRUE(half.ok());
  const auto more = device().Allocate(6 << 20);
  EXPECT_EQ(more.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(Message(more.status()),
              AllOf(HasSubstr("cuda:0 (Emulated GPU, sm_80)"), HasSubstr("expected 6291456 bytes"),
                    HasSubstr("5242880 of 10485760 are free")));
}

TEST_F(CudaDeviceTest, PinnedMemoryThatIsShort) {
  const DeviceMemory memory = device().Allocate(2 << 20).value();
  const std::vector<char> bytes(2 << 20);
  for (const size_t size : {size_t{100}, bytes.size()}) {
    cuda::ConfigureFakeDriver({.fail_pinning = 1});
    const absl::Status status = device().CopyIn(memory.data(), bytes.data(), size);
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << size;
    EXPECT_THAT(Message(status), HasSubstr("bytes of the host: out of memory"));
    EXPECT_TRUE(device().CopyIn(memory.data(), bytes.data(), size).ok());
  }
}

// Code.

TEST_F(CudaDeviceTest, CodeThatTheDriverRefuses) {
  const auto load = [&](std::string_view code) { return device().Load(CodeOf(code), "code"); };
  EXPECT_TRUE(load(kIncrement).ok());
  const absl::Status damaged = load("this is no code").status();
  EXPECT_EQ(damaged.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(Message(damaged), AllOf(HasSubstr("p.weftpkg: section 'code'"),
                                      HasSubstr("the driver's log: ptxas fatal")));
  cuda::ConfigureFakeDriver({.fail_load = 1});
  const std::string logged = Message(load(kIncrement).status());
  EXPECT_THAT(logged, AllOf(HasSubstr("line 7; error : told to fail\\001; !!!!"),
                            HasSubstr("CUDA_ERROR_INVALID_PTX")));
  EXPECT_LT(logged.size(), 1500);
  std::string newer = kIncrement;
  newer.replace(newer.find("7.0"), 3, "8.6");
  const absl::Status version = load(newer).status();
  EXPECT_EQ(version.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(Message(version),
              AllOf(HasSubstr("for CUDA 12.4, is too old for PTX 8.6"), HasSubstr("update")));
}

// The driver is not told how long a cubin is.
TEST_F(CudaDeviceTest, ACubinThatReachesPastItsEnd) {
  std::string cubin(sizeof(Elf64_Ehdr) + sizeof(Elf64_Shdr), '\0');
  Elf64_Ehdr header = {};
  memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_shoff = sizeof header;
  header.e_shentsize = sizeof(Elf64_Shdr);
  header.e_shnum = 1;
  const auto message = [&](const Elf64_Shdr& section) {
    memcpy(cubin.data(), &header, sizeof header);
    memcpy(cubin.data() + sizeof header, &section, sizeof section);
    return Message(device().Load(CodeOf(cubin), "code").status());
  };
  Elf64_Shdr section = {};
  section.sh_type = SHT_PROGBITS;
  section.sh_size = cubin.size();
  // Whole, but nothing that the emulator runs.
  EXPECT_THAT(message(section), HasSubstr("the driver's log"));
  section.sh_size = cubin.size() + 1;
  EXPECT_THAT(message(section), HasSubstr("the cubin is damaged"));
  section.sh_offset = ~uint64_t{0};
  section.sh_size = 2;
  EXPECT_THAT(message(section), HasSubstr("the cubin is damaged"));
  section = {};
  header.e_shnum = 2;
  EXPECT_THAT(message(section), HasSubstr("the cubin is damaged"));
  EXPECT_THAT(Message(device()
                          .Load(CodeOf("\x7f"
                                       "ELF"),
                                "code")
                          .status()),
              HasSubstr("the cubin is damaged"));
}

TEST_F(CudaDeviceTest, KernelsThatCannotBeLaunched) {
  std::string text = kIncrement;
  text += ".visible .entry narrow(.param .u32 n)\n{\nret;\n}\n";
  const auto code = device().Load(CodeOf(text), "code").value();
  const auto message = [&](const std::string& name, uint32_t threads) {
    const absl::Status status = code->Find({name, 0, threads}).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    return Message(status);
  };
  EXPECT_TRUE(code->Find({"increment", 0, 32}).ok());
  EXPECT_EQ(message("nothing", 32), "kernel 'nothing': is not in the code");
  EXPECT_THAT(message("increment", 0), HasSubstr("1 to 1024 threads in a block, got 0"));
  EXPECT_THAT(message("increment", 1025), HasSubstr("1 to 1024 threads in a block, got 1025"));
  EXPECT_THAT(message("narrow", 32), HasSubstr("parameters of 8 bytes, got one of 4"));
  {
    // Its parameters are not known there, and their number is nobody's to check.
    const auto old = cuda::FakeCudaDevice(0, cuda::kOldDriver);
    ASSERT_TRUE(old.ok()) << old.status();
    const auto same = (*old)->Load(CodeOf(text), "code").value();
    EXPECT_TRUE(same->Find({"narrow", 0, 32}).ok());
  }
  cuda::ConfigureFakeDriver({.threads_of_kernels = 256});
  EXPECT_THAT(message("increment", 512),
              HasSubstr("at most 256 threads in a block, since each uses 256 registers"));
}

// Queues.

// Some numbers on the device, and launches that add 1 to them.
class QueueTest : public CudaDeviceTest {
 protected:
  static constexpr int64_t kCount = 100;
  static constexpr size_t kBytes = kCount * sizeof(float);

  QueueTest()
      : code_(device().Load(CodeOf(kIncrement), "code").value()),
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
    return {kernel_, buffers, &kSize,  2,         1,      (kCount + 31) / 32,
            0,       &step,   nullptr, INT64_MAX, nullptr};
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

TEST_F(QueueTest, TheSameWorkIsCapturedAndReplayed) {
  const DeviceMemory a = Numbers(0), b = Numbers(0);
  const auto queue = device().NewQueue(0).value();
  const WeftLaunch up = Increment(a, b);
  for (int i = 0; i < 5; ++i) {
    cuda::ConfigureFakeDriver();
    const std::vector<float> feed(kCount, static_cast<float>(10 * i));
    std::vector<float> result(kCount);
    Run run(*queue);
    ASSERT_TRUE(queue->CopyIn(a.data(), feed.data(), kBytes).ok());
    for (int j = 0; j < 3; ++j) {
      ASSERT_EQ(run.Launch(up), 0);
      ASSERT_EQ(run.Copy(a, b), 0);
    }
    ASSERT_TRUE(queue->CopyOut(result.data(), b.data(), kBytes).ok());
    EXPECT_THAT(result, Each(0));  // nobody waited
    ASSERT_TRUE(queue->Finish().ok());
    EXPECT_THAT(result, Each(10 * i + 3));
    const cuda::FakeDriverCounts counts = cuda::CountInFakeDriver();
    EXPECT_EQ(counts.kernels, 3);
    EXPECT_EQ(counts.launches, i == 0 ? 3 : 0) << i;
    EXPECT_EQ(counts.captures, i == 1 ? 1 : 0) << i;
    EXPECT_EQ(counts.graph_launches, i == 0 ? 0 : 1) << i;
    EXPECT_EQ(counts.graphs, 0);
    EXPECT_EQ(counts.executable_graphs, i == 0 ? 0 : 1);
  }
}

TEST_F(QueueTest, OtherWorkIsAnotherGraphAndThereAreNotTooMany) {
  const DeviceMemory a = Numbers(0);
  std::vector<DeviceMemory> others;
  std::vector<WeftLaunch> launches;
  for (int i = 0; i < 40; ++i) {
    others.push_back(Numbers(0));
    launches.push_back(Increment(a, others.back()));
  }
  const auto queue = device().NewQueue(0).value();
  for (int round = 0; round < 3; ++round) {
    for (const WeftLaunch& launch : launches) {
      for (int twice = 0; twice < 2; ++twice) {
        Run run(*queue);
        ASSERT_EQ(run.Launch(launch), 0);
        ASSERT_EQ(run.Launch(launch), 0);
        ASSERT_TRUE(queue->Finish().ok());
      }
    }
    EXPECT_EQ(cuda::CountInFakeDriver().executable_graphs, 32);
  }
  for (const DeviceMemory& other : others) EXPECT_THAT(ValuesOf(other), Each(1));
}

TEST_F(QueueTest, ReadingWaitsForWhatCameBefore) {
  const DeviceMemory a = Numbers(1), b = Numbers(0);
  const auto queue = device().NewQueue(0).value();
  Run run(*queue);
  for (int i = 0; i < 4; ++i) {
    ASSERT_EQ(run.Launch(Increment(a, b)), 0);
    ASSERT_EQ(run.Launch(Increment(b, a)), 0);
    float first = 0;
    ASSERT_EQ(run.Read(&first, a, sizeof first), 0);
    EXPECT_EQ(first, 2 * i + 3);
    ASSERT_EQ(run.Read(nullptr, a, 0), 0);
  }
  ASSERT_TRUE(queue->Finish().ok());
}

// More than goes through at a time, both ways, and large after small and small after large.
TEST_F(QueueTest, LargeTensorsKeepTheirPlaceInTheOrder) {
  constexpr size_t kLarge = (size_t{5} << 20) + 12;
  const DeviceMemory large = device().Allocate(kLarge).value(), small = Numbers(0);
  const auto queue = device().NewQueue(0).value();
  for (int i = 1; i < 4; ++i) {
    const std::vector<char> feed(kLarge, static_cast<char>(i));
    std::vector<char> result(kLarge);
    std::vector<float> numbers(kCount, static_cast<float>(i)), after(kCount);
    Run run(*queue);
    ASSERT_TRUE(queue->CopyIn(small.data(), numbers.data(), kBytes).ok());
    ASSERT_TRUE(queue->CopyIn(large.data(), feed.data(), kLarge).ok());
    ASSERT_TRUE(queue->CopyOut(result.data(), large.data(), kLarge).ok());
    // Over the start of what goes out: that has to be gone.
    ASSERT_EQ(run.Copy(large, small), 0);
    ASSERT_TRUE(queue->CopyOut(after.data(), large.data(), kBytes).ok());
    ASSERT_TRUE(queue->Finish().ok());
    EXPECT_EQ(result, feed);
    EXPECT_EQ(after, numbers);
  }
}

TEST_F(QueueTest, LaunchesThatTheDriverRefuses) {
  const DeviceMemory a = Numbers(0), b = Numbers(0);
  const auto queue = device().NewQueue(0).value();
  const auto fails = [&](WeftLaunch launch) {
    Run run(*queue);
    const int result = run.Launch(launch);
    const absl::Status status = queue->Finish();
    EXPECT_EQ(result == 0, status.code() == absl::StatusCode::kInternal);
    return Message(status);
  };
  cuda::ConfigureFakeDriver({.fail_launch = 1});
  EXPECT_THAT(fails(Increment(a, b, "here")),
              AllOf(HasSubstr("launching fusion(add) at here (model.cc:12)"),
                    HasSubstr("CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES")));
  WeftLaunch wide = Increment(a, b, "wide");
  wide.tiles = int64_t{1} << 31;
  EXPECT_THAT(fails(wide), AllOf(HasSubstr("at most 2147483647 blocks, got 2147483648"),
                                 HasSubstr("wide (model.cc:12)")));
  WeftLaunch short_of_one = Increment(a, b);
  short_of_one.num_sizes = 0;
  EXPECT_THAT(fails(short_of_one), HasSubstr("a kernel of 2 buffers and 0 sizes, got one of 3"));
}

TEST_F(QueueTest, ALaunchThatFailsInACaptureIsNamedAndForgotten) {
  const DeviceMemory a = Numbers(0), b = Numbers(0);
  const auto queue = device().NewQueue(0).value();
  const WeftLaunch first = Increment(a, b, "first"), second = Increment(b, a, "second");
  for (int i = 0; i < 4; ++i) {
    cuda::ConfigureFakeDriver({.fail_launch = i == 1 ? 2 : 0});
    Run run(*queue);
    ASSERT_EQ(run.Launch(first), 0);
    ASSERT_EQ(run.Launch(second), 0);
    const absl::Status status = queue->Finish();
    EXPECT_EQ(status.ok(), i != 1);
    if (i == 1) EXPECT_THAT(Message(status), HasSubstr("launching fusion(add) at second"));
  }
  EXPECT_THAT(ValuesOf(a), Each(6));  // three runs of four
}

TEST_F(QueueTest, AKernelThatFailsEndsTheUseOfTheGpu) {
  const DeviceMemory a = Numbers(0), b = Numbers(0);
  {
    const auto queue = device().NewQueue(0).value();
    cuda::ConfigureFakeDriver({.fail_kernel = 1});
    Run run(*queue);
    ASSERT_EQ(run.Launch(Increment(a, b, "bad")), 0);
    const absl::Status status = queue->Finish();
    EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
    EXPECT_THAT(Message(status),
                AllOf(HasSubstr("running fusion(add) at bad (model.cc:12)"),
                      HasSubstr("CUDA_ERROR_ILLEGAL_ADDRESS"), Not(HasSubstr("one of"))));
    std::vector<float> values(kCount);
    const absl::Status later[] = {device().Allocate(100).status(),
                                  device().NewQueue(0).status(),
                                  device().Load(CodeOf(kIncrement), "code").status(),
                                  device().CopyIn(a.data(), values.data(), kBytes),
                                  device().CopyOut(values.data(), a.data(), kBytes),
                                  queue->CopyIn(a.data(), values.data(), kBytes)};
    for (const absl::Status& each : later) {
      EXPECT_EQ(each.code(), absl::StatusCode::kFailedPrecondition) << each;
      EXPECT_THAT(Message(each), AllOf(HasSubstr("started anew, after: cuda:0"),
                                       HasSubstr("running fusion(add) at bad")));
    }
  }
  ForgetLostContext();
}

TEST_F(QueueTest, OfSeveralLaunchesTheErrorNamesTheRange) {
  const DeviceMemory a = Numbers(0), b = Numbers(0);
  {
    const auto queue = device().NewQueue(0).value();
    Run run(*queue);
    ASSERT_EQ(run.Launch(Increment(a, b, "waited_for")), 0);
    ASSERT_EQ(run.Read(nullptr, a, 0), 0);
    cuda::ConfigureFakeDriver({.fail_kernel = 2});
    for (const char* name : {"first", "bad", "last"}) {
      ASSERT_EQ(run.Launch(Increment(a, b, name)), 0);
    }
    float value = 0;
    EXPECT_EQ(run.Read(&value, b, sizeof value), WEFT_ERROR_DEVICE);
    EXPECT_THAT(Message(queue->Finish()),
                AllOf(HasSubstr("one of 3 launches, from fusion(add) at first"),
                      HasSubstr("to fusion(add) at last"), HasSubstr("--profile")));
  }
  ForgetLostContext();
}

// Limits of a run.

TEST_F(QueueTest, ADeadlineEndsTheWaitingAndTheNextRunComesAfterwards) {
  const DeviceMemory a = Numbers(1), b = Numbers(0);
  const auto queue = device().NewQueue(0).value();
  std::vector<float> result(kCount, -1);
  cuda::ConfigureFakeDriver({.busy = true});
  {
    Run run(*queue, InMilliseconds(30));
    ASSERT_EQ(run.Launch(Increment(a, b)), 0);
    ASSERT_TRUE(queue->CopyOut(result.data(), b.data(), kBytes).ok());
    EXPECT_EQ(queue->Finish().code(), absl::StatusCode::kDeadlineExceeded);
  }
  EXPECT_THAT(result, Each(-1));
  EXPECT_EQ(cuda::CountInFakeDriver().kernels, 0);
  {
    // Its pinned memory is still in use.
    const std::vector<float> feed(kCount, 5);
    Run run(*queue, InMilliseconds(30));
    EXPECT_EQ(queue->CopyIn(a.data(), feed.data(), kBytes).code(),
              absl::StatusCode::kDeadlineExceeded);
    EXPECT_TRUE(queue->Finish().ok());
  }
  {
    Run run(*queue);
    ASSERT_EQ(run.Launch(Increment(b, a)), 0);
    ASSERT_TRUE(queue->CopyOut(result.data(), a.data(), kBytes).ok());
    ASSERT_TRUE(queue->Finish().ok());
  }
  EXPECT_THAT(result, Each(3));
}

TEST_F(QueueTest, WhatWasAbandonedComesBeforeWhatOthersDo) {
  const DeviceMemory a = Numbers(1);
  DeviceMemory b = Numbers(0);
  auto queue = device().NewQueue(0).value();
  const auto other = device().NewQueue(0).value();
  const auto abandon = [&](const DeviceMemory& from, const DeviceMemory& to) {
    cuda::ConfigureFakeDriver({.busy = true});
    Run run(*queue, InMilliseconds(10));
    ASSERT_EQ(run.Launch(Increment(from, to)), 0);
    EXPECT_EQ(queue->Finish().code(), absl::StatusCode::kDeadlineExceeded);
  };
  abandon(a, b);
  {
    // Reads `b` and writes `a`, which the first has to have written and read.
    Run run(*other);
    ASSERT_EQ(run.Launch(Increment(b, a)), 0);
    ASSERT_TRUE(other->Finish().ok());
  }
  EXPECT_THAT(ValuesOf(a), Each(3));
  abandon(a, b);
  EXPECT_THAT(ValuesOf(b), Each(4));  // the device's own copies wait as well
  abandon(a, b);
  b = DeviceMemory();  // and so does giving memory back: the driver would complain
  abandon(a, a);
  queue = nullptr;  // and the end of the queue
}

// Also a run that starts with neither feeds nor reads.
TEST_F(QueueTest, ARunAfterAnAbandonedOneIsDone) {
  const DeviceMemory a = Numbers(1), b = Numbers(0);
  const auto queue = device().NewQueue(0).value();
  {
    cuda::ConfigureFakeDriver({.busy = true});
    Run run(*queue, InMilliseconds(10));
    ASSERT_EQ(run.Launch(Increment(a, b)), 0);
    EXPECT_EQ(queue->Finish().code(), absl::StatusCode::kDeadlineExceeded);
  }
  Run run(*queue);
  ASSERT_EQ(run.Launch(Increment(b, a)), 0);
  ASSERT_TRUE(queue->Finish().ok());
  EXPECT_THAT(ValuesOf(a), Each(3));
}

TEST_F(QueueTest, CancellationEndsAWaitAndACommittedRunIsCompleted) {
  const DeviceMemory a = Numbers(1), b = Numbers(0);
  const auto queue = device().NewQueue(0).value();
  std::atomic<bool> cancel = false;
  cuda::ConfigureFakeDriver({.busy = true});
  std::thread canceller([&] {
    while (cuda::CountInFakeDriver().launches == 0) std::this_thread::yield();
    cancel = true;
  });
  {
    Run run(*queue, INT64_MAX, &cancel);
    ASSERT_EQ(run.Launch(Increment(a, b)), 0);
    float value = 0;
    EXPECT_EQ(run.Read(&value, b, sizeof value), WEFT_ERROR_CANCELLED);
    EXPECT_TRUE(queue->Finish().ok());  // it was said
  }
  canceller.join();
  cancel = false;
  {
    Run run(*queue, InMilliseconds(1000), &cancel);
    ASSERT_EQ(run.Launch(Increment(b, a)), 0);
    run.Commit();
    cancel = true;
    EXPECT_TRUE(queue->Finish().ok());
  }
  EXPECT_THAT(ValuesOf(a), Each(3));
  {
    // Cancelled before anything started: nothing does.
    cuda::ConfigureFakeDriver();
    Run run(*queue, INT64_MAX, &cancel);
    ASSERT_EQ(run.Launch(Increment(b, a)), 0);
    EXPECT_EQ(queue->Finish().code(), absl::StatusCode::kCancelled);
    EXPECT_EQ(cuda::CountInFakeDriver().launches, 0);
  }
}

TEST_F(QueueTest, ManyThreads) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      const auto code = device_->Load(CodeOf(kIncrement), "code").value();
      const WeftKernel kernel = code->Find({"increment", 0, 32}).value();
      const DeviceMemory from = device_->Allocate(kBytes).value();
      const DeviceMemory to = device_->Allocate(kBytes).value();
      void* const buffers[] = {from.data(), to.data()};
      WeftStep step = {};
      step.label = step.nodes = step.location = step.message = "";
      const WeftLaunch launch = {kernel, buffers, &kSize,  2,         1,      4,
                                 0,      &step,   nullptr, INT64_MAX, nullptr};
      const auto queue = device_->NewQueue(0).value();
      for (int i = 0; i < 20; ++i) {
        const auto value = static_cast<float>(100 * t + i);
        const std::vector<float> feed(kCount, value);
        std::vector<float> result(kCount);
        Run run(*queue);
        ASSERT_TRUE(queue->CopyIn(from.data(), feed.data(), kBytes).ok());
        ASSERT_EQ(run.Launch(launch), 0);
        ASSERT_TRUE(queue->CopyOut(result.data(), to.data(), kBytes).ok());
        ASSERT_TRUE(queue->Finish().ok());
        EXPECT_THAT(result, Each(value + 1));
        ASSERT_TRUE(device_->CopyOut(result.data(), from.data(), kBytes).ok());
        EXPECT_THAT(result, Each(value));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace weft
