// Golden values for a package that was just compiled.
#ifndef WEFT_TOOLS_WEFT_COMPILE_GOLDEN_H_
#define WEFT_TOOLS_WEFT_COMPILE_GOLDEN_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "compiler/api.h"
#include "graph/graph.h"
#include "runtime/session.h"

namespace weft::cli {

// The package with golden values (tools/common/golden.h): `inputs`, as for --feed, and what the
// reference evaluators, which have no part in compiling, make of them. The signature is the only
// one in `options`, or else predict, or the only one there is. The package is then checked by
// them on the devices of `here`; FailedPrecondition where it does not agree, or has no code for
// these.
absl::StatusOr<std::string> AddGolden(const Graph& graph, const CompileOptions& options,
                                      const SessionOptions& here,
                                      const std::vector<std::string>& inputs,
                                      const std::string& package);

}  // namespace weft::cli

#endif  // WEFT_TOOLS_WEFT_COMPILE_GOLDEN_H_
