// weft verify: does a model still give the reference outputs?
#include <cmath>
#include <cstdio>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "proto/container.h"
#include "proto/file.h"
#include "proto/npy.h"
#include "proto/safetensors.h"
#include "tools/common/command_line.h"
#include "tools/common/json_text.h"
#include "tools/weft/command.h"
#include "tools/weft/compare.h"
#include "tools/weft/model.h"

namespace weft::cli {
namespace {

struct Flags {
  std::string model, signature, checkpoint;
  std::vector<std::string> inputs, expected;
  double rtol = 1e-5, atol = 1e-6;
  int threads = 0;
  bool json = false;
};

struct Golden {
  NamedTensors inputs, outputs;
};

// What a package carries to check itself with.
absl::StatusOr<Golden> GoldenOf(const std::string& path) {
  absl::StatusOr<bool> package = IsPackage(path);
  if (!package.ok()) return package.status();
  const absl::Status none =
      UsageError(absl::StrCat(path, " carries no golden values; give --inputs and --expected"));
  if (!*package) return none;
  absl::StatusOr<std::shared_ptr<const Bytes>> bytes = Bytes::Map(path);
  if (!bytes.ok()) return AsBadInput(bytes.status());
  absl::StatusOr<Container> container = Container::Open(*bytes);
  if (!container.ok()) return AsBadInput(container.status());
  if (!container->Has("golden")) return none;
  absl::StatusOr<std::string_view> section = container->Section("golden");
  if (!section.ok()) return AsBadInput(section.status());
  absl::StatusOr<Safetensors> file = ReadSafetensors(*section, *bytes);
  if (!file.ok()) return AsBadInput(file.status());
  Golden golden;
  for (const auto& [name, tensor] : file->tensors) {
    if (name.rfind("in/", 0) == 0) golden.inputs[name.substr(3)] = tensor;
    if (name.rfind("out/", 0) == 0) golden.outputs[name.substr(4)] = tensor;
  }
  return golden;
}

absl::StatusOr<Golden> Reference(const Flags& flags, const Session::SignatureInfo& signature) {
  if (flags.inputs.empty() != flags.expected.empty()) {
    return UsageError("--inputs and --expected go together");
  }
  if (flags.inputs.empty()) return GoldenOf(flags.model);
  Golden golden;
  absl::StatusOr<NamedTensors> inputs = ReadFeeds(flags.inputs, signature.inputs);
  if (!inputs.ok()) return inputs.status();
  golden.inputs = *std::move(inputs);
  absl::StatusOr<NamedTensors> outputs = ReadFeeds(flags.expected, signature.outputs, "output");
  if (!outputs.ok()) return outputs.status();
  golden.outputs = *std::move(outputs);
  return golden;
}

absl::Status Run(const Flags& flags) {
  absl::StatusOr<Model> model = OpenModel(flags.model, {flags.threads, {}, flags.checkpoint});
  if (!model.ok()) return model.status();
  absl::StatusOr<Session::SignatureInfo> signature =
      FindSignature(*model->session, flags.signature);
  if (!signature.ok()) return signature.status();
  absl::StatusOr<Golden> golden = Reference(flags, *signature);
  if (!golden.ok()) return golden.status();
  absl::StatusOr<NamedTensors> results = model->session->Run(signature->name, golden->inputs);
  if (!results.ok()) return WithHint(results.status());
  nlohmann::json json;
  std::vector<std::string> failed;
  for (const auto& [name, expected] : golden->outputs) {
    const auto found = results->find(name);
    if (found == results->end()) {
      return UsageError(
          absl::StrCat("signature '", signature->name, "' has no output '", name, "'"));
    }
    const Comparison comparison = Compare(found->second, expected, flags.rtol, flags.atol);
    if (!comparison.agrees) failed.push_back(name);
    if (flags.json) {
      json["outputs"][name] = {{"agrees", comparison.agrees},
                               {"max_abs", comparison.max_absolute},
                               {"max_rel", comparison.max_relative},
                               {"differing", comparison.differing}};
    } else {
      std::printf("%s: %s\n", name.c_str(), comparison.Text().c_str());
    }
  }
  if (flags.json) {
    json["agrees"] = failed.empty();
    std::printf("%s\n", JsonText(json).c_str());
  }
  if (failed.empty()) return absl::OkStatus();
  return absl::Status(
      absl::StatusCode::kFailedPrecondition,
      absl::StrCat(flags.model, ": ", absl::StrJoin(failed, ", "),
                   failed.size() == 1 ? " differs" : " differ", " from the reference"));
}

}  // namespace

Command AddVerify(CLI::App& program) {
  auto flags = std::make_shared<Flags>();
  CLI::App* app =
      program.add_subcommand("verify", "Compares a model's outputs with reference ones");
  app->add_option("MODEL", flags->model, "Graph file or package")->required()->type_name("MODEL");
  AddRepeatable(app, "--inputs", flags->inputs, "NAME=FILE.npy, or FILE.npz with all; repeatable")
      ->type_name("INPUT");
  AddRepeatable(app, "--expected", flags->expected,
                "NAME=FILE.npy, or FILE.npz with all outputs; repeatable")
      ->type_name("OUTPUT");
  app->add_option("--signature", flags->signature,
                  "What to run; predict, or the only one, if not given")
      ->type_name("NAME");
  app->add_option("--checkpoint", flags->checkpoint, "Values of variables: a .safetensors file")
      ->type_name("FILE");
  app->add_option("--rtol", flags->rtol, "Elements agree where |a - b| <= atol + rtol * |b|")
      ->capture_default_str()
      ->type_name("NUMBER")
      ->check(NumberBetween(0, std::numeric_limits<double>::max()));
  app->add_option("--atol", flags->atol, "See --rtol")
      ->capture_default_str()
      ->type_name("NUMBER")
      ->check(NumberBetween(0, std::numeric_limits<double>::max()));
  AddThreads(app, flags->threads);
  app->add_flag("--json", flags->json, "Results as JSON");
  app->footer(
      "Without --inputs, a package's own golden values are used. The exit code is 1 where outputs\n"
      "differ.\n"
      "Example: weft verify digits.weftpkg --inputs in.npz --expected out.npz --rtol 1e-4");
  return {app, [flags] { return Run(*flags); }};
}

}  // namespace weft::cli
