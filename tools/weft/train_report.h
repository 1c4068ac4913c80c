// From a training run to its report page.
#ifndef WEFT_TOOLS_WEFT_TRAIN_REPORT_H_
#define WEFT_TOOLS_WEFT_TRAIN_REPORT_H_

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/session.h"
#include "tools/report/page.h"
#include "tools/weft/models.h"
#include "tools/weft/trainer.h"

namespace weft::cli {

// What the model says about rows of which the truth is known, by its signature predict: of the
// outputs, an integer one with one number per row is the class; else the floats with one column
// per class, whose largest is; else floats of y's shape are numbers predicted.
struct Judgement {
  bool classification = false;
  std::vector<int64_t> rows;                      // of the data set: those judged
  std::vector<int64_t> truth, predicted;          // classes, from 0 to kMaxClasses - 1
  std::vector<double> probability;                // of the class predicted; empty where unknown
  std::vector<std::pair<double, double>> values;  // regression: (true, predicted), finite
  // Rows (numbers, of a regression) that are in none of these, as truth or prediction is no class,
  // or not finite.
  int64_t left_out = 0;
  double Accuracy() const;
};
// predict on the rows that are to be judged, nothing of which is run yet. NotFound where there are
// no rows, no truth (y), or no predict; InvalidArgument where the data does not fit predict.
absl::StatusOr<Prediction> PredictionToJudge(Session& session, const Rows& rows);
// Runs it, with the session's variables as they are. NotFound where its outputs are none of these.
absl::StatusOr<Judgement> Judge(Prediction& prediction, const Rows& rows);

struct ReportFacts {
  std::string model, data;
  std::vector<std::pair<std::string, std::string>> run;  // label, value
  std::string judged;                                    // "359 test rows"
  std::map<std::string, double> test;                    // metrics; empty: not tested
};

// `judged` are the rows of the judgement, which is of the best epoch where one was chosen.
TrainingReport MakeReport(const TrainingResult& result, const std::optional<Judgement>& judgement,
                          const LearningTask& task, const Rows& training, const Rows& judged,
                          const ReportFacts& facts);

}  // namespace weft::cli

#endif  // WEFT_TOOLS_WEFT_TRAIN_REPORT_H_
