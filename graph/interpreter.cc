#include "graph/interpreter.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "graph/ir/dialect.h"
#include "graph/ir/graph_impl.h"

namespace weft {
namespace {

absl::StatusOr<std::vector<mlir::Value>> ValuesOf(mlir::Block& block,
                                                  const std::vector<Tensor>& tensors) {
  std::vector<mlir::Value> values;
  for (const Tensor& tensor : tensors) {
    if (!tensor.valid()) {
      return absl::InvalidArgumentError(
          "expected valid tensors to fetch, got one from a failed op; ask Graph::status()");
    }
    values.push_back(mlir::Value::getFromOpaquePointer(tensor.value()));
    if (values.back().getParentBlock() != &block) {
      return absl::InvalidArgumentError(absl::StrCat("expected a tensor of the graph, got '",
                                                     tensor.name(),
                                                     "' of another graph or of a body"));
    }
  }
  return values;
}

}  // namespace

absl::StatusOr<std::vector<HostTensor>> EvaluateGraph(const Graph& graph, const TensorMap& feeds,
                                                      const std::vector<Tensor>& fetches,
                                                      const TensorMap& variables) {
  const absl::Status status = graph.status();
  if (!status.ok()) return status;
  mlir::Block& block = *graph.impl()->graph_block();
  absl::StatusOr<std::vector<mlir::Value>> values = ValuesOf(block, fetches);
  if (!values.ok()) return values.status();
  return EvaluateFetches(block, *values, {&feeds, &variables, nullptr});
}

absl::Status Interpreter::Initialize() {
  const absl::Status status = graph_.status();
  if (!status.ok()) return status;
  mlir::Block& block = *graph_.impl()->graph_block();
  std::vector<std::string> names;
  std::vector<mlir::Value> values;
  for (auto op : block.getOps<ir::InitializerOp>()) {
    names.push_back(op.getVariable().str());
    values.push_back(op.getX());
  }
  absl::StatusOr<std::vector<HostTensor>> initial = EvaluateFetches(block, values, {});
  if (!initial.ok()) return initial.status();
  for (size_t i = 0; i < names.size(); ++i) variables_[names[i]] = std::move((*initial)[i]);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<HostTensor>> Interpreter::Run(const TensorMap& feeds,
                                                         const std::vector<Tensor>& fetches,
                                                         const std::vector<Tensor>& targets) {
  const absl::Status status = graph_.status();
  if (!status.ok()) return status;
  mlir::Block& block = *graph_.impl()->graph_block();
  std::vector<Tensor> all = fetches;
  all.insert(all.end(), targets.begin(), targets.end());
  absl::StatusOr<std::vector<mlir::Value>> values = ValuesOf(block, all);
  if (!values.ok()) return values.status();
  TensorMap assigned;
  absl::StatusOr<std::vector<HostTensor>> results =
      EvaluateFetches(block, *values, {&feeds, &variables_, &assigned});
  if (!results.ok()) return results.status();
  for (auto& [name, value] : assigned) variables_[name] = value;
  results->resize(fetches.size());
  return results;
}

absl::StatusOr<TensorMap> Interpreter::RunSignature(std::string_view name, const TensorMap& feeds) {
  const absl::Status status = graph_.status();
  if (!status.ok()) return status;
  mlir::Block& block = *graph_.impl()->graph_block();
  for (auto op : block.getOps<ir::SignatureOp>()) {
    if (op.getName() != llvm::StringRef(name.data(), name.size())) continue;
    std::vector<std::string> outputs;
    for (mlir::Attribute output : op.getOutputNames()) {
      outputs.push_back(llvm::cast<mlir::StringAttr>(output).getValue().str());
    }
    std::vector<Tensor> tensors;
    for (mlir::Value value : op.getValues().drop_front(op.getNumInputs())) {
      tensors.emplace_back(graph_.impl(), value.getAsOpaquePointer());
    }
    const auto middle = tensors.begin() + static_cast<ptrdiff_t>(outputs.size());
    absl::StatusOr<std::vector<HostTensor>> values =
        Run(feeds, {tensors.begin(), middle}, {middle, tensors.end()});
    if (!values.ok()) return values.status();
    TensorMap results;
    for (size_t i = 0; i < outputs.size(); ++i) results[outputs[i]] = std::move((*values)[i]);
    return results;
  }
  return absl::NotFoundError(absl::StrCat("expected the name of a signature, got '",
                                          std::string(name), "', which the graph does not have"));
}

}  // namespace weft
