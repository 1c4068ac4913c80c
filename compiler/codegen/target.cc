#include "compiler/codegen/target.h"

#include <cpuid.h>

#include <algorithm>
#include <memory>
#include <mutex>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/MC/MCSubtargetInfo.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/TargetParser/Host.h"
#include "llvm/TargetParser/Triple.h"

namespace weft {
namespace {

constexpr char kTriple[] = "x86_64-unknown-linux-gnu";

// The data cache sizes of this processor by cpuid's deterministic cache parameters, which Intel has
// in leaf 4 and AMD in leaf 0x8000001d, in one format. What cpuid does not tell stays as it is.
void ReadCaches(Target* target) {
  for (unsigned leaf : {4u, 0x8000001du}) {
    if (__get_cpuid_max(leaf & 0x80000000u, nullptr) < leaf) continue;
    bool found = false;
    for (unsigned index = 0; index < 16; ++index) {
      unsigned a, b, c, d;
      __cpuid_count(leaf, index, a, b, c, d);
      unsigned type = a & 31, level = (a >> 5) & 7;
      if (type == 0) break;
      if (type == 2) continue;  // instructions
      int64_t bytes =
          int64_t{(b >> 22) + 1} * (((b >> 12) & 1023) + 1) * ((b & 4095) + 1) * (int64_t{c} + 1);
      if (level == 1) target->l1_bytes = bytes;
      if (level == 2) target->l2_bytes = bytes;
      if (level == 3) target->l3_bytes = bytes;
      found = true;
    }
    if (found) return;
  }
}

constexpr char kCpuTargets[] =
    "cpu:native, cpu:x86-64-v3 or cpu:x86-64-v4, with +feature for each one added, and +l2=1M and "
    "the like where caches are of other sizes";
constexpr char kCudaTargets[] = "cuda:sm_70, cuda:sm_80, cuda:sm_90 or cuda:sm_90a";

// "l2=1280K": true where the text is the size of a cache. A core has 4 KiB to 1 GiB of it.
bool ParseCache(const std::string& text, Target* target) {
  int64_t* const caches[] = {&target->l1_bytes, &target->l2_bytes, &target->l3_bytes};
  if (text.size() < 5 || text[0] != 'l' || text[1] < '1' || text[1] > '3' || text[2] != '=') {
    return false;
  }
  const int shift = text.back() == 'K' ? 10 : text.back() == 'M' ? 20 : -1;
  int64_t number = 0;
  if (shift < 0 || !absl::SimpleAtoi(text.substr(3, text.size() - 4), &number) || number < 1 ||
      number > int64_t{1} << 20) {
    return false;
  }
  const int64_t bytes = number << shift;
  if (bytes < 4 << 10 || bytes > 1 << 30) return false;
  *caches[text[1] - '1'] = bytes;
  return true;
}

absl::Status Invalid(const std::string& name, const std::string& problem,
                     const std::string& targets = kCpuTargets) {
  return absl::InvalidArgumentError(
      absl::StrCat("target '", name, "': ", problem, "; expected ", targets));
}

absl::StatusOr<Target> ParseCuda(const std::string& name, std::string_view generation) {
  Target target;
  target.kind = Target::Kind::kCuda;
  target.name = name;
  target.cpu = std::string(generation);
  target.vector_bits = 128;
  target.vector_registers = 0;
  for (int sm : {70, 80, 90}) {
    if (generation == absl::StrCat("sm_", sm)) target.sm = sm;
  }
  if (generation == "sm_90a") {
    target.sm = 90;
    target.generation_only = true;
  }
  target.multiprocessors = target.sm >= 90 ? 132 : 108;
  if (target.sm == 0) {
    return Invalid(name, absl::StrCat("unknown generation '", target.cpu, "'"), kCudaTargets);
  }
  return target;
}

}  // namespace

absl::StatusOr<Target> Target::Parse(std::string_view text) {
  const std::string name(text);
  static std::once_flag once;
  std::call_once(once, [] {
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
  });
  const std::string kPrefix = "cpu:";
  const std::string kCuda = "cuda:";
  if (name.substr(0, kCuda.size()) == kCuda) return ParseCuda(name, name.substr(kCuda.size()));
  if (name.substr(0, kPrefix.size()) != kPrefix) {
    return Invalid(name, "unknown kind of device",
                   absl::StrCat(kCpuTargets, "; or ", kCudaTargets));
  }
  std::vector<std::string> parts = absl::StrSplit(name.substr(kPrefix.size()), '+');

  Target target;
  target.name = name;
  std::vector<std::string> features;
  if (parts[0] == "native") {
    target.cpu = llvm::sys::getHostCPUName().str();
    for (const auto& feature : llvm::sys::getHostCPUFeatures()) {
      features.push_back(absl::StrCat(feature.second ? "+" : "-", feature.first().str()));
    }
    std::sort(features.begin(), features.end());  // the map's order is that of its hashes
    ReadCaches(&target);
  } else if (parts[0] == "x86-64-v3") {
    target.cpu = parts[0];
  } else if (parts[0] == "x86-64-v4") {
    target.cpu = parts[0];
    target.l2_bytes = 1 << 20;
  } else {
    return Invalid(name, absl::StrCat("unknown level '", parts[0], "'"));
  }

  std::string error;
  const llvm::Triple triple(kTriple);
  const llvm::Target* llvm_target = llvm::TargetRegistry::lookupTarget(triple, error);
  if (llvm_target == nullptr) return absl::InternalError(error);
  std::unique_ptr<llvm::MCSubtargetInfo> subtarget(
      llvm_target->createMCSubtargetInfo(triple, target.cpu, ""));
  for (size_t i = 1; i < parts.size(); ++i) {
    if (ParseCache(parts[i], &target)) continue;
    auto known = subtarget->getAllProcessorFeatures();
    if (std::none_of(known.begin(), known.end(), [&](const llvm::SubtargetFeatureKV& feature) {
          return parts[i] == feature.Key;
        })) {
      return Invalid(name, absl::StrCat("unknown feature '", parts[i], "'"));
    }
    features.push_back("+" + parts[i]);
  }
  target.features = absl::StrJoin(features, ",");
  subtarget.reset(llvm_target->createMCSubtargetInfo(triple, target.cpu, target.features));
  for (const auto& feature : subtarget->getAllProcessorFeatures()) {
    if (subtarget->getFeatureBits().test(feature.Value))
      target.enabled.insert(std::string(feature.Key));
  }
  for (const char* needed : {"avx2", "fma", "f16c"}) {
    if (!target.Has(needed)) return Invalid(name, absl::StrCat("the processor has no ", needed));
  }
  // All of x86-64-v4: code for 512 bits uses each of these.
  if (target.Has("avx512f") && target.Has("avx512vl") && target.Has("avx512bw") &&
      target.Has("avx512dq")) {
    target.vector_bits = 512;
    target.vector_registers = 32;
  }
  return target;
}

}  // namespace weft
