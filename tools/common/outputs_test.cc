#include "tools/common/outputs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <new>
#include <set>
#include <stdexcept>
#include <string>

#include "tools/common/exit_code.h"

namespace weft::cli {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

std::string Folder() {
  const fs::path folder = fs::path(::testing::TempDir()) /
                          ::testing::UnitTest::GetInstance()->current_test_info()->name();
  fs::remove_all(folder);
  fs::create_directories(folder);
  return folder.string();
}

TEST(FileNameOf, IsOneNameInOneFolder) {
  EXPECT_EQ(FileNameOf("x"), "x");
  EXPECT_EQ(FileNameOf("dense1_kernel-2.bias"), "dense1_kernel-2.bias");
  std::set<std::string> files;
  const std::string names[] = {"x/y", "../x", "x%2Fy", ".",  "..",
                               ".x",  "x y",  "x\ny",  "/x", "\xff"};
  for (const std::string& name : names) {
    const std::string file = FileNameOf(name) + ".npy";
    EXPECT_EQ(fs::path(file).filename(), file) << name;
    EXPECT_NE(file[0], '.') << name;
    files.insert(file);
  }
  EXPECT_EQ(files.size(), std::size(names));
}

TEST(CheckOutput, FoldersThatAreToBeMade) {
  const std::string folder = Folder(), made = folder + "/run";
  EXPECT_THAT(CheckOutput("-o", made + "/x", {}).message(), HasSubstr("there is no folder"));
  for (const std::string& name : {made, made + "/", folder + "/./run", folder + "/other/../run"}) {
    EXPECT_TRUE(CheckOutput("-o", made + "/x", {}, {"", name}).ok()) << name;
  }
  EXPECT_FALSE(CheckOutput("-o", made + "/deeper/x", {}, {made}).ok());
  EXPECT_TRUE(CheckOutput("-o", "/dev/stdout", {}).ok());
}

TEST(CheckFolder, LooksAtWhatIsThere) {
  const std::string folder = Folder();
  std::ofstream(folder + "/file") << "x";
  EXPECT_TRUE(CheckFolder("--checkpoint", "").ok());
  EXPECT_TRUE(CheckFolder("--checkpoint", folder + "/a/b/c").ok());
  EXPECT_FALSE(fs::exists(folder + "/a"));
  for (const char* name : {"/file", "/file/run"}) {
    EXPECT_THAT(CheckFolder("--checkpoint", folder + name).message(),
                HasSubstr("/file is a file, not a folder"));
  }
}

TEST(Finish, AnExceptionIsAnError) {
  testing::internal::CaptureStderr();
  EXPECT_EQ(Finish([]() -> absl::Status { throw std::length_error("too long"); }), kRunFailed);
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "weft: failed unexpectedly: too long\n");
  testing::internal::CaptureStderr();
  EXPECT_EQ(Finish([]() -> absl::Status { throw std::bad_alloc(); }), kRunFailed);
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "weft: there is not enough memory\n");
}

}  // namespace
}  // namespace weft::cli
