#include "tools/weft/train_examination.h"

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "proto/file.h"
#include "tools/common/exit_code.h"
#include "tools/common/outputs.h"
#include "tools/progress/progress.h"
#include "tools/weft/train_report.h"

namespace weft::cli {
namespace {

namespace fs = std::filesystem;

ReportFacts FactsOf(const TrainFlags& flags, const TrainingData& loaded) {
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

const Rows& JudgedRows(const TrainingData& loaded) {
  return loaded.test.rows.empty() ? loaded.validation : loaded.test;
}

}  // namespace

absl::StatusOr<Examination> PrepareExamination(const TrainFlags& flags, Session& session,
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
  if (!flags.report.empty()) {
    absl::StatusOr<Prediction> prediction = PredictionToJudge(session, JudgedRows(loaded));
    if (prediction.ok()) {
      examination.prediction = *std::move(prediction);
    } else if (!absl::IsNotFound(prediction.status())) {
      return wrong(prediction.status());
    }
  }
  const auto start = std::chrono::steady_clock::now();
  absl::Status status = examination.test ? examination.test->Compile() : absl::OkStatus();
  if (status.ok() && examination.prediction) status = examination.prediction->Compile();
  if (!status.ok()) return status;
  examination.compile_seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return examination;
}

absl::StatusOr<TestResult> Test(Session& session, std::optional<Evaluation>& evaluation,
                                const TrainingResult& result) {
  const Progress progress("testing");
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

absl::Status WriteReport(const TrainFlags& flags, std::optional<Prediction>& prediction,
                         const TrainingData& loaded, const LearningTask& task,
                         const TrainingResult& result, const TestResult& test) {
  if (flags.report.empty()) return absl::OkStatus();
  const Rows& rows = JudgedRows(loaded);
  const bool tested = &rows == &loaded.test;
  std::optional<Judgement> judgement;
  std::optional<Progress> progress(std::in_place, "predicting for the report");
  absl::StatusOr<Judgement> judged =
      prediction ? Judge(*prediction, rows) : absl::NotFoundError("there is no prediction");
  progress.reset();
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
  absl::Status status = MakeFolderOf(flags.report);
  if (!status.ok()) return status;
  return WriteFileAtomically(flags.report, TrainingPage(MakeReport(result, judgement, task,
                                                                   loaded.training, rows, facts)));
}

}  // namespace weft::cli
