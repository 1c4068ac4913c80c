// Inputs, variables, and ops with an effect. In one run every read gives the variable's value from before the run; assignments take effect together at its end.
// Effects of the graph itself are reached like values: an assignment, print, assertion or check happens when its result is fetched, used, or named as a target.
// In a body, where nothing can name a target, it happens whenever the body runs, used or not. Gradients run bodies once more, without their prints.
#ifndef WEFT_GRAPH_OPS_STATE_TD
#define WEFT_GRAPH_OPS_STATE_TD
include "graph/ir/base.td"

class Weft_State<string mnemonic, string summary_, list<Trait> traits = []> : Weft_Op<mnemonic, "state", traits> {
  let summary = summary_;
  let dtypes = AnyDType;
  let gradient = GradientFunction;
  let in_builder = 0;
}
def Weft_InputOp : Weft_State<"input", "A value that the caller feeds, of the shape in `shape`."> {
  let constraints = ["C1: the name is the node's", "C2: inputs stand in the graph itself, not in a body"];
  let has_evaluate = 0;
  let gradient = NoGradient<"it has no operands">;
  let arguments = (ins StrAttr:$name, Weft_Dims:$shape, Weft_DType:$dtype);
  let results = (outs Weft_Tensor:$y);
}
def Weft_VariableOp : Weft_State<"variable", "Declares a variable: a tensor of static shape that lives as long as the session.", [Symbol]> {
  let arguments = (ins SymbolNameAttr:$sym_name, TypeAttr:$type, BoolAttr:$trainable);
  let gradient = NoGradient<"a declaration has no value">;
  let has_evaluate = 0;
}
def Weft_ReadVariableOp : Weft_State<"read_variable", "The variable's value before the run."> {
  let arguments = (ins FlatSymbolRefAttr:$variable);
  let results = (outs Weft_Tensor:$y);
  let has_evaluate = 0;
  let gradient = NoGradient<"it has no operands">;
}
def Weft_AssignOp : Weft_State<"assign", "Gives the variable a new value at the end of the run; the result is that value."> {
  let arguments = (ins Weft_Tensor:$x, FlatSymbolRefAttr:$variable);
  let results = (outs Weft_Tensor:$y);
  let has_evaluate = 0;
  let constraints = ["C1: the value has the variable's dtype and shape", "C2: a signature assigns a variable once at most"];
}
def Weft_InitializerOp : Weft_State<"initializer", "Names the value that the `init` signature assigns to a variable."> {
  let arguments = (ins Weft_Tensor:$x, FlatSymbolRefAttr:$variable);
  let gradient = NoGradient<"it has no result">;
  let has_evaluate = 0;
  let constraints = ["C1: the value has the variable's dtype and shape", "C2: a variable has one initializer", "C3: it depends on no input and no variable"];
}
def Weft_SignatureOp : Weft_State<"signature", "A named way to call the graph: the first operands are inputs, then outputs, then targets."> {
  let arguments = (ins Variadic<Weft_Tensor>:$values, StrAttr:$name, I64Attr:$num_inputs, StrArrayAttr:$output_names);
  let gradient = NoGradient<"it has no result">;
  let has_evaluate = 0;
  let constraints = ["C1: signature names are unique", "C2: inputs are `input` ops, none twice", "C3: every input that the outputs and targets need is listed", "C4: output names are unique", "C5: every open dimension in the types of what is computed is a dimension of an input by itself"];
}
def Weft_CheckNumericsOp : Weft_State<"check_numerics", "x; the run fails, naming this node, when an element is infinite or NaN."> {
  let arguments = (ins Weft_Tensor:$x, DefaultValuedAttr<StrAttr, "\"\"">:$message);
  let results = (outs Weft_Tensor:$y);
  let dtypes = Floats;
  let in_builder = 1;
}
def Weft_PrintOp : Weft_State<"print", "x; up to `limit` elements of it are written to stderr after the message."> {
  let arguments = (ins Weft_Tensor:$x, StrAttr:$message, DefaultValuedAttr<I64Attr, "32">:$limit);
  let results = (outs Weft_Tensor:$y);
  let in_builder = 1;
}
def Weft_AssertOp : Weft_State<"assert", "x; the run fails with the message when the scalar condition is false."> {
  let arguments = (ins Weft_Tensor:$condition, Weft_Tensor:$x, StrAttr:$message);
  let results = (outs Weft_Tensor:$y);
  let constraints = ["C1: condition is a bool scalar"];
  let in_builder = 1;
}

// The body of a graph: one block, in an order where operands come first. Signatures and variables stand in it too.
def Weft_GraphOp : Weft_Op<"graph", "state", [SymbolTable, NoTerminator, SingleBlock, IsolatedFromAbove]> {
  let summary = "A graph: variables, nodes and signatures.";
  let arguments = (ins StrAttr:$name);
  let regions = (region SizedRegion<1>:$graph_body);
  let gradient = NoGradient<"it has no result">;
  let has_evaluate = 0;
  let in_builder = 0;
}

#endif
