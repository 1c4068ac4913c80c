#include "runtime/ptx_emulator/decode.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>
#include <unordered_map>

#include "runtime/ptx_emulator/control_flow.h"
#include "runtime/ptx_emulator/text.h"

namespace weft::ptx {
namespace {

constexpr int kMaxCallDepth = 32;
constexpr size_t kMaxInstructions = 1 << 20;
constexpr uint64_t kMaxLocalBytes = 512 << 10;
constexpr uint64_t kMaxSharedBytes = 1 << 20;
constexpr uint64_t kMaxRegisterBytes = 8 << 20;
// Between variables of shared and local memory, so that an access past the end of one does not
// reach the next unseen.
constexpr uint32_t kRedZone = 64;

absl::Status Error(int line, const std::string& message) {
  return absl::InvalidArgumentError(Cat("PTX line ", line, ": ", message));
}

uint64_t AlignUp(uint64_t value, uint64_t alignment) {
  return (value + alignment - 1) / alignment * alignment;
}

Opcode::Operates OperatesOn(std::string_view opcode) {
  Type type = Type::kNone;
  for (std::string_view part : SplitAtDots(opcode)) {
    if (const std::optional<Type> found = TypeFromName(part)) type = *found;
  }
  if (type == Type::kF32 || type == Type::kF64) return Opcode::Operates::kOnFloats;
  return IsFloat(type) ? Opcode::Operates::kOnShortFloats : Opcode::Operates::kOnIntegers;
}

bool IsCall(std::string_view opcode) { return opcode == "call" || opcode == "call.uni"; }

using OpcodeTable = std::unordered_map<std::string_view, std::vector<Opcode>>;

DecodeFunction FindOpcode(std::string_view opcode) {
  static const OpcodeTable* const table = [] {
    auto* made = new OpcodeTable();
    for (const auto& family :
         {IntegerOpcodes(), BitOpcodes(), FloatOpcodes(), ApproximateOpcodes(),
          PackedFloatOpcodes(), CompareOpcodes(), MoveOpcodes(), ConvertOpcodes(),
          LoadStoreOpcodes(), AtomicOpcodes(), WarpOpcodes(), SynchronizationOpcodes(),
          MatrixOpcodes(), AsyncCopyOpcodes(), WarpgroupOpcodes()}) {
      for (const Opcode& row : family) (*made)[row.name].push_back(row);
    }
    return made;
  }();
  const auto found = table->find(opcode.substr(0, opcode.find('.')));
  if (found == table->end()) return nullptr;
  const Opcode::Operates operates = OperatesOn(opcode);
  for (const Opcode& row : found->second) {
    if (row.operates == Opcode::Operates::kOnAny || row.operates == operates) return row.decode;
  }
  return nullptr;
}

}  // namespace

KernelBuilder::KernelBuilder(const Module& module, const std::vector<uint64_t>& addresses,
                             DecodeBudget& budget, Kernel& kernel)
    : module_(module), addresses_(addresses), budget_(budget), kernel_(kernel) {
  // What goes to "_".
  sink_ = kernel_.register_bytes;
  kernel_.register_bytes += 16 * kWarpSize;
}

absl::Status KernelBuilder::Spend(size_t cost, int line) {
  if (cost <= budget_.left) {
    budget_.left -= cost;
    return absl::OkStatus();
  }
  return absl::ResourceExhaustedError(
      Cat("PTX line ", line, ": in kernel ", kernel_.name,
          ", the module is too large with its calls inlined: expected at most ",
          DecodeBudget().left, " instructions, constants, targets of branches and calls"));
}

Ref KernelBuilder::RegisterRef(Frame& frame, uint32_t index) {
  if (!frame.placed[index]) {
    const Type type = frame.function->registers[index].type;
    const uint32_t bytes = type == Type::kPred ? 16 : SizeOf(type) * kWarpSize;
    frame.registers[index] = {kernel_.register_bytes, 0, kernel_.id_count++};
    kernel_.register_bytes += bytes;
    frame.placed[index] = true;
  }
  return frame.registers[index];
}

Ref KernelBuilder::Constant(uint64_t low, uint64_t high, int bytes) {
  if (bytes < 8) low &= (uint64_t{1} << (8 * bytes)) - 1;
  if (bytes <= 8) high = 0;
  const auto [entry, fresh] = constants_.emplace(std::pair(std::pair(low, high), bytes), Ref());
  if (fresh) {
    entry->second = {static_cast<uint32_t>(kernel_.constants.size()), 1, kAlwaysDefined};
    const uint64_t value[2] = {low, high};
    for (int lane = 0; lane < kWarpSize; ++lane) {
      const auto* first = reinterpret_cast<const std::byte*>(value);
      kernel_.constants.insert(kernel_.constants.end(), first, first + bytes);
    }
  }
  return entry->second;
}

Ref KernelBuilder::PredicateConstant(bool value) { return Constant(value ? kAllLanes : 0, 0, 4); }

Ref KernelBuilder::Sink() { return {sink_, 0, kSinkId}; }

Ref KernelBuilder::SpecialRef(Special special) {
  const auto [entry, fresh] = specials_.emplace(special, Ref());
  if (fresh) {
    entry->second = {kernel_.register_bytes, 0, kernel_.id_count++};
    kernel_.register_bytes += 4 * kWarpSize;
    kernel_.specials.push_back({special, entry->second});
  }
  return entry->second;
}

const Ref* KernelBuilder::Keep(std::vector<Ref> refs) {
  kernel_.refs.push_back(std::move(refs));
  return kernel_.refs.back().data();
}

const Variable& KernelBuilder::VariableOf(const Frame& frame, const Operand& operand) const {
  return operand.module_scope ? module_.variables[operand.index]
                              : frame.function->variables[operand.index];
}

uint64_t KernelBuilder::AddressOf(const Frame& frame, const Operand& operand) const {
  const Variable& variable = VariableOf(frame, operand);
  uint64_t address = 0;
  if (variable.space == Space::kShared) {
    const auto found = shared_.find(&variable);
    address = found == shared_.end() ? kernel_.shared_end : found->second;
  } else {
    address = operand.module_scope ? addresses_[operand.index] : frame.variables[operand.index];
  }
  return address + static_cast<uint64_t>(operand.offset);
}

absl::Status KernelBuilder::PlaceParameters(const Function& entry, Frame& frame) {
  uint64_t offset = 0;
  for (uint32_t i = 0; i < entry.parameters; ++i) {
    const Variable& variable = entry.variables[i];
    offset = AlignUp(offset, variable.alignment);
    frame.variables[i] = kParamWindow + offset;
    kernel_.parameters.push_back({variable.name, static_cast<uint32_t>(offset),
                                  static_cast<uint32_t>(variable.bytes), variable.alignment});
    offset += variable.bytes;
    if (offset > 32764)
      return Error(variable.line, "expected at most 32764 bytes of kernel parameters");
  }
  kernel_.parameter_bytes = static_cast<uint32_t>(offset);
  return absl::OkStatus();
}

void KernelBuilder::CollectShared(const Operand& operand, std::vector<const Variable*>& variables) {
  if (operand.kind == Operand::Kind::kVariable && operand.module_scope) {
    const Variable* variable = &module_.variables[operand.index];
    if (variable->space == Space::kShared && shared_.emplace(variable, 0).second)
      variables.push_back(variable);
  }
  for (const Operand& element : operand.elements) CollectShared(element, variables);
}

std::vector<const Variable*> KernelBuilder::CollectShared(const Function& entry) {
  std::vector<const Variable*> variables;
  // Those that it calls, each once; a chain of calls may be of any length.
  std::vector<const Function*> functions = {&entry};
  std::set<const Function*> seen = {&entry};
  for (size_t i = 0; i < functions.size(); ++i) {
    for (const Variable& variable : functions[i]->variables) {
      if (variable.space == Space::kShared && shared_.emplace(&variable, 0).second)
        variables.push_back(&variable);
    }
    for (const Statement& statement : functions[i]->statements) {
      const bool calls = IsCall(statement.opcode);
      for (const Operand& operand : statement.operands) {
        CollectShared(operand, variables);
        if (!calls || operand.kind != Operand::Kind::kName) continue;
        const Function* callee = module_.FindFunction(operand.name);
        if (callee != nullptr && seen.insert(callee).second) functions.push_back(callee);
      }
    }
  }
  return variables;
}

absl::Status KernelBuilder::PlaceShared(const Function& entry) {
  const std::vector<const Variable*> variables = CollectShared(entry);
  uint64_t at = kSharedStart;
  uint32_t dynamic_alignment = 16;
  for (const Variable* variable : variables) {
    if (variable->dynamic) {
      dynamic_alignment = std::max(dynamic_alignment, variable->alignment);
      kernel_.dynamic_shared = variable->name;
      continue;
    }
    at = AlignUp(at, std::max<uint32_t>(variable->alignment, 16));
    shared_[variable] = static_cast<uint32_t>(at);
    kernel_.shared.push_back({variable->name, static_cast<uint32_t>(at), variable->bytes});
    kernel_.shared_bytes = AlignUp(kernel_.shared_bytes, variable->alignment) + variable->bytes;
    at += variable->bytes + kRedZone;
    if (at > kMaxSharedBytes)
      return Error(variable->line,
                   Cat("expected at most ", kMaxSharedBytes, " bytes of shared memory"));
  }
  kernel_.shared_end = static_cast<uint32_t>(AlignUp(at, dynamic_alignment));
  for (const Variable* variable : variables) {
    if (variable->dynamic) shared_[variable] = kernel_.shared_end;
  }
  return absl::OkStatus();
}

// Everything of a function's own that lies in local memory: .local variables, and .param variables
// of calls.
absl::Status KernelBuilder::PlaceVariables(Frame& frame) {
  const Function& function = *frame.function;
  for (size_t i = function.parameters + function.results; i < function.variables.size(); ++i) {
    const Variable& variable = function.variables[i];
    if (variable.space == Space::kShared) continue;
    const uint64_t at = AlignUp(kernel_.local_end, std::max<uint32_t>(variable.alignment, 16));
    if (at + variable.bytes + kRedZone > kMaxLocalBytes) {
      return Error(variable.line,
                   Cat("expected at most ", kMaxLocalBytes, " bytes of local memory for a thread"));
    }
    kernel_.local.push_back({variable.name, static_cast<uint32_t>(at), variable.bytes});
    kernel_.local_end = static_cast<uint32_t>(at + variable.bytes + kRedZone);
    frame.variables[i] = variable.space == Space::kParam ? kLocalWindow + at : at;
  }
  return absl::OkStatus();
}

absl::Status KernelBuilder::Build(const Function& entry) {
  Frame frame;
  frame.function = &entry;
  frame.registers.resize(entry.registers.size());
  frame.placed.resize(entry.registers.size());
  frame.variables.resize(entry.variables.size());
  kernel_.name = std::string(entry.name);
  kernel_.max_threads = entry.max_threads;
  kernel_.exact_threads = entry.exact_threads;
  kernel_.threads_given = entry.threads_given;
  kernel_.sm = module_.sm;
  for (absl::Status status : {PlaceParameters(entry, frame), PlaceShared(entry)}) {
    if (!status.ok()) return status;
  }
  calls_.push_back(&entry);
  if (absl::Status status = EmitBody(frame, false); !status.ok()) return status;
  // A body ends with ret; that lanes do not run off it is for sure with one more.
  Instruction end;
  end.control = Control::kExit;
  end.line = entry.line;
  end.opcode = "ret";
  kernel_.instructions.push_back(end);
  MarkProductRegisters();
  AnalyzeControlFlow(kernel_);
  return absl::OkStatus();
}

void KernelBuilder::MarkProductRegisters() {
  std::set<uint32_t> ids;
  for (const Instruction& instruction : kernel_.instructions) {
    if (!instruction.is_product) continue;
    for (int i = 0; i < instruction.result_count; ++i) ids.insert(instruction.results[i].id);
    for (int i = 0; i < instruction.source_count; ++i) {
      // Predicates and descriptors are read at once.
      if (instruction.source_count > 3 && i >= 1 && i <= 4) ids.insert(instruction.sources[i].id);
    }
  }
  kernel_.has_products = !ids.empty();
  for (Instruction& instruction : kernel_.instructions) {
    if (instruction.is_product) continue;
    for (int i = 0; i < instruction.result_count; ++i)
      instruction.writes_product_register |= ids.count(instruction.results[i].id) > 0;
  }
}

absl::Status KernelBuilder::EmitBody(Frame& frame, bool inlined) {
  if (absl::Status status = PlaceVariables(frame); !status.ok()) return status;
  const Function& function = *frame.function;
  const size_t names =
      function.registers.size() + function.variables.size() + function.labels.size();
  if (absl::Status status = Spend(1 + names, function.line); !status.ok()) return status;
  const std::vector<Fixup> outer = std::exchange(fixups_, {});
  const std::vector<int> outer_returns = std::exchange(returns_, {});
  std::vector<int> starts;  // of statements
  for (const Statement& statement : function.statements) {
    starts.push_back(static_cast<int>(kernel_.instructions.size()));
    const size_t constants = constants_.size();
    if (absl::Status status = EmitStatement(frame, statement, inlined); !status.ok()) return status;
    // A call has counted what it has inlined.
    const size_t cost = IsCall(statement.opcode) ? 1 : 1 + constants_.size() - constants;
    if (absl::Status status = Spend(cost, statement.line); !status.ok()) return status;
    if (kernel_.instructions.size() > kMaxInstructions ||
        kernel_.register_bytes > kMaxRegisterBytes) {
      return Error(statement.line, "the kernel is too large with its calls inlined");
    }
  }
  const int end = static_cast<int>(kernel_.instructions.size());
  starts.push_back(end);
  for (int index : returns_) kernel_.instructions[index].target = end;
  if (absl::Status status = ResolveLabels(function, starts); !status.ok()) return status;
  fixups_ = outer;
  returns_ = outer_returns;
  return absl::OkStatus();
}

// Gives the branches of a body their targets; `starts`: the first instruction of each statement.
absl::Status KernelBuilder::ResolveLabels(const Function& function,
                                          const std::vector<int>& starts) {
  std::map<std::pair<std::string_view, int>, const Label*> labels;  // by name and scope
  for (const Label& label : function.labels) {
    if (!labels.emplace(std::pair(label.name, label.scope), &label).second) {
      return Error(label.line, Cat("label ", label.name, " is declared twice"));
    }
  }
  const auto resolve = [&](std::string_view name, int scope, int line,
                           const Label** label) -> absl::Status {
    for (; scope >= 0; scope = function.scope_parents[scope]) {
      if (const auto found = labels.find({name, scope}); found != labels.end()) {
        *label = found->second;
        return absl::OkStatus();
      }
    }
    return Error(line, Cat("expected a label, got ", name, ", which is not declared here"));
  };
  std::map<const Label*, int> tables;  // those of kernel_.tables that are there
  for (const Fixup& fixup : fixups_) {
    const Label* label = nullptr;
    if (absl::Status status = resolve(fixup.label, fixup.scope, fixup.line, &label); !status.ok())
      return status;
    Instruction& instruction = kernel_.instructions[fixup.instruction];
    if (instruction.control == Control::kBranch) {
      if (label->is_table)
        return Error(fixup.line,
                     Cat("expected a label of a statement, got the table ", fixup.label));
      instruction.target = starts[label->statement];
      continue;
    }
    if (!label->is_table)
      return Error(fixup.line, Cat("expected a table of branch targets, got ", fixup.label));
    const auto [table, fresh] = tables.emplace(label, static_cast<int>(kernel_.tables.size()));
    instruction.target = table->second;
    if (!fresh) continue;
    if (absl::Status status = Spend(label->targets.size(), label->line); !status.ok())
      return status;
    std::vector<int> targets;
    for (std::string_view name : label->targets) {
      const Label* target = nullptr;
      if (absl::Status status = resolve(name, label->scope, label->line, &target); !status.ok())
        return status;
      if (target->is_table)
        return Error(label->line, Cat("expected a label of a statement, got the table ", name));
      targets.push_back(starts[target->statement]);
    }
    kernel_.tables.push_back(std::move(targets));
  }
  return absl::OkStatus();
}

absl::Status KernelBuilder::EmitStatement(Frame& frame, const Statement& statement, bool inlined) {
  Instruction instruction;
  instruction.line = statement.line;
  instruction.source = statement.source;
  instruction.opcode = statement.opcode;
  if (statement.guard >= 0) {
    instruction.has_guard = true;
    instruction.guard_negated = statement.guard_negated;
    instruction.guard = RegisterRef(frame, statement.guard);
  }
  const std::string_view opcode = statement.opcode;
  const auto expect_operands = [&](size_t count) {
    if (statement.operands.size() == count) return absl::OkStatus();
    return Error(statement.line,
                 Cat(opcode, ": expected ", count, " operands, got ", statement.operands.size()));
  };
  const int index = static_cast<int>(kernel_.instructions.size());
  if (opcode == "ret" || opcode == "ret.uni" || opcode == "exit") {
    if (absl::Status status = expect_operands(0); !status.ok()) return status;
    instruction.control = Control::kExit;
    if (inlined && opcode != "exit") {
      instruction.control = Control::kBranch;
      returns_.push_back(index);
    }
  } else if (opcode == "bra" || opcode == "bra.uni") {
    if (absl::Status status = expect_operands(1); !status.ok()) return status;
    if (statement.operands[0].kind != Operand::Kind::kName)
      return Error(statement.line, Cat(opcode, ": expected a label"));
    instruction.control = Control::kBranch;
    instruction.uniform = opcode == "bra.uni";
    fixups_.push_back({index, statement.operands[0].name, statement.scope, statement.line});
  } else if (opcode == "brx.idx" || opcode == "brx.idx.uni") {
    if (absl::Status status = expect_operands(2); !status.ok()) return status;
    if (statement.operands[1].kind != Operand::Kind::kName)
      return Error(statement.line, Cat(opcode, ": expected a table of labels"));
    StatementDecoder decoder(*this, frame, statement, instruction);
    decoder.Take("idx");
    decoder.Take("uni");
    instruction.control = Control::kBranchTable;
    decoder.Source(0, Type::kU32);
    if (absl::Status status = decoder.Finish(); !status.ok()) return status;
    fixups_.push_back({index, statement.operands[1].name, statement.scope, statement.line});
  } else if (opcode == "trap") {
    instruction.control = Control::kTrap;
  } else if (IsCall(opcode)) {
    return EmitCall(frame, statement);
  } else {
    const DecodeFunction decode = FindOpcode(opcode);
    if (decode == nullptr)
      return Error(statement.line,
                   Cat("expected an instruction, got ", opcode, ", which is not known"));
    StatementDecoder decoder(*this, frame, statement, instruction);
    decode(decoder);
    if (absl::Status status = decoder.Finish(); !status.ok()) return status;
  }
  kernel_.instructions.push_back(instruction);
  return absl::OkStatus();
}

absl::Status KernelBuilder::EmitCall(Frame& frame, const Statement& statement) {
  size_t at = 0;
  const std::vector<Operand>& operands = statement.operands;
  const std::vector<Operand> none;
  const std::vector<Operand>* results = &none;
  const std::vector<Operand>* arguments = &none;
  if (at < operands.size() && operands[at].kind == Operand::Kind::kList)
    results = &operands[at++].elements;
  if (at >= operands.size() || operands[at].kind != Operand::Kind::kName) {
    return Error(
        statement.line,
        "call: expected the name of a function; calls through a pointer are not supported");
  }
  const std::string_view name = operands[at++].name;
  if (at < operands.size() && operands[at].kind == Operand::Kind::kList)
    arguments = &operands[at++].elements;
  if (name == "__assertfail") {
    Instruction trap;
    trap.control = Control::kTrap;
    trap.line = statement.line;
    trap.source = statement.source;
    trap.opcode = statement.opcode;
    if (statement.guard >= 0) {
      trap.has_guard = true;
      trap.guard_negated = statement.guard_negated;
      trap.guard = RegisterRef(frame, statement.guard);
    }
    kernel_.instructions.push_back(trap);
    return absl::OkStatus();
  }
  const Function* callee = module_.FindFunction(name);
  if (callee == nullptr || !callee->has_body)
    return Error(statement.line, Cat("call: no function ", name, " is defined in this module"));
  if (frame.depth == kMaxCallDepth ||
      std::find(calls_.begin(), calls_.end(), callee) != calls_.end()) {
    return Error(statement.line, Cat("call: recursion (of ", name, ") is not supported"));
  }
  if (at != operands.size() || arguments->size() != callee->parameters ||
      results->size() != callee->results) {
    return Error(statement.line, Cat("call: ", name, " has ", callee->parameters,
                                     " parameters and ", callee->results, " results, got ",
                                     arguments->size(), " and ", results->size()));
  }
  Frame inner;
  inner.function = callee;
  inner.depth = frame.depth + 1;
  inner.registers.resize(callee->registers.size());
  inner.placed.resize(callee->registers.size());
  inner.variables.resize(callee->variables.size());
  for (size_t i = 0; i < arguments->size() + results->size(); ++i) {
    const Operand& actual =
        i < arguments->size() ? (*arguments)[i] : (*results)[i - arguments->size()];
    if (actual.kind != Operand::Kind::kVariable ||
        VariableOf(frame, actual).space != Space::kParam ||
        VariableOf(frame, actual).bytes < callee->variables[i].bytes) {
      return Error(statement.line,
                   Cat("call: expected a .param variable of ", callee->variables[i].bytes,
                       " bytes for ", callee->variables[i].name));
    }
    inner.variables[i] = AddressOf(frame, actual);
  }
  int skip = -1;
  if (statement.guard >= 0) {
    Instruction branch;
    branch.control = Control::kBranch;
    branch.line = statement.line;
    branch.opcode = statement.opcode;
    branch.has_guard = true;
    branch.guard_negated = !statement.guard_negated;
    branch.guard = RegisterRef(frame, statement.guard);
    skip = static_cast<int>(kernel_.instructions.size());
    kernel_.instructions.push_back(branch);
  }
  calls_.push_back(callee);
  if (absl::Status status = EmitBody(inner, true); !status.ok()) return status;
  calls_.pop_back();
  if (skip >= 0) kernel_.instructions[skip].target = static_cast<int>(kernel_.instructions.size());
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Kernel>> Decode(const Module& module, const Function& entry,
                                               const std::vector<uint64_t>& addresses,
                                               DecodeBudget& budget) {
  auto kernel = std::make_unique<Kernel>();
  KernelBuilder builder(module, addresses, budget, *kernel);
  if (absl::Status status = builder.Build(entry); !status.ok()) return status;
  return kernel;
}

}  // namespace weft::ptx
