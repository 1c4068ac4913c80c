#ifndef WEFT_RUNTIME_PTX_EMULATOR_DECODE_H_
#define WEFT_RUNTIME_PTX_EMULATOR_DECODE_H_

#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/ptx_emulator/program.h"
#include "runtime/ptx_emulator/syntax.h"

namespace weft::ptx {

// What the kernels of a module may still cost together, whatever a short text makes of itself by
// calls that are inlined again and again: one for each instruction, constant, target of a branch,
// and call, and what a call makes of its function's registers, variables and labels.
struct DecodeBudget {
  size_t left = size_t{1} << 21;
};

// Makes the executable form of the kernel `entry`; calls are inlined. `addresses`: where each of
// the module's global and constant variables lies. InvalidArgument or Unimplemented names the line
// and what about the instruction is not known; ResourceExhausted where the budget ends.
absl::StatusOr<std::unique_ptr<Kernel>> Decode(const Module& module, const Function& entry,
                                               const std::vector<uint64_t>& addresses,
                                               DecodeBudget& budget);

// Builds one kernel: places variables, registers and constants.
class KernelBuilder {
 public:
  KernelBuilder(const Module& module, const std::vector<uint64_t>& addresses, DecodeBudget& budget,
                Kernel& kernel);

  absl::Status Build(const Function& entry);

  // One function's body at one place: the kernel's, or that of a call.
  struct Frame {
    const Function* function = nullptr;
    std::vector<Ref> registers;  // by index
    std::vector<bool> placed;
    std::vector<uint64_t> variables;  // the address of each, as an instruction of its space takes
                                      // it; parameters: generic
    int depth = 0;
  };

  Ref RegisterRef(Frame& frame, uint32_t index);
  // A value in all lanes.
  Ref Constant(uint64_t low, uint64_t high, int bytes);
  Ref PredicateConstant(bool value);
  Ref Sink();
  Ref SpecialRef(Special special);
  const Ref* Keep(std::vector<Ref> refs);
  // A copy that lives as long as the kernel, for Instruction::detail.
  template <class T>
  const T* KeepData(const T& data) {
    auto kept = std::make_shared<T>(data);
    kernel_.data.push_back(kept);
    return kept.get();
  }
  const Module& module() const { return module_; }
  Kernel& kernel() { return kernel_; }
  uint64_t AddressOf(const Frame& frame, const Operand& operand) const;
  const Variable& VariableOf(const Frame& frame, const Operand& operand) const;

 private:
  struct Fixup {
    int instruction;
    std::string_view label;
    int scope;
    int line;
  };

  // ResourceExhausted where less than `cost` is left of the module's budget.
  absl::Status Spend(size_t cost, int line);
  absl::Status PlaceParameters(const Function& entry, Frame& frame);
  absl::Status PlaceShared(const Function& entry);
  std::vector<const Variable*> CollectShared(const Function& entry);
  void CollectShared(const Operand& operand, std::vector<const Variable*>& variables);
  absl::Status PlaceVariables(Frame& frame);
  absl::Status EmitBody(Frame& frame, bool inlined);
  absl::Status ResolveLabels(const Function& function, const std::vector<int>& starts);
  absl::Status EmitStatement(Frame& frame, const Statement& statement, bool inlined);
  void MarkProductRegisters();
  absl::Status EmitCall(Frame& frame, const Statement& statement);

  const Module& module_;
  const std::vector<uint64_t>& addresses_;
  DecodeBudget& budget_;
  Kernel& kernel_;
  std::map<std::pair<std::pair<uint64_t, uint64_t>, int>, Ref> constants_;
  std::map<Special, Ref> specials_;
  std::map<const Variable*, uint32_t> shared_;  // addresses
  std::vector<Fixup> fixups_;
  std::vector<int> returns_;  // branches to the end of the function that is being inlined
  uint32_t sink_ = 0;
  std::vector<const Function*> calls_;
};

// What the families' decoders see of one statement: its modifiers, taken one by one, and its
// operands. The first mistake is kept, so that a decoder may go on to its end.
class StatementDecoder {
 public:
  StatementDecoder(KernelBuilder& builder, KernelBuilder::Frame& frame, const Statement& statement,
                   Instruction& instruction);

  std::string_view name() const { return name_; }
  int sm() const { return builder_.module().sm; }
  Instruction& instruction() { return instruction_; }
  KernelBuilder& builder() { return builder_; }

  // Modifiers.
  bool Take(std::string_view modifier);
  // The index of the one that is there, -1 for none.
  int TakeOneOf(std::initializer_list<std::string_view> modifiers);
  // The first that names a type, an error if there is none.
  Type TakeType();
  bool HasType() const;
  bool Has(std::string_view modifier) const;
  // The next one, whatever it is; empty at the end.
  std::string_view TakeNext();
  std::string_view PeekNext() const {
    return modifiers_.empty() ? std::string_view() : modifiers_[0];
  }

  // Operands.
  size_t operand_count() const { return statement_.operands.size(); }
  const Operand& operand(size_t index);
  bool IsVector(size_t index) { return operand(index).kind == Operand::Kind::kVector; }
  const Operand* Elements(
      size_t index,
      size_t count);  // of a vector of exactly `count`; null, with an error, for another
  void ExpectOperands(size_t least, size_t most);

  // Adds results and sources in order. A register has to be as wide as the type; with `wider` at
  // least so.
  void Result(const Operand& operand, Type type, bool wider = false);
  void Source(const Operand& operand, Type type, bool wider = false);
  void Result(size_t index, Type type, bool wider = false) { Result(operand(index), type, wider); }
  void Source(size_t index, Type type, bool wider = false) { Source(operand(index), type, wider); }
  // A predicate that may be negated: returns whether it is.
  bool PredicateSource(const Operand& operand);
  // [base + offset]: a source, and instruction().offset.
  void Address(const Operand& operand);
  void Address(size_t index) { Address(operand(index)); }
  // Takes ".global" and the like; kGeneric if there is none.
  Space TakeSpace();
  // Takes what says how a cache is used, and the operand of a policy; nothing of it is emulated.
  void TakeCacheHints(size_t* operands);
  // A number known now.
  int64_t Immediate(size_t index);
  int WidthOf(const Operand& operand);  // bytes of a register, 0 for what is none
  Type RegisterType(const Operand& operand);
  size_t source_count() const { return sources_.size(); }

  void Fail(std::string message);
  // Hands the operands over to the instruction. Fails where modifiers are left, an error occurred,
  // or nothing executes.
  absl::Status Finish();

  // Sets what executes; a null means that the types do not fit.
  void Execute(ptx::Execute execute) { instruction_.execute = execute; }

 private:
  Ref SourceRef(const Operand& operand, Type type, bool wider);

  KernelBuilder& builder_;
  KernelBuilder::Frame& frame_;
  const Statement& statement_;
  Instruction& instruction_;
  std::string_view name_;
  std::vector<std::string_view> modifiers_;
  std::vector<Ref> results_;
  std::vector<Ref> sources_;
  absl::Status status_;
};

// A family's decoder for the opcodes of its table.
using DecodeFunction = void (*)(StatementDecoder& decoder);
struct Opcode {
  // Several families have an "add": the type, which is the last that the opcode names, tells which.
  enum class Operates : uint8_t { kOnAny, kOnIntegers, kOnFloats, kOnShortFloats };
  std::string_view name;
  DecodeFunction decode;
  Operates operates = Operates::kOnAny;
};

// div, rcp and sqrt of f32 with .approx or .full.
void DecodeApproximateDivision(StatementDecoder& decoder);
void DecodeApproximateReciprocal(StatementDecoder& decoder);
void DecodeApproximateSquareRoot(StatementDecoder& decoder);

// cp.async.bulk and cp.async.bulk.tensor.
void DecodeBulkCopy(StatementDecoder& decoder);

// One table for each family of instructions; each is defined with the functions that execute it.
std::vector<Opcode> IntegerOpcodes();
std::vector<Opcode> BitOpcodes();
std::vector<Opcode> FloatOpcodes();
std::vector<Opcode> ApproximateOpcodes();
std::vector<Opcode> PackedFloatOpcodes();
std::vector<Opcode> CompareOpcodes();
std::vector<Opcode> MoveOpcodes();
std::vector<Opcode> ConvertOpcodes();
std::vector<Opcode> LoadStoreOpcodes();
std::vector<Opcode> AtomicOpcodes();
std::vector<Opcode> WarpOpcodes();
std::vector<Opcode> SynchronizationOpcodes();
std::vector<Opcode> MatrixOpcodes();
std::vector<Opcode> AsyncCopyOpcodes();
std::vector<Opcode> WarpgroupOpcodes();

}  // namespace weft::ptx

#endif  // WEFT_RUNTIME_PTX_EMULATOR_DECODE_H_
