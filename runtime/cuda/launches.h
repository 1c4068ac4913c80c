// Launches, for messages about them.
#ifndef WEFT_RUNTIME_CUDA_LAUNCHES_H_
#define WEFT_RUNTIME_CUDA_LAUNCHES_H_

#include <cstdint>
#include <string>

#include "runtime/core/executor.h"

namespace weft::cuda {

struct Launches {
  int64_t count = 0;
  const WeftStep* first = nullptr;
  const WeftStep* last = nullptr;

  void Add(const Launches& more);
  // "exp at y (m.cc:3)", "one of 3 launches, from ... to ...; ..."; empty if there are none.
  std::string Describe() const;
};

}  // namespace weft::cuda

#endif  // WEFT_RUNTIME_CUDA_LAUNCHES_H_
