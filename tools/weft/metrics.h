// Figures of a run: means over batches, and how they are written.
#ifndef WEFT_TOOLS_WEFT_METRICS_H_
#define WEFT_TOOLS_WEFT_METRICS_H_

#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "runtime/session.h"
#include "tools/report/page.h"

namespace weft::cli {

// Means of a call's float scalars, each batch weighing as many as its rows.
class Metrics {
 public:
  void Add(const Call& call, int64_t rows);
  std::map<std::string, double> Means() const;
  bool LossIsFinite() const;

  // For the checkpoint of an unfinished epoch; exact. Nothing where the text is not what Save made.
  std::string Save() const;
  static std::optional<Metrics> Restore(const std::string& text);

 private:
  std::map<std::string, double> sums_;
  int64_t rows_ = 0;
};

// "loss 0.031, accuracy 0.99": the loss first, whatever its place in the alphabet.
std::string MetricsText(const std::map<std::string, double>& metrics);

// An object; what is not finite is a text (tools/common/not_finite.h).
nlohmann::json MetricsJson(const std::map<std::string, double>& metrics);
nlohmann::json HistoryJson(const std::vector<EpochMetrics>& history);
// Nothing where it is not what HistoryJson makes of epochs from the first on.
std::optional<std::vector<EpochMetrics>> HistoryFrom(const nlohmann::json& epochs);

}  // namespace weft::cli

#endif  // WEFT_TOOLS_WEFT_METRICS_H_
