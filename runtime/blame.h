// Names the part of a plan that an error is about: node and source line.
#ifndef WEFT_RUNTIME_BLAME_H_
#define WEFT_RUNTIME_BLAME_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "runtime/core/executor.h"
#include "runtime/plan_tables.h"

namespace weft {

// "fusion(add, relu) at a, b (model.cc:12)".
std::string PlaceOfStep(const WeftStep& step);
// "a value of node 'b', written by fusion(add, relu) at a, b (model.cc:12)", "input 'x'".
std::string PlaceOfBuffer(const PlanTables& tables, uint32_t buffer);
std::string PlaceOfOutput(const PlanTables& tables, uint32_t output);
// The first buffer or step of which a size depends on the formula.
std::string PlaceOfFormula(const PlanTables& tables, uint32_t formula);
// How an error speaks of the sizes that open dimensions have, and what makes them smaller.
struct SizesText {
  std::string at = "with these shapes";
  std::string advice = "feed smaller tensors";
};
// Why weft_instance_create gives no instance, `result` and `error` being what it said:
// InvalidArgument where a step has a size out of bounds or too much work at once, OutOfRange where
// memory has.
absl::Status SizesError(const PlanTables& tables, int result, const WeftError& error,
                        const SizesText& sizes = {});
// What takes most of arena and scratch: "the largest part is 4096 bytes for a value of node ...";
// empty where they are. `scratch_copies`: how often each of the plan's devices has scratch.
std::string LargestPart(const PlanTables& tables, const WeftInstance* instance,
                        absl::Span<const int> scratch_copies);
// The launch on that device with most scratch; empty where none has any.
std::string LargestScratch(const PlanTables& tables, const WeftInstance* instance, uint32_t device);

}  // namespace weft

#endif  // WEFT_RUNTIME_BLAME_H_
