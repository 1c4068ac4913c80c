// weft bench: how fast is a model, and how near to what the machine can do?
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "proto/printable.h"
#include "runtime/core/cpu.h"
#include "tools/common/command_line.h"
#include "tools/common/json_text.h"
#include "tools/common/memory.h"
#include "tools/common/profile.h"
#include "tools/data/random.h"
#include "tools/progress/progress.h"
#include "tools/weft/command.h"
#include "tools/weft/machine.h"
#include "tools/weft/model.h"

namespace weft::cli {
namespace {

struct Flags {
  std::string model, signature, checkpoint, matmul_precision, device = "cpu", gpu_libraries = "off";
  std::vector<std::string> feeds, sizes, disabled_passes;
  double seconds = 2;
  int threads = 0;
  bool profile = false, json = false;
};

// Seconds between two updates of the progress.
constexpr double kUpdateInterval = 0.1;

using Clock = std::chrono::steady_clock;

double Since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Numbers in [0, 1); whole ones are 0 or 1, which is in range of most things that they count.
absl::StatusOr<HostTensor> RandomTensor(DataType dtype, const std::vector<int64_t>& shape,
                                        SplitMix64& random) {
  absl::StatusOr<HostTensor> tensor = HostTensor::Create(dtype, shape);
  if (!tensor.ok()) return tensor;
  WithType(dtype, [&](auto type) {
    using T = decltype(type);
    T* values = static_cast<T*>(tensor->mutable_data());
    for (int64_t i = 0; i < tensor->num_elements(); ++i) {
      values[i] = IsFloat(dtype) ? static_cast<T>(static_cast<float>(random.Below(1 << 20)) /
                                                  static_cast<float>(1 << 20))
                                 : static_cast<T>(static_cast<float>(random.Below(2)));
    }
  });
  return tensor;
}

absl::StatusOr<std::vector<HostTensor>> Feeds(const Flags& flags,
                                              const Session::SignatureInfo& signature) {
  std::vector<HostTensor> tensors;
  if (!flags.feeds.empty()) {
    if (!flags.sizes.empty()) return UsageError("--feed states all sizes; leave out --size");
    absl::StatusOr<NamedTensors> given = ReadFeeds(flags.feeds, signature.inputs);
    if (!given.ok()) return given.status();
    for (const auto& input : signature.inputs) tensors.push_back(given->at(input.name));
    return tensors;
  }
  absl::StatusOr<std::map<std::string, int64_t>> sizes =
      ParseSingleSizes(flags.sizes, OpenDimensions({signature}));
  if (!sizes.ok()) return sizes.status();
  absl::StatusOr<std::vector<std::vector<int64_t>>> shapes = ShapesAt(signature, *sizes);
  if (!shapes.ok()) return shapes.status();
  SplitMix64 random(1);
  for (size_t i = 0; i < shapes->size(); ++i) {
    absl::StatusOr<HostTensor> tensor =
        RandomTensor(signature.inputs[i].dtype, (*shapes)[i], random);
    if (!tensor.ok()) return tensor.status();
    tensors.push_back(*std::move(tensor));
  }
  return tensors;
}

double Percentile(const std::vector<double>& sorted, double share) {
  return sorted[std::min(sorted.size() - 1, static_cast<size_t>(share * sorted.size()))];
}

// What to compare with: of this processor, or where sessions have another device, how fast that
// copies within its memory. Of an emulated one nothing would tell.
absl::StatusOr<MachinePeaks> PeaksOf(Device& device, int threads) {
  if (device.is_host()) return MeasurePeaks(threads);
  MachinePeaks peaks;
  if (device.name() == "emulator") return peaks;
  absl::StatusOr<double> copy = MeasureCopy(device);
  if (copy.ok()) peaks.copy_gbs = *copy;
  // Where the model leaves too little memory for the copies, they are done without.
  return copy.ok() || absl::IsResourceExhausted(copy.status()) ? absl::StatusOr<MachinePeaks>(peaks)
                                                               : copy.status();
}

nlohmann::json OrNull(double value) {
  return value > 0 ? nlohmann::json(value) : nlohmann::json(nullptr);
}

absl::Status Run(const Flags& flags) {
  const auto load_start = Clock::now();
  absl::StatusOr<Model> model = OpenModel(flags.model, {.threads = flags.threads,
                                                        .disabled_passes = flags.disabled_passes,
                                                        .matmul_precision = flags.matmul_precision,
                                                        .checkpoint = flags.checkpoint,
                                                        .device = flags.device,
                                                        .gpu_libraries = flags.gpu_libraries});
  if (!model.ok()) return model.status();
  Session& session = *model->session;
  absl::StatusOr<Session::SignatureInfo> signature = FindSignature(session, flags.signature);
  if (!signature.ok()) return signature.status();
  const std::vector<Session::SignatureInfo> signatures = session.Signatures();
  // A graph without variables has no init.
  const bool has_init = std::any_of(signatures.begin(), signatures.end(),
                                    [](const auto& s) { return s.name == "init"; });
  if (model->graph && flags.checkpoint.empty() && has_init) {
    auto done = session.Run("init", {});
    if (!done.ok()) return done.status();
  }
  const double load = Since(load_start);
  absl::StatusOr<std::vector<HostTensor>> feeds = Feeds(flags, *signature);
  if (!feeds.ok()) return feeds.status();
  std::vector<std::vector<int64_t>> shapes;
  for (const HostTensor& feed : *feeds) shapes.push_back(feed.shape());
  const auto prepare_start = Clock::now();
  absl::StatusOr<std::unique_ptr<Call>> call = session.Prepare(signature->name, shapes);
  if (!call.ok()) return call.status();
  const double prepare = Since(prepare_start);
  absl::Status status;
  for (size_t i = 0; i < feeds->size() && status.ok(); ++i) {
    status = (*call)->Feed(static_cast<int>(i), (*feeds)[i]);
  }
  std::optional<Progress> progress(std::in_place, "warming up " + Printable(signature->name));
  // Warm up: caches, page tables, threads.
  const auto warm_start = Clock::now();
  for (int i = 0; status.ok() && (i < 3 || Since(warm_start) < 0.1 * flags.seconds); ++i) {
    status = (*call)->Run();
  }
  std::vector<double> times;
  // Draws where it is told to and has no thread that would draw, and take a core, while something
  // is measured: from here on between runs alone, and seldom.
  ProgressScreen screen = ProgressScreen::StandardError();
  screen.timer = false;
  progress.emplace("measuring " + Printable(signature->name), 0, screen);
  const auto start = Clock::now();
  double next_update = 0;
  while (status.ok() && (times.size() < 5 || Since(start) < flags.seconds)) {
    const double now = Since(start);
    if (now >= next_update) {
      progress->Share(now / flags.seconds, absl::StrCat(times.size(), " runs"));
      next_update = now + kUpdateInterval;
    }
    const auto before = Clock::now();
    status = (*call)->Run();
    times.push_back(Since(before));
  }
  progress->Phase("measuring the machine");
  if (!status.ok()) return WithHint(status);
  std::sort(times.begin(), times.end());
  // Work per run, as the plan's steps state it. Profiling comes after timing: it costs time itself.
  session.EnableProfiling(true);
  constexpr int kProfiled = 5;
  for (int i = 0; i < kProfiled && status.ok(); ++i) status = (*call)->Run();
  if (!status.ok()) return status;
  const std::vector<StepProfile> profile = session.Profile();
  session.EnableProfiling(false);
  double flops = 0, bytes = 0;
  for (const StepProfile& step : profile) {
    flops += step.flops * step.runs / kProfiled;
    bytes += step.bytes * step.runs / kProfiled;
  }
  const int threads = flags.threads > 0 ? flags.threads : weft_num_cores();  // as the session
  // Before the measurement of the machine, which takes memory of its own.
  const int64_t resident = PeakResidentBytes();
  absl::StatusOr<MachinePeaks> peaks = PeaksOf(*model->options.device, threads);
  progress.reset();
  if (!peaks.ok()) return peaks.status();
  const double median = Percentile(times, 0.5);
  const double gflops = flops / median / 1e9, gbs = bytes / median / 1e9;
  if (flags.profile) PrintProfile(profile);
  if (flags.json) {
    const nlohmann::json json = {{"signature", signature->name},
                                 {"device", flags.device},
                                 {"threads", threads},
                                 {"runs", times.size()},
                                 {"load_ms", 1e3 * load},
                                 {"prepare_ms", 1e3 * prepare},
                                 {"min_ms", 1e3 * times.front()},
                                 {"median_ms", 1e3 * median},
                                 {"p90_ms", 1e3 * Percentile(times, 0.9)},
                                 {"p99_ms", 1e3 * Percentile(times, 0.99)},
                                 {"max_ms", 1e3 * times.back()},
                                 {"gflops", gflops},
                                 {"gbs", gbs},
                                 {"peak_gflops", OrNull(peaks->gflops)},
                                 {"peak_gbs", OrNull(peaks->copy_gbs)},
                                 {"certificate_bytes", (*call)->peak_bytes()},
                                 {"resident_bytes", resident}};
    std::printf("%s\n", JsonText(json).c_str());
    return absl::OkStatus();
  }
  const std::string where = model->options.device->is_host()
                                ? absl::StrCat(threads, " thread", threads == 1 ? "" : "s")
                                : Printable(flags.device);
  std::printf("%s, %s, %zu runs; load %.1f ms, prepare %.1f ms\n",
              Printable(signature->name).c_str(), where.c_str(), times.size(), 1e3 * load,
              1e3 * prepare);
  std::printf("latency   min %.4f  median %.4f  90 %% %.4f  99 %% %.4f  max %.4f ms\n",
              1e3 * times.front(), 1e3 * median, 1e3 * Percentile(times, 0.9),
              1e3 * Percentile(times, 0.99), 1e3 * times.back());
  std::string of_peak, of_memory;
  if (peaks->gflops > 0) {
    of_peak = absl::StrFormat(" of %.0f (%.1f %%)", peaks->gflops, 100 * gflops / peaks->gflops);
  }
  if (peaks->copy_gbs > 0) {
    // What stays in caches moves faster than memory copies.
    of_memory =
        gbs > peaks->copy_gbs
            ? absl::StrFormat(" from caches; memory copies at %.1f", peaks->copy_gbs)
            : absl::StrFormat(" of %.1f (%.1f %%)", peaks->copy_gbs, 100 * gbs / peaks->copy_gbs);
  }
  std::printf("rate      %.2f GFLOP/s%s, %.2f GB/s%s\n", gflops, of_peak.c_str(), gbs,
              of_memory.c_str());
  std::printf("memory    %s arena and scratch (certificate), %s process at its highest\n",
              ByteText(static_cast<double>((*call)->peak_bytes())).c_str(),
              ByteText(static_cast<double>(resident)).c_str());
  return absl::OkStatus();
}

}  // namespace

Command AddBench(CLI::App& program) {
  auto flags = std::make_shared<Flags>();
  CLI::App* app = program.add_subcommand(
      "bench", "Measures latency and rates against the limits of machine or device");
  app->add_option("MODEL", flags->model, "Graph file or package")->required()->type_name("MODEL");
  app->add_option("--signature", flags->signature,
                  "What to run; predict, or the only one, if not given")
      ->type_name("NAME");
  AddSizes(app, flags->sizes);
  AddRepeatable(app, "--feed", flags->feeds,
                "An input, NAME=FILE.npy or FILE.npz; random numbers if not given; repeatable")
      ->type_name("INPUT");
  app->add_option("--checkpoint", flags->checkpoint,
                  "Values of variables; a graph's own first values if not given")
      ->type_name("FILE");
  app->add_option("--seconds", flags->seconds, "How long to measure")
      ->capture_default_str()
      ->type_name("SECONDS")
      ->check(PositiveNumber());
  AddThreads(app, flags->threads);
  AddDevice(app, flags->device);
  AddGpuLibraries(app, flags->gpu_libraries);
  AddMatmulPrecision(app, flags->matmul_precision);
  AddDisablePass(app, flags->disabled_passes);
  app->add_flag("--profile", flags->profile, "Time of each step, to standard error");
  app->add_flag("--json", flags->json, "Results as JSON");
  app->footer(
      "A run on a GPU includes its feeds' way there and its outputs' way back.\n"
      "Examples: weft bench digits.weftpkg --signature predict --size batch=32 --threads 1\n"
      "          weft bench digits.weft --size batch=2 --device emulator:sm_80");
  return {app, [flags] { return Run(*flags); }};
}

}  // namespace weft::cli
