// --device of weft train, verify and bench, on the emulated GPU, as weft run has it (run_test,
// gpu_test): the same numbers as here, and the same words where a device cannot be had. And
// --matmul-precision, which is for GPUs.
#include <gmock/gmock.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "proto/npy.h"
#include "proto/safetensors.h"
#include "tests/cli/cli.h"

namespace weft {
namespace {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kEmulator[] = " --device emulator:sm_80";

class CliDevice : public CliTest {
 protected:
  // Rows with a line through them.
  void SetUp() override {
    CliTest::SetUp();
    constexpr int64_t kRows = 48;
    std::vector<float> x, y;
    for (int64_t i = 0; i < kRows; ++i) {
      for (int64_t j = 0; j < 3; ++j) {
        x.push_back(static_cast<float>((i * (7 + 6 * j) + j) % 101) / 50 - 1);
      }
      y.push_back(2 * x[static_cast<size_t>(3 * i)] + 1);
    }
    const auto npz = WriteNpz(
        {{"x", HostTensor::Of<float>({kRows, 3}, x)}, {"y", HostTensor::Of<float>({kRows, 1}, y)}});
    ASSERT_TRUE(npz.ok());
    WriteFile(Path("data.npz"), *npz);
    train_ = "train mlp --hidden 5 --batch 16 --threads 1 --json --data " + Path("data.npz");
  }

  std::string train_;
};

// Also when one device takes up what another began.
TEST_F(CliDevice, Trains) {
  const auto losses = [&](const std::string& folder, const std::string& first,
                          const std::string& second) {
    const std::string train = train_ + " --checkpoint " + Path(folder);
    Ok(train + " --epochs 1" + first);
    const auto json = nlohmann::json::parse(Ok(train + " --epochs 2 --resume" + second));
    std::vector<double> all;
    for (const auto& epoch : json["history"]) {
      for (const char* rows : {"training", "validation"}) all.push_back(epoch[rows]["loss"]);
    }
    EXPECT_EQ(all.size(), 4u);
    return all;
  };
  const std::vector<double> here = losses("here", "", ""), there = losses("there", kEmulator, ""),
                            taken_up = losses("taken_up", "", kEmulator);
  ASSERT_EQ(there.size(), here.size());
  ASSERT_EQ(taken_up.size(), here.size());
  for (size_t i = 0; i < here.size(); ++i) {
    // A few steps of sums of some dozens of products.
    EXPECT_NEAR(there[i], here[i], 1e-5 * here[i]) << i;
    EXPECT_NEAR(taken_up[i], here[i], 1e-5 * here[i]) << i;
  }
}

TEST_F(CliDevice, VerifiesAndMeasures) {
  Ok(train_ + " --epochs 1 --checkpoint " + Path("run") + " --save-validation " + Path("rows"));
  const std::string model = Path("run/model.weft"),
                    checkpoint = " --checkpoint " + Path("run/last.safetensors"),
                    inputs = " --inputs x=" + Path("rows/x.npy");
  Ok("run " + model + checkpoint + " --feed x=" + Path("rows/x.npy") + " --out " + Path("y.npy"));
  const std::string verify =
      "verify " + model + checkpoint + inputs + " --expected y=" + Path("y.npy") + kEmulator;
  EXPECT_THAT(Ok(verify), HasSubstr("y: agrees: largest difference"));
  const auto y = LoadNpy(Path("y.npy"));
  ASSERT_TRUE(y.ok()) << y.status();
  HostTensor other = y->Clone();
  other.mutable_values<float>()[1] += 1;
  ASSERT_TRUE(SaveNpy(Path("y.npy"), other).ok());
  EXPECT_EQ(Weft(verify).code, 1);
  // A package checks itself there, if it has code for it.
  const std::string compile = "compile " + model + checkpoint +
                              " --signature predict --golden x=" + Path("rows/x.npy") + " -o " +
                              Path("model.weftpkg");
  Ok(compile + " --target cpu:x86-64-v3,cuda:sm_80");
  EXPECT_THAT(Ok("verify " + Path("model.weftpkg") + kEmulator), HasSubstr("y: agrees"));
  Ok(compile);
  EXPECT_THAT(Fails(3, "verify " + Path("model.weftpkg") + kEmulator),
              HasSubstr("no code for the emulator"));

  const std::string bench = "bench " + model + checkpoint + " --seconds 0.01 --size batch=3";
  const auto json = nlohmann::json::parse(Ok(bench + kEmulator + " --json"));
  EXPECT_EQ(json["device"], "emulator:sm_80");
  EXPECT_GT(json["median_ms"], 0);
  EXPECT_GT(json["gflops"], 0);
  EXPECT_TRUE(json["peak_gflops"].is_null() && json["peak_gbs"].is_null()) << json;
  EXPECT_THAT(Ok(bench + kEmulator),
              AllOf(HasSubstr("predict, emulator:sm_80, "),
                    ContainsRegex("rate      [0-9.]+ GFLOP/s, [0-9.]+ GB/s\n")));
  EXPECT_THAT(Ok(bench + " --device cpu --threads 1"),
              AllOf(HasSubstr("predict, 1 thread, "), ContainsRegex("GFLOP/s of [0-9]+ \\(")));
}

TEST_F(CliDevice, MatmulPrecision) {
  const std::string tf32 = " --matmul-precision tf32";
  const auto trained = nlohmann::json::parse(Ok(train_ + " --epochs 1 --checkpoint " + Path("run") +
                                                " --save-validation " + Path("rows")));
  const std::string model = Path("run/model.weft"),
                    checkpoint = " --checkpoint " + Path("run/last.safetensors"),
                    x = "x=" + Path("rows/x.npy");
  const auto run = [&](const std::string& options) {
    Ok("run " + model + checkpoint + " --feed " + x + " --out " + Path("y.npy") + options);
    const auto y = LoadNpy(Path("y.npy"));
    EXPECT_TRUE(y.ok()) << y.status();
    const auto values = y->values<float>();
    return std::vector<float>(values.begin(), values.end());
  };
  const std::vector<float> strict = run(kEmulator), fast = run(kEmulator + tf32);
  EXPECT_EQ(run(std::string(kEmulator) + " --matmul-precision f32"), strict);
  EXPECT_NE(fast, strict);
  ASSERT_EQ(fast.size(), strict.size());
  // Two layers of sums of a few products near 1.
  for (size_t i = 0; i < fast.size(); ++i) EXPECT_NEAR(fast[i], strict[i], 0.02);
  // y.npy is of f32.
  const std::string against =
      "verify " + model + checkpoint + " --inputs " + x + " --expected y=" + Path("y.npy") + tf32;
  const std::string verify = against + kEmulator;
  EXPECT_EQ(Weft(verify).code, 1);
  EXPECT_THAT(Ok(verify + " --rtol 0 --atol 0.02"), HasSubstr("y: agrees"));
  Ok("bench " + model + checkpoint + " --seconds 0.01 --size batch=3" + kEmulator + tf32);
  // Code for one generation alone is made where that is named.
  EXPECT_THAT(Ok(against + " --device emulator:sm_90a --rtol 0 --atol 0.02"),
              HasSubstr("y: agrees"));
  const auto other = nlohmann::json::parse(Ok(train_ + " --epochs 1" + kEmulator + tf32));
  const double before = trained["history"][0]["training"]["loss"],
               after = other["history"][0]["training"]["loss"];
  EXPECT_NE(after, before);
  EXPECT_NEAR(after, before, 0.02 * before);

  const std::string compile = "compile " + model + " --signature predict -o ";
  EXPECT_THAT(Ok(compile + "- --emit ptx" + tf32), HasSubstr(".tf32.tf32."));
  EXPECT_THAT(Ok(compile + "- --emit ptx"), Not(HasSubstr("tf32")));
  // Also what has none is in the package, which knows what its values for checking are worth.
  Ok(compile + Path("m.weftpkg") + " --target cuda:sm_80,cpu:x86-64-v3 --golden " + x + checkpoint +
     tf32);
  for (const std::string device : {"cpu", "emulator:sm_80"}) {
    EXPECT_THAT(Ok("verify " + Path("m.weftpkg") + " --device " + device), HasSubstr("y: agrees"));
  }
  EXPECT_EQ(Weft("verify " + Path("m.weftpkg") + kEmulator + " --rtol 0 --atol 1e-5").code, 1);
  EXPECT_THAT(Fails(2, "run " + Path("m.weftpkg") + checkpoint + " --feed " + x + tf32),
              AllOf(HasSubstr("expected no --matmul-precision with a package"),
                    HasSubstr("got --matmul-precision tf32")));
  // Nobody is given f32 for it without a word.
  for (const std::string& command :
       {"run " + model + checkpoint + " --feed " + x, train_ + " --epochs 1", "bench " + model,
        "run " + model + checkpoint + " --feed " + x + " --device emulator:sm_70",
        compile + Path("x.weftpkg") + " --target cuda:sm_70,cpu:x86-64-v3"}) {
    EXPECT_THAT(Fails(2, command + tf32), HasSubstr("expected a target that has tf32"));
  }
  EXPECT_THAT(Fails(2, "bench " + model + " --matmul-precision half"),
              HasSubstr("--matmul-precision: expected f32 or tf32, got 'half'"));
}

// Of `run`, one node and the variable are on a GPU.
constexpr char kPlaced[] = R"(
    versions { producer: 1 min_consumer: 1 } name: "g"
    variables {
      name: "v" dtype: F32 shape { dims { size: 3 } } initializer: "one" device: "cuda:0"
    }
    source_files: "model.cc"
    nodes {
      name: "x" op: "input" op_version: 1
      attrs { name: "dtype" value { dtype: F32 } }
      attrs { name: "name" value { s: "x" } }
      attrs { name: "shape" value { shape { dims { expr: "n" } dims { size: 3 } } } }
    }
    nodes {
      name: "one" op: "constant" op_version: 1
      attrs {
        name: "value"
        value { tensor { dtype: 8 shape: 3 raw: "\000\000\200\077" } }
      }
    }
    nodes {
      name: "read" op: "read_variable" op_version: 1
      attrs { name: "variable" value { s: "v" } }
    }
    nodes {
      name: "all" op: "broadcast" op_version: 1 inputs: "read"
      attrs { name: "shape" value { shape { dims { expr: "n" } dims { size: 3 } } } }
    }
    nodes {
      name: "there" op: "add" op_version: 1 inputs: "x" inputs: "all"
      attrs { name: "weft.device" value { s: "cuda:0" } }
      locations { line: 7 }
    }
    nodes { name: "here" op: "neg" op_version: 1 inputs: "there" }
    signatures { name: "run" inputs: "x" outputs { name: "y" value: "here" } }
  )";

// A graph whose nodes name a device runs where that is, or something in its place.
TEST_F(CliDevice, NodesMayBeElsewhere) {
  WriteFile(Path("g.textproto"), kPlaced);
  const std::string graph = Path("g.textproto"), package = Path("g.weftpkg");
  EXPECT_THAT(Ok("inspect " + graph + " --nodes"),
              AllOf(HasSubstr("there = add(x, all)"), HasSubstr(", on cuda:0, model.cc:7"),
                    HasSubstr("v f32[3] on cuda:0")));
  WriteFile(Path("x.npy"), WriteNpy(HostTensor::Of<float>({1, 3}, {1, 2, 3})));
  const std::string run = " --signature run --init --feed x=" + Path("x.npy");
  const std::string here = " --device cpu,cuda:0=cpu", both = " --device cpu,cuda:0=emulator:sm_80";
  const std::string expected = Ok("run " + graph + run + here);
  EXPECT_THAT(expected, HasSubstr("-2, -3, -4"));
  EXPECT_EQ(Ok("run " + graph + run + both), expected);
  EXPECT_EQ(Ok("run " + graph + run + " --device emulator:sm_80,cuda:0=cpu"), expected);
  EXPECT_EQ(Ok("run " + graph + run + " --device emulator:sm_80,cuda:0=emulator:sm_70"), expected);

  EXPECT_THAT(
      Fails(1, "compile " + graph + " -o " + package),
      AllOf(HasSubstr("node 'v' is placed on 'cuda:0'"), HasSubstr("--target cuda:0=cuda:sm_80")));
  Ok("compile " + graph + " -o " + package + " --target cpu:x86-64-v3,cuda:0=cuda:sm_80");
  EXPECT_EQ(Ok("run " + package + run + both), expected);
  EXPECT_THAT(Ok("inspect " + package), HasSubstr("target cpu:x86-64-v3\n  cuda:0: cuda:sm_80"));
  EXPECT_THAT(
      Fails(3, "run " + package + run + here),
      AllOf(HasSubstr("node 'v' is placed on 'cuda:0'"), HasSubstr("no code for the cpu there")));
  Ok("compile " + graph + " -o " + package + " --target cpu:x86-64-v3 --ignore-devices");
  EXPECT_EQ(Ok("run " + package + run), expected);

  WriteFile(Path("libcuda.so.1"), "");
  const std::string none = "LD_LIBRARY_PATH=" + folder_.string() + " tools/weft";
  EXPECT_THAT(
      FailsBy(none, "weft: ", 1, "run " + graph + run),
      AllOf(HasSubstr("'there' (model.cc:7) is placed on 'cuda:0'"),
            HasSubstr("libcuda.so.1 cannot be loaded"), HasSubstr("--device cpu,cuda:0=DEVICE")));
  EXPECT_THAT(Fails(2, "run " + graph + run + " --device cpu,emulator"),
              HasSubstr("expected NAME=DEVICE after the first device"));
  EXPECT_THAT(Fails(2, "run " + graph + run + here + ",cuda:0=emulator"),
              HasSubstr("expected one device for 'cuda:0', got a second one, 'emulator'"));

  // Names that no node has. What has no code for a GPU is on the processor, which has a name then.
  EXPECT_EQ(Ok("run " + graph + run + " --device emulator:sm_80,cuda:0=cpu,cpu=cpu"), expected);
  const auto names = [](const std::string& option, const std::string& there,
                        const std::string& given) {
    return AllOf(HasSubstr(option + ": expected the name of a device that nodes of"),
                 HasSubstr("(" + there + "), got '" + given + "'"));
  };
  EXPECT_THAT(Fails(2, "run " + graph + run + " --device cpu,cuda:1=cpu"),
              names("--device", "cuda:0", "cuda:1"));
  EXPECT_THAT(Fails(2, "run " + graph + run + here + ",cpu=cpu"),
              names("--device", "cuda:0", "cpu"));
  EXPECT_THAT(Fails(2, "run " + package + run + both),
              names("--device", "there is none", "cuda:0"));
  const std::string compile = "compile " + graph + " -o " + package + " --target ";
  EXPECT_THAT(Fails(2, compile + "cpu:x86-64-v3,gpu=cuda:sm_80"),
              names("--target", "cuda:0", "gpu"));
  EXPECT_THAT(Fails(2, compile + "cpu:x86-64-v3,cuda:0=cuda:sm_80,cpu=cpu:x86-64-v4"),
              names("--target", "cuda:0", "cpu"));
  EXPECT_THAT(Fails(2, compile + "cpu:x86-64-v3,cuda:0=cuda:sm_80 --ignore-devices"),
              AllOf(names("--target", "there is none", "cuda:0"), HasSubstr("--ignore-devices")));
  // Each target is told with the devices beside it.
  EXPECT_THAT(Weft(compile + "cuda:sm_80,cpu:x86-64-v3,cuda:0=cuda:sm_80,cpu=cpu:x86-64-v3").err,
              HasSubstr("g.weftpkg: package for cuda:sm_80 (cuda:0=cuda:sm_80), cpu:x86-64-v3 "
                        "(cuda:0=cuda:sm_80), "));
  EXPECT_THAT(Weft("compile " + graph + " -o " + Path("g.mlir") +
                   " --target cpu:x86-64-v3,cuda:0=cuda:sm_80")
                  .err,
              HasSubstr("g.mlir: mlir for cpu:x86-64-v3 (cuda:0=cuda:sm_80), "));
  Ok(compile + "cpu:x86-64-v3,cuda:0=cpu:x86-64-v3");
  EXPECT_EQ(Ok("run " + package + run + here), expected);
  EXPECT_THAT(Fails(2, "run " + package + run + " --device cpu,cuda:1=cpu"),
              names("--device", "cuda:0", "cuda:1"));
  // The small one takes one device, and finds those of the nodes by their names.
  EXPECT_THAT(FailsBy("tools/weft-run", "weft-run: ", 2, package + run + here),
              HasSubstr("device 'cpu,cuda:0=cpu': expected cpu, or cuda:0"));
}

// What a package needs, and values that check it, are known wherever something stands for its
// devices.
TEST_F(CliDevice, PackagesOfPlacedNodesAreLookedIntoAndChecked) {
  WriteFile(Path("g.textproto"), kPlaced);
  WriteFile(Path("x.npy"), WriteNpy(HostTensor::Of<float>({1, 3}, {1, 2, 3})));
  const std::string graph = Path("g.textproto"), package = Path("g.weftpkg");
  const std::string both = " --device cpu,cuda:0=emulator:sm_80", x = "x=" + Path("x.npy");
  const std::string run = " --signature run --init --feed " + x;
  const std::string values = Path("v.safetensors");
  Ok("run " + graph + run + both + " --save-checkpoint " + values);
  const std::string compile = "compile " + graph + " -o " + package + " --checkpoint " + values +
                              " --signature run --golden " + x + " --target ";
  Ok(compile + "cpu:x86-64-v3,cuda:0=cuda:sm_80" + both);
  EXPECT_THAT(Ok("verify " + package + both), HasSubstr("y: agrees"));
  // The certificate of the run.
  const std::string inspect = "inspect --json --signature run --threads 2 " + package;
  const auto memory = nlohmann::json::parse(Ok(inspect + both))["signatures"][0]["memory"];
  const auto bench = nlohmann::json::parse(
      Ok("bench --json --signature run --threads 2 --size n=1 --seconds 0.01 " + package + both));
  EXPECT_EQ(memory["bytes"], bench["certificate_bytes"]);
  EXPECT_GT(memory["bytes"], 0);

  // Where a processor stands for the GPU, nothing is multiplied in tf32, and results have to agree
  // as f32 does: here they are off by the thousandth part.
  const std::string off = Path("off.safetensors");
  WriteFile(off, WriteSafetensors({{"v", HostTensor::Of<float>({3}, {1.003f, 1.003f, 1.003f})}}));
  const std::string processor = " --device cpu,cuda:0=cpu", tf32 = " --matmul-precision tf32";
  Ok(compile + "cpu:x86-64-v3,cuda:sm_80,cuda:0=cpu:x86-64-v3" + processor + tf32);
  EXPECT_THAT(Ok("verify " + package + processor), HasSubstr("y: agrees"));
  EXPECT_EQ(Weft("verify " + package + processor + " --checkpoint " + off).code, 1);
  EXPECT_THAT(Ok("verify " + package + " --device emulator:sm_80,cuda:0=cpu --checkpoint " + off),
              HasSubstr("y: agrees"));
  Ok(compile + "cpu:x86-64-v3,cuda:0=cuda:sm_80" + both + tf32);
  EXPECT_THAT(Ok("verify " + package + both + " --checkpoint " + off), HasSubstr("y: agrees"));
  Ok(compile + "cpu:x86-64-v3,cuda:0=cuda:sm_80" + both);

  WriteFile(Path("libcuda.so.1"), "");
  const std::string none = "LD_LIBRARY_PATH=" + folder_.string() + " tools/weft";
  const auto missing = AllOf(HasSubstr("node 'there' (model.cc:7) is placed on 'cuda:0'"),
                             HasSubstr("libcuda.so.1 cannot be loaded"),
                             HasSubstr("--device cpu,cuda:0=DEVICE puts another one in its place"));
  const Ended ended = Run(none + " inspect " + package);
  EXPECT_EQ(ended.code, 0) << ended.err;
  EXPECT_THAT(ended.out, AllOf(HasSubstr("\nmemory unknown: "), missing));
  EXPECT_THAT(FailsBy(none, "weft: ", 1, compile + "cpu:x86-64-v3,cuda:0=cuda:sm_80"),
              AllOf(HasSubstr("--golden runs the package here"), missing));
  // All of it may be elsewhere.
  Ok(compile + "cuda:sm_80 --device emulator:sm_80,cuda:0=emulator:sm_80");
  EXPECT_THAT(Ok("inspect " + package + " --device emulator:sm_80,cuda:0=emulator:sm_90"),
              AllOf(HasSubstr(" of arena and scratch"), Not(HasSubstr("unknown"))));

  for (const char* command : {"inspect ", "verify "}) {
    EXPECT_THAT(Fails(2, command + package + " --device cpu,cuda:1=cpu"),
                HasSubstr("--device: expected the name of a device that nodes of"));
  }
  EXPECT_THAT(Fails(2, compile + "cpu:x86-64-v3,cuda:0=cuda:sm_80 --device cpu,cuda:1=cpu"),
              HasSubstr("(cuda:0), got 'cuda:1'"));
  EXPECT_THAT(Fails(2, "compile " + graph + " -o " + package + both), HasSubstr("--golden"));
  EXPECT_THAT(Fails(2, "inspect " + graph + both), HasSubstr("--device is for the memory of pack"));
}

// Whatever is asked of a device that is not there, it is refused in the same words.
TEST_F(CliDevice, RefusalsAreTheSame) {
  Ok(train_ + " --epochs 1 --checkpoint " + Path("run") + " --save-validation " + Path("rows"));
  const std::string model = Path("run/model.weft"), x = Path("rows/x.npy");
  const std::vector<std::string> commands = {
      "run " + model + " --init --feed x=" + x, train_ + " --epochs 1",
      "verify " + model + " --inputs x=" + x + " --expected y=" + x, "bench " + model};
  // Whatever driver this machine has, here is one that is none.
  WriteFile(Path("libcuda.so.1"), "");
  const std::string none = "LD_LIBRARY_PATH=" + folder_.string() + " tools/weft";
  const struct {
    const char* device;
    int code;
    const char* says;
  } refusals[] = {{"emulator:sm_42", 2, "device 'emulator:sm_42': expected cpu, cuda:0 and the"},
                  {"gpu", 2, "device 'gpu': expected cpu, cuda:0"},
                  {"cuda:0", 1, "libcuda.so.1 cannot be loaded"}};
  for (const auto& refusal : refusals) {
    std::vector<std::string> messages;
    for (const std::string& command : commands) {
      messages.push_back(
          FailsBy(none, "weft: ", refusal.code, command + " --device " + refusal.device));
      EXPECT_THAT(messages.back(), HasSubstr(refusal.says)) << command;
      EXPECT_EQ(messages.back(), messages.front()) << command;
    }
  }
}

}  // namespace
}  // namespace weft
