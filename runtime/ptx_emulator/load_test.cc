#include <string>
#include <string_view>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/ptx_emulator/decode.h"
#include "runtime/ptx_emulator/emulator.h"
#include "runtime/ptx_emulator/parser.h"
#include "runtime/ptx_emulator/text.h"

// What a short text costs to load: everything is bounded, whatever the text makes of itself. Where
// time is what it costs, texts are so large that one who takes the square of their size does not
// end within the time limit of this test, which takes a few seconds.
namespace weft::ptx {
namespace {

using testing::HasSubstr;

constexpr char kHeader[] = ".version 8.0\n.target sm_80\n.address_size 64\n";

std::string Repeat(std::string_view text, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) all += text;
  return all;
}

// A chain of calls is refused for its depth, however long it is.
TEST(Load, LongChainsOfCalls) {
  std::string text = kHeader;
  for (int i = 0; i < 100000; ++i) {
    absl::StrAppend(&text, ".func f", i, "()\n{\n",
                    i == 0 ? "" : absl::StrCat("call f", i - 1, ";\n"), "ret;\n}\n");
  }
  text += ".visible .entry k()\n{\ncall f99999;\nret;\n}\n";
  Emulator device;
  EXPECT_FALSE(device.Load(text).ok());
}

// Many kernels that all inline the same calls are bounded together.
TEST(Load, InlinedCallsOfAModule) {
  std::string text =
      Cat(kHeader, ".func a()\n{\n.reg .b32 %r<2>;\n", Repeat("mov.b32 %r1, 1;\n", 1000),
          "ret;\n}\n.func b()\n{\n", Repeat("call a;\n", 900), "ret;\n}\n");
  for (int i = 0; i < 40; ++i) {
    absl::StrAppend(&text, ".visible .entry k", i, "()\n{\ncall b;\nret;\n}\n");
  }
  Emulator device;
  EXPECT_EQ(device.Load(text).status().code(), absl::StatusCode::kResourceExhausted);
}

// Calls cost something also where no instruction comes of them.
TEST(Load, CallsOfFunctionsWithoutInstructions) {
  const std::string text = Cat(kHeader, ".func h() {}\n.func g() {", Repeat("call h;", 255),
                               "}\n.func f() {", Repeat("call g;", 255), "}\n");
  Emulator device;
  const absl::StatusOr<int> one = device.Load(text + ".entry k() { call f; }");
  EXPECT_TRUE(one.ok()) << one.status();
  std::string entries = text;
  for (int i = 0; i < 500; ++i) entries += Cat(".entry k", i, "() { call f; }\n");
  const absl::Status status = device.Load(entries).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("too large with its calls inlined"));
}

// So do the names of a function that is inlined.
TEST(Load, LabelsOfInlinedFunctions) {
  std::string labels;
  for (int i = 0; i < 10000; ++i) labels += Cat("L", i, ":\n");
  const std::string text =
      Cat(kHeader, ".func h() {", labels, "}\n.entry k() {", Repeat("call h;\n", 10000), "}\n");
  Emulator device;
  EXPECT_EQ(device.Load(text).status().code(), absl::StatusCode::kResourceExhausted);
}

// And constants, of which each has room for all lanes.
TEST(Load, Constants) {
  std::string text = Cat(kHeader, ".entry k() {\n.reg .b64 %r;\n");
  for (int i = 0; i < 1000; ++i) text += Cat("mov.b64 %r,", i, ";");
  const absl::StatusOr<std::unique_ptr<Module>> module = Parse(text + "}");
  ASSERT_TRUE(module.ok()) << module.status();
  const auto decode = [&](size_t left) {
    DecodeBudget budget{left};
    return Decode(**module, *(*module)->FindFunction("k"), {}, budget).status();
  };
  EXPECT_EQ(decode(1900).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(decode(2100).ok());
}

// The branches of a kernel share a table of targets.
TEST(Load, TablesOfBranches) {
  constexpr int kTargets = 20000, kBranches = 5000;
  std::string targets, labels;
  for (int i = 0; i < kTargets; ++i) {
    targets += Cat(i == 0 ? "" : ", ", "L", i);
    labels += Cat("L", i, ":\n");
  }
  const std::string text =
      Cat(kHeader, ".entry k() {\n.reg .b32 %r;\nmov.u32 %r, %tid.x;\nT: .branchtargets ", targets,
          ";\n", Repeat("brx.idx %r, T;\n", kBranches), labels, "ret;\n}\n");
  const absl::StatusOr<std::unique_ptr<Module>> module = Parse(text);
  ASSERT_TRUE(module.ok()) << module.status();
  DecodeBudget budget;
  const absl::StatusOr<std::unique_ptr<Kernel>> kernel =
      Decode(**module, *(*module)->FindFunction("k"), {}, budget);
  ASSERT_TRUE(kernel.ok()) << kernel.status();
  ASSERT_EQ((*kernel)->tables.size(), 1u);
  EXPECT_EQ((*kernel)->tables[0].size(), size_t{kTargets});
  const Instruction& branch = (*kernel)->instructions[1];
  EXPECT_EQ(branch.target, 0);
  // All targets are the last ret, where the lanes meet again.
  EXPECT_EQ(branch.reconvergence, kBranches + 1);
}

// A chain of branches back to its start.
TEST(Load, ManyLoopsOfOneHead) {
  const std::string text =
      Cat(kHeader, ".entry k() {\n.reg .pred %p;\nsetp.eq.u32 %p, 1, 2;\nHEAD:\n",
          Repeat("@%p bra HEAD;\n", 200000), "ret;\n}\n");
  Emulator device;
  const absl::StatusOr<int> module = device.Load(text);
  EXPECT_TRUE(module.ok()) << module.status();
}

TEST(Load, ManyKernelsAreFoundByName) {
  constexpr int kKernels = 100000;
  std::string text = kHeader;
  for (int i = 0; i < kKernels; ++i) text += Cat(".entry k", i, "() { ret; }\n");
  Emulator device;
  const absl::StatusOr<int> module = device.Load(text);
  ASSERT_TRUE(module.ok()) << module.status();
  for (int round = 0; round < 20; ++round) {
    for (int i = 0; i < kKernels; ++i) ASSERT_TRUE(device.GetFunction(*module, Cat("k", i)).ok());
  }
  EXPECT_FALSE(device.GetFunction(*module, Cat("k", kKernels)).ok());
}

}  // namespace
}  // namespace weft::ptx
