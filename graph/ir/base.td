// What every op of the weft dialect declares. mlir-tblgen makes the op classes from it; graph/opgen makes the rest.
#ifndef WEFT_GRAPH_IR_BASE_TD
#define WEFT_GRAPH_IR_BASE_TD

include "mlir/IR/OpBase.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/ControlFlowInterfaces.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def WeftDialect : Dialect {
  let name = "weft";
  let cppNamespace = "::weft::ir";
  let summary = "The typed graph: ranked tensors with static or named open dimensions, value semantics.";
  let description = [{
    An open dimension is `?` in the tensor type; the type's encoding is an array of strings, one per dimension, that
    holds the dimension's expression ("batch", "2*batch+1") or is empty where the dimension is static. A type without
    open dimensions has no encoding. Expressions are in the canonical form of proto/dim_expr.h, so equal types are
    shapes known to be equal.
  }];
  // Attributes are looked up by name: the generic creation path, import and passes treat all ops alike, and the generated code is a third of its size.
  let usePropertiesForAttributes = 0;
}

// The op obeys its entry in the table: operands, attributes, element types, and the types that its inference function gives (graph/ir/verify.h).
def VerifiedByTable : NativeOpTrait<"VerifiedByTable"> { let cppNamespace = "::weft::ir"; }

def Weft_Tensor : TensorOf<[F32, F64, F16, BF16, I1, I8, UI8, I32, I64]>;

// A dimension expression in canonical form (proto/dim_expr.h), and a list of them.
def Weft_Dim : StringBasedAttr<CPred<"::weft::ir::DimFromAttr($_self).has_value()">, "dimension expression">;
def Weft_Dims : ArrayAttrBase<CPred<"::weft::ir::DimsFromAttr($_self).has_value()">, "list of dimension expressions">;
def Weft_DType : TypeAttrBase<"::mlir::Type", "element type"> { let constBuilderCall = "::mlir::TypeAttr::get($0)"; }

// Element types an op accepts, as they are named in error messages and documents.
class Weft_DTypes<list<string> names_> { list<string> names = names_; }
def Floats : Weft_DTypes<["f32", "f64", "bf16", "f16"]>;
def Ints : Weft_DTypes<["i8", "u8", "i32", "i64"]>;
def Numbers : Weft_DTypes<["f32", "f64", "bf16", "f16", "i8", "u8", "i32", "i64"]>;
def SignedNumbers : Weft_DTypes<["f32", "f64", "bf16", "f16", "i8", "i32", "i64"]>;
def Bools : Weft_DTypes<["bool"]>;
def BoolsAndInts : Weft_DTypes<["bool", "i8", "u8", "i32", "i64"]>;
def AnyDType : Weft_DTypes<["f32", "f64", "bf16", "f16", "i8", "u8", "i32", "i64", "bool"]>;

// How an op is differentiated.
class Weft_Gradient { string kind = ""; string reason = ""; list<string> rules = []; }
// One C++ expression per operand over the builder API, in which the operands and results go by their declared names and `dy` is the gradient of the result.
// An empty string: no gradient flows to that operand.
class GradientRules<list<string> rules_> : Weft_Gradient { let kind = "rules"; let rules = rules_; }
// A function `Gradient<Op>` in the family's .cc.
def GradientFunction : Weft_Gradient { let kind = "function"; }
class NoGradient<string reason_> : Weft_Gradient { let kind = "none"; let reason = reason_; }

// Where inputs for generated tests are drawn from (an open interval), and how far compiled code may be from the reference evaluator: |a - b| <= ulps units in
// the last place of the reference, taken at the larger of |reference| and `scale`.
class Weft_Test<string low_, string high_, int ulps_ = 0, string scale_ = "0"> {
  string low = low_; string high = high_; int ulps = ulps_; string scale = scale_;
}

class Weft_Op<string mnemonic, string family_, list<Trait> traits = []> : Op<WeftDialect, mnemonic, !listconcat([VerifiedByTable], traits)> {
  // Ops are made by CreateOp (graph/ir/create.h). ODS wants a builder; this one, for ops without bodies, instead of three is a third less code to compile.
  let skipDefaultBuilders = 1;
  let builders = [OpBuilder<(ins "::mlir::TypeRange":$types, "::mlir::ValueRange":$operands, "::llvm::ArrayRef<::mlir::NamedAttribute>":$attributes), [{
    $_state.addTypes(types);
    $_state.addOperands(operands);
    $_state.addAttributes(attributes);
  }]>];
  // File in graph/ops that holds it.
  string family = family_;
  // Raised when the meaning changes; old files load through an upgrader.
  int version = 1;
  // Element types of the data operands: all but indices, conditions and the like, which the constraints name. Where there are none, of the attribute `dtype`.
  Weft_DTypes dtypes = Numbers;
  // Numbered rules, each checked by the verifier and by a test named <op>_c<number>. What a rule asks of sizes "where declared" is checked where the op is
  // built or imported, and not again once open dimensions have got a size: the op's meaning covers what it excludes.
  list<string> constraints = [];
  // The shape inference function in the family's .cc; empty for Infer<Op>.
  string infer = "";
  // Whether one op alone can be evaluated, by Evaluate<Op> in <family>_evaluate.cc; 0 for what the evaluator of graphs handles itself.
  bit has_evaluate = 1;
  Weft_Gradient gradient = ?;
  Weft_Test test = Weft_Test<"-2", "2">;
  // Whether shape inference, evaluation and code are the element-wise ones, generated from `evaluate` and `lower`.
  bit elementwise = 0;
  // Element-wise: the result's element type: that of the data operands, or "bool", or "attribute" for that in the attribute `dtype`.
  string result_dtype = "";
  // Element-wise: the C++ expression over the operands' scalars (double for every float; see graph/reference/scalar.h) that the reference evaluator uses, and the one over the
  // code generator's ScalarEmitter `e` that makes the code. Both see the operands by name, and where there is an attribute `dtype`, the evaluator's result
  // type as `To` and the emitter's as `dtype`.
  string evaluate = "";
  string lower = "";
  // Whether the builder gets a function from this entry; false for ops that graph/graph.h wraps by hand.
  bit in_builder = 1;
}

// Element-wise ops: all operands and the result have one shape. The builder broadcasts operands first (NumPy's rule); the op itself does not.
class Weft_Elementwise<string mnemonic, string summary_, string evaluate_, string lower_, Weft_Gradient gradient_, Weft_DTypes dtypes_, Weft_Test test_>
    : Weft_Op<mnemonic, "elementwise", [Pure]> {
  let summary = summary_;
  let elementwise = 1;
  let infer = "InferElementwise";
  let evaluate = evaluate_;
  let lower = lower_;
  let gradient = gradient_;
  let dtypes = dtypes_;
  let test = test_;
  let results = (outs Weft_Tensor:$y);
}
class Weft_Unary<string mnemonic, string summary_, string evaluate_, string lower_, Weft_Gradient gradient_, Weft_DTypes dtypes_ = Floats, Weft_Test test_ = Weft_Test<"-2", "2">>
    : Weft_Elementwise<mnemonic, summary_, evaluate_, lower_, gradient_, dtypes_, test_> {
  let arguments = (ins Weft_Tensor:$x);
}
class Weft_Binary<string mnemonic, string summary_, string evaluate_, string lower_, Weft_Gradient gradient_, Weft_DTypes dtypes_ = Numbers, Weft_Test test_ = Weft_Test<"-2", "2">>
    : Weft_Elementwise<mnemonic, summary_, evaluate_, lower_, gradient_, dtypes_, test_> {
  let arguments = (ins Weft_Tensor:$a, Weft_Tensor:$b);
  let constraints = ["C1: a and b have one dtype", "C2: a and b have one shape"];
}
// Result is bool.
class Weft_Compare<string mnemonic, string summary_, string evaluate_, string lower_>
    : Weft_Binary<mnemonic, summary_, evaluate_, lower_, NoGradient<"the result is bool">, AnyDType> {
  let result_dtype = "bool";
}

#endif
