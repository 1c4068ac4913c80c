// The mark of nodes whose values are not kept for gradients but computed again
// (Graph::Recompute). It is an attribute that any node but inputs, constants and those of state may
// have; the compiler's pass `rematerialize` acts on it.
#ifndef WEFT_GRAPH_IR_RECOMPUTE_H_
#define WEFT_GRAPH_IR_RECOMPUTE_H_

#include <optional>
#include <string>
#include <string_view>

#include "graph/ops/op_info.h"
#include "mlir/IR/Operation.h"

namespace weft::ir {

// In the IR and in GraphDef: a string.
inline constexpr char kRecomputeAttr[] = "weft.recompute";

// The scope that the node was made in, and how many gradients lie between: 0 for the nodes of the
// scope, 1 for those of their gradient, 2 for those of the gradient's gradient. A node of the scope
// computes again what it reads of the scope's lower levels.
struct RecomputeMark {
  std::string scope;
  int level = 0;

  // "encoder/layer", "encoder/layer:1". A name has no colon.
  std::string Text() const;
};
// The highest level: gradients of gradients are as many copies of a scope, so a file must not ask
// for hundreds. What is above is not marked, and is kept.
inline constexpr int kMaxRecomputeLevel = 8;
// nullopt where the text is not one that Text() gives, or of a higher level.
std::optional<RecomputeMark> ParseRecomputeMark(std::string_view text);
// The op's; nullopt where it has none.
std::optional<RecomputeMark> RecomputeMarkOf(mlir::Operation* op);
// Whether an op may be marked: it is computed from its operands and nothing else.
bool MayRecompute(const OpInfo& op);
// Marks the op, which MayRecompute, where the text is not empty.
void SetRecompute(mlir::Operation* op, std::string_view text);

}  // namespace weft::ir

#endif  // WEFT_GRAPH_IR_RECOMPUTE_H_
