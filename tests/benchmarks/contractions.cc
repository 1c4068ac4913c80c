// GFLOP/s of single contraction kernels on one thread, beside the peak of this machine's
// multipliers measured in the same run: how good the generated code is, with no session around it.
// Usage: contractions [TARGET [PART_OF_A_NAME...]]: those rows whose names have such a part.
#include <immintrin.h>
#include <time.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "compiler/codegen/test_fusion.h"

namespace weft {
namespace {

// Time that this thread ran: what else the machine does counts little.
double ThreadSeconds() {
  timespec time;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

// Twelve chains of fused multiply-adds in registers, in GFLOP/s; 16 or 8 floats at a time.
#define WEFT_PEAK(name, feature, vector, set, multiply_add)                            \
  __attribute__((target(feature))) double name() {                                     \
    constexpr int kChains = 12;                                                        \
    constexpr int64_t kRounds = 2'000'000;                                             \
    vector one = set(1.0000001f), small = set(1e-9f), sums[kChains];                   \
    for (vector& sum : sums) sum = small;                                              \
    const double start = ThreadSeconds();                                              \
    for (int64_t i = 0; i < kRounds; ++i) {                                            \
      _Pragma("unroll") for (vector& sum : sums) sum = multiply_add(sum, one, small);  \
    }                                                                                  \
    const double seconds = ThreadSeconds() - start;                                    \
    volatile float keep = 0;                                                           \
    for (const vector& sum : sums) keep = keep + sum[0];                               \
    return 2.0 * kChains * kRounds * (sizeof(vector) / sizeof(float)) / seconds / 1e9; \
  }
WEFT_PEAK(Peak512, "avx512f", __m512, _mm512_set1_ps, _mm512_fmadd_ps)
WEFT_PEAK(Peak256, "avx2,fma", __m256, _mm256_set1_ps, _mm256_fmadd_ps)
#undef WEFT_PEAK

// What the command line asks for.
std::string target_name = "cpu:native";
std::vector<std::string> wanted;

double Peak() {
  const bool wide = Target::Parse(target_name).value_or(Target()).vector_bits == 512;
  return wide ? Peak512() : Peak256();
}

std::string Type(const std::vector<int64_t>& shape) {
  std::string text = "tensor<";
  for (int64_t size : shape) absl::StrAppend(&text, size, "x");
  return text + "f32>";
}

HostTensor Filled(const std::vector<int64_t>& shape) {
  HostTensor tensor = *HostTensor::Create(DataType::kF32, shape);
  uint32_t state = 1;
  for (float& value : tensor.mutable_values<float>()) {
    state = state * 1664525u + 1013904223u;
    value = static_cast<float>(state >> 8) / (1 << 24) - 0.5f;
  }
  return tensor;
}

void Report(const std::string& name, const std::string& op, const std::string& attributes,
            const std::vector<int64_t>& left, const std::vector<int64_t>& right,
            const std::vector<int64_t>& result) {
  if (!wanted.empty() && std::none_of(wanted.begin(), wanted.end(), [&](const std::string& part) {
        return name.find(part) != std::string::npos;
      })) {
    return;
  }
  const std::string a = Type(left), b = Type(right), y = Type(result);
  const std::string body =
      absl::StrCat("^bb0(%a: ", a, ", %b: ", b, "):\n%y = \"weft.", op, "\"(%a, %b) {", attributes,
                   "} : (", a, ", ", b, ") -> ", y, "\n\"plan.yield\"(%y) : (", y, ") -> ()");
  FusionTiming timing;
  const double before = Peak();
  auto got =
      RunFusion("contraction", body, {Filled(left), Filled(right)}, {}, target_name, &timing);
  if (!got.ok()) {
    std::printf("%-36s %s\n", name.c_str(), std::string(got.status().message()).c_str());
    return;
  }
  const double peak = std::max(before, Peak());
  const double rate = static_cast<double>(timing.flops) / timing.seconds / 1e9;
  std::printf("%-36s %10.4f ms %8.1f GFLOP/s %8.1f peak %5.0f %% %6.1f GB/s %5.0f ms to compile\n",
              name.c_str(), timing.seconds * 1e3, rate, peak, 100 * rate / peak,
              static_cast<double>(timing.bytes) / timing.seconds / 1e9,
              timing.compile_seconds * 1e3);
}

void MatMul(int64_t m, int64_t n, int64_t k, bool ta = false, bool tb = false, int64_t batch = 0) {
  auto shape = [&](int64_t rows, int64_t columns, bool transpose) {
    std::vector<int64_t> dims;
    if (batch > 0) dims.push_back(batch);
    dims.push_back(transpose ? columns : rows);
    dims.push_back(transpose ? rows : columns);
    return dims;
  };
  std::string name = absl::StrCat("matmul ", m, " x ", n, " x ", k);
  if (batch > 0) absl::StrAppend(&name, ", ", batch, " times");
  if (ta) name += ", a transposed";
  if (tb) name += ", b transposed";
  Report(name, "matmul",
         absl::StrCat("transpose_a = ", ta ? "true" : "false",
                      ", transpose_b = ", tb ? "true" : "false"),
         shape(m, k, ta), shape(k, n, tb), shape(m, n, false));
}

// An image of size x size, padding included.
void Conv(int64_t batch, int64_t size, int64_t channels, int64_t window, int64_t out,
          int64_t stride, int64_t groups, bool filter_grad) {
  const int64_t out_size = (size - window) / stride + 1;
  const std::vector<int64_t> image = {batch, size, size, channels};
  const std::vector<int64_t> filter = {window, window, channels / groups, out};
  const std::vector<int64_t> result = {batch, out_size, out_size, out};
  std::string attributes = absl::StrCat(
      "strides = array<i64: ", stride, ", ", stride, ">, padding = array<i64: 0, 0, 0, 0>, ",
      "dilations = array<i64: 1, 1>, groups = ", groups, " : i64");
  std::string name = absl::StrCat(window, "x", window, " ", channels, "->", out, ", ", out_size,
                                  "x", out_size, ", ", batch, " images");
  if (filter_grad) {
    absl::StrAppend(&attributes, ", filter_size = array<i64: ", window, ", ", window, ">");
    Report("filter gradient " + name, "conv2d_filter_grad", attributes, image, result, filter);
  } else {
    Report("conv " + name, "conv2d", attributes, image, filter, result);
  }
}

void Main() {
  for (int64_t n : {64, 256, 512, 1024, 2048}) MatMul(n, n, n);
  MatMul(8, 4096, 1024);
  MatMul(128, 64, 128, false, true, 32);
  MatMul(1, 512, 784);
  MatMul(128, 512, 784);
  MatMul(128, 512, 512);
  MatMul(128, 10, 512);
  MatMul(784, 512, 128, true, false);
  MatMul(128, 784, 512, false, true);
  MatMul(1024, 1024, 1024, true, false);
  MatMul(1024, 1024, 1024, false, true);
  Conv(1, 58, 64, 3, 64, 1, 1, false);
  Conv(1, 16, 256, 3, 256, 1, 1, false);
  Conv(1, 229, 3, 7, 64, 2, 1, false);
  Conv(1, 56, 256, 1, 64, 1, 1, false);
  Conv(1, 58, 128, 3, 128, 1, 128, false);
  Conv(128, 30, 1, 3, 32, 1, 1, false);
  Conv(32, 30, 32, 3, 64, 1, 1, false);
  Conv(128, 30, 1, 3, 32, 1, 1, true);
  Conv(32, 30, 32, 3, 64, 1, 1, true);
}

}  // namespace
}  // namespace weft

int main(int argc, char** argv) {
  if (argc > 1) weft::target_name = argv[1];
  for (int i = 2; i < argc; ++i) weft::wanted.push_back(argv[i]);
  weft::Main();
}
