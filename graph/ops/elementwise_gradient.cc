#include "graph/builder_support.h"
#include "graph/ops/gradient_support.h"

namespace weft {

// dy / b and -dy y / b, with y = a / b. Where y is within range, the second is wherever its value
// is, and 0 for a dy of 0, whichever of the operands is large: where b is at least 1, the larger of
// dy and y is divided by it, so that nothing grows; else the smaller, so that what grows is
// multiplied by what is no larger. But where b is so small that 1 / b is infinite (a subnormal
// number), a quotient that is multiplied by a number below 1 may be infinite before it is.
absl::Status GradientDiv(GradientContext& c) {
  const DataType dtype = c.operand(1).dtype(), wide = WideType(dtype);
  Tensor b = As(c.operand(1), wide), dy = As(c.dy(0), wide);
  if (c.needs(0)) c.SetGradient(0, As(dy / b, dtype));
  if (!c.needs(1)) return absl::OkStatus();
  Tensor y = wide == dtype ? c.result(0) : As(c.operand(0), wide) / b;
  Tensor divides_dy = Xor(Greater(Abs(dy), Abs(y)), Less(Abs(b), 1.0));
  Tensor divided = Select(divides_dy, dy, y), other = Select(divides_dy, y, dy);
  c.SetGradient(1, As(-(divided / b) * other, dtype));
  return absl::OkStatus();
}

// (b, -a) / (a^2 + b^2). Squares would leave the range long before the quotients do, so it is put
// in terms of the ratio of the smaller to the larger operand: with r that ratio and l the larger,
// the smaller gets 1 / ((1 + r^2) l) and the larger -r / ((1 + r^2) l), but for the sign. The
// operands are chosen before anything is divided: what is not chosen has no derivative to be NaN.
absl::Status GradientAtan2(GradientContext& c) {
  const DataType dtype = c.operand(0).dtype(), wide = WideType(dtype);
  Tensor a = As(c.operand(0), wide), b = As(c.operand(1), wide);
  Tensor a_larger = Greater(Abs(a), Abs(b));
  Tensor larger = Select(a_larger, a, b), smaller = Select(a_larger, b, a);
  Tensor ratio = smaller / larger;
  Tensor dy = As(c.dy(0), wide) / (ratio * ratio + 1.0);
  Tensor of_smaller = dy / larger, of_larger = dy * ratio / larger;
  if (c.needs(0)) c.SetGradient(0, As(Select(a_larger, of_larger, of_smaller), dtype));
  if (c.needs(1)) c.SetGradient(1, As(-Select(a_larger, of_smaller, of_larger), dtype));
  return absl::OkStatus();
}

absl::Status GradientCast(GradientContext& c) {
  const DataType from = c.operand(0).dtype();
  if (IsFloat(from)) c.SetGradient(0, Cast(c.dy(0), from));
  return absl::OkStatus();
}

}  // namespace weft
