// A convolution of an image with zeros around it takes the image as it is, and the zeros as its
// padding, where its kernel has zeros for what is outside of an image: then none are written.
#include <array>
#include <functional>
#include <optional>
#include <vector>

#include "compiler/codegen/contraction_layout.h"
#include "compiler/passes/passes.h"
#include "compiler/passes/place.h"
#include "compiler/passes/simplify.h"
#include "compiler/plan_dialect/plan.h"
#include "graph/ir/dialect.h"
#include "graph/ir/types.h"
#include "mlir/IR/Builders.h"

namespace weft {
namespace {

// [above, below, left, right] of an image [n, h, w, c] with nothing else around or between its
// elements.
std::optional<std::array<int64_t, 4>> ZerosAroundImage(ir::PadOp pad) {
  const Shape low = *ir::DimsFromAttr(pad.getLow()), high = *ir::DimsFromAttr(pad.getHigh());
  if (low.size() != 4 || !IsPositiveZero(pad.getValue())) return std::nullopt;
  std::array<int64_t, 4> padding = {};
  for (size_t i = 0; i < 4; ++i) {
    const auto before = low[i].Constant(), after = high[i].Constant();
    if (!before || !after || pad.getInterior()[i] != 0) return std::nullopt;
    if (i == 1 || i == 2) {
      padding[2 * i - 2] = *before;
      padding[2 * i - 1] = *after;
    } else if (*before != 0 || *after != 0) {
      return std::nullopt;
    }
  }
  return padding;
}

// Sets an attribute of the convolution, which partial sums hold among their options.
void SetPadding(mlir::Operation* op, llvm::ArrayRef<int64_t> padding) {
  mlir::Builder b(op->getContext());
  const mlir::NamedAttribute attribute = b.getNamedAttr("padding", b.getDenseI64ArrayAttr(padding));
  if (auto sums = llvm::dyn_cast<plan::PartialSumsOp>(op)) {
    mlir::NamedAttrList options(sums.getOptions());
    options.set(attribute.getName(), attribute.getValue());
    sums.setOptionsAttr(options.getDictionary(op->getContext()));
  } else {
    op->setAttr(attribute.getName(), attribute.getValue());
  }
}

bool Absorb(mlir::Operation* op, const std::function<bool(mlir::Operation*)>& pads_itself) {
  const ContractionOp contraction(op);
  auto pad = op->getOperand(0).getDefiningOp<ir::PadOp>();
  if (contraction.is_matmul() || !pad) return false;
  const auto zeros = ZerosAroundImage(pad);
  if (!zeros) return false;
  const std::vector<int64_t> before = contraction.Ints("padding").vec();
  std::vector<int64_t> both = before;
  for (size_t i = 0; i < 4; ++i) both[i] += (*zeros)[i];
  op->setOperand(0, pad.getX());
  SetPadding(op, both);
  if (pads_itself(op)) return true;
  op->setOperand(0, pad.getResult());
  SetPadding(op, before);
  return false;
}

}  // namespace

absl::StatusOr<bool> AbsorbPadding(
    mlir::func::FuncOp function, const DeviceTargets& targets,
    const std::function<bool(mlir::Operation* op, const Target& target)>& pads_itself) {
  if (absl::Status status = AssignDevices(function); !status.ok()) return status;
  bool changed = false;
  function.walk([&](mlir::Operation* op) {
    if (!ContractionOp::Is(op)) return;
    changed |= Absorb(
        op, [&](mlir::Operation* padded) { return pads_itself(padded, targets.Of(padded)); });
  });
  return changed;
}

}  // namespace weft
