#include "proto/pages.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <string_view>

#include "proto/core/control_groups.h"

namespace weft {
namespace {

void* Map(size_t size) {
  void* data = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return data == MAP_FAILED ? nullptr : data;
}

// The number behind a name in a file of lines; where the name is empty, the number that the file
// begins with. Nothing where there is none ("max").
std::optional<uint64_t> NumberOf(const std::string& path, std::string_view name) {
  const std::unique_ptr<FILE, int (*)(FILE*)> file(std::fopen(path.c_str(), "re"), std::fclose);
  char line[256];
  while (file && std::fgets(line, sizeof(line), file.get()) != nullptr) {
    unsigned long long number = 0;
    if (std::string_view(line).substr(0, name.size()) == name &&
        std::sscanf(line + name.size(), "%llu", &number) == 1) {
      return number;
    }
  }
  return std::nullopt;
}

// The names of a group's files that say what its processes may take, and have.
struct MemoryFiles {
  const char *limit, *usage, *reclaimable;
};
constexpr MemoryFiles kUnified = {"/memory.max", "/memory.current", "inactive_file "};
constexpr MemoryFiles kFirstVersion = {"/memory.limit_in_bytes", "/memory.usage_in_bytes",
                                       "total_inactive_file "};

// What pages of files hold that nobody uses goes back to whoever needs memory.
uint64_t LeftIn(const MemoryFiles& files, const std::string& folder) {
  const auto limit = NumberOf(folder + files.limit, "");
  if (!limit) return UINT64_MAX;
  const uint64_t usage = NumberOf(folder + files.usage, "").value_or(0);
  const uint64_t back = NumberOf(folder + "/memory.stat", files.reclaimable).value_or(0);
  const uint64_t taken = usage - std::min(usage, back);
  return *limit - std::min(*limit, taken);
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

uint64_t AvailableMemory(const std::string& root) {
  uint64_t available = uint64_t{32} << 30;
  if (const auto free = NumberOf(root + "/proc/meminfo", "MemAvailable:")) available = *free << 10;
  ForEachControlGroup(root.c_str(), "memory", [&](StackPath* folder, bool version2) {
    available = std::min(available, LeftIn(version2 ? kUnified : kFirstVersion, folder->name()));
  });
  return available;
}

}  // namespace weft
