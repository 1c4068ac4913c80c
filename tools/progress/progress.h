// Shows how far a long piece of work is: a bar that redraws itself on a terminal, a line now and
// then elsewhere (a log, a pipe).
#ifndef WEFT_TOOLS_PROGRESS_PROGRESS_H_
#define WEFT_TOOLS_PROGRESS_PROGRESS_H_

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace weft {

// Where a bar is drawn. Standard error unless a test says otherwise.
struct ProgressScreen {
  bool terminal = false;
  int width = 80;                               // columns, on a terminal
  std::function<void(std::string_view)> write;  // as it is
  std::function<double()> seconds;              // a clock that only goes forward
  static ProgressScreen StandardError();
};

// Nothing is shown of work that is done within a second. Not thread-safe.
class Progress {
 public:
  // `total` steps lie ahead, 0 where that is not known.
  Progress(std::string label, int64_t total,
           ProgressScreen screen = ProgressScreen::StandardError());
  // Takes the bar off the screen.
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // `done` of the steps are done; `note` is shown behind ("loss 0.31"). Cheap enough to call for
  // each step: draws ten times a second at most, and a plain line every ten seconds.
  void Update(int64_t done, std::string_view note = {});
  // Puts a line above the bar that stays.
  void Line(std::string_view text);

 private:
  std::string Plain(std::string_view note, double now) const;
  std::string Bar(std::string_view note, double now) const;
  void Erase();

  std::string label_;
  int64_t total_;
  int64_t done_ = 0;
  ProgressScreen screen_;
  double start_;
  double last_;
  bool drawn_ = false;
};

// "0:07", "12:30", "3:05:00".
std::string Duration(double seconds);

}  // namespace weft

#endif  // WEFT_TOOLS_PROGRESS_PROGRESS_H_
