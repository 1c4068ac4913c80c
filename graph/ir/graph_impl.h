// What a Graph owns: the MLIR context, the module with one `weft.graph`, and the state of building.
#ifndef WEFT_GRAPH_IR_GRAPH_IMPL_H_
#define WEFT_GRAPH_IR_GRAPH_IMPL_H_

#include <map>
#include <memory>
#include <optional>
#include <source_location>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "graph/ir/create.h"
#include "graph/ir/types.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/OwningOpRef.h"

namespace weft::ir {

// Makes names unique: "x", "x_1", "x_2".
class Names {
 public:
  std::string Unique(std::string_view name);
  // False where it is taken.
  bool Claim(std::string_view name);
  void Release(std::string_view name) { used_.erase(std::string(name)); }

 private:
  std::unordered_map<std::string, int64_t> used_;  // the last suffix given
};

// "" for a valid name of a node, variable, signature or scope, else what is wrong with it.
std::string NameProblem(std::string_view name);

// The line as a graph keeps it: in UTF-8, where bytes that are none stand as "\xe9".
SourceLine LineOf(const SourceLocation& location);

struct GraphImpl {
  explicit GraphImpl(std::string_view name);

  mlir::MLIRContext context;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  mlir::Operation* graph = nullptr;  // the weft.graph op

  // The first error.
  absl::Status status;
  void Fail(const absl::Status& error) {
    if (status.ok()) status = error;
  }
  // Error in the name of a node that was not made. The line is that of the caller of a layer or of
  // Gradients where one is at work (location_override).
  void Fail(const std::string& message, const SourceLocation& location);

  // Bodies under construction, the graph's own first.
  struct Body {
    mlir::Block* block = nullptr;
    Names names;
    std::string prefix;  // of the scope at its start
    // The device of the op that it will be a body of; of a custom_gradient, that of the scope.
    std::string device;
    // Values from outside and the arguments that stand for them, in order.
    std::vector<mlir::Value> captured;
    llvm::DenseMap<mlir::Value, mlir::Value> arguments;
  };
  std::vector<std::unique_ptr<Body>> bodies;
  Body& body() { return *bodies.back(); }
  mlir::Block* graph_block() { return bodies.front()->block; }
  // The value as it is seen in the body under construction: captured through every body between.
  // A null value where it is of a body that does not enclose this one.
  mlir::Value Localize(mlir::Value value);

  // Nodes of the graph's own body by name.
  std::unordered_map<std::string, mlir::Operation*> nodes;
  std::map<std::string, mlir::Operation*, std::less<>> variables;  // weft.variable ops
  std::vector<std::string> variable_order;
  std::unordered_map<std::string, mlir::Operation*> reads;  // one read a variable
  std::map<std::string, mlir::Operation*, std::less<>> signatures;
  std::vector<std::string> signature_order;
  std::optional<TensorType> VariableType(llvm::StringRef name) const;

  // Scopes.
  std::string prefix;  // "a/b/" or ""
  // The same with the names that were asked for, before suffixes made them unique: what is built
  // twice by one function is in one path both times.
  std::string scope_path;
  struct OuterScope {
    std::string prefix, path, recompute, device;
  };
  std::vector<OuterScope> outer_scopes;
  Names scope_names;
  // With `recompute_in_gradients`, nodes are marked by the scope's name until it ends, unless they
  // are already (graph/ir/recompute.h).
  void PushScope(std::string_view name, bool recompute_in_gradients = false);
  // Nodes and variables are placed on the device until the scope ends.
  void PushDevice(std::string_view name, const SourceLocation& location);
  void PopScope();
  // The mark that nodes get; "" for none.
  std::string recompute;
  // The device that nodes get (graph/ir/device.h); "" for none.
  std::string device;

  // Where set, nodes get these source lines instead of that of the call: the gradient driver sets
  // the line of the Gradients call and that of the forward node.
  std::optional<std::vector<SourceLine>> location_override;
  mlir::Location MakeNodeLocation(std::string_view name, const SourceLocation& location);

  // Makes a node at the end of the body under construction (`in_graph`: of the graph's own), named
  // `name` within the scope and made unique. Returns nullptr after an error, which it records.
  mlir::Operation* CreateNode(const OpInfo& op, std::string_view name,
                              llvm::ArrayRef<mlir::Value> operands,
                              llvm::ArrayRef<mlir::NamedAttribute> attributes,
                              const SourceLocation& location,
                              llvm::MutableArrayRef<std::unique_ptr<mlir::Region>> regions = {},
                              bool in_graph = false);
  // The same with the whole name given: for import.
  absl::StatusOr<mlir::Operation*> CreateNamedNode(
      const OpInfo& op, llvm::ArrayRef<mlir::Value> operands,
      llvm::ArrayRef<mlir::NamedAttribute> attributes, mlir::Location location,
      llvm::MutableArrayRef<std::unique_ptr<mlir::Region>> regions = {});

  Tensor Wrap(mlir::Value value) { return Tensor(this, value.getAsOpaquePointer()); }
  // A scalar constant; null after an error, which names `what` asked for it: a number that an
  // integer dtype cannot hold.
  mlir::Value MakeScalar(std::string_view what, DataType dtype, double value,
                         const SourceLocation& location);
  mlir::Value Read(const std::string& variable, const SourceLocation& location);

  // Parts of Graph's functions that import shares. They return errors instead of recording them.
  absl::Status AddVariableOp(std::string_view name, const TensorType& type, bool trainable,
                             mlir::Location location);
  // `checked`: that the value depends on no input and no variable is known.
  absl::Status AddInitializer(std::string_view variable, mlir::Value value, mlir::Location location,
                              bool checked = false);
  struct SignatureOutput {
    std::string name;
    mlir::Value value;
  };
  // Without `inputs`, those that are needed, in the order in which they were made.
  absl::Status AddSignatureOp(std::string_view name, std::optional<std::vector<mlir::Value>> inputs,
                              const std::vector<SignatureOutput>& outputs,
                              const std::vector<mlir::Value>& targets, mlir::Location location);
};

// A builder at the end of a block that need not be part of an op yet.
inline mlir::OpBuilder AtEnd(mlir::MLIRContext* context, mlir::Block* block) {
  mlir::OpBuilder builder(context);
  builder.setInsertionPointToEnd(block);
  return builder;
}

// mlir::Value of a tensor; null where it is invalid.
mlir::Value ValueOf(const Tensor& tensor);

// Copies the nodes of a region's block to the end of the body under construction, with `arguments`
// for its block arguments; gives what the block yields. For gradients of control flow. Without
// prints, what is printed is handed on as it is: a line that a forward pass writes is not written
// again where the pass is repeated, but what the gradient of a custom_gradient prints, which has
// not run. Nodes without a mark to be computed again get the graph's.
enum class Prints { kKeep, kDrop };
std::vector<Tensor> InlineRegion(GraphImpl* graph, mlir::Region& region,
                                 const std::vector<Tensor>& arguments, Prints prints);

// The prints that running `op` runs: itself, and those in its regions, but for the adjoints of
// custom_gradients, which are run by their gradients alone.
std::vector<mlir::Operation*> PrintsOf(mlir::Operation* op);

}  // namespace weft::ir

#endif  // WEFT_GRAPH_IR_GRAPH_IMPL_H_
