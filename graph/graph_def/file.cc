// Graph's functions about its forms outside of memory: wire form, text, files.
#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/text_format.h>

#include "absl/strings/str_cat.h"
#include "graph/graph.h"
#include "graph/graph_def/check.h"
#include "graph/graph_def/format.h"
#include "proto/container.h"
#include "proto/parse_message.h"
#include "proto/safetensors.h"

namespace weft {

[[gnu::weak]] const size_t graph_def::kMaxMessageBytes = size_t{1} << 31;

namespace {

absl::Status In(const std::string& path, const absl::Status& status) {
  // Errors of the file system name the path already.
  if (status.message().find(path) != absl::string_view::npos) return status;
  return absl::Status(status.code(), absl::StrCat(path, ": ", status.message()));
}

// The wire form where one message has room for it.
absl::StatusOr<GraphDef> Fitting(absl::StatusOr<GraphDef> def, const char* otherwise) {
  if (!def.ok() || def->ByteSizeLong() < graph_def::kMaxMessageBytes) return def;
  return absl::OutOfRangeError(absl::StrCat(otherwise, " takes ", def->ByteSizeLong(),
                                            " bytes, expected less than ",
                                            graph_def::kMaxMessageBytes));
}

// The first error of a text, with its place.
class FirstError : public google::protobuf::io::ErrorCollector {
 public:
  void AddError(int line, google::protobuf::io::ColumnNumber column,
                const std::string& message) override {
    if (text.empty()) {
      text = line < 0 ? message
                      : absl::StrCat("line ", line + 1, ", column ", column + 1, ": ", message);
    }
  }
  std::string text;
};

bool IsTextPath(const std::string& path) { return std::string_view(path).ends_with(".textproto"); }

absl::StatusOr<GraphDef> WithoutWeights(ir::GraphImpl& graph, graph_def::Weights* weights) {
  return Fitting(graph_def::Export(graph, weights), "the graph, without its large constants,");
}

absl::Status SaveBinary(ir::GraphImpl& graph, const std::string& path) {
  graph_def::Weights weights;
  absl::StatusOr<GraphDef> def = WithoutWeights(graph, &weights);
  if (!def.ok()) return def.status();
  std::string graph_bytes = def->SerializeAsString(), weight_bytes;
  std::vector<SectionToWrite> sections = {{"graph", graph_bytes}};
  if (!weights.empty()) {
    weight_bytes = WriteSafetensors(weights);
    sections.push_back({"weights", weight_bytes, 12});
  }
  return WriteContainerFile(path, sections);
}

}  // namespace

absl::StatusOr<GraphDef> Graph::ToGraphDef() const {
  return Fitting(graph_def::Export(*impl_),
                 "the graph with its constants (which a .weft file keeps apart)");
}

absl::StatusOr<GraphDef> Graph::ToGraphDef(std::map<std::string, HostTensor>* weights) const {
  return WithoutWeights(*impl_, weights);
}

absl::StatusOr<Graph> Graph::FromGraphDef(const GraphDef& def) {
  absl::StatusOr<std::unique_ptr<ir::GraphImpl>> impl = graph_def::Import(def);
  if (!impl.ok()) return impl.status();
  return Graph(*std::move(impl));
}

absl::StatusOr<Graph> Graph::Clone() const {
  absl::StatusOr<GraphDef> def = graph_def::Export(*impl_);
  if (!def.ok()) return def.status();
  return FromGraphDef(*def);
}

absl::StatusOr<std::string> Graph::ToText() const {
  absl::StatusOr<GraphDef> def = ToGraphDef();
  if (!def.ok()) return def.status();
  std::string text;
  if (!google::protobuf::TextFormat::PrintToString(*def, &text)) {
    return absl::ResourceExhaustedError("no memory for the text of the graph");
  }
  return text;
}

absl::StatusOr<Graph> Graph::FromText(std::string_view text) {
  if (text.size() >= graph_def::kMaxMessageBytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "expected a text of less than ", graph_def::kMaxMessageBytes, " bytes, got ", text.size()));
  }
  FirstError error;
  google::protobuf::TextFormat::Parser parser;
  parser.RecordErrorsTo(&error);
  parser.SetRecursionLimit(32);
  GraphDef def;
  if (!parser.ParseFromString(std::string(text), &def)) {
    return graph_def::InOneLine(
        absl::InvalidArgumentError(absl::StrCat("expected the text of a graph, got ", error.text)));
  }
  return FromGraphDef(def);
}

absl::Status Graph::Save(const std::string& path) const {
  if (!IsTextPath(path)) return SaveBinary(*impl_, path);
  absl::StatusOr<std::string> text = ToText();
  if (!text.ok()) return text.status();
  return WriteFileAtomically(path, *text);
}

absl::StatusOr<Graph> Graph::Load(const std::string& path) {
  absl::StatusOr<std::shared_ptr<const Bytes>> bytes = Bytes::Map(path);
  if (!bytes.ok()) return bytes.status();
  if (IsTextPath(path)) {
    absl::StatusOr<Graph> graph = FromText((*bytes)->view());
    if (!graph.ok()) return In(path, graph.status());
    return graph;
  }
  absl::StatusOr<Container> container = Container::Open(*bytes);
  if (!container.ok()) return In(path, container.status());
  absl::StatusOr<std::string_view> section = container->Section("graph");
  if (!section.ok()) return In(path, section.status());
  GraphDef def;
  if (!ParseMessage(*section, &def)) {
    return In(path, absl::InvalidArgumentError("expected a graph, got other or damaged bytes"));
  }
  graph_def::Weights weights;
  if (container->Has("weights")) {
    absl::StatusOr<std::string_view> weight_bytes = container->Section("weights");
    if (!weight_bytes.ok()) return In(path, weight_bytes.status());
    absl::StatusOr<Safetensors> tensors = ReadSafetensors(*weight_bytes, *bytes);
    if (!tensors.ok()) return In(path, tensors.status());
    weights = std::move(tensors->tensors);
  }
  absl::StatusOr<std::unique_ptr<ir::GraphImpl>> impl = graph_def::Import(def, weights);
  if (!impl.ok()) return In(path, impl.status());
  return Graph(*std::move(impl));
}

}  // namespace weft
