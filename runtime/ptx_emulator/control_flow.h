#ifndef WEFT_RUNTIME_PTX_EMULATOR_CONTROL_FLOW_H_
#define WEFT_RUNTIME_PTX_EMULATOR_CONTROL_FLOW_H_

#include "runtime/ptx_emulator/program.h"

namespace weft::ptx {

// Finds the basic blocks of a kernel and, for each instruction at which lanes may part, the
// immediate post-dominator: the first instruction that all paths from there reach. Sets
// Instruction::ends_block and reconvergence.
void AnalyzeControlFlow(Kernel& kernel);

}  // namespace weft::ptx

#endif  // WEFT_RUNTIME_PTX_EMULATOR_CONTROL_FLOW_H_
