// For tests: matrix products and convolutions as kernels and by the reference, on values whose sums
// are exact.
#ifndef WEFT_COMPILER_CODEGEN_TEST_CONTRACTION_H_
#define WEFT_COMPILER_CODEGEN_TEST_CONTRACTION_H_

#include <cstdint>
#include <string>
#include <vector>

#include "compiler/codegen/target.h"
#include "proto/host_tensor.h"

namespace weft {

using Ints = std::vector<int64_t>;

// "array<i64: 1, 2>".
std::string ArrayText(const Ints& values);
const char* ElementText(DataType dtype);

// Small multiples of a half: sums are exact in f32, so equal means equal.
HostTensor RandomHalves(DataType dtype, const Ints& shape, int seed);
void ExpectEqual(const HostTensor& got, const HostTensor& want);

// "tensor<2x?xf32, ["", "a"]>"; a negative size is open dimension number -size of "", "a", "b",
// "c", "d".
std::string TensorTypeText(const Ints& shape, const std::string& element);

// One of TestTargets(), in turn.
std::string TargetName(int i);

struct Product {
  Ints batch;
  int64_t m, n, k;
  bool ta = false, tb = false, shared = false;
};

// The shape of an operand that has so many rows and columns.
Ints Join(const Ints& batch, int64_t rows, int64_t columns, bool transpose);

// The body of a fusion that is the product, with the named sizes (of "mnk" and batches "b") left
// open as a, b, c and d.
std::string ProductBody(const Product& p, DataType dtype, const std::string& open);

// Runs one product, with the named sizes left open.
void CheckProduct(const Product& p, DataType dtype, const Target& target,
                  const std::string& open = "");
void CheckProduct(const Product& p, DataType dtype, const std::string& target,
                  const std::string& open = "");

struct Conv {
  Ints image, filter;  // [n, h, w, c], [kh, kw, c / groups, o]
  Ints strides = {1, 1}, dilations = {1, 1};
  int64_t groups = 1;
  Ints padding = {0, 0, 0, 0};  // above, below, left, right
};

Ints OutputShape(const Conv& conv);
// Of weft.conv2d and its gradient.
std::string ConvAttributes(const Conv& conv);

// The body of a fusion that is the convolution, with the named sizes of the image (of "nhw") left
// open as a, b and c.
std::string ConvBody(const Conv& conv, DataType dtype, const std::string& open);
// Of its filter's gradient: the image, and the gradient of the result.
std::string FilterGradBody(const Conv& conv, DataType dtype, const std::string& open);

void CheckConvForward(const Conv& conv, DataType dtype, const Target& target,
                      const std::string& open);
void CheckFilterGrad(const Conv& conv, DataType dtype, const Target& target,
                     const std::string& open);
// Runs the convolution, and its filter's gradient.
void CheckConv(const Conv& conv, DataType dtype, const Target& target, const std::string& open);
void CheckConv(const Conv& conv, DataType dtype, const std::string& target,
               const std::string& open);

}  // namespace weft

#endif  // WEFT_COMPILER_CODEGEN_TEST_CONTRACTION_H_
