#ifndef WEFT_RUNTIME_PTX_EMULATOR_FINDING_H_
#define WEFT_RUNTIME_PTX_EMULATOR_FINDING_H_

#include <cstdint>
#include <string>

#include "runtime/ptx_emulator/types.h"

namespace weft::ptx {

enum class FindingKind : uint8_t {
  kOutOfBounds,
  kUseAfterFree,
  kReadOnly,  // a store to constant memory, a parameter, or a region that the launch lends for
              // reading
  kMisaligned,
  kUninitializedMemory,  // a load of bytes that nobody wrote
  kUndefinedValue,  // a register that nobody wrote, or what was computed from it, used as address,
                    // predicate, or operand that decides
  kRace,            // two threads of a block, the same byte of shared memory, no barrier between;
                    // or a thread and an asynchronous operation, and no proxy fence
  kInFlight,  // an access to what an asynchronous operation that was not waited for still reads or
              // writes
  kBarrierDivergence,
  kDeadlock,
  kStepLimit,
  kTrap,    // trap, or a failed device assertion
  kMisuse,  // an instruction in a state or with an operand for which PTX does not define it
};

std::string_view FindingKindName(FindingKind kind);

// What a check found. The first of each kind and instruction is kept, later ones are counted.
struct Finding {
  FindingKind kind = FindingKind::kMisuse;
  std::string kernel;
  int ptx_line = 0;
  std::string instruction;  // its opcode
  Dim3 block{0, 0, 0};
  Dim3 thread{0, 0, 0};
  uint64_t address = 0;    // 0: none
  std::string allocation;  // what the address is in, or next to
  std::string op;          // of the caller's line table
  std::string file;        // of the source, from the caller's table, else from .loc
  int source_line = 0;
  std::string message;
  int occurrences = 1;

  // One line: kind, kernel, PTX line, instruction, block and thread, what is wrong, op and source
  // line.
  std::string ToString() const;
};

}  // namespace weft::ptx

#endif  // WEFT_RUNTIME_PTX_EMULATOR_FINDING_H_
