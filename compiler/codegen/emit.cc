#include "compiler/codegen/emit.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "compiler/codegen/accumulator.h"
#include "compiler/codegen/contraction.h"
#include "compiler/codegen/fusion_emitter.h"
#include "compiler/codegen/pack.h"
#include "compiler/codegen/scatter.h"
#include "compiler/codegen/window.h"
#include "graph/ir/dialect.h"
#include "graph/ir/types.h"
#include "graph/ops/op_info.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

namespace weft {
namespace {

// Bytes of parameters (tensor maps, pointers and sizes) that every driver takes for a GPU's kernel.
constexpr size_t kMaxCudaParameters = 4352;

bool IsLoopOp(mlir::Operation* op) {
  const OpInfo* info = FindOp(std::string_view(op->getName().getStringRef()));
  if (info != nullptr && info->elementwise) return true;
  if (auto constant = mlir::dyn_cast<ir::ConstantOp>(op)) {
    auto elements = mlir::dyn_cast<mlir::DenseElementsAttr>(constant.getValue());
    return elements && elements.isSplat();
  }
  return mlir::isa<ir::BroadcastOp, ir::ReshapeOp, ir::TransposeOp, ir::SliceOp, ir::PadOp,
                   ir::ConcatOp, ir::ReverseOp, ir::IotaOp, ir::DimSizeOp, ir::GatherOp,
                   ir::OneHotOp, ir::RandomUniformOp, ir::RandomNormalOp, ir::RandomBitsOp,
                   plan::CutOp>(op);
}

absl::Status Broken(mlir::Operation* op, absl::string_view problem) {
  return absl::InternalError(
      absl::StrCat("fusion breaks its contract: ", problem, ", at ", ir::Describe(op->getLoc())));
}

// Of a size that a kernel needs: a product of coordinates that shapes which meet in it give.
absl::Status TooLong(plan::FusionOp fusion) {
  return absl::UnimplementedError(absl::StrCat(
      "expected open dimensions whose products are expressions of at most 4096 characters, got "
      "longer ones where shapes meet in one kernel, at ",
      ir::Describe(fusion.getLoc()), "; give them shorter names"));
}

absl::Status CheckBody(plan::FusionOp fusion, bool reductions) {
  for (mlir::Operation& op : fusion.body()->without_terminator()) {
    if (IsLoopOp(&op) || (reductions && IsReduction(&op))) continue;
    return Broken(&op, absl::StrCat("a ", fusion.getKind().str(), " cannot hold ",
                                    op.getName().getStringRef().str()));
  }
  return absl::OkStatus();
}

absl::Status Emit(FusionEmitter& f) {
  const llvm::StringRef kind = f.fusion.getKind();
  const bool reduces = kind == plan::kRow || kind == plan::kColumn;
  if (reduces || kind == plan::kLoop) {
    absl::Status checked = CheckBody(f.fusion, reduces);
    if (!checked.ok()) return checked;
  }
  if (f.results.empty()) return Broken(f.fusion, "it has no results");
  if (kind == plan::kLoop) return f.kernel.on_gpu() ? EmitCudaLoop(f) : EmitLoop(f);
  if (reduces) {
    auto ops = f.fusion.body()->without_terminator();
    if (llvm::none_of(ops, [](mlir::Operation& op) { return IsReduction(&op); })) {
      return Broken(f.fusion, "it has no reduction");
    }
    if (f.kernel.on_gpu()) return kind == plan::kRow ? EmitCudaRow(f) : EmitCudaColumn(f);
    return kind == plan::kRow ? EmitRow(f) : EmitColumn(f);
  }
  return Broken(f.fusion, absl::StrCat("unknown kind '", kind.str(), "'"));
}

absl::StatusOr<KernelSpec> EmitOfKind(plan::FusionOp fusion, const Target& target,
                                      mlir::ModuleOp kernels) {
  const llvm::StringRef kind = fusion.getKind();
  if (target.kind == Target::Kind::kCuda) {
    if (kind == plan::kPack) {
      return absl::UnimplementedError(absl::StrCat("no code for ", target.name,
                                                   " is made for a fusion of kind '", kind.str(),
                                                   "', at ", ir::Describe(fusion.getLoc())));
    }
    kernels.getContext()->getOrLoadDialect<mlir::NVVM::NVVMDialect>();
  }
  if (kind == plan::kContraction) return EmitContractionKernel(fusion, target, kernels);
  if (kind == plan::kWindow) return EmitWindow(fusion, target, kernels);
  if (kind == plan::kScatter) return EmitScatter(fusion, target, kernels);
  if (kind == plan::kPack) return EmitPack(fusion, target, kernels);
  if (kind == plan::kScan) return EmitScan(fusion, target, kernels);
  FusionEmitter f(fusion, target, kernels);
  absl::Status emitted = Emit(f);
  if (emitted.ok() && f.values.failed()) emitted = TooLong(fusion);
  if (!emitted.ok()) {
    f.kernel.function().erase();
    return emitted;
  }
  f.kernel.Finish();
  f.spec.symbol = f.kernel.function().getName().str();
  f.spec.sizes = f.kernel.sizes();
  return f.spec;
}

}  // namespace

absl::StatusOr<KernelSpec> EmitKernel(plan::FusionOp fusion, const Target& target,
                                      mlir::ModuleOp kernels) {
  absl::StatusOr<KernelSpec> spec = EmitOfKind(fusion, target, kernels);
  // It could be launched at no sizes.
  if (spec.ok() && (spec->tiles.IsOverflow() || spec->scratch_bytes.IsOverflow() ||
                    llvm::any_of(spec->sizes, [](const DimExpr& e) { return e.IsOverflow(); }))) {
    kernels.lookupSymbol(spec->symbol)->erase();
    return TooLong(fusion);
  }
  if (!spec.ok()) return spec;
  // A number for reports: one that is too long to write down is no reason to refuse runs.
  if (spec->bytes.IsOverflow()) spec->bytes = DimExpr(0);
  if (target.kind != Target::Kind::kCuda) return spec;
  const size_t buffers = fusion->getNumOperands() + fusion->getNumResults();
  const size_t sizes = spec->sizes.size() - NumMapSizes(spec->maps);
  if (kTensorMapBytes * spec->maps.size() + 8 * (buffers + sizes) > kMaxCudaParameters) {
    kernels.lookupSymbol(spec->symbol)->erase();
    return absl::UnimplementedError(absl::StrCat("expected a kernel of at most ",
                                                 kMaxCudaParameters / 8, " tensors and sizes for ",
                                                 target.name, ", got one of ", buffers, " and ",
                                                 sizes, ", at ", ir::Describe(fusion.getLoc())));
  }
  return spec;
}

}  // namespace weft
