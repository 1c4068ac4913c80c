// Suggestions for misspelt names.
#ifndef WEFT_GRAPH_OPS_NEAREST_H_
#define WEFT_GRAPH_OPS_NEAREST_H_

#include <string>
#include <string_view>
#include <vector>

namespace weft {

// ", did you mean 'x'?" with the candidate of the smallest edit distance, where that is at most a
// third of the name's length (and at least 1); else "". Names longer than 256 bytes get none.
std::string DidYouMean(std::string_view name, const std::vector<std::string_view>& candidates);

}  // namespace weft

#endif  // WEFT_GRAPH_OPS_NEAREST_H_
