#include "tools/progress/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace weft {
namespace {

constexpr double kFirst = 1.0;        // seconds before anything is shown
constexpr double kBarInterval = 0.1;  // seconds between two drawings
constexpr double kLineInterval = 10.0;
constexpr int kBarCells = 24;

// Drawn in eighths of a cell.
std::string Cells(double fraction) {
  static const char* const kEighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  const int eighths = static_cast<int>(fraction * kBarCells * 8);
  std::string cells;
  for (int i = 0; i < eighths / 8; ++i) cells += "█";
  cells += kEighths[eighths % 8];
  const int used = eighths / 8 + (eighths % 8 != 0);
  cells.append(static_cast<size_t>(kBarCells - used), ' ');
  return cells;
}

// Cut to `columns` characters (not bytes) of UTF-8.
std::string Cut(std::string text, int columns) {
  int seen = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if ((text[i] & 0xc0) != 0x80 && seen++ == columns) {
      text.resize(i);
      break;
    }
  }
  return text;
}

}  // namespace

ProgressScreen ProgressScreen::StandardError() {
  ProgressScreen screen;
  const char* term = std::getenv("TERM");
  screen.terminal = isatty(STDERR_FILENO) && term != nullptr && std::string_view(term) != "dumb";
  winsize size{};
  if (screen.terminal && ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
    screen.width = size.ws_col;
  }
  screen.write = [](std::string_view text) {
    std::fwrite(text.data(), 1, text.size(), stderr);
    std::fflush(stderr);
  };
  screen.seconds = [] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch())
        .count();
  };
  return screen;
}

Progress::Progress(std::string label, int64_t total, ProgressScreen screen)
    : label_(std::move(label)), total_(total), screen_(std::move(screen)) {
  start_ = screen_.seconds();
  // So that the first drawing comes kFirst seconds from now, and the first line too.
  last_ = start_ + kFirst - (screen_.terminal ? kBarInterval : kLineInterval);
}

Progress::~Progress() { Erase(); }

void Progress::Erase() {
  if (drawn_) screen_.write("\r\x1b[K");
  drawn_ = false;
}

std::string Progress::Plain(std::string_view note, double now) const {
  std::string text = label_;
  if (total_ > 0) {
    absl::StrAppendFormat(&text, " %d/%d (%.0f %%)", done_, total_, 100.0 * done_ / total_);
  } else {
    absl::StrAppendFormat(&text, " %d", done_);
  }
  if (!note.empty()) absl::StrAppend(&text, ", ", std::string(note));
  absl::StrAppend(&text, ", ", Duration(now - start_));
  if (total_ > 0 && done_ > 0) {
    absl::StrAppend(&text, ", ", Duration((now - start_) / done_ * (total_ - done_)), " left");
  }
  return text;
}

std::string Progress::Bar(std::string_view note, double now) const {
  if (total_ <= 0) return Cut(Plain(note, now), screen_.width - 1);
  const double fraction = std::clamp(static_cast<double>(done_) / total_, 0.0, 1.0);
  std::string text = absl::StrFormat("%s %3.0f %% │%s│ %s", label_, 100 * fraction, Cells(fraction),
                                     Duration(now - start_));
  if (done_ > 0) {
    absl::StrAppend(&text, " +", Duration((now - start_) / done_ * (total_ - done_)));
  }
  if (!note.empty()) absl::StrAppend(&text, "  ", std::string(note));
  return Cut(std::move(text), screen_.width - 1);
}

void Progress::Update(int64_t done, std::string_view note) {
  done_ = done;
  const double now = screen_.seconds();
  if (now - last_ < (screen_.terminal ? kBarInterval : kLineInterval)) return;
  last_ = now;
  if (!screen_.terminal) {
    screen_.write(Plain(note, now) + "\n");
    return;
  }
  screen_.write(absl::StrCat("\r", Bar(note, now), "\x1b[K"));
  drawn_ = true;
}

void Progress::Line(std::string_view text) {
  Erase();
  screen_.write(absl::StrCat(std::string(text), "\n"));
}

std::string Duration(double seconds) {
  const int64_t whole = std::llround(std::clamp(seconds, 0.0, 1e9));
  if (whole < 3600) return absl::StrFormat("%d:%02d", whole / 60, whole % 60);
  return absl::StrFormat("%d:%02d:%02d", whole / 3600, whole / 60 % 60, whole % 60);
}

}  // namespace weft
