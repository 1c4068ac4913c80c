// What the compiler states of products and convolutions, libraries compute as their kernels do:
// compiled graphs on the fake driver, with a cuBLASLt and a cuDNN made for tests that are always
// the fastest. Numbers are small and whole, so that nothing is ever rounded, and results are the
// emulator's bit for bit. With WEFT_TEST_DEVICE=cuda:0, the same on a GPU and by its own libraries;
// which convolutions those have is theirs to say, and not expected.
#include "runtime/cuda/libraries.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <functional>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "compiler/api.h"
#include "graph/graph.h"
#include "runtime/contraction.h"
#include "runtime/cuda/testing/fake_cublaslt.h"
#include "runtime/cuda/testing/fake_cudnn.h"
#include "runtime/cuda/testing/test_driver.h"
#include "runtime/devices.h"
#include "runtime/hardware_devices.h"
#include "runtime/session.h"

namespace weft {
namespace {

using ::testing::HasSubstr;

// On a GPU, with its own library, where the environment names one.
const char* RealDevice() { return std::getenv("WEFT_TEST_DEVICE"); }

class LibrariesTest : public testing::Test {
 protected:
  void SetUp() override {
    if (RealDevice() == nullptr) {
      device_ = FakeDevice();
      return;
    }
    auto device = MakeHardwareDevice(RealDevice(), 1, UseCudaLibraries({.least_gain = 0}));
    if (absl::IsFailedPrecondition(device.status())) {
      // Where there is no cuDNN, products are still compared.
      std::cerr << "no convolutions: " << device.status() << "\n";
      device = MakeHardwareDevice(RealDevice(), 1,
                                  UseCudaLibraries({.use_cudnn = false, .least_gain = 0}));
    }
    if (absl::IsFailedPrecondition(device.status())) GTEST_SKIP() << device.status();
    ASSERT_TRUE(device.ok()) << device.status();
    device_ = *std::move(device);
  }
  void TearDown() override {
    device_ = nullptr;
    if (RealDevice() != nullptr) return;
    EXPECT_EQ(cuda::LeftInFakeDriver(), "");
    EXPECT_EQ(cuda::FakeDriverComplains(), "");
  }
  static std::shared_ptr<Device> FakeDevice(int sm = 80) {
    cuda::InstallFakeDriver(cuda::kFakeDriver);
    cuda::InstallFakeCublasLt();
    cuda::InstallFakeCudnn();
    // What takes long is measured once.
    cuda::ConfigureFakeDriver({.sm = sm, .kernel_microseconds = 60000});
    cuda::ConfigureFakeCublasLt();
    cuda::ConfigureFakeCudnn();
    return MakeCudaDevice({.driver_library = cuda::kFakeDriver,
                           .libraries = UseCudaLibraries(
                               {.cublaslt = {cuda::kFakeCublasLt}, .cudnn = {cuda::kFakeCudnn}})})
        .value();
  }
  // Of the last call of the library made for tests: what it computes in, and its epilogue.
  static void ExpectComputeType(int type) {
    if (RealDevice() == nullptr) EXPECT_EQ(cuda::CountInFakeCublasLt().compute_type, type);
  }
  static void ExpectEpilogue(int epilogue) {
    if (RealDevice() == nullptr) EXPECT_EQ(cuda::CountInFakeCublasLt().epilogue, epilogue);
  }

  // Whole numbers from -2 to 2.
  static HostTensor Numbers(DataType dtype, const std::vector<int64_t>& shape) {
    HostTensor tensor = HostTensor::Create(dtype, shape).value();
    WithType(dtype, [&](auto type) {
      using T = decltype(type);
      int64_t i = 0;
      for (T& value : tensor.mutable_values<T>()) {
        value = static_cast<T>(static_cast<float>(i++ * 7 % 5 - 2));
      }
    });
    return tensor;
  }

  // The steps of the signature that a library does, in words ("matmul"), after runs that give the
  // emulator's bits.
  std::vector<std::string> ByLibrary(const Graph& graph, const NamedTensors& feeds,
                                     MatmulPrecision precision = MatmulPrecision::kF32,
                                     const std::string& target = "sm_80") {
    CompileOptions options;
    options.targets = {"cuda:" + target};
    options.matmul_precision = precision;
    const std::string package = CompilePackage(graph, options).value();
    const auto open = [&](std::shared_ptr<Device> device) {
      return Session::FromPackage(package, {.threads = 1, .device = std::move(device)}).value();
    };
    const auto emulator = MakeDevice("emulator:" + target.substr(0, 5), 1);
    const auto expected = open(emulator.value())->Run("f", feeds);
    EXPECT_TRUE(expected.ok()) << expected.status();
    const auto session = open(device_);
    session->EnableProfiling(true);
    for (int i = 0; i < 3; ++i) {
      const auto got = session->Run("f", feeds);
      EXPECT_TRUE(got.ok()) << got.status();
      if (!got.ok() || !expected.ok()) return {};
      for (const auto& [name, value] : *expected) {
        const HostTensor& other = got->at(name);
        EXPECT_TRUE(memcmp(other.data(), value.data(), value.size_bytes()) == 0)
            << name << ": " << other.ToString(20) << "\n"
            << value.ToString(20);
      }
    }
    std::vector<std::string> steps;
    lacking_.clear();
    for (const StepProfile& step : session->Profile()) {
      if (step.way.rfind("by cu", 0) == 0) {
        steps.push_back(step.label);
      } else if (step.way.rfind("by its kernel: cuDNN has none", 0) == 0) {
        lacking_.push_back(step.way);
      } else {
        EXPECT_EQ(step.way, "") << step.label;
      }
    }
    return steps;
  }

  struct Product {
    std::vector<int64_t> a, b;
    bool transpose_a = false, transpose_b = false;
  };
  // f: y = work(a b).
  std::vector<std::string> ByLibrary(
      const Product& p, DataType dtype,
      const std::function<Tensor(Graph&, Tensor)>& work = [](Graph&, Tensor y) { return y; },
      NamedTensors more = {}) {
    Graph graph("products");
    Tensor a = graph.Input("a", dtype, Dims(p.a)), b = graph.Input("b", dtype, Dims(p.b));
    Tensor y = work(graph, MatMul(a, b, p.transpose_a, p.transpose_b));
    graph.AddSignature("f", {{"y", y}});
    EXPECT_TRUE(graph.status().ok()) << graph.status();
    more["a"] = Numbers(dtype, p.a);
    more["b"] = Numbers(dtype, p.b);
    return ByLibrary(graph, more);
  }
  static std::vector<Graph::Dim> Dims(const std::vector<int64_t>& shape) {
    return {shape.begin(), shape.end()};
  }

  // f: y, dx and dw of a convolution of x by w, and of the gradient dy of its result.
  struct Convolution {
    std::vector<int64_t> image, filter;
    std::vector<int64_t> strides = {1, 1}, padding = {0, 0, 0, 0}, dilations = {1, 1};
    int64_t groups = 1;
  };
  std::vector<std::string> ConvolutionsByLibrary(const Convolution& c, DataType dtype,
                                                 MatmulPrecision precision = MatmulPrecision::kF32,
                                                 const std::string& target = "sm_80") {
    Graph graph("convolutions");
    std::vector<int64_t> out = {c.image[0], 0, 0, c.filter[3]};
    for (size_t i = 0; i < 2; ++i) {
      out[i + 1] = WindowsAlong(c.image[i + 1], c.padding[2 * i], c.padding[2 * i + 1], c.filter[i],
                                c.dilations[i], c.strides[i]);
    }
    Tensor x = graph.Input("x", dtype, Dims(c.image)), w = graph.Input("w", dtype, Dims(c.filter)),
           dy = graph.Input("dy", dtype, Dims(out));
    graph.AddSignature(
        "f",
        {{"y", Conv2D(x, w, c.strides, c.padding, c.dilations, c.groups)},
         {"dx", Conv2DInputGrad(dy, w, x.shape(), c.strides, c.padding, c.dilations, c.groups)},
         {"dw", Conv2DFilterGrad(x, dy, {c.filter[0], c.filter[1]}, c.strides, c.padding,
                                 c.dilations, c.groups)}});
    EXPECT_TRUE(graph.status().ok()) << graph.status();
    return ByLibrary(graph,
                     {{"x", Numbers(dtype, c.image)},
                      {"w", Numbers(dtype, c.filter)},
                      {"dy", Numbers(dtype, out)}},
                     precision, target);
  }
  // So many steps, all convolutions; of libraries made for tests.
  void ExpectConvolutions(const std::vector<std::string>& steps, size_t convolutions,
                          size_t lacking = 0) {
    if (RealDevice() != nullptr) return;
    EXPECT_EQ(steps.size(), convolutions) << testing::PrintToString(steps);
    EXPECT_EQ(lacking_.size(), lacking) << testing::PrintToString(lacking_);
    for (const std::string& step : steps) EXPECT_THAT(step, HasSubstr("conv2d"));
  }

  std::shared_ptr<Device> device_;
  // Of the last ByLibrary: how convolutions are computed that cuDNN lacks.
  std::vector<std::string> lacking_;
};

const std::vector<std::string> kMatMul = {"matmul"}, kNone = {};

TEST_F(LibrariesTest, MatMulsOfEveryDTypeEitherWayAndInBatches) {
  for (const DataType dtype : {DataType::kF32, DataType::kF64, DataType::kF16, DataType::kBF16}) {
    SCOPED_TRACE(std::string(NameOf(dtype)));
    for (const bool ta : {false, true}) {
      for (const bool tb : {false, true}) {
        SCOPED_TRACE(std::string(ta ? "T" : "N") + (tb ? "T" : "N"));
        const auto shape = [](bool transpose, std::vector<int64_t> batch, int64_t m, int64_t n) {
          batch.push_back(transpose ? n : m);
          batch.push_back(transpose ? m : n);
          return batch;
        };
        for (const std::vector<int64_t>& batch : std::vector<std::vector<int64_t>>{{}, {3}}) {
          EXPECT_EQ(ByLibrary({shape(ta, batch, 5, 8), shape(tb, batch, 8, 6), ta, tb}, dtype),
                    kMatMul);
        }
        // One right operand for all of the batch, and what has one row, column or step.
        EXPECT_EQ(ByLibrary({shape(ta, {3}, 5, 8), shape(tb, {}, 8, 6), ta, tb}, dtype), kMatMul);
        EXPECT_EQ(ByLibrary({shape(ta, {2}, 1, 8), shape(tb, {2}, 8, 1), ta, tb}, dtype), kMatMul);
        EXPECT_EQ(ByLibrary({shape(ta, {2}, 4, 1), shape(tb, {2}, 1, 3), ta, tb}, dtype), kMatMul);
      }
    }
  }
  // What sums are of: 32F for those of 16 bits, which came last.
  ExpectComputeType(68);
  EXPECT_EQ(ByLibrary({{5, 8}, {8, 6}}, DataType::kI32), kNone);
}

TEST_F(LibrariesTest, ScaledAndWithWhatIsAdded) {
  const DataType dtype = DataType::kF32;
  const Product p = {{2, 5, 8}, {2, 8, 6}};
  const NamedTensors c = {{"c", Numbers(dtype, {2, 5, 6})}}, r = {{"r", Numbers(dtype, {6})}};
  NamedTensors both = c;
  both.insert(r.begin(), r.end());
  const auto input = [&](Graph& graph, const char* name, std::vector<int64_t> shape) {
    return graph.Input(name, dtype, Dims(shape));
  };
  EXPECT_EQ(ByLibrary(p, dtype, [](Graph&, Tensor y) { return y * 0.5; }).size(), 1);
  EXPECT_EQ(ByLibrary(
                p, dtype, [&](Graph& g, Tensor y) { return y + input(g, "c", {2, 5, 6}); }, c)
                .size(),
            1);
  EXPECT_EQ(
      ByLibrary(p, dtype, [&](Graph& g, Tensor y) { return input(g, "r", {6}) + y; }, r).size(), 1);
  ExpectEpilogue(4);
  EXPECT_EQ(ByLibrary(
                p, dtype,
                [&](Graph& g, Tensor y) {
                  return y * 2.0 + input(g, "r", {6}) + input(g, "c", {2, 5, 6});
                },
                both)
                .size(),
            1);
  // What is done to the sum besides, the library has not.
  EXPECT_EQ(ByLibrary(
                p, dtype, [&](Graph& g, Tensor y) { return (y + input(g, "r", {6})) * 2.0; }, r),
            kNone);
  EXPECT_EQ(ByLibrary(p, dtype, [](Graph&, Tensor y) { return Maximum(y, 0.0); }), kNone);
  EXPECT_EQ(ByLibrary(p, dtype, [](Graph&, Tensor y) { return y * y; }), kNone);
  EXPECT_EQ(ByLibrary(p, dtype, [&](Graph& g, Tensor y) { return y + input(g, "r", {5, 1}); },
                      {{"r", Numbers(dtype, {5, 1})}}),
            kNone);
}

// Windows of one pixel each make products of all channels, and so does the gradient of their
// filter. Of other windows, work on the result is not cuDNN's.
TEST_F(LibrariesTest, ConvolutionsOfPixels) {
  for (const int64_t window : {1, 3}) {
    Graph graph("convolutions");
    const std::vector<int64_t> image = {2, 4, 5, 8}, filter = {window, window, 8, 6};
    const std::vector<int64_t> out = {2, 5 - window, 6 - window, 6};
    Tensor x = graph.Input("x", DataType::kF32, Dims(image)),
           w = graph.Input("w", DataType::kF32, Dims(filter)),
           dy = graph.Input("dy", DataType::kF32, Dims(out)),
           row = graph.Input("row", DataType::kF32, {6});
    Tensor dw = Conv2DFilterGrad(x, dy, {window, window}, {1, 1}, {0, 0, 0, 0}, {1, 1});
    graph.AddSignature("f", {{"y", Conv2D(x, w, {1, 1}, {0, 0, 0, 0}, {1, 1}) + row},
                             {"dw", window == 1 ? dw : dw * 2.0}});
    ASSERT_TRUE(graph.status().ok()) << graph.status();
    const auto steps = ByLibrary(graph, {{"x", Numbers(DataType::kF32, image)},
                                         {"w", Numbers(DataType::kF32, filter)},
                                         {"dy", Numbers(DataType::kF32, out)},
                                         {"row", Numbers(DataType::kF32, {6})}});
    EXPECT_EQ(steps.size(), window == 1 ? 2 : 0);
    EXPECT_TRUE(lacking_.empty()) << testing::PrintToString(lacking_);
  }
}

// The gradient of the image is a convolution as well, of one with a filter that another launch
// turned, and so are three of cuDNN's.
TEST_F(LibrariesTest, ConvolutionsAndTheirGradientsOfEveryDType) {
  const Convolution c = {.image = {2, 5, 6, 8}, .filter = {3, 2, 8, 4}};
  for (const DataType dtype : {DataType::kF32, DataType::kF16, DataType::kBF16}) {
    SCOPED_TRACE(std::string(NameOf(dtype)));
    ExpectConvolutions(ConvolutionsByLibrary(c, dtype), 3);
    if (RealDevice() == nullptr) {
      EXPECT_GT(cuda::CountInFakeCudnn().gradients, 0);
      // f32 in multiply-adds alone.
      if (dtype == DataType::kF32) EXPECT_EQ(cuda::CountInFakeCudnn().math, 3);
    }
  }
  ExpectConvolutions(ConvolutionsByLibrary(c, DataType::kF64), 0, 3);
}

TEST_F(LibrariesTest, StridesDilationsPaddingAndGroups) {
  const DataType dtype = DataType::kF32;
  // With strides, the gradient of the image is several convolutions, of some of the filter each.
  EXPECT_GE(ConvolutionsByLibrary(
                {.image = {2, 9, 8, 4}, .filter = {3, 3, 4, 6}, .strides = {2, 2}}, dtype)
                .size(),
            RealDevice() == nullptr ? 3 : 0);
  ExpectConvolutions(
      ConvolutionsByLibrary({.image = {1, 9, 8, 4}, .filter = {3, 2, 4, 6}, .dilations = {2, 3}},
                            dtype),
      3);
  ExpectConvolutions(
      ConvolutionsByLibrary(
          {.image = {1, 7, 6, 4}, .filter = {3, 3, 4, 6}, .padding = {1, 1, 1, 1}}, dtype),
      3);
  ExpectConvolutions(
      ConvolutionsByLibrary({.image = {2, 6, 7, 6}, .filter = {3, 2, 2, 9}, .groups = 3}, dtype),
      3);
  // Each channel by itself.
  ExpectConvolutions(
      ConvolutionsByLibrary({.image = {2, 6, 7, 5}, .filter = {3, 2, 1, 5}, .groups = 5}, dtype),
      3);
}

// Kernels of sm_90a have zeros for what is outside of images, where there is enough to compute for
// tensor maps, so their launches have padding.
TEST_F(LibrariesTest, PaddingThatKernelsHaveThemselves) {
  if (RealDevice() != nullptr) GTEST_SKIP() << "of sm_90a, whatever the GPU";
  device_ = nullptr;
  device_ = FakeDevice(90);
  const auto padded = [&](const std::vector<int64_t>& padding) {
    Graph graph("convolutions");
    Tensor x = graph.Input("x", DataType::kF16, {"images", 3, 4, 64}),
           w = graph.Input("w", DataType::kF16, {3, 3, 64, 320});
    graph.AddSignature("f", {{"y", Conv2D(x, w, {1, 1}, padding, {1, 1})}});
    EXPECT_TRUE(graph.status().ok()) << graph.status();
    return ByLibrary(graph,
                     {{"x", Numbers(DataType::kF16, {1, 3, 4, 64})},
                      {"w", Numbers(DataType::kF16, {3, 3, 64, 320})}},
                     MatmulPrecision::kF32, "sm_90a");
  };
  ExpectConvolutions(padded({1, 1, 1, 1}), 1);
  EXPECT_GT(cuda::CountInFakeCudnn().padded, 0);
  // cuDNN pads both sides alike.
  ExpectConvolutions(padded({0, 2, 1, 1}), 0, 1);
  EXPECT_THAT(lacking_, testing::Each(HasSubstr("from side to side")));
}

TEST_F(LibrariesTest, ConvolutionsAreTf32WhereTheCompilerWasToldSo) {
  if (RealDevice() == nullptr) cuda::ConfigureFakeCudnn({.algorithms = {{.math = 1}}});
  const Convolution c = {.image = {1, 5, 6, 8}, .filter = {3, 2, 8, 8}};
  ExpectConvolutions(ConvolutionsByLibrary(c, DataType::kF32), 3);
  if (RealDevice() == nullptr) EXPECT_EQ(cuda::CountInFakeCudnn().math, 3);
  ExpectConvolutions(ConvolutionsByLibrary(c, DataType::kF32, MatmulPrecision::kTf32), 3);
  if (RealDevice() == nullptr) EXPECT_EQ(cuda::CountInFakeCudnn().math, 1);
}

TEST_F(LibrariesTest, F32IsTf32WhereTheCompilerWasToldSo) {
  Graph graph("product");
  Tensor a = graph.Input("a", DataType::kF32, {8, 16}),
         b = graph.Input("b", DataType::kF32, {16, 8});
  graph.AddSignature("f", {{"y", MatMul(a, b)}});
  const NamedTensors feeds = {{"a", Numbers(DataType::kF32, {8, 16})},
                              {"b", Numbers(DataType::kF32, {16, 8})}};
  EXPECT_EQ(ByLibrary(graph, feeds), kMatMul);
  ExpectComputeType(69);
  EXPECT_EQ(ByLibrary(graph, feeds, MatmulPrecision::kTf32), kMatMul);
  ExpectComputeType(77);
}

// Values that a library's tf32, or sums of 16 bits, would round.
TEST_F(LibrariesTest, SumsAndFactorsKeepAllBits) {
  const auto bytes_of = [](DataType dtype, const std::vector<int64_t>& shape, float value) {
    HostTensor tensor = HostTensor::Create(dtype, shape).value();
    WithType(dtype, [&](auto type) {
      using T = decltype(type);
      for (T& element : tensor.mutable_values<T>()) element = static_cast<T>(value);
    });
    return tensor;
  };
  const auto products = [&](DataType dtype, int64_t depth, float left) {
    Graph graph("product");
    Tensor a = graph.Input("a", dtype, {8, depth}), b = graph.Input("b", dtype, {depth, 8});
    graph.AddSignature("f", {{"y", MatMul(a, b)}});
    return ByLibrary(
        graph, {{"a", bytes_of(dtype, {8, depth}, left)}, {"b", bytes_of(dtype, {depth, 8}, 1)}});
  };
  EXPECT_EQ(products(DataType::kF32, 8, 1 + 0x1p-14f), kMatMul);
  // In f16 the sums from 256 on would lose the last bit of what is added; in bf16 they end at 256.
  EXPECT_EQ(products(DataType::kF16, 512, 1 + 0x1p-10f), kMatMul);
  EXPECT_EQ(products(DataType::kBF16, 512, 1), kMatMul);
}

// A factor is one, which f32 has, and none is 0.
TEST_F(LibrariesTest, FactorsThatALibraryTakesOtherwiseAreTheKernels) {
  const Product p = {{5, 8}, {8, 6}};
  const auto times = [&](std::vector<double> factors, DataType dtype) {
    return ByLibrary(p, dtype, [=](Graph&, Tensor y) {
      for (const double factor : factors) y = y * factor;
      return y;
    });
  };
  const std::vector<std::string> scaled = {"fusion(matmul, mul)"};
  EXPECT_EQ(times({0.125}, DataType::kF32), scaled);
  EXPECT_EQ(times({0x1p-20}, DataType::kF64), scaled);
  EXPECT_EQ(times({0.1}, DataType::kF64), kNone);
  EXPECT_EQ(times({0}, DataType::kF32), kNone);
}

TEST_F(LibrariesTest, OpenSizesAreAskedForWhenTheyAreKnown) {
  Graph graph("product");
  Tensor a = graph.Input("a", DataType::kF32, {"rows", 8}),
         b = graph.Input("b", DataType::kF32, {8, 6});
  graph.AddSignature("f", {{"y", MatMul(a, b)}});
  for (const int64_t rows : {1, 40, 7}) {
    EXPECT_EQ(ByLibrary(graph, {{"a", Numbers(DataType::kF32, {rows, 8})},
                                {"b", Numbers(DataType::kF32, {8, 6})}}),
              kMatMul);
  }
}

TEST_F(LibrariesTest, OpenImagesAreAskedForWhenTheyAreKnown) {
  Graph graph("convolutions");
  Tensor x = graph.Input("x", DataType::kF32, {"images", 7, 6, 8}),
         w = graph.Input("w", DataType::kF32, {3, 3, 8, 4});
  graph.AddSignature("f", {{"y", Conv2D(x, w, {1, 1}, {0, 0, 0, 0}, {1, 1})}});
  ASSERT_TRUE(graph.status().ok()) << graph.status();
  for (const std::vector<int64_t>& image :
       std::vector<std::vector<int64_t>>{{1, 7, 6, 8}, {3, 7, 6, 8}}) {
    ExpectConvolutions(ByLibrary(graph, {{"x", Numbers(DataType::kF32, image)},
                                         {"w", Numbers(DataType::kF32, {3, 3, 8, 4})}}),
                       1);
  }
}

// Each of two devices of a plan that are one GPU has its own.
TEST_F(LibrariesTest, NodesOnTheSameGpuByAnotherName) {
  Graph graph("products");
  Tensor a = graph.Input("a", DataType::kF32, {5, 8}), b = graph.Input("b", DataType::kF32, {8, 6}),
         c = graph.Input("c", DataType::kF32, {6, 3});
  Tensor there = MatMul(a, b);
  Tensor here;
  {
    auto scope = graph.WithDevice("cuda:0");
    here = MatMul(there, c);
  }
  graph.AddSignature("f", {{"y", here}});
  const NamedTensors feeds = {{"a", Numbers(DataType::kF32, {5, 8})},
                              {"b", Numbers(DataType::kF32, {8, 6})},
                              {"c", Numbers(DataType::kF32, {6, 3})}};
  CompileOptions options;
  options.targets = {"cuda:sm_80"};
  const std::string package = CompilePackage(graph, options).value();
  const auto open = [&](std::shared_ptr<Device> device) {
    return Session::FromPackage(package,
                                {.threads = 1,
                                 .device = device,
                                 .find_device = [device](const std::string&) { return device; }})
        .value();
  };
  const auto expected = open(MakeDevice("emulator:sm_80", 1).value())->Run("f", feeds);
  ASSERT_TRUE(expected.ok()) << expected.status();
  const auto session = open(device_);
  ASSERT_TRUE(session->Run("f", feeds).ok());
  const int64_t calls = cuda::CountInFakeCublasLt().calls;
  const auto got = session->Run("f", feeds);
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ(got->at("y").ToString(20), expected->at("y").ToString(20));
  if (RealDevice() == nullptr) EXPECT_EQ(cuda::CountInFakeCublasLt().calls - calls, 2);
}

}  // namespace
}  // namespace weft
