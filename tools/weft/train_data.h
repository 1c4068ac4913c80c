// The data of a training run: which rows train, which choose among epochs, which judge at the end.
#ifndef WEFT_TOOLS_WEFT_TRAIN_DATA_H_
#define WEFT_TOOLS_WEFT_TRAIN_DATA_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "tools/data/dataset.h"
#include "tools/weft/trainer.h"

namespace CLI {
class App;
}

namespace weft::cli {

struct DataFlags {
  std::vector<std::string> data, validation_data, test_data, ignore;
  std::string target, task = "auto", header = "auto", missing = "refuse";
  double validation = 0.2, test = 0;
};

void AddDataOptions(CLI::App* app, DataFlags& flags);

// Rows refer to the sets here, so it stays where it is.
struct TrainingData {
  DataSet data;
  std::optional<DataSet> validation_set, test_set;
  Rows training;
  Rows validation;  // after each epoch: by their loss the best checkpoint is chosen
  Rows test;        // once, at the end: nothing is chosen by them

  TrainingData() = default;
  TrainingData(const TrainingData&) = delete;
  TrainingData& operator=(const TrainingData&) = delete;
};

// Loads and splits, and says on standard error what it found. The same seed gives the same split,
// and the same test rows whatever part of the others validates. With `finite`, numbers of x and y
// that are not finite are an error; otherwise, of any array, they are worth a note.
absl::Status LoadTrainingData(const DataFlags& flags, uint64_t seed, bool finite,
                              TrainingData& loaded);

}  // namespace weft::cli

#endif  // WEFT_TOOLS_WEFT_TRAIN_DATA_H_
