#include "tools/progress/progress.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <mutex>
#include <thread>

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

TEST(Progress, TheBarLeavesRoomForTheNote) {
  FakeScreen fake;
  Progress progress("training", 100, fake.Screen(true, 80));
  fake.now += 10;
  progress.Update(50, "epoch 1/1  loss 0.5977, accuracy 0.8125");
  EXPECT_EQ(
      fake.text,
      "\rtraining  50 % │█████     │ 0:10 +0:10  epoch 1/1  loss 0.5977, accuracy 0.8125\x1b[K");
  fake.text.clear();
  fake.now += 10;
  progress.Update(100, "epoch 1/1");  // it does not tremble
  EXPECT_EQ(fake.text, "\rtraining 100 % │██████████│ 0:20 +0:00  epoch 1/1\x1b[K");
  fake.text.clear();
  fake.now += 10;
  progress.Update(100, std::string(100, 'x'));
  EXPECT_THAT(fake.text, HasSubstr("│████████│"));
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

TEST(Progress, TimeAloneWhereNothingIsCounted) {
  FakeScreen fake;
  Progress progress("compiling predict", 0, fake.Screen(true));
  fake.now += 3;
  progress.Update(0);
  EXPECT_EQ(fake.text, "\rcompiling predict, 0:03\x1b[K");
  fake.text.clear();
  fake.now += 0.2;
  progress.Update(0);  // the same
  EXPECT_EQ(fake.text, "");
}

TEST(Progress, SharesAndPhases) {
  FakeScreen fake;
  Progress progress("reading", 0, fake.Screen(true));
  fake.now += 0.6;
  progress.Phase("compiling");
  fake.now += 0.6;  // more than a second in all
  progress.Share(0.5, "plan 3/4");
  EXPECT_EQ(fake.text, "\rcompiling  50 % │████████████            │ 0:01 +0:01  plan 3/4\x1b[K");
  FakeScreen log;
  Progress lines("compiling", 0, log.Screen(false));
  log.now += 3;
  lines.Share(0.75, "plan 3/4");
  EXPECT_EQ(log.text, "compiling 75 %, plan 3/4, 0:03, 0:01 left\n");
}

TEST(Progress, TheLastOfSeveralIsShown) {
  FakeScreen fake;
  Progress outer("training", 0, fake.Screen(true));
  fake.now += 2;
  outer.Update(1);
  EXPECT_THAT(fake.text, HasSubstr("training"));
  {
    Progress inner("compiling", 0, fake.Screen(true));
    fake.text.clear();
    fake.now += 0.5;
    inner.Update(0);  // nothing yet, so that the other one stays
    outer.Update(2);
    EXPECT_THAT(fake.text, HasSubstr("training 2"));
    fake.text.clear();
    fake.now += 0.6;
    inner.Update(0);
    outer.Update(3);
    EXPECT_EQ(fake.text, "\rcompiling, 0:01\x1b[K");
    fake.text.clear();
  }
  EXPECT_EQ(fake.text, "\r\x1b[K");
  fake.text.clear();
  fake.now += 1;
  outer.Update(4);
  EXPECT_THAT(fake.text, HasSubstr("training 4"));
}

// Time goes on by itself.
TEST(Progress, ATimerDraws) {
  for (const bool terminal : {false, true}) {
    std::mutex mutex;
    std::string text;
    std::atomic<double> now = 0;
    ProgressScreen screen;
    screen.terminal = terminal;
    screen.timer = true;
    screen.write = [&](std::string_view s) {
      const std::lock_guard<std::mutex> lock(mutex);
      text += s;
    };
    screen.seconds = [&] { return now.load(); };
    const auto wait_for = [&](const std::string& expected) {
      for (int i = 0; i < 6000; ++i, std::this_thread::sleep_for(std::chrono::milliseconds(10))) {
        const std::lock_guard<std::mutex> lock(mutex);
        if (text.find(expected) != std::string::npos) return;
      }
      const std::lock_guard<std::mutex> lock(mutex);
      ADD_FAILURE() << "no '" << expected << "' after a minute: " << text;
    };
    const Progress progress("compiling", 0, screen);
    now = 3;
    wait_for("compiling, 0:03");
    now = 13;
    wait_for("compiling, 0:13");
  }
}

TEST(Duration, Forms) {
  EXPECT_EQ(Duration(7.4), "0:07");
  EXPECT_EQ(Duration(750), "12:30");
  EXPECT_EQ(Duration(11100), "3:05:00");
  EXPECT_EQ(Duration(-1), "0:00");
}

}  // namespace
}  // namespace weft
