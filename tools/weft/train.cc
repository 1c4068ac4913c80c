// weft train: trains an exported training graph, or a standard model built for the data.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "graph/graph.h"
#include "proto/file.h"
#include "proto/npy.h"
#include "proto/suggest.h"
#include "tools/data/dataset.h"
#include "tools/weft/command.h"
#include "tools/weft/model.h"
#include "tools/weft/models.h"
#include "tools/weft/train_report.h"
#include "tools/weft/trainer.h"

namespace weft::cli {
namespace {

constexpr int kMaxCount = 1'000'000'000;

struct Flags {
  std::string model;
  std::vector<std::string> data, test_data, ignore, disabled_passes;
  std::string target, task = "auto", header = "auto", missing = "refuse";
  double validation = 0.2;
  TrainingOptions training;
  StandardModelOptions standard;
  std::string report, out, save_validation;
  int threads = 0;
  bool json = false;
};

template <typename T>
absl::StatusOr<T> Choice(const char* option, const std::string& value,
                         const std::vector<std::pair<std::string, T>>& choices) {
  std::vector<std::string> names;
  for (const auto& [name, choice] : choices) {
    if (name == value) return choice;
    names.push_back(name);
  }
  return UsageError(
      absl::StrCat(option, " is one of ", absl::StrJoin(names, ", "), ", got '", value, "'"));
}

absl::StatusOr<LoadOptions> LoadOptionsOf(const Flags& flags) {
  LoadOptions options;
  options.csv.target = flags.target;
  options.csv.ignore = flags.ignore;
  auto task = Choice<Task>("--task", flags.task,
                           {{"auto", Task::kAutomatic},
                            {"regression", Task::kRegression},
                            {"classification", Task::kClassification}});
  auto header = Choice<Header>(
      "--header", flags.header,
      {{"auto", Header::kAutomatic}, {"yes", Header::kPresent}, {"no", Header::kAbsent}});
  auto missing = Choice<Missing>(
      "--missing", flags.missing,
      {{"refuse", Missing::kRefuse}, {"drop", Missing::kDropRow}, {"mean", Missing::kMean}});
  for (const absl::Status& status : {task.status(), header.status(), missing.status()}) {
    if (!status.ok()) return status;
  }
  options.csv.task = *task;
  options.csv.header = *header;
  options.csv.missing = *missing;
  return options;
}

struct LoadedData {
  DataSet data;
  std::optional<DataSet> test;
  Rows training, validation;
};

absl::Status LoadData(const Flags& flags, LoadedData& loaded) {
  absl::StatusOr<LoadOptions> options = LoadOptionsOf(flags);
  if (!options.ok()) return options.status();
  absl::StatusOr<DataSet> data = LoadDataSet(flags.data, *options);
  if (!data.ok()) return AsBadInput(data.status());
  loaded.data = *std::move(data);
  std::fprintf(stderr, "data: %s\n", loaded.data.Describe().c_str());
  if (const auto& table = loaded.data.table) {
    std::fprintf(
        stderr, "      %s of '%s'%s%s\n", table->classification() ? "classification" : "regression",
        table->target.c_str(),
        table->classification() ? absl::StrCat(" in ", table->classes.size(), " classes").c_str()
                                : "",
        table->dropped_rows > 0 ? absl::StrCat("; ", table->dropped_rows, " rows left out").c_str()
                                : "");
  }
  if (flags.test_data.empty()) {
    Split split = SplitRows(loaded.data.num_rows, flags.validation, flags.training.seed);
    loaded.training = {&loaded.data, std::move(split.training)};
    loaded.validation = {&loaded.data, std::move(split.validation)};
  } else {
    if (loaded.data.table) options->csv.like = &*loaded.data.table;
    absl::StatusOr<DataSet> test = LoadDataSet(flags.test_data, *options);
    if (!test.ok()) return AsBadInput(test.status());
    loaded.test = *std::move(test);
    loaded.training = {&loaded.data, SplitRows(loaded.data.num_rows, 0, 0).training};
    loaded.validation = {&*loaded.test, SplitRows(loaded.test->num_rows, 0, 0).training};
  }
  if (loaded.training.rows.empty()) {
    return UsageError(absl::StrCat("--validation ", flags.validation, " of ", loaded.data.num_rows,
                                   " rows leaves none to train on"));
  }
  return absl::OkStatus();
}

// A word that is no file is rather a mistyped name.
absl::Status CheckModelName(const std::string& model) {
  if (IsStandardModel(model) || model.find_first_of("./") != std::string::npos ||
      std::filesystem::exists(model)) {
    return absl::OkStatus();
  }
  return UsageError(absl::StrCat("there is no file and no standard model '", model, "'",
                                 Suggestion(model, {"mlp", "cnn"})));
}

absl::StatusOr<Graph> ModelGraph(const Flags& flags, const LoadedData& loaded,
                                 const LearningTask& task) {
  if (!IsStandardModel(flags.model)) {
    absl::StatusOr<bool> package = IsPackage(flags.model);
    if (!package.ok()) return package.status();
    if (*package) {
      return AsBadInput(absl::InvalidArgumentError(absl::StrCat(
          flags.model, " is a package; weft train wants the graph file it was made from")));
    }
    absl::StatusOr<Graph> graph = LoadGraph(flags.model);
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
  StandardModelOptions options = flags.standard;
  options.kind = flags.model;
  options.seed = static_cast<uint32_t>(flags.training.seed);
  const int64_t rows = static_cast<int64_t>(loaded.training.rows.size());
  options.steps = std::max<int64_t>(
      1, flags.training.epochs * (rows / std::min(flags.training.batch_size, rows)));
  absl::StatusOr<Graph> graph =
      BuildStandardModel(options, loaded.data, loaded.training.rows, task);
  if (!graph.ok()) return AsBadInput(graph.status());
  return graph;
}

// Where validation is asked for but the model has no eval_step, it is left out, and that is said.
void DropValidation(const Graph& graph, LoadedData& loaded) {
  const std::vector<std::string> names = graph.SignatureNames();
  if (loaded.validation.rows.empty() || std::count(names.begin(), names.end(), "eval_step")) return;
  std::fprintf(stderr, "no validation: the model has no signature eval_step\n");
  loaded.validation.rows.clear();
}

absl::Status MakeFolder(const std::string& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (!error) return absl::OkStatus();
  return absl::PermissionDeniedError(
      absl::StrCat("cannot make the folder ", folder, ": ", error.message()));
}

// As text that JSON and checkpoints can hold: what is not UTF-8 (a table in another encoding, say)
// becomes U+FFFD.
std::string JsonText(const nlohmann::json& json) {
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}
std::string Utf8(const std::string& text) {
  return nlohmann::json::parse(JsonText(text)).get<std::string>();
}

std::map<std::string, std::string> Metadata(const Flags& flags, const LoadedData& loaded,
                                            const LearningTask& task) {
  std::map<std::string, std::string> metadata = {{"model", Utf8(flags.model)},
                                                 {"seed", absl::StrCat(flags.training.seed)}};
  if (!task.class_names.empty()) {
    metadata["classes"] = JsonText(task.class_names);
  }
  if (loaded.data.table) {
    metadata["features"] = JsonText(loaded.data.table->FeatureNames());
    metadata["target"] = Utf8(loaded.data.table->target);
  }
  return metadata;
}

ReportFacts FactsOf(const Flags& flags, const LoadedData& loaded) {
  ReportFacts facts;
  facts.model = std::filesystem::path(flags.model).filename();
  std::vector<std::string> names;
  for (const std::string& file : flags.data) {
    names.push_back(std::filesystem::path(file).filename());
  }
  facts.run = {{"Model", facts.model},
               {"Data", absl::StrJoin(names, ", ")},
               {"Arrays", loaded.data.Describe()},
               {"Batch", absl::StrCat(flags.training.batch_size)},
               {"Seed", absl::StrCat(flags.training.seed)}};
  return facts;
}

void PrintResult(const Flags& flags, const TrainingResult& result) {
  if (flags.json) {
    nlohmann::json history = nlohmann::json::array();
    for (const EpochMetrics& epoch : result.history) {
      history.push_back(
          {{"epoch", epoch.epoch}, {"training", epoch.training}, {"validation", epoch.validation}});
    }
    const nlohmann::json json = {{"history", history},
                                 {"best_epoch", result.best_epoch},
                                 {"steps", result.steps},
                                 {"seconds", result.seconds},
                                 {"compile_seconds", result.compile_seconds},
                                 {"peak_bytes", result.peak_bytes},
                                 {"stopped_early", result.stopped_early}};
    std::printf("%s\n", JsonText(json).c_str());
    return;
  }
  if (result.history.empty()) return;
  const EpochMetrics& last = result.history.back();
  const auto& metrics = last.validation.empty() ? last.training : last.validation;
  std::string text;
  for (const auto& [name, value] : metrics) {
    absl::StrAppendFormat(&text, "%s%s %.4g", text.empty() ? "" : ", ", name, value);
  }
  std::printf("%s after %lld epochs, %.1f s (and %.1f s compiling): %s\n",
              last.validation.empty() ? "training" : "validation",
              static_cast<long long>(last.epoch), result.seconds, result.compile_seconds,
              text.c_str());
}

// No output is the model or data.
absl::Status CheckOutputs(const Flags& flags) {
  std::vector<std::string> inputs = {flags.model};
  for (const auto* files : {&flags.data, &flags.test_data}) {
    for (const std::string& file : *files) inputs.push_back(file.substr(file.find('=') + 1));
  }
  const std::pair<const char*, const std::string*> kOutputs[] = {{"-o", &flags.out},
                                                                 {"--report", &flags.report}};
  for (const auto& [option, output] : kOutputs) {
    for (const std::string& input : inputs) {
      if (!SameFile(*output, input)) continue;
      return UsageError(absl::StrCat(option, " '", *output, "' would overwrite an input"));
    }
  }
  return absl::OkStatus();
}

absl::Status Run(Flags flags) {
  if (flags.training.resume && flags.training.checkpoint_folder.empty()) {
    return UsageError("--resume wants --checkpoint FOLDER");
  }
  absl::Status status = CheckModelName(flags.model);
  if (status.ok()) status = CheckOutputs(flags);
  LoadedData loaded;
  if (status.ok()) status = LoadData(flags, loaded);
  if (!status.ok()) return status;
  LearningTask task;
  if (absl::StatusOr<LearningTask> told = TaskOf(loaded.data); told.ok()) {
    task = *std::move(told);
  } else if (IsStandardModel(flags.model)) {
    return AsBadInput(told.status());
  }
  absl::StatusOr<Graph> graph = ModelGraph(flags, loaded, task);
  if (!graph.ok()) return graph.status();
  DropValidation(*graph, loaded);
  const std::string& folder = flags.training.checkpoint_folder;
  if (!folder.empty()) {
    status = MakeFolder(folder);
    if (!status.ok()) return status;
  }
  if (IsStandardModel(flags.model)) {
    if (flags.out.empty() && !folder.empty()) flags.out = folder + "/model.weft";
    if (!flags.out.empty()) {
      status = graph->Save(flags.out);
      if (!status.ok()) return status;
    }
  }
  absl::StatusOr<std::unique_ptr<Session>> session =
      SessionOf(*graph, {flags.threads, flags.disabled_passes, ""});
  if (!session.ok()) return session.status();
  flags.training.metadata = Metadata(flags, loaded, task);
  absl::StatusOr<TrainingResult> result =
      Train(**session, loaded.training, loaded.validation, flags.training);
  if (!result.ok()) return result.status();
  if (result->interrupted) {
    return absl::CancelledError(
        absl::StrCat("interrupted in epoch ", result->history.size() + 1,
                     result->saved_epoch > 0
                         ? absl::StrCat("; --resume goes on after epoch ", result->saved_epoch)
                         : ""));
  }
  if (result->stopped_early) {
    std::fprintf(stderr, "stopped early: no lower validation loss since epoch %lld\n",
                 static_cast<long long>(result->best_epoch));
  }
  PrintResult(flags, *result);
  if (!flags.save_validation.empty()) {
    if (loaded.validation.rows.empty()) return UsageError("there are no validation rows to save");
    absl::StatusOr<NamedTensors> rows = GatherRows(**session, "eval_step", loaded.validation);
    if (!rows.ok()) return rows.status();
    status = MakeFolder(flags.save_validation);
    for (const auto& [name, tensor] : *rows) {
      if (status.ok())
        status = SaveNpy(absl::StrCat(flags.save_validation, "/", name, ".npy"), tensor);
    }
    if (!status.ok()) return status;
  }
  if (flags.report.empty()) return absl::OkStatus();
  std::optional<Judgement> judgement;
  absl::StatusOr<Judgement> judged = Judge(**session, loaded.validation);
  if (judged.ok()) {
    judgement = *std::move(judged);
  } else if (judged.status().code() != absl::StatusCode::kNotFound) {
    return judged.status();
  }
  const TrainingReport report = MakeReport(*result, judgement, task, loaded.training,
                                           loaded.validation, FactsOf(flags, loaded));
  return WriteFileAtomically(flags.report, TrainingPage(report));
}

void AddDataOptions(CLI::App* app, const std::shared_ptr<Flags>& flags) {
  app->add_option("--data", flags->data,
                  "Files to train on: npz, npy, idx (also .gz), CSV; FILE or NAME=FILE; repeatable")
      ->required();
  app->add_option("--test-data", flags->test_data, "Files to validate on instead of a part of it");
  app->add_option("--validation", flags->validation, "Share of the rows to validate on")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  app->add_option("--target", flags->target, "CSV: column to learn; the last one if not given");
  app->add_option("--task", flags->task, "CSV: regression, classification or auto");
  app->add_option("--ignore", flags->ignore, "CSV: column to leave out; repeatable");
  app->add_option("--header", flags->header, "CSV: first row holds names: yes, no or auto");
  app->add_option("--missing", flags->missing,
                  "CSV: rows with a missing value: refuse, drop, or mean to fill it in");
}

void AddModelOptions(CLI::App* app, const std::shared_ptr<Flags>& flags) {
  app->add_option("--hidden", flags->standard.hidden, "mlp, cnn: units of hidden layers")
      ->delimiter(',')
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app->add_option("--learning-rate", flags->standard.learning_rate, "mlp, cnn: at the start")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app->add_option("--dropout", flags->standard.dropout, "mlp, cnn: share that is dropped")
      ->check(CLI::Range(0.0, 0.95));
  app->add_option("--weight-decay", flags->standard.weight_decay, "mlp, cnn")
      ->check(CLI::NonNegativeNumber);
  app->add_option("-o,--out", flags->out,
                  "mlp, cnn: graph file to write; FOLDER/model.weft of --checkpoint if not given");
}

}  // namespace

Command AddTrain(CLI::App& program) {
  auto flags = std::make_shared<Flags>();
  TrainingOptions& training = flags->training;
  CLI::App* app = program.add_subcommand("train", "Trains a model on data");
  app->add_option("model", flags->model,
                  "Graph file with signatures init, train_step and maybe eval_step, predict; or a "
                  "standard model built for the data: mlp, cnn")
      ->required()
      ->type_name("MODEL");
  AddDataOptions(app, flags);
  app->add_option("--epochs", training.epochs)
      ->check(CLI::Range(1, kMaxCount))
      ->capture_default_str();
  app->add_option("--batch", training.batch_size, "Rows per step")
      ->check(CLI::Range(1, kMaxCount))
      ->capture_default_str();
  app->add_option("--seed", training.seed, "Of split, order and first values of mlp, cnn")
      ->capture_default_str();
  app->add_option("--checkpoint", training.checkpoint_folder,
                  "Folder for last.safetensors, best.safetensors, history.json");
  app->add_flag("--resume", training.resume, "Go on from --checkpoint");
  app->add_option("--patience", training.patience,
                  "Stop after so many epochs without a lower validation loss")
      ->check(CLI::NonNegativeNumber);
  AddModelOptions(app, flags);
  app->add_option("--report", flags->report, "HTML page to write about the run");
  app->add_option("--save-validation", flags->save_validation,
                  "Write the validation rows, as fed to the model, to NAME.npy in this folder");
  app->add_option("--threads", flags->threads, "0: one per core")
      ->check(CLI::Range(0, kMaxThreads));
  app->add_option("--disable-pass", flags->disabled_passes,
                  "Leave out a compiler pass; repeatable");
  app->add_flag("--json", flags->json, "The result as JSON");
  app->footer(
      "Example: weft train mlp --data cars.csv --target mpg --epochs 200 --checkpoint run\n"
      "         weft train digits.weft --data images.idx.gz --data labels.idx.gz "
      "--epochs 25 --checkpoint run --report run/report.html");
  return {app, [flags] { return Run(*flags); }};
}

}  // namespace weft::cli
