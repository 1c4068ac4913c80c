#include "proto/feed.h"

#include <gtest/gtest.h>

namespace weft {
namespace {

std::string Message(const absl::Status& status) { return std::string(status.message()); }

const FeedType kType = {"input 'x' of 'f'", DataType::kF32, {"batch", "3"}};

TEST(Feed, Fits) {
  EXPECT_TRUE(CheckFeed(kType, DataType::kF32, {7, 3}).ok());
  EXPECT_TRUE(CheckFeed(kType, DataType::kF32, {0, 3}).ok());
  EXPECT_TRUE(CheckFeed({"n", DataType::kI32, {}}, DataType::kI32, {}).ok());
}

TEST(Feed, SaysWhatDoesNotFit) {
  const std::string expected = "input 'x' of 'f': expected f32[batch, 3], got ";
  EXPECT_EQ(Message(CheckFeed(kType, DataType::kF64, {7, 3})), expected + "f64[7, 3]");
  EXPECT_EQ(Message(CheckFeed(kType, DataType::kF32, {3})),
            expected + "f32[3] (rank 1 instead of 2)");
  EXPECT_EQ(Message(CheckFeed(kType, DataType::kF32, {1, 2})),
            expected + "f32[1, 2] (dimension 1 has to be 3)");
  EXPECT_EQ(Message(CheckFeed(kType, DataType::kF32, {-1, 3})),
            expected + "f32[-1, 3] (dimension 0 is negative)");
  EXPECT_EQ(CheckFeed(kType, DataType::kF32, {-1, 3}).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Message(OpenSizeMismatch("signature 'join'", "batch", {"x", 0, 3}, {"z", 1, 4})),
            "signature 'join': batch is 3 from x (dimension 0) but 4 from z (dimension 1)");
}

TEST(Feed, OpenDimensionsHaveOneSize) {
  FeedChecker checker("signature 'join'");
  EXPECT_TRUE(checker.Add("x", {"x", DataType::kF32, {"a.b", "3"}}, DataType::kF32, {5, 3}).ok());
  // What is computed is not judged here.
  EXPECT_TRUE(checker.Add("y", {"y", DataType::kF32, {"2*a.b"}}, DataType::kF32, {7}).ok());
  EXPECT_EQ(Message(checker.Add("z", {"z", DataType::kF32, {"c", "a.b"}}, DataType::kF32, {1, 6})),
            "signature 'join': a.b is 5 from x (dimension 0) but 6 from z (dimension 1)");
  EXPECT_EQ(checker.sizes().at("a.b").size, 5);
  EXPECT_EQ(checker.sizes().count("2*a.b"), 0u);
}

}  // namespace
}  // namespace weft
