#include "compiler/plan/kernels.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "llvm/ADT/Hashing.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/Support/raw_ostream.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/OperationSupport.h"
#include "mlir/IR/SymbolTable.h"

namespace weft {
namespace {

std::string TextOf(plan::FusionOp fusion) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  mlir::OpPrintingFlags flags;
  flags.useLocalScope().skipRegions(false);
  // Operands are named by what makes them, which is not part of the kernel.
  for (mlir::Type type : fusion.getInputs().getTypes()) stream << type << ",";
  stream << fusion.getKind() << "\n";
  llvm::DenseMap<mlir::Value, int> number;
  for (mlir::Value argument : fusion.body()->getArguments()) number[argument] = number.size();
  for (mlir::Operation& op : *fusion.body()) {
    stream << op.getName() << "(";
    for (mlir::Value operand : op.getOperands()) stream << number.lookup(operand) << ",";
    stream << ")" << op.getAttrDictionary() << ":";
    for (mlir::Value result : op.getResults()) {
      number[result] = number.size();
      stream << result.getType() << ",";
    }
    stream << "\n";
  }
  return text;
}

constexpr auto kFlags = mlir::OperationEquivalence::IgnoreLocations;

size_t HashOf(mlir::func::FuncOp function) {
  llvm::hash_code hash = llvm::hash_value(function.getBody().getBlocks().size());
  function.getBody().walk([&](mlir::Operation* op) {
    hash = llvm::hash_combine(hash, mlir::OperationEquivalence::computeHash(
                                        op, mlir::OperationEquivalence::ignoreHashValue,
                                        mlir::OperationEquivalence::ignoreHashValue, kFlags));
  });
  return hash;
}

bool EqualCode(mlir::func::FuncOp a, mlir::func::FuncOp b) {
  // That of a GPU has the number of a block's threads among its attributes.
  return a.getFunctionType() == b.getFunctionType() &&
         a->getAttr("passthrough") == b->getAttr("passthrough") &&
         mlir::OperationEquivalence::isRegionEquivalentTo(&a.getBody(), &b.getBody(), kFlags);
}

// Looked for from the end: there may be many, and it was just added.
mlir::func::FuncOp FindKernel(mlir::ModuleOp kernels, llvm::StringRef symbol) {
  for (mlir::Operation& op : llvm::reverse(*kernels.getBody())) {
    auto function = llvm::dyn_cast<mlir::func::FuncOp>(op);
    if (function && function.getSymName() == symbol) return function;
  }
  return nullptr;
}

// The kernels with the functions that they use, theirs included.
llvm::SetVector<mlir::Operation*> WithCallees(mlir::ModuleOp module,
                                              llvm::ArrayRef<mlir::func::FuncOp> kernels) {
  llvm::SetVector<mlir::Operation*> needed;
  for (mlir::func::FuncOp kernel : kernels) needed.insert(kernel);
  for (size_t i = 0; i < needed.size(); ++i) {
    needed[i]->walk([&](mlir::Operation* op) {
      for (mlir::NamedAttribute attribute : op->getAttrs()) {
        auto symbol = llvm::dyn_cast<mlir::FlatSymbolRefAttr>(attribute.getValue());
        if (!symbol) continue;
        if (mlir::Operation* callee = module.lookupSymbol(symbol.getValue())) needed.insert(callee);
      }
    });
  }
  return needed;
}

}  // namespace

KernelSet::KernelSet(mlir::MLIRContext* context, const Target& target, bool merge)
    : target_(target),
      merge_(merge),
      module_(mlir::ModuleOp::create(mlir::UnknownLoc::get(context))) {}

absl::StatusOr<KernelSpec> KernelSet::Add(plan::FusionOp fusion) {
  std::string text;
  if (merge_) {
    text = TextOf(fusion);
    if (auto known = by_fusion_.find(text); known != by_fusion_.end()) return known->second;
  }
  absl::StatusOr<KernelSpec> spec = EmitKernel(fusion, target_, *module_);
  if (!spec.ok()) return spec;
  if (!merge_) return spec;
  mlir::func::FuncOp kernel = FindKernel(*module_, spec->symbol);
  if (!kernel) {
    return absl::InternalError(absl::StrCat("no kernel '", spec->symbol, "' was emitted"));
  }
  const size_t hash = HashOf(kernel);
  bool merged = false;
  for (auto [same, end] = by_code_.equal_range(hash); same != end && !merged; ++same) {
    const auto& [operation, maps] = same->second;
    auto other = llvm::cast<mlir::func::FuncOp>(operation);
    if (maps != spec->maps || !EqualCode(kernel, other)) continue;
    spec->symbol = other.getSymName().str();
    kernel.erase();
    merged = true;
  }
  if (!merged) by_code_.emplace(hash, std::pair(kernel.getOperation(), spec->maps));
  by_fusion_.emplace(std::move(text), *spec);
  return spec;
}

void KernelSet::KeepOnly(const std::set<std::string>& symbols) {
  std::vector<mlir::func::FuncOp> kept;
  bool all = true;
  for (auto function : module_->getOps<mlir::func::FuncOp>()) {
    if (!function.isPublic()) continue;
    if (symbols.contains(function.getSymName().str())) {
      kept.push_back(function);
    } else {
      all = false;
    }
  }
  if (all) return;
  const llvm::SetVector<mlir::Operation*> needed = WithCallees(*module_, kept);
  for (mlir::Operation& op : llvm::make_early_inc_range(*module_->getBody())) {
    if (!needed.contains(&op)) op.erase();
  }
  by_fusion_.clear();
  by_code_.clear();
}

std::vector<mlir::OwningOpRef<mlir::ModuleOp>> KernelSet::Split(int count) {
  struct Part {
    std::vector<mlir::func::FuncOp> functions;
    size_t ops = 0;
  };
  struct Kernel {
    size_t ops, index;
    mlir::func::FuncOp function;
  };
  std::vector<Kernel> kernels;
  for (auto function : module_->getOps<mlir::func::FuncOp>()) {
    if (!function.isPublic()) continue;
    size_t ops = 0;
    function.walk([&](mlir::Operation*) { ++ops; });
    kernels.push_back({ops, kernels.size(), function});
  }
  // The largest first, each to the part that has least.
  std::sort(kernels.begin(), kernels.end(), [](const Kernel& a, const Kernel& b) {
    return a.ops != b.ops ? a.ops > b.ops : a.index < b.index;
  });
  std::vector<Part> parts(
      static_cast<size_t>(std::max(1, std::min(count, static_cast<int>(kernels.size())))));
  for (auto& [ops, index, function] : kernels) {
    auto least = std::min_element(parts.begin(), parts.end(),
                                  [](auto& a, auto& b) { return a.ops < b.ops; });
    least->functions.push_back(function);
    least->ops += ops;
  }
  std::vector<mlir::OwningOpRef<mlir::ModuleOp>> modules;
  for (Part& part : parts) {
    mlir::OwningOpRef<mlir::ModuleOp> module = mlir::ModuleOp::create(module_->getLoc());
    mlir::OpBuilder builder = mlir::OpBuilder::atBlockEnd(module->getBody());
    for (mlir::Operation* function : WithCallees(*module_, part.functions)) {
      builder.clone(*function);
    }
    modules.push_back(std::move(module));
  }
  module_->getBody()->clear();
  by_fusion_.clear();
  by_code_.clear();
  return modules;
}

}  // namespace weft
