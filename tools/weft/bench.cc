// weft bench: how fast is a model, and how near to what the machine can do?
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "proto/dim_expr.h"
#include "tools/common/profile.h"
#include "tools/data/random.h"
#include "tools/weft/command.h"
#include "tools/weft/machine.h"
#include "tools/weft/model.h"

namespace weft::cli {
namespace {

struct Flags {
  std::string model, signature, checkpoint;
  std::vector<std::string> feeds, sizes, disabled_passes;
  double seconds = 2;
  int threads = 0;
  bool profile = false, json = false;
};

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
    absl::StatusOr<NamedTensors> given = ReadFeeds(flags.feeds, signature.inputs);
    if (!given.ok()) return given.status();
    for (const auto& input : signature.inputs) tensors.push_back(given->at(input.name));
    return tensors;
  }
  auto parsed = ParseSizes(flags.sizes);
  if (!parsed.ok()) return parsed.status();
  std::map<std::string, int64_t> sizes;
  for (const auto& [name, values] : *parsed) sizes[name] = values[0];
  SplitMix64 random(1);
  for (const Session::ValueInfo& input : signature.inputs) {
    std::vector<int64_t> shape;
    for (const std::string& dim : input.dims) {
      absl::StatusOr<DimExpr> expression = DimExpr::Parse(dim);
      if (!expression.ok()) return expression.status();
      std::map<std::string, int64_t> all = sizes;
      for (const std::string& symbol : expression->Symbols()) all.emplace(symbol, 1);
      absl::StatusOr<int64_t> size = expression->Evaluate(all);
      if (!size.ok()) return size.status();
      shape.push_back(*size);
    }
    absl::StatusOr<HostTensor> tensor = RandomTensor(input.dtype, shape, random);
    if (!tensor.ok()) return tensor.status();
    tensors.push_back(*std::move(tensor));
  }
  return tensors;
}

double Percentile(const std::vector<double>& sorted, double share) {
  return sorted[std::min(sorted.size() - 1, static_cast<size_t>(share * sorted.size()))];
}

absl::Status Run(const Flags& flags) {
  const auto load_start = Clock::now();
  absl::StatusOr<Model> model =
      OpenModel(flags.model, {flags.threads, flags.disabled_passes, flags.checkpoint});
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
  // Warm up: caches, page tables, threads.
  const auto warm_start = Clock::now();
  for (int i = 0; status.ok() && (i < 3 || Since(warm_start) < 0.1 * flags.seconds); ++i) {
    status = (*call)->Run();
  }
  std::vector<double> times;
  const auto start = Clock::now();
  while (status.ok() && (times.size() < 5 || Since(start) < flags.seconds)) {
    const auto before = Clock::now();
    status = (*call)->Run();
    times.push_back(Since(before));
  }
  if (!status.ok()) return status;
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
  const int threads = flags.threads > 0
                          ? flags.threads
                          : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  // Before the measurement of the machine, which takes memory of its own.
  const int64_t resident = PeakResidentBytes();
  const MachinePeaks peaks = MeasurePeaks(threads);
  const double median = Percentile(times, 0.5);
  const double gflops = flops / median / 1e9, gbs = bytes / median / 1e9;
  if (flags.profile) PrintProfile(profile);
  if (flags.json) {
    const nlohmann::json json = {{"signature", signature->name},
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
                                 {"peak_gflops", peaks.gflops},
                                 {"peak_gbs", peaks.copy_gbs},
                                 {"certificate_bytes", (*call)->peak_bytes()},
                                 {"resident_bytes", resident}};
    std::printf("%s\n",
                json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
    return absl::OkStatus();
  }
  std::printf("%s, %d threads, %zu runs; load %.1f ms, prepare %.1f ms\n", signature->name.c_str(),
              threads, times.size(), 1e3 * load, 1e3 * prepare);
  std::printf("latency   min %.4f  median %.4f  90 %% %.4f  99 %% %.4f  max %.4f ms\n",
              1e3 * times.front(), 1e3 * median, 1e3 * Percentile(times, 0.9),
              1e3 * Percentile(times, 0.99), 1e3 * times.back());
  std::printf("rate      %.2f GFLOP/s of %.0f (%.1f %%), %.2f GB/s of %.1f (%.1f %%)\n", gflops,
              peaks.gflops, 100 * gflops / peaks.gflops, gbs, peaks.copy_gbs,
              100 * gbs / peaks.copy_gbs);
  std::printf("memory    %s arena and scratch (certificate), %s process at its highest\n",
              ByteText(static_cast<double>((*call)->peak_bytes())).c_str(),
              ByteText(static_cast<double>(resident)).c_str());
  return absl::OkStatus();
}

}  // namespace

Command AddBench(CLI::App& program) {
  auto flags = std::make_shared<Flags>();
  CLI::App* app = program.add_subcommand(
      "bench", "Measures latency and rates against the machine's own limits");
  app->add_option("model", flags->model, "Graph file or package")->required()->type_name("MODEL");
  app->add_option("--signature", flags->signature, "Default: predict, or the only one");
  app->add_option("--size", flags->sizes, "Size of an open dimension: batch=32; 1 if not given");
  app->add_option("--feed", flags->feeds, "NAME=FILE.npy; random numbers if not given");
  app->add_option("--checkpoint", flags->checkpoint,
                  "Values of variables; a graph's own first values if not given");
  app->add_option("--seconds", flags->seconds, "How long to measure")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app->add_option("--threads", flags->threads, "0: one per core")
      ->check(CLI::Range(0, kMaxThreads));
  app->add_option("--disable-pass", flags->disabled_passes,
                  "Leave out a compiler pass; repeatable");
  app->add_flag("--profile", flags->profile, "Time of each step to standard error");
  app->add_flag("--json", flags->json, "Results as JSON");
  app->footer("Example: weft bench digits.weftpkg --signature predict --size batch=32 --threads 1");
  return {app, [flags] { return Run(*flags); }};
}

}  // namespace weft::cli
