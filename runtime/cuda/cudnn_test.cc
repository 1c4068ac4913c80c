// Convolutions of a package by cuDNN.
#include "runtime/cuda/cudnn.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "runtime/cuda/testing/libraries_fixture.h"
#include "runtime/cuda/work.h"

namespace weft {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::HasSubstr;

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

TEST_F(LibrariesTest, CudnnHasToBeThereWhereItIsAskedFor) {
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
                AllOf(HasSubstr(text + " says CUDNN_STATUS_NOT_INITIALIZED"),
                      HasSubstr("CUDA 12.4"), HasSubstr("--gpu-libraries")));
  }
  // Not asked for by name, it is just not used.
  for (const char* library : {"libnowhere.so.7", cuda::kFakeCudnn}) {
    const auto without = with({library}, /*required=*/false);
    ASSERT_TRUE(without.ok()) << without.status();
    OpenOn(*without, Convolutions());
    EXPECT_THAT(*Convolve(), Each(7));
    EXPECT_EQ(Way(), "");
  }
  for (const auto& [version, status] :
       std::vector<std::pair<size_t, int>>{{8907, 2}, {90102, 4003}, {90102, 4004}}) {
    cuda::ConfigureFakeCudnn({.version = version, .create_result = status});
    EXPECT_EQ(with({cuda::kFakeCudnn}, /*required=*/false).status().code(),
              absl::StatusCode::kResourceExhausted)
        << status;
  }
  // The numbers of the one are something else of the other.
  for (const auto& [version, status] :
       std::vector<std::pair<size_t, int>>{{8907, 4003}, {90102, 2}}) {
    cuda::ConfigureFakeCudnn({.version = version, .create_result = status});
    EXPECT_TRUE(with({cuda::kFakeCudnn}, /*required=*/false).ok()) << status;
  }
  cuda::ConfigureFakeCudnn({.create_result = 1002, .refusals = 1});
  EXPECT_TRUE(with({again, cuda::kFakeCudnn}).ok());
}

// What is given to the GPU is counted as what it is there, which bounds how much waits in streams.
TEST_F(LibrariesTest, ACallCountsAsWhatItStarts) {
  struct Five final : cuda::LibraryCall {
    int starts() const override { return 5; }
    const char* Start(cuda::CUstream, const cuda::CUdeviceptr*) const override { return nullptr; }
  };
  const Five call;
  const WeftStep step = {};
  WeftLaunch launch = {};
  launch.step = &step;
  cuda::Work work;
  work.Call(call, launch);
  work.Call(call, launch);
  EXPECT_EQ(work.size(), 2);
  EXPECT_EQ(work.starts(), 10);
  work.Clear();
  EXPECT_EQ(work.starts(), 0);
}

}  // namespace
}  // namespace weft
