// What the README and the help texts tell people to type, typed.
#include <gmock/gmock.h>

#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "proto/npy.h"
#include "tests/cli/cli.h"

namespace weft {
namespace {

namespace fs = std::filesystem;
using ::testing::ContainsRegex;
using ::testing::SizeIs;
using ::testing::StartsWith;

class Examples : public CliTest {
 protected:
  // In the test's folder, with the programs on the path.
  Ended Type(const std::string& command) const {
    const fs::path top = fs::current_path();
    return Run("cd " + folder_.string() + " && PATH=" + (top / "tools").string() + ":" +
               (top / "tools/examples").string() + ":$PATH && " + command);
  }
  void TypeAll(const std::vector<std::string>& commands) const {
    for (const std::string& command : commands) {
      const Ended ended = Type(command);
      EXPECT_EQ(ended.code, 0) << command << "\n" << ended.err;
    }
  }
};

std::string Trimmed(const std::string& line) {
  const size_t begin = line.find_first_not_of(' ');
  return begin == std::string::npos ? "" : line.substr(begin);
}

// The section of the README of that name.
std::vector<std::string> Section(const std::string& title) {
  std::istringstream readme(ReadFile("README.md"));
  std::vector<std::string> lines;
  bool inside = false;
  for (std::string line; std::getline(readme, line);) {
    if (line.rfind("## ", 0) == 0) inside = line == "## " + title;
    if (inside) lines.push_back(line);
  }
  return lines;
}

// Ten kinds of rows, each its own pattern with noise.
void WriteRows(const std::string& folder) {
  constexpr int kRows = 400, kWidth = 784;
  std::mt19937 random(1);
  std::uniform_real_distribution<float> uniform(-1, 1);
  std::vector<float> patterns(10 * kWidth), x(kRows * kWidth);
  for (float& value : patterns) value = uniform(random);
  std::vector<int32_t> y(kRows);
  for (int row = 0; row < kRows; ++row) {
    y[row] = row % 10;
    for (int i = 0; i < kWidth; ++i) {
      x[row * kWidth + i] = patterns[y[row] * kWidth + i] + uniform(random);
    }
  }
  const HostTensor features = HostTensor::Of<float>({kRows, kWidth}, x);
  const HostTensor labels = HostTensor::Of<int32_t>({kRows}, y);
  ASSERT_TRUE(SaveNpz(folder + "/train.npz", {{"x", features}, {"y", labels}}).ok());
  ASSERT_TRUE(SaveNpy(folder + "/x.npy", features).ok());
  ASSERT_TRUE(SaveNpy(folder + "/y.npy", labels).ok());
}

TEST_F(Examples, TenLinesOfTheReadme) {
  // The code is that of classifier.cc, line by line.
  std::istringstream program(ReadFile("tools/examples/classifier.cc"));
  std::vector<std::string> code, commands;
  bool in_code = false;
  for (const std::string& line : Section("Ten lines")) {
    if (line.rfind("```", 0) == 0) {
      in_code = !in_code;
    } else if (in_code) {
      code.push_back(line);
    } else if (line.rfind("    weft", 0) == 0) {
      commands.push_back(Trimmed(line));
    }
  }
  ASSERT_THAT(code, SizeIs(10));
  size_t found = 0;
  for (std::string line; std::getline(program, line) && found < code.size();) {
    if (Trimmed(line) == code[found]) ++found;
  }
  EXPECT_EQ(found, code.size()) << "not in classifier.cc: " << code[found];

  WriteRows(folder_.string());
  TypeAll({"classifier"});
  EXPECT_GE(commands.size(), 6u);
  TypeAll(commands);
  const auto classes = LoadNpy(Path("class.npy"));
  ASSERT_TRUE(classes.ok()) << classes.status();
  int right = 0;
  for (int row = 0; row < 400; ++row) right += classes->values<int64_t>()[row] == row % 10;
  EXPECT_GT(right, 380);

  // From C, with the package that the README makes for training.
  const Ended trained = Type("train_from_c train.weftpkg x.npy y.npy 30 c.safetensors");
  EXPECT_EQ(trained.code, 0) << trained.err;
  double first = 0, last = 0;
  ASSERT_EQ(std::sscanf(trained.out.c_str(), "step 1: loss %lf\nstep 30: loss %lf", &first, &last),
            2)
      << trained.out;
  EXPECT_LT(last, 0.5 * first);
  const Ended judged = Type(
      "weft-run train.weftpkg --signature eval_step --checkpoint c.safetensors --feed train.npz");
  EXPECT_THAT(judged.out, ContainsRegex("accuracy f32\\[\\] (1|0\\.9)")) << judged.err;
  EXPECT_EQ(Type("train_from_c train.weftpkg y.npy x.npy 1 d.safetensors").code, 3);
  EXPECT_FALSE(fs::exists(Path("d.safetensors")));
}

// The examples at the end of a help text, continued lines put together.
std::vector<std::string> ExamplesOf(const std::string& help) {
  std::istringstream lines(help);
  std::vector<std::string> examples;
  bool inside = false, continued = false;
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind("Example", 0) == 0) {
      inside = true;
      line = line.substr(line.find(": ") + 2);
    } else if (line.rfind(' ', 0) != 0) {
      inside = false;
    }
    if (!inside) continue;
    line = Trimmed(line);
    const bool continues = !line.empty() && line.back() == '\\';
    if (continues) line.pop_back();
    if (continued) {
      examples.back() += line;
    } else {
      examples.push_back(line);
    }
    continued = continues;
  }
  return examples;
}

TEST_F(Examples, OfHelpTexts) {
  const fs::path data = fs::absolute("tools/examples/data");
  const auto link = [&](const char* file, const char* name) {
    fs::create_symlink(data / file, folder_ / name);
  };
  link("auto_mpg.csv", "cars.csv");
  link("digits-images-idx3-ubyte.gz", "images.idx.gz");
  link("digits-labels-idx1-ubyte.gz", "labels.idx.gz");
  // What the examples take for granted.
  TypeAll({"digits digits.weft",
           "weft run digits.weft --signature init --save-checkpoint w.safetensors",
           "weft train digits.weft --data images.idx.gz --data labels.idx.gz --epochs 1 --test 0.1 "
           "--save-test rows",
           "cp rows/x.npy images.npy && cp rows/y.npy labels.npy"});
  const auto type = [&](const std::string& command) {
    const std::vector<std::string> examples = ExamplesOf(Type(command + " --help").out);
    ASSERT_FALSE(examples.empty()) << command;
    for (const std::string& example : examples) EXPECT_THAT(example, StartsWith(command + " "));
    TypeAll(examples);
  };
  type("weft train");
  type("weft compile");
  type("weft run");
  type("weft inspect");
  type("weft grad");
  TypeAll(
      {"weft run digits.weft --checkpoint run/best.safetensors --feed x=images.npy "
       "--out out.npz"});
  const auto images = LoadNpy(Path("images.npy"));
  ASSERT_TRUE(images.ok()) << images.status();
  ASSERT_TRUE(SaveNpz(Path("in.npz"), {{"x", *images}}).ok());
  type("weft verify");
  type("weft bench");
  TypeAll({"weft compile digits.weft -o train.weftpkg"});
  type("weft-run");
}

}  // namespace
}  // namespace weft
