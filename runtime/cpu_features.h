// What this machine's processor (and its operating system) can execute, under LLVM's names.
#ifndef WEFT_RUNTIME_CPU_FEATURES_H_
#define WEFT_RUNTIME_CPU_FEATURES_H_

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace weft {

// Whether the processor has an instruction set ("avx2", "avx512f", "amx-tile"). Nothing for a name
// that is not one: LLVM's lists also hold names that only tune ("fast-gather").
std::optional<bool> CpuHas(std::string_view feature);

// The instruction sets of a target by its name, "cpu:x86-64-v3" or "cpu:x86-64-v4+avx512bf16"; none
// where the level is none of x86-64, x86-64-v2, x86-64-v3, x86-64-v4.
std::vector<std::string> FeaturesOfTarget(std::string_view target);

// Cores that this process may use, at least 1.
int NumCores();

}  // namespace weft

#endif  // WEFT_RUNTIME_CPU_FEATURES_H_
