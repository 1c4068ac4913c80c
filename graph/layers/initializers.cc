#include "graph/layers/initializers.h"

#include <algorithm>
#include <cmath>

#include "graph/builder_support.h"

namespace weft {
namespace {

struct Fans {
  double in = 1, out = 1;
};

Fans FansOf(const Shape& shape) {
  auto size = [&](size_t d) { return static_cast<double>(shape[d].Constant().value_or(1)); };
  if (shape.empty()) return {};
  if (shape.size() == 1) return {size(0), size(0)};
  double window = 1;
  for (size_t d = 0; d + 2 < shape.size(); ++d) window *= size(d);
  return {window * size(shape.size() - 2), window * size(shape.size() - 1)};
}

}  // namespace

Tensor Initializer::Make(Graph& graph, DataType dtype, const Shape& shape, uint32_t seed,
                         int64_t stream, SourceLocation location) const {
  if (kind == Kind::kConstant) return Full(graph, dtype, shape, value, location);
  if (WideType(dtype) != dtype) {
    // Rounded once at the end: drawn in 8 or 11 bits, small weights would lie on a coarse grid.
    return Cast(Operand(Make(graph, WideType(dtype), shape, seed, stream, location), location),
                dtype);
  }
  double deviation = value;
  if (fan != Fan::kNone) {
    const Fans fans = FansOf(shape);
    const double size = fan == Fan::kIn ? fans.in : (fans.in + fans.out) / 2;
    deviation = std::sqrt(value / std::max(size, 1.0));
  }
  Operand stream_operand(graph.Constant(HostTensor::Scalar<int64_t>(stream), location), location);
  if (kind == Kind::kNormal) {
    return RandomNormal(stream_operand, seed, shape, dtype) * Operand(deviation, location);
  }
  // A uniform distribution over (-limit, limit) has the variance limit^2 / 3.
  const double limit = fan == Fan::kNone ? value : deviation * std::sqrt(3.0);
  Tensor uniform = RandomUniform(stream_operand, seed, shape, dtype);
  return (uniform * Operand(2 * limit, location)) - Operand(limit, location);
}

}  // namespace weft
