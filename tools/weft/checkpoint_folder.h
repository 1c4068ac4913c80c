// The folder of a training run: last.safetensors, best.safetensors and history.json, and model.weft
// of a standard model.
#ifndef WEFT_TOOLS_WEFT_CHECKPOINT_FOLDER_H_
#define WEFT_TOOLS_WEFT_CHECKPOINT_FOLDER_H_

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/session.h"
#include "tools/weft/metrics.h"

namespace weft::cli {

// Where a run is, besides the variables that the session holds.
struct RunState {
  std::vector<EpochMetrics> history;  // of the epochs that are done, from the first
  int64_t best_epoch = 0;             // lowest validation loss; 0 without validation
  NamedTensors best;                  // variables after it
  // Of the epoch at hand: steps that are done, their metrics, and what the steps are counted in
  // (another data set or batch size makes them mean nothing).
  int64_t batches = 0;
  Metrics metrics;
  std::string epoch_shape;
  std::map<std::string, std::string> metadata;  // of the checkpoint that was read

  int64_t epochs() const { return history.empty() ? 0 : history.back().epoch; }
  // Makes the epoch the best one where its validation loss is the lowest so far; its variables are
  // the caller's to set.
  bool NoteBest(const EpochMetrics& epoch);

 private:
  friend class CheckpointFolder;
  bool best_is_written_ = false;
};

// Each file is written whole or not at all, and in an order in which a crash between two of them
// loses nothing that cannot be told. Whatever an earlier run left stays as it is until the first
// write.
class CheckpointFolder {
 public:
  // `metadata` goes into each checkpoint. `save_model` is called in the first write, when nothing
  // but last.safetensors is left to write: the model that the checkpoints are of. An empty folder
  // writes nothing.
  CheckpointFolder(std::string folder, std::map<std::string, std::string> metadata,
                   std::function<absl::Status()> save_model = {})
      : folder_(std::move(folder)),
        metadata_(std::move(metadata)),
        save_model_(std::move(save_model)) {}

  bool exists() const { return !folder_.empty(); }
  std::string last_path() const;
  // Of the model beside the checkpoints, where `save_model` writes one there.
  std::string model_path() const;
  // Everything that is written; nothing without a folder.
  std::vector<std::string> Files() const;

  // The state of last.safetensors, and the session's variables from it. Errors name the file; what
  // best.safetensors holds is checked as well.
  absl::StatusOr<RunState> Restore(Session& session) const;

  // Makes the folder where there is none, and changes nothing in it: that it cannot be made is
  // better known before the first step.
  absl::Status Make() const;
  absl::Status Write(Session& session, RunState& state);
  // best.safetensors and the model alone, of a run that failed: what was best before is worth
  // having. Not where that would replace what an earlier run left whole.
  absl::Status WriteBestOfFailure(RunState& state);

 private:
  // Where it is not written yet.
  absl::Status WriteBest(RunState& state);
  std::string Path(const char* file) const;
  // Before the first write: makes the folder, and removes what a process left there that was killed
  // in the middle of a write.
  absl::Status Begin();
  absl::Status SaveModel();
  // Those of state.best_epoch.
  absl::Status RestoreBest(Session& session, RunState& state) const;
  // By which a file of that epoch is known to be of this history; empty where it has none.
  static std::string MetricsOf(const RunState& state, int64_t epoch);

  std::string folder_;
  std::map<std::string, std::string> metadata_;
  std::function<absl::Status()> save_model_;  // empty once it is saved
  bool begun_ = false;
};

}  // namespace weft::cli

#endif  // WEFT_TOOLS_WEFT_CHECKPOINT_FOLDER_H_
