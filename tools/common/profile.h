// A profile as a table.
#ifndef WEFT_TOOLS_COMMON_PROFILE_H_
#define WEFT_TOOLS_COMMON_PROFILE_H_

#include <vector>

#include "runtime/session.h"

namespace weft::cli {

// To standard error: a line for each step, slowest first, with its share, rates and source line.
void PrintProfile(const std::vector<StepProfile>& steps);

}  // namespace weft::cli

#endif  // WEFT_TOOLS_COMMON_PROFILE_H_
