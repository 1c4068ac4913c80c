// weft grad: differentiates a graph file.
#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "graph/graph.h"
#include "proto/file.h"
#include "proto/graph.pb.h"
#include "proto/suggest.h"
#include "tools/common/command_line.h"
#include "tools/common/outputs.h"
#include "tools/progress/progress.h"
#include "tools/weft/command.h"
#include "tools/weft/model.h"

namespace weft::cli {
namespace {

struct Flags {
  std::string model, of, out, signature = "gradient";
  std::vector<std::string> wrt;
};

// A node by its name, a signature's output by "signature.output" or alone, or a variable's value.
absl::StatusOr<Tensor> FindValue(Graph& graph, const GraphDef& def, const std::string& name) {
  std::vector<std::string> names, meant, values;
  for (const proto::SignatureDef& signature : def.signatures()) {
    for (const proto::SignatureDef::Output& output : signature.outputs()) {
      const std::string whole = absl::StrCat(signature.name(), ".", output.name());
      if (whole == name) return graph.Find(output.value());
      for (const std::string& known : {whole, output.name()}) {
        if (!std::count(names.begin(), names.end(), known)) names.push_back(known);
      }
      if (output.name() != name) continue;
      meant.push_back(whole);
      if (!std::count(values.begin(), values.end(), output.value())) {
        values.push_back(output.value());
      }
    }
  }
  if (values.size() == 1) return graph.Find(values[0]);
  if (values.size() > 1) {
    return UsageError(absl::StrCat("'", name, "' is an output of several signatures; choose one: ",
                                   absl::StrJoin(meant, ", ")));
  }
  const std::string node = name.substr(0, name.find(':'));
  for (const proto::NodeDef& candidate : def.nodes()) {
    names.push_back(candidate.name());
    if (candidate.name() != node) continue;
    const Tensor value = graph.Find(name);
    if (value.valid()) return value;
    return UsageError(absl::StrCat("there is no value '", name, "': node '", node, "' has no ",
                                   name == node ? "result" : "such result"));
  }
  for (const Variable& variable : graph.Variables()) {
    if (variable.name() == name) return variable.Read();
    names.push_back(variable.name());
  }
  return UsageError(absl::StrCat("there is no value '", name, "'", Suggestion(name, names)));
}

// The value of that name, for an option that takes one to differentiate or differentiate by.
absl::StatusOr<Tensor> FindFloats(Graph& graph, const GraphDef& def, const std::string& option,
                                  const std::string& name) {
  absl::StatusOr<Tensor> value = FindValue(graph, def, name);
  if (!value.ok() || IsFloat(value->dtype())) return value;
  return UsageError(absl::StrCat(option, " '", name, "' is ", std::string(NameOf(value->dtype())),
                                 ToString(value->shape()),
                                 ": expected floating-point numbers, which alone have gradients"));
}

absl::Status Run(const Flags& flags) {
  absl::Status status = CheckOutput("-o", flags.out, {flags.model});
  if (!status.ok()) return status;
  absl::StatusOr<Graph> graph = LoadGraphNotPackage(flags.model);
  if (!graph.ok()) return graph.status();
  std::map<std::string, HostTensor> weights;
  absl::StatusOr<GraphDef> def = graph->ToGraphDef(&weights);
  if (!def.ok()) return def.status();
  absl::StatusOr<Tensor> of = FindFloats(*graph, *def, "--of", flags.of);
  if (!of.ok()) return of.status();
  std::vector<Tensor> wrt;
  for (const std::string& name : flags.wrt) {
    if (std::count(flags.wrt.begin(), flags.wrt.end(), name) > 1) {
      return UsageError(absl::StrCat("--wrt names '", name, "' twice; once is enough"));
    }
    absl::StatusOr<Tensor> value = FindFloats(*graph, *def, "--wrt", name);
    if (!value.ok()) return value.status();
    wrt.push_back(*value);
  }
  const std::vector<std::string> taken = graph->SignatureNames();
  if (std::count(taken.begin(), taken.end(), flags.signature)) {
    return UsageError(absl::StrCat("there is a signature '", flags.signature,
                                   "' already; choose another with --signature"));
  }
  std::optional<Progress> progress(std::in_place, "differentiating " + FileName(flags.model));
  const std::vector<Tensor> gradients = Gradients(*of, wrt);
  if (!graph->status().ok()) return graph->status();
  std::vector<std::pair<std::string, Tensor>> outputs = {{"value", *of}};
  for (size_t i = 0; i < gradients.size(); ++i) {
    outputs.emplace_back(absl::StrCat("d_", flags.wrt[i]), gradients[i]);
  }
  graph->AddSignature(flags.signature, outputs);
  if (!graph->status().ok()) return graph->status();
  status = graph->Save(flags.out);
  progress.reset();
  if (!status.ok()) return status;
  std::fprintf(stderr, "%s: signature %s with %zu gradient%s, %lld nodes in all\n",
               flags.out.c_str(), flags.signature.c_str(), gradients.size(),
               gradients.size() == 1 ? "" : "s", static_cast<long long>(graph->NumNodes()));
  return absl::OkStatus();
}

}  // namespace

Command AddGrad(CLI::App& program) {
  auto flags = std::make_shared<Flags>();
  CLI::App* app = program.add_subcommand("grad", "Adds gradients to a graph file");
  app->add_option("MODEL", flags->model, "Graph file (.weft, .textproto)")
      ->required()
      ->type_name("MODEL");
  app->add_option("--of", flags->of,
                  "What is differentiated: a node, or an output of a signature (OUTPUT or "
                  "SIGNATURE.OUTPUT); the sum of its elements where it is not a scalar")
      ->required()
      ->type_name("VALUE");
  app->add_option("--wrt", flags->wrt, "By what: nodes, inputs or variables; a,b or repeated")
      ->required()
      ->allow_extra_args(false)
      ->delimiter(',')
      ->type_name("VALUES");
  app->add_option("-o,--out", flags->out, "Graph file to write")->required()->type_name("FILE");
  app->add_option("--signature", flags->signature,
                  "Name of the signature added, which gives `value` and `d_NAME` for each")
      ->capture_default_str()
      ->type_name("NAME");
  app->footer(
      "Example: weft grad digits.weft --of eval_step.loss --wrt hidden/kernel,hidden/bias -o "
      "g.weft");
  return {app, [flags] { return Run(*flags); }};
}

}  // namespace weft::cli
