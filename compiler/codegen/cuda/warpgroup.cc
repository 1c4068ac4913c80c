#include "compiler/codegen/cuda/warpgroup.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

namespace weft {
namespace {

using mlir::Value;
using Values = CodeBuilder::Values;
namespace arith = mlir::arith;
namespace LLVM = mlir::LLVM;
namespace NVVM = mlir::NVVM;

// Text of PTX that takes the operands as $N, $N + 1, ..., where N is the number of sums, and has
// the sums, $0 to $N - 1, in the same registers before and after. LLVM has no instructions for
// this: it must not move a sum to another register while a product is under way.
Values UpdateInPlace(KernelBuilder& kernel, const std::string& text, const Values& operands,
                     const Values& sums) {
  mlir::ImplicitLocOpBuilder& b = kernel.b();
  std::string constraints;
  for (size_t i = 0; i < sums.size(); ++i) absl::StrAppend(&constraints, i == 0 ? "" : ",", "=f");
  for (size_t i = 0; i < operands.size(); ++i) absl::StrAppend(&constraints, ",l");
  for (size_t i = 0; i < sums.size(); ++i) absl::StrAppend(&constraints, ",", i);
  Values all = operands;
  all.insert(all.end(), sums.begin(), sums.end());
  const llvm::SmallVector<mlir::Type> types(sums.size(), b.getF32Type());
  const mlir::Type result = LLVM::LLVMStructType::getLiteral(b.getContext(), types);
  auto updated = LLVM::InlineAsmOp::create(b, result, all, text, constraints,
                                           /*has_side_effects=*/true, /*is_align_stack=*/false,
                                           LLVM::TailCallKind::None, /*asm_dialect=*/nullptr,
                                           /*operand_attrs=*/nullptr);
  Values values;
  for (size_t i = 0; i < sums.size(); ++i) {
    values.push_back(LLVM::ExtractValueOp::create(b, updated.getRes(), static_cast<int64_t>(i)));
  }
  return values;
}

// What descriptors count addresses in.
constexpr int64_t kDescriptorUnit = 16;

}  // namespace

// 128-byte swizzle; the distance of eight rows, which is that of eight rows or columns where
// neighbours are steps of depth, and of eight steps of depth otherwise; and then, that of panels.
Value WarpgroupMatrix::Descriptor(KernelBuilder& kernel, Value stage, Value first) const {
  constexpr uint64_t kLayout =
      uint64_t{1} << 62 | static_cast<uint64_t>(8 * kRowBytes / kDescriptorUnit) << 32;
  const uint64_t layout = kLayout | static_cast<uint64_t>(panel_bytes() / kDescriptorUnit) << 16;
  constexpr int64_t kAddresses = 0x3fff;
  mlir::ImplicitLocOpBuilder& b = kernel.b();
  Value offset = kernel.Add(kernel.Mul(stage, stage_bytes), kernel.Mul(first, kRowBytes));
  Value address = kernel.Add(LLVM::PtrToIntOp::create(b, b.getI64Type(), shared), offset);
  Value units =
      arith::AndIOp::create(b, kernel.Div(address, kDescriptorUnit), kernel.I64(kAddresses));
  return arith::OrIOp::create(b, units, kernel.I64(static_cast<int64_t>(layout)));
}

int64_t WarpgroupMatrix::descriptor_of_depth() const {
  return (rows_are_own ? 32 : 16 * kRowBytes) / kDescriptorUnit;
}

std::vector<Value> StartWarpgroupProduct(KernelBuilder& kernel, const WarpgroupProduct& product,
                                         const Values& sums) {
  const size_t left = sums.size(), right = left + 1;
  const bool tf32 = product.dtype == DataType::kF32;
  const char* element = tf32 ? "tf32" : product.dtype == DataType::kF16 ? "f16" : "bf16";
  const size_t per_block = sums.size() / static_cast<size_t>(product.row_blocks);
  std::string text =
      "{\n\t.reg .pred accumulate;\n\t.reg .b64 left, right;\n\tsetp.ne.b32 accumulate, 1, 0;\n"
      "\twgmma.fence.sync.aligned;\n";
  for (int64_t step = 0; step < product.steps; ++step) {
    absl::StrAppend(&text, "\tadd.s64 right, $", right, ", ", step * product.right.step, ";\n");
    for (int64_t block = 0; block < product.row_blocks; ++block) {
      absl::StrAppend(&text, "\tadd.s64 left, $", left, ", ",
                      step * product.left.step + block * product.row_block_step, ";\n");
      absl::StrAppend(&text, "\twgmma.mma_async.sync.aligned.m64n", product.columns,
                      tf32 ? "k8" : "k16", ".f32.", element, ".", element, " {");
      for (size_t i = 0; i < per_block; ++i) {
        absl::StrAppend(&text, i == 0 ? "$" : ", $", static_cast<size_t>(block) * per_block + i);
      }
      absl::StrAppend(&text, "}, left, right, accumulate, 1, 1");
      if (!tf32) {
        absl::StrAppend(&text, ", ", product.left.transposed ? 1 : 0, ", ",
                        product.right.transposed ? 1 : 0);
      }
      absl::StrAppend(&text, ";\n");
    }
  }
  absl::StrAppend(&text, "\twgmma.commit_group.sync.aligned;\n\t}");
  return UpdateInPlace(kernel, text, {product.left.descriptor, product.right.descriptor}, sums);
}

void WaitForWarpgroupProducts(KernelBuilder& kernel, int64_t groups) {
  NVVM::WgmmaWaitGroupSyncOp::create(kernel.b(), static_cast<uint64_t>(groups));
}

std::vector<Value> FinishWarpgroupProducts(KernelBuilder& kernel, const Values& sums) {
  return UpdateInPlace(kernel, "wgmma.wait_group.sync.aligned 0;", {}, sums);
}

void FenceForWarpgroups(KernelBuilder& kernel) {
  mlir::MLIRContext* context = kernel.b().getContext();
  NVVM::FenceProxyOp::create(kernel.b(),
                             NVVM::ProxyKindAttr::get(context, NVVM::ProxyKind::async_shared),
                             NVVM::SharedSpaceAttr::get(context, NVVM::SharedSpace::shared_cta));
}

}  // namespace weft
