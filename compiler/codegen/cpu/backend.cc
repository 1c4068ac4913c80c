#include "compiler/codegen/cpu/backend.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "absl/status/status.h"
#include "compiler/codegen/llvm_lowering.h"
#include "llvm/Analysis/InstSimplifyFolder.h"
#include "llvm/Analysis/VectorUtils.h"
#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/InstIterator.h"
#include "llvm/IR/IntrinsicInst.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"

namespace weft {
namespace {

constexpr char kTriple[] = "x86_64-unknown-linux-gnu";

absl::StatusOr<std::unique_ptr<llvm::TargetMachine>> MakeTargetMachine(const Target& target) {
  static const bool initialized = [] {
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
    return true;
  }();
  (void)initialized;
  std::string error;
  const llvm::Triple triple(kTriple);
  const llvm::Target* llvm_target = llvm::TargetRegistry::lookupTarget(triple, error);
  if (llvm_target == nullptr) return absl::InternalError(error);
  llvm::TargetOptions options;
  options.AllowFPOpFusion = llvm::FPOpFusion::Standard;
  options.UniqueSectionNames = false;
  return std::unique_ptr<llvm::TargetMachine>(llvm_target->createTargetMachine(
      triple, target.cpu, target.features, options, llvm::Reloc::PIC_, llvm::CodeModel::Small,
      llvm::CodeGenOptLevel::Default));
}

void SetAttributes(llvm::Module& module, const Target& target) {
  for (llvm::Function& function : module) {
    if (function.isDeclaration()) continue;
    function.addFnAttr("no-builtins");
    function.addFnAttr(llvm::Attribute::NoUnwind);
    function.addFnAttr("target-cpu", target.cpu);
    function.addFnAttr("target-features", target.features);
    function.addFnAttr("prefer-vector-width", std::to_string(target.vector_bits));
    function.addFnAttr("min-legal-vector-width", std::to_string(target.vector_bits));
    // Resolved inside the image: no indirection through tables that a loader would have to fill.
    function.setDSOLocal(true);
    if (function.hasLocalLinkage()) continue;
    function.setVisibility(llvm::GlobalValue::HiddenVisibility);
    // The lists of buffers and sizes are nobody's output, and scratch is the thread's own.
    if (function.arg_size() != 5) continue;
    for (unsigned i : {0u, 1u, 4u}) {
      if (function.getArg(i)->getType()->isPointerTy()) {
        function.addParamAttr(i, llvm::Attribute::NoAlias);
      }
    }
  }
}

// A part of a vector, through what masks are made of.
llvm::Value* PartOf(llvm::IRBuilderBase& b, llvm::Value* vector, llvm::ArrayRef<int> lanes) {
  auto* both = llvm::dyn_cast<llvm::BinaryOperator>(vector);
  if (both != nullptr && both->getOpcode() == llvm::Instruction::And) {
    return b.CreateAnd(PartOf(b, both->getOperand(0), lanes),
                       PartOf(b, both->getOperand(1), lanes));
  }
  return b.CreateShuffleVector(vector, lanes);
}

// LLVM 22 forgets the mask of a register's worth of a masked access to several registers where all
// lanes of that part are known to be off: it loads, from beyond the end of a buffer, what should be
// the value for lanes that are off. Such loads are split here, and parts without lanes left out; so
// are stores, whose masks go the same way through LLVM.
void SplitWideMaskedAccesses(llvm::Function& function, int vector_bits) {
  for (llvm::Instruction& instruction : llvm::make_early_inc_range(llvm::instructions(function))) {
    auto* access = llvm::dyn_cast<llvm::IntrinsicInst>(&instruction);
    if (access == nullptr) continue;
    const bool is_load = access->getIntrinsicID() == llvm::Intrinsic::masked_load;
    if (!is_load && access->getIntrinsicID() != llvm::Intrinsic::masked_store) continue;
    const unsigned pointer_at = is_load ? 0 : 1;
    llvm::Value* rest = access->getArgOperand(is_load ? 2 : 0);  // for lanes that are off; stored
    auto* type = llvm::cast<llvm::FixedVectorType>(rest->getType());
    const unsigned bits = type->getScalarSizeInBits(), lanes = type->getNumElements();
    const unsigned lanes_of_part = static_cast<unsigned>(vector_bits) / bits;
    if (lanes <= lanes_of_part || lanes % lanes_of_part != 0) continue;
    llvm::Value* pointer = access->getArgOperand(pointer_at);
    llvm::Value* mask = access->getArgOperand(is_load ? 1 : 2);
    const llvm::Align align = access->getParamAlign(pointer_at).valueOrOne();
    llvm::IRBuilder<llvm::InstSimplifyFolder> b(access->getContext(),
                                                llvm::InstSimplifyFolder(function.getDataLayout()));
    b.SetInsertPoint(access);
    auto* part_type = llvm::FixedVectorType::get(type->getElementType(), lanes_of_part);
    llvm::SmallVector<llvm::Value*> parts;
    for (unsigned first = 0; first < lanes; first += lanes_of_part) {
      llvm::SmallVector<int> indices;
      for (unsigned i = 0; i < lanes_of_part; ++i) indices.push_back(static_cast<int>(first + i));
      llvm::Value* value = b.CreateShuffleVector(rest, indices);
      llvm::Value* on = PartOf(b, mask, indices);
      auto* known = llvm::dyn_cast<llvm::Constant>(on);
      if (known == nullptr || !known->isNullValue()) {
        const uint64_t offset = uint64_t{first} * bits / 8;
        llvm::Value* place = b.CreateConstGEP1_64(b.getInt8Ty(), pointer, offset);
        const llvm::Align aligned = llvm::commonAlignment(align, offset);
        if (is_load) {
          value = b.CreateMaskedLoad(part_type, place, aligned, on, value);
        } else {
          b.CreateMaskedStore(value, place, aligned, on);
        }
      }
      parts.push_back(value);
    }
    if (is_load) access->replaceAllUsesWith(llvm::concatenateVectors(b, parts));
    access->eraseFromParent();
  }
}

// LLVM 22 stores too many bytes where a truncated vector is stored under a mask that is known to
// have one lane (llvm/llvm-project#179489): such lanes are stored as scalars instead.
void StoreSingleLanes(llvm::Function& function) {
  for (llvm::Instruction& instruction : llvm::make_early_inc_range(llvm::instructions(function))) {
    auto* store = llvm::dyn_cast<llvm::IntrinsicInst>(&instruction);
    if (store == nullptr || store->getIntrinsicID() != llvm::Intrinsic::masked_store) continue;
    llvm::Value* value = store->getArgOperand(0);
    auto* mask = llvm::dyn_cast<llvm::Constant>(store->getArgOperand(2));
    auto* type = llvm::dyn_cast<llvm::FixedVectorType>(value->getType());
    if (mask == nullptr || type == nullptr) continue;
    std::optional<unsigned> lane;
    unsigned lanes = 0;
    for (unsigned i = 0; i < type->getNumElements(); ++i) {
      llvm::Constant* bit = mask->getAggregateElement(i);
      if (bit != nullptr && bit->isNullValue()) continue;
      lane = i;
      ++lanes;
    }
    if (lanes != 1) continue;
    llvm::IRBuilder<> b(store);
    llvm::Value* element = b.CreateExtractElement(value, *lane);
    llvm::Value* place =
        b.CreateConstInBoundsGEP1_64(type->getElementType(), store->getArgOperand(1), *lane);
    b.CreateAlignedStore(element, place, store->getParamAlign(1).valueOrOne());
    store->eraseFromParent();
  }
}

// While it lives, several threads may use the context: it takes its locks, which one that is used
// by one thread at a time does without.
class SharedContext {
 public:
  explicit SharedContext(mlir::MLIRContext* context)
      : context_(context), was_enabled_(context->isMultithreadingEnabled()) {
    if (!was_enabled_) context_->enableMultithreading();
  }
  SharedContext(const SharedContext&) = delete;
  SharedContext& operator=(const SharedContext&) = delete;
  ~SharedContext() {
    if (!was_enabled_) context_->disableMultithreading();
  }

 private:
  mlir::MLIRContext* context_;
  bool was_enabled_;
};

absl::StatusOr<LlvmModule> Lower(mlir::ModuleOp module, const Target& target) {
  auto machine = MakeTargetMachine(target);
  if (!machine.ok()) return machine.status();
  auto lowered = LowerToLlvm(module, *std::move(machine), [&](llvm::Module& made) {
    made.setPICLevel(llvm::PICLevel::BigPIC);
    SetAttributes(made, target);
  });
  if (!lowered.ok()) return lowered;
  for (llvm::Function& function : *lowered->module) {
    SplitWideMaskedAccesses(function, target.vector_bits);
    StoreSingleLanes(function);
  }
  return lowered;
}

absl::StatusOr<std::string> Compile(mlir::ModuleOp module, const Target& target,
                                    llvm::CodeGenFileType type) {
  auto lowered = Lower(module, target);
  if (!lowered.ok()) return lowered.status();
  return GenerateCode(*lowered, type);
}

}  // namespace

absl::StatusOr<std::string> CompileToObject(mlir::ModuleOp module, const Target& target) {
  return Compile(module, target, llvm::CodeGenFileType::ObjectFile);
}

absl::StatusOr<std::string> CompileToAssembly(mlir::ModuleOp module, const Target& target) {
  return Compile(module, target, llvm::CodeGenFileType::AssemblyFile);
}

absl::StatusOr<std::string> CompileToLlvmText(mlir::ModuleOp module, const Target& target) {
  auto lowered = Lower(module, target);
  if (!lowered.ok()) return lowered.status();
  return LlvmText(*lowered);
}

absl::StatusOr<std::vector<std::string>> CompileToObjects(
    absl::Span<mlir::ModuleOp const> modules, const Target& target, int threads,
    const std::function<void(size_t)>& compiled) {
  std::vector<absl::StatusOr<std::string>> objects(modules.size());
  std::atomic<size_t> next{0};
  std::mutex mutex;  // of `done`
  size_t done = 0;
  auto work = [&] {
    for (size_t i; (i = next++) < modules.size();) {
      objects[i] = CompileToObject(modules[i], target);
      const std::lock_guard<std::mutex> lock(mutex);
      ++done;
      if (compiled) compiled(done);
    }
  };
  const size_t workers =
      std::min<size_t>(static_cast<size_t>(std::max(threads, 1)), modules.size());
  std::vector<std::unique_ptr<SharedContext>> shared;
  if (workers > 1) {
    for (mlir::ModuleOp module : modules) {
      shared.push_back(std::make_unique<SharedContext>(module.getContext()));
    }
  }
  std::vector<std::thread> helpers;
  for (size_t i = 1; i < workers; ++i) helpers.emplace_back(work);
  work();
  for (std::thread& helper : helpers) helper.join();
  std::vector<std::string> result;
  for (auto& object : objects) {
    if (!object.ok()) return object.status();
    result.push_back(*std::move(object));
  }
  return result;
}

}  // namespace weft
