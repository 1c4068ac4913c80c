// A node's attributes by name, without MLIR's headers.
#ifndef WEFT_GRAPH_OPS_ATTRIBUTES_H_
#define WEFT_GRAPH_OPS_ATTRIBUTES_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "proto/dim_expr.h"
#include "proto/dtype.h"
#include "proto/host_tensor.h"

namespace weft {

// A view: valid as long as the graph. The op table checks presence and kinds before anyone asks, so
// asking for an attribute that the op's entry does not declare, or with another kind, traps.
class Attributes {
 public:
  // `dictionary` is mlir::DictionaryAttr's opaque pointer.
  explicit Attributes(const void* dictionary) : dictionary_(dictionary) {}

  int64_t Int(std::string_view name) const;
  bool Bool(std::string_view name) const;
  std::string String(std::string_view name) const;
  // Of a symbol: the variable's name.
  std::string Symbol(std::string_view name) const;
  DataType DType(std::string_view name) const;
  DimExpr Dim(std::string_view name) const;
  Shape Dims(std::string_view name) const;
  std::vector<int64_t> Ints(std::string_view name) const;
  std::vector<std::string> Strings(std::string_view name) const;
  // Views the attribute's bytes, except where all elements are equal: those are repeated.
  absl::StatusOr<HostTensor> Elements(std::string_view name) const;
  DataType ElementsDType(std::string_view name) const;
  std::vector<int64_t> ElementsShape(std::string_view name) const;

  const void* dictionary() const { return dictionary_; }

 private:
  const void* dictionary_;
};

}  // namespace weft

#endif  // WEFT_GRAPH_OPS_ATTRIBUTES_H_
