#include "tools/weft/train_data.h"

#include <cstdio>
#include <map>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "proto/printable.h"
#include "tools/common/command_line.h"
#include "tools/common/exit_code.h"
#include "tools/common/not_finite.h"
#include "tools/common/outputs.h"
#include "tools/progress/progress.h"

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
                                 " leave no rows to train on, of ", rows,
                                 "; choose smaller shares"));
}

// Options that say how to read a table mean nothing to arrays.
absl::Status CheckTableOptions(const DataFlags& flags, const DataSet& data) {
  if (data.table) return absl::OkStatus();
  const DataFlags none;
  const std::pair<const char*, bool> given[] = {{"--target", flags.target != none.target},
                                                {"--ignore", flags.ignore != none.ignore},
                                                {"--task", flags.task != none.task},
                                                {"--header", flags.header != none.header},
                                                {"--missing", flags.missing != none.missing}};
  for (const auto& [option, is_given] : given) {
    if (!is_given) continue;
    return UsageError(absl::StrCat(option, " is for tables (CSV), but the data is arrays: ",
                                   data.Describe(), "; leave it out"));
  }
  return absl::OkStatus();
}

// "nan in row 7", the first number that is not finite; empty where all are.
std::string NotFiniteText(const HostTensor& array) {
  std::string text;
  if (!IsFloat(array.dtype())) return text;
  const int64_t width = array.num_elements() / array.shape()[0];
  WithType(array.dtype(), [&](auto type) {
    using T = decltype(type);
    const T* values = static_cast<const T*>(array.data());
    for (int64_t i = 0; i < array.num_elements() && text.empty(); ++i) {
      const double value = static_cast<double>(values[i]);
      if (const char* name = NotFiniteName(value)) {
        text = absl::StrCat(name, " in row ", i / width, ", counted from 0");
      }
    }
  });
  return text;
}

absl::Status CheckFinite(const DataSet& data, const std::vector<std::string>& files, bool finite) {
  if (data.table) return absl::OkStatus();  // where it is an error already
  for (const auto& [name, array] : data.arrays) {
    const std::string text = NotFiniteText(array);
    if (text.empty()) continue;
    const std::string from = absl::StrJoin(FilesOf(files), ", ");
    if (!finite) {
      Progress::Print(absl::StrCat("note: ", from, ": '", Printable(name), "' holds ", text));
    } else if (name == "x" || name == "y") {
      return AsBadInput(absl::InvalidArgumentError(
          absl::StrCat(from, ": expected finite numbers in '", name, "', got ", text,
                       "; leave such rows out, or fill in what is missing")));
    }
  }
  return absl::OkStatus();
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
                                    " of '", Printable(table->target), "'");
    if (table->classification()) absl::StrAppend(&text, " in ", table->classes.size(), " classes");
    if (table->dropped_rows > 0)
      absl::StrAppend(&text, "; ", table->dropped_rows, " rows left out");
    std::fprintf(stderr, "      %s\n", text.c_str());
    for (const std::string& note : table->notes) std::fprintf(stderr, "note: %s\n", note.c_str());
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

absl::Status LoadTrainingData(const DataFlags& flags, uint64_t seed, bool finite,
                              TrainingData& loaded) {
  LoadOptions options;
  options.csv.target = flags.target;
  options.csv.ignore = flags.ignore;
  options.csv.task = kTasks.at(flags.task);
  options.csv.header = kHeaders.at(flags.header);
  options.csv.missing = kMissing.at(flags.missing);
  std::optional<Progress> progress(std::in_place, "reading the data");
  absl::StatusOr<DataSet> data = Load(flags.data, options);
  if (!data.ok()) return data.status();
  loaded.data = *std::move(data);
  absl::Status status = CheckTableOptions(flags, loaded.data);
  if (status.ok()) status = CheckFinite(loaded.data, flags.data, finite);
  if (!status.ok()) return status;
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
    if (status = CheckFinite(**set, *files, finite); !status.ok()) return status;
    *rows = {&**set, SplitRows((*set)->num_rows, 0, 0, 0).training,
             absl::StrJoin(FilesOf(*files), ", ")};
  }
  progress.reset();
  status = CheckShares(flags, loaded.data.num_rows, loaded);
  if (status.ok()) Describe(loaded);
  return status;
}

}  // namespace weft::cli
