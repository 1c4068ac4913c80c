#include "compiler/plan/peak.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"

namespace weft {
namespace {

constexpr int64_t kAlignment = 64;

// Values of the plan's formulas; false where one is out of range.
bool Evaluate(const Plan& plan, const std::map<std::string, int64_t>& sizes,
              std::vector<int64_t>* values) {
  for (const Formula& formula : plan.formulas()) {
    const bool leaf = formula.op() == Formula::CONSTANT || formula.op() == Formula::SYMBOL;
    const int64_t a = leaf ? 0 : (*values)[formula.a()], b = leaf ? 0 : (*values)[formula.b()];
    int64_t value = 0;
    bool overflow = false;
    switch (formula.op()) {
      case Formula::CONSTANT:
        value = formula.value();
        break;
      case Formula::SYMBOL: {
        auto size = sizes.find(plan.symbols(static_cast<int>(formula.a())));
        if (size == sizes.end()) return false;
        value = size->second;
        break;
      }
      case Formula::ADD:
        overflow = __builtin_add_overflow(a, b, &value);
        break;
      case Formula::SUB:
        overflow = __builtin_sub_overflow(a, b, &value);
        break;
      case Formula::MUL:
        overflow = __builtin_mul_overflow(a, b, &value);
        break;
      case Formula::FLOOR_DIV:
      case Formula::CEIL_DIV:
      case Formula::MOD: {
        if (b <= 0) return false;
        const int64_t floor = a / b - (a % b < 0 ? 1 : 0), rest = a - floor * b;
        value = formula.op() == Formula::MOD        ? rest
                : formula.op() == Formula::CEIL_DIV ? floor + (rest > 0 ? 1 : 0)
                                                    : floor;
        break;
      }
      case Formula::MAX:
        value = std::max(a, b);
        break;
      case Formula::MIN:
        value = std::min(a, b);
        break;
      default:
        return false;
    }
    if (overflow) return false;
    values->push_back(value);
  }
  return true;
}

}  // namespace

absl::StatusOr<int64_t> PeakBytes(const Plan& plan, const std::map<std::string, int64_t>& sizes) {
  const auto out_of_range = [&] {
    return absl::OutOfRangeError(
        absl::StrCat("the memory that signature '", plan.signature(), "' needs is out of bounds"));
  };
  std::vector<int64_t> values;
  if (!Evaluate(plan, sizes, &values)) return out_of_range();
  std::vector<int64_t> ends(static_cast<size_t>(plan.buffers_size()), 0);
  int64_t arena = 0, scratch = 0;
  for (int i = 0; i < plan.buffers_size(); ++i) {
    const Buffer& buffer = plan.buffers(i);
    if (buffer.space() != Buffer::ARENA) continue;
    int64_t offset = 0;
    for (uint32_t below : buffer.below()) offset = std::max(offset, ends[below]);
    int64_t& end = ends[static_cast<size_t>(i)];
    if (__builtin_add_overflow(offset, kAlignment - 1, &offset) ||
        __builtin_add_overflow(offset / kAlignment * kAlignment, values[buffer.size()], &end)) {
      return out_of_range();
    }
    arena = std::max(arena, end);
  }
  for (const Block& block : plan.blocks()) {
    for (const Step& step : block.steps()) {
      if (step.has_launch()) scratch = std::max(scratch, values[step.launch().scratch()]);
    }
  }
  int64_t peak = 0;
  if (__builtin_add_overflow(arena, scratch, &peak)) return out_of_range();
  return peak;
}

}  // namespace weft
