// The plan dialect: what stands between the graph and kernels. Passes wrap weft ops into fusions; one fusion becomes one kernel and one launch.
#ifndef WEFT_COMPILER_PLAN_DIALECT_PLAN_TD
#define WEFT_COMPILER_PLAN_DIALECT_PLAN_TD
include "graph/ir/base.td"

def PlanDialect : Dialect {
  let name = "plan";
  let cppNamespace = "::weft::plan";
  let summary = "Units of code generation, and rearrangements that kernels ask for.";
  let usePropertiesForAttributes = 0;
}

class Plan_Op<string mnemonic, list<Trait> traits = []> : Op<PlanDialect, mnemonic, traits>;

def Plan_FusionOp : Plan_Op<"fusion", [Pure, IsolatedFromAbove, SingleBlock]> {
  let summary = "Ops that are computed by one kernel.";
  let description = [{
    The body takes the operands as arguments, holds weft ops (and `plan.unpack`) and ends with `plan.yield` of the results. Buffers of the kernel are the
    operands, then the results. What a body may hold depends on `kind`; compiler/codegen/emit.h has the contract.
  }];
  let arguments = (ins Variadic<Weft_Tensor>:$inputs, StrAttr:$kind);
  let results = (outs Variadic<Weft_Tensor>:$outs);
  let regions = (region SizedRegion<1>:$body);
  let hasVerifier = 1;
  let skipDefaultBuilders = 1;
  let builders = [OpBuilder<(ins "::mlir::TypeRange":$results, "::mlir::ValueRange":$inputs, "::llvm::StringRef":$kind)>];
  let extraClassDeclaration = [{
    // The block of the body; ends with a YieldOp.
    ::mlir::Block* body() { return &getBody().front(); }
    ::mlir::Operation* yield() { return body()->getTerminator(); }
  }];
}

def Plan_YieldOp : Plan_Op<"yield", [Pure, ReturnLike, Terminator, HasParent<"FusionOp">]> {
  let summary = "Ends a fusion with its results.";
  let arguments = (ins Variadic<Weft_Tensor>:$values);
}

def Plan_WeightOp : Plan_Op<"weight", [Pure]> {
  let summary = "A constant whose elements lie outside of the IR: tensor `index` of the compilation's WeightTable (compiler/passes/weight_table.h).";
  let arguments = (ins I64Attr:$index);
  let results = (outs Weft_Tensor:$y);
  let hasVerifier = 1;
}

def Plan_BarrierOp : Plan_Op<"barrier", [Pure, AllTypesMatch<["x", "y"]>]> {
  let summary = "x under another name, in the same memory. What is computed of it is not taken for what is computed of x, and no kernel reaches across: so what "
                "is computed again stays apart. Barriers of one value with different labels stay apart as well.";
  let arguments = (ins Weft_Tensor:$x, StrAttr:$label);
  let results = (outs Weft_Tensor:$y);
}

def Plan_TransferOp : Plan_Op<"transfer", [Pure, AllTypesMatch<["x", "y"]>]> {
  let summary = "A copy of x on another device, that of the attribute `weft.device`, or, where there is none, the main one. It is the only op whose operand and "
                "result are on two devices, and no kernel reaches across.";
  let arguments = (ins Weft_Tensor:$x);
  let results = (outs Weft_Tensor:$y);
}

def Plan_CutOp : Plan_Op<"cut", [Pure]> {
  let summary = "Dimension `axis` of x, of n elements, as rows of one length, one after the other: [..., n, ...] becomes [..., parts, length, ...]. Past the last "
                "element there are zeros (false), in all of the last parts where they are more than it takes. It is an index alone, and lies in memory nowhere but "
                "where somebody else asks for that.";
  let arguments = (ins Weft_Tensor:$x, I64Attr:$axis);
  let results = (outs Weft_Tensor:$y);
  let hasVerifier = 1;
  let skipDefaultBuilders = 1;
  let builders = [OpBuilder<(ins "::mlir::Value":$x, "int64_t":$axis, "int64_t":$parts, "const ::weft::DimExpr&":$length)>];
}

def Plan_PartialSumsOp : Plan_Op<"partial_sums", [Pure]> {
  let summary = "A contraction of a and b by parts of its depth: for weft.`contraction` (matmul, conv2d, conv2d_filter_grad) with the attributes `options`, whose result "
                "is [...], [parts, ...]. Part p is the sum of steps [p * length, (p + 1) * length) of the depth, as its kernel counts them "
                "(compiler/codegen/contraction_layout.h); there are as many as the depth takes, and added up they are the result. Where that is f16 or bf16 they are f32, "
                "not rounded yet.";
  let arguments = (ins Weft_Tensor:$a, Weft_Tensor:$b, StrAttr:$contraction, DictionaryAttr:$options, I64Attr:$length);
  let results = (outs Weft_Tensor:$y);
  let hasVerifier = 1;
}

// The right operand of a contraction, rearranged so that its kernel reads it in order. The operand is seen as a matrix of K rows and N = groups * n columns,
// [batch..., K, N], where K is the product of `k_dims` dimensions, or [batch..., N, K] with `transpose` (then k_dims = 1 and groups = 1). The result is
// [batch..., groups, ceil(n / panel), K, panel]; columns past n are 0.
class Plan_Panels<string mnemonic> : Plan_Op<mnemonic, [Pure]> {
  let arguments = (ins Weft_Tensor:$x, I64Attr:$panel, DefaultValuedAttr<I64Attr, "1">:$k_dims, DefaultValuedAttr<I64Attr, "1">:$groups,
                       DefaultValuedAttr<BoolAttr, "false">:$transpose);
  let results = (outs Weft_Tensor:$y);
  let hasVerifier = 1;
}
def Plan_PackOp : Plan_Panels<"pack"> {
  let summary = "Rearranges a contraction's right operand into panels.";
}
def Plan_UnpackOp : Plan_Panels<"unpack"> {
  let summary = "The inverse of plan.pack, with the same attributes. It stands in the bodies of contractions, and says that the operand lies in panels there.";
}

#endif
