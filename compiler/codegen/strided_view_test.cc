#include "compiler/codegen/strided_view.h"

#include <string>

#include "gtest/gtest.h"

namespace weft {
namespace {

const DimExpr& n = *new DimExpr(DimExpr::Symbol("n"));

TEST(StridedView, DimensionsThatOneStrideStepsThrough) {
  const StridedView view = StridedView::Of({n, 3, 1, 4});
  EXPECT_EQ(view.strides, (std::vector<DimExpr>{12, 4, 0, 1}));
  EXPECT_EQ(view.Merged(0, 4), DimExpr(1));
  EXPECT_EQ(view.Merged(0, 2), DimExpr(4));
  EXPECT_EQ(view.Reshape({n * 3, 2, 2}), (StridedView{{n * 3, 2, 2}, {4, 2, 1}}));
  const StridedView repeated = view.Broadcast({n, 3, 5, 4});
  EXPECT_EQ(repeated.strides, (std::vector<DimExpr>{12, 4, 0, 1}));
  EXPECT_EQ(repeated.Merged(0, 4), std::nullopt);
  EXPECT_EQ(repeated.Reshape({n * 3, 5, 4}), (StridedView{{n * 3, 5, 4}, {4, 0, 1}}));
  EXPECT_EQ(repeated.Reshape({n, 15, 4}), std::nullopt);
}

// Strides that are too long expressions are equal, whatever they are.
TEST(StridedView, StridesThatAreTooLongAreNotCompared) {
  const DimExpr a = DimExpr::Symbol(std::string(2000, 'a')), b = n * a * a, c = a * a * a;
  ASSERT_TRUE(c.IsOverflow());
  const StridedView view{{2, a, 3}, {c, b, 1}};
  EXPECT_EQ(view.Merged(0, 2), std::nullopt);
  EXPECT_EQ((StridedView{{2, n, a}, {b, a * a, a}}.Merged(0, 2)), a * a);
}

}  // namespace
}  // namespace weft
