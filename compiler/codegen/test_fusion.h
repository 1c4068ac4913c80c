// For tests: a fusion of weft ops, run as a kernel and by the reference evaluator.
#ifndef WEFT_COMPILER_CODEGEN_TEST_FUSION_H_
#define WEFT_COMPILER_CODEGEN_TEST_FUSION_H_

#include <cstdint>
#include <initializer_list>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "compiler/codegen/emit.h"
#include "compiler/codegen/test_kernel.h"
#include "compiler/plan_dialect/plan.h"
#include "proto/host_tensor.h"

namespace weft {

using Symbols = std::map<std::string, int64_t>;

class TestFusion {
 public:
  explicit TestFusion(const std::string& target = "cpu:native")
      : TestFusion(*Target::Parse(target)) {}
  explicit TestFusion(const Target& target);

  // An operand: "f32", {"batch", "10"}.
  mlir::Value Input(DataType dtype, std::initializer_list<const char*> shape);
  // A node; `attributes` as in MLIR's text: "axes = array<i64: 1>, keep_dims = true". Result types
  // come from the op's inference.
  mlir::Value Op(const std::string& name, std::vector<mlir::Value> operands,
                 const std::string& attributes = "", int result = 0);
  // Splat of one number.
  mlir::Value Constant(DataType dtype, double value);
  // Ends the body and compiles the kernel.
  void Finish(const std::string& kind, std::vector<mlir::Value> results);
  const KernelSpec& spec() const { return spec_; }
  // The kernel as it was emitted.
  const std::string& text() const { return text_; }
  WeftKernel kernel() const { return module_->Find(spec_.symbol); }

  // Sizes in bytes of the results.
  std::vector<int64_t> ResultBytes(const Symbols& symbols);
  // Values between low and high (integers: whole numbers), for each operand.
  std::vector<HostTensor> RandomInputs(const Symbols& symbols, double low = -2, double high = 2,
                                       int seed = 1);
  // Runs the kernel, all tiles at once and one by one from the last, which must give the same bits.
  // Memory next to operands cannot be read, memory next to results must not change.
  std::vector<HostTensor> Run(const std::vector<HostTensor>& inputs, const Symbols& symbols);
  std::vector<HostTensor> Evaluate(const std::vector<HostTensor>& inputs, const Symbols& symbols);
  // Runs both on random inputs; |a - b| <= ulps units of max(|b|, scale).
  void Check(const Symbols& symbols, double ulps = 0, double scale = 0, double low = -2,
             double high = 2);
  void CheckOn(const std::vector<HostTensor>& inputs, const Symbols& symbols, double ulps = 0,
               double scale = 0);

 private:
  mlir::MLIRContext context_;
  Target target_;
  std::unique_ptr<TestModule> module_;
  mlir::OwningOpRef<mlir::ModuleOp> graph_;
  std::unique_ptr<mlir::Block> block_;
  plan::FusionOp fusion_;
  KernelSpec spec_;
  std::string text_;
};

// The target with a last-level cache so small that everything passes it.
Target WithoutCaches(const std::string& target);

}  // namespace weft

#endif  // WEFT_COMPILER_CODEGEN_TEST_FUSION_H_
