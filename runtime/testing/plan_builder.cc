#include "runtime/testing/plan_builder.h"

#include <cstring>
#include <string>

#include "proto/container.h"
#include "proto/safetensors.h"
#include "runtime/testing/box_kernel.h"
#include "runtime/testing/test_code.h"
#include "runtime/testing/test_kernels.h"

namespace weft::plan_testing {

PlanBuilder::PlanBuilder(const std::string& signature) {
  plan_.set_signature(signature);
  plan_.add_blocks();
  Constant(0);
}

uint32_t PlanBuilder::Constant(int64_t value) {
  Formula* formula = plan_.add_formulas();
  formula->set_value(value);
  return static_cast<uint32_t>(plan_.formulas_size() - 1);
}

Dim PlanBuilder::Static(int64_t size) { return {Constant(size), std::to_string(size)}; }

Dim PlanBuilder::Symbol(const std::string& name, uint32_t input, uint32_t dim) {
  plan_.add_symbols(name);
  plan_.add_symbol_inputs(input);
  plan_.add_symbol_dims(dim);
  Formula* formula = plan_.add_formulas();
  formula->set_op(Formula::SYMBOL);
  formula->set_a(static_cast<uint32_t>(plan_.symbols_size() - 1));
  return {static_cast<uint32_t>(plan_.formulas_size() - 1), name};
}

uint32_t PlanBuilder::Op(Formula::Op op, uint32_t a, uint32_t b) {
  Formula* formula = plan_.add_formulas();
  formula->set_op(op);
  formula->set_a(a);
  formula->set_b(b);
  return static_cast<uint32_t>(plan_.formulas_size() - 1);
}

uint32_t PlanBuilder::Tiles(uint32_t elements) {
  return Op(Formula::CEIL_DIV, elements, Constant(TEST_TILE));
}

uint32_t PlanBuilder::SizeOfValue(DataType dtype, const std::vector<Dim>& shape) {
  uint32_t size = Constant(SizeOf(dtype));
  for (const Dim& dim : shape) size = Mul(size, dim.formula);
  return size;
}

PlanValue* PlanBuilder::Describe(PlanValue* value, const std::string& name, DataType dtype,
                                 const std::vector<Dim>& shape) {
  value->set_name(name);
  value->set_dtype(static_cast<int32_t>(dtype));
  for (const Dim& dim : shape) {
    value->add_dims(dim.formula);
    value->add_dim_names(dim.name);
  }
  return value;
}

Buffer* PlanBuilder::AddBuffer(Buffer::Space space, uint32_t size) {
  Buffer* buffer = plan_.add_buffers();
  buffer->set_space(space);
  buffer->set_size(size);
  return buffer;
}

uint32_t PlanBuilder::Input(const std::string& name, DataType dtype,
                            const std::vector<Dim>& shape) {
  Describe(plan_.add_inputs(), name, dtype, shape);
  AddBuffer(Buffer::INPUT, SizeOfValue(dtype, shape))
      ->set_index(static_cast<uint32_t>(plan_.inputs_size() - 1));
  return static_cast<uint32_t>(plan_.buffers_size() - 1);
}

uint32_t PlanBuilder::Output(const std::string& name, DataType dtype,
                             const std::vector<Dim>& shape) {
  Describe(plan_.add_outputs(), name, dtype, shape);
  AddBuffer(Buffer::OUTPUT, SizeOfValue(dtype, shape))
      ->set_index(static_cast<uint32_t>(plan_.outputs_size() - 1));
  return static_cast<uint32_t>(plan_.buffers_size() - 1);
}

uint32_t PlanBuilder::Variable(const std::string& name, DataType dtype,
                               const std::vector<int64_t>& shape, bool read, bool assigned) {
  std::vector<Dim> dims;
  for (const int64_t size : shape) dims.push_back(Static(size));
  Describe(plan_.add_variables(), name, dtype, dims);
  const auto index = static_cast<uint32_t>(plan_.variables_size() - 1);
  if (read) plan_.add_read_variables(index);
  if (assigned) plan_.add_assigned_variables(index);
  AddBuffer(Buffer::VARIABLE, SizeOfValue(dtype, dims))->set_index(index);
  return static_cast<uint32_t>(plan_.buffers_size() - 1);
}

uint32_t PlanBuilder::Arena(uint32_t size, const std::vector<uint32_t>& below) {
  Buffer* buffer = AddBuffer(Buffer::ARENA, size);
  for (const uint32_t lower : below) buffer->add_below(lower);
  return static_cast<uint32_t>(plan_.buffers_size() - 1);
}

uint32_t PlanBuilder::ConstantBuffer(uint64_t offset, uint32_t size) {
  AddBuffer(Buffer::CONSTANT, size)->set_constant_offset(offset);
  return static_cast<uint32_t>(plan_.buffers_size() - 1);
}

uint32_t PlanBuilder::Kernel(const std::string& name, uint64_t code_offset) {
  weft::Kernel* kernel = plan_.add_kernels();
  kernel->set_name(name);
  kernel->set_code_offset(code_offset);
  return static_cast<uint32_t>(plan_.kernels_size() - 1);
}

uint32_t PlanBuilder::Block() {
  plan_.add_blocks();
  return static_cast<uint32_t>(plan_.blocks_size() - 1);
}

Step& PlanBuilder::AddStep(uint32_t block) {
  Step* step = plan_.mutable_blocks(static_cast<int>(block))->add_steps();
  step->set_location("model.cc:" +
                     std::to_string(plan_.blocks(static_cast<int>(block)).steps_size()));
  return *step;
}

Step& PlanBuilder::Launch(uint32_t block, uint32_t kernel, const std::vector<uint32_t>& buffers,
                          const std::vector<uint32_t>& sizes, uint32_t tiles, LaunchCost cost) {
  Step& step = AddStep(block);
  step.set_label(plan_.kernels(static_cast<int>(kernel)).name());
  step.add_nodes("node_" + step.label());
  weft::Launch* launch = step.mutable_launch();
  launch->set_kernel(kernel);
  for (const uint32_t buffer : buffers) launch->add_buffers()->set_buffer(buffer);
  for (const uint32_t size : sizes) launch->add_sizes(size);
  launch->set_results(buffers.empty() ? 0 : 1);
  launch->set_tiles(tiles);
  launch->set_bytes(cost.bytes);
  launch->set_flops(cost.flops);
  launch->set_scratch(cost.scratch);
  return step;
}

Step& PlanBuilder::Copy(uint32_t block, uint32_t source, uint32_t destination, uint32_t size) {
  Step& step = AddStep(block);
  step.set_label("copy");
  step.mutable_copy()->mutable_source()->set_buffer(source);
  step.mutable_copy()->mutable_destination()->set_buffer(destination);
  step.mutable_copy()->set_size(size);
  return step;
}

Step& PlanBuilder::While(uint32_t block, uint32_t condition_block, uint32_t condition,
                         uint32_t body_block, int64_t max_iterations) {
  Step& step = AddStep(block);
  step.set_label("while");
  step.mutable_while_step()->set_condition_block(condition_block);
  step.mutable_while_step()->set_condition(condition);
  step.mutable_while_step()->set_body_block(body_block);
  step.mutable_while_step()->set_max_iterations(max_iterations);
  return step;
}

Step& PlanBuilder::Cond(uint32_t block, uint32_t predicate, uint32_t then_block,
                        uint32_t else_block) {
  Step& step = AddStep(block);
  step.set_label("cond");
  step.mutable_cond()->set_predicate(predicate);
  step.mutable_cond()->set_then_block(then_block);
  step.mutable_cond()->set_else_block(else_block);
  return step;
}

Step& PlanBuilder::Assert(uint32_t block, uint32_t condition, const std::string& message) {
  Step& step = AddStep(block);
  step.set_label("assert");
  step.mutable_assert_step()->set_condition(condition);
  step.mutable_assert_step()->set_message(message);
  return step;
}

Step& PlanBuilder::Print(uint32_t block, uint32_t value, DataType dtype,
                         const std::vector<uint32_t>& shape, const std::string& message,
                         int64_t limit) {
  Step& step = AddStep(block);
  step.set_label("print");
  PrintStep* print = step.mutable_print();
  print->set_value(value);
  print->set_dtype(static_cast<int32_t>(dtype));
  for (const uint32_t dim : shape) print->add_shape(dim);
  print->set_message(message);
  print->set_limit(limit);
  return step;
}

void PlanBuilder::Commit() {
  plan_.set_commit_step(static_cast<uint32_t>(plan_.blocks(0).steps_size()));
  committed_ = true;
}

const Plan& PlanBuilder::Build() {
  if (!committed_) plan_.set_commit_step(static_cast<uint32_t>(plan_.blocks(0).steps_size()));
  return plan_;
}

void AddSignature(const Plan& plan, PackageManifest* manifest) {
  PackageSignature* signature = manifest->add_signatures();
  signature->set_name(plan.signature());
  const auto add = [](const PlanValue& from, PackageValue* to) {
    to->set_name(from.name());
    to->set_dtype(from.dtype());
    to->mutable_shape()->CopyFrom(from.dim_names());
  };
  for (const PlanValue& input : plan.inputs()) add(input, signature->add_inputs());
  for (const PlanValue& output : plan.outputs()) add(output, signature->add_outputs());
}

std::string TestCode() { return std::string(weft_runtime_test_code()); }

std::string TestPtx() {
  // %i: the element of a tile's thread, in bytes; those past the last return.
  constexpr char kElement[] =
      "  .reg .pred %p; .reg .b32 %t, %b; .reg .f32 %f, %g; .reg .b64 %i, %n, %a;\n"
      "  mov.u32 %t, %tid.x; mov.u32 %b, %ctaid.x; mad.lo.u32 %b, %b, 64, %t; cvt.u64.u32 %i, %b;\n"
      "  ld.param.u64 %n, [n]; setp.ge.s64 %p, %i, %n; @%p ret;\n"
      "  shl.b64 %i, %i, 2;\n";
  constexpr char kFirstThread[] =
      "  .reg .pred %p; .reg .b32 %t; .reg .f32 %f, %g; .reg .b64 %i, %n, %a, %v, %w;\n"
      "  mov.u32 %t, %tid.x; setp.ne.u32 %p, %t, 0; @%p ret;\n";
  static_assert(TEST_TILE == 64);
  std::string ptx = ".version 7.0\n.target sm_80\n.address_size 64\n";
  const auto kernel = [&](const std::string& name, const std::vector<std::string>& parameters,
                          const char* begin, const std::string& rest) {
    ptx += ".visible .entry " + name + "(";
    for (size_t i = 0; i < parameters.size(); ++i) {
      ptx += (i == 0 ? ".param .u64 " : ", .param .u64 ") + parameters[i];
    }
    ptx += ") {\n" + std::string(begin) + rest + "  ret;\n}\n";
  };
  const auto load = [](const std::string& pointer, const std::string& to) {
    return "  ld.param.u64 %a, [" + pointer + "]; add.u64 %a, %a, %i; ld.global.f32 " + to +
           ", [%a];\n";
  };
  const auto store = [](const std::string& pointer, const std::string& from) {
    return "  ld.param.u64 %a, [" + pointer + "]; add.u64 %a, %a, %i; st.global.f32 [%a], " + from +
           ";\n";
  };
  kernel("fill", {"y", "n", "value"}, kElement,
         "  ld.param.u64 %a, [value]; cvt.rn.f32.s64 %f, %a;\n" + store("y", "%f"));
  kernel("scale", {"x", "y", "n"}, kElement,
         load("x", "%f") + "  add.rn.f32 %f, %f, %f;\n" + store("y", "%f"));
  kernel("add", {"a", "b", "c", "n"}, kElement,
         load("a", "%f") + load("b", "%g") + "  add.rn.f32 %f, %f, %g;\n" + store("c", "%f"));
  kernel("sum", {"x", "y", "n"}, kFirstThread,
         "  mov.f32 %f, 0f00000000; mov.u64 %i, 0; ld.param.u64 %n, [n]; shl.b64 %n, %n, 2;\n"
         "Next: setp.ge.s64 %p, %i, %n; @%p bra Done;\n" +
             load("x", "%g") +
             "  add.rn.f32 %f, %f, %g; add.u64 %i, %i, 4; bra Next;\n"
             "Done: mov.u64 %i, 0;\n" +
             store("y", "%f"));
  kernel("less", {"a", "b", "c"}, kFirstThread,
         "  ld.param.u64 %a, [a]; ld.global.u64 %v, [%a]; ld.param.u64 %a, [b]; "
         "ld.global.u64 %w, [%a];\n"
         "  setp.lt.s64 %p, %v, %w; selp.u32 %t, 1, 0, %p; ld.param.u64 %a, [c]; "
         "st.global.u8 [%a], %t;\n");
  kernel("increment", {"x", "y"}, kFirstThread,
         "  ld.param.u64 %a, [x]; ld.global.u64 %v, [%a]; add.u64 %v, %v, 1; "
         "ld.param.u64 %a, [y]; st.global.u64 [%a], %v;\n");
  return ptx;
}

std::string TestPackage::Bytes() const {
  const std::string manifest_bytes = manifest.SerializeAsString();
  const std::string weight_bytes = WriteSafetensors(weights);
  std::vector<SectionToWrite> sections = {{"manifest", manifest_bytes, 6}};
  if (!weights.empty()) sections.push_back({"weights", weight_bytes, 12});
  if (!constants.empty()) sections.push_back({"constants", constants, 12});
  for (const auto& [name, bytes] : code) sections.push_back({name, bytes, 12});
  return WriteContainer(sections);
}

namespace {

Plan Predict() {
  PlanBuilder b("predict");
  const Dim batch = b.Symbol("batch", 0, 0), four = b.Static(4);
  const uint32_t x = b.Input("x", DataType::kF32, {batch, four});
  const uint32_t y = b.Output("y", DataType::kF32, {batch, four});
  const uint32_t n = b.Mul(batch.formula, four.formula), bytes = b.Mul(n, four.formula);
  const uint32_t doubled = b.Arena(bytes), half = b.Arena(bytes, {doubled});
  const uint32_t constant = b.ConstantBuffer(64, b.Constant(16));
  const uint32_t fill = b.Kernel("fill", TEST_FILL), scale = b.Kernel("scale", TEST_SCALE),
                 add = b.Kernel("add", TEST_ADD);
  b.Launch(0, fill, {half}, {n, b.Constant(0)}, b.Tiles(n));
  b.Copy(0, constant, half, b.Op(Formula::MIN, b.Constant(16), bytes));
  b.Launch(0, scale, {x, doubled}, {n}, b.Tiles(n), {bytes, n, 0});
  b.Launch(0, add, {doubled, half, y}, {n}, b.Tiles(n), {bytes, n, 0});
  return b.Build();
}

Plan Init() {
  PlanBuilder b("init");
  const uint32_t w = b.Variable("w", DataType::kF32, {4}, false, true);
  b.Commit();
  const uint32_t one = b.Constant(1);
  b.Launch(0, b.Kernel("fill", TEST_FILL), {w}, {b.Constant(4), one}, one);
  return b.Build();
}

Plan StepPlan() {
  PlanBuilder b("step");
  const uint32_t d = b.Input("d", DataType::kF32, {b.Static(4)});
  const uint32_t w = b.Variable("w", DataType::kF32, {4}, true, true);
  const uint32_t total = b.Output("total", DataType::kF32, {});
  const uint32_t four = b.Constant(4), one = b.Constant(1), bytes = b.Constant(16);
  const uint32_t next = b.Arena(bytes);
  b.Launch(0, b.Kernel("add", TEST_ADD), {d, w, next}, {four}, one);
  b.Launch(0, b.Kernel("sum", TEST_SUM), {next, total}, {four}, one);
  b.Commit();
  b.Copy(0, next, w, bytes);
  return b.Build();
}

Plan Read() {
  PlanBuilder b("read");
  const uint32_t w = b.Variable("w", DataType::kF32, {4}, true, false);
  const uint32_t y = b.Output("w", DataType::kF32, {b.Static(4)});
  b.Copy(0, w, y, b.Constant(16));
  return b.Build();
}

Plan Join() {
  PlanBuilder b("join");
  const Dim batch = b.Symbol("batch", 0, 0);
  const uint32_t x = b.Input("x", DataType::kF32, {batch, b.Static(4)});
  b.Input("z", DataType::kF32, {batch, b.Static(2)});
  const uint32_t s = b.Output("s", DataType::kF32, {});
  b.Launch(0, b.Kernel("sum", TEST_SUM), {x, s}, {b.Mul(batch.formula, b.Constant(4))},
           b.Constant(1));
  return b.Build();
}

Plan Count() {
  PlanBuilder b("count");
  const uint32_t limit = b.Input("limit", DataType::kI64, {});
  const uint32_t n = b.Output("n", DataType::kI64, {});
  const uint32_t one = b.Constant(1), eight = b.Constant(8);
  const uint32_t counter = b.Arena(eight), less = b.Arena(one, {counter});
  const uint32_t zero = b.ConstantBuffer(0, eight);
  const uint32_t condition = b.Block(), body = b.Block();
  b.Copy(0, zero, counter, eight);
  b.While(0, condition, less, body, 1000);
  b.Launch(condition, b.Kernel("less", TEST_LESS), {counter, limit, less}, {}, one);
  b.Launch(body, b.Kernel("increment", TEST_INCREMENT), {counter, counter}, {}, one);
  b.Copy(0, counter, n, eight);
  return b.Build();
}

}  // namespace

TestPackage MakeTestPackage() {
  TestPackage package;
  package.manifest.set_version(1);
  package.manifest.set_min_consumer(1);
  package.manifest.set_name("test");
  package.manifest.set_producer_name("plan_builder");
  TargetPlans* target = package.manifest.add_targets();
  target->set_target("cpu:x86-64-v3");
  target->set_code_section("code.x86-64-v3");
  for (const Plan& plan : {Predict(), Init(), StepPlan(), Read(), Join(), Count()}) {
    AddSignature(plan, &package.manifest);
    *target->add_plans() = plan;
  }
  PackageVariable* w = package.manifest.add_variables();
  w->set_name("w");
  w->set_dtype(static_cast<int32_t>(DataType::kF32));
  w->add_shape(4);
  package.constants.assign(64 + 16, '\0');
  for (int i = 0; i < 4; ++i) {
    const float half = 0.5f;
    memcpy(&package.constants[static_cast<size_t>(64 + 4 * i)], &half, sizeof(half));
  }
  package.code = {{"code.x86-64-v3", TestCode()}};
  return package;
}

TestPackage MakeBoxPackage() {
  PlanBuilder b("copy");
  const Dim rows = b.Symbol("rows", 0, 0), columns = b.Static(16);
  const uint32_t x = b.Input("x", DataType::kF32, {rows, columns}),
                 y = b.Output("y", DataType::kF32, {rows, columns});
  const uint32_t kernel = b.Kernel("boxes", 0);
  b.Launch(0, kernel, {x, y}, {columns.formula, rows.formula, b.Constant(64)}, rows.formula);
  weft::Kernel& made = *b.plan().mutable_kernels(static_cast<int>(kernel));
  made.set_block_threads(kBoxThreads);
  TensorMapParameter* map = made.add_maps();
  map->set_buffer(kBoxMap.buffer);
  map->set_element_bytes(kBoxMap.element_bytes);
  map->set_swizzle_bytes(kBoxMap.swizzle_bytes);
  for (uint32_t i = 0; i < kBoxMap.rank; ++i) map->add_box(kBoxMap.box[i]);
  TestPackage package;
  package.manifest.set_version(3);
  package.manifest.set_min_consumer(3);
  package.manifest.set_name("boxes");
  package.manifest.set_producer_name("plan_builder");
  TargetPlans* target = package.manifest.add_targets();
  target->set_target("cuda:sm_90");
  target->set_code_section("code.sm_90");
  *target->add_plans() = b.Build();
  AddSignature(target->plans(0), &package.manifest);
  package.code = {{"code.sm_90", kBoxKernel}};
  return package;
}

void AddGpuTarget(TestPackage* package) {
  TargetPlans* target = package->manifest.add_targets();
  *target = package->manifest.targets(0);
  target->set_target("cuda:sm_80");
  target->set_code_section("code.sm_80");
  for (Plan& plan : *target->mutable_plans()) {
    for (Kernel& kernel : *plan.mutable_kernels()) {
      kernel.set_code_offset(0);
      kernel.set_block_threads(TEST_TILE);
    }
  }
  package->code.emplace_back("code.sm_80", TestPtx());
}

}  // namespace weft::plan_testing
