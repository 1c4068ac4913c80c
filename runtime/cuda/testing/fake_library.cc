#include "runtime/cuda/testing/fake_library.h"

#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace weft::cuda {

void InstallFakeLibrary(const std::string& library, const void* api) {
  void* handle = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  void* install = handle == nullptr ? nullptr : dlsym(handle, "weft_install_library");
  if (install == nullptr) {
    std::fprintf(stderr, "%s: expected a library made for tests\n", library.c_str());
    std::abort();
  }
  reinterpret_cast<void (*)(const void*)>(install)(api);
}

double FakeElements::Get(int64_t index) const {
  const auto read = [&](auto value) {
    memcpy(&value, bytes_.data() + static_cast<size_t>(index) * sizeof value, sizeof value);
    return value;
  };
  switch (dtype_) {
    case DataType::kF64:
      return read(double{});
    case DataType::kF16:
      return static_cast<double>(static_cast<float>(read(F16{})));
    case DataType::kBF16:
      return static_cast<float>(read(BF16{}));
    default:
      return read(float{});
  }
}

void FakeElements::Set(int64_t index, double value) {
  const auto write = [&](auto rounded) {
    memcpy(bytes_.data() + static_cast<size_t>(index) * sizeof rounded, &rounded, sizeof rounded);
  };
  switch (dtype_) {
    case DataType::kF64:
      return write(value);
    case DataType::kF16:
      return write(static_cast<F16>(static_cast<float>(value)));
    case DataType::kBF16:
      return write(BF16(static_cast<float>(value)));
    default:
      return write(static_cast<float>(value));
  }
}

FakeWork LibraryWork(const std::vector<uint64_t>& addresses, double microseconds,
                     uint64_t workspace, size_t workspace_bytes,
                     std::function<absl::Status(ptx::Emulator&)> compute) {
  FakeWork work;
  work.microseconds = microseconds;
  work.compute = [workspace, workspace_bytes,
                  compute = std::move(compute)](ptx::Emulator& emulator) {
    absl::Status status =
        workspace_bytes == 0 ? absl::OkStatus() : emulator.Fill(workspace, 0xff, workspace_bytes);
    return status.ok() ? compute(emulator) : status;
  };
  for (const uint64_t address : addresses) {
    std::vector<uint8_t>& parameter = work.parameters.emplace_back(sizeof address);
    memcpy(parameter.data(), &address, sizeof address);
  }
  return work;
}

}  // namespace weft::cuda
