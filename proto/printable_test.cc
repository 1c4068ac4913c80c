#include "proto/printable.h"

#include <gtest/gtest.h>

namespace weft {
namespace {

TEST(Printable, LeavesWhatATerminalShows) {
  for (const char* text : {"", "a ~", "é€😀", "\\x1b", "\xc2\xa0", "C:\\x"}) {
    EXPECT_EQ(Printable(text), text);
  }
}

TEST(Printable, EscapesWhatATerminalObeys) {
  EXPECT_EQ(Printable("a\x1b[2J\r\n\t\x7f~"), "a\\x1b[2J\\x0d\\x0a\\x09\\x7f~");
  EXPECT_EQ(Printable(std::string_view("\0", 1)), "\\x00");
  // Each of the control characters of two bytes, and those beside them.
  EXPECT_EQ(Printable("\xc2\x9b"), "\\xc2\\x9b");
  EXPECT_EQ(Printable("<\xc2\x80\xc2\x9f\xc2\xa0>"), "<\\xc2\\x80\\xc2\\x9f\xc2\xa0>");
}

// A byte that is wrong says nothing about the characters around it.
TEST(Printable, EscapesBytesThatAreNotUtf8) {
  EXPECT_EQ(Printable("é\xff€"), "é\\xff€");
  EXPECT_EQ(Printable("\x9b"), "\\x9b");           // the same control character in Latin-1
  EXPECT_EQ(Printable("\xe2\x82"), "\\xe2\\x82");  // cut
  EXPECT_EQ(Printable("\xe2\x82z"), "\\xe2\\x82z");
  EXPECT_EQ(Printable("\xc0\x9b"), "\\xc0\\x9b");           // longer than need be
  EXPECT_EQ(Printable("\xed\xa0\x80"), "\\xed\\xa0\\x80");  // a surrogate
  EXPECT_EQ(Printable("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80");
}

TEST(Printable, ASecondTimeChangesNothing) {
  const std::string once = Printable("a\x1b\xc2\x9b\xff é");
  EXPECT_EQ(Printable(once), once);
}

TEST(Printable, OfLinesLeavesTheirEnds) {
  EXPECT_EQ(PrintableLines(""), "");
  EXPECT_EQ(PrintableLines("a\x1b\n\nb\r\n"), "a\\x1b\n\nb\\x0d\n");
  EXPECT_EQ(PrintableLines("a\nb\t"), "a\nb\\x09");
}

TEST(Printable, LeavesOutTheMiddle) {
  EXPECT_EQ(Printable("0123456789", 10), "0123456789");
  EXPECT_EQ(Printable("0123456789ab", 9), "012345 ... 9ab");
  // Not within a character.
  EXPECT_EQ(Printable("01234é789€b", 9), "01234 ... b");
  EXPECT_EQ(Printable(std::string(50, '\x80'), 9), " ... ");
}

}  // namespace
}  // namespace weft
