#include "runtime/cuda/testing/fake_cublaslt.h"

#include <algorithm>
#include <cstring>
#include <mutex>
#include <utility>

#include "runtime/cuda/cublaslt_api.h"
#include "runtime/cuda/testing/fake_library.h"

namespace weft::cuda {

struct CublasLtMatmulDesc {
  cublasComputeType_t compute;
  cudaDataType_t scale;
  cublasOperation_t a = CUBLAS_OP_N, b = CUBLAS_OP_N;
  cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  const void* bias = nullptr;
};

struct CublasLtMatrixLayout {
  cudaDataType_t type;
  uint64_t rows, columns;
  int64_t leading_dimension;
  int32_t batches = 1;
  int64_t batch_stride = 0;
};

struct CublasLtMatmulPreference {
  uint64_t workspace_bytes = 0;
  uint32_t reduction_schemes = 0x7;
  uint32_t alignments[4] = {256, 256, 256, 256};
};

namespace {

constexpr auto kInvalidValue = static_cast<cublasStatus_t>(7);
constexpr auto kExecutionFailed = static_cast<cublasStatus_t>(13);

struct State {
  std::mutex mutex;
  FakeCublasLtOptions options;
  FakeCublasLtCounts counts = {};
};

State& Get() {
  static State& state = *new State;
  return state;
}

using Lock = std::lock_guard<std::mutex>;

DataType TypeOf(cudaDataType_t type) {
  return type == CUDA_R_64F    ? DataType::kF64
         : type == CUDA_R_16F  ? DataType::kF16
         : type == CUDA_R_16BF ? DataType::kBF16
                               : DataType::kF32;
}

// A matmul with all that the call said.
struct Matmul {
  CublasLtMatmulDesc desc;
  CublasLtMatrixLayout a_layout, b_layout, c_layout, d_layout;
  double alpha, beta;
  uint64_t a, b, c, d;
};

// Elements from the first to the last of a matrix in all its batches.
int64_t Elements(const CublasLtMatrixLayout& layout) {
  return (layout.batches - 1) * layout.batch_stride +
         static_cast<int64_t>(layout.columns - 1) * layout.leading_dimension +
         static_cast<int64_t>(layout.rows);
}

// Reads and writes what cuBLASLt would, and nothing else.
absl::Status Compute(const Matmul& m, ptx::Emulator& emulator) {
  absl::Status status;
  const auto read = [&](uint64_t address, int64_t elements, cudaDataType_t type) {
    FakeElements values(TypeOf(type), address, elements);
    if (status.ok()) status = values.Read(emulator);
    return values;
  };
  const FakeElements a = read(m.a, Elements(m.a_layout), m.a_layout.type);
  const FakeElements b = read(m.b, Elements(m.b_layout), m.b_layout.type);
  const bool adds = m.beta != 0, has_bias = m.desc.epilogue == CUBLASLT_EPILOGUE_BIAS;
  const auto rows = static_cast<int64_t>(m.d_layout.rows),
             columns = static_cast<int64_t>(m.d_layout.columns);
  const FakeElements c = read(m.c, adds ? Elements(m.c_layout) : 0, m.c_layout.type);
  const FakeElements bias =
      read(AddressOfPointer(m.desc.bias), has_bias ? rows : 0, m.d_layout.type);
  FakeElements d = read(m.d, Elements(m.d_layout), m.d_layout.type);
  const auto depth =
      static_cast<int64_t>(m.desc.a == CUBLAS_OP_N ? m.a_layout.columns : m.a_layout.rows);
  const auto at = [](const CublasLtMatrixLayout& layout, cublasOperation_t operation, int64_t batch,
                     int64_t row, int64_t column) {
    if (operation == CUBLAS_OP_T) std::swap(row, column);
    return batch * layout.batch_stride + column * layout.leading_dimension + row;
  };
  for (int64_t batch = 0; batch < m.d_layout.batches; ++batch) {
    for (int64_t column = 0; column < columns; ++column) {
      for (int64_t row = 0; row < rows; ++row) {
        double sum = 0;
        for (int64_t step = 0; step < depth; ++step) {
          sum += a.Get(at(m.a_layout, m.desc.a, batch, row, step)) *
                 b.Get(at(m.b_layout, m.desc.b, batch, step, column));
        }
        sum *= m.alpha;
        if (adds) sum += m.beta * c.Get(at(m.c_layout, CUBLAS_OP_N, batch, row, column));
        if (has_bias) sum += bias.Get(row);
        d.Set(at(m.d_layout, CUBLAS_OP_N, batch, row, column), sum);
      }
    }
  }
  if (!status.ok()) return status;
  return d.Write(emulator);
}

// What no product of any library is.
bool Fit(const CublasLtMatmulDesc& desc, const CublasLtMatrixLayout& a,
         const CublasLtMatrixLayout& b, const CublasLtMatrixLayout& d) {
  const auto size = [](const CublasLtMatrixLayout& layout, cublasOperation_t operation) {
    return operation == CUBLAS_OP_N ? std::pair(layout.rows, layout.columns)
                                    : std::pair(layout.columns, layout.rows);
  };
  const auto [m, k] = size(a, desc.a);
  const auto [k_of_b, n] = size(b, desc.b);
  for (const CublasLtMatrixLayout* layout : {&a, &b, &d}) {
    if (layout->rows == 0 || layout->columns == 0 || layout->batches != d.batches ||
        layout->leading_dimension < static_cast<int64_t>(layout->rows)) {
      return false;
    }
  }
  const bool wide = d.type == CUDA_R_64F;
  return k == k_of_b && d.rows == m && d.columns == n && a.type == b.type && a.type == d.type &&
         wide == (desc.scale == CUDA_R_64F) &&
         wide == (desc.compute == CUBLAS_COMPUTE_64F_PEDANTIC);
}

template <typename Handle>
cublasStatus_t Make(Handle* handle, std::remove_pointer_t<Handle>* made, int64_t* count) {
  *handle = made;
  ++*count;
  return CUBLAS_STATUS_SUCCESS;
}

size_t cublasLtGetVersion() {
  const Lock lock(Get().mutex);
  return Get().options.version;
}

const char* cublasLtGetStatusName(cublasStatus_t status) {
  switch (static_cast<int>(status)) {
    case 0:
      return "CUBLAS_STATUS_SUCCESS";
    case 1:
      return "CUBLAS_STATUS_NOT_INITIALIZED";
    case 3:
      return "CUBLAS_STATUS_ALLOC_FAILED";
    case 7:
      return "CUBLAS_STATUS_INVALID_VALUE";
    case 13:
      return "CUBLAS_STATUS_EXECUTION_FAILED";
    case 15:
      return "CUBLAS_STATUS_NOT_SUPPORTED";
    default:
      return "CUBLAS_STATUS_?";
  }
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  if (LibraryIsReady() != CUDA_SUCCESS) return CUBLAS_STATUS_NOT_INITIALIZED;
  const Lock lock(Get().mutex);
  if (Get().options.create_result != 0 && Get().options.refusals-- > 0) {
    return static_cast<cublasStatus_t>(Get().options.create_result);
  }
  ++Get().counts.handles;
  *handle = reinterpret_cast<cublasLtHandle_t>(&Get());
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t) {
  const Lock lock(Get().mutex);
  --Get().counts.handles;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* desc, cublasComputeType_t compute,
                                        cudaDataType_t scale) {
  const Lock lock(Get().mutex);
  return Make(desc, new CublasLtMatmulDesc{compute, scale}, &Get().counts.descriptions);
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t desc) {
  const Lock lock(Get().mutex);
  delete desc;
  --Get().counts.descriptions;
  return CUBLAS_STATUS_SUCCESS;
}

template <typename Value>
cublasStatus_t Set(Value* to, const void* value, size_t bytes) {
  if (bytes != sizeof *to) return kInvalidValue;
  memcpy(to, value, bytes);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc,
                                              cublasLtMatmulDescAttributes_t attribute,
                                              const void* value, size_t bytes) {
  switch (attribute) {
    case CUBLASLT_MATMUL_DESC_TRANSA:
      return Set(&desc->a, value, bytes);
    case CUBLASLT_MATMUL_DESC_TRANSB:
      return Set(&desc->b, value, bytes);
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
      return Set(&desc->epilogue, value, bytes);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
      return Set(&desc->bias, value, bytes);
  }
  return kInvalidValue;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType_t type,
                                          uint64_t rows, uint64_t columns,
                                          int64_t leading_dimension) {
  const Lock lock(Get().mutex);
  return Make(layout, new CublasLtMatrixLayout{type, rows, columns, leading_dimension},
              &Get().counts.descriptions);
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  const Lock lock(Get().mutex);
  delete layout;
  --Get().counts.descriptions;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t layout,
                                                cublasLtMatrixLayoutAttribute_t attribute,
                                                const void* value, size_t bytes) {
  switch (attribute) {
    case CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT:
      return Set(&layout->batches, value, bytes);
    case CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET:
      return Set(&layout->batch_stride, value, bytes);
  }
  return kInvalidValue;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
  const Lock lock(Get().mutex);
  return Make(preference, new CublasLtMatmulPreference, &Get().counts.descriptions);
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  const Lock lock(Get().mutex);
  delete preference;
  --Get().counts.descriptions;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t attribute,
                                                    const void* value, size_t bytes) {
  switch (attribute) {
    case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES:
      return Set(&preference->workspace_bytes, value, bytes);
    case CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK:
      return Set(&preference->reduction_schemes, value, bytes);
    default:
      return Set(&preference->alignments[attribute - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES],
                 value, bytes);
  }
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t desc,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int requested,
                                              cublasLtMatmulHeuristicResult_t* results,
                                              int* returned) {
  const Lock lock(Get().mutex);
  FakeCublasLtCounts& counts = Get().counts;
  ++counts.questions;
  counts.reduction_schemes = preference->reduction_schemes;
  counts.alignment =
      *std::min_element(std::begin(preference->alignments), std::end(preference->alignments));
  *returned = 0;
  if (Get().options.heuristic_result != 0) {
    return static_cast<cublasStatus_t>(Get().options.heuristic_result);
  }
  if (!Fit(*desc, *a, *b, *d)) return CUBLAS_STATUS_NOT_SUPPORTED;
  const auto& algorithms = Get().options.algorithms;
  for (size_t i = 0; i < algorithms.size() && *returned < requested; ++i) {
    if (algorithms[i].workspace_bytes > preference->workspace_bytes) continue;
    cublasLtMatmulHeuristicResult_t& result = results[(*returned)++];
    result = {};
    result.algo.data[0] = i;
    result.workspaceSize = algorithms[i].workspace_bytes;
  }
  return *returned == 0 ? CUBLAS_STATUS_NOT_SUPPORTED : CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoConfigGetAttribute(const cublasLtMatmulAlgo_t* algo,
                                                    cublasLtMatmulAlgoConfigAttributes_t,
                                                    void* value, size_t bytes, size_t* written) {
  const Lock lock(Get().mutex);
  if (bytes != sizeof(int32_t)) return kInvalidValue;
  memcpy(value, &Get().options.algorithms.at(algo->data[0]).id, bytes);
  *written = bytes;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t desc, const void* alpha,
                              const void* a, cublasLtMatrixLayout_t a_layout, const void* b,
                              cublasLtMatrixLayout_t b_layout, const void* beta, const void* c,
                              cublasLtMatrixLayout_t c_layout, void* d,
                              cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t* algo,
                              void* workspace, size_t workspace_bytes, CUstream stream) {
  const Lock lock(Get().mutex);
  if (Get().options.fail_matmul > 0 && --Get().options.fail_matmul == 0) return kExecutionFailed;
  const FakeCublasLtOptions::Algorithm& algorithm = Get().options.algorithms.at(algo->data[0]);
  if (algorithm.refuses != 0) return static_cast<cublasStatus_t>(algorithm.refuses);
  if (!Fit(*desc, *a_layout, *b_layout, *d_layout) || workspace_bytes < algorithm.workspace_bytes ||
      (algorithm.workspace_bytes > 0 && reinterpret_cast<uintptr_t>(workspace) % 256 != 0)) {
    return kInvalidValue;
  }
  const auto number = [&](const void* value) {
    return desc->scale == CUDA_R_64F ? *static_cast<const double*>(value)
                                     : *static_cast<const float*>(value);
  };
  const auto address = AddressOfPointer;
  const Matmul matmul = {*desc,        *a_layout,  *b_layout,  *c_layout,  *d_layout, number(alpha),
                         number(beta), address(a), address(b), address(c), address(d)};
  FakeWork work =
      LibraryWork({address(a), address(b), address(c), address(d), address(workspace)},
                  algorithm.microseconds + std::exchange(Get().options.load_microseconds, 0),
                  address(workspace), algorithm.workspace_bytes,
                  [matmul](ptx::Emulator& emulator) { return Compute(matmul, emulator); });
  if (AddLibraryWork(stream, std::move(work)) != CUDA_SUCCESS) return kExecutionFailed;
  ++Get().counts.calls;
  Get().counts.compute_type = desc->compute;
  Get().counts.epilogue = desc->epilogue;
  return CUBLAS_STATUS_SUCCESS;
}

}  // namespace

void InstallFakeCublasLt(const std::string& library) {
  CublasLtApi api;
#define WEFT_SET(result, symbol, parameters) api.symbol = symbol;
  WEFT_CUBLASLT_FUNCTIONS(WEFT_SET)
#undef WEFT_SET
  InstallFakeLibrary(library, &api);
}

void ConfigureFakeCublasLt(const FakeCublasLtOptions& options) {
  const Lock lock(Get().mutex);
  Get().options = options;
  const FakeCublasLtCounts left = Get().counts;
  Get().counts = {};
  Get().counts.handles = left.handles;
  Get().counts.descriptions = left.descriptions;
}

FakeCublasLtCounts CountInFakeCublasLt() {
  const Lock lock(Get().mutex);
  return Get().counts;
}

}  // namespace weft::cuda
