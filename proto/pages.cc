#include "proto/pages.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstdint>

namespace weft {
namespace {

void* Map(size_t size) {
  void* data = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return data == MAP_FAILED ? nullptr : data;
}

}  // namespace

void* MapZeroPages(size_t size) {
  if (size < 2 * kLargePage) return Map(size);
  if (size > SIZE_MAX - kLargePage) {
    errno = ENOMEM;
    return nullptr;
  }
  // More than asked for, so that a large page starts in it; what lies outside goes back.
  char* data = static_cast<char*>(Map(size + kLargePage));
  if (data == nullptr) return nullptr;
  const size_t before = -reinterpret_cast<uintptr_t>(data) & (kLargePage - 1);
  if (before > 0) munmap(data, before);
  data += before;
  // The system rounds the size up to a page of its own; unmapping does the same.
  constexpr size_t kPage = 4096;
  const size_t end = (size + kPage - 1) & ~(kPage - 1);
  const size_t mapped = (size + kLargePage - before + kPage - 1) & ~(kPage - 1);
  if (mapped > end) munmap(data + end, mapped - end);
  // Only advice.
  madvise(data, size, MADV_HUGEPAGE);
  return data;
}

void UnmapPages(void* data, size_t size) { munmap(data, size); }

}  // namespace weft
