// For tests and benchmarks of the code generator: runs an image in this process. (The runtime has a
// loader of its own.)
#ifndef WEFT_COMPILER_CODEGEN_CPU_LOADED_IMAGE_H_
#define WEFT_COMPILER_CODEGEN_CPU_LOADED_IMAGE_H_

#include <sys/mman.h>

#include <cstring>
#include <string>

#include "compiler/codegen/cpu/backend.h"
#include "runtime/core/kernel_abi.h"

namespace weft {

// Owns the mapping; kernels are valid while it lives.
class LoadedImage {
 public:
  explicit LoadedImage(const CodeImage& image)
      : symbols_(image.symbols), size_(image.bytes.size()) {
    if (size_ == 0) return;
    void* memory = mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return;
    std::memcpy(memory, image.bytes.data(), size_);
    if (mprotect(memory, size_, PROT_READ | PROT_EXEC) != 0) {
      munmap(memory, size_);
      return;
    }
    base_ = static_cast<char*>(memory);
  }
  LoadedImage(const LoadedImage&) = delete;
  LoadedImage& operator=(const LoadedImage&) = delete;
  ~LoadedImage() {
    if (base_ != nullptr) munmap(base_, size_);
  }

  // Null where there is no such kernel or the image could not be mapped.
  WeftKernel Find(const std::string& name) const {
    auto symbol = symbols_.find(name);
    if (base_ == nullptr || symbol == symbols_.end()) return nullptr;
    return reinterpret_cast<WeftKernel>(base_ + symbol->second);
  }

 private:
  std::map<std::string, uint64_t> symbols_;
  size_t size_;
  char* base_ = nullptr;
};

}  // namespace weft

#endif  // WEFT_COMPILER_CODEGEN_CPU_LOADED_IMAGE_H_
