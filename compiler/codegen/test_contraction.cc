#include "compiler/codegen/test_contraction.h"

#include <map>
#include <random>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "compiler/codegen/test_fusion.h"
#include "graph/reference/kernels.h"
#include "gtest/gtest.h"

namespace weft {

std::string ArrayText(const Ints& values) {
  return absl::StrCat("array<i64: ", absl::StrJoin(values, ", "), ">");
}

const char* ElementText(DataType dtype) {
  switch (dtype) {
    case DataType::kF32:
      return "f32";
    case DataType::kF64:
      return "f64";
    case DataType::kF16:
      return "f16";
    case DataType::kBF16:
      return "bf16";
    case DataType::kI32:
      return "i32";
    default:
      return "i64";
  }
}

HostTensor RandomHalves(DataType dtype, const Ints& shape, int seed) {
  HostTensor tensor = *HostTensor::Create(dtype, shape);
  std::mt19937 engine(static_cast<unsigned>(seed));
  std::uniform_int_distribution<int> values(-4, 4);
  const bool whole = dtype == DataType::kI32 || dtype == DataType::kI64;
  WithType(dtype, [&](auto type) {
    using T = decltype(type);
    for (T& value : tensor.mutable_values<T>()) {
      value = whole ? T(values(engine)) : T(values(engine) * 0.5f);
    }
  });
  return tensor;
}

void ExpectEqual(const HostTensor& got, const HostTensor& want) {
  ASSERT_EQ(got.TypeString(), want.TypeString());
  WithType(want.dtype(), [&](auto type) {
    using T = decltype(type);
    for (int64_t i = 0; i < want.num_elements(); ++i) {
      ASSERT_EQ(static_cast<double>(got.values<T>()[i]), static_cast<double>(want.values<T>()[i]))
          << "element " << i << " of " << want.TypeString();
    }
  });
}

static const char* const kSymbols[] = {"", "a", "b", "c", "d"};
std::string TensorTypeText(const Ints& shape, const std::string& element) {
  std::string text = "tensor<";
  bool open = false;
  for (int64_t size : shape) {
    absl::StrAppend(&text, size < 0 ? "?" : absl::StrCat(size), "x");
    open |= size < 0;
  }
  absl::StrAppend(&text, element);
  if (open) {
    absl::StrAppend(&text, ", [",
                    absl::StrJoin(shape, ", ",
                                  [](std::string* out, int64_t size) {
                                    absl::StrAppend(out, "\"", size < 0 ? kSymbols[-size] : "",
                                                    "\"");
                                  }),
                    "]");
  }
  return text + ">";
}

std::string TargetName(int i) {
  return TestTargets()[static_cast<size_t>(i) % TestTargets().size()];
}

Ints Join(const Ints& batch, int64_t rows, int64_t columns, bool transpose) {
  Ints shape = batch;
  shape.push_back(transpose ? columns : rows);
  shape.push_back(transpose ? rows : columns);
  return shape;
}

static bool Has(const std::string& open, char c) { return open.find(c) != std::string::npos; }

std::string ProductBody(const Product& p, DataType dtype, const std::string& open) {
  const int64_t m = Has(open, 'm') ? -1 : p.m, n = Has(open, 'n') ? -2 : p.n;
  const int64_t k = Has(open, 'k') ? -3 : p.k;
  Ints batch = p.batch;
  if (Has(open, 'b')) batch[0] = -4;
  const std::string e = ElementText(dtype);
  const std::string ta = TensorTypeText(Join(batch, m, k, p.ta), e);
  const std::string tb = TensorTypeText(Join(p.shared ? Ints() : batch, k, n, p.tb), e);
  const std::string ty = TensorTypeText(Join(batch, m, n, false), e);
  return absl::StrCat("^bb0(%a: ", ta, ", %b: ", tb,
                      "):\n%y = \"weft.matmul\"(%a, %b) {transpose_a = ", p.ta ? "true" : "false",
                      ", transpose_b = ", p.tb ? "true" : "false", "} : (", ta, ", ", tb, ") -> ",
                      ty, "\n\"plan.yield\"(%y) : (", ty, ") -> ()");
}

void CheckProduct(const Product& p, DataType dtype, const std::string& target,
                  const std::string& open) {
  CheckProduct(p, dtype, *Target::Parse(target), open);
}

// As messages have it.
static std::string TextOf(const Target& target) {
  return absl::StrCat(target.name, target.tf32 ? " with tf32" : "");
}

void CheckProduct(const Product& p, DataType dtype, const Target& target, const std::string& open) {
  SCOPED_TRACE(absl::StrCat("batch [", absl::StrJoin(p.batch, ","), "] m ", p.m, " n ", p.n, " k ",
                            p.k, " ta ", p.ta, " tb ", p.tb, " shared ", p.shared, " ",
                            ElementText(dtype), " ", TextOf(target), " open ", open));
  const HostTensor a = RandomHalves(dtype, Join(p.batch, p.m, p.k, p.ta), 1);
  const HostTensor b = RandomHalves(dtype, Join(p.shared ? Ints() : p.batch, p.k, p.n, p.tb), 2);
  std::map<std::string, int64_t> symbols = {{"a", p.m}, {"b", p.n}, {"c", p.k}};
  if (!p.batch.empty()) symbols["d"] = p.batch[0];
  auto got = RunFusion("contraction", ProductBody(p, dtype, open), {a, b}, symbols, target);
  ASSERT_TRUE(got.ok()) << got.status();
  ExpectEqual((*got)[0], *reference::MatMul(a, b, p.ta, p.tb));
}

Ints OutputShape(const Conv& conv) {
  Ints out = {conv.image[0], 0, 0, conv.filter[3]};
  for (int i = 0; i < 2; ++i) {
    const int64_t reach = conv.dilations[i] * (conv.filter[i] - 1) + 1;
    const int64_t around = conv.padding[2 * i] + conv.padding[2 * i + 1];
    out[i + 1] = (conv.image[i + 1] + around - reach) / conv.strides[i] + 1;
  }
  return out;
}

std::string ConvAttributes(const Conv& conv) {
  return absl::StrCat(
      "strides = ", ArrayText(conv.strides), ", padding = ", ArrayText(conv.padding),
      ", dilations = ", ArrayText(conv.dilations), ", groups = ", conv.groups, " : i64");
}

// The image's and the result's, with the named sizes left open.
static std::string ImageText(const Conv& conv, DataType dtype, const std::string& open) {
  Ints shape = conv.image;
  for (size_t i = 0; i < 3; ++i) {
    if (Has(open, "nhw"[i])) shape[i] = -static_cast<int64_t>(i + 1);
  }
  return TensorTypeText(shape, ElementText(dtype));
}

static std::string OutputText(const Conv& conv, DataType dtype, const std::string& open) {
  const Ints shape = OutputShape(conv);
  std::vector<std::string> sizes, names;
  for (size_t i = 0; i < shape.size(); ++i) {
    const bool is_open = i < 3 && Has(open, "nhw"[i]);
    DimExpr size = is_open ? DimExpr::Symbol(kSymbols[i + 1]) : DimExpr(shape[i]);
    if (is_open && i > 0) {
      const int64_t reach = conv.dilations[i - 1] * (conv.filter[i - 1] - 1) + 1;
      size = size + DimExpr(conv.padding[2 * i - 2] + conv.padding[2 * i - 1] - reach);
      size = DimExpr::FloorDiv(size, conv.strides[i - 1]) + DimExpr(1);
      size = DimExpr::Max(size, 0);
    }
    sizes.push_back(is_open ? "?" : size.Text());
    names.push_back(absl::StrCat("\"", is_open ? size.Text() : "", "\""));
  }
  const std::string of = open.empty() ? "" : absl::StrCat(", [", absl::StrJoin(names, ", "), "]");
  return absl::StrCat("tensor<", absl::StrJoin(sizes, "x"), "x", ElementText(dtype), of, ">");
}

static std::map<std::string, int64_t> OpenSizes(const Conv& conv) {
  return {{"a", conv.image[0]}, {"b", conv.image[1]}, {"c", conv.image[2]}};
}

std::string ConvBody(const Conv& conv, DataType dtype, const std::string& open) {
  const std::string tx = ImageText(conv, dtype, open), ty = OutputText(conv, dtype, open);
  const std::string tf = TensorTypeText(conv.filter, ElementText(dtype));
  return absl::StrCat("^bb0(%x: ", tx, ", %f: ", tf, "):\n%y = \"weft.conv2d\"(%x, %f) {",
                      ConvAttributes(conv), "} : (", tx, ", ", tf, ") -> ", ty,
                      "\n\"plan.yield\"(%y) : (", ty, ") -> ()");
}

std::string FilterGradBody(const Conv& conv, DataType dtype, const std::string& open) {
  const std::string tx = ImageText(conv, dtype, open), ty = OutputText(conv, dtype, open);
  const std::string tf = TensorTypeText(conv.filter, ElementText(dtype));
  return absl::StrCat(
      "^bb0(%x: ", tx, ", %d: ", ty, "):\n%y = \"weft.conv2d_filter_grad\"(%x, %d) {filter_size = ",
      ArrayText({conv.filter[0], conv.filter[1]}), ", ", ConvAttributes(conv), "} : (", tx, ", ",
      ty, ") -> ", tf, "\n\"plan.yield\"(%y) : (", tf, ") -> ()");
}

void CheckConv(const Conv& conv, DataType dtype, const std::string& target,
               const std::string& open) {
  CheckConv(conv, dtype, *Target::Parse(target), open);
}

void CheckConv(const Conv& conv, DataType dtype, const Target& target, const std::string& open) {
  CheckConvForward(conv, dtype, target, open);
  CheckFilterGrad(conv, dtype, target, open);
}

static std::string Describe(const Conv& conv, DataType dtype, const Target& target,
                            const std::string& open) {
  return absl::StrCat("image [", absl::StrJoin(conv.image, ","), "] filter [",
                      absl::StrJoin(conv.filter, ","), "] ", ConvAttributes(conv), " ",
                      ElementText(dtype), " ", TextOf(target), " open ", open);
}

void CheckConvForward(const Conv& conv, DataType dtype, const Target& target,
                      const std::string& open) {
  SCOPED_TRACE(Describe(conv, dtype, target, open));
  const HostTensor x = RandomHalves(dtype, conv.image, 1), f = RandomHalves(dtype, conv.filter, 2);
  const reference::Window window{conv.strides, conv.padding, conv.dilations};
  const auto got =
      RunFusion("contraction", ConvBody(conv, dtype, open), {x, f}, OpenSizes(conv), target);
  ASSERT_TRUE(got.ok()) << got.status();
  ExpectEqual((*got)[0], *reference::Conv2D(x, f, window, conv.groups));
}

void CheckFilterGrad(const Conv& conv, DataType dtype, const Target& target,
                     const std::string& open) {
  SCOPED_TRACE(absl::StrCat("filter's gradient, ", Describe(conv, dtype, target, open)));
  const HostTensor x = RandomHalves(dtype, conv.image, 1);
  const HostTensor dy = RandomHalves(dtype, OutputShape(conv), 3);
  const reference::Window window{conv.strides, conv.padding, conv.dilations};
  const auto got =
      RunFusion("contraction", FilterGradBody(conv, dtype, open), {x, dy}, OpenSizes(conv), target);
  ASSERT_TRUE(got.ok()) << got.status();
  const Ints size = {conv.filter[0], conv.filter[1]};
  ExpectEqual((*got)[0], *reference::Conv2DFilterGrad(x, dy, size, window, conv.groups));
}

}  // namespace weft
