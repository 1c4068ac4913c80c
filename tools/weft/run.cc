// weft run: calls a signature once, or fetches nodes of a graph.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "tools/common/profile.h"
#include "tools/weft/command.h"
#include "tools/weft/model.h"

namespace weft::cli {
namespace {

struct Flags {
  std::string model, signature, out, checkpoint, save_checkpoint, device = "cpu";
  std::vector<std::string> feeds, fetches, disabled_passes;
  int threads = 0;
  double timeout = 0;
  int64_t limit = 32;
  bool init = false, profile = false, json = false;
};

absl::Status CheckFlags(const Flags& flags) {
  if (flags.device != "cpu") {
    return UsageError(absl::StrCat("there is no device '", flags.device, "'; there is cpu"));
  }
  absl::Status status =
      CheckNoInput("--save-checkpoint", flags.save_checkpoint, flags.model, flags.feeds);
  if (status.ok()) status = CheckOut(flags.out, flags.model, flags.feeds);
  return status;
}

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
                                     "; weft inspect lists them"));
    }
  }
  absl::StatusOr<NamedTensors> feeds = ReadFeeds(flags.feeds, {});
  if (!feeds.ok()) return feeds.status();
  auto values = model.session->Run(*feeds, flags.fetches, {}, options);
  if (!values.ok()) return values.status();
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
  if (absl::Status status = CheckFetches(*signature, flags.fetches); !status.ok()) return status;
  absl::StatusOr<NamedTensors> feeds = ReadFeeds(flags.feeds, signature->inputs);
  if (!feeds.ok()) return feeds.status();
  absl::StatusOr<NamedTensors> results = model.session->Run(signature->name, *feeds, options);
  if (results.ok()) KeepFetches(flags.fetches, &*results);
  return results;
}

absl::Status Run(const Flags& flags) {
  absl::Status status = CheckFlags(flags);
  if (!status.ok()) return status;
  absl::StatusOr<Model> model =
      OpenModel(flags.model, {flags.threads, flags.disabled_passes, flags.checkpoint});
  if (!model.ok()) return model.status();
  RunOptions options;
  if (flags.timeout > 0) options.deadline = absl::Now() + absl::Seconds(flags.timeout);
  if (flags.init) {
    auto done = model->session->Run("init", {}, options);
    if (!done.ok()) return done.status();
  }
  if (flags.profile) model->session->EnableProfiling(true);
  absl::StatusOr<NamedTensors> results = Call(*model, flags, options);
  if (!results.ok()) return results.status();
  if (flags.profile) PrintProfile(model->session->Profile());
  status = WriteResults(*results, flags.out, flags.json, flags.limit);
  if (status.ok() && !flags.save_checkpoint.empty()) {
    status = model->session->SaveCheckpoint(flags.save_checkpoint);
  }
  return status;
}

}  // namespace

Command AddRun(CLI::App& program) {
  auto flags = std::make_shared<Flags>();
  CLI::App* app = program.add_subcommand("run", "Runs a graph file or a package once");
  app->add_option("model", flags->model, "Graph file (.weft, .textproto) or package (.weftpkg)")
      ->required()
      ->type_name("MODEL");
  app->add_option("--feed", flags->feeds,
                  "NAME=FILE.npy, NAME=NUMBER for a scalar, or FILE.npz for all in it; repeatable");
  app->add_option("--fetch", flags->fetches,
                  "Output of the signature or, of a graph, any node; all outputs if not given");
  app->add_option("--signature", flags->signature, "Default: predict, or the only one");
  app->add_option("--out", flags->out, "Write results to a .npy or .npz file, not to the screen");
  app->add_option("--checkpoint", flags->checkpoint, "Values of variables, a .safetensors file");
  app->add_flag("--init", flags->init, "Run `init` first, which gives variables their first value");
  app->add_option("--save-checkpoint", flags->save_checkpoint, "Write the variables afterwards");
  app->add_option("--threads", flags->threads, "0: one per core")
      ->check(CLI::Range(0, kMaxThreads));
  app->add_option("--device", flags->device, "cpu");
  app->add_option("--timeout", flags->timeout, "Give up after so many seconds");
  app->add_option("--limit", flags->limit, "Elements of a tensor that are printed at most");
  app->add_option("--disable-pass", flags->disabled_passes,
                  "Leave out a compiler pass; repeatable");
  app->add_flag("--profile", flags->profile, "Time of each step to standard error");
  app->add_flag("--json", flags->json, "Results as JSON");
  app->footer(
      "Example: weft run digits.weft --checkpoint run/best.safetensors --feed x=images.npy "
      "--fetch class --out classes.npy");
  return {app, [flags] { return Run(*flags); }};
}

}  // namespace weft::cli
