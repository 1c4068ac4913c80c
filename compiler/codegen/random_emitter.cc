#include "compiler/codegen/random_emitter.h"

#include <array>
#include <numbers>

#include "kernels/math/math.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

namespace weft {

using mlir::Type;
using mlir::Value;
namespace arith = mlir::arith;

namespace {

// Arithmetic modulo 2^32 on words in the low halves of i64 values, all scalars or all vectors.
class Words {
 public:
  Words(KernelBuilder& kernel, int64_t lanes) : kernel_(kernel), b_(kernel.b()), lanes_(lanes) {}

  Value Const(uint64_t value) {
    return kernel_.Expand({kernel_.I64(static_cast<int64_t>(value)), 0, {}}, lanes_);
  }
  Value Splat(Value scalar) { return kernel_.Expand({scalar, 0, {}}, lanes_); }
  Value Low(Value x) { return arith::AndIOp::create(b_, x, Const(0xffffffff)); }
  Value High(Value x) { return arith::ShRUIOp::create(b_, x, Const(32)); }
  Value Mul(Value a, Value b) { return arith::MulIOp::create(b_, a, b); }
  Value Add(Value a, Value b) { return arith::AddIOp::create(b_, a, b); }
  Value Xor(Value a, Value b) { return arith::XOrIOp::create(b_, a, b); }
  Value And(Value a, Value b) { return arith::AndIOp::create(b_, a, b); }
  Value Shift(Value a, int count) { return arith::ShRUIOp::create(b_, a, Const(count)); }
  Value Select(Value condition, Value a, Value b) {
    return arith::SelectOp::create(b_, condition, a, b);
  }
  Value Equal(Value a, Value b) {
    return arith::CmpIOp::create(b_, arith::CmpIPredicate::eq, a, b);
  }

  // Philox4x32-10 (Salmon et al., SC 2011).
  std::array<Value, 4> Philox(std::array<Value, 4> counter, Value key0, Value key1) {
    for (int round = 0; round < 10; ++round) {
      Value a = Mul(Const(0xD2511F53), counter[0]), b = Mul(Const(0xCD9E8D57), counter[2]);
      counter = {Xor(Xor(High(b), counter[1]), Splat(key0)), Low(b),
                 Xor(Xor(High(a), counter[3]), Splat(key1)), Low(a)};
      key0 = Next(key0, 0x9E3779B9);
      key1 = Next(key1, 0xBB67AE85);
    }
    return counter;
  }

 private:
  // Keys are the same for all lanes.
  Value Next(Value key, int64_t step) {
    Value sum = kernel_.Add(key, kernel_.I64(step));
    if (auto constant = KernelBuilder::ConstantOf(sum)) return kernel_.I64(*constant & 0xffffffff);
    return arith::AndIOp::create(b_, sum, kernel_.I64(0xffffffff));
  }

  KernelBuilder& kernel_;
  mlir::ImplicitLocOpBuilder& b_;
  int64_t lanes_;
};

}  // namespace

Element EmitRandom(KernelBuilder& kernel, RandomKind kind, DataType dtype, int64_t seed,
                   Value stream, const Coord& position, int64_t lanes) {
  mlir::ImplicitLocOpBuilder& b = kernel.b();
  ScalarEmitter& e = kernel.e();
  if (position.uniform()) lanes = 0;
  Words w(kernel, lanes);
  Value index = kernel.Expand(position, lanes);
  Value block = w.Shift(index, 2);
  Value stream_low = arith::AndIOp::create(b, stream, kernel.I64(0xffffffff));
  Value stream_high = arith::ShRUIOp::create(b, stream, kernel.I64(32));
  const std::array<Value, 4> words =
      w.Philox({w.Low(block), w.High(block), w.Splat(stream_high), w.Const(0)}, kernel.I64(seed),
               stream_low);
  Value odd = w.Equal(w.And(index, w.Const(1)), w.Const(1));
  Value second = w.Equal(w.And(index, w.Const(2)), w.Const(2));
  auto pick = [&](int offset_even, int offset_odd) {
    Value first_pair = w.Select(odd, words[offset_odd], words[offset_even]);
    Value second_pair = w.Select(odd, words[2 + offset_odd], words[2 + offset_even]);
    return w.Select(second, second_pair, first_pair);
  };
  if (kind == RandomKind::kBits) {
    return {arith::TruncIOp::create(b, e.RegisterType(DataType::kI32, lanes), pick(0, 1)),
            DataType::kI32};
  }
  if (kind == RandomKind::kUniform) {
    // As many bits as the type holds, so that the result stays below 1.
    const int bits = dtype == DataType::kF64    ? 32
                     : dtype == DataType::kF16  ? 11
                     : dtype == DataType::kBF16 ? 8
                                                : 24;
    Element number{w.Shift(pick(0, 1), 32 - bits), DataType::kI64};
    if (dtype != DataType::kF64) {
      // 24 bits at most: conversion from i32 is one instruction everywhere.
      number = e.Cast(number, DataType::kI32);
    }
    const DataType real = ScalarEmitter::AccumulatorType(dtype);
    Element result = e.Mul(e.Cast(number, real), e.Constant(real, 1.0 / (int64_t{1} << bits)));
    return {result.value, dtype};
  }
  // Box and Muller, from the words of the pair.
  const DataType real = ScalarEmitter::AccumulatorType(dtype);
  auto number = [&](Value word) { return e.Cast({word, DataType::kI64}, real); };
  Element radius_word = number(pick(0, 0)), angle_word = number(pick(1, 1));
  Element u = e.Mul(e.Add(radius_word, e.Constant(real, 0.5)), e.Constant(real, 0x1p-32));
  Element t = e.Mul(angle_word, e.Constant(real, 2 * std::numbers::pi * 0x1p-32));
  Element radius = e.Sqrt(e.Mul(e.Constant(real, -2), e.Log(u)));
  math::SineCosine turn = math::SinCosOfTurn(b, t.value);
  Element wave = e.Select({odd, DataType::kBool}, {turn.sine, real}, {turn.cosine, real});
  return e.FromAccumulator(e.Mul(radius, wave), dtype);
}

}  // namespace weft
