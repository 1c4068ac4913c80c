#include "runtime/cuda/capability.h"

#include <optional>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"

namespace weft::cuda {
namespace {

// The compute capability in "cuda:sm_90a", and whether it ends in "a".
std::optional<std::pair<int, bool>> CapabilityOf(absl::string_view target) {
  if (!absl::ConsumePrefix(&target, "cuda:sm_")) return std::nullopt;
  const bool generation_only = absl::ConsumeSuffix(&target, "a");
  int sm = 0;
  if (!absl::SimpleAtoi(target, &sm) || sm <= 0) return std::nullopt;
  return std::pair(sm, generation_only);
}

}  // namespace

int SuitsCapability(int sm, const std::string& target, std::string* why) {
  const auto capability = CapabilityOf(target);
  const std::string here = absl::StrCat("cuda:sm_", sm);
  std::string reason;
  if (!capability) {
    reason = " is for another device";
  } else if (capability->first > sm) {
    reason = absl::StrCat(" is newer than ", here);
  } else if (capability->second && capability->first != sm) {
    reason = absl::StrCat(" is for that generation alone, not for ", here);
  }
  if (reason.empty()) return 2 * capability->first + (capability->second ? 1 : 0);
  absl::StrAppend(why, why->empty() ? "" : "; ", target, reason);
  return -1;
}

bool RunsMachineCode(int sm, const std::string& target) {
  const auto capability = CapabilityOf(target);
  if (!capability) return false;
  return capability->second ? sm == capability->first
                            : sm / 10 == capability->first / 10 && sm >= capability->first;
}

}  // namespace weft::cuda
