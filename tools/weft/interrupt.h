// Ctrl-C, as a question that a loop may ask.
#ifndef WEFT_TOOLS_WEFT_INTERRUPT_H_
#define WEFT_TOOLS_WEFT_INTERRUPT_H_

namespace weft::cli {

// Catches SIGINT (Ctrl-C), SIGTERM (a batch system) and SIGHUP (a terminal that goes away) as long
// as this lives, but for those that whoever started the program had ignored (nohup, a shell's &). A
// second one ends the program as ever. One guard at a time.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

 private:
  void (*before_[3])(int);
};

// The signal that came since the last guard was made; 0: none did.
int InterruptSignal();
inline bool IsInterrupted() { return InterruptSignal() != 0; }

}  // namespace weft::cli

#endif  // WEFT_TOOLS_WEFT_INTERRUPT_H_
