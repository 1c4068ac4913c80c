// Helps people who mistyped a name.
#ifndef WEFT_RUNTIME_SUGGEST_H_
#define WEFT_RUNTIME_SUGGEST_H_

#include <string>
#include <string_view>
#include <vector>

namespace weft {

// "; did you mean 'x'?" with the candidate that takes the fewest edits (at most a third of the
// name's length, at least 2), else "; there are: a, b, c" (up to 8 of them), or "; there are none".
std::string Suggest(std::string_view name, const std::vector<std::string>& candidates);

}  // namespace weft

#endif  // WEFT_RUNTIME_SUGGEST_H_
