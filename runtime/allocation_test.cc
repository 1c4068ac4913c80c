// Counts what is allocated: the second and later runs of a call allocate nothing.
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdlib>
#include <new>
#include <string>
#include <thread>

#include "absl/time/clock.h"
#include "runtime/session.h"
#include "runtime/testing/plan_builder.h"

namespace {
// Of this thread; constant-initialised, so that the hooks may use it at any time; volatile, since
// the compiler takes it that allocating changes nothing.
thread_local volatile long allocations = 0;
}  // namespace

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define WEFT_SANITIZED 1
#endif
#endif

#ifndef WEFT_SANITIZED
extern "C" {
void* __libc_malloc(size_t size);
void* __libc_calloc(size_t count, size_t size);
void* __libc_realloc(void* memory, size_t size);
void* __libc_memalign(size_t alignment, size_t size);

void* malloc(size_t size) {
  allocations = allocations + 1;
  return __libc_malloc(size);
}
void* calloc(size_t count, size_t size) {
  allocations = allocations + 1;
  return __libc_calloc(count, size);
}
void* realloc(void* memory, size_t size) {
  allocations = allocations + 1;
  return __libc_realloc(memory, size);
}
void* aligned_alloc(size_t alignment, size_t size) {
  allocations = allocations + 1;
  return __libc_memalign(alignment, size);
}
}  // extern "C"
#else
// The sanitizers own malloc; operators can be counted all the same.
void* operator new(size_t size) {
  allocations = allocations + 1;
  void* memory = malloc(size);
  if (memory == nullptr) abort();
  return memory;
}
void operator delete(void* memory) noexcept { free(memory); }
void operator delete(void* memory, size_t) noexcept { free(memory); }
#endif

namespace weft {
namespace {

TEST(Allocations, AreCounted) {
  const long before = allocations;
  // The compiler may leave out an allocation that nobody sees.
  static std::string* volatile text;
  text = new std::string(100, 'x');
  EXPECT_GE(allocations - before, 2);
  delete text;
}

TEST(Allocations, NoneInTheSecondRun) {
  SessionOptions options;
  options.threads = 2;
  auto session = Session::FromPackage(plan_testing::MakeTestPackage().Bytes(), options);
  ASSERT_TRUE(session.ok()) << session.status();
  ASSERT_TRUE((*session)->Run("init", {}).ok());
  const HostTensor x = HostTensor::Create(DataType::kF32, {50000, 4}).value();
  const HostTensor d = HostTensor::Create(DataType::kF32, {4}).value();
  const HostTensor limit = HostTensor::Scalar<int64_t>(100);
  struct {
    const char* signature;
    std::vector<std::vector<int64_t>> shapes;
    const HostTensor* feed;
  } cases[] = {{"predict", {{50000, 4}}, &x}, {"step", {{4}}, &d}, {"count", {{}}, &limit}};
  for (const auto& test : cases) {
    auto call = (*session)->Prepare(test.signature, test.shapes);
    ASSERT_TRUE(call.ok()) << call.status();
    ASSERT_TRUE((*call)->Feed(0, *test.feed).ok());
    ASSERT_TRUE((*call)->Run().ok());
    RunOptions with_deadline;
    with_deadline.deadline = absl::Now() + absl::Hours(1);
    const long before = allocations;
    bool ok = true;
    for (int i = 0; i < 10; ++i) {
      ok = ok && (*call)->Run().ok();
      ok = ok && (*call)->Run(with_deadline).ok();
      ok = ok && (*call)->Feed(0, *test.feed).code() == absl::StatusCode::kOk;
    }
    const long counted = allocations - before;
    EXPECT_TRUE(ok);
    EXPECT_EQ(counted, 0) << test.signature;
  }
}

}  // namespace
}  // namespace weft
