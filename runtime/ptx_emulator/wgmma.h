#ifndef WEFT_RUNTIME_PTX_EMULATOR_WGMMA_H_
#define WEFT_RUNTIME_PTX_EMULATOR_WGMMA_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

#include "runtime/ptx_emulator/program.h"

namespace weft::ptx {

class Warp;

// The products that the four warps of a warpgroup issue, which have to be the same: each warp
// computes a quarter of each.
class WarpgroupAgreement {
 public:
  static constexpr int kWarps = 4;
  struct Product {
    const Instruction* instruction = nullptr;
    uint64_t a = 0, b = 0;  // descriptors
    friend bool operator==(const Product&, const Product&) = default;
  };

  // The next product of the warpgroup's warp `rank`. Null, or the one of another warp in its place.
  const Product* Add(int rank, const Product& product);
  // Products that the warp issued and others did not yet, or the other way round.
  int64_t Ahead(int rank) const;

 private:
  std::deque<Product> products_;  // those that not all warps have issued
  int64_t first_ = 0;
  std::array<int64_t, kWarps> issued_{};
  Product differs_;
};

// The asynchronous matrix products of a warp's part of its warpgroup. They read shared memory and
// write their accumulators when they are waited for; until then both are marked.
class WarpgroupProducts {
 public:
  // What a warp may have under way, products and groups: some kilobytes each. Shared memory holds
  // the operands of some hundred products.
  static constexpr size_t kMaxUnderWay = 2048;

  struct Product {
    const Instruction* instruction = nullptr;
    uint64_t a = 0, b = 0;  // descriptors
    bool accumulate = true;
    std::vector<uint32_t> a_registers;  // 32 lanes of each, where A is in registers
    std::vector<uint32_t> reads;        // 16 bytes of shared memory each
  };

  void Reset();
  void Fence() { fenced_ = true; }
  // False, with a finding, where too much is under way for one more.
  bool MayBegin(Warp& warp);
  void Issue(Warp& warp, Product product);
  void Commit(Warp& warp);
  // Until at most `groups` are under way.
  void Wait(Warp& warp, int groups);

  bool any() const { return under_way_ > 0; }
  // Whether the instruction touches registers that a product under way reads or writes.
  bool Touches(const Instruction& instruction) const;
  bool fenced() const { return fenced_; }
  // A register that products use was written by another instruction: a fence has to come before the
  // next product.
  void NoteWrite() { fenced_ = false; }

 private:
  void Complete(Warp& warp, const Product& product);

  bool fenced_ = false;
  size_t under_way_ = 0;
  std::vector<Product> open_;
  std::deque<std::vector<Product>> groups_;
  std::vector<uint16_t> marked_;  // by id of a register: how many products write it
};

}  // namespace weft::ptx

#endif  // WEFT_RUNTIME_PTX_EMULATOR_WGMMA_H_
