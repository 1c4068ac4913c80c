#include "graph/optimizers/optimizers.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "graph/builder_support.h"

namespace weft {
namespace {

Tensor SumOfSquares(Tensor x, DataType dtype) {
  std::vector<int64_t> axes(x.rank());
  std::iota(axes.begin(), axes.end(), 0);
  // A number crosses to where the sum is, not a tensor.
  const ScopeGuard there = WithDeviceOf(x);
  Tensor wide = As(x, dtype);
  return ReduceSum(wide * wide, axes);
}

bool AllValid(const std::vector<Tensor>& tensors) {
  return std::all_of(tensors.begin(), tensors.end(), [](const Tensor& t) { return t.valid(); });
}

// Scalars are computed in f64 where everything is, else in f32.
DataType ScalarType(const std::vector<Tensor>& tensors) {
  const bool wide = std::all_of(tensors.begin(), tensors.end(),
                                [](const Tensor& t) { return t.dtype() == DataType::kF64; });
  return wide ? DataType::kF64 : DataType::kF32;
}

bool CheckLimit(const char* what, const std::vector<Tensor>& gradients, double limit) {
  if (limit > 0 || gradients.empty()) return true;
  ReportError(gradients[0], absl::StrCat(what, ": expected a limit > 0, got ", limit),
              SourceLocation::current());
  return false;
}

// 1 - beta^t, without losing digits while beta^t is close to 1.
Tensor OneMinusPower(double beta, Tensor t) { return -Expm1(t * std::log(beta)); }

}  // namespace

Tensor GlobalNorm(const std::vector<Tensor>& tensors) {
  if (tensors.empty() || !AllValid(tensors)) return {};
  const DataType dtype = ScalarType(tensors);
  Tensor sum = SumOfSquares(tensors[0], dtype);
  for (size_t i = 1; i < tensors.size(); ++i) sum = sum + SumOfSquares(tensors[i], dtype);
  return Sqrt(sum);
}

std::vector<Tensor> ClipByGlobalNorm(const std::vector<Tensor>& gradients, double limit) {
  if (!CheckLimit("ClipByGlobalNorm", gradients, limit)) return gradients;
  Tensor norm = GlobalNorm(gradients);
  if (!norm.valid()) return gradients;
  // limit / max(norm, limit) is 1 for short gradients, with no division by zero.
  Tensor factor = ScalarLike(norm, limit) / Maximum(norm, limit);
  std::vector<Tensor> clipped;
  for (const Tensor& gradient : gradients) {
    const ScopeGuard there = WithDeviceOf(gradient);
    clipped.push_back(gradient * As(factor, gradient.dtype()));
  }
  return clipped;
}

std::vector<Tensor> ClipByValue(const std::vector<Tensor>& gradients, double limit) {
  if (!CheckLimit("ClipByValue", gradients, limit)) return gradients;
  std::vector<Tensor> clipped;
  for (const Tensor& gradient : gradients) {
    if (!gradient.valid()) return gradients;
    const ScopeGuard there = WithDeviceOf(gradient);
    clipped.push_back(Clamp(gradient, -limit, limit));
  }
  return clipped;
}

std::vector<Tensor> Optimizer::Minimize(Tensor loss, std::vector<Variable> variables,
                                        SourceLocation location) {
  if (!loss.valid()) return {};
  if (variables.empty()) variables = graph_.Variables(/*trainable_only=*/true);
  std::vector<Tensor> values;
  for (const Variable& variable : variables) values.push_back(variable.Read(location));
  return Apply(variables, Gradients(loss, values, {}, location), location);
}

std::vector<Tensor> Optimizer::Apply(const std::vector<Variable>& variables,
                                     std::vector<Tensor> gradients, SourceLocation location) {
  if (gradients.size() != variables.size() || variables.empty() || !AllValid(gradients)) {
    ReportError(graph_,
                absl::StrCat(name_,
                             ": expected a gradient for each of one variable or "
                             "more, got ",
                             variables.size(), " variables and ", gradients.size(), " gradients"),
                location);
    return {};
  }
  const ScopeGuard scope = graph_.Scope(name_);
  const CallerLocation at(graph_, location);
  const DataType dtype = ScalarType(gradients);
  Variable counter = graph_.AddVariable("step", HostTensor::Scalar<int64_t>(0), false, location);
  if (clipping_.norm != 0) gradients = ClipByGlobalNorm(gradients, clipping_.norm);
  if (clipping_.value != 0) gradients = ClipByValue(gradients, clipping_.value);

  Tensor done = Cast(counter, dtype);
  rate_ = schedule_.At(done);
  if (!rate_.valid()) return {};
  const Step step = {rate_, done + 1.0};
  Prepare(step);
  std::vector<Tensor> assignments;
  for (size_t i = 0; i < variables.size(); ++i) {
    const ScopeGuard there = graph_.WithDevice(variables[i].device(), location);
    const Tensor value = variables[i].Read(location);
    const DataType kept = WideType(value.dtype());
    Tensor moved =
        Update(variables[i].name(), As(value, kept), As(gradients[i], kept), step, assignments);
    if (!moved.valid()) return {};
    assignments.push_back(variables[i].Assign(As(moved, value.dtype()), location));
  }
  assignments.push_back(counter.Assign(counter + 1.0, location));
  return assignments;
}

Variable Optimizer::Slot(std::string_view slot, const std::string& owner, Tensor like) {
  return graph_.AddVariable(absl::StrCat(std::string(slot), "/", owner), ZerosLike(like), false);
}

Sgd::Sgd(Graph& graph, const SgdOptions& options)
    : Optimizer(graph, "sgd", options.learning_rate, options.clipping), options_(options) {}

Tensor Sgd::Update(const std::string& name, Tensor value, Tensor gradient, const Step& step,
                   std::vector<Tensor>& assignments) {
  Tensor rate = As(step.rate, value.dtype()), direction = gradient;
  if (options_.weight_decay != 0) direction = direction + value * options_.weight_decay;
  if (options_.momentum != 0) {
    Variable velocity = Slot("velocity", name, value);
    Tensor moved = velocity * options_.momentum + direction;
    assignments.push_back(velocity.Assign(moved));
    direction = options_.nesterov ? direction + moved * options_.momentum : moved;
  }
  return value - direction * rate;
}

Adam::Adam(Graph& graph, const AdamOptions& options) : Adam(graph, "adam", options, 0) {}

Adam::Adam(Graph& graph, std::string_view name, const AdamOptions& options, double weight_decay)
    : Optimizer(graph, name, options.learning_rate, options.clipping),
      options_(options),
      weight_decay_(weight_decay) {}

void Adam::Prepare(const Step& step) {
  for (double beta : {options_.beta1, options_.beta2}) {
    if (beta >= 0 && beta < 1) continue;
    ReportError(step.rate, absl::StrCat("adam: expected beta1 and beta2 in [0, 1), got ", beta),
                SourceLocation::current());
  }
  corrected_rate_ = step.rate / OneMinusPower(options_.beta1, step.number);
  second_correction_ = Reciprocal(OneMinusPower(options_.beta2, step.number));
}

Tensor Adam::Update(const std::string& name, Tensor value, Tensor gradient, const Step& step,
                    std::vector<Tensor>& assignments) {
  Variable first = Slot("m", name, value), second = Slot("v", name, value);
  Tensor m = first * options_.beta1 + gradient * (1 - options_.beta1);
  Tensor v = second * options_.beta2 + gradient * gradient * (1 - options_.beta2);
  assignments.push_back(first.Assign(m));
  assignments.push_back(second.Assign(v));
  const DataType dtype = value.dtype();
  Tensor scale = Sqrt(v * As(second_correction_, dtype)) + options_.epsilon;
  Tensor moved = value - As(corrected_rate_, dtype) * m / scale;
  if (weight_decay_ == 0) return moved;
  return moved - value * (As(step.rate, dtype) * weight_decay_);
}

AdamW::AdamW(Graph& graph, const AdamWOptions& options)
    : Adam(graph, "adamw", options.adam, options.weight_decay) {}

}  // namespace weft
