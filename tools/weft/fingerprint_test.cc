// Fingerprints, which checkpoints keep: they must stay what they are.
#include "tools/weft/fingerprint.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "proto/core/crc32.h"
#include "proto/graph.pb.h"

namespace weft::cli {
namespace {

// Constants of 8 KiB, one of them in a body; the first `changed` elements of each are other ones.
Graph WithConstants(int changed_outside, int changed_inside) {
  const auto constant = [](Graph& graph, int changed) {
    std::vector<float> values(2048);
    for (int i = 0; i < 2048; ++i) {
      values[static_cast<size_t>(i)] = static_cast<float>(i < changed ? -i - 1 : i);
    }
    return graph.Constant(HostTensor::Of<float>({2048}, values));
  };
  Graph graph("constants");
  Tensor x = graph.Input("x", DataType::kF32, {"n", 2048});
  Variable w = graph.AddVariable("w", HostTensor::Scalar<float>(1));
  Tensor y = x * constant(graph, changed_outside) * w.Read();
  const Tensor once = Cond(
      Greater(w.Read(), 0.0),
      [&] { return std::vector<Tensor>{y * constant(graph, changed_inside)}; },
      [&] { return std::vector<Tensor>{y}; })[0];
  graph.AddSignature("f", {{"once", once}});
  return graph;
}

std::string Fingerprint(const Graph& graph, size_t max_message = size_t{1} << 31) {
  const auto fingerprint = FingerprintOf(graph, max_message);
  EXPECT_TRUE(fingerprint.ok()) << fingerprint.status();
  return fingerprint.ok() ? *fingerprint : "";
}

template <typename Parts>
void ClearLocations(Parts* parts) {
  for (auto& part : *parts) part.clear_locations();
}

// What the first version of this wrote, all at once.
TEST(Fingerprint, IsThatOfTheWireForm) {
  const Graph graph = WithConstants(0, 0);
  auto def = graph.ToGraphDef();
  ASSERT_TRUE(def.ok()) << def.status();
  ASSERT_GT(def->functions_size(), 0);
  ASSERT_GT(def->ByteSizeLong(), 2u * 8192);
  def->clear_source_files();
  def->clear_versions();
  ClearLocations(def->mutable_nodes());
  for (proto::FunctionDef& function : *def->mutable_functions()) {
    ClearLocations(function.mutable_nodes());
  }
  ClearLocations(def->mutable_variables());
  ClearLocations(def->mutable_signatures());
  const std::string bytes = def->SerializeAsString();
  EXPECT_EQ(Fingerprint(graph), absl::StrFormat("%08x-%d", Crc32(bytes), bytes.size()));
}

TEST(Fingerprint, TellsWeightsApart) {
  // Of 8192 bytes no message has room for the weights alone; of 8200, for them without a node.
  for (const size_t max_message : {size_t{1} << 31, size_t{8200}, size_t{8192}, size_t{4096}}) {
    SCOPED_TRACE(max_message);
    const std::string fingerprint = Fingerprint(WithConstants(0, 0), max_message);
    EXPECT_EQ(Fingerprint(WithConstants(0, 0), max_message), fingerprint);
    EXPECT_NE(Fingerprint(WithConstants(1, 0), max_message), fingerprint);
    EXPECT_NE(Fingerprint(WithConstants(0, 1), max_message), fingerprint);
    EXPECT_NE(Fingerprint(WithConstants(1, 0), max_message),
              Fingerprint(WithConstants(0, 1), max_message));
  }
}

}  // namespace
}  // namespace weft::cli
