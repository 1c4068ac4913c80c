// Between the values of proto/ (DataType, Shape, HostTensor) and MLIR's types, attributes and
// locations.
#ifndef WEFT_GRAPH_IR_TYPES_H_
#define WEFT_GRAPH_IR_TYPES_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Location.h"
#include "proto/dim_expr.h"
#include "proto/dtype.h"
#include "proto/host_tensor.h"

namespace mlir {
class Operation;
class Value;
}  // namespace mlir

namespace weft::ir {

// Element types. The second gives kInvalid for a type that is not one of ours.
mlir::Type ElementTypeOf(mlir::MLIRContext* context, DataType dtype);
DataType DataTypeOfElement(mlir::Type element);

// Tensors. `type` must be a ranked tensor of the dialect (IsTensorType), else DataTypeOf gives
// kInvalid and ShapeOf traps.
bool IsTensorType(mlir::Type type);
DataType DataTypeOf(mlir::Type type);
DataType DataTypeOf(mlir::Value value);
Shape ShapeOf(mlir::Type type);
Shape ShapeOf(mlir::Value value);
// Dimensions must be constants >= 0 or open; see base.td for how open ones are kept.
mlir::RankedTensorType MakeTensorType(mlir::MLIRContext* context, DataType dtype,
                                      const Shape& shape);
// "f32[batch, 784]".
std::string TypeString(DataType dtype, const Shape& shape);
std::string TypeString(mlir::Type type);

// Attributes of dimension expressions: a string, or an array of them.
mlir::StringAttr DimAttr(mlir::MLIRContext* context, const DimExpr& dim);
mlir::ArrayAttr DimArrayAttr(mlir::MLIRContext* context, const Shape& dims);
// nullopt where it is not such an attribute, or does not parse.
std::optional<DimExpr> DimFromAttr(mlir::Attribute attribute);
std::optional<Shape> DimsFromAttr(mlir::Attribute attribute);

// Elements of a constant, and back. Bytes are copied into the context, except by HostTensorOf where
// the layouts agree: then the tensor is a view that lives as long as the context. A splat stays one
// element in the attribute; HostTensorOf repeats it.
mlir::DenseElementsAttr ElementsAttrOf(mlir::MLIRContext* context, const HostTensor& tensor);
// One element (size_of(dtype) bytes) that fills the shape.
mlir::DenseElementsAttr SplatAttrOf(mlir::MLIRContext* context, DataType dtype,
                                    const std::vector<int64_t>& shape, const void* element);
absl::StatusOr<HostTensor> HostTensorOf(mlir::DenseElementsAttr attribute);
// The number that every element has, where they are all the same.
std::optional<double> SplatValueOf(mlir::Attribute attribute);

// Locations: the node's name around the source lines, first the one that built it, then (for
// gradient nodes) the one of the forward node.
struct SourceLine {
  std::string file;
  int line = 0;
  std::string function;
};
mlir::Location MakeLocation(mlir::MLIRContext* context, std::string_view name,
                            const std::vector<SourceLine>& lines);
// "" where there is none.
std::string_view NodeNameOf(mlir::Location location);
std::string_view NodeNameOf(mlir::Operation* op);
std::vector<SourceLine> SourceLinesOf(mlir::Location location);
// The same source lines under another name.
mlir::Location WithName(mlir::Location location, std::string_view name);
// "node 'dense/matmul' (model.cc:12)", "node 'grad/mul' (train.cc:30 for model.cc:12)".
std::string Describe(mlir::Location location);

}  // namespace weft::ir

#endif  // WEFT_GRAPH_IR_TYPES_H_
