// Compiles, links and runs programs against artifacts of a package that was written by hand.
#include "compiler/aot/artifact.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <sstream>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "compiler/aot/artifact_fixture.h"
#include "proto/file.h"
#include "proto/npy.h"
#include "proto/safetensors.h"
#include "runtime/session.h"
#include "runtime/testing/plan_builder.h"
#include "runtime/testing/test_kernels.h"

namespace weft {
namespace {

using plan_testing::MakeTestPackage;
using plan_testing::TestPackage;
using ::testing::HasSubstr;

HostTensor Floats(std::vector<int64_t> shape) {
  HostTensor tensor = HostTensor::Create(DataType::kF32, shape).value();
  float value = -3;
  for (float& element : tensor.mutable_values<float>()) element = value += 0.37f;
  return tensor;
}

class ArtifactTest : public ArtifactFixture {
 protected:
  static absl::Status Write(const TestPackage& package, ArtifactKind kind,
                            const std::string& path) {
    auto container = Container::Open(weft::Bytes::Of(package.Bytes()));
    if (!container.ok()) return container.status();
    return WritePackageArtifact(*container, kind, path);
  }

  // Compiles one of testdata/ and runs it.
  Outcome CompileAndRun(const std::string& compiler, const std::string& source,
                        const std::string& link, const std::string& arguments = "") {
    const Outcome built =
        Compile(compiler, absl::StrCat("compiler/aot/testdata/", source), link, File("program"));
    if (built.code != 0) return built;
    return Shell(absl::StrCat(File("program"), " ", arguments));
  }
};

TEST_F(ArtifactTest, ObjectPredictsWithAnyBatch) {
  ASSERT_TRUE(Write(MakeTestPackage(), ArtifactKind::kObject, File("test.o")).ok());
  const Outcome run = CompileAndRun("clang-22 -std=c11", "predict.c", File("test.o"));
  EXPECT_EQ(run.code, 0) << run.text;
  EXPECT_EQ(run.text, "predict is right\n");
}

TEST_F(ArtifactTest, ObjectTrains) {
  ASSERT_TRUE(Write(MakeTestPackage(), ArtifactKind::kObject, File("test.o")).ok());
  const Outcome run =
      CompileAndRun("clang-22 -std=c99", "train.c", File("test.o"), File("w.safetensors"));
  EXPECT_EQ(run.code, 0) << run.text;
  EXPECT_EQ(run.text, "training is right\n");
  // What it saved is a checkpoint like any other, byte for byte.
  auto session = Session::FromPackage(MakeTestPackage().Bytes());
  ASSERT_TRUE(session.ok()) << session.status();
  ASSERT_TRUE((*session)->RestoreCheckpoint(File("w.safetensors")).ok());
  EXPECT_THAT((*session)->GetVariables()->at("w").values<float>(),
              testing::ElementsAre(0, 1, 2, 3));
  const std::string expected = WriteSafetensors({{"w", HostTensor::Of<float>({4}, {0, 1, 2, 3})}});
  EXPECT_EQ(ReadFile(File("w.safetensors")), expected);
}

TEST_F(ArtifactTest, SharedLibraryLoads) {
  ASSERT_TRUE(Write(MakeTestPackage(), ArtifactKind::kShared, File("test.so")).ok());
  const Outcome loaded = CompileAndRun("clang-22", "shared.c", "-ldl", File("test.so"));
  EXPECT_EQ(loaded.code, 0) << loaded.text;
  EXPECT_EQ(loaded.text, "shared is right\n");
  // A program may also be linked with it.
  const Outcome linked = CompileAndRun("clang-22", "predict.c",
                                       absl::StrCat(File("test.so"), " -Wl,-rpath,", folder()));
  EXPECT_EQ(linked.code, 0) << linked.text;
}

TEST_F(ArtifactTest, TwoModelsInOneProgram) {
  TestPackage other = MakeTestPackage();
  other.manifest.set_name("other");
  ASSERT_TRUE(Write(MakeTestPackage(), ArtifactKind::kObject, File("test.o")).ok());
  ASSERT_TRUE(Write(other, ArtifactKind::kObject, File("other.o")).ok());
  const Outcome run = CompileAndRun("clang++-22 -std=c++11", "two_models.cc",
                                    absl::StrCat(File("test.o"), " ", File("other.o")));
  EXPECT_EQ(run.code, 0) << run.text;
  EXPECT_EQ(run.text, "both are right\n");
}

TEST_F(ArtifactTest, NeedsNothingButLibc) {
  ASSERT_TRUE(Write(MakeTestPackage(), ArtifactKind::kObject, File("test.o")).ok());
  const Outcome link =
      Shell(absl::StrCat("clang-22 -nostdlib -shared -fuse-ld=lld -Wl,-z,defs ", File("test.o"),
                         " -lc -lm -lpthread -o ", File("all.so")));
  EXPECT_EQ(link.code, 0) << link.text;
  const Outcome defined = Shell(absl::StrCat("nm --extern-only --defined-only ", File("test.o")));
  ASSERT_EQ(defined.code, 0);
  std::istringstream lines(defined.text);
  int functions = 0;
  for (std::string address, type, name; lines >> address >> type >> name; ++functions) {
    EXPECT_TRUE(absl::StartsWith(name, "test_")) << name;
    EXPECT_EQ(type, "T") << name;
  }
  EXPECT_GT(functions, 15);
  // Nothing of the C library's start-up files either: what asks for a writable and executable
  // stack, or for code that the loader changes, would be refused by hardened systems.
  ASSERT_TRUE(Write(MakeTestPackage(), ArtifactKind::kShared, File("test.so")).ok());
  const Outcome dynamic = Shell(absl::StrCat("readelf -dlW ", File("test.so")));
  EXPECT_THAT(dynamic.text, HasSubstr("libc.so.6"));
  EXPECT_EQ(dynamic.text.find("TEXTREL"), std::string::npos) << dynamic.text;
  EXPECT_EQ(dynamic.text.find("RWE"), std::string::npos) << dynamic.text;
  EXPECT_EQ(dynamic.text.find("libstdc++"), std::string::npos) << dynamic.text;
}

class ExecutableTest : public ArtifactTest {
 protected:
  void SetUp() override {
    ArtifactTest::SetUp();
    const absl::Status written = Write(MakeTestPackage(), ArtifactKind::kExecutable, File("model"));
    ASSERT_TRUE(written.ok()) << written;
  }
  Outcome Run(const std::string& arguments) {
    return Shell(absl::StrCat(File("model"), " ", arguments));
  }
  void ExpectError(const std::string& arguments, int code, const std::string& text) {
    const Outcome outcome = Run(arguments);
    EXPECT_EQ(outcome.code, code) << arguments << "\n" << outcome.text;
    EXPECT_THAT(outcome.text, HasSubstr(text)) << arguments;
    EXPECT_EQ(std::count(outcome.text.begin(), outcome.text.end(), '\n'), 1) << outcome.text;
  }
};

TEST_F(ExecutableTest, GivesTheSameBitsAsTheSession) {
  auto session = Session::FromPackage(MakeTestPackage().Bytes());
  ASSERT_TRUE(session.ok()) << session.status();
  for (const int64_t batch : {1, 1000, 0}) {
    const HostTensor x = Floats({batch, 4});
    ASSERT_TRUE(SaveNpy(File("x.npy"), x).ok());
    auto expected = (*session)->Run("predict", {{"x", x}});
    ASSERT_TRUE(expected.ok());
    for (const int threads : {1, 3}) {
      const Outcome run = Run(
          absl::StrCat("--x=", File("x.npy"), " --out-y=", File("y.npy"), " --threads=", threads));
      ASSERT_EQ(run.code, 0) << run.text;
      EXPECT_EQ(run.text, "");
      EXPECT_EQ(ReadFile(File("y.npy")), WriteNpy(expected->at("y")));
    }
  }
}

TEST_F(ExecutableTest, PrintsWhatIsNotWritten) {
  ASSERT_TRUE(SaveNpy(File("x.npy"), HostTensor::Of<float>({1, 4}, {1, 2, 3, 0.25f})).ok());
  EXPECT_EQ(Run(absl::StrCat("--in-x ", File("x.npy"))).text, "y f32[1, 4] 2.5 4.5 6.5 1\n");
  const Outcome bench = Run(absl::StrCat("--bench=5 --x=", File("x.npy")));
  EXPECT_EQ(bench.code, 0);
  EXPECT_THAT(bench.text, HasSubstr("5 runs, median"));
  const Outcome help = Run("--help");
  EXPECT_EQ(help.code, 0);
  EXPECT_THAT(help.text, HasSubstr("--x: f32[batch, 4]"));
  EXPECT_THAT(help.text, HasSubstr("--out-total: f32[]"));
}

TEST_F(ExecutableTest, ReadsAndWritesVariables) {
  ASSERT_TRUE(SaveNpy(File("d.npy"), HostTensor::Of<float>({4}, {1, 2, 3, 4})).ok());
  const std::string step = absl::StrCat("--signature=step --d=", File("d.npy"));
  EXPECT_EQ(Run(step + " --init --save-variables=" + File("w.safetensors")).text,
            "total f32[] 14\n");
  EXPECT_EQ(Run(step + " --variables " + File("w.safetensors")).text, "total f32[] 24\n");
  ExpectError(step, 1, "variable 'w' has no value");
  ExpectError(step + " --variables=" + File("d.npy"), 3, "not a safetensors file");
  ExpectError(step + " --variables=" + File("none"), 3, "No such file");
  // The file holds other variables as well: those of an optimizer, say.
  ASSERT_TRUE(WriteFileAtomically(File("more.safetensors"),
                                  WriteSafetensors({{"w", HostTensor::Of<float>({4}, {0, 0, 0, 1})},
                                                    {"a", HostTensor::Of<int64_t>({}, {3})}},
                                                   {{"epoch", "\"3\" \\ \u00e9"}}))
                  .ok());
  EXPECT_EQ(Run(step + " --variables " + File("more.safetensors")).text, "total f32[] 11\n");
  ASSERT_TRUE(
      WriteFileAtomically(File("other.safetensors"),
                          WriteSafetensors({{"w", HostTensor::Of<float>({2, 2}, {0, 0, 0, 1})}}))
          .ok());
  ExpectError(step + " --variables " + File("other.safetensors"), 3,
              "other.safetensors': variable 'w': expected f32[4], got f32[2, 2]");
  // What a file says is shown, not obeyed; its places are counted from its start.
  ASSERT_TRUE(
      WriteFileAtomically(File("other.safetensors"),
                          WriteSafetensors({{"w", HostTensor::Of<int64_t>({4}, {1, 2, 3, 4})}}))
          .ok());
  ExpectError(step + " --variables " + File("other.safetensors"), 3,
              "variable 'w': expected f32[4], got i64[4]");
  const auto with_header = [](const std::string& header) {
    std::string file(8, '\0');
    file[0] = static_cast<char>(header.size());
    return file + header;
  };
  ASSERT_TRUE(WriteFileAtomically(File("other.safetensors"),
                                  with_header(R"({"a\u001b[2J\n":{"dtype":"C64"}})"))
                  .ok());
  ExpectError(step + " --variables " + File("other.safetensors"), 3,
              R"(tensor 'a\x1b[2J\x0a' has dtype 'C64')");
  ASSERT_TRUE(WriteFileAtomically(File("other.safetensors"), with_header("{x")).ok());
  ExpectError(step + " --variables " + File("other.safetensors"), 3, "a string at byte 9");
}

TEST_F(ExecutableTest, ErrorsSayWhatIsWrong) {
  ASSERT_TRUE(SaveNpy(File("x.npy"), Floats({2, 4})).ok());
  ASSERT_TRUE(SaveNpy(File("wide.npy"), Floats({2, 5})).ok());
  ASSERT_TRUE(SaveNpy(File("flat.npy"), Floats({8})).ok());
  ASSERT_TRUE(SaveNpy(File("integers.npy"), HostTensor::Of<int64_t>({1, 4}, {1, 2, 3, 4})).ok());
  const std::string x = absl::StrCat("--x=", File("x.npy"));
  ExpectError("", 2, "needs --x=FILE.npy");
  ExpectError("predict", 2, "expected an option");
  ExpectError(x + " --z=1", 2, "no input or output for '--z=1'");
  ExpectError(x + " " + x, 2, "given twice");
  ExpectError("--signature=predit " + x, 2, "no signature 'predit'");
  ExpectError("--threads=x " + x, 2, "--threads");
  ExpectError("--bench=0 " + x, 2, "--bench");
  ExpectError(x + " --out-y=" + File("x.npy"), 2, "would overwrite the input");
  ExpectError("--x=" + File("none.npy"), 3, "cannot read");
  ExpectError("--x=" + folder(), 3, "cannot read");
  ExpectError("--x=" + File("wide.npy"), 3, "expected 4 (4) in dimension 1, got 5");
  ExpectError("--x=" + File("flat.npy"), 3, "has 2 dimensions, the file has 1");
  ExpectError("--x=" + File("integers.npy"), 3, "has dtype f32, the file has i64");
  ExpectError(x + " --out-y=" + File("none/y.npy"), 1, "cannot write");
  // Not a byte too few or many.
  const std::string good = ReadFile(File("x.npy"));
  for (size_t size = 0; size < good.size(); size += 7) {
    ASSERT_TRUE(WriteFileAtomically(File("cut.npy"), good.substr(0, size)).ok());
    ExpectError("--x=" + File("cut.npy"), 3, "cut.npy");
  }
  ASSERT_TRUE(WriteFileAtomically(File("cut.npy"), good + "0").ok());
  ExpectError("--x=" + File("cut.npy"), 3,
              "cut.npy': shape (2, 4) does not fit the 33 bytes of elements");
}

TEST_F(ArtifactTest, RefusesTilesWithTooMuchWork) {
  TestPackage package = MakeTestPackage();
  Plan* predict = package.manifest.mutable_targets(0)->mutable_plans(0);
  ASSERT_EQ(predict->signature(), "predict");
  predict->mutable_blocks(0)->mutable_steps(2)->mutable_launch()->set_max_tile_flops(11);
  ASSERT_TRUE(Write(package, ArtifactKind::kExecutable, File("model")).ok());
  for (const int64_t batch : {2, 3}) {
    ASSERT_TRUE(SaveNpy(File("x.npy"), Floats({batch, 4})).ok());
    const Outcome run = Shell(absl::StrCat(File("model"), " --x=", File("x.npy")));
    EXPECT_EQ(run.code == 0, batch == 2) << run.text;
    if (batch == 2) continue;
    EXPECT_THAT(run.text, HasSubstr("test: predict: expected at most 11 operations in a piece of "
                                    "work that nothing can stop, got 12 with these sizes, at "
                                    "node_scale (model.cc:3); give smaller ones"));
  }
}

TEST_F(ArtifactTest, SameBytesEachTime) {
  for (const auto& [kind, name] :
       {std::pair{ArtifactKind::kObject, "a.o"}, std::pair{ArtifactKind::kShared, "a.so"},
        std::pair{ArtifactKind::kExecutable, "a"}}) {
    ASSERT_TRUE(Write(MakeTestPackage(), kind, File(name)).ok());
    const std::string first = ReadFile(File(name));
    ASSERT_TRUE(Write(MakeTestPackage(), kind, File(name)).ok());
    EXPECT_EQ(ReadFile(File(name)), first) << name;
    // Where the linker found its files.
    for (const char* digit : {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"}) {
      EXPECT_EQ(first.find(absl::StrCat("/proc/self/fd/", digit)), std::string::npos) << name;
    }
  }
}

TEST_F(ArtifactTest, FailureLeavesNothing) {
  const auto files = [&] {
    std::set<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(folder())) {
      names.insert(entry.path().filename());
    }
    return names;
  };
  TestPackage unnamed = MakeTestPackage();
  unnamed.manifest.set_name("my model");
  absl::Status status = Write(unnamed, ArtifactKind::kObject, File("test.o"));
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("'my model'"));
  TestPackage closed = MakeTestPackage();
  (*(*closed.manifest.mutable_targets(0)->mutable_plans(0)).mutable_specialization())["batch"] = 3;
  status = Write(closed, ArtifactKind::kObject, File("test.o"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("keeps its dimensions open"));
  status = Write(MakeTestPackage(), ArtifactKind::kObject, File("test.h"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("another extension"));
  EXPECT_THAT(files(), testing::IsEmpty());
  status = Write(MakeTestPackage(), ArtifactKind::kObject, File("none/test.o"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("none/test"));
  std::filesystem::create_directories(File("test.o"));
  status = Write(MakeTestPackage(), ArtifactKind::kObject, File("test.o"));
  EXPECT_FALSE(status.ok());
  EXPECT_EQ(files(), std::set<std::string>{"test.o"});
}

TEST_F(ArtifactTest, PicksCodeForTheProcessor) {
  // Code that this processor can run, and better code that it cannot: nothing has all of these.
  TestPackage package = MakeTestPackage();
  TargetPlans* better = package.manifest.add_targets();
  *better = package.manifest.targets(0);
  better->set_target("cpu:impossible");
  better->set_code_section("code.impossible");
  for (const char* feature : {"avx",   "avx2",  "bmi",    "bmi2", "cx16",     "f16c",      "fma",
                              "lzcnt", "movbe", "popcnt", "sahf", "sse3",     "sse4.1",    "sse4.2",
                              "ssse3", "xop",   "fma4",   "tbm",  "amx-fp16", "avx512fp16"}) {
    better->add_features(feature);
  }
  package.code.push_back({"code.impossible", std::string(package.code[0].second.size(), '\xcc')});
  ASSERT_TRUE(Write(package, ArtifactKind::kExecutable, File("model")).ok());
  ASSERT_TRUE(SaveNpy(File("x.npy"), Floats({1, 4})).ok());
  const Outcome run = Shell(absl::StrCat(File("model"), " --bench=1 --x=", File("x.npy")));
  EXPECT_EQ(run.code, 0) << run.text;
  EXPECT_THAT(run.text, HasSubstr("on cpu:x86-64-v3"));

  package.manifest.mutable_targets()->DeleteSubrange(0, 1);
  ASSERT_TRUE(Write(package, ArtifactKind::kExecutable, File("model")).ok());
  const Outcome refused = Shell(absl::StrCat(File("model"), " --x=", File("x.npy")));
  EXPECT_EQ(refused.code, 1);
  EXPECT_THAT(refused.text, HasSubstr("this processor lacks instructions"));
}

TEST_F(ArtifactTest, PicksSpecialisedPlans) {
  TestPackage package = MakeTestPackage();
  // So that one can tell: the plan for batch 3 fills with 7.
  TargetPlans* target = package.manifest.mutable_targets(0);
  plan_testing::PlanBuilder builder("predict");
  builder.Input("x", DataType::kF32, {builder.Static(3), builder.Static(4)});
  const uint32_t y = builder.Output("y", DataType::kF32, {builder.Static(3), builder.Static(4)});
  builder.Launch(0, builder.Kernel("fill", TEST_FILL), {y},
                 {builder.Constant(12), builder.Constant(7)}, builder.Constant(1));
  (*builder.plan().mutable_specialization())["batch"] = 3;
  *target->add_plans() = builder.Build();
  ASSERT_TRUE(Write(package, ArtifactKind::kExecutable, File("model")).ok());
  auto session = Session::FromPackage(package.Bytes());
  ASSERT_TRUE(session.ok()) << session.status();
  for (const int64_t batch : {2, 3, 4}) {
    const HostTensor x = Floats({batch, 4});
    ASSERT_TRUE(SaveNpy(File("x.npy"), x).ok());
    const Outcome run =
        Shell(absl::StrCat(File("model"), " --x=", File("x.npy"), " --out-y=", File("y.npy")));
    ASSERT_EQ(run.code, 0) << run.text;
    auto expected = (*session)->Run("predict", {{"x", x}});
    ASSERT_TRUE(expected.ok()) << expected.status();
    EXPECT_EQ(ReadFile(File("y.npy")), WriteNpy(expected->at("y"))) << batch;
    EXPECT_EQ(expected->at("y").values<float>()[1] == 7, batch == 3);
  }
}

}  // namespace
}  // namespace weft
