#include "runtime/ptx_emulator/bank_conflicts.h"

#include <algorithm>

namespace weft::ptx {
namespace {

constexpr uint32_t kBanks = 32, kBankBytes = 4;

// The most different words of one bank.
int MostInABank(uint32_t (&words)[kBanks], size_t count) {
  std::sort(words, words + count);
  count = static_cast<size_t>(std::unique(words, words + count) - words);
  int in_bank[kBanks] = {}, most = 1;
  for (size_t i = 0; i < count; ++i) most = std::max(most, ++in_bank[words[i] % kBanks]);
  return most;
}

}  // namespace

int CountBankConflicts(const uint32_t (&addresses)[kWarpSize], uint32_t mask, int bytes) {
  const int group = std::min<int>(kWarpSize, kBanks * kBankBytes / bytes);
  int conflicts = 0;
  for (int first = 0; first < kWarpSize; first += group) {
    uint32_t words[kBanks], word_of[kBanks];
    size_t count = 0;
    uint32_t busy = 0;
    bool one_each = true;  // as it mostly is
    for (int lane = first; lane < first + group; ++lane) {
      if ((mask >> lane & 1) == 0) continue;
      for (uint32_t at = 0; at < static_cast<uint32_t>(bytes); at += kBankBytes) {
        const uint32_t word = (addresses[lane] + at) / kBankBytes, bank = word % kBanks;
        words[count++] = word;
        if ((busy >> bank & 1) != 0) {
          one_each &= word_of[bank] == word;
        } else {
          busy |= 1u << bank;
          word_of[bank] = word;
        }
      }
    }
    if (!one_each) conflicts += MostInABank(words, count) - 1;
  }
  return conflicts;
}

}  // namespace weft::ptx
