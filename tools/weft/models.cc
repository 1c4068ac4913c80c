#include "tools/weft/models.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "graph/layers/layers.h"
#include "graph/losses/losses.h"
#include "graph/optimizers/optimizers.h"

namespace weft::cli {
namespace {

// y: one number per row.
bool IsColumn(const HostTensor& y) { return y.rank() == 1 || (y.rank() == 2 && y.shape()[1] == 1); }

// The largest absolute value in some rows: what pixels are divided by.
double Largest(const HostTensor& array, const std::vector<int64_t>& rows) {
  double largest = 0;
  const int64_t width = array.num_elements() / array.shape()[0];
  WithType(array.dtype(), [&](auto type) {
    const auto values = array.values<decltype(type)>();
    for (const int64_t row : rows) {
      for (int64_t i = row * width; i < (row + 1) * width; ++i) {
        largest = std::max(largest, std::abs(static_cast<double>(values[i])));
      }
    }
  });
  return largest > 0 ? largest : 1;
}

class Builder {
 public:
  Builder(const StandardModelOptions& options, const DataSet& data,
          const std::vector<int64_t>& rows, const LearningTask& task)
      : options_(options),
        x_data_(data.arrays.at("x")),
        y_data_(data.arrays.at("y")),
        rows_(rows),
        task_(task),
        graph_(options.kind),
        layers_(graph_, options.seed) {}

  absl::StatusOr<Graph> Build() {
    const Tensor x = Normalized(InputX());
    if (task_.classes > 0) {
      Classification(x);
    } else {
      Regression(x);
    }
    if (!graph_.status().ok()) return graph_.status();
    return std::move(graph_);
  }

 private:
  Tensor InputX() {
    std::vector<Graph::Dim> shape = {"batch"};
    for (size_t i = 1; i < x_data_.shape().size(); ++i) shape.push_back(x_data_.shape()[i]);
    // Images without channels have one.
    if (options_.kind == "cnn" && shape.size() == 3) shape.push_back(int64_t{1});
    // A column of scalars is a feature.
    if (shape.size() == 1) shape.push_back(int64_t{1});
    return graph_.Input("x", x_data_.dtype(), shape);
  }

  Tensor Normalized(Tensor x) {
    const ScopeGuard scope = graph_.Scope("normalize");
    if (x.dtype() != DataType::kF32) x = Cast(x, DataType::kF32);
    if (options_.kind == "cnn") return x * (1.0 / Largest(x_data_, rows_));
    const Statistics statistics = StatisticsOf(x_data_, rows_);
    std::vector<int64_t> row(x_data_.shape().begin() + 1, x_data_.shape().end());
    if (row.empty()) row = {1};
    return Flatten((x - graph_.Constant(statistics.mean.Reshaped(row))) /
                   graph_.Constant(statistics.deviation.Reshaped(row)));
  }

  // Up to the last layer of `outputs` units.
  Tensor Model(Tensor x, int64_t outputs, bool training) {
    layers_.SetTraining(training);
    if (options_.kind == "cnn") {
      x = Relu(layers_.Conv2D("conv1", x, 16, {3, 3}));
      x = Relu(layers_.Conv2D("conv2", x, 32, {3, 3}));
      x = MaxPool2D(x, {2, 2});
      // Small images have no room for more.
      if (x_data_.shape()[1] >= 16 && x_data_.shape()[2] >= 16) {
        x = Relu(layers_.Conv2D("conv3", x, 64, {3, 3}));
        x = MaxPool2D(x, {2, 2});
      }
      x = layers_.Dropout(Flatten(x), options_.dropout);
    }
    int number = 0;
    for (const int64_t units : options_.hidden) {
      x = Relu(layers_.Dense(absl::StrCat("dense", ++number), x, units,
                             {.kernel = Initializer::HeNormal()}));
      if (options_.dropout > 0) x = layers_.Dropout(x, options_.dropout);
    }
    return layers_.Dense("output", x, outputs);
  }

  // A cosine over as many steps as a variable says, so that a run can be taken up again with more.
  Schedule LearningRate() {
    const Variable steps =
        graph_.AddVariable(kScheduleSteps, HostTensor::Scalar(static_cast<float>(options_.steps)),
                           /*trainable=*/false);
    return Schedule([rate = options_.learning_rate, steps](Tensor step) {
      return CosineDecay(rate, 1).At(step / steps);
    });
  }

  std::vector<Tensor> Step(Tensor loss) {
    AdamWOptions options;
    options.adam.learning_rate = LearningRate();
    options.adam.clipping.norm = 5;
    options.weight_decay = options_.weight_decay;
    AdamW optimizer(graph_, options);
    return JoinTargets(optimizer.Minimize(loss), layers_.Updates());
  }

  void Classification(Tensor x) {
    const Tensor label = graph_.Input("y", DataType::kI32, {"batch"});
    Tensor logits = Model(x, task_.classes, /*training=*/true);
    Tensor loss = Mean(SoftmaxCrossEntropy(logits, label));
    graph_.AddSignature("train_step", {{"loss", loss}, {"accuracy", Accuracy(logits, label)}},
                        Step(loss));
    logits = Model(x, task_.classes, /*training=*/false);
    graph_.AddSignature("eval_step", {{"loss", Mean(SoftmaxCrossEntropy(logits, label))},
                                      {"accuracy", Accuracy(logits, label)}});
    graph_.AddSignature("predict",
                        {{"class", ArgMax(logits, -1)}, {"probabilities", Softmax(logits)}});
  }

  void Regression(Tensor x) {
    const std::vector<int64_t> row(y_data_.shape().begin() + 1, y_data_.shape().end());
    std::vector<Graph::Dim> shape = {"batch"};
    int64_t outputs = 1;
    for (const int64_t dim : row) outputs *= dim;
    shape.push_back(outputs);
    const Statistics statistics = StatisticsOf(y_data_, rows_);
    const Tensor mean = graph_.Constant(statistics.mean.Reshaped({outputs}));
    const Tensor deviation = graph_.Constant(statistics.deviation.Reshaped({outputs}));
    const Tensor y = graph_.Input("y", DataType::kF32, shape);
    const Tensor target = (y - mean) / deviation;
    Tensor loss = MeanSquaredError(Model(x, outputs, /*training=*/true), target);
    graph_.AddSignature("train_step", {{"loss", loss}}, Step(loss));
    const Tensor normalized = Model(x, outputs, /*training=*/false);
    const Tensor prediction = normalized * deviation + mean;
    graph_.AddSignature("eval_step", {{"loss", MeanSquaredError(normalized, target)},
                                      {"mae", MeanAbsoluteError(prediction, y)}});
    graph_.AddSignature("predict", {{"y", prediction}});
  }

  const StandardModelOptions& options_;
  const HostTensor& x_data_;
  const HostTensor& y_data_;
  const std::vector<int64_t>& rows_;
  const LearningTask& task_;
  Graph graph_;
  Layers layers_;
};

}  // namespace

bool IsStandardModel(const std::string& name) { return name == "mlp" || name == "cnn"; }

absl::StatusOr<LearningTask> TaskOf(const DataSet& data) {
  const auto found = data.arrays.find("y");
  if (found == data.arrays.end()) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected an array 'y' to learn in the data, got ", data.Describe(),
                     "; save it under that name, or give it a file of its own: --data y=FILE.npy"));
  }
  const HostTensor& y = found->second;
  LearningTask task;
  if (data.table) {
    task.class_names = data.table->classes;
    task.classes = static_cast<int64_t>(task.class_names.size());
    return task;
  }
  if (IsFloat(y.dtype())) return task;
  if (!IsColumn(y)) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected one class per row in 'y', got ", y.TypeString()));
  }
  int64_t smallest = 0, largest = 0;
  WithType(y.dtype(), [&](auto type) {
    using T = decltype(type);
    if constexpr (!IsFloat(DataTypeOfT<T>::value)) {
      for (const T value : y.values<T>()) {
        smallest = std::min(smallest, static_cast<int64_t>(value));
        largest = std::max(largest, static_cast<int64_t>(value));
      }
    }
  });
  if (smallest < 0 || largest >= kMaxClasses) {
    return absl::InvalidArgumentError(absl::StrCat("expected classes from 0 to ", kMaxClasses - 1,
                                                   " in 'y', got ",
                                                   smallest < 0 ? smallest : largest));
  }
  task.classes = largest + 1;
  return task;
}

absl::StatusOr<Graph> BuildStandardModel(const StandardModelOptions& options, const DataSet& data,
                                         const std::vector<int64_t>& training_rows,
                                         const LearningTask& task) {
  const auto x = data.arrays.find("x");
  if (x == data.arrays.end() || !data.arrays.count("y")) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected arrays 'x' and 'y' in the data, got ", data.Describe()));
  }
  const int64_t rank = x->second.rank();
  if (options.kind == "cnn" && rank != 3 && rank != 4) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a cnn wants images [rows, h, w] or [rows, h, w, c], got x ", x->second.TypeString()));
  }
  if (training_rows.empty()) return absl::InvalidArgumentError("expected rows to train on");
  return Builder(options, data, training_rows, task).Build();
}

}  // namespace weft::cli
