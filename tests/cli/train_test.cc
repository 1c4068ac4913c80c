// weft train: what it goes on with, what it leaves behind, and data that is not what it should be.
#include <gmock/gmock.h>

#include <cstring>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "proto/npy.h"
#include "proto/safetensors.h"
#include "tests/cli/cli.h"

namespace weft {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kCars[] = "tools/examples/data/auto_mpg.csv";

using CliTraining = CliTest;

// x around `at`, y = 2 (x[0] - at) + 1.
void WriteShifted(const std::string& path, float at) {
  constexpr int64_t kRows = 200;
  std::vector<float> x, y;
  for (int64_t i = 0; i < kRows; ++i) {
    for (int64_t j = 0; j < 3; ++j) {
      const auto noise = static_cast<float>((i * (7 + 6 * j) + j) % 101) / 50 - 1;
      if (j == 0) y.push_back(2 * noise + 1);
      x.push_back(at + noise);
    }
  }
  const auto npz = WriteNpz(
      {{"x", HostTensor::Of<float>({kRows, 3}, x)}, {"y", HostTensor::Of<float>({kRows, 1}, y)}});
  ASSERT_TRUE(npz.ok());
  WriteFile(path, *npz);
}

// The model beside the checkpoints is the one that is trained, whatever the data is by now: it
// holds how x is normalised.
TEST_F(CliTraining, TrainingGoesOnWithTheModelThatIsThere) {
  WriteShifted(Path("first.npz"), 0);
  WriteShifted(Path("then.npz"), 100);
  const std::string train =
      "train mlp --hidden 16 --batch 16 --checkpoint " + Path("run") + " --data ";
  Ok(train + Path("first.npz") + " --epochs 5");
  const std::string model = ReadFile(Path("run/model.weft"));
  const auto json = nlohmann::json::parse(Ok(
      train + Path("then.npz") + " --json --epochs 10 --resume --save-validation " + Path("rows")));
  EXPECT_EQ(ReadFile(Path("run/model.weft")), model);
  // What it says of rows is what training said of them.
  const auto mae = [&](const std::string& checkpoint) {
    Ok("run " + Path("run/model.weft") + " --checkpoint " + Path("run/") + checkpoint +
       " --signature eval_step --feed x=" + Path("rows/x.npy") + " --feed y=" + Path("rows/y.npy") +
       " --fetch mae --out " + Path("mae.npy"));
    return LoadNpy(Path("mae.npy"))->values<float>()[0];
  };
  const double last = json["history"].back()["validation"]["mae"];
  EXPECT_NEAR(mae("last.safetensors"), last, 1e-4 * std::abs(last));
  // More classes than the model knows.
  for (const int classes : {2, 3}) {
    std::vector<float> x(60);
    std::vector<int32_t> y(60);
    for (int i = 0; i < 60; ++i) x[i] = static_cast<float>(y[i] = i % classes);
    WriteFile(Path(std::to_string(classes) + ".npz"),
              *WriteNpz({{"x", HostTensor::Of<float>({60, 1}, x)},
                         {"y", HostTensor::Of<int32_t>({60}, y)}}));
  }
  const std::string classify = "train mlp --hidden 4 --checkpoint " + Path("classes") + " --data ";
  Ok(classify + Path("2.npz") + " --epochs 1");
  EXPECT_THAT(Fails(3, classify + Path("3.npz") + " --epochs 2 --resume"),
              HasSubstr("which knows 2 classes: expected y below that, got 2"));
}

// A run that dies between model.weft and last.safetensors leaves the model of one run beside the
// weights of another, whose variables fit.
TEST_F(CliTraining, TellsCheckpointsOfAnotherGraph) {
  for (const char* run : {"a", "b"}) {
    WriteShifted(Path(std::string(run) + ".npz"), *run == 'a' ? 0 : 100);
    Ok("train mlp --hidden 4 --epochs 1 --checkpoint " + Path(run) + " --data " + Path(run) +
       ".npz");
  }
  constexpr char kNote[] = "last.safetensors is a checkpoint of another graph than ";
  const auto says = [&](const std::string& command, const ::testing::Matcher<std::string>& what) {
    const Ended ended = Weft(command);
    EXPECT_EQ(ended.code, 0) << command << ended.err;
    EXPECT_THAT(ended.err, what) << command;
  };
  const std::string model = Path("a/model.weft");
  WriteFile(Path("x.npy"), WriteNpy(HostTensor::Of<float>({1, 3}, {1, 2, 3})));
  for (const char* run : {"a", "b"}) {
    const std::string checkpoint = " --checkpoint " + Path(run) + "/last.safetensors";
    const ::testing::Matcher<std::string> note =
        *run == 'a' ? ::testing::Matcher<std::string>(Not(HasSubstr("another graph")))
                    : ::testing::Matcher<std::string>(HasSubstr(kNote + model));
    says("run " + model + checkpoint + " --signature predict --feed x=" + Path("x.npy"), note);
    says("compile " + model + checkpoint + " --freeze --signature predict --emit mlir -o " +
             Path("a.mlir"),
         note);
  }
  // Weights from elsewhere say nothing of a graph.
  const std::string bytes = ReadFile(Path("b/last.safetensors"));
  const auto tensors = ReadSafetensors(bytes, nullptr);
  ASSERT_TRUE(tensors.ok()) << tensors.status();
  WriteFile(Path("plain.safetensors"), WriteSafetensors(tensors->tensors));
  says("run " + model + " --checkpoint " + Path("plain.safetensors") +
           " --signature predict --feed x=" + Path("x.npy"),
       Not(HasSubstr("another graph")));
  // To go on with a run takes its own model.
  fs::copy_file(Path("b/model.weft"), model, fs::copy_options::overwrite_existing);
  EXPECT_THAT(Fails(3, "train mlp --hidden 4 --epochs 2 --resume --checkpoint " + Path("a") +
                           " --data " + Path("a.npz")),
              HasSubstr("the model is not the one that"));
}

// Ends a training of many epochs by Ctrl-C, once its first is done.
class CliInterrupted : public CliTraining {
 protected:
  // Returns what it said.
  std::string Interrupt(const std::string& train) const {
    const std::string log = Path("log");
    fs::remove(log);  // of an earlier run
    const Ended ended = Run("{ env --default-signal=INT tools/weft " + train +
                            " --epochs 1000000 2> " + log + " & until grep -q '^epoch 1/' " + log +
                            "; do kill -0 $! || break; sleep 0.05; done; kill -INT $!; wait $!; }");
    const std::string said = ReadFile(log);
    EXPECT_EQ(ended.code, 130) << said;
    EXPECT_THAT(said, AllOf(HasSubstr("weft: interrupted in epoch"),
                            HasSubstr("last.safetensors, and --resume goes on")));
    return said;
  }
  nlohmann::json History(const std::string& folder) const {
    return nlohmann::json::parse(ReadFile(Path(folder + "/history.json")));
  }
};

constexpr char kSmall[] =
    "train mlp --data tools/examples/data/auto_mpg.csv --target mpg --hidden 8 --batch 8 --seed 3 "
    "--learning-rate 0.0001 --dropout 0.25 --checkpoint ";

TEST_F(CliInterrupted, LosesNothing) {
  const std::string train = kSmall + Path("run");
  Interrupt(train);
  const auto history = History("run");
  ASSERT_GT(history.size(), 0u);
  const auto json = nlohmann::json::parse(
      Ok(train + " --json --resume --epochs " + std::to_string(history.size() + 1)));
  EXPECT_EQ(json["history"].size(), history.size() + 1);
  EXPECT_LE(json["steps"], 40);
}

// Whatever an earlier run left is whole until the first checkpoint.
TEST_F(CliInterrupted, AnEarlierRunOutlivesOneThatDies) {
  Ok(kSmall + Path("run") + " --epochs 1");
  const char* const files[] = {"run/model.weft", "run/last.safetensors", "run/best.safetensors",
                               "run/history.json"};
  std::vector<std::string> before;
  for (const char* file : files) before.push_back(ReadFile(Path(file)));
  const std::string log = Path("log");
  Run("{ tools/weft " + std::string(kSmall) + Path("run") + " --hidden 12 -o " + Path("new.weft") +
      " --checkpoint-every 1e6 --epochs 1000000 2> " + log + " & until grep -q 'epoch 1/' " + log +
      "; do kill -0 $! || break; sleep 0.05; done; kill -KILL $!; wait $!; }");
  ASSERT_THAT(ReadFile(log), HasSubstr("epoch 1/"));
  for (size_t i = 0; i < before.size(); ++i) EXPECT_EQ(ReadFile(Path(files[i])), before[i]);
  EXPECT_FALSE(fs::exists(Path("new.weft")));
  Ok(kSmall + Path("run") + " --epochs 2 --resume");
}

// With rows in another order each epoch, units dropped at random, and a rate that falls.
TEST_F(CliInterrupted, GoesOnBitForBit) {
  Interrupt(kSmall + Path("first"));
  const std::string train = "train " + Path("first/model.weft") + " --data " + kCars +
                            " --target mpg --batch 8 --seed 3 --checkpoint ";
  const std::string said = Interrupt(train + Path("halved"));
  const std::string epochs = " --epochs " + std::to_string(History("halved").size() + 2);
  Ok(train + Path("halved") + epochs + " --resume");
  Ok(train + Path("whole") + epochs);
  EXPECT_EQ(History("halved"), History("whole")) << said;
  for (const char* file : {"/last.safetensors", "/best.safetensors"}) {
    const std::string halved = ReadFile(Path("halved") + file);
    const std::string whole = ReadFile(Path("whole") + file);
    const auto tensors = ReadSafetensors(halved, nullptr),
               expected = ReadSafetensors(whole, nullptr);
    ASSERT_TRUE(tensors.ok() && expected.ok()) << tensors.status() << expected.status();
    ASSERT_GT(expected->tensors.size(), 4u);
    ASSERT_EQ(tensors->tensors.size(), expected->tensors.size());
    for (const auto& [name, tensor] : expected->tensors) {
      ASSERT_TRUE(tensors->tensors.count(name)) << name;
      const HostTensor& got = tensors->tensors.at(name);
      ASSERT_EQ(got.TypeString(), tensor.TypeString()) << name;
      EXPECT_EQ(std::memcmp(got.data(), tensor.data(), tensor.size_bytes()), 0)
          << file << " " << name << said;
    }
  }
}

// Nested without end, they would take as much stack.
TEST_F(CliTraining, OptionsOfACheckpointMayBeAnything) {
  const std::string train = kSmall + Path("run");
  Ok(train + " --epochs 1");
  const std::string bytes = ReadFile(Path("run/last.safetensors"));
  auto last = ReadSafetensors(bytes, nullptr);
  ASSERT_TRUE(last.ok()) << last.status();
  const std::string deep = std::string(1 << 20, '[') + std::string(1 << 20, ']');
  for (const std::string& options :
       {"{\"--hidden\": " + deep + "}", deep, std::string(R"({"--hidden": [[8]]})"),
        std::string(R"({"--hidden": {"units": 8}})"), std::string("no JSON")}) {
    last->metadata["options"] = options;
    WriteFile(Path("run/last.safetensors"), WriteSafetensors(last->tensors, last->metadata));
    EXPECT_THAT(Fails(3, train + " --epochs 2 --resume"), HasSubstr("as options of the model"))
        << options.substr(0, 40);
  }
}

TEST_F(CliTraining, TrainingThatFailsLeavesNothing) {
  const std::string folders = " --checkpoint " + Path("run/deep") + " --save-validation " +
                              Path("rows") + " --save-test " + Path("tests") + " --test 0.1 ";
  const std::string mlp = "train mlp" + folders + "--data ";
  EXPECT_THAT(Fails(3, mlp + Path("none.csv")), HasSubstr("none.csv"));
  EXPECT_THAT(Fails(2, mlp + kCars + " --target mgp"), HasSubstr("did you mean 'mpg'?"));
  EXPECT_THAT(Fails(3, mlp + kCars + " --resume"), HasSubstr("last.safetensors"));
  Ok("train mlp --hidden 4 --epochs 1 --target mpg --data " + std::string(kCars) + " -o " +
     Path("cars.weft"));
  WriteShifted(Path("other.npz"), 0);
  Fails(3, "train " + Path("cars.weft") + folders + "--data " + Path("other.npz"));
  EXPECT_THAT(Files(), ElementsAre("cars.weft", "other.npz"));
  // All of them are made where there is something to put into them.
  Ok(mlp + kCars + " --target mpg --epochs 1 --report " + Path("tests/report.html") + " -o " +
     Path("rows/model.weft"));
  for (const char* file : {"run/deep/model.weft", "run/deep/last.safetensors", "rows/model.weft",
                           "rows/x.npy", "tests/y.npy", "tests/report.html"}) {
    EXPECT_TRUE(fs::exists(Path(file))) << file;
  }
  EXPECT_THAT(Fails(1, "train mlp --data x.csv --checkpoint " + Path("cars.weft/run")),
              HasSubstr("cars.weft is a file, not a folder"));
}

// A model that trains on x f32[batch, 2] and learns nothing.
constexpr char kSum[] = R"(
  versions { producer: 1 min_consumer: 1 }
  name: "sum"
  nodes { name: "one" op: "constant" op_version: 1
          attrs { name: "value" value { tensor { dtype: F32 raw: "\000\000\200\077" } } } }
  variables { name: "w" dtype: F32 shape { } initializer: "one" trainable: true }
  nodes { name: "x" op: "input" op_version: 1
          attrs { name: "dtype" value { dtype: F32 } }
          attrs { name: "name" value { s: "x" } }
          attrs { name: "shape" value { shape { dims { expr: "batch" } dims { size: 2 } } } } }
  nodes { name: "loss" op: "reduce_sum" op_version: 1 inputs: "x"
          attrs { name: "axes" value { ints { values: 0 values: 1 } } }
          attrs { name: "keep_dims" value { b: false } } }
  signatures { name: "train_step" inputs: "x" outputs { name: "loss" value: "loss" } }
)";

// The model with an eval_step or a predict that adds up z, of so many rows of two numbers.
std::string SumOf(const std::string& signature, const std::string& rows) {
  return std::string(kSum) + R"(
  nodes { name: "z" op: "input" op_version: 1
          attrs { name: "dtype" value { dtype: F32 } }
          attrs { name: "name" value { s: "z" } }
          attrs { name: "shape" value { shape { dims { )" +
         rows + R"( } dims { size: 2 } } } } }
  nodes { name: "sum" op: "reduce_sum" op_version: 1 inputs: "z"
          attrs { name: "axes" value { ints { values: 0 values: 1 } } }
          attrs { name: "keep_dims" value { b: false } } }
  signatures { name: ")" +
         signature + R"(" inputs: "z" outputs { name: "loss" value: "sum" } }
)";
}

// Arrays x and z of rows of two numbers, and y of one.
void WriteRows(const std::string& path, int64_t rows, int64_t columns_of_z = 2) {
  const std::vector<float> zeros(rows * 3);
  const auto of = [&](int64_t columns) {
    const std::vector<float> values(zeros.begin(), zeros.begin() + rows * columns);
    return HostTensor::Of<float>({rows, columns}, values);
  };
  WriteFile(path, *WriteNpz({{"x", of(2)}, {"z", of(columns_of_z)}, {"y", of(1)}}));
}

// What judges the model at the end is known to fit before hours of training.
TEST_F(CliTraining, WhatJudgesTheModelIsCheckedFirst) {
  WriteRows(Path("data.npz"), 40);
  WriteRows(Path("wide.npz"), 40, 3);
  WriteRows(Path("few.npz"), 7);
  const auto train = [&](const std::string& model, const std::string& test) {
    WriteFile(Path("model.textproto"), model);
    const std::string said =
        Fails(3, "train " + Path("model.textproto") + " --validation 0 --checkpoint " +
                     Path("run") + " --data " + Path("data.npz") + test);
    EXPECT_THAT(said, HasSubstr("model.textproto: "));
    EXPECT_THAT(said, Not(HasSubstr("epoch")));
    EXPECT_FALSE(fs::exists(Path("run")));
    return said;
  };
  const std::string open = SumOf("eval_step", "expr: 'batch'");
  EXPECT_THAT(train(open, " --test-data " + Path("wide.npz")),
              HasSubstr("wide.npz: input 'z' wants rows of [2], but a row of the data is [3]"));
  EXPECT_THAT(train(open, " --validation-data " + Path("wide.npz")),
              HasSubstr("wide.npz: input 'z' wants rows of [2]"));
  EXPECT_THAT(train(SumOf("eval_step", "size: 8"), " --test-data " + Path("few.npz")),
              HasSubstr("few.npz: the model takes batches of 8 rows, but there are only 7"));
  EXPECT_THAT(train(SumOf("eval_step", "size: 0"), " --test 0.1"),
              HasSubstr("input 'z' of eval_step is f32[0, 2], which takes no rows of data"));
  // A report is about what predict says.
  WriteFile(Path("model.textproto"), open);
  const std::string both = SumOf("eval_step", "expr: 'batch'") + R"(
  nodes { name: "u" op: "input" op_version: 1
          attrs { name: "dtype" value { dtype: F32 } }
          attrs { name: "name" value { s: "u" } }
          attrs { name: "shape" value { shape { dims { expr: "batch" } } } } }
  signatures { name: "predict" inputs: "u" outputs { name: "u" value: "u" } }
)";
  EXPECT_THAT(train(both, " --test 0.1 --report " + Path("report.html")),
              HasSubstr("the model wants an input 'u', which the data does not have"));
}

// What judges the model at the end is compiled before hours of training as well: here an eval_step
// and a predict whose `big` no machine holds.
TEST_F(CliTraining, WhatJudgesTheModelIsCompiledFirst) {
  WriteRows(Path("data.npz"), 40);
  const std::string big = R"(
  nodes { name: "big" op: "iota" op_version: 1
          attrs { name: "shape" value { shape { dims { expr: "batch*20000000000000" } } } }
          attrs { name: "axis" value { i: 0 } } attrs { name: "dtype" value { dtype: F32 } } }
)";
  const std::string outputs =
      R"(inputs: "x" outputs { name: "loss" value: "loss" } outputs { name: "big" value: "big" } })";
  WriteFile(Path("eval.textproto"), kSum + big + R"(signatures { name: "eval_step" )" + outputs);
  WriteFile(Path("predict.textproto"), SumOf("eval_step", "expr: 'batch'") + big +
                                           R"(signatures { name: "predict" )" + outputs);
  for (const auto& [model, judged] :
       {std::pair("eval.textproto", std::string()),
        std::pair("predict.textproto", " --report " + Path("report.html"))}) {
    const std::string train =
        "train " + Path(model) + " --validation 0 --epochs 1 --data " + Path("data.npz") + judged;
    const std::string said = Fails(1, train + " --test 0.1 --checkpoint " + Path("run"));
    EXPECT_THAT(said, AllOf(HasSubstr("at most 2^48 bytes"), Not(HasSubstr("epoch"))));
    EXPECT_FALSE(fs::exists(Path("run")));
    EXPECT_EQ(
        Weft("train " + Path(model) + " --validation 0 --epochs 1 --data " + Path("data.npz")).code,
        0);
  }
}

// Rows of a size that is another one for each batch are none, and have no place in a report.
TEST_F(CliTraining, PredictionsWithoutRowsOfOneSize) {
  WriteRows(Path("data.npz"), 1031);  // a prime: batches of two sizes
  WriteFile(Path("model.textproto"), SumOf("eval_step", "expr: 'batch'") + R"(
  nodes { name: "p" op: "iota" op_version: 1
          attrs { name: "shape" value { shape { dims { expr: "batch" }
                                                dims { expr: 'max(513 - batch, 1)' } } } }
          attrs { name: "axis" value { i: 0 } }
          attrs { name: "dtype" value { dtype: F32 } } }
  signatures { name: "predict" inputs: "x" outputs { name: "p" value: "p" } }
)");
  const Ended ended =
      Weft("train " + Path("model.textproto") + " --epochs 1 --data " + Path("data.npz") +
           " --test-data " + Path("data.npz") + " --validation 0 --report " + Path("report.html"));
  EXPECT_EQ(ended.code, 0) << ended.err;
  EXPECT_THAT(ended.err,
              AllOf(HasSubstr("output 'p' of predict is left out"), HasSubstr("f32[batch, max(")));
  EXPECT_TRUE(fs::exists(Path("report.html")));
}

TEST_F(CliTraining, WritesNoFileTwice) {
  const std::string train = "train mlp --epochs 1 --target mpg --data " + std::string(kCars) +
                            " --test 0.1 --checkpoint " + Path("run") + " ";
  EXPECT_THAT(
      Fails(2, train + "--save-test " + Path("rows/") + " --save-validation " + Path("./rows")),
      HasSubstr("both write into"));
  for (const char* file :
       {"run/last.safetensors", "run/best.safetensors", "run/./history.json", "run/model.weft"}) {
    for (const char* option : {"-o ", "--report "}) {
      EXPECT_THAT(Fails(2, train + option + Path(file)),
                  HasSubstr("is a file that --checkpoint writes"));
    }
  }
  EXPECT_THAT(Fails(2, train + "--save-test " + Path("rows") + " --report " + Path("rows/x.npy")),
              HasSubstr("could be a file that --save-test writes"));
  EXPECT_THAT(Fails(2, train + "-o " + Path("run/a") + " --report " + Path("./run/a")),
              HasSubstr("-o and --report both write"));
  EXPECT_THAT(Files(), ElementsAre());
  // A folder may hold several kinds.
  Ok(train + "--save-test " + Path("run") + " --report " + Path("run/report.html"));
}

// Labels that are no classes have no place in a report.
TEST_F(CliTraining, ReportsOfLabelsBelowZero) {
  std::vector<float> x(60);
  std::vector<int32_t> y(60);
  for (int i = 0; i < 60; ++i) x[i] = static_cast<float>(y[i] = i % 3);
  const auto write = [&](const char* name) {
    WriteFile(Path(name), *WriteNpz({{"x", HostTensor::Of<float>({60, 1}, x)},
                                     {"y", HostTensor::Of<int32_t>({60}, y)}}));
  };
  write("data.npz");
  for (int i = 0; i < 60; i += 2) y[i] = -100000;
  write("test.npz");
  const Ended ended = Weft("train mlp --epochs 1 --data " + Path("data.npz") + " --test-data " +
                           Path("test.npz") + " --report " + Path("report.html"));
  EXPECT_EQ(ended.code, 0) << ended.err;
  EXPECT_THAT(ended.err, HasSubstr("the report leaves out 30 of the rows, which have no class"));
  EXPECT_THAT(ReadFile(Path("report.html")), HasSubstr("30 of them left out"));
}

}  // namespace
}  // namespace weft
