// Convolution and pooling: images are [n, h, w, c], filters [kh, kw, c / groups, out]. `strides` and `dilations` are [h, w]; `padding` is [top, bottom, left,
// right]. Output size: floor((in + padding - dilation * (k - 1) - 1) / stride) + 1, and 0 where that is negative.
// A convolution's padding is zeros, which are multiplied like any other element: an infinity or NaN that meets them gives NaN. conv2d_input_grad leaves open
// whether a filter's element that is infinite or NaN meets a zero, and gives NaN, where it meets no element of dy: near the border, and between strides.
#ifndef WEFT_GRAPH_OPS_CONVOLUTION_TD
#define WEFT_GRAPH_OPS_CONVOLUTION_TD
include "graph/ir/base.td"

defvar ConvConstraints = ["C1: x, filter (and dy) have rank 4 and one dtype", "C2: strides and dilations are two numbers in [1, 2^30], padding four in [0, 2^30], and the filter's height and width are >= 1 where declared",
  "C3: the filter's channels times groups are the image's", "C4: groups divides the output channels", "C5: the output's height and width are not known to be 0 where declared"];
defvar ConvGradConstraints = !listconcat(ConvConstraints, ["C6: dy has the shape of the convolution's output"]);
class Weft_Conv<string mnemonic> : Weft_Op<mnemonic, "convolution", [Pure]> {
  let results = (outs Weft_Tensor:$y);
  let dtypes = Floats;
  let gradient = GradientFunction;
  let constraints = ConvConstraints;
  let test = Weft_Test<"-1", "1", 64, "4">;
}
def Weft_Conv2DOp : Weft_Conv<"conv2d"> {
  let summary = "Convolution (cross-correlation) of images with filters.";
  let arguments = (ins Weft_Tensor:$x, Weft_Tensor:$filter, DenseI64ArrayAttr:$strides, DenseI64ArrayAttr:$padding, DenseI64ArrayAttr:$dilations,
                       DefaultValuedAttr<I64Attr, "1">:$groups);
}
def Weft_Conv2DInputGradOp : Weft_Conv<"conv2d_input_grad"> {
  let summary = "Gradient of conv2d for its images: a transposed convolution. `image_shape` is that of the images.";
  let arguments = (ins Weft_Tensor:$dy, Weft_Tensor:$filter, Weft_Dims:$image_shape, DenseI64ArrayAttr:$strides, DenseI64ArrayAttr:$padding,
                       DenseI64ArrayAttr:$dilations, DefaultValuedAttr<I64Attr, "1">:$groups);
  let constraints = ConvGradConstraints;
}
def Weft_Conv2DFilterGradOp : Weft_Conv<"conv2d_filter_grad"> {
  let summary = "Gradient of conv2d for its filters. `filter_size` is [kh, kw].";
  let arguments = (ins Weft_Tensor:$x, Weft_Tensor:$dy, DenseI64ArrayAttr:$filter_size, DenseI64ArrayAttr:$strides, DenseI64ArrayAttr:$padding,
                       DenseI64ArrayAttr:$dilations, DefaultValuedAttr<I64Attr, "1">:$groups);
  let constraints = ConvGradConstraints;
}

defvar PoolConstraints = ["C1: x has rank 4", "C2: window and strides are two numbers in [1, 2^30], padding four >= 0 and smaller than the window, which has less than 2^31 places",
  "C3: the output's height and width are not known to be 0 where declared"];
defvar PoolGradConstraints = !listconcat(PoolConstraints, ["C4: dy and index have the shape of the windows, and index is i32"]);
class Weft_Pool<string mnemonic> : Weft_Op<mnemonic, "convolution", [Pure]> {
  let dtypes = Floats;
  let gradient = GradientFunction;
  let constraints = PoolConstraints;
}
def Weft_MaxPoolOp : Weft_Pool<"max_pool"> {
  let infer = "InferPool";
  let summary = "Largest element of each window, and where in the window (i32, row * window width + column) the first of them is. Padding is never chosen; NaN is. Images without pixels have windows of padding alone: -inf at 0.";
  let arguments = (ins Weft_Tensor:$x, DenseI64ArrayAttr:$window, DenseI64ArrayAttr:$strides, DenseI64ArrayAttr:$padding);
  let results = (outs Weft_Tensor:$y, Weft_Tensor:$index);
}
def Weft_MaxUnpoolOp : Weft_Pool<"max_unpool"> {
  let infer = "InferPoolGrad";
  let summary = "Adds each element of dy to the place that max_pool's index names: the gradient of max_pool. `image_shape` is that of the images.";
  let arguments = (ins Weft_Tensor:$dy, Weft_Tensor:$index, Weft_Dims:$image_shape, DenseI64ArrayAttr:$window, DenseI64ArrayAttr:$strides, DenseI64ArrayAttr:$padding);
  let results = (outs Weft_Tensor:$y);
  let constraints = PoolGradConstraints;
}
def Weft_MaxPoolAtOp : Weft_Pool<"max_pool_at"> {
  let summary = "Takes from each window the element that max_pool's index names: the gradient of max_unpool.";
  let arguments = (ins Weft_Tensor:$x, Weft_Tensor:$index, DenseI64ArrayAttr:$window, DenseI64ArrayAttr:$strides, DenseI64ArrayAttr:$padding);
  let results = (outs Weft_Tensor:$y);
  let constraints = PoolGradConstraints;
}
def Weft_AvgPoolOp : Weft_Pool<"avg_pool"> {
  let infer = "InferPool";
  let summary = "Mean of each window; padding is not counted unless count_padding. 0 of a window without pixels.";
  let arguments = (ins Weft_Tensor:$x, DenseI64ArrayAttr:$window, DenseI64ArrayAttr:$strides, DenseI64ArrayAttr:$padding, DefaultValuedAttr<BoolAttr, "false">:$count_padding);
  let results = (outs Weft_Tensor:$y);
  let test = Weft_Test<"-1", "1", 16, "1">;
}
def Weft_AvgPoolGradOp : Weft_Pool<"avg_pool_grad"> {
  let infer = "InferPoolGrad";
  let summary = "Gradient of avg_pool. `image_shape` is that of the images.";
  let arguments = (ins Weft_Tensor:$dy, Weft_Dims:$image_shape, DenseI64ArrayAttr:$window, DenseI64ArrayAttr:$strides, DenseI64ArrayAttr:$padding,
                       DefaultValuedAttr<BoolAttr, "false">:$count_padding);
  let results = (outs Weft_Tensor:$y);
  let constraints = PoolGradConstraints;
  let test = Weft_Test<"-1", "1", 16, "1">;
}

#endif
