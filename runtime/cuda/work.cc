#include "runtime/cuda/work.h"

#include <algorithm>

namespace weft::cuda {
namespace {

// The first word of an entry: its kind, and for a launch, above it, how many of its parameters are
// tensor maps, and above that, how many are words; for a library's call how many words are its
// buffers' addresses.
enum Kind : uint64_t { kLaunch, kCall, kCopyWithin, kCopyIn, kCopyOut };
constexpr int kKindBits = 8, kMapsBits = 24;
// Words before a launch's parameters: kind, function, blocks, threads and shared memory of a block,
// step.
constexpr size_t kLaunchWords = 6;
constexpr size_t kMapWords = sizeof(CUtensorMap) / 8;
static_assert(sizeof(CUtensorMap) == kTensorMapBytes);
// kind, call, step.
constexpr size_t kCallWords = 3;
// kind, to, from, bytes.
constexpr size_t kCopyWords = 4;

template <typename Pointer>
uint64_t WordOf(Pointer* pointer) {
  return reinterpret_cast<uintptr_t>(pointer);
}
template <typename Pointer>
Pointer PointerOf(uint64_t word) {
  return reinterpret_cast<Pointer>(static_cast<uintptr_t>(word));
}

// `pointers`: room for this.
CUresult IssueLaunch(const DriverApi& api, CUstream stream, const uint64_t* entry, size_t maps,
                     size_t words, std::vector<void*>& pointers) {
  auto* parameters = const_cast<uint64_t*>(entry + kLaunchWords);
  size_t bytes = 8 * words;
  // The driver copies the parameters, as many as there are, whatever the kernel declares.
  void* extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, parameters, CU_LAUNCH_PARAM_BUFFER_SIZE, &bytes,
                   CU_LAUNCH_PARAM_END};
  // Where maps are among them they do not lie as in a structure: their alignment is that of an
  // address in the bank of constants, whose first parameter is at no multiple of it. So each is
  // given by itself.
  pointers.clear();
  for (size_t i = 0; i < maps; ++i, parameters += kMapWords) pointers.push_back(parameters);
  for (size_t i = 0; maps > 0 && i < words; ++i) pointers.push_back(parameters++);
  return api.cuLaunchKernel(PointerOf<CUfunction>(entry[1]), static_cast<unsigned>(entry[2]), 1, 1,
                            static_cast<unsigned>(entry[3]), 1, 1, static_cast<unsigned>(entry[4]),
                            stream, maps > 0 ? pointers.data() : nullptr,
                            maps > 0 || words == 0 ? nullptr : extra);
}

}  // namespace

// Apart, since the size of weft-run is bounded.
[[gnu::noinline]] void Work::Push(uint64_t word) { words_.push_back(word); }

void Work::Launch(const Kernel& kernel, const WeftLaunch& launch,
                  std::span<const CUtensorMap> maps) {
  const uint32_t num_sizes = launch.num_sizes - NumMapSizes(kernel.maps);
  const uint64_t num_words = uint64_t{launch.num_buffers} + num_sizes;
  Push(kLaunch | uint64_t{maps.size()} << kKindBits | num_words << (kKindBits + kMapsBits));
  Push(WordOf(kernel.function));
  Push(static_cast<uint64_t>(std::min(launch.tiles, kernel.max_blocks)));
  Push(kernel.block_threads);
  Push(static_cast<uint64_t>(launch.scratch_bytes));
  Push(WordOf(launch.step));
  for (const CUtensorMap& map : maps) {
    for (const uint64_t word : map.opaque) Push(word);
  }
  for (uint32_t i = 0; i < launch.num_buffers; ++i) Push(WordOf(launch.buffers[i]));
  for (uint32_t i = 0; i < num_sizes; ++i) {
    Push(static_cast<uint64_t>(launch.sizes[i]));
  }
  ++size_;
  ++starts_;
  launches_.Add({1, launch.step, launch.step});
}

void Work::Call(const LibraryCall& call, const WeftLaunch& launch) {
  Push(kCall | uint64_t{launch.num_buffers} << kKindBits);
  Push(WordOf(&call));
  Push(WordOf(launch.step));
  for (uint32_t i = 0; i < launch.num_buffers; ++i) Push(WordOf(launch.buffers[i]));
  ++size_;
  starts_ += call.starts();
  launches_.Add({1, launch.step, launch.step});
}

void Work::Copy(uint64_t kind, uint64_t to, uint64_t from, size_t bytes) {
  for (const uint64_t word : {kind, to, from, uint64_t{bytes}}) Push(word);
  ++size_;
  ++starts_;
}

void Work::CopyWithin(CUdeviceptr to, CUdeviceptr from, size_t bytes) {
  Copy(kCopyWithin, to, from, bytes);
}
void Work::CopyIn(CUdeviceptr to, const void* from, size_t bytes) {
  Copy(kCopyIn, to, WordOf(from), bytes);
}
void Work::CopyOut(void* to, CUdeviceptr from, size_t bytes) {
  Copy(kCopyOut, WordOf(to), from, bytes);
}

Issued Work::Issue(const DriverApi& api, CUstream stream) const {
  Issued issued;
  std::vector<void*> pointers;
  for (size_t i = 0; i < words_.size(); ++issued.size) {
    const uint64_t* entry = words_.data() + i;
    Launches launch;
    switch (entry[0] & ((uint64_t{1} << kKindBits) - 1)) {
      case kLaunch: {
        const size_t maps = entry[0] >> kKindBits & ((1 << kMapsBits) - 1);
        const size_t words = entry[0] >> (kKindBits + kMapsBits);
        const auto* step = PointerOf<const WeftStep*>(entry[5]);
        launch = {1, step, step};
        issued.result = IssueLaunch(api, stream, entry, maps, words, pointers);
        i += kLaunchWords + maps * kMapWords + words;
        break;
      }
      case kCall: {
        const auto* step = PointerOf<const WeftStep*>(entry[2]);
        launch = {1, step, step};
        // CUdeviceptr is another name of what words are.
        static_assert(sizeof(CUdeviceptr) == sizeof(uint64_t));
        issued.library_error = PointerOf<const LibraryCall*>(entry[1])->Start(
            stream, reinterpret_cast<const CUdeviceptr*>(entry + kCallWords));
        if (issued.library_error != nullptr) issued.result = CUDA_ERROR_UNKNOWN;
        i += kCallWords + (entry[0] >> kKindBits);
        break;
      }
      case kCopyWithin:
        issued.result = api.cuMemcpyDtoDAsync_v2(entry[1], entry[2], entry[3], stream);
        i += kCopyWords;
        break;
      case kCopyIn:
        issued.result =
            api.cuMemcpyHtoDAsync_v2(entry[1], PointerOf<const void*>(entry[2]), entry[3], stream);
        i += kCopyWords;
        break;
      default:
        issued.result =
            api.cuMemcpyDtoHAsync_v2(PointerOf<void*>(entry[1]), entry[2], entry[3], stream);
        i += kCopyWords;
        break;
    }
    if (issued.result != CUDA_SUCCESS) {
      issued.refused = launch;
      return issued;
    }
    issued.launches.Add(launch);
  }
  return issued;
}

uint64_t Work::Hash() const {
  uint64_t hash = words_.size();
  for (const uint64_t word : words_) {
    hash = (hash ^ word) * 0x9e3779b97f4a7c15;  // odd, with bits everywhere
    hash ^= hash >> 32;
  }
  return hash;
}

void Work::Clear() {
  words_.clear();
  size_ = starts_ = 0;
  launches_ = {};
}

}  // namespace weft::cuda
