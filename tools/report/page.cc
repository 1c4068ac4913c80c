#include "tools/report/page.h"

#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "absl/strings/str_replace.h"
#include "tools/common/json_text.h"
#include "tools/report/graph_details_js.h"
#include "tools/report/graph_html.h"
#include "tools/report/graph_js.h"
#include "tools/report/graph_model_js.h"
#include "tools/report/layout_js.h"
#include "tools/report/shared_js.h"
#include "tools/report/style_css.h"
#include "tools/report/training_html.h"
#include "tools/report/training_js.h"

namespace weft {
namespace {

using nlohmann::json;

// As it may stand in a <script> element: no "</script>" can be in it. Names come from files, so
// what is not UTF-8 is replaced rather than refused.
std::string Embedded(const json& data) {
  return absl::StrReplaceAll(cli::JsonText(data), {{"<", "\\u003c"}});
}

absl::string_view View(std::string_view s) { return {s.data(), s.size()}; }

json ToJson(const GraphView& view) {
  json nodes = json::array(), signatures = json::array(), variables = json::array();
  for (const GraphView::Node& node : view.nodes) {
    nodes.push_back({{"name", node.name},
                     {"op", node.op},
                     {"family", node.family},
                     {"inputs", node.inputs},
                     {"results", node.results},
                     {"attributes", node.attributes},
                     {"source", node.source},
                     {"forward", node.forward},
                     {"flops", node.flops},
                     {"bytes", node.bytes},
                     {"flops_text", node.flops_text}});
  }
  for (const GraphView::Signature& signature : view.signatures) {
    json inputs = json::array(), outputs = json::array();
    for (const auto& v : signature.inputs) inputs.push_back({{"name", v.name}, {"type", v.type}});
    for (const auto& v : signature.outputs) outputs.push_back({{"name", v.name}, {"type", v.type}});
    json names = json::array();
    for (const size_t node : signature.nodes) names.push_back(view.nodes[node].name);
    signatures.push_back({{"name", signature.name},
                          {"inputs", inputs},
                          {"outputs", outputs},
                          {"nodes", std::move(names)},
                          {"variable_bytes", signature.variable_bytes},
                          {"constant_bytes", signature.constant_bytes},
                          {"activation_bytes_estimate", signature.activation_bytes}});
  }
  for (const GraphView::Variable& v : view.variables) {
    variables.push_back({{"name", v.name},
                         {"type", v.type},
                         {"trainable", v.trainable},
                         {"bytes", v.bytes},
                         {"device", v.device}});
  }
  return {{"name", view.name},
          {"sizes", view.sizes},
          {"nodes", nodes},
          {"variables", variables},
          {"signatures", signatures}};
}

json ToJson(const TrainingReport& report) {
  json tiles = json::array(), history = json::array(), facts = json::array();
  for (const auto& tile : report.tiles) {
    tiles.push_back({{"label", tile.label}, {"value", tile.value}});
  }
  for (const EpochMetrics& epoch : report.history) {
    history.push_back(
        {{"epoch", epoch.epoch}, {"training", epoch.training}, {"validation", epoch.validation}});
  }
  for (const auto& group : report.facts) {
    facts.push_back({{"title", group.title}, {"rows", group.rows}});
  }
  json page = {{"title", report.title},
               {"subtitle", report.subtitle},
               {"tiles", tiles},
               {"history", history},
               {"facts", facts},
               {"target", report.target},
               {"best_epoch", report.best_epoch},
               {"judged", report.judged}};
  if (!report.confusion.empty()) {
    page["confusion"] = {{"classes", report.classes}, {"counts", report.confusion}};
  }
  if (!report.scatter.empty()) page["scatter"] = report.scatter;
  for (const auto& sample : report.samples) {
    page["samples"].push_back(
        {{"width", sample.width},
         {"height", sample.height},
         {"pixels", sample.pixels},
         {"truth", sample.truth},
         {"predicted", sample.predicted},
         {"probability", sample.probability ? json(*sample.probability) : json(nullptr)}});
  }
  return page;
}

}  // namespace

std::string TrainingPage(const TrainingReport& report) {
  return absl::StrReplaceAll(View(TrainingHtml()), {{"{{style}}", View(StyleCss())},
                                                    {"{{data}}", Embedded(ToJson(report))},
                                                    {"{{shared}}", View(SharedJs())},
                                                    {"{{script}}", View(TrainingJs())}});
}

std::string GraphPage(const GraphView& view) {
  return absl::StrReplaceAll(View(GraphHtml()), {{"{{style}}", View(StyleCss())},
                                                 {"{{data}}", Embedded(ToJson(view))},
                                                 {"{{shared}}", View(SharedJs())},
                                                 {"{{layout}}", View(LayoutJs())},
                                                 {"{{model}}", View(GraphModelJs())},
                                                 {"{{details}}", View(GraphDetailsJs())},
                                                 {"{{script}}", View(GraphJs())}});
}

std::string GraphJson(const GraphView& view) { return cli::JsonText(ToJson(view), 1); }

}  // namespace weft
