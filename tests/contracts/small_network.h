// A model that several contracts are tested with.
#ifndef WEFT_TESTS_CONTRACTS_SMALL_NETWORK_H_
#define WEFT_TESTS_CONTRACTS_SMALL_NETWORK_H_

#include <cstdint>
#include <vector>

#include "graph/graph.h"
#include "graph/layers/layers.h"
#include "graph/losses/losses.h"
#include "graph/optimizers/optimizers.h"
#include "gtest/gtest.h"
#include "runtime/session.h"

namespace weft {

// Learns to classify small images: convolutions, statistics of the batch, random numbers, pooling,
// an optimizer with state; and a loop.
inline Graph SmallNetwork() {
  Graph graph("network");
  Layers layers(graph, 3);
  Tensor image = graph.Input("image", DataType::kF32, {"batch", 12, 12, 3});
  Tensor label = graph.Input("label", DataType::kI32, {"batch"});
  auto model = [&](bool training) {
    layers.SetTraining(training);
    // A bias would have a gradient of 0, but for rounding, of which Adam would make whole steps.
    Conv2DOptions conv;
    conv.use_bias = false;
    Tensor x = Relu(layers.BatchNorm("norm", layers.Conv2D("conv", image, 16, {3, 3}, conv)));
    x = layers.Dropout(Flatten(MaxPool2D(x, {2, 2})), 0.4);
    return layers.Dense("logits", Tanh(layers.Dense("hidden", x, 64)), 10);
  };
  Tensor loss = Mean(SoftmaxCrossEntropy(model(true), label));
  AdamOptions options;
  options.clipping.norm = 1;
  graph.AddSignature("train_step", {{"loss", loss}},
                     JoinTargets(Adam(graph, options).Minimize(loss), layers.Updates()));
  Tensor logits = model(false);
  graph.AddSignature("predict", {{"class", ArgMax(logits, -1)}, {"p", Softmax(logits)}});
  const std::vector<Tensor> halved = While(
      {logits}, [](const std::vector<Tensor>& v) { return Greater(ReduceMax(v[0], {0, 1}), 1e-3); },
      [](const std::vector<Tensor>& v) { return std::vector{v[0] * 0.5}; }, 100);
  graph.AddSignature("halve", {{"y", halved[0]}});
  EXPECT_TRUE(graph.status().ok()) << graph.status();
  return graph;
}

inline NamedTensors FeedsOfSmallNetwork(int64_t batch) {
  HostTensor image = *HostTensor::Create(DataType::kF32, {batch, 12, 12, 3});
  int64_t i = 0;
  for (float& pixel : image.mutable_values<float>()) pixel = static_cast<float>(i++ % 37) / 37;
  HostTensor label = *HostTensor::Create(DataType::kI32, {batch});
  for (int32_t& value : label.mutable_values<int32_t>()) value = static_cast<int32_t>(i++ % 10);
  return {{"image", image}, {"label", label}};
}

}  // namespace weft

#endif  // WEFT_TESTS_CONTRACTS_SMALL_NETWORK_H_
