// Regions see nothing from outside but their arguments; the builder turns values that a body captures into operands.
#ifndef WEFT_GRAPH_OPS_CONTROL_FLOW_TD
#define WEFT_GRAPH_OPS_CONTROL_FLOW_TD
include "graph/ir/base.td"

class Weft_ControlFlow<string mnemonic, string summary_, list<Trait> traits = []> : Weft_Op<mnemonic, "control_flow", traits> {
  let summary = summary_;
  let dtypes = AnyDType;
  let in_builder = 0;
}
def Weft_YieldOp : Weft_ControlFlow<"yield", "Ends a body with its results.", [Pure, ReturnLike, Terminator]> {
  let arguments = (ins Variadic<Weft_Tensor>:$values);
  let gradient = NoGradient<"it has no result">;
  let has_evaluate = 0;
}
def Weft_WhileOp : Weft_ControlFlow<"while", "Runs `body` on the carried values as long as `condition` of them holds; the run fails where it still holds after max_iterations. Operands: first the carried values, then the captured ones, which stay the same. The gradient keeps max_iterations times the bytes of the carried values that it needs.",
                                    [IsolatedFromAbove, RecursiveMemoryEffects]> {
  let arguments = (ins Variadic<Weft_Tensor>:$values, I64Attr:$num_carried, DefaultValuedAttr<I64Attr, "0">:$max_iterations);
  let results = (outs Variadic<Weft_Tensor>:$outs);
  let regions = (region SizedRegion<1>:$condition, SizedRegion<1>:$body);
  let gradient = GradientFunction;
  let constraints = ["C1: condition takes all operands and yields a bool scalar", "C2: body takes all operands and yields values of the carried types",
                     "C3: max_iterations >= 0; 0 means no limit; a gradient needs a limit, since it sizes the stacks of residuals"];
}
def Weft_CondOp : Weft_ControlFlow<"cond", "Runs `then_body` when the bool scalar `predicate` holds, `else_body` otherwise, on the same operands.", [IsolatedFromAbove, RecursiveMemoryEffects]> {
  let arguments = (ins Weft_Tensor:$predicate, Variadic<Weft_Tensor>:$values);
  let results = (outs Variadic<Weft_Tensor>:$outs);
  let regions = (region SizedRegion<1>:$then_body, SizedRegion<1>:$else_body);
  let gradient = GradientFunction;
  let constraints = ["C1: predicate is a bool scalar", "C2: both bodies take the operands and yield values of the result types"];
}
def Weft_CustomGradientOp : Weft_ControlFlow<"custom_gradient", "What `body` gives for the operands. Its gradient is what `adjoint` gives for the operands, the results and the gradients of the float results: one value for each float operand.",
                                             [IsolatedFromAbove, RecursiveMemoryEffects]> {
  let arguments = (ins Variadic<Weft_Tensor>:$values);
  let results = (outs Variadic<Weft_Tensor>:$outs);
  let regions = (region SizedRegion<1>:$body, SizedRegion<1>:$adjoint);
  let gradient = GradientFunction;
  let constraints = ["C1: body takes the operands", "C2: adjoint takes the operands, the results and values of the float results' types, and yields values of the float operands' types"];
}
// Written by the gradient of `while`.
def Weft_StackPushOp : Weft_ControlFlow<"stack_push", "x with `value` in place of slice `index` of its first dimension; an index outside changes nothing.", [Pure]> {
  let arguments = (ins Weft_Tensor:$x, Weft_Tensor:$value, Weft_Tensor:$index);
  let results = (outs Weft_Tensor:$y);
  let gradient = GradientFunction;
  let constraints = ["C1: index is a scalar i64", "C2: value has x's dtype, and its shape without the first dimension"];
  let in_builder = 1;
}

#endif
