// Counts what is allocated, by malloc and by mmap, on all threads: the second and later runs of a
// call, and of a session into the tensors of the run before, allocate nothing.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "runtime/session.h"
#include "runtime/testing/plan_builder.h"

namespace {
// Constant-initialised, so that the hooks may use it at any time.
std::atomic<long> allocations{0};
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
  ++allocations;
  return __libc_malloc(size);
}
void* calloc(size_t count, size_t size) {
  ++allocations;
  return __libc_calloc(count, size);
}
void* realloc(void* memory, size_t size) {
  ++allocations;
  return __libc_realloc(memory, size);
}
void* aligned_alloc(size_t alignment, size_t size) {
  ++allocations;
  return __libc_memalign(alignment, size);
}
void* memalign(size_t alignment, size_t size) {
  ++allocations;
  return __libc_memalign(alignment, size);
}
int posix_memalign(void** memory, size_t alignment, size_t size) {
  ++allocations;
  *memory = __libc_memalign(alignment, size);
  return *memory == nullptr ? ENOMEM : 0;
}
void* mmap(void* address, size_t size, int protection, int flags, int fd, off_t offset) noexcept {
  ++allocations;
  const long result = syscall(SYS_mmap, address, size, protection, flags, fd, offset);
  return reinterpret_cast<void*>(result);
}
void* mmap64(void* address, size_t size, int protection, int flags, int fd, off_t offset) noexcept {
  return mmap(address, size, protection, flags, fd, offset);
}
}  // extern "C"
#else
// The sanitizers own malloc; operators can be counted all the same.
void* operator new(size_t size) {
  ++allocations;
  void* memory = malloc(size);
  if (memory == nullptr) abort();
  return memory;
}
void* operator new(size_t size, const std::nothrow_t&) noexcept { return operator new(size); }
void operator delete(void* memory) noexcept { free(memory); }
void operator delete(void* memory, size_t) noexcept { free(memory); }
#endif

namespace weft {
namespace {

TEST(Allocations, AreCounted) {
  long before = allocations;
  // The compiler may leave out an allocation that nobody sees.
  static std::string* volatile text;
  text = new std::string(100, 'x');
  EXPECT_GE(allocations - before, 2);
  delete text;
  std::thread([&] {
    before = allocations;
    text = new std::string(100, 'x');
    delete text;
  }).join();
  EXPECT_GE(allocations - before, 2);
#ifndef WEFT_SANITIZED
  before = allocations;
  void* pages = mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  EXPECT_EQ(allocations - before, 1);
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
    const long before = allocations;
    bool ok = true;
    for (int i = 0; i < 10; ++i) {
      ok = ok && (*call)->Run().ok();
      ok = ok && (*call)->Run(with_deadline).ok();
      ok = ok && (*call)->Feed(0, test.feed).ok();
    }
    const long counted = allocations - before;
    EXPECT_TRUE(ok);
    EXPECT_EQ(counted, 0) << test.signature << " " << test.feed.TypeString();
  }
}

TEST(Allocations, NoneInTheSecondRunOfASession) {
  const auto session = MakeSession();
  const RunOptions with_deadline = WithDeadline();
  for (const Case& test : Cases()) {
    const std::string signature = test.signature;
    const NamedTensors feeds = {{test.input, test.feed}};
    NamedTensors outputs;
    ASSERT_TRUE(session->RunInto(signature, feeds, &outputs).ok());
    const long before = allocations;
    bool ok = true;
    for (int i = 0; i < 10; ++i) {
      ok = ok && session->RunInto(signature, feeds, &outputs).ok();
      ok = ok && session->RunInto(signature, feeds, &outputs, with_deadline).ok();
    }
    const long counted = allocations - before;
    EXPECT_TRUE(ok);
    EXPECT_EQ(counted, 0) << test.signature << " " << test.feed.TypeString();
  }
}

}  // namespace
}  // namespace weft
