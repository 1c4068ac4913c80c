#include "compiler/codegen/cuda/thread.h"

#include <string>

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

namespace weft {

using mlir::Value;

namespace {

template <typename Register>
Value Read(KernelBuilder& kernel) {
  mlir::ImplicitLocOpBuilder& b = kernel.b();
  Value value = Register::create(b, b.getI32Type());
  return mlir::arith::ExtUIOp::create(b, b.getI64Type(), value);
}

}  // namespace

Value ThreadInBlock(KernelBuilder& kernel) { return Read<mlir::NVVM::ThreadIdXOp>(kernel); }

Value BlockInGrid(KernelBuilder& kernel) { return Read<mlir::NVVM::BlockIdXOp>(kernel); }

Value GlobalThread(KernelBuilder& kernel) {
  Value block = BlockInGrid(kernel);
  return kernel.Add(kernel.Mul(block, kThreadsPerBlock), ThreadInBlock(kernel));
}

void SetBlockThreads(FusionEmitter& f, int threads) {
  f.spec.block_threads = threads;
  mlir::ImplicitLocOpBuilder& b = f.kernel.b();
  const mlir::Attribute reqntid = b.getStrArrayAttr({"nvvm.reqntid", std::to_string(threads)});
  f.kernel.function()->setAttr("passthrough", b.getArrayAttr(reqntid));
}

}  // namespace weft
