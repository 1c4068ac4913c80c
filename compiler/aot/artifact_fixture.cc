#include "compiler/aot/artifact_fixture.h"

#include <sys/wait.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"

namespace weft {

Outcome Shell(const std::string& command) {
  Outcome outcome = {-1, ""};
  FILE* pipe = popen(absl::StrCat("(", command, ") 2>&1").c_str(), "r");
  if (pipe == nullptr) return outcome;
  char buffer[4096];
  for (size_t size; (size = fread(buffer, 1, sizeof(buffer), pipe)) > 0;) {
    outcome.text.append(buffer, size);
  }
  const int status = pclose(pipe);
  outcome.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return outcome;
}

std::string ReadFile(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  std::stringstream text;
  text << stream.rdbuf();
  return text.str();
}

void ArtifactFixture::SetUp() {
  folder_ = absl::StrCat(testing::TempDir(), "/",
                         testing::UnitTest::GetInstance()->current_test_info()->name());
  std::filesystem::remove_all(folder_);
  std::filesystem::create_directories(folder_);
}

Outcome ArtifactFixture::Compile(const std::string& compiler, const std::string& source,
                                 const std::string& link, const std::string& program) const {
  return Shell(absl::StrCat(compiler, " -Wall -Wextra -Werror -O1 -I ", folder_, " ", source, " ",
                            link, " -lpthread -o ", program));
}

}  // namespace weft
