// Runs the command line programs as processes, as people do.
#ifndef WEFT_TESTS_CLI_CLI_H_
#define WEFT_TESTS_CLI_CLI_H_

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace weft {

inline std::string ReadFile(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

inline void WriteFile(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

// How a program ended.
struct Ended {
  int code = -1;  // 128 and more: by that signal
  std::string out, err;
};

// A test with a folder of its own.
class CliTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(::testing::TempDir()) /
              ::testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }

  std::string Path(const std::string& name) const { return (folder_ / name).string(); }
  // Names in the folder, sorted.
  std::vector<std::string> Files() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
      names.push_back(entry.path().filename().string());
    }
    std::sort(names.begin(), names.end());
    return names;
  }

  Ended Run(const std::string& command) const {
    const std::string base = (std::filesystem::path(::testing::TempDir()) / "cli").string();
    const int status = std::system((command + " >" + base + ".out 2>" + base + ".err").c_str());
    Ended ended{WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
                ReadFile(base + ".out"), ReadFile(base + ".err")};
    std::filesystem::remove(base + ".out");
    std::filesystem::remove(base + ".err");
    return ended;
  }
  Ended Weft(const std::string& arguments) const { return Run("tools/weft " + arguments); }
  // A command that must end well.
  std::string Ok(const std::string& arguments) const {
    const Ended ended = Weft(arguments);
    EXPECT_EQ(ended.code, 0) << arguments << "\n" << ended.err;
    return ended.out;
  }
  // A command that must fail with that code, in one line or two.
  std::string Fails(int code, const std::string& arguments) const {
    return FailsBy("tools/weft", "weft: ", code, arguments);
  }
  std::string FailsBy(const std::string& program, const std::string& prefix, int code,
                      const std::string& arguments) const {
    const Ended ended = Run(program + " " + arguments);
    EXPECT_EQ(ended.code, code) << program << " " << arguments << "\n" << ended.err;
    // What was said on the way ("data: ...") comes before.
    const size_t at = ended.err.find(prefix);
    EXPECT_NE(at, std::string::npos) << program << " " << arguments << "\n" << ended.err;
    const std::string message = at == std::string::npos ? "" : ended.err.substr(at);
    EXPECT_LE(std::count(message.begin(), message.end(), '\n'), 2) << message;
    EXPECT_LT(message.size(), 2000u) << message;
    for (const char c : message) {
      EXPECT_TRUE(c == '\n' || static_cast<unsigned char>(c) >= 0x20) << "byte " << int{c};
    }
    return message;
  }

  std::filesystem::path folder_;
};

}  // namespace weft

#endif  // WEFT_TESTS_CLI_CLI_H_
