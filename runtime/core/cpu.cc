// The processor's features, by cpuid.
#include "runtime/core/cpu.h"

#include <cpuid.h>
#include <stdint.h>
#include <string.h>

#include "runtime/core/internal.h"

namespace {

enum Register : uint8_t { kEax, kEbx, kEcx, kEdx };

// What the operating system has to save for a feature to be of use: bits of XCR0.
enum State : uint32_t {
  kAlways = 0,
  kAvx = 0x6,
  kAvx512 = 0xe6,
  kAmx = 0x60000,
  kApx = 0x80000,
};

// The leaves of cpuid that are read, and where they are in WeftCpu::leaves.
enum Leaf : uint8_t { kLeaf1, kLeaf7, kLeaf7_1, kLeafD_1, kLeaf24, kExtended1, kExtended7 };

constexpr struct {
  uint32_t leaf, subleaf;
} kLeaves[WEFT_CPU_LEAVES] = {{1, 0},    {7, 0},          {7, 1},         {0xd, 1},
                              {0x24, 0}, {0x80000001, 0}, {0x80000008, 0}};

struct Feature {
  char name[20];  // in place, so that the table has no addresses for a loader to fill in
  Leaf leaf;
  Register reg;
  uint8_t bit;
  State state = kAlways;
};

constexpr Feature kFeatures[] = {
    {"sse3", kLeaf1, kEcx, 0},
    {"pclmul", kLeaf1, kEcx, 1},
    {"ssse3", kLeaf1, kEcx, 9},
    {"fma", kLeaf1, kEcx, 12, kAvx},
    {"cx16", kLeaf1, kEcx, 13},
    {"sse4.1", kLeaf1, kEcx, 19},
    {"sse4.2", kLeaf1, kEcx, 20},
    {"crc32", kLeaf1, kEcx, 20},
    {"movbe", kLeaf1, kEcx, 22},
    {"popcnt", kLeaf1, kEcx, 23},
    {"aes", kLeaf1, kEcx, 25},
    {"xsave", kLeaf1, kEcx, 27},
    {"avx", kLeaf1, kEcx, 28, kAvx},
    {"f16c", kLeaf1, kEcx, 29, kAvx},
    {"rdrnd", kLeaf1, kEcx, 30},
    {"cx8", kLeaf1, kEdx, 8},
    {"cmov", kLeaf1, kEdx, 15},
    {"mmx", kLeaf1, kEdx, 23},
    {"fxsr", kLeaf1, kEdx, 24},
    {"sse", kLeaf1, kEdx, 25},
    {"sse2", kLeaf1, kEdx, 26},
    {"fsgsbase", kLeaf7, kEbx, 0},
    {"bmi", kLeaf7, kEbx, 3},
    {"avx2", kLeaf7, kEbx, 5, kAvx},
    {"bmi2", kLeaf7, kEbx, 8},
    {"invpcid", kLeaf7, kEbx, 10},
    {"rtm", kLeaf7, kEbx, 11},
    {"avx512f", kLeaf7, kEbx, 16, kAvx512},
    {"avx512dq", kLeaf7, kEbx, 17, kAvx512},
    {"rdseed", kLeaf7, kEbx, 18},
    {"adx", kLeaf7, kEbx, 19},
    {"avx512ifma", kLeaf7, kEbx, 21, kAvx512},
    {"clflushopt", kLeaf7, kEbx, 23},
    {"clwb", kLeaf7, kEbx, 24},
    {"avx512cd", kLeaf7, kEbx, 28, kAvx512},
    {"sha", kLeaf7, kEbx, 29},
    {"avx512bw", kLeaf7, kEbx, 30, kAvx512},
    {"avx512vl", kLeaf7, kEbx, 31, kAvx512},
    {"avx512vbmi", kLeaf7, kEcx, 1, kAvx512},
    {"waitpkg", kLeaf7, kEcx, 5},
    {"avx512vbmi2", kLeaf7, kEcx, 6, kAvx512},
    {"gfni", kLeaf7, kEcx, 8},
    {"vaes", kLeaf7, kEcx, 9, kAvx},
    {"vpclmulqdq", kLeaf7, kEcx, 10, kAvx},
    {"avx512vnni", kLeaf7, kEcx, 11, kAvx512},
    {"avx512bitalg", kLeaf7, kEcx, 12, kAvx512},
    {"avx512vpopcntdq", kLeaf7, kEcx, 14, kAvx512},
    {"rdpid", kLeaf7, kEcx, 22},
    {"cldemote", kLeaf7, kEcx, 25},
    {"movdiri", kLeaf7, kEcx, 27},
    {"movdir64b", kLeaf7, kEcx, 28},
    {"avx512vp2intersect", kLeaf7, kEdx, 8, kAvx512},
    {"serialize", kLeaf7, kEdx, 14},
    {"amx-bf16", kLeaf7, kEdx, 22, kAmx},
    {"avx512fp16", kLeaf7, kEdx, 23, kAvx512},
    {"amx-tile", kLeaf7, kEdx, 24, kAmx},
    {"amx-int8", kLeaf7, kEdx, 25, kAmx},
    {"sha512", kLeaf7_1, kEax, 0, kAvx},
    {"sm3", kLeaf7_1, kEax, 1, kAvx},
    {"sm4", kLeaf7_1, kEax, 2, kAvx},
    {"avxvnni", kLeaf7_1, kEax, 4, kAvx},
    {"avx512bf16", kLeaf7_1, kEax, 5, kAvx512},
    {"cmpccxadd", kLeaf7_1, kEax, 7},
    {"amx-fp16", kLeaf7_1, kEax, 21, kAmx},
    {"avxifma", kLeaf7_1, kEax, 23, kAvx},
    {"movrs", kLeaf7_1, kEax, 31},
    {"avxvnniint8", kLeaf7_1, kEdx, 4, kAvx},
    {"avxneconvert", kLeaf7_1, kEdx, 5, kAvx},
    {"amx-complex", kLeaf7_1, kEdx, 8, kAmx},
    {"avxvnniint16", kLeaf7_1, kEdx, 10, kAvx},
    {"prefetchi", kLeaf7_1, kEdx, 14},
    {"avx10.1", kLeaf7_1, kEdx, 19, kAvx512},
    {"egpr", kLeaf7_1, kEdx, 21, kApx},
    {"ppx", kLeaf7_1, kEdx, 21, kApx},
    {"push2pop2", kLeaf7_1, kEdx, 21, kApx},
    {"ndd", kLeaf7_1, kEdx, 21, kApx},
    {"ccmp", kLeaf7_1, kEdx, 21, kApx},
    {"nf", kLeaf7_1, kEdx, 21, kApx},
    {"cf", kLeaf7_1, kEdx, 21, kApx},
    {"zu", kLeaf7_1, kEdx, 21, kApx},
    {"xsaveopt", kLeafD_1, kEax, 0},
    {"xsavec", kLeafD_1, kEax, 1},
    {"xsaves", kLeafD_1, kEax, 3},
    {"sahf", kExtended1, kEcx, 0},
    {"lzcnt", kExtended1, kEcx, 5},
    {"sse4a", kExtended1, kEcx, 6},
    {"prfchw", kExtended1, kEcx, 8},
    {"xop", kExtended1, kEcx, 11, kAvx},
    {"fma4", kExtended1, kEcx, 16, kAvx},
    {"tbm", kExtended1, kEcx, 21},
    {"mwaitx", kExtended1, kEcx, 29},
    {"64bit", kExtended1, kEdx, 29},
    {"clzero", kExtended7, kEbx, 0},
    {"wbnoinvd", kExtended7, kEbx, 9},
    // The version, of which only 2 and 3 exist.
    {"avx10.2", kLeaf24, kEbx, 1, kAvx512},
};

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
    return cpu->leaves[known.leaf][known.reg] >> known.bit & 1;
  }
  return -1;
}
