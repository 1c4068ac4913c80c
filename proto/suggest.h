// "did you mean": for names that someone typed.
#ifndef WEFT_PROTO_SUGGEST_H_
#define WEFT_PROTO_SUGGEST_H_

#include <string>
#include <string_view>
#include <vector>

namespace weft {

// The candidate with the fewest edits (insert, delete, replace, swap of neighbours; upper and lower
// case count as equal), or empty where none is near: more edits than one for every three bytes of
// the name and one besides, or as many as it has bytes; or a name of more than 256 bytes.
std::string Nearest(std::string_view name, const std::vector<std::string>& candidates);

// "; did you mean 'mpg'?", or "" where none is near. Candidates may be from a file: these two show
// them as Printable does.
std::string DidYouMean(std::string_view name, const std::vector<std::string>& candidates);

// "; did you mean 'mpg'?", or where none is near "; there is a, b, c" with at most eight names.
std::string Suggestion(std::string_view name, const std::vector<std::string>& candidates);

}  // namespace weft

#endif  // WEFT_PROTO_SUGGEST_H_
