#include "graph/ir/device.h"

#include "graph/ir/create.h"
#include "mlir/IR/BuiltinAttributes.h"

namespace weft::ir {
namespace {

constexpr std::string_view kCuda = "cuda:";
constexpr size_t kMaxDigits = 4;

}  // namespace

std::string DeviceProblem(std::string_view name) {
  if (name == "cpu") return "";
  if (name.substr(0, kCuda.size()) == kCuda) {
    const std::string_view number = name.substr(kCuda.size());
    const bool digits = number.find_first_not_of("0123456789") == std::string_view::npos;
    if (digits && !number.empty() && number.size() <= kMaxDigits &&
        (number.size() == 1 || number[0] != '0')) {
      return "";
    }
  }
  return "a device, 'cpu' or 'cuda:0' and the like";
}

bool MayPlace(const OpInfo& op) {
  return op.name != "read_variable" && op.name != "assign" && op.name != "initializer" &&
         op.name != "signature" && op.name != "graph" && op.name != "yield";
}

std::string_view DeviceOf(mlir::Operation* op) {
  auto attribute = op->getAttrOfType<mlir::StringAttr>(kDeviceAttr);
  if (!attribute) return {};
  return {attribute.getValue().data(), attribute.getValue().size()};
}

void SetDevice(mlir::Operation* op, std::string_view name) {
  if (name.empty()) {
    op->removeAttr(kDeviceAttr);
    return;
  }
  op->setAttr(kDeviceAttr,
              mlir::StringAttr::get(op->getContext(), llvm::StringRef(name.data(), name.size())));
}

void FindPlaced(mlir::Operation* root,
                llvm::function_ref<void(mlir::Operation* op, std::string_view device)> found) {
  root->walk<mlir::WalkOrder::PreOrder>([&](mlir::Operation* op) {
    mlir::Operation* around = op->getParentOp();
    if (around != nullptr && IsOp(around, "custom_gradient") &&
        op->getParentRegion() == &around->getRegion(1)) {
      return mlir::WalkResult::skip();
    }
    const std::string_view device = DeviceOf(op);
    if (!device.empty() && !IsOp(op, "custom_gradient")) found(op, device);
    return mlir::WalkResult::advance();
  });
}

}  // namespace weft::ir
