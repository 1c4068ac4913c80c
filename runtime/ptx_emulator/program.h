#ifndef WEFT_RUNTIME_PTX_EMULATOR_PROGRAM_H_
#define WEFT_RUNTIME_PTX_EMULATOR_PROGRAM_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/ptx_emulator/syntax.h"
#include "runtime/ptx_emulator/types.h"

// A kernel in the form that is executed. A warp's registers lie in one block of memory: 32 lanes of
// a value side by side, a predicate as one mask of 32 bits. Constants lie the same way in a block
// of the kernel, so an operand is read without asking what it is.
namespace weft::ptx {

class Warp;
struct Instruction;

// Executes one instruction for the lanes in `mask`, which is not empty.
using Execute = void (*)(Warp& warp, const Instruction& instruction, uint32_t mask);

// Where an operand's lanes are.
struct Ref {
  uint32_t offset = 0;    // in the registers, or in the constants
  uint32_t constant = 0;  // 1: in the constants
  // Of the mask that says in which lanes the value is defined.
  uint32_t id = 0;
};
inline constexpr uint32_t kAlwaysDefined = 0;
inline constexpr uint32_t kSinkId = 1;

enum class Control : uint8_t {
  kNone,
  kBranch,
  kBranchTable,
  kExit,
  kTrap,
  kBarrier,
};

// Barrier instructions.
enum class BarrierOperation : uint8_t { kSync, kArrive, kCount, kAnd, kOr };

struct Instruction {
  Execute execute = nullptr;
  Control control = Control::kNone;
  bool guard_negated = false;
  bool ends_block = false;
  bool uniform = false;  // .uni: all active lanes must agree
  bool has_guard = false;
  Ref guard;
  const Ref* results = nullptr;
  const Ref* sources = nullptr;
  uint8_t result_count = 0;
  uint8_t source_count = 0;

  // Of memory instructions: `count` elements of `element_bytes` each, at sources[0] + offset.
  Space space = Space::kGeneric;
  uint8_t element_bytes = 0;
  uint8_t count = 1;
  bool short_address = false;  // of 32 bits
  bool is_product = false;     // wgmma.mma_async, which may follow another on the same accumulators
  bool writes_product_register =
      false;                   // a register that some product of the kernel takes or accumulates in
  bool synchronizing = false;  // volatile, relaxed, acquire, release
  int64_t offset = 0;
  // What a family needs besides: a shape, a mode, a table's index.
  uint64_t detail = 0;

  int target = -1;  // of a branch: an instruction; a table: Kernel::tables
  // Where lanes that part here meet again: an instruction, -1 for nowhere before they end.
  int reconvergence = -1;
  int line = 0;
  SourceLine source;
  std::string_view opcode;
};

// A variable in shared or local memory, by its own address.
struct PlacedVariable {
  std::string_view name;
  uint32_t address = 0;
  uint64_t bytes = 0;
};

enum class Special : uint8_t {
  kTidX,
  kTidY,
  kTidZ,
  kNtidX,
  kNtidY,
  kNtidZ,
  kCtaidX,
  kCtaidY,
  kCtaidZ,
  kNctaidX,
  kNctaidY,
  kNctaidZ,
  kLaneId,
  kWarpId,
  kNwarpId,
  kSmId,
  kNsmId,
  kGridId,
  kLaneMaskEq,
  kLaneMaskLe,
  kLaneMaskLt,
  kLaneMaskGe,
  kLaneMaskGt,
  kDynamicSharedBytes,
  kTotalSharedBytes,
  kClusterZero,  // positions in a cluster of one block
  kClusterOne,   // sizes of it
  kClock,
  kClockHigh,
  kClock64,
  kGlobalTimer,
};

struct SpecialRegister {
  Special special;
  Ref ref;
};

struct Parameter {
  std::string_view name;
  uint32_t offset = 0;
  uint32_t bytes = 0;
  uint32_t alignment = 1;
};

struct Kernel {
  std::string name;
  std::vector<Instruction> instructions;
  std::deque<std::vector<Ref>> refs;
  std::vector<std::vector<int>> tables;           // targets of brx.idx
  std::vector<std::shared_ptr<const void>> data;  // what Instruction::detail points to
  std::vector<std::byte> constants;
  uint32_t register_bytes = 0;
  uint32_t id_count = 2;  // of definedness masks
  std::vector<SpecialRegister> specials;

  std::vector<Parameter> parameters;
  uint32_t parameter_bytes = 0;
  std::vector<PlacedVariable> shared;  // by address; the dynamic part is not among them
  uint64_t shared_bytes = 0;  // of the declared variables, as the device's limit counts them
  uint32_t shared_end = kSharedStart;  // the dynamic part begins here
  std::string_view dynamic_shared;     // its name, empty if the kernel has none
  std::vector<PlacedVariable> local;
  uint32_t local_end = kLocalStart;

  bool has_products = false;  // wgmma
  uint32_t max_threads = 0;   // 0: any
  bool exact_threads = false;
  Dim3 threads_given;
  int sm = 0;
};

}  // namespace weft::ptx

#endif  // WEFT_RUNTIME_PTX_EMULATOR_PROGRAM_H_
