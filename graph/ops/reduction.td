// Reductions. `axes` are dropped from the shape, or kept with size 1 where keep_dims. An empty list of axes reduces nothing.
#ifndef WEFT_GRAPH_OPS_REDUCTION_TD
#define WEFT_GRAPH_OPS_REDUCTION_TD
include "graph/ir/base.td"

class Weft_Reduce<string mnemonic, string summary_, Weft_Gradient gradient_, Weft_DTypes dtypes_> : Weft_Op<mnemonic, "reduction", [Pure]> {
  let summary = summary_;
  let arguments = (ins Weft_Tensor:$x, DenseI64ArrayAttr:$axes, DefaultValuedAttr<BoolAttr, "false">:$keep_dims);
  let results = (outs Weft_Tensor:$y);
  let dtypes = dtypes_;
  let gradient = gradient_;
  let infer = "InferReduce";
  let constraints = ["C1: axes are in [-rank, rank)", "C2: no axis is named twice"];
}
def Weft_ReduceSumOp : Weft_Reduce<"reduce_sum", "Sum; bf16 and f16 add up in f32. 0 of no elements.", GradientFunction, Numbers> { let test = Weft_Test<"-2", "2", 32, "8">; }
def Weft_ReduceProdOp : Weft_Reduce<"reduce_prod", "Product; 1 of no elements.", GradientFunction, Numbers> { let test = Weft_Test<"0.7", "1.4", 64>; }
def Weft_ReduceMaxOp : Weft_Reduce<"reduce_max", "Largest; NaN if any is; the lowest value of the dtype (-inf) of no elements. The gradient is shared equally among ties.", GradientFunction, Numbers>;
def Weft_ReduceMinOp : Weft_Reduce<"reduce_min", "Smallest; NaN if any is; the highest value of the dtype (inf) of no elements. The gradient is shared equally among ties.", GradientFunction, Numbers>;
def Weft_ReduceAndOp : Weft_Reduce<"reduce_and", "Whether all hold.", NoGradient<"the result is bool">, Bools>;
def Weft_ReduceOrOp : Weft_Reduce<"reduce_or", "Whether any holds.", NoGradient<"the result is bool">, Bools>;

class Weft_ArgReduce<string mnemonic, string summary_> : Weft_Op<mnemonic, "reduction", [Pure]> {
  let summary = summary_;
  let arguments = (ins Weft_Tensor:$x, I64Attr:$axis, DefaultValuedAttr<BoolAttr, "false">:$keep_dims);
  let results = (outs Weft_Tensor:$y);
  let gradient = NoGradient<"the result is an index">;
  let infer = "InferArgReduce";
  let constraints = ["C1: axis is in [-rank, rank)", "C2: the axis is not known to be empty where declared"];
}
def Weft_ArgMaxOp : Weft_ArgReduce<"argmax", "Index (i64) of the first largest element; a NaN counts as larger than all. 0 of no elements.">;
def Weft_ArgMinOp : Weft_ArgReduce<"argmin", "Index (i64) of the first smallest element; a NaN counts as smaller than all. 0 of no elements.">;

def Weft_CumSumOp : Weft_Op<"cumsum", "reduction", [Pure]> {
  let summary = "Running sum along one axis; reverse sums from the end, exclusive leaves out the element itself. bf16 and f16 add up in f32.";
  let arguments = (ins Weft_Tensor:$x, I64Attr:$axis, DefaultValuedAttr<BoolAttr, "false">:$exclusive, DefaultValuedAttr<BoolAttr, "false">:$reverse);
  let results = (outs Weft_Tensor:$y);
  let gradient = GradientRules<["CumSum(dy, axis, exclusive, !reverse)"]>;
  let constraints = ["C1: axis is in [-rank, rank)"];
  let test = Weft_Test<"-2", "2", 64, "8">;
}

#endif
