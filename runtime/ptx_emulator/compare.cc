#include <cmath>

#include "runtime/ptx_emulator/float_formats.h"
#include "runtime/ptx_emulator/lanes.h"

// Comparisons and selections.
namespace weft::ptx {
namespace {

enum class Comparison {
  kEq,
  kNe,
  kLt,
  kLe,
  kGt,
  kGe,
  kEqu,
  kNeu,
  kLtu,
  kLeu,
  kGtu,
  kGeu,
  kNum,
  kNan
};

template <Comparison C, class T>
bool Compare(T a, T b) {
  const bool unordered = a != a || b != b;
  switch (C) {
    case Comparison::kEq:
      return a == b;
    case Comparison::kNe:
      return a != b && !unordered;
    case Comparison::kLt:
      return a < b;
    case Comparison::kLe:
      return a <= b;
    case Comparison::kGt:
      return a > b;
    case Comparison::kGe:
      return a >= b;
    case Comparison::kEqu:
      return a == b || unordered;
    case Comparison::kNeu:
      return a != b;
    case Comparison::kLtu:
      return !(a >= b);
    case Comparison::kLeu:
      return !(a > b);
    case Comparison::kGtu:
      return !(a <= b);
    case Comparison::kGeu:
      return !(a < b);
    case Comparison::kNum:
      return !unordered;
    case Comparison::kNan:
      return unordered;
  }
}

// The value that a lane of type T holds, as it is compared.
struct HalfValue {
  uint16_t bits;
};
struct BfloatValue {
  uint16_t bits;
};
template <class T>
T Widen(T value) {
  return value;
}
float Widen(HalfValue value) { return HalfToFloat(value.bits); }
float Widen(BfloatValue value) { return BfloatToFloat(value.bits); }

// Instruction::detail of setp and set.
constexpr uint64_t kFlush = 1, kAnd = 2, kOr = 4, kXor = 8, kNegated = 16, kFloatResult = 32;

uint32_t Combine(Warp& warp, const Instruction& instruction, uint32_t compared) {
  if ((instruction.detail & (kAnd | kOr | kXor)) == 0) return compared;
  uint32_t other = warp.Predicate(instruction.sources[2]);
  if ((instruction.detail & kNegated) != 0) other = ~other;
  if ((instruction.detail & kAnd) != 0) return compared & other;
  if ((instruction.detail & kOr) != 0) return compared | other;
  return compared ^ other;
}

template <Comparison C, class T, int PerLane>
uint32_t CompareLanes(Warp& warp, const Instruction& instruction, int part) {
  const T* a = warp.Lanes<T>(instruction.sources[0]);
  const T* b = warp.Lanes<T>(instruction.sources[1]);
  uint32_t bits = 0;
  for (int l = 0; l < kWarpSize; ++l) {
    auto x = Widen(a[l * PerLane + part]);
    auto y = Widen(b[l * PerLane + part]);
    if constexpr (std::is_same_v<decltype(x), float>) {
      if ((instruction.detail & kFlush) != 0) {
        x = FlushSubnormal(x);
        y = FlushSubnormal(y);
      }
    }
    bits |= uint32_t{Compare<C>(x, y)} << l;
  }
  return bits;
}

// p|q: for pairs the two halves' results, else the result and that of the opposite comparison.
template <Comparison C, class T, int PerLane>
void SetPredicate(Warp& warp, const Instruction& instruction, uint32_t mask) {
  const uint32_t compared = CompareLanes<C, T, PerLane>(warp, instruction, 0);
  const uint32_t defined = warp.SourcesDefined(instruction);
  uint32_t second = ~compared;
  if constexpr (PerLane == 2) second = CompareLanes<C, T, PerLane>(warp, instruction, 1);
  const uint32_t result = Combine(warp, instruction, compared);
  const uint32_t other = Combine(warp, instruction, second);
  warp.StorePredicate(instruction.results[0], result, mask);
  if (instruction.result_count > 1) warp.StorePredicate(instruction.results[1], other, mask);
  warp.DefineResults(instruction, defined, mask);
}

template <Comparison C, class T, int PerLane>
void SetValue(Warp& warp, const Instruction& instruction, uint32_t mask) {
  const uint32_t compared =
      Combine(warp, instruction, CompareLanes<C, T, PerLane>(warp, instruction, 0));
  const uint32_t yes = (instruction.detail & kFloatResult) != 0 ? 0x3f800000u : ~0u;
  uint32_t results[kWarpSize];
  for (int l = 0; l < kWarpSize; ++l) results[l] = (compared >> l & 1) != 0 ? yes : 0;
  warp.Store(instruction.results[0], results, mask);
  warp.DefineResults(instruction, warp.SourcesDefined(instruction), mask);
}

template <class T, int PerLane>
Execute ForComparison(Comparison comparison, bool value) {
  switch (comparison) {
#define PTX_CASE(C)   \
  case Comparison::C: \
    return value ? &SetValue<Comparison::C, T, PerLane> : &SetPredicate<Comparison::C, T, PerLane>;
    PTX_CASE(kEq)
    PTX_CASE(kNe)
    PTX_CASE(kLt)
    PTX_CASE(kLe)
    PTX_CASE(kGt)
    PTX_CASE(kGe)
    PTX_CASE(kEqu)
    PTX_CASE(kNeu)
    PTX_CASE(kLtu)
    PTX_CASE(kLeu)
    PTX_CASE(kGtu)
    PTX_CASE(kGeu)
    PTX_CASE(kNum)
    PTX_CASE(kNan)
#undef PTX_CASE
  }
  return nullptr;
}

Execute ForType(Type type, Comparison comparison, bool value) {
  switch (type) {
    case Type::kB16:
    case Type::kU16:
      return ForComparison<uint16_t, 1>(comparison, value);
    case Type::kB32:
    case Type::kU32:
      return ForComparison<uint32_t, 1>(comparison, value);
    case Type::kB64:
    case Type::kU64:
      return ForComparison<uint64_t, 1>(comparison, value);
    case Type::kS16:
      return ForComparison<int16_t, 1>(comparison, value);
    case Type::kS32:
      return ForComparison<int32_t, 1>(comparison, value);
    case Type::kS64:
      return ForComparison<int64_t, 1>(comparison, value);
    case Type::kF32:
      return ForComparison<float, 1>(comparison, value);
    case Type::kF64:
      return ForComparison<double, 1>(comparison, value);
    case Type::kF16:
      return ForComparison<HalfValue, 1>(comparison, value);
    case Type::kBf16:
      return ForComparison<BfloatValue, 1>(comparison, value);
    case Type::kF16x2:
      return ForComparison<HalfValue, 2>(comparison, value);
    case Type::kBf16x2:
      return ForComparison<BfloatValue, 2>(comparison, value);
    default:
      return nullptr;
  }
}

// The comparison, the operation with a further predicate, and options, for setp and set.
Comparison TakeComparison(StatementDecoder& d, Type* type, Type* result) {
  const int comparison = d.TakeOneOf({"eq", "ne", "lt", "le", "gt", "ge", "equ", "neu", "ltu",
                                      "leu", "gtu", "geu", "num", "nan", "lo", "ls", "hi", "hs"});
  if (comparison < 0) d.Fail("expected a comparison");
  constexpr uint64_t kOperations[] = {kAnd, kOr, kXor};
  if (const int operation = d.TakeOneOf({"and", "or", "xor"}); operation >= 0)
    d.instruction().detail |= kOperations[operation];
  if (d.Take("ftz")) d.instruction().detail |= kFlush;
  if (result != nullptr) *result = d.TakeType();
  *type = d.TakeType();
  const bool is_float = IsFloat(*type);
  if (comparison >= 14) {
    if (is_float || IsSigned(*type)) d.Fail("expected .lt, .le, .gt or .ge for this type");
    constexpr Comparison kUnsigned[] = {Comparison::kLt, Comparison::kLe, Comparison::kGt,
                                        Comparison::kGe};
    return kUnsigned[comparison - 14];
  }
  if (comparison >= 6 && !is_float) d.Fail("expected a comparison of integers");
  return static_cast<Comparison>(comparison);
}

void AddCompared(StatementDecoder& d, Type type) {
  const bool combines = (d.instruction().detail & (kAnd | kOr | kXor)) != 0;
  d.ExpectOperands(combines ? 4 : 3, combines ? 4 : 3);
  d.Source(1, type);
  d.Source(2, type);
  if (combines && d.PredicateSource(d.operand(3))) d.instruction().detail |= kNegated;
}

void DecodeSetPredicate(StatementDecoder& d) {
  Type type;
  const Comparison comparison = TakeComparison(d, &type, nullptr);
  const Operand& result = d.operand(0);
  if (result.kind == Operand::Kind::kPair) {
    d.Result(result.elements[0], Type::kPred);
    d.Result(result.elements[1], Type::kPred);
  } else {
    d.Result(0, Type::kPred);
  }
  AddCompared(d, type);
  d.Execute(ForType(type, comparison, false));
}

void DecodeSet(StatementDecoder& d) {
  Type type;
  Type result;
  const Comparison comparison = TakeComparison(d, &type, &result);
  if (result == Type::kF32) {
    d.instruction().detail |= kFloatResult;
  } else if (result != Type::kU32 && result != Type::kS32) {
    d.Fail("expected a result of type u32, s32 or f32");
  }
  d.Result(0, result);
  AddCompared(d, type);
  d.Execute(ForType(type, comparison, true));
}

// Only what is chosen has to be defined.
template <class T>
void Select(Warp& warp, const Instruction& instruction, uint32_t mask) {
  const T* a = warp.Lanes<T>(instruction.sources[0]);
  const T* b = warp.Lanes<T>(instruction.sources[1]);
  const uint32_t first = warp.Predicate(instruction.sources[2]);
  T results[kWarpSize];
  for (int l = 0; l < kWarpSize; ++l) results[l] = (first >> l & 1) != 0 ? a[l] : b[l];
  warp.Store(instruction.results[0], results, mask);
  const uint32_t chosen = (first & warp.Defined(instruction.sources[0])) |
                          (~first & warp.Defined(instruction.sources[1]));
  warp.DefineResults(instruction, chosen & warp.Defined(instruction.sources[2]), mask);
}

void SelectPredicate(Warp& warp, const Instruction& instruction, uint32_t mask) {
  const uint32_t a = warp.Predicate(instruction.sources[0]);
  const uint32_t b = warp.Predicate(instruction.sources[1]);
  const uint32_t first = warp.Predicate(instruction.sources[2]);
  warp.StorePredicate(instruction.results[0], (a & first) | (b & ~first), mask);
  warp.DefineResults(instruction, warp.SourcesDefined(instruction), mask);
}

void DecodeSelect(StatementDecoder& d) {
  const Type type = d.TakeType();
  d.ExpectOperands(4, 4);
  d.Result(0, type);
  d.Source(1, type);
  d.Source(2, type);
  d.Source(3, Type::kPred);
  if (type == Type::kPred) return d.Execute(&SelectPredicate);
  d.Execute(ForBits(SizeOf(type), 2, []<class T>(T) -> Execute { return &Select<T>; }));
}

template <class T, class C>
T SelectBySign(T a, T b, C c) {
  return c >= 0 ? a : b;
}

void DecodeSelectBySign(StatementDecoder& d) {
  d.Take("ftz");  // a subnormal's sign is its sign still
  const Type type = d.TakeType();
  const Type condition = d.TakeType();
  d.ExpectOperands(4, 4);
  d.Result(0, type);
  d.Source(1, type);
  d.Source(2, type);
  d.Source(3, condition);
  const bool is_float = condition == Type::kF32;
  if (!is_float && condition != Type::kS32)
    return d.Fail("expected a condition of type s32 or f32");
  d.Execute(ForBits(SizeOf(type), 2, [&]<class T>(T) {
    return is_float ? Map<&SelectBySign<T, float>> : Map<&SelectBySign<T, int32_t>>;
  }));
}

}  // namespace

std::vector<Opcode> CompareOpcodes() {
  return {
      {"setp", DecodeSetPredicate},
      {"set", DecodeSet},
      {"selp", DecodeSelect},
      {"slct", DecodeSelectBySign},
  };
}

}  // namespace weft::ptx
