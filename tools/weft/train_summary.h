// What `weft train` says at the end of a run.
#ifndef WEFT_TOOLS_WEFT_TRAIN_SUMMARY_H_
#define WEFT_TOOLS_WEFT_TRAIN_SUMMARY_H_

#include "absl/status/status.h"
#include "tools/weft/train_data.h"
#include "tools/weft/train_examination.h"
#include "tools/weft/train_flags.h"
#include "tools/weft/trainer.h"

namespace weft::cli {

// The figures to standard output, as text or JSON; what helps to read them to standard error.
void PrintResult(const TrainFlags& flags, const TrainingData& loaded, const TrainingResult& result,
                 const TestResult& test);

// How a run ends that a signal ended: how far it was, and what is left of it.
absl::Status Interrupted(const TrainingResult& result);

}  // namespace weft::cli

#endif  // WEFT_TOOLS_WEFT_TRAIN_SUMMARY_H_
