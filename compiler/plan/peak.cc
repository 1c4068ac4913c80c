#include "compiler/plan/peak.h"

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "runtime/blame.h"
#include "runtime/core/executor.h"
#include "runtime/memory.h"
#include "runtime/plan_tables.h"

namespace weft {

absl::StatusOr<int64_t> PeakBytes(const Plan& plan, const std::map<std::string, int64_t>& sizes,
                                  int scratch_copies) {
  // Where kernels and constants lie is not known yet, and does not matter.
  uint32_t last_device = 0;
  for (const Buffer& buffer : plan.buffers()) last_device = std::max(last_device, buffer.device());
  for (const Kernel& kernel : plan.kernels()) last_device = std::max(last_device, kernel.device());
  const auto tables = PlanTables::Build(
      plan, std::vector<uint64_t>(size_t{last_device} + 1, UINT64_MAX), UINT64_MAX);
  if (!tables.ok()) return tables.status();
  const WeftPlan& table = (*tables)->plan();
  std::vector<int64_t> symbols;
  for (const std::string& symbol : plan.symbols()) {
    const auto size = sizes.find(symbol);
    if (size == sizes.end()) {
      return absl::InvalidArgumentError(
          absl::StrCat("signature '", plan.signature(), "': expected a size of '", symbol, "'"));
    }
    symbols.push_back(size->second);
  }
  absl::StatusOr<Pages> memory = Pages::Allocate(weft_instance_bytes(&table));
  if (!memory.ok()) return memory.status();
  WeftInstance* instance = nullptr;
  WeftError error = {};
  const int result =
      weft_instance_create(&table, symbols.data(), memory->data(), &instance, &error);
  if (result != WEFT_OK) {
    SizesText text;
    if (!sizes.empty()) text.at = AtSizes(sizes);
    text.advice = "take smaller sizes";
    return SizesError(**tables, result, error, text);
  }
  return weft_arena_bytes(instance, 0) + scratch_copies * weft_scratch_bytes(instance, 0);
}

std::string AtSizes(const std::map<std::string, int64_t>& sizes) {
  std::string text;
  for (const auto& [symbol, size] : sizes) {
    absl::StrAppend(&text, text.empty() ? "at " : ", ", symbol, "=", size);
  }
  return text;
}

}  // namespace weft
