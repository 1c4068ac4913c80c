#include "compiler/aot/model_tables.h"

#include <cstddef>
#include <string>

#include "compiler/aot/support/model_abi.h"
#include "compiler/aot/table_image.h"
#include "llvm/IR/Constants.h"
#include "llvm/IR/GlobalVariable.h"
#include "llvm/IR/Module.h"

namespace weft {
namespace {

using Offset = TableImage::Offset;

// A constant aligned as kernels need it.
llvm::Constant* DefineBytes(llvm::Module& module, std::string_view name, std::string_view bytes) {
  auto* value = llvm::ConstantDataArray::getString(
      module.getContext(), llvm::StringRef(bytes.data(), bytes.size()), /*AddNull=*/false);
  auto* global = new llvm::GlobalVariable(module, value->getType(), /*isConstant=*/true,
                                          llvm::GlobalValue::InternalLinkage, value,
                                          llvm::StringRef(name.data(), name.size()));
  global->setAlignment(llvm::Align(WEFT_BUFFER_ALIGNMENT));
  return global;
}

class Writer {
 public:
  Writer(const PackageModel& model, llvm::Module& module) : model_(model), module_(module) {}

  void Write(const std::vector<llvm::Constant*>& code) {
    WeftModelTables tables = {};
    tables.num_targets = static_cast<uint32_t>(model_.targets.size());
    tables.num_signatures = static_cast<uint32_t>(model_.interface.signatures.size());
    tables.num_variables = static_cast<uint32_t>(model_.interface.variables.size());
    const Offset at = image_.AddOne(tables);  // at the start, so that the symbol stands for it
    Text(at + offsetof(WeftModelTables, name), model_.interface.prefix);
    image_.Point(at + offsetof(WeftModelTables, targets), Targets(code));
    image_.Point(at + offsetof(WeftModelTables, variables), Variables());
    if (!model_.constants.empty()) {
      image_.PointOutside(at + offsetof(WeftModelTables, constants),
                          DefineBytes(module_, "weft_constants", model_.constants), 0);
    }
    image_.Define(module_, "weft_model_tables");
  }

 private:
  void Text(Offset field, std::string_view text) { image_.Point(field, image_.AddString(text)); }

  // Adds a list of indices and points the field there.
  void Indices(Offset field, const std::vector<uint32_t>& indices) {
    image_.Point(field, image_.Add(absl::MakeConstSpan(indices)));
  }

  Offset Texts(absl::Span<const std::string> texts) {
    const std::vector<uint64_t> places(texts.size());
    const Offset at = image_.Add(absl::MakeConstSpan(places));
    for (size_t i = 0; i < texts.size(); ++i) Text(at + i * sizeof(uint64_t), texts[i]);
    return at;
  }

  Offset Targets(const std::vector<llvm::Constant*>& code) {
    std::vector<WeftModelTarget> targets(model_.targets.size());
    for (size_t i = 0; i < targets.size(); ++i) {
      targets[i].num_features = static_cast<uint32_t>(model_.targets[i].features.size());
    }
    const Offset at = image_.Add(absl::MakeConstSpan(targets));
    for (size_t i = 0; i < targets.size(); ++i) {
      const Offset target = at + i * sizeof(WeftModelTarget);
      code_ = code[i];
      Text(target + offsetof(WeftModelTarget, name), model_.targets[i].name);
      image_.Point(target + offsetof(WeftModelTarget, features), Texts(model_.targets[i].features));
      image_.Point(target + offsetof(WeftModelTarget, signatures), Signatures(model_.targets[i]));
    }
    return at;
  }

  Offset Signatures(const PackageModel::Target& target) {
    const std::vector<Interface::Signature>& infos = model_.interface.signatures;
    std::vector<WeftModelSignature> signatures(infos.size());
    for (size_t i = 0; i < infos.size(); ++i) {
      signatures[i].num_symbols = static_cast<uint32_t>(infos[i].symbols.size());
      signatures[i].num_plans = static_cast<uint32_t>(target.signatures[i].size());
    }
    const Offset at = image_.Add(absl::MakeConstSpan(signatures));
    for (size_t i = 0; i < infos.size(); ++i) {
      const Offset signature = at + i * sizeof(WeftModelSignature);
      Text(signature + offsetof(WeftModelSignature, name), infos[i].name);
      image_.Point(signature + offsetof(WeftModelSignature, symbols), Texts(infos[i].symbols));
      image_.Point(signature + offsetof(WeftModelSignature, plans), Plans(target.signatures[i]));
    }
    return at;
  }

  Offset Plans(const std::vector<PackageModel::Plan>& plans) {
    std::vector<WeftModelPlan> entries(plans.size());
    for (size_t i = 0; i < plans.size(); ++i) {
      entries[i].num_fixed = static_cast<uint32_t>(plans[i].fixed.size());
    }
    const Offset at = image_.Add(absl::MakeConstSpan(entries));
    for (size_t i = 0; i < plans.size(); ++i) {
      const Offset entry = at + i * sizeof(WeftModelPlan);
      image_.Point(entry + offsetof(WeftModelPlan, plan), PlanTable(*plans[i].tables));
      Indices(entry + offsetof(WeftModelPlan, symbols), plans[i].symbols);
      Indices(entry + offsetof(WeftModelPlan, variables), plans[i].variables);
      std::vector<WeftModelFixedSymbol> fixed;
      for (const auto& [symbol, value] : plans[i].fixed) fixed.push_back({symbol, 0, value});
      image_.Point(entry + offsetof(WeftModelPlan, fixed), image_.Add(absl::MakeConstSpan(fixed)));
    }
    return at;
  }

  // Copies what a field of a plan points to, and points the field there. Returns the copy.
  template <typename T>
  Offset Table(Offset field, const T* entries, uint32_t count) {
    const Offset at = image_.Add(absl::MakeConstSpan(entries, count));
    image_.Point(field, at);
    return at;
  }

  void Values(Offset field, const WeftValue* values, uint32_t count) {
    const Offset at = Table(field, values, count);
    for (uint32_t i = 0; i < count; ++i) {
      Text(at + i * sizeof(WeftValue) + offsetof(WeftValue, name), values[i].name);
    }
  }

  Offset PlanTable(const PlanTables& tables) {
    const WeftPlan& plan = tables.plan();
    const Offset at = image_.AddOne(plan);
    Text(at + offsetof(WeftPlan, signature), plan.signature);
    const Offset symbols = Table(at + offsetof(WeftPlan, symbols), plan.symbols, plan.num_symbols);
    for (uint32_t i = 0; i < plan.num_symbols; ++i) {
      Text(symbols + i * sizeof(WeftSymbol) + offsetof(WeftSymbol, name), plan.symbols[i].name);
    }
    Table(at + offsetof(WeftPlan, formulas), plan.formulas, plan.num_formulas);
    Table(at + offsetof(WeftPlan, buffers), plan.buffers, plan.num_buffers);
    Table(at + offsetof(WeftPlan, below), plan.below, plan.num_below);
    Table(at + offsetof(WeftPlan, args), plan.args, plan.num_args);
    Table(at + offsetof(WeftPlan, sizes), plan.sizes, plan.num_sizes);
    const Offset steps = Table(at + offsetof(WeftPlan, steps), plan.steps, plan.num_steps);
    for (uint32_t i = 0; i < plan.num_steps; ++i) {
      const Offset step = steps + i * sizeof(WeftStep);
      Text(step + offsetof(WeftStep, label), plan.steps[i].label);
      Text(step + offsetof(WeftStep, location), plan.steps[i].location);
      Text(step + offsetof(WeftStep, message), plan.steps[i].message);
      Text(step + offsetof(WeftStep, nodes), plan.steps[i].nodes);
    }
    Table(at + offsetof(WeftPlan, blocks), plan.blocks, plan.num_blocks);
    const std::vector<uint64_t>& kernels = tables.code_offsets();
    const Offset addresses = Table(at + offsetof(WeftPlan, kernels), kernels.data(),
                                   static_cast<uint32_t>(kernels.size()));
    for (size_t i = 0; i < kernels.size(); ++i) {
      image_.PointOutside(addresses + i * sizeof(uint64_t), code_, kernels[i]);
    }
    Values(at + offsetof(WeftPlan, inputs), plan.inputs, plan.num_inputs);
    Values(at + offsetof(WeftPlan, outputs), plan.outputs, plan.num_outputs);
    Values(at + offsetof(WeftPlan, variables), plan.variables, plan.num_variables);
    Table(at + offsetof(WeftPlan, dims), plan.dims, plan.num_dims);
    const std::vector<std::string> names(plan.dim_names, plan.dim_names + plan.num_dims);
    image_.Point(at + offsetof(WeftPlan, dim_names), Texts(names));
    return at;
  }

  bool Assigned(uint32_t variable) const {
    for (const PackageModel::Target& target : model_.targets) {
      for (const std::vector<PackageModel::Plan>& plans : target.signatures) {
        for (const PackageModel::Plan& plan : plans) {
          for (size_t i = 0; i < plan.variables.size(); ++i) {
            if (plan.variables[i] == variable &&
                plan.tables->plan().variables[i].flags & WEFT_VARIABLE_ASSIGNED) {
              return true;
            }
          }
        }
      }
    }
    return false;
  }

  Offset Variables() {
    const std::vector<Interface::Variable>& infos = model_.interface.variables;
    std::vector<WeftModelVariable> variables(infos.size());
    for (size_t i = 0; i < infos.size(); ++i) {
      variables[i].bytes = SizeOf(infos[i].dtype);
      for (const int64_t dim : infos[i].shape) variables[i].bytes *= dim;
      variables[i].dtype = static_cast<int32_t>(infos[i].dtype);
      variables[i].rank = static_cast<uint32_t>(infos[i].shape.size());
      variables[i].assigned = Assigned(static_cast<uint32_t>(i));
    }
    const Offset at = image_.Add(absl::MakeConstSpan(variables));
    for (size_t i = 0; i < infos.size(); ++i) {
      const Offset variable = at + i * sizeof(WeftModelVariable);
      Text(variable + offsetof(WeftModelVariable, name), infos[i].name);
      image_.Point(variable + offsetof(WeftModelVariable, shape),
                   image_.Add(absl::MakeConstSpan(infos[i].shape)));
      const auto value = model_.values.find(infos[i].name);
      if (value == model_.values.end()) continue;
      image_.PointOutside(
          variable + offsetof(WeftModelVariable, value),
          DefineBytes(module_, "weft_value",
                      {static_cast<const char*>(value->second.data()), value->second.size_bytes()}),
          0);
    }
    return at;
  }

  const PackageModel& model_;
  llvm::Module& module_;
  llvm::Constant* code_ = nullptr;  // of the target that is written
  TableImage image_;
};

}  // namespace

void DefineModelTables(const PackageModel& model, const std::vector<llvm::Constant*>& code,
                       llvm::Module& module) {
  Writer(model, module).Write(code);
}

}  // namespace weft
