// weft compile: ahead of time, to what a program links or runs.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "compiler/api.h"
#include "compiler/check_options.h"
#include "compiler/codegen/cuda/ptxas.h"
#include "proto/container.h"
#include "proto/file.h"
#include "proto/plan.pb.h"
#include "proto/printable.h"
#include "proto/suggest.h"
#include "runtime/devices.h"
#include "runtime/package.h"
#include "runtime/session.h"
#include "tools/common/command_line.h"
#include "tools/common/device_option.h"
#include "tools/common/outputs.h"
#include "tools/progress/progress.h"
#include "tools/weft/command.h"
#include "tools/weft/compile_golden.h"
#include "tools/weft/model.h"

namespace weft::cli {
namespace {

const std::vector<std::string>& Kinds() {
  static const auto* kinds = new std::vector<std::string>{
      "object", "shared", "executable", "package", "mlir", "llvm", "asm", "ptx"};
  return *kinds;
}

struct Flags {
  std::string model, out, emit, checkpoint, dump, matmul_precision, ptxas, device = "cpu";
  std::vector<std::string> targets, signatures, specialize, disabled_passes, golden;
  uint64_t memory_budget = 0;
  int threads = 0, memory_budget_threads = 1;
  bool freeze = false, timing = false, explain = false, ignore_devices = false;
};

// What the name of the output says, where --emit does not.
std::string KindOf(const std::string& path) {
  const std::pair<const char*, const char*> kEndings[] = {
      {".o", "object"}, {".so", "shared"}, {".weftpkg", "package"}, {".mlir", "mlir"},
      {".ll", "llvm"},  {".s", "asm"},     {".ptx", "ptx"}};
  for (const auto& [ending, kind] : kEndings) {
    if (absl::EndsWith(path, ending)) return kind;
  }
  return "";
}

absl::StatusOr<std::string> ChooseKind(const Flags& flags) {
  const std::string kind = flags.emit.empty() ? KindOf(flags.out) : flags.emit;
  if (kind.empty()) {
    return UsageError(absl::StrCat("--emit is needed: ", absl::StrJoin(Kinds(), ", ")));
  }
  if (std::count(Kinds().begin(), Kinds().end(), kind)) return kind;
  return UsageError(absl::StrCat("there is no --emit '", kind, "'", Suggestion(kind, Kinds())));
}

bool IsGpu(const std::string& target) { return absl::StartsWith(target, "cuda:"); }

bool IsText(const std::string& kind) {
  return kind == "mlir" || kind == "llvm" || kind == "asm" || kind == "ptx";
}

// The targets of "cuda:sm_80,sm_90a,cpu:x86-64-v3", as given or as they suit the kind of output.
// Those of "cuda:0=cuda:sm_80", for a device that nodes are placed on, go into `of_devices`.
absl::StatusOr<std::vector<std::string>> TargetsOf(const std::vector<std::string>& lists,
                                                   const std::string& kind,
                                                   std::map<std::string, std::string>* of_devices) {
  std::vector<std::string> targets;
  for (const std::string& list : lists) {
    std::string device;
    for (const std::string& name : std::vector<std::string>(absl::StrSplit(list, ','))) {
      // One behind a '+' is a cache's size.
      if (const size_t equals = name.find('='); equals < name.find('+')) {
        const std::string named = name.substr(0, equals);
        if (!of_devices->emplace(named, name.substr(equals + 1)).second) {
          return UsageError(absl::StrCat("--target: expected one target for '", named,
                                         "', got a second one, '", name.substr(equals + 1), "'"));
        }
        continue;
      }
      const size_t colon = name.find(':');
      if (colon != std::string::npos) device = name.substr(0, colon + 1);
      targets.push_back(colon != std::string::npos ? name : device + name);
    }
  }
  // What leaves this machine picks its code where it runs.
  if (targets.empty() && kind == "ptx") return std::vector<std::string>{"cuda:sm_80"};
  if (targets.empty() && IsText(kind)) return std::vector<std::string>{"cpu:native"};
  if (targets.empty()) return std::vector<std::string>{"cpu:x86-64-v3", "cpu:x86-64-v4"};
  if (IsText(kind) && targets.size() > 1) {
    return UsageError(absl::StrCat("--emit ", kind, " is for one --target, got ", targets.size()));
  }
  for (const std::string& target : targets) {
    const bool is_gpu = IsGpu(target);
    if (kind == "ptx" && !is_gpu) {
      return UsageError(
          absl::StrCat("--emit ptx is for GPUs, such as --target cuda:sm_80, got ", target));
    }
    if (is_gpu && (kind == "object" || kind == "shared" || kind == "executable")) {
      return UsageError(absl::StrCat("--emit ", kind, " is for processors, got --target ", target,
                                     "; a package holds code for GPUs"));
    }
  }
  return targets;
}

// The devices that nodes are placed on where the graph is compiled for these targets.
std::set<std::string> PlacedOn(const Flags& flags, const Graph& graph,
                               const std::vector<std::string>& targets) {
  std::set<std::string> placed;
  // What a GPU has no code for runs on the processor, so that may have a target in any case.
  if (std::any_of(targets.begin(), targets.end(), IsGpu)) placed.insert("cpu");
  if (!flags.ignore_devices) {
    for (const auto& [device, node] : graph.Devices()) placed.insert(device);
  }
  return placed;
}

// What messages call it.
std::string ModelText(const Flags& flags) {
  return absl::StrCat(flags.model, flags.ignore_devices ? " (with --ignore-devices)" : "");
}

// Where --golden runs the package.
absl::StatusOr<SessionOptions> GoldenSession(const Flags& flags, const Graph& graph,
                                             const CompileOptions& options) {
  DeviceNames named;
  absl::StatusOr<SessionOptions> session =
      SessionOptionsOf(flags.device, /*threads=*/0, MakeDevice, &named);
  if (!session.ok()) return session;
  const absl::Status known = CheckDeviceNames(
      "--device", named, PlacedOn(flags, graph, options.targets), ModelText(flags));
  if (!known.ok()) return known;
  if (session->device->name() == "cpu" &&
      std::none_of(options.targets.begin(), options.targets.end(),
                   [](const std::string& target) { return absl::StartsWith(target, "cpu:"); })) {
    return UsageError(
        absl::StrCat("--golden runs the package on this processor: expected a --target such as "
                     "cpu:x86-64-v3 as well, got ",
                     absl::StrJoin(options.targets, ", "),
                     "; or a --device that has it run elsewhere, such as emulator:sm_80"));
  }
  return session;
}

absl::StatusOr<CompileOptions> OptionsOf(const Flags& flags, const Graph& graph,
                                         const std::string& kind, Progress& progress,
                                         absl::Status& dumped) {
  CompileOptions options;
  options.signatures = flags.signatures;
  const std::vector<std::string> names = graph.SignatureNames();
  for (const std::string& signature : flags.signatures) {
    if (std::count(names.begin(), names.end(), signature)) continue;
    return UsageError(absl::StrCat("there is no signature '", signature, "' in ", flags.model,
                                   Suggestion(signature, names)));
  }
  absl::StatusOr<std::vector<std::string>> targets =
      TargetsOf(flags.targets, kind, &options.device_targets);
  if (!targets.ok()) return targets.status();
  options.targets = *std::move(targets);
  const absl::Status known =
      CheckDeviceNames("--target", options.device_targets, PlacedOn(flags, graph, options.targets),
                       ModelText(flags));
  if (!known.ok()) return known;
  const bool has_gpu = std::any_of(options.targets.begin(), options.targets.end(), IsGpu) ||
                       std::any_of(options.device_targets.begin(), options.device_targets.end(),
                                   [](const auto& of_device) { return IsGpu(of_device.second); });
  if (kind == "package" && has_gpu) {
    options.ptxas = flags.ptxas.empty() ? FindPtxas() : flags.ptxas == "none" ? "" : flags.ptxas;
  } else if (!flags.ptxas.empty()) {
    return UsageError("--ptxas is for packages with code for GPUs, such as --target cuda:sm_80");
  }
  absl::StatusOr<std::set<std::string>> dimensions = std::set<std::string>();
  if (!flags.specialize.empty()) dimensions = OpenDimensions(graph);
  if (!dimensions.ok()) return dimensions.status();
  absl::StatusOr<std::map<std::string, std::vector<int64_t>>> sizes =
      ParseSizes(flags.specialize, *dimensions);
  if (!sizes.ok()) return sizes.status();
  options.specialize = *std::move(sizes);
  if (!flags.checkpoint.empty()) {
    absl::StatusOr<NamedTensors> variables = ReadVariables(flags.checkpoint, graph, flags.model);
    if (!variables.ok()) return variables.status();
    options.variables = *std::move(variables);
  } else if (flags.freeze) {
    return UsageError("--freeze needs values of variables: --checkpoint FILE");
  }
  options.freeze = flags.freeze;
  options.ignore_devices = flags.ignore_devices;
  absl::StatusOr<MatmulPrecision> precision = MatmulPrecisionOf(flags.matmul_precision);
  if (!precision.ok()) return precision.status();
  options.matmul_precision = *precision;
  options.memory_budget = static_cast<int64_t>(flags.memory_budget);
  options.memory_budget_threads = flags.memory_budget_threads;
  options.threads = flags.threads;
  options.disabled_passes = flags.disabled_passes;
  options.warn = [&](const std::string& line) {
    progress.Line(absl::StrCat("warning: ", Printable(line)));
  };
  options.progress = [&](double share, const std::string& what) { progress.Share(share, what); };
  if (flags.timing) {
    options.timing = [&](const std::string& pass, double seconds) {
      progress.Line(absl::StrFormat("%10.2f ms  %s", 1e3 * seconds, pass));
    };
  }
  if (flags.explain) {
    options.explain = [&](const std::string& line) { progress.Line(Printable(line)); };
  }
  if (!flags.dump.empty()) {
    options.dump = [&progress, &dumped, folder = flags.dump, count = 0](
                       const std::string& pass, const std::string& ir) mutable {
      if (folder == "-") return progress.Line(absl::StrCat("// ---- after ", pass, "\n", ir));
      std::string name = pass;
      std::replace(name.begin(), name.end(), '/', '_');
      char number[8];
      std::snprintf(number, sizeof(number), "%03d", count++);
      const std::string path = absl::StrCat(folder, "/", number, "_", name, ".mlir");
      // The first file that cannot be written is reported once, when all is done.
      if (dumped.ok()) dumped = WriteFileAtomically(path, ir);
    };
  }
  if (absl::Status valid = CheckOptions(options); !valid.ok()) return AsUsage(valid);
  return options;
}

// What the compiler says. With --freeze, a variable without a value, or with one that does not fit,
// is the fault of the file.
absl::Status Compiled(const absl::Status& status, const Flags& flags) {
  if (!flags.freeze || !absl::IsFailedPrecondition(status)) return status;
  return AsBadInput(
      absl::InvalidArgumentError(absl::StrCat(flags.checkpoint, ": ", status.message())));
}

// What was written; empty where that cannot be read back.
PackageManifest ManifestOf(const std::string& path) {
  PackageManifest manifest;
  absl::StatusOr<std::shared_ptr<const Bytes>> bytes = Bytes::Map(path);
  if (!bytes.ok()) return manifest;
  const absl::StatusOr<Container> container = Container::Open(*std::move(bytes));
  if (!container.ok()) return manifest;
  return ReadManifest(*container, &manifest).ok() ? manifest : PackageManifest();
}

// "cpu:x86-64-v3 (cuda:0=cuda:sm_80), cuda:sm_80": in parentheses what the target has code for
// beside its own.
std::string TargetsText(const PackageManifest& manifest) {
  std::vector<std::string> targets;
  for (const TargetPlans& target : manifest.targets()) {
    std::vector<std::string> devices;
    for (const TargetPlans& placed : target.devices()) {
      devices.push_back(absl::StrCat(placed.device(), "=", placed.target()));
    }
    targets.push_back(target.target());
    if (!devices.empty()) {
      absl::StrAppend(&targets.back(), " (", absl::StrJoin(devices, ", "), ")");
    }
  }
  return absl::StrJoin(targets, ", ");
}

// The same as far as the command line says it, where there is no manifest.
std::string TargetsText(const CompileOptions& options) {
  std::vector<std::string> devices;
  for (const auto& [device, target] : options.device_targets) {
    devices.push_back(absl::StrCat(device, "=", target));
  }
  return absl::StrCat(absl::StrJoin(options.targets, ", "), devices.empty() ? "" : " (",
                      absl::StrJoin(devices, ", "), devices.empty() ? "" : ")");
}

// For which GPUs the package has machine code, where there was an assembler.
void TellMachineCode(const PackageManifest& manifest, const std::string& ptxas) {
  std::vector<std::string> with, without;
  const auto look = [&](const TargetPlans& target) {
    if (!IsGpu(target.target())) return;
    (target.machine_code_section().empty() ? without : with).push_back(target.target());
  };
  for (const TargetPlans& target : manifest.targets()) {
    look(target);
    for (const TargetPlans& device : target.devices()) look(device);
  }
  if (!with.empty()) {
    std::fprintf(stderr, "Verified by %s, whose machine code it holds beside PTX: %s.\n",
                 Printable(ptxas).c_str(), absl::StrJoin(with, ", ").c_str());
  }
  if (!without.empty()) {
    std::fprintf(stderr, "PTX alone, since %s does not know them: %s.\n", Printable(ptxas).c_str(),
                 absl::StrJoin(without, ", ").c_str());
  }
}

// `golden`: where --golden runs it.
absl::Status Emit(const Graph& graph, const CompileOptions& options, const SessionOptions& golden,
                  const Flags& flags, const std::string& kind, Progress& progress) {
  static const std::map<std::string, Artifact> kArtifacts = {{"object", Artifact::kObject},
                                                             {"shared", Artifact::kShared},
                                                             {"executable", Artifact::kExecutable}};
  const auto artifact = kArtifacts.find(kind);
  if (artifact != kArtifacts.end()) {
    return Compiled(WriteArtifact(graph, options, artifact->second, flags.out), flags);
  }
  absl::StatusOr<std::string> bytes =
      kind == "package" ? CompilePackage(graph, options)
                        : CompileToText(graph, options, kind == "ptx" ? "asm" : kind);
  if (!bytes.ok()) return Compiled(bytes.status(), flags);
  if (!flags.golden.empty()) {
    progress.Phase("reference outputs of " + FileName(flags.model));
    bytes = AddGolden(graph, options, golden, flags.golden, *bytes);
    if (!bytes.ok()) return bytes.status();
  }
  if (flags.out == "-") {
    Progress::HideAll();
    std::fwrite(bytes->data(), 1, bytes->size(), stdout);
    return absl::OkStatus();
  }
  return WriteFileAtomically(flags.out, *bytes);
}

// What stands beside the main output: a header.
std::string HeaderOf(const std::string& kind, const std::string& out) {
  if (kind != "object" && kind != "shared") return "";
  return std::filesystem::path(out).replace_extension(".h").string();
}

absl::Status CheckFlags(const Flags& flags, const std::string& kind) {
  if (flags.out == "-" && !IsText(kind)) {
    return UsageError("-o - prints text: mlir, llvm, asm or ptx");
  }
  if (!flags.golden.empty() && kind != "package") {
    return UsageError(absl::StrCat("--golden is for packages, not for --emit ", kind));
  }
  std::vector<std::string> inputs = FilesOf(flags.golden);
  inputs.push_back(flags.model);
  inputs.push_back(flags.checkpoint);
  absl::Status status = CheckOutput("-o", flags.out, inputs);
  if (status.ok()) status = CheckOutput("the header of -o", HeaderOf(kind, flags.out), inputs);
  if (status.ok() && !flags.dump.empty() && flags.dump != "-") status = MakeFolder(flags.dump);
  return status;
}

absl::Status Run(const Flags& flags) {
  absl::StatusOr<std::string> kind = ChooseKind(flags);
  if (!kind.ok()) return kind.status();
  absl::Status status = CheckFlags(flags, *kind);
  if (!status.ok()) return status;
  absl::StatusOr<Graph> graph = LoadGraphNotPackage(flags.model);
  if (!graph.ok()) return graph.status();
  absl::Status dumped;
  std::optional<Progress> progress(std::in_place, "compiling " + FileName(flags.model));
  absl::StatusOr<CompileOptions> options = OptionsOf(flags, *graph, *kind, *progress, dumped);
  if (!options.ok()) return options.status();
  absl::StatusOr<SessionOptions> golden = SessionOptions();
  if (!flags.golden.empty()) golden = GoldenSession(flags, *graph, *options);
  if (!golden.ok()) return golden.status();
  const auto start = std::chrono::steady_clock::now();
  status = Emit(*graph, *options, *golden, flags, *kind, *progress);
  progress.reset();
  if (status.ok()) status = dumped;
  if (!status.ok()) return status;
  const std::string header = HeaderOf(*kind, flags.out);
  const std::string written = flags.out == "-"
                                  ? "standard output"
                                  : absl::StrCat(flags.out, header.empty() ? "" : " and ", header);
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const PackageManifest manifest = *kind == "package" ? ManifestOf(flags.out) : PackageManifest();
  std::fprintf(
      stderr, "%s: %s for %s, %.2f s\n", written.c_str(), kind->c_str(),
      (manifest.targets_size() > 0 ? TargetsText(manifest) : TargetsText(*options)).c_str(),
      seconds);
  if (!options->ptxas.empty()) TellMachineCode(manifest, options->ptxas);
  if (*kind == "package" && flags.checkpoint.empty() && !graph->Variables().empty()) {
    std::fprintf(stderr,
                 "It holds no values of variables: run init or give a checkpoint where it runs, or "
                 "compile with --checkpoint.\n");
  }
  return absl::OkStatus();
}

}  // namespace

Command AddCompile(CLI::App& program) {
  auto flags = std::make_shared<Flags>();
  CLI::App* app = program.add_subcommand("compile", "Compiles a graph file ahead of time");
  app->add_option("MODEL", flags->model, "Graph file (.weft, .textproto)")
      ->required()
      ->type_name("MODEL");
  app->add_option("-o,--out", flags->out, "File to write; - prints text")
      ->required()
      ->type_name("FILE");
  app->add_option(
         "--emit", flags->emit,
         absl::StrCat(absl::StrJoin(Kinds(), ", "),
                      "; told from the name of the output if not given: .o, .so, .weftpkg, "
                      ".mlir, .ll, .s, .ptx"))
      ->type_name("KIND");
  AddRepeatable(
      app, "--target", flags->targets,
      "cpu:x86-64-v3, cpu:x86-64-v4, cpu:native, +FEATURE for each one added, +l2=1M for a cache's "
      "size; cuda:sm_70, sm_80, sm_90, sm_90a; repeatable, or separated by commas: the best that "
      "the machine can run is "
      "picked there. For artifacts both levels, for text this machine, if not given. Of a device "
      "that nodes are placed on: cuda:0=cuda:sm_80")
      ->type_name("TARGET");
  app->add_flag("--ignore-devices", flags->ignore_devices,
                "Whatever devices nodes are placed on, they run where the others do");
  AddRepeatable(app, "--signature", flags->signatures,
                "Signatures to compile; all if not given; repeatable")
      ->type_name("NAME");
  app->add_option("--checkpoint", flags->checkpoint, "Values of variables: a .safetensors file")
      ->type_name("FILE");
  app->add_flag("--freeze", flags->freeze, "Compile those values in as constants");
  AddRepeatable(app, "--specialize", flags->specialize,
                "Code of its own for sizes of an open dimension, such as batch=1,32; repeatable")
      ->type_name("DIM=SIZES");
  CLI::Option* golden = AddRepeatable(
      app, "--golden", flags->golden,
      "package: inputs of the signature (predict, if there are more), NAME=FILE.npy or "
      "FILE.npz with all, to put into it with what the reference evaluators make of them, "
      "which weft verify and weft-run --verify compare with; repeatable");
  golden->type_name("INPUT");
  AddDevice(app, flags->device);
  app->get_option("--device")
      ->description("Where --golden runs the package to check it; as for weft run")
      ->needs(golden);
  AddMatmulPrecision(app, flags->matmul_precision);
  CLI::AsSizeValue size(/*kb_is_1000=*/false);
  size.description("");  // the option's says what is taken
  CLI::Option* budget =
      app->add_option(
             "--memory-budget", flags->memory_budget,
             "Bytes that arena and scratch may take, such as 64MiB: where a signature needs more, "
             "values are computed again instead of being kept. An open size counts as the largest "
             "that --specialize names, or as 64. Of several devices, on that of the --target "
             "without a name. No limit if not given")
          ->type_name("BYTES")
          ->transform(size)
          ->check(WholeNumber(1));
  app->add_option("--memory-budget-threads", flags->memory_budget_threads,
                  "Threads that run it, each with scratch of its own, as --memory-budget counts; "
                  "1 if not given")
      ->type_name("N")
      ->check(WholeNumber(1, kMaxThreads))
      ->needs(budget);
  app->add_option("--threads", flags->threads, "Threads that compile at once; 0: one per core")
      ->type_name("N")
      ->check(WholeNumber(0, kMaxThreads));
  app->add_option(
         "--ptxas", flags->ptxas,
         "package: CUDA's assembler, which verifies the code for GPUs and adds machine code "
         "to it, so that drivers need not make it; none for PTX alone. Looked for in "
         "$CUDA_HOME, $CUDA_PATH, $PATH and /usr/local/cuda if not given")
      ->type_name("FILE");
  AddDisablePass(app, flags->disabled_passes);
  app->add_option("--dump-after-each-pass", flags->dump,
                  "Write the IR after each pass into this folder, or to standard error with -")
      ->type_name("FOLDER");
  app->add_flag("--time-passes", flags->timing, "Milliseconds of each pass, to standard error");
  app->add_flag("--explain", flags->explain,
                "For each edge of the graph, to standard error: fused or not, by which rule, bytes "
                "saved");
  app->footer(
      "Examples: weft compile digits.weft --checkpoint run/best.safetensors --freeze \\\n"
      "              --signature predict --golden x=images.npy -o digits.weftpkg\n"
      "          weft compile digits.weft --signature predict --emit mlir -o -");
  return {app, [flags] { return Run(*flags); }};
}

}  // namespace weft::cli
