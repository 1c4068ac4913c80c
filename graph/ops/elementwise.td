// Element-wise ops. Integers wrap around; integer division and remainder by zero give 0. Comparisons with NaN are false, except not_equal. 0 and -0 are equal:
// which of the two maximum, minimum, clamp and sign give is left open. What has no value is NaN, and NaN goes through where an entry does not say otherwise;
// which NaN is left open. add, sub, mul, div, neg, abs, sqrt and the roundings to whole numbers give the exact result rounded once, subnormal numbers and the
// sign of zero included. The others may give 0 for a result below the smallest normal number, and either zero for zero.
#ifndef WEFT_GRAPH_OPS_ELEMENTWISE_TD
#define WEFT_GRAPH_OPS_ELEMENTWISE_TD
include "graph/ir/base.td"

// Arithmetic
def Weft_AddOp : Weft_Binary<"add", "a + b.", "a + b", "e.Add(a, b)", GradientRules<["dy", "dy"]>>;
def Weft_SubOp : Weft_Binary<"sub", "a - b.", "a - b", "e.Sub(a, b)", GradientRules<["dy", "-dy"]>>;
def Weft_MulOp : Weft_Binary<"mul", "a * b.", "a * b", "e.Mul(a, b)", GradientRules<["dy * b", "dy * a"]>>;
def Weft_DivOp : Weft_Binary<"div", "a / b; integers truncate toward zero.", "Divide(a, b)", "e.Div(a, b)", GradientFunction, Numbers, Weft_Test<"0.5", "2">>;
def Weft_RemOp : Weft_Binary<"rem", "Remainder of a / b with the sign of a, as C's fmod.", "Remainder(a, b)", "e.Rem(a, b)",
                             GradientRules<["dy", "-dy * Round((a - y) / b)"]>, Numbers, Weft_Test<"0.5", "8">>;
// Gradients at a = 0: b * 0^(b - 1), which is 0 for b = 0 as well, and y * log(a) as 0.
def Weft_PowOp : Weft_Binary<"pow", "a to the power b; NaN where a < 0 and b is not a whole number; 1 where b is 0.", "std::pow(a, b)", "e.Pow(a, b)",
                             GradientRules<["dy * b * Pow(Select(And(Equal(a, 0.0), Equal(b, 0.0)), OnesLike(a), a), b - 1.0)",
                                            "dy * y * Log(Select(Equal(a, 0.0), OnesLike(a), a))"]>, Floats, Weft_Test<"0.2", "3", 16>>;
def Weft_MaximumOp : Weft_Binary<"maximum", "The larger of a and b; NaN if either is. The gradient at a tie goes to b.", "Maximum(a, b)", "e.Max(a, b)",
                                 GradientRules<["Select(Greater(a, b), dy, ZerosLike(dy))", "Select(Greater(a, b), ZerosLike(dy), dy)"]>>;
def Weft_MinimumOp : Weft_Binary<"minimum", "The smaller of a and b; NaN if either is. The gradient at a tie goes to b.", "Minimum(a, b)", "e.Min(a, b)",
                                 GradientRules<["Select(Less(a, b), dy, ZerosLike(dy))", "Select(Less(a, b), ZerosLike(dy), dy)"]>>;
def Weft_Atan2Op : Weft_Binary<"atan2", "Angle of the point (b, a), in (-pi, pi].", "std::atan2(a, b)", "e.Atan2(a, b)",
                               GradientFunction, Floats, Weft_Test<"0.2", "3", 8>>;

def Weft_NegOp : Weft_Unary<"neg", "-x.", "-x", "e.Neg(x)", GradientRules<["-dy"]>, SignedNumbers>;
def Weft_AbsOp : Weft_Unary<"abs", "|x|.", "Absolute(x)", "e.Abs(x)", GradientRules<["dy * Sign(x)"]>, SignedNumbers>;
def Weft_SignOp : Weft_Unary<"sign", "-1, 0 or 1; NaN of NaN.", "Sign(x)", "e.Sign(x)", GradientRules<[""]>, SignedNumbers>;
def Weft_FloorOp : Weft_Unary<"floor", "Largest whole number not above x.", "std::floor(x)", "e.Floor(x)", GradientRules<[""]>>;
def Weft_CeilOp : Weft_Unary<"ceil", "Smallest whole number not below x.", "std::ceil(x)", "e.Ceil(x)", GradientRules<[""]>>;
def Weft_RoundOp : Weft_Unary<"round", "Nearest whole number, halves to even.", "std::nearbyint(x)", "e.Round(x)", GradientRules<[""]>>;
def Weft_TruncOp : Weft_Unary<"trunc", "x without its fraction.", "std::trunc(x)", "e.Trunc(x)", GradientRules<[""]>>;
def Weft_SqrtOp : Weft_Unary<"sqrt", "Square root; NaN of negative x.", "std::sqrt(x)", "e.Sqrt(x)", GradientRules<["dy * 0.5 / y"]>, Floats, Weft_Test<"0.1", "4">>;
def Weft_RsqrtOp : Weft_Unary<"rsqrt", "1 / sqrt(x).", "1 / std::sqrt(x)", "e.Rsqrt(x)", GradientRules<["dy * -0.5 * y / x"]>, Floats, Weft_Test<"0.1", "4", 2>>;
def Weft_ReciprocalOp : Weft_Unary<"reciprocal", "1 / x.", "1 / x", "e.Reciprocal(x)", GradientRules<["-dy * y * y"]>, Floats, Weft_Test<"0.3", "3", 1>>;

// Transcendental
def Weft_ExpOp : Weft_Unary<"exp", "e to the power x.", "std::exp(x)", "e.Exp(x)", GradientRules<["dy * y"]>, Floats, Weft_Test<"-8", "8", 4>>;
def Weft_Expm1Op : Weft_Unary<"expm1", "exp(x) - 1, accurate near 0.", "std::expm1(x)", "e.Expm1(x)", GradientRules<["dy * (y + 1.0)"]>, Floats, Weft_Test<"-4", "4", 8>>;
def Weft_LogOp : Weft_Unary<"log", "Natural logarithm; NaN of negative x, -inf of 0.", "std::log(x)", "e.Log(x)", GradientRules<["dy / x"]>, Floats, Weft_Test<"0.1", "8", 4, "0.125">>;
def Weft_Log1pOp : Weft_Unary<"log1p", "log(1 + x), accurate near 0.", "std::log1p(x)", "e.Log1p(x)", GradientRules<["dy / (x + 1.0)"]>, Floats, Weft_Test<"-0.5", "4", 8>>;
def Weft_SinOp : Weft_Unary<"sin", "Sine of x in radians.", "std::sin(x)", "e.Sin(x)", GradientRules<["dy * Cos(x)"]>, Floats, Weft_Test<"-8", "8", 4, "1">>;
def Weft_CosOp : Weft_Unary<"cos", "Cosine of x in radians.", "std::cos(x)", "e.Cos(x)", GradientRules<["-dy * Sin(x)"]>, Floats, Weft_Test<"-8", "8", 4, "1">>;
def Weft_TanhOp : Weft_Unary<"tanh", "Hyperbolic tangent.", "std::tanh(x)", "e.Tanh(x)", GradientRules<["dy * (1.0 - y * y)"]>, Floats, Weft_Test<"-4", "4", 8>>;
def Weft_LogisticOp : Weft_Unary<"logistic", "1 / (1 + exp(-x)), the sigmoid.", "1 / (1 + std::exp(-x))", "e.Logistic(x)", GradientRules<["dy * y * (1.0 - y)"]>, Floats, Weft_Test<"-8", "8", 8>>;
def Weft_ErfOp : Weft_Unary<"erf", "Error function.", "std::erf(x)", "e.Erf(x)", GradientRules<["dy * 1.1283791670955126 * Exp(-(x * x))"]>, Floats, Weft_Test<"-3", "3", 8, "0.125">>;

// Comparison
def Weft_EqualOp : Weft_Compare<"equal", "a == b.", "a == b", "e.Compare(Comparison::kEqual, a, b)">;
def Weft_NotEqualOp : Weft_Compare<"not_equal", "a != b.", "a != b", "e.Compare(Comparison::kNotEqual, a, b)">;
def Weft_LessOp : Weft_Compare<"less", "a < b.", "a < b", "e.Compare(Comparison::kLess, a, b)">;
def Weft_LessEqualOp : Weft_Compare<"less_equal", "a <= b.", "a <= b", "e.Compare(Comparison::kLessEqual, a, b)">;
def Weft_GreaterOp : Weft_Compare<"greater", "a > b.", "a > b", "e.Compare(Comparison::kGreater, a, b)">;
def Weft_GreaterEqualOp : Weft_Compare<"greater_equal", "a >= b.", "a >= b", "e.Compare(Comparison::kGreaterEqual, a, b)">;
def Weft_IsFiniteOp : Weft_Unary<"is_finite", "Neither infinite nor NaN; the result is bool.", "std::isfinite(x)", "e.IsFinite(x)", NoGradient<"the result is bool">> { let result_dtype = "bool"; }

// Logic: bitwise on integers, logical on bool
def Weft_AndOp : Weft_Binary<"and", "a and b.", "a & b", "e.And(a, b)", NoGradient<"bits are not differentiable">, BoolsAndInts>;
def Weft_OrOp : Weft_Binary<"or", "a or b.", "a | b", "e.Or(a, b)", NoGradient<"bits are not differentiable">, BoolsAndInts>;
def Weft_XorOp : Weft_Binary<"xor", "Either a or b.", "a ^ b", "e.Xor(a, b)", NoGradient<"bits are not differentiable">, BoolsAndInts>;
def Weft_NotOp : Weft_Unary<"not", "Complement.", "Complement(x)", "e.Not(x)", NoGradient<"bits are not differentiable">, BoolsAndInts>;

// Choice
def Weft_SelectOp : Weft_Elementwise<"select", "a where the condition holds, b elsewhere.", "condition ? a : b", "e.Select(condition, a, b)",
                                     GradientRules<["", "Select(condition, dy, ZerosLike(dy))", "Select(condition, ZerosLike(dy), dy)"]>, AnyDType, Weft_Test<"-2", "2">> {
  let arguments = (ins Weft_Tensor:$condition, Weft_Tensor:$a, Weft_Tensor:$b);
  let constraints = ["C1: condition is bool", "C2: a and b have one dtype", "C3: all operands have one shape"];
}
def Weft_ClampOp : Weft_Elementwise<"clamp", "minimum(maximum(x, low), high), which is high where low > high. The gradient is that of x where low < x < high, 0 elsewhere.",
                                    "Minimum(Maximum(x, low), high)", "e.Min(e.Max(x, low), high)",
                                    GradientRules<["Select(And(Greater(x, low), Less(x, high)), dy, ZerosLike(dy))",
                                                   "Select(And(LessEqual(x, low), Less(low, high)), dy, ZerosLike(dy))",
                                                   "Select(GreaterEqual(Maximum(x, low), high), dy, ZerosLike(dy))"]>, Numbers, Weft_Test<"-2", "2">> {
  let arguments = (ins Weft_Tensor:$x, Weft_Tensor:$low, Weft_Tensor:$high);
  let constraints = ["C1: all operands have one dtype", "C2: all operands have one shape"];
}
def Weft_CastOp : Weft_Op<"cast", "elementwise", [Pure]> {
  let summary = "Converts the element type. Float to integer truncates, saturates at the ends of the range, and turns NaN to 0; anything to bool is x != 0.";
  let arguments = (ins Weft_Tensor:$x, Weft_DType:$dtype);
  let results = (outs Weft_Tensor:$y);
  let dtypes = AnyDType;
  let elementwise = 1;
  let infer = "InferElementwise";
  let result_dtype = "attribute";
  let evaluate = "Convert<To>(x)";
  let lower = "e.Cast(x, dtype)";
  let gradient = GradientFunction;
}
def Weft_StopGradientOp : Weft_Unary<"stop_gradient", "x; no gradient flows through.", "x", "x", GradientRules<[""]>, AnyDType>;

#endif
