#include "compiler/plan/build_plan.h"

#include <algorithm>
#include <functional>
#include <optional>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "compiler/passes/memory_profile.h"
#include "compiler/passes/op_kinds.h"
#include "compiler/passes/signature.h"
#include "compiler/plan/arena.h"
#include "compiler/plan/formulas.h"
#include "graph/ir/device.h"
#include "graph/ir/dialect.h"
#include "graph/ir/types.h"
#include "llvm/ADT/DenseSet.h"

namespace weft {
namespace {

// A buffer's size stands at kTypicalSize for open dimensions when it is placed: any is correct,
// this one is packed best. At most so much, so that offsets of many stay below 2^63.
constexpr int64_t kMaxTypicalBytes = int64_t{1} << 40;
// Of constants in their section.
constexpr uint64_t kConstantAlignment = 64;
// Nodes named in a step, for profiles; a kernel may hold many.
constexpr size_t kMaxNodes = 16;

std::string_view BytesOf(const HostTensor& tensor) {
  return {static_cast<const char*>(tensor.data()), tensor.size_bytes()};
}

// What the step computes, for people: "matmul", "fusion(add, relu)".
std::string Label(plan::FusionOp fusion) {
  std::vector<std::string> names;
  for (mlir::Operation& op : fusion.body()->without_terminator()) {
    if (KindOf(&op) == OpKind::kFree || llvm::isa<ir::ReshapeOp>(op)) continue;
    std::string name = op.getName().stripDialect().str();
    if (names.empty() || names.back() != name) names.push_back(std::move(name));
  }
  if (names.empty()) return fusion.body()->front().getName().stripDialect().str();
  if (names.size() == 1) return names[0];
  if (names.size() > kMaxNodes) {
    const size_t more = names.size() - kMaxNodes;
    names.resize(kMaxNodes);
    names.push_back(absl::StrCat("and ", more, " more"));
  }
  return absl::StrCat("fusion(", absl::StrJoin(names, ", "), ")");
}

// "model.cc:12", and "train.cc:30 for model.cc:12" of a node that a gradient made, as ir::Describe
// has it; "" where nobody wrote it.
std::string SourceText(mlir::Location location) {
  const std::vector<ir::SourceLine> lines = ir::SourceLinesOf(location);
  if (lines.empty()) return "";
  std::string text = absl::StrCat(lines[0].file, ":", lines[0].line);
  if (lines.size() > 1) absl::StrAppend(&text, " for ", lines[1].file, ":", lines[1].line);
  return text;
}

void SetBlame(const std::vector<mlir::Operation*>& ops, Step* step) {
  std::set<std::string> seen;
  for (mlir::Operation* op : ops) {
    const std::string name(ir::NodeNameOf(op));
    if (name.empty() || seen.size() >= kMaxNodes || !seen.insert(name).second) continue;
    step->add_nodes(name);
    if (step->location().empty()) step->set_location(SourceText(op->getLoc()));
  }
}

// Deadlines are looked at between tiles, so a tile must end: after a minute or so. Contractions
// have the work of a block of results in one, and are quick at it; where a GPU's block goes on to
// other tiles, it has all the work of a multiprocessor.
int64_t MaxTileFlops(plan::FusionOp fusion, const KernelSpec& spec) {
  if (fusion.getKind() != plan::kContraction) return int64_t{1} << 38;
  return int64_t{1} << (spec.maps.empty() ? 42 : 48);
}

// Where sizes are known; others are the runtime's to look at.
absl::Status CheckTileWork(plan::FusionOp fusion, const KernelSpec& spec) {
  const std::optional<int64_t> work = spec.flops.Constant(), tiles = spec.tiles.Constant();
  if (!work || !tiles) return absl::OkStatus();
  const int64_t of_tile = *work / std::max<int64_t>(*tiles, 1), most = MaxTileFlops(fusion, spec);
  if (of_tile <= most) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(Label(fusion), ": expected at most ", most,
                   " operations in a piece of work that nothing can stop, got ", of_tile, ", at ",
                   ir::Describe(fusion.getLoc()),
                   "; reduce in two steps, the first of which gives many results"));
}

class PlanBuilder {
 public:
  PlanBuilder(mlir::func::FuncOp function, const StorageOptions& options,
              const WeightTable& weights, const DeviceTargets& targets,
              const std::vector<KernelSet*>& kernels, ConstantPool& constants,
              std::vector<RefusedFusion>& refused)
      : function_(function),
        options_(options),
        weights_(weights),
        targets_(targets),
        kernels_(kernels),
        constants_(constants),
        refused_(refused) {}

  absl::StatusOr<Plan> Build() {
    if (absl::Status status = EmitKernels(); !status.ok()) return status;
    storage_.emplace(function_, may_share_, options_);
    plan_.set_signature(function_.getSymName().str());
    if (absl::Status status = AddSymbols(); !status.ok()) return status;
    formulas_.emplace(&plan_);
    AddValues();
    if (absl::Status status = AddBuffers(); !status.ok()) return status;
    entry_ = &function_.getBody().front();
    plan_.add_blocks();
    if (absl::Status status = AddSteps(entry_, 0); !status.ok()) return status;
    if (!commit_step_) commit_step_ = plan_.blocks(0).steps_size();
    plan_.set_commit_step(static_cast<uint32_t>(*commit_step_));
    return std::move(plan_);
  }

 private:
  absl::Status EmitKernels() {
    absl::Status status;
    function_.walk([&](plan::FusionOp fusion) {
      if (!status.ok() && !absl::IsUnimplemented(status)) return;
      absl::StatusOr<KernelSpec> spec = kernels_[DeviceOf(fusion)]->Add(fusion);
      if (!spec.ok()) {
        if (absl::IsUnimplemented(spec.status())) refused_.push_back({fusion, spec.status()});
        if (status.ok() || !absl::IsUnimplemented(spec.status())) status = spec.status();
        return;
      }
      if (const absl::Status work = CheckTileWork(fusion, *spec); !work.ok()) status = work;
      may_share_[fusion] = spec->may_share;
      specs_.insert({fusion.getOperation(), *std::move(spec)});
    });
    return status;
  }

  // Open dimensions get their sizes from the first input dimension that is just them.
  absl::Status AddSymbols() {
    std::set<std::string> wanted;
    auto want = [&](mlir::Type type) {
      for (const DimExpr& dim : ir::ShapeOf(type)) {
        for (const std::string& symbol : dim.Symbols()) wanted.insert(symbol);
      }
    };
    for (mlir::Type type : function_.getArgumentTypes()) want(type);
    function_.walk([&](mlir::Operation* op) {
      for (mlir::Type type : op->getResultTypes()) want(type);
    });
    for (auto& [op, spec] : specs_) {
      std::vector<DimExpr> all = spec.sizes;
      all.insert(all.end(), {spec.tiles, spec.scratch_bytes, spec.flops, spec.bytes});
      for (const DimExpr& expr : all) {
        for (const std::string& symbol : expr.Symbols()) wanted.insert(symbol);
      }
    }
    const size_t num_inputs = NamesIn(function_, kInputsAttr).size();
    for (const std::string& symbol : wanted) {
      bool found = false;
      for (size_t i = 0; i < num_inputs && !found; ++i) {
        const Shape shape = ir::ShapeOf(function_.getArgument(static_cast<unsigned>(i)));
        for (size_t d = 0; d < shape.size() && !found; ++d) {
          if (shape[d] != DimExpr::Symbol(symbol)) continue;
          plan_.add_symbols(symbol);
          plan_.add_symbol_inputs(static_cast<uint32_t>(i));
          plan_.add_symbol_dims(static_cast<uint32_t>(d));
          found = true;
        }
      }
      if (!found) {
        return absl::InvalidArgumentError(absl::StrCat(
            "signature '", function_.getSymName().str(), "': the open dimension '", symbol,
            "' must be a dimension of an input by itself, so that its size is known"));
      }
    }
    return absl::OkStatus();
  }

  void FillValue(PlanValue* value, const std::string& name, mlir::Value of) {
    value->set_name(name);
    value->set_dtype(static_cast<int32_t>(ir::DataTypeOf(of)));
    for (const DimExpr& dim : ir::ShapeOf(of)) {
      value->add_dims(formulas_->Add(dim));
      value->add_dim_names(dim.Text());
    }
  }

  void AddValues() {
    const std::vector<std::string> inputs = NamesIn(function_, kInputsAttr);
    const std::vector<std::string> variables = NamesIn(function_, kVariablesAttr);
    const std::vector<std::string> outputs = NamesIn(function_, kOutputsAttr);
    llvm::DenseSet<mlir::Value> assigned;
    for (mlir::BlockArgument variable : AssignedArguments(function_)) assigned.insert(variable);
    mlir::Operation* end = function_.getBody().front().getTerminator();
    for (size_t i = 0; i < inputs.size(); ++i) {
      FillValue(plan_.add_inputs(), inputs[i], function_.getArgument(static_cast<unsigned>(i)));
    }
    for (size_t i = 0; i < outputs.size(); ++i) {
      FillValue(plan_.add_outputs(), outputs[i], end->getOperand(static_cast<unsigned>(i)));
    }
    for (size_t i = 0; i < variables.size(); ++i) {
      mlir::Value argument = function_.getArgument(static_cast<unsigned>(inputs.size() + i));
      FillValue(plan_.add_variables(), variables[i], argument);
      if (!argument.use_empty()) plan_.add_read_variables(static_cast<uint32_t>(i));
      if (assigned.contains(argument)) plan_.add_assigned_variables(static_cast<uint32_t>(i));
    }
  }

  // The arenas' buffers first, each in the order of their offsets.
  absl::Status AddBuffers() {
    buffer_of_.assign(storage_->storages().size(), 0);
    for (uint32_t i = 0; i < kernels_.size(); ++i) AddArena(i);
    return AddOtherBuffers();
  }

  void AddArena(uint32_t device) {
    const std::vector<Storage>& storages = storage_->storages();
    std::vector<ArenaBuffer> arena;
    std::vector<int> arena_storage;
    for (size_t i = 0; i < storages.size(); ++i) {
      const Storage& storage = storages[i];
      if (!storage_->IsRoot(static_cast<int>(i)) || storage.space != Space::kArena) continue;
      if (targets_.IndexOf(storage.device) != device) continue;
      std::map<std::string, int64_t> sizes;
      for (const std::string& symbol : storage.bytes.Symbols()) sizes[symbol] = kTypicalSize;
      const int64_t bytes = storage.bytes.Evaluate(sizes).value_or(kMaxTypicalBytes);
      arena.push_back(
          {storage.begin, storage.end, std::clamp<int64_t>(bytes, 0, kMaxTypicalBytes)});
      arena_storage.push_back(static_cast<int>(i));
    }
    const ArenaLayout layout = PlaceBuffers(arena);
    for (int index : layout.order) {
      const int storage = arena_storage[static_cast<size_t>(index)];
      Buffer* buffer = AddBuffer(storage, Buffer::ARENA);
      for (int lower : layout.below[static_cast<size_t>(index)]) {
        buffer->add_below(
            buffer_of_[static_cast<size_t>(arena_storage[static_cast<size_t>(lower)])]);
      }
      std::sort(buffer->mutable_below()->begin(), buffer->mutable_below()->end());
    }
  }

  absl::Status AddOtherBuffers() {
    const std::vector<Storage>& storages = storage_->storages();
    for (size_t i = 0; i < storages.size(); ++i) {
      const Storage& storage = storages[i];
      if (!storage_->IsRoot(static_cast<int>(i)) || storage.space == Space::kArena) continue;
      if (storage.space == Space::kConstant) {
        const absl::StatusOr<uint64_t> offset = AddConstant(storage);
        if (!offset.ok()) return offset.status();
        AddBuffer(static_cast<int>(i), Buffer::CONSTANT)->set_constant_offset(*offset);
        continue;
      }
      AddBuffer(static_cast<int>(i), storage.space == Space::kVariable ? Buffer::VARIABLE
                                     : storage.space == Space::kInput  ? Buffer::INPUT
                                                                       : Buffer::OUTPUT)
          ->set_index(static_cast<uint32_t>(storage.index));
    }
    return absl::OkStatus();
  }

  Buffer* AddBuffer(int storage, Buffer::Space space) {
    const Storage& from = storage_->storages()[static_cast<size_t>(storage)];
    buffer_of_[static_cast<size_t>(storage)] = static_cast<uint32_t>(plan_.buffers_size());
    Buffer* buffer = plan_.add_buffers();
    buffer->set_space(space);
    buffer->set_device(targets_.IndexOf(from.device));
    buffer->set_size(formulas_->Add(from.bytes));
    if (from.maker != nullptr) buffer->set_node(std::string(ir::NodeNameOf(from.maker)));
    return buffer;
  }

  absl::StatusOr<uint64_t> AddConstant(const Storage& storage) {
    if (auto weight = llvm::dyn_cast<mlir::IntegerAttr>(storage.constant)) {
      return constants_.Add(weights_.at(weight.getInt()));
    }
    absl::StatusOr<HostTensor> tensor =
        ir::HostTensorOf(llvm::cast<mlir::DenseElementsAttr>(storage.constant));
    if (!tensor.ok()) return tensor.status();
    return constants_.Add(*tensor);
  }

  uint32_t BufferOf(mlir::Value value) const {
    return buffer_of_[static_cast<size_t>(storage_->Of(value))];
  }

  uint32_t DeviceOf(mlir::Operation* op) const { return targets_.IndexOf(ir::DeviceOf(op)); }

  Step* AddStep(int block) { return plan_.mutable_blocks(block)->add_steps(); }

  void MarkVariableWrite(int block, int storage) {
    const Storage& written = storage_->storages()[static_cast<size_t>(storage)];
    if (written.space != Space::kVariable || commit_step_) return;
    commit_step_ = plan_.blocks(block).steps_size() - 1;
  }

  void AddCopies(const std::vector<StorageCopy>& copies, mlir::Operation* blame, int block) {
    for (const StorageCopy& copy : copies) {
      Step* step = AddStep(block);
      step->set_label("copy");
      if (blame != nullptr) SetBlame({blame}, step);
      Copy* made = step->mutable_copy();
      made->mutable_source()->set_buffer(buffer_of_[static_cast<size_t>(copy.source)]);
      made->mutable_destination()->set_buffer(buffer_of_[static_cast<size_t>(copy.destination)]);
      made->set_size(
          formulas_->Add(storage_->storages()[static_cast<size_t>(copy.destination)].bytes));
      MarkVariableWrite(block, copy.destination);
    }
  }

  absl::Status AddSteps(mlir::Block* from, int block) {
    if (from == entry_) AddCopies(storage_->first_copies(), nullptr, block);
    for (mlir::Operation& op : *from) {
      AddCopies(storage_->CopiesBefore(&op), &op, block);
      if (auto fusion = llvm::dyn_cast<plan::FusionOp>(op)) {
        AddLaunch(fusion, block);
      } else if (auto transfer = llvm::dyn_cast<plan::TransferOp>(op)) {
        AddTransfer(transfer, block);
      } else if (auto loop = llvm::dyn_cast<ir::WhileOp>(op)) {
        if (absl::Status status = AddWhile(loop, block); !status.ok()) return status;
      } else if (auto cond = llvm::dyn_cast<ir::CondOp>(op)) {
        if (absl::Status status = AddCond(cond, block); !status.ok()) return status;
      } else if (auto assert_op = llvm::dyn_cast<ir::AssertOp>(op)) {
        Step* step = AddStep(block);
        step->set_label("assert");
        SetBlame({&op}, step);
        step->mutable_assert_step()->set_condition(BufferOf(assert_op.getCondition()));
        // Those who print it add the step's nodes and source line.
        const llvm::StringRef message = assert_op.getMessage();
        step->mutable_assert_step()->set_message(message.empty() ? "expected a condition that holds"
                                                                 : message.str());
      } else if (auto print = llvm::dyn_cast<ir::PrintOp>(op)) {
        AddPrint(print, block);
      }
    }
    return absl::OkStatus();
  }

  void AddTransfer(plan::TransferOp transfer, int block) {
    Step* step = AddStep(block);
    const std::string device(ir::DeviceOf(transfer));
    step->set_label(absl::StrCat("copy to ", device.empty() ? "the main device" : device));
    SetBlame({transfer.getOperation()}, step);
    Copy* made = step->mutable_copy();
    made->mutable_source()->set_buffer(BufferOf(transfer.getX()));
    made->mutable_destination()->set_buffer(BufferOf(transfer.getY()));
    made->set_size(formulas_->Add(
        storage_->storages()[static_cast<size_t>(storage_->Of(transfer.getX()))].bytes));
    MarkVariableWrite(block, storage_->Of(transfer.getY()));
  }

  void AddLaunch(plan::FusionOp fusion, int block) {
    const KernelSpec& spec = specs_.at(fusion.getOperation());
    const uint32_t device = DeviceOf(fusion);
    auto [kernel, is_new] = kernel_index_.try_emplace(std::pair(device, spec.symbol),
                                                      static_cast<uint32_t>(plan_.kernels_size()));
    if (is_new) {
      Kernel* made = plan_.add_kernels();
      made->set_name(spec.symbol);
      made->set_device(device);
      made->set_block_threads(static_cast<uint32_t>(spec.block_threads));
      made->set_shares_tiles(spec.shares_tiles);
      for (const KernelMap& map : spec.maps) {
        TensorMapParameter* stated = made->add_maps();
        stated->set_buffer(map.buffer);
        stated->set_element_bytes(map.element_bytes);
        stated->set_swizzle_bytes(map.swizzle_bytes);
        for (uint32_t i = 0; i < map.box_rank(); ++i) stated->add_box(map.box[i]);
        for (size_t i = 0; map.of_images && i < 2; ++i) {
          stated->add_lower_corner(map.lower_corner[i]);
          stated->add_upper_corner(map.upper_corner[i]);
          stated->add_element_strides(map.element_strides[i]);
        }
      }
    }
    Step* step = AddStep(block);
    step->set_label(Label(fusion));
    std::vector<mlir::Operation*> ops;
    for (mlir::Operation& op : fusion.body()->without_terminator()) ops.push_back(&op);
    // The op that gave the kernel its place is named first.
    SetBlame({fusion.getOperation()}, step);
    const std::string first = step->nodes_size() > 0 ? step->nodes(0) : "";
    Step others;
    SetBlame(ops, &others);
    for (const std::string& node : others.nodes()) {
      if (node != first) step->add_nodes(node);
    }
    if (step->location().empty()) step->set_location(others.location());
    Launch* launch = step->mutable_launch();
    launch->set_kernel(kernel->second);
    for (mlir::Value input : fusion.getInputs()) launch->add_buffers()->set_buffer(BufferOf(input));
    for (mlir::Value result : fusion.getResults()) {
      launch->add_buffers()->set_buffer(BufferOf(result));
      MarkVariableWrite(block, storage_->Of(result));
    }
    launch->set_results(fusion.getNumResults());
    for (const DimExpr& size : spec.sizes) launch->add_sizes(formulas_->Add(size));
    launch->set_tiles(formulas_->Add(spec.tiles));
    launch->set_scratch(formulas_->Add(spec.scratch_bytes));
    launch->set_bytes(formulas_->Add(spec.bytes));
    launch->set_flops(formulas_->Add(spec.flops));
    launch->set_max_tile_flops(MaxTileFlops(fusion, spec));
    if (spec.contraction) AddContraction(*spec.contraction, launch->mutable_contraction());
  }

  void AddContraction(const ContractionSpec& spec, Contraction* stated) {
    stated->set_kind(static_cast<Contraction::Kind>(spec.kind));
    stated->set_dtype(static_cast<int32_t>(spec.dtype));
    stated->set_tf32(spec.tf32);
    stated->set_scale(spec.scale);
    stated->set_left(static_cast<uint32_t>(spec.left));
    stated->set_right(static_cast<uint32_t>(spec.right));
    if (spec.addend) stated->set_addend(static_cast<uint32_t>(*spec.addend));
    if (spec.bias) stated->set_bias(static_cast<uint32_t>(*spec.bias));
    for (const DimExpr& size : spec.sizes) stated->add_sizes(formulas_->Add(size));
  }

  int AddBlock() {
    plan_.add_blocks();
    return plan_.blocks_size() - 1;
  }

  absl::Status AddWhile(ir::WhileOp loop, int block) {
    Step* step = AddStep(block);
    step->set_label("while");
    SetBlame({loop.getOperation()}, step);
    mlir::Block &condition = loop.getCondition().front(), &body = loop.getBody().front();
    const int condition_block = AddBlock();
    const int body_block = AddBlock();
    WhileStep* made = step->mutable_while_step();
    made->set_condition_block(static_cast<uint32_t>(condition_block));
    made->set_body_block(static_cast<uint32_t>(body_block));
    made->set_condition(BufferOf(condition.getTerminator()->getOperand(0)));
    made->set_max_iterations(loop.getMaxIterations());
    if (absl::Status status = AddSteps(&condition, condition_block); !status.ok()) return status;
    return AddSteps(&body, body_block);
  }

  absl::Status AddCond(ir::CondOp cond, int block) {
    Step* step = AddStep(block);
    step->set_label("cond");
    SetBlame({cond.getOperation()}, step);
    const int then_block = AddBlock();
    const int else_block = AddBlock();
    CondStep* made = step->mutable_cond();
    made->set_predicate(BufferOf(cond.getPredicate()));
    made->set_then_block(static_cast<uint32_t>(then_block));
    made->set_else_block(static_cast<uint32_t>(else_block));
    if (absl::Status status = AddSteps(&cond.getThenBody().front(), then_block); !status.ok()) {
      return status;
    }
    return AddSteps(&cond.getElseBody().front(), else_block);
  }

  void AddPrint(ir::PrintOp print, int block) {
    Step* step = AddStep(block);
    step->set_label("print");
    SetBlame({print.getOperation()}, step);
    PrintStep* made = step->mutable_print();
    made->set_value(BufferOf(print.getX()));
    made->set_dtype(static_cast<int32_t>(ir::DataTypeOf(print.getX())));
    for (const DimExpr& dim : ir::ShapeOf(print.getX())) made->add_shape(formulas_->Add(dim));
    made->set_message(print.getMessage().str());
    made->set_limit(print.getLimit());
  }

  mlir::func::FuncOp function_;
  const StorageOptions& options_;
  const WeightTable& weights_;
  const DeviceTargets& targets_;
  const std::vector<KernelSet*>& kernels_;
  ConstantPool& constants_;
  std::vector<RefusedFusion>& refused_;
  Plan plan_;
  MayShare may_share_;
  std::map<mlir::Operation*, KernelSpec> specs_;
  std::optional<StoragePlan> storage_;
  std::optional<FormulaTable> formulas_;
  std::vector<uint32_t> buffer_of_;
  std::map<std::pair<uint32_t, std::string>, uint32_t> kernel_index_;
  mlir::Block* entry_ = nullptr;
  std::optional<int> commit_step_;
};

}  // namespace

uint64_t ConstantPool::Add(const HostTensor& tensor) {
  const std::pair<const void*, size_t> address(tensor.data(), tensor.size_bytes());
  if (auto known = by_address_.find(address); known != by_address_.end()) return known->second;
  const std::string_view bytes = BytesOf(tensor);
  const size_t hash = std::hash<std::string_view>()(bytes);
  for (auto [same, end] = by_hash_.equal_range(hash); same != end; ++same) {
    const Piece& piece = pieces_[same->second];
    if (BytesOf(piece.tensor) == bytes) return piece.offset;
  }
  const uint64_t offset = (end_ + kConstantAlignment - 1) / kConstantAlignment * kConstantAlignment;
  end_ = offset + bytes.size();
  by_hash_.emplace(hash, pieces_.size());
  by_address_.emplace(address, offset);
  pieces_.push_back({offset, tensor});
  return offset;
}

std::string ConstantPool::Take() {
  std::string bytes;
  bytes.reserve(end_);
  for (Piece& piece : pieces_) {
    bytes.resize(piece.offset);
    bytes.append(BytesOf(piece.tensor));
    piece.tensor = HostTensor();
  }
  *this = ConstantPool();
  return bytes;
}

absl::StatusOr<Plan> BuildPlan(mlir::func::FuncOp function, const StorageOptions& options,
                               const WeightTable& weights, const DeviceTargets& targets,
                               const std::vector<KernelSet*>& kernels, ConstantPool& constants,
                               std::vector<RefusedFusion>& refused) {
  return PlanBuilder(function, options, weights, targets, kernels, constants, refused).Build();
}

}  // namespace weft
