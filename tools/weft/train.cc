// weft train: trains an exported training graph, or a standard model built for the data.
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "graph/graph.h"
#include "proto/file.h"
#include "proto/npy.h"
#include "proto/suggest.h"
#include "tools/common/command_line.h"
#include "tools/common/json_text.h"
#include "tools/common/memory.h"
#include "tools/common/outputs.h"
#include "tools/weft/checkpoint_folder.h"
#include "tools/weft/command.h"
#include "tools/weft/model.h"
#include "tools/weft/models.h"
#include "tools/weft/resume.h"
#include "tools/weft/train_data.h"
#include "tools/weft/train_report.h"
#include "tools/weft/trainer.h"

namespace weft::cli {
namespace {

namespace fs = std::filesystem;

// Where a standard model is kept beside its checkpoints.
constexpr char kModelFile[] = "/model.weft";

struct Flags {
  std::string model;
  DataFlags data;
  std::vector<std::string> disabled_passes;
  TrainingOptions training;
  StandardModelOptions standard;
  std::string report, out, save_validation, save_test;
  int threads = 0;
  bool json = false;
  std::vector<CLI::Option*> model_options;  // of mlp and cnn

  // Those of model_options that are on the command line: "--hidden".
  std::set<std::string> GivenOptions() const {
    std::set<std::string> names;
    for (const CLI::Option* option : model_options) {
      if (option->count() > 0) names.insert(option->get_name());
    }
    return names;
  }
};

// Whether the file lies in the folder.
bool LiesIn(const std::string& file, const std::string& folder) {
  const std::string parent = fs::path(file).parent_path();
  return SamePath(parent.empty() ? "." : parent, folder);
}

// kUsage where a file that is named would be written twice.
absl::Status CheckWrittenOnce(const Flags& flags) {
  if (!flags.save_test.empty() && !flags.save_validation.empty() &&
      SamePath(flags.save_test, flags.save_validation)) {
    return UsageError(absl::StrCat("--save-validation and --save-test both write into '",
                                   flags.save_test, "'; give each a folder of its own"));
  }
  const std::string& checkpoint = flags.training.checkpoint_folder;
  std::vector<std::string> files = CheckpointFolder(checkpoint, {}).Files();
  if (!checkpoint.empty()) files.push_back(checkpoint + kModelFile);
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

// What can be known to be wrong before hours of training.
absl::Status CheckFlags(const Flags& flags) {
  if (flags.training.resume && flags.training.checkpoint_folder.empty()) {
    return UsageError("--resume wants --checkpoint FOLDER");
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

// A word that is no file is rather a mistyped name.
absl::Status CheckModelName(const std::string& model) {
  if (IsStandardModel(model) || model.find_first_of("./") != std::string::npos ||
      fs::exists(model)) {
    return absl::OkStatus();
  }
  return UsageError(absl::StrCat("there is no file and no standard model '", model, "'",
                                 Suggestion(model, {"mlp", "cnn"})));
}

std::string ModelPath(const Flags& flags) { return flags.training.checkpoint_folder + kModelFile; }

int64_t StepsOf(const Flags& flags, const TrainingData& loaded) {
  const int64_t rows = static_cast<int64_t>(loaded.training.rows.size());
  return std::max<int64_t>(
      1, flags.training.epochs * (rows / std::min(flags.training.batch_size, rows)));
}

absl::StatusOr<Graph> ModelGraph(const Flags& flags, const TrainingData& loaded,
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

absl::StatusOr<RunFacts> Metadata(const Flags& flags, const Graph& graph,
                                  const TrainingData& loaded, const LearningTask& task) {
  absl::StatusOr<std::string> fingerprint = FingerprintOf(graph);
  if (!fingerprint.ok()) return fingerprint.status();
  RunFacts metadata = {{"model", Utf8(flags.model)},
                       {"graph", *fingerprint},
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

ReportFacts FactsOf(const Flags& flags, const TrainingData& loaded) {
  ReportFacts facts;
  facts.model = fs::path(flags.model).filename();
  std::vector<std::string> names;
  for (const std::string& file : FilesOf(flags.data.data)) {
    names.push_back(fs::path(file).filename());
  }
  facts.run = {{"Model", facts.model},
               {"Data", absl::StrJoin(names, ", ")},
               {"Arrays", loaded.data.Describe()},
               {"Batch", absl::StrCat(flags.training.batch_size)},
               {"Seed", absl::StrCat(flags.training.seed)}};
  return facts;
}

// Figures of the test rows: of the last epoch, and of the best one where that is another.
struct TestResult {
  std::map<std::string, double> last, best;
};

nlohmann::json ToJson(const TrainingData& loaded, const TrainingResult& result,
                      const TestResult& test) {
  nlohmann::json json = {{"rows",
                          {{"training", loaded.training.rows.size()},
                           {"validation", loaded.validation.rows.size()},
                           {"test", loaded.test.rows.size()}}},
                         {"history", HistoryJson(result.history)},
                         {"best_epoch", result.best_epoch},
                         {"steps", result.steps},
                         {"seconds", result.seconds},
                         {"compile_seconds", result.compile_seconds},
                         {"peak_bytes", result.peak_bytes},
                         {"resident_bytes", PeakResidentBytes()},
                         {"stopped_early", result.stopped_early}};
  if (!test.last.empty()) json["test"]["last"] = MetricsJson(test.last);
  if (!test.best.empty()) json["test"]["best"] = MetricsJson(test.best);
  return json;
}

void PrintResult(const Flags& flags, const TrainingData& loaded, const TrainingResult& result,
                 const TestResult& test) {
  if (flags.json) {
    std::printf("%s\n", JsonText(ToJson(loaded, result, test)).c_str());
  } else if (!result.history.empty()) {
    const EpochMetrics& last = result.history.back();
    const auto line = [](const char* what, const std::map<std::string, double>& metrics,
                         const Rows& rows, const std::string& when) {
      std::printf("%-10s  %s  (%zu rows, %s)\n", what, MetricsText(metrics).c_str(),
                  rows.rows.size(), when.c_str());
    };
    const std::string last_epoch = absl::StrCat("epoch ", last.epoch);
    const std::string best_epoch = absl::StrCat("epoch ", result.best_epoch, ", the best");
    std::printf("%lld epochs in %.1f s, and %.1f s compiling\n", static_cast<long long>(last.epoch),
                result.seconds, result.compile_seconds);
    line("training", last.training, loaded.training, last_epoch);
    if (!last.validation.empty())
      line("validation", last.validation, loaded.validation, last_epoch);
    for (const EpochMetrics& epoch : result.history) {
      if (epoch.epoch != result.best_epoch || epoch.epoch == last.epoch) continue;
      line("", epoch.validation, loaded.validation, best_epoch);
    }
    if (!test.last.empty()) line("test", test.last, loaded.test, last_epoch);
    if (!test.best.empty()) line("", test.best, loaded.test, best_epoch);
  }
  if (result.best_epoch > 0 && test.last.empty()) {
    std::fprintf(stderr,
                 "The best epoch is the one with the lowest validation loss, so these rows flatter "
                 "it; --test 0.1 keeps rows for a fair figure.\n");
  }
  if (!result.checkpoint.empty()) {
    std::string best;
    if (result.best_epoch > 0) {
      best = absl::StrCat(", ", flags.training.checkpoint_folder, "/best.safetensors (epoch ",
                          result.best_epoch, ")");
    }
    std::fprintf(stderr, "checkpoints: %s%s\n", result.checkpoint.c_str(), best.c_str());
  }
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

std::string FolderOf(const std::string& file) {
  const fs::path folder = fs::path(file).parent_path();
  return folder.empty() ? "." : folder.string();
}

// What is kept of a run from its start on: nothing, where data and model do not go together.
absl::Status SaveModel(const Flags& flags, const Graph& graph) {
  absl::Status status;
  if (!flags.training.checkpoint_folder.empty()) {
    status = MakeFolder(flags.training.checkpoint_folder);
    if (status.ok() && IsStandardModel(flags.model) && !flags.training.resume) {
      status = graph.Save(ModelPath(flags));
    }
  }
  if (status.ok() && !flags.out.empty()) {
    status = MakeFolder(FolderOf(flags.out));
    if (status.ok()) status = graph.Save(flags.out);
  }
  return status;
}

// A standard model that is taken up again has its learning rate fall over all steps of both runs,
// and must know all classes of the data.
absl::Status PrepareResumed(const TrainingData& loaded, const LearningTask& task,
                            const Graph& graph, const Session& session, Flags& flags) {
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

absl::Status Interrupted(const TrainingResult& result) {
  std::string message = absl::StrCat("interrupted in epoch ", result.history.size() + 1, ", after ",
                                     result.batches_done, " of its steps; ");
  if (!result.checkpoint.empty()) {
    absl::StrAppend(&message, "the state is in ", result.checkpoint,
                    ", and --resume goes on from there");
  } else if (!result.did_something()) {
    absl::StrAppend(&message, "nothing was trained, and nothing is written");
  } else {
    absl::StrAppend(&message, "nothing is saved, as there is no --checkpoint");
  }
  return InterruptedError(message, result.signal);
}

// What judges the model at the end: made before hours of training, so that it fits.
struct Examination {
  std::optional<Evaluation> test;
  std::optional<Prediction> prediction;  // for the report
};

const Rows& JudgedRows(const TrainingData& loaded) {
  return loaded.test.rows.empty() ? loaded.validation : loaded.test;
}

absl::StatusOr<Examination> PrepareExamination(const Flags& flags, Session& session,
                                               const TrainingData& loaded) {
  Examination examination;
  const auto wrong = [&](const absl::Status& status) {
    return AsBadInput(Reworded(status, absl::StrCat(flags.model, ": ", status.message())));
  };
  if (!loaded.test.rows.empty()) {
    absl::StatusOr<Evaluation> test = Evaluation::Create(session, loaded.test);
    if (!test.ok()) return wrong(test.status());
    examination.test = *std::move(test);
  }
  if (flags.report.empty()) return examination;
  absl::StatusOr<Prediction> prediction = PredictionToJudge(session, JudgedRows(loaded));
  if (prediction.ok()) {
    examination.prediction = *std::move(prediction);
  } else if (!absl::IsNotFound(prediction.status())) {
    return wrong(prediction.status());
  }
  return examination;
}

// Tests the last epoch, then the best one, whose variables the session has afterwards.
absl::StatusOr<TestResult> Test(Session& session, std::optional<Evaluation>& evaluation,
                                const TrainingResult& result) {
  TestResult test;
  if (evaluation) {
    absl::StatusOr<Metrics> last = evaluation->Run();
    if (!last.ok()) return last.status();
    test.last = last->Means();
  }
  if (result.best.empty()) return test;
  absl::Status status = session.SetVariables(result.best);
  if (!status.ok()) return status;
  if (evaluation) {
    absl::StatusOr<Metrics> best = evaluation->Run();
    if (!best.ok()) return best.status();
    test.best = best->Means();
  }
  return test;
}

absl::Status WriteReport(const Flags& flags, std::optional<Prediction>& prediction,
                         const TrainingData& loaded, const LearningTask& task,
                         const TrainingResult& result, const TestResult& test) {
  if (flags.report.empty()) return absl::OkStatus();
  const Rows& rows = JudgedRows(loaded);
  const bool tested = &rows == &loaded.test;
  std::optional<Judgement> judgement;
  absl::StatusOr<Judgement> judged =
      prediction ? Judge(*prediction, rows) : absl::NotFoundError("there is no prediction");
  if (judged.ok()) {
    judgement = *std::move(judged);
    if (judgement->left_out > 0) {
      std::fprintf(stderr, "the report leaves out %lld of %s, which have no %s\n",
                   static_cast<long long>(judgement->left_out),
                   judgement->classification ? "the rows" : "the numbers",
                   judgement->classification ? "class" : "finite value");
    }
  } else if (!absl::IsNotFound(judged.status())) {
    return judged.status();
  }
  ReportFacts facts = FactsOf(flags, loaded);
  facts.judged = absl::StrCat(rows.rows.size(), tested ? " test" : " validation", " rows");
  facts.test = test.best.empty() ? test.last : test.best;
  absl::Status status = MakeFolder(FolderOf(flags.report));
  if (!status.ok()) return status;
  return WriteFileAtomically(flags.report, TrainingPage(MakeReport(result, judgement, task,
                                                                   loaded.training, rows, facts)));
}

absl::Status Run(Flags flags) {
  // Hours of work do not end because nobody reads what is said of them any more.
  std::signal(SIGPIPE, SIG_IGN);
  absl::Status status = CheckModelName(flags.model);
  if (status.ok()) status = CheckFlags(flags);
  std::optional<RunFacts> before;
  if (status.ok() && flags.training.resume) {
    absl::StatusOr<RunFacts> facts = FactsOfCheckpoint(flags.training.checkpoint_folder);
    if (!facts.ok()) return facts.status();
    before = *std::move(facts);
  }
  TrainingData loaded;
  if (status.ok()) status = LoadTrainingData(flags.data, flags.training.seed, loaded);
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
      SessionOf(*graph, {flags.threads, flags.disabled_passes, ""});
  if (!session.ok()) return session.status();
  if (before && IsStandardModel(flags.model)) {
    status = PrepareResumed(loaded, task, *graph, **session, flags);
    if (!status.ok()) return status;
  }
  absl::StatusOr<Examination> examination = PrepareExamination(flags, **session, loaded);
  if (!examination.ok()) return examination.status();
  flags.training.before_first_step = [&] { return SaveModel(flags, *graph); };
  absl::StatusOr<TrainingResult> result =
      Train(**session, loaded.training, loaded.validation, flags.training);
  if (!result.ok()) {
    // What was not read from a file that is named already.
    const absl::Status& failed = result.status();
    return ExitCodeOf(failed) != kBadInput || flags.training.resume
               ? failed
               : Reworded(failed, absl::StrCat(flags.model, ": ", failed.message()));
  }
  if (result->signal != 0) return Interrupted(*result);
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

void AddModelOptions(CLI::App* app, Flags& flags) {
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
                  "Folder for last.safetensors, best.safetensors and history.json, written every "
                  "ten seconds (less often where that takes long), at the end, and after Ctrl-C")
      ->type_name("FOLDER");
  app->add_flag("--resume", training.resume, "Go on from what is in the folder of --checkpoint");
  app->add_option("--patience", training.patience,
                  "Stop after so many epochs without a lower validation loss")
      ->type_name("EPOCHS")
      ->check(WholeNumber(1));
}

}  // namespace

Command AddTrain(CLI::App& program) {
  auto flags = std::make_shared<Flags>();
  CLI::App* app = program.add_subcommand("train", "Trains a model on data");
  app->add_option("MODEL", flags->model,
                  "Graph file with the signatures init and train_step, and eval_step and predict "
                  "to validate, test and report; or a standard model built for the data: mlp, cnn")
      ->required()
      ->type_name("MODEL");
  AddDataOptions(app, flags->data);
  AddTrainingOptions(app, flags->training);
  app->add_option("--report", flags->report, "HTML page to write about the run")->type_name("FILE");
  app->add_option("--save-validation", flags->save_validation,
                  "Write the validation rows, as fed to the model, to NAME.npy in this folder")
      ->type_name("FOLDER");
  app->add_option("--save-test", flags->save_test, "The same for the test rows")
      ->type_name("FOLDER");
  AddThreads(app, flags->threads);
  AddDisablePass(app, flags->disabled_passes);
  app->add_flag("--json", flags->json, "The result as JSON");
  AddModelOptions(app, *flags);
  app->footer(
      "Examples: weft train mlp --data cars.csv --target mpg --epochs 200 --test 0.1 \\\n"
      "              --checkpoint run\n"
      "          weft train digits.weft --data images.idx.gz --data labels.idx.gz --epochs 40 \\\n"
      "              --checkpoint run --report run/report.html");
  return {app, [flags] { return Run(*flags); }};
}

}  // namespace weft::cli
