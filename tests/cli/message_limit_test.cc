// Commands on a graph whose constants no message has room for, as those above 2 GiB.
#include <gmock/gmock.h>

#include <string>
#include <vector>

#include "graph/graph.h"
#include "graph/layers/layers.h"
#include "graph/losses/losses.h"
#include "graph/optimizers/optimizers.h"
#include "proto/npy.h"
#include "tests/cli/cli.h"

namespace weft {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr int64_t kWidth = 256;

HostTensor Ramp(const std::vector<int64_t>& shape) {
  HostTensor tensor = *HostTensor::Create(DataType::kF32, shape);
  int at = 0;
  for (float& value : tensor.mutable_values<float>()) {
    value = static_cast<float>(at++ % 97) / 97 - 0.5f;
  }
  return tensor;
}

class MessageLimit : public CliTest {
 protected:
  void SetUp() override {
    CliTest::SetUp();
    Graph graph("table");
    Layers layers(graph);
    Tensor x = graph.Input("x", DataType::kF32, {"batch", kWidth});
    Tensor y = graph.Input("y", DataType::kI32, {"batch"});
    Tensor table = graph.Constant(Ramp({kWidth, 2 * kWidth}));
    Tensor logits = layers.Dense("logits", MatMul(x, table), 3);
    Tensor loss = Mean(SoftmaxCrossEntropy(logits, y));
    graph.AddSignature("train_step", {{"loss", loss}}, Sgd(graph).Minimize(loss));
    graph.AddSignature("eval_step", {{"loss", loss}});
    graph.AddSignature("predict", {{"logits", logits}});
    ASSERT_TRUE(graph.Save(model_ = Path("model.weft")).ok()) << graph.status();
    const auto data = WriteNpz({{"x", Ramp({60, kWidth})},
                                {"y", HostTensor::Of<int32_t>({60}, std::vector<int32_t>(60, 1))}});
    ASSERT_TRUE(data.ok()) << data.status();
    WriteFile(Path("data.npz"), *data);
    ASSERT_TRUE(SaveNpy(Path("x.npy"), Ramp({5, kWidth})).ok());
  }

  Ended Limited(const std::string& arguments) const {
    return Run("tests/cli/weft-with-small-messages " + arguments);
  }
  std::string OkLimited(const std::string& arguments) const {
    const Ended ended = Limited(arguments);
    EXPECT_EQ(ended.code, 0) << arguments << "\n" << ended.err;
    EXPECT_THAT(ended.err, Not(HasSubstr("note: "))) << arguments;
    return ended.out;
  }

  std::string model_;
};

// What the limit is for: one text with all of it.
TEST_F(MessageLimit, TextIsRefused) {
  const Ended text = Limited("inspect " + model_ + " --format textproto");
  EXPECT_EQ(text.code, 1);
  EXPECT_THAT(text.err,
              AllOf(HasSubstr("a .weft file keeps apart"), HasSubstr("expected less than 262144")));
}

TEST_F(MessageLimit, IsInspected) {
  EXPECT_THAT(OkLimited("inspect " + model_ + " --size batch=3"),
              AllOf(HasSubstr("signature predict"), HasSubstr("costs at batch=3"),
                    HasSubstr("512 KiB of constants")));
  for (const char* format : {"json", "html", "dot", "mlir"}) {
    EXPECT_EQ(OkLimited("inspect " + model_ + " --format " + format),
              Ok("inspect " + model_ + " --format " + format));
  }
}

TEST_F(MessageLimit, IsDifferentiated) {
  OkLimited("grad " + model_ + " --of eval_step.loss --wrt logits/kernel -o " + Path("g.weft"));
  EXPECT_THAT(OkLimited("inspect " + Path("g.weft")), HasSubstr("d_logits/kernel f32[512, 3]"));
}

TEST_F(MessageLimit, IsCompiledForSizes) {
  const std::string compile = "compile " + model_ + " --signature predict --target cpu:native -o " +
                              Path("p.weftpkg") + " --specialize ";
  const Ended wrong = Limited(compile + "btach=4");
  EXPECT_EQ(wrong.code, 2);
  EXPECT_THAT(wrong.err, HasSubstr("did you mean 'batch'?"));
  OkLimited(compile + "batch=1,4");
  EXPECT_THAT(OkLimited("inspect " + Path("p.weftpkg")), HasSubstr("for {\"batch\":4}"));
}

// A checkpoint is known as one of this graph, whatever the limit.
TEST_F(MessageLimit, IsTrained) {
  const std::string train = "train " + model_ + " --data " + Path("data.npz") +
                            " --batch 8 --checkpoint " + Path("run") + " --epochs ";
  OkLimited(train + "1");
  OkLimited(train + "2 --resume");
  const std::string run = "run " + model_ + " --checkpoint " + Path("run/last.safetensors") +
                          " --signature predict --feed x=" + Path("x.npy");
  EXPECT_THAT(OkLimited(run), HasSubstr("logits f32[5, 3]"));
  const Ended whole = Weft(run);
  EXPECT_EQ(whole.code, 0) << whole.err;
  EXPECT_THAT(whole.err, Not(HasSubstr("note: ")));
}

}  // namespace
}  // namespace weft
