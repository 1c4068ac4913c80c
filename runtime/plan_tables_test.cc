#include "runtime/plan_tables.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <initializer_list>
#include <limits>
#include <random>
#include <string>

#include "proto/plan.pb.h"
#include "runtime/testing/plan_builder.h"
#include "runtime/testing/test_kernels.h"

namespace weft {
namespace {

using plan_testing::MakeTestPackage;
using plan_testing::PlanBuilder;
using ::testing::HasSubstr;

constexpr uint64_t kCode = 0xe00, kConstants = 80;

Plan TestPlan(const std::string& signature) {
  const auto package = MakeTestPackage();
  for (const Plan& plan : package.manifest.targets(0).plans()) {
    if (plan.signature() == signature) return plan;
  }
  ADD_FAILURE() << signature;
  return {};
}

absl::Status Verify(const Plan& plan) {
  return PlanTables::Build(plan, {kCode}, kConstants).status();
}

TEST(PlanTables, AcceptTheTestPlans) {
  for (const char* signature : {"predict", "init", "step", "read", "join", "count"}) {
    EXPECT_TRUE(Verify(TestPlan(signature)).ok()) << Verify(TestPlan(signature));
  }
}

TEST(PlanTables, HoldThePlan) {
  auto tables = PlanTables::Build(TestPlan("step"), {kCode}, kConstants);
  ASSERT_TRUE(tables.ok());
  const WeftPlan& plan = (*tables)->plan();
  EXPECT_STREQ(plan.signature, "step");
  EXPECT_STREQ(plan.inputs[0].name, "d");
  EXPECT_STREQ(plan.dim_names[plan.inputs[0].first_dim], "4");
  EXPECT_EQ(plan.variables[0].flags, WEFT_VARIABLE_READ | WEFT_VARIABLE_ASSIGNED);
  EXPECT_EQ(plan.commit_step, 2u);
  EXPECT_EQ(plan.num_steps, 3u);
  EXPECT_STREQ(plan.steps[1].nodes, "node_sum");
  EXPECT_EQ((*tables)->code_offsets()[1], uint64_t{TEST_SUM});
  EXPECT_EQ((*tables)->kernel_names()[1], "sum");
  const WeftKernel kernels[] = {test_add, test_sum};
  (*tables)->SetKernels(kernels);
  EXPECT_EQ(plan.kernels[1], test_sum);
}

// One launch here, one on another device, and a copy between them.
TEST(PlanTables, StepsAreOfOneDevice) {
  plan_testing::PlanBuilder b("two");
  const plan_testing::Dim size = b.Static(4);
  const uint32_t x = b.Input("x", DataType::kF32, {size}),
                 y = b.Output("y", DataType::kF32, {size});
  const uint32_t bytes = b.Constant(16);
  const uint32_t here = b.Arena(bytes), there = b.Arena(bytes), more = b.Arena(bytes, {there});
  const uint32_t kernel = b.Kernel("here", 0), other = b.Kernel("there", 64);
  b.Launch(0, kernel, {x, here}, {}, b.Tiles(size.formula));
  b.Copy(0, here, there, bytes);
  b.Launch(0, other, {there, more}, {}, b.Tiles(size.formula));
  b.Copy(0, more, y, bytes);
  for (const uint32_t buffer : {there, more}) b.plan().mutable_buffers(buffer)->set_device(1);
  b.plan().mutable_kernels(other)->set_device(1);
  const Plan good = b.Build();
  const auto verify = [](const Plan& plan, std::initializer_list<uint64_t> code) {
    return std::string(PlanTables::Build(plan, code, kConstants).status().message());
  };
  const auto damaged = [&](auto damage) {
    Plan plan = good;
    damage(plan);
    return verify(plan, {kCode, kCode});
  };
  EXPECT_EQ(verify(good, {kCode, kCode}), "");
  EXPECT_THAT(verify(good, {kCode}), HasSubstr("expected a device below 1, got 1"));
  EXPECT_THAT(verify(good, {kCode, 64}), HasSubstr("kernel 'there' lies outside the code"));
  EXPECT_THAT(damaged([&](Plan& p) { p.mutable_buffers(here)->set_device(1); }),
              HasSubstr("has a buffer on another device than its kernel"));
  EXPECT_THAT(damaged([&](Plan& p) { p.mutable_kernels(kernel)->set_device(1); }),
              HasSubstr("has a buffer on another device than its kernel"));
  EXPECT_THAT(damaged([&](Plan& p) { p.mutable_kernels(kernel)->set_device(2); }),
              HasSubstr("expected a device below 2, got 2"));
  EXPECT_THAT(damaged([&](Plan& p) { p.mutable_buffers(more)->set_below(0, here); }),
              HasSubstr("earlier buffer of the arena"));
  EXPECT_THAT(damaged([&](Plan& p) {
                *p.add_buffers() = p.buffers(y);
                p.mutable_buffers(p.buffers_size() - 1)->set_device(1);
              }),
              HasSubstr("lies on another device as well"));
  EXPECT_THAT(damaged([&](Plan& p) {
                p.mutable_blocks(0)->mutable_steps(0)->mutable_launch()->clear_buffers();
                p.mutable_blocks(0)->mutable_steps(0)->mutable_launch()->clear_results();
              }),
              HasSubstr("has no buffers"));
  const auto tables = PlanTables::Build(good, {kCode, kCode}, kConstants);
  EXPECT_EQ((*tables)->plan().num_others, 1u);
}

// A kernel of a GPU that copies boxes of its first buffer.
TEST(PlanTables, TensorMaps) {
  plan_testing::PlanBuilder b("maps");
  const plan_testing::Dim size = b.Static(64);
  const uint32_t x = b.Input("x", DataType::kF32, {size}),
                 y = b.Output("y", DataType::kF32, {size});
  const uint32_t kernel = b.Kernel("boxes", 0), eight = b.Constant(8), row = b.Constant(32);
  b.Launch(0, kernel, {x, y}, {size.formula, eight, eight, row}, b.Constant(8));
  Kernel& made = *b.plan().mutable_kernels(static_cast<int>(kernel));
  made.set_block_threads(32);
  TensorMapParameter* map = made.add_maps();
  map->set_element_bytes(4);
  map->set_swizzle_bytes(32);
  map->add_box(8);
  map->add_box(2);
  const Plan good = b.Build();
  const auto tables = PlanTables::Build(good, {kCode}, kConstants);
  ASSERT_TRUE(tables.ok()) << tables.status();
  ASSERT_EQ((*tables)->kernel_maps().size(), 1u);
  EXPECT_EQ((*tables)->kernel_maps()[0],
            (std::vector<KernelMap>{
                {.buffer = 0, .element_bytes = 4, .swizzle_bytes = 32, .rank = 2, .box = {8, 2}}}));
  const auto damaged = [&](auto damage) {
    Plan plan = good;
    damage(*plan.mutable_kernels(0), *plan.mutable_kernels(0)->mutable_maps(0),
           *plan.mutable_blocks(0)->mutable_steps(0)->mutable_launch());
    return std::string(Verify(plan).message());
  };
  EXPECT_THAT(damaged([](Kernel& k, TensorMapParameter&, Launch&) { k.set_block_threads(0); }),
              HasSubstr("kernel 'boxes': has tensor maps, and is of no GPU"));
  EXPECT_THAT(damaged([](Kernel& k, TensorMapParameter&, Launch&) {
                k.set_block_threads(0);
                k.clear_maps();
                k.set_shares_tiles(true);
              }),
              HasSubstr("kernel 'boxes': has blocks, and is of no GPU"));
  EXPECT_THAT(damaged([](Kernel&, TensorMapParameter& m, Launch&) { m.set_buffer(2); }),
              HasSubstr("step 0 (boxes): expected a buffer of a tensor map below 2, got 2"));
  EXPECT_THAT(damaged([](Kernel&, TensorMapParameter& m, Launch&) { m.set_element_bytes(3); }),
              HasSubstr("expected a tensor map with elements of 1, 2, 4 or 8 bytes"));
  EXPECT_THAT(damaged([](Kernel&, TensorMapParameter& m, Launch&) { m.set_swizzle_bytes(8); }),
              HasSubstr("a swizzle of 0, 32, 64 or 128 bytes"));
  EXPECT_THAT(damaged([](Kernel&, TensorMapParameter& m, Launch&) { m.set_box(0, 1u << 31); }),
              HasSubstr("a box of 1 to 256 elements each way"));
  EXPECT_THAT(damaged([](Kernel&, TensorMapParameter& m, Launch&) { m.clear_box(); }),
              HasSubstr("1 to 5 dimensions"));
  EXPECT_THAT(damaged([](Kernel&, TensorMapParameter& m, Launch&) {
                for (int i = 0; i < 9; ++i) m.add_box(1);
              }),
              HasSubstr("1 to 5 dimensions"));
  EXPECT_THAT(damaged([](Kernel&, TensorMapParameter& m, Launch& l) {
                m.add_box(1);
                l.mutable_sizes()->RemoveLast();
              }),
              HasSubstr("has fewer sizes than the tensor maps of its kernel"));
  EXPECT_THAT(damaged([](Kernel& k, TensorMapParameter&, Launch&) {
                for (int i = 0; i < 2; ++i) *k.add_maps() = k.maps(0);
              }),
              HasSubstr("has fewer sizes than the tensor maps of its kernel"));
}

// And one that copies windows of images.
TEST(PlanTables, TensorMapsOfImages) {
  plan_testing::PlanBuilder b("maps");
  const plan_testing::Dim size = b.Static(512);
  const uint32_t x = b.Input("x", DataType::kF32, {size}),
                 y = b.Output("y", DataType::kF32, {size});
  const uint32_t kernel = b.Kernel("windows", 0), eight = b.Constant(8), four = b.Constant(4),
                 pixel = b.Constant(32), line = b.Constant(256), image = b.Constant(1024);
  b.Launch(0, kernel, {x, y}, {eight, eight, four, four, pixel, line, image}, b.Constant(8));
  Kernel& made = *b.plan().mutable_kernels(static_cast<int>(kernel));
  made.set_block_threads(32);
  TensorMapParameter* map = made.add_maps();
  map->set_element_bytes(4);
  map->set_swizzle_bytes(32);
  for (const uint32_t count : {8u, 300u}) map->add_box(count);
  for (const int32_t corner : {-2, 1}) map->add_lower_corner(corner);
  for (const int32_t corner : {3, -128}) map->add_upper_corner(corner);
  for (const uint32_t stride : {8u, 2u}) map->add_element_strides(stride);
  const Plan good = b.Build();
  const auto tables = PlanTables::Build(good, {kCode}, kConstants);
  ASSERT_TRUE(tables.ok()) << tables.status();
  EXPECT_EQ((*tables)->kernel_maps()[0], (std::vector<KernelMap>{{.buffer = 0,
                                                                  .element_bytes = 4,
                                                                  .swizzle_bytes = 32,
                                                                  .rank = 4,
                                                                  .box = {8, 300},
                                                                  .of_images = true,
                                                                  .lower_corner = {-2, 1},
                                                                  .upper_corner = {3, -128},
                                                                  .element_strides = {8, 2}}}));
  const auto damaged = [&](void (*damage)(TensorMapParameter&)) {
    Plan plan = good;
    damage(*plan.mutable_kernels(0)->mutable_maps(0));
    return std::string(Verify(plan).message());
  };
  constexpr char kTwoEach[] =
      "expected a tensor map with a box, corners and strides of windows, 2 each";
  EXPECT_THAT(damaged([](TensorMapParameter& m) { m.add_box(1); }), HasSubstr(kTwoEach));
  EXPECT_THAT(damaged([](TensorMapParameter& m) { m.clear_box(); }), HasSubstr(kTwoEach));
  EXPECT_THAT(damaged([](TensorMapParameter& m) { m.clear_lower_corner(); }), HasSubstr(kTwoEach));
  EXPECT_THAT(damaged([](TensorMapParameter& m) { m.add_upper_corner(0); }), HasSubstr(kTwoEach));
  EXPECT_THAT(damaged([](TensorMapParameter& m) {
                for (int i = 0; i < 1000; ++i) m.add_element_strides(1);
              }),
              HasSubstr(kTwoEach));
  for (const int i : {0, 1}) {
    Plan plan = good;
    plan.mutable_kernels(0)->mutable_maps(0)->set_element_strides(i, 0);
    EXPECT_THAT(std::string(Verify(plan).message()), HasSubstr("strides of windows from 1 to 8"));
  }
  EXPECT_THAT(damaged([](TensorMapParameter& m) { m.set_lower_corner(1, INT32_MIN); }),
              HasSubstr("corners from -128 to 127"));
  EXPECT_THAT(damaged([](TensorMapParameter& m) { m.set_box(1, 1025); }),
              HasSubstr("1 to 1024 windows"));
  EXPECT_THAT(damaged([](TensorMapParameter& m) { m.set_buffer(2); }),
              HasSubstr("expected a buffer of a tensor map below 2, got 2"));
  Plan fewer = good;
  fewer.mutable_blocks(0)->mutable_steps(0)->mutable_launch()->mutable_sizes()->RemoveLast();
  EXPECT_THAT(std::string(Verify(fewer).message()),
              HasSubstr("has fewer sizes than the tensor maps of its kernel"));
}

// A launch of a GPU that says which contraction it is.
TEST(PlanTables, Contractions) {
  plan_testing::PlanBuilder b("product");
  const plan_testing::Dim size = b.Static(16);
  const uint32_t x = b.Input("x", DataType::kF32, {size}), w = b.Input("w", DataType::kF32, {size}),
                 y = b.Output("y", DataType::kF32, {size});
  const uint32_t kernel = b.Kernel("product", 0), one = b.Constant(1), four = b.Constant(4);
  b.Launch(0, kernel, {x, w, y}, {}, one).set_label("matmul");
  b.plan().mutable_kernels(static_cast<int>(kernel))->set_block_threads(32);
  Launch& launch = *b.plan().mutable_blocks(0)->mutable_steps(0)->mutable_launch();
  Contraction& stated = *launch.mutable_contraction();
  stated.set_dtype(static_cast<int32_t>(DataType::kF32));
  stated.set_scale(0.5);
  stated.set_right(1);
  stated.set_bias(1);
  for (int i = 0; i < 10; ++i) stated.add_sizes(i == 0 ? one : four);
  const Plan good = b.Build();
  const auto tables = PlanTables::Build(good, {kCode}, kConstants);
  ASSERT_TRUE(tables.ok()) << tables.status();
  ASSERT_EQ((*tables)->contractions().size(), 1u);
  const LaunchContraction& product = (*tables)->contractions()[0];
  EXPECT_EQ(product.step, 0u);
  EXPECT_EQ(product.dtype, DataType::kF32);
  EXPECT_EQ(product.scale, 0.5);
  EXPECT_EQ(product.left, 0u);
  EXPECT_EQ(product.right, 1u);
  EXPECT_EQ(product.bias, 1u);
  EXPECT_EQ(product.addend, LaunchContraction::kNone);
  EXPECT_EQ(product.sizes[LaunchContraction::kBatches], one);
  EXPECT_EQ(product.sizes[LaunchContraction::kRightDepth], four);
  const auto damaged = [&](auto damage) {
    Plan plan = good;
    Launch& made = *plan.mutable_blocks(0)->mutable_steps(0)->mutable_launch();
    damage(plan, made, *made.mutable_contraction());
    return std::string(Verify(plan).message());
  };
  // The last buffer is the result.
  EXPECT_THAT(damaged([](Plan&, Launch&, Contraction& m) { m.set_left(2); }),
              HasSubstr("step 0 (matmul): expected a left operand below 2, got 2"));
  EXPECT_THAT(damaged([](Plan&, Launch&, Contraction& m) { m.set_right(1u << 31); }),
              HasSubstr("expected a right operand below 2"));
  EXPECT_THAT(damaged([](Plan&, Launch&, Contraction& m) { m.set_bias(2); }),
              HasSubstr("expected a bias below 2"));
  EXPECT_THAT(damaged([](Plan&, Launch&, Contraction& m) { m.set_addend(7); }),
              HasSubstr("expected a tensor to add below 2"));
  EXPECT_THAT(damaged([](Plan&, Launch&, Contraction& m) { m.set_sizes(9, 1u << 20); }),
              HasSubstr("expected a formula below"));
  constexpr char kNone[] = "is no contraction, as it says";
  EXPECT_THAT(damaged([](Plan&, Launch&, Contraction& m) { m.add_sizes(0); }), HasSubstr(kNone));
  EXPECT_THAT(damaged([](Plan&, Launch&, Contraction& m) { m.clear_sizes(); }), HasSubstr(kNone));
  for (const int dtype : {-1, 0, static_cast<int>(DataType::kI32), 10, 1 << 30}) {
    EXPECT_THAT(damaged([&](Plan&, Launch&, Contraction& m) { m.set_dtype(dtype); }),
                HasSubstr(kNone));
  }
  for (const double scale : {0.0, 1e39, 1e-300, 0.1, -std::numeric_limits<double>::infinity(),
                             std::numeric_limits<double>::quiet_NaN()}) {
    EXPECT_THAT(damaged([&](Plan&, Launch&, Contraction& m) { m.set_scale(scale); }),
                HasSubstr(kNone))
        << scale;
  }
  EXPECT_THAT(damaged([](Plan&, Launch& l, Contraction&) { l.set_results(2); }), HasSubstr(kNone));
  EXPECT_THAT(
      damaged([](Plan& p, Launch&, Contraction&) { p.mutable_kernels(0)->set_block_threads(0); }),
      HasSubstr(kNone));
  EXPECT_NE(damaged([](Plan&, Launch& l, Contraction&) { l.clear_buffers(); }), "");
  // Others than products have other sizes.
  const auto of_kind = [&](int kind, int sizes) {
    return damaged([&](Plan&, Launch&, Contraction& m) {
      m.set_kind(static_cast<Contraction::Kind>(kind));
      m.clear_sizes();
      for (int i = 0; i < sizes; ++i) m.add_sizes(one);
    });
  };
  EXPECT_EQ(of_kind(Contraction::CONVOLUTION, 18), "");
  EXPECT_EQ(of_kind(Contraction::FILTER_GRADIENT, 18), "");
  EXPECT_THAT(of_kind(Contraction::CONVOLUTION, 10), HasSubstr(kNone));
  EXPECT_THAT(of_kind(Contraction::FILTER_GRADIENT, 19), HasSubstr(kNone));
  for (const int sizes : {0, 10, 18}) {
    EXPECT_THAT(of_kind(3, sizes), HasSubstr(kNone));
    EXPECT_THAT(of_kind(-1, sizes), HasSubstr(kNone));
  }
}

struct Damage {
  const char* signature;
  std::function<void(Plan*)> apply;
  const char* message;
};

TEST(PlanTables, RefuseEveryWrongIndex) {
  const auto step = [](Plan* plan, int block, int index) {
    return plan->mutable_blocks(block)->mutable_steps(index);
  };
  const Damage damages[] = {
      {"predict", [](Plan* p) { p->mutable_formulas(3)->set_op(static_cast<Formula::Op>(99)); },
       "unknown operation"},
      {"predict", [](Plan* p) { p->set_symbol_inputs(0, 1); }, "input below 1"},
      {"predict", [](Plan* p) { p->set_symbol_dims(0, 2); }, "dimension below 2"},
      {"predict", [](Plan* p) { p->add_symbols("x"); }, "for each symbol"},
      {"predict",
       [](Plan* p) {
         for (Formula& f : *p->mutable_formulas()) {
           if (f.op() == Formula::MUL) f.set_a(1000);
         }
       },
       "formula below"},
      {"predict", [](Plan* p) { p->mutable_inputs(0)->set_dtype(0); }, "dtype"},
      {"predict", [](Plan* p) { p->mutable_inputs(0)->set_dtype(77); }, "dtype"},
      {"predict", [](Plan* p) { p->mutable_inputs(0)->set_dims(0, 1000); }, "formula below"},
      {"predict", [](Plan* p) { p->mutable_inputs(0)->add_dims(0); }, "name for each dimension"},
      {"predict", [](Plan* p) { p->mutable_inputs(0)->clear_name(); }, "no name"},
      {"join", [](Plan* p) { p->mutable_inputs(1)->set_name("x"); }, "twice"},
      {"predict", [](Plan* p) { p->mutable_buffers(0)->set_space(static_cast<Buffer::Space>(9)); },
       "unknown space"},
      {"predict", [](Plan* p) { p->mutable_buffers(0)->set_index(1); }, "input below 1"},
      {"predict", [](Plan* p) { p->mutable_buffers(1)->set_index(1); }, "output below 1"},
      {"step", [](Plan* p) { p->mutable_buffers(1)->set_index(1); }, "variable below 1"},
      {"predict", [](Plan* p) { p->mutable_buffers(0)->set_size(1000); }, "formula below"},
      {"predict", [](Plan* p) { p->mutable_buffers(3)->set_below(0, 3); }, "earlier buffer"},
      {"predict", [](Plan* p) { p->mutable_buffers(3)->set_below(0, 0); }, "earlier buffer"},
      {"predict", [](Plan* p) { p->mutable_buffers(4)->set_constant_offset(32); }, "misaligned"},
      {"predict", [](Plan* p) { p->mutable_buffers(4)->set_constant_offset(128); }, "outside"},
      {"predict", [](Plan* p) { p->mutable_kernels(0)->set_code_offset(kCode); }, "outside"},
      {"predict", [&](Plan* p) { step(p, 0, 0)->mutable_launch()->set_kernel(3); }, "kernel below"},
      {"predict", [&](Plan* p) { step(p, 0, 0)->mutable_launch()->set_tiles(999); }, "formula"},
      {"predict", [&](Plan* p) { step(p, 0, 0)->mutable_launch()->set_scratch(999); }, "formula"},
      {"predict", [&](Plan* p) { step(p, 0, 0)->mutable_launch()->set_bytes(999); }, "formula"},
      {"predict", [&](Plan* p) { step(p, 0, 0)->mutable_launch()->set_flops(999); }, "formula"},
      {"predict", [&](Plan* p) { step(p, 0, 0)->mutable_launch()->set_max_tile_flops(-1); },
       "max_tile_flops"},
      {"predict", [&](Plan* p) { step(p, 0, 0)->mutable_launch()->set_sizes(0, 999); }, "formula"},
      {"predict",
       [&](Plan* p) { step(p, 0, 0)->mutable_launch()->mutable_buffers(0)->set_buffer(99); },
       "buffer below"},
      {"predict",
       [&](Plan* p) { step(p, 0, 0)->mutable_launch()->mutable_buffers(0)->set_offset(999); },
       "formula below"},
      {"predict", [&](Plan* p) { step(p, 0, 1)->mutable_copy()->set_size(999); }, "formula below"},
      {"predict", [&](Plan* p) { step(p, 0, 1)->clear_kind(); }, "unknown kind"},
      {"predict", [](Plan* p) { p->set_commit_step(5); }, "commit step"},
      {"predict", [](Plan* p) { p->set_commit_step(0); }, "assigns no variable"},
      {"predict", [](Plan* p) { p->clear_blocks(); }, "no steps"},
      {"step", [](Plan* p) { p->set_read_variables(0, 1); }, "variable"},
      {"step", [](Plan* p) { p->set_assigned_variables(0, 1); }, "variable"},
      {"count", [&](Plan* p) { step(p, 0, 1)->mutable_while_step()->set_body_block(9); }, "block"},
      {"count", [&](Plan* p) { step(p, 0, 1)->mutable_while_step()->set_body_block(0); }, "cycle"},
      {"count", [&](Plan* p) { step(p, 0, 1)->mutable_while_step()->set_condition(99); }, "buffer"},
      {"count", [&](Plan* p) { step(p, 0, 1)->mutable_while_step()->set_max_iterations(-1); },
       "max_iterations"},
      {"count", [&](Plan* p) { step(p, 2, 0)->mutable_cond()->set_then_block(2); }, "cycle"},
      {"predict", [&](Plan* p) { step(p, 0, 0)->mutable_launch()->set_results(2); },
       "more results than buffers"},
  };
  for (const Damage& damage : damages) {
    Plan plan = TestPlan(damage.signature);
    damage.apply(&plan);
    const absl::Status status = Verify(plan);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << damage.message;
    EXPECT_THAT(std::string(status.message()), HasSubstr(damage.message));
    EXPECT_THAT(std::string(status.message()), HasSubstr(damage.signature));
  }
}

// A plan with everything that writes and fails, before and after its commit step, as far as
// `where` has it there.
struct Where {
  bool variable_early = false, variable_late = true;
  bool assertion_late = false, limit_late = false;
  bool nested = false;  // all of it in a branch
  bool assigned = true;
};

absl::Status VerifyWrites(const Where& where) {
  PlanBuilder b("writes");
  const uint32_t p = b.Input("p", DataType::kBool, {});
  const uint32_t w = b.Variable("w", DataType::kF32, {1}, true, where.assigned);
  const uint32_t one = b.Constant(1), four = b.Constant(4), arena = b.Arena(four);
  const uint32_t fill = b.Kernel("fill", 0);
  const auto block = [&] {
    if (!where.nested) return uint32_t{0};
    const uint32_t inner = b.Block(), empty = b.Block();
    b.Cond(0, p, inner, empty);
    return inner;
  };
  const uint32_t early = block();
  b.Assert(early, p, "p holds");
  b.While(early, b.Block(), p, b.Block(), 10);
  b.Launch(early, fill, {arena}, {one, one}, one);
  if (where.variable_early) b.Launch(early, fill, {w}, {one, one}, one);
  if (where.assigned) b.Commit();
  const uint32_t late = block();
  if (where.variable_late) b.Copy(late, arena, w, four);
  b.While(late, b.Block(), p, b.Block());
  if (where.assertion_late) b.Assert(late, p, "p holds");
  if (where.limit_late) b.While(late, b.Block(), p, b.Block(), 10);
  return Verify(b.Build());
}

TEST(PlanTables, NothingFailsOnceVariablesAreWritten) {
  for (const bool nested : {false, true}) {
    const auto refused = [&](Where where, const char* message) {
      where.nested = nested;
      const absl::Status status = VerifyWrites(where);
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
      EXPECT_THAT(std::string(status.message()), HasSubstr(message));
    };
    EXPECT_TRUE(VerifyWrites({.nested = nested}).ok()) << VerifyWrites({.nested = nested});
    refused({.variable_early = true}, "variable 'w' before the commit step");
    refused({.assertion_late = true}, "can fail after the commit step");
    refused({.limit_late = true}, "can fail after the commit step");
    refused({.assigned = false}, "variable 'w', which the plan does not assign");
  }
}

TEST(PlanTables, InputsAndConstantsAreNotWritten) {
  for (const bool constant : {false, true}) {
    for (const bool copy : {false, true}) {
      PlanBuilder b("writes");
      const uint32_t one = b.Constant(1), four = b.Constant(4);
      const uint32_t x = b.Input("x", DataType::kF32, {});
      const uint32_t c = b.ConstantBuffer(0, four), arena = b.Arena(four);
      const uint32_t target = constant ? c : x;
      if (copy) {
        b.Copy(0, arena, target, four);
      } else {
        b.Launch(0, b.Kernel("fill", 0), {target}, {one, one}, one);
      }
      EXPECT_THAT(std::string(Verify(b.Build()).message()),
                  HasSubstr(constant ? "writes to a constant" : "writes to an input"));
    }
  }
}

// A package's messages go to a terminal.
TEST(PlanTables, MessagesAreEscapedLineByLine) {
  PlanBuilder b("says");
  const uint32_t p = b.Input("p", DataType::kBool, {});
  b.Assert(0, p, "a\x1b[2J\nb");
  b.Print(0, p, DataType::kBool, {}, "\xc2\x9b", 1);
  const auto tables = PlanTables::Build(b.Build(), {kCode}, kConstants);
  ASSERT_TRUE(tables.ok()) << tables.status();
  EXPECT_STREQ((*tables)->plan().steps[0].message, "a\\x1b[2J\nb");
  EXPECT_STREQ((*tables)->plan().steps[1].message, "\\xc2\\x9b");
}

// Whatever reads a variable needs it among those that the plan reads, since others may have no
// value and no memory. Only a run that assigns it may read it without, once that is done.
TEST(PlanTables, VariablesThatAreReadHaveAValue) {
  enum Kind { kLaunch, kCopy, kWhile, kCond, kAssert, kPrint };
  const auto verify = [](Kind kind, bool read, bool assigned, bool late, bool nested) {
    PlanBuilder b("reads");
    const uint32_t p = b.Input("p", DataType::kBool, {});
    const uint32_t w = b.Variable("w", DataType::kBool, {}, read, assigned);
    const uint32_t one = b.Constant(1), arena = b.Arena(one);
    if (late) b.Commit();
    if (late) b.Copy(0, arena, w, one);
    uint32_t block = 0;
    if (nested) {
      block = b.Block();
      b.Cond(0, p, block, block);
    }
    switch (kind) {
      case kLaunch:
        b.Launch(block, b.Kernel("scale", 0), {w, arena}, {one}, one);
        break;
      case kCopy:
        b.Copy(block, w, arena, one);
        break;
      case kWhile:
        b.While(block, b.Block(), w, b.Block());
        break;
      case kCond:
        b.Cond(block, w, b.Block(), b.Block());
        break;
      case kAssert:
        b.Assert(block, w, "w holds");
        break;
      case kPrint:
        b.Print(block, w, DataType::kBool, {}, "w", 1);
        break;
    }
    if (assigned && !late) b.Commit();
    return Verify(b.Build());
  };
  for (const Kind kind : {kLaunch, kCopy, kWhile, kCond, kAssert, kPrint}) {
    for (const bool nested : {false, true}) {
      SCOPED_TRACE(static_cast<int>(kind) * 2 + nested);
      EXPECT_TRUE(verify(kind, true, false, false, nested).ok());
      for (const bool assigned : {false, true}) {
        const absl::Status status = verify(kind, false, assigned, false, nested);
        EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
        EXPECT_THAT(std::string(status.message()),
                    HasSubstr("reads variable 'w', which is not among its read_variables"));
      }
      if (kind != kAssert) {
        EXPECT_TRUE(verify(kind, false, true, true, nested).ok());
      }
    }
  }
}

TEST(PlanTables, LimitNesting) {
  const auto nested = [](int depth) {
    PlanBuilder b("deep");
    const uint32_t p = b.Input("p", DataType::kBool, {});
    uint32_t block = 0;
    for (int i = 1; i < depth; ++i) {
      const uint32_t inner = b.Block();
      b.Cond(block, p, inner, inner);
      block = inner;
    }
    return b.Build();
  };
  EXPECT_TRUE(Verify(nested(kMaxBlockDepth)).ok());
  EXPECT_THAT(std::string(Verify(nested(kMaxBlockDepth + 1)).message()), HasSubstr("too deeply"));
  EXPECT_FALSE(Verify(nested(100000)).ok());
}

// Whatever parses is verified without harm.
TEST(PlanTables, SurviveRandomBytes) {
  std::mt19937 random(3);
  int accepted = 0, refused = 0;
  for (const char* signature : {"predict", "step", "count"}) {
    const std::string good = TestPlan(signature).SerializeAsString();
    for (int round = 0; round < 20000; ++round) {
      std::string bytes = good;
      for (int flips = 1 + static_cast<int>(random() % 3); flips > 0; --flips) {
        bytes[random() % bytes.size()] = static_cast<char>(random());
      }
      Plan plan;
      if (!plan.ParseFromString(bytes)) continue;
      (Verify(plan).ok() ? accepted : refused) += 1;
    }
  }
  EXPECT_GT(accepted, 0);
  EXPECT_GT(refused, 0);
}

}  // namespace
}  // namespace weft
