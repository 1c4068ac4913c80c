// Counter-based random numbers: Philox4x32-10 (Salmon et al., SC 2011) keyed by `seed` and the scalar `stream` (i64), counted by the element's index, so that a
// value depends on neither device nor thread count.
#ifndef WEFT_GRAPH_OPS_RANDOM_TD
#define WEFT_GRAPH_OPS_RANDOM_TD
include "graph/ir/base.td"

class Weft_Random<string mnemonic, string summary_> : Weft_Op<mnemonic, "random", [Pure]> {
  let summary = summary_;
  let arguments = (ins Weft_Tensor:$stream, I64Attr:$seed, Weft_Dims:$shape, Weft_DType:$dtype);
  let results = (outs Weft_Tensor:$y);
  let dtypes = Floats;
  let infer = "InferRandom";
  let gradient = NoGradient<"random numbers do not depend on anything continuous">;
  let constraints = ["C1: stream is a scalar i64", "C2: seed is in [0, 2^32)"];
}
// Element i takes word i % 4 of the block with counter (low32(i / 4), high32(i / 4), 0, 0) and key (seed, low32(stream)) after word 2 of the counter is set to high32(stream).
def Weft_RandomUniformOp : Weft_Random<"random_uniform", "Uniform in [0, 1): the top b bits of the word divided by 2 to the power b, exactly, where b is 32 for f64, 24 for f32, 11 for f16 and 8 for bf16.">;
def Weft_RandomNormalOp : Weft_Random<"random_normal", "Standard normal by Box-Muller: elements 2j and 2j+1 are r*cos(t), r*sin(t) with u = (word(2j) + 0.5) / 2^32, r = sqrt(-2 log u), t = 2 pi word(2j+1) / 2^32; computed in f32 for f32, f16 and bf16 (whole numbers are rounded to f32 first: u = (f32(word) + 0.5) * 2^-32, t = f32(word) * f32(2 pi / 2^32)), in f64 for f64."> {
  let test = Weft_Test<"-2", "2", 16, "1">;
}
def Weft_RandomBitsOp : Weft_Random<"random_bits", "The words themselves, as i32."> { let dtypes = Weft_DTypes<["i32"]>; }

#endif
