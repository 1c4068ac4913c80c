#include "runtime/cpu_features.h"

#include <cpuid.h>
#include <sched.h>

#include <array>
#include <cstdint>
#include <string>

namespace weft {
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
  std::string_view name;
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
    {"clzero", 0x80000008, 0, kEbx, 0},
    {"wbnoinvd", 0x80000008, 0, kEbx, 9},
};

// Extended control register 0: which register state the operating system saves.
uint64_t SavedState() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned kOsUsesXsave = 1u << 27;
  if (!__get_cpuid(1, &a, &b, &c, &d) || (c & kOsUsesXsave) == 0) return 0;
  uint32_t low = 0, high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return uint64_t{high} << 32 | low;
}

bool Detect(const Feature& feature) {
  static const uint64_t saved = SavedState();
  if ((saved & feature.state) != feature.state) return false;
  std::array<unsigned, 4> registers = {};
  return __get_cpuid_count(feature.leaf, feature.subleaf, &registers[kEax], &registers[kEbx],
                           &registers[kEcx], &registers[kEdx]) != 0 &&
         (registers[feature.reg] >> feature.bit & 1) != 0;
}

}  // namespace

std::optional<bool> CpuHas(std::string_view feature) {
  for (const Feature& known : kFeatures) {
    if (known.name == feature) return Detect(known);
  }
  return std::nullopt;
}

std::optional<std::vector<std::string>> FeaturesOfLevel(std::string_view level) {
  // As the psABI for x86-64 defines the levels.
  constexpr std::string_view kLevels[] = {"x86-64", "x86-64-v2", "x86-64-v3", "x86-64-v4"};
  const std::vector<std::string> added[] = {
      {"cmov", "cx8", "fxsr", "mmx", "sse", "sse2"},
      {"cx16", "sahf", "popcnt", "sse3", "ssse3", "sse4.1", "sse4.2"},
      {"avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe", "xsave"},
      {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"},
  };
  std::vector<std::string> features;
  for (int i = 0; i < 4; ++i) {
    features.insert(features.end(), added[i].begin(), added[i].end());
    if (kLevels[i] == level) return features;
  }
  return std::nullopt;
}

int NumCores() {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  if (sched_getaffinity(0, sizeof(cores), &cores) != 0) return 1;
  const int count = CPU_COUNT(&cores);
  return count > 0 ? count : 1;
}

}  // namespace weft
