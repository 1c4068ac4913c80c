#include "compiler/codegen/cuda/stage_ring.h"

#include "compiler/codegen/cuda/warpgroup.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

namespace weft {

using mlir::Value;
namespace arith = mlir::arith;
namespace NVVM = mlir::NVVM;
namespace scf = mlir::scf;

namespace {

Value I32(KernelBuilder& kb, int64_t value) {
  return arith::ConstantIntOp::create(kb.b(), kb.b().getI32Type(), value);
}

}  // namespace

void StageRing::Make(Value thread) {
  mlir::ImplicitLocOpBuilder& b = kb_.b();
  kb_.If(kb_.Equal(thread, kb_.I64(0)), [&] {
    for (int64_t stage = 0; stage < stages_; ++stage) {
      NVVM::MBarrierInitOp::create(b, Full(kb_.I64(stage)), I32(kb_, 1), Value());
      NVVM::MBarrierInitOp::create(b, Empty(kb_.I64(stage)), I32(kb_, readers_), Value());
    }
    // Copies count there as asynchronous operations.
    FenceForWarpgroups(kb_);
  });
}

StageRing::Position StageRing::Next(const Position& at) {
  Value next = kb_.Add(at.stage, 1);
  Value is_last = kb_.Equal(next, kb_.I64(stages_));
  return {kb_.Select(is_last, kb_.I64(0), next),
          kb_.Select(is_last, kb_.Sub(kb_.I64(1), at.round), at.round)};
}

Value StageRing::Before(const Position& at) {
  Value is_first = kb_.Equal(at.stage, kb_.I64(0));
  return kb_.Select(is_first, kb_.I64(stages_ - 1), kb_.Sub(at.stage, 1));
}

// In the first round the stage is empty from the start: a wait for the phase before the first is
// over at once.
Value StageRing::BeginToFill(const Position& at, int64_t bytes) {
  mlir::ImplicitLocOpBuilder& b = kb_.b();
  Wait(Empty(at.stage), kb_.Sub(kb_.I64(1), at.round));
  Value full = Full(at.stage);
  NVVM::MBarrierArriveExpectTxOp::create(b, b.getI64Type(), full, I32(kb_, bytes),
                                         NVVM::MemScopeKind::CTA, /*relaxed=*/false, Value());
  return full;
}

void StageRing::WaitUntilFull(const Position& at) { Wait(Full(at.stage), at.round); }

void StageRing::Release(Value stage) {
  mlir::ImplicitLocOpBuilder& b = kb_.b();
  NVVM::MBarrierArriveOp::create(b, b.getI64Type(), Empty(stage), Value());
}

Value StageRing::BarrierAt(Value number) {
  return kb_.At(barriers_, kb_.Mul(number, kBarrierBytes), kb_.b().getI8Type());
}

void StageRing::Wait(Value barrier, Value parity) {
  mlir::ImplicitLocOpBuilder& b = kb_.b();
  parity = arith::TruncIOp::create(b, b.getI32Type(), parity);
  Value yes = arith::ConstantIntOp::create(b, b.getI1Type(), 1);
  scf::WhileOp::create(
      b, mlir::TypeRange(), mlir::ValueRange(),
      [&](mlir::OpBuilder& inside, mlir::Location location, mlir::ValueRange) {
        mlir::ImplicitLocOpBuilder loop(location, inside);
        Value is_over =
            NVVM::MBarrierTryWaitOp::create(loop, loop.getI1Type(), barrier, parity, Value());
        scf::ConditionOp::create(loop, arith::XOrIOp::create(loop, is_over, yes),
                                 mlir::ValueRange());
      },
      [](mlir::OpBuilder& inside, mlir::Location location, mlir::ValueRange) {
        scf::YieldOp::create(inside, location);
      });
}

}  // namespace weft
