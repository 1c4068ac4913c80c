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
using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
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

// What a section tells people to type, in its order: `weft ...`, and options that go with it.
std::vector<std::string> TypedIn(const std::string& title) {
  std::string text;
  for (const std::string& line : Section(title)) text += line + " ";
  std::vector<std::string> typed;
  size_t at = 0;
  for (bool inside = false;; inside = !inside) {
    const size_t end = text.find('`', at);
    if (end == std::string::npos) return typed;
    const std::string span = text.substr(at, end - at);
    if (inside && (span.rfind("weft", 0) == 0 || span.rfind("--", 0) == 0)) typed.push_back(span);
    at = end + 1;
  }
}

// What the README says, what that is here, and what then is said, on either stream.
struct Typed {
  const char* span;
  std::string command;
  ::testing::Matcher<std::string> says;
};

class Sections : public Examples {
 protected:
  void SetUp() override {
    Examples::SetUp();
    WriteRows(folder_.string());
    TypeAll({"classifier", "cp classifier.weft M",
             "weft run M --signature init --save-checkpoint w.safetensors",
             "weft compile M --checkpoint w.safetensors --signature predict -o P.weftpkg"});
    const auto x = LoadNpy(Path("x.npy"));
    ASSERT_TRUE(x.ok());
    ASSERT_TRUE(SaveNpz(Path("in.npz"), {{"x", *x}}).ok());
  }

  void TypeSection(const std::string& title, const std::vector<Typed>& all) {
    std::vector<std::string> spans;
    for (const Typed& typed : all) {
      spans.push_back(typed.span);
      const Ended ended = Type("{ " + typed.command + "; }");
      EXPECT_EQ(ended.code, 0) << typed.command << "\n" << ended.err;
      EXPECT_THAT(ended.out + ended.err, typed.says) << typed.command;
    }
    EXPECT_EQ(TypedIn(title), spans) << "type here what the README says now";
  }
};

TEST_F(Sections, TheLifeOfAGraph) {
  const std::string compile = "weft compile M --signature predict -o ";
  TypeSection(
      "The life of a graph",
      {{"weft inspect M", "weft inspect M", HasSubstr("signature train_step: ")},
       {"--nodes", "weft inspect M --nodes",
        HasSubstr(" = matmul(x, hidden/kernel) : f32[batch, 128]")},
       {"--format html -o M.html", "weft inspect M --format html -o M.html && head -1 M.html",
        StartsWith("<!doctype html>")},
       {"--format textproto", "weft inspect M --format textproto", HasSubstr("op: \"matmul\"")},
       {"--format mlir", "weft inspect M --format mlir", HasSubstr("\"weft.matmul\"(")},
       {"weft grad M --of loss --wrt a,b -o G",
        "weft grad M --of eval_step.loss --wrt hidden/kernel,hidden/bias -o G && weft inspect G",
        AllOf(HasSubstr("with 2 gradients"), HasSubstr("out  d_hidden/bias f32[128]"))},
       {"weft compile M -o - --emit mlir", compile + "- --emit mlir",
        HasSubstr("\"plan.fusion\"(")},
       {"--emit llvm", compile + "- --emit llvm", HasSubstr("define hidden void @")},
       {"--emit asm", compile + "- --emit asm", ContainsRegex("\n\tretq?\n")},
       {"--dump-after-each-pass FOLDER",
        compile + "p.weftpkg --dump-after-each-pass dumps && ls dumps",
        AllOf(HasSubstr("_predict_simplify.mlir\n"), HasSubstr("_predict_fuse.mlir\n"))},
       {"--time-passes", compile + "p.weftpkg --time-passes",
        ContainsRegex("[0-9]+\\.[0-9][0-9] ms  predict/fuse\n")},
       {"--explain", compile + "p.weftpkg --explain",
        ContainsRegex("\nfused: node '[^\n]* by rule epilogue, saves ")},
       {"weft inspect P.weftpkg --nodes", "weft inspect P.weftpkg --nodes",
        ContainsRegex("\n    fusion\\(matmul[^\n]*  flops [^\n]*classifier.cc:[0-9]+\n")},
       {"weft run M --profile", "weft run M --profile --init --feed x=x.npy",
        AllOf(HasSubstr("class i64[400]"), ContainsRegex("fusion\\(matmul[^\n]*classifier.cc:"))},
       {"weft bench M", "weft bench M --seconds 0.05",
        ContainsRegex("\nrate      [0-9.]+ GFLOP/s of ")}});
}

TEST_F(Sections, WhenSomethingIsWrong) {
  const std::string feed = " --checkpoint w.safetensors --feed x=x.npy";
  TypeAll({"weft run M" + feed + " --out out.npz"});
  TypeSection(
      "When something is wrong",
      {{"weft run M ... --disable-pass NAME",
        "weft run M" + feed + " --disable-pass fuse --out less.npz && cmp out.npz less.npz",
        ::testing::_},
       {"weft verify M --inputs in.npz --expected out.npz",
        "weft verify M --checkpoint w.safetensors --inputs in.npz --expected out.npz",
        HasSubstr("agrees")},
       {"weft inspect P.weftpkg --size batch=32 --threads 4",
        "weft inspect P.weftpkg --size batch=32 --threads 4",
        HasSubstr("of arena and scratch with 4 threads at batch=32")},
       {"--device", "weft inspect P.weftpkg --size batch=32 --device cpu",
        HasSubstr("of arena and scratch with ")},
       {"weft run", "weft run M --memory --threads 3" + feed,
        HasSubstr("of arena and scratch with 3 threads; measured")},
       {"weft-run", "weft-run P.weftpkg --feed x=x.npy --memory --threads 1",
        HasSubstr("of arena and scratch with 1 thread; measured")},
       {"--memory", "weft-run P.weftpkg --feed x=x.npy --memory --json", HasSubstr("\"class\"")},
       {"--memory-budget 64MiB",
        "weft compile M --signature predict -o B.weftpkg --memory-budget 64MiB", ::testing::_},
       {"weft compile", "weft inspect B.weftpkg", HasSubstr("signature predict")},
       {"--memory-budget-threads 4",
        "weft compile M --signature predict -o B.weftpkg --memory-budget 64MiB "
        "--memory-budget-threads 4",
        ::testing::_},
       {"--config=asan", "true", ::testing::_}});
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
           // Few to test, for an emulated GPU goes through them.
           "weft train digits.weft --data images.idx.gz --data labels.idx.gz --epochs 1 "
           "--test 0.005 --save-test rows",
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
