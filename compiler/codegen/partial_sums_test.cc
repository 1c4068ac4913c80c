// Sums of parts of a product's depth (plan.partial_sums) on a GPU: each part is the product of its
// own steps, with operands of either way, on each kind of instruction.
#include <array>
#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "compiler/codegen/test_contraction.h"
#include "compiler/codegen/test_fusion.h"
#include "gmock/gmock.h"
#include "graph/reference/kernels.h"
#include "gtest/gtest.h"

namespace weft {
namespace {

std::string PartsBody(const Product& p, DataType dtype, int64_t parts, int64_t steps) {
  const bool narrow = dtype == DataType::kF16 || dtype == DataType::kBF16;
  const std::string e = ElementText(dtype), sum = narrow ? "f32" : e;
  const std::string ta = TensorTypeText(Join(p.batch, p.m, p.k, p.ta), e);
  const std::string tb = TensorTypeText(Join(p.shared ? Ints() : p.batch, p.k, p.n, p.tb), e);
  Ints shape = Join(p.batch, p.m, p.n, false);
  shape.insert(shape.begin(), parts);
  const std::string ty = TensorTypeText(shape, sum);
  return absl::StrCat(
      "^bb0(%a: ", ta, ", %b: ", tb, "):\n%y = \"plan.partial_sums\"(%a, %b) {",
      "contraction = \"matmul\", options = {transpose_a = ", p.ta ? "true" : "false",
      ", transpose_b = ", p.tb ? "true" : "false", "}, length = ", steps, " : i64} : (", ta, ", ",
      tb, ") -> ", ty, "\n\"plan.yield\"(%y) : (", ty, ") -> ()");
}

void CheckParts(const Product& p, int64_t steps, DataType dtype, const Target& target) {
  SCOPED_TRACE(absl::StrCat(p.batch.size(), " batches, m ", p.m, " n ", p.n, " k ", p.k, " ta ",
                            p.ta, " tb ", p.tb, " shared ", p.shared, ", ", steps, " steps, ",
                            ElementText(dtype), " ", target.name, target.tf32 ? " tf32" : ""));
  const int64_t parts = (p.k - 1) / steps + 1;
  const Ints a_shape = Join(p.batch, p.m, p.k, p.ta);
  const Ints b_shape = Join(p.shared ? Ints() : p.batch, p.k, p.n, p.tb);
  const auto got =
      RunFusion("contraction", PartsBody(p, dtype, parts, steps),
                {RandomHalves(dtype, a_shape, 1), RandomHalves(dtype, b_shape, 2)}, {}, target);
  ASSERT_TRUE(got.ok()) << got.status();
  // Of the same numbers in f32 (integers are the halves, doubled), with zeros where another part's
  // steps are.
  const double unit = IsFloat(dtype) ? 1 : 4;
  const HostTensor b = RandomHalves(DataType::kF32, b_shape, 2);
  for (int64_t part = 0; part < parts; ++part) {
    HostTensor a = RandomHalves(DataType::kF32, a_shape, 1);
    const int64_t inner = p.ta ? p.m : 1;
    for (int64_t i = 0; i < a.num_elements(); ++i) {
      if (i / inner % p.k / steps != part) a.mutable_values<float>()[i] = 0;
    }
    const HostTensor want = *reference::MatMul(a, b, p.ta, p.tb);
    const int64_t size = want.num_elements();
    ASSERT_EQ((*got)[0].num_elements(), parts * size);
    WithType((*got)[0].dtype(), [&](auto type) {
      using T = decltype(type);
      for (int64_t i = 0; i < size; ++i) {
        ASSERT_EQ(static_cast<double>((*got)[0].values<T>()[part * size + i]),
                  unit * static_cast<double>(want.values<float>()[i]))
            << "part " << part << " element " << i;
      }
    });
  }
}

// Whose last part is as long as others, shorter, and of one step; whose rows are aligned and not.
TEST(PartialSums, OfEachPart) {
  const DataType dtypes[] = {DataType::kF16, DataType::kBF16, DataType::kF32};
  const Target targets[] = {*Target::Parse("cuda:sm_70"), WithTf32("cuda:sm_80"),
                            WithOneMultiprocessor(WithTf32("cuda:sm_90a"))};
  int i = 0;
  for (const auto& [m, n, k] : {std::array<int64_t, 3>{32, 32, 256},
                                {40, 24, 200},
                                {17, 33, 129},
                                {70, 130, 320},
                                {1, 5, 77}}) {
    for (bool ta : {false, true}) {
      for (bool tb : {false, true}) {
        CheckParts({{}, m, n, k, ta, tb}, 64, dtypes[i % 3], targets[i / 2 % 3]);
        ++i;
      }
    }
    ++i;
  }
}

// Of operands that one thread brings, to blocks that take one tile after the other.
void CheckMappedParts(const Product& p, int64_t steps, DataType dtype, int64_t multiprocessors) {
  SCOPED_TRACE(absl::StrCat(multiprocessors, " multiprocessors"));
  Target target = *Target::Parse("cuda:sm_90a");
  target.multiprocessors = multiprocessors;
  TestFusion fusion(target);
  const int64_t parts = (p.k - 1) / steps + 1;
  const absl::Status compiled = fusion.TryText("contraction", PartsBody(p, dtype, parts, steps));
  ASSERT_TRUE(compiled.ok()) << compiled;
  EXPECT_EQ(fusion.spec().maps.size(), 2u);
  CheckParts(p, steps, dtype, target);
}

TEST(PartialSums, ByTensorMaps) {
  int i = 0;
  for (bool ta : {false, true}) {
    for (bool tb : {false, true}) {
      for (int64_t depth : {256, 328}) {
        CheckMappedParts({{}, 72, 136, depth, ta, tb}, i % 2 == 0 ? 64 : 128,
                         i % 3 == 0 ? DataType::kF16 : DataType::kBF16, 1 + i % 3);
        ++i;
      }
      CheckMappedParts({{3}, 40, 72, 200, ta, tb}, 64, DataType::kBF16, 2);
      CheckMappedParts({{2}, 40, 72, 136, ta, tb, true}, 128, DataType::kF16, 1);
    }
  }
  // A last part of one step.
  CheckMappedParts({{}, 72, 136, 129, true, false}, 64, DataType::kF16, 2);
}

// Parts of a convolution, or of its filter's gradient, whose windows one thread brings.
void CheckMappedConvolution(const Conv& conv, bool grad, int64_t steps, int64_t multiprocessors) {
  SCOPED_TRACE(absl::StrCat(ConvAttributes(conv), grad ? " gradient, " : ", ", steps, " steps"));
  const Ints out = OutputShape(conv);
  const int64_t columns = conv.filter[3];
  const int64_t depth =
      grad ? out[0] * out[1] * out[2] : conv.filter[0] * conv.filter[1] * conv.filter[2];
  const int64_t parts = (depth - 1) / steps + 1;
  Ints shape = grad ? conv.filter : out;
  shape.insert(shape.begin(), parts);
  const Ints right = grad ? out : conv.filter;
  const std::string tx = TensorTypeText(conv.image, "bf16"), tr = TensorTypeText(right, "bf16");
  const std::string ty = TensorTypeText(shape, "f32");
  const std::string size =
      grad ? absl::StrCat(", filter_size = ", ArrayText({conv.filter[0], conv.filter[1]})) : "";
  const std::string body = absl::StrCat(
      "^bb0(%x: ", tx, ", %r: ", tr, "):\n%y = \"plan.partial_sums\"(%x, %r) {contraction = \"",
      grad ? "conv2d_filter_grad" : "conv2d", "\", options = {", ConvAttributes(conv), size,
      "}, length = ", steps, " : i64} : (", tx, ", ", tr, ") -> ", ty, "\n\"plan.yield\"(%y) : (",
      ty, ") -> ()");
  Target target = *Target::Parse("cuda:sm_90a");
  target.multiprocessors = multiprocessors;
  TestFusion fusion(target);
  const absl::Status compiled = fusion.TryText("contraction", body);
  ASSERT_TRUE(compiled.ok()) << compiled;
  EXPECT_THAT(fusion.ptx(), testing::HasSubstr("im2col"));
  const DataType dtype = DataType::kBF16;
  const auto got =
      fusion.TryRun({RandomHalves(dtype, conv.image, 1), RandomHalves(dtype, right, 2)}, {});
  ASSERT_TRUE(got.ok()) << got.status();
  const HostTensor x = RandomHalves(DataType::kF32, conv.image, 1);
  const reference::Window window{conv.strides, conv.padding, conv.dilations};
  for (int64_t part = 0; part < parts; ++part) {
    HostTensor own = RandomHalves(DataType::kF32, right, 2);
    for (int64_t i = 0; i < own.num_elements(); ++i) {
      if (i / columns / steps != part) own.mutable_values<float>()[i] = 0;
    }
    const HostTensor want =
        grad ? *reference::Conv2DFilterGrad(x, own, {conv.filter[0], conv.filter[1]}, window, 1)
             : *reference::Conv2D(x, own, window, 1);
    for (int64_t i = 0; i < want.num_elements(); ++i) {
      ASSERT_EQ((*got)[0].values<float>()[part * want.num_elements() + i], want.values<float>()[i])
          << "part " << part << " element " << i;
    }
  }
}

TEST(PartialSums, OfWindowsByTensorMaps) {
  const Conv conv{{3, 7, 6, 64}, {3, 2, 64, 40}, {1, 2}, {1, 2}, 1, {1, 0, 2, 1}};
  CheckMappedConvolution(conv, /*grad=*/false, 64, 1);
  CheckMappedConvolution(conv, /*grad=*/false, 256, 2);
  CheckMappedConvolution(conv, /*grad=*/true, 64, 1);
  CheckMappedConvolution({{4, 9, 6, 64}, {2, 3, 64, 24}}, /*grad=*/true, 64, 2);
  CheckMappedConvolution({{1, 5, 6, 128}, {3, 3, 128, 72}}, /*grad=*/false, 128, 1);
}

TEST(PartialSums, OfBatches) {
  const Target target = WithTf32("cuda:sm_80");
  CheckParts({{3}, 12, 20, 150}, 64, DataType::kBF16, target);
  CheckParts({{2, 2}, 12, 20, 150, true, true}, 64, DataType::kF32, target);
  CheckParts({{3}, 12, 20, 150, false, false, true}, 64, DataType::kF16, target);
  CheckParts({{3}, 12, 20, 150, true, false, true}, 64, DataType::kBF16, target);
}

TEST(PartialSums, OfEveryDType) {
  const Target target = *Target::Parse("cuda:sm_80");
  for (const DataType dtype : {DataType::kF32, DataType::kF64, DataType::kF16, DataType::kBF16,
                               DataType::kI32, DataType::kI64}) {
    CheckParts({{}, 24, 20, 300, true}, 128, dtype, target);
  }
}

TEST(PartialSums, AreRefusedWhereTheyAreNone) {
  const Product p{{}, 8, 8, 256};
  const auto status = [&](const std::string& target, int64_t parts, int64_t steps = 64) {
    TestFusion fusion(target);
    return std::string(
        fusion.TryText("contraction", PartsBody(p, DataType::kF32, parts, steps)).message());
  };
  EXPECT_EQ(status("cuda:sm_80", 4), "");
  EXPECT_THAT(status("cuda:sm_80", 5), testing::HasSubstr("other parts than the depth takes"));
  EXPECT_THAT(status("cuda:sm_80", 3), testing::HasSubstr("other parts than the depth takes"));
  EXPECT_THAT(status("cuda:sm_80", 4, 65), testing::HasSubstr("multiples of 64 steps"));
  EXPECT_THAT(status("cpu:x86-64-v3", 4), testing::HasSubstr("parts of what has none"));
}

}  // namespace
}  // namespace weft
