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

constexpr char kControlGroup[] = "/sys/fs/cgroup";

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

// The start of a small file in the folder; "" where there is none.
struct SmallFile {
  SmallFile(const char* folder, const char* name) {
    char path[256];
    const size_t folder_size = strlen(folder), name_size = strlen(name) + 1;
    if (folder_size + name_size > sizeof(path)) return;
    memcpy(path, folder, folder_size);
    memcpy(path + folder_size, name, name_size);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    const ssize_t size = read(fd, text, sizeof(text) - 1);
    text[size > 0 ? size : 0] = '\0';
    close(fd);
  }
  char text[64] = "";
};

}  // namespace

WEFT_CORE_DEFINITION int weft_cgroup_cores(const char* folder) {
  // Version 2 has both numbers in one file, "200000 100000"; version 1 has two files.
  const SmallFile both(folder, "/cpu.max");
  int64_t quota = -1, period = -1;
  if (both.text[0] != '\0') {
    const char* text = both.text;
    quota = TakeNumber(&text);
    period = TakeNumber(&text);
  } else {
    const SmallFile first(folder, "/cpu/cpu.cfs_quota_us"),
        second(folder, "/cpu/cpu.cfs_period_us");
    const char* text = first.text;
    quota = TakeNumber(&text);
    text = second.text;
    period = TakeNumber(&text);
  }
  if (quota <= 0 || period <= 0) return 0;
  const int64_t cores = quota / period + (quota % period != 0);
  return cores < INT_MAX ? static_cast<int>(cores) : INT_MAX;
}

WEFT_CORE_DEFINITION int weft_num_cores(void) {
  uint64_t mask[128] = {};  // 8192 processors
  int cores = 0;
  if (sched_getaffinity(0, sizeof(mask), reinterpret_cast<cpu_set_t*>(mask)) == 0) {
    for (const uint64_t word : mask) cores += __builtin_popcountll(word);
  }
  if (cores < 1) cores = 1;
  const int limit = weft_cgroup_cores(kControlGroup);
  return limit > 0 && limit < cores ? limit : cores;
}
