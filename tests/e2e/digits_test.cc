// The model of the quickstart, trained on a GPU and on this processor on the same digits: the same
// losses. How near they have to be is derived: computing in f32, with sums in any order, gives what
// exact arithmetic gives for weights that are off by so much (backward error), and how far that
// moves the losses is found by training with weights that are.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "compiler/api.h"
#include "graph/graph.h"
#include "runtime/session.h"
#include "tests/conformance/targets.h"
#include "tools/data/dataset.h"

namespace weft {
namespace {

constexpr int kSteps = 4;
constexpr int64_t kBatch = 8;
// A sum of n products is exact for factors that are off by n roundings, 2^-24 each, at most
// (Higham, Accuracy and Stability of Numerical Algorithms, 3.1). The longest sums here are those of
// the layer "hidden", over 4 x 4 x 64 values.
constexpr float kBackwardError = 1024.0f / (1 << 24);

// Rows of the data that begin there.
NamedTensors FeedsOf(const DataSet& data, int64_t first) {
  NamedTensors feeds;
  for (const auto& [name, array] : data.arrays) {
    std::vector<int64_t> shape = array.shape();
    shape[0] = kBatch;
    // Images have one channel, which the file does not mention.
    if (name == "x" && shape.size() == 3) shape.push_back(1);
    HostTensor rows = *HostTensor::Create(name == "x" ? DataType::kU8 : DataType::kI32, shape);
    const size_t each = static_cast<size_t>(rows.num_elements() / kBatch);
    for (size_t i = 0; i < each * kBatch; ++i) {
      const uint8_t value = array.values<uint8_t>()[static_cast<size_t>(first) * each + i];
      if (name == "x") {
        rows.mutable_values<uint8_t>()[i] = value;
      } else {
        rows.mutable_values<int32_t>()[i] = value;
      }
    }
    feeds[name] = rows;
  }
  return feeds;
}

// The loss of each step. With a seed, weights are off by kBackwardError, each to the side that the
// seed says.
std::vector<double> Losses(const std::string& package, std::shared_ptr<Device> device,
                           const DataSet& data, unsigned seed = 0) {
  std::vector<double> losses;
  const auto session = Session::FromPackage(package, {.device = std::move(device)});
  EXPECT_TRUE(session.ok()) << session.status();
  if (!session.ok()) return losses;
  absl::Status status = (*session)->Run("init", {}).status();
  EXPECT_TRUE(status.ok()) << status;
  if (seed > 0) {
    std::mt19937 random(seed);
    NamedTensors variables = (*session)->GetVariables().value();
    for (auto& [name, value] : variables) {
      if (value.dtype() != DataType::kF32) continue;
      value = value.Clone();
      for (float& v : value.mutable_values<float>()) {
        v *= 1 + (random() % 2 == 0 ? kBackwardError : -kBackwardError);
      }
    }
    status = (*session)->SetVariables(variables);
    EXPECT_TRUE(status.ok()) << status;
  }
  for (int step = 0; step < kSteps; ++step) {
    const auto outputs = (*session)->Run("train_step", FeedsOf(data, step * kBatch));
    EXPECT_TRUE(outputs.ok()) << outputs.status();
    if (!outputs.ok()) return losses;
    losses.push_back(outputs->at("loss").values<float>()[0]);
  }
  return losses;
}

TEST(Digits, TrainOnAGpuToTheSameLosses) {
  const std::string file = std::string(testing::TempDir()) + "/digits.weft";
  ASSERT_EQ(std::system(("tools/examples/digits " + file).c_str()), 0);
  const auto graph = Graph::Load(file);
  ASSERT_TRUE(graph.ok()) << graph.status();
  const std::string folder = "tools/examples/data/";
  const auto data =
      LoadDataSet({folder + "digits-images-idx3-ubyte.gz", folder + "digits-labels-idx1-ubyte.gz"});
  ASSERT_TRUE(data.ok()) << data.status();
  CompileOptions options = OptionsOfTest();
  options.signatures = {"init", "train_step"};
  options.targets.push_back("cpu:native");
  const auto package = CompilePackage(*graph, options);
  ASSERT_TRUE(package.ok()) << package.status();

  const std::vector<double> here = Losses(*package, nullptr, *data),
                            there = Losses(*package, DeviceOfTest(), *data);
  ASSERT_EQ(here.size(), size_t{kSteps});
  ASSERT_EQ(there.size(), size_t{kSteps});
  std::vector<double> moved(kSteps);
  for (unsigned seed = 1; seed <= 5; ++seed) {
    const std::vector<double> losses = Losses(*package, nullptr, *data, seed);
    ASSERT_EQ(losses.size(), size_t{kSteps});
    for (size_t i = 0; i < losses.size(); ++i) {
      moved[i] = std::max(moved[i], std::fabs(losses[i] - here[i]));
    }
  }
  for (size_t i = 0; i < there.size(); ++i) {
    // Both are off, each to its side.
    EXPECT_NEAR(there[i], here[i], 2 * moved[i]) << "step " << i + 1;
    // Which tells something: a step of training moves losses much further.
    EXPECT_LT(moved[i], 1e-3 * here[i]) << "step " << i + 1;
  }
}

}  // namespace
}  // namespace weft
