#include "compiler/aot/entry_points.h"

#include <vector>

#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/Module.h"

namespace weft {
namespace {

class EntryPoints {
 public:
  EntryPoints(const Interface& interface, llvm::Module& module)
      : interface_(interface),
        module_(module),
        builder_(module.getContext()),
        int_(builder_.getInt32Ty()),
        long_(builder_.getInt64Ty()),
        pointer_(builder_.getPtrTy()),
        void_(builder_.getVoidTy()),
        tables_(module.getNamedValue("weft_model_tables")) {}

  std::set<std::string> Define() {
    // Those that are the same in each model hand their arguments on, behind the tables where the
    // caller has no instance to find them by.
    Forward("create", pointer_, {int_}, /*with_tables=*/true);
    Forward("unsupported", pointer_, {}, /*with_tables=*/true);
    Forward("describe_variable", int_, {int_, pointer_}, /*with_tables=*/true);
    Forward("destroy", void_, {pointer_});
    Forward("error", pointer_, {pointer_});
    Forward("target", pointer_, {pointer_});
    Forward("use_memory", int_, {pointer_, pointer_, long_});
    Forward("set_limits", int_, {pointer_, builder_.getDoubleTy(), pointer_});
    Forward("get_variable", int_, {pointer_, pointer_, pointer_, long_});
    Forward("set_variable", int_, {pointer_, pointer_, pointer_, long_});
    Forward("save_variables", int_, {pointer_, pointer_});
    Forward("load_variables", int_, {pointer_, pointer_});
    Begin(interface_.prefix + "_num_variables", int_, {});
    builder_.CreateRet(builder_.getInt32(static_cast<uint32_t>(interface_.variables.size())));
    for (uint32_t i = 0; i < interface_.signatures.size(); ++i) {
      DefineSignature(interface_.signatures[i], i);
    }
    return std::move(names_);
  }

 private:
  using Types = std::vector<llvm::Type*>;

  llvm::Function* Begin(const std::string& name, llvm::Type* result, const Types& parameters) {
    auto* type = llvm::FunctionType::get(result, parameters, false);
    auto* function =
        llvm::Function::Create(type, llvm::GlobalValue::ExternalLinkage, name, module_);
    function->setDoesNotThrow();
    function->addFnAttr("target-cpu", "x86-64");
    builder_.SetInsertPoint(llvm::BasicBlock::Create(module_.getContext(), "", function));
    names_.insert(name);
    return function;
  }

  llvm::Value* Call(const std::string& name, llvm::Type* result,
                    const std::vector<llvm::Value*>& arguments) {
    Types types;
    for (llvm::Value* argument : arguments) types.push_back(argument->getType());
    return builder_.CreateCall(
        module_.getOrInsertFunction("weft_model_" + name,
                                    llvm::FunctionType::get(result, types, false)),
        arguments);
  }

  void Return(llvm::Value* value) {
    if (value->getType()->isVoidTy()) {
      builder_.CreateRetVoid();
    } else {
      builder_.CreateRet(value);
    }
  }

  void Forward(const std::string& name, llvm::Type* result, const Types& parameters,
               bool with_tables = false) {
    llvm::Function* function = Begin(interface_.prefix + "_" + name, result, parameters);
    std::vector<llvm::Value*> arguments;
    if (with_tables) arguments.push_back(tables_);
    for (llvm::Argument& argument : function->args()) arguments.push_back(&argument);
    Return(Call(name, result, arguments));
  }

  // Stores `count` arguments from `first` on in an array on the stack.
  llvm::Value* Array(llvm::Function* function, llvm::Type* type, size_t first, size_t count) {
    auto* array_type = llvm::ArrayType::get(type, count);
    llvm::Value* array = builder_.CreateAlloca(array_type);
    for (size_t i = 0; i < count; ++i) {
      builder_.CreateStore(function->getArg(static_cast<unsigned>(first + i)),
                           builder_.CreateConstInBoundsGEP2_64(array_type, array, 0, i));
    }
    return array;
  }

  void DefineSignature(const Interface::Signature& signature, uint32_t index) {
    const size_t num_symbols = signature.symbols.size();
    const size_t num_inputs = signature.inputs.size(), num_outputs = signature.outputs.size();
    Types sizes = {pointer_};
    sizes.insert(sizes.end(), num_symbols, long_);
    Types parameters = sizes;
    parameters.insert(parameters.end(), num_inputs + num_outputs, pointer_);
    llvm::Function* function = Begin(signature.function, int_, parameters);
    llvm::Value* number = builder_.getInt32(index);
    llvm::Value* symbols = Array(function, long_, 1, num_symbols);
    llvm::Value* inputs = Array(function, pointer_, 1 + num_symbols, num_inputs);
    llvm::Value* outputs = Array(function, pointer_, 1 + num_symbols + num_inputs, num_outputs);
    Return(Call("run", int_, {function->getArg(0), number, symbols, inputs, outputs}));

    function = Begin(signature.peak_bytes_function, long_, sizes);
    symbols = Array(function, long_, 1, num_symbols);
    Return(Call("peak_bytes", long_, {function->getArg(0), number, symbols}));
    for (uint32_t i = 0; i < num_outputs; ++i) {
      if (signature.outputs[i].bytes_function.empty()) continue;
      function = Begin(signature.outputs[i].bytes_function, long_, sizes);
      symbols = Array(function, long_, 1, num_symbols);
      Return(Call("output_bytes", long_,
                  {function->getArg(0), number, builder_.getInt32(i), symbols}));
    }
  }

  const Interface& interface_;
  llvm::Module& module_;
  llvm::IRBuilder<> builder_;
  llvm::Type *int_, *long_, *pointer_, *void_;
  llvm::Value* tables_;
  std::set<std::string> names_;
};

}  // namespace

std::set<std::string> DefineEntryPoints(const Interface& interface, llvm::Module& module) {
  return EntryPoints(interface, module).Define();
}

}  // namespace weft
