#include <algorithm>
#include <cmath>
#include <cstring>

#include "runtime/ptx_emulator/float_formats.h"
#include "runtime/ptx_emulator/lanes.h"

// cvt: between integers, floats, and both.
namespace weft::ptx {
namespace {

enum class Mode : uint8_t { kNone, kNearest, kZero, kDown, kUp, kNearestAway };

// How a conversion is done, in Instruction::detail.
struct Conversion {
  Type to = Type::kNone;
  Type from = Type::kNone;
  Mode mode = Mode::kNone;
  bool integral = false;  // the mode rounds to an integer
  bool saturate = false;
  bool relu = false;
  bool flush = false;
  uint8_t to_bytes = 0;  // of the registers
  uint8_t from_bytes = 0;
};
static_assert(sizeof(Conversion) <= 16);

template <class T, class U>
T Cast(U value) {
  return static_cast<T>(value);
}

// A register's lane as an integer of the type; registers may be wider than it.
int64_t ReadInteger(const Conversion& c, const std::byte* lanes, int lane) {
  const std::byte* at = lanes + lane * c.from_bytes;
  const auto read = [&]<class T>(T value) {
    std::memcpy(&value, at, sizeof value);
    return static_cast<int64_t>(value);
  };
  switch (c.from) {
    case Type::kU8:
      return read(uint8_t());
    case Type::kS8:
      return read(int8_t());
    case Type::kU16:
      return read(uint16_t());
    case Type::kS16:
      return read(int16_t());
    case Type::kU32:
      return read(uint32_t());
    case Type::kS32:
      return read(int32_t());
    default:
      return read(int64_t());
  }
}

double ReadFloat(const Conversion& c, const std::byte* lanes, int lane) {
  const std::byte* at = lanes + lane * c.from_bytes;
  uint64_t bits = 0;
  std::memcpy(&bits, at, SizeOf(c.from));
  double value = 0;
  switch (c.from) {
    case Type::kF16:
      value = HalfToFloat(static_cast<uint16_t>(bits));
      break;
    case Type::kBf16:
      value = BfloatToFloat(static_cast<uint16_t>(bits));
      break;
    case Type::kF32:
      value = std::bit_cast<float>(static_cast<uint32_t>(bits));
      if (c.flush) value = FlushSubnormal(static_cast<float>(value));
      break;
    default:
      value = std::bit_cast<double>(bits);
  }
  return value;
}

struct Limits {
  __int128 low, high;
};
Limits LimitsOf(Type type) {
  const int bits = 8 * SizeOf(type);
  if (IsSigned(type)) return {-(__int128{1} << (bits - 1)), (__int128{1} << (bits - 1)) - 1};
  return {0, (__int128{1} << bits) - 1};
}

// Writes the bits of an integer, extended to the register's width.
void WriteInteger(const Conversion& c, __int128 value, std::byte* lanes, int lane) {
  const int bits = 8 * SizeOf(c.to);
  auto low = static_cast<uint64_t>(value);
  if (bits < 64) {
    low &= (uint64_t{1} << bits) - 1;
    if (IsSigned(c.to) && (low >> (bits - 1) & 1) != 0) low |= ~uint64_t{0} << bits;
  }
  std::memcpy(lanes + lane * c.to_bytes, &low, c.to_bytes);
}

Rounding RoundingOf(Mode mode) {
  switch (mode) {
    case Mode::kZero:
      return Rounding::kZero;
    case Mode::kDown:
      return Rounding::kDown;
    case Mode::kUp:
      return Rounding::kUp;
    case Mode::kNearestAway:
      return Rounding::kNearestAway;
    default:
      return Rounding::kNearestEven;
  }
}

double RoundToIntegral(double value, Mode mode) {
  switch (mode) {
    case Mode::kZero:
      return std::trunc(value);
    case Mode::kDown:
      return std::floor(value);
    case Mode::kUp:
      return std::ceil(value);
    default:
      return std::nearbyint(value);
  }
}

// Writes a double as the float type; `residual` has the sign of what the double lacks to be exact.
void WriteFloat(const Conversion& c, double value, double residual, std::byte* lanes, int lane) {
  const Rounding rounding = RoundingOf(c.mode);
  if (c.saturate) value = std::isnan(value) || value < 0 ? 0.0 : value > 1 ? 1.0 : value;
  if (c.relu && value < 0) value = 0.0;
  std::byte* at = lanes + lane * c.to_bytes;
  uint64_t bits = 0;
  switch (c.to) {
    case Type::kF16:
      bits = DoubleToHalf(StickToOdd(value, residual), rounding);
      break;
    case Type::kBf16:
      bits = DoubleToBfloat(StickToOdd(value, residual), rounding);
      break;
    case Type::kTf32: {
      const auto result = static_cast<float>(RoundTo(kTensorFloat, value, rounding));
      bits = std::isnan(result) ? kSingleNan : std::bit_cast<uint32_t>(result);
      break;
    }
    case Type::kF32: {
      float result = DoubleToSingle(StickToOdd(value, residual), rounding);
      if (c.flush) result = FlushSubnormal(result);
      bits = std::isnan(result) ? kSingleNan : std::bit_cast<uint32_t>(result);
      break;
    }
    default: {
      if (residual < 0 &&
          (rounding == Rounding::kDown || (rounding == Rounding::kZero && value > 0)))
        value = std::nextafter(value, -HUGE_VAL);
      if (residual > 0 && (rounding == Rounding::kUp || (rounding == Rounding::kZero && value < 0)))
        value = std::nextafter(value, HUGE_VAL);
      bits = std::bit_cast<uint64_t>(value);
    }
  }
  std::memcpy(at, &bits, c.to_bytes);
}

const Conversion& ConversionOf(const Instruction& instruction) {
  return *reinterpret_cast<const Conversion*>(instruction.detail);
}

void IntegerToInteger(const Conversion& c, const std::byte* from, std::byte* to, int lane) {
  __int128 value = ReadInteger(c, from, lane);
  if (c.from == Type::kU64) value = static_cast<uint64_t>(value);
  if (c.saturate) {
    const Limits limits = LimitsOf(c.to);
    value = std::clamp(value, limits.low, limits.high);
  }
  WriteInteger(c, value, to, lane);
}

void IntegerToFloat(const Conversion& c, const std::byte* from, std::byte* to, int lane) {
  const int64_t integer = ReadInteger(c, from, lane);
  double value = static_cast<double>(integer);
  __int128 exact = integer;
  if (c.from == Type::kU64) {
    value = static_cast<double>(static_cast<uint64_t>(integer));
    exact = static_cast<uint64_t>(integer);
  }
  const __int128 residual = exact - static_cast<__int128>(value);
  WriteFloat(c, value, residual > 0 ? 1.0 : residual < 0 ? -1.0 : 0.0, to, lane);
}

void FloatToInteger(const Conversion& c, const std::byte* from, std::byte* to, int lane) {
  const double value = RoundToIntegral(ReadFloat(c, from, lane), c.mode);
  const Limits limits = LimitsOf(c.to);
  __int128 integer = 0;
  if (value >= 0x1p64) {
    integer = limits.high;
  } else if (value <= -0x1p63) {
    integer = limits.low;
  } else if (!std::isnan(value)) {
    integer = std::clamp(static_cast<__int128>(value), limits.low, limits.high);
  }
  WriteInteger(c, integer, to, lane);
}

void FloatToFloat(const Conversion& c, const std::byte* from, std::byte* to, int lane) {
  double value = ReadFloat(c, from, lane);
  if (c.integral) value = RoundToIntegral(value, c.mode);
  WriteFloat(c, value, 0, to, lane);
}

template <void (*F)(const Conversion&, const std::byte*, std::byte*, int)>
void Convert(Warp& warp, const Instruction& instruction, uint32_t mask) {
  const Conversion& conversion = ConversionOf(instruction);
  const auto* from = warp.Lanes<std::byte>(instruction.sources[0]);
  // A result narrower or wider than the source in the same register would overwrite what later
  // lanes still read.
  std::byte results[kWarpSize * 8];
  for (int lane : LanesOf(mask)) F(conversion, from, results, lane);
  auto* to = warp.Lanes<std::byte>(instruction.results[0]);
  for (int lane : LanesOf(mask))
    std::memcpy(to + lane * conversion.to_bytes, results + lane * conversion.to_bytes,
                conversion.to_bytes);
  warp.DefineResults(instruction, warp.SourcesDefined(instruction), mask);
}

template <class T, class U>
constexpr Execute kCast = Map<&Cast<T, U>>;

// The conversions of which kernels are full: between integer registers of just their width, and
// floats.
Execute PlainConversion(const Conversion& c) {
  if (c.saturate || c.relu || c.flush || c.integral || c.to_bytes != SizeOf(c.to) ||
      c.from_bytes != SizeOf(c.from))
    return nullptr;
  if (IsInteger(c.to) && IsInteger(c.from) && c.mode == Mode::kNone) {
    return ForIntegers(c.to, [&]<class T>(T) {
      return ForIntegers(c.from, []<class U>(U) { return kCast<T, U>; });
    });
  }
  if (c.from == Type::kF32 && c.to == Type::kF64) return kCast<double, float>;
  if (c.from == Type::kF64 && c.to == Type::kF32 && c.mode == Mode::kNearest)
    return kCast<float, double>;
  if (c.to == Type::kF32 && c.from == Type::kS32 && c.mode == Mode::kNearest)
    return kCast<float, int32_t>;
  if (c.to == Type::kF32 && c.from == Type::kU32 && c.mode == Mode::kNearest)
    return kCast<float, uint32_t>;
  return nullptr;
}

// d = {high: a, low: b}.
template <uint16_t (*F)(double, Rounding), bool Relu>
void ConvertPair(Warp& warp, const Instruction& instruction, uint32_t mask) {
  const float* high = warp.Lanes<float>(instruction.sources[0]);
  const float* low = warp.Lanes<float>(instruction.sources[1]);
  const auto rounding = static_cast<Rounding>(instruction.detail);
  uint32_t results[kWarpSize] = {};
  for (int lane : LanesOf(mask)) {
    const auto narrow = [&](float value) {
      return uint32_t{F(Relu && value < 0 ? 0.0f : value, rounding)};
    };
    results[lane] = narrow(high[lane]) << 16 | narrow(low[lane]);
  }
  warp.Store(instruction.results[0], results, mask);
  warp.DefineResults(instruction, warp.SourcesDefined(instruction), mask);
}

template <uint8_t (*F)(double), bool Relu>
uint16_t EightBitPair(float high, float low) {
  const auto narrow = [](float value) { return uint32_t{F(Relu && value < 0 ? 0.0f : value)}; };
  return static_cast<uint16_t>(narrow(high) << 8 | narrow(low));
}
template <float (*F)(uint8_t)>
uint32_t WidenPair(uint16_t pair) {
  return DoubleToHalf(F(static_cast<uint8_t>(pair))) |
         uint32_t{DoubleToHalf(F(static_cast<uint8_t>(pair >> 8)))} << 16;
}

void DecodePair(StatementDecoder& d, Type to, Type from, Mode mode, bool relu) {
  if (from == Type::kF32) {
    d.ExpectOperands(3, 3);
    d.Result(0, to);
    d.Source(1, from);
    d.Source(2, from);
    if (mode != Mode::kNearest && !(mode == Mode::kZero && SizeOf(to) == 4))
      return d.Fail("expected .rn or .rz");
    d.instruction().detail = static_cast<uint64_t>(RoundingOf(mode));
    if (to == Type::kF16x2)
      d.Execute(relu ? &ConvertPair<&DoubleToHalf, true> : &ConvertPair<&DoubleToHalf, false>);
    if (to == Type::kBf16x2)
      d.Execute(relu ? &ConvertPair<&DoubleToBfloat, true> : &ConvertPair<&DoubleToBfloat, false>);
    if (to == Type::kE4m3x2)
      d.Execute(relu ? Map<&EightBitPair<&DoubleToE4m3, true>>
                     : Map<&EightBitPair<&DoubleToE4m3, false>>);
    if (to == Type::kE5m2x2)
      d.Execute(relu ? Map<&EightBitPair<&DoubleToE5m2, true>>
                     : Map<&EightBitPair<&DoubleToE5m2, false>>);
    return;
  }
  d.ExpectOperands(2, 2);
  d.Result(0, to);
  d.Source(1, from);
  if (relu || to != Type::kF16x2) return;
  if (from == Type::kE4m3x2) d.Execute(Map<&WidenPair<&E4m3ToFloat>>);
  if (from == Type::kE5m2x2) d.Execute(Map<&WidenPair<&E5m2ToFloat>>);
}

void DecodeConvert(StatementDecoder& d) {
  Conversion c;
  const int mode = d.TakeOneOf({"rn", "rz", "rm", "rp", "rni", "rzi", "rmi", "rpi", "rna"});
  constexpr Mode kModes[] = {Mode::kNearest, Mode::kZero, Mode::kDown, Mode::kUp};
  if (mode >= 0) c.mode = mode == 8 ? Mode::kNearestAway : kModes[mode % 4];
  c.integral = mode >= 4 && mode < 8;
  c.flush = d.Take("ftz");
  c.saturate = d.Take("sat");
  const bool finite = d.Take("satfinite");
  c.relu = d.Take("relu");
  c.to = d.TakeType();
  c.from = d.TakeType();
  const auto is_pair = [](Type type) {
    return type == Type::kF16x2 || type == Type::kBf16x2 || type >= Type::kE4m3x2;
  };
  if (is_pair(c.to) || is_pair(c.from)) {
    if (finite != (c.to >= Type::kE4m3x2))
      d.Fail("expected .satfinite for, and only for, 8-bit floats");
    return DecodePair(d, c.to, c.from, c.mode, c.relu);
  }
  if (finite) return d.Fail("expected no .satfinite");
  d.ExpectOperands(2, 2);
  const Operand& to = d.operand(0);
  const Operand& from = d.operand(1);
  d.Result(to, c.to, true);
  d.Source(from, c.from, true);
  c.to_bytes = static_cast<uint8_t>(d.WidthOf(to));
  c.from_bytes = static_cast<uint8_t>(from.kind == Operand::Kind::kRegister ? d.WidthOf(from)
                                                                            : SizeOf(c.from));
  if (c.to_bytes == 0 || c.to_bytes > 8 || c.from_bytes > 8)
    return d.Fail("expected registers of 16, 32 or 64 bits");
  const bool to_float = IsFloat(c.to), from_float = IsFloat(c.from);
  if (!(to_float || IsInteger(c.to)) || !(from_float || IsInteger(c.from)) || SizeOf(c.from) == 0)
    return;
  if (from_float && !to_float && !c.integral) return d.Fail("expected .rni, .rzi, .rmi or .rpi");
  if (!from_float && to_float && (c.integral || c.mode == Mode::kNone))
    return d.Fail("expected .rn, .rz, .rm or .rp");
  if (!from_float && !to_float && c.mode != Mode::kNone)
    return d.Fail("expected no rounding between integers");
  if (from_float && to_float && !c.integral && c.mode == Mode::kNone &&
      SizeOf(c.to) < SizeOf(c.from))
    return d.Fail("expected a rounding mode");
  const bool is_down_or_up = c.mode == Mode::kDown || c.mode == Mode::kUp;
  if (c.to == Type::kTf32 && (c.from != Type::kF32 || is_down_or_up || c.flush || c.saturate))
    return d.Fail("expected .rna, .rn or .rz, and .f32");
  if (c.to != Type::kTf32 && c.mode == Mode::kNearestAway) return d.Fail("expected .tf32 of .rna");
  if (c.from == Type::kTf32) return;
  if (const Execute plain = PlainConversion(c)) return d.Execute(plain);
  d.instruction().detail = reinterpret_cast<uint64_t>(d.builder().KeepData(c));
  if (to_float) return d.Execute(from_float ? &Convert<&FloatToFloat> : &Convert<&IntegerToFloat>);
  d.Execute(from_float ? &Convert<&FloatToInteger> : &Convert<&IntegerToInteger>);
}

}  // namespace

std::vector<Opcode> ConvertOpcodes() { return {{"cvt", DecodeConvert}}; }

}  // namespace weft::ptx
