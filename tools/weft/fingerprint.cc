#include "tools/weft/fingerprint.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "proto/core/crc32.h"
#include "proto/graph.pb.h"
#include "tools/progress/progress.h"

namespace weft::cli {
namespace {

void ClearLocations(google::protobuf::RepeatedPtrField<proto::NodeDef>& nodes) {
  for (proto::NodeDef& node : nodes) node.clear_locations();
}

}  // namespace

absl::StatusOr<std::string> FingerprintOf(const Graph& graph) {
  absl::StatusOr<GraphDef> def = graph.ToGraphDef();
  if (!def.ok()) return def.status();
  def->clear_source_files();
  def->clear_versions();
  ClearLocations(*def->mutable_nodes());
  for (proto::FunctionDef& function : *def->mutable_functions()) {
    ClearLocations(*function.mutable_nodes());
  }
  for (proto::VariableDef& variable : *def->mutable_variables()) variable.clear_locations();
  for (proto::SignatureDef& signature : *def->mutable_signatures()) signature.clear_locations();
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream out(&stream);
    out.SetSerializationDeterministic(true);
    if (!def->SerializeToCodedStream(&out)) {
      return absl::InternalError("the graph is too large to be told apart from others");
    }
  }
  return absl::StrFormat("%08x-%d", Crc32(bytes), bytes.size());
}

void NoteOtherGraph(const std::map<std::string, std::string>& metadata,
                    const std::string& checkpoint, const Graph& graph, const std::string& model) {
  const auto told = metadata.find(kGraphFact);
  if (told == metadata.end()) return;
  const absl::StatusOr<std::string> fingerprint = FingerprintOf(graph);
  if (!fingerprint.ok() || *fingerprint == told->second) return;
  Progress::Print(absl::StrCat("note: ", checkpoint, " is a checkpoint of another graph than ",
                               model,
                               "; of its variables, names, dtypes and shapes alone are compared"));
}

}  // namespace weft::cli
