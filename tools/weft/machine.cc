#include "tools/weft/machine.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <system_error>
#include <thread>
#include <vector>

namespace weft::cli {
namespace {

constexpr int kChains = 12;  // independent multiply-adds: enough to hide their latency
constexpr long kRounds = 4'000'000;
constexpr int kTries = 5;
constexpr size_t kCopyBytes = size_t{128} << 20;
// On a device: far more than its caches hold, and so many copies that starting them is nothing.
constexpr size_t kDeviceCopyBytes = size_t{256} << 20;
constexpr int kDeviceCopies = 8;

template <int kLanes>
struct Vector {
  typedef float Type __attribute__((vector_size(kLanes * sizeof(float))));
};

// The loop at one width; inlined into a function that may use the instructions for it.
template <int kLanes>
[[gnu::always_inline]] inline float MultiplyAdds(long rounds) {
  using V = typename Vector<kLanes>::Type;
  V sums[kChains];
  for (int i = 0; i < kChains; ++i) sums[i] = V{} + static_cast<float>(i);
  const V x = V{} + 1.0000001f, y = V{} + 1e-9f;
  for (long round = 0; round < rounds; ++round) {
#pragma clang loop unroll(full)
    for (int i = 0; i < kChains; ++i) {
#pragma clang fp contract(fast)
      sums[i] = sums[i] * x + y;
    }
  }
  float sum = 0;
  for (const V& v : sums) sum += v[0];
  return sum;
}

[[gnu::target("avx512f")]] float MultiplyAdds512(long rounds) { return MultiplyAdds<16>(rounds); }
[[gnu::target("avx2,fma")]] float MultiplyAdds256(long rounds) { return MultiplyAdds<8>(rounds); }

// Seconds that all of `work` takes, one part a thread. Parts that no thread is to be had for, where
// a limit forbids more, are done by this one.
double OnThreads(int threads, const std::function<void(int)>& work) {
  const auto start = std::chrono::steady_clock::now();
  std::vector<std::thread> pool;
  int next = 1;
  try {
    for (; next < threads; ++next) pool.emplace_back(work, next);
  } catch (const std::system_error&) {
  }
  work(0);
  for (; next < threads; ++next) work(next);
  for (std::thread& thread : pool) thread.join();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

MachinePeaks MeasurePeaks(int threads) {
  MachinePeaks peaks;
  const bool wide = __builtin_cpu_supports("avx512f");
  double best = 1e9;
  for (int i = 0; i < kTries; ++i) {
    best = std::min(best, OnThreads(threads, [&](int) {
                      [[maybe_unused]] volatile float sink =
                          wide ? MultiplyAdds512(kRounds) : MultiplyAdds256(kRounds);
                    }));
  }
  peaks.gflops = 2.0 * kChains * (wide ? 16 : 8) * kRounds * threads / best / 1e9;
  const size_t part = kCopyBytes / threads;
  const std::unique_ptr<char[]> from(new char[kCopyBytes]), to(new char[kCopyBytes]);
  std::memset(from.get(), 1, kCopyBytes);
  std::memset(to.get(), 2, kCopyBytes);
  best = 1e9;
  for (int i = 0; i < kTries; ++i) {
    best = std::min(best, OnThreads(threads, [&](int t) {
                      std::memcpy(to.get() + t * part, from.get() + t * part, part);
                    }));
  }
  [[maybe_unused]] volatile char sink = to[kCopyBytes / 2];
  peaks.copy_gbs = 2.0 * static_cast<double>(part) * threads / best / 1e9;
  return peaks;
}

absl::StatusOr<double> MeasureCopy(Device& device) {
  absl::StatusOr<DeviceMemory> from = device.Allocate(kDeviceCopyBytes);
  if (!from.ok()) return from.status();
  absl::StatusOr<DeviceMemory> to = device.Allocate(kDeviceCopyBytes);
  if (!to.ok()) return to.status();
  absl::StatusOr<std::unique_ptr<DeviceQueue>> queue = device.NewQueue(/*scratch_bytes=*/0);
  if (!queue.ok()) return queue.status();
  WeftRunArgs args = {};
  args.deadline = INT64_MAX;
  double best = 1e9;
  for (int i = 0; i < kTries; ++i) {
    const auto start = std::chrono::steady_clock::now();
    (*queue)->Bind(&args);
    // What fails is Finish's to say.
    for (int copy = 0; copy < kDeviceCopies; ++copy) {
      if (args.device->copy(args.queue, to->data(), from->data(), kDeviceCopyBytes) != 0) break;
    }
    if (absl::Status status = (*queue)->Finish(); !status.ok()) return status;
    best = std::min(
        best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return 2.0 * kDeviceCopyBytes * kDeviceCopies / best / 1e9;
}

}  // namespace weft::cli
