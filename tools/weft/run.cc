// weft run: calls a signature once, or fetches nodes of a graph.
#include <algorithm>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tools/common/command_line.h"
#include "tools/common/run_command.h"
#include "tools/progress/progress.h"
#include "tools/weft/command.h"
#include "tools/weft/model.h"

namespace weft::cli {
namespace {

struct Flags : RunFlags {
  std::vector<std::string> disabled_passes;
  std::string matmul_precision, gpu_libraries = "off";
};

// Whether every fetch is an output of the signature; otherwise they are nodes of the graph.
bool AreOutputs(const Session::SignatureInfo& signature, const std::vector<std::string>& fetches) {
  return std::all_of(fetches.begin(), fetches.end(), [&](const std::string& fetch) {
    return std::any_of(signature.outputs.begin(), signature.outputs.end(),
                       [&](const auto& output) { return output.name == fetch; });
  });
}

absl::StatusOr<NamedTensors> FetchNodes(Model& model, const Flags& flags,
                                        const RunOptions& options) {
  for (const std::string& fetch : flags.fetches) {
    // A look at the name alone; what the nodes need is the compiler's to say.
    if (!model.graph->Find(fetch).valid()) {
      return UsageError(absl::StrCat("there is no output and no node '", fetch, "' in ", model.path,
                                     "; weft inspect --nodes lists them"));
    }
  }
  const std::set<std::string> kept(flags.fetches.begin(), flags.fetches.end());
  if (absl::Status status = CheckCount(kept.size(), flags.out); !status.ok()) return status;
  absl::StatusOr<NamedTensors> feeds = ReadFeeds(flags.feeds, {});
  if (!feeds.ok()) return feeds.status();
  auto values = model.session->Run(*feeds, flags.fetches, {}, options);
  if (!values.ok()) return OfFeeds(values.status());
  NamedTensors results;
  for (size_t i = 0; i < values->size(); ++i) results[flags.fetches[i]] = std::move((*values)[i]);
  return results;
}

absl::StatusOr<NamedTensors> Call(Model& model, const Flags& flags, const RunOptions& options) {
  absl::StatusOr<Session::SignatureInfo> signature = FindSignature(*model.session, flags.signature);
  if (flags.signature.empty() && !flags.fetches.empty() && model.graph &&
      (!signature.ok() || !AreOutputs(*signature, flags.fetches))) {
    return FetchNodes(model, flags, options);
  }
  if (!signature.ok()) return signature.status();
  return CallSignature(*model.session, flags, *signature, options);
}

absl::Status Run(const Flags& flags) {
  absl::Status status = CheckRunFlags(flags);
  if (!status.ok()) return status;
  absl::StatusOr<Model> model = OpenModel(flags.model, {.threads = flags.threads,
                                                        .disabled_passes = flags.disabled_passes,
                                                        .matmul_precision = flags.matmul_precision,
                                                        .checkpoint = flags.checkpoint,
                                                        .device = flags.device,
                                                        .gpu_libraries = flags.gpu_libraries});
  if (!model.ok()) return model.status();
  status = RunWith(*model->session, flags, [&](const RunOptions& options) {
    // What --memory measures is the run's alone.
    std::optional<Progress> progress;
    if (!flags.memory) progress.emplace("running " + FileName(flags.model));
    return Call(*model, flags, options);
  });
  // A session ends only after what it compiles, which --timeout may not wait for: it stays until
  // the process ends.
  if (absl::IsDeadlineExceeded(status)) new Model(*std::move(model));
  return status;
}

}  // namespace

Command AddRun(CLI::App& program) {
  auto flags = std::make_shared<Flags>();
  CLI::App* app = program.add_subcommand("run", "Runs a graph file or a package once");
  app->add_option("MODEL", flags->model, "Graph file (.weft, .textproto) or package (.weftpkg)")
      ->required()
      ->type_name("MODEL");
  AddRepeatable(app, "--fetch", flags->fetches,
                "Output of the signature or, of a graph, any node; all outputs if not given")
      ->type_name("NAME");
  AddRunOptions(app, *flags);
  AddDevice(app, flags->device);
  AddGpuLibraries(app, flags->gpu_libraries);
  AddMatmulPrecision(app, flags->matmul_precision);
  AddDisablePass(app, flags->disabled_passes);
  app->footer(
      "Examples: weft run digits.weft --checkpoint run/best.safetensors --feed x=images.npy \\\n"
      "              --fetch class --out classes.npy\n"
      "          weft run digits.weft --signature train_step --checkpoint w.safetensors \\\n"
      "              --feed x=images.npy --feed y=labels.npy --save-checkpoint w.safetensors\n"
      "          weft run digits.weft --init --feed x=images.npy --device emulator:sm_80");
  return {app, [flags] { return Run(*flags); }};
}

}  // namespace weft::cli
