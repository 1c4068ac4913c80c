// The training loop: epochs of batches through a session, metrics, checkpoints.
#ifndef WEFT_TOOLS_WEFT_TRAINER_H_
#define WEFT_TOOLS_WEFT_TRAINER_H_

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/session.h"
#include "tools/report/page.h"
#include "tools/weft/row_runner.h"

namespace weft::cli {

// Epochs, and rows of a step, at most.
inline constexpr int64_t kMaxCount = 1'000'000'000;

struct TrainingOptions {
  int64_t epochs = 10;
  int64_t batch_size = 32;
  uint64_t seed = 0;
  // Stops where the validation loss has not gone down for so many epochs; 0: never.
  int64_t patience = 0;
  std::string checkpoint_folder;  // empty: nothing is written
  double checkpoint_every = 10;   // seconds, besides at the end
  bool resume = false;
  NamedTensors variables;  // set after a checkpoint is restored
  // Writes what the checkpoints are of: called with the first of them (checkpoint_folder.h), or
  // never. An error ends the run.
  std::function<absl::Status()> save_model;
  // Goes into each checkpoint.
  std::map<std::string, std::string> metadata;
};

struct TrainingResult {
  std::vector<EpochMetrics> history;
  int64_t epochs_before = 0;  // of the run that was taken up again
  int64_t best_epoch = 0;     // lowest validation loss; 0 without validation
  // Variables as they were after best_epoch; empty where the session holds those still, or where
  // there was no validation.
  NamedTensors best;
  std::string checkpoint;  // written last; empty: none
  int64_t steps = 0, rows = 0;
  double seconds = 0;          // of training and validation, without compiling
  double compile_seconds = 0;  // before the first step
  bool stopped_early = false;
  int signal = 0;            // that ended the run; 0: none did
  int64_t batches_done = 0;  // where a signal did: of the epoch that it cut short
  int64_t peak_bytes = 0;    // the certificate of train_step

  // Whether the run changed anything: an epoch whose steps were done before counts as well.
  bool did_something() const {
    return steps > 0 || static_cast<int64_t>(history.size()) > epochs_before;
  }
};

// Trains with the signature train_step (outputs that are float scalars are metrics; `loss` is one),
// and validates with eval_step after each epoch where there are rows for it. In `checkpoint_folder`
// stand last.safetensors, best.safetensors and history.json, each written whole or not at all:
// every `checkpoint_every` seconds (less often where writing takes more than a twentieth of the
// time), in the middle of an epoch as well, and at the end of all. Prints a line for an epoch now
// and then, and a progress bar. SIGINT (Ctrl-C), SIGTERM and SIGHUP end the run after the step at
// hand; the checkpoint says how far the epoch was, and a resumed run is, bit for bit, the one that
// was never stopped. The folder is made before the first step. A run that did no step and no epoch
// writes nothing into it; neither does any before its first checkpoint, so that what an earlier run
// left there is whole until then.
absl::StatusOr<TrainingResult> Train(Session& session, const Rows& training, const Rows& validation,
                                     const TrainingOptions& options);

}  // namespace weft::cli

#endif  // WEFT_TOOLS_WEFT_TRAINER_H_
