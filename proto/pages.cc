#include "proto/pages.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>

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

uint64_t AvailableMemory() {
  unsigned long long available = 32ull << 30, most = 0;
  if (FILE* memory = fopen("/proc/meminfo", "re")) {
    char line[128];
    while (fgets(line, sizeof(line), memory) != nullptr) {
      unsigned long long kilobytes = 0;
      if (sscanf(line, "MemAvailable: %llu kB", &kilobytes) == 1) available = kilobytes << 10;
    }
    fclose(memory);
  }
  // Of a container; "max" where there is no limit.
  if (FILE* group = fopen("/sys/fs/cgroup/memory.max", "re")) {
    if (fscanf(group, "%llu", &most) == 1) available = std::min(available, most);
    fclose(group);
  }
  return available;
}

}  // namespace weft
