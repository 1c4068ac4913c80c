// Feeds and results of a signature on the command line.
#ifndef WEFT_TOOLS_COMMON_SIGNATURE_IO_H_
#define WEFT_TOOLS_COMMON_SIGNATURE_IO_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/session.h"

namespace weft::cli {

// The signature of that name, or, where `name` is empty, `predict`, or else the only one besides
// `init`. kUsage errors list what there is.
absl::StatusOr<Session::SignatureInfo> FindSignature(const Session& session,
                                                     const std::string& name);

// "NAME=FILE.npy", "NAME=NUMBER" (a scalar of the dtype that the signature wants), or "FILE.npz"
// for all in it. `values` are what has to be fed, and nothing else (nodes of a graph may be: then
// there are none, and nothing is checked); `kind` is what messages call one. A file that cannot be
// read or does not fit is kBadInput, everything else kUsage.
absl::StatusOr<NamedTensors> ReadFeeds(const std::vector<std::string>& feeds,
                                       const std::vector<Session::ValueInfo>& values,
                                       const char* kind = "input");

// "f32[batch, 784]".
std::string TypeText(const Session::ValueInfo& value);

// kUsage where the signature has no output of that name, or where those of one call, which no
// fetches means all outputs of, do not go into the file `out` (CheckCount). KeepFetches leaves only
// those.
absl::Status CheckFetches(const Session::SignatureInfo& signature,
                          const std::vector<std::string>& fetches, const std::string& out);
// kUsage where so many results do not go into --out: a .npy file holds one.
absl::Status CheckCount(size_t results, const std::string& out);
void KeepFetches(const std::vector<std::string>& fetches, NamedTensors* results);

// CheckOutput of tools/common/outputs.h for --out, which besides has to end in .npy or .npz.
absl::Status CheckOut(const std::string& out, const std::vector<std::string>& inputs);
// To a .npy or .npz file (CheckCount has to allow it), or else to the screen: up to `limit`
// elements of each as text, or one line of JSON with all elements in nested lists.
absl::Status WriteResults(const NamedTensors& results, const std::string& out, bool json,
                          int64_t limit);

// Where a run failed since variables have no values: the options that give them some.
absl::Status WithHint(const absl::Status& status, const char* options = "--checkpoint FILE");

}  // namespace weft::cli

#endif  // WEFT_TOOLS_COMMON_SIGNATURE_IO_H_
