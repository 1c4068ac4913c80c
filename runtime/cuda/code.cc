#include "runtime/cuda/code.h"

#include <elf.h>

#include <cstring>
#include <string>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

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
    absl::StrAppend(&text, text.empty() ? "" : "; ",
                    absl::CEscape(absl::StripAsciiWhitespace(line)));
    if (text.size() > kMaxShownBytes) {
      text.resize(kMaxShownBytes);
      return text + "...";
    }
  }
  return text;
}

bool IsElf(std::string_view image) { return image.substr(0, SELFMAG) == ELFMAG; }

// The driver takes a cubin without its size, so what the headers say has to lie in it.
bool IsWholeElf(std::string_view image) {
  Elf64_Ehdr header;
  if (image.size() < sizeof header) return false;
  memcpy(&header, image.data(), sizeof header);
  const auto inside = [&](uint64_t offset, uint64_t bytes) {
    return offset <= image.size() && bytes <= image.size() - offset;
  };
  if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_shentsize != sizeof(Elf64_Shdr) ||
      !inside(header.e_shoff, uint64_t{header.e_shnum} * sizeof(Elf64_Shdr))) {
    return false;
  }
  if (header.e_phnum > 0 &&
      (header.e_phentsize != sizeof(Elf64_Phdr) ||
       !inside(header.e_phoff, uint64_t{header.e_phnum} * sizeof(Elf64_Phdr)))) {
    return false;
  }
  for (uint64_t i = 0; i < header.e_shnum; ++i) {
    Elf64_Shdr section;
    memcpy(&section, image.data() + header.e_shoff + i * sizeof section, sizeof section);
    if (section.sh_type != SHT_NOBITS && !inside(section.sh_offset, section.sh_size)) return false;
  }
  return true;
}

// "8.0" of ".version 8.0".
std::string PtxVersion(const std::string& text) {
  const size_t at = text.find(".version");
  if (at == text.npos) return "unknown";
  const absl::string_view rest(text.data() + at + 8, std::min<size_t>(16, text.size() - at - 8));
  const std::vector<absl::string_view> words =
      absl::StrSplit(rest, absl::ByAnyChar(" \t\r\n"), absl::SkipEmpty());
  return words.empty() ? "unknown" : absl::CEscape(words[0]);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Code>> Code::Load(std::shared_ptr<Context> context,
                                                 std::string_view image) {
  if (absl::Status usable = context->Usable(); !usable.ok()) return usable;
  const bool cubin = IsElf(image);
  if (cubin && !IsWholeElf(image)) {
    return absl::InvalidArgumentError("the cubin is damaged: it reaches past its end");
  }
  // PTX ends with a NUL.
  const std::string text(image);
  std::vector<char> errors(kLogBytes), infos(kLogBytes);
  const auto size = reinterpret_cast<void*>(uintptr_t{kLogBytes - 1});
  CUjit_option options[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES,
                            CU_JIT_INFO_LOG_BUFFER, CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES};
  void* values[] = {errors.data(), size, infos.data(), size};
  CUmodule module = nullptr;
  const Context::Current current(*context);
  const CUresult result =
      context->api().cuModuleLoadDataEx(&module, text.c_str(), 4, options, values);
  if (result == CUDA_SUCCESS) return std::unique_ptr<Code>(new Code(std::move(context), module));
  if (result == CUDA_ERROR_UNSUPPORTED_PTX_VERSION) {
    return absl::FailedPreconditionError(
        absl::StrCat(context->name(), ": the driver, for CUDA ",
                     VersionText(context->driver().version()), ", is too old for PTX ",
                     PtxVersion(text), "; update the driver, or compile for an earlier target"));
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
  (void)context_->api().cuModuleUnload(module_);
}

absl::StatusOr<Kernel> Code::Look(const KernelEntry& entry) {
  const DriverApi& api = context_->api();
  const Context::Current current(*context_);
  Kernel kernel;
  kernel.block_threads = entry.block_threads;
  const CUresult found = api.cuModuleGetFunction(&kernel.function, module_, entry.name.c_str());
  if (found == CUDA_ERROR_NOT_FOUND) return absl::InvalidArgumentError("is not in the code");
  absl::Status status = context_->StatusOf(found, "finding it");
  int max_threads = 0, registers = 0, shared_bytes = 0;
  const auto attribute = [&](int* value, CUfunction_attribute which) {
    if (status.ok()) {
      status = context_->StatusOf(api.cuFuncGetAttribute(value, which, kernel.function),
                                  "looking at it");
    }
  };
  attribute(&max_threads, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK);
  attribute(&registers, CU_FUNC_ATTRIBUTE_NUM_REGS);
  attribute(&shared_bytes, CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES);
  if (!status.ok()) return status;
  if (entry.block_threads == 0 || int64_t{entry.block_threads} > context_->max_block_threads()) {
    return absl::InvalidArgumentError(absl::StrCat("expected 1 to ", context_->max_block_threads(),
                                                   " threads in a block, got ",
                                                   entry.block_threads));
  }
  if (int64_t{entry.block_threads} > max_threads) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected at most ", max_threads, " threads in a block, since each uses ",
                     registers, " registers of ", context_->name(), ", got ", entry.block_threads));
  }
  if (shared_bytes > context_->max_shared_bytes()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "expected at most ", context_->max_shared_bytes(), " bytes of shared memory, which ",
        context_->name(), " has for a block, got ", shared_bytes));
  }
  if (api.cuFuncGetParamInfo == nullptr) return kernel;
  // Pointers and sizes.
  for (kernel.num_parameters = 0;; ++kernel.num_parameters) {
    size_t offset = 0, bytes = 0;
    const CUresult result = api.cuFuncGetParamInfo(
        kernel.function, static_cast<size_t>(kernel.num_parameters), &offset, &bytes);
    if (result == CUDA_ERROR_INVALID_VALUE) return kernel;
    status = context_->StatusOf(result, "looking at its parameters");
    if (!status.ok()) return status;
    if (bytes == 8 && offset == 8 * static_cast<size_t>(kernel.num_parameters)) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("expected parameters of 8 bytes, got one of ", bytes, " at byte ", offset));
  }
}

absl::StatusOr<WeftKernel> Code::Find(const KernelEntry& entry) {
  absl::StatusOr<Kernel> kernel = Look(entry);
  if (!kernel.ok()) {
    return absl::Status(kernel.status().code(),
                        absl::StrCat("kernel '", entry.name, "': ", kernel.status().message()));
  }
  std::lock_guard<std::mutex> lock(mutex_);
  kernels_.push_back(std::make_unique<Kernel>(*kernel));
  return reinterpret_cast<WeftKernel>(kernels_.back().get());
}

}  // namespace weft::cuda
