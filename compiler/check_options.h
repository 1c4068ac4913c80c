// Options of the compiler, apart from a graph.
#ifndef WEFT_COMPILER_CHECK_OPTIONS_H_
#define WEFT_COMPILER_CHECK_OPTIONS_H_

#include "absl/status/status.h"
#include "compiler/api.h"

namespace weft {

// Whether targets, what they are to do, sizes and names of passes are such as there are:
// InvalidArgument where not. What compiler/api.h has checks them too; by this a tool tells wrong
// options from a wrong graph.
absl::Status CheckOptions(const CompileOptions& options);

}  // namespace weft

#endif  // WEFT_COMPILER_CHECK_OPTIONS_H_
