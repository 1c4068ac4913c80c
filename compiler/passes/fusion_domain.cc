#include "compiler/passes/fusion_domain.h"

#include <algorithm>
#include <vector>

namespace weft {
namespace {

Shape Concatenated(const Shape& a, const Shape& b) {
  Shape both = a;
  both.insert(both.end(), b.begin(), b.end());
  return both;
}

Shape Part(const Shape& shape, size_t begin, size_t end) {
  return Shape(shape.begin() + static_cast<int64_t>(begin),
               shape.begin() + static_cast<int64_t>(end));
}

Shape WithoutOnes(Shape shape) {
  std::erase(shape, DimExpr(1));
  return shape;
}

}  // namespace

std::optional<Shape> CommonRefinement(const Shape& a, const Shape& b, std::vector<size_t>* cuts) {
  Shape reversed;
  std::vector<size_t> from_end(a.size() + 1, 0);
  size_t i = a.size(), j = b.size();
  // What is left of the dimensions a[i] and b[j].
  DimExpr left_a = 1, left_b = 1;
  while (true) {
    for (; left_a == DimExpr(1) && i > 0; left_a = a[i]) from_end[i--] = reversed.size();
    for (; left_b == DimExpr(1) && j > 0; left_b = b[j]) --j;
    if (left_a == DimExpr(1) || left_b == DimExpr(1)) break;
    if (left_a == left_b) {
      reversed.push_back(left_a);
      left_a = left_b = 1;
    } else if (auto outer = DimExpr::DivideExactly(left_a, left_b)) {
      reversed.push_back(left_b);
      left_a = *outer;
      left_b = 1;
    } else if (auto outer_b = DimExpr::DivideExactly(left_b, left_a)) {
      reversed.push_back(left_a);
      left_b = *outer_b;
      left_a = 1;
    } else {
      return std::nullopt;
    }
  }
  if (left_a != DimExpr(1) || left_b != DimExpr(1)) return std::nullopt;
  from_end[0] = reversed.size();
  if (cuts != nullptr) {
    cuts->clear();
    for (const size_t count : from_end) cuts->push_back(reversed.size() - count);
  }
  return Shape(reversed.rbegin(), reversed.rend());
}

FusionDomain::FusionDomain(const Shape& shape) : extents_(WithoutOnes(shape)) {}

FusionDomain::FusionDomain(const Shape& shape, size_t begin, size_t end) {
  const Shape before = WithoutOnes(Part(shape, 0, begin));
  const Shape reduced = WithoutOnes(Part(shape, begin, end));
  begin_ = before.size();
  end_ = begin_ + reduced.size();
  extents_ =
      Concatenated(Concatenated(before, reduced), WithoutOnes(Part(shape, end, shape.size())));
}

bool FusionDomain::Cover(const Shape& shape) {
  std::vector<size_t> cuts;
  std::optional<Shape> refined = CommonRefinement(extents_, shape, &cuts);
  if (!refined) return false;
  extents_ = *std::move(refined);
  begin_ = cuts[begin_];
  end_ = cuts[end_];
  return true;
}

bool FusionDomain::CoverReduced(const Shape& shape) {
  const Shape reduced = Part(extents_, begin_, end_);
  std::vector<size_t> cuts;
  const std::optional<Shape> kept = CommonRefinement(
      Concatenated(Part(extents_, 0, begin_), Part(extents_, end_, extents_.size())), shape, &cuts);
  if (!kept) return false;
  begin_ = cuts[begin_];
  end_ = begin_ + reduced.size();
  extents_ = Concatenated(Concatenated(Part(*kept, 0, begin_), reduced),
                          Part(*kept, begin_, kept->size()));
  return true;
}

bool FusionDomain::Join(const FusionDomain& other) {
  const auto product = [](const FusionDomain& domain, size_t begin, size_t end) {
    return NumElements(domain.extents_, begin, end);
  };
  const DimExpr before = product(*this, 0, begin_), reduced = product(*this, begin_, end_);
  // One overflow, of extents that other shapes have split, equals any other.
  return !before.IsOverflow() && before == product(other, 0, other.begin_) &&
         !reduced.IsOverflow() && reduced == product(other, other.begin_, other.end_) &&
         Cover(other.extents_);
}

DimExpr FusionDomain::ReducedElements() const {
  return NumElements(extents_, 0, begin_) * NumElements(extents_, end_, extents_.size());
}

}  // namespace weft
