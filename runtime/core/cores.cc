// How many threads are worth having.
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "runtime/core/cpu.h"
#include "runtime/core/internal.h"

namespace {

constexpr char kControlGroups[] = "/sys/fs/cgroup";
constexpr char kMembership[] = "/proc/self/cgroup";

// Reads a number at `*text` and moves it on; negative where there is none ("max", "-1").
int64_t TakeNumber(const char** text) {
  const char* at = *text;
  while (*at == ' ') ++at;
  int64_t number = 0;
  const char* first = at;
  for (; *at >= '0' && *at <= '9'; ++at) {
    if (__builtin_mul_overflow(number, 10, &number) ||
        __builtin_add_overflow(number, *at - '0', &number)) {
      return -1;
    }
  }
  *text = at;
  return at > first ? number : -1;
}

// A path that is put together, on the stack. What does not fit makes it one that is not there.
struct Path {
  void Add(const char* piece, size_t length) {
    if (length >= sizeof(text) - size) {
      text[0] = '\0';
      return;
    }
    memcpy(text + size, piece, length);
    size += length;
    text[size] = '\0';
  }
  void Add(const char* piece) { Add(piece, strlen(piece)); }
  void CutTo(size_t length) {
    size = length;
    text[size] = '\0';
  }
  char text[4096] = "";
  size_t size = 0;
};

// The start of a file; "" where there is none.
template <size_t kSize>
struct FileStart {
  explicit FileStart(const char* path) {
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    size_t size = 0;
    for (ssize_t got; size < kSize - 1 && (got = read(fd, text + size, kSize - 1 - size)) > 0;) {
      size += static_cast<size_t>(got);
    }
    text[size] = '\0';
    close(fd);
  }
  char text[kSize] = {};
};

int CoresOf(int64_t quota, int64_t period) {
  if (quota <= 0 || period <= 0) return 0;
  const int64_t cores = quota / period + (quota % period != 0);
  return cores < INT_MAX ? static_cast<int>(cores) : INT_MAX;
}

// A file of the group in `folder`, which is as before afterwards.
FileStart<64> ReadIn(Path* folder, const char* name) {
  const size_t size = folder->size;
  folder->Add(name);
  const FileStart<64> file(folder->text);
  folder->CutTo(size);
  return file;
}

// The group's own limit, or 0. Version 2 has both numbers in one file, "200000 100000"; version 1
// has two files.
int CoresIn(Path* folder, bool version2) {
  if (version2) {
    const FileStart<64> both = ReadIn(folder, "/cpu.max");
    const char* text = both.text;
    const int64_t quota = TakeNumber(&text);
    return CoresOf(quota, TakeNumber(&text));
  }
  const FileStart<64> quota = ReadIn(folder, "/cpu.cfs_quota_us");
  const FileStart<64> period = ReadIn(folder, "/cpu.cfs_period_us");
  const char* quota_text = quota.text;
  const char* period_text = period.text;
  return CoresOf(TakeNumber(&quota_text), TakeNumber(&period_text));
}

// The smallest limit of a group and those that it is in, up to where they are mounted. In a
// container the group's name may be the host's: what is not there limits nothing.
int CoresUpward(const char* root, const char* mount, const char* group, size_t group_size,
                bool version2) {
  Path folder;
  folder.Add(root);
  folder.Add(mount);
  const size_t top = folder.size;
  // Longer than any path that can be opened.
  if (group_size < sizeof(folder.text) / 2) folder.Add(group, group_size);
  int smallest = 0;
  for (;;) {
    const int cores = CoresIn(&folder, version2);
    if (cores > 0 && (smallest == 0 || cores < smallest)) smallest = cores;
    if (folder.size <= top) return smallest;
    size_t size = folder.size - 1;
    while (size > top && folder.text[size] != '/') --size;
    folder.CutTo(size);
  }
}

// Whether `name` stands in a list separated by commas.
bool Lists(const char* list, size_t size, const char* name) {
  const size_t name_size = strlen(name);
  for (size_t at = 0; at + name_size <= size; ++at) {
    if (memcmp(list + at, name, name_size) == 0 && (at == 0 || list[at - 1] == ',') &&
        (at + name_size == size || list[at + name_size] == ',')) {
      return true;
    }
  }
  return false;
}

}  // namespace

WEFT_CORE_DEFINITION int weft_cgroup_cores(const char* root, const char* membership) {
  // Lines such as "0::/user.slice" (version 2) and "4:cpu,cpuacct:/docker/1f" (version 1).
  const FileStart<8192> file(membership);
  int smallest = 0;
  const auto add = [&](int cores) {
    if (cores > 0 && (smallest == 0 || cores < smallest)) smallest = cores;
  };
  for (const char* line = file.text; *line != '\0';) {
    const char* end = line;
    while (*end != '\0' && *end != '\n') ++end;
    const char* controllers = line;
    while (controllers < end && *controllers != ':') ++controllers;
    if (controllers < end) ++controllers;
    const char* group = controllers;
    while (group < end && *group != ':') ++group;
    if (group < end) {
      const auto list_size = static_cast<size_t>(group - controllers);
      ++group;
      const auto group_size = static_cast<size_t>(end - group);
      if (list_size == 0) {
        add(CoresUpward(root, "", group, group_size, true));
        add(CoresUpward(root, "/unified", group, group_size, true));
      } else if (Lists(controllers, list_size, "cpu")) {
        add(CoresUpward(root, "/cpu", group, group_size, false));
        add(CoresUpward(root, "/cpu,cpuacct", group, group_size, false));
      }
    }
    line = *end == '\0' ? end : end + 1;
  }
  return smallest;
}

WEFT_CORE_DEFINITION int weft_num_cores(void) {
  uint64_t mask[128] = {};  // 8192 processors
  int cores = 0;
  if (sched_getaffinity(0, sizeof(mask), reinterpret_cast<cpu_set_t*>(mask)) == 0) {
    for (const uint64_t word : mask) cores += __builtin_popcountll(word);
  }
  if (cores < 1) cores = 1;
  const int limit = weft_cgroup_cores(kControlGroups, kMembership);
  return limit > 0 && limit < cores ? limit : cores;
}
