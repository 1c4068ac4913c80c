// Time of element-wise, transposing and reducing kernels on this machine: prints milliseconds,
// asserts nothing.
#include <algorithm>
#include <cstdio>
#include <ctime>

#include "compiler/codegen/test_fusion.h"

namespace weft {
namespace {

// Seconds of this thread's own time, so that other processes count less.
double Now() {
  timespec time;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

void Measure(const char* what, TestFusion& f, const Symbols& symbols, double bytes) {
  std::vector<HostTensor> inputs = f.RandomInputs(symbols);
  std::vector<void*> buffers;
  for (HostTensor& input : inputs) buffers.push_back(input.mutable_data());
  HostTensor output = *HostTensor::Create(DataType::kF32, {1 << 24});
  buffers.push_back(output.mutable_data());
  std::vector<int64_t> sizes;
  for (const DimExpr& size : f.spec().sizes) sizes.push_back(*size.Evaluate(symbols));
  const int64_t tiles = *f.spec().tiles.Evaluate(symbols);
  std::vector<char> scratch(*f.spec().scratch_bytes.Evaluate(symbols) + 64);
  std::vector<double> times;
  for (int i = 0; i < 9; ++i) {
    const double start = Now();
    f.kernel()(buffers.data(), sizes.data(), 0, tiles, scratch.data());
    times.push_back(1e3 * (Now() - start));
  }
  std::sort(times.begin(), times.end());
  std::printf("%-40s %8.3f ms  %6.1f GB/s\n", what, times[4], bytes / times[4] / 1e6);
}

void Run() {
  const double bytes = 8.0 * (1 << 24);
  {
    TestFusion f;
    mlir::Value x = f.Input(DataType::kF32, {"n"});
    mlir::Value y = f.Op("logistic", {f.Op("add", {f.Op("mul", {x, x}), x})});
    f.Finish("loop", {f.Op("mul", {f.Op("tanh", {y}), x})});
    Measure("tanh(sigmoid(x*x+x))*x, 16 M", f, {{"n", 1 << 24}}, bytes);
  }
  {
    TestFusion f;
    mlir::Value x = f.Input(DataType::kF32, {"n"});
    f.Finish("loop", {f.Op("exp", {x})});
    Measure("exp, 16 M", f, {{"n", 1 << 24}}, bytes);
  }
  {
    TestFusion f;
    mlir::Value x = f.Input(DataType::kF32, {"n"});
    f.Finish("loop", {f.Op("neg", {x})});
    Measure("neg, 16 M", f, {{"n", 1 << 24}}, bytes);
  }
  {
    TestFusion f;
    mlir::Value x = f.Input(DataType::kF32, {"4096", "4096"});
    f.Finish("loop", {f.Op("transpose", {x}, "permutation = array<i64: 1, 0>")});
    Measure("transpose 4096 x 4096", f, {}, bytes);
  }
  {
    TestFusion f;
    mlir::Value x = f.Input(DataType::kF32, {"4096", "4096"});
    mlir::Value bias = f.Input(DataType::kF32, {"4096"});
    f.Finish("loop", {f.Op("add", {x, f.Op("broadcast", {bias}, "shape = [\"4096\", \"4096\"]")})});
    Measure("bias 4096 x 4096", f, {}, bytes);
  }
  {
    TestFusion f;
    mlir::Value x = f.Input(DataType::kF32, {"8", "8", "512", "64"});
    f.Finish("loop", {f.Op("transpose", {x}, "permutation = array<i64: 0, 2, 1, 3>")});
    Measure("split heads 8 x 8 x 512 x 64", f, {}, 8.0 * 8 * 8 * 512 * 64);
  }
  {
    TestFusion f;
    const std::string shape = "shape = [\"4096\", \"4096\"]";
    mlir::Value x = f.Input(DataType::kF32, {"4096", "4096"});
    mlir::Value max = f.Op("reduce_max", {x}, "axes = array<i64: 1>, keep_dims = true");
    mlir::Value e = f.Op("exp", {f.Op("sub", {x, f.Op("broadcast", {max}, shape)})});
    mlir::Value sum = f.Op("reduce_sum", {e}, "axes = array<i64: 1>, keep_dims = true");
    f.Finish("row", {f.Op("div", {e, f.Op("broadcast", {sum}, shape)})});
    Measure("softmax 4096 x 4096", f, {}, bytes);
  }
  {
    TestFusion f;
    mlir::Value x = f.Input(DataType::kF32, {"4096", "4096"});
    f.Finish("column", {f.Op("reduce_sum", {x}, "axes = array<i64: 0>")});
    Measure("column sums 4096 x 4096", f, {}, bytes / 2);
  }
}

}  // namespace
}  // namespace weft

int main() { weft::Run(); }
