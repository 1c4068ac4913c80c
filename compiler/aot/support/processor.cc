#include "compiler/aot/support/processor.h"

#include <cpuid.h>

namespace {

struct Registers {
  unsigned a = 0, b = 0, c = 0, d = 0;
};

Registers Cpuid(unsigned leaf, unsigned subleaf) {
  Registers r;
  __get_cpuid_count(leaf, subleaf, &r.a, &r.b, &r.c, &r.d);
  return r;
}

// What the operating system saves when it switches threads: the register XCR0.
unsigned long long SavedState() {
  constexpr unsigned kOsxsave = 1u << 27;
  if (!(Cpuid(1, 0).c & kOsxsave)) return 0;
  unsigned low, high;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low | static_cast<unsigned long long>(high) << 32;
}

constexpr unsigned long long kNONE = 0;
constexpr unsigned long long kAVX = 0x6;
constexpr unsigned long long kAVX512 = 0xe6;
constexpr unsigned long long kAMX = 0x60000;

}  // namespace

extern "C" uint64_t weft_processor_features(void) {
  const unsigned long long saved = SavedState();
  uint64_t features = 0;
#define WEFT_TEST(bit, name, leaf, subleaf, reg, shift, state)                     \
  if ((saved & k##state) == k##state && (Cpuid(leaf, subleaf).reg >> (shift) & 1)) \
    features |= uint64_t{1} << (bit);
  WEFT_PROCESSOR_FEATURES(WEFT_TEST)
#undef WEFT_TEST
  return features;
}

extern "C" const char* weft_processor_feature_name(int bit) {
  switch (bit) {
#define WEFT_NAME(bit, name, leaf, subleaf, reg, shift, state) \
  case bit:                                                    \
    return name;
    WEFT_PROCESSOR_FEATURES(WEFT_NAME)
#undef WEFT_NAME
    default:
      return nullptr;
  }
}
