#include "proto/json_quote.h"

#include <gtest/gtest.h>

#include <string>

namespace weft {
namespace {

TEST(JsonQuote, IsReadBack) {
  const std::string text("a\"b\\c\n\x01\0 \x7f é/", 14);
  const std::string quoted = JsonQuote(text);
  EXPECT_EQ(quoted.substr(0, 8), "\"a\\\"b\\\\c");
  std::string memory(quoted.size(), '\0');
  JsonScanner json(quoted, memory.data());
  std::string_view value;
  ASSERT_TRUE(json.String(&value) && json.End());
  EXPECT_EQ(value, text);
}

}  // namespace
}  // namespace weft
