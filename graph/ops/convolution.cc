#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "graph/ops/infer.h"

namespace weft {
namespace {

// Far beyond any image, and products of two fit.
constexpr int64_t kMaxExtent = int64_t{1} << 30;
// max_pool's index is i32.
constexpr int64_t kMaxPlaces = (int64_t{1} << 31) - 1;

std::string Text(const std::vector<int64_t>& values) {
  return absl::StrCat("[", absl::StrJoin(values, ", "), "]");
}

absl::Status CheckPair(const InferContext& c, int constraint, const char* name) {
  std::vector<int64_t> values = c.attributes().Ints(name);
  bool good = values.size() == 2;
  for (int64_t value : values) good &= value >= 1 && value <= kMaxExtent;
  if (good) return absl::OkStatus();
  return c.Error(constraint, absl::StrCat(name, " of two numbers in [1, ", kMaxExtent, "]"),
                 Text(values));
}

absl::Status CheckPadding(const InferContext& c, int constraint) {
  std::vector<int64_t> values = c.attributes().Ints("padding");
  bool good = values.size() == 4;
  for (int64_t value : values) good &= value >= 0 && value <= kMaxExtent;
  if (good) return absl::OkStatus();
  return c.Error(
      constraint,
      absl::StrCat("padding of four numbers in [0, ", kMaxExtent, "], [top, bottom, left, right]"),
      Text(values));
}

// How many windows fit along one dimension of an image.
DimExpr WindowCount(const DimExpr& size, int64_t padding_low, int64_t padding_high,
                    const DimExpr& window, int64_t dilation, int64_t stride) {
  DimExpr reach = (window - DimExpr(1)) * DimExpr(dilation) + DimExpr(1);
  DimExpr padded = size + DimExpr(padding_low) + DimExpr(padding_high);
  return NonNegative(DimExpr::FloorDiv(padded - reach, stride) + DimExpr(1));
}

absl::Status CheckWindowCount(const InferContext& c, int constraint, const DimExpr& count,
                              const DimExpr& size, const std::string& window) {
  if (!c.declares() || count != DimExpr(0)) return absl::OkStatus();
  return c.Error(constraint, absl::StrCat("an image with room for a window of ", window),
                 absl::StrCat("a size of ", size.Text(), " with padding ",
                              Text(c.attributes().Ints("padding"))));
}

// Checks C1 to C5; gives the shape of the convolution's output.
absl::StatusOr<Shape> ConvOutput(const InferContext& c, const Shape& image, const Shape& filter) {
  if (image.size() != 4 || filter.size() != 4) {
    return c.Error(1, "images [n, h, w, c] and filters [kh, kw, c / groups, out]",
                   ToString(image) + " and " + ToString(filter));
  }
  for (const char* name : {"strides", "dilations"}) {
    if (absl::Status s = CheckPair(c, 2, name); !s.ok()) return s;
  }
  if (absl::Status s = CheckPadding(c, 2); !s.ok()) return s;
  for (int i = 0; i < 2; ++i) {
    if (c.declares() && filter[i] == DimExpr(0)) {
      return c.Error(2, "a filter of height and width >= 1", ToString(filter));
    }
  }
  int64_t groups = c.attributes().Int("groups");
  if (groups < 1 || filter[2] * DimExpr(groups) != image[3]) {
    return c.Error(3, "filter channels times groups equal to image channels",
                   absl::StrCat(filter[2].Text(), " times ", groups, " and ", image[3].Text()));
  }
  if (!DimExpr::DivideExactly(filter[3], groups)) {
    return c.Error(4, "groups that divide the output channels",
                   absl::StrCat(groups, " groups and ", filter[3].Text(), " channels"));
  }
  std::vector<int64_t> strides = c.attributes().Ints("strides");
  std::vector<int64_t> padding = c.attributes().Ints("padding");
  std::vector<int64_t> dilations = c.attributes().Ints("dilations");
  Shape output = {image[0], 0, 0, filter[3]};
  for (int i = 0; i < 2; ++i) {
    output[1 + i] = WindowCount(image[1 + i], padding[2 * i], padding[2 * i + 1], filter[i],
                                dilations[i], strides[i]);
    absl::Status s =
        CheckWindowCount(c, 5, output[1 + i], image[1 + i],
                         absl::StrCat(filter[i].Text(), " (dilation ", dilations[i], ")"));
    if (!s.ok()) return s;
  }
  return output;
}

absl::Status CheckOutputShape(const InferContext& c, int constraint, const Shape& expected,
                              const Shape& got) {
  if (got == expected) return absl::OkStatus();
  return c.Error(constraint, "dy of shape " + ToString(expected), ToString(got));
}

// Checks C1 to C3; gives the shape of the pooled images.
absl::StatusOr<Shape> PoolOutput(const InferContext& c, const Shape& image) {
  if (image.size() != 4) return c.Error(1, "images [n, h, w, c]", ToString(image));
  for (const char* name : {"window", "strides"}) {
    if (absl::Status s = CheckPair(c, 2, name); !s.ok()) return s;
  }
  if (absl::Status s = CheckPadding(c, 2); !s.ok()) return s;
  std::vector<int64_t> window = c.attributes().Ints("window");
  std::vector<int64_t> strides = c.attributes().Ints("strides");
  std::vector<int64_t> padding = c.attributes().Ints("padding");
  if (window[0] * window[1] > kMaxPlaces) {
    return c.Error(2, absl::StrCat("a window of at most ", kMaxPlaces, " places"), Text(window));
  }
  Shape output = {image[0], 0, 0, image[3]};
  for (int i = 0; i < 2; ++i) {
    if (padding[2 * i] >= window[i] || padding[2 * i + 1] >= window[i]) {
      return c.Error(2, "padding smaller than the window",
                     absl::StrCat("padding ", Text(padding), " and window ", Text(window)));
    }
    output[1 + i] =
        WindowCount(image[1 + i], padding[2 * i], padding[2 * i + 1], window[i], 1, strides[i]);
    absl::Status s = CheckWindowCount(c, 3, output[1 + i], image[1 + i], absl::StrCat(window[i]));
    if (!s.ok()) return s;
  }
  return output;
}

// C4 of the pooling gradients, for the operands from 0 on, the second of which is an index.
absl::Status CheckWindows(const InferContext& c, int first, const Shape& windows) {
  for (int i = first; i < c.num_operands(); ++i) {
    if (c.shape(i) != windows) {
      return c.Error(4, "an operand of shape " + ToString(windows), c.operand(i).ToString());
    }
  }
  if (c.num_operands() > 1 && c.dtype(1) != DataType::kI32) {
    return c.Error(4, "an i32 index", c.operand(1).ToString());
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status InferConv2D(InferContext& c) {
  if (absl::Status s = c.CheckSameDType(1); !s.ok()) return s;
  absl::StatusOr<Shape> output = ConvOutput(c, c.shape(0), c.shape(1));
  if (!output.ok()) return output.status();
  c.AddResult(c.dtype(0), *std::move(output));
  return absl::OkStatus();
}

absl::Status InferConv2DInputGrad(InferContext& c) {
  if (absl::Status s = c.CheckSameDType(1); !s.ok()) return s;
  Shape image = c.attributes().Dims("image_shape");
  absl::StatusOr<Shape> output = ConvOutput(c, image, c.shape(1));
  if (!output.ok()) return output.status();
  if (absl::Status s = CheckOutputShape(c, 6, *output, c.shape(0)); !s.ok()) return s;
  c.AddResult(c.dtype(0), std::move(image));
  return absl::OkStatus();
}

absl::Status InferConv2DFilterGrad(InferContext& c) {
  if (absl::Status s = c.CheckSameDType(1); !s.ok()) return s;
  if (c.rank(0) != 4 || c.rank(1) != 4) {
    return c.Error(1, "images and dy of rank 4",
                   c.operand(0).ToString() + " and " + c.operand(1).ToString());
  }
  if (absl::Status s = CheckPair(c, 2, "filter_size"); !s.ok()) return s;
  std::vector<int64_t> size = c.attributes().Ints("filter_size");
  int64_t groups = c.attributes().Int("groups");
  std::optional<DimExpr> channels;
  if (groups >= 1) channels = DimExpr::DivideExactly(c.shape(0)[3], groups);
  if (!channels) {
    return c.Error(3, "groups that divide the image channels",
                   absl::StrCat(groups, " groups and ", c.shape(0)[3].Text(), " channels"));
  }
  Shape filter = {size[0], size[1], *channels, c.shape(1)[3]};
  absl::StatusOr<Shape> output = ConvOutput(c, c.shape(0), filter);
  if (!output.ok()) return output.status();
  if (absl::Status s = CheckOutputShape(c, 6, *output, c.shape(1)); !s.ok()) return s;
  c.AddResult(c.dtype(0), std::move(filter));
  return absl::OkStatus();
}

// Results: the windows' values and, for max_pool, where they were.
absl::Status InferPool(InferContext& c) {
  if (absl::Status s = c.CheckDType(0); !s.ok()) return s;
  absl::StatusOr<Shape> output = PoolOutput(c, c.shape(0));
  if (!output.ok()) return output.status();
  c.AddResult(c.dtype(0), *output);
  if (c.op().results.size() > 1) c.AddResult(DataType::kI32, *output);
  return absl::OkStatus();
}

// From windows, with an index for max_unpool, to the images.
absl::Status InferPoolGrad(InferContext& c) {
  if (absl::Status s = c.CheckDType(0); !s.ok()) return s;
  Shape image = c.attributes().Dims("image_shape");
  absl::StatusOr<Shape> windows = PoolOutput(c, image);
  if (!windows.ok()) return windows.status();
  if (absl::Status s = CheckWindows(c, 0, *windows); !s.ok()) return s;
  c.AddResult(c.dtype(0), std::move(image));
  return absl::OkStatus();
}

absl::Status InferMaxPoolAt(InferContext& c) {
  if (absl::Status s = c.CheckDType(0); !s.ok()) return s;
  absl::StatusOr<Shape> windows = PoolOutput(c, c.shape(0));
  if (!windows.ok()) return windows.status();
  if (absl::Status s = CheckWindows(c, 1, *windows); !s.ok()) return s;
  c.AddResult(c.dtype(0), *std::move(windows));
  return absl::OkStatus();
}

}  // namespace weft
