/* What this machine's processor (and its operating system) can execute. Freestanding, like the
 * executor. */
#ifndef WEFT_RUNTIME_CORE_CPU_H_
#define WEFT_RUNTIME_CORE_CPU_H_

#include <stdint.h>

#include "runtime/core/executor.h"

#ifdef __cplusplus
extern "C" {
#endif

#define WEFT_CPU_LEAVES 7

/* What cpuid tells, to be read once: on virtual machines each leaf takes microseconds. */
typedef struct WeftCpu {
  uint32_t leaves[WEFT_CPU_LEAVES][4];
  uint64_t saved_state; /* extended control register 0: what the operating system saves */
} WeftCpu;

WEFT_CORE_API void weft_cpu_read(WeftCpu* cpu);

/* Whether the processor has an instruction set, by LLVM's name ("avx2", "avx512f", "amx-tile"): 1
 * or 0; -1 for a name that is not one: LLVM's lists also hold names that only tune ("fast-gather").
 */
WEFT_CORE_API int weft_cpu_has(const WeftCpu* cpu, const char* feature);

/* Cores that this process may keep busy, at least 1: those that it may run on, or fewer where its
 * control group has less time than that (a container's limit). */
WEFT_CORE_API int weft_num_cores(void);
/* The limit in cores, rounded up, of the control groups that this process is in: the smallest; 0
 * where there is none. `root` comes before every path that is read ("" but in tests). */
WEFT_CORE_API int weft_cgroup_cores(const char* root);

#ifdef __cplusplus
}
#endif

#endif /* WEFT_RUNTIME_CORE_CPU_H_ */
