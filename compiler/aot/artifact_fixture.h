// For tests that build artifacts, compile programs against them, and run those.
#ifndef WEFT_COMPILER_AOT_ARTIFACT_FIXTURE_H_
#define WEFT_COMPILER_AOT_ARTIFACT_FIXTURE_H_

#include <gtest/gtest.h>

#include <string>

namespace weft {

// How a command ended.
struct Outcome {
  int code;          // of the exit, or 128 + the signal
  std::string text;  // standard output and error
};

// Runs a command of the shell.
Outcome Shell(const std::string& command);

// The bytes of a file; "" where there is none.
std::string ReadFile(const std::string& path);

// Has a folder of the test's own, empty at first.
class ArtifactFixture : public testing::Test {
 protected:
  void SetUp() override;
  const std::string& folder() const { return folder_; }
  // The path of a file in the folder.
  std::string File(const std::string& name) const { return folder_ + "/" + name; }
  // Compiles a program, which may include headers in the folder, without warnings; `link` are
  // objects, libraries and options. `compiler` is a command such as "clang-22 -std=c99".
  Outcome Compile(const std::string& compiler, const std::string& source, const std::string& link,
                  const std::string& program) const;

 private:
  std::string folder_;
};

}  // namespace weft

#endif  // WEFT_COMPILER_AOT_ARTIFACT_FIXTURE_H_
