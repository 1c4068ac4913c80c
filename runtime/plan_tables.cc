#include "runtime/plan_tables.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "proto/dtype.h"
#include "proto/plan.pb.h"
#include "proto/printable.h"

// Runs once for each plan: small rather than quick, since the size of weft-run is bounded.
#pragma clang attribute push(__attribute__((minsize)), apply_to = function)

namespace weft {
namespace {

constexpr uint32_t kMaxRank = 64;
// Far above what any graph gives; keeps all indices well inside 32 bits.
constexpr size_t kMaxEntries = size_t{1} << 28;

}  // namespace

const char* PlanTables::Keep(const std::string& text) {
  // A NUL would cut it short.
  strings_.push_back(text.substr(0, text.find('\0')));
  return strings_.back().c_str();
}

void PlanTables::PlaceConstants(uint32_t device,
                                const std::function<uint64_t(uint64_t offset)>& place) {
  for (WeftBuffer& buffer : buffers_) {
    if (buffer.space != WEFT_SPACE_CONSTANT || buffer.device != device) continue;
    buffer.constant_offset = place(buffer.constant_offset);
  }
}

void PlanTables::SetKernels(absl::Span<const WeftKernel> kernels) {
  kernels_.assign(kernels.begin(), kernels.end());
  kernels_.resize(code_offsets_.size(), nullptr);
  plan_.kernels = kernels_.data();
}

// Fills the tables in one walk over the wire form. The first error stays in status_.
class PlanTablesBuilder {
 public:
  PlanTablesBuilder(const Plan& plan, absl::Span<const uint64_t> code_bytes,
                    uint64_t constants_bytes)
      : wire_(plan),
        code_bytes_(code_bytes),
        constants_bytes_(constants_bytes),
        tables_(new PlanTables) {}

  absl::StatusOr<std::unique_ptr<PlanTables>> Build() {
    tables_->plan_.abi_version = WEFT_PLAN_ABI_VERSION;
    tables_->plan_.signature = tables_->Keep(wire_.signature());
    Require(code_bytes_.size() <= WEFT_MAX_DEVICES, "is for too many devices");
    Values("input", wire_.inputs(), &tables_->inputs_);
    Values("output", wire_.outputs(), &tables_->outputs_);
    Values("variable", wire_.variables(), &tables_->variables_);
    Flags(wire_.read_variables(), WEFT_VARIABLE_READ);
    Flags(wire_.assigned_variables(), WEFT_VARIABLE_ASSIGNED);
    Symbols();
    Formulas();
    Buffers();
    Kernels();
    Blocks();
    if (!status_.ok()) return status_;
    Finish();
    if (!status_.ok()) return status_;
    return std::move(tables_);
  }

 private:
  // What is being verified, for errors; text only where there is one.
  struct Where {
    std::string_view kind;
    const std::string* name = nullptr;
    size_t index = 0;
    std::string Text() const {
      const std::string what(kind);
      if (kind.empty()) return "";
      if (kind == "step") return absl::StrCat(what, " ", index, " (", *name, "): ");
      return name != nullptr ? absl::StrCat(what, " '", *name, "': ")
                             : absl::StrCat(what, " ", index, ": ");
    }
  };

  template <typename... What>
  void Fail(const What&... what) {
    if (status_.ok()) {
      status_ = absl::InvalidArgumentError(
          absl::StrCat("plan '", wire_.signature(), "': ", where_.Text(), what...));
    }
  }
  void Require(bool holds, std::string_view what) {
    if (!holds) Fail(std::string(what));
  }

  // Checks an index and returns it, or 0 where it is wrong.
  uint32_t Index(uint32_t index, size_t size, std::string_view what) {
    if (index < size) return index;
    Fail("expected a ", std::string(what), " below ", size, ", got ", index);
    return 0;
  }
  uint32_t FormulaIndex(uint32_t index) {
    return Index(index, static_cast<size_t>(wire_.formulas_size()), "formula");
  }
  uint32_t BufferIndex(uint32_t index) {
    return Index(index, static_cast<size_t>(wire_.buffers_size()), "buffer");
  }
  uint32_t BlockIndex(uint32_t index) {
    return Index(index, static_cast<size_t>(wire_.blocks_size()), "block");
  }

  template <typename List>
  void Values(std::string_view kind, const List& list, std::vector<WeftValue>* values) {
    std::set<std::string> names;
    for (const PlanValue& wire : list) {
      where_ = {kind, &wire.name(), {}};
      Require(!wire.name().empty() && wire.name().find('\0') == std::string::npos, "has no name");
      Require(names.insert(wire.name()).second, "is there twice");
      Require(IsDataType(wire.dtype()), "has no valid dtype");
      Require(wire.dims_size() <= static_cast<int>(kMaxRank), "has too many dimensions");
      Require(wire.dims_size() == wire.dim_names_size(), "needs a name for each dimension");
      if (!status_.ok()) return;
      WeftValue value = {};
      value.name = tables_->Keep(wire.name());
      value.dtype = wire.dtype();
      value.rank = static_cast<uint32_t>(wire.dims_size());
      value.first_dim = static_cast<uint32_t>(tables_->dims_.size());
      for (int i = 0; i < wire.dims_size(); ++i) {
        tables_->dims_.push_back(FormulaIndex(wire.dims(i)));
        tables_->dim_names_.push_back(tables_->Keep(wire.dim_names(i)));
      }
      values->push_back(value);
    }
    where_ = {};
  }

  template <typename List>
  void Flags(const List& indices, uint32_t flag) {
    for (const uint32_t index : indices) {
      if (index >= tables_->variables_.size()) return Fail("names a variable that it has not");
      tables_->variables_[index].flags |= flag;
    }
  }

  void Symbols() {
    if (wire_.symbols_size() != wire_.symbol_inputs_size() ||
        wire_.symbols_size() != wire_.symbol_dims_size()) {
      return Fail("expected an input and a dimension for each symbol");
    }
    for (int i = 0; i < wire_.symbols_size() && status_.ok(); ++i) {
      where_ = {"symbol", &wire_.symbols(i), {}};
      const uint32_t input = Index(wire_.symbol_inputs(i), tables_->inputs_.size(), "input");
      if (!status_.ok()) return;
      const uint32_t dim = Index(wire_.symbol_dims(i), tables_->inputs_[input].rank, "dimension");
      tables_->symbols_.push_back({tables_->Keep(wire_.symbols(i)), input, dim});
    }
    where_ = {};
  }

  void Formulas() {
    for (const Formula& wire : wire_.formulas()) {
      if (!status_.ok()) return;
      const size_t here = tables_->formulas_.size();
      where_ = {"formula", nullptr, here};
      WeftFormula formula = {};
      formula.op = static_cast<uint32_t>(wire.op());
      if (wire.op() == Formula::CONSTANT) {
        formula.value = wire.value();
      } else if (wire.op() == Formula::SYMBOL) {
        formula.a = Index(wire.a(), tables_->symbols_.size(), "symbol");
      } else if (wire.op() >= Formula::ADD && wire.op() <= Formula::MIN) {
        formula.a = Index(wire.a(), here, "formula");
        formula.b = Index(wire.b(), here, "formula");
      } else {
        Fail("unknown operation ", static_cast<int>(wire.op()));
      }
      tables_->formulas_.push_back(formula);
    }
    where_ = {};
  }

  // Of the values in a space, where they have buffers so far; null for other spaces.
  std::vector<uint32_t>* DevicesOf(uint32_t space) {
    switch (space) {
      case WEFT_SPACE_VARIABLE:
        return &variable_devices_;
      case WEFT_SPACE_INPUT:
        return &input_devices_;
      case WEFT_SPACE_OUTPUT:
        return &output_devices_;
      default:
        return nullptr;
    }
  }

  void Buffers() {
    variable_devices_ = std::vector<uint32_t>(tables_->variables_.size(), WEFT_NONE);
    input_devices_ = std::vector<uint32_t>(tables_->inputs_.size(), WEFT_NONE);
    output_devices_ = std::vector<uint32_t>(tables_->outputs_.size(), WEFT_NONE);
    for (const Buffer& wire : wire_.buffers()) {
      if (!status_.ok()) return;
      const size_t here = tables_->buffers_.size();
      where_ = {"buffer", nullptr, here};
      WeftBuffer buffer = {};
      buffer.space = static_cast<uint32_t>(wire.space());
      buffer.size = FormulaIndex(wire.size());
      buffer.device = Index(wire.device(), code_bytes_.size(), "device");
      switch (wire.space()) {
        case Buffer::ARENA:
          buffer.first_below = static_cast<uint32_t>(tables_->below_.size());
          buffer.num_below = static_cast<uint32_t>(wire.below_size());
          for (const uint32_t below : wire.below()) {
            Require(below < here && tables_->buffers_[below].space == WEFT_SPACE_ARENA &&
                        tables_->buffers_[below].device == buffer.device,
                    "lies above one that is not an earlier buffer of the arena");
            tables_->below_.push_back(below);
          }
          break;
        case Buffer::CONSTANT:
          buffer.constant_offset = wire.constant_offset();
          Require(wire.constant_offset() % WEFT_BUFFER_ALIGNMENT == 0 &&
                      wire.constant_offset() <= constants_bytes_,
                  "lies outside the constants or is misaligned");
          break;
        case Buffer::VARIABLE:
          buffer.index = Index(wire.index(), tables_->variables_.size(), "variable");
          break;
        case Buffer::INPUT:
          buffer.index = Index(wire.index(), tables_->inputs_.size(), "input");
          break;
        case Buffer::OUTPUT:
          buffer.index = Index(wire.index(), tables_->outputs_.size(), "output");
          break;
        default:
          Fail("unknown space ", static_cast<int>(wire.space()));
      }
      if (std::vector<uint32_t>* devices = DevicesOf(buffer.space);
          devices != nullptr && status_.ok()) {
        uint32_t& device = (*devices)[buffer.index];
        Require(device == WEFT_NONE || device == buffer.device,
                "its value lies on another device as well");
        device = buffer.device;
      }
      tables_->buffers_.push_back(buffer);
      tables_->buffer_origins_.push_back({tables_->Keep(wire.node()), WEFT_NONE});
    }
    where_ = {};
  }

  void Kernels() {
    for (const Kernel& wire : wire_.kernels()) {
      const uint32_t device = Index(wire.device(), code_bytes_.size(), "device");
      if (!status_.ok()) return;
      if (wire.code_offset() >= code_bytes_[device]) {
        return Fail("kernel '", wire.name(), "' lies outside the code");
      }
      tables_->code_offsets_.push_back(wire.code_offset());
      tables_->kernel_names_.push_back(wire.name());
      tables_->block_threads_.push_back(wire.block_threads());
      tables_->shares_tiles_.push_back(wire.shares_tiles());
      tables_->kernel_devices_.push_back(device);
      where_ = {"kernel", &wire.name(), {}};
      AddMaps(wire);
      where_ = {};
    }
    tables_->kernels_.resize(tables_->code_offsets_.size(), nullptr);
  }

  void AddMaps(const Kernel& wire) {
    std::vector<KernelMap>& maps = tables_->kernel_maps_.emplace_back();
    Require(wire.maps().empty() || wire.block_threads() > 0, "has tensor maps, and is of no GPU");
    Require(!wire.shares_tiles() || wire.block_threads() > 0, "has blocks, and is of no GPU");
    for (const TensorMapParameter& stated : wire.maps()) {
      KernelMap map = {stated.buffer(), stated.element_bytes(), stated.swizzle_bytes(), 0, {}};
      for (const uint32_t size : stated.box()) {
        if (map.rank < KernelMap::kMaxRank) map.box[map.rank] = size;
        ++map.rank;
      }
      const char* problem = SetImages(stated, &map)
                                ? CheckKernelMap(map)
                                : "a box, corners and strides of windows, 2 each";
      if (problem != nullptr) return Fail("expected a tensor map with ", problem);
      maps.push_back(map);
    }
  }

  // Where the map is of images. False where it has a part of what says so.
  static bool SetImages(const TensorMapParameter& stated, KernelMap* map) {
    const int lower = stated.lower_corner_size(), upper = stated.upper_corner_size(),
              strides = stated.element_strides_size();
    if (lower + upper + strides == 0) return true;
    if (map->rank != 2 || lower != 2 || upper != 2 || strides != 2) return false;
    map->rank = KernelMap::kRankOfImages;
    map->of_images = true;
    for (int i = 0; i < 2; ++i) {
      const auto at = static_cast<size_t>(i);
      map->lower_corner[at] = stated.lower_corner(i);
      map->upper_corner[at] = stated.upper_corner(i);
      map->element_strides[at] = stated.element_strides(i);
    }
    return true;
  }

  // The launch has what its kernel's tensor maps are of.
  void CheckMaps(uint32_t kernel, const weft::Launch& launch) {
    const std::vector<KernelMap>& maps = tables_->kernel_maps_[kernel];
    for (const KernelMap& map : maps) {
      Index(map.buffer, static_cast<size_t>(launch.buffers_size()), "buffer of a tensor map");
    }
    Require(NumMapSizes(maps) <= static_cast<uint32_t>(launch.sizes_size()),
            "has fewer sizes than the tensor maps of its kernel");
  }

  void AddContraction(const weft::Launch& launch, uint32_t kernel) {
    const Contraction& wire = launch.contraction();
    // The last buffer is the result.
    const auto operands = static_cast<size_t>(std::max(launch.buffers_size() - 1, 0));
    LaunchContraction& stated = tables_->contractions_.emplace_back();
    stated.kind = static_cast<LaunchContraction::Kind>(wire.kind());
    stated.step = static_cast<uint32_t>(tables_->steps_.size());
    stated.dtype = static_cast<DataType>(wire.dtype());
    stated.tf32 = wire.tf32();
    stated.scale = wire.scale();
    stated.left = Index(wire.left(), operands, "left operand");
    stated.right = Index(wire.right(), operands, "right operand");
    if (wire.has_addend()) stated.addend = Index(wire.addend(), operands, "tensor to add");
    if (wire.has_bias()) stated.bias = Index(wire.bias(), operands, "bias");
    Require(tables_->block_threads_[kernel] > 0 && launch.results() == 1 &&
                IsDataType(wire.dtype()) && IsFloat(stated.dtype) && wire.sizes_size() > 0 &&
                static_cast<size_t>(wire.sizes_size()) == stated.num_sizes() &&
                // A number that libraries take as it is.
                std::abs(stated.scale) <= std::numeric_limits<float>::max() && stated.scale != 0 &&
                static_cast<float>(stated.scale) == stated.scale,
            "is no contraction, as it says");
    for (int i = 0; status_.ok() && i < wire.sizes_size(); ++i) {
      stated.sizes[static_cast<size_t>(i)] = FormulaIndex(wire.sizes(i));
    }
  }

  void AddArg(const BufferArg& wire) {
    tables_->args_.push_back(
        {BufferIndex(wire.buffer()), wire.has_offset() ? FormulaIndex(wire.offset()) : WEFT_NONE});
  }
  void AddBool(uint32_t buffer) { tables_->args_.push_back({BufferIndex(buffer), WEFT_NONE}); }

  void AddStep(const Step& wire) {
    WeftStep step = {};
    step.first_arg = static_cast<uint32_t>(tables_->args_.size());
    step.first_size = static_cast<uint32_t>(tables_->sizes_.size());
    step.label = tables_->Keep(wire.label());
    step.location = tables_->Keep(wire.location());
    step.nodes = tables_->Keep(absl::StrJoin(wire.nodes(), ", "));
    const std::string* message = nullptr;
    switch (wire.kind_case()) {
      case Step::kLaunch: {
        const weft::Launch& launch = wire.launch();
        step.kind = WEFT_STEP_LAUNCH;
        step.kernel = Index(launch.kernel(), tables_->kernels_.size(), "kernel");
        Require(launch.results() <= static_cast<uint32_t>(launch.buffers_size()),
                "has more results than buffers");
        step.num_results = launch.results();
        for (const BufferArg& arg : launch.buffers()) {
          AddArg(arg);
          if (!status_.ok()) return;
          Require(tables_->buffers_[tables_->args_.back().buffer].device ==
                      tables_->kernel_devices_[step.kernel],
                  "has a buffer on another device than its kernel");
        }
        Require(launch.buffers_size() > 0 || code_bytes_.size() == 1, "has no buffers");
        for (const uint32_t size : launch.sizes()) tables_->sizes_.push_back(FormulaIndex(size));
        if (!status_.ok()) return;
        CheckMaps(step.kernel, launch);
        step.tiles = FormulaIndex(launch.tiles());
        step.scratch = FormulaIndex(launch.scratch());
        step.bytes = FormulaIndex(launch.bytes());
        step.flops = FormulaIndex(launch.flops());
        step.limit = launch.max_tile_flops();
        Require(step.limit >= 0, "expected max_tile_flops >= 0");
        if (launch.has_contraction()) AddContraction(launch, step.kernel);
        break;
      }
      case Step::kCopy:
        step.kind = WEFT_STEP_COPY;
        step.num_results = 1;
        AddArg(wire.copy().source());
        AddArg(wire.copy().destination());
        tables_->sizes_.push_back(FormulaIndex(wire.copy().size()));
        break;
      case Step::kWhileStep:
        step.kind = WEFT_STEP_WHILE;
        AddBool(wire.while_step().condition());
        step.block = BlockIndex(wire.while_step().condition_block());
        step.other_block = BlockIndex(wire.while_step().body_block());
        step.limit = wire.while_step().max_iterations();
        Require(step.limit >= 0, "expected max_iterations >= 0");
        break;
      case Step::kCond:
        step.kind = WEFT_STEP_COND;
        AddBool(wire.cond().predicate());
        step.block = BlockIndex(wire.cond().then_block());
        step.other_block = BlockIndex(wire.cond().else_block());
        break;
      case Step::kAssertStep:
        step.kind = WEFT_STEP_ASSERT;
        AddBool(wire.assert_step().condition());
        message = &wire.assert_step().message();
        break;
      case Step::kPrint:
        step.kind = WEFT_STEP_PRINT;
        AddBool(wire.print().value());
        for (const uint32_t dim : wire.print().shape()) {
          tables_->sizes_.push_back(FormulaIndex(dim));
        }
        Require(wire.print().shape_size() <= static_cast<int>(kMaxRank), "has too many dimensions");
        Require(IsDataType(wire.print().dtype()), "has no valid dtype");
        step.dtype = wire.print().dtype();
        step.limit = wire.print().limit();
        message = &wire.print().message();
        break;
      default:
        Fail("is of an unknown kind");
    }
    step.message = tables_->Keep(message == nullptr ? std::string() : PrintableLines(*message));
    step.num_args = static_cast<uint32_t>(tables_->args_.size()) - step.first_arg;
    step.num_sizes = static_cast<uint32_t>(tables_->sizes_.size()) - step.first_size;
    if (!status_.ok()) return;
    for (uint32_t i = step.num_args - step.num_results; i < step.num_args; ++i) {
      const uint32_t buffer = tables_->args_[step.first_arg + i].buffer;
      uint32_t& first = tables_->buffer_origins_[buffer].step;
      if (first == WEFT_NONE) first = static_cast<uint32_t>(tables_->steps_.size());
    }
    tables_->steps_.push_back(step);
    labels_.push_back(&wire.label());
  }

  void Blocks() {
    if (wire_.blocks_size() == 0) return Fail("has no steps");
    for (const Block& wire : wire_.blocks()) {
      tables_->blocks_.push_back({static_cast<uint32_t>(tables_->steps_.size()),
                                  static_cast<uint32_t>(wire.steps_size())});
      for (const Step& step : wire.steps()) {
        where_ = {"step", &step.label(), tables_->steps_.size()};
        AddStep(step);
        if (!status_.ok()) return;
      }
    }
    where_ = {};
    CheckNesting();
    if (!status_.ok()) return;
    CheckAccesses();
    const auto entry_steps = static_cast<uint32_t>(wire_.blocks(0).steps_size());
    Require(wire_.commit_step() <= entry_steps, "its commit step lies outside the entry block");
    Require(wire_.commit_step() == entry_steps || wire_.assigned_variables_size() > 0,
            "has a commit step, but assigns no variable (assigned_variables)");
  }

  // Peels off blocks that nobody refers to any more, level by level; what is left over is a cycle.
  void CheckNesting() {
    const size_t count = tables_->blocks_.size();
    std::vector<std::vector<uint32_t>> inner(count);
    std::vector<uint32_t> references(count, 0);
    for (size_t block = 0; block < count; ++block) {
      for (uint32_t i = 0; i < tables_->blocks_[block].num_steps; ++i) {
        const WeftStep& step = tables_->steps_[tables_->blocks_[block].first_step + i];
        if (step.kind != WEFT_STEP_WHILE && step.kind != WEFT_STEP_COND) continue;
        for (const uint32_t other : {step.block, step.other_block}) {
          inner[block].push_back(other);
          ++references[other];
        }
      }
    }
    std::vector<uint32_t> level, next;
    for (uint32_t block = 0; block < count; ++block) {
      if (references[block] == 0) level.push_back(block);
    }
    size_t seen = 0;
    for (int depth = 0; !level.empty(); ++depth) {
      if (depth == kMaxBlockDepth) return Fail("control flow is nested too deeply");
      next.clear();
      for (const uint32_t block : level) {
        ++seen;
        for (const uint32_t other : inner[block]) {
          if (--references[other] == 0) next.push_back(other);
        }
      }
      level.swap(next);
    }
    if (seen != count) Fail("its blocks refer to each other in a cycle");
  }

  // Inputs and constants are only read, and so are variables that the plan does not assign. Before
  // the commit step no variable is written, and from there on nothing can fail: so a failed run
  // leaves every variable as it was. A variable is only read where it has a value: from before the
  // run, if the plan says that it reads it, or else from the run itself, once it has committed.
  void CheckAccesses() {
    enum Phase : uint8_t { kBeforeCommit = 1, kAfterCommit = 2 };
    std::vector<uint8_t> phases(tables_->blocks_.size(), 0);
    std::vector<std::pair<uint32_t, Phase>> to_visit;
    const auto visit = [&](uint32_t block, Phase phase) {
      if ((phases[block] & phase) != 0) return;
      phases[block] |= phase;
      to_visit.emplace_back(block, phase);
    };
    const auto check_steps = [&](uint32_t block, uint32_t first, uint32_t end, Phase phase) {
      for (uint32_t i = first; i < end; ++i) {
        const uint32_t index = tables_->blocks_[block].first_step + i;
        CheckStepAccesses(index, phase == kAfterCommit);
        const WeftStep& step = tables_->steps_[index];
        if (step.kind != WEFT_STEP_WHILE && step.kind != WEFT_STEP_COND) continue;
        visit(step.block, phase);
        visit(step.other_block, phase);
      }
    };
    const uint32_t entry_steps = tables_->blocks_[0].num_steps;
    const uint32_t commit = std::min(wire_.commit_step(), entry_steps);
    check_steps(0, 0, commit, kBeforeCommit);
    check_steps(0, commit, entry_steps, kAfterCommit);
    while (!to_visit.empty() && status_.ok()) {
      const auto [block, phase] = to_visit.back();
      to_visit.pop_back();
      check_steps(block, 0, tables_->blocks_[block].num_steps, phase);
    }
    where_ = {};
  }

  void CheckStepAccesses(uint32_t index, bool committed) {
    const WeftStep& step = tables_->steps_[index];
    where_ = {"step", labels_[index], index};
    Require(!committed || (step.kind != WEFT_STEP_ASSERT &&
                           (step.kind != WEFT_STEP_WHILE || step.limit == 0)),
            "can fail after the commit step, when variables may have been written");
    const uint32_t first_result = step.num_args - step.num_results;
    for (uint32_t i = 0; i < step.num_args; ++i) {
      const WeftBuffer& buffer = tables_->buffers_[tables_->args_[step.first_arg + i].buffer];
      if (i < first_result) {
        if (buffer.space == WEFT_SPACE_VARIABLE) CheckRead(buffer.index, committed);
        continue;
      }
      Require(buffer.space != WEFT_SPACE_INPUT, "writes to an input");
      Require(buffer.space != WEFT_SPACE_CONSTANT, "writes to a constant");
      if (buffer.space != WEFT_SPACE_VARIABLE) continue;
      const WeftValue& variable = tables_->variables_[buffer.index];
      if ((variable.flags & WEFT_VARIABLE_ASSIGNED) == 0) {
        Fail("writes to variable '", variable.name, "', which the plan does not assign");
      }
      if (!committed) {
        Fail("writes to variable '", variable.name, "' before the commit step");
      }
    }
  }

  // Without the flag nobody asks whether the variable has a value; one that the plan does not
  // assign either may not even have memory.
  void CheckRead(uint32_t index, bool committed) {
    const WeftValue& variable = tables_->variables_[index];
    const bool assigned = (variable.flags & WEFT_VARIABLE_ASSIGNED) != 0;
    if ((variable.flags & WEFT_VARIABLE_READ) != 0 || (committed && assigned)) return;
    Fail("reads variable '", variable.name, "', which is not among its read_variables");
  }

  void Finish() {
    PlanTables& tables = *tables_;
    WeftPlan& plan = tables.plan_;
    const auto set = [&](const auto& entries, uint32_t* count, auto* first) {
      if (entries.size() > kMaxEntries) Fail("is too large");
      *count = static_cast<uint32_t>(entries.size());
      *first = entries.data();
    };
    plan.commit_step = wire_.commit_step();
    plan.num_others = static_cast<uint32_t>(code_bytes_.size()) - 1;
    set(tables.symbols_, &plan.num_symbols, &plan.symbols);
    set(tables.formulas_, &plan.num_formulas, &plan.formulas);
    set(tables.buffers_, &plan.num_buffers, &plan.buffers);
    set(tables.below_, &plan.num_below, &plan.below);
    set(tables.args_, &plan.num_args, &plan.args);
    set(tables.sizes_, &plan.num_sizes, &plan.sizes);
    set(tables.steps_, &plan.num_steps, &plan.steps);
    set(tables.blocks_, &plan.num_blocks, &plan.blocks);
    set(tables.kernels_, &plan.num_kernels, &plan.kernels);
    set(tables.inputs_, &plan.num_inputs, &plan.inputs);
    set(tables.outputs_, &plan.num_outputs, &plan.outputs);
    set(tables.variables_, &plan.num_variables, &plan.variables);
    set(tables.dims_, &plan.num_dims, &plan.dims);
    plan.dim_names = tables.dim_names_.data();
  }

  const Plan& wire_;
  const absl::Span<const uint64_t> code_bytes_;
  const uint64_t constants_bytes_;
  std::unique_ptr<PlanTables> tables_;
  std::vector<uint32_t> variable_devices_, input_devices_, output_devices_;
  std::vector<const std::string*> labels_;
  Where where_;
  absl::Status status_;
};

absl::StatusOr<std::unique_ptr<PlanTables>> PlanTables::Build(const Plan& plan,
                                                              absl::Span<const uint64_t> code_bytes,
                                                              uint64_t constants_bytes) {
  return PlanTablesBuilder(plan, code_bytes, constants_bytes).Build();
}

}  // namespace weft

#pragma clang attribute pop
