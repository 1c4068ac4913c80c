// What a reference evaluation function sees: values in, values out, one op at a time. It is the
// oracle of the tests and the constant folder: plain code that is right, not quick.
#ifndef WEFT_GRAPH_OPS_EVALUATE_H_
#define WEFT_GRAPH_OPS_EVALUATE_H_

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "graph/ops/attributes.h"
#include "graph/ops/infer.h"
#include "graph/ops/op_info.h"
#include "proto/host_tensor.h"

namespace weft {

class EvaluateContext {
 public:
  using Symbols = std::map<std::string, int64_t>;
  // Evaluates region `index` of the op on the arguments and gives what it yields.
  using BodyFunction =
      std::function<absl::StatusOr<std::vector<HostTensor>>(int index, std::vector<HostTensor>)>;

  // `results` are the op's result types, in which symbols may be open; `symbols` gives their
  // sizes. Operands have the types that inference was given, with the same sizes.
  EvaluateContext(const OpInfo& op, std::vector<HostTensor> operands, Attributes attributes,
                  std::vector<TensorType> results, const Symbols& symbols, BodyFunction body = {})
      : op_(op),
        operands_(std::move(operands)),
        attributes_(attributes),
        result_types_(std::move(results)),
        symbols_(symbols),
        body_(std::move(body)),
        results_(result_types_.size()) {}

  const OpInfo& op() const { return op_; }
  int num_operands() const { return static_cast<int>(operands_.size()); }
  const HostTensor& operand(int i) const { return operands_[i]; }
  const std::vector<HostTensor>& operands() const { return operands_; }
  const Attributes& attributes() const { return attributes_; }
  int num_results() const { return static_cast<int>(results_.size()); }
  DataType result_dtype(int i) const { return result_types_[i].dtype; }

  // Sizes with the symbols' values put in.
  absl::StatusOr<int64_t> Size(const DimExpr& dim) const { return dim.Evaluate(symbols_); }
  absl::StatusOr<std::vector<int64_t>> Sizes(const Shape& shape) const;
  absl::StatusOr<std::vector<int64_t>> ResultShape(int i) const {
    return Sizes(result_types_[i].shape);
  }

  // Zeros of the type of result `i`, to be filled: the pointer lives as long as the context. Errors
  // as HostTensor::Create.
  absl::StatusOr<HostTensor*> NewResult(int i);
  // An existing tensor as the result (shared, not copied).
  void SetResult(int i, HostTensor value) { results_[i] = std::move(value); }
  absl::StatusOr<std::vector<HostTensor>> RunBody(int index, std::vector<HostTensor> arguments) {
    return body_(index, std::move(arguments));
  }

  std::vector<HostTensor>& results() { return results_; }

 private:
  const OpInfo& op_;
  std::vector<HostTensor> operands_;
  Attributes attributes_;
  std::vector<TensorType> result_types_;
  const Symbols& symbols_;
  BodyFunction body_;
  std::vector<HostTensor> results_;
};

using EvaluateFunction = absl::Status (*)(EvaluateContext&);

// The function Evaluate<Class> of the op's family (graph/ops/<family>_evaluate.cc; element-wise
// ones are generated). nullptr only where !op.has_evaluate. Omission is a link error.
EvaluateFunction EvaluateOf(const OpInfo& op);

}  // namespace weft

#endif  // WEFT_GRAPH_OPS_EVALUATE_H_
