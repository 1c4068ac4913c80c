#include <algorithm>
#include <cmath>
#include <map>
#include <random>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "compiler/codegen/contraction_layout.h"
#include "compiler/codegen/test_contraction.h"
#include "compiler/codegen/test_fusion.h"
#include "graph/reference/kernels.h"
#include "gtest/gtest.h"

namespace weft {
namespace {

const DataType kDTypes[] = {DataType::kF32,  DataType::kF64, DataType::kF16,
                            DataType::kBF16, DataType::kI32, DataType::kI64};

TEST(Contraction, MatMulOfManySizes) {
  const Product products[] = {
      {{}, 1, 1, 1},     {{}, 1, 512, 300},  {{}, 2, 10, 77},    {{}, 7, 5, 3},
      {{}, 8, 48, 16},   {{}, 13, 33, 65},   {{}, 64, 64, 64},   {{}, 17, 100, 300},
      {{}, 97, 51, 400}, {{}, 350, 130, 23}, {{}, 29, 257, 600}, {{}, 0, 5, 7},
      {{}, 5, 0, 7},     {{}, 5, 7, 0},      {{}, 500, 16, 31},  {{}, 12, 32, 1},
      {{3}, 9, 17, 20},  {{2, 3}, 5, 40, 8}, {{0}, 3, 4, 5},     {{4}, 33, 1, 19},
  };
  int i = 0;
  for (const Product& p : products) CheckProduct(p, DataType::kF32, TargetName(i++));
  for (const Product& p : products) CheckProduct(p, DataType::kF32, TargetName(++i));
}

TEST(Contraction, MatMulOfEveryDType) {
  for (DataType dtype : kDTypes) {
    for (int i = 0; i < 2; ++i) {
      CheckProduct({{}, 19, 37, 150}, dtype, TargetName(i));
      CheckProduct({{}, 21, 1, 7}, dtype, TargetName(i));
      CheckProduct({{}, 5, 2, 9, true, false}, dtype, TargetName(i));
      CheckProduct({{2}, 6, 21, 11, true, true}, dtype, TargetName(i));
      CheckProduct({{}, 40, 64, 9, false, true}, dtype, TargetName(i), "m");
    }
  }
}

TEST(Contraction, MatMulOfTransposes) {
  int i = 0;
  for (bool ta : {false, true}) {
    for (bool tb : {false, true}) {
      CheckProduct({{}, 50, 70, 300, ta, tb}, DataType::kF32, TargetName(i++));
      CheckProduct({{}, 1, 33, 45, ta, tb}, DataType::kF32, TargetName(i++));
      CheckProduct({{3}, 16, 20, 33, ta, tb}, DataType::kF32, TargetName(i++));
      CheckProduct({{3}, 11, 13, 33, ta, tb, true}, DataType::kF32, TargetName(i++));
    }
  }
}

// Several blocks in every direction, the last of each not whole.
TEST(Contraction, ManyBlocks) {
  for (int i = 0; i < 2; ++i) {
    CheckProduct({{}, 1131, 67, 620}, DataType::kF32, TargetName(i));
    CheckProduct({{}, 1131, 67, 620}, DataType::kF32, TargetName(i), "m");
    CheckProduct({{}, 301, 530, 620, true}, DataType::kF32, TargetName(i));
    CheckProduct({{}, 107, 139, 620, true, true}, DataType::kF64, TargetName(i), "mnk");
    CheckProduct({{}, 5, 530, 1300}, DataType::kF32, TargetName(i));
    CheckProduct({{3}, 301, 70, 33, false, true}, DataType::kF32, TargetName(i), "b");
  }
}

TEST(Contraction, OpenSizes) {
  int i = 0;
  for (int64_t size : {0, 1, 2, 7, 30, 500}) {
    CheckProduct({{}, size, 30, 40}, DataType::kF32, TargetName(i++), "m");
    CheckProduct({{}, 30, size, 40}, DataType::kF32, TargetName(i++), "n");
    CheckProduct({{}, 30, 20, size}, DataType::kF32, TargetName(i++), "k");
    CheckProduct({{size}, 6, 9, 10}, DataType::kF32, TargetName(i++), "b");
    CheckProduct({{size}, 6, 9, 10, false, false, true}, DataType::kF32, TargetName(i++), "b");
    CheckProduct({{2}, size, 19, size, false, true}, DataType::kF32, TargetName(i++), "mk");
    CheckProduct({{}, 17, 35, size, true, false}, DataType::kF32, TargetName(i++), "kmn");
  }
}

// Rows that are open and turn out few, against a right operand in many pages; one block of columns,
// several that are done together, and a last panel that is not whole.
TEST(Contraction, FewOfOpenRows) {
  if (TestsGpu()) GTEST_SKIP() << "a GPU does nothing else for few rows";
  for (int64_t rows : {1, 5, 8, 11, 13, 47, 48}) {
    for (int i = 0; i < 2; ++i) {
      CheckProduct({{}, rows, 1152, 150}, DataType::kF32, TargetName(i), "m");
      CheckProduct({{}, rows, 1111, 600}, DataType::kF32, TargetName(i), "m");
    }
    CheckProduct({{}, rows, 2304, 1100}, DataType::kF32, TargetName(0), "m");
    CheckProduct({{}, rows, 2304, 333}, DataType::kF64, TargetName(0), "mk");
    CheckProduct({{3}, rows, 768, 100}, DataType::kF32, TargetName(0), "m");
    CheckProduct({{}, rows, 768, 100, true}, DataType::kF32, TargetName(0), "m");
    CheckProduct({{}, rows, 768, 100}, DataType::kBF16, TargetName(0), "m");
  }
}

// Passes over narrow rows of right would be the deepest; what they copy to scratch (a last panel
// that is not whole, strips of a transposed left) has to fit there.
TEST(Contraction, FewOfOpenRowsByNarrowMatrices) {
  if (TestsGpu()) GTEST_SKIP() << "a GPU does nothing else for few rows";
  for (int64_t rows : {1, 3, 8, 40}) {
    for (int i = 0; i < 2; ++i) {
      for (const auto& [columns, depth] : std::vector<std::pair<int64_t, int64_t>>{
               {100, 700}, {200, 700}, {65, 1024}, {33, 2048}, {49, 2048}, {65, 2048}}) {
        CheckProduct({{}, rows, columns, depth}, DataType::kF32, TargetName(i), "m");
      }
      CheckProduct({{}, rows, 31, 700}, DataType::kF64, TargetName(i), "m");
      CheckProduct({{}, rows, 96, 1024, true}, DataType::kF32, TargetName(i), "m");
      CheckProduct({{}, rows, 64, 2048, true}, DataType::kF32, TargetName(i), "m");
      CheckProduct({{2}, rows, 96, 2048, true}, DataType::kF64, TargetName(i), "m");
    }
  }
}

const Conv kConvs[] = {
    {{1, 6, 6, 3}, {3, 3, 3, 8}},
    {{2, 9, 7, 4}, {3, 2, 4, 20}, {2, 1}},
    {{1, 12, 11, 5}, {3, 3, 5, 33}, {1, 2}, {2, 3}},
    {{2, 5, 5, 70}, {1, 1, 70, 16}},
    {{2, 5, 6, 9}, {1, 1, 9, 7}, {2, 3}},
    {{1, 8, 8, 12}, {3, 3, 4, 18}, {1, 1}, {1, 1}, 3},
    {{2, 8, 7, 10}, {3, 3, 1, 10}, {1, 1}, {1, 1}, 10},
    {{1, 9, 9, 40}, {3, 2, 1, 40}, {2, 2}, {1, 2}, 40},
    {{1, 7, 7, 6}, {2, 2, 1, 12}, {1, 1}, {1, 1}, 6},
    {{1, 30, 30, 64}, {3, 3, 64, 64}},
    {{3, 20, 20, 1}, {5, 5, 1, 32}},
    {{0, 6, 6, 3}, {3, 3, 3, 8}},
    {{1, 18, 18, 256}, {3, 3, 256, 40}},
    {{2, 6, 7, 6}, {2, 3, 2, 3}, {1, 2}, {2, 1}, 3},
    {{1, 5, 5, 4}, {2, 2, 2, 4}, {1, 1}, {1, 1}, 2},
    {{2, 5, 5, 70}, {1, 1, 35, 36}, {1, 1}, {1, 1}, 2},
    {{2, 4, 5, 6}, {1, 1, 1, 6}, {1, 1}, {1, 1}, 6},
    {{3, 45, 23, 2}, {3, 3, 2, 70}, {2, 1}},
};

TEST(Contraction, Convolutions) {
  int i = 0;
  for (const Conv& conv : kConvs) {
    CheckConv(conv, DataType::kF32, TargetName(i), "");
    CheckConv(conv, DataType::kF32, TargetName(++i), "n");
  }
}

TEST(Contraction, ConvolutionsOfEveryDType) {
  for (DataType dtype : {DataType::kF64, DataType::kF16, DataType::kBF16}) {
    int i = 0;
    for (const Conv& conv : kConvs) {
      if (conv.filter[2] >= 64) continue;  // long in the reference
      CheckConv(conv, dtype, TargetName(i), "");
      CheckConv(conv, dtype, TargetName(++i), "n");
    }
  }
}

// The operand in panels, as plan.pack says: [batch, groups, panels, k, panel].
HostTensor Packed(const HostTensor& b, int64_t batch, int64_t k, int64_t columns, int64_t groups,
                  int64_t panel, bool transpose) {
  const int64_t panels = (columns + panel - 1) / panel;
  HostTensor packed = *HostTensor::Create(DataType::kF32, {batch, groups, panels, k, panel});
  float* out = packed.mutable_values<float>().data();
  const float* in = b.values<float>().data();
  for (int64_t g = 0; g < batch * groups; ++g) {
    for (int64_t p = 0; p < panels; ++p) {
      for (int64_t d = 0; d < k; ++d) {
        for (int64_t j = 0; j < panel; ++j) {
          const int64_t column = p * panel + j, all = columns * groups;
          const int64_t at = g % groups * columns + column;
          const float* matrix = in + g / groups * k * all;
          *out++ = column >= columns ? 0 : transpose ? matrix[at * k + d] : matrix[d * all + at];
        }
      }
    }
  }
  return packed;
}

// The width that the kernel asks for, found by asking for each.
absl::StatusOr<std::vector<HostTensor>> RunPacked(
    const std::function<std::string(int64_t panel)>& body,
    const std::function<std::vector<HostTensor>(int64_t panel)>& inputs,
    const std::string& target) {
  absl::Status last = absl::OkStatus();
  for (int64_t panel = 8; panel <= 256; panel += 8) {
    auto got = RunFusion("contraction", body(panel), inputs(panel), {}, target);
    if (got.ok()) return got;
    last = got.status();
  }
  return last;
}

TEST(Pack, PanelsAsTheirDefinitionSays) {
  if (TestsGpu()) GTEST_SKIP() << "panels are a CPU's";
  struct Case {
    Ints shape;
    int64_t batch, k, columns, groups, k_dims, panel;
    bool transpose;
  };
  int i = 0;
  for (const Case& c :
       {Case{{30, 70}, 1, 30, 70, 1, 1, 48, false}, Case{{70, 30}, 1, 30, 70, 1, 1, 24, true},
        Case{{2, 9, 20}, 2, 9, 20, 1, 1, 16, false}, Case{{2, 20, 9}, 2, 9, 20, 1, 1, 8, true},
        Case{{3, 2, 4, 18}, 1, 24, 6, 3, 3, 64, false},
        Case{{300, 16}, 1, 300, 16, 1, 1, 16, false}}) {
    const HostTensor x = RandomHalves(DataType::kF32, c.shape, 1);
    Ints shape;
    if (c.batch > 1) shape.push_back(c.batch);
    shape.insert(shape.end(), {c.groups, (c.columns + c.panel - 1) / c.panel, c.k, c.panel});
    const std::string tx = TensorTypeText(c.shape, "f32"), ty = TensorTypeText(shape, "f32");
    auto got =
        RunFusion("pack",
                  absl::StrCat("^bb0(%x: ", tx, "):\n%y = \"plan.pack\"(%x) {panel = ", c.panel,
                               " : i64, k_dims = ", c.k_dims, " : i64, groups = ", c.groups,
                               " : i64, transpose = ", c.transpose ? "true" : "false", "} : (", tx,
                               ") -> ", ty, "\n\"plan.yield\"(%y) : (", ty, ") -> ()"),
                  {x}, {}, TargetName(i++));
    ASSERT_TRUE(got.ok()) << got.status();
    ExpectEqual((*got)[0],
                Packed(x, c.batch, c.k, c.columns, c.groups, c.panel, c.transpose).Reshaped(shape));
  }
}

TEST(Contraction, PackedRightOperands) {
  if (TestsGpu()) GTEST_SKIP() << "panels are a CPU's";
  int i = 0;
  for (const Product& p :
       {Product{{}, 30, 70, 300}, Product{{}, 1, 70, 33}, Product{{}, 20, 45, 33, false, true},
        Product{{2}, 9, 20, 14, false, false}}) {
    const HostTensor a = RandomHalves(DataType::kF32, Join(p.batch, p.m, p.k, p.ta), 1);
    const HostTensor b = RandomHalves(DataType::kF32, Join(p.batch, p.k, p.n, p.tb), 2);
    const int64_t batch = p.batch.empty() ? 1 : p.batch[0];
    auto pack = [&](int64_t panel) {
      HostTensor packed = Packed(b, batch, p.k, p.n, 1, panel, p.tb);
      Ints shape = p.batch;
      shape.insert(shape.end(), {1, (p.n + panel - 1) / panel, p.k, panel});
      return packed.Reshaped(shape);
    };
    auto body = [&](int64_t panel) {
      const std::string ta = TensorTypeText(a.shape(), "f32"),
                        tb = TensorTypeText(b.shape(), "f32");
      const std::string tp = TensorTypeText(pack(panel).shape(), "f32");
      const std::string ty = TensorTypeText(Join(p.batch, p.m, p.n, false), "f32");
      return absl::StrCat(
          "^bb0(%a: ", ta, ", %p: ", tp, "):\n%b = \"plan.unpack\"(%p) {panel = ", panel,
          " : i64, k_dims = 1 : i64, groups = 1 : i64, transpose = ", p.tb ? "true" : "false",
          "} : (", tp, ") -> ", tb,
          "\n%y = \"weft.matmul\"(%a, %b) {transpose_b = ", p.tb ? "true" : "false", "} : (", ta,
          ", ", tb, ") -> ", ty, "\n\"plan.yield\"(%y) : (", ty, ") -> ()");
    };
    auto got = RunPacked(
        body, [&](int64_t panel) { return std::vector<HostTensor>{a, pack(panel)}; },
        TargetName(i++));
    ASSERT_TRUE(got.ok()) << got.status();
    ExpectEqual((*got)[0], *reference::MatMul(a, b, p.ta, p.tb));
  }
  for (const Conv& conv : {kConvs[0], kConvs[2], kConvs[5]}) {
    const HostTensor x = RandomHalves(DataType::kF32, conv.image, 1);
    const HostTensor f = RandomHalves(DataType::kF32, conv.filter, 2);
    const int64_t k = conv.filter[0] * conv.filter[1] * conv.filter[2];
    const int64_t columns = conv.filter[3] / conv.groups;
    auto pack = [&](int64_t panel) {
      return Packed(f, 1, k, columns, conv.groups, panel, false)
          .Reshaped({conv.groups, (columns + panel - 1) / panel, k, panel});
    };
    auto body = [&](int64_t panel) {
      const std::string tx = TensorTypeText(conv.image, "f32"),
                        tf = TensorTypeText(conv.filter, "f32");
      const std::string tp = TensorTypeText(pack(panel).shape(), "f32");
      const std::string ty = TensorTypeText(OutputShape(conv), "f32");
      return absl::StrCat(
          "^bb0(%x: ", tx, ", %p: ", tp, "):\n%f = \"plan.unpack\"(%p) {panel = ", panel,
          " : i64, k_dims = 3 : i64, groups = ", conv.groups, " : i64} : (", tp, ") -> ", tf,
          "\n%y = \"weft.conv2d\"(%x, %f) {", ConvAttributes(conv), "} : (", tx, ", ", tf, ") -> ",
          ty, "\n\"plan.yield\"(%y) : (", ty, ") -> ()");
    };
    auto got = RunPacked(
        body, [&](int64_t panel) { return std::vector<HostTensor>{x, pack(panel)}; },
        TargetName(i++));
    ASSERT_TRUE(got.ok()) << got.status();
    const reference::Window window{conv.strides, {0, 0, 0, 0}, conv.dilations};
    ExpectEqual((*got)[0], *reference::Conv2D(x, f, window, conv.groups));
  }
}

// y = max(a b + bias, 0) + residual * scale, and whether y > row, in one kernel.
TEST(Contraction, EpilogueWithOperandsAndSeveralResults) {
  const int64_t sizes[][3] = {{37, 50, 300}, {1, 10, 20}, {64, 96, 70}};
  int i = 0;
  for (const auto& [m, n, k] : sizes) {
    const HostTensor a = RandomHalves(DataType::kF32, {m, k}, 1),
                     b = RandomHalves(DataType::kF32, {k, n}, 2);
    const HostTensor bias = RandomHalves(DataType::kF32, {n}, 3),
                     row = RandomHalves(DataType::kF32, {m, 1}, 4);
    const HostTensor residual = RandomHalves(DataType::kF32, {m, n}, 5);
    const std::string body = absl::StrReplaceAll(
        R"(^bb0(%a: tensor<?xKxf32, ["a", ""]>, %b: tensor<KxNxf32>, %bias: tensor<Nxf32>, %row: tensor<?x1xf32, ["a", ""]>, %residual: Y):
          %s = "weft.matmul"(%a, %b) : (tensor<?xKxf32, ["a", ""]>, tensor<KxNxf32>) -> Y
          %r = "weft.reshape"(%bias) {shape = ["1", "N"]} : (tensor<Nxf32>) -> tensor<1xNxf32>
          %v = "weft.broadcast"(%r) {shape = ["a", "N"]} : (tensor<1xNxf32>) -> Y
          %zero = "weft.constant"() {value = dense<0.0> : tensor<f32>} : () -> tensor<f32>
          %z = "weft.broadcast"(%zero) {shape = ["a", "N"]} : (tensor<f32>) -> Y
          %t = "weft.add"(%s, %v) : (Y, Y) -> Y
          %u = "weft.maximum"(%t, %z) : (Y, Y) -> Y
          %y = "weft.add"(%u, %residual) : (Y, Y) -> Y
          %w = "weft.broadcast"(%row) {shape = ["a", "N"]} : (tensor<?x1xf32, ["a", ""]>) -> Y
          %c = "weft.greater"(%y, %w) : (Y, Y) -> B
          "plan.yield"(%y, %c, %s) : (Y, B, Y) -> ())",
        {{"K", absl::StrCat(k)},
         {"N", absl::StrCat(n)},
         {"Y", absl::StrCat("tensor<?x", n, "xf32, [\"a\", \"\"]>")},
         {"B", absl::StrCat("tensor<?x", n, "xi1, [\"a\", \"\"]>")}});
    TestFusion fusion(TargetName(i++));
    const absl::Status compiled = fusion.TryText("contraction", body);
    ASSERT_TRUE(compiled.ok()) << compiled;
    auto got = fusion.TryRun({a, b, bias, row, residual}, {{"a", m}});
    ASSERT_TRUE(got.ok()) << got.status();
    const HostTensor product = *reference::MatMul(a, b, false, false);
    ExpectEqual((*got)[2], product);
    for (int64_t r = 0; r < m; ++r) {
      for (int64_t c = 0; c < n; ++c) {
        const size_t at = static_cast<size_t>(r * n + c);
        const float y =
            std::max(product.values<float>()[at] + bias.values<float>()[static_cast<size_t>(c)],
                     0.0f) +
            residual.values<float>()[at];
        ASSERT_EQ((*got)[0].values<float>()[at], y) << r << " " << c;
        ASSERT_EQ((*got)[1].values<bool>()[at], y > row.values<float>()[static_cast<size_t>(r)]);
      }
    }
    // The residual lies as the results in f32 do.
    EXPECT_EQ(fusion.spec().may_share, (std::vector<std::pair<int, int>>{{4, 0}, {4, 2}}));
  }
}

// A scale per image and channel, as [n, 1, 1, c]: no one stride steps through its rows; and a bias
// per batch of a batched product.
TEST(Contraction, EpilogueOperandsOfSomeDimensions) {
  const HostTensor x = RandomHalves(DataType::kF32, {3, 5, 4, 6}, 1);
  const HostTensor f = RandomHalves(DataType::kF32, {2, 2, 6, 20}, 2);
  const HostTensor scale = RandomHalves(DataType::kF32, {3, 1, 1, 20}, 3);
  auto got = RunFusion(
      "contraction",
      R"(^bb0(%x: tensor<3x5x4x6xf32>, %f: tensor<2x2x6x20xf32>, %s: tensor<3x1x1x20xf32>):
          %y = "weft.conv2d"(%x, %f) {strides = array<i64: 1, 1>, padding = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>} : (tensor<3x5x4x6xf32>, tensor<2x2x6x20xf32>) -> tensor<3x4x3x20xf32>
          %b = "weft.broadcast"(%s) {shape = ["3", "4", "3", "20"]} : (tensor<3x1x1x20xf32>) -> tensor<3x4x3x20xf32>
          %z = "weft.mul"(%y, %b) : (tensor<3x4x3x20xf32>, tensor<3x4x3x20xf32>) -> tensor<3x4x3x20xf32>
          "plan.yield"(%z) : (tensor<3x4x3x20xf32>) -> ())",
      {x, f, scale});
  ASSERT_TRUE(got.ok()) << got.status();
  HostTensor want = *reference::Conv2D(x, f, {}, 1);
  for (size_t i = 0; i < want.values<float>().size(); ++i) {
    want.mutable_values<float>()[i] *= scale.values<float>()[i / 240 * 20 + i % 20];
  }
  ExpectEqual((*got)[0], want);

  const HostTensor a = RandomHalves(DataType::kF32, {2, 3, 7, 9}, 1);
  const HostTensor b = RandomHalves(DataType::kF32, {2, 3, 9, 11}, 2);
  const HostTensor mask = RandomHalves(DataType::kF32, {2, 1, 1, 11}, 3);
  got = RunFusion(
      "contraction",
      R"(^bb0(%a: tensor<2x3x7x9xf32>, %b: tensor<2x3x9x11xf32>, %m: tensor<2x1x1x11xf32>):
          %y = "weft.matmul"(%a, %b) : (tensor<2x3x7x9xf32>, tensor<2x3x9x11xf32>) -> tensor<2x3x7x11xf32>
          %b1 = "weft.broadcast"(%m) {shape = ["2", "3", "7", "11"]} : (tensor<2x1x1x11xf32>) -> tensor<2x3x7x11xf32>
          %z = "weft.add"(%y, %b1) : (tensor<2x3x7x11xf32>, tensor<2x3x7x11xf32>) -> tensor<2x3x7x11xf32>
          "plan.yield"(%z) : (tensor<2x3x7x11xf32>) -> ())",
      {a, b, mask});
  ASSERT_TRUE(got.ok()) << got.status();
  want = *reference::MatMul(a, b, false, false);
  for (size_t i = 0; i < want.values<float>().size(); ++i) {
    want.mutable_values<float>()[i] += mask.values<float>()[i / 231 * 11 + i % 11];
  }
  ExpectEqual((*got)[0], want);
}

// Numbers that no double holds.
TEST(Contraction, EpilogueConstantsAreExact) {
  const HostTensor a = HostTensor::Of<int64_t>({2, 2}, {1, 0, 0, 1});
  for (const int64_t c : {int64_t{9007199254740993}, std::numeric_limits<int64_t>::max(),
                          std::numeric_limits<int64_t>::min(), int64_t{-1}}) {
    const absl::StatusOr<std::vector<HostTensor>> got =
        RunFusion("contraction",
                  R"(^bb0(%a: tensor<2x2xi64>):
          %y = "weft.matmul"(%a, %a) : (tensor<2x2xi64>, tensor<2x2xi64>) -> tensor<2x2xi64>
          %c = "weft.constant"() {value = dense<)" +
                      std::to_string(c) + R"(> : tensor<2x2xi64>} : () -> tensor<2x2xi64>
          %z = "weft.maximum"(%y, %c) : (tensor<2x2xi64>, tensor<2x2xi64>) -> tensor<2x2xi64>
          "plan.yield"(%z) : (tensor<2x2xi64>) -> ())",
                  {a});
    ASSERT_TRUE(got.ok()) << got.status();
    ExpectEqual((*got)[0], HostTensor::Of<int64_t>(
                               {2, 2}, {std::max<int64_t>(1, c), std::max<int64_t>(0, c),
                                        std::max<int64_t>(0, c), std::max<int64_t>(1, c)}));
  }
}

TEST(Contraction, BrokenFusionsAreErrors) {
  // Two contractions; a constant that is no splat.
  auto got = RunFusion("contraction",
                       R"(^bb0(%a: tensor<4x4xf32>):
          %y = "weft.matmul"(%a, %a) : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
          %z = "weft.matmul"(%y, %a) : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
          "plan.yield"(%z) : (tensor<4x4xf32>) -> ())",
                       {RandomHalves(DataType::kF32, {4, 4}, 1)});
  EXPECT_EQ(got.status().code(), absl::StatusCode::kInternal);
  got = RunFusion("contraction",
                  R"(^bb0(%a: tensor<2x2xf32>):
          %y = "weft.matmul"(%a, %a) : (tensor<2x2xf32>, tensor<2x2xf32>) -> tensor<2x2xf32>
          %c = "weft.constant"() {value = dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>} : () -> tensor<2x2xf32>
          %z = "weft.add"(%y, %c) : (tensor<2x2xf32>, tensor<2x2xf32>) -> tensor<2x2xf32>
          "plan.yield"(%z) : (tensor<2x2xf32>) -> ())",
                  {RandomHalves(DataType::kF32, {2, 2}, 1)});
  EXPECT_EQ(got.status().code(), absl::StatusCode::kInternal);
}

}  // namespace
}  // namespace weft
