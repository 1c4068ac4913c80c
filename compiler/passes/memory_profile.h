// What the values of a function take in memory, kernel by kernel: an estimate for passes that have
// to decide by it. The plan's certificate, which is exact, is less where kernels write results over
// operands, and more where buffers of different sizes leave gaps.
#ifndef WEFT_COMPILER_PASSES_MEMORY_PROFILE_H_
#define WEFT_COMPILER_PASSES_MEMORY_PROFILE_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "proto/dim_expr.h"

namespace weft {

// Stands for the size of an open dimension where something has to be decided by it.
inline constexpr int64_t kTypicalSize = 64;

// Sizes of open dimensions; those that are not there are kTypicalSize.
using DimSizes = std::map<std::string, int64_t>;
int64_t SizeAt(const DimExpr& expr, const DimSizes& sizes);
int64_t BytesAt(mlir::Value value, const DimSizes& sizes);

// A value in memory, and between which ops of the function's block it is needed.
struct HeldValue {
  mlir::Value value;
  int64_t bytes = 0;
  int64_t begin = 0, end = 0;
  std::vector<int64_t> reads;  // ascending
};

struct MemoryProfile {
  std::vector<HeldValue> values;  // in the order in which they are made
  int64_t peak_bytes = 0, peak_at = 0;
  // Indices of the values that are held at the peak, the largest first.
  std::vector<size_t> AtPeak() const;
};

// Of a function of fusions. Positions are those of ops in the function's block; what bodies of
// loops and branches need counts at the op that has them. Arguments, constants and results of the
// function are not counted: they are not the arena's. Nor is what lies on other devices than the
// main one, which the function tells after AssignDevices.
MemoryProfile ProfileMemory(mlir::func::FuncOp function, const DimSizes& sizes);

}  // namespace weft

#endif  // WEFT_COMPILER_PASSES_MEMORY_PROFILE_H_
