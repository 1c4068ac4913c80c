// Writes the seeds of the targets `graph_file` and `graph_text`:  graph_seeds FOLDER
#include <cstdio>
#include <string>
#include <vector>

#include "graph/graph.h"
#include "proto/file.h"
#include "proto/graph.pb.h"

namespace {

weft::Graph Perceptron() {
  weft::Graph g("perceptron");
  weft::Tensor x = g.Input("x", weft::DataType::kF32, {"batch", 4});
  weft::Variable w =
      g.AddVariable("w", weft::HostTensor::Of<float>({4, 3}, std::vector<float>(12, 0.25f)));
  weft::Variable b = g.AddVariable("b", weft::HostTensor::Of<float>({3}, {0, 1, 2}));
  weft::Tensor y = weft::Logistic(weft::MatMul(x, w) + b);
  weft::Tensor loss = weft::ReduceSum(y * y, {0, 1});
  const std::vector<weft::Tensor> gradients = weft::Gradients(loss, {w.Read(), b.Read()});
  g.AddSignature("predict", {{"y", y}});
  g.AddSignature(
      "train_step", {{"loss", loss}},
      {w.Assign(w.Read() - 0.1 * gradients[0]), b.Assign(b.Read() - 0.1 * gradients[1])});
  return g;
}

weft::Graph Loop() {
  weft::Graph g("loop");
  weft::Tensor n = g.Input("n", weft::DataType::kI64, {});
  const std::vector<weft::Tensor> results = weft::While(
      {n}, [](const std::vector<weft::Tensor>& values) { return weft::Greater(values[0], 0); },
      [](const std::vector<weft::Tensor>& values) {
        return std::vector<weft::Tensor>{values[0] - 1};
      },
      100);
  g.AddSignature("count", {{"y", results[0]}});
  return g;
}

absl::Status Write(const weft::Graph& graph, const std::string& folder, const std::string& name) {
  if (!graph.status().ok()) return graph.status();
  absl::Status status = graph.Save(folder + "/" + name + ".weft");
  if (!status.ok()) return status;
  absl::StatusOr<std::string> text = graph.ToText();
  if (!text.ok()) return text.status();
  status = weft::WriteFileAtomically(folder + "/" + name + ".textproto", *text);
  if (!status.ok()) return status;
  absl::StatusOr<weft::GraphDef> def = graph.ToGraphDef();
  if (!def.ok()) return def.status();
  return weft::WriteFileAtomically(folder + "/" + name + ".pb", def->SerializeAsString());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  absl::Status status = Write(Perceptron(), argv[1], "perceptron");
  if (status.ok()) status = Write(Loop(), argv[1], "loop");
  if (!status.ok()) fprintf(stderr, "%s\n", std::string(status.message()).c_str());
  return status.ok() ? 0 : 1;
}
