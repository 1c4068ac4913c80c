#include "compiler/passes/fusion_domain.h"

#include <string>

#include "gtest/gtest.h"

namespace weft {
namespace {

const DimExpr& n = *new DimExpr(DimExpr::Symbol("n"));
const DimExpr& m = *new DimExpr(DimExpr::Symbol("m"));

std::optional<Shape> Refined(const Shape& a, const Shape& b) { return CommonRefinement(a, b); }

TEST(CommonRefinementTest, SplitsAndMerges) {
  EXPECT_EQ(Refined({6, 4}, {6, 4}), (Shape{6, 4}));
  EXPECT_EQ(Refined({6, 4}, {2, 12}), (Shape{2, 3, 4}));
  EXPECT_EQ(Refined({24}, {2, 1, 12, 1}), (Shape{2, 12}));
  EXPECT_EQ(Refined({1, 1}, {}), (Shape{}));
  EXPECT_EQ(Refined({n, 4, 6}, {n * 24}), (Shape{n, 4, 6}));
  EXPECT_EQ(Refined({n * 4, 6}, {n, 24}), (Shape{n, 4, 6}));
  EXPECT_EQ(Refined({n, m, 8}, {n * m, 2, 4}), (Shape{n, m, 2, 4}));
  EXPECT_EQ(Refined({0, 5}, {0, 5}), (Shape{0, 5}));
}

TEST(CommonRefinementTest, RefusesWhatDoesNotNest) {
  EXPECT_EQ(Refined({6, 4}, {8, 3}), std::nullopt);
  EXPECT_EQ(Refined({4, 6}, {6, 4}), std::nullopt);
  EXPECT_EQ(Refined({n, 4}, {4, n}), std::nullopt);
  EXPECT_EQ(Refined({6, 4}, {6, 5}), std::nullopt);
  EXPECT_EQ(Refined({6, 4}, {4}), std::nullopt);
  EXPECT_EQ(Refined({4}, {6, 4}), std::nullopt);
  EXPECT_EQ(Refined({n}, {m}), std::nullopt);
  EXPECT_EQ(Refined({0, 5}, {5, 0}), std::nullopt);
}

TEST(CommonRefinementTest, SaysWhereDimensionsBegin) {
  std::vector<size_t> cuts;
  ASSERT_TRUE(CommonRefinement({6, 1, 4}, {2, 12}, &cuts));
  EXPECT_EQ(cuts, (std::vector<size_t>{0, 2, 2, 3}));
}

TEST(FusionDomainTest, LoopCoversWhatReshapesMake) {
  FusionDomain loop(Shape{n, 24});
  EXPECT_TRUE(loop.Cover({n, 4, 6}));
  EXPECT_TRUE(loop.Cover({n * 2, 12}));
  // It would fit either one of these alone.
  EXPECT_FALSE(loop.Cover({n, 3, 8}));
  EXPECT_FALSE(loop.Cover({n, 25}));
}

TEST(FusionDomainTest, RowsAndTheirResults) {
  FusionDomain row({n, 2, 12}, 2, 3);
  EXPECT_TRUE(row.Cover({n * 2, 3, 4}));
  EXPECT_TRUE(row.CoverReduced({n * 2}));
  EXPECT_TRUE(row.CoverReduced({n, 2, 1}));
  EXPECT_FALSE(row.CoverReduced({n, 3}));
  EXPECT_EQ(row.ReducedElements(), n * 2);
  EXPECT_TRUE(row.Join(FusionDomain({n * 2, 3, 4}, 1, 3)));
  EXPECT_FALSE(row.Join(FusionDomain({n * 2, 3, 4}, 2, 3)));
  EXPECT_FALSE(row.Join(FusionDomain({n, 2, 12}, 1, 3)));
}

TEST(FusionDomainTest, ColumnsKeepWhatIsOnBothSides) {
  FusionDomain column({4, n, 6}, 1, 2);
  EXPECT_TRUE(column.CoverReduced({2, 2, 6}));
  EXPECT_TRUE(column.CoverReduced({4, 1, 3, 2}));
  EXPECT_TRUE(column.CoverReduced({2, 12}));
  EXPECT_FALSE(column.CoverReduced({3, 8}));
  EXPECT_TRUE(column.Cover({2, 2, n, 3, 2}));
  EXPECT_TRUE(column.Join(FusionDomain({4, n, 3, 2}, 1, 2)));
  EXPECT_FALSE(column.Join(FusionDomain({4, n, 6}, 0, 1)));
}

// A product that is too long an expression equals another: nothing is known of either.
TEST(FusionDomainTest, ProductsThatAreTooLongAreNotCompared) {
  const DimExpr a = DimExpr::Symbol(std::string(100, 'a')),
                b = DimExpr::Symbol(std::string(100, 'b'));
  const Shape shape = {2, a + b, a * a + b * b, a * a * a * a + b * b * b * b, 3};
  ASSERT_TRUE(NumElements(shape, 1, 4).IsOverflow() && NumElements(shape, 1, 5).IsOverflow());
  FusionDomain column(shape, 1, 4);
  EXPECT_FALSE(column.Join(FusionDomain(shape, 1, 5)));
  FusionDomain row(shape, 3, 5);
  EXPECT_TRUE(row.Join(FusionDomain(shape, 3, 5)));
}

}  // namespace
}  // namespace weft
