#include "compiler/passes/diagnostics.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "graph/ir/types.h"

namespace weft {

FirstError::FirstError(mlir::MLIRContext* context)
    : handler_(context, [this](mlir::Diagnostic& diagnostic) {
        if (!text_.empty() || diagnostic.getSeverity() != mlir::DiagnosticSeverity::Error) {
          return llvm::success();
        }
        const std::string where = ir::Describe(diagnostic.getLocation());
        text_ = diagnostic.str();
        // Errors of making an op say where already.
        if (!absl::EndsWith(text_, where)) absl::StrAppend(&text_, ", at ", where);
        return llvm::success();
      }) {}

}  // namespace weft
