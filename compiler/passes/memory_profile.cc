#include "compiler/passes/memory_profile.h"

#include <algorithm>
#include <numeric>

#include "compiler/passes/op_kinds.h"
#include "compiler/passes/place.h"
#include "compiler/plan_dialect/plan.h"
#include "graph/ir/dialect.h"
#include "graph/ir/types.h"
#include "llvm/ADT/DenseMap.h"

namespace weft {
namespace {

mlir::Value RootOf(mlir::Value value) {
  while (mlir::Value operand = AliasedOperand(value.getDefiningOp())) value = operand;
  return value;
}

MemoryProfile ProfileBlock(mlir::Block& block, const DimSizes& sizes) {
  MemoryProfile profile;
  llvm::DenseMap<mlir::Value, size_t> index;
  std::vector<int64_t> inside;  // bytes that bodies need
  int64_t position = 0;
  for (mlir::Operation& op : block) {
    for (mlir::Value operand : op.getOperands()) {
      auto held = index.find(RootOf(operand));
      if (held == index.end()) continue;
      HeldValue& value = profile.values[held->second];
      value.end = position;
      // A name for the same bytes reads nothing.
      if (!AliasedOperand(&op) && (value.reads.empty() || value.reads.back() != position)) {
        value.reads.push_back(position);
      }
    }
    int64_t body_bytes = 0;
    if (llvm::isa<ir::WhileOp, ir::CondOp>(op)) {
      for (mlir::Region& region : op.getRegions()) {
        body_bytes = std::max(body_bytes, ProfileBlock(region.front(), sizes).peak_bytes);
      }
    }
    inside.push_back(body_bytes);
    if (llvm::isa<plan::FusionOp, plan::TransferOp, ir::WhileOp, ir::CondOp>(op)) {
      for (mlir::Value result : op.getResults()) {
        index[result] = profile.values.size();
        const int64_t bytes = DeviceOfValue(result).empty() ? BytesAt(result, sizes) : 0;
        profile.values.push_back({result, bytes, position, position, {}});
      }
    }
    ++position;
  }
  for (mlir::Value result : block.getTerminator()->getOperands()) {
    if (auto held = index.find(RootOf(result)); held != index.end()) {
      profile.values[held->second].bytes = 0;
    }
  }
  std::vector<int64_t> change(inside.size() + 1, 0);
  for (const HeldValue& value : profile.values) {
    change[static_cast<size_t>(value.begin)] += value.bytes;
    change[static_cast<size_t>(value.end) + 1] -= value.bytes;
  }
  int64_t live = 0;
  for (size_t i = 0; i < inside.size(); ++i) {
    live += change[i];
    if (live + inside[i] <= profile.peak_bytes) continue;
    profile.peak_bytes = live + inside[i];
    profile.peak_at = static_cast<int64_t>(i);
  }
  return profile;
}

}  // namespace

int64_t SizeAt(const DimExpr& expr, const DimSizes& sizes) {
  DimSizes all = sizes;
  for (const std::string& symbol : expr.Symbols()) all.emplace(symbol, kTypicalSize);
  return expr.Evaluate(all).value_or(0);
}

int64_t BytesAt(mlir::Value value, const DimSizes& sizes) {
  return SizeAt(NumElements(ir::ShapeOf(value)) * DimExpr(SizeOf(ir::DataTypeOf(value))), sizes);
}

std::vector<size_t> MemoryProfile::AtPeak() const {
  std::vector<size_t> held;
  for (size_t i = 0; i < values.size(); ++i) {
    if (values[i].begin <= peak_at && peak_at <= values[i].end && values[i].bytes > 0) {
      held.push_back(i);
    }
  }
  std::sort(held.begin(), held.end(), [&](size_t a, size_t b) {
    return values[a].bytes != values[b].bytes ? values[a].bytes > values[b].bytes : a < b;
  });
  return held;
}

MemoryProfile ProfileMemory(mlir::func::FuncOp function, const DimSizes& sizes) {
  return ProfileBlock(function.getBody().front(), sizes);
}

}  // namespace weft
