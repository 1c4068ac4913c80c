// Ops that move elements and do not compute. A `shape` attribute is an array of strings, one canonical dimension expression (proto/dim_expr.h) a dimension.
#ifndef WEFT_GRAPH_OPS_SHAPE_TD
#define WEFT_GRAPH_OPS_SHAPE_TD
include "graph/ir/base.td"

class Weft_Shape<string mnemonic, string summary_> : Weft_Op<mnemonic, "shape", [Pure]> {
  let summary = summary_;
  let results = (outs Weft_Tensor:$y);
  let dtypes = AnyDType;
  let gradient = GradientFunction;
}
def Weft_ReshapeOp : Weft_Shape<"reshape", "The same elements in row-major order under another shape."> {
  let arguments = (ins Weft_Tensor:$x, Weft_Dims:$shape);
  let constraints = ["C1: the shape has as many elements as x, for every size of the open dimensions", "C2: at most one dimension is -1, which stands for the size that C1 asks for"];
}
def Weft_TransposeOp : Weft_Shape<"transpose", "Dimension i of the result is dimension permutation[i] of x."> {
  let arguments = (ins Weft_Tensor:$x, DenseI64ArrayAttr:$permutation);
  let constraints = ["C1: permutation holds each of 0 ... rank-1 once"];
}
def Weft_BroadcastOp : Weft_Shape<"broadcast", "Repeats x along new leading dimensions and along dimensions of size 1."> {
  let arguments = (ins Weft_Tensor:$x, Weft_Dims:$shape);
  let constraints = ["C1: the rank of shape is at least that of x", "C2: aligned at the end, each dimension of x is 1 or that of shape"];
}
def Weft_ConcatOp : Weft_Shape<"concat", "Joins tensors along one axis."> {
  let arguments = (ins Variadic<Weft_Tensor>:$xs, I64Attr:$axis);
  let constraints = ["C1: at least one operand", "C2: one dtype and rank", "C3: axis is in [-rank, rank)", "C4: the other dimensions are equal"];
}
def Weft_SliceOp : Weft_Shape<"slice", "Elements start, start + step, ... below limit, in each dimension."> {
  let arguments = (ins Weft_Tensor:$x, Weft_Dims:$starts, Weft_Dims:$limits, DenseI64ArrayAttr:$steps);
  let constraints = ["C1: starts, limits and steps have one entry a dimension", "C2: 0 <= start and limit <= size for every size of the open dimensions; limit < start, which gives no elements, is not known where declared", "C3: steps >= 1"];
}
def Weft_PadOp : Weft_Shape<"pad", "Puts `low` and `high` elements of `value` (a scalar) around x and `interior` ones between its elements."> {
  let arguments = (ins Weft_Tensor:$x, Weft_Tensor:$value, Weft_Dims:$low, Weft_Dims:$high, DenseI64ArrayAttr:$interior);
  let constraints = ["C1: value is a scalar of x's dtype", "C2: low, high and interior have one entry a dimension, none negative"];
}
def Weft_ReverseOp : Weft_Shape<"reverse", "Reverses the order along axes."> {
  let arguments = (ins Weft_Tensor:$x, DenseI64ArrayAttr:$axes);
  let constraints = ["C1: axes are in [-rank, rank), none twice"];
}
def Weft_IotaOp : Weft_Shape<"iota", "Counts 0, 1, 2, ... along one axis."> {
  let arguments = (ins Weft_Dims:$shape, I64Attr:$axis, Weft_DType:$dtype);
  let dtypes = Numbers;
  let gradient = NoGradient<"it has no operands">;
  let constraints = ["C1: axis is in [-rank, rank)"];
}
def Weft_DimSizeOp : Weft_Shape<"dim_size", "The value of a dimension expression as a scalar."> {
  let arguments = (ins Weft_Dim:$expr, Weft_DType:$dtype);
  let dtypes = Weft_DTypes<["f32", "f64", "i32", "i64"]>;
  let gradient = NoGradient<"it has no operands">;
}
def Weft_ConstantOp : Weft_Shape<"constant", "A tensor known when the graph is built."> {
  let arguments = (ins ElementsAttr:$value);
  let gradient = NoGradient<"it has no operands">;
  let in_builder = 0;
}

#endif
