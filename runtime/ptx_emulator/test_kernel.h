#ifndef WEFT_RUNTIME_PTX_EMULATOR_TEST_KERNEL_H_
#define WEFT_RUNTIME_PTX_EMULATOR_TEST_KERNEL_H_

#include <cstring>
#include <initializer_list>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "gtest/gtest.h"
#include "runtime/ptx_emulator/emulator.h"
#include "runtime/ptx_emulator/text.h"

// For tests: kernels from snippets of PTX, and arrays in and out of an emulator.
namespace weft::ptx {

inline std::string Header(std::string_view target = "sm_90a", std::string_view version = "8.0") {
  return Cat(".version ", version, "\n.target ", target, "\n.address_size 64\n");
}

// An emulator with one module, and the buffers of a launch.
class TestDevice {
 public:
  explicit TestDevice(const EmulatorOptions& options = {}) : emulator_(options) {}

  void Load(const std::string& text, std::vector<SourceNote> notes = {}) {
    absl::StatusOr<int> module = emulator_.Load(text, std::move(notes));
    ASSERT_TRUE(module.ok()) << module.status();
    module_ = *module;
  }

  template <class T>
  uint64_t Buffer(const std::vector<T>& values, std::string name = "buffer") {
    const uint64_t address = *emulator_.Allocate(values.size() * sizeof(T), std::move(name));
    EXPECT_TRUE(emulator_.CopyToDevice(address, values.data(), values.size() * sizeof(T)).ok());
    return address;
  }
  uint64_t Unwritten(uint64_t bytes, std::string name = "buffer") {
    return *emulator_.Allocate(bytes, std::move(name));
  }

  template <class T>
  std::vector<T> Read(uint64_t address, size_t count) {
    std::vector<T> values(count);
    EXPECT_TRUE(emulator_.CopyToHost(values.data(), address, count * sizeof(T)).ok());
    return values;
  }

  // Each parameter is passed with the size that the kernel declares.
  template <class... P>
  absl::Status Launch(std::string_view kernel, Dim3 grid, Dim3 block, uint32_t dynamic_shared,
                      const P&... parameters) {
    absl::StatusOr<FunctionHandle> function = emulator_.GetFunction(module_, kernel);
    if (!function.ok()) return function.status();
    LaunchOptions options = launch_options;
    options.grid = grid;
    options.block = block;
    options.dynamic_shared_bytes = dynamic_shared;
    const std::vector<const void*> pointers = {static_cast<const void*>(&parameters)...};
    options.parameters = pointers;
    if (dynamic_shared > 48 * 1024) {
      if (absl::Status status = emulator_.SetMaxDynamicShared(*function, dynamic_shared);
          !status.ok())
        return status;
    }
    return emulator_.Launch(*function, options);
  }

  Emulator& emulator() { return emulator_; }
  const std::vector<Finding>& findings() const { return emulator_.findings(); }
  LaunchOptions launch_options;

 private:
  Emulator emulator_;
  int module_ = 0;
};

inline std::string_view RegisterType(size_t bytes) {
  return bytes == 2 ? "b16" : bytes == 4 ? "b32" : bytes == 8 ? "b64" : "b128";
}

// Runs statements once for each row of the inputs: registers %a0, %a1, ... hold a row's values, %d
// is the result. %p, %q are predicates, %t0 ... %t9 of 32 bits.
template <class R, class... A>
std::vector<R> RunRows(std::string_view statements, const std::vector<A>&... inputs) {
  const size_t rows = std::get<0>(std::tie(inputs...)).size();
  const std::vector<size_t> sizes = {sizeof(A)...};
  std::string text = Header() + ".visible .entry k(.param .u64 out, .param .u32 n";
  for (size_t i = 0; i < sizes.size(); ++i) text += Cat(", .param .u64 in", i);
  text += ") {\n.reg .pred %p, %q, %end; .reg .b32 %i, %n, %t<10>; .reg .b64 %at, %base;\n";
  text += Cat(".reg .", RegisterType(sizeof(R)), " %d;\n");
  for (size_t i = 0; i < sizes.size(); ++i)
    text += Cat(".reg .", RegisterType(sizes[i]), " %a", i, ";\n");
  text +=
      "mov.u32 %i, %ctaid.x; mov.u32 %n, %ntid.x; mul.lo.u32 %i, %i, %n; mov.u32 %n, %tid.x; "
      "add.u32 %i, %i, %n;\n";
  text += "ld.param.u32 %n, [n]; setp.ge.u32 %end, %i, %n; @%end ret;\n";
  for (size_t i = 0; i < sizes.size(); ++i) {
    text += Cat("ld.param.u64 %base, [in", i, "]; mul.wide.u32 %at, %i, ", sizes[i],
                "; add.u64 %at, %at, %base; ld.global.", RegisterType(sizes[i]), " %a", i,
                ", [%at];\n");
  }
  text += std::string(statements) + "\n";
  text += Cat("ld.param.u64 %base, [out]; mul.wide.u32 %at, %i, ", sizeof(R),
              "; add.u64 %at, %at, %base; st.global.", RegisterType(sizeof(R)),
              " [%at], %d;\nret;\n}\n");
  TestDevice device;
  device.Load(text);
  if (testing::Test::HasFatalFailure()) return {};
  const uint64_t out = device.Unwritten(rows * sizeof(R));
  const auto n = static_cast<uint32_t>(rows);
  const auto launch = [&](auto... addresses) {
    return device.Launch("k", {(n + 63) / 64}, {64}, 0, out, n, addresses...);
  };
  const absl::Status status = launch(device.Buffer(inputs)...);
  EXPECT_TRUE(status.ok()) << status << "\n" << statements;
  return device.Read<R>(out, rows);
}

}  // namespace weft::ptx

#endif  // WEFT_RUNTIME_PTX_EMULATOR_TEST_KERNEL_H_
