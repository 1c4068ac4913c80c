// What a shape inference function sees. It checks the op's numbered constraints and gives the
// result types; the builder, import, gradients and the IR verifier all go through it.
#ifndef WEFT_GRAPH_OPS_INFER_H_
#define WEFT_GRAPH_OPS_INFER_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "graph/ops/attributes.h"
#include "graph/ops/op_info.h"
#include "proto/dim_expr.h"
#include "proto/dtype.h"

namespace weft {

struct TensorType {
  DataType dtype = DataType::kInvalid;
  Shape shape;

  friend bool operator==(const TensorType&, const TensorType&) = default;
  std::string ToString() const;  // "f32[batch, 10]"
};

class InferContext {
 public:
  // Types at the border of a region of the op.
  struct Body {
    std::vector<TensorType> arguments, results;
  };

  InferContext(const OpInfo& op, std::vector<TensorType> operands, Attributes attributes)
      : op_(op), operands_(std::move(operands)), attributes_(attributes) {}

  const OpInfo& op() const { return op_; }
  int num_operands() const { return static_cast<int>(operands_.size()); }
  const TensorType& operand(int i) const { return operands_[i]; }
  const std::vector<TensorType>& operands() const { return operands_; }
  DataType dtype(int i) const { return operands_[i].dtype; }
  const Shape& shape(int i) const { return operands_[i].shape; }
  int64_t rank(int i) const { return static_cast<int64_t>(operands_[i].shape.size()); }
  const Attributes& attributes() const { return attributes_; }
  const std::vector<Body>& bodies() const { return bodies_; }
  // Whether the op is being built or imported. Once open dimensions have got sizes, it may break
  // rules about sizes "where declared".
  bool declares() const { return declares_; }
  // The type of the variable that the op names, where it is known.
  const std::optional<TensorType>& variable() const { return variable_; }

  void AddResult(DataType dtype, Shape shape) { results_.push_back({dtype, std::move(shape)}); }
  const std::vector<TensorType>& results() const { return results_; }

  // Gives an attribute its canonical value (an axis counted from the front, a size worked out).
  void SetInts(std::string_view name, std::vector<int64_t> value);
  void SetInt(std::string_view name, int64_t value);
  void SetDims(std::string_view name, Shape value);
  struct NewAttribute {
    std::string name;
    std::variant<int64_t, std::vector<int64_t>, Shape> value;
  };
  const std::vector<NewAttribute>& new_attributes() const { return new_attributes_; }

  // "matmul: expected equal contracted dimensions, got 3 and 4 (C4)"; constraint 0 where the rule
  // is not a numbered one.
  absl::Status Error(int constraint, const std::string& expected, const std::string& got) const;
  // The dtype (that of the operand) is in the op's entry.
  absl::Status CheckAccepts(DataType dtype) const;
  absl::Status CheckDType(int operand) const { return CheckAccepts(dtype(operand)); }
  // The operands from `first` on have one dtype, which is in the op's entry.
  absl::Status CheckSameDType(int constraint, int first = 0) const;
  // The axis counted from the front.
  absl::StatusOr<int64_t> Axis(int constraint, int64_t axis, int64_t rank) const;
  // The attribute `axis` counted from the front, which also becomes its value.
  absl::StatusOr<int64_t> AxisAttribute(int constraint, int64_t rank);
  // The attribute `axes` counted from the front and sorted, which also becomes its value;
  // constraint `range` where one is out of range, `twice` where one is named twice.
  absl::StatusOr<std::vector<int64_t>> AxesAttribute(int range, int twice, int64_t rank);

  // For the caller of the function.
  void set_bodies(std::vector<Body> bodies) { bodies_ = std::move(bodies); }
  void set_variable(TensorType type) { variable_ = std::move(type); }
  void set_declares() { declares_ = true; }

 private:
  const OpInfo& op_;
  std::vector<TensorType> operands_;
  Attributes attributes_;
  std::vector<Body> bodies_;
  bool declares_ = false;
  std::optional<TensorType> variable_;
  std::vector<TensorType> results_;
  std::vector<NewAttribute> new_attributes_;
};

// That sizes are never negative and fit: the sizes that are known make at most 2^48 bytes, and the
// product of any neighbouring dimensions is no overflow, so that NumElements of any part of the
// shape may be compared.
absl::Status CheckSizes(const TensorType& type);

// max(e, 0) where e may be negative: the size that a formula gives for open dimensions.
DimExpr NonNegative(const DimExpr& e);

}  // namespace weft

#endif  // WEFT_GRAPH_OPS_INFER_H_
