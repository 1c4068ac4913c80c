// Threads for tests.
#ifndef WEFT_RUNTIME_TESTING_THREADS_H_
#define WEFT_RUNTIME_TESTING_THREADS_H_

#include <functional>
#include <thread>
#include <utility>
#include <vector>

namespace weft {

// `count` threads, of which each calls `body` with its number, from 0; the end of the scope waits
// for them.
class Threads {
 public:
  Threads(int count, std::function<void(int)> body) : body_(std::move(body)) {
    for (int i = 0; i < count; ++i) threads_.emplace_back([this, i] { body_(i); });
  }
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;

 private:
  std::function<void(int)> body_;
  std::vector<std::jthread> threads_;  // join, also where the system refuses the next one
};

}  // namespace weft

#endif  // WEFT_RUNTIME_TESTING_THREADS_H_
