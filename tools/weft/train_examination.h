// Judging a model once it is trained, by rows that it has not seen: figures, and the report.
#ifndef WEFT_TOOLS_WEFT_TRAIN_EXAMINATION_H_
#define WEFT_TOOLS_WEFT_TRAIN_EXAMINATION_H_

#include <map>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/session.h"
#include "tools/weft/models.h"
#include "tools/weft/row_runner.h"
#include "tools/weft/train_data.h"
#include "tools/weft/train_flags.h"
#include "tools/weft/trainer.h"

namespace weft::cli {

// Figures of the test rows: of the last epoch, and of the best one where that is another.
struct TestResult {
  std::map<std::string, double> last, best;
};

// What judges the model at the end: made and compiled before hours of training, so that it fits.
struct Examination {
  std::optional<Evaluation> test;
  std::optional<Prediction> prediction;  // for the report
  double compile_seconds = 0;
};

// kBadInput where the rows do not fit the model; what the compiler says where it cannot be
// compiled.
absl::StatusOr<Examination> PrepareExamination(const TrainFlags& flags, Session& session,
                                               const TrainingData& loaded);

// Tests the last epoch, then the best one, whose variables the session has afterwards.
absl::StatusOr<TestResult> Test(Session& session, std::optional<Evaluation>& evaluation,
                                const TrainingResult& result);

// The page of --report; nothing without one.
absl::Status WriteReport(const TrainFlags& flags, std::optional<Prediction>& prediction,
                         const TrainingData& loaded, const LearningTask& task,
                         const TrainingResult& result, const TestResult& test);

}  // namespace weft::cli

#endif  // WEFT_TOOLS_WEFT_TRAIN_EXAMINATION_H_
