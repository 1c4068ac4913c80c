#include "proto/core/json.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

namespace weft {
namespace {

// Reads `text`, which is all of it; "" or the error.
std::string ErrorOf(std::string_view text, const std::function<bool(JsonScanner&)>& read) {
  const std::vector<char> exact(text.begin(), text.end());  // so that a sanitizer sees more
  std::vector<char> memory(text.size());
  JsonScanner json({exact.data(), exact.size()}, memory.data());
  const bool good = read(json) && json.End();
  const FormatError error = json.error();
  EXPECT_EQ(good, !error);
  if (!error) return "";
  char message[128];
  Describe(error, message, sizeof(message));
  return message;
}

std::string StringOf(std::string_view text) {
  std::string value;
  const std::string error = ErrorOf(text, [&](JsonScanner& json) {
    std::string_view view;
    if (!json.String(&view)) return false;
    value = view;
    return true;
  });
  return error.empty() ? value : "error";
}

TEST(JsonScanner, Strings) {
  EXPECT_EQ(StringOf(R"( "a\"\\\/\b\f\n\r\t" )"), "a\"\\/\b\f\n\r\t");
  EXPECT_EQ(StringOf(R"("\u0041\u00e9\u20AC\ud83d\ude00")"), "Aé€😀");
  for (const char* bad : {"", "\"", "\"\\", "\"\\u12", "\"\\u12g4\"", "\"\\x\"", "\"\\ud83d\"",
                          "\"\\ude00\"", "\"\\ud83d\\u0041\"", "\"\n\"", "a", "\"a\" b"}) {
    EXPECT_EQ(StringOf(bad), "error") << bad;
  }
}

TEST(JsonScanner, Sizes) {
  std::vector<int64_t> values(3);
  size_t count = 0;
  const auto error = [&](std::string_view text) {
    return ErrorOf(text, [&](JsonScanner& json) { return json.Sizes(values.data(), 3, &count); });
  };
  EXPECT_EQ(error("[]"), "");
  EXPECT_EQ(count, 0u);
  EXPECT_EQ(error("[ 1 , 20,9223372036854775807 ]"), "");
  EXPECT_EQ(count, 3u);
  EXPECT_EQ(values, (std::vector<int64_t>{1, 20, INT64_MAX}));
  EXPECT_EQ(error("[1,2,3,4]"), "malformed JSON: expected no more numbers at byte 7");
  EXPECT_EQ(error("[1,]"), "malformed JSON: expected a whole number at byte 3");
  EXPECT_EQ(error("[-1]"), "malformed JSON: expected a whole number at byte 1");
  EXPECT_EQ(error("[1.5]"), "malformed JSON: expected ',' or ']' at byte 2");
  EXPECT_EQ(error("{}"), "malformed JSON: expected '[' at byte 0");
  for (const char* bad : {"[1", "[9223372036854775808]", "[\"1\"]"})
    EXPECT_NE(error(bad), "") << bad;
}

TEST(JsonScanner, Objects) {
  std::string keys;
  const auto error = [&](std::string_view text) {
    return ErrorOf(text, [&](JsonScanner& json) {
      return json.Object([&](std::string_view key) {
        keys += key;
        return json.Skip();
      });
    });
  };
  EXPECT_EQ(error(R"({ "a" : "\u0062", "c" : 1 })"), "");
  EXPECT_EQ(keys, "ac");
  EXPECT_EQ(error("[]"), "malformed JSON: expected '{' at byte 0");
  EXPECT_EQ(error("{\"a\"}"), "malformed JSON: expected ':' at byte 4");
  EXPECT_EQ(error("{\"a\":1,}"), "malformed JSON: expected a string at byte 7");
  EXPECT_EQ(error("{\"a\":1"), "malformed JSON: expected ',' or '}' at byte 6");
}

TEST(JsonScanner, SkipsAnyValueButNotTooDeep) {
  const auto error = [](std::string_view text) {
    return ErrorOf(text, [](JsonScanner& json) { return json.Skip(); });
  };
  EXPECT_EQ(error(R"({"a":[1,-2.5e3,true,false,null,{"b":"c"},[]],"d":{}})"), "");
  EXPECT_EQ(error(std::string(30, '[') + std::string(30, ']')), "");
  EXPECT_EQ(error(std::string(100000, '[')),
            "malformed JSON: expected shallower nesting at byte 33");
  std::string deep;
  for (int i = 0; i < 100000; ++i) deep += "{\"a\":";
  EXPECT_NE(error(deep), "");
  for (const char* bad : {"", "[", "[1 2]", "{\"a\"}", "{\"a\":1,}", "{a:1}", "tru", "1 2"}) {
    EXPECT_NE(error(bad), "") << bad;
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
