// Matrix products of a package by a library: which is chosen, what that costs, and what is refused.
// The kernel of the package computes something else, sevens, so that results tell who made them.
#include "runtime/cuda/libraries.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "proto/plan.pb.h"
#include "runtime/contraction.h"
#include "runtime/cuda/testing/fake_cublaslt.h"
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

// f: x f32[rows, 3], the variable w f32[3, 4] -> y f32[rows, 4], which the launch says is x w; and
// assign: x -> the variable v f32[2, 4], the same.
struct Products {
  Products() : f(Make("f", false)), assign(Make("assign", true)) {}

  static Plan Make(const std::string& name, bool to_variable) {
    PlanBuilder b(name);
    const Dim rows = to_variable ? b.Static(2) : b.Symbol("rows", 0, 0);
    const Dim depth = b.Static(kDepth), columns = b.Static(kColumns);
    const uint32_t x = b.Input("x", DataType::kF32, {rows, depth}),
                   w = b.Variable("w", DataType::kF32, {kDepth, kColumns}, true, false);
    const uint32_t y = to_variable ? b.Variable("v", DataType::kF32, {2, kColumns}, false, true)
                                   : b.Output("y", DataType::kF32, {rows, columns});
    const uint32_t kernel = b.Kernel("sevens", 0);
    if (to_variable) b.Commit();
    const uint32_t elements = b.Mul(rows.formula, columns.formula);
    Step& step = b.Launch(0, kernel, {x, w, y}, {elements},
                          b.Op(Formula::CEIL_DIV, elements, b.Constant(32)));
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
    b.plan().mutable_kernels(static_cast<int>(kernel))->set_block_threads(32);
    return b.Build();
  }

  Contraction& product() {
    return *f.mutable_blocks(0)->mutable_steps(0)->mutable_launch()->mutable_contraction();
  }
  // Another formula than that of f.
  void SetSize(int which, int64_t value) {
    Formula* formula = f.add_formulas();
    formula->set_value(value);
    product().set_sizes(which, static_cast<uint32_t>(f.formulas_size() - 1));
  }

  std::string Bytes() const {
    TestPackage package;
    package.manifest.set_version(1);
    package.manifest.set_min_consumer(1);
    package.manifest.set_name("products");
    package.manifest.set_producer_name("libraries_test");
    TargetPlans* target = package.manifest.add_targets();
    target->set_target("cuda:sm_80");
    target->set_code_section("code.sm_80");
    for (const Plan& plan : {f, assign}) {
      *target->add_plans() = plan;
      plan_testing::AddSignature(plan, &package.manifest);
    }
    const auto variable = [&](const char* name, int64_t rows) {
      PackageVariable* made = package.manifest.add_variables();
      made->set_name(name);
      made->set_dtype(static_cast<int32_t>(DataType::kF32));
      made->add_shape(rows);
      made->add_shape(kColumns);
    };
    variable("w", kDepth);
    variable("v", 2);
    package.code = {{"code.sm_80", kSevens}};
    return package.Bytes();
  }

  Plan f, assign;
};

HostTensor Numbers(const std::vector<int64_t>& shape, float first) {
  HostTensor tensor = HostTensor::Create(DataType::kF32, shape).value();
  for (float& value : tensor.mutable_values<float>()) value = first++;
  return tensor;
}

std::vector<float> Values(const HostTensor& tensor) {
  const auto values = tensor.values<float>();
  return {values.begin(), values.end()};
}

std::string Message(const absl::Status& status) { return std::string(status.message()); }

class LibrariesTest : public testing::Test {
 protected:
  LibrariesTest() {
    cuda::InstallFakeCublasLt();
    cuda::ConfigureFakeDriver();
    cuda::ConfigureFakeCublasLt();
  }
  ~LibrariesTest() override {
    session_ = nullptr;
    device_ = nullptr;
    EXPECT_EQ(cuda::CountInFakeCublasLt().handles, 0);
    EXPECT_EQ(cuda::CountInFakeCublasLt().descriptions, 0);
    EXPECT_EQ(cuda::LeftInFakeDriver(), "");
    EXPECT_EQ(cuda::FakeDriverComplains(), "");
  }

  absl::StatusOr<std::shared_ptr<Device>> DeviceWith(CudaLibraryOptions options) {
    cuda::InstallFakeDriver(cuda::kFakeDriver);
    return MakeCudaDevice(
        {.driver_library = cuda::kFakeDriver, .libraries = UseCudaLibraries(options)});
  }

  // The library takes as long as these.
  Session& Open(const std::vector<Algorithm>& algorithms, int64_t max_memory_bytes = 0,
                const Products& products = {}) {
    cuda::ConfigureFakeCublasLt({.algorithms = algorithms});
    auto device = DeviceWith({.cublaslt = {cuda::kFakeCublasLt}});
    EXPECT_TRUE(device.ok()) << device.status();
    return OpenOn(device.value(), products, max_memory_bytes);
  }
  Session& OpenOn(std::shared_ptr<Device> device, const Products& products,
                  int64_t max_memory_bytes = 0) {
    auto session = Session::FromPackage(
        products.Bytes(), {.threads = 1, .max_memory_bytes = max_memory_bytes, .device = device});
    EXPECT_TRUE(session.ok()) << session.status();
    session_ = *std::move(session);
    device_ = std::move(device);
    session_->EnableProfiling(true);
    EXPECT_TRUE(session_
                    ->SetVariables(
                        {{"w", Numbers({kDepth, kColumns}, 0)}, {"v", Numbers({2, kColumns}, 100)}})
                    .ok());
    return *session_;
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
  Products products;
  products.SetSize(LaunchContraction::kDepth, 2);
  products.SetSize(LaunchContraction::kLeftDepth, 2);
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
  // The call is kept, and its workspace with it: another has no room for one of its own.
  const auto call = session.Prepare("f", {{5, kDepth}});
  ASSERT_TRUE(call.ok()) << call.status();
  ASSERT_TRUE((*call)->Feed(0, Numbers({5, kDepth}, 1)).ok());
  ASSERT_TRUE((*call)->Run().ok());
  EXPECT_THAT(Values((*call)->Output(0)), Each(7));
  EXPECT_THAT(Way(), HasSubstr("by its kernel, for want of 1048576 bytes of workspace"));
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
  // Where it is refused only while a graph is made, there is none.
  cuda::ConfigureFakeCublasLt({.fail_matmul = 1});
  for (int i = 0; i < 4; ++i) {
    const auto got = Run(5);
    ASSERT_TRUE(got.ok()) << got.status();
    EXPECT_EQ(*got, Product(5));
  }
  EXPECT_EQ(cuda::CountInFakeDriver().graph_launches, 0);
  cuda::ConfigureFakeCublasLt({.algorithms = {{.refuses = 13}}});
  const auto failed = Run(5);
  EXPECT_EQ(failed.status().code(), absl::StatusCode::kInternal);
  EXPECT_THAT(Message(failed.status()),
              AllOf(HasSubstr("product"), HasSubstr("model.cc:12"),
                    HasSubstr("by a library: CUBLAS_STATUS_EXECUTION_FAILED")));
  cuda::ConfigureFakeCublasLt();
  EXPECT_EQ(*Run(5), Product(5));
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
       std::vector<std::pair<int, int64_t>>{{LaunchContraction::kBatches, 2},
                                            {LaunchContraction::kRows, 6},
                                            {LaunchContraction::kColumns, 5},
                                            {LaunchContraction::kDepth, 4},
                                            {LaunchContraction::kLeftRow, 4},
                                            {LaunchContraction::kRightDepth, 5},
                                            {LaunchContraction::kRows, -1},
                                            {LaunchContraction::kLeftRow, INT64_MAX}}) {
    Products products;
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
  Products products;
  products.product().set_bias(1);
  Open({{}}, 0, products);
  EXPECT_TRUE(Run(5).ok());
}

TEST_F(LibrariesTest, ALibraryThatIsAskedForHasToBeThere) {
  EXPECT_THAT(Message(DeviceWith({.cublaslt = {"libnowhere.so.7", "libelsewhere.so"}}).status()),
              AllOf(HasSubstr("expected cuBLASLt 12 or 13"), HasSubstr("libnowhere.so.7"),
                    HasSubstr("libelsewhere.so"), HasSubstr("--gpu-libraries")));
  EXPECT_THAT(Message(DeviceWith({.cublaslt = {cuda::kIncompleteDriver}}).status()),
              HasSubstr("has no function cublasLtGetVersion"));
  // Under another name, since one that was loaded stays.
  cuda::ConfigureFakeCublasLt({.version = 110902});
  const std::string again = std::string("./") + cuda::kFakeCublasLt;
  EXPECT_THAT(Message(DeviceWith({.cublaslt = {again}}).status()),
              HasSubstr("is of version 11.9.2"));
  cuda::ConfigureFakeCublasLt({.create_result = 1});
  EXPECT_THAT(Message(DeviceWith({.cublaslt = {cuda::kFakeCublasLt}}).status()),
              AllOf(HasSubstr("cuBLASLt 12.3.4 cannot be used"),
                    HasSubstr("CUBLAS_STATUS_NOT_INITIALIZED"), HasSubstr("CUDA 12.4")));
  // Not asked for by name, it is just not used.
  for (const char* library : {"libnowhere.so.7", cuda::kFakeCublasLt}) {
    const auto without = DeviceWith({.required = false, .cublaslt = {library}});
    ASSERT_TRUE(without.ok()) << without.status();
    OpenOn(*without, Products());
    EXPECT_THAT(*Run(5), Each(7));
    EXPECT_EQ(Way(), "");
  }
}

}  // namespace
}  // namespace weft
