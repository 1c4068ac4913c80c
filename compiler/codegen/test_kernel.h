// For tests: compiles kernels for this machine and runs them.
#ifndef WEFT_COMPILER_CODEGEN_TEST_KERNEL_H_
#define WEFT_COMPILER_CODEGEN_TEST_KERNEL_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "compiler/codegen/cpu/backend.h"
#include "compiler/codegen/cpu/loaded_image.h"
#include "compiler/codegen/llvm_lowering.h"
#include "compiler/codegen/target.h"
#include "gtest/gtest.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/OwningOpRef.h"

namespace weft {

// Compiles the kernels, which are consumed, and maps them into this process.
inline absl::StatusOr<std::unique_ptr<LoadedImage>> LoadKernels(mlir::ModuleOp kernels,
                                                                const Target& target) {
  auto object = CompileToObject(kernels, target);
  if (!object.ok()) return object.status();
  auto image = LinkImage({*object});
  if (!image.ok()) return image.status();
  return std::make_unique<LoadedImage>(*image);
}

// A module of kernels, first emitted into, then compiled.
class TestModule {
 public:
  explicit TestModule(mlir::MLIRContext& context, const Target& target) : target_(target) {
    PrepareContext(&context);
    module_ = mlir::ModuleOp::create(mlir::UnknownLoc::get(&context));
  }
  mlir::ModuleOp module() { return *module_; }

  // Consumes the module. Failures are test failures, and Find then gives null.
  void Compile() {
    auto image = LoadKernels(*module_, target_);
    ASSERT_TRUE(image.ok()) << image.status();
    image_ = *std::move(image);
  }
  WeftKernel Find(const std::string& name) const { return image_ ? image_->Find(name) : nullptr; }

 private:
  Target target_;
  mlir::OwningOpRef<mlir::ModuleOp> module_;
  std::unique_ptr<LoadedImage> image_;
};

// Emits kernel `name`: buffer `inputs` = body(buffers 0 ... inputs - 1) for elements [begin, end),
// `lanes` at a time. Buffers hold whole vectors of the given memory types.
inline void EmitMap(mlir::ModuleOp module, const std::string& name,
                    const std::vector<mlir::Type>& inputs, mlir::Type output, int64_t lanes,
                    const std::function<mlir::Value(mlir::ImplicitLocOpBuilder&,
                                                    const std::vector<mlir::Value>&)>& body) {
  mlir::ImplicitLocOpBuilder b(module.getLoc(), module.getContext());
  b.setInsertionPointToEnd(module.getBody());
  auto pointer = mlir::LLVM::LLVMPointerType::get(module.getContext());
  mlir::Type i64 = b.getI64Type();
  auto function = mlir::func::FuncOp::create(
      b, name, b.getFunctionType({pointer, pointer, i64, i64, pointer}, {}));
  mlir::Block* entry = function.addEntryBlock();
  b.setInsertionPointToStart(entry);
  std::vector<mlir::Value> buffers;
  for (size_t i = 0; i <= inputs.size(); ++i) {
    mlir::Value slot =
        mlir::LLVM::GEPOp::create(b, pointer, pointer, entry->getArgument(0),
                                  llvm::ArrayRef<mlir::LLVM::GEPArg>{static_cast<int32_t>(i)});
    buffers.push_back(mlir::LLVM::LoadOp::create(b, pointer, slot));
  }
  mlir::Value step = mlir::arith::ConstantIntOp::create(b, i64, lanes);
  auto loop = mlir::scf::ForOp::create(b, entry->getArgument(2), entry->getArgument(3), step);
  mlir::func::ReturnOp::create(b);
  b.setInsertionPointToStart(loop.getBody());
  auto at = [&](int i, mlir::Type element) -> mlir::Value {
    return mlir::LLVM::GEPOp::create(b, pointer, element, buffers[i],
                                     llvm::ArrayRef<mlir::LLVM::GEPArg>{loop.getInductionVar()});
  };
  auto lane_type = [&](mlir::Type element) {
    return lanes == 1 ? element : mlir::Type(mlir::VectorType::get({lanes}, element));
  };
  std::vector<mlir::Value> values;
  for (size_t i = 0; i < inputs.size(); ++i) {
    values.push_back(
        mlir::LLVM::LoadOp::create(b, lane_type(inputs[i]), at(i, inputs[i]), /*alignment=*/1));
  }
  mlir::Value result = body(b, values);
  mlir::LLVM::StoreOp::create(b, result, at(inputs.size(), output), /*alignment=*/1);
}

}  // namespace weft

#endif  // WEFT_COMPILER_CODEGEN_TEST_KERNEL_H_
