// weft inspect: what is in a graph file or a package.
#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "proto/file.h"
#include "proto/printable.h"
#include "proto/suggest.h"
#include "runtime/devices.h"
#include "tools/common/command_line.h"
#include "tools/common/device_option.h"
#include "tools/common/memory.h"
#include "tools/common/outputs.h"
#include "tools/progress/progress.h"
#include "tools/report/page.h"
#include "tools/weft/command.h"
#include "tools/weft/graph_view.h"
#include "tools/weft/model.h"
#include "tools/weft/package_view.h"

namespace weft::cli {
namespace {

struct Flags {
  std::string model, format = "text", out, signature, device = "cpu";
  std::vector<std::string> sizes;
  int threads = 0;
  bool json = false, nodes = false;
};

std::string Amount(double value, const char* unit) {
  static constexpr const char* kPrefixes[] = {"", "k", "M", "G", "T"};
  int prefix = 0;
  while (value >= 1000 && prefix < 4) {
    value /= 1000;
    ++prefix;
  }
  return absl::StrFormat("%.*f %s%s", prefix == 0 || value >= 100 ? 0 : 1, value, kPrefixes[prefix],
                         unit);
}

// The view with what one signature needs alone.
absl::Status Restrict(GraphView& view, const std::string& signature) {
  std::vector<std::string> names;
  for (const auto& s : view.signatures) names.push_back(s.name);
  const auto found = std::find(names.begin(), names.end(), signature);
  if (found == names.end()) {
    return UsageError(
        absl::StrCat("there is no signature '", signature, "'", Suggestion(signature, names)));
  }
  GraphView::Signature kept = std::move(view.signatures[found - names.begin()]);
  std::vector<GraphView::Node> nodes;
  for (size_t& node : kept.nodes) {
    nodes.push_back(std::move(view.nodes[node]));
    node = nodes.size() - 1;
  }
  view.nodes = std::move(nodes);
  view.signatures.clear();
  view.signatures.push_back(std::move(kept));
  return absl::OkStatus();
}

std::string TextOf(const GraphView& view, bool all_nodes) {
  std::string text = absl::StrCat("graph ", view.name, ", ", view.nodes.size(), " nodes");
  if (!view.sizes.empty()) absl::StrAppend(&text, ", costs at ", view.sizes);
  absl::StrAppend(&text, "\n");
  for (const GraphView::Signature& signature : view.signatures) {
    double flops = 0;
    for (const size_t node : signature.nodes) flops += view.nodes[node].flops;
    absl::StrAppend(&text, "\nsignature ", signature.name, ": ", signature.nodes.size(), " nodes, ",
                    Amount(flops, "FLOP"), "\n");
    for (const auto& v : signature.inputs) {
      absl::StrAppend(&text, "  in   ", v.name, " ", v.type, "\n");
    }
    for (const auto& v : signature.outputs) {
      absl::StrAppend(&text, "  out  ", v.name, " ", v.type, "\n");
    }
    absl::StrAppend(&text, "  memory ", ByteText(signature.variable_bytes), " of variables, ",
                    ByteText(signature.constant_bytes), " of constants, about ",
                    ByteText(signature.activation_bytes), " of activations before fusion\n");
  }
  if (!view.variables.empty()) absl::StrAppend(&text, "\nvariables\n");
  for (const GraphView::Variable& v : view.variables) {
    absl::StrAppend(&text, "  ", v.name, " ", v.type, v.device.empty() ? "" : " on ", v.device,
                    v.trainable ? "" : " (not trained)", "\n");
  }
  std::map<std::string, std::pair<int, double>> ops;
  for (const GraphView::Node& node : view.nodes) {
    ++ops[node.op].first;
    ops[node.op].second += node.flops;
  }
  absl::StrAppend(&text, "\nops\n");
  for (const auto& [op, use] : ops) {
    absl::StrAppendFormat(&text, "  %5d  %-20s %s\n", use.first, op, Amount(use.second, "FLOP"));
  }
  if (!all_nodes) return text;
  absl::StrAppend(&text, "\nnodes\n");
  for (const GraphView::Node& node : view.nodes) {
    std::string recompute, device;
    for (const auto& [name, value] : node.attributes) {
      if (name == "weft.recompute") recompute = absl::StrCat(", recompute in ", value);
      if (name == "weft.device") device = absl::StrCat(", on ", value);
    }
    absl::StrAppendFormat(&text, "  %s = %s(%s) : %s  # %s%s%s%s\n", node.name, node.op,
                          absl::StrJoin(node.inputs, ", "), absl::StrJoin(node.results, ", "),
                          Amount(node.flops, "FLOP"), device, recompute,
                          node.source.empty() ? "" : ", " + Printable(node.source));
  }
  return text;
}

// Graphviz.
std::string DotOf(const GraphView& view) {
  auto quoted = [](const std::string& s) {
    return absl::StrCat("\"", absl::StrReplaceAll(s, {{"\\", "\\\\"}, {"\"", "\\\""}}), "\"");
  };
  std::string text = "digraph {\n  node [shape=box, style=rounded, fontname=\"sans-serif\"];\n";
  for (const GraphView::Node& node : view.nodes) {
    std::string label =
        quoted(absl::StrCat(node.op, "\n", node.name, "\n", absl::StrJoin(node.results, ", ")));
    absl::StrAppend(&text, "  ", quoted(node.name),
                    " [label=", absl::StrReplaceAll(label, {{"\n", "\\n"}}), "];\n");
  }
  for (const GraphView::Node& node : view.nodes) {
    for (const std::string& input : node.inputs) {
      absl::StrAppend(&text, "  ", quoted(input.substr(0, input.find(':'))), " -> ",
                      quoted(node.name), ";\n");
    }
  }
  return text + "}\n";
}

absl::StatusOr<std::string> GraphText(const Flags& flags, const std::string& format) {
  absl::StatusOr<Graph> graph = LoadGraph(flags.model);
  if (!graph.ok()) return graph.status();
  absl::StatusOr<std::set<std::string>> dimensions = std::set<std::string>();
  if (!flags.sizes.empty()) dimensions = OpenDimensions(*graph);
  if (!dimensions.ok()) return dimensions.status();
  absl::StatusOr<std::map<std::string, int64_t>> sizes = ParseSingleSizes(flags.sizes, *dimensions);
  if (!sizes.ok()) return sizes.status();
  absl::StatusOr<GraphView> view = ViewOf(*graph, *sizes);
  if (!view.ok()) return view.status();
  if (!flags.signature.empty()) {
    absl::Status status = Restrict(*view, flags.signature);
    if (!status.ok()) return status;
  }
  if (format == "json") return GraphJson(*view) + "\n";
  if (format == "html") return GraphPage(*view);
  if (format == "dot") return DotOf(*view);
  if (format == "textproto") return graph->ToText();
  if (format == "mlir") return graph->ToMlir();
  return TextOf(*view, flags.nodes);
}

absl::Status Run(const Flags& flags) {
  const std::string format = flags.json ? "json" : flags.format;
  absl::Status status = CheckOutput("-o", flags.out, {flags.model});
  if (!status.ok()) return status;
  absl::StatusOr<bool> package = IsPackage(flags.model);
  if (!package.ok()) return package.status();
  if (*package && format != "text" && format != "json") {
    return UsageError(absl::StrCat("a package is shown as text or json, not as ", format,
                                   "; give the graph file it was made from"));
  }
  if (!*package && (flags.threads != 0 || flags.device != "cpu")) {
    return UsageError(absl::StrCat(
        flags.threads != 0 ? "--threads" : "--device",
        " is for the memory of packages; how a graph is run is not known before it is compiled"));
  }
  SessionOptions session;
  if (*package) {
    DeviceNames named;
    absl::StatusOr<SessionOptions> given =
        SessionOptionsOf(flags.device, flags.threads, MakeDevice, &named);
    if (!given.ok()) return given.status();
    status = CheckDeviceNames(named, flags.model);
    if (!status.ok()) return status;
    session = *std::move(given);
  }
  std::optional<Progress> progress(std::in_place, "looking into " + FileName(flags.model));
  absl::StatusOr<std::string> text =
      *package ? PackageText(flags.model, {flags.signature, flags.sizes, format == "json",
                                           flags.nodes, std::move(session)})
               : GraphText(flags, format);
  progress.reset();
  if (!text.ok()) return text.status();
  if (!flags.out.empty() && flags.out != "-") return WriteFileAtomically(flags.out, *text);
  std::fwrite(text->data(), 1, text->size(), stdout);
  return absl::OkStatus();
}

}  // namespace

Command AddInspect(CLI::App& program) {
  auto flags = std::make_shared<Flags>();
  CLI::App* app = program.add_subcommand(
      "inspect", "Shows signatures, ops, shapes, cost and memory; of a package also steps");
  app->add_option("MODEL", flags->model, "Graph file or package")->required()->type_name("MODEL");
  app->add_option("--format", flags->format,
                  "text, json, dot, html (a page to look around in), textproto, mlir; of a package "
                  "text and json")
      ->capture_default_str()
      ->type_name("FORMAT")
      ->check(OneOf({"text", "json", "dot", "html", "textproto", "mlir"}));
  app->add_option("-o,--out", flags->out, "File to write; the screen if not given")
      ->type_name("FILE");
  app->add_option("--signature", flags->signature,
                  "Only what this signature needs (not for textproto and mlir)")
      ->type_name("NAME");
  AddSizes(app, flags->sizes);
  app->add_option("--threads", flags->threads,
                  "Of a package: threads that its memory is for; 0: one per core")
      ->type_name("N")
      ->check(WholeNumber(0, kMaxThreads));
  AddDevice(app, flags->device);
  app->get_option("--device")
      ->description("Of a package: devices that its memory is for; as for weft run");
  app->add_flag("--nodes", flags->nodes, "text: list every node; of a package, every step");
  app->add_flag("--json", flags->json, "The same as --format json");
  app->footer(
      "Examples: weft inspect digits.weft --size batch=32\n"
      "          weft inspect digits.weftpkg --size batch=32 --device emulator:sm_80\n"
      "          weft inspect digits.weft --format html -o digits.html");
  return {app, [flags] { return Run(*flags); }};
}

}  // namespace weft::cli
