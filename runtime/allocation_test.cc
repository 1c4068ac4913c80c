// Counts what is allocated, by malloc and by mmap, on all threads: the second and later runs of a
// call, in C++ and in C, and of a session into the tensors of the run before, allocate nothing.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "runtime/c_api.h"
#include "runtime/session.h"
#include "runtime/testing/count_allocations.h"
#include "runtime/testing/plan_builder.h"

namespace weft {
namespace {

TEST(Allocations, AreCounted) {
  long before = AllocationCount();
  // The compiler may leave out an allocation that nobody sees.
  static std::string* volatile text;
  text = new std::string(100, 'x');
  EXPECT_GE(AllocationCount() - before, 2);
  delete text;
  std::thread([&] {
    before = AllocationCount();
    text = new std::string(100, 'x');
    delete text;
  }).join();
  EXPECT_GE(AllocationCount() - before, 2);
#ifdef WEFT_COUNTS_MALLOC
  before = AllocationCount();
  void* pages = mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  EXPECT_EQ(AllocationCount() - before, 1);
  munmap(pages, 4096);
#endif
}

struct Case {
  const char* signature;
  const char* input;
  HostTensor feed;
};

// Small, large enough for two threads, and large enough for outputs of pages of their own.
std::vector<Case> Cases() {
  const auto floats = [](std::vector<int64_t> shape) {
    return HostTensor::Create(DataType::kF32, shape).value();
  };
  return {{"predict", "x", floats({3, 4})},
          {"predict", "x", floats({50'000, 4})},
          {"predict", "x", floats({1'000'000, 4})},
          {"step", "d", floats({4})},
          {"count", "limit", HostTensor::Scalar<int64_t>(100)}};
}

std::unique_ptr<Session> MakeSession() {
  SessionOptions options;
  options.threads = 2;
  auto session = Session::FromPackage(plan_testing::MakeTestPackage().Bytes(), options);
  EXPECT_TRUE(session.ok()) << session.status();
  EXPECT_TRUE((*session)->Run("init", {}).ok());
  return *std::move(session);
}

RunOptions WithDeadline() {
  RunOptions options;
  options.deadline = absl::Now() + absl::Hours(1);
  return options;
}

TEST(Allocations, NoneInTheSecondRunOfACall) {
  const auto session = MakeSession();
  const RunOptions with_deadline = WithDeadline();
  for (const Case& test : Cases()) {
    auto call = session->Prepare(test.signature, {test.feed.shape()});
    ASSERT_TRUE(call.ok()) << call.status();
    ASSERT_TRUE((*call)->Feed(0, test.feed).ok());
    ASSERT_TRUE((*call)->Run().ok());
    const long before = AllocationCount();
    bool ok = true;
    for (int i = 0; i < 10; ++i) {
      ok = ok && (*call)->Run().ok();
      ok = ok && (*call)->Run(with_deadline).ok();
      ok = ok && (*call)->Feed(0, test.feed).ok();
    }
    const long counted = AllocationCount() - before;
    EXPECT_TRUE(ok);
    EXPECT_EQ(counted, 0) << test.signature << " " << test.feed.TypeString();
  }
}

TEST(Allocations, NoneInTheSecondRunOfACallInC) {
  const std::string package = plan_testing::MakeTestPackage().Bytes();
  WeftSessionOptions session_options = {};
  session_options.struct_size = sizeof(session_options);
  session_options.threads = 2;
  WeftSession* session = weft_session_from_memory(package.data(), package.size(), &session_options);
  ASSERT_NE(session, nullptr) << weft_error_message();
  WeftCall* init = weft_session_prepare(session, "init", nullptr);
  ASSERT_EQ(weft_call_run(init, nullptr), WEFT_STATUS_OK) << weft_error_message();
  weft_call_free(init);
  WeftRunOptions options = {};
  options.struct_size = sizeof(options);
  options.timeout_seconds = 3600;
  for (const Case& test : Cases()) {
    const int64_t* const shapes[] = {test.feed.shape().data()};
    WeftCall* call = weft_session_prepare(session, test.signature, shapes);
    ASSERT_NE(call, nullptr) << weft_error_message();
    ASSERT_EQ(weft_call_feed(call, 0, test.feed.data()), WEFT_STATUS_OK);
    ASSERT_EQ(weft_call_run(call, nullptr), WEFT_STATUS_OK) << weft_error_message();
    WeftTensor output;
    const long before = AllocationCount();
    bool ok = true;
    for (int i = 0; i < 10; ++i) {
      ok = ok && weft_call_feed(call, 0, test.feed.data()) == WEFT_STATUS_OK;
      ok = ok && weft_call_run(call, nullptr) == WEFT_STATUS_OK;
      ok = ok && weft_call_run(call, &options) == WEFT_STATUS_OK;
      ok = ok && weft_call_output(call, 0, &output) == WEFT_STATUS_OK;
    }
    const long counted = AllocationCount() - before;
    EXPECT_TRUE(ok) << weft_error_message();
    EXPECT_EQ(counted, 0) << test.signature << " " << test.feed.TypeString();
    weft_call_free(call);
  }
  weft_session_free(session);
}

TEST(Allocations, NoneInTheSecondRunOfASession) {
  const auto session = MakeSession();
  const RunOptions with_deadline = WithDeadline();
  for (const Case& test : Cases()) {
    const std::string signature = test.signature;
    const NamedTensors feeds = {{test.input, test.feed}};
    NamedTensors outputs;
    ASSERT_TRUE(session->RunInto(signature, feeds, &outputs).ok());
    const long before = AllocationCount();
    bool ok = true;
    for (int i = 0; i < 10; ++i) {
      ok = ok && session->RunInto(signature, feeds, &outputs).ok();
      ok = ok && session->RunInto(signature, feeds, &outputs, with_deadline).ok();
    }
    const long counted = AllocationCount() - before;
    EXPECT_TRUE(ok);
    EXPECT_EQ(counted, 0) << test.signature << " " << test.feed.TypeString();
  }
}

}  // namespace
}  // namespace weft
