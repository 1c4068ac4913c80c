// What commands do to files: feeds and checkpoints that are wrong, outputs that cannot be written
// or are inputs at the same time, and writes that are cut short or interrupted. A command that
// fails leaves what was there.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <unistd.h>

#include <csignal>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "proto/container.h"
#include "proto/file.h"
#include "proto/graph.pb.h"
#include "proto/npy.h"
#include "proto/plan.pb.h"
#include "proto/safetensors.h"
#include "tests/cli/cli.h"

namespace weft {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using ::testing::StartsWith;

// f: y = w * x and n + n; a variable w f32[3] that init makes 0.
constexpr char kModel[] = R"(
  versions { producer: 1 min_consumer: 1 }
  name: "small"
  source_files: "model.cc"
  nodes { name: "x" op: "input" op_version: 1
          attrs { name: "dtype" value { dtype: F32 } }
          attrs { name: "name" value { s: "x" } }
          attrs { name: "shape" value { shape { dims { expr: "batch" } dims { size: 3 } } } } }
  nodes { name: "n" op: "input" op_version: 1
          attrs { name: "dtype" value { dtype: I32 } }
          attrs { name: "name" value { s: "n" } }
          attrs { name: "shape" value { shape { } } } }
  nodes { name: "zero" op: "constant" op_version: 1
          attrs { name: "value" value { tensor { dtype: F32 shape: 3 raw: "\0\0\0\0" } } } }
  nodes { name: "w" op: "read_variable" op_version: 1
          attrs { name: "variable" value { s: "w" } } }
  nodes { name: "rows" op: "broadcast" op_version: 1 inputs: "w"
          attrs { name: "shape" value { shape { dims { expr: "batch" } dims { size: 3 } } } } }
  nodes { name: "y" op: "mul" op_version: 1 inputs: "x" inputs: "rows" }
  nodes { name: "m" op: "add" op_version: 1 inputs: "n" inputs: "n" }
  variables { name: "w" dtype: F32 shape { dims { size: 3 } } initializer: "zero" trainable: true }
  signatures { name: "f" inputs: "x" inputs: "n" outputs { name: "y" value: "y" }
               outputs { name: "m" value: "m" } }
)";

class CliFiles : public CliTest {
 protected:
  void SetUp() override {
    CliTest::SetUp();
    proto::GraphDef def;
    ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(kModel, &def));
    const std::string bytes = def.SerializeAsString();
    model_ = Path("model.weft");
    WriteFile(model_, WriteContainer({{"graph", bytes, 6}}));
    values_ = Path("w.safetensors");
    WriteFile(values_, WriteSafetensors({{"w", HostTensor::Of<float>({3}, {1, 2, 3})}}));
    n_ = Path("n.npy");
    WriteFile(n_, WriteNpy(HostTensor::Scalar<int32_t>(1)));
    x_ = Path("x.npy");
    WriteFile(x_, WriteNpy(HostTensor::Of<float>({2, 3}, {1, 2, 3, 4, 5, 6})));
    package_ = Path("model.weftpkg");
    Ok("compile " + model_ + " -o " + package_);
    executable_ = Path("program");
    Ok("compile " + model_ + " --signature f --emit executable -o " + executable_);
  }

  // The same by `weft run` of the graph and of the package, and by weft-run.
  void RunFails(int code, const std::string& arguments,
                const ::testing::Matcher<std::string>& message) {
    SCOPED_TRACE(arguments);
    EXPECT_THAT(Fails(code, "run " + model_ + arguments), message);
    EXPECT_THAT(Fails(code, "run " + package_ + arguments), message);
    EXPECT_THAT(FailsBy("tools/weft-run", "weft-run: ", code, package_ + arguments), message);
  }
  std::string ProgramFails(int code, const std::string& arguments) {
    return FailsBy(executable_, "small: ", code, arguments);
  }

  std::string model_, values_, n_, x_, package_, executable_;
};

TEST_F(CliFiles, FeedsOfEveryWrongKind) {
  const std::string rest = " --checkpoint " + values_ + " --feed n=1 ";
  Ok("run " + model_ + rest + "--feed x=" + x_);
  RunFails(2, rest + "--feed xx=" + x_, HasSubstr("no input 'xx'; did you mean 'x'?"));
  RunFails(2, rest, HasSubstr("input 'x' (f32[batch, 3]) is not given; x=FILE.npy"));
  const auto wrong = [&](const char* name, const HostTensor& tensor, const char* got) {
    WriteFile(Path(name), WriteNpy(tensor));
    RunFails(3, rest + "--feed x=" + Path(name),
             HasSubstr(std::string(name) + ": input 'x': expected f32[batch, 3], got " + got));
  };
  wrong("f64.npy", HostTensor::Of<double>({2, 3}, {1, 2, 3, 4, 5, 6}),
        "f64[2, 3]; NumPy's default");
  wrong("rank.npy", HostTensor::Of<float>({3}, {1, 2, 3}), "f32[3] (rank 1 instead of 2)\n");
  wrong("dim.npy", HostTensor::Of<float>({1, 2}, {1, 2}), "f32[1, 2] (dimension 1 has to be 3)\n");
  // The executable takes the same files.
  const std::string program = "--variables=" + values_ + " --n=" + n_;
  EXPECT_THAT(ProgramFails(2, program), HasSubstr("needs --x=FILE.npy"));
  EXPECT_THAT(ProgramFails(2, program + " --xx=" + x_), HasSubstr("'--xx"));
  EXPECT_THAT(ProgramFails(3, program + " --x=" + Path("f64.npy")), HasSubstr("f64"));
  EXPECT_THAT(ProgramFails(3, program + " --x=" + Path("rank.npy")), HasSubstr("dimensions"));
  EXPECT_THAT(ProgramFails(3, program + " --x=" + Path("dim.npy")), HasSubstr("3"));
}

// Sizes that are computed from others are only known when all inputs are there.
TEST_F(CliFiles, FeedsOfAComputedSize) {
  WriteFile(Path("windows.textproto"), R"(
  versions { producer: 1 min_consumer: 1 }
  name: "windows"
  source_files: "model.cc"
  nodes { name: "x" op: "input" op_version: 1
          attrs { name: "dtype" value { dtype: F32 } }
          attrs { name: "name" value { s: "x" } }
          attrs { name: "shape" value { shape { dims { expr: "n" } } } } }
  nodes { name: "z" op: "input" op_version: 1
          attrs { name: "dtype" value { dtype: F32 } }
          attrs { name: "name" value { s: "z" } }
          attrs { name: "shape" value { shape { dims { expr: "2*n+1" } } } } }
  nodes { name: "y" op: "add" op_version: 1 inputs: "z" inputs: "z" }
  signatures { name: "f" inputs: "x" inputs: "z" outputs { name: "y" value: "y" } }
)");
  model_ = Path("windows.textproto");
  Ok("compile " + model_ + " -o " + package_);
  WriteFile(Path("three.npy"), WriteNpy(HostTensor::Of<float>({3}, {1, 2, 3})));
  WriteFile(Path("seven.npy"), WriteNpy(HostTensor::Of<float>({7}, {1, 2, 3, 4, 5, 6, 7})));
  const std::string x = " --feed x=" + Path("three.npy") + " --feed z=";
  Ok("run " + model_ + x + Path("seven.npy"));
  RunFails(
      3, x + Path("three.npy"),
      HasSubstr("input 'z' of 'f': expected f32[2*n+1], got f32[3] (dimension 0 has to be 7)"));
  RunFails(3, x + Path("three.npy") + " --memory", HasSubstr("dimension 0 has to be 7"));
}

// Whether results go into the file that is asked for is seen before anything is read or run.
TEST_F(CliFiles, OneResultGoesIntoAnNpyFile) {
  const std::string out = " --out " + Path("out.npy");
  RunFails(2, out, HasSubstr("there are 2 outputs and a .npy file holds one"));
  RunFails(2, out + " --fetch y --fetch m", HasSubstr("there are 2 outputs"));
  EXPECT_THAT(Fails(2, "run " + model_ + out + " --fetch y --fetch rows"),
              HasSubstr("there are 2 outputs"));
  const std::string feeds = " --checkpoint " + values_ + " --feed n=1 --feed x=" + x_;
  Ok("run " + model_ + feeds + out + " --fetch y --fetch y");
  EXPECT_TRUE(fs::exists(Path("out.npy")));
}

TEST_F(CliFiles, NumbersAsFeeds) {
  const std::string rest = " --checkpoint " + values_ + " --feed x=" + x_ + " --feed n=";
  EXPECT_THAT(Ok("run " + model_ + rest + "1e3"), HasSubstr("m i32[] 2000"));
  EXPECT_THAT(Ok("run " + model_ + rest + "-7"), HasSubstr("m i32[] -14"));
  for (const char* wrong : {"1.5", "2147483648", "1e30", "nan", "seven", "", "1e400"}) {
    RunFails(2, rest + wrong, AllOf(HasSubstr("feed 'n'"), HasSubstr("dtype i32")));
  }
}

TEST_F(CliFiles, DamagedTensors) {
  const std::string run = " --feed n=1 --checkpoint " + values_ + " --feed x=" + Path("bad.npy");
  const std::string good = ReadFile(x_);
  std::string lies = good;
  lies.replace(lies.find("(2, 3)"), 6, "(9, 9)");
  std::string absurd = good;
  absurd.replace(absurd.find("(2, 3), }         "), 18, "(99999999999,99),}");
  for (const std::string& bytes :
       {std::string(), std::string("\x93NUMPY"), good.substr(0, 40),
        good.substr(0, good.size() - 1), good + "x", lies, absurd, std::string("PK\x03\x04")}) {
    WriteFile(Path("bad.npy"), bytes);
    RunFails(3, run, HasSubstr("bad.npy"));
    EXPECT_THAT(
        ProgramFails(3, "--variables=" + values_ + " --x=" + Path("bad.npy") + " --n=" + n_),
        HasSubstr("bad.npy"));
  }
  std::string archive = *WriteNpz({{"x", *LoadNpy(x_)}});
  archive[archive.size() / 2] ^= 1;
  WriteFile(Path("bad.npz"), archive);
  RunFails(3, " --feed n=1 --feed " + Path("bad.npz"), HasSubstr("bad.npz"));
  RunFails(3, " --feed n=1 --feed x=" + Path("none.npy"), HasSubstr("none.npy"));
}

TEST_F(CliFiles, DamagedCheckpoints) {
  const std::string good = ReadFile(values_);
  std::string flipped = good;
  flipped[good.size() - 1] ^= 0x20;
  const std::pair<std::string, const char*> kCases[] = {
      {"", "bad.safetensors"},
      {good.substr(0, 30), "bad.safetensors"},
      {good.substr(0, good.size() - 4), "bad.safetensors"},
      {flipped, "checksum"},
      {WriteSafetensors({{"v", HostTensor::Of<float>({3}, {1, 2, 3})}}), "'w'"},
      {WriteSafetensors({{"w", HostTensor::Of<float>({2}, {1, 2})}}), "f32[2]"},
      {WriteSafetensors({{"w", HostTensor::Of<int32_t>({3}, {1, 2, 3})}}), "i32[3]"},
  };
  const std::string feeds = " --feed n=1 --feed x=" + x_;
  for (const auto& [bytes, message] : kCases) {
    WriteFile(Path("bad.safetensors"), bytes);
    RunFails(3, feeds + " --checkpoint " + Path("bad.safetensors"),
             AllOf(HasSubstr("bad.safetensors"), HasSubstr(message)));
    EXPECT_THAT(
        ProgramFails(3, "--x=" + x_ + " --n=" + n_ + " --variables=" + Path("bad.safetensors")),
        HasSubstr("bad.safetensors"));
    Fails(3, "compile " + model_ + " --freeze --checkpoint " + Path("bad.safetensors") + " -o " +
                 Path("out.weftpkg"));
    EXPECT_FALSE(fs::exists(Path("out.weftpkg")));
  }
}

TEST_F(CliFiles, DamagedPackages) {
  const std::string good = ReadFile(package_);
  const std::string arguments = " --feed n=1 --feed x=" + x_ + " --out " + Path("y.npz");
  const std::string bad = Path("bad.weftpkg");
  std::vector<std::string> damaged = {good + "x", good.substr(0, 100)};
  for (size_t i = 1; i < 8; ++i) damaged.push_back(good.substr(0, good.size() * i / 8));
  for (size_t i = 0; i < 16; ++i) {
    damaged.push_back(good);
    damaged.back()[good.size() * i / 16 + 9] ^= static_cast<char>(1 << i % 8);
  }
  for (const std::string& bytes : damaged) {
    WriteFile(bad, bytes);
    EXPECT_THAT(Fails(3, "run " + bad + arguments), HasSubstr(bad));
    EXPECT_THAT(FailsBy("tools/weft-run", "weft-run: ", 3, bad + arguments), HasSubstr(bad));
    EXPECT_THAT(Fails(3, "inspect " + bad), HasSubstr(bad));
    EXPECT_FALSE(fs::exists(Path("y.npz")));
  }
  // A graph where a package is wanted.
  EXPECT_THAT(FailsBy("tools/weft-run", "weft-run: ", 3, model_), HasSubstr("weft compile"));
}

TEST_F(CliFiles, OutputsThatCannotBeWritten) {
  const std::string run = " --feed n=1 --checkpoint " + values_ + " --feed x=" + x_;
  const std::vector<std::string> before = Files();
  for (const std::string& out : {std::string("/nowhere/out"), x_ + "/out"}) {
    RunFails(1, run + " --out " + out + ".npz", HasSubstr(out));
    RunFails(1, run + " --save-checkpoint " + out, HasSubstr(out));
    for (const char* kind : {"package", "object", "shared", "executable", "llvm"}) {
      EXPECT_THAT(Fails(1, "compile " + model_ + " --emit " + kind + " -o " + out), HasSubstr(out));
    }
    EXPECT_THAT(Fails(1, "inspect " + model_ + " --format html -o " + out), HasSubstr(out));
    EXPECT_THAT(Fails(1, "grad " + model_ + " --of y --wrt x -o " + out), HasSubstr(out));
    EXPECT_THAT(
        ProgramFails(1, "--x=" + x_ + " --n=" + n_ + " --variables=" + values_ + " --out-y=" + out),
        HasSubstr(out));
  }
  // A folder in the place of the output, and a disk that is full.
  fs::create_directories(Path("folder.npz"));
  RunFails(1, run + " --out " + Path("folder.npz"), HasSubstr("folder.npz"));
  EXPECT_THAT(Fails(1, "compile " + model_ + " --emit package -o /dev/full"),
              HasSubstr("/dev/full"));
  const Ended full = Run("(tools/weft inspect " + model_ + " > /dev/full)");
  EXPECT_EQ(full.code, 1);
  EXPECT_THAT(full.err, HasSubstr("standard output"));
  fs::remove(Path("folder.npz"));
  EXPECT_THAT(Files(), ElementsAreArray(before));
}

// By whatever name: the file itself, through a link, by another way to the same folder.
TEST_F(CliFiles, OutputsThatAreInputs) {
  const std::string run = " --feed n=1 --checkpoint " + values_ + " --feed x=" + x_;
  for (const char* name : {"x.npy", "model.weft", "model.weftpkg", "w.safetensors"}) {
    fs::create_symlink(Path(name), Path(std::string("soft_") + name));
    fs::create_hard_link(Path(name), Path(std::string("hard_") + name));
  }
  std::vector<std::pair<std::string, std::string>> contents;
  for (const std::string& name : Files()) contents.emplace_back(name, ReadFile(Path(name)));
  for (const std::string& prefix : {"", "soft_", "hard_", "./"}) {
    SCOPED_TRACE(prefix);
    RunFails(2, run + " --out " + Path(prefix + "x.npy"), HasSubstr("overwrite"));
    RunFails(2, run + " --save-checkpoint " + Path(prefix + "x.npy"), HasSubstr("overwrite"));
    const std::string model = Path(prefix + "model.weft");
    EXPECT_THAT(Fails(2, "compile " + model_ + " --emit package -o " + model),
                HasSubstr("overwrite"));
    EXPECT_THAT(Fails(2, "compile " + model_ + " --checkpoint " + values_ + " --emit package -o " +
                             Path(prefix + "w.safetensors")),
                HasSubstr("overwrite"));
    EXPECT_THAT(Fails(2, "grad " + model_ + " --of y --wrt x -o " + model), HasSubstr("overwrite"));
    EXPECT_THAT(Fails(2, "inspect " + model_ + " --format html -o " + model),
                HasSubstr("overwrite"));
    EXPECT_THAT(Fails(2, "run " + model_ + run + " --save-checkpoint " + model),
                HasSubstr("overwrite"));
    for (const char* option : {"--out-y=", "--save-variables="}) {
      EXPECT_THAT(ProgramFails(2, "--x=" + x_ + " --n=" + n_ + " --variables=" + values_ + " " +
                                      option + Path(prefix + "x.npy")),
                  HasSubstr("overwrite"));
    }
  }
  for (const auto& [name, bytes] : contents) EXPECT_EQ(ReadFile(Path(name)), bytes) << name;
}

// /dev/stdout may be a file, which others write to as well.
TEST_F(CliFiles, OutputsThatAreOpenAlready) {
  const std::string log = Path("log");
  WriteFile(log, "before\n");
  const std::string compile = "tools/weft compile " + model_ + " --emit mlir -o ";
  EXPECT_EQ(Run("((" + compile + "/dev/stdout && echo after) >> " + log + ")").code, 0);
  EXPECT_EQ(Run(compile + Path("log.mlir")).code, 0);
  EXPECT_EQ(ReadFile(log), "before\n" + ReadFile(Path("log.mlir")) + "after\n");
  // By a compiled program too.
  const std::string program =
      executable_ + " --variables=" + values_ + " --n=" + n_ + " --x=" + x_ + " --out-y=";
  EXPECT_EQ(Run("((" + program + "/dev/stdout && echo after) >> " + log + ".npy)").code, 0);
  EXPECT_EQ(Run(program + Path("y.npy")).code, 0);
  EXPECT_EQ(ReadFile(log + ".npy"), ReadFile(Path("y.npy")) + "after\n");
}

TEST_F(CliFiles, ProgramsWriteNothingOverOrTwice) {
  const std::string program = "--variables=" + values_ + " --n=" + n_ + " --x=" + x_ + " --out-y=";
  const std::string values = ReadFile(values_);
  EXPECT_THAT(ProgramFails(2, program + values_), HasSubstr("overwrite the variables"));
  EXPECT_THAT(ProgramFails(2, program + x_), HasSubstr("overwrite the input"));
  EXPECT_THAT(ProgramFails(2, program + Path("y.npy") + " --out-m=" + Path("y.npy")),
              HasSubstr("would be written twice"));
  EXPECT_THAT(ProgramFails(2, program + Path("y") + " --save-variables=" + Path("y")),
              HasSubstr("would be written twice"));
  EXPECT_EQ(ReadFile(values_), values);
  EXPECT_FALSE(fs::exists(Path("y.npy")));
}

TEST_F(CliFiles, ProgramsSaveVariablesLast) {
  const std::string program = executable_ + " --variables=" + values_ + " --n=" + n_ +
                              " --x=" + x_ + " --save-variables=" + Path("new.safetensors") +
                              " --out-y=";
  EXPECT_EQ(Run(program + "/dev/full").code, 1);
  EXPECT_FALSE(fs::exists(Path("new.safetensors")));
  EXPECT_EQ(Run(program + Path("y.npy")).code, 0);
  EXPECT_TRUE(fs::exists(Path("new.safetensors")));
}

TEST_F(CliFiles, ProgramsPrintHalvesAsNumbers) {
  proto::GraphDef def;
  ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(R"(
    versions { producer: 1 min_consumer: 1 }
    name: "halves"
    nodes { name: "x" op: "input" op_version: 1
            attrs { name: "dtype" value { dtype: F16 } }
            attrs { name: "name" value { s: "x" } }
            attrs { name: "shape" value { shape { dims { size: 5 } } } } }
    nodes { name: "y" op: "cast" op_version: 1 inputs: "x"
            attrs { name: "dtype" value { dtype: BF16 } } }
    nodes { name: "z" op: "add" op_version: 1 inputs: "x" inputs: "x" }
    signatures { name: "f" inputs: "x" outputs { name: "y" value: "y" }
                 outputs { name: "z" value: "z" } }
  )",
                                                            &def));
  const std::string bytes = def.SerializeAsString();
  WriteFile(Path("halves.weft"), WriteContainer({{"graph", bytes, 6}}));
  const std::vector<F16> values = {F16(0.5f), F16(-2.0f), F16(1024.0f), F16(0x1p-24f),
                                   F16(std::numeric_limits<float>::infinity())};
  WriteFile(Path("halves.npy"), WriteNpy(HostTensor::Of<F16>({5}, values)));
  Ok("compile " + Path("halves.weft") + " --emit executable -o " + Path("halves"));
  const Ended ended = Run(Path("halves") + " --x=" + Path("halves.npy"));
  EXPECT_EQ(ended.code, 0) << ended.err;
  EXPECT_EQ(ended.out,
            "y bf16[5] 0.5 -2 1024 5.96046e-08 inf\nz f16[5] 1 -4 2048 1.19209e-07 inf\n");
}

// Some hundred bytes whose formulas stand for a text of 200 kB.
TEST_F(CliFiles, InspectShowsPartsOfFormulasThatAreLong) {
  PackageManifest manifest;
  manifest.set_version(1);
  manifest.set_min_consumer(1);
  manifest.add_signatures()->set_name("f");
  TargetPlans* target = manifest.add_targets();
  target->set_target("cpu:x86-64-v3");
  target->set_code_section("code.x");
  Plan* plan = target->add_plans();
  plan->set_signature("f");
  plan->set_commit_step(1);
  plan->add_formulas()->set_value(1'000'000'000);
  for (uint32_t i = 0; i < 13; ++i) {
    Formula* sum = plan->add_formulas();
    sum->set_op(Formula::ADD);
    sum->set_a(i);
    sum->set_b(i);
  }
  plan->add_kernels()->set_name("k");
  Launch* launch = plan->add_blocks()->add_steps()->mutable_launch();
  launch->set_tiles(12);
  launch->set_flops(12);
  launch->set_bytes(12);
  const std::string bytes = manifest.SerializeAsString(), code(64, '\xc3');
  WriteFile(Path("long.weftpkg"), WriteContainer({{"manifest", bytes, 6}, {"code.x", code, 12}}));
  for (const char* format : {" --nodes", " --format json"}) {
    const std::string text = Ok("inspect " + Path("long.weftpkg") + format);
    EXPECT_LT(text.size(), 3000u);
    EXPECT_THAT(text, HasSubstr("((((((((((((1000000000 + 1000000000)")) << format;
    EXPECT_THAT(text, HasSubstr("...")) << format;
  }
  // What is shown is verified.
  plan->mutable_formulas(3)->set_a(7);
  const std::string wrong = manifest.SerializeAsString();
  WriteFile(Path("long.weftpkg"), WriteContainer({{"manifest", wrong, 6}, {"code.x", code, 12}}));
  EXPECT_THAT(Fails(3, "inspect " + Path("long.weftpkg")), HasSubstr("formula"));
}

// The limit on the size of files stands for a disk that fills up: the write fails in its middle.
TEST_F(CliFiles, WritesThatAreCutShort) {
  const std::string limit = "ulimit -f 1; ";  // 512 or 1024 bytes
  WriteFile(Path("big.npy"), WriteNpy(*HostTensor::Create(DataType::kF32, {1000, 3})));
  const std::string run = " --feed n=1 --checkpoint " + values_ + " --feed x=" + Path("big.npy");
  for (const char* name : {"out.npz", "out.weftpkg", "out.o", "out"}) WriteFile(Path(name), "old");
  std::vector<std::pair<std::string, std::string>> contents;
  for (const std::string& name : Files()) contents.emplace_back(name, ReadFile(Path(name)));
  const std::string commands[] = {
      "tools/weft run " + model_ + run + " --out " + Path("out.npz"),
      "tools/weft-run " + package_ + run + " --out " + Path("out.npz"),
      "tools/weft compile " + model_ + " -o " + Path("out.weftpkg"),
      "tools/weft compile " + model_ + " -o " + Path("out.o"),
      "tools/weft compile " + model_ + " --emit executable -o " + Path("out"),
  };
  for (const std::string& command : commands) {
    const Ended ended = Run(limit + command);
    EXPECT_EQ(ended.code, 1) << command << "\n" << ended.err;
    EXPECT_THAT(ended.err, AnyOf(HasSubstr("out"), HasSubstr("set TMPDIR"))) << command;
  }
  std::vector<std::pair<std::string, std::string>> after;
  for (const std::string& name : Files()) after.emplace_back(name, ReadFile(Path(name)));
  EXPECT_EQ(after, contents);
}

// A command that is ended while it writes leaves the old file and nothing beside it.
TEST_F(CliFiles, WritesThatAreInterrupted) {
  const int nameless = open(folder_.c_str(), O_WRONLY | O_TMPFILE, 0600);
  if (nameless < 0) GTEST_SKIP() << "the file system has no files without names";
  close(nameless);
  WriteFile(Path("big.npy"), WriteNpy(*HostTensor::Create(DataType::kF32, {1000, 3})));
  WriteFile(Path("out.npz"), "old");
  const std::vector<std::string> before = Files();
  for (const std::string& program : {"tools/weft run " + model_, "tools/weft-run " + package_}) {
    for (const auto& [name, number] : {std::pair{"INT", SIGINT}, std::pair{"TERM", SIGTERM}}) {
      SCOPED_TRACE(program + ", " + name);
      // It comes when all is written, and the new file has no name yet. Sanitizers want to be the
      // first library.
      WriteFile(Path("out.npz"), "old");
      const Ended ended = Run("env --default-signal=" + std::string(name) +
                              " SIGNAL_IN_FSYNC=" + std::to_string(number) +
                              " ASAN_OPTIONS=$ASAN_OPTIONS:verify_asan_link_order=0"
                              " LD_PRELOAD=tests/cli/libsignal_in_fsync.so " +
                              program + " --feed n=1 --checkpoint " + values_ +
                              " --feed x=" + Path("big.npy") + " --out " + Path("out.npz"));
      EXPECT_EQ(ended.code, 128 + number) << ended.err;
      EXPECT_EQ(ReadFile(Path("out.npz")), "old");
      EXPECT_THAT(Files(), ElementsAreArray(before));
    }
  }
}

// What the linker reads and writes has no names that could stay behind.
TEST_F(CliFiles, LinkingNeedsNoFolder) {
  const std::string compile = "tools/weft compile " + model_ + " --signature f --emit ";
  EXPECT_EQ(Run("TMPDIR=/nowhere " + compile + "executable -o " + Path("other")).code, 0);
  EXPECT_EQ(ReadFile(Path("other")), ReadFile(executable_));
}

}  // namespace
}  // namespace weft
