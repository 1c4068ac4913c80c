#include "runtime/testing/count_allocations.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <new>

namespace {
// Constant-initialised, so that the hooks may use it at any time.
std::atomic<long> allocations{0};
}  // namespace

namespace weft {

long AllocationCount() { return allocations; }

}  // namespace weft

#ifdef WEFT_COUNTS_MALLOC
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
