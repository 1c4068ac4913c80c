// Philox4x32-10, the counter-based generator of Salmon, Moraes, Dror and Shaw, "Parallel random
// numbers: as easy as 1, 2, 3" (SC 2011), and how the random ops use its words.
#ifndef WEFT_GRAPH_REFERENCE_PHILOX_H_
#define WEFT_GRAPH_REFERENCE_PHILOX_H_

#include <array>
#include <cstdint>

namespace weft::reference {

// The block of four words for one counter and key: ten rounds.
constexpr std::array<uint32_t, 4> Philox4x32(std::array<uint32_t, 4> counter,
                                             std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53} * counter[0];
    const uint64_t b = uint64_t{0xCD9E8D57} * counter[2];
    counter = {static_cast<uint32_t>(b >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(b),
               static_cast<uint32_t>(a >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(a)};
    key = {key[0] + 0x9E3779B9u, key[1] + 0xBB67AE85u};
  }
  return counter;
}

// Word of element `index` of a random op: word index % 4 of the block whose counter is
// (low(index / 4), high(index / 4), high(stream), 0) and whose key is (seed, low(stream)), where
// low and high are the halves of 32 bits.
constexpr uint32_t RandomWord(uint32_t seed, uint64_t stream, uint64_t index) {
  const uint64_t block = index / 4;
  return Philox4x32({static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32),
                     static_cast<uint32_t>(stream >> 32), 0},
                    {seed, static_cast<uint32_t>(stream)})[index % 4];
}

}  // namespace weft::reference

#endif  // WEFT_GRAPH_REFERENCE_PHILOX_H_
