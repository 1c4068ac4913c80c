#include "tools/weft/interrupt.h"

#include <csignal>
#include <cstddef>
#include <iterator>

namespace weft::cli {
namespace {

constexpr int kSignals[] = {SIGINT, SIGTERM, SIGHUP};
volatile std::sig_atomic_t caught = 0;

}  // namespace

InterruptGuard::InterruptGuard() {
  caught = 0;
  for (size_t i = 0; i < std::size(kSignals); ++i) {
    before_[i] = std::signal(kSignals[i], [](int signal) {
      caught = signal;
      std::signal(signal, SIG_DFL);
    });
    if (before_[i] == SIG_IGN) std::signal(kSignals[i], SIG_IGN);
  }
}

InterruptGuard::~InterruptGuard() {
  for (size_t i = 0; i < std::size(kSignals); ++i) std::signal(kSignals[i], before_[i]);
}

int InterruptSignal() { return caught; }

}  // namespace weft::cli
