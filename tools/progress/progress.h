// Shows how far a long piece of work is: a bar that redraws itself on a terminal, a line now and
// then elsewhere (a log, a pipe).
#ifndef WEFT_TOOLS_PROGRESS_PROGRESS_H_
#define WEFT_TOOLS_PROGRESS_PROGRESS_H_

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <thread>

namespace weft {

// Where a bar is drawn. Standard error unless a test says otherwise.
struct ProgressScreen {
  bool terminal = false;
  // Whether a thread draws as well, so that time is seen to go on where no step ends.
  bool timer = false;
  int width = 80;                               // columns, on a terminal
  std::function<void(std::string_view)> write;  // as it is
  std::function<double()> seconds;              // a clock that only goes forward
  static ProgressScreen StandardError();
};

// Nothing is shown of work that is done within a second. Thread-safe. Of several at once, the one
// that began last of those that have something to show is shown.
class Progress {
 public:
  // `total` steps lie ahead, 0 where that is not known: then the time alone is shown.
  explicit Progress(std::string label, int64_t total = 0,
                    ProgressScreen screen = ProgressScreen::StandardError());
  // Takes the bar off the screen.
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // Goes over to another part of the work, which counts its own steps and time.
  void Phase(std::string label, int64_t total = 0);
  // `done` of the steps are done; `note` is shown behind ("loss 0.31"). Cheap enough to call for
  // each step: draws ten times a second at most, and a plain line every ten seconds.
  void Update(int64_t done, std::string_view note = {});
  // The same for work that is not counted: `share` of it, from 0 to 1, is done.
  void Share(double share, std::string_view note = {});
  // Puts a line above the bar that stays.
  void Line(std::string_view text);

  // The same on standard error, whatever is under way.
  static void Print(std::string_view text);
  // Takes all bars off the screen, for good: before something else is printed while others work on.
  static void HideAll();

 private:
  // All of these with the lock held.
  std::string Plain(double now) const;
  std::string Bar(double now);
  double DoneShare() const;
  bool IsShown(double now) const;
  void Draw();
  void Erase();

  void DrawInTime();

  std::string label_, note_;
  int64_t total_, done_ = 0;
  double share_ = -1;  // where it is told; otherwise below 0
  // The bar leaves room for what stands behind it, as far as that goes.
  static constexpr int kMostCells = 24;
  int cells_ = kMostCells;
  const ProgressScreen screen_;
  double begin_;  // of all
  double start_;  // of this phase
  double last_;
  std::string shown_;  // on the terminal; empty: nothing
  bool over_ = false;
  std::condition_variable end_;
  std::thread timer_;
};

// "0:07", "12:30", "3:05:00".
std::string Duration(double seconds);

}  // namespace weft

#endif  // WEFT_TOOLS_PROGRESS_PROGRESS_H_
