#include "compiler/plan/arena.h"

#include <algorithm>
#include <limits>
#include <numeric>

namespace weft {
namespace {

constexpr int64_t kAlignment = 64;

int64_t Aligned(int64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

bool Overlap(const ArenaBuffer& a, const ArenaBuffer& b) {
  return a.begin <= b.end && b.begin <= a.end;
}

// Beyond this many buffers they are placed in the order of the schedule, which needs to look only
// at those alive.
constexpr size_t kMaxBySize = 8192;

// The placed buffers that are alive together with `buffer`, by offset.
std::vector<int> Neighbours(const std::vector<ArenaBuffer>& buffers, const std::vector<int>& placed,
                            const std::vector<int64_t>& offsets, int buffer) {
  std::vector<int> alive;
  for (int other : placed) {
    if (other != buffer && Overlap(buffers[other], buffers[buffer])) alive.push_back(other);
  }
  std::sort(alive.begin(), alive.end(), [&](int a, int b) {
    return offsets[a] != offsets[b] ? offsets[a] < offsets[b] : a < b;
  });
  return alive;
}

// The offset of the smallest gap that holds `bytes`, or the end.
int64_t BestFit(const std::vector<ArenaBuffer>& buffers, const std::vector<int>& alive,
                const std::vector<int64_t>& offsets, int64_t bytes) {
  int64_t best = -1, best_gap = std::numeric_limits<int64_t>::max(), end = 0;
  for (int other : alive) {
    const int64_t gap = offsets[other] - end;
    if (gap >= bytes && gap < best_gap && gap > 0) {
      best = end;
      best_gap = gap;
    }
    end = std::max(end, offsets[other] + Aligned(buffers[other].bytes));
  }
  return best >= 0 ? best : end;
}

}  // namespace

ArenaLayout PlaceBuffers(const std::vector<ArenaBuffer>& buffers) {
  const size_t n = buffers.size();
  ArenaLayout layout;
  layout.order.resize(n);
  layout.below.resize(n);
  std::vector<int64_t> offsets(n, 0);
  std::iota(layout.order.begin(), layout.order.end(), 0);
  const bool by_size = n <= kMaxBySize;
  std::sort(layout.order.begin(), layout.order.end(), [&](int a, int b) {
    const int64_t key_a = by_size ? -buffers[a].bytes : buffers[a].begin;
    const int64_t key_b = by_size ? -buffers[b].bytes : buffers[b].begin;
    return key_a != key_b ? key_a < key_b : a < b;
  });
  // Alive at once, each set by offset; kept to derive the relation from.
  std::vector<int> placed;
  for (int buffer : layout.order) {
    if (!by_size) {
      std::erase_if(placed, [&](int other) { return buffers[other].end < buffers[buffer].begin; });
    }
    const std::vector<int> alive = Neighbours(buffers, placed, offsets, buffer);
    offsets[buffer] = BestFit(buffers, alive, offsets, Aligned(buffers[buffer].bytes));
    layout.peak = std::max(layout.peak, offsets[buffer] + Aligned(buffers[buffer].bytes));
    placed.push_back(buffer);
  }
  auto lower = [&](int a, int b) {
    if (offsets[a] != offsets[b]) return offsets[a] < offsets[b];
    // One of them is empty.
    return buffers[a].bytes != buffers[b].bytes ? buffers[a].bytes < buffers[b].bytes : a < b;
  };
  std::sort(layout.order.begin(), layout.order.end(), lower);
  // Buffers in the order of the schedule, so that those alive with one are found by a sweep.
  std::vector<int> by_begin(n);
  std::iota(by_begin.begin(), by_begin.end(), 0);
  std::sort(by_begin.begin(), by_begin.end(), [&](int a, int b) {
    return buffers[a].begin != buffers[b].begin ? buffers[a].begin < buffers[b].begin : a < b;
  });
  std::vector<int> alive;
  for (int buffer : by_begin) {
    std::erase_if(alive, [&](int other) { return buffers[other].end < buffers[buffer].begin; });
    for (int other : alive) {
      if (lower(other, buffer)) {
        layout.below[buffer].push_back(other);
      } else {
        layout.below[other].push_back(buffer);
      }
    }
    alive.push_back(buffer);
  }
  // What lies below one of the others need not be named.
  for (std::vector<int>& below : layout.below) {
    std::sort(below.begin(), below.end(), [&](int a, int b) { return lower(b, a); });
    std::vector<int> direct;
    for (int candidate : below) {
      const bool implied = std::any_of(direct.begin(), direct.end(), [&](int higher) {
        return Overlap(buffers[candidate], buffers[higher]);
      });
      if (!implied) direct.push_back(candidate);
    }
    below = std::move(direct);
  }
  return layout;
}

}  // namespace weft
