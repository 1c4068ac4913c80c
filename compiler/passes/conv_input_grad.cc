// The gradient of a convolution for its images is a convolution of the gradient, padded, with the
// filter upside down. With strides, the elements of the padded image fall into phases by their
// remainders, and each phase sees the elements of the filter with some remainder only. Phases that
// see as many are made by one convolution, which has the channels of all of them; at most two such
// groups lie along an axis, unless the filter is dilated. A stride beyond the window leaves phases
// that see nothing, which are zeros; the rest then are one product of matrices.
#include "compiler/passes/conv_input_grad.h"

#include <algorithm>
#include <array>
#include <map>
#include <numeric>
#include <vector>

#include "absl/strings/str_cat.h"
#include "graph/ir/types.h"

namespace weft {
namespace {

using Ints = llvm::ArrayRef<int64_t>;

// Convolutions that one gradient may become.
constexpr size_t kMaxParts = 64;

struct Geometry {
  explicit Geometry(mlir::Operation* op)
      : dy(op->getOperand(0)),
        filter(op->getOperand(1)),
        image(ir::ShapeOf(op->getResult(0))),
        out(ir::ShapeOf(dy)),
        window(ir::ShapeOf(filter)),
        strides(IntsOf(op, "strides")),
        padding(IntsOf(op, "padding")),
        dilations(IntsOf(op, "dilations")),
        groups(op->getAttrOfType<mlir::IntegerAttr>("groups").getInt()) {}
  static Ints IntsOf(mlir::Operation* op, llvm::StringRef name) {
    return op->getAttrOfType<mlir::DenseI64ArrayAttr>(name).asArrayRef();
  }

  mlir::Value dy, filter;
  Shape image, out, window;
  llvm::SmallVector<int64_t, 2> strides;
  Ints padding, dilations;
  int64_t groups;
};

// Neighbouring phases along one axis, of which each sees `taps` elements of the filter: phase i of
// them the elements first + i, first + i + step, ... Its places in the image are stride * t + phase
// for t in [0, size), and the gradient is padded by `low` and `high`.
struct Phases {
  int64_t count = 1;
  int64_t taps = 0;
  int64_t first = 0, step = 1, dilation = 1;
  int64_t low = 0, high = 0;
};

// The phases in order, those without taps in runs. Nothing where there would be too many.
std::vector<Phases> PhasesOf(int64_t stride, int64_t dilation, int64_t window, int64_t gradient,
                             int64_t size) {
  std::vector<Phases> all;
  if (dilation == 1) {
    // Those below the remainder see one element more.
    const int64_t more = window % stride == 0 ? stride : window % stride;
    const int64_t taps = (window + stride - 1) / stride;
    all.push_back({more, taps, 0, stride, 1, taps - 1, size - gradient});
    if (more < stride) {
      all.push_back({stride - more, taps - 1, more, stride, 1, taps - 2, size - gradient});
    }
    return all;
  }
  const int64_t divisor = std::gcd(stride, dilation);
  const int64_t step = stride / divisor;
  std::map<int64_t, Phases> by_number;
  for (int64_t first = 0; first < std::min(step, window); ++first) {
    if (by_number.size() == kMaxParts) return {};
    const int64_t number = first * dilation % stride, shift = first * dilation / stride;
    const int64_t taps = (window - first + step - 1) / step, apart = dilation / divisor;
    by_number[number] = {
        1, taps, first, step, apart, shift + (taps - 1) * apart, size - shift - gradient};
  }
  int64_t next = 0;
  for (const auto& [number, phase] : by_number) {
    if (number > next) all.push_back({number - next});
    all.push_back(phase);
    next = number + 1;
  }
  if (next < stride) all.push_back({stride - next});
  return all;
}

// Reverses axes of the filter that are read backwards.
mlir::Value Reversed(mlir::Value filter, Ints axes, OpMaker make) {
  return make.Make("reverse", filter, make.Ints("axes", axes));
}

// [kh, kw, c / g, o] -> [kh, kw, o / g, c], upside down.
mlir::Value TransposedFilter(const Geometry& g, OpMaker make) {
  const Shape& shape = g.window;
  const DimExpr per_group = *DimExpr::DivideExactly(shape[3], g.groups);
  mlir::Value split = make.Reshape(Reversed(g.filter, {0, 1}, make),
                                   {shape[0], shape[1], shape[2], g.groups, per_group});
  mlir::Value turned = make.Transpose(split, {0, 1, 4, 3, 2});
  return make.Reshape(turned, {shape[0], shape[1], per_group, shape[2] * DimExpr(g.groups)});
}

// The elements of the filter's axis that these phases see: the axis becomes two, taps and phases.
mlir::Value TapsOf(mlir::Value filter, size_t axis, const Phases& phases, OpMaker make) {
  Shape shape = ir::ShapeOf(filter), starts(shape.size(), 0), limits = shape;
  std::vector<int64_t> steps(shape.size(), 1);
  Shape split = shape;
  split[axis] = phases.taps;
  split.insert(split.begin() + static_cast<int64_t>(axis) + 1, phases.count);
  if (phases.count == 1) {
    starts[axis] = phases.first;
    steps[axis] = phases.step;
    mlir::Value taken = make.Make(
        "slice", filter,
        {make.Dims("starts", starts), make.Dims("limits", limits), make.Ints("steps", steps)});
    return make.Reshape(taken, split);
  }
  if (phases.taps == 1) {
    starts[axis] = phases.first;
    limits[axis] = phases.first + phases.count;
    return make.Reshape(make.Make("slice", filter,
                                  {make.Dims("starts", starts), make.Dims("limits", limits),
                                   make.Ints("steps", steps)}),
                        split);
  }
  // Rows of a step each, the last one filled up; what fills it up is not taken.
  const int64_t whole = phases.taps * phases.step, size = *shape[axis].Constant();
  if (whole > size) {
    Shape none(shape.size(), 0), high = none;
    high[axis] = whole - size;
    filter = make.Pad(filter, 0, none, high, std::vector<int64_t>(shape.size(), 0));
  } else if (whole < size) {
    limits[axis] = whole;
    filter = make.Make(
        "slice", filter,
        {make.Dims("starts", starts), make.Dims("limits", limits), make.Ints("steps", steps)});
  }
  if (phases.count == phases.step) return make.Reshape(filter, split);
  Shape rows = split;
  rows[axis + 1] = phases.step;
  Shape row_starts(rows.size(), 0), row_limits = rows;
  row_starts[axis + 1] = phases.first;
  row_limits[axis + 1] = phases.first + phases.count;
  return make.Make("slice", make.Reshape(filter, rows),
                   {make.Dims("starts", row_starts), make.Dims("limits", row_limits),
                    make.Ints("steps", std::vector<int64_t>(rows.size(), 1))});
}

// [n, rows, phases down, columns, phases across, channels] of the image.
mlir::Value PartOf(const Geometry& g, const std::array<int64_t, 2>& sizes, const Phases& down,
                   const Phases& across, OpMaker make) {
  const Shape part = {g.image[0], sizes[0], down.count, sizes[1], across.count, g.image[3]};
  if (down.taps == 0 || across.taps == 0) return make.Full(ir::DataTypeOf(g.dy), part, 0);
  const DimExpr outs = *DimExpr::DivideExactly(g.window[3], g.groups), channels = g.window[2];
  // [taps down, phases down, taps across, phases across, c / g, g, o / g]
  mlir::Value taps = TapsOf(TapsOf(g.filter, 0, down, make), 2, across, make);
  taps = make.Reshape(Reversed(taps, {0, 2}, make),
                      {down.taps, down.count, across.taps, across.count, channels, g.groups, outs});
  taps = make.Reshape(make.Transpose(taps, {0, 2, 6, 5, 1, 3, 4}),
                      {down.taps, across.taps, outs, g.image[3] * (down.count * across.count)});
  mlir::Value padded =
      make.Pad(g.dy, 0, {0, down.low, across.low, 0}, {0, down.high, across.high, 0}, {0, 0, 0, 0});
  mlir::Value y = make.Make(
      "conv2d", {padded, taps},
      {make.Ints("strides", {1, 1}), make.Ints("padding", {0, 0, 0, 0}),
       make.Ints("dilations", {down.dilation, across.dilation}), make.Int("groups", g.groups)});
  if (down.count > 1 || (across.count > 1 && g.groups > 1)) {
    y = make.Reshape(y, {part[0], part[1], part[3], g.groups, part[2], part[4], channels});
    y = make.Transpose(y, {0, 1, 4, 2, 5, 3, 6});
  }
  return make.Reshape(y, part);
}

mlir::Value SideBySide(const std::vector<mlir::Value>& parts, int64_t axis, OpMaker make) {
  return parts.size() == 1 ? parts[0] : make.Make("concat", parts, make.Int("axis", axis));
}

// A null value where it cannot be done, or only with too many parts: sizes must be known.
mlir::Value ByPhases(const Geometry& g, OpMaker make) {
  std::array<int64_t, 2> sizes;
  std::vector<Phases> phases[2];
  for (size_t i = 0; i < 2; ++i) {
    if (!g.image[i + 1].IsConstant() || !g.out[i + 1].IsConstant() || !g.window[i].IsConstant()) {
      return {};
    }
    const int64_t padded = *g.image[i + 1].Constant() + g.padding[2 * i] + g.padding[2 * i + 1];
    sizes[i] = (padded + g.strides[i] - 1) / g.strides[i];
    phases[i] = PhasesOf(g.strides[i], g.dilations[i], *g.window[i].Constant(),
                         *g.out[i + 1].Constant(), sizes[i]);
    if (phases[i].empty()) return {};
  }
  if (phases[0].size() * phases[1].size() > kMaxParts) return {};
  std::vector<mlir::Value> lines;
  for (const Phases& down : phases[0]) {
    std::vector<mlir::Value> parts;
    if (down.taps == 0) {
      lines.push_back(PartOf(g, sizes, down, {g.strides[1]}, make));
      continue;
    }
    for (const Phases& across : phases[1]) parts.push_back(PartOf(g, sizes, down, across, make));
    lines.push_back(SideBySide(parts, 4, make));
  }
  const Shape padded = {g.image[0], sizes[0] * g.strides[0], sizes[1] * g.strides[1], g.image[3]};
  mlir::Value dx = make.Reshape(SideBySide(lines, 2, make), padded);
  if (padded == g.image) return dx;
  const Shape starts = {0, g.padding[0], g.padding[2], 0};
  Shape limits = g.image;
  for (size_t i = 1; i < 3; ++i) limits[i] = g.image[i] + starts[i];
  return make.Make(
      "slice", dx,
      {make.Dims("starts", starts), make.Dims("limits", limits), make.Ints("steps", {1, 1, 1, 1})});
}

// With strides, the zeros that they leave between the gradient's elements are multiplied as well.
absl::StatusOr<mlir::Value> BySpreading(mlir::Operation* op, const Geometry& g, OpMaker make) {
  // The gradient of the padded image, of which the padding is cut off: where possible by padding
  // the gradient less.
  Shape low = {0, 0, 0, 0}, high = {0, 0, 0, 0}, cut_low = low, cut_high = g.image;
  for (size_t i = 0; i < 2; ++i) {
    const DimExpr reach = DimExpr(g.dilations[i]) * (g.window[i] - DimExpr(1));
    const DimExpr spread = (g.out[i + 1] - DimExpr(1)) * DimExpr(g.strides[i]) + DimExpr(1);
    const int64_t before = g.padding[2 * i], after = g.padding[2 * i + 1];
    const std::optional<int64_t> room = reach.LowerBound();
    if (!room || *room < 0) {
      return absl::InvalidArgumentError(absl::StrCat(
          "conv2d_input_grad: expected a filter whose height and width are known to be >= 1, got ",
          ToString(g.window), ", at ", ir::Describe(op->getLoc()),
          "; declare an open size as one that cannot be 0, such as ", g.window[i].Text(), "+1"));
    }
    low[i + 1] = reach;
    // The padded image without what the spread-out gradient covers.
    high[i + 1] = g.image[i + 1] + DimExpr(before + after) - spread;
    if (before <= *room && after <= *room) {
      low[i + 1] = reach - DimExpr(before);
      high[i + 1] = high[i + 1] - DimExpr(after);
    } else {
      cut_low[i + 1] = before;
      cut_high[i + 1] = g.image[i + 1] + DimExpr(before);
    }
  }
  mlir::Value spread = make.Pad(g.dy, 0, low, high, {0, g.strides[0] - 1, g.strides[1] - 1, 0});
  mlir::Value dx = make.Make("conv2d", {spread, TransposedFilter(g, make)},
                             {make.Ints("strides", {1, 1}), make.Ints("padding", {0, 0, 0, 0}),
                              make.Ints("dilations", g.dilations), make.Int("groups", g.groups)});
  if (ir::ShapeOf(dx) == g.image) return dx;
  return make.Make("slice", dx,
                   {make.Dims("starts", cut_low), make.Dims("limits", cut_high),
                    make.Ints("steps", {1, 1, 1, 1})});
}

}  // namespace

absl::StatusOr<mlir::Value> DecomposeConvInputGrad(mlir::Operation* op, OpMaker make) {
  Geometry g(op);
  // Without windows or places in them, which sizes given to open dimensions may leave.
  if (NumElements(g.out) == DimExpr(0) || NumElements(g.window) == DimExpr(0)) {
    return make.Full(ir::DataTypeOf(g.dy), g.image, 0);
  }
  // One window is not moved: a stride beyond the image would only make zeros.
  for (size_t i = 0; i < 2; ++i) {
    const std::optional<int64_t> size = g.image[i + 1].Constant();
    if (!size || g.out[i + 1] != DimExpr(1)) continue;
    const int64_t padded = *size + g.padding[2 * i] + g.padding[2 * i + 1];
    g.strides[i] = std::clamp<int64_t>(padded, 1, g.strides[i]);
  }
  if (g.strides[0] > 1 || g.strides[1] > 1) {
    if (mlir::Value dx = ByPhases(g, make)) return dx;
  }
  return BySpreading(op, g, make);
}

}  // namespace weft
