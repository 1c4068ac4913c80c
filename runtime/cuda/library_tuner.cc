#include "runtime/cuda/library_tuner.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "runtime/blame.h"
#include "runtime/cuda/code.h"
#include "runtime/cuda/encode_maps.h"
#include "runtime/cuda/work.h"
#include "runtime/gpu_kernel.h"

namespace weft::cuda {
namespace {

using C = LaunchContraction;

// The best of the library's that are measured.
constexpr int kAlgorithms = 4;
// Each way is measured so often, in turns; where one turn of all takes so long, that is enough.
constexpr int kTurns = 5;
constexpr double kLongTurn = 0.05;  // seconds
// What operands are filled with for measuring: as bytes of a float, of any dtype, a number of
// ordinary size whose products and sums are as well.
constexpr unsigned char kFill = 0x3c;
// Of the pieces of memory that is measured in; allocations are as aligned.
constexpr uint64_t kPieceAlignment = 256;
// Buffers of a call are, at the least.
constexpr uint32_t kBufferAlignment = WEFT_BUFFER_ALIGNMENT;

int64_t Rounded(int64_t bytes) {
  constexpr auto kAlignment = static_cast<int64_t>(kPieceAlignment);
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

std::string TimeText(double seconds) { return absl::StrFormat("%.1f us", seconds * 1e6); }

// Memory of the GPU that counts in a session's budget.
class CountedMemory {
 public:
  // Nothing where the budget, or the GPU, has not so much left.
  static std::unique_ptr<CountedMemory> Take(std::shared_ptr<Context> context, MemoryBudget& budget,
                                             int64_t bytes) {
    bool taken = false;
    (void)budget.Take(bytes, &taken);
    if (!taken) return nullptr;
    CUdeviceptr address = 0;
    context->Release();
    if (context->api().cuMemAlloc_v2(&address, static_cast<size_t>(bytes)) != CUDA_SUCCESS) {
      budget.GiveBack(bytes);
      return nullptr;
    }
    return std::unique_ptr<CountedMemory>(
        new CountedMemory(std::move(context), budget, address, bytes));
  }
  ~CountedMemory() {
    const Context::Current current(*context_);
    // A run that was given up may be at work in it.
    if (current.ok()) {
      context_->ReleaseLater(
          [address = address_](const DriverApi& api) { (void)api.cuMemFree_v2(address); });
    }
    budget_.GiveBack(bytes_);
  }
  CountedMemory(const CountedMemory&) = delete;
  CountedMemory& operator=(const CountedMemory&) = delete;

  CUdeviceptr address() const { return address_; }
  int64_t bytes() const { return bytes_; }

 private:
  CountedMemory(std::shared_ptr<Context> context, MemoryBudget& budget, CUdeviceptr address,
                int64_t bytes)
      : context_(std::move(context)), budget_(budget), address_(address), bytes_(bytes) {}

  const std::shared_ptr<Context> context_;
  MemoryBudget& budget_;
  const CUdeviceptr address_;
  const int64_t bytes_;
};

// What the address of a launch's buffer is a multiple of.
uint32_t AlignmentOf(const TuningRequest& request, const WeftStep& step, uint32_t buffer) {
  const WeftPlan& plan = request.tables.plan();
  const WeftBufferArg& arg = plan.args[step.first_arg + buffer];
  if (arg.offset == WEFT_NONE) return kBufferAlignment;
  const auto offset = static_cast<uint64_t>(weft_formula_value(request.instance, arg.offset));
  return offset == 0 ? kBufferAlignment
                     : std::min<uint32_t>(kBufferAlignment,
                                          uint32_t{1} << std::min(std::countr_zero(offset), 31));
}

const char* NameOfKind(C::Kind kind) {
  switch (kind) {
    case C::kProduct:
      return "matrix product";
    case C::kConvolution:
      return "convolution";
    case C::kFilterGradient:
      return "gradient of filters";
  }
  return "contraction";
}

}  // namespace

// A contraction of the call.
struct LibraryTuner::Launch {
  const Library* library;      // that computes it
  WeftLaunch launch;           // without addresses
  std::vector<int64_t> sizes;  // of it
  std::vector<int64_t> buffer_bytes;
  ContractionAtSizes at;
};

class LibraryTuner::Calls final : public LibraryCalls {
 public:
  const LibraryCall* Find(const WeftStep* step) const override {
    const auto call = calls.find(step);
    return call == calls.end() ? nullptr : call->second.get();
  }
  int64_t held_bytes() const override { return memory == nullptr ? 0 : memory->bytes(); }

  std::map<const WeftStep*, std::unique_ptr<LibraryCall>> calls;
  CUdeviceptr workspace = 0;
  std::unique_ptr<CountedMemory> memory;  // of the workspace; null where none is needed
};

// What each way takes, by events on a stream.
class LibraryTuner::Measurement {
 public:
  // `buffers` are of the launch's sizes, and nobody else's.
  Measurement(Context& context, CUstream stream, const Launch& launch,
              const std::vector<CUdeviceptr>& buffers)
      : context_(context), stream_(stream), launch_(launch), buffers_(buffers) {
    context_.SetUnderWay(this, {1, launch.launch.step, launch.launch.step});
  }
  ~Measurement() {
    for (const CUevent event : events_) (void)context_.api().cuEventDestroy_v2(event);
    context_.ForgetUnderWay(this);
  }
  Measurement(const Measurement&) = delete;
  Measurement& operator=(const Measurement&) = delete;

  // Seconds of the kernel, and of each call; infinite of one that the library refuses.
  absl::Status Run(const std::vector<std::unique_ptr<LibraryCall>>& calls, double* of_kernel,
                   std::vector<double>* of_calls) {
    calls_ = &calls;
    best_.assign(calls.size() + 1, std::numeric_limits<double>::infinity());
    refused_.assign(calls.size() + 1, false);
    if (absl::Status status = RecordKernel(); !status.ok()) return status;
    if (absl::Status status = MakeEvents(); !status.ok()) return status;
    // The first turn loads what the library has for it.
    double turn = 0;
    absl::Status status = Turn(&turn);
    if (turn < kLongTurn) best_.assign(best_.size(), std::numeric_limits<double>::infinity());
    for (int i = 1; status.ok() && i < kTurns && turn < kLongTurn; ++i) {
      double again = 0;
      status = Turn(&again);
    }
    *of_kernel = best_[0];
    of_calls->assign(best_.begin() + 1, best_.end());
    return status;
  }

 private:
  absl::Status RecordKernel() {
    std::vector<void*> addresses;
    for (const CUdeviceptr buffer : buffers_) {
      addresses.push_back(reinterpret_cast<void*>(static_cast<uintptr_t>(buffer)));
    }
    WeftLaunch launch = launch_.launch;
    launch.buffers = addresses.data();
    const auto* kernel = reinterpret_cast<const Kernel*>(launch.kernel);
    std::vector<CUtensorMap> maps;
    absl::Status status = EncodeMaps(context_, *kernel, launch, &maps);
    if (status.ok()) kernel_.Launch(*kernel, launch, maps);
    return status;
  }

  absl::Status MakeEvents() {
    for (size_t i = 0; i <= best_.size(); ++i) {
      CUevent event = nullptr;
      absl::Status status = context_.StatusOf(
          context_.api().cuEventCreate(&event, CU_EVENT_DEFAULT), "making an event");
      if (!status.ok()) return status;
      events_.push_back(event);
    }
    return absl::OkStatus();
  }

  absl::Status Record(size_t event) {
    return context_.StatusOf(context_.api().cuEventRecord(events_[event], stream_),
                             "recording an event");
  }

  // Each way once.
  absl::Status Turn(double* seconds) {
    absl::Status status = Record(0);
    for (size_t way = 0; status.ok() && way < best_.size(); ++way) {
      status = Start(way);
      if (status.ok()) status = Record(way + 1);
    }
    // Also after an error: what was started uses the memory.
    const CUresult done = context_.api().cuStreamSynchronize(stream_);
    if (status.ok()) {
      status = context_.StatusOf(done, "measuring " + PlaceOfStep(*launch_.launch.step),
                                 /*waiting=*/true);
    }
    for (size_t way = 0; status.ok() && way < best_.size(); ++way) {
      float milliseconds = 0;
      status = context_.StatusOf(
          context_.api().cuEventElapsedTime(&milliseconds, events_[way], events_[way + 1]),
          "reading the time of an event");
      *seconds += milliseconds * 1e-3;
      if (!refused_[way]) best_[way] = std::min(best_[way], milliseconds * 1e-3);
    }
    return status;
  }

  absl::Status Start(size_t way) {
    if (way == 0) {
      return context_.StatusOf(kernel_.Issue(context_.api(), stream_).result,
                               "launching " + PlaceOfStep(*launch_.launch.step));
    }
    if (refused_[way]) return absl::OkStatus();
    const bool started = (*calls_)[way - 1]->Start(stream_, buffers_.data()) == nullptr;
    refused_[way] = !started;
    if (!started) best_[way] = std::numeric_limits<double>::infinity();
    return absl::OkStatus();
  }

  Context& context_;
  const CUstream stream_;
  const Launch& launch_;
  const std::vector<CUdeviceptr>& buffers_;
  const std::vector<std::unique_ptr<LibraryCall>>* calls_ = nullptr;
  Work kernel_;
  std::vector<CUevent> events_;
  // The kernel, and then the calls.
  std::vector<double> best_;
  std::vector<bool> refused_;
};

const Library* LibraryTuner::LibraryFor(C::Kind kind) const {
  for (const std::unique_ptr<Library>& library : libraries_) {
    if (library->Computes(kind)) return library.get();
  }
  return nullptr;
}

absl::StatusOr<std::vector<LibraryTuner::Launch>> LibraryTuner::LaunchesOf(
    const TuningRequest& request) const {
  const WeftPlan& plan = request.tables.plan();
  const WeftInstance* instance = request.instance;
  std::vector<Launch> launches;
  for (const C& contraction : request.tables.contractions()) {
    const WeftStep& step = plan.steps[contraction.step];
    const Library* library = LibraryFor(contraction.kind);
    if (request.tables.kernel_devices()[step.kernel] != request.device || library == nullptr) {
      continue;
    }
    Launch made{.library = library,
                .launch = {},
                .sizes = {},
                .buffer_bytes = {},
                .at = {.contraction = contraction, .sizes = {}}};
    made.launch.kernel = plan.kernels[step.kernel];
    made.launch.num_buffers = step.num_args;
    made.launch.num_sizes = step.num_sizes;
    made.launch.tiles = weft_formula_value(instance, step.tiles);
    made.launch.scratch_bytes = weft_formula_value(instance, step.scratch);
    made.launch.step = &step;
    made.launch.instance = instance;
    for (uint32_t i = 0; i < step.num_sizes; ++i) {
      made.sizes.push_back(weft_formula_value(instance, plan.sizes[step.first_size + i]));
    }
    for (uint32_t i = 0; i < step.num_args; ++i) {
      made.buffer_bytes.push_back(weft_launch_bytes(&made.launch, i));
    }
    for (size_t i = 0; i < contraction.num_sizes(); ++i) {
      made.at.sizes[i] = weft_formula_value(instance, contraction.sizes[i]);
    }
    const char* problem = CheckContractionSizes(contraction, made.at.sizes, made.buffer_bytes);
    const auto alignment = [&](uint32_t buffer) {
      if (buffer == C::kNone) return kBufferAlignment;
      const uint32_t bytes = AlignmentOf(request, step, buffer);
      if (bytes < static_cast<uint32_t>(SizeOf(contraction.dtype))) problem = "aligned operands";
      return bytes;
    };
    made.at.num_buffers = step.num_args;
    made.at.left_alignment = alignment(contraction.left);
    made.at.right_alignment = alignment(contraction.right);
    made.at.addend_alignment = alignment(contraction.addend);
    made.at.bias_alignment = alignment(contraction.bias);
    made.at.result_alignment = alignment(step.num_args - 1);
    if (problem != nullptr) {
      return absl::InvalidArgumentError(
          absl::StrCat("signature '", plan.signature, "': ", PlaceOfStep(step), ": expected a ",
                       NameOfKind(contraction.kind), " with ", problem));
    }
    // What has nothing to compute, or sums of nothing, is the kernel's; and so is what a run will
    // refuse.
    const auto* kernel = reinterpret_cast<const Kernel*>(made.launch.kernel);
    const bool can_launch =
        CheckGpuLaunch(made.launch, kernel->maps, kernel->num_parameters, kernel->max_scratch_bytes)
            .ok();
    if (HasSums(contraction, made.at.sizes) && made.launch.tiles > 0 && can_launch)
      launches.push_back(std::move(made));
  }
  for (Launch& launch : launches) launch.launch.sizes = launch.sizes.data();
  return launches;
}

LibraryTuner::Key LibraryTuner::KeyOf(const Launch& launch) {
  const ContractionAtSizes& at = launch.at;
  const C& contraction = at.contraction;
  Key key = {reinterpret_cast<const Kernel*>(launch.launch.kernel)->number,
             contraction.kind,
             static_cast<uint64_t>(contraction.dtype),
             contraction.tf32,
             std::bit_cast<uint64_t>(contraction.scale),
             contraction.left,
             contraction.right,
             contraction.addend,
             contraction.bias,
             at.left_alignment,
             at.right_alignment,
             at.addend_alignment,
             at.bias_alignment,
             at.result_alignment};
  for (const int64_t size : at.sizes) key.push_back(static_cast<uint64_t>(size));
  for (const int64_t size : launch.sizes) key.push_back(static_cast<uint64_t>(size));
  return key;
}

absl::StatusOr<LibraryTuner::Choice> LibraryTuner::Measure(const Launch& launch,
                                                           MemoryBudget& memory, CUstream stream,
                                                           bool* lasts) {
  *lasts = true;
  const Library& library = *launch.library;
  const char* lacks = library.Lacks(launch.at);
  if (lacks != nullptr) {
    return Choice{std::nullopt,
                  absl::StrCat("by its kernel: ", library.name(), " has none ", lacks)};
  }
  std::vector<LibraryAlgorithm> algorithms =
      library.Algorithms(launch.at, kAlgorithms, max_workspace_bytes_);
  if (algorithms.empty()) {
    return Choice{std::nullopt, absl::StrCat("by its kernel: ", library.name(), " has none")};
  }
  int64_t bytes = 0;
  for (const int64_t buffer : launch.buffer_bytes) bytes += Rounded(buffer);
  // Algorithms that need a workspace are done without where there is no room for it.
  std::unique_ptr<CountedMemory> scratch;
  int64_t needed = 0;
  for (const bool with_workspace : {true, false}) {
    size_t workspace = 0;
    if (!with_workspace) {
      std::erase_if(algorithms, [](const auto& each) { return each.workspace_bytes > 0; });
    }
    for (const LibraryAlgorithm& each : algorithms) {
      workspace = std::max(workspace, each.workspace_bytes);
    }
    if (algorithms.empty()) break;
    needed = bytes + static_cast<int64_t>(workspace);
    scratch = CountedMemory::Take(context_, memory, needed);
    if (scratch != nullptr) break;
    // Another call may have more room.
    *lasts = false;
  }
  if (scratch == nullptr) {
    return Choice{std::nullopt,
                  absl::StrCat("by its kernel: not measured, for want of ", needed, " bytes")};
  }
  std::vector<CUdeviceptr> buffers;
  CUdeviceptr workspace = scratch->address();
  for (const int64_t buffer : launch.buffer_bytes) {
    buffers.push_back(workspace);
    workspace += static_cast<CUdeviceptr>(Rounded(buffer));
  }
  const DriverApi& api = context_->api();
  absl::Status status = context_->StatusOf(
      api.cuMemsetD8Async(scratch->address(), kFill, static_cast<size_t>(bytes), stream),
      "filling memory");
  if (!status.ok()) return status;
  std::vector<std::unique_ptr<LibraryCall>> calls;
  std::vector<LibraryAlgorithm> of_calls;
  for (const LibraryAlgorithm& algorithm : algorithms) {
    std::unique_ptr<LibraryCall> call = library.CallOf(launch.at, algorithm, &workspace);
    if (call == nullptr) continue;
    calls.push_back(std::move(call));
    of_calls.push_back(algorithm);
  }
  double of_kernel = 0;
  std::vector<double> seconds;
  {
    Measurement measurement(*context_, stream, launch, buffers);
    status = measurement.Run(calls, &of_kernel, &seconds);
  }
  if (!status.ok()) {
    // What was started before the error is at work in the memory.
    (void)api.cuStreamSynchronize(stream);
    return status;
  }
  const auto best = std::min_element(seconds.begin(), seconds.end());
  if (best == seconds.end() || *best == std::numeric_limits<double>::infinity()) {
    return Choice{std::nullopt, absl::StrCat("by its kernel: ", library.name(), " refuses it")};
  }
  const LibraryAlgorithm& algorithm = of_calls[static_cast<size_t>(best - seconds.begin())];
  const std::string name = absl::StrCat(library.name(), " (algorithm ", algorithm.id, ")");
  if (*best * least_gain_ <= of_kernel) {
    return Choice{algorithm, absl::StrCat("by ", name, ": ", TimeText(*best), ", kernel ",
                                          TimeText(of_kernel))};
  }
  return Choice{std::nullopt, absl::StrCat("by its kernel: ", TimeText(of_kernel), ", ", name, " ",
                                           TimeText(*best))};
}

absl::StatusOr<LibraryTuner::Choice> LibraryTuner::Choose(const Launch& launch,
                                                          MemoryBudget& memory, CUstream stream) {
  const Key key = KeyOf(launch);
  const std::lock_guard<std::mutex> lock(mutex_);
  if (const auto known = choices_.find(key); known != choices_.end()) return known->second;
  bool lasts = false;
  absl::StatusOr<Choice> choice = Measure(launch, memory, stream, &lasts);
  if (!choice.ok() || !lasts) return choice;
  if (choices_.size() >= kMaxChoices) choices_.clear();
  return choices_[key] = *std::move(choice);
}

absl::StatusOr<std::unique_ptr<LibraryCalls>> LibraryTuner::Tune(const TuningRequest& request,
                                                                 CUstream stream) {
  absl::StatusOr<std::vector<Launch>> launches = LaunchesOf(request);
  if (!launches.ok()) return launches.status();
  std::vector<Choice> choices;
  size_t workspace = 0;
  for (const Launch& launch : *launches) {
    absl::StatusOr<Choice> choice = Choose(launch, request.memory, stream);
    if (!choice.ok()) return choice.status();
    if (choice->algorithm) workspace = std::max(workspace, choice->algorithm->workspace_bytes);
    choices.push_back(*std::move(choice));
  }
  auto calls = std::make_unique<Calls>();
  if (workspace > 0) {
    calls->memory = CountedMemory::Take(context_, request.memory, static_cast<int64_t>(workspace));
    if (calls->memory != nullptr) calls->workspace = calls->memory->address();
  }
  for (size_t i = 0; i < choices.size(); ++i) {
    const Launch& launch = (*launches)[i];
    const std::optional<LibraryAlgorithm>& algorithm = choices[i].algorithm;
    std::string way = std::move(choices[i].way);
    std::unique_ptr<LibraryCall> call;
    if (algorithm && (algorithm->workspace_bytes == 0 || calls->memory != nullptr)) {
      call = launch.library->CallOf(launch.at, *algorithm, &calls->workspace);
    }
    if (algorithm && call == nullptr) {
      way = absl::StrCat("by its kernel, for want of ", algorithm->workspace_bytes,
                         " bytes of workspace; otherwise ", way);
    }
    request.ways.Set(launch.at.contraction.step, std::move(way));
    if (call != nullptr) calls->calls[launch.launch.step] = std::move(call);
  }
  return calls;
}

}  // namespace weft::cuda
