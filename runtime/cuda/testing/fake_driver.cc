#include "runtime/cuda/testing/fake_driver.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "runtime/cuda/driver_api.h"
#include "runtime/cuda/testing/fake_cubin.h"
#include "runtime/cuda/testing/fake_gpu.h"
#include "runtime/ptx_emulator/tensor_map.h"

namespace weft::cuda {
namespace {

constexpr int kMaxThreads = 1024;

using Lock = std::lock_guard<std::mutex>;

// The calling thread's contexts; the last is current.
thread_local std::vector<CUcontext> current;

FakeGpu& Gpu() { return FakeGpu::Get(); }

// What every call that needs a context gives first.
CUresult Ready() {
  if (current.empty() || current.back() == nullptr) return CUDA_ERROR_INVALID_CONTEXT;
  return Gpu().lost;
}

// Handles are of the context in which they were made.
void CheckContext(CUcontext context, const char* what) {
  if (!current.empty() && current.back() == context) return;
  Gpu().Complain(std::string(what) + " of another context is used");
}

// What gives back does nothing after an error: the context's end gives it back.
CUresult ReadyToRelease() { return Gpu().lost; }

// What waits on the host.
void CountBlocked(bool is_done) {
  if (Gpu().options.busy && !is_done) ++Gpu().counts.blocked;
}

// The same for what a thread must not do while it captures.
CUresult ReadyOutsideCapture(const char* what) {
  for (FakeStream* stream : Gpu().streams) {
    if (stream->capture == nullptr) continue;
    if (stream->capturing_thread != std::this_thread::get_id()) continue;
    stream->invalidated = true;
    Gpu().Complain(std::string(what) + " while a stream captures");
    return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  }
  return Ready();
}

FakeStream* Of(CUstream stream) { return reinterpret_cast<FakeStream*>(stream); }
FakeEvent* Of(CUevent event) { return reinterpret_cast<FakeEvent*>(event); }

CUresult Add(CUstream stream, FakeWork work) {
  if (Gpu().streams.count(Of(stream)) == 0) return CUDA_ERROR_INVALID_HANDLE;
  CheckContext(Of(stream)->context, "a stream");
  return Gpu().Add(Of(stream), std::move(work));
}

// "7.8" as 78; 0 where the text states none.
int PtxVersion(const std::string& text) {
  int major = 0, minor = 0;
  const size_t at = text.find(".version");
  if (at == text.npos || std::sscanf(text.c_str() + at, ".version %d.%d", &major, &minor) != 2) {
    return 0;
  }
  return 10 * major + minor;
}

void WriteLog(const std::string& text, unsigned num_options, const CUjit_option* options,
              void** values) {
  char* buffer = nullptr;
  size_t size = 0;
  for (unsigned i = 0; i < num_options; ++i) {
    if (options[i] == CU_JIT_ERROR_LOG_BUFFER) buffer = static_cast<char*>(values[i]);
    if (options[i] == CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES) {
      size = static_cast<size_t>(reinterpret_cast<uintptr_t>(values[i]));
    }
  }
  if (buffer == nullptr || size == 0) return;
  const size_t length = std::min(size - 1, text.size());
  memcpy(buffer, text.data(), length);
  buffer[length] = '\0';
}

// The values of the parameters, of the sizes that the kernel declares. Where one needs a larger
// alignment than the bank of constants begins with, a buffer of them all is not laid out as the
// kernel's are.
bool ReadParameters(const FakeFunction& function, void** parameters, void** extra,
                    std::vector<std::vector<uint8_t>>* values) {
  const char* buffer = nullptr;
  size_t size = 0;
  for (; extra != nullptr && *extra != CU_LAUNCH_PARAM_END; extra += 2) {
    if (extra[0] == CU_LAUNCH_PARAM_BUFFER_POINTER) buffer = static_cast<const char*>(extra[1]);
    if (extra[0] == CU_LAUNCH_PARAM_BUFFER_SIZE) size = *static_cast<const size_t*>(extra[1]);
  }
  size_t offset = 0;
  for (size_t i = 0; i < function.parameters.size(); ++i) {
    const size_t bytes = function.parameters[i].bytes;
    if (buffer != nullptr && bytes > 16) return false;
    offset = (offset + bytes - 1) / bytes * bytes;
    const char* from = nullptr;
    if (buffer != nullptr) {
      if (offset + bytes > size) return false;
      from = buffer + offset;
    } else {
      if (parameters == nullptr) return false;
      from = static_cast<const char*>(parameters[i]);
    }
    values->emplace_back(from, from + bytes);
    offset += bytes;
  }
  return buffer == nullptr || offset == size;
}

}  // namespace

CUresult AddLibraryWork(CUstream stream, FakeWork work) {
  const Lock lock(Gpu().mutex);
  if (const CUresult ready = Ready(); ready != CUDA_SUCCESS) return ready;
  work.kind = FakeWork::kLibrary;
  return Add(stream, std::move(work));
}

CUresult LibraryIsReady() {
  const Lock lock(Gpu().mutex);
  return Ready();
}

void ConfigureFakeDriver(const FakeDriverOptions& options) {
  FakeGpu& gpu = Gpu();
  const Lock lock(gpu.mutex);
  gpu.options = options;
  gpu.complaints.clear();
  FakeDriverCounts& counts = gpu.counts;
  counts.launches = counts.captures = counts.graph_launches = counts.kernels = 0;
  counts.library_calls = counts.tensor_maps = 0;
  counts.machine_code = counts.copied_in = counts.copied_out = counts.blocked = counts.event_waits =
      counts.refused_allocations = 0;
  if (gpu.lost != CUDA_SUCCESS) {
    // Nothing was under way any more.
    for (FakeStream* stream : gpu.streams) gpu.Drain(*stream);
    gpu.was_lost = true;
  }
  gpu.lost = CUDA_SUCCESS;
  if (gpu.contexts.empty()) gpu.emulator.reset();
}

FakeDriverCounts CountInFakeDriver() {
  FakeGpu& gpu = Gpu();
  const Lock lock(gpu.mutex);
  const auto size = [](const auto& container) { return static_cast<int64_t>(container.size()); };
  gpu.counts.contexts = size(gpu.contexts);
  gpu.counts.modules = size(gpu.modules);
  gpu.counts.allocations = size(gpu.allocations);
  gpu.counts.pinned = size(gpu.pinned);
  gpu.counts.streams = size(gpu.streams);
  gpu.counts.events = size(gpu.events);
  gpu.counts.graphs = size(gpu.graphs);
  gpu.counts.executable_graphs = size(gpu.executable_graphs);
  gpu.counts.nodes = 0;
  for (const FakeGraph* graph : gpu.executable_graphs) {
    gpu.counts.nodes += static_cast<int64_t>(graph->work.size());
  }
  return gpu.counts;
}

std::string FakeDriverComplains() {
  const Lock lock(Gpu().mutex);
  return Gpu().complaints;
}

std::string LeftInFakeDriver() {
  const FakeDriverCounts counts = CountInFakeDriver();
  std::string left;
  const std::pair<const char*, int64_t> things[] = {
      {"contexts", counts.contexts},       {"modules", counts.modules},
      {"allocations", counts.allocations}, {"pinned", counts.pinned},
      {"streams", counts.streams},         {"events", counts.events},
      {"graphs", counts.graphs},           {"executable graphs", counts.executable_graphs}};
  for (const auto& [what, count] : things) {
    if (count != 0) left += std::to_string(count) + " " + what + "\n";
  }
  return left;
}

namespace {

CUresult cuInit(unsigned) {
  const Lock lock(Gpu().mutex);
  return static_cast<CUresult>(Gpu().options.init_result);
}

CUresult cuDriverGetVersion(int* version) {
  const Lock lock(Gpu().mutex);
  const auto result = static_cast<CUresult>(Gpu().options.version_result);
  if (result == CUDA_SUCCESS) *version = Gpu().options.version;
  return result;
}

CUresult cuGetErrorName(CUresult error, const char** text) {
  const Lock lock(Gpu().mutex);
  // A stub has none of this.
  if (Gpu().options.version_result == CUDA_ERROR_STUB_LIBRARY) std::abort();
  *text = nullptr;
#define WEFT_NAME(name, value) \
  if (error == name) *text = #name;
  WEFT_CUDA_RESULTS(WEFT_NAME)
  WEFT_CUDA_RESULTS_OF_12_8(WEFT_NAME)
  WEFT_CUDA_RESULTS_OF_12_9(WEFT_NAME)
#undef WEFT_NAME
  return *text == nullptr ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

CUresult cuGetErrorString(CUresult error, const char** text) {
  *text = error == CUDA_ERROR_OUT_OF_MEMORY ? "out of memory" : "something failed";
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetCount(int* count) {
  const Lock lock(Gpu().mutex);
  *count = Gpu().options.devices;
  return CUDA_SUCCESS;
}

CUresult cuDeviceGet(CUdevice* device, int ordinal) {
  const Lock lock(Gpu().mutex);
  if (ordinal < 0 || ordinal >= Gpu().options.devices) return CUDA_ERROR_INVALID_DEVICE;
  *device = ordinal;
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetName(char* name, int bytes, CUdevice) {
  std::snprintf(name, static_cast<size_t>(bytes), "Emulated GPU");
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetAttribute(int* value, CUdevice_attribute attribute, CUdevice) {
  const Lock lock(Gpu().mutex);
  switch (attribute) {
    case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
      *value = kMaxThreads;
      return CUDA_SUCCESS;
    case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT:
      *value = Gpu().options.multiprocessors;
      return CUDA_SUCCESS;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR:
      *value = Gpu().options.sm / 10;
      return CUDA_SUCCESS;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR:
      *value = Gpu().options.sm % 10;
      return CUDA_SUCCESS;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN:
      *value = static_cast<int>(ptx::MaxSharedBytes(Gpu().options.sm));
      return CUDA_SUCCESS;
  }
  return CUDA_ERROR_INVALID_VALUE;
}

CUresult cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice device) {
  FakeGpu& gpu = Gpu();
  const Lock lock(gpu.mutex);
  if (gpu.options.retain_result != 0) return static_cast<CUresult>(gpu.options.retain_result);
  if (!gpu.emulator) {
    ptx::EmulatorOptions options;
    options.sm = gpu.options.sm;
    gpu.emulator.emplace(options);
  }
  FakeContext& primary = gpu.contexts[device];
  ++primary.retained;
  *context = reinterpret_cast<CUcontext>(&primary);
  return gpu.lost;
}

CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device) {
  FakeGpu& gpu = Gpu();
  const Lock lock(gpu.mutex);
  const auto context = gpu.contexts.find(device);
  if (context == gpu.contexts.end()) {
    gpu.Complain("a context is released more often than it was retained");
    return CUDA_ERROR_INVALID_CONTEXT;
  }
  if (--context->second.retained == 0) gpu.contexts.erase(context);
  if (gpu.contexts.empty()) gpu.EndOfContexts();
  return CUDA_SUCCESS;
}

CUresult cuCtxPushCurrent_v2(CUcontext context) {
  const Lock lock(Gpu().mutex);
  if (Gpu().options.push_result != 0) return static_cast<CUresult>(Gpu().options.push_result);
  const auto is_it = [&](const auto& known) {
    return reinterpret_cast<CUcontext>(const_cast<FakeContext*>(&known.second)) == context;
  };
  if (std::none_of(Gpu().contexts.begin(), Gpu().contexts.end(), is_it)) {
    return CUDA_ERROR_INVALID_CONTEXT;
  }
  current.push_back(context);
  return CUDA_SUCCESS;
}

CUresult cuCtxPopCurrent_v2(CUcontext* context) {
  if (current.empty()) {
    const Lock lock(Gpu().mutex);
    Gpu().Complain("a context is popped that was not pushed");
    return CUDA_ERROR_INVALID_CONTEXT;
  }
  *context = current.back();
  current.pop_back();
  return CUDA_SUCCESS;
}

CUresult cuModuleLoadDataEx(CUmodule* module, const void* image, unsigned num_options,
                            CUjit_option* options, void** values) {
  FakeGpu& gpu = Gpu();
  const Lock lock(gpu.mutex);
  if (const CUresult result = ReadyOutsideCapture("a load"); result != CUDA_SUCCESS) return result;
  std::string text = static_cast<const char*>(image);
  // Machine code in other containers than one, whose headers a driver would believe.
  for (const char* magic : {"\x50\xed\x55\xba", "\xb1\x43\x62\x46"}) {
    if (text.rfind(magic, 0) != 0) continue;
    gpu.Complain("an image that is no text");
    return CUDA_ERROR_INVALID_IMAGE;
  }
  const bool machine_code = text.rfind(ELFMAG, 0) == 0;
  if (machine_code && gpu.options.no_machine_code) return CUDA_ERROR_NO_BINARY_FOR_GPU;
  // It believes that this is what fake_ptxas made.
  if (machine_code) text = FakeCubin(static_cast<char*>(const_cast<void*>(image))).ptx();
  if (FakeGpu::Fails(&gpu.options.fail_load)) {
    WriteLog(
        "ptxas application ptx input, line 7; error : told to fail\x01\n" + std::string(20000, '!'),
        num_options, options, values);
    return CUDA_ERROR_INVALID_PTX;
  }
  // CUDA 11.4 takes PTX 7.4, 12.1 takes 8.1.
  const int version = gpu.options.version;
  if (PtxVersion(text) > 10 * (version / 1000 - 4) + version % 1000 / 10) {
    return CUDA_ERROR_UNSUPPORTED_PTX_VERSION;
  }
  const absl::StatusOr<int> loaded = gpu.emulator->Load(std::move(text));
  if (!loaded.ok()) {
    WriteLog("ptxas fatal: " + std::string(loaded.status().message()), num_options, options,
             values);
    return CUDA_ERROR_INVALID_PTX;
  }
  auto* made = new FakeModule{*loaded, current.back()};
  gpu.modules.insert(made);
  *module = reinterpret_cast<CUmodule>(made);
  if (machine_code) ++gpu.counts.machine_code;
  return CUDA_SUCCESS;
}

CUresult cuModuleUnload(CUmodule module) {
  FakeGpu& gpu = Gpu();
  const Lock lock(gpu.mutex);
  if (const CUresult ready = ReadyToRelease(); ready != CUDA_SUCCESS) return ready;
  auto* made = reinterpret_cast<FakeModule*>(module);
  CheckContext(made->context, "a module");
  if (gpu.modules.erase(made) == 0) {
    gpu.Complain("a module is unloaded that is not there");
    return CUDA_ERROR_INVALID_HANDLE;
  }
  for (const FakeStream* stream : gpu.streams) {
    for (const FakeWork& work : stream->work) {
      if (work.function != nullptr && work.function->module == made) {
        gpu.Complain("a module is unloaded whose kernels are yet to run");
      }
    }
  }
  std::erase_if(gpu.functions, [&](const auto& entry) { return entry.first.first == made; });
  (void)gpu.emulator->Unload(made->module);
  delete made;
  return gpu.lost;
}

CUresult cuModuleGetFunction(CUfunction* function, CUmodule module, const char* name) {
  FakeGpu& gpu = Gpu();
  const Lock lock(gpu.mutex);
  if (const CUresult result = Ready(); result != CUDA_SUCCESS) return result;
  const auto* made = reinterpret_cast<const FakeModule*>(module);
  const absl::StatusOr<ptx::FunctionHandle> found = gpu.emulator->GetFunction(made->module, name);
  if (!found.ok()) return CUDA_ERROR_NOT_FOUND;
  std::unique_ptr<FakeFunction>& entry = gpu.functions[{made, name}];
  if (entry == nullptr) {
    entry = std::make_unique<FakeFunction>(
        FakeFunction{made, *found, gpu.emulator->Parameters(*found), std::nullopt});
  }
  *function = reinterpret_cast<CUfunction>(entry.get());
  return CUDA_SUCCESS;
}

CUresult cuFuncGetAttribute(int* value, CUfunction_attribute attribute, CUfunction function) {
  const Lock lock(Gpu().mutex);
  const auto* made = reinterpret_cast<const FakeFunction*>(function);
  switch (attribute) {
    case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
      *value = Gpu().options.threads_of_kernels;
      return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_NUM_REGS:
      *value = 65536 / Gpu().options.threads_of_kernels;
      return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES:
      *value = static_cast<int>(ptx::Emulator::SharedBytes(made->function));
      return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES:
      *value = static_cast<int>(made->MaxDynamicShared());
      return CUDA_SUCCESS;
  }
  return CUDA_ERROR_INVALID_VALUE;
}

CUresult cuFuncSetAttribute(CUfunction function, CUfunction_attribute attribute, int value) {
  FakeGpu& gpu = Gpu();
  const Lock lock(gpu.mutex);
  if (const CUresult result = Ready(); result != CUDA_SUCCESS) return result;
  auto* made = reinterpret_cast<FakeFunction*>(function);
  if (attribute != CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES || value < 0 ||
      !gpu.emulator->SetMaxDynamicShared(made->function, static_cast<uint32_t>(value)).ok()) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  made->allowed_shared = static_cast<uint32_t>(value);
  return CUDA_SUCCESS;
}

CUresult cuFuncGetParamInfo(CUfunction function, size_t index, size_t* offset, size_t* bytes) {
  const Lock lock(Gpu().mutex);
  const auto& parameters = reinterpret_cast<const FakeFunction*>(function)->parameters;
  if (index >= parameters.size()) return CUDA_ERROR_INVALID_VALUE;
  *offset = 0;
  for (size_t i = 0; i < index; ++i) *offset += parameters[i].bytes;
  *bytes = parameters[index].bytes;
  return CUDA_SUCCESS;
}

// Writes a map in the emulator's form; `set` adds what the mode has besides the tensor.
template <typename Set>
CUresult EncodeMap(CUtensorMap* map, CUtensorMapDataType type, uint32_t rank, void* address,
                   const uint64_t* sizes, const uint64_t* strides, CUtensorMapSwizzle swizzle,
                   const Set& set) {
  FakeGpu& gpu = Gpu();
  const Lock lock(gpu.mutex);
  if (const CUresult result = Ready(); result != CUDA_SUCCESS) return result;
  if (FakeGpu::Fails(&gpu.options.fail_tensor_map)) return CUDA_ERROR_INVALID_VALUE;
  ++gpu.counts.tensor_maps;
  if (rank < 1 || rank > 5 || reinterpret_cast<uintptr_t>(map) % 64 != 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  ptx::TensorMap tensor;
  tensor.address = reinterpret_cast<uintptr_t>(address);
  tensor.rank = static_cast<int>(rank);
  tensor.element_bytes = type == CU_TENSOR_MAP_DATA_TYPE_UINT64   ? 8
                         : type == CU_TENSOR_MAP_DATA_TYPE_UINT32 ? 4
                         : type == CU_TENSOR_MAP_DATA_TYPE_UINT16 ? 2
                                                                  : 1;
  for (uint32_t i = 0; i < rank; ++i) {
    tensor.sizes[i] = sizes[i];
    if (i > 0) tensor.stride_bytes[i] = strides[i - 1];
  }
  tensor.swizzle_bytes = swizzle == CU_TENSOR_MAP_SWIZZLE_NONE ? 0 : 16u << swizzle;
  if (!set(tensor)) return CUDA_ERROR_INVALID_VALUE;
  return EncodeTensorMap(tensor, map).ok() ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuTensorMapEncodeTiled(CUtensorMap* map, CUtensorMapDataType type, uint32_t rank,
                                void* address, const uint64_t* sizes, const uint64_t* strides,
                                const uint32_t* box, const uint32_t* element_strides,
                                CUtensorMapInterleave, CUtensorMapSwizzle swizzle,
                                CUtensorMapL2promotion, CUtensorMapFloatOOBfill) {
  return EncodeMap(map, type, rank, address, sizes, strides, swizzle, [&](ptx::TensorMap& tensor) {
    std::copy_n(box, rank, tensor.box.begin());
    return std::all_of(element_strides, element_strides + rank,
                       [](uint32_t stride) { return stride == 1; });
  });
}

CUresult cuTensorMapEncodeIm2col(CUtensorMap* map, CUtensorMapDataType type, uint32_t rank,
                                 void* address, const uint64_t* sizes, const uint64_t* strides,
                                 const int* lower_corner, const int* upper_corner,
                                 uint32_t channels, uint32_t pixels,
                                 const uint32_t* element_strides, CUtensorMapInterleave,
                                 CUtensorMapSwizzle swizzle, CUtensorMapL2promotion,
                                 CUtensorMapFloatOOBfill) {
  return EncodeMap(map, type, rank, address, sizes, strides, swizzle, [&](ptx::TensorMap& tensor) {
    if (rank < 3) return false;
    tensor.im2col = true;
    tensor.box = {channels, pixels};
    std::copy_n(lower_corner, rank - 2, tensor.lower_corner.begin());
    std::copy_n(upper_corner, rank - 2, tensor.upper_corner.begin());
    std::copy_n(element_strides + 1, rank - 2, tensor.element_strides.begin());
    return element_strides[0] == 1 && element_strides[rank - 1] == 1;
  });
}

CUresult cuMemAlloc_v2(CUdeviceptr* address, size_t bytes) {
  FakeGpu& gpu = Gpu();
  const Lock lock(gpu.mutex);
  const CUresult ready = ReadyOutsideCapture("an allocation");
  if (ready != CUDA_SUCCESS) return ready;
  if (bytes == 0) return CUDA_ERROR_INVALID_VALUE;
  const bool refused = gpu.options.no_memory || FakeGpu::Fails(&gpu.options.fail_allocation) ||
                       bytes > gpu.FreeBytes();
  const absl::StatusOr<uint64_t> made =
      refused ? absl::ResourceExhaustedError("") : gpu.emulator->Allocate(bytes, "an allocation");
  if (!made.ok()) {
    ++gpu.counts.refused_allocations;
    return CUDA_ERROR_OUT_OF_MEMORY;
  }
  gpu.allocations[*made] = bytes;
  *address = *made;
  return CUDA_SUCCESS;
}

CUresult cuMemFree_v2(CUdeviceptr address) {
  FakeGpu& gpu = Gpu();
  const Lock lock(gpu.mutex);
  if (const CUresult ready = ReadyToRelease(); ready != CUDA_SUCCESS) return ready;
  const auto found = gpu.allocations.find(address);
  if (found == gpu.allocations.end()) {
    gpu.Complain("memory is freed that was not allocated");
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (gpu.lost == CUDA_SUCCESS && gpu.IsUsed(address, found->second)) {
    gpu.Complain("memory is freed that work in a stream still uses");
  }
  gpu.allocations.erase(found);
  (void)gpu.emulator->Free(address);
  return gpu.lost;
}

CUresult cuMemGetInfo_v2(size_t* free, size_t* total) {
  FakeGpu& gpu = Gpu();
  const Lock lock(gpu.mutex);
  *total = static_cast<size_t>(gpu.options.memory_bytes);
  *free = gpu.FreeBytes();
  return CUDA_SUCCESS;
}

CUresult cuMemHostAlloc(void** address, size_t bytes, unsigned) {
  FakeGpu& gpu = Gpu();
  const Lock lock(gpu.mutex);
  if (const CUresult ready = ReadyOutsideCapture("pinning"); ready != CUDA_SUCCESS) return ready;
  if (gpu.options.no_pinned || FakeGpu::Fails(&gpu.options.fail_pinning))
    return CUDA_ERROR_OUT_OF_MEMORY;
  *address = std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
  gpu.pinned[static_cast<char*>(*address)] = bytes;
  return CUDA_SUCCESS;
}

CUresult cuMemFreeHost(void* address) {
  FakeGpu& gpu = Gpu();
  const Lock lock(gpu.mutex);
  if (const CUresult ready = ReadyToRelease(); ready != CUDA_SUCCESS) return ready;
  const auto found = gpu.pinned.find(static_cast<char*>(address));
  if (found == gpu.pinned.end()) {
    gpu.Complain("pinned memory is freed that is not there");
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (gpu.lost == CUDA_SUCCESS && gpu.IsUsed(reinterpret_cast<uintptr_t>(address), found->second)) {
    gpu.Complain("pinned memory is freed that work in a stream still uses");
  }
  gpu.pinned.erase(found);
  std::free(address);
  return gpu.lost;
}

CUresult cuMemsetD8Async(CUdeviceptr address, unsigned char value, size_t bytes, CUstream stream) {
  const Lock lock(Gpu().mutex);
  if (const CUresult ready = Ready(); ready != CUDA_SUCCESS) return ready;
  FakeWork work;
  work.kind = FakeWork::kFill;
  work.to = address;
  work.value = value;
  work.bytes = bytes;
  return Add(stream, std::move(work));
}

CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void* from, size_t bytes, CUstream stream) {
  const Lock lock(Gpu().mutex);
  if (const CUresult ready = Ready(); ready != CUDA_SUCCESS) return ready;
  FakeWork work;
  work.kind = FakeWork::kCopyIn;
  work.to = to;
  work.host = const_cast<void*>(from);
  work.bytes = bytes;
  return Add(stream, std::move(work));
}

CUresult cuMemcpyDtoHAsync_v2(void* to, CUdeviceptr from, size_t bytes, CUstream stream) {
  const Lock lock(Gpu().mutex);
  if (const CUresult ready = Ready(); ready != CUDA_SUCCESS) return ready;
  FakeWork work;
  work.kind = FakeWork::kCopyOut;
  work.host = to;
  work.from = from;
  work.bytes = bytes;
  return Add(stream, std::move(work));
}

CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream) {
  const Lock lock(Gpu().mutex);
  if (const CUresult ready = Ready(); ready != CUDA_SUCCESS) return ready;
  FakeWork work;
  work.kind = FakeWork::kCopyWithin;
  work.to = to;
  work.from = from;
  work.bytes = bytes;
  return Add(stream, std::move(work));
}

CUresult cuStreamCreate(CUstream* stream, unsigned) {
  const Lock lock(Gpu().mutex);
  if (const CUresult ready = Ready(); ready != CUDA_SUCCESS) return ready;
  auto* made = new FakeStream;
  made->context = current.back();
  Gpu().streams.insert(made);
  *stream = reinterpret_cast<CUstream>(made);
  return CUDA_SUCCESS;
}

CUresult cuStreamDestroy_v2(CUstream stream) {
  FakeGpu& gpu = Gpu();
  const Lock lock(gpu.mutex);
  if (const CUresult ready = ReadyToRelease(); ready != CUDA_SUCCESS) return ready;
  if (gpu.streams.count(Of(stream)) == 0) {
    gpu.Complain("a stream is destroyed that is not there");
    return CUDA_ERROR_INVALID_HANDLE;
  }
  if (gpu.lost == CUDA_SUCCESS && !Of(stream)->work.empty()) {
    gpu.Complain("a stream is destroyed before its work is done");
  }
  gpu.streams.erase(Of(stream));
  delete Of(stream);
  return gpu.lost;
}

CUresult cuStreamQuery(CUstream stream) {
  FakeGpu& gpu = Gpu();
  const Lock lock(gpu.mutex);
  const CUresult ready = ReadyOutsideCapture("a question");
  if (ready != CUDA_SUCCESS) return ready;
  if (Of(stream)->work.empty()) return gpu.lost;
  if (gpu.options.asked != nullptr) *gpu.options.asked = true;
  if (!gpu.options.busy) gpu.Step(*Of(stream));
  return gpu.lost != CUDA_SUCCESS ? gpu.lost : CUDA_ERROR_NOT_READY;
}

CUresult cuStreamSynchronize(CUstream stream) {
  FakeGpu& gpu = Gpu();
  const Lock lock(gpu.mutex);
  const CUresult ready = ReadyOutsideCapture("waiting");
  if (ready != CUDA_SUCCESS) return ready;
  CountBlocked(Of(stream)->work.empty());
  gpu.Drain(*Of(stream));
  return gpu.lost;
}

CUresult cuStreamWaitEvent(CUstream stream, CUevent event, unsigned) {
  FakeGpu& gpu = Gpu();
  const Lock lock(gpu.mutex);
  if (const CUresult ready = Ready(); ready != CUDA_SUCCESS) return ready;
  const auto found = gpu.events.find(Of(event));
  if (found == gpu.events.end()) return CUDA_ERROR_INVALID_HANDLE;
  FakeWork work;
  ++gpu.counts.event_waits;
  work.kind = FakeWork::kWait;
  work.event = found->second;
  work.record = found->second->recorded;
  return Add(stream, std::move(work));
}

CUresult cuStreamBeginCapture_v2(CUstream stream, CUstreamCaptureMode) {
  const Lock lock(Gpu().mutex);
  if (const CUresult ready = Ready(); ready != CUDA_SUCCESS) return ready;
  if (Of(stream)->capture != nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (FakeGpu::Fails(&Gpu().options.fail_capture)) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  Of(stream)->capture = std::make_unique<FakeGraph>();
  Of(stream)->capturing_thread = std::this_thread::get_id();
  Of(stream)->invalidated = false;
  return CUDA_SUCCESS;
}

CUresult cuStreamEndCapture(CUstream stream, CUgraph* graph) {
  FakeGpu& gpu = Gpu();
  const Lock lock(gpu.mutex);
  *graph = nullptr;
  std::unique_ptr<FakeGraph> captured = std::move(Of(stream)->capture);
  if (captured == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (Of(stream)->invalidated) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
  ++gpu.counts.captures;
  *graph = reinterpret_cast<CUgraph>(captured.get());
  gpu.graphs.insert(captured.release());
  return gpu.lost;
}

CUresult cuGraphInstantiateWithFlags(CUgraphExec* exec, CUgraph graph, unsigned long long) {
  FakeGpu& gpu = Gpu();
  const Lock lock(gpu.mutex);
  if (const CUresult ready = Ready(); ready != CUDA_SUCCESS) return ready;
  if (FakeGpu::Fails(&gpu.options.fail_instantiate)) return CUDA_ERROR_OUT_OF_MEMORY;
  auto* made = new FakeGraph(*reinterpret_cast<const FakeGraph*>(graph));
  for (FakeWork& work : made->work) work.of_graph = true;
  gpu.executable_graphs.insert(made);
  *exec = reinterpret_cast<CUgraphExec>(made);
  return CUDA_SUCCESS;
}

CUresult cuGraphLaunch(CUgraphExec exec, CUstream stream) {
  FakeGpu& gpu = Gpu();
  const Lock lock(gpu.mutex);
  if (const CUresult ready = Ready(); ready != CUDA_SUCCESS) return ready;
  const auto* graph = reinterpret_cast<FakeGraph*>(exec);
  if (gpu.executable_graphs.count(const_cast<FakeGraph*>(graph)) == 0) {
    return CUDA_ERROR_INVALID_HANDLE;
  }
  if (FakeGpu::Fails(&gpu.options.fail_graph_launch)) return CUDA_ERROR_OUT_OF_MEMORY;
  ++gpu.counts.graph_launches;
  for (const FakeWork& work : graph->work) {
    const CUresult result = Add(stream, work);
    if (result != CUDA_SUCCESS) return result;
  }
  return CUDA_SUCCESS;
}

CUresult cuGraphDestroy(CUgraph graph) {
  const Lock lock(Gpu().mutex);
  if (const CUresult ready = ReadyToRelease(); ready != CUDA_SUCCESS) return ready;
  auto* made = reinterpret_cast<FakeGraph*>(graph);
  if (Gpu().graphs.erase(made) == 0) return CUDA_ERROR_INVALID_HANDLE;
  delete made;
  return Gpu().lost;
}

CUresult cuGraphExecDestroy(CUgraphExec exec) {
  const Lock lock(Gpu().mutex);
  if (const CUresult ready = ReadyToRelease(); ready != CUDA_SUCCESS) return ready;
  auto* made = reinterpret_cast<FakeGraph*>(exec);
  if (Gpu().executable_graphs.erase(made) == 0) return CUDA_ERROR_INVALID_HANDLE;
  delete made;
  return Gpu().lost;
}

CUresult cuEventCreate(CUevent* event, unsigned flags) {
  const Lock lock(Gpu().mutex);
  if (const CUresult ready = Ready(); ready != CUDA_SUCCESS) return ready;
  auto made = std::make_shared<FakeEvent>();
  made->context = current.back();
  made->timed = (flags & CU_EVENT_DISABLE_TIMING) == 0;
  *event = reinterpret_cast<CUevent>(made.get());
  Gpu().events[made.get()] = made;
  return CUDA_SUCCESS;
}

CUresult cuEventRecord(CUevent event, CUstream stream) {
  FakeGpu& gpu = Gpu();
  const Lock lock(gpu.mutex);
  if (const CUresult ready = Ready(); ready != CUDA_SUCCESS) return ready;
  const auto found = gpu.events.find(Of(event));
  if (found == gpu.events.end()) return CUDA_ERROR_INVALID_HANDLE;
  FakeWork work;
  work.kind = FakeWork::kRecord;
  work.event = found->second;
  if (FakeGpu::Fails(&gpu.options.fail_record)) return CUDA_ERROR_OUT_OF_MEMORY;
  CheckContext(found->second->context, "an event");
  work.record = ++found->second->recorded;
  found->second->stream = Of(stream);
  return Add(stream, std::move(work));
}

CUresult cuEventQuery(CUevent event) {
  FakeGpu& gpu = Gpu();
  const Lock lock(gpu.mutex);
  const CUresult ready = ReadyOutsideCapture("a question");
  if (ready != CUDA_SUCCESS) return ready;
  CheckContext(Of(event)->context, "an event");
  if (Of(event)->done == Of(event)->recorded) return gpu.lost;
  if (!gpu.options.busy) gpu.Step(*Of(event)->stream);
  return gpu.lost != CUDA_SUCCESS ? gpu.lost : CUDA_ERROR_NOT_READY;
}

CUresult cuEventSynchronize(CUevent event) {
  FakeGpu& gpu = Gpu();
  const Lock lock(gpu.mutex);
  const CUresult ready = ReadyOutsideCapture("waiting");
  if (ready != CUDA_SUCCESS) return ready;
  CountBlocked(Of(event)->done == Of(event)->recorded);
  while (gpu.lost == CUDA_SUCCESS && Of(event)->done < Of(event)->recorded) {
    gpu.Step(*Of(event)->stream);
  }
  return gpu.lost;
}

CUresult cuEventElapsedTime(float* milliseconds, CUevent start, CUevent end) {
  FakeGpu& gpu = Gpu();
  const Lock lock(gpu.mutex);
  const CUresult ready = ReadyOutsideCapture("a question");
  if (ready != CUDA_SUCCESS) return ready;
  for (const FakeEvent* event : {Of(start), Of(end)}) {
    CheckContext(event->context, "an event");
    if (!event->timed || event->recorded == 0) return CUDA_ERROR_INVALID_HANDLE;
    if (event->done < event->recorded) return CUDA_ERROR_NOT_READY;
  }
  *milliseconds = static_cast<float>((Of(end)->microseconds - Of(start)->microseconds) * 1e-3);
  return gpu.lost;
}

CUresult cuEventDestroy_v2(CUevent event) {
  const Lock lock(Gpu().mutex);
  if (const CUresult ready = ReadyToRelease(); ready != CUDA_SUCCESS) return ready;
  if (Gpu().events.erase(Of(event)) == 0) {
    Gpu().Complain("an event is destroyed that is not there");
    return CUDA_ERROR_INVALID_HANDLE;
  }
  return Gpu().lost;
}

CUresult cuLaunchKernel(CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                        unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared_bytes,
                        CUstream stream, void** parameters, void** extra) {
  FakeGpu& gpu = Gpu();
  const Lock lock(gpu.mutex);
  if (const CUresult ready = Ready(); ready != CUDA_SUCCESS) return ready;
  if (Of(stream)->capture == nullptr) ++gpu.counts.launches;
  if (FakeGpu::Fails(&gpu.options.fail_launch)) {
    return static_cast<CUresult>(gpu.options.launch_result);
  }
  FakeWork work;
  work.function = reinterpret_cast<const FakeFunction*>(function);
  work.grid = {grid_x, grid_y, grid_z};
  work.block = {block_x, block_y, block_z};
  work.shared_bytes = shared_bytes;
  if (work.grid.Count() == 0 || work.block.Count() == 0 || work.block.Count() > kMaxThreads ||
      shared_bytes > work.function->MaxDynamicShared() ||
      !ReadParameters(*work.function, parameters, extra, &work.parameters)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  return Add(stream, std::move(work));
}

}  // namespace

void InstallFakeDriver(const std::string& library) {
  void* handle = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  void* install = handle == nullptr ? nullptr : dlsym(handle, "weft_install_driver");
  if (install == nullptr) {
    std::fprintf(stderr, "%s: expected the library of the fake driver\n", library.c_str());
    std::abort();
  }
  DriverApi api;
#define WEFT_SET(symbol, parameters) api.symbol = symbol;
  WEFT_CUDA_DRIVER_FUNCTIONS(WEFT_SET)
  WEFT_CUDA_OPTIONAL_FUNCTIONS(WEFT_SET)
#undef WEFT_SET
  reinterpret_cast<void (*)(const DriverApi*)>(install)(&api);
}

}  // namespace weft::cuda
