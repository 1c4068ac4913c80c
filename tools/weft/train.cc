// weft train: trains an exported training graph, or a standard model built for the data.
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "graph/graph.h"
#include "proto/npy.h"
#include "tools/common/command_line.h"
#include "tools/common/json_text.h"
#include "tools/common/outputs.h"
#include "tools/weft/command.h"
#include "tools/weft/fingerprint.h"
#include "tools/weft/model.h"
#include "tools/weft/models.h"
#include "tools/weft/resume.h"
#include "tools/weft/train_data.h"
#include "tools/weft/train_examination.h"
#include "tools/weft/train_flags.h"
#include "tools/weft/train_summary.h"
#include "tools/weft/trainer.h"

namespace weft::cli {
namespace {

int64_t StepsOf(const TrainFlags& flags, const TrainingData& loaded) {
  const int64_t rows = static_cast<int64_t>(loaded.training.rows.size());
  return std::max<int64_t>(
      1, flags.training.epochs * (rows / std::min(flags.training.batch_size, rows)));
}

absl::StatusOr<Graph> ModelGraph(const TrainFlags& flags, const TrainingData& loaded,
                                 const LearningTask& task) {
  if (!IsStandardModel(flags.model)) {
    absl::StatusOr<Graph> graph = LoadGraphNotPackage(flags.model);
    if (!graph.ok()) return graph;
    const std::vector<std::string> names = graph->SignatureNames();
    for (const char* needed : {"init", "train_step"}) {
      if (std::count(names.begin(), names.end(), needed)) continue;
      return AsBadInput(absl::InvalidArgumentError(
          absl::StrCat(flags.model, " cannot be trained: it has no signature '", needed, "', only ",
                       absl::StrJoin(names, ", "))));
    }
    return graph;
  }
  // Taken up again, the model is the one that is there: another would be normalised by other data.
  if (flags.training.resume) return LoadGraphNotPackage(ModelPath(flags));
  StandardModelOptions options = flags.standard;
  options.kind = flags.model;
  options.seed = static_cast<uint32_t>(flags.training.seed);
  options.steps = StepsOf(flags, loaded);
  absl::StatusOr<Graph> graph =
      BuildStandardModel(options, loaded.data, loaded.training.rows, task);
  if (!graph.ok()) return AsBadInput(graph.status());
  return graph;
}

// Where the model has no eval_step, there is nothing to validate or test by, and that is said.
void DropEvaluation(const Graph& graph, TrainingData& loaded) {
  const std::vector<std::string> names = graph.SignatureNames();
  if (std::count(names.begin(), names.end(), "eval_step")) return;
  if (loaded.validation.rows.empty() && loaded.test.rows.empty()) return;
  std::fprintf(stderr, "no validation and no test: the model has no signature eval_step\n");
  loaded.validation.rows.clear();
  loaded.test.rows.clear();
}

// Which rows train, as far as numbers tell.
std::string RowsText(const TrainingData& loaded) {
  return absl::StrCat(loaded.training.rows.size(), " to train, ", loaded.validation.rows.size(),
                      " to validate, ", loaded.test.rows.size(), " to test");
}

absl::StatusOr<RunFacts> Metadata(const TrainFlags& flags, const Graph& graph,
                                  const TrainingData& loaded, const LearningTask& task) {
  absl::StatusOr<std::string> fingerprint = FingerprintOf(graph);
  if (!fingerprint.ok()) return fingerprint.status();
  RunFacts metadata = {{"model", Utf8(flags.model)},
                       {kGraphFact, *fingerprint},
                       {"seed", absl::StrCat(flags.training.seed)},
                       {"rows", RowsText(loaded)}};
  if (IsStandardModel(flags.model)) metadata["options"] = OptionsText(flags.standard);
  if (!task.class_names.empty()) {
    metadata["classes"] = JsonText(task.class_names);
  }
  if (loaded.data.table) {
    metadata["features"] = JsonText(loaded.data.table->FeatureNames());
    metadata["target"] = Utf8(loaded.data.table->target);
  }
  return metadata;
}

// What the variables are of: nothing is written before there is something to say of those.
absl::Status SaveModel(const TrainFlags& flags, const Graph& graph) {
  absl::Status status;
  if (!flags.training.checkpoint_folder.empty() && IsStandardModel(flags.model) &&
      !flags.training.resume) {
    status = graph.Save(ModelPath(flags));
  }
  if (status.ok() && !flags.out.empty()) {
    status = MakeFolderOf(flags.out);
    if (status.ok()) status = graph.Save(flags.out);
  }
  return status;
}

// A standard model that is taken up again has its learning rate fall over all steps of both runs,
// and must know all classes of the data.
absl::Status PrepareResumed(const TrainingData& loaded, const LearningTask& task,
                            const Graph& graph, const Session& session, TrainFlags& flags) {
  for (const Variable& variable : graph.Variables()) {
    if (variable.name() != kScheduleSteps) continue;
    flags.training.variables[kScheduleSteps] =
        HostTensor::Scalar(static_cast<float>(StepsOf(flags, loaded)));
  }
  for (const Session::SignatureInfo& signature : session.Signatures()) {
    for (const Session::ValueInfo& output : signature.outputs) {
      int64_t classes = 0;
      if (signature.name == "predict" && output.name == "probabilities" && !output.dims.empty() &&
          absl::SimpleAtoi(output.dims.back(), &classes) && task.classes > classes) {
        return AsBadInput(absl::InvalidArgumentError(
            absl::StrCat("the data does not go with ", ModelPath(flags), ", which knows ", classes,
                         " classes: expected y below that, got ", task.classes - 1)));
      }
    }
  }
  return absl::OkStatus();
}

absl::Status SaveRows(Session& session, const Rows& rows, const std::string& folder) {
  if (folder.empty() || rows.rows.empty()) return absl::OkStatus();
  absl::StatusOr<NamedTensors> tensors = GatherRows(session, "eval_step", rows);
  if (!tensors.ok()) return tensors.status();
  absl::Status status = MakeFolder(folder);
  for (const auto& [name, tensor] : *tensors) {
    const std::string path = absl::StrCat(folder, "/", FileNameOf(name), ".npy");
    if (status.ok()) status = SaveNpy(path, tensor);
  }
  return status;
}

absl::Status Run(TrainFlags flags) {
  // Hours of work do not end because nobody reads what is said of them any more.
  std::signal(SIGPIPE, SIG_IGN);
  absl::Status status = CheckFlags(flags);
  std::optional<RunFacts> before;
  if (status.ok() && flags.training.resume) {
    absl::StatusOr<RunFacts> facts = FactsOfCheckpoint(flags.training.checkpoint_folder);
    if (!facts.ok()) return facts.status();
    before = *std::move(facts);
  }
  TrainingData loaded;
  if (status.ok())
    status =
        LoadTrainingData(flags.data, flags.training.seed, IsStandardModel(flags.model), loaded);
  if (!status.ok()) return status;
  LearningTask task;
  if (absl::StatusOr<LearningTask> told = TaskOf(loaded.data); told.ok()) {
    task = *std::move(told);
  } else if (IsStandardModel(flags.model)) {
    return AsBadInput(told.status());
  }
  absl::StatusOr<Graph> graph = ModelGraph(flags, loaded, task);
  if (!graph.ok()) return graph.status();
  DropEvaluation(*graph, loaded);
  absl::StatusOr<RunFacts> metadata = Metadata(flags, *graph, loaded, task);
  if (!metadata.ok()) return metadata.status();
  flags.training.metadata = *std::move(metadata);
  if (before) {
    status = CheckSameRun(*before, flags.training.metadata, flags.GivenOptions(),
                          flags.training.checkpoint_folder);
    if (!status.ok()) return status;
    // Those not given are not the default ones, but what the model has.
    if (before->count("options")) flags.training.metadata["options"] = before->at("options");
  }
  absl::StatusOr<std::unique_ptr<Session>> session =
      SessionOf(*graph, {.threads = flags.threads,
                         .disabled_passes = flags.disabled_passes,
                         .matmul_precision = flags.matmul_precision,
                         .device = flags.device,
                         .gpu_libraries = flags.gpu_libraries});
  if (!session.ok()) return session.status();
  if (before && IsStandardModel(flags.model)) {
    status = PrepareResumed(loaded, task, *graph, **session, flags);
    if (!status.ok()) return status;
  }
  absl::StatusOr<Examination> examination = PrepareExamination(flags, **session, loaded);
  if (!examination.ok()) return examination.status();
  bool saved = false;
  flags.training.save_model = [&] {
    saved = true;
    return SaveModel(flags, *graph);
  };
  absl::StatusOr<TrainingResult> result =
      Train(**session, loaded.training, loaded.validation, flags.training);
  if (!result.ok()) {
    // What was not read from a file that is named already.
    const absl::Status& failed = result.status();
    return ExitCodeOf(failed) != kBadInput || flags.training.resume
               ? failed
               : Reworded(failed, absl::StrCat(flags.model, ": ", failed.message()));
  }
  result->compile_seconds += examination->compile_seconds;
  if (result->signal != 0) return Interrupted(*result);
  // Without checkpoints, or where all was done before.
  if (!saved) status = SaveModel(flags, *graph);
  if (!status.ok()) return status;
  if (result->stopped_early) {
    std::fprintf(stderr, "stopped early: no lower validation loss since epoch %lld\n",
                 static_cast<long long>(result->best_epoch));
  } else if (!result->did_something()) {
    std::fprintf(stderr, "nothing to do: the checkpoint is of epoch %lld, and --epochs is %lld\n",
                 static_cast<long long>(result->epochs_before),
                 static_cast<long long>(flags.training.epochs));
  }
  absl::StatusOr<TestResult> test = Test(**session, examination->test, *result);
  if (!test.ok()) return test.status();
  PrintResult(flags, loaded, *result, *test);
  status = SaveRows(**session, loaded.validation, flags.save_validation);
  if (status.ok()) status = SaveRows(**session, loaded.test, flags.save_test);
  if (status.ok())
    status = WriteReport(flags, examination->prediction, loaded, task, *result, *test);
  return status;
}

}  // namespace

Command AddTrain(CLI::App& program) {
  auto flags = std::make_shared<TrainFlags>();
  CLI::App* app = program.add_subcommand("train", "Trains a model on data");
  AddTrainOptions(app, *flags);
  app->footer(
      "Examples: weft train mlp --data cars.csv --target mpg --epochs 200 --test 0.1 \\\n"
      "              --checkpoint run\n"
      "          weft train digits.weft --data images.idx.gz --data labels.idx.gz --epochs 40 \\\n"
      "              --checkpoint run --report run/report.html\n"
      "          weft train mlp --data cars.csv --target mpg --epochs 1 --batch 64 \\\n"
      "              --device emulator:sm_80");
  return {app, [flags] { return Run(*flags); }};
}

}  // namespace weft::cli
