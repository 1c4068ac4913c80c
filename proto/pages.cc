#include "proto/pages.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <string_view>

namespace weft {
namespace {

void* Map(size_t size) {
  void* data = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return data == MAP_FAILED ? nullptr : data;
}

using File = std::unique_ptr<FILE, int (*)(FILE*)>;

File Open(const std::string& path) { return File(std::fopen(path.c_str(), "re"), std::fclose); }

// The number behind a name in a file of lines; where the name is empty, the number that the file
// begins with. Nothing where there is none ("max").
std::optional<uint64_t> NumberOf(const std::string& path, std::string_view name) {
  const File file = Open(path);
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

// Where the system says what a group of processes may take, and has.
struct MemoryGroup {
  const char *folder, *limit, *usage, *reclaimable;
};
constexpr MemoryGroup kUnified = {"/sys/fs/cgroup", "/memory.max", "/memory.current",
                                  "inactive_file "};
constexpr MemoryGroup kFirstVersion = {"/sys/fs/cgroup/memory", "/memory.limit_in_bytes",
                                       "/memory.usage_in_bytes", "total_inactive_file "};

// What pages of files hold that nobody uses goes back to whoever needs memory.
uint64_t LeftIn(const MemoryGroup& group, const std::string& folder) {
  const auto limit = NumberOf(folder + group.limit, "");
  if (!limit) return UINT64_MAX;
  const uint64_t usage = NumberOf(folder + group.usage, "").value_or(0);
  const uint64_t back = NumberOf(folder + "/memory.stat", group.reclaimable).value_or(0);
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
  // Of containers, each of which may lie in others. A container may see its own group as the root
  // of all, and the path that it has elsewhere.
  const File groups = Open(root + "/proc/self/cgroup");
  char line[4096];
  while (groups && std::fgets(line, sizeof(line), groups.get()) != nullptr) {
    std::string_view text(line);
    if (!text.empty() && text.back() == '\n') text.remove_suffix(1);
    const size_t first = text.find(':'), second = text.find(':', first + 1);
    if (first == text.npos || second == text.npos) continue;
    const std::string_view controllers = text.substr(first + 1, second - first - 1);
    std::string_view path = text.substr(second + 1);
    const MemoryGroup* group = controllers.empty()       ? &kUnified
                               : controllers == "memory" ? &kFirstVersion
                                                         : nullptr;
    if (group == nullptr) continue;
    while (true) {
      while (!path.empty() && path.back() == '/') path.remove_suffix(1);
      available = std::min(available, LeftIn(*group, root + group->folder + std::string(path)));
      if (path.empty()) break;
      path = path.substr(0, path.rfind('/') + 1);
    }
  }
  return available;
}

}  // namespace weft
