// Standard models for `weft train mlp` and `weft train cnn`: training from data alone.
#ifndef WEFT_TOOLS_WEFT_MODELS_H_
#define WEFT_TOOLS_WEFT_MODELS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "tools/data/dataset.h"

namespace weft::cli {

inline constexpr char kScheduleSteps[] = "schedule_steps";  // f32[]

struct StandardModelOptions {
  std::string kind;                        // "mlp" or "cnn"
  std::vector<int64_t> hidden = {64, 64};  // units of the dense layers before the last
  double learning_rate = 2e-3;
  double dropout = 0;
  double weight_decay = 0;
  // Steps over which the learning rate falls to 0 along a cosine: the first value of the variable
  // kScheduleSteps.
  int64_t steps = 1000;
  uint32_t seed = 0;
};

inline constexpr int64_t kMaxClasses = 100'000;

// What the model learns, told from the data: `classes` of 0 stands for regression.
struct LearningTask {
  int64_t classes = 0;
  std::vector<std::string> class_names;  // empty, or one per class
};

// From array y of the data: a table says it itself; integers of one per row are classes; floats are
// numbers to predict. Error: InvalidArgument where there is no y, or classes are negative or more
// than 100,000.
absl::StatusOr<LearningTask> TaskOf(const DataSet& data);

bool IsStandardModel(const std::string& name);

// A graph with signatures train_step (loss, accuracy), eval_step (loss; accuracy, or mae in y's
// units) and predict (class and probabilities, or y), inputs x and y. How x is normalised, from the
// training rows, is part of the graph; a regression learns y normalised and predicts it in its own
// units. A cnn takes images [h, w] or [h, w, c].
absl::StatusOr<Graph> BuildStandardModel(const StandardModelOptions& options, const DataSet& data,
                                         const std::vector<int64_t>& training_rows,
                                         const LearningTask& task);

}  // namespace weft::cli

#endif  // WEFT_TOOLS_WEFT_MODELS_H_
