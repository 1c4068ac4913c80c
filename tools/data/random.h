// A small generator for shuffling, the same everywhere (the standard library's distributions are
// not).
#ifndef WEFT_TOOLS_DATA_RANDOM_H_
#define WEFT_TOOLS_DATA_RANDOM_H_

#include <cstdint>

namespace weft {

// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
class SplitMix64 {
 public:
  explicit SplitMix64(uint64_t seed) : state_(seed) {}
  uint64_t Next() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  // In [0, n), each equally likely (rejection: the top of the range is cut off where n does not
  // divide it). n >= 1.
  uint64_t Below(uint64_t n) {
    const uint64_t limit = UINT64_MAX - UINT64_MAX % n;
    uint64_t value = Next();
    while (value >= limit) value = Next();
    return value % n;
  }

 private:
  uint64_t state_;
};

}  // namespace weft

#endif  // WEFT_TOOLS_DATA_RANDOM_H_
