#include "tools/weft/fingerprint.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <algorithm>
#include <cstdint>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "proto/core/crc32.h"
#include "proto/graph.pb.h"
#include "tools/progress/progress.h"

namespace weft::cli {
namespace {

using google::protobuf::RepeatedPtrField;
using Weights = std::map<std::string, HostTensor>;

// Checksum and number of the bytes that go through.
class Checksum : public google::protobuf::io::CopyingOutputStream {
 public:
  bool Write(const void* bytes, int size) override {
    crc_ = Crc32({static_cast<const char*>(bytes), static_cast<size_t>(size)}, crc_);
    size_ += size;
    return true;
  }
  std::string Text() const { return absl::StrFormat("%08x-%d", crc_, size_); }

 private:
  uint32_t crc_ = 0;
  int64_t size_ = 0;
};

template <typename Visit>
void VisitWeights(RepeatedPtrField<proto::NodeDef>& nodes, const Visit& visit) {
  for (proto::NodeDef& node : nodes) {
    for (proto::NamedAttr& attr : *node.mutable_attrs()) {
      if (attr.value().kind_case() != proto::AttrValue::kTensor) continue;
      proto::TensorProto& tensor = *attr.mutable_value()->mutable_tensor();
      if (tensor.data_case() == proto::TensorProto::kWeight) visit(tensor);
    }
  }
}
template <typename Visit>
void VisitWeights(GraphDef& def, const Visit& visit) {
  VisitWeights(*def.mutable_nodes(), visit);
  for (proto::FunctionDef& function : *def.mutable_functions()) {
    VisitWeights(*function.mutable_nodes(), visit);
  }
}

// Writes a wire form, part by part in the order of its fields, which gives the same bytes as all of
// it at once, with weights inline.
class Writer {
 public:
  Writer(const Weights& weights, size_t max_message, google::protobuf::io::CodedOutputStream* out)
      : weights_(weights), max_message_(max_message), out_(out) {
    out_->SetSerializationDeterministic(true);
  }

  bool Write(GraphDef part) {
    size_t bytes = 0;
    VisitWeights(part, [&](proto::TensorProto& tensor) { bytes += Of(tensor).size_bytes(); });
    if (bytes == 0) return part.SerializeToCodedStream(out_);
    if (bytes < max_message_) {
      GraphDef whole = part;
      VisitWeights(whole, [&](proto::TensorProto& tensor) {
        const HostTensor& weight = Of(tensor);
        tensor.set_raw(weight.data(), weight.size_bytes());
      });
      if (whole.ByteSizeLong() < max_message_) return whole.SerializeToCodedStream(out_);
    }
    if (!part.SerializeToCodedStream(out_)) return false;
    VisitWeights(part, [&](proto::TensorProto& tensor) { WriteBytes(Of(tensor)); });
    return !out_->HadError();
  }

 private:
  const HostTensor& Of(const proto::TensorProto& tensor) const {
    return weights_.at(tensor.weight());
  }
  void WriteBytes(const HostTensor& tensor) {
    constexpr size_t kPart = size_t{1} << 30;  // the stream counts in int
    const auto* bytes = static_cast<const char*>(tensor.data());
    for (size_t at = 0; at < tensor.size_bytes(); at += kPart) {
      out_->WriteRaw(bytes + at, static_cast<int>(std::min(kPart, tensor.size_bytes() - at)));
    }
  }

  const Weights& weights_;
  const size_t max_message_;
  google::protobuf::io::CodedOutputStream* const out_;
};

void ClearLocations(RepeatedPtrField<proto::NodeDef>& nodes) {
  for (proto::NodeDef& node : nodes) node.clear_locations();
}

// Each element of a list of the graph alone, in a graph of nothing else.
template <typename Part>
bool WriteEach(Writer& writer, RepeatedPtrField<Part>& list,
               RepeatedPtrField<Part>* (GraphDef::*mutable_list)()) {
  return std::all_of(list.begin(), list.end(), [&](Part& part) {
    GraphDef alone;
    (alone.*mutable_list)()->Add(std::move(part));
    return writer.Write(std::move(alone));
  });
}

}  // namespace

absl::StatusOr<std::string> FingerprintOf(const Graph& graph, size_t max_message) {
  Weights weights;
  absl::StatusOr<GraphDef> def = graph.ToGraphDef(&weights);
  if (!def.ok()) return def.status();
  ClearLocations(*def->mutable_nodes());
  for (proto::FunctionDef& function : *def->mutable_functions()) {
    ClearLocations(*function.mutable_nodes());
  }
  for (proto::VariableDef& variable : *def->mutable_variables()) variable.clear_locations();
  for (proto::SignatureDef& signature : *def->mutable_signatures()) signature.clear_locations();
  Checksum checksum;
  bool written = false;
  {
    google::protobuf::io::CopyingOutputStreamAdaptor stream(&checksum);
    google::protobuf::io::CodedOutputStream out(&stream);
    Writer writer(weights, max_message, &out);
    GraphDef name;
    name.set_name(def->name());
    written = writer.Write(std::move(name)) &&
              WriteEach(writer, *def->mutable_variables(), &GraphDef::mutable_variables) &&
              WriteEach(writer, *def->mutable_nodes(), &GraphDef::mutable_nodes) &&
              WriteEach(writer, *def->mutable_functions(), &GraphDef::mutable_functions) &&
              WriteEach(writer, *def->mutable_signatures(), &GraphDef::mutable_signatures);
  }
  if (!written) return absl::InternalError("the graph could not be written to take its checksum");
  return checksum.Text();
}

void NoteOtherGraph(const std::map<std::string, std::string>& metadata,
                    const std::string& checkpoint, const Graph& graph, const std::string& model) {
  const auto told = metadata.find(kGraphFact);
  if (told == metadata.end()) return;
  const absl::StatusOr<std::string> fingerprint = FingerprintOf(graph);
  if (!fingerprint.ok()) {
    Progress::Print(absl::StrCat("note: whether ", checkpoint, " is a checkpoint of ", model,
                                 " is not known: ", fingerprint.status().message()));
    return;
  }
  if (*fingerprint == told->second) return;
  Progress::Print(absl::StrCat("note: ", checkpoint, " is a checkpoint of another graph than ",
                               model,
                               "; of its variables, names, dtypes and shapes alone are compared"));
}

}  // namespace weft::cli
