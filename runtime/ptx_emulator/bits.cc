#include <bit>

#include "runtime/ptx_emulator/lanes.h"

// Logic, shifts, and bit fields.
namespace weft::ptx {
namespace {

template <class T>
T And(T a, T b) {
  return a & b;
}
template <class T>
T Or(T a, T b) {
  return a | b;
}
template <class T>
T Xor(T a, T b) {
  return a ^ b;
}
template <class T>
T Not(T a) {
  return static_cast<T>(~a);
}
template <class T>
T LogicalNot(T a) {
  return a == 0 ? 1 : 0;
}
// Shifts by the width or more give zeros, or signs.
template <class T>
T ShiftLeft(T a, uint32_t by) {
  return by >= 8 * sizeof(T) ? T{0} : static_cast<T>(Wrapping<T>(a) << by);
}
template <class T>
T ShiftRight(T a, uint32_t by) {
  if (by >= 8 * sizeof(T)) return a < 0 ? static_cast<T>(-1) : T{0};
  return static_cast<T>(a >> by);
}
template <bool Left, bool Wrap>
uint32_t FunnelShift(uint32_t low, uint32_t high, uint32_t by) {
  const uint32_t amount = Wrap ? by & 31 : by > 32 ? 32 : by;
  const uint64_t both = uint64_t{high} << 32 | low;
  return Left ? static_cast<uint32_t>((both << amount) >> 32)
              : static_cast<uint32_t>(both >> amount);
}
template <class T>
T BitFieldExtract(T a, uint32_t position, uint32_t length) {
  constexpr uint32_t kBits = 8 * sizeof(T);
  using U = std::make_unsigned_t<T>;
  position &= 0xff;
  length &= 0xff;
  if (length == 0) return 0;
  const U field = position >= kBits ? U{0} : static_cast<U>(static_cast<U>(a) >> position);
  // What lies beyond the top bit has its value where numbers have signs.
  const uint32_t sign_at = position + length - 1 < kBits - 1 ? position + length - 1 : kBits - 1;
  const bool sign = std::is_signed_v<T> && (static_cast<U>(a) >> sign_at & 1) != 0;
  if (length >= kBits) {
    if (!sign || position == 0) return static_cast<T>(field);
    return static_cast<T>(position >= kBits ? ~U{0}
                                            : field | static_cast<U>(~U{0} << (kBits - position)));
  }
  const U mask = static_cast<U>((U{1} << length) - 1);
  U result = field & mask;
  if (sign) {
    const uint32_t have = position >= kBits           ? 0
                          : kBits - position < length ? kBits - position
                                                      : length;
    result |= have >= kBits ? U{0} : static_cast<U>(~U{0} << have);
  }
  return static_cast<T>(result);
}
template <class T>
T BitFieldInsert(T a, T b, uint32_t position, uint32_t length) {
  constexpr uint32_t kBits = 8 * sizeof(T);
  position &= 0xff;
  length &= 0xff;
  if (length == 0 || position >= kBits) return b;
  const T field = length >= kBits ? ~T{0} : static_cast<T>((T{1} << length) - 1);
  const T mask = static_cast<T>(field << position);
  return (b & ~mask) | (static_cast<T>(a << position) & mask);
}
template <class T>
uint32_t PopulationCount(T a) {
  return static_cast<uint32_t>(std::popcount(a));
}
template <class T>
uint32_t LeadingZeros(T a) {
  return static_cast<uint32_t>(std::countl_zero(a));
}
template <class T>
T ReverseBits(T a) {
  T result = 0;
  for (size_t i = 0; i < 8 * sizeof(T); ++i)
    result |= static_cast<T>((a >> i & 1) << (8 * sizeof(T) - 1 - i));
  return result;
}
// The highest bit that differs from the sign; all ones where there is none.
template <class T, bool Shift>
uint32_t FindHighest(T a) {
  using U = std::make_unsigned_t<T>;
  const U value = a < 0 ? static_cast<U>(~static_cast<U>(a)) : static_cast<U>(a);
  if (value == 0) return ~0u;
  const auto position = static_cast<uint32_t>(8 * sizeof(T) - 1 - std::countl_zero(value));
  return Shift ? static_cast<uint32_t>(8 * sizeof(T) - 1) - position : position;
}
uint8_t ByteOf(uint64_t both, uint32_t index) { return static_cast<uint8_t>(both >> (8 * index)); }
uint32_t Permute(uint32_t a, uint32_t b, uint32_t selectors) {
  const uint64_t both = uint64_t{b} << 32 | a;
  uint32_t result = 0;
  for (int i = 0; i < 4; ++i) {
    const uint32_t selector = selectors >> (4 * i) & 15;
    uint8_t byte = ByteOf(both, selector & 7);
    if ((selector & 8) != 0) byte = (byte & 0x80) != 0 ? 0xff : 0;
    result |= uint32_t{byte} << (8 * i);
  }
  return result;
}
// Where byte i of the result comes from, by the low two bits of c.
template <int Mode>
uint32_t PermuteBy(uint32_t a, uint32_t b, uint32_t c) {
  static constexpr uint16_t kSelectors[6][4] = {
      {0x3210, 0x4321, 0x5432, 0x6543},  // f4e
      {0x5670, 0x6701, 0x7012, 0x0123},  // b4e
      {0x0000, 0x1111, 0x2222, 0x3333},  // rc8
      {0x3210, 0x3211, 0x3222, 0x3333},  // ecl
      {0x0000, 0x1110, 0x2210, 0x3210},  // ecr
      {0x1010, 0x3232, 0x1010, 0x3232},  // rc16
  };
  return Permute(a, b, kSelectors[Mode][c & 3]);
}
uint32_t Logic3(uint32_t a, uint32_t b, uint32_t c, uint32_t table) {
  uint32_t result = 0;
  if ((table & 0x01) != 0) result |= ~a & ~b & ~c;
  if ((table & 0x02) != 0) result |= ~a & ~b & c;
  if ((table & 0x04) != 0) result |= ~a & b & ~c;
  if ((table & 0x08) != 0) result |= ~a & b & c;
  if ((table & 0x10) != 0) result |= a & ~b & ~c;
  if ((table & 0x20) != 0) result |= a & ~b & c;
  if ((table & 0x40) != 0) result |= a & b & ~c;
  if ((table & 0x80) != 0) result |= a & b & c;
  return result;
}
template <bool Wrap>
uint32_t BitMask(uint32_t position, uint32_t width) {
  if (Wrap) {
    position &= 31;
    width &= 31;
  }
  if (position >= 32 || width == 0) return 0;
  const uint32_t field = width >= 32 ? ~0u : (1u << width) - 1;
  return field << position;
}
template <class T, bool Wrap>
T ExtendFrom(T a, uint32_t bits) {
  if (Wrap) bits &= 31;
  if (bits >= 32) return a;
  if (bits == 0) return 0;
  using U = uint32_t;
  return static_cast<T>(static_cast<T>(static_cast<U>(a) << (32 - bits)) >> (32 - bits));
}

enum class Logic { kAnd, kOr, kXor, kNot };

template <Logic L>
void PredicateLogic(Warp& warp, const Instruction& instruction, uint32_t mask) {
  const uint32_t a = warp.Predicate(instruction.sources[0]);
  const uint32_t b = L == Logic::kNot ? 0 : warp.Predicate(instruction.sources[1]);
  uint32_t result = ~a;
  uint32_t defined = warp.Defined(instruction.sources[0]);
  if constexpr (L != Logic::kNot) {
    const uint32_t b_defined = warp.Defined(instruction.sources[1]);
    result = L == Logic::kAnd ? a & b : L == Logic::kOr ? a | b : a ^ b;
    // One operand may decide alone.
    if constexpr (L == Logic::kAnd)
      defined = (defined & b_defined) | (defined & ~a) | (b_defined & ~b);
    if constexpr (L == Logic::kOr)
      defined = (defined & b_defined) | (defined & a) | (b_defined & b);
    if constexpr (L == Logic::kXor) defined &= b_defined;
  }
  warp.StorePredicate(instruction.results[0], result, mask);
  warp.DefineResults(instruction, defined, mask);
}

void Operands(StatementDecoder& d, Type result, std::initializer_list<Type> sources) {
  d.ExpectOperands(sources.size() + 1, sources.size() + 1);
  d.Result(0, result);
  size_t index = 1;
  for (Type source : sources) d.Source(index++, source);
}

template <Logic L>
void DecodeLogic(StatementDecoder& d) {
  const Type type = d.TakeType();
  if (L == Logic::kNot) {
    Operands(d, type, {type});
  } else {
    Operands(d, type, {type, type});
  }
  if (type == Type::kPred) return d.Execute(&PredicateLogic<L>);
  d.Execute(ForBits(SizeOf(type), 2, []<class T>(T) -> Execute {
    if constexpr (L == Logic::kAnd) return Map<&And<T>>;
    if constexpr (L == Logic::kOr) return Map<&Or<T>>;
    if constexpr (L == Logic::kXor) return Map<&Xor<T>>;
    return Map<&Not<T>>;
  }));
}

void DecodeLogicalNot(StatementDecoder& d) {
  const Type type = d.TakeType();
  Operands(d, type, {type});
  d.Execute(ForBits(SizeOf(type), 2, []<class T>(T) { return Map<&LogicalNot<T>>; }));
}

void DecodeShiftLeft(StatementDecoder& d) {
  const Type type = d.TakeType();
  Operands(d, type, {type, Type::kU32});
  d.Execute(ForBits(SizeOf(type), 2, []<class T>(T) { return Map<&ShiftLeft<T>>; }));
}

void DecodeShiftRight(StatementDecoder& d) {
  const Type type = d.TakeType();
  Operands(d, type, {type, Type::kU32});
  if (IsSigned(type))
    return d.Execute(ForIntegers(type, []<class T>(T) { return Map<&ShiftRight<T>>; }));
  d.Execute(ForBits(SizeOf(type), 2, []<class T>(T) { return Map<&ShiftRight<T>>; }));
}

void DecodeFunnelShift(StatementDecoder& d) {
  const int direction = d.TakeOneOf({"l", "r"});
  const int mode = d.TakeOneOf({"clamp", "wrap"});
  const Type type = d.TakeType();
  if (direction < 0 || mode < 0 || type != Type::kB32)
    d.Fail("expected .l or .r, .clamp or .wrap, and .b32");
  Operands(d, type, {type, type, Type::kU32});
  d.Execute(direction == 0
                ? (mode == 0 ? Map<&FunnelShift<true, false>> : Map<&FunnelShift<true, true>>)
                : (mode == 0 ? Map<&FunnelShift<false, false>> : Map<&FunnelShift<false, true>>));
}

void DecodeExtract(StatementDecoder& d) {
  const Type type = d.TakeType();
  Operands(d, type, {type, Type::kU32, Type::kU32});
  if (SizeOf(type) >= 4)
    d.Execute(ForIntegers(type, []<class T>(T) { return Map<&BitFieldExtract<T>>; }));
}

void DecodeInsert(StatementDecoder& d) {
  const Type type = d.TakeType();
  Operands(d, type, {type, type, Type::kU32, Type::kU32});
  d.Execute(ForBits(SizeOf(type), 4, []<class T>(T) { return Map<&BitFieldInsert<T>>; }));
}

template <int Which>
void DecodeCount(StatementDecoder& d) {
  const Type type = d.TakeType();
  Operands(d, Type::kU32, {type});
  d.Execute(ForBits(SizeOf(type), 4, []<class T>(T) {
    return Which == 0 ? Map<&PopulationCount<T>> : Map<&LeadingZeros<T>>;
  }));
}

void DecodeReverse(StatementDecoder& d) {
  const Type type = d.TakeType();
  Operands(d, type, {type});
  d.Execute(ForBits(SizeOf(type), 4, []<class T>(T) { return Map<&ReverseBits<T>>; }));
}

void DecodeFindHighest(StatementDecoder& d) {
  const bool shift = d.Take("shiftamt");
  const Type type = d.TakeType();
  Operands(d, Type::kU32, {type});
  if (SizeOf(type) < 4) return;
  d.Execute(ForIntegers(type, [&]<class T>(T) {
    return shift ? Map<&FindHighest<T, true>> : Map<&FindHighest<T, false>>;
  }));
}

void DecodePermute(StatementDecoder& d) {
  const Type type = d.TakeType();
  if (type != Type::kB32) d.Fail("expected .b32");
  const int mode = d.TakeOneOf({"f4e", "b4e", "rc8", "ecl", "ecr", "rc16"});
  Operands(d, type, {type, type, Type::kU32});
  constexpr Execute kModes[] = {Map<&PermuteBy<0>>, Map<&PermuteBy<1>>, Map<&PermuteBy<2>>,
                                Map<&PermuteBy<3>>, Map<&PermuteBy<4>>, Map<&PermuteBy<5>>};
  d.Execute(mode < 0 ? Map<&Permute> : kModes[mode]);
}

void DecodeLogic3(StatementDecoder& d) {
  const Type type = d.TakeType();
  if (type != Type::kB32) d.Fail("expected .b32");
  Operands(d, type, {type, type, type, Type::kU32});
  d.Execute(Map<&Logic3>);
}

void DecodeBitMask(StatementDecoder& d) {
  const int mode = d.TakeOneOf({"clamp", "wrap"});
  const Type type = d.TakeType();
  Operands(d, type, {type, type});
  d.Execute(mode == 1 ? Map<&BitMask<true>> : Map<&BitMask<false>>);
}

void DecodeExtend(StatementDecoder& d) {
  const bool wrap = d.TakeOneOf({"clamp", "wrap"}) == 1;
  const Type type = d.TakeType();
  Operands(d, type, {type, Type::kU32});
  if (type == Type::kU32)
    d.Execute(wrap ? Map<&ExtendFrom<uint32_t, true>> : Map<&ExtendFrom<uint32_t, false>>);
  if (type == Type::kS32)
    d.Execute(wrap ? Map<&ExtendFrom<int32_t, true>> : Map<&ExtendFrom<int32_t, false>>);
}

}  // namespace

std::vector<Opcode> BitOpcodes() {
  return {
      {"and", DecodeLogic<Logic::kAnd>},
      {"or", DecodeLogic<Logic::kOr>},
      {"xor", DecodeLogic<Logic::kXor>},
      {"not", DecodeLogic<Logic::kNot>},
      {"cnot", DecodeLogicalNot},
      {"shl", DecodeShiftLeft},
      {"shr", DecodeShiftRight},
      {"shf", DecodeFunnelShift},
      {"bfe", DecodeExtract},
      {"bfi", DecodeInsert},
      {"popc", DecodeCount<0>},
      {"clz", DecodeCount<1>},
      {"brev", DecodeReverse},
      {"bfind", DecodeFindHighest},
      {"prmt", DecodePermute},
      {"lop3", DecodeLogic3},
      {"bmsk", DecodeBitMask},
      {"szext", DecodeExtend},
  };
}

}  // namespace weft::ptx
