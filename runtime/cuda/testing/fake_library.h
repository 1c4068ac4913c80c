// What libraries made for tests share: they compute on the emulator's memory when their turn in the
// stream comes.
#ifndef WEFT_RUNTIME_CUDA_TESTING_FAKE_LIBRARY_H_
#define WEFT_RUNTIME_CUDA_TESTING_FAKE_LIBRARY_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "proto/dtype.h"
#include "runtime/cuda/testing/fake_gpu.h"

namespace weft::cuda {

// `library`, made of library_stub.h, is what dlopen takes: from now on its functions are those of
// `api`, its struct of pointers.
void InstallFakeLibrary(const std::string& library, const void* api);

// Elements in the emulator's memory.
class FakeElements {
 public:
  FakeElements(DataType dtype, uint64_t address, int64_t count)
      : dtype_(dtype), address_(address), bytes_(static_cast<size_t>(count * SizeOf(dtype))) {}
  absl::Status Read(ptx::Emulator& emulator) {
    return emulator.CopyToHost(bytes_.data(), address_, bytes_.size());
  }
  absl::Status Write(ptx::Emulator& emulator) const {
    return emulator.CopyToDevice(address_, bytes_.data(), bytes_.size());
  }
  double Get(int64_t index) const;
  // Rounded to the dtype.
  void Set(int64_t index, double value);

 private:
  const DataType dtype_;
  const uint64_t address_;
  std::vector<char> bytes_;
};

inline uint64_t AddressOfPointer(const void* pointer) {
  return reinterpret_cast<uintptr_t>(pointer);
}

// Work for a stream that uses these addresses. All of the workspace may be overwritten before.
FakeWork LibraryWork(const std::vector<uint64_t>& addresses, double microseconds,
                     uint64_t workspace, size_t workspace_bytes,
                     std::function<absl::Status(ptx::Emulator&)> compute);

}  // namespace weft::cuda

#endif  // WEFT_RUNTIME_CUDA_TESTING_FAKE_LIBRARY_H_
