#include "runtime/cuda/testing/fake_cudnn.h"

#include <algorithm>
#include <array>
#include <mutex>
#include <thread>
#include <utility>

#include "runtime/cuda/cudnn_api.h"
#include "runtime/cuda/testing/fake_library.h"

namespace weft::cuda {

// In the library's order of dimensions: images or filters, channels, height, width.
struct CudnnTensor {
  cudnnDataType_t type = CUDNN_DATA_FLOAT;
  std::array<int64_t, 4> size = {}, stride = {};
};

struct CudnnFilter : CudnnTensor {};

struct CudnnConvolution {
  // Along the height, and along the width.
  std::array<int64_t, 2> padding = {}, stride = {}, dilation = {};
  cudnnDataType_t sums = CUDNN_DATA_FLOAT;
  cudnnMathType_t math = CUDNN_DEFAULT_MATH;
  int64_t groups = 1;
};

struct CudnnContext {
  CUstream stream = nullptr;
  std::thread::id thread;  // that set it: others may set another in between
};

namespace {

constexpr auto kBadParam = static_cast<cudnnStatus_t>(2000);
constexpr auto kNotSupported = static_cast<cudnnStatus_t>(3000);
constexpr auto kExecutionFailed = static_cast<cudnnStatus_t>(5000);
constexpr auto kSuccess = CUDNN_STATUS_SUCCESS;

using Algorithm = FakeCudnnOptions::Algorithm;
using Lock = std::lock_guard<std::mutex>;

struct State {
  std::mutex mutex;
  FakeCudnnOptions options;
  FakeCudnnCounts counts = {};
};

State& Get() {
  static State& state = *new State;
  return state;
}

DataType TypeOf(cudnnDataType_t type) {
  return type == CUDNN_DATA_HALF       ? DataType::kF16
         : type == CUDNN_DATA_BFLOAT16 ? DataType::kBF16
                                       : DataType::kF32;
}

int64_t At(const CudnnTensor& tensor, int64_t n, int64_t c, int64_t h, int64_t w) {
  return n * tensor.stride[0] + c * tensor.stride[1] + h * tensor.stride[2] + w * tensor.stride[3];
}

// Elements from the first to the last.
int64_t Elements(const CudnnTensor& t) {
  return At(t, t.size[0] - 1, t.size[1] - 1, t.size[2] - 1, t.size[3] - 1) + 1;
}

FakeElements ElementsOf(const CudnnTensor& tensor, const void* pointer) {
  return FakeElements(TypeOf(tensor.type), AddressOfPointer(pointer), Elements(tensor));
}

// Of what a convolution is of, whichever of the three is its result.
struct Geometry {
  CudnnTensor x, y;
  CudnnFilter w;
  CudnnConvolution c;

  // What no convolution of any library is.
  bool Fits() const {
    for (const CudnnTensor* each : {&x, &y, static_cast<const CudnnTensor*>(&w)}) {
      if (each->type != x.type || *std::min_element(each->size.begin(), each->size.end()) <= 0) {
        return false;
      }
    }
    for (size_t i = 0; i < 2; ++i) {
      const int64_t reach = c.dilation[i] * (w.size[i + 2] - 1) + 1;
      const int64_t room = x.size[i + 2] + 2 * c.padding[i] - reach;
      if (room < 0 || room / c.stride[i] + 1 != y.size[i + 2]) return false;
    }
    return x.size[0] == y.size[0] && w.size[0] == y.size[1] && w.size[0] % c.groups == 0 &&
           w.size[1] * c.groups == x.size[1] && c.sums == CUDNN_DATA_FLOAT;
  }

  // Calls `add` with the places of each product: in x, w and y.
  template <typename Add>
  void ForEachProduct(Add add) const {
    const int64_t outs = w.size[0] / c.groups;
    for (int64_t n = 0; n < y.size[0]; ++n) {
      for (int64_t k = 0; k < w.size[0]; ++k) {
        for (int64_t p = 0; p < y.size[2]; ++p) {
          for (int64_t q = 0; q < y.size[3]; ++q) {
            for (int64_t channel = 0; channel < w.size[1]; ++channel) {
              for (int64_t r = 0; r < w.size[2]; ++r) {
                for (int64_t s = 0; s < w.size[3]; ++s) {
                  const int64_t h = p * c.stride[0] + r * c.dilation[0] - c.padding[0],
                                v = q * c.stride[1] + s * c.dilation[1] - c.padding[1];
                  if (h < 0 || h >= x.size[2] || v < 0 || v >= x.size[3]) continue;
                  add(At(x, n, k / outs * w.size[1] + channel, h, v), At(w, k, channel, r, s),
                      At(y, n, k, p, q));
                }
              }
            }
          }
        }
      }
    }
  }
};

// Adds up products of the elements of two operands into a third. `elements` are those of x, w, y.
absl::Status Compute(const Geometry& g, std::array<FakeElements, 3> elements, size_t result,
                     ptx::Emulator& emulator) {
  for (FakeElements& each : elements) {
    if (absl::Status status = each.Read(emulator); !status.ok()) return status;
  }
  const CudnnTensor* const tensors[] = {&g.x, &g.w, &g.y};
  std::vector<double> sums(static_cast<size_t>(Elements(*tensors[result])));
  const size_t a = result == 0 ? 1 : 0, b = result == 2 ? 1 : 2;
  g.ForEachProduct([&](int64_t x, int64_t w, int64_t y) {
    const int64_t places[] = {x, w, y};
    sums[static_cast<size_t>(places[result])] +=
        elements[a].Get(places[a]) * elements[b].Get(places[b]);
  });
  for (size_t i = 0; i < sums.size(); ++i) {
    elements[result].Set(static_cast<int64_t>(i), sums[i]);
  }
  return elements[result].Write(emulator);
}

template <typename Handle>
cudnnStatus_t Make(Handle* handle) {
  const Lock lock(Get().mutex);
  *handle = new std::remove_pointer_t<Handle>;
  ++Get().counts.descriptions;
  return kSuccess;
}

template <typename Handle>
cudnnStatus_t Destroy(Handle handle) {
  const Lock lock(Get().mutex);
  delete handle;
  --Get().counts.descriptions;
  return kSuccess;
}

size_t cudnnGetVersion() {
  const Lock lock(Get().mutex);
  return Get().options.version;
}

const char* cudnnGetErrorString(cudnnStatus_t status) {
  switch (static_cast<int>(status)) {
    case 0:
      return "CUDNN_STATUS_SUCCESS";
    case 1001:
      return "CUDNN_STATUS_NOT_INITIALIZED";
    case 2000:
      return "CUDNN_STATUS_BAD_PARAM";
    case 3000:
      return "CUDNN_STATUS_NOT_SUPPORTED";
    case 5000:
      return "CUDNN_STATUS_EXECUTION_FAILED";
    default:
      return "CUDNN_UNKNOWN_STATUS";
  }
}

cudnnStatus_t cudnnCreate(cudnnHandle_t* handle) {
  if (LibraryIsReady() != CUDA_SUCCESS) return static_cast<cudnnStatus_t>(1001);
  const Lock lock(Get().mutex);
  if (Get().options.create_result != 0 && Get().options.refusals-- > 0) {
    return static_cast<cudnnStatus_t>(Get().options.create_result);
  }
  ++Get().counts.handles;
  *handle = new CudnnContext;
  return kSuccess;
}

cudnnStatus_t cudnnDestroy(cudnnHandle_t handle) {
  const Lock lock(Get().mutex);
  delete handle;
  --Get().counts.handles;
  return kSuccess;
}

cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, CUstream stream) {
  const Lock lock(Get().mutex);
  handle->stream = stream;
  handle->thread = std::this_thread::get_id();
  return kSuccess;
}

cudnnStatus_t cudnnCreateTensorDescriptor(cudnnTensorDescriptor_t* tensor) { return Make(tensor); }
cudnnStatus_t cudnnDestroyTensorDescriptor(cudnnTensorDescriptor_t tensor) {
  return Destroy(tensor);
}

cudnnStatus_t cudnnSetTensor4dDescriptorEx(cudnnTensorDescriptor_t tensor, cudnnDataType_t type,
                                           int n, int c, int h, int w, int n_stride, int c_stride,
                                           int h_stride, int w_stride) {
  *tensor = {type, {n, c, h, w}, {n_stride, c_stride, h_stride, w_stride}};
  return kSuccess;
}

cudnnStatus_t cudnnCreateFilterDescriptor(cudnnFilterDescriptor_t* filter) { return Make(filter); }
cudnnStatus_t cudnnDestroyFilterDescriptor(cudnnFilterDescriptor_t filter) {
  return Destroy(filter);
}

cudnnStatus_t cudnnSetFilter4dDescriptor(cudnnFilterDescriptor_t filter, cudnnDataType_t type,
                                         cudnnTensorFormat_t format, int k, int c, int h, int w) {
  if (format != CUDNN_TENSOR_NHWC) return kNotSupported;
  const int64_t channels = c, pixels = int64_t{h} * w;
  *filter = {{type, {k, c, h, w}, {pixels * channels, 1, w * channels, channels}}};
  return kSuccess;
}

cudnnStatus_t cudnnCreateConvolutionDescriptor(cudnnConvolutionDescriptor_t* convolution) {
  return Make(convolution);
}
cudnnStatus_t cudnnDestroyConvolutionDescriptor(cudnnConvolutionDescriptor_t convolution) {
  return Destroy(convolution);
}

cudnnStatus_t cudnnSetConvolution2dDescriptor(cudnnConvolutionDescriptor_t convolution, int pad_h,
                                              int pad_w, int stride_h, int stride_w, int dilation_h,
                                              int dilation_w, cudnnConvolutionMode_t mode,
                                              cudnnDataType_t sums) {
  if (mode != CUDNN_CROSS_CORRELATION || std::min({pad_h, pad_w}) < 0 ||
      std::min({stride_h, stride_w, dilation_h, dilation_w}) < 1) {
    return kBadParam;
  }
  convolution->padding = {pad_h, pad_w};
  convolution->stride = {stride_h, stride_w};
  convolution->dilation = {dilation_h, dilation_w};
  convolution->sums = sums;
  return kSuccess;
}

cudnnStatus_t cudnnSetConvolutionMathType(cudnnConvolutionDescriptor_t convolution,
                                          cudnnMathType_t math) {
  convolution->math = math;
  return kSuccess;
}

cudnnStatus_t cudnnSetConvolutionGroupCount(cudnnConvolutionDescriptor_t convolution, int groups) {
  convolution->groups = groups;
  return groups < 1 ? kBadParam : kSuccess;
}

cudnnStatus_t Answer(const Geometry& g, int requested, int* returned,
                     cudnnConvolutionAlgoPerf_t* results) {
  const Lock lock(Get().mutex);
  ++Get().counts.questions;
  *returned = 0;
  if (Get().options.heuristic_result != 0) {
    return static_cast<cudnnStatus_t>(Get().options.heuristic_result);
  }
  if (!g.Fits()) return kBadParam;
  for (const Algorithm& algorithm : Get().options.algorithms) {
    if (*returned == requested) break;
    cudnnConvolutionAlgoPerf_t& result = results[(*returned)++];
    result = {};
    result.algo = algorithm.id;
    result.status = static_cast<cudnnStatus_t>(algorithm.status);
    result.memory = algorithm.workspace_bytes;
    result.determinism = static_cast<cudnnDeterminism_t>(algorithm.deterministic);
    result.mathType = static_cast<cudnnMathType_t>(algorithm.math);
  }
  return kSuccess;
}

// The one of that number, and of that math where there are several. Null where there is none.
const Algorithm* AlgorithmOf(int id, cudnnMathType_t math) {
  const Algorithm* found = nullptr;
  for (const Algorithm& algorithm : Get().options.algorithms) {
    if (algorithm.id != id) continue;
    if (found == nullptr || (found->math != math && algorithm.math == math)) found = &algorithm;
  }
  return found;
}

cudnnStatus_t WorkspaceSize(const CudnnConvolution& convolution, int id, size_t* bytes) {
  const Lock lock(Get().mutex);
  const Algorithm* algorithm = AlgorithmOf(id, convolution.math);
  if (algorithm == nullptr) return kBadParam;
  *bytes = algorithm->workspace_bytes;
  return kSuccess;
}

// Gives the convolution, whose result is that of x, w and y, to the handle's stream.
cudnnStatus_t Start(cudnnHandle_t handle, const Geometry& g, const void* alpha, const void* beta,
                    const std::array<const void*, 3>& operands, size_t result, int id,
                    void* workspace, size_t workspace_bytes) {
  const Lock lock(Get().mutex);
  FakeCudnnCounts& counts = Get().counts;
  if (Get().options.fail_convolution > 0 && --Get().options.fail_convolution == 0) {
    return kExecutionFailed;
  }
  const Algorithm* algorithm = AlgorithmOf(id, g.c.math);
  if (algorithm != nullptr && algorithm->refuses != 0) {
    return static_cast<cudnnStatus_t>(algorithm->refuses);
  }
  if (handle->thread != std::this_thread::get_id()) return kBadParam;
  if (algorithm == nullptr || !g.Fits() || workspace_bytes < algorithm->workspace_bytes ||
      AddressOfPointer(workspace) % 256 != 0 || *static_cast<const float*>(alpha) != 1 ||
      *static_cast<const float*>(beta) != 0) {
    return kBadParam;
  }
  std::vector<uint64_t> addresses = {AddressOfPointer(workspace)};
  for (const void* operand : operands) addresses.push_back(AddressOfPointer(operand));
  FakeWork work =
      LibraryWork(addresses, algorithm->microseconds, addresses[0], algorithm->workspace_bytes,
                  [g, operands, result](ptx::Emulator& emulator) {
                    return Compute(g,
                                   {ElementsOf(g.x, operands[0]), ElementsOf(g.w, operands[1]),
                                    ElementsOf(g.y, operands[2])},
                                   result, emulator);
                  });
  if (AddLibraryWork(handle->stream, std::move(work)) != CUDA_SUCCESS) return kExecutionFailed;
  ++(result == 1 ? counts.gradients : counts.convolutions);
  counts.math = g.c.math;
  counts.groups += g.c.groups > 1;
  counts.padded += g.c.padding[0] + g.c.padding[1] > 0;
  counts.dilated += g.c.dilation[0] * g.c.dilation[1] > 1;
  return kSuccess;
}

cudnnStatus_t cudnnGetConvolutionForwardAlgorithm_v7(cudnnHandle_t, cudnnTensorDescriptor_t x,
                                                     cudnnFilterDescriptor_t w,
                                                     cudnnConvolutionDescriptor_t convolution,
                                                     cudnnTensorDescriptor_t y, int requested,
                                                     int* returned,
                                                     cudnnConvolutionAlgoPerf_t* results) {
  return Answer({*x, *y, *w, *convolution}, requested, returned, results);
}

cudnnStatus_t cudnnGetConvolutionForwardWorkspaceSize(cudnnHandle_t, cudnnTensorDescriptor_t,
                                                      cudnnFilterDescriptor_t,
                                                      cudnnConvolutionDescriptor_t convolution,
                                                      cudnnTensorDescriptor_t,
                                                      cudnnConvolutionFwdAlgo_t algo,
                                                      size_t* bytes) {
  return WorkspaceSize(*convolution, algo, bytes);
}

cudnnStatus_t cudnnConvolutionForward(cudnnHandle_t handle, const void* alpha,
                                      cudnnTensorDescriptor_t x_desc, const void* x,
                                      cudnnFilterDescriptor_t w_desc, const void* w,
                                      cudnnConvolutionDescriptor_t convolution,
                                      cudnnConvolutionFwdAlgo_t algo, void* workspace,
                                      size_t workspace_bytes, const void* beta,
                                      cudnnTensorDescriptor_t y_desc, void* y) {
  return Start(handle, {*x_desc, *y_desc, *w_desc, *convolution}, alpha, beta, {x, w, y}, 2, algo,
               workspace, workspace_bytes);
}

cudnnStatus_t cudnnGetConvolutionBackwardFilterAlgorithm_v7(
    cudnnHandle_t, cudnnTensorDescriptor_t x, cudnnTensorDescriptor_t dy,
    cudnnConvolutionDescriptor_t convolution, cudnnFilterDescriptor_t dw, int requested,
    int* returned, cudnnConvolutionAlgoPerf_t* results) {
  return Answer({*x, *dy, *dw, *convolution}, requested, returned, results);
}

cudnnStatus_t cudnnGetConvolutionBackwardFilterWorkspaceSize(
    cudnnHandle_t, cudnnTensorDescriptor_t, cudnnTensorDescriptor_t,
    cudnnConvolutionDescriptor_t convolution, cudnnFilterDescriptor_t,
    cudnnConvolutionBwdFilterAlgo_t algo, size_t* bytes) {
  return WorkspaceSize(*convolution, algo, bytes);
}

cudnnStatus_t cudnnConvolutionBackwardFilter(cudnnHandle_t handle, const void* alpha,
                                             cudnnTensorDescriptor_t x_desc, const void* x,
                                             cudnnTensorDescriptor_t dy_desc, const void* dy,
                                             cudnnConvolutionDescriptor_t convolution,
                                             cudnnConvolutionBwdFilterAlgo_t algo, void* workspace,
                                             size_t workspace_bytes, const void* beta,
                                             cudnnFilterDescriptor_t dw_desc, void* dw) {
  return Start(handle, {*x_desc, *dy_desc, *dw_desc, *convolution}, alpha, beta, {x, dw, dy}, 1,
               algo, workspace, workspace_bytes);
}

cudnnStatus_t cudnnTransformTensor(cudnnHandle_t handle, const void* alpha,
                                   cudnnTensorDescriptor_t x_desc, const void* x, const void* beta,
                                   cudnnTensorDescriptor_t y_desc, void* y) {
  const Lock lock(Get().mutex);
  if (Get().options.transform_result != 0) {
    return static_cast<cudnnStatus_t>(Get().options.transform_result);
  }
  if (handle->thread != std::this_thread::get_id() || x_desc->size != y_desc->size ||
      x_desc->type != y_desc->type || *static_cast<const float*>(alpha) != 1 ||
      *static_cast<const float*>(beta) != 0) {
    return kBadParam;
  }
  FakeWork work =
      LibraryWork({AddressOfPointer(x), AddressOfPointer(y)}, 0, 0, 0,
                  [from = *x_desc, to = *y_desc, x, y](ptx::Emulator& emulator) {
                    FakeElements read = ElementsOf(from, x), written = ElementsOf(to, y);
                    if (absl::Status status = read.Read(emulator); !status.ok()) return status;
                    const auto& size = from.size;
                    for (int64_t n = 0; n < size[0]; ++n) {
                      for (int64_t c = 0; c < size[1]; ++c) {
                        for (int64_t h = 0; h < size[2]; ++h) {
                          for (int64_t w = 0; w < size[3]; ++w) {
                            written.Set(At(to, n, c, h, w), read.Get(At(from, n, c, h, w)));
                          }
                        }
                      }
                    }
                    return written.Write(emulator);
                  });
  if (AddLibraryWork(handle->stream, std::move(work)) != CUDA_SUCCESS) return kExecutionFailed;
  ++Get().counts.transforms;
  return kSuccess;
}

}  // namespace

void InstallFakeCudnn(const std::string& library) {
  CudnnApi api;
#define WEFT_SET(result, symbol, parameters) api.symbol = symbol;
  WEFT_CUDNN_FUNCTIONS(WEFT_SET)
#undef WEFT_SET
  InstallFakeLibrary(library, &api);
}

void ConfigureFakeCudnn(const FakeCudnnOptions& options) {
  const Lock lock(Get().mutex);
  Get().options = options;
  const FakeCudnnCounts left = Get().counts;
  Get().counts = {};
  Get().counts.handles = left.handles;
  Get().counts.descriptions = left.descriptions;
}

FakeCudnnCounts CountInFakeCudnn() {
  const Lock lock(Get().mutex);
  return Get().counts;
}

}  // namespace weft::cuda
