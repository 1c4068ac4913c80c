// After the first run of a compiled model nothing is allocated, whatever it is made of.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "compiler/api.h"
#include "graph/graph.h"
#include "graph/layers/layers.h"
#include "graph/losses/losses.h"
#include "graph/optimizers/optimizers.h"
#include "runtime/session.h"
#include "runtime/testing/count_allocations.h"

namespace weft {
namespace {

// Learns to classify small images: convolutions, statistics of the batch, random numbers, pooling,
// an optimizer with state; and a loop.
Graph Network() {
  Graph graph("network");
  Layers layers(graph, 3);
  Tensor image = graph.Input("image", DataType::kF32, {"batch", 12, 12, 3});
  Tensor label = graph.Input("label", DataType::kI32, {"batch"});
  auto model = [&](bool training) {
    layers.SetTraining(training);
    Tensor x = Relu(layers.BatchNorm("norm", layers.Conv2D("conv", image, 16, {3, 3})));
    x = layers.Dropout(Flatten(MaxPool2D(x, {2, 2})), 0.4);
    return layers.Dense("logits", Tanh(layers.Dense("hidden", x, 64)), 10);
  };
  Tensor loss = Mean(SoftmaxCrossEntropy(model(true), label));
  AdamOptions options;
  options.clipping.norm = 1;
  graph.AddSignature("train_step", {{"loss", loss}},
                     Concatenate(Adam(graph, options).Minimize(loss), layers.Updates()));
  Tensor logits = model(false);
  graph.AddSignature("predict", {{"class", ArgMax(logits, -1)}, {"p", Softmax(logits)}});
  const std::vector<Tensor> halved = While(
      {logits}, [](const std::vector<Tensor>& v) { return Greater(ReduceMax(v[0], {0, 1}), 1e-3); },
      [](const std::vector<Tensor>& v) { return std::vector{v[0] * 0.5}; }, 100);
  graph.AddSignature("halve", {{"y", halved[0]}});
  EXPECT_TRUE(graph.status().ok()) << graph.status();
  return graph;
}

NamedTensors Feeds(int64_t batch) {
  HostTensor image = *HostTensor::Create(DataType::kF32, {batch, 12, 12, 3});
  int64_t i = 0;
  for (float& pixel : image.mutable_values<float>()) pixel = static_cast<float>(i++ % 37) / 37;
  HostTensor label = *HostTensor::Create(DataType::kI32, {batch});
  for (int32_t& value : label.mutable_values<int32_t>()) value = static_cast<int32_t>(i++ % 10);
  return {{"image", image}, {"label", label}};
}

TEST(Allocations, NoneInTheSecondRunOfACompiledModel) {
  const absl::StatusOr<std::string> package = CompilePackage(Network(), {});
  ASSERT_TRUE(package.ok()) << package.status();
  const auto session = Session::FromPackage(*package, {.threads = 2});
  ASSERT_TRUE(session.ok()) << session.status();
  ASSERT_TRUE((*session)->Run("init", {}).ok());
  // As small as can be, and with launches that threads share.
  for (const int64_t batch : {1, 256}) {
    for (const std::string signature : {"train_step", "predict", "halve"}) {
      NamedTensors feeds = Feeds(batch), outputs;
      if (signature != "train_step") feeds.erase("label");
      const absl::Status first = (*session)->RunInto(signature, feeds, &outputs);
      ASSERT_TRUE(first.ok()) << first;
      const long before = AllocationCount();
      bool ok = true;
      for (int i = 0; i < 5; ++i) ok = ok && (*session)->RunInto(signature, feeds, &outputs).ok();
      const long counted = AllocationCount() - before;
      EXPECT_TRUE(ok);
      EXPECT_EQ(counted, 0) << signature << " of " << batch;
    }
  }
}

}  // namespace
}  // namespace weft
