#include "proto/json_scanner.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace weft {
namespace {

std::string StringOf(std::string_view text) {
  JsonScanner json(text);
  auto value = json.String();
  if (!value.ok()) return "error";
  return json.End().ok() ? *value : "rest";
}

TEST(JsonScanner, Strings) {
  EXPECT_EQ(StringOf(R"( "a\"\\\/\b\f\n\r\t" )"), "a\"\\/\b\f\n\r\t");
  EXPECT_EQ(StringOf(R"("\u0041\u00e9\u20ac\ud83d\ude00")"), "Aé€😀");
  for (const char* bad : {"", "\"", "\"\\", "\"\\u12", "\"\\u12g4\"", "\"\\x\"", "\"\\ud83d\"",
                          "\"\\ude00\"", "\"\\ud83d\\u0041\"", "\"\n\"", "a"}) {
    EXPECT_EQ(StringOf(bad), "error") << bad;
  }
}

TEST(JsonScanner, QuoteIsReadBack) {
  const std::string text = "a\"b\\c\n\x01 é";
  EXPECT_EQ(StringOf(JsonQuote(text)), text);
}

TEST(JsonScanner, Sizes) {
  const auto sizes = [](std::string_view text) { return JsonScanner(text).Sizes(3); };
  EXPECT_EQ(sizes("[]").value(), std::vector<int64_t>{});
  EXPECT_EQ(sizes("[ 1 , 20,9223372036854775807 ]").value(),
            (std::vector<int64_t>{1, 20, INT64_MAX}));
  for (const char* bad :
       {"[1,2,3,4]", "[1,]", "[1", "[-1]", "[1.5]", "[9223372036854775808]", "{}", "[\"1\"]"}) {
    EXPECT_FALSE(sizes(bad).ok()) << bad;
  }
}

TEST(JsonScanner, SkipsAnyValueButNotTooDeep) {
  const auto skip = [](std::string_view text) {
    JsonScanner json(text);
    absl::Status status = json.Skip();
    return status.ok() ? json.End() : status;
  };
  EXPECT_TRUE(skip(R"({"a":[1,-2.5e3,true,false,null,{"b":"c"},[]],"d":{}})").ok());
  EXPECT_TRUE(skip(std::string(30, '[') + std::string(30, ']')).ok());
  EXPECT_FALSE(skip(std::string(100000, '[')).ok());
  std::string deep;
  for (int i = 0; i < 100000; ++i) deep += "{\"a\":";
  EXPECT_FALSE(skip(deep).ok());
  for (const char* bad : {"", "[", "[1 2]", "{\"a\"}", "{\"a\":1,}", "{a:1}", "tru", "1 2"}) {
    EXPECT_FALSE(skip(bad).ok()) << bad;
  }
}

TEST(IsUtf8, KnowsTheDifference) {
  for (const char* good : {"", "a", "é", "€", "😀"}) EXPECT_TRUE(IsUtf8(good)) << good;
  for (const char* bad : {"\x80", "\xc3", "\xc0\x80", "\xe2\x82", "\xed\xa0\x80",
                          "\xf5\x80\x80\x80", "\xf4\x90\x80\x80", "\xff"}) {
    EXPECT_FALSE(IsUtf8(bad));
  }
}

}  // namespace
}  // namespace weft
