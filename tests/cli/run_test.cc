// weft run and weft bench: what they compute, print and measure.
#include <gmock/gmock.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "proto/container.h"
#include "proto/npy.h"
#include "tests/cli/cli.h"

namespace weft {
namespace {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

class CliRun : public CliTest {
 protected:
  void SetUp() override {
    CliTest::SetUp();
    Ok("train mlp --data tools/examples/data/auto_mpg.csv --target mpg --task regression --hidden "
       "8 "
       "--epochs 1 --threads 2 --checkpoint " +
       Path("run") + " --save-validation " + Path("rows"));
    model_ = Path("run/model.weft");
    run_ = "run " + model_ + " --checkpoint " + Path("run/last.safetensors");
    x_ = " --feed x=" + Path("rows/x.npy");
  }

  std::string model_, run_, x_;
};

// Any node may be asked for, alone or with others.
TEST_F(CliRun, FetchesNodes) {
  const std::string nodes = Ok("inspect " + model_ + " --nodes --signature predict");
  ASSERT_THAT(nodes, HasSubstr("\n  normalize/sub = sub(x, normalize/broadcast) : f32[batch, 9]"));
  Ok(run_ + x_ + " --fetch normalize/sub --out " + Path("node.npy"));
  Ok(run_ + x_ + " --fetch normalize/constant --out " + Path("constant.npy"));
  const auto x = LoadNpy(Path("rows/x.npy")), node = LoadNpy(Path("node.npy")),
             mean = LoadNpy(Path("constant.npy"));
  ASSERT_TRUE(x.ok() && node.ok() && mean.ok());
  ASSERT_EQ(node->shape(), x->shape());
  ASSERT_EQ(mean->num_elements(), 9);
  for (int64_t i = 0; i < x->num_elements(); ++i) {
    const float expected = x->values<float>()[i] - mean->values<float>()[i % 9];
    ASSERT_EQ(node->values<float>()[i], expected) << i;
  }
  EXPECT_THAT(Ok(run_ + x_ + " --fetch normalize/sub --fetch maximum_1"),
              AllOf(HasSubstr("normalize/sub f32[78, 9]"), HasSubstr("maximum_1 f32[78, 8]")));
  EXPECT_THAT(Fails(2, run_ + x_ + " --fetch normalise/sub"), HasSubstr("no node 'normalise/sub'"));
}

TEST_F(CliRun, LimitsWhatItPrints) {
  const auto count = [](const std::string& text) {
    return std::count(text.begin(), text.end(), '[') - 2;  // but those of type and tensor
  };
  const std::string all = Ok(run_ + x_ + " --limit 1000"), few = Ok(run_ + x_ + " --limit 3");
  EXPECT_EQ(count(all), 78) << all;
  EXPECT_THAT(all, Not(HasSubstr("...")));
  EXPECT_EQ(count(few), 3) << few;
  EXPECT_THAT(few, HasSubstr("...]"));
  EXPECT_EQ(few.substr(0, few.find(", ...")), all.substr(0, few.find(", ...")));
}

// Without a pass, results are the same.
TEST_F(CliRun, LeavesOutPasses) {
  Ok(run_ + x_ + " --out " + Path("all.npy"));
  Ok(run_ + x_ + " --disable-pass fuse --disable-pass fold --device cpu --out " + Path("less.npy"));
  EXPECT_THAT(Ok("verify " + model_ + " --checkpoint " + Path("run/last.safetensors") +
                 " --inputs x=" + Path("rows/x.npy") + " --expected y=" + Path("less.npy")),
              HasSubstr("agrees"));
  // It is left out indeed: what was one step is several.
  const auto steps = [&](const std::string& options) {
    const std::string said = Weft(run_ + x_ + " --profile" + options).err;
    return std::count(said.begin(), said.end(), '\n');
  };
  EXPECT_GT(steps(" --disable-pass fuse"), steps(""));
}

// The emulated GPU, with as many threads as there are: the same values, and how it ends where it
// does not go well.
TEST_F(CliRun, OnTheEmulator) {
  const std::string package = Path("gpu.weftpkg");
  const std::string compile = "compile " + model_ + " --checkpoint " +
                              Path("run/last.safetensors") + " --freeze --signature predict";
  Ok(compile + " --target cuda:sm_80 -o " + package);
  Ok(compile + " --target cpu:x86-64-v3 -o " + Path("cpu.weftpkg"));
  Ok(run_ + x_ + " --out " + Path("here.npy"));
  const std::string on_emulator = x_ + " --device emulator:sm_80";
  for (const std::string& run : {"run " + package + on_emulator, run_ + on_emulator}) {
    Ok(run + " --out " + Path("there.npy"));
    const auto here = LoadNpy(Path("here.npy")), there = LoadNpy(Path("there.npy"));
    ASSERT_TRUE(here.ok() && there.ok());
    ASSERT_EQ(there->shape(), here->shape());
    for (int64_t i = 0; i < here->num_elements(); ++i) {
      const float expected = here->values<float>()[i];
      ASSERT_NEAR(there->values<float>()[i], expected, 1e-4 * (1 + std::abs(expected))) << i;
    }
  }
  EXPECT_THAT(Fails(2, "run " + package + x_ + " --device emulator:sm_42"),
              AllOf(HasSubstr("'emulator:sm_42'"), HasSubstr("emulator:sm_80")));
  EXPECT_THAT(Fails(3, "run " + Path("cpu.weftpkg") + on_emulator),
              AllOf(HasSubstr("cpu.weftpkg"), HasSubstr("no code for the emulator")));
  EXPECT_THAT(Fails(3, "run " + package + x_), HasSubstr("no code for the cpu"));
  // Code that does not do what the plan says.
  const auto changed = [&](const std::string& from, const std::string& to) {
    const auto container = Container::Open(Bytes::Of(ReadFile(package)));
    EXPECT_TRUE(container.ok()) << container.status();
    std::string code(container->Section("code.sm_80").value());
    const size_t at = code.rfind(from);
    EXPECT_NE(at, std::string::npos) << code;
    code.replace(at, from.size(), to);
    std::vector<SectionToWrite> sections = container->Sections();
    for (SectionToWrite& section : sections) {
      if (section.name == "code.sm_80") section.bytes = code;
    }
    WriteFile(Path("changed.weftpkg"), WriteContainer(sections));
    return "run " + Path("changed.weftpkg") + on_emulator;
  };
  EXPECT_THAT(Fails(1, changed("\tret;", "\ttrap;\n\tret;")),
              AllOf(HasSubstr("trap in kernel"), HasSubstr("PTX line"), HasSubstr("models.cc:")));
  EXPECT_THAT(Fails(3, changed("\tret;", "\tretour;")), HasSubstr("retour"));
}

// What a package says of itself stays in its line.
TEST_F(CliRun, PackagesForgeNoLines) {
  const std::string package = Path("model.weftpkg");
  Ok("compile " + model_ + " -o " + package);
  const auto container = Container::Open(Bytes::Of(ReadFile(package)));
  ASSERT_TRUE(container.ok()) << container.status();
  std::string manifest(container->Section("manifest").value());
  const std::string said = Ok("inspect " + package);
  const size_t by = said.find(", made by ");
  ASSERT_NE(by, std::string::npos) << said;
  const std::string producer = said.substr(by + 10, said.find('\n', by) - by - 10);
  ASSERT_GT(producer.size(), 2u);
  const size_t at = manifest.find(producer);
  ASSERT_NE(at, std::string::npos);
  manifest[at + 1] = '\n';
  std::vector<SectionToWrite> sections = container->Sections();
  for (SectionToWrite& section : sections) {
    if (section.name == "manifest") section.bytes = manifest;
  }
  WriteFile(package, WriteContainer(sections));
  EXPECT_THAT(Ok("inspect " + package), HasSubstr(", made by " + producer.substr(0, 1) + "\\x0a" +
                                                  producer.substr(2) + "\n"));
}

// So does what a graph says of its source.
TEST_F(CliRun, GraphsForgeNoLines) {
  WriteFile(Path("g.textproto"), R"(
      versions { producer: 1 min_consumer: 1 } name: "g"
      source_files: "a.cc\nsignature forged: 1 nodes\033[2J\302\233\177.cc"
      nodes { name: "x" op: "input" op_version: 1 locations { file: 0 line: 3 }
              attrs { name: "dtype" value { dtype: F32 } } attrs { name: "name" value { s: "x" } }
              attrs { name: "shape" value { shape { dims { size: 4 } } } } }
      nodes { name: "y" op: "exp" op_version: 1 inputs: "x" locations { file: 0 line: 4 } }
      signatures { name: "f" inputs: "x" outputs { name: "y" value: "y" } })");
  Ok("grad " + Path("g.textproto") + " --of y --wrt x -o " + Path("g.weft"));
  for (const char* name : {"g.textproto", "g.weft"}) {
    const std::string inspect = "inspect " + Path(name);
    EXPECT_THAT(
        Ok(inspect + " --nodes"),
        HasSubstr("# 4 FLOP, a.cc\\x0asignature forged: 1 nodes\\x1b[2J\\xc2\\x9b\\x7f.cc:4"));
    for (const char* format : {"text --nodes", "json", "dot", "textproto", "mlir"}) {
      const std::string shown = Ok(inspect + " --format " + format);
      EXPECT_THAT(shown, Not(HasSubstr("\nsignature forged"))) << format;
      for (const char* control : {"\x1b", "\x7f", "\xc2\x9b"}) {
        EXPECT_THAT(shown, Not(HasSubstr(control))) << format;
      }
    }
  }
}

TEST_F(CliRun, Profiles) {
  const auto table = AllOf(HasSubstr("ms/run  share    runs"),
                           ContainsRegex("fusion\\(matmul[^\n]*tools/weft/models.cc:[0-9]+"));
  const Ended run = Weft(run_ + x_ + " --profile");
  EXPECT_THAT(run.err, table);
  EXPECT_THAT(run.out, HasSubstr("y f32[78, 1]"));
  const Ended bench = Weft("bench " + model_ + " --seconds 0.01 --profile");
  EXPECT_THAT(bench.err, table);
  EXPECT_THAT(bench.out,
              AllOf(HasSubstr("latency   min "), HasSubstr("arena and scratch (certificate)")));
}

TEST_F(CliRun, Bench) {
  const auto json = nlohmann::json::parse(
      Ok("bench " + model_ + " --size batch=7 --seconds 0.05 --threads 1 --json"));
  EXPECT_EQ(json["signature"], "predict");
  EXPECT_GT(json["median_ms"], 0);
  EXPECT_GE(json["max_ms"], json["median_ms"]);
  EXPECT_GT(json["certificate_bytes"], 0);
  EXPECT_THAT(Fails(2, "bench " + model_ + " --size btach=7"), HasSubstr("did you mean 'batch'?"));
}

// Also of a compilation, which goes on until the process ends.
TEST_F(CliRun, TimeLimits) {
  const std::string run = run_ + " --signature eval_step";
  WriteFile(Path("x.npy"), WriteNpy(HostTensor::Of<float>({1, 9}, std::vector<float>(9))));
  WriteFile(Path("y.npy"), WriteNpy(HostTensor::Of<float>({1, 1}, {1})));
  const std::string feeds = " --feed x=" + Path("x.npy") + " --feed y=" + Path("y.npy");
  Ok(run + feeds + " --timeout 1000 --memory");
  // However fast the machine is, this is over before anything has been done.
  for (const char* limit : {" --timeout 1e-9", " --timeout 1e-9 --memory"}) {
    EXPECT_THAT(Fails(1, run + feeds + limit), HasSubstr("deadline"));
  }
}

}  // namespace
}  // namespace weft
