// Contractions of a package by libraries: how one is chosen, what that costs, and what is refused;
// all of it by matrix products. cudnn_test.cc has convolutions.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "runtime/cuda/cublaslt.h"
#include "runtime/cuda/testing/libraries_fixture.h"

namespace weft {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

TEST_F(LibrariesTest, TheFastestIsChosenAndReplayed) {
  Open({{.id = 5, .microseconds = 20}, {.id = 6, .microseconds = 2.5}, {.id = 7}});
  // Algorithms have numbers of their own: the third takes a microsecond.
  session_->EnableProfiling(false);
  for (int i = 0; i < 4; ++i) {
    const auto got = Run(40, static_cast<float>(i));
    ASSERT_TRUE(got.ok()) << got.status();
    EXPECT_EQ(*got, Product(40, static_cast<float>(i))) << i;
  }
  EXPECT_GT(cuda::CountInFakeDriver().graph_launches, 0);
  session_->EnableProfiling(true);
  ASSERT_TRUE(Run(40).ok());
  EXPECT_EQ(Way(), "by cuBLASLt (algorithm 7): 1.0 us, kernel 10.0 us");
  // f32 is f32, and sums of parts are not rounded on the way.
  const cuda::FakeCublasLtCounts counts = cuda::CountInFakeCublasLt();
  EXPECT_EQ(counts.compute_type, 69);
  EXPECT_EQ(counts.reduction_schemes, 2);
  EXPECT_EQ(counts.alignment, 64);
}

TEST_F(LibrariesTest, WhatIsNotFasterByATwentiethIsLeft) {
  Open({{.microseconds = 9.6}});
  const auto got = Run(9);
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_THAT(*got, Each(7));
  EXPECT_EQ(Way(), "by its kernel: 10.0 us, cuBLASLt (algorithm 1) 9.6 us");
  Open({{.microseconds = 9.5}});
  EXPECT_EQ(*Run(9), Product(9));
}

// However long the library takes to load its code when it is first called.
TEST_F(LibrariesTest, LoadingIsNotMeasured) {
  for (const double load : {1000., 60000.}) {
    cuda::ConfigureFakeCublasLt({.algorithms = {{.microseconds = 2}}, .load_microseconds = load});
    OpenOn(DeviceWith(BothLibraries()).value(), Products());
    EXPECT_EQ(*Run(5), Product(5));
    EXPECT_EQ(Way(), "by cuBLASLt (algorithm 1): 2.0 us, kernel 10.0 us");
  }
}

// What takes long is not repeated, and what is short is, in graphs as in runs.
TEST_F(LibrariesTest, MeasuringTakesItsTime) {
  Open({{.microseconds = 2}});
  ASSERT_TRUE(Run(5).ok());
  EXPECT_GT(cuda::CountInFakeDriver().graph_launches, 0);
  EXPECT_GT(cuda::CountInFakeDriver().kernels, 100);
  cuda::ConfigureFakeDriver({.kernel_microseconds = 60000});
  Open({{.microseconds = 2}});
  ASSERT_TRUE(Run(5).ok());
  EXPECT_EQ(Way(), "by cuBLASLt (algorithm 1): 2.0 us, kernel 60000.0 us");
  EXPECT_EQ(cuda::CountInFakeDriver().graph_launches, 0);
  EXPECT_EQ(cuda::CountInFakeDriver().kernels, 2);
}

// Measuring is part of the run that it is done for.
TEST_F(LibrariesTest, TheDeadlineEndsMeasuring) {
  Open({{.microseconds = 2}});
  cuda::ConfigureFakeDriver({.busy = true});
  const NamedTensors feeds = {{"x", Numbers({5, kDepth}, 0)}};
  const auto late =
      session_->Run("f", feeds, {.deadline = absl::Now() + absl::Milliseconds(20)}).status();
  EXPECT_EQ(late.code(), absl::StatusCode::kDeadlineExceeded) << late;
  std::atomic<bool> cancel = false;
  std::atomic<bool> asked = false;
  cuda::ConfigureFakeDriver({.busy = true, .asked = &asked});
  std::thread canceller([&] {
    while (!asked) std::this_thread::yield();
    cancel = true;
  });
  EXPECT_EQ(session_->Run("f", feeds, {.cancel = &cancel}).status().code(),
            absl::StatusCode::kCancelled);
  canceller.join();
  // Nobody waited inside the driver, and nothing was chosen.
  EXPECT_EQ(cuda::CountInFakeDriver().blocked, 0);
  EXPECT_EQ(Way(), "no step");
  EXPECT_EQ(cuda::CountInFakeCublasLt().questions, 2);
  cuda::ConfigureFakeDriver();
  EXPECT_EQ(*Run(5), Product(5));
  EXPECT_EQ(Way(), "by cuBLASLt (algorithm 1): 2.0 us, kernel 10.0 us");
}

TEST_F(LibrariesTest, SizesAreMeasuredOnce) {
  Session& session = Open({{.microseconds = 2}});
  for (const int64_t rows : {5, 6, 5, 6, 6}) EXPECT_EQ(*Run(rows), Product(rows));
  EXPECT_EQ(cuda::CountInFakeCublasLt().questions, 2);
  const auto call = session.Prepare("f", {{5, kDepth}});
  ASSERT_TRUE(call.ok()) << call.status();
  EXPECT_EQ(cuda::CountInFakeCublasLt().questions, 2);
  ASSERT_TRUE((*call)->Feed(0, Numbers({5, kDepth}, 1)).ok());
  ASSERT_TRUE((*call)->Run().ok());
  EXPECT_EQ(Values((*call)->Output(0)), Product(5, 1));
  // Nothing to compute: nothing to ask.
  EXPECT_THAT(*Run(0), ElementsAre());
  EXPECT_EQ(cuda::CountInFakeCublasLt().questions, 2);
}

TEST_F(LibrariesTest, WhatTheLibraryRefusesIsLeft) {
  Open({{.id = 1, .microseconds = 1, .refuses = 15}, {.id = 2, .microseconds = 3}});
  EXPECT_EQ(*Run(5), Product(5));
  EXPECT_THAT(Way(), HasSubstr("algorithm 2"));
  Open({{.refuses = 15}, {.refuses = 13}});
  EXPECT_THAT(*Run(5), Each(7));
  EXPECT_EQ(Way(), "by its kernel: cuBLASLt refuses it");
  Open({});
  EXPECT_THAT(*Run(5), Each(7));
  EXPECT_EQ(Way(), "by its kernel: cuBLASLt has none");
}

// Neither along rows nor along columns: every second element.
TEST_F(LibrariesTest, LayoutsThatTheLibraryDoesNotHaveAreTheKernels) {
  Contractions products = Products();
  products.SetSize(C::kDepth, 2);
  products.SetSize(C::kLeftDepth, 2);
  Open({{}}, 0, products);
  EXPECT_THAT(*Run(5), Each(7));
  EXPECT_EQ(Way(), "by its kernel: cuBLASLt has none for operands whose neighbours lie apart");
  EXPECT_EQ(cuda::CountInFakeCublasLt().questions, 0);
}

TEST_F(LibrariesTest, AWorkspaceCountsInTheBudget) {
  const std::vector<Algorithm> algorithms = {
      {.id = 1, .microseconds = 1, .workspace_bytes = size_t{kMiB}}, {.id = 2, .microseconds = 3}};
  Session& session = Open(algorithms, kMiB * 3 / 2);
  EXPECT_EQ(*Run(5), Product(5));
  EXPECT_THAT(Way(), HasSubstr("by cuBLASLt (algorithm 1): 1.0 us"));
  // The call is kept, and its workspace with it, but makes room for another one.
  const auto call = session.Prepare("f", {{5, kDepth}});
  ASSERT_TRUE(call.ok()) << call.status();
  ASSERT_TRUE((*call)->Feed(0, Numbers({5, kDepth}, 1)).ok());
  ASSERT_TRUE((*call)->Run().ok());
  EXPECT_EQ(Values((*call)->Output(0)), Product(5, 1));
  // While that is there, no kernel does it instead, whose bits would be others.
  const auto refused = Run(5);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kResourceExhausted) << refused.status();
  EXPECT_THAT(Message(refused.status()),
              AllOf(HasSubstr("'f'"), HasSubstr("1048576 bytes"), HasSubstr("workspace")));
  // Of other sizes, those that need one are not even measured.
  EXPECT_EQ(*Run(6), Product(6));
  EXPECT_THAT(Way(), HasSubstr("by cuBLASLt (algorithm 2): 3.0 us"));
}

TEST_F(LibrariesTest, WithoutMemoryToMeasureInNothingIs) {
  Open({{}}, 256);
  EXPECT_THAT(*Run(5), Each(7));
  EXPECT_EQ(Way(), "by its kernel: not measured, for want of 768 bytes");
  // That of the GPU is short.
  cuda::ConfigureFakeDriver({.memory_bytes = kMiB});
  Open({{.workspace_bytes = size_t{2 * kMiB}}});
  EXPECT_THAT(*Run(5), Each(7));
  EXPECT_EQ(Way(), "by its kernel: not measured, for want of 2097920 bytes");
}

// The launch writes a variable: what is prepared and measured leaves it alone.
TEST_F(LibrariesTest, MeasuringTouchesNothingOfTheSession) {
  Session& session = Open({{.microseconds = 1}});
  const auto call = session.Prepare("assign", {{2, kDepth}});
  ASSERT_TRUE(call.ok()) << call.status();
  EXPECT_GT(cuda::CountInFakeCublasLt().calls, 0);
  EXPECT_GT(cuda::CountInFakeDriver().kernels, 0);
  EXPECT_EQ(Values(*session.GetVariable("v")), Values(Numbers({2, kColumns}, 100)));
  EXPECT_EQ(Values(*session.GetVariable("w")), Values(Numbers({kDepth, kColumns}, 0)));
  ASSERT_TRUE((*call)->Feed(0, Numbers({2, kDepth}, 0)).ok());
  ASSERT_TRUE((*call)->Run().ok());
  EXPECT_EQ(Values(*session.GetVariable("v")), Product(2));
}

TEST_F(LibrariesTest, ACallThatFailsNamesItsNode) {
  Open({{.microseconds = 1}});
  ASSERT_TRUE(Run(5).ok());
  const int64_t measured = cuda::CountInFakeDriver().graph_launches;
  // Where it is refused only while a graph is made, there is none.
  cuda::ConfigureFakeCublasLt({.fail_matmul = 1});
  for (int i = 0; i < 4; ++i) {
    const auto got = Run(5);
    ASSERT_TRUE(got.ok()) << got.status();
    EXPECT_EQ(*got, Product(5));
  }
  EXPECT_EQ(cuda::CountInFakeDriver().graph_launches, measured);
  cuda::ConfigureFakeCublasLt({.algorithms = {{.refuses = 13}}});
  const auto failed = Run(5);
  EXPECT_EQ(failed.status().code(), absl::StatusCode::kInternal);
  EXPECT_THAT(Message(failed.status()),
              AllOf(HasSubstr("product"), HasSubstr("model.cc:12"),
                    HasSubstr("by a library: CUBLAS_STATUS_EXECUTION_FAILED")));
  cuda::ConfigureFakeCublasLt();
  EXPECT_EQ(*Run(5), Product(5));
}

// What failed on the GPU before is no fault of the library, which is told of it first.
TEST_F(LibrariesTest, AFaultBeforeACallIsNotTheLibrarys) {
  Contractions products = Products();
  Plan& plan = products.plans[0];
  Step& first = *plan.mutable_blocks(0)->mutable_steps(0);
  Step& second = *plan.mutable_blocks(0)->add_steps();
  second = first;
  first.mutable_launch()->clear_contraction();
  first.set_label("before");
  first.set_location("model.cc:11");
  plan.set_commit_step(2);
  Open({{.microseconds = 1}}, 0, products);
  ASSERT_TRUE(Run(5).ok());
  cuda::ConfigureFakeDriver({.fail_kernel = 1, .eager = true});
  cuda::ConfigureFakeCublasLt({.fail_matmul = 1});
  const auto failed = Run(5);
  EXPECT_THAT(Message(failed.status()),
              AllOf(HasSubstr("model.cc:11"), HasSubstr("CUDA_ERROR_ILLEGAL_ADDRESS")));
  EXPECT_THAT(Message(Run(5).status()), HasSubstr("cannot use the GPU any more"));
  session_ = nullptr;
  cuda::ConfigureFakeDriver();
}

// A fault of the library's own kernels is the context's end, as one of ours.
TEST_F(LibrariesTest, AFaultWhileMeasuringIsAnError) {
  Open({{.microseconds = 1}});
  cuda::ConfigureFakeDriver({.fail_kernel = 1});
  const auto failed = Run(5);
  EXPECT_THAT(Message(failed.status()),
              AllOf(HasSubstr("product"), HasSubstr("CUDA_ERROR_ILLEGAL_ADDRESS")));
  session_ = nullptr;
  cuda::ConfigureFakeDriver();
}

TEST_F(LibrariesTest, ProductsOutsideOfTheirBuffersAreRefused) {
  for (const auto& [which, size] :
       std::vector<std::pair<size_t, int64_t>>{{C::kBatches, 2},
                                               {C::kRows, 6},
                                               {C::kColumns, 5},
                                               {C::kDepth, 4},
                                               {C::kLeftRow, 4},
                                               {C::kRightDepth, 5},
                                               {C::kRows, -1},
                                               {C::kLeftRow, INT64_MAX}}) {
    Contractions products = Products();
    products.SetSize(which, size);
    Open({{}}, 0, products);
    const auto refused = Run(5);
    EXPECT_EQ(refused.status().code(), absl::StatusCode::kInvalidArgument) << which;
    EXPECT_THAT(Message(refused.status()),
                AllOf(HasSubstr("expected a matrix product with"), HasSubstr("model.cc:12")))
        << which;
    EXPECT_EQ(cuda::CountInFakeCublasLt().questions, 0);
  }
  // A row of 4 of the 12 elements of w.
  Contractions products = Products();
  products.stated().set_bias(1);
  Open({{}}, 0, products);
  EXPECT_TRUE(Run(5).ok());
}

TEST_F(LibrariesTest, ALibraryThatIsAskedForHasToBeThere) {
  EXPECT_THAT(
      Message(DeviceWith({.use_cudnn = false, .cublaslt = {"libnowhere.so.7", "libelsewhere.so"}})
                  .status()),
      AllOf(HasSubstr("expected cuBLASLt 12 or 13"), HasSubstr("libnowhere.so.7"),
            HasSubstr("libelsewhere.so"), HasSubstr("--gpu-libraries")));
  EXPECT_THAT(
      Message(DeviceWith({.use_cudnn = false, .cublaslt = {cuda::kIncompleteDriver}}).status()),
      HasSubstr("has no function cublasLtGetVersion"));
  // Under another name, since one that was loaded stays.
  cuda::ConfigureFakeCublasLt({.version = 110902});
  const std::string again = std::string("./") + cuda::kFakeCublasLt;
  EXPECT_THAT(Message(DeviceWith({.use_cudnn = false, .cublaslt = {again}}).status()),
              HasSubstr("is of version 11.9.2"));
  cuda::ConfigureFakeCublasLt({.create_result = 1});
  EXPECT_THAT(Message(DeviceWith({.use_cudnn = false, .cublaslt = {cuda::kFakeCublasLt}}).status()),
              AllOf(HasSubstr("cuBLASLt 12.3.4 says CUBLAS_STATUS_NOT_INITIALIZED"),
                    HasSubstr("CUDA 12.4"), HasSubstr("--gpu-libraries")));
  // Not asked for by name, it is just not used.
  for (const char* library : {"libnowhere.so.7", cuda::kFakeCublasLt}) {
    const auto without = DeviceWith({.use_cudnn = false, .required = false, .cublaslt = {library}});
    ASSERT_TRUE(without.ok()) << without.status();
    OpenOn(*without, Products());
    EXPECT_THAT(*Run(5), Each(7));
    EXPECT_EQ(Way(), "");
  }
  // Want of memory says nothing of the library.
  cuda::ConfigureFakeCublasLt({.create_result = 3});
  const auto full =
      DeviceWith({.use_cudnn = false, .required = false, .cublaslt = {cuda::kFakeCublasLt}});
  EXPECT_EQ(full.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(Message(full.status()),
              AllOf(HasSubstr("CUBLAS_STATUS_ALLOC_FAILED"), HasSubstr("free memory")));
  // Where the first cannot be begun with, the next one is.
  cuda::ConfigureFakeCublasLt({.create_result = 1, .refusals = 1});
  const auto next = DeviceWith({.use_cudnn = false, .cublaslt = {again, cuda::kFakeCublasLt}});
  ASSERT_TRUE(next.ok()) << next.status();
  EXPECT_EQ(cuda::CountInFakeCublasLt().handles, 1);
}

TEST(CublasLtLacks, WhatItsDescriptionsDoNotSay) {
  const auto lacks = [](const ContractionSizes& sizes, uint32_t bias = C::kNone,
                        uint32_t alignment = 4) {
    const C product = {.dtype = DataType::kF32, .left = 0, .right = 1, .bias = bias};
    const char* lacking =
        cuda::CublasLtLacks({.contraction = product, .sizes = sizes, .bias_alignment = alignment});
    return std::string(lacking == nullptr ? "" : lacking);
  };
  // In rows; and one of the other way that either operand may lie.
  EXPECT_EQ(lacks({3, 5, 11, 7, 35, 7, 1, 77, 1, 11}), "");
  EXPECT_EQ(lacks({3, 5, 11, 7, 35, 1, 5, 77, 7, 1}), "");
  EXPECT_THAT(lacks({3, 5, 11, 7, 70, 14, 2, 77, 1, 11}), HasSubstr("lie apart"));
  EXPECT_THAT(lacks({3, 5, 11, 7, 35, 7, 1, 154, 2, 22}), HasSubstr("lie apart"));
  for (const C::Size size : {C::kBatches, C::kRows, C::kColumns, C::kDepth}) {
    ContractionSizes sizes = {1, 1, 1, 1, 0, 0, 0, 0, 0, 0};
    sizes[size] = INT32_MAX;
    EXPECT_THAT(lacks(sizes), Not(HasSubstr("2147483647"))) << size;
    sizes[size] += 1;
    EXPECT_THAT(lacks(sizes), HasSubstr("more than 2147483647")) << size;
  }
  EXPECT_EQ(lacks({1, 5, 11, 7, 0, 7, 1, 0, 1, 11}, 2, 16), "");
  EXPECT_THAT(lacks({1, 5, 11, 7, 0, 7, 1, 0, 1, 11}, 2, 8), HasSubstr("16 bytes"));
}

// As a run does, so that neither is slower for the other.
TEST_F(LibrariesTest, MeasuringWaitsForWhatWasGivenUp) {
  Open({{.microseconds = 2}});
  ASSERT_TRUE(Run(5).ok());
  // Cancelled as soon as somebody has to wait for the GPU.
  const auto give_up = [&](int64_t rows) {
    std::atomic<bool> cancel = false, asked = false;
    cuda::ConfigureFakeDriver({.busy = true, .asked = &asked});
    std::thread canceller([&] {
      while (!asked) std::this_thread::yield();
      cancel = true;
    });
    const absl::Status status =
        session_->Run("f", {{"x", Numbers({rows, kDepth}, 0)}}, {.cancel = &cancel}).status();
    canceller.join();
    return status.code();
  };
  ASSERT_EQ(give_up(5), absl::StatusCode::kCancelled);
  // This one is measured, and comes no further: behind that run, and its own memory's clearing.
  EXPECT_EQ(give_up(6), absl::StatusCode::kCancelled);
  EXPECT_EQ(cuda::CountInFakeDriver().launches, 1);
  EXPECT_EQ(cuda::CountInFakeDriver().event_waits, 2);
  EXPECT_EQ(cuda::CountInFakeDriver().blocked, 0);
  cuda::ConfigureFakeDriver();
  EXPECT_EQ(*Run(6), Product(6));
}

// What is measured in is soon free again, also where measuring is given up: a call that has no
// other room waits for it.
TEST_F(LibrariesTest, CallsWaitForMemoryOfTheGpuThatIsMeasuredIn) {
  // 4 MiB are for measuring, of 5; and the next call has 1.75 MiB of feeds and results.
  constexpr int64_t kRows = 1 << 16;
  const auto configure = [](bool busy, std::atomic<bool>* asked = nullptr) {
    // So long that nothing is measured twice.
    cuda::ConfigureFakeDriver(
        {.memory_bytes = 5 * kMiB, .kernel_microseconds = 60000, .busy = busy, .asked = asked});
  };
  const NamedTensors few = {{"x", Numbers({5, kDepth}, 0)}},
                     many = {{"x", Numbers({kRows, kDepth}, 0)}};
  for (const bool give_up : {false, true}) {
    configure(false);
    Open({{.id = 1, .microseconds = 50, .workspace_bytes = size_t{4 * kMiB}},
          {.id = 2, .microseconds = 1}});
    const std::unique_ptr<Session> measuring = std::move(session_);
    Session& waiting = OpenOn(device_, Products());
    std::atomic<bool> asked = false, cancel = false;
    configure(true, &asked);
    // With limits, so that nobody waits inside the driver.
    std::thread measures([&] {
      EXPECT_EQ(measuring->Run("f", few, {.cancel = &cancel}).status().code(),
                give_up ? absl::StatusCode::kCancelled : absl::StatusCode::kOk);
    });
    while (!asked) std::this_thread::yield();
    const auto late =
        waiting.Run("f", many, {.deadline = absl::Now() + absl::Milliseconds(20)}).status();
    EXPECT_EQ(late.code(), absl::StatusCode::kDeadlineExceeded);
    EXPECT_THAT(Message(late), HasSubstr("waiting for memory"));
    const int64_t refused = cuda::CountInFakeDriver().refused_allocations;
    std::thread waits([&] {
      const auto outputs = waiting.Run("f", many);
      EXPECT_TRUE(outputs.ok()) << outputs.status();
    });
    while (cuda::CountInFakeDriver().refused_allocations < refused + 2) std::this_thread::yield();
    cancel = give_up;
    if (give_up) measures.join();
    // Given up, it is still there.
    if (give_up) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    configure(false);
    if (!give_up) measures.join();
    waits.join();
  }
  // Nor is what would not be enough waited for.
  configure(false);
  Open({{.id = 1, .microseconds = 50, .workspace_bytes = size_t{1 * kMiB}}});
  const std::unique_ptr<Session> measuring = std::move(session_);
  Session& refused = OpenOn(device_, Products());
  std::atomic<bool> asked = false, cancel = false;
  configure(true, &asked);
  std::thread measures([&] { (void)measuring->Run("f", few, {.cancel = &cancel}); });
  while (!asked) std::this_thread::yield();
  EXPECT_EQ(refused.Run("f", {{"x", Numbers({4 * kRows, kDepth}, 0)}}).status().code(),
            absl::StatusCode::kResourceExhausted);
  cancel = true;
  measures.join();
  configure(false);
}

}  // namespace
}  // namespace weft
