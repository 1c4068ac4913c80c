// weft verify: does a model still give the reference outputs?
#include <cstdio>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tools/common/command_line.h"
#include "tools/common/golden.h"
#include "tools/progress/progress.h"
#include "tools/weft/command.h"
#include "tools/weft/model.h"

namespace weft::cli {
namespace {

constexpr double kRelative = 1e-5, kAbsolute = 1e-6;

struct Flags {
  std::string model, signature, checkpoint, matmul_precision, device = "cpu", gpu_libraries = "off";
  std::vector<std::string> inputs, expected;
  double rtol = kRelative, atol = kAbsolute;
  int threads = 0;
  bool json = false;
};

// What is given on the command line.
absl::StatusOr<Golden> Reference(const Flags& flags, const Session::SignatureInfo& signature) {
  Golden golden;
  golden.signature = signature.name;
  absl::StatusOr<NamedTensors> inputs = ReadFeeds(flags.inputs, signature.inputs);
  if (!inputs.ok()) return inputs.status();
  golden.inputs = *std::move(inputs);
  absl::StatusOr<NamedTensors> outputs = ReadFeeds(flags.expected, signature.outputs, "output");
  if (!outputs.ok()) return outputs.status();
  golden.outputs = *std::move(outputs);
  return golden;
}

// What the package carries.
absl::StatusOr<Golden> Carried(const Flags& flags) {
  absl::StatusOr<bool> package = IsPackage(flags.model);
  if (!package.ok()) return package.status();
  if (!*package) {
    if (absl::StatusOr<Graph> graph = LoadGraph(flags.model); !graph.ok()) return graph.status();
    return UsageError(absl::StrCat(flags.model,
                                   " is a graph, which carries no golden values; give "
                                   "--inputs and --expected"));
  }
  absl::StatusOr<Golden> golden = ReadGolden(flags.model);
  if (!golden.ok()) {
    return Reworded(golden.status(),
                    absl::StrCat(golden.status().message(), ", or give --inputs and --expected"));
  }
  if (!flags.signature.empty() && flags.signature != golden->signature) {
    return UsageError(absl::StrCat("the golden values of ", flags.model, " are of signature '",
                                   golden->signature, "', not of '", flags.signature,
                                   "'; leave out --signature, or give --inputs and --expected"));
  }
  return golden;
}

absl::Status Run(const Flags& flags, const std::optional<Tolerance>& tolerance) {
  // Without expected values, a signature without inputs could still be meant to be checked.
  const bool given = !flags.expected.empty();
  if (!given && !flags.inputs.empty()) return UsageError("--inputs wants --expected as well");
  std::optional<Golden> golden;
  if (!given) {
    absl::StatusOr<Golden> carried = Carried(flags);
    if (!carried.ok()) return carried.status();
    golden = *std::move(carried);
  }
  absl::StatusOr<Model> model = OpenModel(flags.model, {.threads = flags.threads,
                                                        .matmul_precision = flags.matmul_precision,
                                                        .checkpoint = flags.checkpoint,
                                                        .device = flags.device,
                                                        .gpu_libraries = flags.gpu_libraries});
  if (!model.ok()) return model.status();
  if (given) {
    absl::StatusOr<Session::SignatureInfo> signature =
        FindSignature(*model->session, flags.signature);
    if (!signature.ok()) return signature.status();
    absl::StatusOr<Golden> reference = Reference(flags, *signature);
    if (!reference.ok()) return reference.status();
    golden = *std::move(reference);
  } else if (absl::Status known = ForDevices(flags.model, model->options, &*golden); !known.ok()) {
    return known;
  }
  std::string text;
  const absl::Status agrees = [&] {
    const Progress progress("comparing outputs of " + FileName(flags.model));
    return CheckGolden(*model->session, *golden,
                       given ? tolerance.value_or(Tolerance{kRelative, kAbsolute}) : tolerance,
                       flags.json, flags.model, &text);
  }();
  std::fputs(text.c_str(), stdout);
  return agrees;
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
  const CLI::Option* rtol =
      app->add_option("--rtol", flags->rtol, "Elements agree where |a - b| <= atol + rtol * |b|")
          ->capture_default_str()
          ->type_name("NUMBER")
          ->check(NumberBetween(0, std::numeric_limits<double>::max()));
  const CLI::Option* atol = app->add_option("--atol", flags->atol, "See --rtol")
                                ->capture_default_str()
                                ->type_name("NUMBER")
                                ->check(NumberBetween(0, std::numeric_limits<double>::max()));
  AddThreads(app, flags->threads);
  AddDevice(app, flags->device);
  AddGpuLibraries(app, flags->gpu_libraries);
  AddMatmulPrecision(app, flags->matmul_precision);
  app->add_flag("--json", flags->json, "Results as JSON");
  app->footer(
      "Without --expected, the golden values that weft compile --golden put into a package are "
      "used,\n"
      "and, without --rtol and --atol, a tolerance for the rounding of their dtype, or on a GPU of "
      "tf32\n"
      "where that was compiled with --matmul-precision tf32. The exit code is 1 where outputs "
      "differ.\n"
      "Examples: weft verify digits.weftpkg\n"
      "          weft verify digits.weftpkg --inputs in.npz --expected out.npz --rtol 1e-4\n"
      "          weft verify digits.weft --checkpoint run/best.safetensors --inputs in.npz \\\n"
      "              --expected out.npz --rtol 1e-4 --device emulator:sm_80");
  return {app, [flags, rtol, atol] {
            const bool given = rtol->count() > 0 || atol->count() > 0;
            return Run(*flags,
                       given ? std::optional(Tolerance{flags->rtol, flags->atol}) : std::nullopt);
          }};
}

}  // namespace weft::cli
