// weft train and its data: images in the format of MNIST's, and what somebody got wrong, where what
// is said names the file, and what to do.
#include <gmock/gmock.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "proto/npy.h"
#include "tests/cli/cli.h"

namespace weft {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class CliTrainingData : public CliTest {
 protected:
  static constexpr int64_t kRows = 40;

  void WriteArrays(const std::string& name, std::vector<float> x, int64_t rows_of_y = kRows) {
    WriteFile(Path(name),
              *WriteNpz({{"x", HostTensor::Of<float>({kRows, 2}, x)},
                         {"y", HostTensor::Of<float>({rows_of_y, 1},
                                                     std::vector<float>(rows_of_y, 1.5f))}}));
  }
  std::string Train(const std::string& data) const {
    return "train mlp --hidden 4 --epochs 1 --data " + Path(data);
  }
};

// Images and labels in idx files, plain and packed, as those of MNIST come.
TEST_F(CliTrainingData, ImagesInIdxFiles) {
  constexpr int kImages = 600, kPixels = 64;
  const std::string digits = "tools/examples/data/digits-";
  // The first of those that ship: 600 is 0x258.
  const auto shorten = [&](const std::string& name, size_t header, size_t bytes) {
    std::string file = Run("gzip -dc " + digits + name + ".gz").out.substr(0, header + bytes);
    ASSERT_EQ(file.size(), header + bytes);
    file.replace(4, 4, std::string("\0\0\x02\x58", 4));
    WriteFile(Path(name), file);
  };
  shorten("images-idx3-ubyte", 16, size_t{kImages} * kPixels);
  shorten("labels-idx1-ubyte", 8, kImages);
  ASSERT_EQ(Run("gzip -k " + Path("images-idx3-ubyte") + " " + Path("labels-idx1-ubyte")).code, 0);
  nlohmann::json plain;
  for (const char* ending : {"", ".gz"}) {
    const Ended ended =
        Weft("train cnn --epochs 1 --batch 32 --seed 1 --json --data " + Path("images-idx3-ubyte") +
             ending + " --data " + Path("labels-idx1-ubyte") + ending);
    ASSERT_EQ(ended.code, 0) << ended.err;
    EXPECT_THAT(ended.err, AllOf(HasSubstr("x u8[600, 8, 8], y u8[600]"), HasSubstr("epoch 1/1"),
                                 HasSubstr("accuracy")));
    const auto json = nlohmann::json::parse(ended.out);
    ASSERT_EQ(json["history"].size(), 1u) << json;
    // An epoch of 15 steps learns more than that one in ten is right.
    EXPECT_GT(json["history"][0]["validation"]["accuracy"], 0.2) << json;
    if (plain.is_null()) plain = json["history"][0]["training"];
    EXPECT_EQ(json["history"][0]["training"], plain);
  }
}

TEST_F(CliTrainingData, ArraysThatAreWrong) {
  std::vector<float> x(kRows * 2, 0.5f);
  WriteArrays("good.npz", x);
  WriteArrays("long.npz", x, kRows + 1);
  x[2 * 7 + 1] = NAN;
  WriteArrays("nan.npz", x);
  EXPECT_THAT(
      Fails(3, Train("long.npz")),
      AllOf(HasSubstr("got 40 in 'x' ("), HasSubstr("and 41 in 'y' ("), HasSubstr("long.npz)")));
  EXPECT_THAT(Fails(3, Train("nan.npz")),
              HasSubstr("nan.npz: expected finite numbers in 'x', got NaN in row 7, counted"));
  EXPECT_THAT(Fails(3, Train("good.npz") + " --test-data " + Path("nan.npz")),
              HasSubstr("nan.npz: expected finite numbers"));
  // A graph may know what to do with them.
  Ok(Train("good.npz") + " -o " + Path("model.weft"));
  const Ended ended = Weft("train " + Path("model.weft") + " --epochs 1 --data " +
                           Path("good.npz") + " --validation 0 --test-data " + Path("nan.npz"));
  EXPECT_EQ(ended.code, 0) << ended.err;
  EXPECT_THAT(ended.err, HasSubstr("nan.npz: 'x' holds NaN in row 7"));
  for (const char* option :
       {"--target y", "--ignore x", "--task regression", "--header no", "--missing drop"}) {
    EXPECT_THAT(Fails(2, Train("good.npz") + " " + option),
                AllOf(HasSubstr("is for tables (CSV), but the data is arrays: x f32[40, 2]"),
                      HasSubstr(std::string(option).substr(0, 5))));
  }
  const Ended large = Weft(Train("good.npz") + " --batch 100");
  EXPECT_EQ(large.code, 0) << large.err;
  EXPECT_THAT(large.err,
              HasSubstr("--batch 100 is more than the rows to train on; a step takes all, 32"));
  EXPECT_THAT(Weft(Train("good.npz") + " --batch 32").err, Not(HasSubstr("a step takes")));
}

TEST_F(CliTrainingData, TablesThatAreWrong) {
  WriteFile(Path("names.csv"), "a,b,y\n");
  EXPECT_THAT(Fails(3, Train("names.csv")), HasSubstr("names.csv: expected rows below the header"));
  WriteFile(Path("empty.csv"), "");
  EXPECT_THAT(Fails(3, Train("empty.csv")), HasSubstr("empty.csv: expected data, got an empty"));
  std::string text = "a,b,y\n";
  for (int i = 0; i < 30; ++i) text += std::to_string(i) + ",2.5," + std::to_string(i) + ".5\n";
  WriteFile(Path("typo.csv"), text + "1,2,o.5\n");
  EXPECT_THAT(Fails(3, Train("typo.csv") + " --task regression"),
              HasSubstr("typo.csv: regression needs numbers, but the target 'y' has text in it: "
                        "'o.5' in line 32 is no number"));
  WriteFile(Path("typo.csv"), text + "1,2.S,3.5\n");
  const Ended ended = Weft(Train("typo.csv"));
  EXPECT_EQ(ended.code, 0) << ended.err;
  EXPECT_THAT(ended.err, HasSubstr("column 'b' is taken as text, as '2.S' in line 32"));
  EXPECT_THAT(Fails(2, Train("typo.csv") + " --validation 0.6 --test 0.6"),
              HasSubstr("leave no rows to train on, of 31; choose smaller shares"));
}

}  // namespace
}  // namespace weft
