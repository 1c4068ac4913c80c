#include "proto/suggest.h"

#include <gtest/gtest.h>

namespace weft {
namespace {

TEST(Suggest, FindsNearNames) {
  EXPECT_EQ(Nearest("predcit", {"init", "predict", "train_step"}), "predict");
  EXPECT_EQ(Nearest("Origin", {"mpg", "origin"}), "origin");
  EXPECT_EQ(Nearest("trainstep", {"eval_step", "train_step"}), "train_step");
}

TEST(Suggest, FarNamesAreNotSuggested) {
  EXPECT_EQ(Nearest("price", {"mpg", "weight"}), "");
  EXPECT_EQ(Nearest("", {"mpg"}), "");
  EXPECT_EQ(Nearest("y", {"x"}), "");
  EXPECT_EQ(Nearest("yy", {"y"}), "y");
  // One edit, and one more for every three bytes.
  EXPECT_EQ(Nearest("ab", {"xb"}), "xb");
  EXPECT_EQ(Nearest("abcde", {"abxye"}), "abxye");
  EXPECT_EQ(Nearest("abcde", {"abxyz"}), "");
  EXPECT_EQ(Nearest("abcdef", {"abcxyz"}), "abcxyz");
}

// Candidates may be from a file.
TEST(Suggest, ShowsWhatATerminalMerelyShows) {
  EXPECT_EQ(DidYouMean("weight", {"we\x1bght"}), "; did you mean 'we\\x1bght'?");
  EXPECT_EQ(Suggestion("zzz", {"a\n", "\xc2\x9b"}), "; there is a\\x0a, \\xc2\\x9b");
}

TEST(Suggest, ListsWhatThereIs) {
  EXPECT_EQ(Suggestion("prdict", {"predict"}), "; did you mean 'predict'?");
  EXPECT_EQ(Suggestion("zzz", {"a1", "b1"}), "; there is a1, b1");
  EXPECT_EQ(Suggestion("zzz", {}), "; there is none");
  const std::vector<std::string> many(11, "name");
  EXPECT_EQ(Suggestion("zzz", many),
            "; there is name, name, name, name, name, name, name, name and 3 more");
}

}  // namespace
}  // namespace weft
