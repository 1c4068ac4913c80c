#include "graph/ir/dialect.h"

#include "graph/ir/dialect.cc.inc"
#include "graph/ir/load_dialect.h"

namespace weft::ir {

// In family_ops.cc, which is compiled for each family.
#define WEFT_FAMILIES(F) \
  F(control_flow)        \
  F(convolution)         \
  F(elementwise) F(indexing) F(linear_algebra) F(random) F(reduction) F(shape) F(state)
#define WEFT_DECLARE(family)              \
  namespace family {                      \
  void RegisterOps(WeftDialect* dialect); \
  }
WEFT_FAMILIES(WEFT_DECLARE)

void LoadDialect(mlir::MLIRContext* context) { context->loadDialect<WeftDialect>(); }

void WeftDialect::initialize() {
#define WEFT_REGISTER(family) family::RegisterOps(this);
  WEFT_FAMILIES(WEFT_REGISTER)
}

}  // namespace weft::ir
