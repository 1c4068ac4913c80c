#include <utility>
#include <vector>

#include "graph/ops/evaluate_support.h"

namespace weft {
namespace {

reference::Window ConvolutionWindow(const Attributes& a) {
  return {a.Ints("strides"), a.Ints("padding"), a.Ints("dilations")};
}

reference::Window PoolingWindow(const Attributes& a) {
  return {a.Ints("strides"), a.Ints("padding"), {1, 1}};
}

}  // namespace

absl::Status EvaluateConv2D(EvaluateContext& c) {
  return SetOnlyResult(
      c, reference::Conv2D(c.operand(0), c.operand(1), ConvolutionWindow(c.attributes()),
                           c.attributes().Int("groups")));
}

absl::Status EvaluateConv2DInputGrad(EvaluateContext& c) {
  absl::StatusOr<std::vector<int64_t>> image = c.ResultShape(0);
  if (!image.ok()) return image.status();
  return SetOnlyResult(c, reference::Conv2DInputGrad(c.operand(0), c.operand(1), *image,
                                                     ConvolutionWindow(c.attributes()),
                                                     c.attributes().Int("groups")));
}

absl::Status EvaluateConv2DFilterGrad(EvaluateContext& c) {
  return SetOnlyResult(c, reference::Conv2DFilterGrad(
                              c.operand(0), c.operand(1), c.attributes().Ints("filter_size"),
                              ConvolutionWindow(c.attributes()), c.attributes().Int("groups")));
}

absl::Status EvaluateMaxPool(EvaluateContext& c) {
  absl::StatusOr<std::pair<HostTensor, HostTensor>> results = reference::MaxPool(
      c.operand(0), c.attributes().Ints("window"), PoolingWindow(c.attributes()));
  if (!results.ok()) return results.status();
  c.SetResult(0, std::move(results->first));
  c.SetResult(1, std::move(results->second));
  return absl::OkStatus();
}

absl::Status EvaluateMaxUnpool(EvaluateContext& c) {
  absl::StatusOr<std::vector<int64_t>> image = c.ResultShape(0);
  if (!image.ok()) return image.status();
  return SetOnlyResult(
      c, reference::MaxUnpool(c.operand(0), c.operand(1), *image, c.attributes().Ints("window"),
                              PoolingWindow(c.attributes())));
}

absl::Status EvaluateMaxPoolAt(EvaluateContext& c) {
  return SetOnlyResult(
      c, reference::MaxPoolAt(c.operand(0), c.operand(1), c.attributes().Ints("window"),
                              PoolingWindow(c.attributes())));
}

absl::Status EvaluateAvgPool(EvaluateContext& c) {
  return SetOnlyResult(
      c, reference::AvgPool(c.operand(0), c.attributes().Ints("window"),
                            PoolingWindow(c.attributes()), c.attributes().Bool("count_padding")));
}

absl::Status EvaluateAvgPoolGrad(EvaluateContext& c) {
  absl::StatusOr<std::vector<int64_t>> image = c.ResultShape(0);
  if (!image.ok()) return image.status();
  return SetOnlyResult(c, reference::AvgPoolGrad(
                              c.operand(0), *image, c.attributes().Ints("window"),
                              PoolingWindow(c.attributes()), c.attributes().Bool("count_padding")));
}

}  // namespace weft
