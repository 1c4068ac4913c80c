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

namespace {

Value Interleave(mlir::ImplicitLocOpBuilder& b, Value even, Value odd) {
  const int64_t lanes = ScalarEmitter::LanesOf(even);
  llvm::SmallVector<int64_t> order;
  for (int64_t i = 0; i < lanes; ++i) {
    order.push_back(i);
    order.push_back(lanes + i);
  }
  return mlir::vector::ShuffleOp::create(b, even, odd, order);
}

// The words of all positions: one for each, or those of its pair in the block.
class Source {
 public:
  Source(KernelBuilder& kernel, int64_t seed, Value stream, const Coord& position, int64_t lanes,
         bool whole_blocks)
      : b_(kernel.b()),
        lanes_(position.uniform() ? 0 : lanes),
        whole_blocks_(whole_blocks && lanes_ >= 4 && lanes_ % 4 == 0),
        w_(kernel, whole_blocks_ ? lanes_ / 4 : lanes_) {
    Value block;
    if (whole_blocks_) {
      block = kernel.Expand({kernel.Div(position.base, kernel.I64(4)), 1, {}}, lanes_ / 4);
    } else {
      index_ = kernel.Expand(position, lanes_);
      block = w_.Shift(index_, 2);
    }
    Value stream_low = arith::AndIOp::create(b_, stream, kernel.I64(0xffffffff));
    Value stream_high = arith::ShRUIOp::create(b_, stream, kernel.I64(32));
    words_ = w_.Philox({w_.Low(block), w_.High(block), w_.Splat(stream_high), w_.Const(0)},
                       kernel.I64(seed), stream_low);
    if (whole_blocks_) return;
    odd_ = w_.Equal(w_.And(index_, w_.Const(1)), w_.Const(1));
    second_ = w_.Equal(w_.And(index_, w_.Const(2)), w_.Const(2));
  }

  // Each position's own word.
  Value Own() {
    if (whole_blocks_) {
      return Interleave(b_, Interleave(b_, words_[0], words_[2]),
                        Interleave(b_, words_[1], words_[3]));
    }
    return w_.Select(second_, w_.Select(odd_, words_[3], words_[2]),
                     w_.Select(odd_, words_[1], words_[0]));
  }

  // Word `i` (0 or 1) of the pair that a position is in; where blocks are whole, of each pair once.
  Value OfPair(int i) {
    if (whole_blocks_) return Interleave(b_, words_[i], words_[2 + i]);
    return w_.Select(second_, words_[2 + i], words_[i]);
  }
  // What was computed from OfPair, for each position: `even` for the first of a pair.
  Value ToPositions(Value even, Value odd) {
    if (whole_blocks_) return Interleave(b_, even, odd);
    return arith::SelectOp::create(b_, odd_, odd, even);
  }

 private:
  mlir::ImplicitLocOpBuilder& b_;
  int64_t lanes_;
  bool whole_blocks_;
  Words w_;
  Value index_, odd_, second_;
  std::array<Value, 4> words_;
};

}  // namespace

Element EmitRandom(KernelBuilder& kernel, RandomKind kind, DataType dtype, int64_t seed,
                   Value stream, const Coord& position, int64_t lanes, bool whole_blocks) {
  mlir::ImplicitLocOpBuilder& b = kernel.b();
  ScalarEmitter& e = kernel.e();
  Source source(kernel, seed, stream, position, lanes, whole_blocks);
  if (kind == RandomKind::kBits) {
    return e.Cast({source.Own(), DataType::kI64}, DataType::kI32);
  }
  const DataType real = ScalarEmitter::AccumulatorType(dtype);
  if (kind == RandomKind::kUniform) {
    // As many bits as the type holds, so that the result stays below 1.
    const int bits = dtype == DataType::kF64    ? 32
                     : dtype == DataType::kF16  ? 11
                     : dtype == DataType::kBF16 ? 8
                                                : 24;
    Value own = source.Own();
    Value shift = kernel.Expand({kernel.I64(32 - bits), 0, {}}, ScalarEmitter::LanesOf(own));
    Element number{arith::ShRUIOp::create(b, own, shift), DataType::kI64};
    if (dtype != DataType::kF64) {
      // 24 bits at most: conversion from i32 is one instruction everywhere.
      number = e.Cast(number, DataType::kI32);
    }
    Element result = e.Mul(e.Cast(number, real), e.Constant(real, 1.0 / (int64_t{1} << bits)));
    return {result.value, dtype};
  }
  // Box and Muller, from the words of the pair.
  auto number = [&](int word) { return e.Cast({source.OfPair(word), DataType::kI64}, real); };
  Element radius_word = number(0), angle_word = number(1);
  Element u = e.Mul(e.Add(radius_word, e.Constant(real, 0.5)), e.Constant(real, 0x1p-32));
  Element t = e.Mul(angle_word, e.Constant(real, 2 * std::numbers::pi * 0x1p-32));
  Element radius = e.Sqrt(e.Mul(e.Constant(real, -2), e.Log(u)));
  math::SineCosine turn = math::SinCosOfTurn(e.Math(t.value), t.value);
  Element cosine = e.Mul(radius, {turn.cosine, real}), sine = e.Mul(radius, {turn.sine, real});
  return e.FromAccumulator({source.ToPositions(cosine.value, sine.value), real}, dtype);
}

}  // namespace weft
