#include "tools/weft/train_report.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tools/common/memory.h"

namespace weft::cli {
namespace {

constexpr size_t kSamples = 20;
// Larger confusion matrices are not read by anybody.
constexpr int64_t kMaxMatrixClasses = 40;

std::vector<double> AsDoubles(const HostTensor& tensor) {
  std::vector<double> values;
  values.reserve(static_cast<size_t>(tensor.num_elements()));
  WithType(tensor.dtype(), [&](auto type) {
    using T = decltype(type);
    const T* data = static_cast<const T*>(tensor.data());
    for (int64_t i = 0; i < tensor.num_elements(); ++i) {
      values.push_back(static_cast<double>(data[i]));
    }
  });
  return values;
}

// Of some rows alone: data sets are large.
std::vector<double> AsDoubles(const HostTensor& tensor, const std::vector<int64_t>& rows) {
  const int64_t width = tensor.num_elements() / tensor.shape()[0];
  std::vector<double> values;
  values.reserve(rows.size() * static_cast<size_t>(width));
  WithType(tensor.dtype(), [&](auto type) {
    using T = decltype(type);
    for (const int64_t row : rows) {
      const T* data = static_cast<const T*>(tensor.data()) + row * width;
      for (int64_t i = 0; i < width; ++i) values.push_back(static_cast<double>(data[i]));
    }
  });
  return values;
}

// y of the rows.
std::vector<double> Truth(const Rows& rows) {
  return AsDoubles(rows.data->arrays.at("y"), rows.rows);
}

double FiniteOrZero(double value) { return std::isfinite(value) ? value : 0; }

// The least and the largest element.
std::pair<double, double> RangeOf(const HostTensor& tensor) {
  double low = std::numeric_limits<double>::infinity(), high = -low;
  WithType(tensor.dtype(), [&](auto type) {
    using T = decltype(type);
    const T* data = static_cast<const T*>(tensor.data());
    for (int64_t i = 0; i < tensor.num_elements(); ++i) {
      const double value = FiniteOrZero(static_cast<double>(data[i]));
      low = std::min(low, value);
      high = std::max(high, value);
    }
  });
  return {low, high};
}

// Whether a label or a prediction numbers a class; what else there may be has no place in a table
// of classes.
bool IsClass(double value) {
  return value >= 0 && value < kMaxClasses && value == std::trunc(value);
}

std::string ClassName(const LearningTask& task, int64_t index) {
  const bool named = index >= 0 && index < static_cast<int64_t>(task.class_names.size());
  return named ? task.class_names[index] : absl::StrCat(index);
}

// The images that the model is least certain of, as grey values.
std::vector<TrainingReport::Sample> Samples(const Judgement& judgement, const LearningTask& task,
                                            const Rows& rows) {
  std::vector<TrainingReport::Sample> samples;
  const auto x = rows.data->arrays.find("x");
  if (x == rows.data->arrays.end() || judgement.probability.empty()) return samples;
  const std::vector<int64_t>& shape = x->second.shape();
  if (shape.size() < 3 || shape.size() > 4 || (shape.size() == 4 && shape[3] != 1)) return samples;
  const auto [low, high] = RangeOf(x->second);
  const double span = high > low ? high - low : 1;
  std::vector<size_t> order(judgement.truth.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    const bool wrong_a = judgement.truth[a] != judgement.predicted[a];
    const bool wrong_b = judgement.truth[b] != judgement.predicted[b];
    if (wrong_a != wrong_b) return wrong_a;
    if (judgement.probability[a] != judgement.probability[b]) {
      return judgement.probability[a] < judgement.probability[b];
    }
    return a < b;
  });
  if (order.size() > kSamples) order.resize(kSamples);
  for (const size_t i : order) {
    TrainingReport::Sample& sample = samples.emplace_back();
    sample.width = shape[2];
    sample.height = shape[1];
    sample.truth = ClassName(task, judgement.truth[i]);
    sample.predicted = ClassName(task, judgement.predicted[i]);
    sample.probability = judgement.probability[i];
    for (const double pixel : AsDoubles(x->second, {judgement.rows[i]})) {
      sample.pixels.push_back(static_cast<uint8_t>(255 * (FiniteOrZero(pixel) - low) / span));
    }
  }
  return samples;
}

std::string MetricText(const std::string& name, double value) {
  return name == "accuracy" ? absl::StrFormat("%.2f %%", 100 * value)
                            : absl::StrFormat("%.4g", value);
}

}  // namespace

double Judgement::Accuracy() const {
  int64_t right = 0;
  for (size_t i = 0; i < truth.size(); ++i) right += truth[i] == predicted[i];
  return truth.empty() ? 0 : static_cast<double>(right) / static_cast<double>(truth.size());
}

absl::StatusOr<Prediction> PredictionToJudge(Session& session, const Rows& rows) {
  const std::vector<Session::SignatureInfo> signatures = session.Signatures();
  if (rows.rows.empty() || !rows.data->arrays.count("y") ||
      std::none_of(signatures.begin(), signatures.end(),
                   [](const auto& s) { return s.name == "predict"; })) {
    return absl::NotFoundError("there is nothing to judge by");
  }
  return Prediction::Create(session, "predict", rows);
}

absl::StatusOr<Judgement> Judge(Prediction& prediction, const Rows& rows) {
  absl::StatusOr<NamedTensors> outputs = prediction.Run();
  if (!outputs.ok()) return outputs.status();
  const HostTensor& y = rows.data->arrays.at("y");
  const std::vector<double> truth = Truth(rows);
  const size_t count = rows.rows.size();
  Judgement judgement;
  const HostTensor* classes = nullptr;
  const HostTensor* scores = nullptr;
  for (const auto& [name, output] : *outputs) {
    if (IsInteger(output.dtype()) && output.num_elements() == static_cast<int64_t>(count)) {
      classes = &output;
    }
    if (IsFloat(output.dtype()) && output.rank() == 2 && output.shape()[1] > 1) scores = &output;
    if (IsFloat(output.dtype()) && IsFloat(y.dtype()) &&
        output.num_elements() == static_cast<int64_t>(truth.size())) {
      const std::vector<double> predicted = AsDoubles(output);
      for (size_t i = 0; i < truth.size(); ++i) {
        if (std::isfinite(truth[i]) && std::isfinite(predicted[i])) {
          judgement.values.emplace_back(truth[i], predicted[i]);
        } else {
          ++judgement.left_out;
        }
      }
      return judgement;
    }
  }
  if ((!classes && !scores) || truth.size() != count) {
    return absl::NotFoundError("predict gives neither classes nor numbers like y");
  }
  judgement.classification = true;
  const std::vector<double> chosen = classes ? AsDoubles(*classes) : std::vector<double>();
  const std::vector<double> values = scores ? AsDoubles(*scores) : std::vector<double>();
  const size_t width = values.size() / count;
  for (size_t i = 0; i < count; ++i) {
    const auto row = values.begin() + i * width;
    const int64_t best = scores ? std::max_element(row, row + width) - row : 0;
    // Labels such as -1 for "unknown" are common in data.
    if (!IsClass(truth[i]) || (classes && !IsClass(chosen[i]))) {
      ++judgement.left_out;
      continue;
    }
    judgement.rows.push_back(rows.rows[i]);
    judgement.truth.push_back(static_cast<int64_t>(truth[i]));
    const int64_t predicted = classes ? static_cast<int64_t>(chosen[i]) : best;
    judgement.predicted.push_back(predicted);
    // Logits are no probabilities.
    if (scores && std::abs(std::accumulate(row, row + width, 0.0) - 1) < 1e-3) {
      judgement.probability.push_back(
          row[predicted < static_cast<int64_t>(width) ? predicted : best]);
    }
  }
  if (judgement.probability.size() != judgement.truth.size()) judgement.probability.clear();
  return judgement;
}

TrainingReport MakeReport(const TrainingResult& result, const std::optional<Judgement>& judgement,
                          const LearningTask& task, const Rows& training, const Rows& judged,
                          const ReportFacts& facts) {
  TrainingReport report;
  report.title = facts.model;
  report.subtitle = absl::StrCat("trained on ", training.rows.size(), " rows");
  report.history = result.history;
  report.best_epoch = result.best_epoch;
  if (!result.history.empty()) {
    const EpochMetrics& last = result.history.back();
    const int64_t epoch = result.best_epoch > 0 ? result.best_epoch : last.epoch;
    report.judged = absl::StrCat(facts.judged, ", epoch ", epoch,
                                 result.best_epoch > 0 ? " (lowest validation loss)" : "");
    if (judgement && judgement->left_out > 0) {
      absl::StrAppend(&report.judged, "; ", judgement->left_out,
                      " of them left out, which have no ",
                      judgement->classification ? "class" : "finite value");
    }
    const EpochMetrics* shown = &last;
    for (const EpochMetrics& each : result.history) {
      if (each.epoch == epoch) shown = &each;
    }
    // What nothing was chosen by, where there is such.
    const bool validated = !shown->validation.empty();
    const auto& metrics = !facts.test.empty() ? facts.test
                          : validated         ? shown->validation
                                              : shown->training;
    const char* part = !facts.test.empty() ? "test " : validated ? "validation " : "training ";
    for (const auto& [name, value] : metrics) {
      report.tiles.push_back({absl::StrCat(part, name), MetricText(name, value)});
    }
    report.tiles.push_back({"epochs", absl::StrCat(last.epoch)});
    if (result.best_epoch > 0) {
      report.tiles.push_back({"best epoch", absl::StrCat(result.best_epoch)});
    }
  }
  report.tiles.push_back({"training time", absl::StrFormat("%.1f s", result.seconds)});
  if (result.seconds > 0) {
    report.tiles.push_back(
        {"rows per second", absl::StrFormat("%.0f", result.rows / result.seconds)});
  }
  if (judgement && judgement->classification && task.classes <= kMaxMatrixClasses) {
    int64_t classes = task.classes;
    for (const auto* numbers : {&judgement->truth, &judgement->predicted}) {
      for (const int64_t n : *numbers) classes = std::max(classes, n + 1);
    }
    if (classes <= kMaxMatrixClasses) {
      report.confusion.assign(classes, std::vector<int64_t>(classes));
      for (int64_t i = 0; i < classes; ++i) report.classes.push_back(ClassName(task, i));
      for (size_t i = 0; i < judgement->truth.size(); ++i) {
        ++report.confusion[judgement->truth[i]][judgement->predicted[i]];
      }
    }
    report.samples = Samples(*judgement, task, judged);
  } else if (judgement) {
    report.scatter = judgement->values;
    if (training.data->table) report.target = training.data->table->target;
  }
  report.facts.push_back({"Run", facts.run});
  TrainingReport::Facts cost{"Cost", {}};
  cost.rows.emplace_back("Compiling", absl::StrFormat("%.2f s", result.compile_seconds));
  cost.rows.emplace_back("Steps", absl::StrCat(result.steps));
  if (result.steps > 0) {
    cost.rows.emplace_back("Per step", absl::StrFormat("%.3f ms, validation included",
                                                       1e3 * result.seconds / result.steps));
  }
  cost.rows.emplace_back("Memory of a step", ByteText(static_cast<double>(result.peak_bytes)) +
                                                 " beside variables and data (certificate)");
  cost.rows.emplace_back("Memory of the process",
                         ByteText(static_cast<double>(PeakResidentBytes())) + " at its highest");
  report.facts.push_back(std::move(cost));
  return report;
}

}  // namespace weft::cli
