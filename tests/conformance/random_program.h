// Random programs in whole numbers: branches, loops, variables, gathers and scatters in any
// composition, where every result is exact.
#ifndef WEFT_TESTS_CONFORMANCE_RANDOM_PROGRAM_H_
#define WEFT_TESTS_CONFORMANCE_RANDOM_PROGRAM_H_

#include <cstdint>

#include "graph/graph.h"
#include "graph/interpreter.h"

namespace weft {

struct RandomProgram {
  Graph graph;
  TensorMap feeds;
};

// A graph of about `num_steps` ops and bodies on i32 values of [rows, 4], with the signature "run":
// some of the values as outputs, and assignments of two variables. The same seed gives the same
// graph. With `open`, `rows` is the size that the open leading dimension is fed with, and there are
// no variables.
RandomProgram MakeRandomProgram(uint64_t seed, int num_steps, bool open, int64_t rows = 4);

}  // namespace weft

#endif  // WEFT_TESTS_CONFORMANCE_RANDOM_PROGRAM_H_
