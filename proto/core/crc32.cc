#include "proto/core/crc32.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

namespace weft {
namespace {

// Times x, modulo the polynomial. The highest bit is the coefficient of x^0.
constexpr uint32_t TimesX(uint32_t value) { return value >> 1 ^ (value & 1 ? 0xedb88320u : 0); }

struct Table {
  uint32_t entry[256];
  constexpr Table() : entry() {
    for (uint32_t i = 0; i < 256; ++i) {
      entry[i] = i;
      for (int bit = 0; bit < 8; ++bit) entry[i] = TimesX(entry[i]);
    }
  }
};
constexpr Table kTable;

// `state` is the checksum before it is inverted.
uint32_t AddBytes(uint32_t state, const char* bytes, size_t size) {
  for (size_t i = 0; i < size; ++i) {
    state = state >> 8 ^ kTable.entry[(state ^ static_cast<unsigned char>(bytes[i])) & 0xff];
  }
  return state;
}

#if defined(__x86_64__)

constexpr size_t kBlock = 64;

// x^n modulo the polynomial, as a factor: a product of two reflected numbers is one place off.
constexpr long long Power(int n) {
  uint32_t power = 0x80000000u;
  for (int i = 0; i < n; ++i) power = TimesX(power);
  return static_cast<long long>(power) << 1;
}

// What `bits` that come `distance` bits earlier add to a place, modulo the polynomial.
template <int distance>
__attribute__((target("pclmul"))) __m128i Fold(__m128i bits) {
  const __m128i factors = _mm_set_epi64x(Power(distance - 32), Power(distance + 32));
  return _mm_xor_si128(_mm_clmulepi64_si128(bits, factors, 0x00),
                       _mm_clmulepi64_si128(bits, factors, 0x11));
}

// For whole blocks, at least one. As in "Fast CRC Computation for Generic Polynomials Using
// PCLMULQDQ Instruction" (Intel, 2009), but for the last 128 bits, which the table reduces.
__attribute__((target("pclmul"))) uint32_t AddBlocks(uint32_t state, const char* bytes,
                                                     size_t size) {
  __m128i lane[4];
  const auto load = [&bytes](int i) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes) + i);
  };
  for (int i = 0; i < 4; ++i) lane[i] = load(i);
  lane[0] = _mm_xor_si128(lane[0], _mm_cvtsi32_si128(static_cast<int>(state)));
  for (size -= kBlock, bytes += kBlock; size > 0; size -= kBlock, bytes += kBlock) {
    for (int i = 0; i < 4; ++i) lane[i] = _mm_xor_si128(Fold<512>(lane[i]), load(i));
  }
  for (int i = 1; i < 4; ++i) lane[i] = _mm_xor_si128(Fold<128>(lane[i - 1]), lane[i]);
  char last[16];
  _mm_storeu_si128(reinterpret_cast<__m128i*>(last), lane[3]);
  return AddBytes(0, last, sizeof(last));
}

bool HasPclmul() {
  static int known = 0;  // 1: no, 2: yes
  int answer = __atomic_load_n(&known, __ATOMIC_RELAXED);
  if (answer == 0) {
    unsigned eax, ebx, ecx = 0, edx;
    answer = __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_PCLMUL) != 0 ? 2 : 1;
    __atomic_store_n(&known, answer, __ATOMIC_RELAXED);
  }
  return answer == 2;
}

#endif

}  // namespace

uint32_t Crc32(std::string_view bytes, uint32_t before) {
#if defined(__x86_64__)
  const size_t blocks = bytes.size() / kBlock * kBlock;
  if (blocks > 0 && HasPclmul()) {
    const uint32_t state = AddBlocks(~before, bytes.data(), blocks);
    return ~AddBytes(state, bytes.data() + blocks, bytes.size() - blocks);
  }
#endif
  return Crc32ByTable(bytes, before);
}

uint32_t Crc32ByTable(std::string_view bytes, uint32_t before) {
  return ~AddBytes(~before, bytes.data(), bytes.size());
}

}  // namespace weft
