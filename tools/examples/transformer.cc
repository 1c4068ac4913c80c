// A small transformer that learns to continue a text, character by character: declared, compiled,
// trained and used in one program.
//
//   transformer TEXT [STEPS]
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "compiler/api.h"
#include "graph/graph.h"
#include "graph/layers/layers.h"
#include "graph/losses/losses.h"
#include "graph/optimizers/optimizers.h"
#include "proto/file.h"
#include "runtime/session.h"
#include "tools/data/random.h"
#include "tools/progress/progress.h"

namespace {

using namespace weft;  // NOLINT: an example

constexpr int64_t kContext = 64;  // characters that the model sees
constexpr int64_t kFeatures = 64;
constexpr int64_t kHeads = 4;
constexpr int kBlocks = 2;
constexpr int64_t kBatch = 16;
constexpr double kHeldOut = 0.1;  // the end of the text, to validate on

// Characters as numbers, and back.
struct Vocabulary {
  std::string characters;
  std::map<char, int32_t> numbers;
  explicit Vocabulary(std::string_view text) {
    for (const char c : text) numbers.emplace(c, 0);
    for (auto& [c, number] : numbers) {
      number = static_cast<int32_t>(characters.size());
      characters += c;
    }
  }
  int64_t size() const { return static_cast<int64_t>(characters.size()); }
};

Graph TransformerGraph(int64_t vocabulary, double steps) {
  Graph graph("transformer");
  Layers layers(graph, /*seed=*/1);
  const Tensor text = graph.Input("x", DataType::kI32, {"batch", kContext});
  const Tensor next = graph.Input("y", DataType::kI32, {"batch", kContext});

  auto model = [&](bool training) {
    layers.SetTraining(training);
    Tensor x = layers.Embedding("characters", text, vocabulary, kFeatures);
    x = x + layers.Parameter("positions", DataType::kF32, {kContext, kFeatures},
                             Initializer::Normal(0.02));
    for (int block = 0; block < kBlocks; ++block) {
      const ScopeGuard scope = graph.Scope("block" + std::to_string(block));
      Tensor h = layers.LayerNorm("norm1", x);
      x = x + layers.MultiHeadAttention("attention", h, h, kHeads, {.causal = true});
      h = layers.LayerNorm("norm2", x);
      h = Gelu(layers.Dense("wide", h, 4 * kFeatures), /*approximate=*/true);
      x = x + layers.Dropout(layers.Dense("narrow", h, kFeatures), 0.1);
    }
    return layers.Dense("logits", layers.LayerNorm("norm", x), vocabulary);
  };

  const Tensor loss = Mean(SoftmaxCrossEntropy(model(/*training=*/true), next));
  AdamWOptions options;
  options.adam.learning_rate = WarmUp(50, CosineDecay(3e-3, steps - 50, 0.05));
  options.adam.clipping.norm = 1;
  AdamW optimizer(graph, options);
  graph.AddSignature("train_step", {{"loss", loss}},
                     JoinTargets(optimizer.Minimize(loss), layers.Updates()));

  const Tensor logits = model(/*training=*/false);
  graph.AddSignature("eval_step", {{"loss", Mean(SoftmaxCrossEntropy(logits, next))}});
  graph.AddSignature("predict", {{"probabilities", Softmax(logits)}});
  return graph;
}

// Batches of stretches that begin at random places in [begin, end).
void Fill(const std::vector<int32_t>& numbers, size_t begin, size_t end, SplitMix64& random,
          HostTensor& x, HostTensor& y) {
  for (int64_t row = 0; row < kBatch; ++row) {
    const size_t at = begin + random.Below(end - begin - kContext - 1);
    std::copy_n(numbers.begin() + at, kContext,
                x.mutable_values<int32_t>().begin() + row * kContext);
    std::copy_n(numbers.begin() + at + 1, kContext,
                y.mutable_values<int32_t>().begin() + row * kContext);
  }
}

// Continues the text by sampling from the model, character after character.
absl::StatusOr<std::string> Continue(Session& session, const Vocabulary& vocabulary,
                                     std::vector<int32_t> window, int characters) {
  std::string text;
  SplitMix64 random(7);
  for (int i = 0; i < characters; ++i) {
    const HostTensor x = HostTensor::Of<int32_t>({1, kContext}, window);
    absl::StatusOr<NamedTensors> outputs = session.Run("predict", {{"x", x}});
    if (!outputs.ok()) return outputs.status();
    const float* last =
        outputs->at("probabilities").values<float>().data() + (kContext - 1) * vocabulary.size();
    // Sharper than the model is sure (temperature 0.7), which reads better.
    std::vector<double> weights(vocabulary.size());
    double sum = 0;
    for (int64_t c = 0; c < vocabulary.size(); ++c) sum += weights[c] = std::pow(last[c], 1 / 0.7);
    double place = sum * static_cast<double>(random.Below(1 << 30)) / (1 << 30);
    int32_t chosen = 0;
    while (chosen + 1 < vocabulary.size() && (place -= weights[chosen]) > 0) ++chosen;
    text += vocabulary.characters[chosen];
    window.erase(window.begin());
    window.push_back(chosen);
  }
  return text;
}

absl::Status Run(const std::string& path, int steps) {
  absl::StatusOr<std::shared_ptr<const Bytes>> file = Bytes::Load(path);
  if (!file.ok()) return file.status();
  const std::string_view text = (*file)->view();
  if (text.size() < 4096)
    return absl::InvalidArgumentError(path + ": expected 4 kB of text or more");
  const Vocabulary vocabulary(text);
  std::vector<int32_t> numbers;
  for (const char c : text) numbers.push_back(vocabulary.numbers.at(c));
  const size_t split = static_cast<size_t>(static_cast<double>(numbers.size()) * (1 - kHeldOut));

  const Graph graph = TransformerGraph(vocabulary.size(), steps);
  if (!graph.status().ok()) return graph.status();
  absl::StatusOr<Planner> planner = MakePlanner(graph);
  if (!planner.ok()) return planner.status();
  absl::StatusOr<std::unique_ptr<Session>> session = Session::WithPlanner(*planner);
  if (!session.ok()) return session.status();
  absl::StatusOr<NamedTensors> outputs = (*session)->Run("init", {});
  if (!outputs.ok()) return outputs.status();

  absl::StatusOr<HostTensor> x = HostTensor::Create(DataType::kI32, {kBatch, kContext});
  absl::StatusOr<HostTensor> y = HostTensor::Create(DataType::kI32, {kBatch, kContext});
  if (!x.ok()) return x.status();
  if (!y.ok()) return y.status();
  // By name, since a call's inputs come in the order of the signature.
  auto feed = [&](Call& call) {
    absl::Status status;
    for (int i = 0; i < call.num_inputs() && status.ok(); ++i) {
      status = call.Feed(i, call.input_name(i) == "x" ? *x : *y);
    }
    return status;
  };
  absl::StatusOr<std::unique_ptr<Call>> train =
      (*session)->Prepare("train_step", {{kBatch, kContext}, {kBatch, kContext}});
  if (!train.ok()) return train.status();
  absl::StatusOr<std::unique_ptr<Call>> evaluate =
      (*session)->Prepare("eval_step", {{kBatch, kContext}, {kBatch, kContext}});
  if (!evaluate.ok()) return evaluate.status();

  auto validate = [&]() -> absl::StatusOr<double> {
    SplitMix64 random(2);
    double sum = 0;
    constexpr int kBatches = 8;
    for (int i = 0; i < kBatches; ++i) {
      Fill(numbers, split, numbers.size(), random, *x, *y);
      absl::Status status = feed(**evaluate);
      if (status.ok()) status = (*evaluate)->Run();
      if (!status.ok()) return status;
      sum += (*evaluate)->Output(0).values<float>()[0] / kBatches;
    }
    return sum;
  };
  const auto start = std::chrono::steady_clock::now();
  SplitMix64 random(1);
  double mean = 0;
  {
    Progress progress("training", steps);
    for (int step = 1; step <= steps; ++step) {
      Fill(numbers, 0, split, random, *x, *y);
      absl::Status status = feed(**train);
      if (status.ok()) status = (*train)->Run();
      if (!status.ok()) return status;
      const double loss = (*train)->Output(0).values<float>()[0];
      mean = step == 1 ? loss : 0.98 * mean + 0.02 * loss;
      progress.Update(step, "loss " + std::to_string(mean));
    }
  }
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  absl::StatusOr<double> validation = validate();
  if (!validation.ok()) return validation.status();
  std::printf(
      "%d steps in %.1f s; validation: %.3f nats, %.3f bits per character "
      "(chance: %.3f bits)\n",
      steps, seconds, *validation, *validation / std::log(2.0),
      std::log2(static_cast<double>(vocabulary.size())));
  const std::vector<int32_t> prompt(numbers.begin() + split, numbers.begin() + split + kContext);
  absl::StatusOr<std::string> continued = Continue(**session, vocabulary, prompt, 240);
  if (!continued.ok()) return continued.status();
  std::printf("--- %s\n--- goes on:\n%s\n", std::string(text.substr(split, kContext)).c_str(),
              continued->c_str());
  return absl::OkStatus();
}

}  // namespace

int main(int argc, char** argv) {
  const int steps = argc == 3 ? std::atoi(argv[2]) : 1000;
  if (argc < 2 || argc > 3 || steps < 100) {
    std::fprintf(stderr, "usage: transformer TEXT [STEPS, at least 100]\n");
    return 2;
  }
  const absl::Status status = Run(argv[1], steps);
  if (status.ok()) return 0;
  std::fprintf(stderr, "transformer: %s\n", std::string(status.message()).c_str());
  return 1;
}
