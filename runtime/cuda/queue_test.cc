// Queues of the device on a driver made for tests: the order of what they do, graphs, and errors.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "runtime/cuda/driver_api.h"
#include "runtime/cuda/testing/device_fixture.h"
#include "runtime/cuda/testing/test_driver.h"
#include "runtime/testing/box_kernel.h"

namespace weft {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::Not;

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

// More shared memory than a driver gives without being asked, up to what the GPU has.
TEST_F(QueueTest, ScratchIsSharedMemoryOfABlock) {
  std::string text = kIncrement;
  const std::string header = ".address_size 64\n", store = "  st.global.f32";
  text.insert(text.find(header) + header.size(), ".extern .shared .align 16 .b8 scratch[];\n");
  text.insert(text.find(store),
              "mov.u32 %r1, scratch; mad.lo.u32 %r1, %r2, 4, %r1;\n"
              "st.shared.f32 [%r1+99872], %f2; ld.shared.f32 %f2, [%r1+99872];\n");
  const auto code = device().Load(CodeOf(text), {.section = "code"}).value();
  const DeviceMemory a = Numbers(0), b = Numbers(0);
  const auto queue = device().NewQueue(100000).value();
  WeftLaunch launch = Increment(a, b);
  launch.kernel = code->Find({"increment", 0, 32}).value();
  launch.scratch_bytes = 100000;
  // Alone, captured, and replayed.
  for (int i = 1; i < 4; ++i) {
    Run run(*queue);
    ASSERT_EQ(run.Launch(launch), 0);
    ASSERT_EQ(run.Copy(a, b), 0);
    const absl::Status status = queue->Finish();
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_THAT(ValuesOf(b), Each(i));
  }
  EXPECT_EQ(cuda::CountInFakeDriver().graph_launches, 2);
  EXPECT_EQ(device().max_scratch_bytes(), 163 << 10);
  launch.scratch_bytes = (163 << 10) + 4;
  Run run(*queue);
  EXPECT_EQ(run.Launch(launch), WEFT_ERROR_DEVICE);
  const absl::Status status = queue->Finish();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(Message(status), AllOf(HasSubstr("at most 166912 bytes of scratch"),
                                     HasSubstr("got 166916"), HasSubstr("node (model.cc:12)")));
}

// Of blocks that share tiles there are no more than multiprocessors, nor than tiles.
TEST_F(QueueTest, BlocksThatShareTilesAreAsManyAsMultiprocessors) {
  constexpr char kBlocks[] = R"(
.version 7.0
.target sm_80
.address_size 64
.visible .entry blocks(.param .u64 out, .param .u64 size) {
  .reg .b32 %r<2>;
  .reg .b64 %d<2>;
  ld.param.u64 %d1, [out];
  cvta.to.global.u64 %d1, %d1;
  mov.u32 %r1, %nctaid.x;
  st.global.u32 [%d1], %r1;
  ret;
}
)";
  const auto code = device().Load(CodeOf(kBlocks), {.section = "code"}).value();
  const DeviceMemory memory = device().Allocate(4).value();
  const auto queue = device().NewQueue(0).value();
  const auto blocks = [&](bool shares_tiles, int64_t tiles) {
    const KernelEntry entry = {.name = "blocks", .block_threads = 1, .shares_tiles = shares_tiles};
    void* buffers[] = {memory.data()};
    const int64_t size = 0;
    WeftLaunch launch = Increment(memory, memory);
    launch.kernel = code->Find(entry).value();
    launch.buffers = buffers;
    launch.num_buffers = 1;
    launch.sizes = &size;
    launch.num_sizes = 1;
    launch.tiles = tiles;
    int32_t result = 0;
    Run run(*queue);
    EXPECT_EQ(run.Launch(launch), 0);
    EXPECT_TRUE(queue->CopyOut(&result, memory.data(), sizeof result).ok());
    const absl::Status status = queue->Finish();
    EXPECT_TRUE(status.ok()) << status;
    return result;
  };
  EXPECT_EQ(blocks(false, 100), 100);
  EXPECT_EQ(blocks(true, 100), 4);
  EXPECT_EQ(blocks(true, 3), 3);
}

// Equal but for their scratch, launches are not the same work.
TEST_F(QueueTest, ScratchIsPartOfTheWork) {
  const DeviceMemory a = Numbers(0), b = Numbers(0);
  const auto queue = device().NewQueue(0).value();
  WeftLaunch launch = Increment(a, b);
  for (const int64_t scratch : {0, 0, 64, 64}) {
    launch.scratch_bytes = scratch;
    Run run(*queue);
    ASSERT_EQ(run.Launch(launch), 0);
    ASSERT_EQ(run.Copy(a, b), 0);
    ASSERT_TRUE(queue->Finish().ok());
  }
  EXPECT_EQ(cuda::CountInFakeDriver().executable_graphs, 2);
}

// Copies of rows of a matrix, each launch by a tensor map of what it reads.
class BoxTest : public CudaDeviceTest {
 protected:
  static constexpr int64_t kRows = 3;
  static constexpr size_t kBytes = kRows * 16 * sizeof(float);

  BoxTest() {
    cuda::ConfigureFakeDriver({.sm = 90});
    code_ = device().Load(CodeOf(plan_testing::kBoxKernel), {.section = "code"}).value();
    kernel_ = Find().value();
    step_.label = "copy";
    step_.nodes = "node";
    step_.location = "model.cc:12";
    step_.message = "";
  }
  ~BoxTest() override { code_ = nullptr; }

  absl::StatusOr<WeftKernel> Find() {
    return code_->Find({"boxes", 0, plan_testing::kBoxThreads, {&plan_testing::kBoxMap, 1}});
  }
  DeviceMemory Matrix(float first) {
    DeviceMemory memory = device().Allocate(kBytes).value();
    std::vector<float> values(kRows * 16);
    for (float& value : values) value = first++;
    EXPECT_TRUE(device().CopyIn(memory.data(), values.data(), kBytes).ok());
    return memory;
  }
  std::vector<float> ValuesOf(const DeviceMemory& memory) {
    std::vector<float> values(kRows * 16);
    EXPECT_TRUE(device().CopyOut(values.data(), memory.data(), kBytes).ok());
    return values;
  }
  // Twice, so that there is something to make a graph of.
  absl::Status Copy(DeviceQueue& queue, const DeviceMemory& from, const DeviceMemory& to,
                    int64_t rows = kRows) {
    const int64_t sizes[] = {16, rows, 64};
    void* buffers[] = {from.data(), to.data()};
    const WeftLaunch launch = {kernel_, buffers, sizes, 2, 3, kRows, 0, &step_, nullptr};
    WeftRunArgs args = {};
    args.deadline = INT64_MAX;
    queue.Bind(&args);
    for (int i = 0; i < 2; ++i) (void)args.device->launch(args.queue, &launch);
    return queue.Finish();
  }

  std::unique_ptr<DeviceCode> code_;
  WeftKernel kernel_;
  WeftStep step_ = {};
};

// They are of the addresses and sizes of the launch, alone, captured and replayed: other ones are
// other work.
TEST_F(BoxTest, TensorMapsAreOfTheLaunch) {
  const DeviceMemory a = Matrix(10), b = Matrix(500), to = Matrix(0);
  const auto queue = device().NewQueue(0).value();
  const std::vector<float> of_a = ValuesOf(a), of_b = ValuesOf(b);
  std::vector<float> one_row(of_a.size());
  std::copy_n(of_a.begin(), 16, one_row.begin());
  for (int i = 0; i < 4; ++i) {
    ASSERT_TRUE(Copy(*queue, a, to).ok());
    EXPECT_EQ(ValuesOf(to), of_a) << i;
    ASSERT_TRUE(Copy(*queue, b, to).ok());
    EXPECT_EQ(ValuesOf(to), of_b) << i;
    // The rest of the boxes is outside of the tensor.
    ASSERT_TRUE(Copy(*queue, a, to, 1).ok());
    EXPECT_EQ(ValuesOf(to), one_row) << i;
  }
  EXPECT_EQ(cuda::CountInFakeDriver().captures, 3);
  EXPECT_EQ(cuda::CountInFakeDriver().graph_launches, 9);
  // Of so many launches, one for each of what they are of.
  EXPECT_EQ(cuda::CountInFakeDriver().tensor_maps, 3);
}

// Those of very many launches are forgotten, and made again.
TEST_F(BoxTest, TensorMapsOfManyLaunches) {
  constexpr int kMany = 600;
  const DeviceMemory from = Matrix(10), to = Matrix(0);
  const auto queue = device().NewQueue(0).value();
  WeftRunArgs args = {};
  args.deadline = INT64_MAX;
  const auto launch = [&](int64_t stride) {
    const int64_t sizes[] = {16, 1, stride};
    void* buffers[] = {from.data(), to.data()};
    const WeftLaunch one_row = {kernel_, buffers, sizes, 2, 3, 1, 0, &step_, nullptr};
    queue->Bind(&args);
    ASSERT_EQ(args.device->launch(args.queue, &one_row), 0);
    ASSERT_TRUE(queue->Finish().ok());
  };
  for (int i = 0; i < kMany; ++i) launch(64 + 16 * i);
  EXPECT_EQ(cuda::CountInFakeDriver().tensor_maps, kMany);
  launch(64);
  EXPECT_EQ(cuda::CountInFakeDriver().tensor_maps, kMany + 1);
  launch(64);
  EXPECT_EQ(cuda::CountInFakeDriver().tensor_maps, kMany + 1);
  EXPECT_EQ(ValuesOf(to)[0], 10);
}

TEST_F(BoxTest, ATensorMapThatTheDriverRefuses) {
  const DeviceMemory a = Matrix(10), to = Matrix(0);
  const auto queue = device().NewQueue(0).value();
  cuda::ConfigureFakeDriver({.sm = 90, .fail_tensor_map = 1});
  EXPECT_THAT(Message(Copy(*queue, a, to)),
              AllOf(HasSubstr("making a tensor map for copy at node (model.cc:12)"),
                    HasSubstr("CUDA_ERROR_INVALID_VALUE")));
  ASSERT_TRUE(Copy(*queue, a, to).ok());
  EXPECT_EQ(ValuesOf(to), ValuesOf(a));
}

// Drivers before CUDA 12.0 have no function for it.
TEST_F(BoxTest, ADriverThatMakesNoTensorMaps) {
  code_ = nullptr;
  device_ = cuda::FakeCudaDevice(0, cuda::kOldDriver).value();
  code_ = device().Load(CodeOf(plan_testing::kBoxKernel), {.section = "code"}).value();
  const absl::Status status = Find().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(Message(status), AllOf(HasSubstr("kernel 'boxes': takes tensor maps"),
                                     HasSubstr("one for CUDA 12.0 or newer")));
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

// A graph makes things faster; where there is none, they are done one by one.
TEST_F(QueueTest, WhatNoGraphIsMadeOfIsDoneOneByOne) {
  const cuda::FakeDriverOptions failures[] = {
      {.fail_launch = 2}, {.fail_capture = 1}, {.fail_instantiate = 1}, {.fail_graph_launch = 1}};
  for (const cuda::FakeDriverOptions& failure : failures) {
    const DeviceMemory a = Numbers(0), b = Numbers(0);
    const auto queue = device().NewQueue(0).value();
    const WeftLaunch first = Increment(a, b, "first"), second = Increment(b, a, "second");
    for (int i = 0; i < 4; ++i) {
      cuda::ConfigureFakeDriver(i == 1 ? failure : cuda::FakeDriverOptions());
      Run run(*queue);
      ASSERT_EQ(run.Launch(first), 0);
      run.Commit();
      ASSERT_EQ(run.Launch(second), 0);
      const absl::Status status = queue->Finish();
      EXPECT_TRUE(status.ok()) << status;
      const cuda::FakeDriverCounts counts = cuda::CountInFakeDriver();
      EXPECT_EQ(counts.kernels, 2);
      EXPECT_EQ(counts.graph_launches, 0);
      EXPECT_EQ(counts.executable_graphs, 0);
      if (i > 1) EXPECT_EQ(counts.captures, 0);  // it is not tried again
    }
    EXPECT_THAT(ValuesOf(a), Each(8));
  }
}

// What a run gives after its commit changes variables, once it is started; what is refused before
// that changes none.
TEST_F(QueueTest, KnowsWhetherVariablesMayBeWritten) {
  const DeviceMemory a = Numbers(0), b = Numbers(0);
  const auto queue = device().NewQueue(0).value();
  const WeftLaunch up = Increment(a, b);
  WeftLaunch short_of_one = up;
  short_of_one.num_sizes = 0;
  const auto may_have_written = [&](const std::vector<const WeftLaunch*>& after,
                                    const cuda::FakeDriverOptions& options) {
    cuda::ConfigureFakeDriver(options);
    Run run(*queue);
    EXPECT_EQ(run.Launch(up), 0);
    run.Commit();
    for (const WeftLaunch* launch : after) {
      if (run.Launch(*launch) != 0) break;
    }
    EXPECT_FALSE(queue->Finish().ok());
    return queue->may_have_written();
  };
  EXPECT_FALSE(may_have_written({&up, &up}, {.fail_launch = 1}));
  EXPECT_FALSE(may_have_written({&up, &up}, {.fail_launch = 2}));
  EXPECT_TRUE(may_have_written({&up, &up}, {.fail_launch = 3}));
  EXPECT_FALSE(may_have_written({&up, &short_of_one}, {}));
  // More than is collected before it is started.
  std::vector<const WeftLaunch*> many(2000, &up);
  many.push_back(&short_of_one);
  EXPECT_TRUE(may_have_written(many, {}));
  // A large value from elsewhere is under way before what follows is refused.
  constexpr int64_t kLarge = (int64_t{1} << 20) + 12;
  const DeviceMemory large = device().Allocate(kLarge).value();
  const std::vector<char> bytes(kLarge, 1);
  for (const bool committed : {false, true}) {
    Run run(*queue);
    if (committed) run.Commit();
    EXPECT_EQ(run.args.device->write(run.args.queue, large.data(), bytes.data(), kLarge), 0);
    EXPECT_NE(run.Launch(short_of_one), 0);
    EXPECT_FALSE(queue->Finish().ok());
    EXPECT_EQ(queue->may_have_written(), committed);
  }
  // The GPU is lost, and with it all that it holds.
  EXPECT_TRUE(may_have_written({&up}, {.fail_kernel = 1}));
  ForgetLostContext();
}

TEST_F(QueueTest, LargeOutputsArriveWherePinnedMemoryIsShort) {
  constexpr size_t kLarge = (size_t{1} << 20) + 12;
  const DeviceMemory large = device().Allocate(kLarge).value(), small = Numbers(3);
  const auto queue = device().NewQueue(0).value();
  std::vector<char> result(kLarge, 1);
  std::vector<float> numbers(kCount);
  cuda::ConfigureFakeDriver({.no_pinned = true});
  Run run(*queue);
  ASSERT_EQ(run.Launch(Increment(small, small)), 0);
  run.Commit();
  ASSERT_TRUE(queue->CopyOut(result.data(), large.data(), kLarge).ok());
  ASSERT_TRUE(queue->CopyOut(numbers.data(), small.data(), kBytes).ok());
  const absl::Status status = queue->Finish();
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(result, std::vector<char>(kLarge));
  EXPECT_THAT(numbers, Each(4));
}

// What crosses in the midst of a run is behind the work given before, and the host's bytes are the
// caller's again.
TEST_F(QueueTest, WritesAreInOrder) {
  constexpr int64_t kLarge = (int64_t{1} << 20) + 12;
  const DeviceMemory a = Numbers(0), b = Numbers(0), c = Numbers(0);
  const DeviceMemory large = device().Allocate(kLarge).value();
  const auto queue = device().NewQueue(0).value();
  const WeftLaunch first = Increment(a, b), second = Increment(a, c);
  // A ring that was made once stays, so without one first.
  for (const bool no_pinned : {true, false}) {
    std::vector<float> feed(kCount), before(kCount), after(kCount);
    std::vector<char> bytes(kLarge, 7), back(kLarge);
    cuda::ConfigureFakeDriver({.no_pinned = no_pinned});
    Run run(*queue);
    const auto write = [&](const DeviceMemory& to, const void* host, int64_t size) {
      return run.args.device->write(run.args.queue, to.data(), host, size);
    };
    for (float value : {10.0f, 20.0f}) {
      feed.assign(kCount, value);
      ASSERT_EQ(write(a, feed.data(), kBytes), 0);
      feed.assign(kCount, -1);
      ASSERT_EQ(run.Launch(value == 10 ? first : second), 0);
    }
    ASSERT_EQ(write(large, bytes.data(), kLarge), 0);
    bytes.assign(kLarge, 0);
    ASSERT_EQ(write(large, nullptr, 0), 0);
    ASSERT_EQ(run.Read(back.data(), large, kLarge), 0);
    ASSERT_EQ(run.Read(before.data(), b, kBytes), 0);
    ASSERT_EQ(run.Read(after.data(), c, kBytes), 0);
    const absl::Status status = queue->Finish();
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_THAT(before, Each(11));
    EXPECT_THAT(after, Each(21));
    EXPECT_EQ(back, std::vector<char>(kLarge, 7));
  }
}

// A write does without pinned memory, not without what was given before it.
TEST_F(QueueTest, WritesDoNotHideThatLaunchesWereShortOfMemory) {
  constexpr int64_t kLarge = (int64_t{1} << 20) + 12;
  const DeviceMemory a = Numbers(0), large = device().Allocate(kLarge).value();
  const std::vector<char> bytes(kLarge, 7);
  const auto queue = device().NewQueue(0).value();
  for (const bool no_pinned : {true, false}) {
    cuda::ConfigureFakeDriver({.fail_launch = 1, .launch_result = 2, .no_pinned = no_pinned});
    Run run(*queue);
    ASSERT_EQ(run.Launch(Increment(a, a, "short")), 0);
    EXPECT_EQ(run.args.device->write(run.args.queue, large.data(), bytes.data(), kLarge),
              WEFT_ERROR_DEVICE);
    const absl::Status status = queue->Finish();
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
    EXPECT_THAT(Message(status), HasSubstr("launching fusion(add) at short (model.cc:12)"));
  }
}

// Not a few bytes at a time, each of which is waited for.
TEST_F(QueueTest, LargeReadsAreWaitedForOncePerPiece) {
  constexpr int64_t kLarge = (int64_t{6} << 20) + 12;
  const DeviceMemory large = device().Allocate(kLarge).value();
  const auto queue = device().NewQueue(0).value();
  const std::vector<char> bytes(kLarge, 7);
  ASSERT_TRUE(device().CopyIn(large.data(), bytes.data(), kLarge).ok());
  std::vector<char> back(kLarge);
  cuda::ConfigureFakeDriver({.busy = true});
  Run run(*queue);
  ASSERT_EQ(run.Read(back.data(), large, kLarge), 0);
  EXPECT_EQ(back, bytes);
  EXPECT_GT(cuda::CountInFakeDriver().blocked, 0);
  EXPECT_LE(cuda::CountInFakeDriver().blocked, 7);
  EXPECT_TRUE(queue->Finish().ok());
}

// A loop that looks at a value in each round gives the same work in each, though another device
// sends it something.
TEST_F(QueueTest, RoundsWithWritesAreReplayed) {
  const DeviceMemory a = Numbers(0), b = Numbers(0);
  const auto queue = device().NewQueue(0).value();
  const WeftLaunch up = Increment(a, b);
  std::vector<float> feed(kCount), result(kCount);
  for (const int run_of : {0, 1}) {
    cuda::ConfigureFakeDriver();
    Run run(*queue);
    for (int i = 0; i < 100; ++i) {
      feed.assign(kCount, static_cast<float>(i));
      ASSERT_EQ(run.args.device->write(run.args.queue, a.data(), feed.data(), kBytes), 0);
      ASSERT_EQ(run.Launch(up), 0);
      ASSERT_EQ(run.Read(result.data(), b, kBytes), 0);
      ASSERT_THAT(result, Each(i + 1));
    }
    ASSERT_TRUE(queue->Finish().ok());
    const cuda::FakeDriverCounts counts = cuda::CountInFakeDriver();
    EXPECT_EQ(counts.captures, run_of == 0 ? 1 : 0);
    EXPECT_EQ(counts.graph_launches, run_of == 0 ? 99 : 100);
  }
}

// Nor need it look at any: there are more rounds than places, and few graphs.
TEST_F(QueueTest, ManyWritesWithoutAWait) {
  constexpr int kRounds = 1200;
  const DeviceMemory a = Numbers(0), b = Numbers(0);
  const auto queue = device().NewQueue(0).value();
  std::vector<float> feed(kCount), result(kCount);
  std::vector<DeviceMemory> all;
  std::vector<WeftLaunch> launches;
  for (int i = 0; i < kRounds; ++i) {
    all.push_back(device().Allocate(kBytes).value());
    launches.push_back(Increment(a, all.back()));
  }
  const WeftLaunch up = Increment(a, b);
  for (const bool equal : {false, true}) {
    cuda::ConfigureFakeDriver();
    Run run(*queue);
    for (int i = 0; i < kRounds; ++i) {
      feed.assign(kCount, static_cast<float>(i));
      ASSERT_EQ(run.args.device->write(run.args.queue, a.data(), feed.data(), kBytes), 0);
      feed.assign(kCount, -1);
      ASSERT_EQ(run.Launch(equal ? up : launches[static_cast<size_t>(i)]), 0);
    }
    // Those of the run are at places of their own.
    ASSERT_TRUE(queue->CopyOut(result.data(), a.data(), kBytes).ok());
    ASSERT_TRUE(queue->Finish().ok());
    EXPECT_THAT(result, Each(kRounds - 1));
    const cuda::FakeDriverCounts counts = cuda::CountInFakeDriver();
    EXPECT_EQ(counts.kernels, kRounds);
    EXPECT_EQ(counts.captures, equal ? 2 : 0);
  }
  for (int i = 0; i < kRounds; ++i) ASSERT_THAT(ValuesOf(all[static_cast<size_t>(i)]), Each(i + 1));
  EXPECT_THAT(ValuesOf(b), Each(kRounds));
}

// Where a run's feeds have all of the places, waiting would free none: what is sent meanwhile is
// staged elsewhere, and nobody waits for what was given before.
TEST_F(QueueTest, WritesBesideManyFeedsDoNotWait) {
  const std::vector<char> feed(size_t{4} << 10, 7);
  const DeviceMemory a = Numbers(0), b = Numbers(0);
  const DeviceMemory fed = device().Allocate(feed.size()).value();
  const auto queue = device().NewQueue(0).value();
  const WeftLaunch up = Increment(a, b);
  cuda::ConfigureFakeDriver({.busy = true});
  Run run(*queue);
  for (int i = 0; i < 63; ++i) {
    ASSERT_TRUE(queue->CopyIn(fed.data(), feed.data(), feed.size()).ok());
  }
  std::vector<float> values(kCount, 1);
  ASSERT_EQ(run.Launch(up), 0);
  ASSERT_EQ(run.args.device->write(run.args.queue, a.data(), values.data(), kBytes), 0);
  ASSERT_EQ(run.Launch(up), 0);
  EXPECT_EQ(cuda::CountInFakeDriver().blocked, 0);
  ASSERT_TRUE(queue->Finish().ok());
  EXPECT_THAT(ValuesOf(b), Each(2));
}

TEST_F(QueueTest, WorkThatCannotBeRecordedAsUnderWayIsWaitedFor) {
  const DeviceMemory a = Numbers(0);
  const auto queue = device().NewQueue(0).value();
  cuda::ConfigureFakeDriver({.fail_launch = 2, .fail_record = 1});
  Run run(*queue);
  ASSERT_EQ(run.Launch(Increment(a, a)), 0);
  ASSERT_EQ(run.Launch(Increment(a, a)), 0);
  EXPECT_EQ(queue->Finish().code(), absl::StatusCode::kInternal);
  EXPECT_EQ(cuda::CountInFakeDriver().kernels, 1);
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
                                  device().Load(CodeOf(kIncrement), {.section = "code"}).status(),
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

// An error of a kernel comes back from any call after it, of any queue: those are not to blame.
class BlameTest : public QueueTest {
 protected:
  static constexpr size_t kLarge = size_t{2} << 20;
  static constexpr char kBad[] =
      "cuda:0 (Emulated GPU, sm_80): running fusion(add) at bad (model.cc:12): something failed "
      "(CUDA_ERROR_ILLEGAL_ADDRESS)";

  BlameTest() {
    EXPECT_EQ(ValuesOf(numbers_), std::vector<float>(kCount));  // nothing is cleared any more
    cuda::ConfigureFakeDriver({.fail_kernel = 1, .eager = true});
  }
  ~BlameTest() override { ForgetLostContext(); }

  const DeviceMemory numbers_ = Numbers(0), large_ = device().Allocate(kLarge).value();
  const std::unique_ptr<DeviceQueue> queue_ = device().NewQueue(0).value();
};

TEST_F(BlameTest, TheNextLaunchIsNotToBlame) {
  Run run(*queue_);
  ASSERT_EQ(run.Launch(Increment(numbers_, numbers_, "bad")), 0);
  ASSERT_EQ(run.Launch(Increment(numbers_, numbers_, "innocent")), 0);
  EXPECT_EQ(Message(queue_->Finish()), kBad);
  EXPECT_EQ(Message(device().Allocate(1).status()),
            std::string("this process cannot use the GPU any more and has to be started anew, "
                        "after: ") +
                kBad);
}

TEST_F(BlameTest, ACopyIsNotToBlame) {
  std::vector<char> result(kLarge);
  Run run(*queue_);
  ASSERT_EQ(run.Launch(Increment(numbers_, numbers_, "bad")), 0);
  ASSERT_TRUE(queue_->CopyOut(result.data(), large_.data(), kLarge).ok());
  EXPECT_EQ(Message(queue_->Finish()), kBad);
}

TEST_F(BlameTest, AllocatingIsNotToBlame) {
  cuda::ConfigureFakeDriver();
  const auto other = device().NewQueue(0).value();
  GiveUp(*other, Increment(numbers_, numbers_, "bad"));
  cuda::ConfigureFakeDriver({.fail_kernel = 1, .eager = true});
  {
    // Waits for the other's.
    Run run(*queue_);
    ASSERT_EQ(run.Launch(Increment(numbers_, numbers_, "innocent")), 0);
    EXPECT_THAT(Message(queue_->Finish()),
                AllOf(HasSubstr("fusion(add) at bad"), HasSubstr("ILLEGAL_ADDRESS")));
  }
  EXPECT_THAT(Message(device().Allocate(1).status()), HasSubstr("fusion(add) at bad"));
}

// All who open the GPU know.
TEST_F(BlameTest, AnotherDeviceOfTheSameGpuIsLostAsWell) {
  Run run(*queue_);
  ASSERT_EQ(run.Launch(Increment(numbers_, numbers_, "bad")), 0);
  EXPECT_EQ(Message(queue_->Finish()), kBad);
  const auto other = cuda::FakeCudaDevice();
  ASSERT_TRUE(other.ok()) << other.status();
  EXPECT_THAT(Message((*other)->Allocate(1).status()), HasSubstr(kBad));
}

TEST_F(BlameTest, AnUnknownErrorOfAWaitIsTheGpus) {
  cuda::ConfigureFakeDriver({.fail_kernel = 1, .kernel_result = cuda::CUDA_ERROR_UNKNOWN});
  Run run(*queue_);
  ASSERT_EQ(run.Launch(Increment(numbers_, numbers_, "bad")), 0);
  EXPECT_THAT(Message(queue_->Finish()), HasSubstr("running fusion(add) at bad"));
  EXPECT_EQ(device().Allocate(1).status().code(), absl::StatusCode::kFailedPrecondition);
}

// Graphs take memory of the driver's: all of a queue's have so many nodes at most, and count.
TEST_F(QueueTest, GraphsAreBounded) {
  constexpr int kRows = 12, kCopies = 500;
  const DeviceMemory from = Numbers(1);
  std::vector<DeviceMemory> memory;
  const auto queue = device().NewQueue(0).value();
  const int64_t before = queue->held_bytes();
  for (int i = 0; i < kRows; ++i) {
    memory.push_back(Numbers(0));
    for (int j = 0; j < 3; ++j) {
      Run run(*queue);
      for (int k = 0; k < kCopies; ++k) ASSERT_EQ(run.Copy(memory.back(), from), 0);
      ASSERT_TRUE(queue->Finish().ok());
    }
    const cuda::FakeDriverCounts counts = cuda::CountInFakeDriver();
    EXPECT_EQ(counts.executable_graphs, std::min(i + 1, 4096 / kCopies));
    EXPECT_EQ(counts.nodes, counts.executable_graphs * kCopies);
    EXPECT_GE(queue->held_bytes(), before + 100 * counts.nodes);
  }
  // Nor is any of them longer than that.
  Run run(*queue);
  for (int k = 0; k < 3 * kCopies; ++k) ASSERT_EQ(run.Copy(memory.back(), from), 0);
  ASSERT_TRUE(queue->Finish().ok());
  EXPECT_GT(cuda::CountInFakeDriver().captures, kRows);
  for (const DeviceMemory& each : memory) EXPECT_THAT(ValuesOf(each), Each(1));
}

TEST_F(QueueTest, ManyThreads) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      const auto code = device_->Load(CodeOf(kIncrement), {.section = "code"}).value();
      const WeftKernel kernel = code->Find({"increment", 0, 32}).value();
      const DeviceMemory from = device_->Allocate(kBytes).value();
      const DeviceMemory to = device_->Allocate(kBytes).value();
      void* const buffers[] = {from.data(), to.data()};
      WeftStep step = {};
      step.label = step.nodes = step.location = step.message = "";
      const WeftLaunch launch = {kernel, buffers, &kSize, 2, 1, 4, 0, &step, nullptr};
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
