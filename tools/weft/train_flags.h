// What `weft train` is told on the command line.
#ifndef WEFT_TOOLS_WEFT_TRAIN_FLAGS_H_
#define WEFT_TOOLS_WEFT_TRAIN_FLAGS_H_

#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "tools/weft/models.h"
#include "tools/weft/train_data.h"
#include "tools/weft/trainer.h"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace weft::cli {

struct TrainFlags {
  std::string model;
  DataFlags data;
  std::vector<std::string> disabled_passes;
  TrainingOptions training;
  StandardModelOptions standard;
  std::string report, out, save_validation, save_test, device = "cpu", matmul_precision;
  std::string gpu_libraries = "off";
  int threads = 0;
  bool json = false;
  std::vector<CLI::Option*> model_options;  // of mlp and cnn

  // Those of model_options that are on the command line: "--hidden".
  std::set<std::string> GivenOptions() const;
};

void AddTrainOptions(CLI::App* app, TrainFlags& flags);

// What can be known to be wrong before hours of training: a model that is no name and no file,
// options that do not go together, files that cannot be written or would be written twice.
absl::Status CheckFlags(const TrainFlags& flags);

// Where a standard model is kept beside its checkpoints.
std::string ModelPath(const TrainFlags& flags);

}  // namespace weft::cli

#endif  // WEFT_TOOLS_WEFT_TRAIN_FLAGS_H_
