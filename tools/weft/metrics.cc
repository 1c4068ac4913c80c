#include "tools/weft/metrics.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tools/common/json_text.h"
#include "tools/common/not_finite.h"

namespace weft::cli {
namespace {

using nlohmann::json;

std::optional<double> NumberFrom(const json& value) {
  if (value.is_number()) return value.get<double>();
  for (const auto& [name, number] : kNotFinite) {
    if (value == name) return number;
  }
  return std::nullopt;
}

// Nothing where it is not what MetricsJson makes.
std::optional<std::map<std::string, double>> MetricsFrom(const json& values) {
  if (!values.is_object()) return std::nullopt;
  std::map<std::string, double> metrics;
  for (const auto& [name, value] : values.items()) {
    const std::optional<double> number = NumberFrom(value);
    if (!number) return std::nullopt;
    metrics[name] = *number;
  }
  return metrics;
}

// What 0/0 gives would be shown as "-nan".
double WithoutSignOfNan(double value) { return std::isnan(value) ? std::fabs(value) : value; }

}  // namespace

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

std::string Metrics::Save() const {
  return JsonText({{"rows", rows_}, {"sums", MetricsJson(sums_)}});
}

std::optional<Metrics> Metrics::Restore(const std::string& text) {
  const json saved = json::parse(text, nullptr, false);
  if (!saved.is_object() || !saved.contains("rows") || !saved["rows"].is_number_integer() ||
      saved["rows"].get<int64_t>() < 1 || !saved.contains("sums")) {
    return std::nullopt;
  }
  std::optional<std::map<std::string, double>> sums = MetricsFrom(saved["sums"]);
  if (!sums) return std::nullopt;
  Metrics metrics;
  metrics.rows_ = saved["rows"];
  metrics.sums_ = *std::move(sums);
  return metrics;
}

json MetricsJson(const std::map<std::string, double>& metrics) {
  json values = json::object();
  for (const auto& [name, value] : metrics) {
    if (const char* text = NotFiniteName(value)) {
      values[name] = text;
    } else {
      values[name] = value;
    }
  }
  return values;
}

std::string MetricsText(const std::map<std::string, double>& metrics) {
  std::string text;
  if (const auto loss = metrics.find("loss"); loss != metrics.end()) {
    absl::StrAppendFormat(&text, "loss %.4g", WithoutSignOfNan(loss->second));
  }
  for (const auto& [name, value] : metrics) {
    if (name == "loss") continue;
    absl::StrAppendFormat(&text, "%s%s %.4g", text.empty() ? "" : ", ", name,
                          WithoutSignOfNan(value));
  }
  return text;
}

json HistoryJson(const std::vector<EpochMetrics>& history) {
  json epochs = json::array();
  for (const EpochMetrics& epoch : history) {
    epochs.push_back({{"epoch", epoch.epoch},
                      {"training", MetricsJson(epoch.training)},
                      {"validation", MetricsJson(epoch.validation)}});
  }
  return epochs;
}

std::optional<std::vector<EpochMetrics>> HistoryFrom(const json& epochs) {
  if (!epochs.is_array()) return std::nullopt;
  std::vector<EpochMetrics> history;
  for (const json& epoch : epochs) {
    if (!epoch.is_object() || !epoch.contains("epoch") || !epoch["epoch"].is_number_integer()) {
      return std::nullopt;
    }
    EpochMetrics metrics;
    metrics.epoch = epoch["epoch"];
    if (metrics.epoch != static_cast<int64_t>(history.size()) + 1) return std::nullopt;
    for (auto [part, into] :
         {std::pair("training", &metrics.training), std::pair("validation", &metrics.validation)}) {
      if (!epoch.contains(part)) return std::nullopt;
      std::optional<std::map<std::string, double>> values = MetricsFrom(epoch[part]);
      if (!values) return std::nullopt;
      *into = *std::move(values);
    }
    history.push_back(std::move(metrics));
  }
  return history;
}

}  // namespace weft::cli
