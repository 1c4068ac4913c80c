#include "runtime/cuda/cudnn.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "runtime/cuda/shared_library.h"

namespace weft::cuda {
namespace {

using C = LaunchContraction;

// Version 8 counts 8.9.7 as 8907, and 9 9.1.2 as 90102.
std::string LibraryVersionText(size_t version) {
  const size_t major = version < 10000 ? 1000 : 10000;
  return absl::StrCat(version / major, ".", version % major / 100, ".", version % 100);
}

#define WEFT_CUDNN_NAME(result, symbol, parameters) #symbol,
constexpr const char* kFunctions[] = {WEFT_CUDNN_FUNCTIONS(WEFT_CUDNN_NAME)};
#undef WEFT_CUDNN_NAME
static_assert(sizeof(CudnnApi) == sizeof kFunctions);

// libcudnn itself has none of what it does, and ends the process where it does not find it.
std::vector<std::string> PartsOf(const std::string& file) {
  std::vector<std::string> parts;
  if (absl::EndsWith(file, ".so.8")) {
    parts = {"ops_infer", "ops_train", "cnn_infer", "cnn_train"};
  } else {
    parts = {"graph", "ops", "cnn", "heuristic", "engines_precompiled", "engines_runtime_compiled"};
  }
  for (std::string& part : parts) {
    part = absl::StrCat("libcudnn_", part, absl::EndsWith(file, ".so.8") ? ".so.8" : ".so.9");
  }
  return parts;
}

constexpr SharedLibrary kCudnn = {.name = "cuDNN",
                                  .versions = "8 or 9",
                                  .first_version = 8000,
                                  .end_of_versions = 100000,
                                  .version_text = LibraryVersionText,
                                  .get_version = "cudnnGetVersion",
                                  .advice = "install one for the driver's CUDA",
                                  .functions = kFunctions,
                                  .parts = PartsOf};

// Of what cudnnCreate says: CUDNN_STATUS_ALLOC_FAILED of version 8, and of 9
// CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED and .._DEVICE_ALLOCATION_FAILED.
bool IsForWantOfMemory(size_t version, cudnnStatus_t status) {
  return version < 10000 ? status == 2 : status == 4003 || status == 4004;
}

// Of the library's kernels, which read as much at a time and do not say so.
constexpr uint32_t kAlignment = 16;
// Of the algorithm's part of a workspace.
constexpr size_t kPartAlignment = 256;
// There are fewer.
constexpr int kAllAlgorithms = 16;
// Blending, in the type of sums: nothing is left of what the result was.
constexpr float kOne = 1, kZero = 0;

cudnnDataType_t CudnnType(DataType dtype) {
  return dtype == DataType::kF16    ? CUDNN_DATA_HALF
         : dtype == DataType::kBF16 ? CUDNN_DATA_BFLOAT16
                                    : CUDNN_DATA_FLOAT;
}

bool IsStrict(const C& contraction) {
  return contraction.dtype == DataType::kF32 && !contraction.tf32;
}

// All that is allowed, for the library to choose from.
cudnnMathType_t MathAllowed(const C& contraction) {
  if (IsStrict(contraction)) return CUDNN_FMA_MATH;
  return contraction.dtype == DataType::kF32 ? CUDNN_DEFAULT_MATH : CUDNN_TENSOR_OP_MATH;
}

// Nothing where the library would compute in another way than allowed.
std::optional<cudnnMathType_t> MathOf(const C& contraction, cudnnMathType_t chosen) {
  if (IsStrict(contraction)) return CUDNN_FMA_MATH;
  if (chosen == CUDNN_TENSOR_OP_MATH_ALLOW_CONVERSION) return std::nullopt;
  return chosen;
}

// Of the others, rounding depends on operands that are no part of a sum, and what is infinite
// spreads to results that do not see it.
bool IsSumOfProducts(C::Kind kind, int algorithm) {
  if (kind == C::kConvolution) {
    return algorithm >= CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM &&
           algorithm <= CUDNN_CONVOLUTION_FWD_ALGO_DIRECT;
  }
  return algorithm == CUDNN_CONVOLUTION_BWD_FILTER_ALGO_0 ||
         algorithm == CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1 ||
         algorithm == CUDNN_CONVOLUTION_BWD_FILTER_ALGO_3;
}

void* PointerOf(CUdeviceptr address) {
  return reinterpret_cast<void*>(static_cast<uintptr_t>(address));
}

// What describes a convolution to the library, which does not lack it.
class Description {
 public:
  Description(const CudnnApi& api, const ContractionAtSizes& at) : api_(api) {
    const C& contraction = at.contraction;
    for (size_t i = 0; i < C::kNumConvolutionSizes; ++i) n_[i] = static_cast<int>(at.sizes[i]);
    type_ = CudnnType(contraction.dtype);
    const int filters = n_[C::kFilters], channels = n_[C::kChannels] / n_[C::kGroups],
              height = n_[C::kFilterHeight], width = n_[C::kFilterWidth];
    filter_bytes_ = static_cast<size_t>(filters) * channels * height * width *
                    static_cast<size_t>(SizeOf(contraction.dtype));
    ok_ = AddImages(n_[C::kHeight], n_[C::kWidth], n_[C::kChannels], &images_) &&
          AddImages(n_[C::kOutHeight], n_[C::kOutWidth], filters, &out_) &&
          Is(api_.cudnnCreateFilterDescriptor(&filters_)) &&
          Is(api_.cudnnSetFilter4dDescriptor(filters_, type_, CUDNN_TENSOR_NHWC, filters, channels,
                                             height, width)) &&
          // The same elements as they lie with us, and as they lie there.
          AddTensor({filters, channels, height, width},
                    {1, filters, width * channels * filters, channels * filters}, &ours_) &&
          AddTensor({filters, channels, height, width},
                    {height * width * channels, 1, width * channels, channels}, &theirs_) &&
          Is(api_.cudnnCreateConvolutionDescriptor(&convolution_)) &&
          Is(api_.cudnnSetConvolution2dDescriptor(
              convolution_, n_[C::kPaddingAbove], n_[C::kPaddingLeft], n_[C::kStrideDown],
              n_[C::kStrideAcross], n_[C::kDilationDown], n_[C::kDilationAcross],
              CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT)) &&
          Is(api_.cudnnSetConvolutionGroupCount(convolution_, n_[C::kGroups])) &&
          SetMath(MathAllowed(contraction));
  }
  ~Description() {
    for (const cudnnTensorDescriptor_t tensor : {images_, out_, ours_, theirs_}) {
      if (tensor != nullptr) (void)api_.cudnnDestroyTensorDescriptor(tensor);
    }
    if (filters_ != nullptr) (void)api_.cudnnDestroyFilterDescriptor(filters_);
    if (convolution_ != nullptr) (void)api_.cudnnDestroyConvolutionDescriptor(convolution_);
  }
  Description(const Description&) = delete;
  Description& operator=(const Description&) = delete;

  // Else the library has no such convolution.
  bool ok() const { return ok_; }
  bool SetMath(cudnnMathType_t math) const {
    return Is(api_.cudnnSetConvolutionMathType(convolution_, math));
  }
  cudnnTensorDescriptor_t images() const { return images_; }
  cudnnTensorDescriptor_t out() const { return out_; }
  cudnnFilterDescriptor_t filters() const { return filters_; }
  cudnnConvolutionDescriptor_t convolution() const { return convolution_; }
  // Filters as tensors, for turning them.
  cudnnTensorDescriptor_t ours() const { return ours_; }
  cudnnTensorDescriptor_t theirs() const { return theirs_; }
  // Of a workspace, before what is the algorithm's.
  size_t filter_part_bytes() const {
    return (filter_bytes_ + kPartAlignment - 1) / kPartAlignment * kPartAlignment;
  }

 private:
  static bool Is(cudnnStatus_t status) { return status == CUDNN_STATUS_SUCCESS; }

  // In the library's order of dimensions, whatever the layout.
  bool AddTensor(const std::array<int, 4>& size, const std::array<int, 4>& stride,
                 cudnnTensorDescriptor_t* tensor) {
    return Is(api_.cudnnCreateTensorDescriptor(tensor)) &&
           Is(api_.cudnnSetTensor4dDescriptorEx(*tensor, type_, size[0], size[1], size[2], size[3],
                                                stride[0], stride[1], stride[2], stride[3]));
  }
  bool AddImages(int height, int width, int channels, cudnnTensorDescriptor_t* tensor) {
    return AddTensor({n_[C::kImages], channels, height, width},
                     {height * width * channels, 1, width * channels, channels}, tensor);
  }

  const CudnnApi& api_;
  std::array<int, C::kNumConvolutionSizes> n_;
  cudnnDataType_t type_ = CUDNN_DATA_FLOAT;
  size_t filter_bytes_ = 0;
  bool ok_ = false;
  cudnnTensorDescriptor_t images_ = nullptr, out_ = nullptr, ours_ = nullptr, theirs_ = nullptr;
  cudnnFilterDescriptor_t filters_ = nullptr;
  cudnnConvolutionDescriptor_t convolution_ = nullptr;
};

// What an algorithm is told from others by.
enum Word : size_t { kAlgorithm, kMath };

// The library's handle has a stream, and streams and workspaces of its own, which what is captured
// keeps.
class CudnnHandle final : public LibraryHandle {
 public:
  CudnnHandle(std::shared_ptr<Context> context, const CudnnApi& functions)
      : api(functions), context_(std::move(context)) {
    if (api.cudnnCreate(&handle) != CUDNN_STATUS_SUCCESS) handle = nullptr;
  }
  ~CudnnHandle() override {
    const Context::Current current(*context_);
    if (!current.ok() || handle == nullptr) return;
    context_->ReleaseLater([destroy = api.cudnnDestroy, released = handle](const DriverApi&) {
      (void)destroy(released);
    });
  }

  const CudnnApi api;
  cudnnHandle_t handle = nullptr;

 private:
  const std::shared_ptr<Context> context_;
};

class CudnnCall final : public LibraryCall {
 public:
  CudnnCall(CudnnHandle& handle, const ContractionAtSizes& at, const LibraryAlgorithm& algorithm,
            const CUdeviceptr* workspace)
      : handle_(handle),
        kind_(at.contraction.kind),
        left_(at.contraction.left),
        right_(at.contraction.right),
        result_(at.num_buffers - 1),
        algorithm_(static_cast<int>(algorithm.words[kAlgorithm])),
        workspace_bytes_(algorithm.workspace_bytes),
        workspace_(workspace),
        description_(handle.api, at),
        ok_(description_.ok() &&
            description_.SetMath(static_cast<cudnnMathType_t>(algorithm.words[kMath]))) {}

  bool ok() const { return ok_; }

  // One turns the filters, and what libraries have takes a few; nothing states how many.
  int starts() const override { return 4; }
  const char* Start(CUstream stream, const CUdeviceptr* buffers) const override {
    cudnnStatus_t status = handle_.api.cudnnSetStream(handle_.handle, stream);
    if (status == CUDNN_STATUS_SUCCESS) {
      status = kind_ == C::kConvolution ? Convolve(buffers) : AddUpGradient(buffers);
    }
    return status == CUDNN_STATUS_SUCCESS ? nullptr : handle_.api.cudnnGetErrorString(status);
  }

 private:
  cudnnStatus_t Convolve(const CUdeviceptr* buffers) const {
    const CudnnApi& api = handle_.api;
    const cudnnStatus_t turned = api.cudnnTransformTensor(
        handle_.handle, &kOne, description_.ours(), PointerOf(buffers[right_]), &kZero,
        description_.theirs(), filters());
    if (turned != CUDNN_STATUS_SUCCESS) return turned;
    return api.cudnnConvolutionForward(
        handle_.handle, &kOne, description_.images(), PointerOf(buffers[left_]),
        description_.filters(), filters(), description_.convolution(),
        static_cast<cudnnConvolutionFwdAlgo_t>(algorithm_), rest(), rest_bytes(), &kZero,
        description_.out(), PointerOf(buffers[result_]));
  }

  cudnnStatus_t AddUpGradient(const CUdeviceptr* buffers) const {
    const CudnnApi& api = handle_.api;
    const cudnnStatus_t computed = api.cudnnConvolutionBackwardFilter(
        handle_.handle, &kOne, description_.images(), PointerOf(buffers[left_]), description_.out(),
        PointerOf(buffers[right_]), description_.convolution(),
        static_cast<cudnnConvolutionBwdFilterAlgo_t>(algorithm_), rest(), rest_bytes(), &kZero,
        description_.filters(), filters());
    if (computed != CUDNN_STATUS_SUCCESS) return computed;
    return api.cudnnTransformTensor(handle_.handle, &kOne, description_.theirs(), filters(), &kZero,
                                    description_.ours(), PointerOf(buffers[result_]));
  }

  // The parts of the workspace.
  void* filters() const { return PointerOf(*workspace_); }
  size_t rest_bytes() const { return workspace_bytes_ - description_.filter_part_bytes(); }
  void* rest() const {
    return rest_bytes() == 0 ? nullptr : PointerOf(*workspace_ + description_.filter_part_bytes());
  }

  CudnnHandle& handle_;
  const C::Kind kind_;
  const uint32_t left_, right_, result_;
  const int algorithm_;
  const size_t workspace_bytes_;
  const CUdeviceptr* const workspace_;
  const Description description_;
  const bool ok_;
};

}  // namespace

const char* CudnnLacks(const ContractionAtSizes& at) {
  const C& contraction = at.contraction;
  const ContractionSizes& n = at.sizes;
  if (contraction.dtype != DataType::kF32 && contraction.dtype != DataType::kF16 &&
      contraction.dtype != DataType::kBF16) {
    return "of that dtype";
  }
  // It pads both sides alike. That is the same where windows that would begin further on are none.
  if (WindowsAlong(n[C::kHeight], n[C::kPaddingAbove], n[C::kPaddingAbove], n[C::kFilterHeight],
                   n[C::kDilationDown], n[C::kStrideDown]) != n[C::kOutHeight] ||
      WindowsAlong(n[C::kWidth], n[C::kPaddingLeft], n[C::kPaddingLeft], n[C::kFilterWidth],
                   n[C::kDilationAcross], n[C::kStrideAcross]) != n[C::kOutWidth]) {
    return "for padding that differs from side to side";
  }
  // So are sums that it makes of what says where windows lie.
  const auto is_near = [&](C::ConvolutionSize size, C::ConvolutionSize padding,
                           C::ConvolutionSize filter, C::ConvolutionSize dilation) {
    return n[size] + 2 * n[padding] <= INT32_MAX &&
           static_cast<__int128>(n[dilation]) * n[filter] <= INT32_MAX;
  };
  if (!is_near(C::kHeight, C::kPaddingAbove, C::kFilterHeight, C::kDilationDown) ||
      !is_near(C::kWidth, C::kPaddingLeft, C::kFilterWidth, C::kDilationAcross)) {
    return "for windows that reach further than 2147483647 elements";
  }
  // Strides of its tensors are of 32 bits, and what lies further on is out of its reach.
  const auto reached = [&](int64_t a, int64_t b, int64_t c, int64_t d) {
    return static_cast<__int128>(a) * b * c * d <= INT32_MAX;
  };
  if (!reached(n[C::kImages], n[C::kHeight], n[C::kWidth], n[C::kChannels]) ||
      !reached(n[C::kImages], n[C::kOutHeight], n[C::kOutWidth], n[C::kFilters]) ||
      !reached(n[C::kFilterHeight], n[C::kFilterWidth], n[C::kChannels] / n[C::kGroups],
               n[C::kFilters])) {
    return "for tensors of more than 2147483647 elements";
  }
  if (std::min({at.left_alignment, at.right_alignment, at.result_alignment}) < kAlignment) {
    return "for operands that do not begin at multiples of 16 bytes";
  }
  return nullptr;
}

absl::StatusOr<std::unique_ptr<Cudnn>> Cudnn::Make(std::shared_ptr<Context> context,
                                                   const std::vector<std::string>& libraries) {
  const Context::Current current(*context);
  if (!current.ok()) return current.status();
  std::unique_ptr<Cudnn> made;
  absl::Status status = BeginWithLibrary<CudnnApi>(kCudnn, libraries, [&](const CudnnApi& api) {
    std::unique_ptr<Cudnn> library(new Cudnn(context, api));
    const cudnnStatus_t created = api.cudnnCreate(&library->handle_);
    if (created == CUDNN_STATUS_SUCCESS) {
      made = std::move(library);
      return absl::OkStatus();
    }
    library->handle_ = nullptr;
    const size_t version = api.cudnnGetVersion();
    return NotBegun(*context, kCudnn, version, api.cudnnGetErrorString(created),
                    IsForWantOfMemory(version, created));
  });
  if (!status.ok()) return status;
  return made;
}

Cudnn::~Cudnn() {
  const Context::Current current(*context_);
  if (current.ok() && handle_ != nullptr) (void)api_.cudnnDestroy(handle_);
}

std::vector<LibraryAlgorithm> Cudnn::Algorithms(const ContractionAtSizes& at, int most,
                                                size_t max_workspace_bytes) const {
  std::vector<LibraryAlgorithm> algorithms;
  const Description d(api_, at);
  if (!d.ok() || d.filter_part_bytes() > max_workspace_bytes) return algorithms;
  const std::lock_guard<std::mutex> lock(mutex_);
  const bool forward = at.contraction.kind == C::kConvolution;
  cudnnConvolutionAlgoPerf_t results[kAllAlgorithms] = {};
  int returned = 0;
  const cudnnStatus_t asked = forward ? api_.cudnnGetConvolutionForwardAlgorithm_v7(
                                            handle_, d.images(), d.filters(), d.convolution(),
                                            d.out(), kAllAlgorithms, &returned, results)
                                      : api_.cudnnGetConvolutionBackwardFilterAlgorithm_v7(
                                            handle_, d.images(), d.out(), d.convolution(),
                                            d.filters(), kAllAlgorithms, &returned, results);
  if (asked != CUDNN_STATUS_SUCCESS) return algorithms;
  for (int i = 0; i < std::min(returned, kAllAlgorithms); ++i) {
    const cudnnConvolutionAlgoPerf_t& result = results[i];
    const std::optional<cudnnMathType_t> math = MathOf(at.contraction, result.mathType);
    if (result.status != CUDNN_STATUS_SUCCESS || result.determinism != CUDNN_DETERMINISTIC ||
        !IsSumOfProducts(at.contraction.kind, result.algo) || !math || !d.SetMath(*math)) {
      continue;
    }
    // Asked for anew: what is allowed may be less than what the answer was about.
    size_t bytes = 0;
    const cudnnStatus_t sized =
        forward ? api_.cudnnGetConvolutionForwardWorkspaceSize(
                      handle_, d.images(), d.filters(), d.convolution(), d.out(),
                      static_cast<cudnnConvolutionFwdAlgo_t>(result.algo), &bytes)
                : api_.cudnnGetConvolutionBackwardFilterWorkspaceSize(
                      handle_, d.images(), d.out(), d.convolution(), d.filters(),
                      static_cast<cudnnConvolutionBwdFilterAlgo_t>(result.algo), &bytes);
    if (sized != CUDNN_STATUS_SUCCESS || bytes > max_workspace_bytes - d.filter_part_bytes()) {
      continue;
    }
    LibraryAlgorithm algorithm;
    algorithm.words[kAlgorithm] = static_cast<uint64_t>(result.algo);
    algorithm.words[kMath] = static_cast<uint64_t>(*math);
    algorithm.id = result.algo;
    algorithm.workspace_bytes = d.filter_part_bytes() + bytes;
    // The same in other math is the same where that is not allowed.
    const bool known = std::any_of(algorithms.begin(), algorithms.end(),
                                   [&](const auto& each) { return each.words == algorithm.words; });
    if (!known) algorithms.push_back(algorithm);
    if (static_cast<int>(algorithms.size()) == most) break;
  }
  return algorithms;
}

std::unique_ptr<LibraryHandle> Cudnn::NewHandle() const {
  auto handle = std::make_unique<CudnnHandle>(context_, api_);
  if (handle->handle == nullptr) return nullptr;
  return handle;
}

std::unique_ptr<LibraryCall> Cudnn::CallOf(const ContractionAtSizes& at,
                                           const LibraryAlgorithm& algorithm,
                                           const CUdeviceptr* workspace,
                                           LibraryHandle& handle) const {
  auto call =
      std::make_unique<CudnnCall>(static_cast<CudnnHandle&>(handle), at, algorithm, workspace);
  if (!call->ok()) return nullptr;
  return call;
}

}  // namespace weft::cuda
