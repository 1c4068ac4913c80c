// The builder: declares a graph node by node. See graph/api.h for the whole public surface,
// graph/README.md for a first example.
#ifndef WEFT_GRAPH_GRAPH_H_
#define WEFT_GRAPH_GRAPH_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <source_location>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/dim_expr.h"
#include "proto/dtype.h"
#include "proto/host_tensor.h"

namespace weft {

class Graph;
// The wire form of a graph (proto/graph.proto). Its messages have a namespace of their own, since
// they share names with what they describe.
namespace proto {
class GraphDef;
}
using proto::GraphDef;
namespace ir {
struct GraphImpl;  // owns the MLIR context and module; graph/ir/graph_impl.h
}

using SourceLocation = std::source_location;

// A value in a graph: a handle, cheap to copy, valid as long as the graph. A default-constructed
// one, and the result of a failed op, is invalid; ops on invalid tensors give invalid tensors and
// no further error, so a chain may be written without checks and Graph::status() asked once at the
// end.
class Tensor {
 public:
  Tensor() = default;
  bool valid() const { return value_ != nullptr; }
  // Of a valid tensor:
  DataType dtype() const;
  Shape shape() const;
  int64_t rank() const;
  // Size of one dimension; negative axes count from the end.
  DimExpr dim(int64_t axis) const;
  // "scope/name", or "scope/name:1" for a later result.
  std::string name() const;
  // Where its node runs, as Graph::WithDevice said; "" where the session does. An argument of a
  // body of While or Cond is where that runs. What an argument of a function of CustomGradient will
  // be is not known, and the device is that of the scope around the CustomGradient.
  std::string device() const;
  // Gives the node that makes it another name within its scope, made unique by a suffix; inputs and
  // arguments of bodies keep theirs. Returns itself.
  Tensor Named(std::string_view name) const;

  // For the inside of the library: mlir::Value's opaque pointer.
  Tensor(ir::GraphImpl* graph, void* value) : graph_(graph), value_(value) {}
  ir::GraphImpl* graph() const { return graph_; }
  void* value() const { return value_; }

 private:
  ir::GraphImpl* graph_ = nullptr;
  void* value_ = nullptr;
};

// A variable of a graph: a handle. Where a tensor is expected it stands for its value before the
// run.
class Variable {
 public:
  Variable() = default;
  const std::string& name() const { return name_; }
  // Where it lives, as Graph::WithDevice said; "" where the session runs.
  std::string device() const;
  Tensor Read(SourceLocation location = SourceLocation::current()) const;
  // The node that gives it `value` at the end of the run; name it as a target of a signature.
  Tensor Assign(Tensor value, SourceLocation location = SourceLocation::current()) const;

  Variable(ir::GraphImpl* graph, std::string name) : graph_(graph), name_(std::move(name)) {}
  ir::GraphImpl* graph() const { return graph_; }

 private:
  ir::GraphImpl* graph_ = nullptr;
  std::string name_;
};

// An argument of an op: a tensor, a variable (its value), or a number, which becomes a scalar
// constant of the other operand's dtype; and the source line of the call, which the conversion
// captures.
class Operand {
 public:
  Operand(Tensor tensor, SourceLocation location = SourceLocation::current())  // NOLINT
      : tensor_(tensor), location_(location) {}
  Operand(const Variable& variable, SourceLocation location = SourceLocation::current())  // NOLINT
      : tensor_(variable.Read(location)), location_(location) {}
  Operand(double number, SourceLocation location = SourceLocation::current())  // NOLINT
      : number_(number), is_number_(true), location_(location) {}
  const Tensor& tensor() const { return tensor_; }
  bool is_number() const { return is_number_; }
  double number() const { return number_; }
  SourceLocation location() const { return location_; }

 private:
  Tensor tensor_;
  double number_ = 0;
  bool is_number_ = false;
  SourceLocation location_;
};

Tensor operator+(Operand a, Operand b);
Tensor operator-(Operand a, Operand b);
Tensor operator*(Operand a, Operand b);
Tensor operator/(Operand a, Operand b);
Tensor operator-(Operand a);

// Ends a name scope when it goes out of scope.
class ScopeGuard {
 public:
  explicit ScopeGuard(ir::GraphImpl* graph) : graph_(graph) {}
  ScopeGuard(const ScopeGuard&) = delete;
  ~ScopeGuard();

 private:
  ir::GraphImpl* graph_;
};

// A graph under construction or loaded. Not thread-safe. Movable.
class Graph {
 public:
  explicit Graph(std::string_view name = "graph");
  Graph(Graph&&) noexcept;
  Graph& operator=(Graph&&) noexcept;
  ~Graph();

  // The first error of all that went wrong while building, which names the node, the source line,
  // what was expected and what was given.
  absl::Status status() const;
  // The graph as a deep copy (through the wire form), without sharing anything.
  absl::StatusOr<Graph> Clone() const;

  // A value to be fed. Dimensions are sizes or DimExpr::Symbol("batch"); Parse-able text is
  // accepted too: {"batch", 784}.
  struct Dim {
    Dim(int64_t size) : expr(size) {}       // NOLINT
    Dim(int size) : expr(size) {}           // NOLINT
    Dim(DimExpr e) : expr(std::move(e)) {}  // NOLINT
    Dim(const char* text) : text(text) {}   // NOLINT
    DimExpr expr;
    std::string text;
  };
  Tensor Input(std::string_view name, DataType dtype, const std::vector<Dim>& shape,
               SourceLocation location = SourceLocation::current());
  Tensor Constant(HostTensor value, SourceLocation location = SourceLocation::current());
  // A variable with the shape and dtype of `initial`, which must not depend on inputs or variables:
  // what the `init` signature assigns to it.
  Variable AddVariable(std::string_view name, Tensor initial, bool trainable = true,
                       SourceLocation location = SourceLocation::current());
  Variable AddVariable(std::string_view name, HostTensor initial, bool trainable = true,
                       SourceLocation location = SourceLocation::current());
  std::vector<Variable> Variables(bool trainable_only = false) const;

  // Names made until the guard ends are prefixed "name/"; a scope opened twice gets a suffix.
  // Layers (graph/layers) of one name in scopes of one name share their variables.
  [[nodiscard]] ScopeGuard Scope(std::string_view name);
  // A name scope as well, whose nodes' values are not kept for gradients: what gradients need of
  // them is computed again there, from what came into the scope. Costs the scope's work once more,
  // saves the memory of what it makes (gradient checkpointing). Values and gradients stay the same
  // but for rounding, random draws without exception. Of nested ones, the outermost counts; results
  // of While and Cond made in it are kept. Part of files.
  [[nodiscard]] ScopeGuard Recompute(std::string_view name);
  // Nodes made until the guard ends run on that device, variables live there, and gradients of
  // these nodes are computed there: "cpu", or "cuda:0" and the like; "" is again where the session
  // runs (SessionOptions::device), as outside of all such scopes. No name scope. Of nested ones the
  // innermost counts; bodies of While and Cond, and functions of CustomGradient, may have some of
  // their own. What crosses from one device to another is copied by itself; what a body takes from
  // outside is on the device of the While or Cond first, and crosses from there in each iteration,
  // so these are best made in the scope of what their bodies do; a CustomGradient is nothing but
  // the nodes of its functions. Reading and assigning a variable happens where that lives. Another
  // name is an error in status(). Part of files.
  [[nodiscard]] ScopeGuard WithDevice(std::string_view device,
                                      SourceLocation location = SourceLocation::current());
  // The devices that nodes and variables are placed on; of each, the first node there, or else the
  // first variable, and its source line, for messages.
  std::map<std::string, std::string> Devices() const;

  // Declares a way to call the graph. Inputs are those that outputs and targets need, in the order
  // in which they were made. The signature `init`, which assigns every initializer, is there by
  // itself where there are variables.
  void AddSignature(std::string_view name,
                    const std::vector<std::pair<std::string, Tensor>>& outputs,
                    const std::vector<Tensor>& targets = {},
                    SourceLocation location = SourceLocation::current());
  std::vector<std::string> SignatureNames() const;

  // Names the value "node" or "node:1"; invalid (and an error in status()) where there is none.
  Tensor Find(std::string_view name) const;
  int64_t NumNodes() const;

  // The wire form, with weights inline; OutOfRange where they pass what a message has room for
  // (2 GiB).
  absl::StatusOr<GraphDef> ToGraphDef() const;
  // The same without constants of more than 1 KiB, which go into `weights` by the names that the
  // form has in their place. Their elements are the graph's, whose end they must not outlive.
  absl::StatusOr<GraphDef> ToGraphDef(std::map<std::string, HostTensor>* weights) const;
  // Verifies everything before it builds anything; InvalidArgument names the node and what is
  // wrong, OutOfRange is of sizes past 64 bits.
  static absl::StatusOr<Graph> FromGraphDef(const GraphDef& def);
  // A `.weft` file: see proto/container.h. Constants of more than 1 KiB go into its safetensors
  // section. Where the path ends in ".textproto", the text form. OutOfRange as of ToGraphDef, and
  // errors of files (proto/file.h).
  absl::Status Save(const std::string& path) const;
  // Reads a graph file or, where the path ends in ".textproto", its text form. Errors as of
  // FromGraphDef, and those of files (proto/file.h, proto/container.h).
  static absl::StatusOr<Graph> Load(const std::string& path);
  // The text form (protobuf's text format of GraphDef), and the MLIR form for looking at.
  absl::StatusOr<std::string> ToText() const;
  static absl::StatusOr<Graph> FromText(std::string_view text);
  std::string ToMlir() const;

  ir::GraphImpl* impl() const { return impl_.get(); }

 private:
  explicit Graph(std::unique_ptr<ir::GraphImpl> impl);
  std::unique_ptr<ir::GraphImpl> impl_;
};

// d(sum of y)/dx for each x, as new nodes; zeros where y does not depend on x. Where `dy` is valid
// it weighs y's elements (same shape). Differentiable again.
std::vector<Tensor> Gradients(Tensor y, const std::vector<Tensor>& xs, Tensor dy = {},
                              SourceLocation location = SourceLocation::current());

// Runs `body` on the carried values while `condition` holds (a bool scalar). Bodies may use tensors
// from outside: they become operands. With max_iterations > 0 the run fails where the condition
// still holds after that many; 0 means no limit. A gradient needs the limit: it keeps what each
// iteration began with, max_iterations times the bytes of the carried values, and runs each body
// once more with its adjoint. With nothing carried it makes nothing, gives nothing, and is no
// error.
std::vector<Tensor> While(
    const std::vector<Tensor>& initial,
    const std::function<Tensor(const std::vector<Tensor>&)>& condition,
    const std::function<std::vector<Tensor>(const std::vector<Tensor>&)>& body,
    int64_t max_iterations = 0, SourceLocation location = SourceLocation::current());
std::vector<Tensor> Cond(Tensor predicate, const std::function<std::vector<Tensor>()>& then_body,
                         const std::function<std::vector<Tensor>()>& else_body,
                         SourceLocation location = SourceLocation::current());

// What `body` gives for `values`, with a gradient of its author's: `adjoint` gets the values x, the
// results y and their gradients dy (invalid for results that are not floats), and gives a gradient
// for each value (of those that are not floats it is ignored). Both see nothing from outside but
// their arguments: pass in what they need. Differentiable again through the adjoint's own ops; kept
// in files. A gradient that passes rounding straight through:
//
//   CustomGradient({x}, [](auto& x) { return std::vector{Round(x[0])}; },
//                  [](auto& x, auto& y, auto& dy) { return std::vector{dy[0]}; })[0]
std::vector<Tensor> CustomGradient(
    const std::vector<Tensor>& values,
    const std::function<std::vector<Tensor>(const std::vector<Tensor>& x)>& body,
    const std::function<std::vector<Tensor>(const std::vector<Tensor>& x,
                                            const std::vector<Tensor>& y,
                                            const std::vector<Tensor>& dy)>& adjoint,
    SourceLocation location = SourceLocation::current());

// Zeros, ones, any number, in the shape and dtype of x (a broadcast scalar: costs nothing).
Tensor ZerosLike(Operand x);
Tensor OnesLike(Operand x);
// Error where the number does not fit an integer dtype.
Tensor Full(Graph& graph, DataType dtype, const Shape& shape, double value,
            SourceLocation location = SourceLocation::current());

}  // namespace weft

// One function per op of graph/ops/*.td: Exp(x), MatMul(a, b, transpose_a, transpose_b),
// ReduceSum(x, axes, keep_dims), ...
#include "graph/ops/builder_functions.inc"

#endif  // WEFT_GRAPH_GRAPH_H_
