// Devices of a function whose nodes are placed on several (graph/ir/device.h). The pass `place`
// puts a `plan.transfer` wherever a value crosses from one to another; these, the function's
// arguments and the ops of control flow say where all else is computed: any other op is on the
// device of its operands. So passes need not know of devices: a rule does not look through a
// transfer, and what it makes of an op's operands is where they are.
#ifndef WEFT_COMPILER_PASSES_PLACE_H_
#define WEFT_COMPILER_PASSES_PLACE_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "compiler/codegen/target.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Operation.h"
#include "mlir/IR/Value.h"

namespace weft {

// What each device of a plan is compiled for.
struct DeviceTargets {
  struct Placed {
    std::string device;
    Target target;
    // A node that asks for it, and the line of its source, where that is known: "net.cc:12".
    std::string node = {}, location = {};
  };

  DeviceTargets(Target main_target) : main(std::move(main_target)) {}  // NOLINT: one device
  // 0 for the main one; i + 1 for placed[i].
  uint32_t IndexOf(std::string_view device) const;
  const Target& At(uint32_t index) const { return index == 0 ? main : placed[index - 1].target; }
  // That of an op after AssignDevices.
  const Target& Of(mlir::Operation* op) const;

  Target main;
  // Nodes on other devices than these are on the main one.
  std::vector<Placed> placed;
};

// Of a value of a function after AssignDevices: the name of its device, empty for the main one.
std::string_view DeviceOfValue(mlir::Value value);

// Calls `found` for what asks for a device in a function as ExtractSignature makes it: nodes, outer
// ones first, then inputs and variables.
void FindDevices(mlir::func::FuncOp function,
                 llvm::function_ref<void(std::string_view device, mlir::Location location)> found);

}  // namespace weft

#endif  // WEFT_COMPILER_PASSES_PLACE_H_
