// The tables of a model (compiler/aot/support/model_abi.h) as constants of an LLVM module.
#ifndef WEFT_COMPILER_AOT_MODEL_TABLES_H_
#define WEFT_COMPILER_AOT_MODEL_TABLES_H_

#include <vector>

#include "compiler/aot/package_model.h"

namespace llvm {
class Constant;
class Module;
}  // namespace llvm

namespace weft {

// Defines `weft_model_tables`, a WeftModelTables, and what it points to. `code` holds, for each of
// the model's targets, the start of its code.
void DefineModelTables(const PackageModel& model, const std::vector<llvm::Constant*>& code,
                       llvm::Module& module);

}  // namespace weft

#endif  // WEFT_COMPILER_AOT_MODEL_TABLES_H_
