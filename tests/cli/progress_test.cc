// What is shown of work that takes longer than a second.
#include <gmock/gmock.h>

#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "tests/cli/cli.h"

namespace weft {
namespace {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::Value;

class CliProgress : public CliTest {
 protected:
  void SetUp() override {
    CliTest::SetUp();
    model_ = Path("model.weft");
    Ok("train mlp --data tools/examples/data/auto_mpg.csv --target mpg --hidden 64,64 --epochs 1 "
       "-o " +
       model_);
  }
  // The program with a terminal for standard input, error and, unless it goes to a file, output.
  Ended OnTerminal(const std::string& arguments) const {
    return Run("TERM=xterm script -qec 'tools/weft " + arguments + "' /dev/null </dev/null");
  }
  // What is said by a compilation of more and more plans, once it takes so long that what is shown
  // of it matches.
  std::string LongCompilation(const std::function<Ended(const std::string&)>& run,
                              const std::string& shown) const {
    std::string said;
    for (int sizes = 4; sizes <= 1024; sizes *= 2) {
      std::string list;
      for (int i = 1; i <= sizes; ++i) list += (i == 1 ? "" : ",") + std::to_string(i);
      const Ended ended = run("compile " + model_ + " --threads 1 --specialize batch=" + list +
                              " -o " + Path("out.weftpkg"));
      said = ended.out + ended.err;
      EXPECT_EQ(ended.code, 0) << said;
      if (Value(said, ContainsRegex(shown))) return said;
    }
    ADD_FAILURE() << "nothing matches '" << shown << "': " << said;
    return said;
  }

  std::string model_;
};

TEST_F(CliProgress, CompilingOnATerminal) {
  const std::string said =
      LongCompilation([&](const auto& line) { return OnTerminal(line); },
                      "\rcompiling [^\r]*model.weft +[0-9]+ % │[^\r]*│ [0-9]+:[0-9][0-9]");
  // Which is taken away before the last line.
  EXPECT_THAT(said, ContainsRegex("\r\x1b\\[K[^\r]*out.weftpkg: package for "));
}

TEST_F(CliProgress, CompilingElsewhere) {
  const std::string said =
      LongCompilation([&](const auto& line) { return Weft(line); },
                      "compiling [^\n]*model.weft [0-9]+ %, (plan|machine code) "
                      "[0-9]+/[0-9]+ for cpu:x86-64-v[34], [0-9]+:[0-9][0-9]");
  EXPECT_THAT(said, AllOf(Not(HasSubstr("\r")), Not(HasSubstr("\x1b"))));
}

// The step, and what it is worth, of a training that goes on until it is seen.
TEST_F(CliProgress, Training) {
  const std::string train =
      "train mlp --data tools/examples/data/auto_mpg.csv --target mpg "
      "--hidden 8 --epochs 100000 ";
  const auto until_seen = [&](const std::string& command, const std::string& seen) {
    const std::string log = Path("log");
    std::filesystem::remove(log);  // what an earlier command said
    Run("{ " + command + " > " + log + " 2>&1 & until grep -q '" + seen + "' " + log +
        "; do kill -0 $! || break; sleep 0.05; done; kill -TERM $!; wait $!; }");
    return ReadFile(log);
  };
  const std::string bar =
      "training +[0-9]+ % │[^\r]*│ [0-9]+:[0-9][0-9][^\r]*epoch [0-9]+/100000  loss [0-9]";
  EXPECT_THAT(until_seen("TERM=xterm script -qefc 'tools/weft " + train + "' /dev/null </dev/null",
                         "training .*epoch .*loss"),
              ContainsRegex(bar));
  const std::string plain = until_seen("tools/weft " + train, "training .*epoch .*loss");
  EXPECT_THAT(plain, ContainsRegex("training [0-9]+/[0-9]+ \\([0-9]+ %\\), epoch "));
  EXPECT_THAT(plain, AllOf(Not(HasSubstr("\r")), Not(HasSubstr("\x1b"))));
}

TEST_F(CliProgress, Measuring) {
  // What is said by a measurement that is long enough for what is shown of it to match. What it
  // measured is in the file.
  const auto measure = [&](const auto& run, const std::string& shown) {
    std::string said;
    for (double seconds = 1.5; seconds < 60; seconds *= 2) {
      const Ended ended = run("bench " + model_ + " --seconds " + std::to_string(seconds) +
                              " --threads 1 --json > " + Path("out.json"));
      EXPECT_EQ(ended.code, 0) << ended.out << ended.err;
      const std::string json = ReadFile(Path("out.json"));
      EXPECT_TRUE(nlohmann::json::accept(json)) << json;
      said = ended.out + ended.err;
      if (Value(said, ContainsRegex(shown))) return;
    }
    ADD_FAILURE() << "nothing matches '" << shown << "': " << said;
  };
  measure([&](const auto& line) { return OnTerminal(line); },
          "\rmeasuring predict +[0-9]+ % │[^\r]*│[^\r]* runs");
  measure([&](const auto& line) { return Run("{ tools/weft " + line + "; }"); },
          "measuring predict [0-9]+ %, [0-9]+ runs, [0-9]+:[0-9][0-9]");
}

}  // namespace
}  // namespace weft
