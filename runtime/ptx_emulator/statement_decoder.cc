#include <algorithm>
#include <bit>
#include <optional>

#include "runtime/ptx_emulator/decode.h"
#include "runtime/ptx_emulator/text.h"

namespace weft::ptx {
namespace {

struct SpecialRow {
  std::string_view name;
  Special special;
};

constexpr SpecialRow kSpecials[] = {
    {"%tid.x", Special::kTidX},
    {"%tid.y", Special::kTidY},
    {"%tid.z", Special::kTidZ},
    {"%ntid.x", Special::kNtidX},
    {"%ntid.y", Special::kNtidY},
    {"%ntid.z", Special::kNtidZ},
    {"%ctaid.x", Special::kCtaidX},
    {"%ctaid.y", Special::kCtaidY},
    {"%ctaid.z", Special::kCtaidZ},
    {"%nctaid.x", Special::kNctaidX},
    {"%nctaid.y", Special::kNctaidY},
    {"%nctaid.z", Special::kNctaidZ},
    {"%laneid", Special::kLaneId},
    {"%warpid", Special::kWarpId},
    {"%nwarpid", Special::kNwarpId},
    {"%smid", Special::kSmId},
    {"%nsmid", Special::kNsmId},
    {"%gridid", Special::kGridId},
    {"%lanemask_eq", Special::kLaneMaskEq},
    {"%lanemask_le", Special::kLaneMaskLe},
    {"%lanemask_lt", Special::kLaneMaskLt},
    {"%lanemask_ge", Special::kLaneMaskGe},
    {"%lanemask_gt", Special::kLaneMaskGt},
    {"%dynamic_smem_size", Special::kDynamicSharedBytes},
    {"%total_smem_size", Special::kTotalSharedBytes},
    // A cluster is one block here.
    {"%cluster_ctaid.x", Special::kClusterZero},
    {"%cluster_ctaid.y", Special::kClusterZero},
    {"%cluster_ctaid.z", Special::kClusterZero},
    {"%cluster_ctarank", Special::kClusterZero},
    {"%cluster_nctaid.x", Special::kClusterOne},
    {"%cluster_nctaid.y", Special::kClusterOne},
    {"%cluster_nctaid.z", Special::kClusterOne},
    {"%cluster_nctarank", Special::kClusterOne},
    {"%clusterid.x", Special::kCtaidX},
    {"%clusterid.y", Special::kCtaidY},
    {"%clusterid.z", Special::kCtaidZ},
    {"%nclusterid.x", Special::kNctaidX},
    {"%nclusterid.y", Special::kNctaidY},
    {"%nclusterid.z", Special::kNctaidZ},
    {"%clock", Special::kClock},
    {"%clock_hi", Special::kClockHigh},
    {"%clock64", Special::kClock64},
    {"%globaltimer", Special::kGlobalTimer},
};

// The bits of an immediate as a value of the type.
std::optional<uint64_t> ImmediateBits(const Operand& operand, Type type) {
  switch (operand.kind) {
    case Operand::Kind::kInteger:
      if (type == Type::kF32)
        return std::bit_cast<uint32_t>(static_cast<float>(static_cast<int64_t>(operand.value)));
      if (type == Type::kF64)
        return std::bit_cast<uint64_t>(static_cast<double>(static_cast<int64_t>(operand.value)));
      return operand.value;
    case Operand::Kind::kFloat32:
      if (type == Type::kF64)
        return std::bit_cast<uint64_t>(double{std::bit_cast<float>(uint32_t(operand.value))});
      return operand.value;
    case Operand::Kind::kFloat64:
      if (SizeOf(type) == 4)
        return std::bit_cast<uint32_t>(static_cast<float>(std::bit_cast<double>(operand.value)));
      return operand.value;
    default:
      return std::nullopt;
  }
}

}  // namespace

StatementDecoder::StatementDecoder(KernelBuilder& builder, KernelBuilder::Frame& frame,
                                   const Statement& statement, Instruction& instruction)
    : builder_(builder), frame_(frame), statement_(statement), instruction_(instruction) {
  modifiers_ = SplitAtDots(statement.opcode);
  name_ = modifiers_[0];
  modifiers_.erase(modifiers_.begin());
}

void StatementDecoder::Fail(std::string message) {
  if (!status_.ok()) return;
  status_ = absl::InvalidArgumentError(
      Cat("PTX line ", statement_.line, ": ", statement_.opcode, ": ", message));
}

bool StatementDecoder::Take(std::string_view modifier) {
  const auto found = std::find(modifiers_.begin(), modifiers_.end(), modifier);
  if (found == modifiers_.end()) return false;
  modifiers_.erase(found);
  return true;
}

int StatementDecoder::TakeOneOf(std::initializer_list<std::string_view> modifiers) {
  int index = 0;
  for (std::string_view modifier : modifiers) {
    if (Take(modifier)) return index;
    ++index;
  }
  return -1;
}

bool StatementDecoder::Has(std::string_view modifier) const {
  return std::find(modifiers_.begin(), modifiers_.end(), modifier) != modifiers_.end();
}

bool StatementDecoder::HasType() const {
  return std::any_of(modifiers_.begin(), modifiers_.end(),
                     [](std::string_view m) { return TypeFromName(m).has_value(); });
}

Type StatementDecoder::TakeType() {
  for (auto modifier = modifiers_.begin(); modifier != modifiers_.end(); ++modifier) {
    if (const std::optional<Type> type = TypeFromName(*modifier)) {
      modifiers_.erase(modifier);
      return *type;
    }
  }
  Fail("expected a type among the modifiers");
  return Type::kNone;
}

std::string_view StatementDecoder::TakeNext() {
  if (modifiers_.empty()) return "";
  const std::string_view next = modifiers_[0];
  modifiers_.erase(modifiers_.begin());
  return next;
}

const Operand& StatementDecoder::operand(size_t index) {
  static const Operand* const kMissing = new Operand();
  if (index < statement_.operands.size()) return statement_.operands[index];
  Fail(Cat("expected an operand ", index + 1, ", got ", statement_.operands.size(), " operands"));
  return *kMissing;
}

const Operand* StatementDecoder::Elements(size_t index, size_t count) {
  const Operand& vector = operand(index);
  if (vector.kind == Operand::Kind::kVector && vector.elements.size() == count)
    return vector.elements.data();
  Fail(Cat("expected operand ", index + 1, " to be a vector of ", count, " elements"));
  return nullptr;
}

void StatementDecoder::ExpectOperands(size_t least, size_t most) {
  const size_t count = statement_.operands.size();
  if (count >= least && count <= most) return;
  Fail(Cat("expected ", least, least == most ? "" : Cat(" to ", most), " operands, got ", count));
}

Type StatementDecoder::RegisterType(const Operand& operand) {
  return operand.kind == Operand::Kind::kRegister ? frame_.function->registers[operand.index].type
                                                  : Type::kNone;
}

int StatementDecoder::WidthOf(const Operand& operand) { return SizeOf(RegisterType(operand)); }

void StatementDecoder::Result(const Operand& operand, Type type, bool wider) {
  const int bytes = SizeOf(type);
  if (operand.kind == Operand::Kind::kSink) {
    results_.push_back(builder_.Sink());
    return;
  }
  if (operand.kind != Operand::Kind::kRegister) return Fail("expected a register for the result");
  const Type declared = frame_.function->registers[operand.index].type;
  const bool fits = type == Type::kPred
                        ? declared == Type::kPred
                        : declared != Type::kPred &&
                              (SizeOf(declared) == bytes || (wider && SizeOf(declared) > bytes));
  if (!fits) {
    return Fail(Cat("expected a result register of type ", TypeName(type), ", got ",
                    frame_.function->registers[operand.index].Name(), " of type ",
                    TypeName(declared)));
  }
  results_.push_back(builder_.RegisterRef(frame_, operand.index));
}

Ref StatementDecoder::SourceRef(const Operand& operand, Type type, bool wider) {
  const int bytes = SizeOf(type);
  switch (operand.kind) {
    case Operand::Kind::kRegister: {
      const Type declared = frame_.function->registers[operand.index].type;
      const bool fits = type == Type::kPred
                            ? declared == Type::kPred
                            : declared != Type::kPred && (SizeOf(declared) == bytes ||
                                                          (wider && SizeOf(declared) > bytes));
      if (!fits) {
        Fail(Cat("expected a register of type ", TypeName(type), ", got ",
                 frame_.function->registers[operand.index].Name(), " of type ",
                 TypeName(declared)));
        return {};
      }
      return builder_.RegisterRef(frame_, operand.index);
    }
    case Operand::Kind::kSpecial: {
      if (operand.name == "%is_explicit_cluster" && type == Type::kPred)
        return builder_.PredicateConstant(false);
      for (const SpecialRow& row : kSpecials) {
        if (row.name != operand.name) continue;
        if (row.special >= Special::kClock) Fail("expected a clock only as the source of mov");
        // 64-bit reads of what has 32 bits are widened by the instruction that moves them.
        if (bytes != 4) Fail(Cat("expected a 32-bit type for ", operand.name));
        return builder_.SpecialRef(row.special);
      }
      Fail(Cat("unknown special register ", operand.name));
      return {};
    }
    case Operand::Kind::kVariable: {
      const uint64_t address = builder_.AddressOf(frame_, operand);
      if (bytes != 4 && bytes != 8) Fail("expected a 32-bit or 64-bit type for an address");
      if (bytes == 4 && address > 0xffffffffu)
        Fail(Cat("expected 64 bits for the address of ", operand.name));
      return builder_.Constant(address, 0, bytes);
    }
    default:
      break;
  }
  const std::optional<uint64_t> bits = ImmediateBits(operand, type);
  if (!bits) {
    Fail("expected a register or a number");
    return {};
  }
  if (type == Type::kPred) return builder_.PredicateConstant(*bits != 0);
  return builder_.Constant(
      *bits,
      static_cast<int64_t>(*bits) < 0 && operand.kind == Operand::Kind::kInteger ? ~uint64_t{0} : 0,
      bytes);
}

void StatementDecoder::Source(const Operand& operand, Type type, bool wider) {
  sources_.push_back(SourceRef(operand, type, wider));
}

bool StatementDecoder::PredicateSource(const Operand& operand) {
  if (operand.kind == Operand::Kind::kNot) {
    sources_.push_back(SourceRef(operand.elements[0], Type::kPred, false));
    return true;
  }
  sources_.push_back(SourceRef(operand, Type::kPred, false));
  return false;
}

void StatementDecoder::Address(const Operand& operand) {
  if (operand.kind != Operand::Kind::kAddress) return Fail("expected an address in brackets");
  const Operand& base = operand.elements[0];
  instruction_.offset = operand.offset;
  if (base.kind == Operand::Kind::kRegister && WidthOf(base) == 4) {
    // 32-bit addresses of shared and local memory.
    sources_.push_back(SourceRef(base, Type::kB32, false));
    instruction_.short_address = true;
    return;
  }
  sources_.push_back(SourceRef(base, Type::kB64, false));
}

int64_t StatementDecoder::Immediate(size_t index) {
  const Operand& given = operand(index);
  if (given.kind != Operand::Kind::kInteger)
    Fail(Cat("expected operand ", index + 1, " to be an integer constant"));
  return static_cast<int64_t>(given.value);
}

absl::Status StatementDecoder::Finish() {
  if (status_.ok() && !modifiers_.empty()) {
    Fail(Cat("the modifier .", modifiers_[0], " is not known here"));
  }
  if (status_.ok() && instruction_.execute == nullptr && instruction_.control == Control::kNone) {
    Fail("not known for this type, or with these modifiers");
  }
  if (!status_.ok()) return status_;
  if (results_.size() > 255 || sources_.size() > 255) {
    Fail("too many operands");
    return status_;
  }
  instruction_.result_count = static_cast<uint8_t>(results_.size());
  instruction_.source_count = static_cast<uint8_t>(sources_.size());
  if (!results_.empty()) instruction_.results = builder_.Keep(std::move(results_));
  if (!sources_.empty()) instruction_.sources = builder_.Keep(std::move(sources_));
  return absl::OkStatus();
}

}  // namespace weft::ptx
