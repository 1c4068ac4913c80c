// How the variables of layers begin.
#ifndef WEFT_GRAPH_LAYERS_INITIALIZERS_H_
#define WEFT_GRAPH_LAYERS_INITIALIZERS_H_

#include <cstdint>

#include "graph/graph.h"

namespace weft {

// A distribution whose width may depend on the variable's shape, through its fans: for a matrix
// [in, out] these are in and out; for filters [kh, kw, in, out] they are kh * kw * in and kh * kw *
// out; for a vector both are its size.
struct Initializer {
  enum class Kind { kConstant, kUniform, kNormal };
  enum class Fan { kNone, kIn, kAverage };
  Kind kind = Kind::kConstant;
  // The constant; half the width of the uniform distribution; the standard deviation of the normal
  // one. With a fan, the variance is `value` / fan instead.
  double value = 0;
  Fan fan = Fan::kNone;

  static Initializer Zeros() { return {}; }
  static Initializer Ones() { return {Kind::kConstant, 1}; }
  static Initializer Constant(double value) { return {Kind::kConstant, value}; }
  // In [-limit, limit), before it is rounded to bf16 or f16.
  static Initializer Uniform(double limit) { return {Kind::kUniform, limit}; }
  static Initializer Normal(double deviation) { return {Kind::kNormal, deviation}; }
  // Variance 2 / (fan in + fan out) (Glorot and Bengio, 2010).
  static Initializer GlorotUniform() { return {Kind::kUniform, 1, Fan::kAverage}; }
  static Initializer GlorotNormal() { return {Kind::kNormal, 1, Fan::kAverage}; }
  // Variance 2 / fan in, for rectifiers (He, Zhang, Ren, Sun, 2015).
  static Initializer HeUniform() { return {Kind::kUniform, 2, Fan::kIn}; }
  static Initializer HeNormal() { return {Kind::kNormal, 2, Fan::kIn}; }
  // Variance 1 / fan in (LeCun, Bottou, Orr, Mueller, 1998).
  static Initializer LecunUniform() { return {Kind::kUniform, 1, Fan::kIn}; }
  static Initializer LecunNormal() { return {Kind::kNormal, 1, Fan::kIn}; }

  // A value of that shape, which must be static. `seed` and `stream` name the random numbers: the
  // same ones give the same value. bf16 and f16 are drawn in f32 and rounded.
  Tensor Make(Graph& graph, DataType dtype, const Shape& shape, uint32_t seed, int64_t stream,
              SourceLocation location = SourceLocation::current()) const;
};

}  // namespace weft

#endif  // WEFT_GRAPH_LAYERS_INITIALIZERS_H_
