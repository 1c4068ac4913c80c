// Where buffers lie in the arena, as a relation that holds for every size of the open dimensions.
#ifndef WEFT_COMPILER_PLAN_ARENA_H_
#define WEFT_COMPILER_PLAN_ARENA_H_

#include <cstdint>
#include <vector>

namespace weft {

// A buffer that is alive at the positions [begin, end] of the schedule.
struct ArenaBuffer {
  int64_t begin = 0, end = 0;
  // Bytes; with open dimensions, for sizes that stand for typical ones.
  int64_t bytes = 0;
};

struct ArenaLayout {
  // Indices of the buffers in the order of their offsets.
  std::vector<int> order;
  // For each buffer, those that are alive at the same time and lie directly below it: its offset is
  // the largest of their ends (rounded up to 64). Any two that are alive at once are ordered by
  // this relation, whatever their sizes turn out to be. All of them come earlier in `order`.
  std::vector<std::vector<int>> below;
  // Bytes in all, for the given sizes.
  int64_t peak = 0;
};

// Places the largest first, each in the smallest gap that fits.
ArenaLayout PlaceBuffers(const std::vector<ArenaBuffer>& buffers);

}  // namespace weft

#endif  // WEFT_COMPILER_PLAN_ARENA_H_
