// The functions that an artifact exports, as LLVM IR.
#ifndef WEFT_COMPILER_AOT_ENTRY_POINTS_H_
#define WEFT_COMPILER_AOT_ENTRY_POINTS_H_

#include <set>
#include <string>

#include "compiler/aot/interface.h"

namespace llvm {
class Module;
}

namespace weft {

// Defines the functions that WriteHeader declares, over those of compiler/aot/support/model.h and
// the symbol weft_model_tables, which the module has. Returns their names.
std::set<std::string> DefineEntryPoints(const Interface& interface, llvm::Module& module);

}  // namespace weft

#endif  // WEFT_COMPILER_AOT_ENTRY_POINTS_H_
