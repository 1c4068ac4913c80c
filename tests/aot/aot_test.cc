// Graphs compiled ahead of time, and called by programs that have no compiler: they give the same
// bits as a session with a compiler and as a package.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <string>

#include "absl/strings/str_cat.h"
#include "compiler/aot/artifact_fixture.h"
#include "compiler/api.h"
#include "graph/graph.h"
#include "graph/layers/layers.h"
#include "graph/losses/losses.h"
#include "graph/optimizers/optimizers.h"
#include "proto/file.h"
#include "proto/npy.h"
#include "proto/safetensors.h"
#include "runtime/session.h"

namespace weft {
namespace {

using ::testing::HasSubstr;

// Scores points of the plane, [x, y, 1]: positive inside of a figure that it is to learn. With
// everything that training needs.
Graph Disk() {
  Graph graph("disk");
  Layers layers(graph, 7);
  const DenseOptions no_bias = {.use_bias = false};
  Tensor points = graph.Input("points", DataType::kF32, {"batch", 3});
  Tensor targets = graph.Input("targets", DataType::kF32, {"batch", 1});
  Tensor hidden = Tanh(layers.Dense("hidden", points, 19, no_bias));
  Tensor scores = layers.Dense("scores", hidden, 1, no_bias);
  Tensor difference = scores - targets;
  Tensor errors = difference * difference;
  graph.AddSignature("predict", {{"scores", scores}});
  graph.AddSignature("eval_step", {{"errors", errors}});
  Adam adam(graph, {.learning_rate = 0.02});
  graph.AddSignature("train_step", {{"errors", errors}}, adam.Minimize(errors));
  return graph;
}

// The same as a classifier: with reductions forward and backward, and an integer input.
Graph Circle() {
  Graph graph("circle");
  Layers layers(graph, 7);
  Tensor points = graph.Input("points", DataType::kF32, {"batch", 2});
  Tensor labels = graph.Input("labels", DataType::kI32, {"batch"});
  Tensor hidden = Relu(layers.Dense("hidden", points, 19));
  Tensor logits = layers.Dense("logits", hidden, 2);
  Tensor loss = Mean(SoftmaxCrossEntropy(logits, labels));
  graph.AddSignature("predict", {{"probabilities", Softmax(logits)}});
  graph.AddSignature("eval_step", {{"loss", loss}, {"accuracy", Accuracy(logits, labels)}});
  Adam adam(graph, {.learning_rate = 0.02});
  graph.AddSignature("train_step", {{"loss", loss}}, adam.Minimize(loss));
  return graph;
}

using AotTest = ArtifactFixture;

TEST_F(AotTest, ProgramTrainsAndAllWaysAgree) {
  const Graph graph = Disk();
  ASSERT_TRUE(graph.status().ok()) << graph.status();
  CompileOptions options;
  options.targets = {"cpu:x86-64-v3", "cpu:x86-64-v4"};
  absl::Status written = WriteArtifact(graph, options, Artifact::kObject, File("disk.o"));
  ASSERT_TRUE(written.ok()) << written;
  const Outcome built =
      Compile("clang-22 -std=c99", "tests/aot/train.c", File("disk.o"), File("train"));
  ASSERT_EQ(built.code, 0) << built.text;
  const Outcome trained =
      Shell(absl::StrCat(File("train"), " ", File("w.safetensors"), " ", File("predictions")));
  ASSERT_EQ(trained.code, 0) << trained.text;
  EXPECT_EQ(trained.text, "trained\n");

  const std::string predictions = ReadFile(File("predictions"));
  constexpr size_t kScoreBytes = 1000 * sizeof(float);
  ASSERT_EQ(predictions.size(), 4 * kScoreBytes);
  const std::string expected = predictions.substr(0, kScoreBytes);
  HostTensor points = HostTensor::Create(DataType::kF32, {1000, 3}).value();
  std::memcpy(points.mutable_data(), predictions.data() + kScoreBytes, 3 * kScoreBytes);
  const auto bytes_of = [](const HostTensor& tensor) {
    return std::string(static_cast<const char*>(tensor.data()), tensor.size_bytes());
  };
  // A package, with the variables that the program has trained.
  auto package = CompilePackage(graph, options);
  ASSERT_TRUE(package.ok()) << package.status();
  auto session = Session::FromPackage(*package);
  ASSERT_TRUE(session.ok()) << session.status();
  ASSERT_TRUE((*session)->RestoreCheckpoint(File("w.safetensors")).ok());
  auto outputs = (*session)->Run("predict", {{"points", points}});
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  EXPECT_EQ(bytes_of(outputs->at("scores")), expected);
  // An executable of predict alone, with the variables from the file, and with them inside.
  ASSERT_TRUE(SaveNpy(File("points.npy"), points).ok());
  CompileOptions predict = options;
  predict.signatures = {"predict"};
  const std::string arguments =
      absl::StrCat(" --points=", File("points.npy"), " --out-scores=", File("out.npy"));
  ASSERT_TRUE(WriteArtifact(graph, predict, Artifact::kExecutable, File("disk")).ok());
  Outcome run = Shell(absl::StrCat(File("disk"), arguments));
  EXPECT_EQ(run.code, 1) << run.text;
  EXPECT_THAT(run.text, HasSubstr("has no value"));
  run = Shell(absl::StrCat(File("disk"), arguments, " --variables=", File("w.safetensors")));
  ASSERT_EQ(run.code, 0) << run.text;
  EXPECT_EQ(bytes_of(LoadNpy(File("out.npy")).value()), expected);
  const std::string checkpoint = ReadFile(File("w.safetensors"));
  predict.variables = ReadSafetensors(checkpoint, nullptr)->tensors;
  for (const bool freeze : {false, true}) {
    predict.freeze = freeze;
    written = WriteArtifact(graph, predict, Artifact::kExecutable, File("disk"));
    ASSERT_TRUE(written.ok()) << written;
    std::filesystem::remove(File("out.npy"));
    run = Shell(absl::StrCat(File("disk"), arguments));
    ASSERT_EQ(run.code, 0) << run.text;
    EXPECT_EQ(bytes_of(LoadNpy(File("out.npy")).value()), expected) << freeze;
  }
}

TEST_F(AotTest, ClassifierTrains) {
  absl::Status written = WriteArtifact(Circle(), {}, Artifact::kObject, File("circle.o"));
  ASSERT_TRUE(written.ok()) << written;
  const Outcome built =
      Compile("clang-22 -std=c99", "tests/aot/classify.c", File("circle.o"), File("classify"));
  ASSERT_EQ(built.code, 0) << built.text;
  const Outcome trained = Shell(File("classify"));
  EXPECT_EQ(trained.code, 0) << trained.text;
  EXPECT_EQ(trained.text, "trained\n");
}

TEST_F(AotTest, SpecialisedSizesGiveTheSameBits) {
  const Graph graph = Disk();
  CompileOptions options;
  options.signatures = {"init", "predict"};
  ASSERT_TRUE(WriteArtifact(graph, options, Artifact::kExecutable, File("general")).ok());
  options.specialize["batch"] = {1, 8};
  ASSERT_TRUE(WriteArtifact(graph, options, Artifact::kExecutable, File("special")).ok());
  for (const int64_t batch : {1, 7, 8}) {
    HostTensor points = HostTensor::Create(DataType::kF32, {batch, 3}).value();
    for (int64_t i = 0; i < 3 * batch; ++i) {
      points.mutable_values<float>()[static_cast<size_t>(i)] = 0.3f * static_cast<float>(i) - 1;
    }
    ASSERT_TRUE(SaveNpy(File("points.npy"), points).ok());
    for (const char* name : {"general", "special"}) {
      const Outcome run = Shell(absl::StrCat(File(name), " --init --points=", File("points.npy"),
                                             " --out-scores=", File(absl::StrCat(name, ".npy"))));
      ASSERT_EQ(run.code, 0) << run.text;
    }
    EXPECT_EQ(ReadFile(File("general.npy")), ReadFile(File("special.npy"))) << batch;
  }
}

TEST_F(AotTest, ErrorsLeaveNothing) {
  Graph unnamed("my-model");
  Tensor x = unnamed.Input("x", DataType::kF32, {"n"});
  unnamed.AddSignature("predict", {{"y", Neg(x)}});
  absl::Status status = WriteArtifact(unnamed, {}, Artifact::kShared, File("model.so"));
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("'my-model'"));
  CompileOptions options;
  options.targets = {"cpu:x86-64-v9"};
  EXPECT_FALSE(WriteArtifact(Disk(), options, Artifact::kShared, File("model.so")).ok());
  options = {};
  options.signatures = {"predit"};
  EXPECT_FALSE(WriteArtifact(Disk(), options, Artifact::kShared, File("model.so")).ok());
  // Known before anything is compiled.
  options = {};
  options.targets = {"cpu:x86-64-v3", "cuda:sm_80"};
  int steps = 0;
  options.progress = [&](double, const std::string&) { ++steps; };
  status = WriteArtifact(Disk(), options, Artifact::kObject, File("model.o"));
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("got cuda:sm_80; a package holds code"));
  EXPECT_EQ(steps, 0);
  EXPECT_TRUE(std::filesystem::is_empty(folder()));
}

}  // namespace
}  // namespace weft
