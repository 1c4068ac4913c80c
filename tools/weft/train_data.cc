#include "tools/weft/train_data.h"

#include <cstdio>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tools/common/command_line.h"
#include "tools/common/exit_code.h"
#include "tools/common/outputs.h"

namespace weft::cli {
namespace {

const std::map<std::string, Task> kTasks = {{"auto", Task::kAutomatic},
                                            {"regression", Task::kRegression},
                                            {"classification", Task::kClassification}};
const std::map<std::string, Header> kHeaders = {
    {"auto", Header::kAutomatic}, {"yes", Header::kPresent}, {"no", Header::kAbsent}};
const std::map<std::string, Missing> kMissing = {
    {"refuse", Missing::kRefuse}, {"drop", Missing::kDropRow}, {"mean", Missing::kMean}};

template <typename T>
std::vector<std::string> NamesOf(const std::map<std::string, T>& choices) {
  std::vector<std::string> names;
  for (const auto& [name, choice] : choices) names.push_back(name);
  return names;
}

absl::Status CheckShares(const DataFlags& flags, int64_t rows, const TrainingData& loaded) {
  if (!loaded.training.rows.empty()) return absl::OkStatus();
  return UsageError(absl::StrCat("--validation ", flags.validation, " and --test ", flags.test,
                                 " of ", rows, " rows leave none to train on"));
}

absl::StatusOr<DataSet> Load(const std::vector<std::string>& files, const LoadOptions& options) {
  absl::StatusOr<DataSet> data = LoadDataSet(files, options);
  // A name that no column has was mistyped on the command line; the file is as it should be.
  if (!data.ok() && data.status().code() == absl::StatusCode::kFailedPrecondition) {
    return AsUsage(data.status());
  }
  if (!data.ok()) return AsBadInput(data.status());
  return data;
}

void Describe(const TrainingData& loaded) {
  std::fprintf(stderr, "data: %s\n", loaded.data.Describe().c_str());
  if (const auto& table = loaded.data.table) {
    std::string text = absl::StrCat(table->classification() ? "classification" : "regression",
                                    " of '", table->target, "'");
    if (table->classification()) absl::StrAppend(&text, " in ", table->classes.size(), " classes");
    if (table->dropped_rows > 0)
      absl::StrAppend(&text, "; ", table->dropped_rows, " rows left out");
    std::fprintf(stderr, "      %s\n", text.c_str());
  }
  std::fprintf(stderr, "rows: %zu to train, %zu to validate, %zu to test\n",
               loaded.training.rows.size(), loaded.validation.rows.size(), loaded.test.rows.size());
}

}  // namespace

void AddDataOptions(CLI::App* app, DataFlags& flags) {
  AddRepeatable(
      app, "--data", flags.data,
      "Data to train on: npz, npy, idx, CSV, also packed as .gz; NAME=FILE where the file "
      "does not name its array; repeatable")
      ->required()
      ->type_name("FILE")
      ->group("Data");
  app->add_option("--validation", flags.validation,
                  "Share of the rows that chooses the best epoch instead of training")
      ->capture_default_str()
      ->type_name("SHARE")
      ->check(NumberBetween(0, 1))
      ->group("Data");
  AddRepeatable(app, "--validation-data", flags.validation_data,
                "Files with such rows, instead of a share; repeatable")
      ->type_name("FILE")
      ->group("Data");
  app->add_option("--test", flags.test,
                  "Share of the rows that neither trains nor chooses, for a fair figure at the end")
      ->capture_default_str()
      ->type_name("SHARE")
      ->check(NumberBetween(0, 1))
      ->group("Data");
  AddRepeatable(app, "--test-data", flags.test_data,
                "Files with such rows, instead of a share; repeatable")
      ->type_name("FILE")
      ->group("Data");
  app->add_option("--target", flags.target, "CSV: column to learn; the last one if not given")
      ->type_name("COLUMN")
      ->group("Data");
  app->add_option("--task", flags.task, "CSV: regression, classification or auto")
      ->type_name("TASK")
      ->check(OneOf(NamesOf(kTasks)))
      ->group("Data");
  AddRepeatable(app, "--ignore", flags.ignore, "CSV: column to leave out; repeatable")
      ->type_name("COLUMN")
      ->group("Data");
  app->add_option("--header", flags.header, "CSV: whether the first row holds names: yes, no, auto")
      ->type_name("CHOICE")
      ->check(OneOf(NamesOf(kHeaders)))
      ->group("Data");
  app->add_option("--missing", flags.missing,
                  "CSV: what to do where a value is missing: refuse, drop the row, or fill in the "
                  "column's mean")
      ->type_name("CHOICE")
      ->check(OneOf(NamesOf(kMissing)))
      ->group("Data");
}

absl::Status LoadTrainingData(const DataFlags& flags, uint64_t seed, TrainingData& loaded) {
  LoadOptions options;
  options.csv.target = flags.target;
  options.csv.ignore = flags.ignore;
  options.csv.task = kTasks.at(flags.task);
  options.csv.header = kHeaders.at(flags.header);
  options.csv.missing = kMissing.at(flags.missing);
  absl::StatusOr<DataSet> data = Load(flags.data, options);
  if (!data.ok()) return data.status();
  loaded.data = *std::move(data);
  if (loaded.data.table) options.csv.like = &*loaded.data.table;

  const double validation = flags.validation_data.empty() ? flags.validation : 0;
  const double test = flags.test_data.empty() ? flags.test : 0;
  Split split = SplitRows(loaded.data.num_rows, validation, test, seed);
  loaded.training = {&loaded.data, std::move(split.training)};
  loaded.validation = {&loaded.data, std::move(split.validation)};
  loaded.test = {&loaded.data, std::move(split.test)};
  for (auto& [files, set, rows] :
       {std::tuple(&flags.validation_data, &loaded.validation_set, &loaded.validation),
        std::tuple(&flags.test_data, &loaded.test_set, &loaded.test)}) {
    if (files->empty()) continue;
    absl::StatusOr<DataSet> own = Load(*files, options);
    if (!own.ok()) return own.status();
    *set = *std::move(own);
    *rows = {&**set, SplitRows((*set)->num_rows, 0, 0, 0).training,
             absl::StrJoin(FilesOf(*files), ", ")};
  }
  absl::Status status = CheckShares(flags, loaded.data.num_rows, loaded);
  if (status.ok()) Describe(loaded);
  return status;
}

}  // namespace weft::cli
