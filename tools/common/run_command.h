// What `weft run` and `weft-run` have in common: their options, and a call with what comes before
// and after it.
#ifndef WEFT_TOOLS_COMMON_RUN_COMMAND_H_
#define WEFT_TOOLS_COMMON_RUN_COMMAND_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/session.h"

namespace CLI {
class App;
}

namespace weft::cli {

struct RunFlags {
  std::string model, signature, out, checkpoint, save_checkpoint, device = "cpu";
  std::vector<std::string> feeds, fetches;
  int threads = 0;
  double timeout = 0;  // seconds; 0: none
  int64_t limit = 32;
  bool init = false, profile = false, json = false, memory = false;
};

void AddRunOptions(CLI::App* app, RunFlags& flags);

// Before anything is read: that outputs can be written and overwrite no input.
absl::Status CheckRunFlags(const RunFlags& flags);

// The deadline: --timeout from now on.
RunOptions OptionsOf(const RunFlags& flags);

// Everything after a session is open and has the variables of --checkpoint: `init`, `call`, the
// profile and memory to standard error, results, variables to --save-checkpoint.
using RunCall = std::function<absl::StatusOr<NamedTensors>(const RunOptions& options)>;
absl::Status RunWith(Session& session, const RunFlags& flags, const RunCall& call);

// What a call says is the fault of what it was fed: kBadInput.
absl::Status OfFeeds(const absl::Status& status);

// The call of a signature with the feeds of the command line.
absl::StatusOr<NamedTensors> CallSignature(Session& session, const RunFlags& flags,
                                           const Session::SignatureInfo& signature,
                                           const RunOptions& options);

}  // namespace weft::cli

#endif  // WEFT_TOOLS_COMMON_RUN_COMMAND_H_
