// Indices outside the range name nothing: gather gives 0 for them, scatter_add drops them, one_hot gives a row of 0; on every device alike.
#ifndef WEFT_GRAPH_OPS_INDEXING_TD
#define WEFT_GRAPH_OPS_INDEXING_TD
include "graph/ir/base.td"

class Weft_Indexing<string mnemonic, string summary_> : Weft_Op<mnemonic, "indexing", [Pure]> {
  let summary = summary_;
  let results = (outs Weft_Tensor:$y);
  let dtypes = AnyDType;
  let gradient = GradientFunction;
}
def Weft_GatherOp : Weft_Indexing<"gather", "Slices of x along `axis` at the indices: the axis is replaced by the shape of the indices."> {
  let arguments = (ins Weft_Tensor:$x, Weft_Tensor:$indices, DefaultValuedAttr<I64Attr, "0">:$axis);
  let constraints = ["C1: indices are i32 or i64", "C2: axis is in [-rank, rank)"];
}
def Weft_ScatterAddOp : Weft_Indexing<"scatter_add", "x with each slice of `updates` added at its index along axis 0, in the order of the indices, each time rounded to the dtype."> {
  let arguments = (ins Weft_Tensor:$x, Weft_Tensor:$indices, Weft_Tensor:$updates);
  let dtypes = Numbers;
  let constraints = ["C1: indices are i32 or i64", "C2: updates has the shape of indices followed by that of x without its first dimension, and x's dtype"];
  let test = Weft_Test<"-2", "2", 16, "8">;
}
def Weft_OneHotOp : Weft_Indexing<"one_hot", "A new last dimension of size `depth` with 1 at the index and 0 elsewhere."> {
  let arguments = (ins Weft_Tensor:$indices, Weft_Dim:$depth, Weft_DType:$dtype);
  let gradient = NoGradient<"the operand is an index">;
  let constraints = ["C1: indices are i32, i64 or u8", "C2: depth >= 0"];
}

#endif
