// The one place in which ops come to be: builder, import, gradients and passes create them here,
// and the verifier checks what is there by the same functions (but for `declares`).
#ifndef WEFT_GRAPH_IR_CREATE_H_
#define WEFT_GRAPH_IR_CREATE_H_

#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "graph/ops/infer.h"
#include "graph/ops/op_info.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/Operation.h"

namespace weft::ir {

// The type of a variable by name, nullopt where there is none of that name.
using VariableTypes = llvm::function_ref<std::optional<TensorType>(llvm::StringRef)>;

// Checks arity, attributes (completing those with a default) and constraints, infers the result
// types, and inserts the op, as one that an author declares. `regions` are moved into it; their
// blocks must be complete. Error: InvalidArgument, "<op>: expected X, got Y, at node 'name'
// (file:line)".
absl::StatusOr<mlir::Operation*> CreateOp(
    mlir::OpBuilder& builder, const OpInfo& op, mlir::ValueRange operands,
    llvm::ArrayRef<mlir::NamedAttribute> attributes, mlir::Location location,
    llvm::MutableArrayRef<std::unique_ptr<mlir::Region>> regions = {},
    std::optional<VariableTypes> variables = std::nullopt);
// The same for an op that a pass makes of what was declared: sizes that only a mistake would
// declare are none here.
absl::StatusOr<mlir::Operation*> DeriveOp(mlir::OpBuilder& builder, const OpInfo& op,
                                          mlir::ValueRange operands,
                                          llvm::ArrayRef<mlir::NamedAttribute> attributes,
                                          mlir::Location location);

// Parts of it.
absl::Status CheckArity(const OpInfo& op, size_t num_operands);
// The attributes, sorted, with defaults filled in. Names with a '.' (a pass's notes) are left out.
absl::StatusOr<mlir::DictionaryAttr> CheckAttributes(
    mlir::MLIRContext* context, const OpInfo& op, llvm::ArrayRef<mlir::NamedAttribute> attributes);
TensorType TensorTypeOf(mlir::Type type);
std::vector<TensorType> TensorTypesOf(mlir::TypeRange types);
// The table's entry for an op of the dialect; nullptr for another dialect's.
const OpInfo* InfoOf(mlir::Operation* op);
// True for the op of that mnemonic, such as "matmul".
bool IsOp(mlir::Operation* op, std::string_view mnemonic);

}  // namespace weft::ir

#endif  // WEFT_GRAPH_IR_CREATE_H_
