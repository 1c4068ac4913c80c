#ifndef WEFT_GRAPH_OPS_LINEAR_ALGEBRA_TD
#define WEFT_GRAPH_OPS_LINEAR_ALGEBRA_TD
include "graph/ir/base.td"

def Weft_MatMulOp : Weft_Op<"matmul", "linear_algebra", [Pure]> {
  let summary = "Matrix product over the last two dimensions: [..., m, k] x [..., k, n] -> [..., m, n]; bf16 and f16 add up in f32.";
  let arguments = (ins Weft_Tensor:$a, Weft_Tensor:$b, DefaultValuedAttr<BoolAttr, "false">:$transpose_a, DefaultValuedAttr<BoolAttr, "false">:$transpose_b);
  let results = (outs Weft_Tensor:$y);
  let dtypes = Weft_DTypes<["f32", "f64", "bf16", "f16", "i32", "i64"]>;
  let gradient = GradientFunction;
  let constraints = ["C1: a and b have one dtype", "C2: both ranks are equal and at least 2, or b has rank 2, which then serves the whole batch", "C3: the batch dimensions are equal",
                     "C4: the contracted dimensions are equal"];
  let test = Weft_Test<"-1", "1", 64, "4">;
}

#endif
