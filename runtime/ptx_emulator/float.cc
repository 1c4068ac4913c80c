#include <cfenv>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "runtime/ptx_emulator/float_formats.h"
#include "runtime/ptx_emulator/lanes.h"

// Arithmetic of f32 and f64 that is exact up to one rounding.
namespace weft::ptx {
namespace {

enum class Arithmetic { kAdd, kSub, kMul, kFma, kDiv, kRcp, kSqrt };

// NaN results have one form; PTX says so for f32, and devices do it for f64.
float Canonical(float value) {
  return std::isnan(value) ? std::bit_cast<float>(kSingleNan) : value;
}
double Canonical(double value) {
  return std::isnan(value) ? std::bit_cast<double>(~uint64_t{0} >> 1) : value;
}

// Under another rounding mode than the nearest: f32 by way of a double that is rounded to odd.
template <Arithmetic A>
float Directed(float a, float b, float c, Rounding rounding) {
  double exact = 0;
  if constexpr (A == Arithmetic::kAdd) exact = AddToOdd(a, b);
  if constexpr (A == Arithmetic::kSub) exact = AddToOdd(a, -double{b});
  if constexpr (A == Arithmetic::kMul) exact = double{a} * b;
  if constexpr (A == Arithmetic::kFma) exact = AddToOdd(double{a} * b, c);
  if constexpr (A == Arithmetic::kDiv) {
    const double quotient = double{a} / b;
    const double residual = std::fma(-quotient, double{b}, double{a});
    exact = StickToOdd(quotient, b < 0 ? -residual : residual);
  }
  if constexpr (A == Arithmetic::kRcp) return Directed<Arithmetic::kDiv>(1.0f, a, 0, rounding);
  if constexpr (A == Arithmetic::kSqrt) {
    const double root = std::sqrt(double{a});
    exact = StickToOdd(root, std::fma(-root, root, double{a}));
  }
  // The sign of an exact zero sum depends on the rounding.
  if (exact == 0 && rounding == Rounding::kDown &&
      (A == Arithmetic::kAdd || A == Arithmetic::kSub || A == Arithmetic::kFma)) {
    const double left = A == Arithmetic::kFma ? double{a} * b : double{a};
    const double right = A == Arithmetic::kFma   ? double{c}
                         : A == Arithmetic::kSub ? -double{b}
                                                 : double{b};
    if (std::signbit(left) != std::signbit(right)) return -0.0f;
  }
  return static_cast<float>(RoundTo(kSingle, exact, rounding));
}

// f64 by the processor's own modes. The volatiles keep the compiler from moving arithmetic over the
// change of mode.
template <Arithmetic A>
double Directed(double a, double b, double c, Rounding rounding) {
  constexpr int kModes[] = {FE_TONEAREST, FE_TOWARDZERO, FE_DOWNWARD, FE_UPWARD};
  const int before = std::fegetround();
  std::fesetround(kModes[static_cast<int>(rounding)]);
  volatile double x = a, y = b, z = c;
  volatile double result = 0;
  if constexpr (A == Arithmetic::kAdd) result = x + y;
  if constexpr (A == Arithmetic::kSub) result = x - y;
  if constexpr (A == Arithmetic::kMul) result = x * y;
  if constexpr (A == Arithmetic::kFma) result = std::fma(double{x}, double{y}, double{z});
  if constexpr (A == Arithmetic::kDiv) result = x / y;
  if constexpr (A == Arithmetic::kRcp) result = 1.0 / x;
  if constexpr (A == Arithmetic::kSqrt) result = std::sqrt(double{x});
  std::fesetround(before);
  return result;
}

template <Arithmetic A, class T>
T Nearest(T a, T b, T c) {
  if constexpr (A == Arithmetic::kAdd) return a + b;
  if constexpr (A == Arithmetic::kSub) return a - b;
  if constexpr (A == Arithmetic::kMul) return a * b;
  if constexpr (A == Arithmetic::kFma) return std::fma(a, b, c);
  if constexpr (A == Arithmetic::kDiv) return a / b;
  if constexpr (A == Arithmetic::kRcp) return T{1} / a;
  return std::sqrt(a);
}

template <Arithmetic A>
constexpr int SourceCount() {
  if (A == Arithmetic::kFma) return 3;
  return A == Arithmetic::kRcp || A == Arithmetic::kSqrt ? 1 : 2;
}

// Options of an instruction, in Instruction::detail.
constexpr uint64_t kFlush = 1, kSaturate = 2;
constexpr int kRoundingShift = 8;

// Plain: to nearest, without flushing or saturation. Written so that the loop over lanes becomes
// vector instructions.
template <Arithmetic A, class T>
void Plain(Warp& warp, const Instruction& instruction, uint32_t mask) {
  constexpr int kSources = SourceCount<A>();
  const T* a = warp.Lanes<T>(instruction.sources[0]);
  const T* b = kSources > 1 ? warp.Lanes<T>(instruction.sources[1]) : a;
  const T* c = kSources > 2 ? warp.Lanes<T>(instruction.sources[2]) : a;
  T results[kWarpSize];
  for (int l = 0; l < kWarpSize; ++l) results[l] = Canonical(Nearest<A, T>(a[l], b[l], c[l]));
  warp.Store(instruction.results[0], results, mask);
  warp.DefineResults(instruction, warp.SourcesDefined(instruction), mask);
}

#if defined(__x86_64__)
// The library's fma is one call per lane; where the processor has the instruction, eight lanes at a
// time.
__attribute__((target("avx2,fma"))) void FusedLanes(const float* a, const float* b, const float* c,
                                                    float* results) {
  for (int l = 0; l < kWarpSize; ++l) {
    const float value = __builtin_fmaf(a[l], b[l], c[l]);
    results[l] = value == value ? value : std::bit_cast<float>(kSingleNan);
  }
}
void FusedMultiplyAdd(Warp& warp, const Instruction& instruction, uint32_t mask) {
  float results[kWarpSize];
  FusedLanes(warp.Lanes<float>(instruction.sources[0]), warp.Lanes<float>(instruction.sources[1]),
             warp.Lanes<float>(instruction.sources[2]), results);
  warp.Store(instruction.results[0], results, mask);
  warp.DefineResults(instruction, warp.SourcesDefined(instruction), mask);
}
bool HasFusedInstructions() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
#else
constexpr Execute FusedMultiplyAdd = nullptr;
constexpr bool HasFusedInstructions() { return false; }
#endif

template <Arithmetic A, class T>
void General(Warp& warp, const Instruction& instruction, uint32_t mask) {
  constexpr int kSources = SourceCount<A>();
  const T* a = warp.Lanes<T>(instruction.sources[0]);
  const T* b = kSources > 1 ? warp.Lanes<T>(instruction.sources[1]) : a;
  const T* c = kSources > 2 ? warp.Lanes<T>(instruction.sources[2]) : a;
  const bool flush = (instruction.detail & kFlush) != 0;
  const bool saturate = (instruction.detail & kSaturate) != 0;
  const auto rounding = static_cast<Rounding>(instruction.detail >> kRoundingShift & 0xff);
  T results[kWarpSize] = {};
  for (int l : LanesOf(mask)) {
    T x = a[l], y = b[l], z = c[l];
    if (flush) {
      x = FlushSubnormal(x);
      y = FlushSubnormal(y);
      z = FlushSubnormal(z);
    }
    T value = rounding == Rounding::kNearestEven ? Nearest<A, T>(x, y, z)
                                                 : Directed<A>(x, y, z, rounding);
    if (flush) value = FlushSubnormal(value);
    if (saturate) value = std::isnan(value) ? T{0} : value < 0 ? T{0} : value > 1 ? T{1} : value;
    results[l] = Canonical(value);
  }
  warp.Store(instruction.results[0], results, mask);
  warp.DefineResults(instruction, warp.SourcesDefined(instruction), mask);
}

// add, sub, mul, fma, div, rcp, sqrt with a rounding mode. div, rcp and sqrt without are
// approximations, of another family.
template <Arithmetic A>
void DecodeArithmetic(StatementDecoder& d) {
  const int mode = d.TakeOneOf({"rn", "rz", "rm", "rp"});
  const bool flush = d.Take("ftz");
  const bool saturate = d.Take("sat");
  const Type type = d.TakeType();
  constexpr int kSources = SourceCount<A>();
  d.ExpectOperands(kSources + 1, kSources + 1);
  d.Result(0, type);
  for (int i = 1; i <= kSources; ++i) d.Source(i, type);
  if (mode < 0 && (A == Arithmetic::kFma || A == Arithmetic::kDiv || A == Arithmetic::kRcp ||
                   A == Arithmetic::kSqrt)) {
    d.Fail("expected a rounding mode");
  }
  if (type == Type::kF64 && (flush || saturate)) d.Fail("expected neither .ftz nor .sat for f64");
  d.instruction().detail = (flush ? kFlush : 0) | (saturate ? kSaturate : 0) |
                           uint64_t(mode < 0 ? 0 : mode) << kRoundingShift;
  const bool plain = d.instruction().detail == 0;
  if (type == Type::kF64) return d.Execute(plain ? &Plain<A, double> : &General<A, double>);
  if (type != Type::kF32) return;
  if (plain && A == Arithmetic::kFma && HasFusedInstructions()) return d.Execute(FusedMultiplyAdd);
  d.Execute(plain ? &Plain<A, float> : &General<A, float>);
}

template <class T, bool Flush>
T Flushed(T a) {
  return Flush ? FlushSubnormal(a) : a;
}
// A NaN gives way to a number; -0 is less than +0.
template <class T, bool Flush, bool Maximum, bool KeepNan>
T MinMax(T a, T b) {
  a = Flushed<T, Flush>(a);
  b = Flushed<T, Flush>(b);
  if (std::isnan(a) || std::isnan(b)) {
    if (KeepNan || (std::isnan(a) && std::isnan(b)))
      return Canonical(std::numeric_limits<T>::quiet_NaN());
    return std::isnan(a) ? b : a;
  }
  if (a == b) return std::signbit(a) == Maximum ? b : a;
  return (a < b) == Maximum ? b : a;
}
template <class T, bool Flush, bool Maximum, bool KeepNan>
T MinMaxAbsolute(T a, T b) {
  const T value = MinMax<T, Flush, Maximum, KeepNan>(std::fabs(a), std::fabs(b));
  // .xorsign gives the result the product's sign.
  return std::isnan(value)
             ? value
             : std::copysign(value, std::signbit(a) != std::signbit(b) ? T{-1} : T{1});
}
template <class T, bool Flush>
T Abs(T a) {
  return Flushed<T, Flush>(std::fabs(a));
}
template <class T, bool Flush>
T Neg(T a) {
  return Flushed<T, Flush>(-a);
}
template <class T>
T CopySign(T a, T b) {
  return std::copysign(b, a);
}

template <bool Maximum>
void DecodeMinMax(StatementDecoder& d) {
  const bool flush = d.Take("ftz");
  const bool nan = d.Take("NaN");
  const bool absolute = d.Take("xorsign");
  if (absolute && !d.Take("abs")) d.Fail("expected .abs after .xorsign");
  const Type type = d.TakeType();
  d.ExpectOperands(3, 4);
  if (d.operand_count() != 3) d.Fail("expected two sources");
  d.Result(0, type);
  d.Source(1, type);
  d.Source(2, type);
  if (type == Type::kF64) {
    if (!flush && !nan && !absolute) d.Execute(Map<&MinMax<double, false, Maximum, false>>);
    return;
  }
  if (type != Type::kF32) return;
  if (absolute) {
    d.Execute(flush ? (nan ? Map<&MinMaxAbsolute<float, true, Maximum, true>>
                           : Map<&MinMaxAbsolute<float, true, Maximum, false>>)
                    : (nan ? Map<&MinMaxAbsolute<float, false, Maximum, true>>
                           : Map<&MinMaxAbsolute<float, false, Maximum, false>>));
    return;
  }
  d.Execute(flush ? (nan ? Map<&MinMax<float, true, Maximum, true>>
                         : Map<&MinMax<float, true, Maximum, false>>)
                  : (nan ? Map<&MinMax<float, false, Maximum, true>>
                         : Map<&MinMax<float, false, Maximum, false>>));
}

template <bool Negate>
void DecodeSign(StatementDecoder& d) {
  const bool flush = d.Take("ftz");
  const Type type = d.TakeType();
  d.ExpectOperands(2, 2);
  d.Result(0, type);
  d.Source(1, type);
  if (type == Type::kF64 && !flush)
    d.Execute(Negate ? Map<&Neg<double, false>> : Map<&Abs<double, false>>);
  if (type == Type::kF32) {
    d.Execute(flush ? (Negate ? Map<&Neg<float, true>> : Map<&Abs<float, true>>)
                    : (Negate ? Map<&Neg<float, false>> : Map<&Abs<float, false>>));
  }
}

void DecodeCopySign(StatementDecoder& d) {
  const Type type = d.TakeType();
  d.ExpectOperands(3, 3);
  d.Result(0, type);
  d.Source(1, type);
  d.Source(2, type);
  if (type == Type::kF32) d.Execute(Map<&CopySign<float>>);
  if (type == Type::kF64) d.Execute(Map<&CopySign<double>>);
}

// div, rcp and sqrt are exact with a rounding mode and approximate without.
template <Arithmetic A, void (*Approximate)(StatementDecoder&)>
void DecodeEither(StatementDecoder& d) {
  if (d.Has("approx") || d.Has("full")) return Approximate(d);
  DecodeArithmetic<A>(d);
}

// testp: a predicate for a class of numbers.
enum class NumberClass { kFinite, kInfinite, kNumber, kNotANumber, kNormal, kSubnormal };

template <class T, NumberClass C>
void TestNumber(Warp& warp, const Instruction& instruction, uint32_t mask) {
  const T* a = warp.Lanes<T>(instruction.sources[0]);
  uint32_t bits = 0;
  for (int l = 0; l < kWarpSize; ++l) {
    bool is = false;
    if (C == NumberClass::kFinite) is = std::isfinite(a[l]);
    if (C == NumberClass::kInfinite) is = std::isinf(a[l]);
    if (C == NumberClass::kNumber) is = !std::isnan(a[l]);
    if (C == NumberClass::kNotANumber) is = std::isnan(a[l]);
    // Zero counts as normal.
    if (C == NumberClass::kNormal) is = std::isnormal(a[l]) || a[l] == 0;
    if (C == NumberClass::kSubnormal) is = std::fpclassify(a[l]) == FP_SUBNORMAL;
    bits |= uint32_t{is} << l;
  }
  warp.StorePredicate(instruction.results[0], bits, mask);
  warp.DefineResults(instruction, warp.SourcesDefined(instruction), mask);
}

void DecodeTest(StatementDecoder& d) {
  const int kind =
      d.TakeOneOf({"finite", "infinite", "number", "notanumber", "normal", "subnormal"});
  const Type type = d.TakeType();
  d.ExpectOperands(2, 2);
  d.Result(0, Type::kPred);
  d.Source(1, type);
  using C = NumberClass;
  constexpr Execute kSingles[] = {
      &TestNumber<float, C::kFinite>, &TestNumber<float, C::kInfinite>,
      &TestNumber<float, C::kNumber>, &TestNumber<float, C::kNotANumber>,
      &TestNumber<float, C::kNormal>, &TestNumber<float, C::kSubnormal>};
  constexpr Execute kDoubles[] = {
      &TestNumber<double, C::kFinite>, &TestNumber<double, C::kInfinite>,
      &TestNumber<double, C::kNumber>, &TestNumber<double, C::kNotANumber>,
      &TestNumber<double, C::kNormal>, &TestNumber<double, C::kSubnormal>};
  if (kind < 0) return d.Fail("expected a class of numbers");
  if (type == Type::kF32) d.Execute(kSingles[kind]);
  if (type == Type::kF64) d.Execute(kDoubles[kind]);
}

}  // namespace

std::vector<Opcode> FloatOpcodes() {
  constexpr auto kFloats = Opcode::Operates::kOnFloats;
  return {
      {"add", DecodeArithmetic<Arithmetic::kAdd>, kFloats},
      {"sub", DecodeArithmetic<Arithmetic::kSub>, kFloats},
      {"mul", DecodeArithmetic<Arithmetic::kMul>, kFloats},
      {"fma", DecodeArithmetic<Arithmetic::kFma>, kFloats},
      {"mad", DecodeArithmetic<Arithmetic::kFma>, kFloats},
      {"div", DecodeEither<Arithmetic::kDiv, DecodeApproximateDivision>, kFloats},
      {"rcp", DecodeEither<Arithmetic::kRcp, DecodeApproximateReciprocal>, kFloats},
      {"sqrt", DecodeEither<Arithmetic::kSqrt, DecodeApproximateSquareRoot>, kFloats},
      {"min", DecodeMinMax<false>, kFloats},
      {"max", DecodeMinMax<true>, kFloats},
      {"abs", DecodeSign<false>, kFloats},
      {"neg", DecodeSign<true>, kFloats},
      {"copysign", DecodeCopySign, kFloats},
      {"testp", DecodeTest, kFloats},
  };
}

}  // namespace weft::ptx
