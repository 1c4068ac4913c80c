// The processor's features, by cpuid.
#include "runtime/core/cpu.h"

#include <cpuid.h>
#include <stdint.h>
#include <string.h>

#include "runtime/core/internal.h"

namespace {

enum Register { kEax, kEbx, kEcx, kEdx };

// What the operating system has to save for a feature to be of use: bits of XCR0.
enum State : uint32_t {
  kAlways = 0,
  kAvx = 0x6,
  kAvx512 = 0xe6,
  kAmx = 0x60000,
};

struct Feature {
  char name[24];  // in place, so that the table has no addresses for a loader to fill in
  uint32_t leaf, subleaf;
  Register reg;
  int bit;
  State state = kAlways;
};

constexpr uint32_t kExtended = 0x80000001;

constexpr Feature kFeatures[] = {
    {"cx8", 1, 0, kEdx, 8},
    {"cmov", 1, 0, kEdx, 15},
    {"mmx", 1, 0, kEdx, 23},
    {"fxsr", 1, 0, kEdx, 24},
    {"sse", 1, 0, kEdx, 25},
    {"sse2", 1, 0, kEdx, 26},
    {"sse3", 1, 0, kEcx, 0},
    {"pclmul", 1, 0, kEcx, 1},
    {"ssse3", 1, 0, kEcx, 9},
    {"fma", 1, 0, kEcx, 12, kAvx},
    {"cx16", 1, 0, kEcx, 13},
    {"sse4.1", 1, 0, kEcx, 19},
    {"sse4.2", 1, 0, kEcx, 20},
    {"crc32", 1, 0, kEcx, 20},
    {"movbe", 1, 0, kEcx, 22},
    {"popcnt", 1, 0, kEcx, 23},
    {"aes", 1, 0, kEcx, 25},
    {"xsave", 1, 0, kEcx, 27},
    {"avx", 1, 0, kEcx, 28, kAvx},
    {"f16c", 1, 0, kEcx, 29, kAvx},
    {"rdrnd", 1, 0, kEcx, 30},
    {"fsgsbase", 7, 0, kEbx, 0},
    {"bmi", 7, 0, kEbx, 3},
    {"avx2", 7, 0, kEbx, 5, kAvx},
    {"bmi2", 7, 0, kEbx, 8},
    {"invpcid", 7, 0, kEbx, 10},
    {"rtm", 7, 0, kEbx, 11},
    {"avx512f", 7, 0, kEbx, 16, kAvx512},
    {"avx512dq", 7, 0, kEbx, 17, kAvx512},
    {"rdseed", 7, 0, kEbx, 18},
    {"adx", 7, 0, kEbx, 19},
    {"avx512ifma", 7, 0, kEbx, 21, kAvx512},
    {"clflushopt", 7, 0, kEbx, 23},
    {"clwb", 7, 0, kEbx, 24},
    {"avx512cd", 7, 0, kEbx, 28, kAvx512},
    {"sha", 7, 0, kEbx, 29},
    {"avx512bw", 7, 0, kEbx, 30, kAvx512},
    {"avx512vl", 7, 0, kEbx, 31, kAvx512},
    {"avx512vbmi", 7, 0, kEcx, 1, kAvx512},
    {"waitpkg", 7, 0, kEcx, 5},
    {"avx512vbmi2", 7, 0, kEcx, 6, kAvx512},
    {"gfni", 7, 0, kEcx, 8},
    {"vaes", 7, 0, kEcx, 9, kAvx},
    {"vpclmulqdq", 7, 0, kEcx, 10, kAvx},
    {"avx512vnni", 7, 0, kEcx, 11, kAvx512},
    {"avx512bitalg", 7, 0, kEcx, 12, kAvx512},
    {"avx512vpopcntdq", 7, 0, kEcx, 14, kAvx512},
    {"rdpid", 7, 0, kEcx, 22},
    {"cldemote", 7, 0, kEcx, 25},
    {"movdiri", 7, 0, kEcx, 27},
    {"movdir64b", 7, 0, kEcx, 28},
    {"avx512vp2intersect", 7, 0, kEdx, 8, kAvx512},
    {"serialize", 7, 0, kEdx, 14},
    {"amx-bf16", 7, 0, kEdx, 22, kAmx},
    {"avx512fp16", 7, 0, kEdx, 23, kAvx512},
    {"amx-tile", 7, 0, kEdx, 24, kAmx},
    {"amx-int8", 7, 0, kEdx, 25, kAmx},
    {"sha512", 7, 1, kEax, 0, kAvx},
    {"sm3", 7, 1, kEax, 1, kAvx},
    {"sm4", 7, 1, kEax, 2, kAvx},
    {"avxvnni", 7, 1, kEax, 4, kAvx},
    {"avx512bf16", 7, 1, kEax, 5, kAvx512},
    {"cmpccxadd", 7, 1, kEax, 7},
    {"amx-fp16", 7, 1, kEax, 21, kAmx},
    {"avxifma", 7, 1, kEax, 23, kAvx},
    {"avxvnniint8", 7, 1, kEdx, 4, kAvx},
    {"avxneconvert", 7, 1, kEdx, 5, kAvx},
    {"amx-complex", 7, 1, kEdx, 8, kAmx},
    {"avxvnniint16", 7, 1, kEdx, 10, kAvx},
    {"prefetchi", 7, 1, kEdx, 14},
    {"avx10.1", 7, 1, kEdx, 19, kAvx512},
    {"xsaveopt", 0xd, 1, kEax, 0},
    {"xsavec", 0xd, 1, kEax, 1},
    {"xsaves", 0xd, 1, kEax, 3},
    {"sahf", kExtended, 0, kEcx, 0},
    {"lzcnt", kExtended, 0, kEcx, 5},
    {"sse4a", kExtended, 0, kEcx, 6},
    {"prfchw", kExtended, 0, kEcx, 8},
    {"xop", kExtended, 0, kEcx, 11, kAvx},
    {"fma4", kExtended, 0, kEcx, 16, kAvx},
    {"tbm", kExtended, 0, kEcx, 21},
    {"mwaitx", kExtended, 0, kEcx, 29},
    {"64bit", kExtended, 0, kEdx, 29},
    {"clzero", kExtended + 7, 0, kEbx, 0},
    {"wbnoinvd", kExtended + 7, 0, kEbx, 9},
};

constexpr struct {
  uint32_t leaf, subleaf;
} kLeaves[WEFT_CPU_LEAVES] = {{1, 0}, {7, 0}, {7, 1}, {0xd, 1}, {kExtended, 0}, {kExtended + 7, 0}};

}  // namespace

WEFT_CORE_DEFINITION void weft_cpu_read(WeftCpu* cpu) {
  memset(cpu, 0, sizeof(*cpu));
  const uint32_t last = __get_cpuid_max(0, nullptr);
  const uint32_t last_extended = __get_cpuid_max(0x80000000, nullptr);
  for (int i = 0; i < WEFT_CPU_LEAVES; ++i) {
    const uint32_t leaf = kLeaves[i].leaf;
    if (leaf > (leaf >= 0x80000000 ? last_extended : last)) continue;
    uint32_t* registers = cpu->leaves[i];
    __cpuid_count(leaf, kLeaves[i].subleaf, registers[kEax], registers[kEbx], registers[kEcx],
                  registers[kEdx]);
  }
  constexpr uint32_t kOsUsesXsave = 1u << 27;
  if ((cpu->leaves[0][kEcx] & kOsUsesXsave) == 0) return;
  uint32_t low = 0, high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  cpu->saved_state = uint64_t{high} << 32 | low;
}

WEFT_CORE_DEFINITION int weft_cpu_has(const WeftCpu* cpu, const char* feature) {
  for (const Feature& known : kFeatures) {
    if (strcmp(known.name, feature) != 0) continue;
    if ((cpu->saved_state & known.state) != known.state) return 0;
    int leaf = 0;
    while (kLeaves[leaf].leaf != known.leaf || kLeaves[leaf].subleaf != known.subleaf) ++leaf;
    return cpu->leaves[leaf][known.reg] >> known.bit & 1;
  }
  return -1;
}
