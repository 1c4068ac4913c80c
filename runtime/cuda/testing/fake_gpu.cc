#include "runtime/cuda/testing/fake_gpu.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace weft::cuda {

FakeGpu& FakeGpu::Get() {
  static FakeGpu& gpu = *new FakeGpu;
  return gpu;
}

bool FakeGpu::Fails(int64_t* countdown) { return *countdown > 0 && --*countdown == 0; }

bool FakeGpu::IsPinned(const void* address, uint64_t bytes) const {
  const auto* start = static_cast<const char*>(address);
  auto range = pinned.upper_bound(const_cast<char*>(start));
  if (range == pinned.begin()) return false;
  --range;
  return start + bytes <= range->first + range->second;
}

uint64_t FakeGpu::FreeBytes() const {
  auto left = static_cast<uint64_t>(options.memory_bytes);
  for (const auto& [address, bytes] : allocations) left -= std::min(left, bytes);
  return left;
}

bool FakeGpu::IsUsed(uint64_t address, uint64_t bytes) const {
  const auto overlaps = [&](uint64_t start, uint64_t size) {
    return start < address + bytes && address < start + size;
  };
  for (const FakeStream* stream : streams) {
    for (const FakeWork& work : stream->work) {
      if (overlaps(work.to, work.to == 0 ? 0 : work.bytes) ||
          overlaps(work.from, work.from == 0 ? 0 : work.bytes) ||
          overlaps(reinterpret_cast<uintptr_t>(work.host), work.host == nullptr ? 0 : work.bytes)) {
        return true;
      }
      for (const std::vector<uint8_t>& parameter : work.parameters) {
        uint64_t value = 0;
        if (parameter.size() == sizeof value) memcpy(&value, parameter.data(), sizeof value);
        if (overlaps(value, 1)) return true;
      }
    }
  }
  return false;
}

CUresult FakeGpu::Add(FakeStream* stream, FakeWork work) {
  if (streams.count(stream) == 0) return CUDA_ERROR_INVALID_HANDLE;
  if (work.host != nullptr && !IsPinned(work.host, work.bytes)) {
    Complain("an asynchronous copy of host memory that is not pinned");
  }
  if (stream->capture != nullptr) {
    if (work.kind == FakeWork::kWait) {
      Complain("a captured stream waits for an event of another");
      stream->invalidated = true;
      return CUDA_ERROR_STREAM_CAPTURE_ISOLATION;
    }
    stream->capture->work.push_back(std::move(work));
    return CUDA_SUCCESS;
  }
  MakeRoom(*stream);
  if (lost != CUDA_SUCCESS) return lost;
  stream->work.push_back(std::move(work));
  if (options.eager) Drain(*stream);
  return CUDA_SUCCESS;
}

void FakeGpu::MakeRoom(FakeStream& stream) {
  constexpr int64_t kMaxEntries = 1024;
  const auto entries = [&] {
    return std::count_if(stream.work.begin(), stream.work.end(),
                         [](const FakeWork& work) { return !work.of_graph; });
  };
  if (entries() < kMaxEntries) return;
  if (options.busy) ++counts.blocked;
  while (entries() >= kMaxEntries) Step(stream);
}

void FakeGpu::EndOfContexts() {
  const auto drop = [&](auto& left, const char* what, const auto& free) {
    // After an error the driver gives nothing back on its own.
    if (!left.empty() && !was_lost) {
      Complain(std::to_string(left.size()) + " " + what + " are left");
    }
    for (const auto& each : left) free(each);
    left.clear();
  };
  drop(streams, "streams", [](FakeStream* stream) { delete stream; });
  drop(events, "events", [](const auto&) {});
  drop(graphs, "graphs", [](FakeGraph* graph) { delete graph; });
  drop(executable_graphs, "executable graphs", [](FakeGraph* graph) { delete graph; });
  functions.clear();
  drop(modules, "modules", [](FakeModule* module) { delete module; });
  drop(allocations, "allocations", [](const auto&) {});
  drop(pinned, "pieces of pinned memory", [](const auto& range) { std::free(range.first); });
  was_lost = false;
}

void FakeGpu::Launch(const FakeWork& work) {
  ++counts.kernels;
  microseconds += options.kernel_microseconds;
  if (Fails(&options.fail_kernel)) {
    lost = static_cast<CUresult>(options.kernel_result);
    return;
  }
  std::vector<const void*> parameters;
  for (const std::vector<uint8_t>& parameter : work.parameters) {
    parameters.push_back(parameter.data());
  }
  emulator->ClearFindings();
  const absl::Status status =
      emulator->Launch(work.function->function, {.grid = work.grid,
                                                 .block = work.block,
                                                 .dynamic_shared_bytes = work.shared_bytes,
                                                 .parameters = parameters,
                                                 .regions = {},
                                                 .interrupt = nullptr});
  if (status.ok()) return;
  // A driver would not say more.
  lost = CUDA_ERROR_LAUNCH_FAILED;
  if (emulator->findings().empty()) {
    Complain(std::string(status.message()));
    return;
  }
  switch (emulator->findings()[0].kind) {
    case ptx::FindingKind::kOutOfBounds:
    case ptx::FindingKind::kUseAfterFree:
      lost = CUDA_ERROR_ILLEGAL_ADDRESS;
      break;
    case ptx::FindingKind::kMisaligned:
      lost = CUDA_ERROR_MISALIGNED_ADDRESS;
      break;
    default:
      // What a GPU would not notice.
      Complain(std::string(status.message()));
  }
}

void FakeGpu::Step(FakeStream& stream) {
  if (stream.work.empty()) return;
  const FakeWork work = std::move(stream.work.front());
  stream.work.pop_front();
  if (lost != CUDA_SUCCESS) {
    // Nothing is done any more, and nothing under way.
    if (work.kind == FakeWork::kRecord) work.event->done = work.record;
    return;
  }
  absl::Status status;
  switch (work.kind) {
    case FakeWork::kLaunch:
      Launch(work);
      break;
    case FakeWork::kFill:
      status = emulator->Fill(work.to, work.value, work.bytes);
      break;
    case FakeWork::kCopyIn:
      counts.copied_in += static_cast<int64_t>(work.bytes);
      status = emulator->CopyToDevice(work.to, work.host, work.bytes);
      break;
    case FakeWork::kCopyOut:
      counts.copied_out += static_cast<int64_t>(work.bytes);
      if (Fails(&options.copied_at)) *options.copied = true;
      status = emulator->CopyToHost(work.host, work.from, work.bytes);
      break;
    case FakeWork::kCopyWithin:
      status = emulator->CopyOnDevice(work.to, work.from, work.bytes);
      break;
    case FakeWork::kRecord:
      work.event->done = work.record;
      work.event->microseconds = microseconds;
      break;
    case FakeWork::kLibrary:
      ++counts.library_calls;
      microseconds += work.microseconds;
      status = work.compute(*emulator);
      break;
    case FakeWork::kWait:
      while (work.event->done < work.record) Step(*work.event->stream);
      break;
  }
  if (!status.ok()) {
    Complain(std::string(status.message()));
    lost = CUDA_ERROR_ILLEGAL_ADDRESS;
  }
}

void FakeGpu::Drain(FakeStream& stream) {
  while (!stream.work.empty()) Step(stream);
}

}  // namespace weft::cuda
