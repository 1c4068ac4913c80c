#include "graph/ir/recompute.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "mlir/IR/BuiltinAttributes.h"

namespace weft::ir {
std::string RecomputeMark::Text() const {
  return level == 0 ? scope : absl::StrCat(scope, ":", level);
}

std::optional<RecomputeMark> ParseRecomputeMark(std::string_view text) {
  RecomputeMark mark{std::string(text), 0};
  if (const size_t colon = text.find(':'); colon != std::string_view::npos) {
    mark.scope = std::string(text.substr(0, colon));
    const std::string digits(text.substr(colon + 1));
    if (!absl::SimpleAtoi(digits, &mark.level) || mark.level < 1 ||
        mark.level > kMaxRecomputeLevel) {
      return std::nullopt;
    }
  }
  if (mark.scope.empty() || mark.Text() != text) return std::nullopt;
  return mark;
}

std::optional<RecomputeMark> RecomputeMarkOf(mlir::Operation* op) {
  auto attribute = op->getAttrOfType<mlir::StringAttr>(kRecomputeAttr);
  if (!attribute) return std::nullopt;
  return ParseRecomputeMark({attribute.getValue().data(), attribute.getValue().size()});
}

bool MayRecompute(const OpInfo& op) { return op.family != "state" && op.name != "constant"; }

void SetRecompute(mlir::Operation* op, std::string_view text) {
  if (text.empty()) return;
  op->setAttr(kRecomputeAttr,
              mlir::StringAttr::get(op->getContext(), llvm::StringRef(text.data(), text.size())));
}

}  // namespace weft::ir
