#include "tools/weft/model.h"

#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "compiler/check_options.h"
#include "proto/container.h"
#include "proto/dim_expr.h"
#include "proto/file.h"
#include "proto/graph.pb.h"
#include "proto/plan.pb.h"
#include "proto/printable.h"
#include "proto/safetensors.h"
#include "proto/suggest.h"
#include "runtime/devices.h"
#include "tools/common/command_line.h"
#include "tools/common/device_option.h"
#include "tools/progress/progress.h"
#include "tools/weft/command.h"
#include "tools/weft/fingerprint.h"

namespace weft::cli {
namespace {

absl::Status NamingFile(const absl::Status& status, const std::string& path) {
  if (status.ok() || absl::StrContains(status.message(), path)) return status;
  return Reworded(status, absl::StrCat(path, ": ", status.message()));
}

template <GpuLibraries libraries>
absl::StatusOr<std::shared_ptr<Device>> MakeDeviceWith(std::string_view name, int threads) {
  return MakeDevice(name, threads, libraries);
}

// By the option's values.
const std::map<std::string, DeviceMaker>& MakersWithLibraries() {
  static const auto& makers =
      *new std::map<std::string, DeviceMaker>{{"off", MakeDeviceWith<GpuLibraries::kNone>},
                                              {"found", MakeDeviceWith<GpuLibraries::kFound>},
                                              {"cublaslt", MakeDeviceWith<GpuLibraries::kCublasLt>},
                                              {"cudnn", MakeDeviceWith<GpuLibraries::kCudnn>},
                                              {"all", MakeDeviceWith<GpuLibraries::kAll>}};
  return makers;
}

// Sessions on the devices that --device names, whose GPUs use what --gpu-libraries says. Errors:
// those of SessionOptionsOf, and kUsage.
absl::StatusOr<SessionOptions> OptionsOfSession(const OpenOptions& open, DeviceNames* named) {
  const bool required = open.gpu_libraries != "off" && open.gpu_libraries != "found";
  bool has_gpu = false;
  for (absl::string_view device : absl::StrSplit(open.device, ',')) {
    has_gpu = has_gpu || absl::StartsWith(device.substr(device.rfind('=') + 1), "cuda");
  }
  if (required && !has_gpu) {
    return UsageError(absl::StrCat("--gpu-libraries ", open.gpu_libraries,
                                   ": expected a GPU among the devices, such as "
                                   "--device cuda:0, got '",
                                   open.device, "'"));
  }
  return SessionOptionsOf(open.device, open.threads, MakersWithLibraries().at(open.gpu_libraries),
                          named);
}

// What the devices of the graph's nodes are compiled for. --device gives what `named` has.
absl::Status SetDeviceTargets(const Graph& graph, const std::string& model,
                              const SessionOptions& session, const DeviceNames& named,
                              CompileOptions* compile) {
  std::set<std::string> placed;
  // Where that is another device, for what has no code there.
  if (session.device->name() != "cpu") {
    compile->device_targets["cpu"] = "cpu:native";
    placed.insert("cpu");
  }
  const std::map<std::string, std::string> devices = graph.Devices();
  for (const auto& [name, node] : devices) placed.insert(name);
  absl::Status known = CheckDeviceNames("--device", named, placed, model);
  if (!known.ok()) return known;
  for (const auto& [name, node] : devices) {
    absl::StatusOr<std::shared_ptr<Device>> device = session.find_device(name);
    if (!device.ok()) {
      return Reworded(OfDevice(device.status()), absl::StrCat(node, " is placed on '", name,
                                                              "': ", device.status().message()));
    }
    const bool is_main = *device == session.device;
    const bool is_cpu = (*device)->name() == "cpu";
    compile->device_targets[name] = is_main ? "" : is_cpu ? "cpu:native" : (*device)->target();
  }
  return absl::OkStatus();
}

// Compiles for what those sessions run on. `model` is what messages call the graph; --device gives
// what `named` has.
absl::StatusOr<std::unique_ptr<Session>> CompilingSession(const Graph& graph,
                                                          const std::string& model,
                                                          const OpenOptions& options,
                                                          const SessionOptions& session,
                                                          const DeviceNames& named) {
  CompileOptions compile;
  compile.warn = [](const std::string& line) {
    Progress::Print(absl::StrCat("warning: ", Printable(line)));
  };
  compile.disabled_passes = options.disabled_passes;
  absl::StatusOr<MatmulPrecision> precision = MatmulPrecisionOf(options.matmul_precision);
  if (!precision.ok()) return precision.status();
  compile.matmul_precision = *precision;
  if (session.device->name() != "cpu") compile.targets = {session.device->target()};
  const absl::Status placed = SetDeviceTargets(graph, model, session, named, &compile);
  if (!placed.ok()) return placed;
  if (absl::Status valid = CheckOptions(compile); !valid.ok()) return AsUsage(valid);
  absl::StatusOr<Planner> planner = MakePlanner(graph, compile);
  if (!planner.ok()) return planner.status();
  // One plan at a time, whose parts are too few to count.
  return Session::WithPlanner(
      [planner = *std::move(planner)](const PlanRequest& request) {
        const Progress progress(absl::StrCat(
            "compiling ", request.fetches_size() > 0 ? absl::StrJoin(request.fetches(), ", ")
                                                     : request.signature()));
        return planner(request);
      },
      session);
}

}  // namespace

void AddDisablePass(CLI::App* app, std::vector<std::string>& passes) {
  AddRepeatable(app, "--disable-pass", passes, "Leave out a pass of the compiler; repeatable")
      ->type_name("PASS");
}

void AddMatmulPrecision(CLI::App* app, std::string& precision) {
  app->add_option(
         "--matmul-precision", precision,
         "What matrix products and convolutions of f32 multiply in: f32 (if not given), or "
         "tf32 on tensor cores where GPUs have it (sm_80 and later), of numbers rounded to 11 "
         "bits: an error of 2^-11 each")
      ->type_name("DTYPE");
}

absl::StatusOr<MatmulPrecision> MatmulPrecisionOf(const std::string& precision) {
  if (precision.empty() || precision == "f32") return MatmulPrecision::kF32;
  if (precision == "tf32") return MatmulPrecision::kTf32;
  return UsageError(
      absl::StrCat("--matmul-precision: expected f32 or tf32, got '", precision, "'"));
}

void AddThreads(CLI::App* app, int& threads) {
  app->add_option("--threads", threads, "0: one per core")
      ->type_name("N")
      ->check(WholeNumber(0, kMaxThreads));
}

void AddSizes(CLI::App* app, std::vector<std::string>& sizes) {
  AddRepeatable(app, "--size", sizes,
                "Size of an open dimension, such as batch=32 (1 if not given); repeatable")
      ->type_name("DIM=SIZE");
}

void AddDevice(CLI::App* app, std::string& device) {
  app->add_option("--device", device,
                  "cpu (if not given), cuda:0 and the like for a GPU, or emulator:sm_80 and the "
                  "like: a GPU, emulated and checked; then, after commas, what stands for devices "
                  "that nodes are placed on: cpu,cuda:0=emulator:sm_80")
      ->type_name("NAME");
}

void AddGpuLibraries(CLI::App* app, std::string& libraries) {
  std::vector<std::string> names;
  for (const auto& [name, maker] : MakersWithLibraries()) names.push_back(name);
  app->add_option(
         "--gpu-libraries", libraries,
         "What GPUs may use where it is measured to be faster than kernels, so that results "
         "differ by rounding, perhaps from run to run: off (if not given); cublaslt, for matrix "
         "products; cudnn, for convolutions; all, which is both; or found, those that there are")
      ->type_name("NAME")
      ->check(OneOf(std::move(names)));
}

std::string FileName(const std::string& path) {
  return std::filesystem::path(path).filename().string();
}

absl::StatusOr<bool> IsPackage(const std::string& path) {
  absl::StatusOr<std::shared_ptr<const Bytes>> bytes = Bytes::Map(path);
  if (!bytes.ok()) return AsBadInput(bytes.status());
  if ((*bytes)->view().substr(0, 8) != "WEFTFILE") return false;
  absl::StatusOr<Container> container = Container::Open(*bytes);
  if (!container.ok()) return AsBadInput(NamingFile(container.status(), path));
  return container->Has("manifest");
}

absl::StatusOr<Graph> LoadGraph(const std::string& path) {
  const Progress progress("reading " + FileName(path));
  absl::StatusOr<Graph> graph = Graph::Load(path);
  if (!graph.ok()) return AsBadInput(NamingFile(graph.status(), path));
  return graph;
}

absl::StatusOr<std::unique_ptr<Session>> SessionOf(const Graph& graph, const OpenOptions& options) {
  DeviceNames named;
  absl::StatusOr<SessionOptions> session = OptionsOfSession(options, &named);
  if (!session.ok()) return session.status();
  return CompilingSession(graph, "the model", options, *session, named);
}

absl::StatusOr<Model> OpenModel(const std::string& path, const OpenOptions& options) {
  Model model;
  model.path = path;
  absl::StatusOr<bool> package = IsPackage(path);
  if (!package.ok()) return package.status();
  if (*package) {
    std::string given;
    if (!options.disabled_passes.empty()) {
      given = "--disable-pass " + options.disabled_passes.front();
    } else if (!options.matmul_precision.empty()) {
      given = "--matmul-precision " + options.matmul_precision;
    }
    if (!given.empty()) {
      return UsageError(absl::StrCat("expected no ", given.substr(0, given.find(' ')),
                                     " with a package, which is compiled already, got ", given,
                                     "; give the graph file that ", path, " was made from"));
    }
  }
  DeviceNames named;
  absl::StatusOr<SessionOptions> session_options = OptionsOfSession(options, &named);
  if (!session_options.ok()) return session_options.status();
  model.options = *session_options;
  absl::StatusOr<std::unique_ptr<Session>> session;
  if (*package) {
    const absl::Status known = CheckDeviceNames(named, path);
    if (!known.ok()) return NamingFile(known, path);
    const Progress progress("reading " + FileName(path));
    session = Session::Load(path, *session_options);
    if (!session.ok()) return OfFile(NamingFile(session.status(), path));
  } else {
    absl::StatusOr<Graph> graph = LoadGraph(path);
    if (!graph.ok()) return graph.status();
    session = CompilingSession(*graph, path, options, *session_options, named);
    if (!session.ok()) return NamingFile(session.status(), path);
    model.graph = *std::move(graph);
  }
  model.session = *std::move(session);
  if (!options.checkpoint.empty()) {
    const Progress progress("reading " + FileName(options.checkpoint));
    auto restored = model.session->RestoreCheckpoint(options.checkpoint);
    if (!restored.ok()) return OfFile(NamingFile(restored.status(), options.checkpoint));
    if (model.graph) NoteOtherGraph(*restored, options.checkpoint, *model.graph, path);
  }
  return model;
}

absl::StatusOr<Graph> LoadGraphNotPackage(const std::string& path) {
  absl::StatusOr<bool> package = IsPackage(path);
  if (!package.ok()) return package.status();
  if (!*package) return LoadGraph(path);
  return AsBadInput(absl::InvalidArgumentError(absl::StrCat(
      path, " is a package, which is compiled; give the graph file it was made from")));
}

absl::StatusOr<NamedTensors> ReadVariables(const std::string& path, const Graph& graph,
                                           const std::string& model) {
  absl::StatusOr<std::shared_ptr<const Bytes>> bytes = Bytes::Load(path);
  if (!bytes.ok()) return AsBadInput(bytes.status());
  absl::StatusOr<Safetensors> file = ReadSafetensors((*bytes)->view(), *bytes);
  if (!file.ok()) return AsBadInput(NamingFile(file.status(), path));
  NoteOtherGraph(file->metadata, path, graph, model);
  return std::move(file->tensors);
}

absl::StatusOr<std::set<std::string>> OpenDimensions(const Graph& graph) {
  std::set<std::string> dimensions;
  NamedTensors weights;
  absl::StatusOr<GraphDef> def = graph.ToGraphDef(&weights);
  if (!def.ok()) return def.status();
  for (const proto::SignatureDef& signature : def->signatures()) {
    for (const std::string& input : signature.inputs()) {
      const Tensor tensor = graph.Find(input);
      if (!tensor.valid()) continue;
      for (const DimExpr& dim : tensor.shape()) {
        for (const std::string& symbol : dim.Symbols()) dimensions.insert(symbol);
      }
    }
  }
  return dimensions;
}

}  // namespace weft::cli
