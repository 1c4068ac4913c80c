// The text form of graphs.
#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/text_format.h>

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "graph/graph.h"
#include "proto/graph.pb.h"
#include "tests/fuzz/mutate.h"

namespace {

// Says nothing: other texts are no errors of ours.
class Silence : public google::protobuf::io::ErrorCollector {
 public:
  void AddError(int, google::protobuf::io::ColumnNumber, const std::string&) override {}
};

bool ParseText(std::string_view text, weft::GraphDef* def) {
  Silence silence;
  google::protobuf::TextFormat::Parser parser;
  parser.RecordErrorsTo(&silence);
  parser.SetRecursionLimit(32);
  return parser.ParseFromString(std::string(text), def);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  absl::StatusOr<weft::Graph> graph =
      weft::Graph::FromText(std::string_view(reinterpret_cast<const char*>(data), size));
  if (!graph.ok()) return 0;
  absl::StatusOr<std::string> text = graph->ToText();
  if (!text.ok()) abort();
  absl::StatusOr<weft::Graph> again = weft::Graph::FromText(*text);
  if (!again.ok() || *again->ToText() != *text) abort();
  return 0;
}

// As text, or as the message that it is the text of.
extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size,
                                          unsigned seed) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  weft::GraphDef def;
  std::string text;
  if (seed % 2 == 0 && ParseText(input, &def) &&
      def.ParseFromString(weft::fuzz::MutateMessage(def.SerializeAsString(), seed)) &&
      google::protobuf::TextFormat::PrintToString(def, &text)) {
    return weft::fuzz::Store(text, data, max_size);
  }
  return weft::fuzz::Store(weft::fuzz::MutateBytes(input), data, max_size);
}
