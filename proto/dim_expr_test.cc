#include "proto/dim_expr.h"

#include <gtest/gtest.h>

#include <random>

namespace weft {
namespace {

DimExpr P(std::string_view text) {
  absl::StatusOr<DimExpr> e = DimExpr::Parse(text);
  EXPECT_TRUE(e.ok()) << text << ": " << e.status();
  return e.ok() ? *e : DimExpr(-999);
}

TEST(DimExpr, CanonicalForms) {
  const char* kCases[][2] = {
      {"784", "784"},
      {"batch", "batch"},
      {"2 * batch + 1", "2*batch+1"},
      {"1+batch*2", "2*batch+1"},
      {"a+b-a", "b"},
      {"b*a", "a*b"},
      {"(a+1)*(a-1)", "a*a-1"},
      {"0-a", "0-a"},
      {"b-a", "b-a"},
      {"floordiv(4*a+6, 2)", "2*a+3"},
      {"floordiv(3*a+5, 2)", "a+floordiv(a+1,2)+2"},
      {"floordiv(4*a+7, 6)", "floordiv(2*a,3)+1"},
      {"floordiv(floordiv(a,2),3)", "floordiv(a,6)"},
      {"mod(5*a+7, 4)", "mod(a+3,4)"},
      {"mod(2*a, 4)", "2*mod(a,2)"},
      {"mod(8*a, 4)", "0"},
      {"max(a, a)", "a"},
      {"max(a+1, a)", "a+1"},
      {"min(a+1, a)", "a"},
      {"max(b, a)", "max(a,b)"},
      {"max(a, 0)", "a"},
      {"min(mod(a,4), 3)", "mod(a,4)"},
  };
  for (auto& [text, canonical] : kCases) {
    EXPECT_EQ(P(text).Text(), P(canonical).Text()) << text;
    EXPECT_EQ(P(P(text).Text()), P(text)) << P(text).Text();
  }
  EXPECT_EQ(P("1 + 2*batch").Text(), "2*batch+1");
  EXPECT_EQ(P("7 - a").Text(), "7-a");
}

TEST(DimExpr, ParseErrors) {
  for (const char* text :
       {"", "a+", "*a", "(a", "a)", "f(a)", "floordiv(a,0)", "floordiv(a,b)", "mod(a)", "max(a,b",
        "9223372036854775808", "a b", "a%2", "-a", "9223372036854775807*2", "é"}) {
    absl::StatusOr<DimExpr> e = DimExpr::Parse(text);
    EXPECT_EQ(e.status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
  EXPECT_FALSE(DimExpr::Parse(std::string(3000, '(')).ok());
  EXPECT_FALSE(DimExpr::Parse(std::string(5000, '1')).ok());
  std::string product = "(a+b)";
  for (int i = 0; i < 500; ++i) product += "*(a+b)";
  EXPECT_FALSE(DimExpr::Parse(product).ok());
}

TEST(DimExpr, GrowthEndsInOverflow) {
  DimExpr e = DimExpr::Symbol("n");
  for (int i = 0; i < 200; ++i) {
    e = DimExpr::Max(e * e, DimExpr::FloorDiv(e, 3) + DimExpr::Symbol("k"));
  }
  EXPECT_TRUE(e.IsOverflow());
  EXPECT_EQ(e.Evaluate({{"n", 1}, {"k", 1}}).status().code(), absl::StatusCode::kOutOfRange);
  EXPECT_FALSE(DimExpr::Parse(e.Text()).ok());
  EXPECT_TRUE((DimExpr(INT64_MAX) + DimExpr(1)).IsOverflow());
  EXPECT_TRUE((DimExpr::Symbol("n") * DimExpr(INT64_MAX) * DimExpr(2)).IsOverflow());
  EXPECT_TRUE((DimExpr(-INT64_MAX) - DimExpr(1)).IsOverflow());
  EXPECT_TRUE(DimExpr::Symbol("1a").IsOverflow());
}

TEST(DimExpr, LongTextsCostLittle) {
  // Many choices, whose combinations a bound must not try one by one.
  std::string text = "n";
  for (int i = 0; text.size() < 4000; ++i) text += "-max(a,b*" + std::to_string(i + 2) + ")";
  absl::StatusOr<DimExpr> e = DimExpr::Parse(text);
  ASSERT_TRUE(e.ok()) << e.status();
  EXPECT_EQ(e->LowerBound(), std::nullopt);
  std::string nested = "a";
  for (int i = 0; i < 28; ++i) nested = "max(" + nested + "-1,b*" + std::to_string(i + 2) + ")";
  ASSERT_TRUE(DimExpr::Parse(nested).ok());
  EXPECT_GE(DimExpr::Parse(nested)->LowerBound().value_or(-1), 0);
}

TEST(DimExpr, DividesExactly) {
  auto divide = [](const char* a, const char* b) {
    std::optional<DimExpr> q = DimExpr::DivideExactly(P(a), P(b));
    return q ? q->Text() : "none";
  };
  EXPECT_EQ(divide("6*batch", "2*batch"), "3");
  EXPECT_EQ(divide("6*batch", "4*batch"), "none");
  EXPECT_EQ(divide("a*b+a*c", "a"), "b+c");
  EXPECT_EQ(divide("a*b+a*c", "b+c"), "a");
  EXPECT_EQ(divide("a*a-1", "a+1"), "a-1");
  EXPECT_EQ(divide("a*a+1", "a+1"), "none");
  EXPECT_EQ(divide("0", "a"), "0");
  EXPECT_EQ(divide("a", "0"), "none");
  EXPECT_EQ(divide("3*floordiv(a,2)", "floordiv(a,2)"), "3");
}

TEST(DimExpr, Bounds) {
  EXPECT_EQ(P("a+3").LowerBound(), 3);
  EXPECT_EQ(P("a-3").LowerBound(), -3);
  EXPECT_EQ(P("3-a").LowerBound(), std::nullopt);
  EXPECT_EQ(P("5-mod(a,4)").LowerBound(), 2);
  EXPECT_EQ(P("floordiv(a+5,2)").LowerBound(), 2);
  EXPECT_EQ(P("max(a-7,b+2)").LowerBound(), 2);
  EXPECT_EQ(P("batch-min(batch,32)").LowerBound(), 0);
  EXPECT_EQ(P("max(batch,32)-batch").LowerBound(), 0);
  EXPECT_EQ(P("a-floordiv(a,3)").LowerBound(), 0);
  EXPECT_EQ(P("a-2*floordiv(a,2)+1").LowerBound(), 1);
  EXPECT_EQ(P("a-3*floordiv(a+2,3)+3").LowerBound(), 1);
  EXPECT_EQ(P("a-max(a-1,0)").LowerBound(), 0);
  // What a slice with steps leaves, and what rounding up adds.
  EXPECT_EQ(P("a-floordiv(a+1,2)").LowerBound(), 0);
  EXPECT_EQ(P("a-floordiv(a+1,2)-max(floordiv(a+1,2)-1,0)").LowerBound(), 0);
  EXPECT_EQ(P("16*floordiv(a*b+15,16)-a*b").LowerBound(), 0);
  EXPECT_EQ(
      P("16*floordiv(a+68719476735,68719476736)-floordiv(a+4294967295,4294967296)").LowerBound(),
      0);
  for (const char* name : {"a", "s8", "z"}) {
    const DimExpr size = DimExpr::Symbol(name);
    const DimExpr taken = DimExpr::CeilDiv(DimExpr::Max(size - DimExpr(2), 0), 3);
    const DimExpr reach = taken + DimExpr::Max(taken - DimExpr(1), 0) * DimExpr(2);
    const DimExpr left = DimExpr::Max(size - DimExpr(2) - reach, 0);
    EXPECT_GE((reach + left + DimExpr(2) - size).LowerBound().value_or(-1), 0) << name;
  }
  EXPECT_EQ(P("a-max(a+1,0)").LowerBound(), -1);
}

TEST(DimExpr, SubstitutesAndEvaluates) {
  DimExpr e = P("floordiv(batch*h+3,2)+max(h,4)");
  EXPECT_EQ(e.Symbols(), (std::vector<std::string>{"batch", "h"}));
  EXPECT_EQ(*e.Evaluate({{"batch", 3}, {"h", 5}}), 9 + 5);
  EXPECT_EQ(e.Substitute({{"batch", 3}, {"h", 5}}), DimExpr(14));
  EXPECT_EQ(e.Substitute({{"h", 2}}), P("batch+1+4"));
  EXPECT_EQ(e.Evaluate({{"h", 5}}).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(P("a*a").Evaluate({{"a", int64_t{1} << 40}}).status().code(),
            absl::StatusCode::kOutOfRange);
}

// A random expression and, beside it, its value computed without canonical forms.
struct Sample {
  DimExpr e;
  int64_t value;
};
Sample Random(std::mt19937& rng, int depth, const std::map<std::string, int64_t>& symbols) {
  int kind = static_cast<int>(rng() % (depth == 0 ? 2 : 9));
  if (kind == 0) {
    int64_t c = static_cast<int64_t>(rng() % 12);
    return {c, c};
  }
  if (kind == 1) {
    auto it = std::next(symbols.begin(), rng() % symbols.size());
    return {DimExpr::Symbol(it->first), it->second};
  }
  Sample a = Random(rng, depth - 1, symbols), b = Random(rng, depth - 1, symbols);
  int64_t n = 1 + static_cast<int64_t>(rng() % 7);
  int64_t floor = (a.value - ((a.value % n) + n) % n) / n;
  switch (kind) {
    case 2:
      return {a.e + b.e, a.value + b.value};
    case 3:
      return {a.e - b.e, a.value - b.value};
    case 4:
      return {a.e * b.e, a.value * b.value};
    case 5:
      return {DimExpr::FloorDiv(a.e, n), floor};
    case 6:
      return {DimExpr::Mod(a.e, n), a.value - n * floor};
    case 7:
      return {DimExpr::Max(a.e, b.e), std::max(a.value, b.value)};
    default:
      return {DimExpr::Min(a.e, b.e), std::min(a.value, b.value)};
  }
}

TEST(DimExpr, CanonicalFormsKeepTheValue) {
  std::mt19937 rng(7);
  int kept = 0;
  for (int i = 0; i < 20000; ++i) {
    std::map<std::string, int64_t> symbols = {{"a", static_cast<int64_t>(rng() % 20)},
                                              {"b", static_cast<int64_t>(rng() % 5)},
                                              {"c", static_cast<int64_t>(rng() % 1000)}};
    Sample s = Random(rng, 4, symbols);
    if (s.e.IsOverflow()) continue;
    ++kept;
    ASSERT_EQ(*s.e.Evaluate(symbols), s.value) << "case " << i << ": " << s.e.Text();
    ASSERT_EQ(P(s.e.Text()), s.e) << s.e.Text();
    if (std::optional<int64_t> low = s.e.LowerBound()) ASSERT_LE(*low, s.value) << s.e.Text();
    std::map<std::string, DimExpr> values(symbols.begin(), symbols.end());
    ASSERT_EQ(s.e.Substitute(values), DimExpr(s.value)) << s.e.Text();
    std::vector<int64_t> formulas;
    auto push = [&](int64_t v) {
      formulas.push_back(v);
      return static_cast<uint32_t>(formulas.size() - 1);
    };
    uint32_t id = s.e.Emit(
        push, [&](std::string_view name) { return push(symbols.at(std::string(name))); },
        [&](char op, uint32_t x, uint32_t y) {
          int64_t p = formulas[x], q = formulas[y], d = q == 0 ? 1 : q;
          int64_t floor = (p - ((p % d) + d) % d) / d;
          return push(op == '+'   ? p + q
                      : op == '-' ? p - q
                      : op == '*' ? p * q
                      : op == '/' ? floor
                      : op == '%' ? p - q * floor
                      : op == 'M' ? std::max(p, q)
                                  : std::min(p, q));
        });
    ASSERT_EQ(formulas[id], s.value) << s.e.Text();
  }
  EXPECT_GT(kept, 19000);
}

TEST(Shape, PrintsAndCounts) {
  Shape shape = {DimExpr::Symbol("batch"), 28, 28};
  EXPECT_EQ(ToString(shape), "[batch, 28, 28]");
  EXPECT_EQ(ToString(Shape{}), "[]");
  EXPECT_EQ(NumElements(shape).Text(), "784*batch");
  EXPECT_EQ(NumElements(shape, 1, 2), DimExpr(28));
  EXPECT_EQ(NumElements(shape, 1, 1), DimExpr(1));
  EXPECT_EQ(NumElements({INT64_MAX, 8, 0}), DimExpr(0));
  EXPECT_TRUE(NumElements({INT64_MAX, 8}).IsOverflow());
}

}  // namespace
}  // namespace weft
