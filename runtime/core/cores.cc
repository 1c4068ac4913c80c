// How many threads are worth having.
#include <limits.h>
#include <sched.h>
#include <stdint.h>

#include "proto/core/control_groups.h"
#include "runtime/core/cpu.h"
#include "runtime/core/internal.h"

namespace {

using weft::FileStart;
using weft::StackPath;

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

int CoresOf(int64_t quota, int64_t period) {
  if (quota <= 0 || period <= 0) return 0;
  const int64_t cores = quota / period + (quota % period != 0);
  return cores < INT_MAX ? static_cast<int>(cores) : INT_MAX;
}

// The group's own limit, or 0. Version 2 has both numbers in one file, "200000 100000"; version 1
// has two files.
int CoresIn(StackPath* folder, bool version2) {
  if (version2) {
    const FileStart<64> both = weft::ReadInGroup<64>(folder, "/cpu.max");
    const char* text = both.text;
    const int64_t quota = TakeNumber(&text);
    return CoresOf(quota, TakeNumber(&text));
  }
  const FileStart<64> quota = weft::ReadInGroup<64>(folder, "/cpu.cfs_quota_us");
  const FileStart<64> period = weft::ReadInGroup<64>(folder, "/cpu.cfs_period_us");
  const char* quota_text = quota.text;
  const char* period_text = period.text;
  return CoresOf(TakeNumber(&quota_text), TakeNumber(&period_text));
}

}  // namespace

WEFT_CORE_DEFINITION int weft_cgroup_cores(const char* root) {
  int smallest = 0;
  weft::ForEachControlGroup(root, "cpu", [&](StackPath* folder, bool version2) {
    const int cores = CoresIn(folder, version2);
    if (cores > 0 && (smallest == 0 || cores < smallest)) smallest = cores;
  });
  return smallest;
}

WEFT_CORE_DEFINITION int weft_num_cores(void) {
  uint64_t mask[128] = {};  // 8192 processors
  int cores = 0;
  if (sched_getaffinity(0, sizeof(mask), reinterpret_cast<cpu_set_t*>(mask)) == 0) {
    for (const uint64_t word : mask) cores += __builtin_popcountll(word);
  }
  if (cores < 1) cores = 1;
  const int limit = weft_cgroup_cores("");
  return limit > 0 && limit < cores ? limit : cores;
}
