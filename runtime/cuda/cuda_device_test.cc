// The device on a driver made for tests (testing/fake_driver.h): what it asks of the driver, and
// what it says when the driver refuses. Queues are in queue_test and limits_test, whole graphs in
// tests/contracts.
#include "runtime/cuda/cuda_device.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "runtime/cuda/driver_api.h"
#include "runtime/cuda/testing/device_fixture.h"
#include "runtime/cuda/testing/fake_cubin.h"
#include "runtime/cuda/testing/test_driver.h"

namespace weft {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::HasSubstr;

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
  // A stub refuses everything, and what should describe that cannot be called.
  EXPECT_THAT(message({.version_result = cuda::CUDA_ERROR_STUB_LIBRARY}),
              AllOf(HasSubstr("toolkit's stub"), HasSubstr("out of the library path")));
  EXPECT_THAT(message({.version_result = cuda::CUDA_ERROR_UNKNOWN}),
              AllOf(HasSubstr("does not tell its version (error 999)"), HasSubstr("nvidia_uvm")));
  const std::pair<int, std::string> advice[] = {
      {cuda::CUDA_ERROR_NO_DEVICE, "CUDA_VISIBLE_DEVICES"},
      {cuda::CUDA_ERROR_SYSTEM_DRIVER_MISMATCH, "restart the machine"},
      {cuda::CUDA_ERROR_SYSTEM_NOT_READY, "nvidia-fabricmanager"},
      {cuda::CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE, "cuda-compat"},
      {cuda::CUDA_ERROR_MPS_CONNECTION_FAILED, "nvidia-cuda-mps-control"},
      {cuda::CUDA_ERROR_MPS_MAX_CONNECTIONS_REACHED, "nvidia-cuda-mps-control"},
      {cuda::CUDA_ERROR_OPERATING_SYSTEM, "dmesg"}};
  for (const auto& [result, text] : advice) {
    EXPECT_THAT(
        message({.init_result = result}),
        AllOf(HasSubstr("cannot be initialised: something failed (CUDA_ERROR_"), HasSubstr(text)));
  }
  EXPECT_THAT(message({.init_result = 47}), HasSubstr("cannot be initialised: error 47"));
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

TEST_F(CudaDeviceTest, AGpuThatAnotherProcessHas) {
  cuda::ConfigureFakeDriver({.retain_result = cuda::CUDA_ERROR_DEVICE_UNAVAILABLE});
  EXPECT_THAT(Message(cuda::FakeCudaDevice().status()),
              AllOf(HasSubstr("cuda:0 (Emulated GPU, sm_80): taking its context"),
                    HasSubstr("another process has the GPU for itself")));
}

// The application's own context stays what it is: nothing was pushed, nothing is popped.
TEST_F(CudaDeviceTest, AContextThatCannotBeUsed) {
  const DeviceMemory memory = device().Allocate(100).value();
  const auto queue = device().NewQueue(0).value();
  char byte = 0;
  // Not an error of a kernel, though it may mean one where somebody waits.
  cuda::ConfigureFakeDriver({.push_result = cuda::CUDA_ERROR_UNKNOWN});
  WeftRunArgs args = {};
  queue->Bind(&args);
  const absl::Status refused[] = {device().Allocate(100).status(),
                                  device().NewQueue(0).status(),
                                  device().Load(CodeOf(kIncrement), {.section = "code"}).status(),
                                  device().CopyIn(memory.data(), &byte, 1),
                                  queue->CopyIn(memory.data(), &byte, 1),
                                  queue->CopyOut(&byte, memory.data(), 1),
                                  queue->Finish()};
  for (const absl::Status& status : refused) {
    EXPECT_EQ(status.code(), absl::StatusCode::kInternal) << status;
    EXPECT_THAT(Message(status), HasSubstr("using its context: something failed"));
  }
  EXPECT_EQ(cuda::FakeDriverComplains(), "");
  cuda::ConfigureFakeDriver();
  EXPECT_TRUE(queue->CopyIn(memory.data(), &byte, 1).ok());
  EXPECT_TRUE(queue->Finish().ok());
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
                    HasSubstr("5242880 of 10485760 are free"), HasSubstr("end other programs")));
}

// What is free but for its being cleared yet is there for others.
TEST_F(CudaDeviceTest, MemoryThatWasGivenBackIsThereAgain) {
  cuda::ConfigureFakeDriver({.memory_bytes = 10 << 20});
  for (int i = 0; i < 3; ++i) {
    const auto most = device().Allocate(8 << 20);
    ASSERT_TRUE(most.ok()) << most.status();
  }
}

TEST_F(CudaDeviceTest, PinnedMemoryThatIsShort) {
  const DeviceMemory memory = device().Allocate(2 << 20).value();
  const std::vector<char> bytes(2 << 20);
  for (const size_t size : {size_t{100}, bytes.size()}) {
    cuda::ConfigureFakeDriver({.fail_pinning = 1});
    const absl::Status status = device().CopyIn(memory.data(), bytes.data(), size);
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << size;
    EXPECT_THAT(Message(status), AllOf(HasSubstr("can be pinned"), HasSubstr("ulimit -l")));
    EXPECT_TRUE(device().CopyIn(memory.data(), bytes.data(), size).ok());
  }
  cuda::ConfigureFakeDriver({.no_pinned = true});
  EXPECT_EQ(device().NewQueue(0).status().code(), absl::StatusCode::kResourceExhausted);
}

// Code.

TEST_F(CudaDeviceTest, CodeThatTheDriverRefuses) {
  const auto load = [&](std::string_view code) {
    return device().Load(CodeOf(code), {.section = "code"});
  };
  EXPECT_TRUE(load(kIncrement).ok());
  const absl::Status damaged = load(".version 7.0 this is no code").status();
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
  EXPECT_EQ(version.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(Message(version),
              AllOf(HasSubstr("for CUDA 12.4, is too old for PTX 8.6"), HasSubstr("update")));
}

// The driver is not told how long its image is, and takes machine code too, in containers whose
// headers it believes: it gets none of that (or would complain).
TEST_F(CudaDeviceTest, CodeThatIsNoText) {
  for (const std::string& code :
       {std::string("\x7f"
                    "ELF\x02\x01\x01\0\0\0\0\0\0\0\0\0",
                    16),
        std::string("\x50\xed\x55\xba\x01\0\x10\0\xff\xff\xff\xff\xff\xff\xff\xff", 16),
        std::string("\xb1\x43\x62\x46\x01\0\0\0AAAAAAAA", 16), std::string(),
        std::string(kIncrement) + '\0', std::string("this is no code")}) {
    const absl::Status status = device().Load(CodeOf(code), {.section = "code"}).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(Message(status), HasSubstr("p.weftpkg: section 'code': expected PTX, which"));
  }
}

// What an assembler made of the text is loaded by GPUs of its very generation, by drivers that know
// it; it is looked through first.
TEST_F(CudaDeviceTest, MachineCode) {
  const auto load = [&](const std::string& target, const std::string& machine_code) {
    const Container container =
        Container::Open(
            Bytes::Of(WriteContainer({{"cubin", machine_code, 12}, {"code", kIncrement, 12}}),
                      "p.weftpkg"))
            .value();
    auto code = device().Load(container, {"code", "cubin", target});
    if (code.ok()) EXPECT_TRUE((*code)->Find({"increment", 0, 32}).ok());
    return code.status();
  };
  const std::string whole = cuda::MakeFakeCubin(kIncrement);
  int64_t loaded = 0;
  const auto expect = [&](const std::string& target, bool is_loaded) {
    const absl::Status status = load(target, whole);
    EXPECT_TRUE(status.ok()) << status;
    loaded += is_loaded ? 1 : 0;
    EXPECT_EQ(cuda::CountInFakeDriver().machine_code, loaded) << target;
  };
  // The GPU is 8.0.
  expect("cuda:sm_80", true);
  expect("cuda:sm_70", false);
  cuda::ConfigureFakeDriver({.no_machine_code = true});
  loaded = 0;
  expect("cuda:sm_80", false);

  std::string damaged = whole;
  damaged.resize(damaged.size() - 9);
  const absl::Status status = load("cuda:sm_80", damaged);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(Message(status),
              HasSubstr("p.weftpkg: section 'cubin': its machine code is damaged: segment 0"));
  // Of no use here, it is not looked at.
  EXPECT_TRUE(load("cuda:sm_70", damaged).ok());
}

TEST_F(CudaDeviceTest, KernelsThatCannotBeLaunched) {
  std::string text = kIncrement;
  text += ".visible .entry narrow(.param .u32 n)\n{\nret;\n}\n";
  text += ".visible .entry exact()\n.reqntid 64, 1, 1\n{\nret;\n}\n";
  const auto code = device().Load(CodeOf(text), {.section = "code"}).value();
  const auto message = [&](const std::string& name, uint32_t threads) {
    const absl::Status status = code->Find({name, 0, threads}).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    return Message(status);
  };
  EXPECT_TRUE(code->Find({"increment", 0, 32}).ok());
  EXPECT_EQ(message("nothing", 32), "kernel 'nothing': is not in the code");
  EXPECT_THAT(message("increment", 0), HasSubstr("1 to 1024 threads in a block, got 0"));
  EXPECT_THAT(message("increment", 1025), HasSubstr("1 to 1024 threads in a block, got 1025"));
  EXPECT_THAT(message("narrow", 32), HasSubstr("a parameter of 8 bytes, got one of 4"));
  EXPECT_TRUE(code->Find({"exact", 0, 64}).ok());
  // It would be refused at each launch.
  EXPECT_EQ(message("exact", 32),
            "kernel 'exact': expected 64 threads in a block, as it states (.reqntid), got 32");
  {
    // Its parameters are not known there, and their number is nobody's to check.
    const auto old = cuda::FakeCudaDevice(0, cuda::kOldDriver);
    ASSERT_TRUE(old.ok()) << old.status();
    const auto same = (*old)->Load(CodeOf(text), {.section = "code"}).value();
    EXPECT_TRUE(same->Find({"narrow", 0, 32}).ok());
  }
  cuda::ConfigureFakeDriver({.threads_of_kernels = 256});
  EXPECT_THAT(message("increment", 512),
              HasSubstr("at most 256 threads in a block, since each uses 256 registers"));
}

}  // namespace
}  // namespace weft
