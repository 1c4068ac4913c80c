// Which code a GPU runs, by its compute capability.
#ifndef WEFT_RUNTIME_CUDA_CAPABILITY_H_
#define WEFT_RUNTIME_CUDA_CAPABILITY_H_

#include <string>

namespace weft::cuda {

// What a package's target is worth on a GPU of compute capability sm / 10 . sm % 10, as
// Device::Suits has it: code for its generation or an earlier one runs, and of what is for one
// generation alone ("cuda:sm_90a") its own.
int SuitsCapability(int sm, const std::string& target, std::string* why);

// Whether that GPU runs machine code that was made for the target: of its major number, and no
// higher minor one; what is for one generation alone, on that.
bool RunsMachineCode(int sm, const std::string& target);

}  // namespace weft::cuda

#endif  // WEFT_RUNTIME_CUDA_CAPABILITY_H_
