#include <algorithm>
#include <limits>

#include "runtime/ptx_emulator/lanes.h"

// Integer arithmetic.
namespace weft::ptx {
namespace {

template <class T>
T Add(T a, T b) {
  return static_cast<T>(Wrapping<T>(a) + Wrapping<T>(b));
}
template <class T>
T Sub(T a, T b) {
  return static_cast<T>(Wrapping<T>(a) - Wrapping<T>(b));
}
template <class T>
T MulLow(T a, T b) {
  return static_cast<T>(Wrapping<T>(a) * Wrapping<T>(b));
}
template <class T>
T MulHigh(T a, T b) {
  if constexpr (sizeof(T) == 8) {
    using Wide = std::conditional_t<std::is_signed_v<T>, __int128, unsigned __int128>;
    return static_cast<T>((Wide(a) * Wide(b)) >> 64);
  } else {
    using Wide = std::conditional_t<std::is_signed_v<T>, int64_t, uint64_t>;
    return static_cast<T>((Wide(a) * Wide(b)) >> (8 * sizeof(T)));
  }
}
template <class T>
using Doubled =
    std::conditional_t<sizeof(T) == 2, std::conditional_t<std::is_signed_v<T>, int32_t, uint32_t>,
                       std::conditional_t<std::is_signed_v<T>, int64_t, uint64_t>>;
template <class T>
Doubled<T> MulWide(T a, T b) {
  return Doubled<T>(a) * Doubled<T>(b);
}
template <class T>
Doubled<T> MadWide(T a, T b, Doubled<T> c) {
  return Add<Doubled<T>>(MulWide(a, b), c);
}
template <class T>
T MadLow(T a, T b, T c) {
  return Add<T>(MulLow(a, b), c);
}
template <class T>
T MadHigh(T a, T b, T c) {
  return Add<T>(MulHigh(a, b), c);
}
// The GPU's answer to a division by zero has all bits set; PTX does not say.
template <class T>
T Div(T a, T b) {
  if (b == 0) return static_cast<T>(~T{0});
  if constexpr (std::is_signed_v<T>) {
    if (b == -1) return Sub<T>(0, a);
  }
  return static_cast<T>(a / b);
}
template <class T>
T Rem(T a, T b) {
  if (b == 0) return a;
  if constexpr (std::is_signed_v<T>) {
    if (b == -1) return 0;
  }
  return static_cast<T>(a % b);
}
template <class T>
T Min(T a, T b) {
  return std::min(a, b);
}
template <class T>
T Max(T a, T b) {
  return std::max(a, b);
}
template <class T>
T MinRelu(T a, T b) {
  return std::max(std::min(a, b), T{0});
}
template <class T>
T MaxRelu(T a, T b) {
  return std::max(std::max(a, b), T{0});
}
template <class T>
T Abs(T a) {
  return a < 0 ? Sub<T>(0, a) : a;
}
template <class T>
T Neg(T a) {
  return Sub<T>(0, a);
}
template <class T>
T Sad(T a, T b, T c) {
  return Add<T>(c, a < b ? Sub(b, a) : Sub(a, b));
}
int32_t AddSaturated(int32_t a, int32_t b) {
  return static_cast<int32_t>(std::clamp<int64_t>(
      int64_t{a} + b, std::numeric_limits<int32_t>::min(), std::numeric_limits<int32_t>::max()));
}
int32_t SubSaturated(int32_t a, int32_t b) {
  return static_cast<int32_t>(std::clamp<int64_t>(
      int64_t{a} - b, std::numeric_limits<int32_t>::min(), std::numeric_limits<int32_t>::max()));
}
uint32_t Mul24(uint32_t a, uint32_t b) { return (a & 0xffffff) * (b & 0xffffff); }
int32_t Mul24Signed(int32_t a, int32_t b) {
  const auto low = [](int32_t v) {
    return static_cast<int32_t>(static_cast<uint32_t>(v) << 8) >> 8;
  };
  return static_cast<int32_t>(int64_t{low(a)} * low(b));
}
template <class A, class B>
int32_t Dp4a(uint32_t a, uint32_t b, int32_t c) {
  uint32_t sum = static_cast<uint32_t>(c);
  for (int i = 0; i < 4; ++i)
    sum += static_cast<uint32_t>(int32_t(static_cast<A>(a >> (8 * i))) *
                                 int32_t(static_cast<B>(b >> (8 * i))));
  return static_cast<int32_t>(sum);
}
template <class A, class B, int High>
int32_t Dp2a(uint32_t a, uint32_t b, int32_t c) {
  uint32_t sum = static_cast<uint32_t>(c);
  for (int i = 0; i < 2; ++i) {
    using Half = std::conditional_t<std::is_signed_v<A>, int16_t, uint16_t>;
    sum += static_cast<uint32_t>(int32_t(static_cast<Half>(a >> (16 * i))) *
                                 int32_t(static_cast<B>(b >> (8 * i + 16 * High))));
  }
  return static_cast<int32_t>(sum);
}

// Two numbers of 16 bits in a register.
template <auto F>
struct PairFunction;
template <class T, T (*F)(T, T)>
struct PairFunction<F> {
  static uint32_t Apply(uint32_t a, uint32_t b) {
    const auto half = [](uint32_t bits, int i) { return static_cast<T>(bits >> (16 * i)); };
    return static_cast<uint16_t>(F(half(a, 0), half(b, 0))) |
           uint32_t{static_cast<uint16_t>(F(half(a, 1), half(b, 1)))} << 16;
  }
};
// Null for another type than pairs.
template <uint16_t (*Unsigned)(uint16_t, uint16_t), int16_t (*Signed)(int16_t, int16_t)>
Execute ForPairs(Type type) {
  if (type == Type::kU16x2) return Map<&PairFunction<Unsigned>::Apply>;
  if (type == Type::kS16x2) return Map<&PairFunction<Signed>::Apply>;
  return nullptr;
}

// The carry flag is a register of the warp that no PTX names: the last predicate-sized source and
// result.
template <class T, bool Subtract, bool Multiply, bool High, bool In, bool Out>
void Carry(Warp& warp, const Instruction& instruction, uint32_t mask) {
  using Wide = unsigned __int128;
  const T* a = warp.Lanes<T>(instruction.sources[0]);
  const T* b = warp.Lanes<T>(instruction.sources[1]);
  const T* c = Multiply ? warp.Lanes<T>(instruction.sources[2]) : b;
  T results[kWarpSize];
  uint32_t flags = warp.carry();
  for (int lane : LanesOf(mask)) {
    T left = a[lane];
    if constexpr (Multiply) left = High ? MulHigh(a[lane], b[lane]) : MulLow(a[lane], b[lane]);
    const Wide carry = In ? flags >> lane & 1 : 0;
    const Wide sum = Subtract ? Wide(left) - c[lane] - carry : Wide(left) + c[lane] + carry;
    results[lane] = static_cast<T>(sum);
    if constexpr (Out)
      flags = (flags & ~(1u << lane)) | uint32_t(sum >> (8 * sizeof(T)) & 1) << lane;
  }
  for (int lane : LanesOf(mask)) warp.Lanes<T>(instruction.results[0])[lane] = results[lane];
  warp.carry() = flags;
  warp.DefineResults(instruction, warp.SourcesDefined(instruction), mask);
}

void Operands(StatementDecoder& d, Type type, int sources) {
  d.ExpectOperands(sources + 1, sources + 1);
  d.Result(0, type);
  for (int i = 1; i <= sources; ++i) d.Source(i, type);
}

#define PTX_BINARY(NAME, FUNCTION)                                              \
  void NAME(StatementDecoder& d) {                                              \
    const Type type = d.TakeType();                                             \
    d.Execute(ForIntegers(type, []<class T>(T) { return Map<&FUNCTION<T>>; })); \
    Operands(d, type, 2);                                                       \
  }
PTX_BINARY(DecodeDiv, Div)
PTX_BINARY(DecodeRem, Rem)
#undef PTX_BINARY

template <bool Maximum>
void DecodeMinMax(StatementDecoder& d) {
  const bool relu = d.Take("relu");
  const Type type = d.TakeType();
  if (relu) {
    if (type == Type::kS32) d.Execute(Maximum ? Map<&MaxRelu<int32_t>> : Map<&MinRelu<int32_t>>);
  } else {
    d.Execute(ForIntegers(type, []<class T>(T) { return Maximum ? Map<&Max<T>> : Map<&Min<T>>; }));
  }
  if (const Execute pairs = Maximum ? ForPairs<&Max<uint16_t>, &Max<int16_t>>(type)
                                    : ForPairs<&Min<uint16_t>, &Min<int16_t>>(type)) {
    if (!relu) d.Execute(pairs);
  }
  Operands(d, type, 2);
}

template <bool Subtract>
void DecodeAddSub(StatementDecoder& d) {
  const bool saturate = d.Take("sat");
  const bool carry_out = d.Take("cc");
  const Type type = d.TakeType();
  Operands(d, type, 2);
  if (carry_out) {
    d.Execute(ForBits(SizeOf(type), 4, []<class T>(T) -> Execute {
      if constexpr (sizeof(T) >= 4) return &Carry<T, Subtract, false, false, false, true>;
      return nullptr;
    }));
  } else if (type == Type::kU16x2 || type == Type::kS16x2) {
    if (!saturate) {
      d.Execute(Subtract ? ForPairs<&Sub<uint16_t>, &Sub<int16_t>>(type)
                         : ForPairs<&Add<uint16_t>, &Add<int16_t>>(type));
    }
  } else if (saturate) {
    if (type == Type::kS32) d.Execute(Subtract ? Map<&SubSaturated> : Map<&AddSaturated>);
  } else {
    d.Execute(ForIntegers(type, []<class T>(T) { return Subtract ? Map<&Sub<T>> : Map<&Add<T>>; }));
  }
}

template <bool Subtract>
void DecodeAddSubCarry(StatementDecoder& d) {
  const bool out = d.Take("cc");
  const Type type = d.TakeType();
  Operands(d, type, 2);
  d.Execute(ForBits(SizeOf(type), 4, [&]<class T>(T) -> Execute {
    return out ? &Carry<T, Subtract, false, false, true, true>
               : &Carry<T, Subtract, false, false, true, false>;
  }));
}

void DecodeMul(StatementDecoder& d) {
  const int mode = d.TakeOneOf({"lo", "hi", "wide"});
  const Type type = d.TakeType();
  if (mode == 2) {
    d.ExpectOperands(3, 3);
    d.Result(0, SizeOf(type) == 2 ? Type::kB32 : Type::kB64);
    d.Source(1, type);
    d.Source(2, type);
    if (SizeOf(type) <= 4) {
      d.Execute(ForIntegers(type, []<class T>(T) -> Execute {
        if constexpr (sizeof(T) <= 4) return Map<&MulWide<T>>;
        return nullptr;
      }));
    }
    return;
  }
  if (mode < 0) d.Fail("expected .lo, .hi or .wide");
  Operands(d, type, 2);
  d.Execute(ForIntegers(
      type, [&]<class T>(T) { return mode == 0 ? Map<&MulLow<T>> : Map<&MulHigh<T>>; }));
}

// mad and madc, with and without a carry.
template <bool CarryIn>
void DecodeMad(StatementDecoder& d) {
  const int mode = d.TakeOneOf({"lo", "hi", "wide"});
  const bool carry_out = d.Take("cc");
  const Type type = d.TakeType();
  d.ExpectOperands(4, 4);
  const Type third = mode != 2 ? type : SizeOf(type) == 2 ? Type::kB32 : Type::kB64;
  d.Result(0, third);
  d.Source(1, type);
  d.Source(2, type);
  d.Source(3, third);
  if (mode < 0) d.Fail("expected .lo, .hi or .wide");
  if (CarryIn || carry_out) {
    if (mode == 2) return;
    const bool high = mode == 1;
    // The carry comes from the sum; a product's high half depends on the sign.
    d.Execute(ForIntegers(type, [&]<class T>(T) -> Execute {
      if constexpr (sizeof(T) >= 4) {
        using U = std::make_unsigned_t<T>;
        if (high && std::is_signed_v<T>) return nullptr;
        if (carry_out)
          return high ? &Carry<U, false, true, true, CarryIn, true>
                      : &Carry<U, false, true, false, CarryIn, true>;
        return high ? &Carry<U, false, true, true, CarryIn, false>
                    : &Carry<U, false, true, false, CarryIn, false>;
      }
      return nullptr;
    }));
    return;
  }
  d.Execute(ForIntegers(type, [&]<class T>(T) -> Execute {
    if (mode == 0) return Map<&MadLow<T>>;
    if (mode == 1) return Map<&MadHigh<T>>;
    if constexpr (sizeof(T) <= 4) return Map<&MadWide<T>>;
    return nullptr;
  }));
}

void DecodeAbs(StatementDecoder& d) {
  const Type type = d.TakeType();
  Operands(d, type, 1);
  if (IsSigned(type)) d.Execute(ForIntegers(type, []<class T>(T) { return Map<&Abs<T>>; }));
}

void DecodeNeg(StatementDecoder& d) {
  const Type type = d.TakeType();
  Operands(d, type, 1);
  if (IsSigned(type)) d.Execute(ForIntegers(type, []<class T>(T) { return Map<&Neg<T>>; }));
}

void DecodeSad(StatementDecoder& d) {
  const Type type = d.TakeType();
  Operands(d, type, 3);
  d.Execute(ForIntegers(type, []<class T>(T) { return Map<&Sad<T>>; }));
}

void DecodeMul24(StatementDecoder& d) {
  if (!d.Take("lo")) d.Fail("expected .lo");
  const Type type = d.TakeType();
  Operands(d, type, 2);
  if (type == Type::kU32) d.Execute(Map<&Mul24>);
  if (type == Type::kS32) d.Execute(Map<&Mul24Signed>);
}

void DecodeDp4a(StatementDecoder& d) {
  const bool a = IsSigned(d.TakeType());
  const bool b = IsSigned(d.TakeType());
  Operands(d, Type::kB32, 3);
  d.Execute(a ? (b ? Map<&Dp4a<int8_t, int8_t>> : Map<&Dp4a<int8_t, uint8_t>>)
              : (b ? Map<&Dp4a<uint8_t, int8_t>> : Map<&Dp4a<uint8_t, uint8_t>>));
}

void DecodeDp2a(StatementDecoder& d) {
  const int half = d.TakeOneOf({"lo", "hi"});
  const bool a = IsSigned(d.TakeType());
  const bool b = IsSigned(d.TakeType());
  Operands(d, Type::kB32, 3);
  const auto choose = [&]<int High>(std::integral_constant<int, High>) {
    return a ? (b ? Map<&Dp2a<int8_t, int8_t, High>> : Map<&Dp2a<int8_t, uint8_t, High>>)
             : (b ? Map<&Dp2a<uint8_t, int8_t, High>> : Map<&Dp2a<uint8_t, uint8_t, High>>);
  };
  if (half == 0) d.Execute(choose(std::integral_constant<int, 0>()));
  if (half == 1) d.Execute(choose(std::integral_constant<int, 1>()));
}

}  // namespace

std::vector<Opcode> IntegerOpcodes() {
  constexpr auto kIntegers = Opcode::Operates::kOnIntegers;
  return {
      {"add", DecodeAddSub<false>, kIntegers},
      {"sub", DecodeAddSub<true>, kIntegers},
      {"addc", DecodeAddSubCarry<false>},
      {"subc", DecodeAddSubCarry<true>},
      {"mul", DecodeMul, kIntegers},
      {"mad", DecodeMad<false>, kIntegers},
      {"madc", DecodeMad<true>},
      {"div", DecodeDiv, kIntegers},
      {"rem", DecodeRem, kIntegers},
      {"min", DecodeMinMax<false>, kIntegers},
      {"max", DecodeMinMax<true>, kIntegers},
      {"abs", DecodeAbs, kIntegers},
      {"neg", DecodeNeg, kIntegers},
      {"sad", DecodeSad},
      {"mul24", DecodeMul24},
      {"dp4a", DecodeDp4a},
      {"dp2a", DecodeDp2a},
  };
}

}  // namespace weft::ptx
