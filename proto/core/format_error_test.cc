#include "proto/core/format_error.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace weft {
namespace {

std::string TextOf(const FormatError& error) {
  std::string text(Describe(error, nullptr, 0), '\0');
  Describe(error, text.data(), text.size() + 1);
  return text;
}

TEST(FormatError, IsASentence) {
  EXPECT_EQ(TextOf({.before = "too short"}), "too short");
  EXPECT_EQ(TextOf({.before = "shape ",
                    .value = "(3,)",
                    .after = " does not fit the ",
                    .number = 0,
                    .unit = " bytes",
                    .tensor = "w"}),
            "tensor 'w' shape (3,) does not fit the 0 bytes");
  EXPECT_EQ(TextOf({.before = "is there twice", .tensor = ""}), "tensor '' is there twice");
  char few[5];
  EXPECT_EQ(Describe({.before = "too short"}, few, sizeof(few)), 9u);
  EXPECT_STREQ(few, "too ");
}

// What stands in a file may be as long as the file.
TEST(FormatError, QuotesNotWithoutEnd) {
  const std::string endless(5000, 'x');
  EXPECT_EQ(TextOf({.before = "<", .value = endless, .after = ">"}),
            "<" + endless.substr(0, 1000) + ">");
}

// A terminal obeys what it is sent, and a message has one line.
TEST(FormatError, WhatAFileSaysIsPrintable) {
  EXPECT_EQ(TextOf({.before = "<", .value = "a\x1b[2J\n\x7f~é€", .after = ">", .tensor = "\r"}),
            "tensor '\\x0d' <a\\x1b[2J\\x0a\\x7f~é€>");
  EXPECT_EQ(TextOf({.before = "", .value = "\xc2\x9b\xc2\xa0"}), "\\xc2\\x9b\xc2\xa0");
  EXPECT_EQ(TextOf({.before = "", .value = "a\xe9\xc2"}), "a\\xe9\\xc2");
  EXPECT_EQ(TextOf({.before = "", .value = std::string_view("\0", 1)}), "\\x00");
  // Not cut within a character.
  const std::string longer = std::string(999, 'x') + "é";
  EXPECT_EQ(TextOf({.before = "", .value = longer}), longer.substr(0, 999));
}

TEST(BytesOfShape, WithAndWithoutOverflow) {
  const auto bytes = [](const std::vector<int64_t>& shape) {
    return BytesOfShape(DataType::kF32, shape.data(), shape.size());
  };
  EXPECT_EQ(bytes({}), 4);
  EXPECT_EQ(bytes({2, 3}), 24);
  EXPECT_EQ(bytes({INT64_MAX / 4 + 1}), -1);
  EXPECT_EQ(bytes({INT64_MAX, INT64_MAX, 0}), 0);
}

}  // namespace
}  // namespace weft
