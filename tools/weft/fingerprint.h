// Telling graphs apart, as checkpoints do that say which graph they are of.
#ifndef WEFT_TOOLS_WEFT_FINGERPRINT_H_
#define WEFT_TOOLS_WEFT_FINGERPRINT_H_

#include <cstddef>
#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "graph/graph.h"

namespace weft::cli {

// Equal for graphs that compute the same from the same first values; where their source stands
// does not count: the checksum and the number of the bytes of the wire form, weights inline. Of a
// node or body that a message of less than `max_message` bytes has no room for with its weights,
// these come behind it instead.
absl::StatusOr<std::string> FingerprintOf(const Graph& graph, size_t max_message = size_t{1} << 31);

// What the metadata of a checkpoint calls the fingerprint of its graph.
inline constexpr char kGraphFact[] = "graph";

// Says on standard error that the file `checkpoint`, as far as its metadata tells, is of another
// graph than this one, of the file `model`. That is no error where its variables fit: weights go
// from graph to graph. But it may also be the model of a later run beside the weights of an earlier
// one.
void NoteOtherGraph(const std::map<std::string, std::string>& metadata,
                    const std::string& checkpoint, const Graph& graph, const std::string& model);

}  // namespace weft::cli

#endif  // WEFT_TOOLS_WEFT_FINGERPRINT_H_
