#include "tools/progress/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace weft {
namespace {

constexpr double kFirst = 1.0;        // seconds before anything is shown
constexpr double kBarInterval = 0.1;  // seconds between two drawings
constexpr double kLineInterval = 10.0;
constexpr int kFewestCells = 8;

// Drawn in eighths of a cell.
std::string Cells(double fraction, int count) {
  static const char* const kEighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  const int eighths = static_cast<int>(fraction * count * 8);
  std::string cells;
  for (int i = 0; i < eighths / 8; ++i) cells += "█";
  cells += kEighths[eighths % 8];
  const int used = eighths / 8 + (eighths % 8 != 0);
  cells.append(static_cast<size_t>(count - used), ' ');
  return cells;
}

// Characters (not bytes) of UTF-8.
int Columns(std::string_view text) {
  return static_cast<int>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

// Cut to so many of them.
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

// Never destroyed: threads may still work while the process ends.
struct AllProgress {
  std::mutex mutex;  // of everything in each of the list
  std::vector<Progress*> list;
  bool hidden = false;
};

AllProgress& All() {
  static auto& all = *new AllProgress;
  return all;
}

// Signals are for the threads that work. Where there can be no thread more, steps alone draw.
void StartTimer(std::thread& timer, const std::function<void()>& run) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  try {
    timer = std::thread(run);
  } catch (const std::system_error&) {
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
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
  screen.timer = true;
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
  begin_ = start_ = screen_.seconds();
  // So that the first drawing comes kFirst seconds from now, and the first line too.
  last_ = begin_ + kFirst - (screen_.terminal ? kBarInterval : kLineInterval);
  const std::lock_guard<std::mutex> lock(All().mutex);
  All().list.push_back(this);
  if (screen_.timer) StartTimer(timer_, [this] { DrawInTime(); });
}

Progress::~Progress() {
  {
    const std::lock_guard<std::mutex> lock(All().mutex);
    Erase();
    std::erase(All().list, this);
    over_ = true;
  }
  end_.notify_all();
  if (timer_.joinable()) timer_.join();
}

void Progress::DrawInTime() {
  const std::chrono::duration<double> interval(screen_.terminal ? kBarInterval : kFirst);
  std::unique_lock<std::mutex> lock(All().mutex);
  while (!end_.wait_for(lock, interval, [this] { return over_; })) Draw();
}

void Progress::Erase() {
  if (!shown_.empty()) screen_.write("\r\x1b[K");
  shown_.clear();
}

double Progress::DoneShare() const {
  const double share = share_ < 0 && total_ > 0 ? static_cast<double>(done_) / total_ : share_;
  return std::min(share, 1.0);
}

std::string Progress::Plain(double now) const {
  const double share = DoneShare();
  std::string text = label_;
  if (share_ >= 0) {
    absl::StrAppendFormat(&text, " %.0f %%", 100 * share);
  } else if (total_ > 0) {
    absl::StrAppendFormat(&text, " %d/%d (%.0f %%)", done_, total_, 100 * share);
  } else if (done_ > 0) {
    absl::StrAppendFormat(&text, " %d", done_);
  }
  if (!note_.empty()) absl::StrAppend(&text, ", ", note_);
  absl::StrAppend(&text, ", ", Duration(now - start_));
  if (share > 0) {
    absl::StrAppend(&text, ", ", Duration((now - start_) / share * (1 - share)), " left");
  }
  return text;
}

std::string Progress::Bar(double now) {
  const double share = DoneShare();
  if (share < 0) return Cut(Plain(now), screen_.width - 1);
  const std::string before = absl::StrFormat("%s %3.0f %% │", label_, 100 * share);
  std::string behind = absl::StrCat("│ ", Duration(now - start_));
  if (share > 0) absl::StrAppend(&behind, " +", Duration((now - start_) / share * (1 - share)));
  if (!note_.empty()) absl::StrAppend(&behind, "  ", note_);
  const int columns = screen_.width - 1;
  // Never longer again: where a note's length comes and goes, the bar would tremble.
  cells_ = std::clamp(columns - Columns(before) - Columns(behind), kFewestCells, cells_);
  return Cut(absl::StrCat(before, Cells(share, cells_), behind), columns);
}

bool Progress::IsShown(double now) const {
  if (All().hidden) return false;
  for (auto at = All().list.rbegin(); at != All().list.rend(); ++at) {
    if (*at == this) return true;
    if (now - (*at)->begin_ >= kFirst) return false;
  }
  return false;
}

void Progress::Draw() {
  const double now = screen_.seconds();
  if (now - last_ < (screen_.terminal ? kBarInterval : kLineInterval) || !IsShown(now)) return;
  last_ = now;
  if (!screen_.terminal) {
    screen_.write(Plain(now) + "\n");
    return;
  }
  std::string text = Bar(now);
  if (text == shown_) return;
  screen_.write(absl::StrCat("\r", text, "\x1b[K"));
  // It stands where another one may have stood.
  for (Progress* other : All().list) other->shown_.clear();
  shown_ = std::move(text);
}

void Progress::Phase(std::string label, int64_t total) {
  const std::lock_guard<std::mutex> lock(All().mutex);
  label_ = std::move(label);
  note_.clear();
  total_ = total;
  done_ = 0;
  share_ = -1;
  cells_ = kMostCells;
  start_ = screen_.seconds();
  Draw();
}

void Progress::Update(int64_t done, std::string_view note) {
  const std::lock_guard<std::mutex> lock(All().mutex);
  done_ = done;
  note_ = note;
  Draw();
}

void Progress::Share(double share, std::string_view note) {
  const std::lock_guard<std::mutex> lock(All().mutex);
  share_ = std::clamp(share, 0.0, 1.0);
  note_ = note;
  Draw();
}

void Progress::Line(std::string_view text) {
  const std::lock_guard<std::mutex> lock(All().mutex);
  for (Progress* progress : All().list) progress->Erase();
  screen_.write(absl::StrCat(std::string(text), "\n"));
}

void Progress::Print(std::string_view text) {
  const std::lock_guard<std::mutex> lock(All().mutex);
  for (Progress* progress : All().list) progress->Erase();
  ProgressScreen::StandardError().write(absl::StrCat(std::string(text), "\n"));
}

void Progress::HideAll() {
  const std::lock_guard<std::mutex> lock(All().mutex);
  for (Progress* progress : All().list) progress->Erase();
  All().hidden = true;
}

std::string Duration(double seconds) {
  const int64_t whole = std::llround(std::clamp(seconds, 0.0, 1e9));
  if (whole < 3600) return absl::StrFormat("%d:%02d", whole / 60, whole % 60);
  return absl::StrFormat("%d:%02d:%02d", whole / 3600, whole / 60 % 60, whole % 60);
}

}  // namespace weft
