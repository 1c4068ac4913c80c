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
  // What is said by a compilation of more and more plans, once it took a second and a half.
  std::string LongCompilation(const std::function<Ended(const std::string&)>& run) const {
    for (int sizes = 4; sizes < 10000; sizes *= 2) {
      std::string list;
      for (int i = 1; i <= sizes; ++i) list += (i == 1 ? "" : ",") + std::to_string(i);
      const Ended ended = run("compile " + model_ + " --threads 1 --specialize batch=" + list +
                              " -o " + Path("out.weftpkg"));
      const std::string said = ended.out + ended.err;
      EXPECT_EQ(ended.code, 0) << said;
      // The line ends in ", 2.31 s".
      const size_t at = said.find("out.weftpkg: package for ");
      const size_t seconds = said.rfind(", ", said.find('\n', at));
      if (at == std::string::npos || seconds == std::string::npos || seconds < at) {
        ADD_FAILURE() << said;
        return said;
      }
      if (std::stod(said.substr(seconds + 2)) > 1.5) return said;
    }
    ADD_FAILURE() << "no compilation was long";
    return "";
  }

  std::string model_;
};

TEST_F(CliProgress, CompilingOnATerminal) {
  const std::string said = LongCompilation([&](const auto& line) { return OnTerminal(line); });
  EXPECT_THAT(said, ContainsRegex("\rcompiling [^\r]*model.weft +[0-9]+ % │[^\r]*│ 0:0[0-9]"));
  // Which is taken away before the last line.
  EXPECT_THAT(said, ContainsRegex("\r\x1b\\[K[^\r]*out.weftpkg: package for "));
}

TEST_F(CliProgress, CompilingElsewhere) {
  const std::string said = LongCompilation([&](const auto& line) { return Weft(line); });
  EXPECT_THAT(said, AllOf(ContainsRegex("compiling [^\n]*model.weft [0-9]+ %, (plan|machine code) "
                                        "[0-9]+/[0-9]+ for cpu:x86-64-v[34], 0:0[0-9]"),
                          Not(HasSubstr("\r")), Not(HasSubstr("\x1b"))));
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
      "training +[0-9]+ % │[^\r]*│ 0:0[0-9][^\r]*epoch [0-9]+/100000  loss [0-9]";
  EXPECT_THAT(until_seen("TERM=xterm script -qefc 'tools/weft " + train + "' /dev/null </dev/null",
                         "training .*epoch .*loss"),
              ContainsRegex(bar));
  const std::string plain = until_seen("tools/weft " + train, "training .*epoch .*loss");
  EXPECT_THAT(plain, ContainsRegex("training [0-9]+/[0-9]+ \\([0-9]+ %\\), epoch "));
  EXPECT_THAT(plain, AllOf(Not(HasSubstr("\r")), Not(HasSubstr("\x1b"))));
}

TEST_F(CliProgress, Measuring) {
  const std::string bench = "bench " + model_ + " --seconds 1.5 --threads 1 --json";
  const Ended terminal = OnTerminal(bench + " > " + Path("out.json"));
  EXPECT_EQ(terminal.code, 0) << terminal.out;
  EXPECT_THAT(terminal.out, ContainsRegex("\rmeasuring predict +[0-9]+ % │[^\r]*│[^\r]* runs"));
  EXPECT_TRUE(nlohmann::json::accept(ReadFile(Path("out.json"))));
  const Ended elsewhere = Weft(bench);
  EXPECT_THAT(elsewhere.err, ContainsRegex("measuring predict [0-9]+ %, [0-9]+ runs, 0:0"));
  EXPECT_TRUE(nlohmann::json::accept(elsewhere.out)) << elsewhere.out;
}

}  // namespace
}  // namespace weft
