// Matrix products and convolutions of a package by libraries: which is chosen, what that costs, and
// what is refused. The kernel of the package computes something else, sevens, so that results tell
// who made them.
#include "runtime/cuda/libraries.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "proto/plan.pb.h"
#include "runtime/contraction.h"
#include "runtime/cuda/cudnn.h"
#include "runtime/cuda/testing/fake_cublaslt.h"
#include "runtime/cuda/testing/fake_cudnn.h"
#include "runtime/cuda/testing/test_driver.h"
#include "runtime/session.h"
#include "runtime/testing/plan_builder.h"

namespace weft {
namespace {

using plan_testing::Dim;
using plan_testing::PlanBuilder;
using plan_testing::TestPackage;
using ::testing::AllOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Algorithm = cuda::FakeCublasLtOptions::Algorithm;
using CudnnAlgorithm = cuda::FakeCudnnOptions::Algorithm;
using C = LaunchContraction;

// y[i] = 7 for i below n.
constexpr char kSevens[] = R"(.version 7.0
.target sm_70
.address_size 64
.visible .entry sevens(.param .u64 x, .param .u64 w, .param .u64 y, .param .u64 n)
{
  .reg .pred %p<2>;
  .reg .b32 %r<3>;
  .reg .f32 %f<2>;
  .reg .b64 %rd<7>;
  ld.param.u64 %rd1, [y];
  ld.param.u64 %rd2, [n];
  mov.u32 %r1, %ctaid.x;
  mov.u32 %r2, %tid.x;
  mul.wide.u32 %rd3, %r1, 32;
  cvt.u64.u32 %rd4, %r2;
  add.u64 %rd5, %rd3, %rd4;
  setp.ge.u64 %p1, %rd5, %rd2;
  @%p1 bra done;
  shl.b64 %rd6, %rd5, 2;
  add.u64 %rd6, %rd1, %rd6;
  mov.f32 %f1, 0f40E00000;
  st.global.f32 [%rd6], %f1;
done:
  ret;
}
)";

constexpr int64_t kDepth = 3, kColumns = 4;
constexpr int64_t kMiB = 1 << 20;

// A launch of the kernel: x, w -> y.
Step& AddSevens(PlanBuilder& b, const std::vector<uint32_t>& buffers, uint32_t elements) {
  const uint32_t kernel = b.Kernel("sevens", 0);
  b.plan().mutable_kernels(static_cast<int>(kernel))->set_block_threads(32);
  return b.Launch(0, kernel, buffers, {elements},
                  b.Op(Formula::CEIL_DIV, elements, b.Constant(32)));
}

// A package of plans that are launches of contractions, with variables f32 of these shapes.
struct Contractions {
  std::vector<Plan> plans;
  std::vector<std::pair<std::string, std::vector<int64_t>>> variables;

  // Of the first plan.
  Contraction& stated() {
    Step* step = plans[0].mutable_blocks(0)->mutable_steps(0);
    return *step->mutable_launch()->mutable_contraction();
  }
  // Another formula than that of the plan.
  void SetSize(size_t which, int64_t value) {
    Formula* formula = plans[0].add_formulas();
    formula->set_value(value);
    stated().set_sizes(static_cast<int>(which),
                       static_cast<uint32_t>(plans[0].formulas_size() - 1));
  }

  std::string Bytes() const {
    TestPackage package;
    package.manifest.set_version(1);
    package.manifest.set_min_consumer(1);
    package.manifest.set_name("contractions");
    package.manifest.set_producer_name("libraries_test");
    TargetPlans* target = package.manifest.add_targets();
    target->set_target("cuda:sm_80");
    target->set_code_section("code.sm_80");
    for (const Plan& plan : plans) {
      *target->add_plans() = plan;
      plan_testing::AddSignature(plan, &package.manifest);
    }
    for (const auto& [name, shape] : variables) {
      PackageVariable* made = package.manifest.add_variables();
      made->set_name(name);
      made->set_dtype(static_cast<int32_t>(DataType::kF32));
      for (const int64_t size : shape) made->add_shape(size);
    }
    package.code = {{"code.sm_80", kSevens}};
    return package.Bytes();
  }
};

// f: x f32[rows, 3], the variable w f32[3, 4] -> y f32[rows, 4], which the launch says is x w; and
// assign: x -> the variable v f32[2, 4], the same.
Plan PlanOfProduct(const std::string& name, bool to_variable) {
  PlanBuilder b(name);
  const Dim rows = to_variable ? b.Static(2) : b.Symbol("rows", 0, 0);
  const Dim depth = b.Static(kDepth), columns = b.Static(kColumns);
  const uint32_t x = b.Input("x", DataType::kF32, {rows, depth}),
                 w = b.Variable("w", DataType::kF32, {kDepth, kColumns}, true, false);
  const uint32_t y = to_variable ? b.Variable("v", DataType::kF32, {2, kColumns}, false, true)
                                 : b.Output("y", DataType::kF32, {rows, columns});
  if (to_variable) b.Commit();
  Step& step = AddSevens(b, {x, w, y}, b.Mul(rows.formula, columns.formula));
  step.set_label("matmul");
  step.set_location("model.cc:12");
  step.add_nodes("product");
  Contraction* product = step.mutable_launch()->mutable_contraction();
  product->set_dtype(static_cast<int32_t>(DataType::kF32));
  product->set_scale(1);
  product->set_left(0);
  product->set_right(1);
  const uint32_t one = b.Constant(1);
  for (const uint32_t size : {one, rows.formula, columns.formula, depth.formula,       // sizes
                              b.Mul(rows.formula, depth.formula), depth.formula, one,  // of x
                              b.Mul(depth.formula, columns.formula), one, columns.formula}) {
    product->add_sizes(size);
  }
  return b.Build();
}

Contractions Products() {
  return {{PlanOfProduct("f", false), PlanOfProduct("assign", true)},
          {{"w", {kDepth, kColumns}}, {"v", {2, kColumns}}}};
}

// Images of 9 x 8 with 4 channels, in 2 groups; 6 filters of 3 x 2, 1 and 2 apart; windows 2 and 1
// apart, with zeros around: 1 above and below, 2 left and right: 5 x 10 of them.
constexpr int64_t kImages = 2;
constexpr ContractionSizes kGeometry = {kImages, 9, 8, 4, 3, 2, 6, 5, 10,
                                        2,       2, 1, 1, 2, 1, 1, 2, 2};
const std::vector<int64_t> kImageShape = {kImages, 9, 8, 4}, kFilterShape = {3, 2, 2, 6},
                           kOutShape = {kImages, 5, 10, 6};

// f: x, the variable w -> y, which the launch says is such a convolution; or with the gradient of
// its result as w, that of the filters.
Contractions Convolutions(C::Kind kind = C::kConvolution) {
  const bool forward = kind == C::kConvolution;
  PlanBuilder b("f");
  const auto dims = [&](const std::vector<int64_t>& shape) {
    std::vector<Dim> made;
    for (const int64_t size : shape) made.push_back(b.Static(size));
    return made;
  };
  const std::vector<int64_t>&right = forward ? kFilterShape : kOutShape,
        &result = forward ? kOutShape : kFilterShape;
  const uint32_t x = b.Input("x", DataType::kF32, dims(kImageShape)),
                 w = b.Variable("w", DataType::kF32, right, true, false),
                 y = b.Output("y", DataType::kF32, dims(result));
  int64_t elements = 1;
  for (const int64_t size : result) elements *= size;
  Step& step = AddSevens(b, {x, w, y}, b.Constant(elements));
  step.set_label("conv2d");
  step.set_location("model.cc:34");
  step.add_nodes("convolution");
  Contraction* stated = step.mutable_launch()->mutable_contraction();
  stated->set_kind(static_cast<Contraction::Kind>(kind));
  stated->set_dtype(static_cast<int32_t>(DataType::kF32));
  stated->set_scale(1);
  stated->set_left(0);
  stated->set_right(1);
  for (size_t i = 0; i < C::kNumConvolutionSizes; ++i) stated->add_sizes(b.Constant(kGeometry[i]));
  return {{b.Build()}, {{"w", right}}};
}

HostTensor Numbers(const std::vector<int64_t>& shape, float first) {
  HostTensor tensor = HostTensor::Create(DataType::kF32, shape).value();
  for (float& value : tensor.mutable_values<float>()) value = first++;
  return tensor;
}

// Whole numbers from -3 to 3, of which all sums here are exact.
HostTensor SmallNumbers(const std::vector<int64_t>& shape, int64_t first) {
  HostTensor tensor = HostTensor::Create(DataType::kF32, shape).value();
  for (float& value : tensor.mutable_values<float>()) {
    value = static_cast<float>(first++ * 5 % 7 - 3);
  }
  return tensor;
}

std::vector<float> Values(const HostTensor& tensor) {
  const auto values = tensor.values<float>();
  return {values.begin(), values.end()};
}

std::string Message(const absl::Status& status) { return std::string(status.message()); }

// The convolution, or the gradient, of SmallNumbers from `first` and from 1 on.
std::vector<float> Expected(C::Kind kind, int64_t first = 0) {
  const auto at = [](const std::vector<int64_t>& shape, int64_t a, int64_t b, int64_t c,
                     int64_t d) {
    return static_cast<size_t>(((a * shape[1] + b) * shape[2] + c) * shape[3] + d);
  };
  const bool forward = kind == C::kConvolution;
  const std::vector<float> x = Values(SmallNumbers(kImageShape, first)),
                           w = Values(SmallNumbers(forward ? kFilterShape : kOutShape, 1));
  std::vector<float> y(forward ? kImages * 5 * 10 * 6 : 3 * 2 * 2 * 6);
  for (int64_t n = 0; n < kImages; ++n) {
    for (int64_t line = 0; line < 5; ++line) {
      for (int64_t column = 0; column < 10; ++column) {
        for (int64_t out = 0; out < 6; ++out) {
          for (int64_t down = 0; down < 3; ++down) {
            for (int64_t across = 0; across < 2; ++across) {
              const int64_t h = line * 2 + down - 1, v = column + across * 2 - 2;
              if (h < 0 || h >= 9 || v < 0 || v >= 8) continue;
              for (int64_t channel = 0; channel < 2; ++channel) {
                const float pixel = x[at(kImageShape, n, h, v, out / 3 * 2 + channel)];
                const size_t of_filter = at(kFilterShape, down, across, channel, out),
                             of_out = at(kOutShape, n, line, column, out);
                (forward ? y[of_out] : y[of_filter]) +=
                    pixel * (forward ? w[of_filter] : w[of_out]);
              }
            }
          }
        }
      }
    }
  }
  return y;
}

class LibrariesTest : public testing::Test {
 protected:
  LibrariesTest() {
    cuda::InstallFakeCublasLt();
    cuda::InstallFakeCudnn();
    cuda::ConfigureFakeDriver();
    cuda::ConfigureFakeCublasLt();
    cuda::ConfigureFakeCudnn();
  }
  ~LibrariesTest() override {
    session_ = nullptr;
    device_ = nullptr;
    EXPECT_EQ(cuda::CountInFakeCublasLt().handles, 0);
    EXPECT_EQ(cuda::CountInFakeCublasLt().descriptions, 0);
    EXPECT_EQ(cuda::CountInFakeCudnn().handles, 0);
    EXPECT_EQ(cuda::CountInFakeCudnn().descriptions, 0);
    EXPECT_EQ(cuda::LeftInFakeDriver(), "");
    EXPECT_EQ(cuda::FakeDriverComplains(), "");
  }

  absl::StatusOr<std::shared_ptr<Device>> DeviceWith(const CudaLibraryOptions& options,
                                                     int ordinal = 0) {
    cuda::InstallFakeDriver(cuda::kFakeDriver);
    return MakeCudaDevice({.ordinal = ordinal,
                           .driver_library = cuda::kFakeDriver,
                           .libraries = UseCudaLibraries(options)});
  }
  static CudaLibraryOptions BothLibraries() {
    return {.cublaslt = {cuda::kFakeCublasLt}, .cudnn = {cuda::kFakeCudnn}};
  }

  // The library takes as long as these.
  Session& Open(const std::vector<Algorithm>& algorithms, int64_t max_memory_bytes = 0,
                const Contractions& products = Products()) {
    cuda::ConfigureFakeCublasLt({.algorithms = algorithms});
    auto device = DeviceWith(BothLibraries());
    EXPECT_TRUE(device.ok()) << device.status();
    return OpenOn(device.value(), products, max_memory_bytes);
  }
  Session& OpenConvolutions(const std::vector<CudnnAlgorithm>& algorithms,
                            int64_t max_memory_bytes = 0,
                            const Contractions& convolutions = Convolutions()) {
    cuda::ConfigureFakeCudnn({.algorithms = algorithms});
    auto device = DeviceWith(BothLibraries());
    EXPECT_TRUE(device.ok()) << device.status();
    return OpenOn(device.value(), convolutions, max_memory_bytes);
  }
  Session& OpenOn(std::shared_ptr<Device> device, const Contractions& contractions,
                  int64_t max_memory_bytes = 0) {
    auto session = Session::FromPackage(
        contractions.Bytes(),
        {.threads = 1, .max_memory_bytes = max_memory_bytes, .device = device});
    EXPECT_TRUE(session.ok()) << session.status();
    session_ = *std::move(session);
    device_ = std::move(device);
    session_->EnableProfiling(true);
    NamedTensors variables;
    for (const auto& [name, shape] : contractions.variables) {
      variables[name] =
          shape.size() == 4 ? SmallNumbers(shape, 1) : Numbers(shape, name == "w" ? 0.0f : 100.0f);
    }
    EXPECT_TRUE(session_->SetVariables(variables).ok());
    return *session_;
  }

  absl::StatusOr<std::vector<float>> Convolve(int64_t first = 0) {
    auto outputs = session_->Run("f", {{"x", SmallNumbers(kImageShape, first)}});
    if (!outputs.ok()) return outputs.status();
    return Values(outputs->at("y"));
  }
  // Of [rows, 3] from `first` on.
  absl::StatusOr<std::vector<float>> Run(int64_t rows, float first = 0) {
    auto outputs = session_->Run("f", {{"x", Numbers({rows, kDepth}, first)}});
    if (!outputs.ok()) return outputs.status();
    return Values(outputs->at("y"));
  }
  static std::vector<float> Product(int64_t rows, float first = 0) {
    std::vector<float> product;
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t column = 0; column < kColumns; ++column) {
        float sum = 0;
        for (int64_t step = 0; step < kDepth; ++step) {
          sum += (first + static_cast<float>(row * kDepth + step)) *
                 static_cast<float>(step * kColumns + column);
        }
        product.push_back(sum);
      }
    }
    return product;
  }
  std::string Way() {
    for (const StepProfile& step : session_->Profile()) {
      if (step.signature == "f") return step.way;
    }
    return "no step";
  }

  std::shared_ptr<Device> device_;
  std::unique_ptr<Session> session_;
};

TEST_F(LibrariesTest, TheFastestIsChosenAndReplayed) {
  Open({{.id = 5, .microseconds = 20}, {.id = 6, .microseconds = 2.5}, {.id = 7}});
  // Algorithms have numbers of their own: the third takes a microsecond.
  session_->EnableProfiling(false);
  for (int i = 0; i < 4; ++i) {
    const auto got = Run(40, static_cast<float>(i));
    ASSERT_TRUE(got.ok()) << got.status();
    EXPECT_EQ(*got, Product(40, static_cast<float>(i))) << i;
  }
  EXPECT_GT(cuda::CountInFakeDriver().graph_launches, 0);
  session_->EnableProfiling(true);
  ASSERT_TRUE(Run(40).ok());
  EXPECT_EQ(Way(), "by cuBLASLt (algorithm 7): 1.0 us, kernel 10.0 us");
  // f32 is f32, and sums of parts are not rounded on the way.
  const cuda::FakeCublasLtCounts counts = cuda::CountInFakeCublasLt();
  EXPECT_EQ(counts.compute_type, 69);
  EXPECT_EQ(counts.reduction_schemes, 2);
  EXPECT_EQ(counts.alignment, 64);
}

TEST_F(LibrariesTest, WhatIsNotFasterByATwentiethIsLeft) {
  Open({{.microseconds = 9.6}});
  const auto got = Run(9);
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_THAT(*got, Each(7));
  EXPECT_EQ(Way(), "by its kernel: 10.0 us, cuBLASLt (algorithm 1) 9.6 us");
  Open({{.microseconds = 9.5}});
  EXPECT_EQ(*Run(9), Product(9));
}

// However long the library takes to load its code when it is first called.
TEST_F(LibrariesTest, LoadingIsNotMeasured) {
  for (const double load : {1000., 60000.}) {
    cuda::ConfigureFakeCublasLt({.algorithms = {{.microseconds = 2}}, .load_microseconds = load});
    OpenOn(DeviceWith(BothLibraries()).value(), Products());
    EXPECT_EQ(*Run(5), Product(5));
    EXPECT_EQ(Way(), "by cuBLASLt (algorithm 1): 2.0 us, kernel 10.0 us");
  }
}

// What takes long is not repeated, and what is short is, in graphs as in runs.
TEST_F(LibrariesTest, MeasuringTakesItsTime) {
  Open({{.microseconds = 2}});
  ASSERT_TRUE(Run(5).ok());
  EXPECT_GT(cuda::CountInFakeDriver().graph_launches, 0);
  EXPECT_GT(cuda::CountInFakeDriver().kernels, 100);
  cuda::ConfigureFakeDriver({.kernel_microseconds = 60000});
  Open({{.microseconds = 2}});
  ASSERT_TRUE(Run(5).ok());
  EXPECT_EQ(Way(), "by cuBLASLt (algorithm 1): 2.0 us, kernel 60000.0 us");
  EXPECT_EQ(cuda::CountInFakeDriver().graph_launches, 0);
  EXPECT_EQ(cuda::CountInFakeDriver().kernels, 2);
}

// Measuring is part of the run that it is done for.
TEST_F(LibrariesTest, TheDeadlineEndsMeasuring) {
  Open({{.microseconds = 2}});
  cuda::ConfigureFakeDriver({.busy = true});
  const NamedTensors feeds = {{"x", Numbers({5, kDepth}, 0)}};
  const auto late =
      session_->Run("f", feeds, {.deadline = absl::Now() + absl::Milliseconds(20)}).status();
  EXPECT_EQ(late.code(), absl::StatusCode::kDeadlineExceeded) << late;
  std::atomic<bool> cancel = false;
  std::atomic<bool> asked = false;
  cuda::ConfigureFakeDriver({.busy = true, .asked = &asked});
  std::thread canceller([&] {
    while (!asked) std::this_thread::yield();
    cancel = true;
  });
  EXPECT_EQ(session_->Run("f", feeds, {.cancel = &cancel}).status().code(),
            absl::StatusCode::kCancelled);
  canceller.join();
  // Nobody waited inside the driver, and nothing was chosen.
  EXPECT_EQ(cuda::CountInFakeDriver().blocked, 0);
  EXPECT_EQ(Way(), "no step");
  EXPECT_EQ(cuda::CountInFakeCublasLt().questions, 2);
  cuda::ConfigureFakeDriver();
  EXPECT_EQ(*Run(5), Product(5));
  EXPECT_EQ(Way(), "by cuBLASLt (algorithm 1): 2.0 us, kernel 10.0 us");
}

TEST_F(LibrariesTest, SizesAreMeasuredOnce) {
  Session& session = Open({{.microseconds = 2}});
  for (const int64_t rows : {5, 6, 5, 6, 6}) EXPECT_EQ(*Run(rows), Product(rows));
  EXPECT_EQ(cuda::CountInFakeCublasLt().questions, 2);
  const auto call = session.Prepare("f", {{5, kDepth}});
  ASSERT_TRUE(call.ok()) << call.status();
  EXPECT_EQ(cuda::CountInFakeCublasLt().questions, 2);
  ASSERT_TRUE((*call)->Feed(0, Numbers({5, kDepth}, 1)).ok());
  ASSERT_TRUE((*call)->Run().ok());
  EXPECT_EQ(Values((*call)->Output(0)), Product(5, 1));
  // Nothing to compute: nothing to ask.
  EXPECT_THAT(*Run(0), ElementsAre());
  EXPECT_EQ(cuda::CountInFakeCublasLt().questions, 2);
}

TEST_F(LibrariesTest, WhatTheLibraryRefusesIsLeft) {
  Open({{.id = 1, .microseconds = 1, .refuses = 15}, {.id = 2, .microseconds = 3}});
  EXPECT_EQ(*Run(5), Product(5));
  EXPECT_THAT(Way(), HasSubstr("algorithm 2"));
  Open({{.refuses = 15}, {.refuses = 13}});
  EXPECT_THAT(*Run(5), Each(7));
  EXPECT_EQ(Way(), "by its kernel: cuBLASLt refuses it");
  Open({});
  EXPECT_THAT(*Run(5), Each(7));
  EXPECT_EQ(Way(), "by its kernel: cuBLASLt has none");
}

// Neither along rows nor along columns: every second element.
TEST_F(LibrariesTest, LayoutsThatTheLibraryDoesNotHaveAreTheKernels) {
  Contractions products = Products();
  products.SetSize(C::kDepth, 2);
  products.SetSize(C::kLeftDepth, 2);
  Open({{}}, 0, products);
  EXPECT_THAT(*Run(5), Each(7));
  EXPECT_EQ(Way(), "by its kernel: cuBLASLt has none for operands whose neighbours lie apart");
  EXPECT_EQ(cuda::CountInFakeCublasLt().questions, 0);
}

TEST_F(LibrariesTest, AWorkspaceCountsInTheBudget) {
  const std::vector<Algorithm> algorithms = {
      {.id = 1, .microseconds = 1, .workspace_bytes = size_t{kMiB}}, {.id = 2, .microseconds = 3}};
  Session& session = Open(algorithms, kMiB * 3 / 2);
  EXPECT_EQ(*Run(5), Product(5));
  EXPECT_THAT(Way(), HasSubstr("by cuBLASLt (algorithm 1): 1.0 us"));
  // The call is kept, and its workspace with it, but makes room for another one.
  const auto call = session.Prepare("f", {{5, kDepth}});
  ASSERT_TRUE(call.ok()) << call.status();
  ASSERT_TRUE((*call)->Feed(0, Numbers({5, kDepth}, 1)).ok());
  ASSERT_TRUE((*call)->Run().ok());
  EXPECT_EQ(Values((*call)->Output(0)), Product(5, 1));
  // While that is there, no kernel does it instead, whose bits would be others.
  const auto refused = Run(5);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kResourceExhausted) << refused.status();
  EXPECT_THAT(Message(refused.status()),
              AllOf(HasSubstr("'f'"), HasSubstr("1048576 bytes"), HasSubstr("workspace")));
  // Of other sizes, those that need one are not even measured.
  EXPECT_EQ(*Run(6), Product(6));
  EXPECT_THAT(Way(), HasSubstr("by cuBLASLt (algorithm 2): 3.0 us"));
}

TEST_F(LibrariesTest, WithoutMemoryToMeasureInNothingIs) {
  Open({{}}, 256);
  EXPECT_THAT(*Run(5), Each(7));
  EXPECT_EQ(Way(), "by its kernel: not measured, for want of 768 bytes");
  // That of the GPU is short.
  cuda::ConfigureFakeDriver({.memory_bytes = kMiB});
  Open({{.workspace_bytes = size_t{2 * kMiB}}});
  EXPECT_THAT(*Run(5), Each(7));
  EXPECT_EQ(Way(), "by its kernel: not measured, for want of 2097920 bytes");
}

// The launch writes a variable: what is prepared and measured leaves it alone.
TEST_F(LibrariesTest, MeasuringTouchesNothingOfTheSession) {
  Session& session = Open({{.microseconds = 1}});
  const auto call = session.Prepare("assign", {{2, kDepth}});
  ASSERT_TRUE(call.ok()) << call.status();
  EXPECT_GT(cuda::CountInFakeCublasLt().calls, 0);
  EXPECT_GT(cuda::CountInFakeDriver().kernels, 0);
  EXPECT_EQ(Values(*session.GetVariable("v")), Values(Numbers({2, kColumns}, 100)));
  EXPECT_EQ(Values(*session.GetVariable("w")), Values(Numbers({kDepth, kColumns}, 0)));
  ASSERT_TRUE((*call)->Feed(0, Numbers({2, kDepth}, 0)).ok());
  ASSERT_TRUE((*call)->Run().ok());
  EXPECT_EQ(Values(*session.GetVariable("v")), Product(2));
}

TEST_F(LibrariesTest, ACallThatFailsNamesItsNode) {
  Open({{.microseconds = 1}});
  ASSERT_TRUE(Run(5).ok());
  const int64_t measured = cuda::CountInFakeDriver().graph_launches;
  // Where it is refused only while a graph is made, there is none.
  cuda::ConfigureFakeCublasLt({.fail_matmul = 1});
  for (int i = 0; i < 4; ++i) {
    const auto got = Run(5);
    ASSERT_TRUE(got.ok()) << got.status();
    EXPECT_EQ(*got, Product(5));
  }
  EXPECT_EQ(cuda::CountInFakeDriver().graph_launches, measured);
  cuda::ConfigureFakeCublasLt({.algorithms = {{.refuses = 13}}});
  const auto failed = Run(5);
  EXPECT_EQ(failed.status().code(), absl::StatusCode::kInternal);
  EXPECT_THAT(Message(failed.status()),
              AllOf(HasSubstr("product"), HasSubstr("model.cc:12"),
                    HasSubstr("by a library: CUBLAS_STATUS_EXECUTION_FAILED")));
  cuda::ConfigureFakeCublasLt();
  EXPECT_EQ(*Run(5), Product(5));
}

// What failed on the GPU before is no fault of the library, which is told of it first.
TEST_F(LibrariesTest, AFaultBeforeACallIsNotTheLibrarys) {
  Contractions products = Products();
  Plan& plan = products.plans[0];
  Step& first = *plan.mutable_blocks(0)->mutable_steps(0);
  Step& second = *plan.mutable_blocks(0)->add_steps();
  second = first;
  first.mutable_launch()->clear_contraction();
  first.set_label("before");
  first.set_location("model.cc:11");
  plan.set_commit_step(2);
  Open({{.microseconds = 1}}, 0, products);
  ASSERT_TRUE(Run(5).ok());
  cuda::ConfigureFakeDriver({.fail_kernel = 1, .eager = true});
  cuda::ConfigureFakeCublasLt({.fail_matmul = 1});
  const auto failed = Run(5);
  EXPECT_THAT(Message(failed.status()),
              AllOf(HasSubstr("model.cc:11"), HasSubstr("CUDA_ERROR_ILLEGAL_ADDRESS")));
  EXPECT_THAT(Message(Run(5).status()), HasSubstr("cannot use the GPU any more"));
  session_ = nullptr;
  cuda::ConfigureFakeDriver();
}

// A fault of the library's own kernels is the context's end, as one of ours.
TEST_F(LibrariesTest, AFaultWhileMeasuringIsAnError) {
  Open({{.microseconds = 1}});
  cuda::ConfigureFakeDriver({.fail_kernel = 1});
  const auto failed = Run(5);
  EXPECT_THAT(Message(failed.status()),
              AllOf(HasSubstr("product"), HasSubstr("CUDA_ERROR_ILLEGAL_ADDRESS")));
  session_ = nullptr;
  cuda::ConfigureFakeDriver();
}

TEST_F(LibrariesTest, ProductsOutsideOfTheirBuffersAreRefused) {
  for (const auto& [which, size] :
       std::vector<std::pair<size_t, int64_t>>{{C::kBatches, 2},
                                               {C::kRows, 6},
                                               {C::kColumns, 5},
                                               {C::kDepth, 4},
                                               {C::kLeftRow, 4},
                                               {C::kRightDepth, 5},
                                               {C::kRows, -1},
                                               {C::kLeftRow, INT64_MAX}}) {
    Contractions products = Products();
    products.SetSize(which, size);
    Open({{}}, 0, products);
    const auto refused = Run(5);
    EXPECT_EQ(refused.status().code(), absl::StatusCode::kInvalidArgument) << which;
    EXPECT_THAT(Message(refused.status()),
                AllOf(HasSubstr("expected a matrix product with"), HasSubstr("model.cc:12")))
        << which;
    EXPECT_EQ(cuda::CountInFakeCublasLt().questions, 0);
  }
  // A row of 4 of the 12 elements of w.
  Contractions products = Products();
  products.stated().set_bias(1);
  Open({{}}, 0, products);
  EXPECT_TRUE(Run(5).ok());
}

TEST_F(LibrariesTest, ConvolutionsAreComputedAndReplayed) {
  for (const C::Kind kind : {C::kConvolution, C::kFilterGradient}) {
    SCOPED_TRACE(kind);
    OpenConvolutions({{.id = 0, .microseconds = 20, .workspace_bytes = 4096},
                      {.id = 1, .microseconds = 3, .workspace_bytes = 512}},
                     0, Convolutions(kind));
    session_->EnableProfiling(false);
    for (int i = 0; i < 4; ++i) {
      const auto got = Convolve(i);
      ASSERT_TRUE(got.ok()) << got.status();
      EXPECT_EQ(*got, Expected(kind, i)) << i;
    }
    EXPECT_GT(cuda::CountInFakeDriver().graph_launches, 0);
    session_->EnableProfiling(true);
    ASSERT_TRUE(Convolve().ok());
    EXPECT_EQ(Way(), "by cuDNN (algorithm 1): 3.0 us, kernel 10.0 us");
    const cuda::FakeCudnnCounts counts = cuda::CountInFakeCudnn();
    EXPECT_EQ(counts.questions, 1);
    EXPECT_EQ(counts.convolutions > 0, kind == C::kConvolution);
    EXPECT_EQ(counts.gradients > 0, kind == C::kFilterGradient);
    EXPECT_EQ(counts.transforms, counts.convolutions + counts.gradients);
    EXPECT_EQ(counts.groups * counts.padded * counts.dilated > 0, true);
    cuda::ConfigureFakeDriver();
  }
}

TEST_F(LibrariesTest, ConvolutionsThatAreNotFasterAreLeft) {
  OpenConvolutions({{.microseconds = 9.6}});
  const auto got = Convolve();
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_THAT(*got, Each(7));
  EXPECT_EQ(Way(), "by its kernel: 10.0 us, cuDNN (algorithm 1) 9.6 us");
  OpenConvolutions({{.microseconds = 9.5}});
  EXPECT_EQ(*Convolve(), Expected(C::kConvolution));
}

// Only sums of products, whose bits are the same each time, in math that was allowed.
TEST_F(LibrariesTest, AlgorithmsThatComputeOtherwiseAreNotMeasured) {
  const auto left = [&](C::Kind kind, const std::vector<CudnnAlgorithm>& algorithms,
                        bool tf32 = false) {
    Contractions convolutions = Convolutions(kind);
    convolutions.stated().set_tf32(tf32);
    OpenConvolutions(algorithms, 0, convolutions);
    EXPECT_TRUE(Convolve().ok());
    return Way();
  };
  constexpr char kNothing[] = "by its kernel: cuDNN has none";
  // Fourier transforms and Winograd's.
  for (const int id : {4, 5, 6, 7, -1}) EXPECT_EQ(left(C::kConvolution, {{.id = id}}), kNothing);
  for (const int id : {2, 4, 5, 6}) EXPECT_EQ(left(C::kFilterGradient, {{.id = id}}), kNothing);
  EXPECT_EQ(left(C::kConvolution, {{.deterministic = false}, {.id = 2, .status = 3000}}), kNothing);
  EXPECT_EQ(left(C::kConvolution, {{.id = 5}, {.id = 3}}),
            "by cuDNN (algorithm 3): 1.0 us, kernel 10.0 us");
  EXPECT_EQ(left(C::kFilterGradient, {{.id = 3, .deterministic = false}, {.id = 1}}),
            "by cuDNN (algorithm 1): 1.0 us, kernel 10.0 us");
  // f32 is f32, whatever the library says of the algorithm.
  EXPECT_THAT(left(C::kConvolution, {{.math = 1}, {.math = 0}}), HasSubstr("by cuDNN"));
  EXPECT_EQ(cuda::CountInFakeCudnn().math, 3);
  EXPECT_THAT(left(C::kConvolution, {{.math = 1}}, /*tf32=*/true), HasSubstr("by cuDNN"));
  EXPECT_EQ(cuda::CountInFakeCudnn().math, 1);
  EXPECT_EQ(left(C::kConvolution, {{.math = 2}}, /*tf32=*/true), kNothing);
}

TEST_F(LibrariesTest, WhatCudnnRefusesIsLeft) {
  OpenConvolutions({{.id = 0, .refuses = 3000}, {.id = 2, .microseconds = 3}});
  EXPECT_EQ(*Convolve(), Expected(C::kConvolution));
  EXPECT_THAT(Way(), HasSubstr("algorithm 2"));
  OpenConvolutions({{.refuses = 5000}});
  EXPECT_THAT(*Convolve(), Each(7));
  EXPECT_EQ(Way(), "by its kernel: cuDNN refuses it");
  OpenConvolutions({});
  EXPECT_THAT(*Convolve(), Each(7));
  EXPECT_EQ(Way(), "by its kernel: cuDNN has none");
  // Filters that it cannot turn, it cannot use.
  auto device = DeviceWith(BothLibraries());
  cuda::ConfigureFakeCudnn({.transform_result = 3000});
  OpenOn(*device, Convolutions());
  EXPECT_THAT(*Convolve(), Each(7));
  EXPECT_EQ(Way(), "by its kernel: cuDNN refuses it");
  cuda::ConfigureFakeCudnn({.heuristic_result = 3000});
  device = DeviceWith(BothLibraries());
  OpenOn(*device, Convolutions());
  EXPECT_THAT(*Convolve(), Each(7));
  EXPECT_EQ(Way(), "by its kernel: cuDNN has none");
}

TEST_F(LibrariesTest, WhatCudnnLacksItIsNotAskedFor) {
  // One zero more to the right is one window more.
  Contractions convolutions = Convolutions();
  convolutions.SetSize(C::kPaddingLeft, 1);
  convolutions.SetSize(C::kPaddingRight, 3);
  OpenConvolutions({{}}, 0, convolutions);
  EXPECT_THAT(*Convolve(), Each(7));
  EXPECT_EQ(Way(), "by its kernel: cuDNN has none for padding that differs from side to side");
  EXPECT_EQ(cuda::CountInFakeCudnn().questions, 0);
}

TEST_F(LibrariesTest, CudnnsWorkspaceHasTheFiltersAndCounts) {
  // 288 bytes of filters, and what the algorithm has begins at a multiple of 256.
  const std::vector<CudnnAlgorithm> algorithms = {
      {.id = 0, .microseconds = 1, .workspace_bytes = size_t{kMiB}}, {.id = 1, .microseconds = 3}};
  Session& session = OpenConvolutions(algorithms, kMiB * 3 / 2);
  EXPECT_EQ(*Convolve(), Expected(C::kConvolution));
  EXPECT_THAT(Way(), HasSubstr("by cuDNN (algorithm 0): 1.0 us"));
  // While another call has it, there is no room for one of its own.
  const auto call = session.Prepare("f", {kImageShape});
  ASSERT_TRUE(call.ok()) << call.status();
  EXPECT_THAT(Message(Convolve().status()), HasSubstr("needs 1049088 bytes"));
  // Nor is one larger than any may be asked for.
  for (const size_t filters_and : {size_t{0}, size_t{256}, size_t{512}, size_t{1024}}) {
    CudaLibraryOptions options = BothLibraries();
    options.max_workspace_bytes = filters_and;
    cuda::ConfigureFakeCudnn({.algorithms = {{.id = 2, .workspace_bytes = 512}, {.id = 1}}});
    OpenOn(DeviceWith(options).value(), Convolutions());
    ASSERT_TRUE(Convolve().ok());
    EXPECT_THAT(Way(), HasSubstr(filters_and == 1024  ? "by cuDNN (algorithm 2)"
                                 : filters_and == 512 ? "by cuDNN (algorithm 1)"
                                                      : "by its kernel: cuDNN has none"));
  }
}

TEST_F(LibrariesTest, AConvolutionThatFailsNamesItsNode) {
  OpenConvolutions({{.microseconds = 1}});
  ASSERT_TRUE(Convolve().ok());
  const int64_t measured = cuda::CountInFakeDriver().graph_launches;
  // Where it is refused only while a graph is made, there is none.
  cuda::ConfigureFakeCudnn({.fail_convolution = 1});
  for (int i = 0; i < 4; ++i) {
    const auto got = Convolve(i);
    ASSERT_TRUE(got.ok()) << got.status();
    EXPECT_EQ(*got, Expected(C::kConvolution, i));
  }
  EXPECT_EQ(cuda::CountInFakeDriver().graph_launches, measured);
  for (const auto& options : {cuda::FakeCudnnOptions{.algorithms = {{.refuses = 5000}}},
                              cuda::FakeCudnnOptions{.transform_result = 5000}}) {
    cuda::ConfigureFakeCudnn(options);
    const auto failed = Convolve();
    EXPECT_EQ(failed.status().code(), absl::StatusCode::kInternal);
    EXPECT_THAT(Message(failed.status()),
                AllOf(HasSubstr("convolution"), HasSubstr("model.cc:34"),
                      HasSubstr("by a library: CUDNN_STATUS_EXECUTION_FAILED")));
  }
  cuda::ConfigureFakeCudnn();
  EXPECT_EQ(*Convolve(), Expected(C::kConvolution));
}

TEST_F(LibrariesTest, ConvolutionsOutsideOfTheirBuffersAreRefused) {
  for (const auto& [which, size, what] : std::vector<std::tuple<size_t, int64_t, const char*>>{
           {C::kImages, 3, "within"},
           {C::kFilters, 8, "within"},
           {C::kGroups, 1, "within"},
           {C::kGroups, 3, "groups divide"},
           {C::kHeight, 12, "windows"},
           {C::kPaddingBelow, 3, "windows"},
           {C::kStrideDown, 0, "1 or more"},
           {C::kPaddingLeft, -1, "sizes from 0"},
           {C::kOutWidth, INT64_MAX, "sizes from 0"}}) {
    Contractions convolutions = Convolutions();
    convolutions.SetSize(which, size);
    OpenConvolutions({{}}, 0, convolutions);
    const auto refused = Convolve();
    EXPECT_EQ(refused.status().code(), absl::StatusCode::kInvalidArgument) << which;
    EXPECT_THAT(Message(refused.status()), AllOf(HasSubstr("expected a convolution with"),
                                                 HasSubstr(what), HasSubstr("model.cc:34")))
        << which;
    EXPECT_EQ(cuda::CountInFakeCudnn().questions, 0);
  }
}

TEST_F(LibrariesTest, DevicesHaveLibrariesOfTheirOwn) {
  cuda::ConfigureFakeDriver({.devices = 2});
  auto second = DeviceWith(BothLibraries(), 1);
  ASSERT_TRUE(second.ok()) << second.status();
  OpenConvolutions({{.microseconds = 1}});
  EXPECT_EQ(cuda::CountInFakeCudnn().handles, 2);
  EXPECT_EQ(*Convolve(), Expected(C::kConvolution));
  EXPECT_EQ(cuda::CountInFakeCudnn().questions, 1);
  const std::shared_ptr<Device> first = device_;
  OpenOn(*second, Convolutions());
  EXPECT_EQ(*Convolve(2), Expected(C::kConvolution, 2));
  EXPECT_THAT(Way(), HasSubstr("by cuDNN"));
  EXPECT_EQ(cuda::CountInFakeCudnn().questions, 2);
  // One that is gone took nothing of the other's: a handle for questions, and one to measure with.
  OpenOn(first, Convolutions());
  second = nullptr;
  EXPECT_EQ(cuda::CountInFakeCudnn().handles, 2);
  EXPECT_EQ(*Convolve(1), Expected(C::kConvolution, 1));
  EXPECT_THAT(Way(), HasSubstr("by cuDNN"));
}

// Whose handles are for one at a time: each call has its own.
TEST_F(LibrariesTest, ThreadsShareALibrary) {
  Session& session = OpenConvolutions({{.microseconds = 1}});
  std::vector<std::thread> threads;
  std::atomic<int> wrong = 0;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      const auto call = session.Prepare("f", {kImageShape});
      for (int run = 0; run < 10; ++run) {
        if (!call.ok() || !(*call)->Feed(0, SmallNumbers(kImageShape, i + run)).ok() ||
            !(*call)->Run().ok() ||
            Values((*call)->Output(0)) != Expected(C::kConvolution, i + run)) {
          ++wrong;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  const int64_t handles = cuda::CountInFakeCudnn().handles;
  const auto one = session.Prepare("f", {kImageShape}), two = session.Prepare("f", {kImageShape});
  ASSERT_TRUE(one.ok() && two.ok());
  EXPECT_EQ(cuda::CountInFakeCudnn().handles, handles + 2);
}

TEST_F(LibrariesTest, EachLibraryComputesItsKind) {
  CudaLibraryOptions options = BothLibraries();
  options.use_cudnn = false;
  OpenOn(DeviceWith(options).value(), Convolutions());
  EXPECT_THAT(*Convolve(), Each(7));
  EXPECT_EQ(Way(), "");
  EXPECT_EQ(cuda::CountInFakeCudnn().handles, 0);
  options = BothLibraries();
  options.use_cublaslt = false;
  const auto device = DeviceWith(options);
  OpenOn(*device, Products());
  EXPECT_THAT(*Run(5), Each(7));
  EXPECT_EQ(Way(), "");
  OpenOn(*device, Convolutions());
  EXPECT_EQ(*Convolve(), Expected(C::kConvolution));
  EXPECT_EQ(cuda::CountInFakeCublasLt().handles, 0);
}

TEST(CudnnLacks, WhatItsDescriptionsDoNotSay) {
  LaunchContraction stated = {.kind = C::kConvolution, .dtype = DataType::kF32};
  const auto lacks = [&](const std::vector<std::pair<C::ConvolutionSize, int64_t>>& others,
                         uint32_t alignment = 64) {
    cuda::ContractionAtSizes at = {.contraction = stated,
                                   .sizes = kGeometry,
                                   .left_alignment = 64,
                                   .right_alignment = alignment,
                                   .result_alignment = 64};
    for (const auto& [size, value] : others) at.sizes[size] = value;
    const char* lacking = cuda::CudnnLacks(at);
    return std::string(lacking == nullptr ? "" : lacking);
  };
  for (const DataType dtype : {DataType::kF32, DataType::kF16, DataType::kBF16}) {
    stated.dtype = dtype;
    EXPECT_EQ(lacks({}), "");
  }
  stated.dtype = DataType::kF64;
  EXPECT_THAT(lacks({}), HasSubstr("dtype"));
  stated.dtype = DataType::kF32;
  // Padding after the image may differ where no other window begins in it: 9 lines and windows of
  // 3, 2 apart, are 5 with 1 above and 1 or 2 below, and 4 with none.
  EXPECT_EQ(lacks({{C::kPaddingBelow, 2}}), "");
  EXPECT_THAT(lacks({{C::kPaddingBelow, 0}, {C::kOutHeight, 4}}), HasSubstr("side to side"));
  EXPECT_THAT(lacks({{C::kPaddingRight, 3}, {C::kOutWidth, 11}}), HasSubstr("side to side"));
  EXPECT_THAT(lacks({{C::kPaddingLeft, 1}, {C::kPaddingRight, 3}}), HasSubstr("side to side"));
  EXPECT_EQ(lacks({{C::kStrideAcross, 9}, {C::kOutWidth, 2}}), "");
  // 288 elements are an image, 300 its result, 12 a filter.
  EXPECT_EQ(lacks({{C::kImages, INT32_MAX / 300}}), "");
  EXPECT_THAT(lacks({{C::kImages, INT32_MAX / 300 + 1}}), HasSubstr("2147483647 elements"));
  EXPECT_THAT(lacks({{C::kImages, 1},
                     {C::kHeight, 1},
                     {C::kOutHeight, 1},
                     {C::kWidth, 1},
                     {C::kStrideAcross, 9},
                     {C::kOutWidth, 1},
                     {C::kFilters, INT32_MAX / 12 + 1}}),
              HasSubstr("2147483647 elements"));
  EXPECT_EQ(lacks({}, 16), "");
  EXPECT_THAT(lacks({}, 8), HasSubstr("16 bytes"));
}

TEST_F(LibrariesTest, ALibraryThatIsAskedForHasToBeThere) {
  EXPECT_THAT(
      Message(DeviceWith({.use_cudnn = false, .cublaslt = {"libnowhere.so.7", "libelsewhere.so"}})
                  .status()),
      AllOf(HasSubstr("expected cuBLASLt 12 or 13"), HasSubstr("libnowhere.so.7"),
            HasSubstr("libelsewhere.so"), HasSubstr("--gpu-libraries")));
  EXPECT_THAT(
      Message(DeviceWith({.use_cudnn = false, .cublaslt = {cuda::kIncompleteDriver}}).status()),
      HasSubstr("has no function cublasLtGetVersion"));
  // Under another name, since one that was loaded stays.
  cuda::ConfigureFakeCublasLt({.version = 110902});
  const std::string again = std::string("./") + cuda::kFakeCublasLt;
  EXPECT_THAT(Message(DeviceWith({.use_cudnn = false, .cublaslt = {again}}).status()),
              HasSubstr("is of version 11.9.2"));
  cuda::ConfigureFakeCublasLt({.create_result = 1});
  EXPECT_THAT(Message(DeviceWith({.use_cudnn = false, .cublaslt = {cuda::kFakeCublasLt}}).status()),
              AllOf(HasSubstr("cuBLASLt 12.3.4 cannot be used"),
                    HasSubstr("CUBLAS_STATUS_NOT_INITIALIZED"), HasSubstr("CUDA 12.4")));
  // Not asked for by name, it is just not used.
  for (const char* library : {"libnowhere.so.7", cuda::kFakeCublasLt}) {
    const auto without = DeviceWith({.use_cudnn = false, .required = false, .cublaslt = {library}});
    ASSERT_TRUE(without.ok()) << without.status();
    OpenOn(*without, Products());
    EXPECT_THAT(*Run(5), Each(7));
    EXPECT_EQ(Way(), "");
  }
}

TEST_F(LibrariesTest, SoHasCudnn) {
  const auto with = [&](std::vector<std::string> names, bool required = true) {
    return DeviceWith({.use_cublaslt = false, .required = required, .cudnn = std::move(names)});
  };
  EXPECT_THAT(Message(with({"libnowhere.so.7", "libelsewhere.so"}).status()),
              AllOf(HasSubstr("expected cuDNN 8 or 9"), HasSubstr("libnowhere.so.7"),
                    HasSubstr("libelsewhere.so"), HasSubstr("--gpu-libraries")));
  EXPECT_THAT(Message(with({cuda::kIncompleteDriver}).status()),
              HasSubstr("has no function cudnnGetVersion"));
  // Whose first call would end the process.
  EXPECT_THAT(Message(with({cuda::kCudnnAlone}).status()),
              AllOf(HasSubstr("cudnn_alone/libcudnn.so.9"), HasSubstr("libcudnn_graph.so.9")));
  EXPECT_TRUE(with({cuda::kCudnnAlone, cuda::kFakeCudnn}).ok());
  // Under another name, since one that was loaded stays.
  const std::string again = std::string("./") + cuda::kFakeCudnn;
  for (const auto& [version, text] : std::vector<std::pair<size_t, std::string>>{
           {7605, "is of version 7.6.5"}, {100102, "is of version 10.1.2"}}) {
    cuda::ConfigureFakeCudnn({.version = version});
    EXPECT_THAT(Message(with({again}).status()), HasSubstr(text));
  }
  for (const auto& [version, text] :
       std::vector<std::pair<size_t, std::string>>{{8907, "cuDNN 8.9.7"}, {90102, "cuDNN 9.1.2"}}) {
    cuda::ConfigureFakeCudnn({.version = version, .create_result = 1001});
    EXPECT_THAT(Message(with({cuda::kFakeCudnn}).status()),
                AllOf(HasSubstr(text + " cannot be used"),
                      HasSubstr("CUDNN_STATUS_NOT_INITIALIZED"), HasSubstr("CUDA 12.4")));
  }
  // Not asked for by name, it is just not used.
  for (const char* library : {"libnowhere.so.7", cuda::kFakeCudnn}) {
    const auto without = with({library}, /*required=*/false);
    ASSERT_TRUE(without.ok()) << without.status();
    OpenOn(*without, Convolutions());
    EXPECT_THAT(*Convolve(), Each(7));
    EXPECT_EQ(Way(), "");
  }
}

}  // namespace
}  // namespace weft
