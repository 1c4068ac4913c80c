#include <algorithm>
#include <limits>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "graph/reference/index.h"
#include "graph/reference/kernels.h"
#include "graph/reference/scalar.h"

namespace weft::reference {
namespace {

// One image dimension (0 is height, 1 width) of a convolution or pooling.
struct Axis {
  int64_t image, window, stride, padding, dilation, output;
  // Where in the image element k of output o's window lies; outside [0, image) it is padding.
  int64_t At(int64_t o, int64_t k) const { return o * stride + k * dilation - padding; }
  bool Inside(int64_t at) const { return at >= 0 && at < image; }
};

Axis MakeAxis(int axis, int64_t image, int64_t size, const Window& window) {
  Axis a{image, size, window.strides[axis], window.padding[2 * axis], window.dilations[axis], 0};
  const int64_t padded = image + window.padding[2 * axis] + window.padding[2 * axis + 1];
  const int64_t room = padded - a.dilation * (size - 1) - 1;
  a.output = room < 0 ? 0 : room / a.stride + 1;
  return a;
}

// The image offset of a place in the padding.
constexpr int64_t kPadding = -1;

// Calls f(image offset, window place, output offset) for every pair of an output and an image
// element in its window, over [n, h, w] alone: offsets count pixels, not channels. With `padding`,
// for places in the padding as well.
template <typename F>
void ForEachPair(int64_t batch, const Axis& h, const Axis& w, F&& f, bool padding = false) {
  for (int64_t n = 0; n < batch; ++n) {
    for (int64_t oh = 0; oh < h.output; ++oh) {
      for (int64_t ow = 0; ow < w.output; ++ow) {
        const int64_t output = (n * h.output + oh) * w.output + ow;
        for (int64_t kh = 0; kh < h.window; ++kh) {
          const bool row_inside = h.Inside(h.At(oh, kh));
          if (!row_inside && !padding) continue;
          for (int64_t kw = 0; kw < w.window; ++kw) {
            const bool inside = row_inside && w.Inside(w.At(ow, kw));
            if (!inside && !padding) continue;
            const int64_t image = (n * h.image + h.At(oh, kh)) * w.image + w.At(ow, kw);
            f(inside ? image : kPadding, kh * w.window + kw, output);
          }
        }
      }
    }
  }
}

absl::Status WrongSize(const HostTensor& given, int64_t h, int64_t w) {
  return absl::InvalidArgumentError(
      absl::StrCat("expected ", h, " x ", w, " pixels from the window, got ", given.TypeString()));
}

// The sum over all pairs and channels of a convolution: y = sum x * filter, of which each of the
// three ops computes one from the two others. Padding is zeros, which are multiplied like any other
// element; the image's gradient has none.
enum class Which { kOutput, kImage, kFilter };

template <typename T>
void Convolve(Which which, int64_t batch, const Axis& h, const Axis& w, int64_t channels,
              int64_t outs, int64_t groups, const T* x, const T* filter, const T* y,
              std::vector<double>& total) {
  const int64_t group_channels = channels / groups, group_outs = outs / groups;
  auto add = [&](int64_t image, int64_t place, int64_t output) {
    for (int64_t g = 0; g < groups; ++g) {
      for (int64_t c = 0; c < group_channels; ++c) {
        const int64_t x_at = image * channels + g * group_channels + c;
        const auto element = [&] {
          return image == kPadding ? LoadForSum(T()) : LoadForSum(x[x_at]);
        };
        const int64_t filter_row = (place * group_channels + c) * outs + g * group_outs;
        const int64_t y_row = output * outs + g * group_outs;
        for (int64_t o = 0; o < group_outs; ++o) {
          switch (which) {
            case Which::kOutput:
              total[y_row + o] += element() * LoadForSum(filter[filter_row + o]);
              break;
            case Which::kImage:
              total[x_at] += LoadForSum(y[y_row + o]) * LoadForSum(filter[filter_row + o]);
              break;
            case Which::kFilter:
              total[filter_row + o] += element() * LoadForSum(y[y_row + o]);
              break;
          }
        }
      }
    }
  };
  ForEachPair(batch, h, w, add, which != Which::kImage);
}

absl::StatusOr<HostTensor> RunConvolution(Which which, const HostTensor* x,
                                          const HostTensor* filter, const HostTensor* y,
                                          Sizes image_shape, Sizes filter_shape,
                                          const Window& window, int64_t groups) {
  const Axis h = MakeAxis(0, image_shape[1], filter_shape[0], window);
  const Axis w = MakeAxis(1, image_shape[2], filter_shape[1], window);
  const int64_t batch = image_shape[0], channels = image_shape[3], outs = filter_shape[3];
  const std::vector<int64_t> output_shape = {batch, h.output, w.output, outs};
  if (y != nullptr && y->shape() != output_shape) return WrongSize(*y, h.output, w.output);
  const HostTensor& operand = x != nullptr ? *x : *y;
  const Sizes result_shape = which == Which::kOutput  ? Sizes(output_shape)
                             : which == Which::kImage ? image_shape
                                                      : filter_shape;
  absl::StatusOr<HostTensor> result = HostTensor::Create(operand.dtype(), result_shape);
  if (!result.ok()) return result;
  WithType(operand.dtype(), [&](auto type) {
    using T = decltype(type);
    if constexpr (kIsFloat<T>) {
      std::vector<double> total(result->num_elements(), 0);
      auto data = [](const HostTensor* t) { return t ? t->values<T>().data() : nullptr; };
      Convolve<T>(which, batch, h, w, channels, outs, groups, data(x), data(filter), data(y),
                  total);
      absl::Span<T> out = result->mutable_values<T>();
      for (size_t i = 0; i < out.size(); ++i) out[i] = Store<T>(total[i]);
    }
  });
  return result;
}

// Sums contributions to a tensor in double and rounds once. f(total) fills them.
template <typename F>
absl::StatusOr<HostTensor> Accumulate(DataType dtype, Sizes shape, F&& f) {
  absl::StatusOr<HostTensor> y = HostTensor::Create(dtype, shape);
  if (!y.ok()) return y;
  std::vector<double> total(y->num_elements(), 0);
  f(total);
  WithType(dtype, [&](auto type) {
    using T = decltype(type);
    absl::Span<T> out = y->mutable_values<T>();
    for (size_t i = 0; i < out.size(); ++i) out[i] = Store<T>(total[i]);
  });
  return y;
}

template <typename T>
double ElementAt(const HostTensor& x, int64_t i) {
  return LoadForSum(x.values<T>()[i]);
}

double ElementOf(const HostTensor& x, int64_t i) {
  return WithType(x.dtype(), [&](auto type) -> double {
    return static_cast<double>(ElementAt<decltype(type)>(x, i));
  });
}

// How many elements each output's mean is over.
std::vector<double> WindowCounts(int64_t batch, const Axis& h, const Axis& w, bool count_padding) {
  std::vector<double> counts(batch * h.output * w.output,
                             count_padding ? static_cast<double>(h.window * w.window) : 0.0);
  if (!count_padding) {
    ForEachPair(batch, h, w, [&](int64_t, int64_t, int64_t output) { counts[output] += 1; });
  }
  return counts;
}

}  // namespace

absl::StatusOr<HostTensor> Conv2D(const HostTensor& x, const HostTensor& filter,
                                  const Window& window, int64_t groups) {
  return RunConvolution(Which::kOutput, &x, &filter, nullptr, x.shape(), filter.shape(), window,
                        groups);
}

absl::StatusOr<HostTensor> Conv2DInputGrad(const HostTensor& dy, const HostTensor& filter,
                                           Sizes image_shape, const Window& window,
                                           int64_t groups) {
  return RunConvolution(Which::kImage, nullptr, &filter, &dy, image_shape, filter.shape(), window,
                        groups);
}

absl::StatusOr<HostTensor> Conv2DFilterGrad(const HostTensor& x, const HostTensor& dy,
                                            Sizes filter_size, const Window& window,
                                            int64_t groups) {
  const std::vector<int64_t> filter_shape = {filter_size[0], filter_size[1], x.shape()[3] / groups,
                                             dy.shape()[3]};
  return RunConvolution(Which::kFilter, &x, nullptr, &dy, x.shape(), filter_shape, window, groups);
}

absl::StatusOr<std::pair<HostTensor, HostTensor>> MaxPool(const HostTensor& x, Sizes size,
                                                          const Window& window) {
  const Axis h = MakeAxis(0, x.shape()[1], size[0], window);
  const Axis w = MakeAxis(1, x.shape()[2], size[1], window);
  const int64_t batch = x.shape()[0], channels = x.shape()[3];
  const std::vector<int64_t> shape = {batch, h.output, w.output, channels};
  absl::StatusOr<HostTensor> y = HostTensor::Create(x.dtype(), shape);
  absl::StatusOr<HostTensor> index = HostTensor::Create(DataType::kI32, shape);
  if (!y.ok()) return y.status();
  if (!index.ok()) return index.status();
  absl::Span<int32_t> places = index->mutable_values<int32_t>();
  WithType(x.dtype(), [&](auto type) {
    using T = decltype(type);
    absl::Span<const T> in = x.values<T>();
    absl::Span<T> out = y->mutable_values<T>();
    std::vector<bool> seen(out.size(), false);
    std::fill(out.begin(), out.end(), Store<T>(-std::numeric_limits<double>::infinity()));
    ForEachPair(batch, h, w, [&](int64_t image, int64_t place, int64_t output) {
      for (int64_t c = 0; c < channels; ++c) {
        const T value = in[image * channels + c];
        const int64_t at = output * channels + c;
        const auto best = Load(out[at]), candidate = Load(value);
        if (!seen[at] || (best == best && (candidate != candidate || candidate > best))) {
          seen[at] = true;
          out[at] = value;
          places[at] = static_cast<int32_t>(place);
        }
      }
    });
  });
  return std::make_pair(*std::move(y), *std::move(index));
}

absl::StatusOr<HostTensor> MaxUnpool(const HostTensor& dy, const HostTensor& index,
                                     Sizes image_shape, Sizes size, const Window& window) {
  const Axis h = MakeAxis(0, image_shape[1], size[0], window);
  const Axis w = MakeAxis(1, image_shape[2], size[1], window);
  const int64_t channels = image_shape[3];
  const std::vector<int64_t> shape = {image_shape[0], h.output, w.output, channels};
  if (dy.shape() != shape || index.shape() != shape) return WrongSize(dy, h.output, w.output);
  absl::Span<const int32_t> places = index.values<int32_t>();
  return Accumulate(dy.dtype(), image_shape, [&](std::vector<double>& total) {
    ForEachPair(image_shape[0], h, w, [&](int64_t image, int64_t place, int64_t output) {
      for (int64_t c = 0; c < channels; ++c) {
        const int64_t at = output * channels + c;
        if (places[at] == place) total[image * channels + c] += ElementOf(dy, at);
      }
    });
  });
}

absl::StatusOr<HostTensor> MaxPoolAt(const HostTensor& x, const HostTensor& index, Sizes size,
                                     const Window& window) {
  const Axis h = MakeAxis(0, x.shape()[1], size[0], window);
  const Axis w = MakeAxis(1, x.shape()[2], size[1], window);
  const int64_t batch = x.shape()[0], channels = x.shape()[3];
  const std::vector<int64_t> shape = {batch, h.output, w.output, channels};
  if (index.shape() != shape) return WrongSize(index, h.output, w.output);
  absl::Span<const int32_t> places = index.values<int32_t>();
  return Accumulate(x.dtype(), shape, [&](std::vector<double>& total) {
    ForEachPair(batch, h, w, [&](int64_t image, int64_t place, int64_t output) {
      for (int64_t c = 0; c < channels; ++c) {
        const int64_t at = output * channels + c;
        if (places[at] == place) total[at] = ElementOf(x, image * channels + c);
      }
    });
  });
}

absl::StatusOr<HostTensor> AvgPool(const HostTensor& x, Sizes size, const Window& window,
                                   bool count_padding) {
  const Axis h = MakeAxis(0, x.shape()[1], size[0], window);
  const Axis w = MakeAxis(1, x.shape()[2], size[1], window);
  const int64_t batch = x.shape()[0], channels = x.shape()[3];
  const std::vector<double> counts = WindowCounts(batch, h, w, count_padding);
  return Accumulate(x.dtype(), {batch, h.output, w.output, channels},
                    [&](std::vector<double>& total) {
                      ForEachPair(batch, h, w, [&](int64_t image, int64_t, int64_t output) {
                        for (int64_t c = 0; c < channels; ++c) {
                          total[output * channels + c] += ElementOf(x, image * channels + c);
                        }
                      });
                      for (size_t i = 0; i < total.size(); ++i) {
                        const double count = counts[i / channels];
                        if (count > 0) total[i] /= count;
                      }
                    });
}

absl::StatusOr<HostTensor> AvgPoolGrad(const HostTensor& dy, Sizes image_shape, Sizes size,
                                       const Window& window, bool count_padding) {
  const Axis h = MakeAxis(0, image_shape[1], size[0], window);
  const Axis w = MakeAxis(1, image_shape[2], size[1], window);
  const int64_t batch = image_shape[0], channels = image_shape[3];
  const std::vector<int64_t> shape = {batch, h.output, w.output, channels};
  if (dy.shape() != shape) return WrongSize(dy, h.output, w.output);
  const std::vector<double> counts = WindowCounts(batch, h, w, count_padding);
  return Accumulate(dy.dtype(), image_shape, [&](std::vector<double>& total) {
    ForEachPair(batch, h, w, [&](int64_t image, int64_t, int64_t output) {
      for (int64_t c = 0; c < channels; ++c) {
        total[image * channels + c] += ElementOf(dy, output * channels + c) / counts[output];
      }
    });
  });
}

}  // namespace weft::reference
