/* Which instructions the processor has that runs this: one bit for each feature that code may be
 * compiled for. The compiler turns a target's features into such bits, and an artifact compares
 * them with the processor's at start.
 */
#ifndef WEFT_COMPILER_AOT_SUPPORT_PROCESSOR_H_
#define WEFT_COMPILER_AOT_SUPPORT_PROCESSOR_H_

#include <stdint.h>

/* X(bit, LLVM's name, cpuid leaf, subleaf, register a|b|c|d, bit in it, state): the state is what
 * the operating system must save for it: NONE, AVX (ymm), AVX512 (zmm and masks), AMX (tiles). */
#define WEFT_PROCESSOR_FEATURES(X)                \
  X(0, "sse3", 1, 0, c, 0, NONE)                  \
  X(1, "pclmul", 1, 0, c, 1, NONE)                \
  X(2, "ssse3", 1, 0, c, 9, NONE)                 \
  X(3, "fma", 1, 0, c, 12, AVX)                   \
  X(4, "cx16", 1, 0, c, 13, NONE)                 \
  X(5, "sse4.1", 1, 0, c, 19, NONE)               \
  X(6, "sse4.2", 1, 0, c, 20, NONE)               \
  X(7, "movbe", 1, 0, c, 22, NONE)                \
  X(8, "popcnt", 1, 0, c, 23, NONE)               \
  X(9, "aes", 1, 0, c, 25, NONE)                  \
  X(10, "avx", 1, 0, c, 28, AVX)                  \
  X(11, "f16c", 1, 0, c, 29, AVX)                 \
  X(12, "bmi", 7, 0, b, 3, NONE)                  \
  X(13, "avx2", 7, 0, b, 5, AVX)                  \
  X(14, "bmi2", 7, 0, b, 8, NONE)                 \
  X(15, "avx512f", 7, 0, b, 16, AVX512)           \
  X(16, "avx512dq", 7, 0, b, 17, AVX512)          \
  X(17, "adx", 7, 0, b, 19, NONE)                 \
  X(18, "avx512ifma", 7, 0, b, 21, AVX512)        \
  X(19, "avx512cd", 7, 0, b, 28, AVX512)          \
  X(20, "sha", 7, 0, b, 29, NONE)                 \
  X(21, "avx512bw", 7, 0, b, 30, AVX512)          \
  X(22, "avx512vl", 7, 0, b, 31, AVX512)          \
  X(23, "avx512vbmi", 7, 0, c, 1, AVX512)         \
  X(24, "avx512vbmi2", 7, 0, c, 6, AVX512)        \
  X(25, "gfni", 7, 0, c, 8, NONE)                 \
  X(26, "vaes", 7, 0, c, 9, AVX)                  \
  X(27, "vpclmulqdq", 7, 0, c, 10, AVX)           \
  X(28, "avx512vnni", 7, 0, c, 11, AVX512)        \
  X(29, "avx512bitalg", 7, 0, c, 12, AVX512)      \
  X(30, "avx512vpopcntdq", 7, 0, c, 14, AVX512)   \
  X(31, "avx512vp2intersect", 7, 0, d, 8, AVX512) \
  X(32, "amx-bf16", 7, 0, d, 22, AMX)             \
  X(33, "avx512fp16", 7, 0, d, 23, AVX512)        \
  X(34, "amx-tile", 7, 0, d, 24, AMX)             \
  X(35, "amx-int8", 7, 0, d, 25, AMX)             \
  X(36, "avxvnni", 7, 1, a, 4, AVX)               \
  X(37, "avx512bf16", 7, 1, a, 5, AVX512)         \
  X(38, "amx-fp16", 7, 1, a, 21, AMX)             \
  X(39, "avxifma", 7, 1, a, 23, AVX)              \
  X(40, "avxvnniint8", 7, 1, d, 4, AVX)           \
  X(41, "avxneconvert", 7, 1, d, 5, AVX)          \
  X(42, "avxvnniint16", 7, 1, d, 10, AVX)         \
  X(43, "lzcnt", 0x80000001, 0, c, 5, NONE)       \
  X(44, "sahf", 0x80000001, 0, c, 0, NONE)        \
  X(45, "sse4a", 0x80000001, 0, c, 6, NONE)       \
  X(46, "xop", 0x80000001, 0, c, 11, AVX)         \
  X(47, "fma4", 0x80000001, 0, c, 16, AVX)        \
  X(48, "tbm", 0x80000001, 0, c, 21, NONE)

#ifdef __cplusplus
extern "C" {
#endif

/* Bits of the features that this processor has and the operating system supports. */
uint64_t weft_processor_features(void);
/* LLVM's name of a feature; null where there is no such bit. */
const char* weft_processor_feature_name(int bit);

#ifdef __cplusplus
}
#endif

#endif /* WEFT_COMPILER_AOT_SUPPORT_PROCESSOR_H_ */
