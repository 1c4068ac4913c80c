// For tests: a fusion of weft ops, run as a kernel and by the reference evaluator.
#ifndef WEFT_COMPILER_CODEGEN_TEST_FUSION_H_
#define WEFT_COMPILER_CODEGEN_TEST_FUSION_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "compiler/codegen/emit.h"
#include "compiler/codegen/target.h"
#include "compiler/codegen/test_device.h"
#include "compiler/plan_dialect/plan.h"
#include "gtest/gtest.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/OwningOpRef.h"
#include "proto/host_tensor.h"

namespace weft {

using Symbols = std::map<std::string, int64_t>;

inline constexpr DataType kEveryDType[] = {DataType::kBool, DataType::kI8,  DataType::kU8,
                                           DataType::kI32,  DataType::kI64, DataType::kF16,
                                           DataType::kBF16, DataType::kF32, DataType::kF64};

// The targets that this run of a test is for: those that the environment's WEFT_TEST_TARGETS lists,
// separated by commas, or else two levels of processors.
const std::vector<std::string>& TestTargets();
// Whether those are GPUs, which the emulator stands for.
bool TestsGpu();

// What a fusion costs, for benchmarks: the least time of `repeats` launches on one thread.
struct FusionTiming {
  int repeats = 20;
  double seconds = 0;
  int64_t flops = 0, bytes = 0;  // as the kernel states them
  double compile_seconds = 0;
};

// First its body is built op by op, or parsed; then it is compiled, once; then it runs. What may
// fail by a fault of the code generator is a test failure; Try... return it instead.
class TestFusion {
 public:
  explicit TestFusion(const std::string& target = TestTargets().front())
      : TestFusion(*Target::Parse(target)) {}
  explicit TestFusion(const Target& target);

  // An operand: "f32", {"batch", "10"}.
  mlir::Value Input(DataType dtype, const std::vector<std::string>& shape);
  // A node; `attributes` as in MLIR's text: "axes = array<i64: 1>, keep_dims = true". Result types
  // come from the op's inference.
  mlir::Value Op(const std::string& name, std::vector<mlir::Value> operands,
                 const std::string& attributes = "", int result = 0);
  // Splat of one number.
  mlir::Value Constant(DataType dtype, double value);
  // Ends the body and compiles the kernel.
  void Finish(const std::string& kind, std::vector<mlir::Value> results);
  absl::Status TryFinish(const std::string& kind, std::vector<mlir::Value> results);
  // Compiles a body given as text, from "^bb0(" to the yield.
  absl::Status TryText(const std::string& kind, const std::string& body);

  const KernelSpec& spec() const { return spec_; }
  // The kernel as it was emitted.
  const std::string& text() const { return text_; }
  // What became of it for a GPU; and passes over the banks of shared memory that its runs lost to
  // conflicts.
  const std::string& ptx() const { return device_->ptx(); }
  std::optional<int64_t> bank_conflicts() const { return device_->bank_conflicts(); }
  // Sectors of 32 bytes that accesses of its runs to a GPU's global memory touched, where that is
  // known.
  std::optional<int64_t> sectors() const;
  // Whether its runs touched no sector more often than they had to.
  void ExpectNoSectorTwice() const;
  // What follows the name of each instruction there that accesses global memory: "v4.b32" is one of
  // 16 bytes.
  std::vector<std::string> GlobalAccesses() const;
  // The kernel as a function of this process; null where it did not compile, and on a GPU.
  WeftKernel kernel() const { return device_ ? device_->Find(spec_.symbol) : nullptr; }

  // How to launch it at those sizes; results of noise.
  absl::StatusOr<TestDevice::Launch> Prepare(const Symbols& symbols,
                                             std::vector<HostTensor>* results);
  // Sizes in bytes of the results.
  std::vector<int64_t> ResultBytes(const Symbols& symbols);
  // Values between low and high (integers: whole numbers), for each operand.
  std::vector<HostTensor> RandomInputs(const Symbols& symbols, double low = -2, double high = 2,
                                       int seed = 1);
  // Runs the kernel: all tiles at once; one by one from the last, as no order is promised; and with
  // results in the buffers of operands that they may share. All must give the same bits. Memory
  // around operands cannot be read, memory around results must not change.
  absl::StatusOr<std::vector<HostTensor>> TryRun(const std::vector<HostTensor>& inputs,
                                                 const Symbols& symbols);
  std::vector<HostTensor> Run(const std::vector<HostTensor>& inputs, const Symbols& symbols);
  std::vector<HostTensor> Evaluate(const std::vector<HostTensor>& inputs, const Symbols& symbols);
  // Runs both on random inputs; |a - b| <= ulps units of max(|b|, scale).
  void Check(const Symbols& symbols, double ulps = 0, double scale = 0, double low = -2,
             double high = 2);
  void CheckOn(const std::vector<HostTensor>& inputs, const Symbols& symbols, double ulps = 0,
               double scale = 0);
  // Launches the kernel on this processor.
  void Time(const std::vector<HostTensor>& inputs, const Symbols& symbols, FusionTiming* timing);

 private:
  void MakeFusion(const std::string& kind, mlir::Block& body, mlir::ValueRange results);
  absl::Status Compile();

  mlir::MLIRContext context_;
  Target target_;
  mlir::OwningOpRef<mlir::ModuleOp> graph_;
  std::unique_ptr<mlir::Block> block_;
  plan::FusionOp fusion_;
  KernelSpec spec_;
  std::string text_;
  std::unique_ptr<TestDevice> device_;
  double compile_seconds_ = 0;
};

// A fusion given as text, on `inputs`, whose shapes must be those of the block's arguments with
// `symbols` put in.
absl::StatusOr<std::vector<HostTensor>> RunFusion(const std::string& kind, const std::string& body,
                                                  const std::vector<HostTensor>& inputs,
                                                  const Symbols& symbols, const Target& target,
                                                  FusionTiming* timing = nullptr);
absl::StatusOr<std::vector<HostTensor>> RunFusion(const std::string& kind, const std::string& body,
                                                  const std::vector<HostTensor>& inputs,
                                                  const Symbols& symbols = {},
                                                  const std::string& target = TestTargets().front(),
                                                  FusionTiming* timing = nullptr);

// The target with a last-level cache so small that everything passes it.
Target WithoutCaches(const std::string& target);
// The target where f32 may be multiplied in tf32.
Target WithTf32(const std::string& target);
// The GPU with so few multiprocessors that small results have large tiles.
Target WithOneMultiprocessor(Target target);

}  // namespace weft

#endif  // WEFT_COMPILER_CODEGEN_TEST_FUSION_H_
