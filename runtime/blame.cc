#include "runtime/blame.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

// Words for errors: small rather than quick, since the size of weft-run is bounded.
#pragma clang attribute push(__attribute__((minsize)), apply_to = function)

namespace weft {

std::string PlaceOfStep(const WeftStep& step) {
  std::string text = step.label;
  if (step.nodes[0] != '\0') absl::StrAppend(&text, text.empty() ? "" : " ", "at ", step.nodes);
  if (step.location[0] != '\0') absl::StrAppend(&text, " (", step.location, ")");
  return text;
}

std::string PlaceOfBuffer(const PlanTables& tables, uint32_t buffer) {
  const WeftPlan& plan = tables.plan();
  const PlanTables::Origin& origin = tables.buffer_origins()[buffer];
  const WeftBuffer& entry = plan.buffers[buffer];
  std::string text;
  switch (entry.space) {
    case WEFT_SPACE_INPUT:
      return absl::StrCat("input '", plan.inputs[entry.index].name, "'");
    case WEFT_SPACE_VARIABLE:
      return absl::StrCat("variable '", plan.variables[entry.index].name, "'");
    case WEFT_SPACE_OUTPUT:
      text = absl::StrCat("output '", plan.outputs[entry.index].name, "'");
      break;
    case WEFT_SPACE_CONSTANT:
      text = "a constant";
      break;
    default:
      text = "a value";
  }
  if (origin.node[0] != '\0') absl::StrAppend(&text, " of node '", origin.node, "'");
  if (origin.step != WEFT_NONE) {
    absl::StrAppend(&text, ", written by ", PlaceOfStep(plan.steps[origin.step]));
  }
  return text;
}

std::string PlaceOfOutput(const PlanTables& tables, uint32_t output) {
  const WeftPlan& plan = tables.plan();
  for (uint32_t i = 0; i < plan.num_buffers; ++i) {
    const WeftBuffer& buffer = plan.buffers[i];
    if (buffer.space == WEFT_SPACE_OUTPUT && buffer.index == output)
      return PlaceOfBuffer(tables, i);
  }
  return absl::StrCat("output '", plan.outputs[output].name, "'");
}

std::string PlaceOfFormula(const PlanTables& tables, uint32_t formula) {
  const WeftPlan& plan = tables.plan();
  std::vector<bool> depends(plan.num_formulas, false);
  depends[formula] = true;
  for (uint32_t i = formula + 1; i < plan.num_formulas; ++i) {
    const WeftFormula& entry = plan.formulas[i];
    if (entry.op < WEFT_FORMULA_ADD) continue;
    depends[i] = depends[entry.a] || depends[entry.b];
  }
  for (uint32_t i = 0; i < plan.num_buffers; ++i) {
    if (depends[plan.buffers[i].size]) return PlaceOfBuffer(tables, i);
  }
  for (uint32_t i = 0; i < plan.num_steps; ++i) {
    const WeftStep& step = plan.steps[i];
    bool found = step.kind == WEFT_STEP_LAUNCH && (depends[step.tiles] || depends[step.scratch] ||
                                                   depends[step.bytes] || depends[step.flops]);
    for (uint32_t j = 0; j < step.num_sizes; ++j) {
      found = found || depends[plan.sizes[step.first_size + j]];
    }
    for (uint32_t j = 0; j < step.num_args; ++j) {
      const uint32_t offset = plan.args[step.first_arg + j].offset;
      found = found || (offset != WEFT_NONE && depends[offset]);
    }
    if (found) return PlaceOfStep(step);
  }
  return "a size";
}

absl::Status SizesError(const PlanTables& tables, int result, const WeftError& error,
                        const SizesText& sizes) {
  const WeftPlan& plan = tables.plan();
  const std::string where = absl::StrCat("signature '", plan.signature, "': ");
  switch (result) {
    case WEFT_ERROR_STEP_SIZE:
      return absl::InvalidArgumentError(absl::StrCat(where, PlaceOfStep(plan.steps[error.index]),
                                                     " has a size out of bounds ", sizes.at));
    case WEFT_ERROR_TILE_WORK:
      return absl::InvalidArgumentError(absl::StrCat(
          where, PlaceOfStep(plan.steps[error.index]), ": expected at most ", error.expected,
          " operations in a piece of work that nothing can stop, got ", error.got, " ", sizes.at,
          "; ", sizes.advice, ", or reduce in two steps, the first of which gives many results"));
    default:
      return absl::OutOfRangeError(absl::StrCat(
          where, "a size is out of bounds ", sizes.at, " (bytes have to stay below 2^48), of ",
          result == WEFT_ERROR_SIZE ? PlaceOfBuffer(tables, error.index)
                                    : PlaceOfFormula(tables, error.index)));
  }
}

std::string LargestPart(const PlanTables& tables, const WeftInstance* instance,
                        absl::Span<const int> scratch_copies) {
  const WeftPlan& plan = tables.plan();
  int64_t largest = 0;
  uint32_t buffer = WEFT_NONE, step = WEFT_NONE;
  for (uint32_t i = 0; i < plan.num_buffers; ++i) {
    if (plan.buffers[i].space != WEFT_SPACE_ARENA) continue;
    const int64_t bytes = weft_formula_value(instance, plan.buffers[i].size);
    if (bytes <= largest) continue;
    largest = bytes;
    buffer = i;
  }
  for (uint32_t i = 0; i < plan.num_steps; ++i) {
    if (plan.steps[i].kind != WEFT_STEP_LAUNCH) continue;
    int64_t bytes = weft_formula_value(instance, plan.steps[i].scratch);
    const int64_t copies = scratch_copies[tables.kernel_devices()[plan.steps[i].kernel]];
    if (__builtin_mul_overflow(bytes, copies, &bytes)) bytes = INT64_MAX;
    if (bytes <= largest) continue;
    largest = bytes;
    step = i;
  }
  if (largest == 0) return "";
  return absl::StrCat("the largest part is ", largest, " bytes for ",
                      step != WEFT_NONE ? absl::StrCat("scratch of ", PlaceOfStep(plan.steps[step]))
                                        : PlaceOfBuffer(tables, buffer));
}

std::string LargestScratch(const PlanTables& tables, const WeftInstance* instance,
                           uint32_t device) {
  const WeftPlan& plan = tables.plan();
  int64_t largest = 0;
  std::string place;
  for (uint32_t i = 0; i < plan.num_steps; ++i) {
    if (plan.steps[i].kind != WEFT_STEP_LAUNCH) continue;
    if (tables.kernel_devices()[plan.steps[i].kernel] != device) continue;
    const int64_t bytes = weft_formula_value(instance, plan.steps[i].scratch);
    if (bytes <= largest) continue;
    largest = bytes;
    place = PlaceOfStep(plan.steps[i]);
  }
  return place;
}

}  // namespace weft

#pragma clang attribute pop
