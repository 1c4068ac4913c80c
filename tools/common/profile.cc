#include "tools/common/profile.h"

#include <algorithm>
#include <cstdio>
#include <string>

#include "absl/strings/str_cat.h"
#include "proto/printable.h"

namespace weft::cli {

void PrintProfile(const std::vector<StepProfile>& steps) {
  std::vector<const StepProfile*> slowest_first;
  double total = 0;
  for (const StepProfile& step : steps) {
    slowest_first.push_back(&step);
    total += step.seconds;
  }
  std::sort(slowest_first.begin(), slowest_first.end(),
            [](const StepProfile* a, const StepProfile* b) { return a->seconds > b->seconds; });
  std::fprintf(stderr, "%9s %6s %7s %9s %8s  %s\n", "ms/run", "share", "runs", "GFLOP/s", "GB/s",
               "step, nodes, source");
  for (const StepProfile* slow : slowest_first) {
    const StepProfile& step = *slow;
    const double each = step.seconds / static_cast<double>(std::max<int64_t>(step.runs, 1));
    const double rate = each > 0 ? 1e-9 / each : 0;
    std::string nodes = step.node.size() > 60 ? step.node.substr(0, 57) + "..." : step.node;
    const std::string place = Printable(absl::StrCat(step.label, "  [", nodes, "]  ", step.location,
                                                     step.way.empty() ? "" : "  ", step.way));
    std::fprintf(stderr, "%9.4f %5.1f%% %7lld %9.2f %8.2f  %s\n", each * 1e3,
                 total > 0 ? 100 * step.seconds / total : 0, static_cast<long long>(step.runs),
                 step.flops * rate, step.bytes * rate, place.c_str());
  }
}

}  // namespace weft::cli
