// The same graph gives the same bytes in every process that compiles it: neither the addresses that
// objects have there nor the number of threads decide anything.
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "graph/graph.h"
#include "graph/layers/layers.h"
#include "graph/losses/losses.h"
#include "graph/optimizers/optimizers.h"
#include "tests/cli/cli.h"
#include "tests/conformance/random_graph.h"
#include "tests/conformance/random_program.h"

namespace weft {
namespace {

class CliReproducible : public CliTest {
 protected:
  void SetUp() override {
    CliTest::SetUp();
    for (const char* folder : {"1", "4"}) std::filesystem::create_directory(Path(folder));
  }

  static void ExpectEqual(const std::string& a, const std::string& b, const std::string& what) {
    EXPECT_EQ(a.size(), b.size()) << what;
    const auto place = std::mismatch(a.begin(), a.end(), b.begin(), b.end());
    EXPECT_TRUE(a == b) << what << " differs from byte " << place.first - a.begin() << " on";
  }

  // Compiles it by a process with one thread and by one with four.
  void ExpectSameBytes(const std::string& model, const std::string& kind,
                       const std::string& options = "") const {
    for (const char* threads : {"1", "4"}) {
      Ok("compile " + model + " --emit " + kind + " --threads " + threads + " " + options + " -o " +
         Path(threads) + "/model");
    }
    ExpectEqual(ReadFile(Path("1/model")), ReadFile(Path("4/model")), model + " as " + kind);
    if (kind != "object") return;
    ExpectEqual(ReadFile(Path("1/model.h")), ReadFile(Path("4/model.h")), model + "'s header");
  }

  std::string Save(const Graph& graph, const std::string& name) const {
    const absl::Status status = graph.Save(Path(name));
    EXPECT_TRUE(status.ok()) << status;
    return Path(name);
  }
};

TEST_F(CliReproducible, Digits) {
  for (const char* name : {"a.weft", "b.weft"}) {
    ASSERT_EQ(Run("tools/examples/digits " + Path(name)).code, 0);
  }
  const std::string model = Path("a.weft");
  ExpectEqual(ReadFile(model), ReadFile(Path("b.weft")), "the graph file");
  ExpectSameBytes(model, "package", "--target cpu:x86-64-v3,x86-64-v4 --target cuda:sm_80");
  for (const char* kind : {"object", "executable"}) {
    ExpectSameBytes(model, kind, "--signature predict --target cpu:x86-64-v4");
  }
}

TEST_F(CliReproducible, TransformerThatTrains) {
  Graph graph("transformer");
  Layers layers(graph, /*seed=*/1);
  const Tensor text = graph.Input("x", DataType::kI32, {"batch", 16}),
               next = graph.Input("y", DataType::kI32, {"batch", 16});
  Tensor x = layers.Embedding("characters", text, 31, 24);
  for (const char* name : {"first", "second"}) {
    const ScopeGuard scope = graph.Recompute(name);
    const Tensor h = layers.LayerNorm("norm", x);
    x = x + layers.MultiHeadAttention("attention", h, h, 3, {.causal = true});
    x = x + layers.Dropout(Gelu(layers.Dense("wide", x, 24)), 0.1);
  }
  const Tensor logits = layers.Dense("logits", x, 31);
  const Tensor loss = Mean(SoftmaxCrossEntropy(logits, next));
  AdamW optimizer(graph, {});
  graph.AddSignature("train_step", {{"loss", loss}},
                     JoinTargets(optimizer.Minimize(loss), layers.Updates()));
  graph.AddSignature("predict", {{"probabilities", Softmax(logits)}});
  const std::string model = Save(graph, "transformer.weft");
  ExpectSameBytes(model, "package", "--target cpu:x86-64-v3");
  for (const char* kind : {"object", "executable"}) {
    ExpectSameBytes(model, kind, "--signature predict --target cpu:x86-64-v4");
  }
}

TEST_F(CliReproducible, LoopsBranchesAndTheirGradients) {
  for (const uint64_t seed : {1, 2, 3}) {
    ExpectSameBytes(
        Save(MakeRandomProgram(seed, 80, seed == 2).graph, "p" + std::to_string(seed) + ".weft"),
        "package");
  }
  ExpectSameBytes(Save(MakeRandomGraph(5, 80, true).graph, "random.weft"), "package");
  Graph graph("loop");
  const Tensor x = graph.Input("x", DataType::kF32, {"n", 7}),
               w = graph.Input("w", DataType::kF32, {7, 7});
  using Values = std::vector<Tensor>;
  const auto step = [&](const Values& v) {
    const auto wider = [&] { return Values{Tanh(MatMul(v[1], w))}; };
    const auto narrower = [&] { return Values{v[1] * 0.5}; };
    return Values{v[0] + 1.0, Cond(Less(ReduceSum(v[1], {0, 1}), 3.0), wider, narrower)[0] + x};
  };
  const Tensor zero = graph.Constant(HostTensor::Scalar<int64_t>(0));
  const Tensor y = While({zero, x}, [](const Values& v) { return Less(v[0], 5.0); }, step, 6)[1];
  const Values gradients = Gradients(y, {x, w});
  graph.AddSignature("run", {{"y", y}, {"dx", gradients[0]}, {"dw", gradients[1]}});
  ASSERT_TRUE(graph.status().ok()) << graph.status();
  const std::string model = Save(graph, "loop.weft");
  for (const char* kind : {"package", "object", "executable"}) ExpectSameBytes(model, kind);
}

}  // namespace
}  // namespace weft
