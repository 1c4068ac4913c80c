// The folder of a training run: last.safetensors, best.safetensors and history.json.
#ifndef WEFT_TOOLS_WEFT_CHECKPOINT_FOLDER_H_
#define WEFT_TOOLS_WEFT_CHECKPOINT_FOLDER_H_

#include <cstdint>
#include <map>
#include <string>
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
// loses nothing that cannot be told.
class CheckpointFolder {
 public:
  // `metadata` goes into each checkpoint. An empty folder writes nothing.
  CheckpointFolder(std::string folder, std::map<std::string, std::string> metadata)
      : folder_(std::move(folder)), metadata_(std::move(metadata)) {}

  bool exists() const { return !folder_.empty(); }
  std::string last_path() const;
  // Everything that is written; nothing without a folder.
  std::vector<std::string> Files() const;

  // The state of last.safetensors, and the session's variables from it. Errors name the file; what
  // best.safetensors holds is checked as well.
  absl::StatusOr<RunState> Restore(Session& session) const;

  absl::Status Write(Session& session, RunState& state) const;
  // best.safetensors alone, where it is not written yet.
  absl::Status WriteBest(RunState& state) const;

 private:
  std::string Path(const char* file) const;
  // Those of state.best_epoch.
  absl::Status RestoreBest(Session& session, RunState& state) const;
  // By which a file of the best epoch is known to be of this history.
  static std::string BestMetrics(const RunState& state);

  std::string folder_;
  std::map<std::string, std::string> metadata_;
};

}  // namespace weft::cli

#endif  // WEFT_TOOLS_WEFT_CHECKPOINT_FOLDER_H_
