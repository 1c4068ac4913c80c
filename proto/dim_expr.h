// The size of a dimension: a whole number, or an expression in named open dimensions that stays
// open until run time.
#ifndef WEFT_PROTO_DIM_EXPR_H_
#define WEFT_PROTO_DIM_EXPR_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace weft {

// An immutable expression in canonical form: a sum of integer multiples of products of atoms, where
// an atom is a symbol, or floordiv(e, n), mod(e, n), max(e, f), min(e, f) of expressions. Two
// expressions are equal when their canonical forms are; equal forms mean equal values, while
// different forms may still have equal values (max is not simplified through sums). Symbols stand
// for values >= 0 of 64 bits. Building one never fails: where a coefficient passes 64 bits, the
// text 4096 bytes or the nesting 64 levels, the result is the "overflow" expression, which every
// operation keeps, which evaluates to an error and which has no text that could be parsed.
//
// Grammar of the text form, spaces optional:  expr = term {("+" | "-") term};  term = factor {"*"
// factor}; factor = number | name | "floordiv(" expr "," number ")" | "mod(" expr "," number ")" |
// "max(" expr "," expr ")" | "min(" expr "," expr ")" | "(" expr ")"; name =
// [A-Za-z_][A-Za-z0-9_.]*.  Text() prints the canonical form, which Parse reads back.
class DimExpr {
 public:
  DimExpr() : DimExpr(0) {}
  DimExpr(int64_t value);  // NOLINT: sizes are dimensions
  // `name` as in the grammar; any other gives the overflow expression.
  static DimExpr Symbol(std::string_view name);
  // Error (InvalidArgument) on a syntax error, on more than 64 levels of nesting, or on text longer
  // than 4096 bytes.
  static absl::StatusOr<DimExpr> Parse(std::string_view text);
  static DimExpr FloorDiv(const DimExpr& a, int64_t divisor);  // divisor >= 1
  static DimExpr CeilDiv(const DimExpr& a, int64_t divisor);
  static DimExpr Mod(const DimExpr& a, int64_t divisor);
  static DimExpr Max(const DimExpr& a, const DimExpr& b);
  static DimExpr Min(const DimExpr& a, const DimExpr& b);
  // The quotient when `a` is known to be a multiple of `b` (as canonical forms), such as 6*batch /
  // (2*batch) = 3.
  static std::optional<DimExpr> DivideExactly(const DimExpr& a, const DimExpr& b);

  friend DimExpr operator+(const DimExpr& a, const DimExpr& b);
  friend DimExpr operator-(const DimExpr& a, const DimExpr& b);
  friend DimExpr operator*(const DimExpr& a, const DimExpr& b);
  friend bool operator==(const DimExpr& a, const DimExpr& b);
  friend bool operator!=(const DimExpr& a, const DimExpr& b) { return !(a == b); }
  // An arbitrary total order, for use as a key.
  friend bool operator<(const DimExpr& a, const DimExpr& b);

  // The value, where there is no symbol in it.
  std::optional<int64_t> Constant() const;
  bool IsConstant() const { return rep_ == nullptr; }
  bool IsOverflow() const;
  // A bound that holds for all symbols >= 0, where one is known. It sees through max and min, so
  // that batch-min(batch,32) is known to be >= 0.
  std::optional<int64_t> LowerBound() const;
  std::string Text() const;
  // Names of the symbols in it, sorted.
  std::vector<std::string> Symbols() const;
  // Replaces symbols by what `values` maps them to; others stay.
  DimExpr Substitute(const std::map<std::string, DimExpr>& values) const;
  // Error (InvalidArgument) on a symbol without value, or on overflow (OutOfRange).
  absl::StatusOr<int64_t> Evaluate(const std::map<std::string, int64_t>& symbols) const;

  // Bottom-up walk for translation into another form, such as the plan's formulas: calls
  // `constant`, `symbol` and `combine(op, a, b)` where op is one of
  // '+', '-', '*', '/' (floor), '%', 'M' (max), 'm' (min), and returns the id of the whole.
  uint32_t Emit(const std::function<uint32_t(int64_t)>& constant,
                const std::function<uint32_t(std::string_view)>& symbol,
                const std::function<uint32_t(char, uint32_t, uint32_t)>& combine) const;

 private:
  friend struct DimExprImpl;
  struct Atom;
  struct Term;
  struct Rep;

  int64_t constant_ = 0;            // where rep_ is null
  std::shared_ptr<const Rep> rep_;  // what holds symbols; shared, never changed
};

using Shape = std::vector<DimExpr>;

// "[batch, 784]"; "[]" for a scalar.
std::string ToString(const Shape& shape);
// The number of elements, of dimensions [begin, end) alone.
DimExpr NumElements(const Shape& shape, size_t begin, size_t end);
inline DimExpr NumElements(const Shape& shape) { return NumElements(shape, 0, shape.size()); }

}  // namespace weft

#endif  // WEFT_PROTO_DIM_EXPR_H_
