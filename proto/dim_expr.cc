#include "proto/dim_expr.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <iterator>
#include <numeric>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "proto/dim_expr_limits.h"

namespace weft {
namespace {

int64_t FloorDivide(int64_t a, int64_t n) {
  int64_t q = a / n;
  return a % n < 0 ? q - 1 : q;
}
int64_t FloorModulo(int64_t a, int64_t n) {
  int64_t r = a % n;
  return r < 0 ? r + n : r;
}

std::optional<int64_t> Add(std::optional<int64_t> a, std::optional<int64_t> b) {
  int64_t r;
  if (!a || !b || __builtin_add_overflow(*a, *b, &r)) return std::nullopt;
  return r;
}
std::optional<int64_t> Multiply(std::optional<int64_t> a, std::optional<int64_t> b) {
  int64_t r;
  if (!a || !b || __builtin_mul_overflow(*a, *b, &r)) return std::nullopt;
  return r;
}

}  // namespace

// A symbol, or an operation on expressions: '/' (floor), '%', 'M' (max), 'm' (min).
struct DimExpr::Atom {
  char op = 's';
  std::string name;  // of a symbol
  DimExpr a, b;      // operands of the others; b is a constant for '/' and '%'
  std::string text;  // names it: atoms are equal when their texts are

  bool operator==(const Atom& other) const { return text == other.text; }
  bool operator<(const Atom& other) const { return text < other.text; }
};

// coefficient * product of atoms; no atoms for the constant term.
struct DimExpr::Term {
  int64_t coefficient = 0;
  std::vector<Atom> atoms;  // sorted, repeated for powers

  // Graded lexicographic: higher degree first. It is compatible with multiplication, which exact
  // division needs.
  static bool Before(const Term& x, const Term& y) {
    if (x.atoms.size() != y.atoms.size()) return x.atoms.size() > y.atoms.size();
    return x.atoms < y.atoms;
  }
};

struct DimExpr::Rep {
  std::vector<Term> terms;  // in order, no zero coefficient, at least one with an atom
  bool overflow = false;
  int depth = 0;
  std::string text;

  // LowerBound() once somebody has asked; any thread may find it, all find the same.
  enum : int { kUnknown, kNone, kKnown };
  mutable std::atomic<int> lower_state = kUnknown;
  mutable std::atomic<int64_t> lower = 0;
};

struct DimExprImpl {
  using Atom = DimExpr::Atom;
  using Term = DimExpr::Term;
  using Rep = DimExpr::Rep;

  static DimExpr Overflow() {
    static const std::shared_ptr<const Rep> rep = [] {
      auto r = std::make_shared<Rep>();
      r->overflow = true;
      r->text = "overflow()";
      return r;
    }();
    DimExpr e;
    e.rep_ = rep;
    return e;
  }

  static std::vector<Term> Terms(const DimExpr& e) {
    if (e.rep_) return e.rep_->terms;
    if (e.constant_ == 0) return {};
    return {Term{e.constant_, {}}};
  }
  static bool IsOverflow(const DimExpr& e) { return e.rep_ && e.rep_->overflow; }
  static int Depth(const DimExpr& e) { return e.rep_ ? e.rep_->depth : 0; }

  static std::string TermText(const Term& term) {  // without sign
    int64_t magnitude = std::abs(term.coefficient);
    std::string text;
    if (magnitude != 1 || term.atoms.empty()) text = absl::StrCat(magnitude);
    for (const Atom& atom : term.atoms) {
      if (!text.empty()) text += '*';
      text += atom.text;
    }
    return text;
  }

  // Sorts, adds up equal products, and makes the text.
  static DimExpr FromTerms(std::vector<Term> terms) {
    std::sort(terms.begin(), terms.end(), Term::Before);
    std::vector<Term> sum;
    for (Term& term : terms) {
      if (!sum.empty() && sum.back().atoms == term.atoms) {
        if (__builtin_add_overflow(sum.back().coefficient, term.coefficient,
                                   &sum.back().coefficient)) {
          return Overflow();
        }
      } else {
        sum.push_back(std::move(term));
      }
      if (sum.back().coefficient == INT64_MIN) return Overflow();
      if (sum.back().coefficient == 0) sum.pop_back();
    }
    if (sum.empty()) return DimExpr(0);
    if (sum.size() == 1 && sum[0].atoms.empty()) return DimExpr(sum[0].coefficient);

    auto rep = std::make_shared<Rep>();
    // The grammar has no sign in front: a positive term comes first.
    auto first = std::find_if(sum.begin(), sum.end(), [](auto& t) { return t.coefficient > 0; });
    rep->text = first == sum.end() ? "0" : TermText(*first);
    for (auto it = sum.begin(); it != sum.end(); ++it) {
      if (it != first) absl::StrAppend(&rep->text, it->coefficient < 0 ? "-" : "+", TermText(*it));
      for (const Atom& atom : it->atoms) {
        rep->depth = std::max({rep->depth, Depth(atom.a) + 1, Depth(atom.b) + 1});
      }
      if (rep->text.size() > kMaxDimText) return Overflow();
    }
    if (rep->depth > kMaxDimDepth / 2) return Overflow();
    rep->terms = std::move(sum);
    DimExpr e;
    e.rep_ = std::move(rep);
    return e;
  }

  static DimExpr Make(char op, const DimExpr& a, const DimExpr& b) {
    const char* name = op == '/' ? "floordiv(" : op == '%' ? "mod(" : op == 'M' ? "max(" : "min(";
    Atom atom{op, "", a, b, absl::StrCat(name, a.Text(), ",", b.Text(), ")")};
    return FromTerms({Term{1, {std::move(atom)}}});
  }

  static std::optional<int64_t> AtomLower(const Atom& atom) {
    switch (atom.op) {
      case 's':
      case '%':
        return 0;
      case '/': {
        std::optional<int64_t> a = atom.a.LowerBound();
        if (!a) return std::nullopt;
        return FloorDivide(*a, *atom.b.Constant());
      }
      case 'M': {
        std::optional<int64_t> a = atom.a.LowerBound(), b = atom.b.LowerBound();
        if (a && b) return std::max(*a, *b);
        return a ? a : b;
      }
      default: {
        std::optional<int64_t> a = atom.a.LowerBound(), b = atom.b.LowerBound();
        if (a && b) return std::min(*a, *b);
        return std::nullopt;
      }
    }
  }
  static std::optional<int64_t> AtomUpper(const Atom& atom) {
    switch (atom.op) {
      case 's':
        return std::nullopt;
      case '%':
        return *atom.b.Constant() - 1;
      case '/': {
        std::optional<int64_t> a = Upper(atom.a);
        if (!a) return std::nullopt;
        return FloorDivide(*a, *atom.b.Constant());
      }
      case 'm': {
        std::optional<int64_t> a = Upper(atom.a), b = Upper(atom.b);
        if (a && b) return std::min(*a, *b);
        return a ? a : b;
      }
      default: {
        std::optional<int64_t> a = Upper(atom.a), b = Upper(atom.b);
        if (a && b) return std::max(*a, *b);
        return std::nullopt;
      }
    }
  }
  // The sum of the terms' bounds, each the coefficient times the product of its atoms' bounds,
  // which holds where the atoms are not negative.
  static std::optional<int64_t> Bound(const DimExpr& e, bool lower) {
    if (IsOverflow(e)) return std::nullopt;
    std::optional<int64_t> sum = 0;
    for (const Term& term : Terms(e)) {
      std::optional<int64_t> product = term.coefficient;
      for (const Atom& atom : term.atoms) {
        std::optional<int64_t> atom_lower = AtomLower(atom);
        if (!(term.atoms.size() == 1) && (!atom_lower || *atom_lower < 0)) return std::nullopt;
        product = Multiply(product, (term.coefficient > 0) == lower ? atom_lower : AtomUpper(atom));
      }
      sum = Add(sum, product);
    }
    return sum;
  }
  // A lower bound that keeps together what the terms share: e + c*max(a,b) is at least e + c*a and
  // e + c*b; e - c*min(a,b) likewise. For e + c*min(a,b) and e - c*max(a,b) it is the lower of the
  // two. floordiv(a,n) lies between (a-n+1)/n and a/n: e + c*floordiv(a,n) is at least
  // (n*e + c*(a-n+1))/n, and e - c*floordiv(a,n) at least (n*e - c*a)/n, rounded up. Tried only
  // where the terms one by one do not give a bound >= 0, which is what most ask for; `budget`
  // bounds the cases.
  static std::optional<int64_t> Lower(const DimExpr& e, int* budget) {
    std::optional<int64_t> best = Bound(e, true);
    if (e.IsConstant() || IsOverflow(e) || best.value_or(-1) >= 0) return best;
    auto raise = [&](std::optional<int64_t> bound) {
      if (bound && (!best || *bound > *best)) best = bound;
    };
    // First max and min, without which quotients often cancel; the largest before the others, which
    // are often parts of it and cancel as well.
    std::vector<const Term*> choices;
    for (const Term& term : e.rep_->terms) {
      if (term.atoms.size() != 1) continue;
      const char op = term.atoms[0].op;
      if (op == 'M' || op == 'm' || op == '/') choices.push_back(&term);
    }
    std::sort(choices.begin(), choices.end(), [](const Term* x, const Term* y) {
      const Atom &a = x->atoms[0], &b = y->atoms[0];
      if ((a.op == '/') != (b.op == '/')) return b.op == '/';
      if (a.text.size() != b.text.size()) return a.text.size() > b.text.size();
      return x < y;  // of one vector
    });
    for (const Term* each : choices) {
      if (best.value_or(-1) >= 0 || --*budget < 0) break;
      const Term& term = *each;
      const Atom& atom = term.atoms[0];
      DimExpr rest = e - FromTerms({term});
      auto with = [&](const DimExpr& part) {
        return Lower(rest + part * DimExpr(term.coefficient), budget);
      };
      if (atom.op == '/') {
        // Divided by what n and c share, so that the numbers stay small.
        const int64_t n = *atom.b.Constant(), shared = std::gcd(term.coefficient, n);
        const DimExpr a = term.coefficient < 0 ? atom.a : atom.a - DimExpr(n - 1);
        const std::optional<int64_t> bound =
            Lower(rest * DimExpr(n / shared) + a * DimExpr(term.coefficient / shared), budget);
        if (bound) raise(FloorDivide(*bound, n / shared) + (*bound % (n / shared) != 0));
        continue;
      }
      std::optional<int64_t> a = with(atom.a), b = with(atom.b);
      if ((atom.op == 'M') == (term.coefficient > 0)) {
        raise(a);
        raise(b);
      } else if (a && b) {
        raise(std::min(*a, *b));
      }
    }
    return best;
  }
  static std::optional<int64_t> Upper(const DimExpr& e) { return Bound(e, false); }

  // Splits e = n * quotient + rest, with the coefficients of rest in [0, n).
  static void Split(const DimExpr& e, int64_t n, DimExpr* quotient, DimExpr* rest) {
    std::vector<Term> q, r;
    for (const Term& term : Terms(e)) {
      if (int64_t c = FloorDivide(term.coefficient, n); c != 0) q.push_back({c, term.atoms});
      if (int64_t c = FloorModulo(term.coefficient, n); c != 0) r.push_back({c, term.atoms});
    }
    *quotient = FromTerms(std::move(q));
    *rest = FromTerms(std::move(r));
  }
  // The greatest common divisor of n and the coefficients of all terms but the constant.
  static int64_t CommonDivisor(const DimExpr& e, int64_t n) {
    int64_t g = n;
    for (const Term& term : Terms(e)) {
      if (!term.atoms.empty()) g = std::gcd(g, term.coefficient);
    }
    return g;
  }

  static DimExpr Apply(const Atom& atom, const DimExpr& a, const DimExpr& b) {
    switch (atom.op) {
      case '/':
        return DimExpr::FloorDiv(a, *b.Constant());
      case '%':
        return DimExpr::Mod(a, *b.Constant());
      case 'M':
        return DimExpr::Max(a, b);
      default:
        return DimExpr::Min(a, b);
    }
  }

  static void CollectSymbols(const DimExpr& e, std::set<std::string>* symbols) {
    for (const Term& term : Terms(e)) {
      for (const Atom& atom : term.atoms) {
        if (atom.op == 's') {
          symbols->insert(atom.name);
        } else {
          CollectSymbols(atom.a, symbols);
          CollectSymbols(atom.b, symbols);
        }
      }
    }
  }

  static absl::StatusOr<int64_t> Evaluate(const Atom& atom,
                                          const std::map<std::string, int64_t>& symbols) {
    if (atom.op == 's') {
      auto it = symbols.find(atom.name);
      if (it != symbols.end()) return it->second;
      return absl::InvalidArgumentError(
          absl::StrCat("open dimension '", atom.name, "' has no value"));
    }
    absl::StatusOr<int64_t> a = atom.a.Evaluate(symbols);
    if (!a.ok()) return a;
    absl::StatusOr<int64_t> b = atom.b.Evaluate(symbols);
    if (!b.ok()) return b;
    switch (atom.op) {
      case '/':
        return FloorDivide(*a, *b);
      case '%':
        return FloorModulo(*a, *b);
      case 'M':
        return std::max(*a, *b);
      default:
        return std::min(*a, *b);
    }
  }
};

// The one number whose magnitude is no number of 64 bits would need an exception everywhere.
DimExpr::DimExpr(int64_t value) : constant_(value) {
  if (value == INT64_MIN) *this = DimExprImpl::Overflow();
}

DimExpr DimExpr::Symbol(std::string_view name) {
  auto is_start = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
  };
  auto is_char = [&](char c) { return is_start(c) || (c >= '0' && c <= '9') || c == '.'; };
  if (name.empty() || name.size() > kMaxDimText || !is_start(name[0]) ||
      !std::all_of(name.begin(), name.end(), is_char)) {
    return DimExprImpl::Overflow();
  }
  Atom atom;
  atom.name = atom.text = std::string(name);
  return DimExprImpl::FromTerms({Term{1, {std::move(atom)}}});
}

DimExpr DimExpr::FloorDiv(const DimExpr& a, int64_t divisor) {
  if (a.IsOverflow() || divisor < 1) return DimExprImpl::Overflow();
  if (divisor == 1) return a;
  // floordiv(n * q + r, n) = q + floordiv(r, n).
  DimExpr quotient, rest;
  DimExprImpl::Split(a, divisor, &quotient, &rest);
  if (rest.IsConstant() || rest.IsOverflow()) return rest.IsOverflow() ? rest : quotient;
  // floordiv(g * e + c, g * m) = floordiv(e + floordiv(c, g), m).
  if (int64_t g = DimExprImpl::CommonDivisor(rest, divisor); g > 1) {
    std::vector<Term> terms = DimExprImpl::Terms(rest);
    for (Term& term : terms) term.coefficient /= g;
    terms.erase(std::remove_if(terms.begin(), terms.end(),
                               [](const Term& t) { return t.coefficient == 0; }),
                terms.end());
    return quotient + FloorDiv(DimExprImpl::FromTerms(std::move(terms)), divisor / g);
  }
  // floordiv(floordiv(e, m) + c, n) = floordiv(e + c * m, m * n).
  const std::vector<Term>& terms = rest.rep_->terms;
  const Term& lead = terms.front();
  if (lead.coefficient == 1 && lead.atoms.size() == 1 && lead.atoms[0].op == '/' &&
      (terms.size() == 1 || (terms.size() == 2 && terms[1].atoms.empty()))) {
    int64_t inner = *lead.atoms[0].b.Constant(), both;
    if (!__builtin_mul_overflow(inner, divisor, &both)) {
      DimExpr c = terms.size() == 2 ? DimExpr(terms[1].coefficient) : DimExpr(0);
      return quotient + FloorDiv(lead.atoms[0].a + c * inner, both);
    }
  }
  return quotient + DimExprImpl::Make('/', rest, divisor);
}

DimExpr DimExpr::CeilDiv(const DimExpr& a, int64_t divisor) {
  return FloorDiv(a + DimExpr(divisor - 1), divisor);
}

DimExpr DimExpr::Mod(const DimExpr& a, int64_t divisor) {
  if (a.IsOverflow() || divisor < 1) return DimExprImpl::Overflow();
  DimExpr quotient, rest;
  DimExprImpl::Split(a, divisor, &quotient, &rest);
  if (rest.IsConstant() || rest.IsOverflow()) return rest;
  int64_t g = DimExprImpl::CommonDivisor(rest, divisor);
  // mod(g * e, g * m) = g * mod(e, m), if the constant is a multiple of g as well.
  const Term& last = rest.rep_->terms.back();
  if (g > 1 && (!last.atoms.empty() || last.coefficient % g == 0)) {
    std::vector<Term> terms = rest.rep_->terms;
    for (Term& term : terms) term.coefficient /= g;
    return Mod(DimExprImpl::FromTerms(std::move(terms)), divisor / g) * DimExpr(g);
  }
  return DimExprImpl::Make('%', rest, divisor);
}

DimExpr DimExpr::Max(const DimExpr& a, const DimExpr& b) {
  if (a.IsOverflow() || b.IsOverflow()) return DimExprImpl::Overflow();
  if ((a - b).LowerBound().value_or(-1) >= 0) return a;
  if ((b - a).LowerBound().value_or(-1) >= 0) return b;
  return a < b ? DimExprImpl::Make('M', a, b) : DimExprImpl::Make('M', b, a);
}

DimExpr DimExpr::Min(const DimExpr& a, const DimExpr& b) {
  if (a.IsOverflow() || b.IsOverflow()) return DimExprImpl::Overflow();
  if ((a - b).LowerBound().value_or(-1) >= 0) return b;
  if ((b - a).LowerBound().value_or(-1) >= 0) return a;
  return a < b ? DimExprImpl::Make('m', a, b) : DimExprImpl::Make('m', b, a);
}

std::optional<DimExpr> DimExpr::DivideExactly(const DimExpr& a, const DimExpr& b) {
  std::vector<Term> divisor = DimExprImpl::Terms(b);
  if (a.IsOverflow() || b.IsOverflow() || divisor.empty()) return std::nullopt;
  // Division of polynomials: each step cancels the leading term.
  const Term& lead = divisor.front();
  DimExpr quotient, rest = a;
  while (rest != DimExpr(0)) {
    Term term = DimExprImpl::Terms(rest).front();
    if (term.coefficient % lead.coefficient != 0 ||
        !std::includes(term.atoms.begin(), term.atoms.end(), lead.atoms.begin(),
                       lead.atoms.end())) {
      return std::nullopt;
    }
    Term factor{term.coefficient / lead.coefficient, {}};
    std::set_difference(term.atoms.begin(), term.atoms.end(), lead.atoms.begin(), lead.atoms.end(),
                        std::back_inserter(factor.atoms));
    DimExpr step = DimExprImpl::FromTerms({factor});
    quotient = quotient + step;
    rest = rest - step * b;
    if (quotient.IsOverflow() || rest.IsOverflow()) return std::nullopt;
  }
  return quotient;
}

DimExpr operator+(const DimExpr& a, const DimExpr& b) {
  if (a.IsOverflow() || b.IsOverflow()) return DimExprImpl::Overflow();
  int64_t sum;
  if (a.IsConstant() && b.IsConstant()) {
    if (__builtin_add_overflow(a.constant_, b.constant_, &sum)) return DimExprImpl::Overflow();
    return sum;
  }
  std::vector<DimExpr::Term> terms = DimExprImpl::Terms(a);
  for (DimExpr::Term& term : DimExprImpl::Terms(b)) terms.push_back(std::move(term));
  return DimExprImpl::FromTerms(std::move(terms));
}

DimExpr operator-(const DimExpr& a, const DimExpr& b) { return a + b * DimExpr(-1); }

DimExpr operator*(const DimExpr& a, const DimExpr& b) {
  if (a.IsOverflow() || b.IsOverflow()) return DimExprImpl::Overflow();
  int64_t product;
  if (a.IsConstant() && b.IsConstant()) {
    if (__builtin_mul_overflow(a.constant_, b.constant_, &product)) return DimExprImpl::Overflow();
    return product;
  }
  std::vector<DimExpr::Term> left = DimExprImpl::Terms(a), right = DimExprImpl::Terms(b), terms;
  // More products than characters allowed cannot end in a text that is short enough, unless they
  // cancel; that is left unsimplified on purpose, as a bound on the work.
  if (left.size() * right.size() > kMaxDimText) return DimExprImpl::Overflow();
  for (const DimExpr::Term& x : left) {
    for (const DimExpr::Term& y : right) {
      DimExpr::Term term;
      if (__builtin_mul_overflow(x.coefficient, y.coefficient, &term.coefficient) ||
          x.atoms.size() + y.atoms.size() > kMaxDimText) {
        return DimExprImpl::Overflow();
      }
      std::merge(x.atoms.begin(), x.atoms.end(), y.atoms.begin(), y.atoms.end(),
                 std::back_inserter(term.atoms));
      terms.push_back(std::move(term));
    }
  }
  return DimExprImpl::FromTerms(std::move(terms));
}

bool operator==(const DimExpr& a, const DimExpr& b) {
  if (a.rep_ == nullptr || b.rep_ == nullptr) {
    return a.rep_ == b.rep_ && a.constant_ == b.constant_;
  }
  return a.rep_ == b.rep_ || a.rep_->text == b.rep_->text;
}

bool operator<(const DimExpr& a, const DimExpr& b) {
  if (a.IsConstant() != b.IsConstant()) return a.IsConstant();
  return a.IsConstant() ? a.constant_ < b.constant_ : a.rep_->text < b.rep_->text;
}

std::optional<int64_t> DimExpr::Constant() const {
  if (rep_ != nullptr) return std::nullopt;
  return constant_;
}

bool DimExpr::IsOverflow() const { return rep_ != nullptr && rep_->overflow; }

std::optional<int64_t> DimExpr::LowerBound() const {
  if (rep_ == nullptr) return constant_;
  int state = rep_->lower_state.load(std::memory_order_acquire);
  if (state == Rep::kNone) return std::nullopt;
  if (state == Rep::kKnown) return rep_->lower.load(std::memory_order_relaxed);
  int budget = 32;
  std::optional<int64_t> lower = DimExprImpl::Lower(*this, &budget);
  rep_->lower.store(lower.value_or(0), std::memory_order_relaxed);
  rep_->lower_state.store(lower ? Rep::kKnown : Rep::kNone, std::memory_order_release);
  return lower;
}

std::string DimExpr::Text() const {
  if (rep_ != nullptr) return rep_->text;
  return constant_ < 0 ? absl::StrCat("0", constant_) : absl::StrCat(constant_);
}

std::vector<std::string> DimExpr::Symbols() const {
  std::set<std::string> symbols;
  DimExprImpl::CollectSymbols(*this, &symbols);
  return {symbols.begin(), symbols.end()};
}

DimExpr DimExpr::Substitute(const std::map<std::string, DimExpr>& values) const {
  if (IsConstant() || IsOverflow()) return *this;
  DimExpr sum;
  for (const Term& term : rep_->terms) {
    DimExpr product(term.coefficient);
    for (const Atom& atom : term.atoms) {
      if (atom.op == 's') {
        auto it = values.find(atom.name);
        product = product * (it == values.end() ? Symbol(atom.name) : it->second);
      } else {
        product = product *
                  DimExprImpl::Apply(atom, atom.a.Substitute(values), atom.b.Substitute(values));
      }
    }
    sum = sum + product;
  }
  return sum;
}

absl::StatusOr<int64_t> DimExpr::Evaluate(const std::map<std::string, int64_t>& symbols) const {
  if (IsConstant()) return constant_;
  absl::Status overflow = absl::OutOfRangeError(
      absl::StrCat("the size ", Text(), " passes 64 bits for the given open dimensions"));
  if (IsOverflow()) return overflow;
  std::optional<int64_t> sum = 0;
  for (const Term& term : rep_->terms) {
    std::optional<int64_t> product = term.coefficient;
    for (const Atom& atom : term.atoms) {
      absl::StatusOr<int64_t> value = DimExprImpl::Evaluate(atom, symbols);
      if (!value.ok()) return value;
      product = Multiply(product, *value);
    }
    sum = Add(sum, product);
  }
  if (!sum) return overflow;
  return *sum;
}

uint32_t DimExpr::Emit(const std::function<uint32_t(int64_t)>& constant,
                       const std::function<uint32_t(std::string_view)>& symbol,
                       const std::function<uint32_t(char, uint32_t, uint32_t)>& combine) const {
  if (IsConstant()) return constant(constant_);
  // Checked arithmetic at run time then finds the overflow.
  if (IsOverflow()) return combine('*', constant(INT64_MAX), constant(INT64_MAX));
  std::optional<uint32_t> sum;
  auto add = [&](const Term& term) {
    bool negative = term.coefficient < 0 && sum;
    int64_t coefficient = negative ? -term.coefficient : term.coefficient;
    std::optional<uint32_t> product;
    if (coefficient != 1 || term.atoms.empty()) product = constant(coefficient);
    for (const Atom& atom : term.atoms) {
      uint32_t value = 0;
      if (atom.op == 's') {
        value = symbol(atom.name);
      } else {
        uint32_t a = atom.a.Emit(constant, symbol, combine);
        uint32_t b = atom.b.Emit(constant, symbol, combine);
        value = combine(atom.op, a, b);
      }
      product = product ? combine('*', *product, value) : value;
    }
    sum = sum ? combine(negative ? '-' : '+', *sum, *product) : *product;
  };
  // Positive terms first, so that a value that is never negative is not in between either.
  for (const Term& term : rep_->terms) {
    if (term.coefficient > 0) add(term);
  }
  for (const Term& term : rep_->terms) {
    if (term.coefficient < 0) add(term);
  }
  return *sum;
}

std::string ToString(const Shape& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) {
    absl::StrAppend(&text, i == 0 ? "" : ", ", shape[i].Text());
  }
  return text + "]";
}

DimExpr NumElements(const Shape& shape, size_t begin, size_t end) {
  // A zero among the sizes makes the product 0 even where the others overflow.
  for (size_t i = begin; i < end; ++i) {
    if (shape[i] == DimExpr(0)) return 0;
  }
  DimExpr product(1);
  for (size_t i = begin; i < end; ++i) product = product * shape[i];
  return product;
}

}  // namespace weft
