#include <cmath>

#include "runtime/ptx_emulator/float_formats.h"
#include "runtime/ptx_emulator/lanes.h"

// Approximations. PTX states an error bound for each; these are rounded from a wider computation,
// so they are well within it.
namespace weft::ptx {
namespace {

template <double (*F)(double), bool Flush>
float OfSingle(float a) {
  if (Flush) a = FlushSubnormal(a);
  const auto value = static_cast<float>(F(double{a}));
  if (std::isnan(value)) return std::bit_cast<float>(kSingleNan);
  return Flush ? FlushSubnormal(value) : value;
}
template <bool Flush>
float Divide(float a, float b) {
  if (Flush) {
    a = FlushSubnormal(a);
    b = FlushSubnormal(b);
  }
  const float value = a / b;
  if (std::isnan(value)) return std::bit_cast<float>(kSingleNan);
  return Flush ? FlushSubnormal(value) : value;
}
double Reciprocal(double a) { return 1.0 / a; }
double ReciprocalRoot(double a) { return 1.0 / std::sqrt(a); }
double Root(double a) { return std::sqrt(a); }
double Exp2(double a) { return std::exp2(a); }
double Log2(double a) { return std::log2(a); }
double Sin(double a) { return std::sin(a); }
double Cos(double a) { return std::cos(a); }
double Tanh(double a) { return std::tanh(a); }

// The f64 forms look at, and give, the upper 32 bits only.
template <double (*F)(double)>
double OfUpperHalf(double a) {
  const double upper =
      FlushSubnormal(std::bit_cast<double>(std::bit_cast<uint64_t>(a) & 0xffffffff00000000u));
  const double value = F(upper);
  if (std::isnan(value)) return std::bit_cast<double>(uint64_t{0x7fffffff} << 32);
  return FlushSubnormal(
      std::bit_cast<double>(std::bit_cast<uint64_t>(value) & 0xffffffff00000000u));
}

void Operands(StatementDecoder& d, Type type, int sources) {
  d.ExpectOperands(sources + 1, sources + 1);
  d.Result(0, type);
  for (int i = 1; i <= sources; ++i) d.Source(i, type);
}

// Where f16 and bf16 have the instruction too, each half is computed on its own.
template <double (*F)(double)>
uint16_t OfHalf(uint16_t a) {
  return DoubleToHalf(F(HalfToFloat(a)));
}
template <double (*F)(double)>
uint16_t OfBfloat(uint16_t a) {
  return DoubleToBfloat(F(BfloatToFloat(a)));
}
template <uint16_t (*F)(uint16_t)>
uint32_t OfPair(uint32_t a) {
  return F(static_cast<uint16_t>(a)) | uint32_t{F(static_cast<uint16_t>(a >> 16))} << 16;
}

template <double (*F)(double), bool HasDouble, bool HasShort>
void DecodeFunction1(StatementDecoder& d) {
  if (!d.Take("approx")) d.Fail("expected .approx");
  const bool flush = d.Take("ftz");
  const Type type = d.TakeType();
  Operands(d, type, 1);
  if (type == Type::kF32) d.Execute(flush ? Map<&OfSingle<F, true>> : Map<&OfSingle<F, false>>);
  if (type == Type::kF64 && HasDouble) d.Execute(Map<&OfUpperHalf<F>>);
  if (!HasShort) return;
  if (type == Type::kF16) d.Execute(Map<&OfHalf<F>>);
  if (type == Type::kF16x2) d.Execute(Map<&OfPair<&OfHalf<F>>>);
  if (type == Type::kBf16) d.Execute(Map<&OfBfloat<F>>);
  if (type == Type::kBf16x2) d.Execute(Map<&OfPair<&OfBfloat<F>>>);
}

}  // namespace

void DecodeApproximateDivision(StatementDecoder& d) {
  if (d.TakeOneOf({"approx", "full"}) < 0) d.Fail("expected .approx or .full");
  const bool flush = d.Take("ftz");
  const Type type = d.TakeType();
  Operands(d, type, 2);
  if (type == Type::kF32) d.Execute(flush ? Map<&Divide<true>> : Map<&Divide<false>>);
}

void DecodeApproximateReciprocal(StatementDecoder& d) {
  DecodeFunction1<&Reciprocal, true, false>(d);
}

void DecodeApproximateSquareRoot(StatementDecoder& d) { DecodeFunction1<&Root, false, false>(d); }

std::vector<Opcode> ApproximateOpcodes() {
  return {
      {"rsqrt", DecodeFunction1<&ReciprocalRoot, true, false>},
      {"ex2", DecodeFunction1<&Exp2, false, true>},
      {"lg2", DecodeFunction1<&Log2, false, false>},
      {"sin", DecodeFunction1<&Sin, false, false>},
      {"cos", DecodeFunction1<&Cos, false, false>},
      {"tanh", DecodeFunction1<&Tanh, false, true>},
  };
}

}  // namespace weft::ptx
