// The device that a node runs on, or a variable lives on, where its author says so
// (Graph::WithDevice). It is an attribute that any node may have but those that read and assign
// variables, which run where the variable lives; the compiler's pass `place` acts on it.
#ifndef WEFT_GRAPH_IR_DEVICE_H_
#define WEFT_GRAPH_IR_DEVICE_H_

#include <string>
#include <string_view>

#include "graph/ops/op_info.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "mlir/IR/Operation.h"

namespace weft::ir {

// In the IR and in GraphDef: a string.
inline constexpr char kDeviceAttr[] = "weft.device";

// "" for the name of a device, "cpu" or "cuda:0", else what was expected.
std::string DeviceProblem(std::string_view name);
// Whether an op may be placed.
bool MayPlace(const OpInfo& op);
// The op's device; empty where nothing is said, which is where the session runs.
std::string_view DeviceOf(mlir::Operation* op);
// Places the op, which MayPlace, or takes its place away where the name is empty.
void SetDevice(mlir::Operation* op, std::string_view name);

// Calls `found` for the ops in `root` that ask for a device, outer ones first. A custom_gradient is
// not among them, since it runs as its body, whose nodes are where they say, as in bodies of loops;
// nor are the nodes of its adjoint, which run as those of a gradient, if at all.
void FindPlaced(mlir::Operation* root,
                llvm::function_ref<void(mlir::Operation* op, std::string_view device)> found);

}  // namespace weft::ir

#endif  // WEFT_GRAPH_IR_DEVICE_H_
