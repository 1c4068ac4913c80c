#include "runtime/cuda/library_tuner.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "runtime/blame.h"
#include "runtime/cuda/code.h"
#include "runtime/cuda/encode_maps.h"
#include "runtime/cuda/graph_cache.h"
#include "runtime/cuda/work.h"
#include "runtime/gpu_kernel.h"

namespace weft::cuda {
namespace {

using C = LaunchContraction;

// The best of the library's that are measured.
constexpr int kAlgorithms = 4;
// Each way is measured so often, in turns, and each time so many times in a row that it takes about
// so long: by itself, what is short would be measured with what it takes to start it, which graphs
// do not. Where all ways once take so long, that is enough. All in seconds.
constexpr int kTurns = 5;
constexpr double kLongEnough = 200e-6;
constexpr int kMaxRepeats = 64;
constexpr double kLongTurn = 0.05;
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
  enum class For { kCalls, kMeasuring };

  // Null where the budget, or the GPU, has not so much left.
  static std::unique_ptr<CountedMemory> Take(std::shared_ptr<Context> context,
                                             const TuningRequest& request, int64_t bytes, For use) {
    bool taken = false;
    if (use == For::kMeasuring) {
      taken = request.memory.Borrow(bytes);
    } else {
      (void)request.memory.Take(bytes, request.limits, &taken);
    }
    if (!taken) return nullptr;
    std::unique_ptr<CountedMemory> memory(
        new CountedMemory(std::move(context), request.memory, bytes, use));
    const auto size = static_cast<size_t>(bytes);
    memory->address_ = use == For::kMeasuring
                           ? memory->context_->Borrow(size)
                           : memory->context_->Allocate(size, request.limits).value_or(0);
    return memory->address_ == 0 ? nullptr : std::move(memory);
  }
  ~CountedMemory() {
    // A run that was given up may be at work in it.
    if (use_ == For::kMeasuring) {
      if (address_ != 0) context_->Return(address_, static_cast<size_t>(bytes_));
      budget_.Return(bytes_);
    } else {
      const Context::Current current(*context_);
      if (current.ok() && address_ != 0) {
        context_->ReleaseLater(
            [address = address_](const DriverApi& api) { (void)api.cuMemFree_v2(address); });
      }
      budget_.GiveBack(bytes_);
    }
  }
  CountedMemory(const CountedMemory&) = delete;
  CountedMemory& operator=(const CountedMemory&) = delete;

  CUdeviceptr address() const { return address_; }
  int64_t bytes() const { return bytes_; }

 private:
  CountedMemory(std::shared_ptr<Context> context, MemoryBudget& budget, int64_t bytes, For use)
      : context_(std::move(context)), budget_(budget), bytes_(bytes), use_(use) {}

  const std::shared_ptr<Context> context_;
  MemoryBudget& budget_;
  const int64_t bytes_;
  const For use_;
  CUdeviceptr address_ = 0;
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

// Makes it where there is none yet; null where the library refuses.
LibraryHandle* HandleOf(const Library& library,
                        std::map<const Library*, std::unique_ptr<LibraryHandle>>* handles) {
  std::unique_ptr<LibraryHandle>& handle = (*handles)[&library];
  if (handle == nullptr) handle = library.NewHandle();
  return handle.get();
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

  std::map<const Library*, std::unique_ptr<LibraryHandle>> handles;
  std::map<const WeftStep*, std::unique_ptr<LibraryCall>> calls;
  CUdeviceptr workspace = 0;
  std::unique_ptr<CountedMemory> memory;  // of the workspace; null where none is needed
};

// What each way takes, by events on a stream.
class LibraryTuner::Measurement {
 public:
  // `buffers` are of the launch's sizes, and nobody else's.
  Measurement(Context& context, CUstream stream, absl::FunctionRef<absl::Status()> wait,
              const Launch& launch, const std::vector<CUdeviceptr>& buffers)
      : context_(context), stream_(stream), wait_(wait), launch_(launch) {
    for (const CUdeviceptr buffer : buffers) {
      addresses_.push_back(reinterpret_cast<void*>(static_cast<uintptr_t>(buffer)));
    }
    context_.SetUnderWay(this, {1, launch.launch.step, launch.launch.step});
  }
  ~Measurement() {
    graphs_.Clear(context_.api());
    for (const CUevent event : {begin_, end_}) {
      if (event != nullptr) (void)context_.api().cuEventDestroy_v2(event);
    }
    context_.ForgetUnderWay(this);
  }
  Measurement(const Measurement&) = delete;
  Measurement& operator=(const Measurement&) = delete;

  // Seconds of the kernel, and of each call; infinite of one that the library refuses.
  absl::Status Run(const std::vector<std::unique_ptr<LibraryCall>>& calls, double* of_kernel,
                   std::vector<double>* of_calls) {
    absl::Status status = Prepare(calls);
    // The first time loads what is needed for it, on whatever side.
    for (Way& way : ways_) {
      if (status.ok()) status = Start(way);
    }
    if (status.ok()) status = wait_();
    double turn = 0;
    for (Way& way : ways_) {
      if (status.ok()) status = Time(way, &turn);
    }
    if (turn < kLongTurn) {
      if (status.ok()) status = Repeat();
      for (int i = 0; i < kTurns; ++i) {
        for (Way& way : ways_) {
          if (status.ok()) status = Time(way, &turn);
        }
      }
    }
    *of_kernel = ways_[0].seconds;
    for (size_t i = 1; i < ways_.size(); ++i) of_calls->push_back(ways_[i].seconds);
    return status;
  }

 private:
  struct Way {
    const LibraryCall* call = nullptr;  // null: the kernel
    Work work;
    int repeats = 0;  // in `work`
    bool refused = false;
    double seconds = std::numeric_limits<double>::infinity();  // the least, of once
  };

  absl::Status Prepare(const std::vector<std::unique_ptr<LibraryCall>>& calls) {
    ways_.resize(calls.size() + 1);
    for (size_t i = 0; i < calls.size(); ++i) ways_[i + 1].call = calls[i].get();
    launch_at_ = launch_.launch;
    launch_at_.buffers = addresses_.data();
    const auto* kernel = reinterpret_cast<const Kernel*>(launch_at_.kernel);
    absl::Status status = EncodeMaps(context_, *kernel, launch_at_, &maps_);
    for (CUevent* event : {&begin_, &end_}) {
      if (!status.ok()) continue;
      status = context_.StatusOf(context_.api().cuEventCreate(event, CU_EVENT_DEFAULT),
                                 "making an event");
    }
    for (Way& way : ways_) Add(way);
    return status;
  }

  // Once more.
  void Add(Way& way) {
    if (way.call != nullptr) {
      way.work.Call(*way.call, launch_at_);
    } else {
      way.work.Launch(*reinterpret_cast<const Kernel*>(launch_at_.kernel), launch_at_, maps_);
    }
    ++way.repeats;
  }

  // Each way as often as makes it long, and so that from now on a graph of it is started.
  absl::Status Repeat() {
    for (Way& way : ways_) {
      if (way.refused) continue;
      const double enough = kLongEnough / std::max(way.seconds, 1e-9);
      const int repeats = enough < kMaxRepeats ? static_cast<int>(enough) + 1 : kMaxRepeats;
      while (way.repeats < repeats) Add(way);
      way.seconds = std::numeric_limits<double>::infinity();
      // One by one; then the graph is made. The driver takes only so much at a time.
      for (int i = 0; i < 2; ++i) {
        absl::Status status = Start(way);
        if (status.ok()) status = wait_();
        if (!status.ok()) return status;
      }
    }
    return absl::OkStatus();
  }

  absl::Status Start(Way& way) {
    if (way.refused) return absl::OkStatus();
    const Issued issued = graphs_.Start(context_.api(), way.work, stream_);
    way.refused = issued.library_error != nullptr;
    if (way.refused) way.seconds = std::numeric_limits<double>::infinity();
    return way.refused
               ? absl::OkStatus()
               : context_.StatusOf(issued.result, "launching " + PlaceOfStep(*launch_at_.step));
  }

  // Adds what it took to `turn`.
  absl::Status Time(Way& way, double* turn) {
    const DriverApi& api = context_.api();
    const auto record = [&](CUevent event) {
      return context_.StatusOf(api.cuEventRecord(event, stream_), "recording an event");
    };
    absl::Status status = record(begin_);
    if (status.ok()) status = Start(way);
    if (status.ok()) status = record(end_);
    if (status.ok()) status = wait_();
    if (!status.ok() || way.refused) return status;
    float milliseconds = 0;
    status = context_.StatusOf(api.cuEventElapsedTime(&milliseconds, begin_, end_),
                               "reading the time of an event");
    *turn += milliseconds * 1e-3;
    way.seconds = std::min(way.seconds, milliseconds * 1e-3 / way.repeats);
    return status;
  }

  Context& context_;
  const CUstream stream_;
  const absl::FunctionRef<absl::Status()> wait_;
  const Launch& launch_;
  std::vector<void*> addresses_;
  WeftLaunch launch_at_ = {};  // those
  std::vector<CUtensorMap> maps_;
  CUevent begin_ = nullptr, end_ = nullptr;
  GraphCache graphs_;
  std::vector<Way> ways_;  // the kernel first
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
                                                           const TuningRequest& request,
                                                           CUstream stream,
                                                           absl::FunctionRef<absl::Status()> wait) {
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
  LibraryHandle* handle = HandleOf(library, &handles_);
  if (handle == nullptr) {
    return Choice{std::nullopt, absl::StrCat("by its kernel: ", library.name(), " refuses it")};
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
    scratch = CountedMemory::Take(context_, request, needed, CountedMemory::For::kMeasuring);
    if (scratch != nullptr) break;
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
  // Neither beside a run nor beside a measurement that was given up.
  bool waits = false;
  absl::Status status = context_->WaitForAbandoned(stream, &waits);
  if (!status.ok()) return status;
  status = context_->StatusOf(
      api.cuMemsetD8Async(scratch->address(), kFill, static_cast<size_t>(bytes), stream),
      "filling memory");
  if (!status.ok()) return status;
  std::vector<std::unique_ptr<LibraryCall>> calls;
  std::vector<LibraryAlgorithm> of_calls;
  for (const LibraryAlgorithm& algorithm : algorithms) {
    std::unique_ptr<LibraryCall> call = library.CallOf(launch.at, algorithm, &workspace, *handle);
    if (call == nullptr) continue;
    calls.push_back(std::move(call));
    of_calls.push_back(algorithm);
  }
  double of_kernel = 0;
  std::vector<double> seconds;
  {
    Measurement measurement(*context_, stream, wait, launch, buffers);
    status = measurement.Run(calls, &of_kernel, &seconds);
    // What was started before an error is at work in the memory.
    if (!status.ok()) (void)wait();
  }
  if (!status.ok()) return status;
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
                                                          const TuningRequest& request,
                                                          CUstream stream,
                                                          absl::FunctionRef<absl::Status()> wait) {
  const Key key = KeyOf(launch);
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    if (const auto known = choices_.find(key); known != choices_.end()) return known->second;
    if (choices_.size() >= kMaxChoices) {
      return Choice{std::nullopt,
                    absl::StrCat("by its kernel: not measured, after ", kMaxChoices, " others")};
    }
    if (!measuring_) break;
    // One at a time: two would measure each other.
    absl::Status status = request.limits.Check("other calls were measured");
    if (!status.ok()) return status;
    request.limits.Wait(measured_, lock);
  }
  measuring_ = true;
  lock.unlock();
  absl::StatusOr<Choice> choice = Measure(launch, request, stream, wait);
  lock.lock();
  measuring_ = false;
  measured_.notify_all();
  if (absl::IsResourceExhausted(choice.status())) {
    choice = Choice{std::nullopt, absl::StrCat("by its kernel: not measured: ",
                                               std::string(choice.status().message()))};
  }
  if (!choice.ok()) return choice;
  // Whatever came of it stays: the next call of these sizes gives the same bits.
  return choices_[key] = *std::move(choice);
}

absl::StatusOr<std::unique_ptr<LibraryCalls>> LibraryTuner::Tune(
    const TuningRequest& request, CUstream stream, absl::FunctionRef<absl::Status()> wait) {
  absl::StatusOr<std::vector<Launch>> launches = LaunchesOf(request);
  if (!launches.ok()) return launches.status();
  std::vector<Choice> choices;
  size_t workspace = 0;
  for (const Launch& launch : *launches) {
    absl::StatusOr<Choice> choice = Choose(launch, request, stream, wait);
    if (!choice.ok()) return choice.status();
    if (choice->algorithm) workspace = std::max(workspace, choice->algorithm->workspace_bytes);
    choices.push_back(*std::move(choice));
  }
  auto calls = std::make_unique<Calls>();
  // Without, a call would not give the bits of the one before.
  const auto short_of = [&](const std::string& what) {
    return absl::ResourceExhaustedError(absl::StrCat(
        context_->name(), ": signature '", request.tables.plan().signature, "' needs ", what,
        " for what a library computes; free some, or leave out "
        "--gpu-libraries"));
  };
  if (workspace > 0) {
    calls->memory = CountedMemory::Take(context_, request, static_cast<int64_t>(workspace),
                                        CountedMemory::For::kCalls);
    if (calls->memory == nullptr) {
      if (absl::Status ended = request.limits.Check("waiting for memory"); !ended.ok()) {
        return ended;
      }
      return short_of(absl::StrCat(workspace, " bytes of the GPU's memory as workspace"));
    }
    calls->workspace = calls->memory->address();
  }
  for (size_t i = 0; i < choices.size(); ++i) {
    const Launch& launch = (*launches)[i];
    request.ways.Set(launch.at.contraction.step, choices[i].way);
    if (!choices[i].algorithm) continue;
    LibraryHandle* handle = HandleOf(*launch.library, &calls->handles);
    if (handle == nullptr) return short_of("memory");
    std::unique_ptr<LibraryCall> call =
        launch.library->CallOf(launch.at, *choices[i].algorithm, &calls->workspace, *handle);
    if (call == nullptr) return short_of("memory");
    calls->calls[launch.launch.step] = std::move(call);
  }
  return calls;
}

}  // namespace weft::cuda
