#include "compiler/codegen/cuda/ptxas.h"

#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/cuda/cubin.h"

namespace weft {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kFake[] = "runtime/cuda/testing/fake_ptxas";

std::string Ptx(const std::string& target, const std::string& more = "") {
  return absl::StrCat(".version 8.0\n.target ", target, "\n.address_size 64\n", more);
}

absl::StatusOr<std::optional<std::string>> Assemble(const std::string& ptxas,
                                                    const std::string& target,
                                                    const std::string& more = "") {
  return AssemblePtx(ptxas, Ptx(target, more), *Target::Parse("cuda:" + target));
}

// A program that is none, and says so.
std::string Script(const std::string& name, const std::string& text) {
  const std::string path = absl::StrCat(testing::TempDir(), "/", name);
  std::ofstream(path) << "#!/bin/sh\n" << text << "\n";
  EXPECT_EQ(chmod(path.c_str(), 0755), 0);
  return path;
}

TEST(Ptxas, MakesMachineCodeOfWhatItKnows) {
  const auto made = Assemble(kFake, "sm_80", "// a comment\n");
  ASSERT_TRUE(made.ok()) << made.status();
  ASSERT_TRUE(made->has_value());
  EXPECT_TRUE(cuda::CheckCubin(**made).ok());
  EXPECT_THAT(**made, HasSubstr("// a comment"));
  const auto unknown = Assemble(kFake, "sm_70");
  ASSERT_TRUE(unknown.ok()) << unknown.status();
  EXPECT_FALSE(unknown->has_value());
}

TEST(Ptxas, WhatItRefusesIsAFaultOfTheCompiler) {
  const absl::Status refused = Assemble(kFake, "sm_90a", "refuse this").status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(refused.message()),
              AllOf(HasSubstr("fake_ptxas refuses the PTX for cuda:sm_90a: ptxas the PTX, line 4; "
                              "fatal   : Parsing error near 'refuse'; ptxas fatal"),
                    Not(HasSubstr("/proc"))));
}

TEST(Ptxas, WhatIsNoAssembler) {
  for (const auto& [path, why] :
       {std::pair{std::string("no/such/ptxas"), "cannot be run"},
        std::pair{Script("fails", "echo wrong >&2; exit 1"), "a broken one: wrong"},
        std::pair{Script("makes_nothing", "exit 0"), "a broken one: it made no ELF image"},
        std::pair{Script("makes_text", "echo text > $3"), "a broken one: it made no ELF image"},
        std::pair{Script("dies", "kill -9 $$"), "cannot be run"}}) {
    const absl::Status status = Assemble(path, "sm_80").status();
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << path;
    EXPECT_THAT(std::string(status.message()), AllOf(HasSubstr(path), HasSubstr(why)));
  }
}

TEST(Ptxas, IsFoundWhereToolkitsAre) {
  const std::filesystem::path home = std::filesystem::path(testing::TempDir()) / "toolkit";
  std::filesystem::create_directories(home / "bin");
  const std::string there = (home / "bin" / "ptxas").string();
  std::filesystem::rename(Script("ptxas_of_home", "exit 0"), there);
  unsetenv("CUDA_PATH");
  ASSERT_EQ(setenv("CUDA_HOME", home.c_str(), 1), 0);
  EXPECT_EQ(FindPtxas(), there);
  unsetenv("CUDA_HOME");
  EXPECT_NE(FindPtxas(), there);
  ASSERT_EQ(setenv("CUDA_PATH", home.c_str(), 1), 0);
  EXPECT_EQ(FindPtxas(), there);
  unsetenv("CUDA_PATH");
  const std::string path = getenv("PATH");
  ASSERT_EQ(setenv("PATH", (home / "bin").c_str(), 1), 0);
  EXPECT_EQ(FindPtxas(), there);
  ASSERT_EQ(setenv("PATH", path.c_str(), 1), 0);
}

// Where there is one: it has another idea of what an image is than a fake.
TEST(Ptxas, TheRealOne) {
  const std::string ptxas = FindPtxas();
  if (ptxas.empty()) GTEST_SKIP() << "no ptxas";
  const auto made = Assemble(ptxas, "sm_80", ".visible .entry k()\n{\nret;\n}\n");
  ASSERT_TRUE(made.ok()) << made.status();
  ASSERT_TRUE(made->has_value());
  EXPECT_EQ(cuda::CheckCubin(**made).message(), "");
  EXPECT_EQ(Assemble(ptxas, "sm_80", "this is no code").status().code(),
            absl::StatusCode::kInternal);
}

}  // namespace
}  // namespace weft
