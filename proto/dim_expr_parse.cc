// The text form of dimension expressions.
#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "proto/dim_expr.h"
#include "proto/dim_expr_limits.h"

namespace weft {
namespace {

bool IsNameStart(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool IsNameChar(char c) { return IsNameStart(c) || (c >= '0' && c <= '9') || c == '.'; }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// Recursive descent over the grammar in the header.
class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  absl::StatusOr<DimExpr> Run() {
    absl::StatusOr<DimExpr> e = Sum(0);
    if (!e.ok()) return e;
    SkipSpaces();
    if (at_ != text_.size()) return Error("an operator or the end");
    if (e->IsOverflow()) {
      return absl::InvalidArgumentError(
          absl::StrCat("dimension '", std::string(text_), "' passes the limits of an expression"));
    }
    return e;
  }

 private:
  absl::Status Error(const char* expected) const {
    return absl::InvalidArgumentError(absl::StrCat(
        "dimension '", std::string(text_), "': expected ", expected, " at character ", at_ + 1));
  }
  void SkipSpaces() {
    while (at_ < text_.size() && text_[at_] == ' ') ++at_;
  }
  bool Take(char c) {
    SkipSpaces();
    if (at_ == text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  absl::StatusOr<DimExpr> Sum(int depth) {
    if (depth > kMaxDimDepth) return Error("at most 64 levels of nesting");
    std::vector<DimExpr> terms;
    bool plus = true;
    do {
      absl::StatusOr<DimExpr> term = Product(depth);
      if (!term.ok()) return term;
      terms.push_back(plus ? *term : *term * DimExpr(-1));
      plus = Take('+');
    } while (plus || Take('-'));
    // In pairs, pairs of pairs, ...: a sum is rebuilt from its terms at each addition.
    while (terms.size() > 1) {
      size_t half = (terms.size() + 1) / 2;
      for (size_t i = 0; i < terms.size() / 2; ++i) terms[i] = terms[2 * i] + terms[2 * i + 1];
      if (terms.size() % 2 == 1) terms[half - 1] = terms.back();
      terms.resize(half);
    }
    return terms[0];
  }

  absl::StatusOr<DimExpr> Product(int depth) {
    absl::StatusOr<DimExpr> e = Factor(depth);
    while (e.ok() && Take('*')) {
      absl::StatusOr<DimExpr> factor = Factor(depth);
      if (!factor.ok()) return factor;
      e = *e * *factor;
    }
    return e;
  }

  absl::StatusOr<int64_t> Number() {
    SkipSpaces();
    size_t begin = at_;
    while (at_ < text_.size() && IsDigit(text_[at_])) ++at_;
    std::string_view digits = text_.substr(begin, at_ - begin);
    int64_t value;
    if (digits.empty() ||
        !absl::SimpleAtoi(absl::string_view(digits.data(), digits.size()), &value)) {
      at_ = begin;
      return Error("a whole number below 2^63");
    }
    return value;
  }

  absl::StatusOr<DimExpr> Factor(int depth) {
    SkipSpaces();
    if (at_ == text_.size()) return Error("a number or a name");
    if (Take('(')) {
      absl::StatusOr<DimExpr> e = Sum(depth + 1);
      if (e.ok() && !Take(')')) return Error("')'");
      return e;
    }
    if (IsDigit(text_[at_])) {
      absl::StatusOr<int64_t> value = Number();
      if (!value.ok()) return value.status();
      return DimExpr(*value);
    }
    if (!IsNameStart(text_[at_])) return Error("a number or a name");
    size_t begin = at_;
    while (at_ < text_.size() && IsNameChar(text_[at_])) ++at_;
    std::string_view name = text_.substr(begin, at_ - begin);
    size_t end = at_;
    if (!Take('(')) {
      at_ = end;
      return DimExpr::Symbol(name);
    }
    bool divides = name == "floordiv" || name == "mod";
    if (!divides && name != "max" && name != "min") {
      at_ = begin;
      return Error("floordiv, mod, max or min before '('");
    }
    absl::StatusOr<DimExpr> a = Sum(depth + 1);
    if (!a.ok()) return a;
    if (!Take(',')) return Error("','");
    absl::StatusOr<DimExpr> b;
    if (divides) {
      absl::StatusOr<int64_t> divisor = Number();
      if (!divisor.ok()) return divisor.status();
      if (*divisor < 1) return Error("a divisor >= 1");
      b = name == "mod" ? DimExpr::Mod(*a, *divisor) : DimExpr::FloorDiv(*a, *divisor);
    } else {
      b = Sum(depth + 1);
      if (!b.ok()) return b;
      b = name == "max" ? DimExpr::Max(*a, *b) : DimExpr::Min(*a, *b);
    }
    if (!Take(')')) return Error("')'");
    return b;
  }

  std::string_view text_;
  size_t at_ = 0;
};

}  // namespace

absl::StatusOr<DimExpr> DimExpr::Parse(std::string_view text) {
  if (text.size() > kMaxDimText) {
    return absl::InvalidArgumentError("the text of a dimension is longer than 4096 bytes");
  }
  return Parser(text).Run();
}

}  // namespace weft
