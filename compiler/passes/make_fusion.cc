#include "compiler/passes/make_fusion.h"

#include <vector>

#include "graph/ir/device.h"
#include "llvm/ADT/STLExtras.h"
#include "mlir/IR/IRMapping.h"

namespace weft {

plan::FusionOp MakeFusion(mlir::OpBuilder& builder, const FusionParts& parts) {
  std::vector<mlir::Type> types;
  for (mlir::Value output : parts.outputs) types.push_back(output.getType());
  auto fusion = plan::FusionOp::create(builder, parts.location, types, parts.operands, parts.kind);
  ir::SetDevice(fusion, parts.device);
  mlir::IRMapping mapping;
  mapping.map(parts.inputs, fusion.body()->getArguments());
  mlir::OpBuilder inside = mlir::OpBuilder::atBlockEnd(fusion.body());
  for (mlir::Operation* op : parts.ops) inside.clone(*op, mapping);
  std::vector<mlir::Value> yielded;
  for (mlir::Value output : parts.outputs) yielded.push_back(mapping.lookup(output));
  plan::YieldOp::create(inside, parts.location, yielded);
  return fusion;
}

}  // namespace weft
