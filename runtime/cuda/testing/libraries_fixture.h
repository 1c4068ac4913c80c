// What tests of libraries share: packages whose launches state contractions, and sessions on the
// fake driver. The kernel of a package computes something else, sevens, so that results tell who
// made them.
#ifndef WEFT_RUNTIME_CUDA_TESTING_LIBRARIES_FIXTURE_H_
#define WEFT_RUNTIME_CUDA_TESTING_LIBRARIES_FIXTURE_H_

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "proto/plan.pb.h"
#include "runtime/contraction.h"
#include "runtime/cuda/libraries.h"
#include "runtime/cuda/testing/fake_cublaslt.h"
#include "runtime/cuda/testing/fake_cudnn.h"
#include "runtime/cuda/testing/test_driver.h"
#include "runtime/session.h"
#include "runtime/testing/plan_builder.h"

namespace weft {

using plan_testing::Dim;
using plan_testing::PlanBuilder;
using plan_testing::TestPackage;
using Algorithm = cuda::FakeCublasLtOptions::Algorithm;
using CudnnAlgorithm = cuda::FakeCudnnOptions::Algorithm;
using C = LaunchContraction;

// y[i] = 7 for i below n.
inline constexpr char kSevens[] = R"(.version 7.0
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

inline constexpr int64_t kDepth = 3, kColumns = 4;
inline constexpr int64_t kMiB = 1 << 20;

// A launch of the kernel: x, w -> y.
inline Step& AddSevens(PlanBuilder& b, const std::vector<uint32_t>& buffers, uint32_t elements) {
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
inline Plan PlanOfProduct(const std::string& name, bool to_variable) {
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

inline Contractions Products() {
  return {{PlanOfProduct("f", false), PlanOfProduct("assign", true)},
          {{"w", {kDepth, kColumns}}, {"v", {2, kColumns}}}};
}

// Images of 9 x 8 with 4 channels, in 2 groups; 6 filters of 3 x 2, 1 and 2 apart; windows 2 and 1
// apart, with zeros around: 1 above and below, 2 left and right: 5 x 10 of them.
inline constexpr int64_t kImages = 2;
inline constexpr ContractionSizes kGeometry = {kImages, 9, 8, 4, 3, 2, 6, 5, 10,
                                               2,       2, 1, 1, 2, 1, 1, 2, 2};
inline const std::vector<int64_t> kImageShape = {kImages, 9, 8, 4}, kFilterShape = {3, 2, 2, 6},
                                  kOutShape = {kImages, 5, 10, 6};

// f: x, the variable w -> y, which the launch says is such a convolution; or with the gradient of
// its result as w, that of the filters.
inline Contractions Convolutions(C::Kind kind = C::kConvolution) {
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

inline HostTensor Numbers(const std::vector<int64_t>& shape, float first) {
  HostTensor tensor = HostTensor::Create(DataType::kF32, shape).value();
  for (float& value : tensor.mutable_values<float>()) value = first++;
  return tensor;
}

// Whole numbers from -3 to 3, of which all sums here are exact.
inline HostTensor SmallNumbers(const std::vector<int64_t>& shape, int64_t first) {
  HostTensor tensor = HostTensor::Create(DataType::kF32, shape).value();
  for (float& value : tensor.mutable_values<float>()) {
    value = static_cast<float>(first++ * 5 % 7 - 3);
  }
  return tensor;
}

inline std::vector<float> Values(const HostTensor& tensor) {
  const auto values = tensor.values<float>();
  return {values.begin(), values.end()};
}

inline std::string Message(const absl::Status& status) { return std::string(status.message()); }

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

}  // namespace weft

#endif  // WEFT_RUNTIME_CUDA_TESTING_LIBRARIES_FIXTURE_H_
