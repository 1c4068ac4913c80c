#include "runtime/cuda/code.h"

#include <algorithm>
#include <atomic>
#include <string>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "runtime/gpu_kernel.h"

namespace weft::cuda {
namespace {

constexpr size_t kLogBytes = 8 << 10;
// Of a log in a message.
constexpr size_t kMaxShownBytes = 1000;

// A log's lines in one, printable and bounded.
std::string OneLine(const char* log) {
  std::string text;
  for (absl::string_view line :
       absl::StrSplit(log, absl::ByAnyChar("\r\n"), absl::SkipWhitespace())) {
    const size_t left = kMaxShownBytes - std::min(kMaxShownBytes, text.size());
    line = absl::StripAsciiWhitespace(line);
    // Cut before it is escaped: no escape is cut then.
    absl::StrAppend(&text, text.empty() ? "" : "; ", absl::CEscape(line.substr(0, left)));
    if (line.size() >= left) return text + "...";
  }
  return text;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Code>> Code::Load(std::shared_ptr<Context> context,
                                                 std::string_view ptx,
                                                 std::string_view machine_code) {
  if (absl::Status usable = context->Usable(); !usable.ok()) return usable;
  absl::StatusOr<PtxText> read = ReadPtxText(ptx);
  if (!read.ok()) return read.status();
  // It ends with a NUL.
  const std::string text(ptx);
  std::vector<char> errors(kLogBytes), infos(kLogBytes);
  const auto size = reinterpret_cast<void*>(uintptr_t{kLogBytes - 1});
  CUjit_option options[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES,
                            CU_JIT_INFO_LOG_BUFFER, CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES};
  void* values[] = {errors.data(), size, infos.data(), size};
  CUmodule module = nullptr;
  const Context::Current current(*context);
  if (!current.ok()) return current.status();
  // Machine code of a newer toolkit is none to a driver: then its compiler makes some.
  CUresult result = CUDA_ERROR_NO_BINARY_FOR_GPU;
  if (!machine_code.empty()) {
    result = context->api().cuModuleLoadDataEx(&module, machine_code.data(), 4, options, values);
  }
  if (result == CUDA_ERROR_NO_BINARY_FOR_GPU || result == CUDA_ERROR_INVALID_IMAGE ||
      result == CUDA_ERROR_UNSUPPORTED_PTX_VERSION) {
    result = context->api().cuModuleLoadDataEx(&module, text.c_str(), 4, options, values);
  }
  if (result == CUDA_SUCCESS) {
    return std::unique_ptr<Code>(new Code(std::move(context), module, *std::move(read)));
  }
  if (result == CUDA_ERROR_UNSUPPORTED_PTX_VERSION) {
    return absl::UnavailableError(
        absl::StrCat(context->name(), ": the driver, for CUDA ",
                     VersionText(context->driver().version()), ", is too old for PTX ",
                     read->version, "; update the driver, or compile for an earlier target"));
  }
  const absl::Status status = context->StatusOf(result, "loading its code");
  std::string log = OneLine(errors.data());
  if (log.empty()) log = OneLine(infos.data());
  const bool damaged = result == CUDA_ERROR_INVALID_PTX || result == CUDA_ERROR_INVALID_IMAGE ||
                       result == CUDA_ERROR_NO_BINARY_FOR_GPU;
  return absl::Status(
      damaged ? absl::StatusCode::kInvalidArgument : status.code(),
      absl::StrCat(status.message(), log.empty() ? "" : "; the driver's log: ", log));
}

Code::~Code() {
  const Context::Current current(*context_);
  if (!current.ok()) return;
  // A run that was given up may be at its kernels yet.
  context_->ReleaseLater(
      [module = module_](const DriverApi& api) { (void)api.cuModuleUnload(module); });
}

absl::StatusOr<Kernel> Code::Look(const KernelEntry& entry) {
  const DriverApi& api = context_->api();
  const Context::Current current(*context_);
  if (!current.ok()) return current.status();
  const auto failed = [&](const absl::Status& status) {
    return absl::Status(status.code(),
                        absl::StrCat("kernel '", entry.name, "': ", status.message()));
  };
  Kernel kernel;
  kernel.block_threads = entry.block_threads;
  kernel.max_blocks = MaxBlocks(entry, context_->multiprocessors());
  kernel.maps.assign(entry.maps.begin(), entry.maps.end());
  if (!kernel.maps.empty() &&
      (api.cuTensorMapEncodeTiled == nullptr || api.cuTensorMapEncodeIm2col == nullptr)) {
    return failed(absl::UnavailableError(absl::StrCat(
        "takes tensor maps, which the driver, for CUDA ", VersionText(context_->driver().version()),
        ", is too old to make; update it to one for CUDA 12.0 or newer")));
  }
  const CUresult found = api.cuModuleGetFunction(&kernel.function, module_, entry.name.c_str());
  if (found == CUDA_ERROR_NOT_FOUND) {
    return failed(absl::InvalidArgumentError("is not in the code"));
  }
  absl::Status status = context_->StatusOf(found, "finding it");
  int max_threads = 0, registers = 0;
  const auto attribute = [&](int* value, CUfunction_attribute which) {
    if (status.ok()) {
      status = context_->StatusOf(api.cuFuncGetAttribute(value, which, kernel.function),
                                  "looking at it");
    }
  };
  attribute(&max_threads, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK);
  attribute(&registers, CU_FUNC_ATTRIBUTE_NUM_REGS);
  std::vector<size_t> parameters;
  while (status.ok() && api.cuFuncGetParamInfo != nullptr) {
    size_t offset = 0, bytes = 0;
    const CUresult result =
        api.cuFuncGetParamInfo(kernel.function, parameters.size(), &offset, &bytes);
    if (result == CUDA_ERROR_INVALID_VALUE) {
      kernel.num_parameters = static_cast<int>(parameters.size());
      break;
    }
    status = context_->StatusOf(result, "looking at its parameters");
    parameters.push_back(bytes);
  }
  if (status.ok()) status = AllowScratch(&kernel);
  if (!status.ok()) return failed(status);
  status = CheckGpuKernel(entry, context_->max_block_threads(), parameters);
  if (!status.ok()) return status;
  const auto required = text_.required_threads.find(entry.name);
  if (required != text_.required_threads.end() && required->second != entry.block_threads) {
    return failed(absl::InvalidArgumentError(
        absl::StrCat("expected ", required->second, " threads in a block, as it states (.reqntid)",
                     ", got ", entry.block_threads)));
  }
  if (int64_t{entry.block_threads} > max_threads) {
    return failed(absl::InvalidArgumentError(absl::StrCat(
        "expected at most ", max_threads, " threads in a block, since each uses ", registers,
        " registers of ", context_->name(), ", got ", entry.block_threads)));
  }
  return kernel;
}

absl::Status Code::AllowScratch(Kernel* kernel) {
  const DriverApi& api = context_->api();
  int declared = 0;
  absl::Status status = context_->StatusOf(
      api.cuFuncGetAttribute(&declared, CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES, kernel->function),
      "looking at it");
  if (!status.ok()) return status;
  kernel->max_scratch_bytes = std::max(0, context_->max_shared_bytes() - declared);
  return context_->StatusOf(
      api.cuFuncSetAttribute(kernel->function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                             kernel->max_scratch_bytes),
      absl::StrCat("allowing it ", kernel->max_scratch_bytes, " bytes of shared memory"));
}

absl::StatusOr<WeftKernel> Code::Find(const KernelEntry& entry) {
  absl::StatusOr<Kernel> kernel = Look(entry);
  if (!kernel.ok()) return kernel.status();
  static std::atomic<uint64_t> numbers{0};
  kernel->number = ++numbers;
  kernels_.push_back(std::make_unique<Kernel>(*kernel));
  return reinterpret_cast<WeftKernel>(kernels_.back().get());
}

}  // namespace weft::cuda
