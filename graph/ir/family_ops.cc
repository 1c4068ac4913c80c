// The op classes that mlir-tblgen makes from graph/ops/<family>.td, and their registration.
// BUILD.bazel compiles this once for each family, with WEFT_FAMILY as its name.
#include "graph/ir/dialect.h"

// clang-format off: the formatter takes the path for an expression.
#define WEFT_QUOTE(path) #path
#define WEFT_FILE(family) WEFT_QUOTE(graph/ir/family/ops.cc.inc)
// clang-format on

namespace weft::ir {
namespace {

template <typename... Ops>
void Register(WeftDialect* dialect) {
  (mlir::RegisteredOperationName::insert<Ops>(*dialect), ...);
}

}  // namespace

namespace WEFT_FAMILY {

void RegisterOps(WeftDialect* dialect) {
  Register<
#define GET_OP_LIST
#include WEFT_FILE(WEFT_FAMILY)
#undef GET_OP_LIST
      >(dialect);
}

}  // namespace WEFT_FAMILY
}  // namespace weft::ir

#define GET_OP_CLASSES
#include WEFT_FILE(WEFT_FAMILY)
