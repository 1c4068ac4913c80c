#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "graph/ops/gradient_support.h"

namespace weft {
namespace {

// Convolution is linear in its images, its filters and (for the two gradient ops) dy: y = conv(x,
// f), so each op's gradients are the other two. The attributes that all three share:
struct Convolution {
  explicit Convolution(const Attributes& a)
      : strides(a.Ints("strides")),
        padding(a.Ints("padding")),
        dilations(a.Ints("dilations")),
        groups(a.Int("groups")) {}
  Tensor Output(Tensor x, Tensor filter) const {
    return Conv2D(x, filter, strides, padding, dilations, groups);
  }
  Tensor Images(Tensor dy, Tensor filter, const Shape& shape) const {
    return Conv2DInputGrad(dy, filter, shape, strides, padding, dilations, groups);
  }
  Tensor Filters(Tensor x, Tensor dy, const std::vector<int64_t>& size) const {
    return Conv2DFilterGrad(x, dy, size, strides, padding, dilations, groups);
  }
  std::vector<int64_t> strides, padding, dilations;
  int64_t groups;
};

absl::StatusOr<std::vector<int64_t>> FilterSize(Tensor filter) {
  const std::optional<int64_t> h = filter.dim(0).Constant(), w = filter.dim(1).Constant();
  if (!h || !w) {
    return absl::InvalidArgumentError(
        absl::StrCat("the gradient of a convolution needs a filter of known size, got ",
                     ToString(filter.shape())));
  }
  return std::vector<int64_t>{*h, *w};
}

struct Pooling {
  explicit Pooling(const Attributes& a)
      : window(a.Ints("window")), strides(a.Ints("strides")), padding(a.Ints("padding")) {}
  std::vector<int64_t> window, strides, padding;
};

}  // namespace

absl::Status GradientConv2D(GradientContext& c) {
  const Convolution conv(c.attributes());
  Tensor x = c.operand(0), filter = c.operand(1);
  if (c.needs(0)) c.SetGradient(0, conv.Images(c.dy(0), filter, x.shape()));
  if (c.needs(1)) {
    absl::StatusOr<std::vector<int64_t>> size = FilterSize(filter);
    if (!size.ok()) return size.status();
    c.SetGradient(1, conv.Filters(x, c.dy(0), *size));
  }
  return absl::OkStatus();
}

absl::Status GradientConv2DInputGrad(GradientContext& c) {
  const Convolution conv(c.attributes());
  Tensor dy = c.operand(0), filter = c.operand(1), images = c.dy(0);
  if (c.needs(0)) c.SetGradient(0, conv.Output(images, filter));
  if (c.needs(1)) {
    absl::StatusOr<std::vector<int64_t>> size = FilterSize(filter);
    if (!size.ok()) return size.status();
    c.SetGradient(1, conv.Filters(images, dy, *size));
  }
  return absl::OkStatus();
}

absl::Status GradientConv2DFilterGrad(GradientContext& c) {
  const Convolution conv(c.attributes());
  Tensor x = c.operand(0), dy = c.operand(1), filter = c.dy(0);
  if (c.needs(0)) c.SetGradient(0, conv.Images(dy, filter, x.shape()));
  if (c.needs(1)) c.SetGradient(1, conv.Output(x, filter));
  return absl::OkStatus();
}

absl::Status GradientMaxPool(GradientContext& c) {
  const Pooling pool(c.attributes());
  if (c.needs(0) && c.dy(0).valid()) {
    c.SetGradient(0, MaxUnpool(c.dy(0), c.result(1), c.operand(0).shape(), pool.window,
                               pool.strides, pool.padding));
  }
  return absl::OkStatus();
}

absl::Status GradientMaxUnpool(GradientContext& c) {
  const Pooling pool(c.attributes());
  if (c.needs(0)) {
    c.SetGradient(0, MaxPoolAt(c.dy(0), c.operand(1), pool.window, pool.strides, pool.padding));
  }
  return absl::OkStatus();
}

absl::Status GradientMaxPoolAt(GradientContext& c) {
  const Pooling pool(c.attributes());
  if (c.needs(0)) {
    c.SetGradient(0, MaxUnpool(c.dy(0), c.operand(1), c.operand(0).shape(), pool.window,
                               pool.strides, pool.padding));
  }
  return absl::OkStatus();
}

absl::Status GradientAvgPool(GradientContext& c) {
  const Pooling pool(c.attributes());
  c.SetGradient(0, AvgPoolGrad(c.dy(0), c.operand(0).shape(), pool.window, pool.strides,
                               pool.padding, c.attributes().Bool("count_padding")));
  return absl::OkStatus();
}

absl::Status GradientAvgPoolGrad(GradientContext& c) {
  const Pooling pool(c.attributes());
  c.SetGradient(0, AvgPool(c.dy(0), pool.window, pool.strides, pool.padding,
                           c.attributes().Bool("count_padding")));
  return absl::OkStatus();
}

}  // namespace weft
