#include "tools/common/memory.h"

#include <sys/resource.h>

#include <cstdio>
#include <memory>

#include "absl/strings/str_format.h"

namespace weft::cli {

int64_t PeakResidentBytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return int64_t{usage.ru_maxrss} * 1024;
}

int64_t AnonymousBytes() {
  const std::unique_ptr<FILE, int (*)(FILE*)> file(std::fopen("/proc/self/status", "r"),
                                                   std::fclose);
  char line[256];
  long long kilobytes = 0;
  while (file && std::fgets(line, sizeof(line), file.get())) {
    if (std::sscanf(line, "RssAnon: %lld kB", &kilobytes) == 1) break;
  }
  return kilobytes * 1024;
}

std::string ByteText(double bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  int unit = 0;
  while (bytes >= 1024 && unit < 4) {
    bytes /= 1024;
    ++unit;
  }
  return absl::StrFormat("%.*f %s", unit == 0 || bytes >= 100 ? 0 : 1, bytes, kUnits[unit]);
}

}  // namespace weft::cli
