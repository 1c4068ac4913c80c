#include "compiler/plan/arena.h"

#include <algorithm>
#include <random>

#include "gtest/gtest.h"

namespace weft {
namespace {

// The offsets that an executor derives from the relation, for other sizes than those placed.
std::vector<int64_t> Offsets(const ArenaLayout& layout, const std::vector<int64_t>& bytes) {
  std::vector<int64_t> offsets(bytes.size(), 0);
  for (int buffer : layout.order) {
    for (int lower : layout.below[buffer]) {
      offsets[buffer] = std::max(offsets[buffer], offsets[lower] + (bytes[lower] + 63) / 64 * 64);
    }
  }
  return offsets;
}

void ExpectDisjoint(const std::vector<ArenaBuffer>& buffers, const std::vector<int64_t>& bytes,
                    const std::vector<int64_t>& offsets) {
  for (size_t a = 0; a < buffers.size(); ++a) {
    for (size_t b = 0; b < a; ++b) {
      if (buffers[a].begin > buffers[b].end || buffers[b].begin > buffers[a].end) continue;
      EXPECT_TRUE(offsets[a] + bytes[a] <= offsets[b] || offsets[b] + bytes[b] <= offsets[a])
          << a << " and " << b;
    }
  }
}

TEST(ArenaTest, ReusesWhatDied) {
  const ArenaLayout layout = PlaceBuffers({{0, 1, 1000}, {1, 2, 1000}, {2, 3, 1000}, {3, 4, 1000}});
  EXPECT_EQ(layout.peak, 2 * 1024);
}

TEST(ArenaTest, FillsGaps) {
  // The small one fits where the second large one was.
  const ArenaLayout layout = PlaceBuffers({{0, 9, 640}, {0, 4, 640}, {0, 9, 640}, {5, 9, 64}});
  EXPECT_EQ(layout.peak, 3 * 640);
}

TEST(ArenaTest, DisjointForAnySizes) {
  std::mt19937 random(1);
  for (int round = 0; round < 50; ++round) {
    std::vector<ArenaBuffer> buffers(40);
    for (ArenaBuffer& buffer : buffers) {
      buffer.begin = static_cast<int64_t>(random() % 30);
      buffer.end = buffer.begin + static_cast<int64_t>(random() % 10);
      buffer.bytes = static_cast<int64_t>(random() % 5 == 0 ? 0 : random() % 3000);
    }
    const ArenaLayout layout = PlaceBuffers(buffers);
    std::vector<int64_t> same, other;
    for (const ArenaBuffer& buffer : buffers) {
      same.push_back(buffer.bytes);
      other.push_back(static_cast<int64_t>(random() % 5000));
    }
    const std::vector<int64_t> offsets = Offsets(layout, same);
    ExpectDisjoint(buffers, same, offsets);
    int64_t peak = 0;
    for (size_t i = 0; i < offsets.size(); ++i) {
      peak = std::max(peak, offsets[i] + (same[i] + 63) / 64 * 64);
    }
    EXPECT_LE(peak, layout.peak);
    ExpectDisjoint(buffers, other, Offsets(layout, other));
  }
}

TEST(ArenaTest, ManyBuffersInALine) {
  std::vector<ArenaBuffer> buffers;
  for (int i = 0; i < 200000; ++i) buffers.push_back({i, i + 1, 4096});
  EXPECT_EQ(PlaceBuffers(buffers).peak, 2 * 4096);
}

// A pair is ordered through those between them, not each by an entry of its own.
TEST(ArenaTest, ManyBuffersAtOnce) {
  constexpr int kBuffers = 20000;
  std::vector<ArenaBuffer> buffers;
  for (int i = 0; i < kBuffers; ++i) buffers.push_back({i, 2 * kBuffers - i, 64});
  const ArenaLayout layout = PlaceBuffers(buffers);
  EXPECT_EQ(layout.peak, 64 * kBuffers);
  size_t entries = 0;
  for (const std::vector<int>& below : layout.below) entries += below.size();
  EXPECT_LE(entries, 2u * kBuffers);
}

}  // namespace
}  // namespace weft
