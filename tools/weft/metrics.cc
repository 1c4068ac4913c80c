#include "tools/weft/metrics.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tools/common/json_text.h"

namespace weft::cli {

void Metrics::Add(const Call& call, int64_t rows) {
  for (int i = 0; i < call.num_outputs(); ++i) {
    const HostTensor& output = call.Output(i);
    if (output.rank() != 0 || !IsFloat(output.dtype())) continue;
    WithType(output.dtype(), [&](auto type) {
      using T = decltype(type);
      const T value = *static_cast<const T*>(output.data());
      sums_[call.output_name(i)] += static_cast<double>(value) * static_cast<double>(rows);
    });
  }
  rows_ += rows;
}

std::map<std::string, double> Metrics::Means() const {
  std::map<std::string, double> means;
  for (const auto& [name, sum] : sums_) means[name] = sum / static_cast<double>(rows_);
  return means;
}

bool Metrics::LossIsFinite() const {
  const auto loss = sums_.find("loss");
  return loss == sums_.end() || std::isfinite(loss->second);
}

std::string Metrics::Save() const { return JsonText({{"rows", rows_}, {"sums", sums_}}); }

std::optional<Metrics> Metrics::Restore(const std::string& text) {
  const nlohmann::json json = nlohmann::json::parse(text, nullptr, false);
  if (!json.is_object() || !json.contains("rows") || !json["rows"].is_number_integer() ||
      !json.contains("sums") || !json["sums"].is_object()) {
    return std::nullopt;
  }
  Metrics metrics;
  metrics.rows_ = json["rows"];
  for (const auto& [name, sum] : json["sums"].items()) {
    if (!sum.is_number()) return std::nullopt;
    metrics.sums_[name] = sum;
  }
  return metrics;
}

std::string MetricsText(const std::map<std::string, double>& metrics) {
  std::string text;
  if (const auto loss = metrics.find("loss"); loss != metrics.end()) {
    absl::StrAppendFormat(&text, "loss %.4g", loss->second);
  }
  for (const auto& [name, value] : metrics) {
    if (name == "loss") continue;
    absl::StrAppendFormat(&text, "%s%s %.4g", text.empty() ? "" : ", ", name, value);
  }
  return text;
}

nlohmann::json HistoryJson(const std::vector<EpochMetrics>& history) {
  nlohmann::json epochs = nlohmann::json::array();
  for (const EpochMetrics& epoch : history) {
    epochs.push_back(
        {{"epoch", epoch.epoch}, {"training", epoch.training}, {"validation", epoch.validation}});
  }
  return epochs;
}

std::optional<std::vector<EpochMetrics>> HistoryFrom(const nlohmann::json& json) {
  if (!json.is_array()) return std::nullopt;
  std::vector<EpochMetrics> history;
  for (const nlohmann::json& epoch : json) {
    if (!epoch.is_object() || !epoch.contains("epoch") || !epoch["epoch"].is_number_integer()) {
      return std::nullopt;
    }
    EpochMetrics metrics;
    metrics.epoch = epoch["epoch"];
    if (metrics.epoch != static_cast<int64_t>(history.size()) + 1) return std::nullopt;
    for (auto [part, into] :
         {std::pair("training", &metrics.training), std::pair("validation", &metrics.validation)}) {
      if (!epoch.contains(part) || !epoch[part].is_object()) return std::nullopt;
      for (const auto& [name, value] : epoch[part].items()) {
        if (value.is_number()) (*into)[name] = value;
      }
    }
    history.push_back(std::move(metrics));
  }
  return history;
}

}  // namespace weft::cli
