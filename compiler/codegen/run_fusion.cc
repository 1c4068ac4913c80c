#include "compiler/codegen/run_fusion.h"

#include <time.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "compiler/codegen/cpu/backend.h"
#include "compiler/codegen/cpu/loaded_image.h"
#include "compiler/codegen/llvm_lowering.h"
#include "compiler/plan_dialect/plan.h"
#include "graph/ir/dialect.h"
#include "graph/ir/types.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Parser/Parser.h"

namespace weft {
namespace {

// Time that this thread ran: what else the machine does counts little.
double ThreadSeconds() {
  timespec time;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

absl::StatusOr<HostTensor> Allocate(mlir::Type type,
                                    const std::map<std::string, int64_t>& symbols) {
  std::vector<int64_t> shape;
  for (const DimExpr& dim : ir::ShapeOf(type)) {
    absl::StatusOr<int64_t> size = dim.Evaluate(symbols);
    if (!size.ok()) return size.status();
    shape.push_back(*size);
  }
  absl::StatusOr<HostTensor> tensor = HostTensor::Create(ir::DataTypeOf(type), shape);
  if (tensor.ok()) std::memset(tensor->mutable_data(), 0xA5, tensor->size_bytes());
  return tensor;
}

// The fusion op around a parsed region: MLIR's text form wants the types spelled out again, so the
// op is built and the region moved in.
plan::FusionOp MakeFusion(mlir::OpBuilder& b, mlir::Region& region, const std::string& kind) {
  mlir::Block& block = region.front();
  mlir::Location location = b.getUnknownLoc();
  auto type = b.getFunctionType(block.getArgumentTypes(), {});
  auto function = mlir::func::FuncOp::create(b, location, "operands", type);
  b.setInsertionPointToStart(function.addEntryBlock());
  auto fusion = plan::FusionOp::create(b, location, block.getTerminator()->getOperandTypes(),
                                       mlir::ValueRange(function.getArguments()), kind);
  mlir::func::ReturnOp::create(b, location);
  fusion.getBody().takeBody(region);
  return fusion;
}

}  // namespace

absl::StatusOr<std::vector<HostTensor>> RunFusion(const EmitFunction& emit, const std::string& kind,
                                                  const std::string& body,
                                                  const std::vector<HostTensor>& inputs,
                                                  const std::map<std::string, int64_t>& symbols,
                                                  const std::string& target_name,
                                                  FusionTiming* timing) {
  absl::StatusOr<Target> target = Target::Parse(target_name);
  if (!target.ok()) return target.status();
  mlir::MLIRContext context;
  PrepareContext(&context);
  context.loadDialect<ir::WeftDialect, plan::PlanDialect, mlir::func::FuncDialect>();
  context.allowUnregisteredDialects();
  // Verified once it is in place: a yield belongs into a fusion.
  mlir::ParserConfig config(&context, /*verifyAfterParse=*/false);
  auto parsed = mlir::parseSourceString<mlir::ModuleOp>(
      absl::StrCat("\"test.fusion\"() ({\n", body, "\n}) : () -> ()"), config);
  if (!parsed) return absl::InvalidArgumentError("the body does not parse");
  auto holder = mlir::ModuleOp::create(mlir::UnknownLoc::get(&context));
  mlir::OwningOpRef<mlir::ModuleOp> owner(holder);
  mlir::OpBuilder b(&context);
  b.setInsertionPointToEnd(holder.getBody());
  plan::FusionOp fusion = MakeFusion(b, parsed->getBody()->front().getRegion(0), kind);
  if (mlir::failed(mlir::verify(holder))) return absl::InvalidArgumentError("not a valid fusion");

  const double compile_start = ThreadSeconds();
  mlir::OwningOpRef<mlir::ModuleOp> kernels(
      mlir::ModuleOp::create(mlir::UnknownLoc::get(&context)));
  absl::StatusOr<KernelSpec> spec = emit(fusion, *target, *kernels);
  if (!spec.ok()) return spec.status();
  if (mlir::failed(mlir::verify(*kernels))) return absl::InternalError("the kernel is not valid");
  absl::StatusOr<std::string> object = CompileToObject(*kernels, *target);
  if (!object.ok()) return object.status();
  absl::StatusOr<CodeImage> image = LinkImage({*object});
  if (!image.ok()) return image.status();
  LoadedImage loaded(*image);
  WeftKernel kernel = loaded.Find(spec->symbol);
  if (kernel == nullptr) return absl::InternalError("the kernel is not in the image");
  const double compile_seconds = ThreadSeconds() - compile_start;

  std::vector<void*> buffers;
  for (const HostTensor& input : inputs) buffers.push_back(const_cast<void*>(input.data()));
  std::vector<HostTensor> results;
  for (mlir::Type type : fusion.getResultTypes()) {
    absl::StatusOr<HostTensor> result = Allocate(type, symbols);
    if (!result.ok()) return result.status();
    buffers.push_back(result->mutable_data());
    results.push_back(*std::move(result));
  }
  std::vector<int64_t> sizes;
  for (const DimExpr& size : spec->sizes) {
    absl::StatusOr<int64_t> value = size.Evaluate(symbols);
    if (!value.ok()) return value.status();
    sizes.push_back(*value);
  }
  absl::StatusOr<int64_t> tiles = spec->tiles.Evaluate(symbols);
  absl::StatusOr<int64_t> scratch_bytes = spec->scratch_bytes.Evaluate(symbols);
  if (!tiles.ok()) return tiles.status();
  if (!scratch_bytes.ok()) return scratch_bytes.status();
  void* scratch = std::aligned_alloc(64, static_cast<size_t>((*scratch_bytes + 64) / 64 * 64));
  for (int64_t tile = *tiles - 1; tile >= 0; --tile) {
    std::memset(scratch, 0xA5, static_cast<size_t>(*scratch_bytes));
    kernel(buffers.data(), sizes.data(), tile, tile + 1, scratch);
  }
  // All at once must give the same bits.
  std::vector<std::string> one_by_one;
  for (HostTensor& result : results) {
    one_by_one.emplace_back(static_cast<const char*>(result.data()), result.size_bytes());
    std::memset(result.mutable_data(), 0xA5, result.size_bytes());
  }
  std::memset(scratch, 0xA5, static_cast<size_t>(*scratch_bytes));
  if (*tiles > 0) kernel(buffers.data(), sizes.data(), 0, *tiles, scratch);
  for (size_t i = 0; i < results.size(); ++i) {
    if (std::memcmp(one_by_one[i].data(), results[i].data(), one_by_one[i].size()) != 0) {
      std::free(scratch);
      return absl::InternalError(absl::StrCat("result ", i, " depends on how tiles are grouped"));
    }
  }
  if (timing != nullptr) {
    timing->compile_seconds = compile_seconds;
    timing->flops = spec->flops.Evaluate(symbols).value_or(0);
    timing->bytes = spec->bytes.Evaluate(symbols).value_or(0);
    // Several launches in a row where one is short beside what reading the clock takes.
    int64_t launches = 1;
    for (int i = 0; i < timing->repeats; ++i) {
      const double start = ThreadSeconds();
      for (int64_t j = 0; j < launches; ++j) {
        kernel(buffers.data(), sizes.data(), 0, *tiles, scratch);
      }
      const double seconds = (ThreadSeconds() - start) / static_cast<double>(launches);
      if (i == 0 || seconds < timing->seconds) timing->seconds = seconds;
      if (i == 0) launches = 1 + static_cast<int64_t>(1e-4 / std::max(seconds, 1e-7));
    }
  }
  std::free(scratch);
  return results;
}

}  // namespace weft
