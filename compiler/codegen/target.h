// What the code generator knows of the machine it generates for.
#ifndef WEFT_COMPILER_CODEGEN_TARGET_H_
#define WEFT_COMPILER_CODEGEN_TARGET_H_

#include <cstdint>
#include <set>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace weft {

// A value: copy it freely. Every choice of the code generator depends on these fields alone, so
// equal targets give equal code, on whatever machine the compiler runs.
struct Target {
  enum class Kind { kCpu, kCuda };

  Kind kind = Kind::kCpu;
  // As it was named: "cpu:x86-64-v3", "cpu:native", "cuda:sm_90a".
  std::string name;
  // LLVM's name of the processor (for scheduling) and its list of features ("+avx2,+fma").
  std::string cpu;
  std::string features;
  // Of a GPU: its compute capability times ten, 80 for sm_80; and whether code may use what that
  // generation alone has (sm_90a).
  int sm = 0;
  bool generation_only = false;
  // Of a GPU: how many blocks it takes at once, at the least. That of the largest of its
  // generation, whatever GPU runs the code. No name says it.
  int64_t multiprocessors = 0;
  // Of a GPU that has it (HasTf32): whether products of f32 may be computed in tf32. No name says
  // so.
  bool tf32 = false;
  // LLVM's names of all that the processor has, those implied by others included: "avx2",
  // "avx512f". Of a CPU, as is the rest.
  std::set<std::string, std::less<>> enabled;
  // Width of the widest vector register that code should use: 256 or 512.
  int vector_bits = 256;
  // Vector registers of that width.
  int vector_registers = 16;
  // Data caches that one core may fill, in bytes: the first two are a core's own, the third shared.
  int64_t l1_bytes = 32 << 10;
  int64_t l2_bytes = 512 << 10;
  int64_t l3_bytes = 16 << 20;

  // Whether it multiplies tf32 on tensor cores.
  bool HasTf32() const { return sm >= 80; }
  bool Has(std::string_view feature) const { return enabled.find(feature) != enabled.end(); }
  // Lanes of one vector register for elements of `bytes` bytes.
  int Lanes(int bytes) const { return vector_bits / 8 / bytes; }

  // "cpu:LEVEL[+feature...]" where LEVEL is x86-64-v3, x86-64-v4, or native (this machine's
  // processor and caches), and a feature is one of LLVM's, or the size of a cache: "+l2=1280K",
  // "+l3=32M" (K and M are powers of two). Error (InvalidArgument) where the name
  // is none of those, where the processor lacks AVX2, FMA or F16C, which all generated code uses,
  // or where the features contradict it. "cuda:sm_70", sm_80, sm_90 and sm_90a are NVIDIA's GPUs
  // of those generations and, but for sm_90a, all later ones.
  static absl::StatusOr<Target> Parse(std::string_view name);
};

}  // namespace weft

#endif  // WEFT_COMPILER_CODEGEN_TARGET_H_
