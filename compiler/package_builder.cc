#include "compiler/package_builder.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <set>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "compiler/codegen/cpu/backend.h"
#include "compiler/codegen/cuda/backend.h"
#include "compiler/codegen/cuda/ptxas.h"
#include "compiler/codegen/llvm_lowering.h"
#include "compiler/codegen/target.h"
#include "compiler/pass_runner.h"
#include "compiler/passes/memory_profile.h"
#include "compiler/passes/passes.h"
#include "compiler/passes/place.h"
#include "compiler/passes/split_kernels.h"
#include "compiler/passes/weight_table.h"
#include "compiler/pipeline.h"
#include "compiler/plan/build_plan.h"
#include "compiler/plan/peak.h"
#include "compiler/plan_dialect/plan.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"
#include "graph/ir/device.h"
#include "graph/ir/load_dialect.h"
#include "graph/ir/types.h"
#include "llvm/Support/MemoryBufferRef.h"
#include "llvm/Support/raw_ostream.h"
#include "mlir/Bytecode/BytecodeReader.h"
#include "mlir/Bytecode/BytecodeWriter.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/OperationSupport.h"
#include "mlir/IR/OwningOpRef.h"
#include "proto/container.h"
#include "proto/safetensors.h"
#include "runtime/core/plan_abi.h"

namespace weft {
namespace {

// The first is that of plans for one device (proto/plan.proto).
constexpr int kVersion = 1, kVersionOfSeveralDevices = 2, kVersionOfTensorMaps = 3;
constexpr char kProducer[] = "weft 0.1";
// A graph's name for this processor.
constexpr char kCpu[] = "cpu";
// Kernels are compiled in this many modules at most, whatever the number of threads, so that the
// code does not depend on it.
constexpr int kMaxModules = 8;
// What plans and their kernels take of the time, by experience; the rest is machine code.
constexpr double kPlansShare = 0.2;
// log2 of the alignment of what is mapped.
constexpr int kPage = 12;

StorageOptions StorageOptionsOf(const CompileOptions& options) {
  const PassRunner runner(options, "");
  return {.in_place = runner.Enabled("in_place"), .reuse = runner.Enabled("reuse")};
}

// The target of that name, as the options have it.
absl::StatusOr<Target> TargetOf(const std::string& name, const CompileOptions& options) {
  absl::StatusOr<Target> target = Target::Parse(name);
  if (!target.ok()) return target;
  target->tf32 = options.matmul_precision == MatmulPrecision::kTf32 && target->HasTf32();
  return target;
}

// "net.cc:12", or "" where it is not known.
std::string LineOf(mlir::Location location) {
  const std::vector<ir::SourceLine> lines = ir::SourceLinesOf(location);
  return lines.empty() ? "" : absl::StrCat(lines.back().file, ":", lines.back().line);
}

// A name for the container's table, which `made` has not yet: what the table refuses, such as '=',
// is '_' in it, and one that is too long, or taken by then, becomes a number.
std::string CodeSection(const std::string& prefix, const std::string& target,
                        const PackageManifest& made) {
  std::string name = prefix + target.substr(target.find(':') + 1);
  for (char& c : name) {
    if (!IsSectionName({&c, 1})) c = '_';
  }
  const auto taken = [&] {
    const auto has_it = [&](const TargetPlans& other) {
      return other.code_section() == name || other.machine_code_section() == name;
    };
    return std::any_of(made.targets().begin(), made.targets().end(), [&](const TargetPlans& other) {
      return has_it(other) || std::any_of(other.devices().begin(), other.devices().end(), has_it);
    });
  };
  for (int i = made.targets_size(); !IsSectionName(name) || taken(); ++i) {
    name = absl::StrCat(prefix, i);
  }
  return name;
}

int ThreadsOf(const CompileOptions& options) {
  if (options.threads > 0) return options.threads;
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

// Constants that are large go into the table.
void MoveConstantsOut(mlir::func::FuncOp function, WeightTable& weights) {
  function.walk([&](ir::ConstantOp constant) {
    const auto value = llvm::cast<mlir::DenseElementsAttr>(constant.getValue());
    if (value.isSplat()) return;
    absl::StatusOr<HostTensor> tensor = ir::HostTensorOf(value);
    if (!tensor.ok() || !WeightTable::Takes(*tensor)) return;
    mlir::OpBuilder builder(constant);
    constant.getY().replaceAllUsesWith(MakeConstant(builder, constant.getLoc(), *tensor, weights));
    constant.erase();
  });
}

class Builder : public PackageBuilder {
 public:
  explicit Builder(const CompileOptions& options)
      : options_(options), context_(mlir::MLIRContext::Threading::DISABLED) {
    ir::LoadDialect(&context_);
    PrepareContext(&context_);
    context_.loadDialect<plan::PlanDialect, mlir::func::FuncDialect>();
  }

  absl::Status TakeFrom(ir::GraphOp graph, const std::vector<PlanToMake>& plans,
                        const std::vector<SignatureRequest>& signatures) {
    graph->getContext()->loadDialect<plan::PlanDialect, mlir::func::FuncDialect>();
    for (const PlanToMake& plan : plans) {
      PlanSource source{plan.request.name, plan.sizes, SizesFor(plan), {}};
      // Plans of one signature, which follow one another, begin with the same function.
      if (!plans_.empty() && plans_.back().name == source.name) {
        source.function = plans_.back().function;
      } else if (absl::Status status = CopyFunction(graph, plan.request, &source); !status.ok()) {
        return status;
      }
      plans_.push_back(std::move(source));
    }
    AddSignatures(signatures);
    manifest_.set_name(graph.getName().str());
    for (auto variable : graph.getGraphBody().front().getOps<ir::VariableOp>()) {
      PackageVariable* made = manifest_.add_variables();
      made->set_name(variable.getSymName().str());
      made->set_dtype(static_cast<int32_t>(ir::DataTypeOf(variable.getType())));
      for (const DimExpr& dim : ir::ShapeOf(variable.getType())) made->add_shape(*dim.Constant());
      made->set_device(VariableDevice(variable));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::string> Build() override {
    if (!plans_.empty()) {
      for (const std::string& target : options_.targets) {
        if (absl::Status status = AddTarget(target); !status.ok()) return status;
      }
    }
    ChooseVariables();
    return Finish();
  }

  absl::StatusOr<std::string> BuildText(const std::string& stage) override {
    absl::StatusOr<DeviceTargets> targets = TargetsOf(options_.targets.at(0));
    if (!targets.ok()) return targets.status();
    if (stage == "mlir") {
      std::string text;
      llvm::raw_string_ostream stream(text);
      for (const PlanSource& plan : plans_) {
        mlir::OwningOpRef<mlir::ModuleOp> module;
        absl::StatusOr<mlir::func::FuncOp> function = LowerPlan(plan, *targets, module);
        if (!function.ok()) return function.status();
        mlir::OpPrintingFlags flags;
        flags.elideLargeElementsAttrs(16);
        (*function)->print(stream, flags);
        stream << "\n";
      }
      return text;
    }
    if (stage != "llvm" && stage != "asm") {
      return absl::InvalidArgumentError(
          absl::StrCat("expected stage mlir, llvm or asm, got '", stage, "'"));
    }
    DeviceKernels kernels(&context_, *targets, /*merge=*/true);
    google::protobuf::RepeatedPtrField<Plan> made;
    for (const PlanSource& plan : plans_) {
      absl::StatusOr<Plan> built = MakePlan(plan, *targets, kernels);
      if (!built.ok()) return built.status();
      *made.Add() = *std::move(built);
    }
    kernels.KeepOnly(made);
    std::string all;
    for (size_t i = 0; i < kernels.sets.size(); ++i) {
      absl::StatusOr<std::string> text = TextOf(*kernels.sets[i], stage == "llvm");
      if (!text.ok()) return text;
      if (i > 0) absl::StrAppend(&all, "\n// ", targets->placed[i - 1].device, "\n");
      absl::StrAppend(&all, *text);
    }
    return all;
  }

 private:
  // The kernels for each of the devices.
  struct DeviceKernels {
    DeviceKernels(mlir::MLIRContext* of_all, const DeviceTargets& targets, bool merge_equal)
        : context(of_all), merge(merge_equal) {
      for (uint32_t i = 0; i <= targets.placed.size(); ++i) Add(targets.At(i));
    }
    void Add(const Target& target) {
      owned.push_back(std::make_unique<KernelSet>(context, target, merge));
      sets.push_back(owned.back().get());
    }
    // Leaves what these plans launch: of attempts that were given up there are others.
    void KeepOnly(const google::protobuf::RepeatedPtrField<Plan>& plans) {
      for (uint32_t i = 0; i < sets.size(); ++i) {
        std::set<std::string> launched;
        for (const Plan& plan : plans) {
          for (const Kernel& kernel : plan.kernels()) {
            if (kernel.device() == i) launched.insert(kernel.name());
          }
        }
        sets[i]->KeepOnly(launched);
      }
    }
    mlir::MLIRContext* context;
    bool merge;
    std::vector<std::unique_ptr<KernelSet>> owned;
    std::vector<KernelSet*> sets;
  };

  static absl::StatusOr<std::string> TextOf(KernelSet& kernels, bool llvm) {
    const Target& target = kernels.target();
    if (target.kind == Target::Kind::kCuda) {
      return llvm ? CompileToNvvmText(kernels.module(), target)
                  : CompileToPtx(kernels.module(), target);
    }
    return llvm ? CompileToLlvmText(kernels.module(), target)
                : CompileToAssembly(kernels.module(), target);
  }

  // A function to compile.
  struct PlanSource {
    std::string name;  // of the signature
    std::map<std::string, int64_t> sizes;
    // Of all open dimensions, for the memory budget.
    std::map<std::string, int64_t> budget_sizes;
    // As it was extracted, in this context.
    mlir::func::FuncOp function;
  };

  // Extracts the function, and copies it to this context.
  absl::Status CopyFunction(ir::GraphOp graph, const SignatureRequest& request,
                            PlanSource* source) {
    mlir::OwningOpRef<mlir::ModuleOp> module = mlir::ModuleOp::create(graph.getLoc());
    absl::StatusOr<mlir::func::FuncOp> function = ExtractSignature(graph, request, *module);
    if (!function.ok()) return function.status();
    MoveConstantsOut(*function, table_);
    std::string bytecode;
    llvm::raw_string_ostream stream(bytecode);
    if (llvm::failed(mlir::writeBytecodeToFile(*module, stream))) {
      return absl::InternalError("the signature's function could not be written");
    }
    mlir::OwningOpRef<mlir::ModuleOp> copy =
        mlir::ModuleOp::create(mlir::UnknownLoc::get(&context_));
    const mlir::ParserConfig config(&context_, /*verifyAfterParse=*/false);
    if (llvm::failed(mlir::readBytecodeFile(llvm::MemoryBufferRef(stream.str(), source->name),
                                            copy->getBody(), config))) {
      return absl::InternalError("the signature's function could not be read");
    }
    copy->walk([&](mlir::func::FuncOp of) { source->function = of; });
    if (!options_.ignore_devices) AddDevices(source->function);
    sources_.push_back(std::move(copy));
    return absl::OkStatus();
  }

  absl::Status AddTarget(const std::string& name) {
    absl::StatusOr<DeviceTargets> targets = TargetsOf(name);
    if (!targets.ok()) return targets.status();
    const std::string section = CodeSection("code.", name, manifest_);
    TargetPlans* made = manifest_.add_targets();
    made->set_target(name);
    made->set_code_section(section);
    for (const std::string& feature : targets->main.enabled) made->add_features(feature);
    DeviceKernels kernels(&context_, *targets, PassRunner(options_, "").Enabled("merge_kernels"));
    for (const PlanSource& plan : plans_) {
      absl::StatusOr<Plan> built = MakePlan(plan, *targets, kernels);
      if (!built.ok()) return built.status();
      *made->add_plans() = *std::move(built);
      ReportProgress(0, kPlansShare, "plan", made->plans_size(), plans_.size());
    }
    for (const DeviceTargets::Placed& placed : targets->placed) {
      const std::string section_of_device =
          CodeSection("code.", absl::StrCat(placed.target.name, ".", placed.device), manifest_);
      TargetPlans* device = made->add_devices();
      device->set_device(placed.device);
      device->set_target(placed.target.name);
      device->set_code_section(section_of_device);
      device->set_node(placed.node);
      device->set_location(placed.location);
      for (const std::string& feature : placed.target.enabled) device->add_features(feature);
    }
    kernels.KeepOnly(made->plans());
    for (uint32_t i = 0; i < kernels.sets.size(); ++i) {
      absl::StatusOr<CodeImage> image = CompileKernels(*kernels.sets[i]);
      if (!image.ok()) return image.status();
      for (Plan& plan : *made->mutable_plans()) {
        for (Kernel& kernel : *plan.mutable_kernels()) {
          if (kernel.device() != i) continue;
          const auto symbol = image->symbols.find(kernel.name());
          if (symbol != image->symbols.end()) kernel.set_code_offset(symbol->second);
        }
      }
      const Target& target = targets->At(i);
      TargetPlans* of = i == 0 ? made : made->mutable_devices(static_cast<int>(i) - 1);
      if (target.kind == Target::Kind::kCuda && !options_.ptxas.empty()) {
        absl::StatusOr<std::optional<std::string>> machine_code =
            AssemblePtx(options_.ptxas, image->bytes, target);
        if (!machine_code.ok()) return machine_code.status();
        if (machine_code->has_value()) {
          of->set_machine_code_section(CodeSection(
              "cubin.", i == 0 ? name : absl::StrCat(of->target(), ".", of->device()), manifest_));
          code_.emplace_back(of->machine_code_section(), **std::move(machine_code));
        }
      }
      code_.emplace_back(of->code_section(), std::move(image->bytes));
    }
    return absl::OkStatus();
  }

  // Where the variable lives, for the runtime.
  std::string VariableDevice(ir::VariableOp variable) const {
    const std::string device(options_.ignore_devices ? "" : ir::DeviceOf(variable));
    // As TargetsOf has it.
    const auto given = options_.device_targets.find(device);
    const bool is_main =
        given == options_.device_targets.end() ? device == kCpu : given->second.empty();
    return is_main ? "" : device;
  }

  // Remembers the devices that the function's nodes are placed on, and who asks for each first.
  void AddDevices(mlir::func::FuncOp function) {
    FindDevices(function, [&](std::string_view device, mlir::Location location) {
      if (devices_.contains(std::string(device))) return;
      TargetPlans& asked_for = devices_[std::string(device)];
      asked_for.set_node(std::string(ir::NodeNameOf(location)));
      asked_for.set_location(LineOf(location));
    });
  }

  // What is wrong with so many devices, and `another` if it is not empty.
  static std::string TooMany(const DeviceTargets& targets, const std::string& another) {
    std::string names;
    for (const DeviceTargets::Placed& placed : targets.placed) {
      absl::StrAppend(&names, ", ", placed.device);
    }
    if (!another.empty()) absl::StrAppend(&names, ", ", another);
    return absl::StrCat("expected nodes on at most ", WEFT_MAX_DEVICES, " devices, got ",
                        targets.placed.size() + (another.empty() ? 1 : 2), ": the session's own (",
                        targets.main.name, ")", names, "; place them on fewer");
  }

  // What the devices of plans for that target are compiled for.
  absl::StatusOr<DeviceTargets> TargetsOf(const std::string& name) const {
    absl::StatusOr<Target> main = TargetOf(name, options_);
    if (!main.ok()) return main.status();
    DeviceTargets targets(*main);
    for (const auto& [device, asked_for] : devices_) {
      const bool is_cpu = device == kCpu, main_is_cpu = main->kind == Target::Kind::kCpu;
      const auto given = options_.device_targets.find(device);
      if (given == options_.device_targets.end() && is_cpu != main_is_cpu) {
        const std::string& at = asked_for.location();
        return absl::InvalidArgumentError(absl::StrCat(
            "node '", asked_for.node(), "'", at.empty() ? "" : " (", at, at.empty() ? "" : ")",
            " is placed on '", device, "', and there is no target for that beside ", name,
            "; add one (device_targets, --target ", device, "=",
            is_cpu ? "cpu:x86-64-v3" : "cuda:sm_80",
            "), or have devices ignored (ignore_devices, --ignore-devices)"));
      }
      const bool is_main = given == options_.device_targets.end() ? is_cpu : given->second.empty();
      if (is_main) continue;
      absl::StatusOr<Target> target =
          given == options_.device_targets.end() ? main : TargetOf(given->second, options_);
      if (!target.ok()) return target.status();
      targets.placed.push_back(
          {device, *std::move(target), asked_for.node(), asked_for.location()});
    }
    if (targets.placed.size() >= WEFT_MAX_DEVICES) {
      return absl::InvalidArgumentError(TooMany(targets, ""));
    }
    return targets;
  }

  void AddSignatures(const std::vector<SignatureRequest>& signatures) {
    for (const SignatureRequest& request : signatures) {
      PackageSignature* made = manifest_.add_signatures();
      made->set_name(request.name);
      for (auto& [name, value] : request.inputs) FillValue(made->add_inputs(), name, value);
      for (auto& [name, value] : request.outputs) FillValue(made->add_outputs(), name, value);
    }
  }

  // Keeps the variables that some plan takes, all where there are no plans, and gives those that
  // have one their values.
  void ChooseVariables() {
    std::set<std::string> used;
    for (const TargetPlans& target : manifest_.targets()) {
      for (const Plan& plan : target.plans()) {
        for (const PlanValue& variable : plan.variables()) used.insert(variable.name());
      }
    }
    google::protobuf::RepeatedPtrField<PackageVariable> all;
    all.Swap(manifest_.mutable_variables());
    for (PackageVariable& variable : all) {
      if (manifest_.targets_size() > 0 && !used.contains(variable.name())) continue;
      PackageVariable* kept = manifest_.add_variables();
      *kept = std::move(variable);
      auto value = options_.variables.find(kept->name());
      if (value == options_.variables.end()) continue;
      kept->set_has_value(true);
      weights_.insert(*value);
    }
  }

  std::string Finish() {
    // Older runtimes read what they understand.
    const auto has_device = [](const auto& of) { return !of.device().empty(); };
    bool several =
        std::any_of(manifest_.variables().begin(), manifest_.variables().end(), has_device);
    bool maps = false;
    for (const TargetPlans& target : manifest_.targets()) {
      several |= target.devices_size() > 0;
      for (const Plan& plan : target.plans()) {
        for (const Kernel& kernel : plan.kernels()) {
          maps |= kernel.maps_size() > 0 || kernel.shares_tiles();
        }
      }
    }
    const int version = maps ? kVersionOfTensorMaps : several ? kVersionOfSeveralDevices : kVersion;
    manifest_.set_version(version);
    manifest_.set_min_consumer(version);
    manifest_.set_producer_name(kProducer);
    std::string manifest;
    {
      // Maps in map order: equal packages have equal bytes.
      google::protobuf::io::StringOutputStream stream(&manifest);
      google::protobuf::io::CodedOutputStream coded(&stream);
      coded.SetSerializationDeterministic(true);
      manifest_.SerializeToCodedStream(&coded);
    }
    // What the constants are made of goes as they are put together.
    table_ = WeightTable();
    const std::string constants = constants_.Take();
    std::vector<SectionToWrite> sections = {{"manifest", manifest, 6}};
    std::string weights;
    if (!weights_.empty()) {
      weights = WriteSafetensors(weights_);
      sections.push_back({"weights", weights, kPage});
    }
    if (!constants.empty()) sections.push_back({"constants", constants, kPage});
    for (const auto& [name, bytes] : code_) sections.push_back({name, bytes, kPage});
    return WriteContainer(sections);
  }

  // The function of fusions, in `module`, which it replaces.
  // `nodes_on_cpu` are there, wherever they were placed.
  absl::StatusOr<mlir::func::FuncOp> LowerPlan(const PlanSource& plan, const DeviceTargets& targets,
                                               mlir::OwningOpRef<mlir::ModuleOp>& module,
                                               const std::set<std::string>& nodes_on_cpu = {}) {
    MemoryBudget budget;
    absl::StatusOr<mlir::func::FuncOp> function =
        LowerWithin(plan, targets, budget, module, nodes_on_cpu);
    if (!function.ok() || options_.memory_budget == 0) return function;
    // The budget is for the certificate, while passes estimate, so they aim at what by experience
    // makes the certificate right.
    budget.sizes = plan.budget_sizes;
    int64_t needed = 0;
    std::string held;
    for (int attempt = 0;; ++attempt) {
      absl::StatusOr<int64_t> peak = Certificate(*function, targets, budget.sizes);
      if (!peak.ok()) return peak.status();
      if (*peak <= options_.memory_budget) return function;
      const MemoryProfile profile = ProfileMemory(*function, budget.sizes);
      if (needed == 0 || *peak < needed) {
        needed = *peak;
        held = HeldAtPeak(profile);
      }
      if (budget.bytes == kAsLittleAsCanBe || !Recomputes()) {
        return OverBudget(plan, targets, needed, held);
      }
      // Rounds that aim high may stop above what others reach, which compute more again at once.
      if (attempt == kMaxAttempts || (attempt > 0 && profile.peak_bytes > budget.bytes)) {
        budget.bytes = kAsLittleAsCanBe;
      } else {
        const double ratio =
            static_cast<double>(options_.memory_budget) / static_cast<double>(*peak);
        budget.bytes = std::max<int64_t>(
            kAsLittleAsCanBe,
            static_cast<int64_t>(ratio * static_cast<double>(profile.peak_bytes)));
      }
      function = LowerWithin(plan, targets, budget, module, nodes_on_cpu);
      if (!function.ok()) return function;
    }
  }

  // The plan of a function of fusions. Those that no one kernel can be made of become several
  // first; `refused` gets those for which that is no help.
  absl::StatusOr<Plan> PlanOf(mlir::func::FuncOp function, const DeviceTargets& targets,
                              const DeviceKernels& kernels, ConstantPool& constants,
                              std::vector<RefusedFusion>& refused) {
    const bool split = PassRunner(options_, "").Enabled("split_kernels");
    for (;;) {
      refused.clear();
      absl::StatusOr<Plan> built = BuildPlan(function, StorageOptionsOf(options_), table_, targets,
                                             kernels.sets, constants, refused);
      bool changed = false;
      for (size_t i = 0; split && i < refused.size(); ++i) {
        const mlir::Location at = refused[i].fusion->getLoc();
        const int kernels_now = SplitKernel(refused[i].fusion);
        if (kernels_now == 0) continue;
        changed = true;
        if (!options_.explain) continue;
        options_.explain(absl::StrCat("not fused: ", ir::Describe(at), " and what is computed ",
                                      "with it is ", kernels_now,
                                      " kernels: ", refused[i].why.message()));
      }
      if (changed) continue;
      for (auto& [fusion, why] : refused) {
        if (!CanSplitKernel(fusion)) continue;
        why = absl::Status(why.code(), absl::StrCat(why.message(),
                                                    "; the pass 'split_kernels', which is "
                                                    "disabled, makes several kernels of it"));
      }
      const bool is_why = !refused.empty() && absl::IsUnimplemented(built.status());
      return is_why ? refused.front().why : std::move(built);
    }
  }

  // Where GPUs have no code for some of it, that runs on the processor, which may become one more
  // of the devices.
  absl::StatusOr<Plan> MakePlan(const PlanSource& plan, DeviceTargets& targets,
                                DeviceKernels& kernels) {
    std::set<std::string> nodes_on_cpu;
    for (;;) {
      mlir::OwningOpRef<mlir::ModuleOp> module;
      absl::StatusOr<mlir::func::FuncOp> function = LowerPlan(plan, targets, module, nodes_on_cpu);
      if (!function.ok()) return function.status();
      std::vector<RefusedFusion> refused;
      absl::StatusOr<Plan> built = PlanOf(*function, targets, kernels, constants_, refused);
      if (built.ok()) {
        built->mutable_specialization()->insert(plan.sizes.begin(), plan.sizes.end());
        return built;
      }
      std::erase_if(refused, [&](const RefusedFusion& of) {
        return targets.Of(plan::FusionOp(of.fusion)).kind != Target::Kind::kCuda;
      });
      if (refused.empty() || options_.memory_budget != 0) return built;
      const size_t before = nodes_on_cpu.size();
      absl::Status status = FallBack(refused, targets, kernels, &nodes_on_cpu);
      if (!status.ok()) return status;
      if (nodes_on_cpu.size() == before) return built;
    }
  }

  // Adds the nodes of fusions without code to those on the processor.
  absl::Status FallBack(const std::vector<RefusedFusion>& refused, DeviceTargets& targets,
                        DeviceKernels& kernels, std::set<std::string>* nodes_on_cpu) {
    const auto given = options_.device_targets.find(kCpu);
    const bool is_main = targets.main.kind == Target::Kind::kCpu;
    if (!is_main && (given == options_.device_targets.end() || given->second.empty())) {
      const absl::Status& why = refused.front().why;
      return absl::Status(why.code(),
                          absl::StrCat(why.message(),
                                       "; or give a target for the processor, which can do it "
                                       "(device_targets, --target cpu=cpu:x86-64-v3)"));
    }
    if (!is_main && targets.IndexOf(kCpu) == 0) {
      absl::StatusOr<Target> target = TargetOf(given->second, options_);
      if (!target.ok()) return target.status();
      plan::FusionOp first = refused.front().fusion;
      if (targets.placed.size() + 1 >= WEFT_MAX_DEVICES) {
        return absl::InvalidArgumentError(
            absl::StrCat(ir::Describe(first->getLoc()), ": there is no code for ",
                         targets.Of(first).name, ", and to run it on the cpu, ",
                         TooMany(targets, kCpu), " (", refused.front().why.message(), ")"));
      }
      kernels.Add(*target);
      targets.placed.push_back(
          {kCpu, *std::move(target), std::string(ir::NodeNameOf(first)), LineOf(first->getLoc())});
    }
    for (auto& [fusion, why] : refused) {
      std::string nodes;
      for (mlir::Operation& op : plan::FusionOp(fusion).body()->without_terminator()) {
        const std::string node(ir::NodeNameOf(&op));
        if (node.empty() || !nodes_on_cpu->insert(node).second) continue;
        absl::StrAppend(&nodes, nodes.empty() ? "" : ", ", ir::Describe(op.getLoc()));
      }
      if (!options_.warn || nodes.empty()) continue;
      const std::string line =
          absl::StrCat(nodes, ": there is no code for ", targets.Of(fusion).name,
                       ", so it runs on the cpu (", why.message(), ")");
      // Once, though several targets and plans may have the same kernel.
      if (warned_.insert(line).second) options_.warn(line);
    }
    return absl::OkStatus();
  }

  // `done` of `count` parts are done that lead from one share of a target's work to another.
  void ReportProgress(double from, double to, const char* part, size_t done, size_t count) const {
    if (!options_.progress) return;
    const double share =
        from + (to - from) * static_cast<double>(done) / static_cast<double>(count);
    const size_t targets = options_.targets.size(), target = manifest_.targets_size();
    options_.progress((static_cast<double>(target - 1) + share) / static_cast<double>(targets),
                      absl::StrCat(part, " ", done, "/", count,
                                   targets == 1 ? "" : " for " + options_.targets[target - 1]));
  }

  // Links what MLIR and LLVM make of the kernels; of those for a GPU, it is text, in which they
  // have names and no offsets.
  absl::StatusOr<CodeImage> CompileKernels(KernelSet& kernels) {
    if (kernels.target().kind == Target::Kind::kCuda) {
      absl::StatusOr<std::string> ptx = CompileToPtx(kernels.module(), kernels.target());
      ReportProgress(kPlansShare, 1, "PTX", 1, 1);
      if (!ptx.ok()) return ptx.status();
      return CodeImage{*std::move(ptx), {}};
    }
    std::vector<mlir::OwningOpRef<mlir::ModuleOp>> owned = kernels.Split(kMaxModules);
    std::vector<mlir::ModuleOp> modules;
    for (auto& module : owned) modules.push_back(*module);
    absl::StatusOr<std::vector<std::string>> objects = CompileToObjects(
        modules, kernels.target(), ThreadsOf(options_),
        [&](size_t done) { ReportProgress(kPlansShare, 1, "machine code", done, modules.size()); });
    if (!objects.ok()) return objects.status();
    return LinkImage(*objects);
  }

  // Plans are made up to so many times to meet a memory budget, and once more with all that helps
  // computed again: then passes aim at this.
  static constexpr int kMaxAttempts = 5;
  static constexpr int64_t kAsLittleAsCanBe = 1;
  // Nodes named where a budget is missed.
  static constexpr size_t kMaxNamed = 8;

  absl::StatusOr<mlir::func::FuncOp> LowerWithin(const PlanSource& plan,
                                                 const DeviceTargets& targets,
                                                 const MemoryBudget& budget,
                                                 mlir::OwningOpRef<mlir::ModuleOp>& module,
                                                 const std::set<std::string>& nodes_on_cpu) {
    module = mlir::ModuleOp::create(mlir::UnknownLoc::get(&context_));
    mlir::func::FuncOp function = mlir::func::FuncOp(plan.function).clone();
    module->push_back(function);
    if (!nodes_on_cpu.empty()) {
      function.walk([&](mlir::Operation* op) {
        if (nodes_on_cpu.contains(std::string(ir::NodeNameOf(op)))) ir::SetDevice(op, kCpu);
      });
    }
    absl::Status status = Lower(function, plan.sizes, targets, options_, budget, table_);
    if (!status.ok()) return status;
    return function;
  }

  std::map<std::string, int64_t> SizesFor(const PlanToMake& plan) const {
    std::map<std::string, int64_t> sizes = plan.sizes;
    for (const auto& [symbol, values] : options_.specialize) {
      if (!values.empty()) sizes.emplace(symbol, *std::max_element(values.begin(), values.end()));
    }
    for (const auto& [name, value] : plan.request.inputs) {
      for (const DimExpr& dim : ir::ShapeOf(value)) {
        for (const std::string& symbol : dim.Symbols()) sizes.emplace(symbol, kTypicalSize);
      }
    }
    return sizes;
  }

  // Of a plan that is made to see how much memory it needs, on the main device.
  absl::StatusOr<int64_t> Certificate(mlir::func::FuncOp function, const DeviceTargets& targets,
                                      const std::map<std::string, int64_t>& sizes) {
    const DeviceKernels kernels(&context_, targets, /*merge=*/true);
    ConstantPool constants;
    std::vector<RefusedFusion> refused;
    absl::StatusOr<Plan> built = PlanOf(function, targets, kernels, constants, refused);
    if (!built.ok()) return built.status();
    const int scratch_copies =
        targets.main.kind == Target::Kind::kCuda ? 0 : options_.memory_budget_threads;
    absl::StatusOr<int64_t> peak = PeakBytes(*built, sizes, scratch_copies);
    if (peak.ok()) return peak;
    // Sizes that nobody may have named.
    return absl::Status(
        peak.status().code(),
        absl::StrCat(peak.status().message(),
                     " (where the memory budget is judged: at the largest sizes to specialize for, "
                     "else at ",
                     kTypicalSize, ")"));
  }

  bool Recomputes() const {
    const std::vector<std::string>& disabled = options_.disabled_passes;
    return std::find(disabled.begin(), disabled.end(), "rematerialize") == disabled.end();
  }

  static std::string HeldAtPeak(const MemoryProfile& profile) {
    std::string held = absl::StrCat("at the peak are held ", profile.peak_bytes,
                                    " (the rest is scratch of kernels, and gaps): ");
    const std::vector<size_t> values = profile.AtPeak();
    for (size_t i = 0; i < values.size() && i < kMaxNamed; ++i) {
      const HeldValue& value = profile.values[values[i]];
      absl::StrAppend(&held, i == 0 ? "" : ", ", value.bytes, " by ",
                      ir::Describe(value.value.getLoc()));
    }
    if (values.size() > kMaxNamed) {
      absl::StrAppend(&held, ", and ", values.size() - kMaxNamed, " more");
    }
    return held;
  }

  absl::Status OverBudget(const PlanSource& plan, const DeviceTargets& targets, int64_t needed,
                          const std::string& held) {
    const std::string at = AtSizes(plan.budget_sizes);
    const int threads = options_.memory_budget_threads;
    const std::string with =
        targets.main.kind == Target::Kind::kCuda
            ? ""
            : absl::StrCat(", with the scratch of ", threads, " thread", threads == 1 ? "" : "s");
    return absl::ResourceExhaustedError(
        absl::StrCat("signature '", plan.name, "': expected at most ", options_.memory_budget,
                     " bytes (the memory budget), needs ", needed,
                     targets.placed.empty() ? "" : " on the device of " + targets.main.name, ", ",
                     needed - options_.memory_budget, " more, with ",
                     Recomputes() ? "all computed again that helps"
                                  : "nothing computed again (no rematerialize)",
                     at.empty() ? "" : ", ", at, with, "; ", held));
  }

  static void FillValue(PackageValue* to, const std::string& name, mlir::Value value) {
    to->set_name(name);
    to->set_dtype(static_cast<int32_t>(ir::DataTypeOf(value)));
    for (const DimExpr& dim : ir::ShapeOf(value)) to->add_shape(dim.Text());
  }

  const CompileOptions& options_;
  mlir::MLIRContext context_;
  std::vector<mlir::OwningOpRef<mlir::ModuleOp>> sources_;
  std::vector<PlanSource> plans_;
  PackageManifest manifest_;
  WeightTable table_;
  ConstantPool constants_;
  // The devices that nodes are placed on; of each, the node and where it was built.
  std::map<std::string, TargetPlans> devices_;
  std::set<std::string> warned_;
  // Sections, by name.
  std::vector<std::pair<std::string, std::string>> code_;
  std::map<std::string, HostTensor> weights_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<PackageBuilder>> PackageBuilder::Extract(
    ir::GraphOp graph, const std::vector<PlanToMake>& plans,
    const std::vector<SignatureRequest>& signatures, const CompileOptions& options) {
  auto builder = std::make_unique<Builder>(options);
  if (absl::Status status = builder->TakeFrom(graph, plans, signatures); !status.ok()) {
    return status;
  }
  return std::unique_ptr<PackageBuilder>(std::move(builder));
}

}  // namespace weft
