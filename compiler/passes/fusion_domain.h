// What a fusion iterates over, and which shapes of values fit it. Kernels see a tensor as a line of
// elements: where a reshape only splits and merges dimensions, what lies before it and what lies
// behind it are computed in one loop.
#ifndef WEFT_COMPILER_PASSES_FUSION_DOMAIN_H_
#define WEFT_COMPILER_PASSES_FUSION_DOMAIN_H_

#include <cstddef>
#include <optional>
#include <vector>

#include "proto/dim_expr.h"

namespace weft {

// The extents of an iteration space: every dimension of every shape that fits is a product of
// neighbouring ones. Extents of 1 are left out.
class FusionDomain {
 public:
  FusionDomain() = default;
  // Of a loop: values of this shape.
  explicit FusionDomain(const Shape& shape);
  // Of reductions over the dimensions [begin, end) of this shape.
  FusionDomain(const Shape& shape, size_t begin, size_t end);

  // Whether values of this shape are computed for each point; if so, splits extents as far as the
  // shape asks for it.
  bool Cover(const Shape& shape);
  // Whether values of this shape are computed once for all points along the reduced extents: a
  // reduction's result, with or without its dimensions of 1. Splits extents likewise.
  bool CoverReduced(const Shape& shape);
  // Whether another domain iterates over the same, and reduces the same; splits extents likewise.
  bool Join(const FusionDomain& other);

  DimExpr Elements() const { return NumElements(extents_); }
  // Elements of what is left after the reduction.
  DimExpr ReducedElements() const;

 private:
  // The dimensions before the reduced ones, these, and those behind.
  Shape extents_;
  size_t begin_ = 0, end_ = 0;
};

// The fewest extents of which the dimensions of both shapes are products of neighbours: of [6, 4]
// and [2, 12], [2, 3, 4]; nothing for [6, 4] and [8, 3]. `cuts`, where not null, becomes the
// positions in the result at which the dimensions of `a` begin, and at last its size. Dimensions of
// 1 are left out.
std::optional<Shape> CommonRefinement(const Shape& a, const Shape& b,
                                      std::vector<size_t>* cuts = nullptr);

}  // namespace weft

#endif  // WEFT_COMPILER_PASSES_FUSION_DOMAIN_H_
