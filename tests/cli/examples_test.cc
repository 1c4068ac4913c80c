// The examples that are not in the README, run to their end.
#include <gmock/gmock.h>

#include <cmath>
#include <cstdio>
#include <regex>
#include <string>

#include "proto/npy.h"
#include "tests/cli/cli.h"

namespace weft {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr char kText[] = "tools/examples/data/constitution.txt";

using CliExamples = CliTest;

TEST_F(CliExamples, TransformerLearns) {
  const Ended ended = Run(std::string("tools/examples/transformer ") + kText + " 100");
  ASSERT_EQ(ended.code, 0) << ended.err;
  double nats = 0, bits = 0, chance = 0;
  const size_t at = ended.out.find("; validation: ");
  ASSERT_NE(at, std::string::npos) << ended.out;
  ASSERT_EQ(std::sscanf(ended.out.c_str() + at,
                        "; validation: %lf nats, %lf bits per character (chance: %lf bits)", &nats,
                        &bits, &chance),
            3)
      << ended.out;
  // More than that some characters are more frequent than others.
  EXPECT_LT(bits, 0.7 * chance);
  const size_t text = ended.out.find("--- goes on:\n");
  ASSERT_NE(text, std::string::npos) << ended.out;
  EXPECT_EQ(ended.out.size() - text - std::string("--- goes on:\n").size(), 240u + 1);

  EXPECT_EQ(Run("tools/examples/transformer").code, 2);
  WriteFile(Path("short.txt"), "too little");
  EXPECT_THAT(FailsBy("tools/examples/transformer", "transformer: ", 1, Path("short.txt")),
              HasSubstr("expected 4 kB of text or more"));
}

// In a checkout that has been set up and built.
class CliScripts : public CliTest {
 protected:
  void SetUp() override {
    CliTest::SetUp();
    fs::create_directories(Path("bin"));
    fs::create_directories(Path("tools"));
    for (const char* done : {"bin/bazel", "tools/setup.sh"}) {
      WriteFile(Path(done), "#!/bin/sh\nexec true\n");
      fs::permissions(Path(done), fs::perms::owner_all);
    }
    for (const auto& entry : fs::directory_iterator("tools")) {
      const fs::path link = folder_ / entry.path();
      if (!fs::exists(link)) fs::create_symlink(fs::absolute(entry.path()), link);
    }
    fs::create_directory_symlink(fs::current_path(), Path("bazel-bin"));
  }
  Ended Script(const std::string& line) const {
    return Run("PATH=" + Path("bin") + ":$PATH " + Path(line));
  }
};

TEST_F(CliScripts, Quickstart) {
  const Ended ended = Script("tools/quickstart.sh " + Path("out"));
  if (ended.code != 0) {
    // Which is for the machine to say, not for a test.
    ASSERT_THAT(ended.err, HasSubstr("expected training in less than 20 s")) << ended.out;
  }
  const std::regex accuracy(R"(test accuracy ([0-9.]+) %)");
  std::smatch match;
  ASSERT_TRUE(std::regex_search(ended.out, match, accuracy)) << ended.out;
  EXPECT_GE(std::stod(match[1]), 98);
  EXPECT_THAT(
      ended.out,
      AllOf(HasSubstr("graph file, package and executable agree bit for bit on 359 test images"),
            HasSubstr("agrees bit for bit on 359 images"), HasSubstr("memory: certificate "),
            HasSubstr("weft-run, stripped")));
  EXPECT_GT(fs::file_size(Path("out/report.html")), 10'000u);
  EXPECT_GT(fs::file_size(Path("out/graph.html")), 10'000u);
}

// A run that takes more than its certificate says ends the script, whatever else goes well.
TEST_F(CliScripts, QuickstartComparesMemoryWithTheCertificate) {
  const std::string real = fs::absolute("tools/weft-run").string();
  fs::remove(Path("bazel-bin"));
  fs::create_directories(Path("bazel-bin/tools"));
  for (const auto& entry : fs::directory_iterator("tools")) {
    const fs::path link = folder_ / "bazel-bin" / entry.path();
    if (link.filename() != "weft-run") fs::create_symlink(fs::absolute(entry.path()), link);
  }
  WriteFile(Path("bazel-bin/tools/weft-run"),
            "#!/bin/sh\n" + real + " \"$@\" 2> " + Path("said") + "\ncode=$?\n" +
                "sed 's/measured [0-9.]* [KMGT]*i*B/measured 1.5 GiB/' " + Path("said") +
                " >&2\nexit $code\n");
  fs::permissions(Path("bazel-bin/tools/weft-run"), fs::perms::owner_all);
  const Ended ended = Script("tools/quickstart.sh " + Path("out"));
  EXPECT_EQ(ended.code, 1) << ended.out;
  EXPECT_THAT(ended.out, HasSubstr("measured 1.5 GiB taken by the run"));
  EXPECT_THAT(ended.err, AllOf(HasSubstr("quickstart: expected a run to take the "),
                               HasSubstr("it took 1610612736 bytes")));
}

TEST_F(CliScripts, RegressionFromATable) {
  const Ended ended = Script("tools/examples/csv_regression.sh " + Path("cars"));
  ASSERT_EQ(ended.code, 0) << ended.err;
  EXPECT_THAT(ended.out, AllOf(HasSubstr("test "), HasSubstr("cars/report.html")));
  const auto predicted = LoadNpy(Path("cars/predicted.npy")),
             truth = LoadNpy(Path("cars/test/y.npy"));
  ASSERT_TRUE(predicted.ok() && truth.ok()) << predicted.status() << truth.status();
  ASSERT_EQ(predicted->num_elements(), truth->num_elements());
  ASSERT_GT(truth->num_elements(), 50);
  double error = 0, spread = 0, mean = 0;
  for (const float value : truth->values<float>()) mean += value / truth->num_elements();
  for (int64_t i = 0; i < truth->num_elements(); ++i) {
    error += std::abs(predicted->values<float>()[i] - truth->values<float>()[i]);
    spread += std::abs(mean - truth->values<float>()[i]);
  }
  // It knows far more than the mean.
  EXPECT_LT(error, 0.5 * spread);
}

}  // namespace
}  // namespace weft
