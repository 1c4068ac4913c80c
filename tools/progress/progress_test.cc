#include "tools/progress/progress.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weft {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;

struct FakeScreen {
  std::string text;
  double now = 100;
  ProgressScreen Screen(bool terminal, int width = 120) {
    ProgressScreen screen;
    screen.terminal = terminal;
    screen.width = width;
    screen.write = [this](std::string_view s) { text += s; };
    screen.seconds = [this] { return now; };
    return screen;
  }
};

TEST(Progress, QuickWorkShowsNothing) {
  for (const bool terminal : {false, true}) {
    FakeScreen fake;
    {
      Progress progress("train", 10, fake.Screen(terminal));
      for (int i = 1; i <= 10; ++i) {
        fake.now += 0.09;
        progress.Update(i);
      }
    }
    EXPECT_EQ(fake.text, "");
  }
}

TEST(Progress, BarOnATerminal) {
  FakeScreen fake;
  {
    Progress progress("train", 200, fake.Screen(true));
    fake.now += 4;
    progress.Update(50, "loss 0.5");
    EXPECT_EQ(fake.text, "\rtrain  25 % │██████                  │ 0:04 +0:12  loss 0.5\x1b[K");
    fake.text.clear();
    fake.now += 0.05;
    progress.Update(51);  // too soon
    EXPECT_EQ(fake.text, "");
    progress.Line("epoch 1");
    EXPECT_EQ(fake.text, "\r\x1b[Kepoch 1\n");
    fake.text.clear();
    fake.now += 1;
    progress.Update(101);
    EXPECT_THAT(fake.text, HasSubstr("│████████████ "));
  }
  EXPECT_THAT(fake.text, EndsWith("\r\x1b[K"));
}

TEST(Progress, NeverWiderThanTheTerminal) {
  FakeScreen fake;
  Progress progress("a long label", 0, fake.Screen(true, 10));
  fake.now += 2;
  progress.Update(3, "note");
  EXPECT_EQ(fake.text, "\ra long la\x1b[K");
}

TEST(Progress, LinesElsewhere) {
  FakeScreen fake;
  Progress progress("train", 100, fake.Screen(false));
  fake.now += 1;
  progress.Update(1, "loss 2.30");
  EXPECT_EQ(fake.text, "train 1/100 (1 %), loss 2.30, 0:01, 1:39 left\n");
  fake.text.clear();
  fake.now += 9;
  progress.Update(50);
  EXPECT_EQ(fake.text, "");
  fake.now += 1;
  progress.Update(99);
  EXPECT_THAT(fake.text, HasSubstr("train 99/100"));
  EXPECT_THAT(fake.text, Not(HasSubstr("\x1b")));
}

TEST(Duration, Forms) {
  EXPECT_EQ(Duration(7.4), "0:07");
  EXPECT_EQ(Duration(750), "12:30");
  EXPECT_EQ(Duration(11100), "3:05:00");
  EXPECT_EQ(Duration(-1), "0:00");
}

}  // namespace
}  // namespace weft
