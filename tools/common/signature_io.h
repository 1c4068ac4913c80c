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
// for all in it. A file that cannot be read is kBadInput, everything else kUsage.
absl::StatusOr<NamedTensors> ReadFeeds(const std::vector<std::string>& feeds,
                                       const std::vector<Session::ValueInfo>& inputs);

// "f32[batch, 784]".
std::string TypeText(const Session::ValueInfo& value);

// kUsage where the signature has no output of that name. KeepFetches leaves only those; no fetches
// means all outputs.
absl::Status CheckFetches(const Session::SignatureInfo& signature,
                          const std::vector<std::string>& fetches);
void KeepFetches(const std::vector<std::string>& fetches, NamedTensors* results);

// kUsage where `path` is the model or one of the feeds; `option` is for the message.
absl::Status CheckNoInput(const char* option, const std::string& path, const std::string& model,
                          const std::vector<std::string>& feeds);
// That, for --out, and kUsage unless `out` is empty or ends in .npy or .npz.
absl::Status CheckOut(const std::string& out, const std::string& model,
                      const std::vector<std::string>& feeds);
// To the screen, up to `limit` elements of each, as text or one line of JSON; or to a .npy or .npz
// file.
absl::Status WriteResults(const NamedTensors& results, const std::string& out, bool json,
                          int64_t limit);

}  // namespace weft::cli

#endif  // WEFT_TOOLS_COMMON_SIGNATURE_IO_H_
