#include "tools/weft/train_summary.h"

#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "tools/common/exit_code.h"
#include "tools/common/json_text.h"
#include "tools/common/memory.h"
#include "tools/weft/metrics.h"

namespace weft::cli {
namespace {

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

}  // namespace

void PrintResult(const TrainFlags& flags, const TrainingData& loaded, const TrainingResult& result,
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

}  // namespace weft::cli
