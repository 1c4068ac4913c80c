#include "tools/weft/train_flags.h"

#include <filesystem>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "proto/suggest.h"
#include "tools/common/command_line.h"
#include "tools/common/exit_code.h"
#include "tools/common/outputs.h"
#include "tools/weft/checkpoint_folder.h"
#include "tools/weft/model.h"

namespace weft::cli {
namespace {

namespace fs = std::filesystem;

// Whether the file lies in the folder.
bool LiesIn(const std::string& file, const std::string& folder) {
  const std::string parent = fs::path(file).parent_path();
  return SamePath(parent.empty() ? "." : parent, folder);
}

// kUsage where a file that is named would be written twice.
absl::Status CheckWrittenOnce(const TrainFlags& flags) {
  if (!flags.save_test.empty() && !flags.save_validation.empty() &&
      SamePath(flags.save_test, flags.save_validation)) {
    return UsageError(absl::StrCat("--save-validation and --save-test both write into '",
                                   flags.save_test, "'; give each a folder of its own"));
  }
  const std::vector<std::string> files =
      CheckpointFolder(flags.training.checkpoint_folder, {}).Files();
  for (const auto& [option, out] :
       {std::pair("-o", flags.out), std::pair("--report", flags.report)}) {
    if (out.empty()) continue;
    for (const std::string& file : files) {
      if (!SamePath(out, file)) continue;
      return UsageError(absl::StrCat(option, " '", out,
                                     "' is a file that --checkpoint writes; choose another name"));
    }
    for (const auto& [other, folder] : {std::pair("--save-validation", flags.save_validation),
                                        std::pair("--save-test", flags.save_test)}) {
      if (folder.empty() || !absl::EndsWith(out, ".npy") || !LiesIn(out, folder)) continue;
      return UsageError(absl::StrCat(option, " '", out, "' could be a file that ", other,
                                     " writes; choose another name"));
    }
  }
  if (!flags.out.empty() && !flags.report.empty() && SamePath(flags.out, flags.report)) {
    return UsageError(absl::StrCat("-o and --report both write '", flags.report,
                                   "'; choose another name for one"));
  }
  return absl::OkStatus();
}

// A word that is no file is rather a mistyped name.
absl::Status CheckModelName(const std::string& model) {
  if (IsStandardModel(model) || model.find_first_of("./") != std::string::npos ||
      fs::exists(model)) {
    return absl::OkStatus();
  }
  return UsageError(absl::StrCat("there is no file and no standard model '", model, "'",
                                 Suggestion(model, {"mlp", "cnn"})));
}

void AddModelOptions(CLI::App* app, TrainFlags& flags) {
  constexpr char kGroup[] = "Standard models (mlp, cnn)";
  StandardModelOptions& standard = flags.standard;
  std::vector<CLI::Option*>& options = flags.model_options;
  options.push_back(app->add_option("--hidden", standard.hidden, "Units of the hidden layers")
                        ->allow_extra_args(false)
                        ->delimiter(',')
                        ->type_name("UNITS,...")
                        ->check(WholeNumber(1))
                        ->default_str("64,64")
                        ->group(kGroup));
  options.push_back(app->add_option("--learning-rate", standard.learning_rate,
                                    "Where it starts; it falls to 0 along a cosine")
                        ->capture_default_str()
                        ->type_name("RATE")
                        ->check(PositiveNumber())
                        ->group(kGroup));
  options.push_back(app->add_option("--dropout", standard.dropout,
                                    "Share of the units that is dropped in training")
                        ->type_name("SHARE")
                        ->check(NumberBetween(0, 0.95))
                        ->group(kGroup));
  options.push_back(app->add_option("--weight-decay", standard.weight_decay, "Of AdamW")
                        ->type_name("RATE")
                        ->check(NumberBetween(0, 1))
                        ->group(kGroup));
  app->add_option("-o,--out", flags.out,
                  "Graph file to write, besides FOLDER/model.weft of --checkpoint")
      ->type_name("FILE")
      ->group(kGroup);
}

void AddTrainingOptions(CLI::App* app, TrainingOptions& training) {
  app->add_option("--epochs", training.epochs, "Times that the training rows are gone through")
      ->capture_default_str()
      ->type_name("N")
      ->check(WholeNumber(1, kMaxCount));
  app->add_option("--batch", training.batch_size, "Rows of a step")
      ->capture_default_str()
      ->type_name("N")
      ->check(WholeNumber(1, kMaxCount));
  app->add_option("--seed", training.seed,
                  "Of the split, the order of rows, and the first values of mlp and cnn")
      ->capture_default_str()
      ->type_name("N")
      ->check(WholeNumber(0));
  app->add_option("--checkpoint", training.checkpoint_folder,
                  "Folder for last.safetensors, best.safetensors, history.json and, of mlp and "
                  "cnn, model.weft, written now and then, at the end, and after Ctrl-C")
      ->type_name("FOLDER");
  app->add_option("--checkpoint-every", training.checkpoint_every,
                  "Time between two checkpoints; longer where writing one takes long")
      ->capture_default_str()
      ->type_name("SECONDS")
      ->check(PositiveNumber());
  app->add_flag("--resume", training.resume, "Go on from what is in the folder of --checkpoint");
  app->add_option("--patience", training.patience,
                  "Stop after so many epochs without a lower validation loss")
      ->type_name("EPOCHS")
      ->check(WholeNumber(1));
}

}  // namespace

std::set<std::string> TrainFlags::GivenOptions() const {
  std::set<std::string> names;
  for (const CLI::Option* option : model_options) {
    if (option->count() > 0) names.insert(option->get_name());
  }
  return names;
}

std::string ModelPath(const TrainFlags& flags) {
  return CheckpointFolder(flags.training.checkpoint_folder, {}).model_path();
}

absl::Status CheckFlags(const TrainFlags& flags) {
  absl::Status known = CheckModelName(flags.model);
  if (!known.ok()) return known;
  if (flags.training.resume && flags.training.checkpoint_folder.empty()) {
    return UsageError("--resume wants --checkpoint FOLDER");
  }
  if (flags.training.checkpoint_every != TrainingOptions().checkpoint_every &&
      flags.training.checkpoint_folder.empty()) {
    return UsageError("--checkpoint-every wants --checkpoint FOLDER");
  }
  if (!flags.out.empty() && !IsStandardModel(flags.model)) {
    return UsageError(absl::StrCat("-o writes the graph of mlp or cnn; ", flags.model,
                                   " is a graph file already"));
  }
  const DataFlags& data = flags.data;
  const bool validates = data.validation > 0 || !data.validation_data.empty();
  const bool tests = data.test > 0 || !data.test_data.empty();
  if (flags.training.patience > 0 && !validates) {
    return UsageError("--patience waits for a lower validation loss, so it wants --validation");
  }
  if (!flags.save_validation.empty() && !validates) {
    return UsageError("--save-validation wants --validation or --validation-data");
  }
  if (!flags.save_test.empty() && !tests) {
    return UsageError("--save-test wants --test or --test-data");
  }
  std::vector<std::string> inputs = {flags.model};
  for (const auto* files : {&data.data, &data.validation_data, &data.test_data}) {
    for (const std::string& file : FilesOf(*files)) inputs.push_back(file);
  }
  for (const auto& [option, folder] : {std::pair("--save-validation", flags.save_validation),
                                       std::pair("--save-test", flags.save_test)}) {
    for (const std::string& input : inputs) {
      if (folder.empty() || !absl::EndsWith(input, ".npy") || !LiesIn(input, folder)) continue;
      return UsageError(absl::StrCat(option, " '", folder, "' holds the input ", input,
                                     ", which could be overwritten; choose another folder"));
    }
  }
  // The folders are made once there is something to put into them. A report is often in one.
  const std::vector<std::string> folders = {flags.training.checkpoint_folder, flags.save_validation,
                                            flags.save_test};
  absl::Status status = CheckWrittenOnce(flags);
  if (status.ok()) status = CheckOutput("-o", flags.out, inputs, folders);
  if (status.ok()) status = CheckFolder("--checkpoint", folders[0]);
  if (status.ok()) status = CheckFolder("--save-validation", folders[1]);
  if (status.ok()) status = CheckFolder("--save-test", folders[2]);
  if (status.ok()) status = CheckOutput("--report", flags.report, inputs, folders);
  return status;
}

void AddTrainOptions(CLI::App* app, TrainFlags& flags) {
  app->add_option("MODEL", flags.model,
                  "Graph file with the signatures init and train_step, and eval_step and predict "
                  "to validate, test and report; or a standard model built for the data: mlp, cnn")
      ->required()
      ->type_name("MODEL");
  AddDataOptions(app, flags.data);
  AddTrainingOptions(app, flags.training);
  app->add_option("--report", flags.report, "HTML page to write about the run")->type_name("FILE");
  app->add_option("--save-validation", flags.save_validation,
                  "Write the validation rows, as fed to the model, to NAME.npy in this folder")
      ->type_name("FOLDER");
  app->add_option("--save-test", flags.save_test, "The same for the test rows")
      ->type_name("FOLDER");
  AddThreads(app, flags.threads);
  AddDevice(app, flags.device);
  AddGpuLibraries(app, flags.gpu_libraries);
  AddMatmulPrecision(app, flags.matmul_precision);
  AddDisablePass(app, flags.disabled_passes);
  app->add_flag("--json", flags.json, "The result as JSON");
  AddModelOptions(app, flags);
}

}  // namespace weft::cli
