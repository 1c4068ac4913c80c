#include "compiler/plan/arena.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <map>
#include <numeric>
#include <set>

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

// The offset of the smallest gap that holds the buffer, or the end. `placed` is in the order of
// offsets.
int64_t BestFit(const std::vector<ArenaBuffer>& buffers, const std::vector<int>& placed,
                const std::vector<int64_t>& offsets, const ArenaBuffer& buffer) {
  const int64_t bytes = Aligned(buffer.bytes);
  int64_t best = -1, best_gap = std::numeric_limits<int64_t>::max(), end = 0;
  for (int other : placed) {
    if (!Overlap(buffers[other], buffer)) continue;
    const int64_t gap = offsets[other] - end;
    if (gap >= bytes && gap < best_gap && gap > 0) {
      best = end;
      best_gap = gap;
    }
    end = std::max(end, offsets[other] + Aligned(buffers[other].bytes));
  }
  return best >= 0 ? best : end;
}

// The highest buffer at each position of the schedule, of those added so far: what lies lower there
// lies below it.
class Skyline {
 public:
  // Adds a buffer that is higher than all before. The buffers that it comes to lie upon.
  std::vector<int> Add(int buffer, int64_t begin, int64_t end) {
    std::set<int> below;
    Cut(begin);
    Cut(end + 1);
    auto piece = pieces_.lower_bound(begin);
    while (piece != pieces_.end() && piece->first <= end) {
      if (piece->second >= 0) below.insert(piece->second);
      piece = pieces_.erase(piece);
    }
    pieces_[begin] = buffer;
    return std::vector<int>(below.begin(), below.end());
  }

 private:
  // Lets a piece begin at a position.
  void Cut(int64_t position) {
    auto next = pieces_.upper_bound(position);
    if (next == pieces_.begin()) {
      pieces_.emplace(position, -1);
    } else {
      pieces_.emplace(position, std::prev(next)->second);
    }
  }

  // From where each piece begins; it ends where the next one does. -1: nothing is there.
  std::map<int64_t, int> pieces_;
};

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
  const auto by_offset = [&](int a, int b) {
    return offsets[a] != offsets[b] ? offsets[a] < offsets[b] : a < b;
  };
  std::vector<int> placed;  // in the order of offsets
  for (int buffer : layout.order) {
    if (!by_size) {
      std::erase_if(placed, [&](int other) { return buffers[other].end < buffers[buffer].begin; });
    }
    offsets[buffer] = BestFit(buffers, placed, offsets, buffers[buffer]);
    layout.peak = std::max(layout.peak, offsets[buffer] + Aligned(buffers[buffer].bytes));
    placed.insert(std::lower_bound(placed.begin(), placed.end(), buffer, by_offset), buffer);
  }
  auto lower = [&](int a, int b) {
    if (offsets[a] != offsets[b]) return offsets[a] < offsets[b];
    // One of them is empty.
    return buffers[a].bytes != buffers[b].bytes ? buffers[a].bytes < buffers[b].bytes : a < b;
  };
  std::sort(layout.order.begin(), layout.order.end(), lower);
  Skyline skyline;
  for (int buffer : layout.order) {
    layout.below[buffer] = skyline.Add(buffer, buffers[buffer].begin, buffers[buffer].end);
  }
  return layout;
}

}  // namespace weft
