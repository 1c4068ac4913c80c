// Writes the files of tests/compat as this version of Weft does: write_fixtures FOLDER. For a
// version of a format that has none yet: those that are there stay as they are.
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "compiler/api.h"
#include "graph/graph.h"
#include "graph/layers/functions.h"
#include "graph/losses/losses.h"
#include "graph/optimizers/optimizers.h"
#include "proto/file.h"
#include "proto/safetensors.h"
#include "runtime/session.h"
#include "tests/compat/fixture.h"

namespace weft {
namespace {

constexpr int64_t kBatch = 5;

// Elements that are exact in every dtype.
HostTensor Ramp(DataType dtype, const std::vector<int64_t>& shape, int start) {
  HostTensor tensor = *HostTensor::Create(dtype, shape);
  WithType(dtype, [&](auto zero) {
    using T = decltype(zero);
    int i = start;
    for (T& value : tensor.mutable_values<T>()) {
      value = static_cast<T>(static_cast<float>(i++ * 7 % 11) / (IsFloat(dtype) ? 8.0f : 1.0f));
    }
  });
  return tensor;
}

// Every element type.
void AddTypes(Graph& graph) {
  std::vector<std::pair<std::string, Tensor>> outputs;
  for (int i = static_cast<int>(DataType::kInvalid) + 1; i < kNumDataTypes; ++i) {
    const auto dtype = static_cast<DataType>(i);
    const std::string name(NameOf(dtype));
    Tensor x = graph.Input(name, dtype, {"batch"});
    outputs.emplace_back("of_" + name, dtype == DataType::kBool ? Not(x) : x + x);
  }
  graph.AddSignature("types", outputs);
}

// Loops, branches, gradients by hand, checks, a value that is printed, sizes of every kind, and a
// constant that is large enough for the weights section.
void AddControl(Graph& graph) {
  Tensor x = graph.Input("x", DataType::kF32, {"n", 4});
  Tensor rows = graph.Input("rows", DataType::kI32, {"n"});
  Tensor table = graph.Constant(Ramp(DataType::kF32, {70, 4}, 3)).Named("table");
  Tensor y = CheckNumerics(x + Gather(table, rows), "of the table");
  y = CustomGradient(
      {y}, [](const std::vector<Tensor>& v) { return std::vector{Round(v[0])}; },
      [](const std::vector<Tensor>&, const std::vector<Tensor>&, const std::vector<Tensor>& dy) {
        return dy;
      })[0];
  Tensor sum = ReduceSum(y, {0, 1});
  Tensor branch = Cond(
      Greater(sum, 10), [&] { return std::vector{y * 2.0}; }, [&] { return std::vector{y}; })[0];
  Tensor loop = While(
      {branch}, [](const std::vector<Tensor>& v) { return Less(ReduceSum(v[0], {0, 1}), 1000.0); },
      [](const std::vector<Tensor>& v) { return std::vector{v[0] * 3.0 + 1.0}; }, 20)[0];
  const DimExpr n = DimExpr::Symbol("n");
  const DimExpr size = DimExpr::Max(n, DimExpr(3)) * 1000 + DimExpr::Min(n, DimExpr(4)) * 100 +
                       DimExpr::FloorDiv(n, 2) * 10 + DimExpr::CeilDiv(n, 3) - DimExpr::Mod(n, 3);
  graph.AddSignature(
      "control",
      {{"y", Assert(Greater(sum, -1000.0), loop, "expected a sum that is not far below 0")},
       {"gradient", Gradients(sum, {x})[0]},
       {"turned", Print(Transpose(y, {1, 0}), "turned", 2)},
       {"size", DimSize(graph, size, DataType::kI64)}});
}

void AddTraining(Graph& graph) {
  Tensor x = graph.Input("features", DataType::kF32, {"batch", 4});
  Tensor label = graph.Input("label", DataType::kI32, {"batch"});
  Variable kernel = graph.AddVariable("kernel", Ramp(DataType::kF32, {4, 3}, 1));
  Variable bias = graph.AddVariable("bias", Ramp(DataType::kF32, {3}, 2));
  Tensor logits = MatMul(x, kernel) + bias;
  Tensor loss = Mean(SoftmaxCrossEntropy(logits, label));
  Sgd sgd(graph, {.learning_rate = 0.5, .momentum = 0.9});
  graph.AddSignature("train_step", {{"loss", loss}}, sgd.Minimize(loss));
  graph.AddSignature("predict", {{"class", ArgMax(logits, -1)}, {"logits", logits}});
}

// A product and a convolution whose kernels for sm_90a take tensor maps, of matrices and of images,
// and what they give: a package for that alone.
absl::Status WriteProduct(const std::string& folder) {
  Graph graph("product");
  Tensor x = graph.Input("x", DataType::kF16, {"rows", 8});
  Tensor w = graph.Input("w", DataType::kF16, {8, 264});
  Tensor images = graph.Input("images", DataType::kF16, {"images", 3, 4, 48});
  Tensor filter = graph.Input("filter", DataType::kF16, {1, 1, 48, 264});
  graph.AddSignature(
      "product",
      {{"y", MatMul(x, w)}, {"convolved", Conv2D(images, filter, {1, 2}, {1, 0, 0, 2}, {1, 1})}});
  NamedTensors values = {{"x", Ramp(DataType::kF16, {5, 8}, 1)},
                         {"w", Ramp(DataType::kF16, {8, 264}, 2)},
                         {"images", Ramp(DataType::kF16, {2, 3, 4, 48}, 3)},
                         {"filter", Ramp(DataType::kF16, {1, 1, 48, 264}, 4)}};
  CompileOptions options;
  options.targets = {"cuda:sm_90a"};
  absl::StatusOr<std::string> package = CompilePackage(graph, options);
  if (!package.ok()) return package.status();
  absl::Status status = WriteFileAtomically(folder + "/product.weftpkg", *package);
  if (!status.ok()) return status;
  // The sums are exact, on this processor as well.
  package = CompilePackage(graph, {});
  if (!package.ok()) return package.status();
  absl::StatusOr<std::unique_ptr<Session>> session = Session::FromPackage(*package);
  if (!session.ok()) return session.status();
  absl::StatusOr<NamedTensors> outputs = (*session)->Run("product", values);
  if (!outputs.ok()) return outputs.status();
  values.insert(outputs->begin(), outputs->end());
  return WriteFileAtomically(folder + "/product.safetensors",
                             WriteSafetensors({values.begin(), values.end()}));
}

NamedTensors Inputs() {
  NamedTensors values;
  for (int i = static_cast<int>(DataType::kInvalid) + 1; i < kNumDataTypes; ++i) {
    const auto dtype = static_cast<DataType>(i);
    values[absl::StrCat("in/types/", std::string(NameOf(dtype)))] = Ramp(dtype, {kBatch}, i);
  }
  values["in/control/x"] = Ramp(DataType::kF32, {kBatch, 4}, 0);
  values["in/control/rows"] = HostTensor::Of<int32_t>({kBatch}, {69, 0, 7, 70, 33});
  values["in/train_step/features"] = Ramp(DataType::kF32, {kBatch, 4}, 5);
  values["in/train_step/label"] = HostTensor::Of<int32_t>({kBatch}, {0, 1, 2, 1, 0});
  values["in/predict/features"] = Ramp(DataType::kF32, {kBatch, 4}, 6);
  return values;
}

absl::Status WriteAll(const std::string& folder) {
  Graph graph("compat");
  AddTypes(graph);
  AddControl(graph);
  {
    const ScopeGuard there = graph.WithDevice("cuda:0");
    AddTraining(graph);
  }
  if (absl::Status status = graph.Save(folder + "/graph.weft"); !status.ok()) return status;
  absl::StatusOr<std::string> text = graph.ToText();
  if (!text.ok()) return text.status();
  absl::Status status = WriteFileAtomically(folder + "/graph.textproto", *text);
  if (!status.ok()) return status;

  CompileOptions options;
  options.targets = {"cpu:x86-64-v3"};
  // So that every machine can run it.
  options.device_targets = {{"cuda:0", "cpu:x86-64-v3"}};
  absl::StatusOr<std::string> package = CompilePackage(graph, options);
  if (!package.ok()) return package.status();
  status = WriteFileAtomically(folder + "/package.weftpkg", *package);
  if (!status.ok()) return status;

  absl::StatusOr<std::unique_ptr<Session>> session =
      Session::FromPackage(*package, OptionsOfFixture());
  if (!session.ok()) return session.status();
  NamedTensors values = Inputs();
  absl::StatusOr<NamedTensors> outputs = (*session)->Run("init", {});
  if (outputs.ok()) outputs = RunFixture(**session, values);
  if (!outputs.ok()) return outputs.status();
  status = (*session)->SaveCheckpoint(folder + "/checkpoint.safetensors", {{"step", "1"}});
  if (!status.ok()) return status;
  values.insert(outputs->begin(), outputs->end());
  return WriteFileAtomically(folder + "/values.safetensors",
                             WriteSafetensors({values.begin(), values.end()}));
}

}  // namespace
}  // namespace weft

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: write_fixtures FOLDER\n");
    return 2;
  }
  absl::Status status = weft::WriteAll(argv[1]);
  if (status.ok()) status = weft::WriteProduct(argv[1]);
  if (!status.ok()) std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
  return status.ok() ? 0 : 1;
}
