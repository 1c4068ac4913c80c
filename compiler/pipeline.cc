#include "compiler/pipeline.h"

#include "compiler/api.h"
#include "compiler/codegen/contraction.h"
#include "compiler/codegen/contraction_layout.h"
#include "compiler/pass_runner.h"
#include "compiler/passes/passes.h"
#include "compiler/passes/place.h"
#include "compiler/passes/weight_table.h"
#include "compiler/plan_dialect/plan.h"

namespace weft {

namespace {

// The second half: from ops to kernels in their order.
void MakeKernels(PassRunner& run, mlir::func::FuncOp function, const DeviceTargets& targets,
                 const CompileOptions& options, WeightTable& weights) {
  // After folding, since constants are packed now rather than in each run.
  run.Optional("pack", function, [&] {
    return PackContractions(function, [&](mlir::Operation* op, bool is_constant) {
      const Target& target = targets.Of(op);
      const int64_t panel = PreferredPanel(op, is_constant, target);
      auto weight = op->getOperand(1).getDefiningOp<plan::WeightOp>();
      if (panel == 0 || !weight) return panel;
      return weights.ShareablePanel(static_cast<int64_t>(weight.getIndex()), target.vector_bits,
                                    panel);
    });
  });
  run.Optional("fold", function, [&] { return FoldConstants(function, weights); });
  run.Optional("dce", function, [&] { return EliminateDeadCode(function); });

  // When no other op changes any more: it looks at what would be one kernel.
  run.Optional("split_transposes", function, [&] { return SplitTransposes(function, targets); });
  // From here on, one op that computes is one kernel.
  run.Required("fuse", function, [&] {
    return FormFusions(function, /*merge=*/run.Enabled("fuse"), options.explain);
  });
  run.Check([&] { return CheckFused(function); });
  // Last, because liveness is that of whole kernels.
  run.Optional("schedule", function, [&] { return Schedule(function); });
}

}  // namespace

absl::Status Lower(mlir::func::FuncOp function, const std::map<std::string, int64_t>& sizes,
                   const DeviceTargets& targets, const CompileOptions& options,
                   const MemoryBudget& budget, WeightTable& weights) {
  PassRunner run(options, function.getSymName().str() + "/");

  // Bodies of functions whose gradient is the author's become part of what is around them.
  run.Required("inline", function, [&] { return InlineCustomGradients(function); });

  // While the gradient's copy of a loop is still a copy: every later pass may change one of the
  // two.
  run.Optional("merge_loops", function, [&] { return MergeLoops(function); });

  // What is known now turns into constants and sizes first: every later pass does more with it.
  if (options.freeze) {
    run.Required("freeze", function, [&] {
      return FreezeVariables(function, options.variables, weights,
                             /*required=*/!options.signatures.empty());
    });
  }
  if (!sizes.empty()) {
    run.Required("specialize", function, [&] { return SpecializeDims(function, sizes); });
  }
  // After freezing, since constants need no copies; before all that rewrites ops, which does not
  // look beyond a device then.
  run.Required("place", function, [&] { return PlaceOps(function, targets); });
  run.Optional("simplify", function, [&] { return Simplify(function); });
  run.Optional("fold", function, [&] { return FoldConstants(function, weights); });

  // Kernels take fewer forms of ops than graphs have.
  run.Required("decompose", function, [&] { return Decompose(function); });
  run.Check([&] { return CheckDecomposed(function); });

  // What decomposition made is simplified and folded as well; only then are equal ops equal.
  run.Optional("simplify", function, [&] { return Simplify(function); });
  // After simplification, which would make one reduction of the two.
  run.Optional("split_reductions", function, [&] { return SplitReductions(function, targets); });
  // After that, which would cut the reductions over parts that this one makes.
  run.Optional("split_contractions", function,
               [&] { return SplitContractions(function, targets); });
  // After it, since a whole and its parts differ in whether their kernels take padding.
  run.Optional("absorb_padding", function,
               [&] { return AbsorbPadding(function, targets, ConvolutionPads); });
  run.Optional("cse", function, [&] { return EliminateCommonSubexpressions(function); });
  run.Optional("dce", function, [&] { return EliminateDeadCode(function); });

  // After CSE, which would take what is computed again for what has been; before fusion, so that it
  // is computed in the kernels that read it.
  run.Optional("rematerialize", function, [&] {
    MemoryBudget within = budget;
    within.explain = options.explain;
    CompileOptions quiet = options;
    quiet.dump = nullptr;
    quiet.timing = nullptr;
    quiet.explain = nullptr;
    within.finish = [&](mlir::func::FuncOp copy) {
      PassRunner finish(quiet, "");
      MakeKernels(finish, copy, targets, quiet, weights);
      return finish.status();
    };
    return Rematerialize(function, within);
  });
  MakeKernels(run, function, targets, options, weights);
  return run.status();
}

}  // namespace weft
