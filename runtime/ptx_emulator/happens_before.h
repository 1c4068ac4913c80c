#ifndef WEFT_RUNTIME_PTX_EMULATOR_HAPPENS_BEFORE_H_
#define WEFT_RUNTIME_PTX_EMULATOR_HAPPENS_BEFORE_H_

#include <algorithm>
#include <array>
#include <cstdint>

namespace weft::ptx {

inline constexpr int kMaxWarps = 32;
// Those who do something in a block: its warps, and behind them, for each mbarrier, the copies that
// count there. Mbarriers from this number on have the last place together: then a wait at one may
// hide that there was none at another.
inline constexpr int kMbarrierPlaces = 32, kActors = kMaxWarps + kMbarrierPlaces;

// What comes before something, of each actor: its clock up to which all that it did does, and the
// one up to which all that it wrote passed a proxy fence on the way, so that asynchronous
// operations see it too.
struct VectorClock {
  std::array<uint32_t, kActors> seen{};
  std::array<uint32_t, kActors> fenced{};

  void Add(const VectorClock& other) {
    for (size_t i = 0; i < kActors; ++i) {
      seen[i] = std::max(seen[i], other.seen[i]);
      fenced[i] = std::max(fenced[i], other.fenced[i]);
    }
  }
};

// The order between the warps of a block. A warp's own clock moves on at each of its
// synchronisations and proxy fences, that of copies whenever one has come.
class HappensBefore {
 public:
  void Reset() {
    for (int w = 0; w < kMaxWarps; ++w) {
      clocks_[w] = {};
      clocks_[w].seen[w] = starts_[w] = 1;
    }
    copies_ = {};
  }
  uint32_t Now(int warp) const { return clocks_[warp].seen[warp]; }
  // The clock from which on the warp's lanes have not synchronised with one another.
  uint32_t IntervalStart(int warp) const { return starts_[warp]; }
  uint32_t Seen(int warp, int actor) const { return clocks_[warp].seen[actor]; }
  uint32_t Fenced(int warp, int actor) const { return clocks_[warp].fenced[actor]; }
  // Adds what `warp` did and saw to `clock`, and begins the warp's next interval.
  void Publish(int warp, VectorClock& clock) {
    clock.Add(clocks_[warp]);
    Advance(warp);
  }
  // What is in `clock` comes before what `warp` does from now on.
  void Observe(int warp, const VectorClock& clock) {
    const uint32_t now = Now(warp);
    clocks_[warp].Add(clock);
    clocks_[warp].seen[warp] = now;
  }
  // A copy that counts at an mbarrier has come: adds it to `clock`, and returns its own. What bulk
  // copies write needs no proxy fence.
  uint32_t Complete(int actor, bool is_bulk, VectorClock& clock) {
    const uint32_t now = ++copies_[actor - kMaxWarps];
    clock.seen[actor] = now;
    if (is_bulk) clock.fenced[actor] = now;
    return now;
  }
  // The lanes of the warp synchronise with one another.
  void Advance(int warp) { starts_[warp] = ++clocks_[warp].seen[warp]; }
  // A proxy fence: by all lanes of the warp, or some, behind which lies all that the warp has seen
  // but what its other lanes did in this interval.
  void Fence(int warp, bool all_lanes) {
    VectorClock& clock = clocks_[warp];
    const uint32_t own = all_lanes ? Now(warp) : starts_[warp] - 1;
    const uint32_t before = clock.fenced[warp];
    clock.fenced = clock.seen;
    clock.fenced[warp] = std::max(own, before);
    ++clock.seen[warp];
  }

 private:
  std::array<VectorClock, kMaxWarps> clocks_;
  std::array<uint32_t, kMaxWarps> starts_;
  std::array<uint32_t, kMbarrierPlaces> copies_{};
};

}  // namespace weft::ptx

#endif  // WEFT_RUNTIME_PTX_EMULATOR_HAPPENS_BEFORE_H_
