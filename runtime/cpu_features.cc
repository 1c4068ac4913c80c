#include "runtime/cpu_features.h"

#include <string>

#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "runtime/core/cpu.h"

namespace weft {

std::optional<bool> CpuHas(std::string_view feature) {
  static const WeftCpu cpu = [] {
    WeftCpu read;
    weft_cpu_read(&read);
    return read;
  }();
  const int has = weft_cpu_has(&cpu, std::string(feature).c_str());
  if (has < 0) return std::nullopt;
  return has > 0;
}

namespace {

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

}  // namespace

std::vector<std::string> FeaturesOfTarget(std::string_view target) {
  std::vector<std::string> parts =
      absl::StrSplit(absl::StripPrefix(std::string(target), "cpu:"), absl::ByChar('+'));
  std::optional<std::vector<std::string>> features = FeaturesOfLevel(parts[0]);
  if (!features.has_value()) return {};
  features->insert(features->end(), parts.begin() + 1, parts.end());
  return *std::move(features);
}

int NumCores() { return weft_num_cores(); }

}  // namespace weft
