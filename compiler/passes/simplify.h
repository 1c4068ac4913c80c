// Algebraic rules. A rule sees one op and gives the value that replaces its only result, or a null
// value where it does not apply; it makes ops with `make`. Rules keep values bit for bit, except
// where a comment says otherwise.
#ifndef WEFT_COMPILER_PASSES_SIMPLIFY_H_
#define WEFT_COMPILER_PASSES_SIMPLIFY_H_

#include <optional>
#include <string_view>
#include <vector>

#include "compiler/passes/build_ops.h"
#include "mlir/IR/Operation.h"

namespace weft {

struct SimplifyRule {
  const char* name;
  // The op it is for, such as "add"; "*" for all element-wise ops.
  const char* op;
  mlir::Value (*apply)(mlir::Operation* op, OpMaker make);
};

// Rules by file.
const std::vector<SimplifyRule>& ElementwiseRules();
const std::vector<SimplifyRule>& ShapeRules();
const std::vector<SimplifyRule>& ReductionRules();
const std::vector<SimplifyRule>& LinearAlgebraRules();

// The number that every element of the value has, where that is known.
std::optional<double> SplatOf(mlir::Value value);
bool IsSplat(mlir::Value value, double number);
// Whether that is 0, of floats the one without a sign.
bool IsPositiveZero(mlir::Value value);

}  // namespace weft

#endif  // WEFT_COMPILER_PASSES_SIMPLIFY_H_
