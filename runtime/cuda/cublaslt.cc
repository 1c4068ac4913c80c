#include "runtime/cuda/cublaslt.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/cuda/shared_library.h"

namespace weft::cuda {
namespace {

using P = LaunchContraction;

// 12.3.4 for 120304, as the library counts.
std::string LibraryVersionText(size_t version) {
  return absl::StrCat(version / 10000, ".", version / 100 % 100, ".", version % 100);
}

#define WEFT_CUBLASLT_NAME(result, symbol, parameters) #symbol,
constexpr const char* kFunctions[] = {WEFT_CUBLASLT_FUNCTIONS(WEFT_CUBLASLT_NAME)};
#undef WEFT_CUBLASLT_NAME
static_assert(sizeof(CublasLtApi) == sizeof kFunctions);

constexpr SharedLibrary kCublasLt = {.name = "cuBLASLt",
                                     .versions = "12 or 13",
                                     .first_version = 120000,
                                     .end_of_versions = 140000,
                                     .version_text = LibraryVersionText,
                                     .get_version = "cublasLtGetVersion",
                                     .advice = "install the one of the driver's CUDA",
                                     .functions = kFunctions};

cudaDataType_t CudaType(DataType dtype) {
  switch (dtype) {
    case DataType::kF64:
      return CUDA_R_64F;
    case DataType::kF16:
      return CUDA_R_16F;
    case DataType::kBF16:
      return CUDA_R_16BF;
    default:
      return CUDA_R_32F;
  }
}

// PEDANTIC: nothing but additions and multiplications in that type, whatever environment variables
// allow the library otherwise.
cublasComputeType_t ComputeType(const P& product) {
  switch (product.dtype) {
    case DataType::kF64:
      return CUBLAS_COMPUTE_64F_PEDANTIC;
    case DataType::kF32:
      return product.tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F_PEDANTIC;
    default:
      return CUBLAS_COMPUTE_32F;
  }
}

// A matrix in columns, as the library has them, or its transpose.
struct StoredMatrix {
  bool possible = false;
  cublasOperation_t operation = CUBLAS_OP_N;
  int64_t rows = 0, columns = 0, leading_dimension = 0;
};

// Of rows x columns elements, so far apart each.
StoredMatrix Stored(int64_t rows, int64_t columns, int64_t row_stride, int64_t column_stride) {
  // A stride that is never taken may be anything.
  if (rows == 1) row_stride = 1;
  if (columns == 1 && row_stride == 1) column_stride = rows;
  if (columns == 1 && row_stride != 1) column_stride = 1;
  if (row_stride == 1 && column_stride >= rows) {
    return {true, CUBLAS_OP_N, rows, columns, column_stride};
  }
  if (rows == 1) row_stride = columns;
  if (column_stride == 1 && row_stride >= columns) {
    return {true, CUBLAS_OP_T, columns, rows, row_stride};
  }
  return {};
}

StoredMatrix RightOf(const ContractionSizes& n) {
  return Stored(n[P::kColumns], n[P::kDepth], n[P::kRightColumn], n[P::kRightDepth]);
}
StoredMatrix LeftOf(const ContractionSizes& n) {
  return Stored(n[P::kDepth], n[P::kRows], n[P::kLeftDepth], n[P::kLeftRow]);
}

// What describes a product to the library, which does not lack it. It has columns where we have
// rows, so each matrix of it is the transpose of ours: its result, columns x rows, is the product
// of our right operand's transpose and our left one's.
class Description {
 public:
  Description(const CublasLtApi& api, const ContractionAtSizes& at) : api_(api) {
    const ContractionSizes& n = at.sizes;
    const P& product = at.contraction;
    const StoredMatrix right = RightOf(n), left = LeftOf(n);
    const cudaDataType_t type = CudaType(product.dtype);
    ok_ = Is(api.cublasLtMatmulDescCreate(
        &desc_, ComputeType(product), product.dtype == DataType::kF64 ? CUDA_R_64F : CUDA_R_32F));
    Set(CUBLASLT_MATMUL_DESC_TRANSA, right.operation);
    Set(CUBLASLT_MATMUL_DESC_TRANSB, left.operation);
    if (product.bias != P::kNone) {
      Set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
      // By its alignment the library chooses.
      SetBias(at.bias_alignment);
    }
    AddLayout(type, right, n[P::kBatches], n[P::kRightBatch], &right_);
    AddLayout(type, left, n[P::kBatches], n[P::kLeftBatch], &left_);
    const StoredMatrix result = {true, CUBLAS_OP_N, n[P::kColumns], n[P::kRows], n[P::kColumns]};
    AddLayout(type, result, n[P::kBatches], n[P::kColumns] * n[P::kRows], &result_);
  }
  ~Description() {
    for (const cublasLtMatrixLayout_t layout : {right_, left_, result_}) {
      if (layout != nullptr) (void)api_.cublasLtMatrixLayoutDestroy(layout);
    }
    if (desc_ != nullptr) (void)api_.cublasLtMatmulDescDestroy(desc_);
  }
  Description(const Description&) = delete;
  Description& operator=(const Description&) = delete;

  // Else the library has no such product.
  bool ok() const { return ok_; }
  cublasLtMatmulDesc_t desc() const { return desc_; }
  cublasLtMatrixLayout_t right() const { return right_; }
  cublasLtMatrixLayout_t left() const { return left_; }
  cublasLtMatrixLayout_t result() const { return result_; }

  cublasStatus_t SetBias(CUdeviceptr address) const {
    const auto* pointer = reinterpret_cast<const void*>(static_cast<uintptr_t>(address));
    return api_.cublasLtMatmulDescSetAttribute(desc_, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &pointer,
                                               sizeof pointer);
  }

 private:
  static bool Is(cublasStatus_t status) { return status == CUBLAS_STATUS_SUCCESS; }

  template <typename Value>
  void Set(cublasLtMatmulDescAttributes_t attribute, Value value) {
    ok_ = ok_ && Is(api_.cublasLtMatmulDescSetAttribute(desc_, attribute, &value, sizeof value));
  }

  void AddLayout(cudaDataType_t type, const StoredMatrix& matrix, int64_t batches,
                 int64_t batch_stride, cublasLtMatrixLayout_t* layout) {
    ok_ = ok_ && Is(api_.cublasLtMatrixLayoutCreate(
                     layout, type, static_cast<uint64_t>(matrix.rows),
                     static_cast<uint64_t>(matrix.columns), matrix.leading_dimension));
    if (!ok_ || batches == 1) return;
    const auto count = static_cast<int32_t>(batches);
    ok_ = Is(api_.cublasLtMatrixLayoutSetAttribute(*layout, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT,
                                                   &count, sizeof count)) &&
          Is(api_.cublasLtMatrixLayoutSetAttribute(*layout,
                                                   CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET,
                                                   &batch_stride, sizeof batch_stride));
  }

  const CublasLtApi& api_;
  bool ok_ = false;
  cublasLtMatmulDesc_t desc_ = nullptr;
  cublasLtMatrixLayout_t right_ = nullptr, left_ = nullptr, result_ = nullptr;
};

static_assert(sizeof(LibraryAlgorithm::words) == sizeof(cublasLtMatmulAlgo_t));
cublasLtMatmulAlgo_t AlgorithmOf(const LibraryAlgorithm& algorithm) {
  cublasLtMatmulAlgo_t algo;
  memcpy(&algo, algorithm.words.data(), sizeof algo);
  return algo;
}

class CublasLtCall final : public LibraryCall {
 public:
  CublasLtCall(const CublasLtApi& api, cublasLtHandle_t handle, const ContractionAtSizes& at,
               const LibraryAlgorithm& algorithm, const CUdeviceptr* workspace)
      : api_(api),
        handle_(handle),
        product_(at.contraction),
        result_(at.num_buffers - 1),
        description_(api, at),
        algorithm_(AlgorithmOf(algorithm)),
        workspace_bytes_(algorithm.workspace_bytes),
        workspace_(workspace) {}

  bool ok() const { return description_.ok(); }

  const char* Start(CUstream stream, const CUdeviceptr* buffers) const override {
    const auto pointer = [](CUdeviceptr address) {
      return reinterpret_cast<void*>(static_cast<uintptr_t>(address));
    };
    cublasStatus_t status = CUBLAS_STATUS_SUCCESS;
    if (product_.bias != P::kNone) status = description_.SetBias(buffers[product_.bias]);
    if (status == CUBLAS_STATUS_SUCCESS) {
      const bool adds = product_.addend != P::kNone;
      const float alpha = static_cast<float>(product_.scale), beta = adds ? 1.0f : 0.0f;
      const double wide_alpha = product_.scale, wide_beta = beta;
      const bool wide = product_.dtype == DataType::kF64;
      void* result = pointer(buffers[result_]);
      status = api_.cublasLtMatmul(
          handle_, description_.desc(), wide ? static_cast<const void*>(&wide_alpha) : &alpha,
          pointer(buffers[product_.right]), description_.right(), pointer(buffers[product_.left]),
          description_.left(), wide ? static_cast<const void*>(&wide_beta) : &beta,
          adds ? pointer(buffers[product_.addend]) : result, description_.result(), result,
          description_.result(), &algorithm_,
          workspace_bytes_ == 0 ? nullptr : pointer(*workspace_), workspace_bytes_, stream);
    }
    return status == CUBLAS_STATUS_SUCCESS ? nullptr : api_.cublasLtGetStatusName(status);
  }

 private:
  const CublasLtApi& api_;
  const cublasLtHandle_t handle_;
  const P product_;
  const uint32_t result_;
  const Description description_;
  const cublasLtMatmulAlgo_t algorithm_;
  const size_t workspace_bytes_;
  const CUdeviceptr* const workspace_;
};

}  // namespace

const char* CublasLtLacks(const ContractionAtSizes& at) {
  // Batches are counted in 32 bits; of the others nothing states that more would do.
  for (const P::Size size : {P::kBatches, P::kRows, P::kColumns, P::kDepth}) {
    if (at.sizes[size] > INT32_MAX) return "for sizes of more than 2147483647";
  }
  if (!LeftOf(at.sizes).possible || !RightOf(at.sizes).possible) {
    return "for operands whose neighbours lie apart";
  }
  // It chooses by the alignment of all operands but this one, which it may read 16 bytes at a time.
  return at.contraction.bias != P::kNone && at.bias_alignment < 16
             ? "for a row that does not lie at a multiple of 16 bytes"
             : nullptr;
}

absl::StatusOr<std::unique_ptr<CublasLt>> CublasLt::Make(
    std::shared_ptr<Context> context, const std::vector<std::string>& libraries) {
  const Context::Current current(*context);
  if (!current.ok()) return current.status();
  std::unique_ptr<CublasLt> made;
  absl::Status status =
      BeginWithLibrary<CublasLtApi>(kCublasLt, libraries, [&](const CublasLtApi& api) {
        std::unique_ptr<CublasLt> library(new CublasLt(context, api));
        const cublasStatus_t created = api.cublasLtCreate(&library->handle_);
        if (created == CUBLAS_STATUS_SUCCESS) {
          made = std::move(library);
          return absl::OkStatus();
        }
        library->handle_ = nullptr;
        return NotBegun(*context, kCublasLt, api.cublasLtGetVersion(),
                        api.cublasLtGetStatusName(created), created == CUBLAS_STATUS_ALLOC_FAILED);
      });
  if (!status.ok()) return status;
  return made;
}

CublasLt::~CublasLt() {
  const Context::Current current(*context_);
  if (current.ok() && handle_ != nullptr) (void)api_.cublasLtDestroy(handle_);
}

std::vector<LibraryAlgorithm> CublasLt::Algorithms(const ContractionAtSizes& at, int most,
                                                   size_t max_workspace_bytes) const {
  std::vector<LibraryAlgorithm> algorithms;
  const Description description(api_, at);
  cublasLtMatmulPreference_t preference = nullptr;
  if (!description.ok() ||
      api_.cublasLtMatmulPreferenceCreate(&preference) != CUBLAS_STATUS_SUCCESS) {
    return algorithms;
  }
  bool ok = true;
  const auto set = [&](cublasLtMatmulPreferenceAttributes_t attribute, auto value) {
    ok = ok && api_.cublasLtMatmulPreferenceSetAttribute(preference, attribute, &value,
                                                         sizeof value) == CUBLAS_STATUS_SUCCESS;
  };
  set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, static_cast<uint64_t>(max_workspace_bytes));
  // Sums of parts of the depth are not rounded to the result's type.
  set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
      static_cast<uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
  const bool adds = at.contraction.addend != P::kNone;
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, at.right_alignment);
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, at.left_alignment);
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, adds ? at.addend_alignment : at.result_alignment);
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, at.result_alignment);
  std::vector<cublasLtMatmulHeuristicResult_t> results(static_cast<size_t>(most));
  int returned = 0;
  ok = ok && api_.cublasLtMatmulAlgoGetHeuristic(
                 handle_, description.desc(), description.right(), description.left(),
                 description.result(), description.result(), preference, most, results.data(),
                 &returned) == CUBLAS_STATUS_SUCCESS;
  (void)api_.cublasLtMatmulPreferenceDestroy(preference);
  for (int i = 0; ok && i < std::min(returned, most); ++i) {
    const cublasLtMatmulHeuristicResult_t& result = results[static_cast<size_t>(i)];
    if (result.state != CUBLAS_STATUS_SUCCESS || result.workspaceSize > max_workspace_bytes) {
      continue;
    }
    LibraryAlgorithm& algorithm = algorithms.emplace_back();
    memcpy(algorithm.words.data(), &result.algo, sizeof result.algo);
    algorithm.workspace_bytes = result.workspaceSize;
    size_t written = 0;
    if (api_.cublasLtMatmulAlgoConfigGetAttribute(&result.algo, CUBLASLT_ALGO_CONFIG_ID,
                                                  &algorithm.id, sizeof algorithm.id,
                                                  &written) != CUBLAS_STATUS_SUCCESS) {
      algorithm.id = -1;
    }
  }
  return algorithms;
}

// Its handle is for any threads and streams.
std::unique_ptr<LibraryHandle> CublasLt::NewHandle() const {
  return std::make_unique<LibraryHandle>();
}

std::unique_ptr<LibraryCall> CublasLt::CallOf(const ContractionAtSizes& at,
                                              const LibraryAlgorithm& algorithm,
                                              const CUdeviceptr* workspace, LibraryHandle&) const {
  auto call = std::make_unique<CublasLtCall>(api_, handle_, at, algorithm, workspace);
  if (!call->ok()) return nullptr;
  return call;
}

}  // namespace weft::cuda
