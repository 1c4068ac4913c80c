#include "tools/common/json_text.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

namespace weft::cli {
namespace {

using nlohmann::json;

// Every character of one or two bytes of UTF-8, and none that a terminal acts on.
TEST(JsonText, IsReadBackAndPrintable) {
  std::string name;
  for (unsigned c = 0; c < 0x800; ++c) {
    if (c < 0x80) {
      name += static_cast<char>(c);
    } else {
      name += static_cast<char>(0xc0 | c >> 6);
      name += static_cast<char>(0x80 | (c & 0x3f));
    }
  }
  const json value = {{name, {name, 1}}};
  const std::string text = JsonText(value);
  EXPECT_EQ(json::parse(text), value);
  for (size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    EXPECT_TRUE(c >= 0x20 && c != 0x7f) << i;
    if (c == 0xc2) EXPECT_GE(static_cast<unsigned char>(text[i + 1]), 0xa0) << i;
  }
  EXPECT_NE(text.find("\u00e9"), std::string::npos);  // letters stay as they are
}

TEST(JsonText, WhatIsNotUtf8IsReplaced) {
  EXPECT_EQ(JsonText("a\xe9"), "\"a\ufffd\"");
  EXPECT_EQ(JsonText("\xc2"), "\"\ufffd\"");
  EXPECT_EQ(Utf8("a\x9b"), "a\ufffd");
  EXPECT_EQ(Utf8("\xc2\x9b"), "\xc2\x9b");
}

}  // namespace
}  // namespace weft::cli
