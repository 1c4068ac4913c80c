// From MLIR's diagnostics to a status.
#ifndef WEFT_COMPILER_PASSES_DIAGNOSTICS_H_
#define WEFT_COMPILER_PASSES_DIAGNOSTICS_H_

#include <string>

#include "mlir/IR/Diagnostics.h"

namespace weft {

// While it lives, keeps the first error that is reported in the context, in place of printing it.
class FirstError {
 public:
  explicit FirstError(mlir::MLIRContext* context);
  // "expected X, got Y, at node 'name' (file:line)", or empty where there was none.
  const std::string& text() const { return text_; }

 private:
  std::string text_;
  mlir::ScopedDiagnosticHandler handler_;
};

}  // namespace weft

#endif  // WEFT_COMPILER_PASSES_DIAGNOSTICS_H_
