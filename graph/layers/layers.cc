#include "graph/layers/layers.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "absl/strings/str_cat.h"
#include "graph/builder_support.h"

namespace weft {
namespace {

std::string Join(std::string_view name, std::string_view part) {
  return absl::StrCat(std::string(name), "/", std::string(part));
}

// Padding of one image dimension, [before, after].
std::optional<std::array<int64_t, 2>> PadAxis(Padding padding, const DimExpr& size, int64_t window,
                                              int64_t stride, int64_t dilation) {
  if (padding == Padding::kValid) return std::array<int64_t, 2>{0, 0};
  const int64_t reach = dilation * (window - 1) + 1;
  int64_t total = reach - 1;
  if (stride != 1) {
    const std::optional<int64_t> known = size.Constant();
    if (!known) return std::nullopt;
    const int64_t outputs = (*known + stride - 1) / stride;
    total = std::max<int64_t>((outputs - 1) * stride + reach - *known, 0);
  }
  return std::array<int64_t, 2>{total / 2, total - total / 2};
}

// Far beyond any image, and products of two fit.
constexpr int64_t kMaxExtent = int64_t{1} << 30;

// [top, bottom, left, right]; nullopt, and an error in the graph, where it cannot be known.
std::optional<std::vector<int64_t>> PadImage(Padding padding, Operand x,
                                             std::array<int64_t, 2> window,
                                             std::array<int64_t, 2> strides,
                                             std::array<int64_t, 2> dilations) {
  const Tensor& image = x.tensor();
  if (!image.valid()) return std::nullopt;
  if (image.rank() != 4) {
    ReportError(image, absl::StrCat("expected images [n, h, w, c], got ", ToString(image.shape())),
                x.location());
    return std::nullopt;
  }
  for (const std::array<int64_t, 2>& pair : {window, strides, dilations}) {
    if (pair[0] >= 1 && pair[1] >= 1 && pair[0] <= kMaxExtent && pair[1] <= kMaxExtent) continue;
    ReportError(image,
                absl::StrCat("expected a window, strides and dilations in [1, ", kMaxExtent,
                             "], got ", pair[0], " and ", pair[1]),
                x.location());
    return std::nullopt;
  }
  std::vector<int64_t> result;
  for (int axis = 0; axis < 2; ++axis) {
    const auto pad =
        PadAxis(padding, image.dim(axis + 1), window[axis], strides[axis], dilations[axis]);
    if (!pad) {
      ReportError(image,
                  absl::StrCat("expected images of known height and width for padding kSame with a "
                               "stride above 1, got ",
                               ToString(image.shape()), "; use kValid after a Pad"),
                  x.location());
      return std::nullopt;
    }
    result.insert(result.end(), pad->begin(), pad->end());
  }
  return result;
}

std::vector<int64_t> ToVector(std::array<int64_t, 2> pair) { return {pair[0], pair[1]}; }

std::array<int64_t, 2> StridesOr(std::array<int64_t, 2> strides, std::array<int64_t, 2> window) {
  return {strides[0] == 0 ? window[0] : strides[0], strides[1] == 0 ? window[1] : strides[1]};
}

// All axes but the last.
std::vector<int64_t> LeadingAxes(int64_t rank) {
  std::vector<int64_t> axes;
  for (int64_t axis = 0; axis + 1 < rank; ++axis) axes.push_back(axis);
  return axes;
}

// Far below every score, and finite, so that no gradient multiplies zero by infinity.
double MaskedScore(DataType dtype) { return dtype == DataType::kF16 ? -3e4 : -1e30; }

// Whether x is floats with features and the options make sense; an error in the graph where not.
bool CanNormalize(const Operand& x, int64_t least_rank, const NormOptions& options) {
  const Tensor& input = x.tensor();
  if (!input.valid()) return false;
  std::string problem;
  if (!IsFloat(input.dtype()) || input.rank() < least_rank) {
    problem = absl::StrCat("floats [..., features] of rank ", least_rank, " or more, got ",
                           std::string(NameOf(input.dtype())), ToString(input.shape()));
  } else if (!(options.epsilon > 0) || !(options.momentum >= 0 && options.momentum < 1)) {
    problem = absl::StrCat("epsilon > 0 and momentum in [0, 1), got ", options.epsilon, " and ",
                           options.momentum);
  }
  if (problem.empty()) return true;
  ReportError(input, "expected " + problem, x.location());
  return false;
}

}  // namespace

Variable Layers::Parameter(std::string_view name, DataType dtype, const Shape& shape,
                           const Initializer& initializer, bool trainable,
                           SourceLocation location) {
  const std::string path = ScopePath(graph_) + std::string(name);
  const auto it = variables_.find(path);
  if (it != variables_.end()) {
    const Tensor value = it->second.Read(location);
    if (value.valid() && (value.shape() != shape || value.dtype() != dtype)) {
      ReportError(value,
                  absl::StrCat("expected layers that share the name '", std::string(name),
                               "' to have one shape of parameters, got ", ToString(value.shape()),
                               " and ", ToString(shape)),
                  location);
    }
    return it->second;
  }
  Tensor initial = initializer.Make(graph_, dtype, shape, seed_,
                                    static_cast<int64_t>(graph_.Variables().size()), location);
  Variable variable = graph_.AddVariable(name, initial, trainable, location);
  variables_.emplace(path, variable);
  return variable;
}

Tensor Layers::Dense(std::string_view name, Operand x, int64_t units, const DenseOptions& options) {
  const Tensor& input = x.tensor();
  if (!input.valid()) return {};
  if (input.rank() < 2) {
    ReportError(
        input,
        absl::StrCat("expected [..., features] of rank 2 or more, got ", ToString(input.shape())),
        x.location());
    return {};
  }
  const DataType dtype = input.dtype();
  Variable kernel = Parameter(Join(name, "kernel"), dtype, {input.dim(-1), DimExpr(units)},
                              options.kernel, true, x.location());
  Variable bias;
  if (options.use_bias) {
    bias = Parameter(Join(name, "bias"), dtype, {DimExpr(units)}, options.bias, true, x.location());
  }
  const ScopeGuard scope = graph_.Scope(name);
  const CallerLocation at(graph_.impl(), x.location());
  Tensor y = MatMul(x, kernel);
  return options.use_bias ? y + bias : y;
}

Tensor Layers::Conv2D(std::string_view name, Operand x, int64_t filters,
                      std::array<int64_t, 2> size, const Conv2DOptions& options) {
  const auto padding = PadImage(options.padding, x, size, options.strides, options.dilations);
  if (!padding) return {};
  const DataType dtype = x.tensor().dtype();
  const DimExpr channels = x.tensor().dim(-1);
  if (options.groups < 1 || !channels.IsConstant() || *channels.Constant() % options.groups != 0) {
    ReportError(x.tensor(),
                absl::StrCat("expected a known number of channels that ", options.groups,
                             " groups share evenly, got ", ToString(x.tensor().shape())),
                x.location());
    return {};
  }
  Variable kernel = Parameter(Join(name, "kernel"), dtype,
                              {DimExpr(size[0]), DimExpr(size[1]),
                               DimExpr(*channels.Constant() / options.groups), DimExpr(filters)},
                              options.kernel, true, x.location());
  Variable bias;
  if (options.use_bias) {
    bias =
        Parameter(Join(name, "bias"), dtype, {DimExpr(filters)}, options.bias, true, x.location());
  }
  const ScopeGuard scope = graph_.Scope(name);
  const CallerLocation at(graph_.impl(), x.location());
  Tensor y = weft::Conv2D(x, kernel, ToVector(options.strides), *padding,
                          ToVector(options.dilations), options.groups);
  return options.use_bias ? y + bias : y;
}

Tensor Layers::Normalize(std::string_view name, Tensor x, Tensor mean, Tensor variance,
                         DataType dtype, const NormOptions& options, SourceLocation location) {
  if (!mean.valid() || !variance.valid()) return {};
  const Shape features = {x.dim(-1)};
  Tensor factor = Rsqrt(variance + options.epsilon);
  Tensor y = x - mean;
  auto parameter = [&](const char* part, const Initializer& initializer) {
    return As(
        Parameter(Join(name, part), dtype, features, initializer, true, location).Read(location),
        x.dtype());
  };
  if (options.use_scale) factor = factor * parameter("scale", Initializer::Ones());
  y = y * factor;
  if (options.use_offset) y = y + parameter("offset", Initializer::Zeros());
  return As(y, dtype);
}

Tensor Layers::BatchNorm(std::string_view name, Operand input, const NormOptions& options) {
  if (!CanNormalize(input, 2, options)) return {};
  const SourceLocation location = input.location();
  const DataType dtype = input.tensor().dtype(), wide = WideType(dtype);
  const Shape features = {input.tensor().dim(-1)};
  const CallerLocation at(graph_.impl(), location);
  Tensor x = As(input.tensor(), wide);
  Variable mean =
      Parameter(Join(name, "moving_mean"), wide, features, Initializer::Zeros(), false, location);
  Variable variance = Parameter(Join(name, "moving_variance"), wide, features, Initializer::Ones(),
                                false, location);
  if (!training_) {
    return Normalize(name, x, mean.Read(location), variance.Read(location), dtype, options,
                     location);
  }

  const std::vector<int64_t> axes = LeadingAxes(x.rank());
  Tensor batch_mean = Mean(x, axes);
  Tensor centered = x - batch_mean;
  Tensor batch_variance = Mean(centered * centered, axes);
  auto move = [&](const Variable& variable, Tensor batch) {
    // A second use of the layer in one step moves what the first one left.
    auto it = std::find_if(moved_.begin(), moved_.end(), [&](const auto& entry) {
      return entry.first.name() == variable.name();
    });
    if (it == moved_.end()) it = moved_.insert(moved_.end(), {variable, variable.Read()});
    it->second = it->second * options.momentum + StopGradient(batch) * (1 - options.momentum);
  };
  move(mean, batch_mean);
  move(variance, batch_variance);
  return Normalize(name, x, batch_mean, batch_variance, dtype, options, location);
}

Tensor Layers::LayerNorm(std::string_view name, Operand input, const NormOptions& options) {
  if (!CanNormalize(input, 1, options)) return {};
  const DataType dtype = input.tensor().dtype();
  const CallerLocation at(graph_.impl(), input.location());
  Tensor x = As(input.tensor(), WideType(dtype));
  return Normalize(name, x, Mean(x, {-1}, true), Variance(x, {-1}, true), dtype, options,
                   input.location());
}

Tensor Layers::Dropout(Operand x, double rate) {
  if (!x.tensor().valid() || !training_ || rate == 0) return x.tensor();
  if (!(rate > 0 && rate < 1)) {
    ReportError(x.tensor(), absl::StrCat("expected a dropout rate in [0, 1), got ", rate),
                x.location());
    return {};
  }
  const CallerLocation at(graph_.impl(), x.location());
  if (dropout_step_.graph() == nullptr) {
    dropout_step_ =
        Parameter("dropout/step", DataType::kI64, {}, Initializer::Zeros(), false, x.location());
  }
  has_dropout_ = true;
  const ScopeGuard scope = graph_.Scope("dropout");
  // Distinct numbers for each call: the step is the stream, the call goes into the seed. The
  // multiplier spreads consecutive calls over the seeds (2^32 divided by the golden ratio).
  const uint32_t seed = seed_ + 2654435769u * ++dropout_calls_;
  Tensor uniform = RandomUniform(dropout_step_, seed, x.tensor().shape(), DataType::kF32);
  return Select(GreaterEqual(uniform, rate), x * (1 / (1 - rate)), ZerosLike(x));
}

Tensor Layers::Embedding(std::string_view name, Operand indices, int64_t size, int64_t features,
                         DataType dtype, const Initializer& table) {
  if (!indices.tensor().valid()) return {};
  Variable rows = Parameter(Join(name, "table"), dtype, {DimExpr(size), DimExpr(features)}, table,
                            true, indices.location());
  const ScopeGuard scope = graph_.Scope(name);
  return Gather(Operand(rows, indices.location()), indices, 0);
}

Tensor Layers::MultiHeadAttention(std::string_view name, Operand query, Operand key_value,
                                  int64_t heads, const AttentionOptions& options) {
  const Tensor &q_input = query.tensor(), &kv_input = key_value.tensor();
  if (!q_input.valid() || !kv_input.valid()) return {};
  const SourceLocation location = query.location();
  if (q_input.rank() != 3 || kv_input.rank() != 3 || heads < 1) {
    ReportError(
        q_input,
        absl::StrCat("expected query [n, t, d], keys [n, s, e] and heads >= 1, got ",
                     ToString(q_input.shape()), ", ", ToString(kv_input.shape()), " and ", heads),
        location);
    return {};
  }
  const std::optional<int64_t> features = q_input.dim(2).Constant();
  if (!features || (options.head_size == 0 && *features % heads != 0)) {
    ReportError(
        q_input,
        absl::StrCat("expected a number of features that ", heads, " heads share evenly, got ",
                     ToString(q_input.shape()), "; or set head_size"),
        location);
    return {};
  }
  const int64_t size = options.head_size != 0 ? options.head_size : *features / heads;
  const DenseOptions dense = {.use_bias = options.use_bias, .kernel = options.kernel};
  const CallerLocation at(graph_.impl(), location);
  // [n, t, heads * size] -> [n, heads, t, size]
  auto split = [&](Tensor x) -> Tensor {
    if (!x.valid()) return {};
    return Transpose(Reshape(x, {x.dim(0), x.dim(1), DimExpr(heads), DimExpr(size)}), {0, 2, 1, 3});
  };
  Tensor q = split(Dense(Join(name, "query"), query, heads * size, dense));
  Tensor k = split(Dense(Join(name, "key"), key_value, heads * size, dense));
  Tensor v = split(Dense(Join(name, "value"), key_value, heads * size, dense));
  if (!q.valid() || !k.valid() || !v.valid()) return {};
  Tensor mixed;
  {
    const ScopeGuard scope = graph_.Scope(name);
    Tensor scores = MatMul(q * (1 / std::sqrt(static_cast<double>(size))), k, false, true);
    if (!scores.valid()) return {};
    if (options.causal) {
      const Shape pairs = {q.dim(2), k.dim(2)};
      Tensor visible = GreaterEqual(Iota(graph_, pairs, 0, DataType::kI32, location),
                                    Iota(graph_, pairs, 1, DataType::kI32, location));
      scores = Select(visible, scores, MaskedScore(scores.dtype()));
    }
    if (options.mask.valid()) {
      const Shape shape = scores.shape();
      scores = Select(options.mask, scores, MaskedScore(scores.dtype()));
      // Of a larger mask the scores would be repeated.
      if (scores.valid() && scores.shape() != shape) {
        ReportError(q_input,
                    absl::StrCat("expected a mask that can be repeated to [n, heads, t, s], got ",
                                 ToString(options.mask.shape())),
                    location);
        return {};
      }
    }
    mixed = Transpose(MatMul(Softmax(scores), v), {0, 2, 1, 3});
    mixed = Reshape(mixed, {q_input.dim(0), q_input.dim(1), DimExpr(heads * size)});
  }
  return Dense(Join(name, "output"), Operand(mixed, location), *features, dense);
}

std::vector<Tensor> JoinTargets(std::vector<Tensor> first, const std::vector<Tensor>& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

std::vector<Tensor> Layers::Updates(SourceLocation location) {
  std::vector<Tensor> updates;
  for (const auto& [variable, value] : moved_) updates.push_back(variable.Assign(value, location));
  moved_.clear();
  if (has_dropout_) {
    updates.push_back(
        dropout_step_.Assign(dropout_step_.Read(location) + Operand(1.0, location), location));
    has_dropout_ = false;
  }
  return updates;
}

Tensor MaxPool2D(Operand x, std::array<int64_t, 2> window, std::array<int64_t, 2> strides,
                 Padding padding) {
  strides = StridesOr(strides, window);
  const auto pad = PadImage(padding, x, window, strides, {1, 1});
  if (!pad) return {};
  return MaxPool(x, ToVector(window), ToVector(strides), *pad).y;
}

Tensor AvgPool2D(Operand x, std::array<int64_t, 2> window, std::array<int64_t, 2> strides,
                 Padding padding) {
  strides = StridesOr(strides, window);
  const auto pad = PadImage(padding, x, window, strides, {1, 1});
  if (!pad) return {};
  return AvgPool(x, ToVector(window), ToVector(strides), *pad);
}

Tensor GlobalAvgPool2D(Operand x) { return Mean(x, {1, 2}); }

}  // namespace weft
