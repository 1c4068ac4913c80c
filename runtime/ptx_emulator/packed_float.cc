#include <cmath>

#include "runtime/ptx_emulator/float_formats.h"
#include "runtime/ptx_emulator/lanes.h"

// Arithmetic of f16 and bf16, single and in pairs. A pair's lanes lie as twice as many values of 16
// bits.
namespace weft::ptx {
namespace {

constexpr uint64_t kFlush = 1, kSaturate = 2, kRelu = 4, kNan = 8, kAbsolute = 16;

struct Half {
  static double Widen(uint16_t bits) { return HalfToFloat(bits); }
  static uint16_t Narrow(double value) { return DoubleToHalf(value); }
  static constexpr double kMinNormal = 0x1p-14;
};
struct Bfloat {
  static double Widen(uint16_t bits) { return BfloatToFloat(bits); }
  static uint16_t Narrow(double value) { return DoubleToBfloat(value); }
  static constexpr double kMinNormal = 0x1p-126;
};

double Flush(double value, double least) {
  return std::fabs(value) < least ? std::copysign(0.0, value) : value;
}

struct AddOperation {
  static constexpr int kSources = 2;
  static double Apply(double a, double b, double, uint64_t) { return AddToOdd(a, b); }
};
struct SubOperation {
  static constexpr int kSources = 2;
  static double Apply(double a, double b, double, uint64_t) { return AddToOdd(a, -b); }
};
struct MulOperation {
  static constexpr int kSources = 2;
  static double Apply(double a, double b, double, uint64_t) { return a * b; }
};
struct FmaOperation {
  static constexpr int kSources = 3;
  static double Apply(double a, double b, double c, uint64_t) { return AddToOdd(a * b, c); }
};
struct NegOperation {
  static constexpr int kSources = 1;
  static double Apply(double a, double, double, uint64_t) { return -a; }
};
struct AbsOperation {
  static constexpr int kSources = 1;
  static double Apply(double a, double, double, uint64_t) { return std::fabs(a); }
};
template <bool Maximum>
struct MinMaxOperation {
  static constexpr int kSources = 2;
  static double Apply(double a, double b, double, uint64_t options) {
    const bool negative = std::signbit(a) != std::signbit(b);
    if ((options & kAbsolute) != 0) {
      a = std::fabs(a);
      b = std::fabs(b);
    }
    double value = 0;
    if (std::isnan(a) || std::isnan(b)) {
      value = (options & kNan) != 0 || std::isnan(a)
                  ? ((options & kNan) != 0 ? std::numeric_limits<double>::quiet_NaN() : b)
                  : a;
    } else if (a == b) {
      value = std::signbit(a) == Maximum ? b : a;
    } else {
      value = (a < b) == Maximum ? b : a;
    }
    return (options & kAbsolute) != 0 && !std::isnan(value)
               ? std::copysign(value, negative ? -1.0 : 1.0)
               : value;
  }
};

template <class Format, class Operation, int PerLane>
void Run(Warp& warp, const Instruction& instruction, uint32_t mask) {
  const uint16_t* a = warp.Lanes<uint16_t>(instruction.sources[0]);
  const uint16_t* b = Operation::kSources > 1 ? warp.Lanes<uint16_t>(instruction.sources[1]) : a;
  const uint16_t* c = Operation::kSources > 2 ? warp.Lanes<uint16_t>(instruction.sources[2]) : a;
  const uint64_t options = instruction.detail;
  uint16_t results[kWarpSize * PerLane] = {};
  for (int lane : LanesOf(mask)) {
    for (int i = lane * PerLane; i < (lane + 1) * PerLane; ++i) {
      double x = Format::Widen(a[i]), y = Format::Widen(b[i]), z = Format::Widen(c[i]);
      if ((options & kFlush) != 0) {
        x = Flush(x, Format::kMinNormal);
        y = Flush(y, Format::kMinNormal);
        z = Flush(z, Format::kMinNormal);
      }
      double value = Operation::Apply(x, y, z, options);
      if ((options & kSaturate) != 0)
        value = std::isnan(value) || value < 0 ? 0.0 : value > 1 ? 1.0 : value;
      if ((options & kRelu) != 0) value = value < 0 ? 0.0 : value;
      uint16_t bits = Format::Narrow(value);
      if ((options & kFlush) != 0 && std::fabs(Format::Widen(bits)) < Format::kMinNormal)
        bits &= 0x8000;
      results[i] = bits;
    }
  }
  if constexpr (PerLane == 1) {
    warp.Store(instruction.results[0], results, mask);
  } else {
    warp.Store(instruction.results[0], reinterpret_cast<const uint32_t*>(results), mask);
  }
  warp.DefineResults(instruction, warp.SourcesDefined(instruction), mask);
}

template <class Operation>
void Decode(StatementDecoder& d) {
  d.Take("rn");  // the only rounding there is
  uint64_t options = 0;
  if (d.Take("ftz")) options |= kFlush;
  if (d.Take("sat")) options |= kSaturate;
  if (d.Take("relu")) options |= kRelu;
  if (d.Take("NaN")) options |= kNan;
  if (d.Take("xorsign")) {
    options |= kAbsolute;
    if (!d.Take("abs")) d.Fail("expected .abs after .xorsign");
  }
  const Type type = d.TakeType();
  d.instruction().detail = options;
  d.ExpectOperands(Operation::kSources + 1, Operation::kSources + 1);
  d.Result(0, type);
  for (int i = 1; i <= Operation::kSources; ++i) d.Source(i, type);
  if (type == Type::kF16) d.Execute(&Run<Half, Operation, 1>);
  if (type == Type::kF16x2) d.Execute(&Run<Half, Operation, 2>);
  if (type == Type::kBf16) d.Execute(&Run<Bfloat, Operation, 1>);
  if (type == Type::kBf16x2) d.Execute(&Run<Bfloat, Operation, 2>);
}

}  // namespace

std::vector<Opcode> PackedFloatOpcodes() {
  constexpr auto kShort = Opcode::Operates::kOnShortFloats;
  return {
      {"add", Decode<AddOperation>, kShort},
      {"sub", Decode<SubOperation>, kShort},
      {"mul", Decode<MulOperation>, kShort},
      {"fma", Decode<FmaOperation>, kShort},
      {"neg", Decode<NegOperation>, kShort},
      {"abs", Decode<AbsOperation>, kShort},
      {"min", Decode<MinMaxOperation<false>>, kShort},
      {"max", Decode<MinMaxOperation<true>>, kShort},
  };
}

}  // namespace weft::ptx
