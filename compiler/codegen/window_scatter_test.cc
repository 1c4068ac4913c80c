#include <cmath>
#include <limits>
#include <random>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "compiler/codegen/test_fusion.h"
#include "graph/reference/kernels.h"
#include "gtest/gtest.h"

namespace weft {
namespace {

using Ints = std::vector<int64_t>;

template <typename T>
HostTensor Random(const Ints& shape, int seed, double scale = 1) {
  std::mt19937 engine(seed);
  std::uniform_int_distribution<int> values(std::is_unsigned_v<T> ? 0 : -8, 8);
  HostTensor tensor = *HostTensor::Create(DataTypeOfT<T>::value, shape);
  for (T& value : tensor.mutable_values<T>()) value = T(values(engine) * scale);
  return tensor;
}

// Small whole numbers and halves of them: sums are exact, so equal means equal.
void ExpectEqual(const HostTensor& got, const HostTensor& want) {
  ASSERT_EQ(got.TypeString(), want.TypeString());
  WithType(want.dtype(), [&](auto type) {
    using T = decltype(type);
    for (int64_t i = 0; i < want.num_elements(); ++i) {
      const double g = static_cast<double>(got.values<T>()[i]);
      const double w = static_cast<double>(want.values<T>()[i]);
      ASSERT_TRUE(g == w || (std::isnan(g) && std::isnan(w)))
          << "element " << i << ": " << g << " for " << w;
    }
  });
}

std::string Type(const HostTensor& tensor, const std::string& element) {
  std::string text = "tensor<";
  for (int64_t size : tensor.shape()) absl::StrAppend(&text, size, "x");
  return absl::StrCat(text, element, ">");
}

std::string ArrayText(const Ints& values) {
  return absl::StrCat("array<i64: ", absl::StrJoin(values, ", "), ">");
}

std::string ShapeText(const Ints& shape) {
  return absl::StrCat(
      "[",
      absl::StrJoin(shape, ", ",
                    [](std::string* out, int64_t size) { absl::StrAppend(out, "\"", size, "\""); }),
      "]");
}

struct PoolCase {
  Ints image, window, strides, padding;
};
const PoolCase kPools[] = {
    {{2, 8, 8, 32}, {2, 2}, {2, 2}, {0, 0, 0, 0}}, {{1, 7, 5, 3}, {3, 2}, {2, 1}, {1, 1, 0, 1}},
    {{2, 9, 9, 17}, {3, 3}, {1, 1}, {1, 1, 1, 1}}, {{1, 11, 6, 1}, {2, 3}, {3, 4}, {0, 1, 2, 0}},
    {{1, 4, 4, 70}, {4, 4}, {4, 4}, {0, 0, 0, 0}}, {{0, 4, 4, 8}, {2, 2}, {2, 2}, {0, 0, 0, 0}},
    {{1, 12, 12, 5}, {5, 5}, {2, 3}, {2, 2, 2, 2}}};

struct Element {
  const char* name;
  DataType dtype;
};
const Element kFloats[] = {{"f32", DataType::kF32},
                           {"f64", DataType::kF64},
                           {"f16", DataType::kF16},
                           {"bf16", DataType::kBF16}};

template <typename F>
void ForEachPool(F f) {
  for (size_t i = 0; i < std::size(kPools); ++i) {
    const PoolCase& pool = kPools[i];
    // Each case with one dtype and level of processors, and the second with all.
    for (size_t e = 0; e < std::size(kFloats); ++e) {
      if (i != 1 && e != i % std::size(kFloats)) continue;
      const Element& element = kFloats[e];
      const std::string& target = TestTargets()[(i + e + 1) % TestTargets().size()];
      SCOPED_TRACE(absl::StrCat(ShapeText(pool.image), " ", element.name, " ", target));
      WithType(element.dtype, [&](auto type) {
        using T = decltype(type);
        f(pool, Random<T>(pool.image, 1, 0.5), element.name, target);
      });
    }
  }
}

std::string PoolAttributes(const PoolCase& pool) {
  return absl::StrCat("window = ", ArrayText(pool.window), ", strides = ", ArrayText(pool.strides),
                      ", padding = ", ArrayText(pool.padding));
}

TEST(Window, MaxPoolAndItsGradients) {
  ForEachPool([](const PoolCase& pool, HostTensor x, const std::string& element,
                 const std::string& target) {
    reference::Window window{pool.strides, pool.padding, {1, 1}};
    auto want = *reference::MaxPool(x, pool.window, window);
    const std::string image = Type(x, element), out = Type(want.first, element);
    const std::string place = Type(want.second, "i32"), attributes = PoolAttributes(pool);
    auto got =
        RunFusion("window",
                  absl::StrCat("^bb0(%x: ", image, "):\n%y:2 = \"weft.max_pool\"(%x) {", attributes,
                               "} : (", image, ") -> (", out, ", ", place,
                               ")\n\"plan.yield\"(%y#1, %y#0) : (", place, ", ", out, ") -> ()"),
                  {x}, {}, target);
    ASSERT_TRUE(got.ok()) << got.status();
    ExpectEqual((*got)[1], want.first);
    ExpectEqual((*got)[0], want.second);
    // Without the places.
    got = RunFusion("window",
                    absl::StrCat("^bb0(%x: ", image, "):\n%y:2 = \"weft.max_pool\"(%x) {",
                                 attributes, "} : (", image, ") -> (", out, ", ", place,
                                 ")\n\"plan.yield\"(%y#0) : (", out, ") -> ()"),
                    {x}, {}, target);
    ASSERT_TRUE(got.ok()) << got.status();
    ExpectEqual((*got)[0], want.first);

    got = RunFusion("window",
                    absl::StrCat("^bb0(%d: ", out, ", %i: ", place,
                                 "):\n%y = \"weft.max_unpool\"(%d, %i) {image_shape = ",
                                 ShapeText(pool.image), ", ", attributes, "} : (", out, ", ", place,
                                 ") -> ", image, "\n\"plan.yield\"(%y) : (", image, ") -> ()"),
                    {want.first, want.second}, {}, target);
    ASSERT_TRUE(got.ok()) << got.status();
    ExpectEqual((*got)[0],
                *reference::MaxUnpool(want.first, want.second, pool.image, pool.window, window));

    got = RunFusion(
        "window",
        absl::StrCat("^bb0(%i: ", place, ", %x: ", image, "):\n%y = \"weft.max_pool_at\"(%x, %i) {",
                     attributes, "} : (", image, ", ", place, ") -> ", out,
                     "\n\"plan.yield\"(%y) : (", out, ") -> ()"),
        {want.second, x}, {}, target);
    ASSERT_TRUE(got.ok()) << got.status();
    ExpectEqual((*got)[0], want.first);
  });
}

TEST(Window, MaxPoolTakesTheFirstNaNAndTheFirstOfTies) {
  const float nan = std::nanf(""), inf = std::numeric_limits<float>::infinity();
  HostTensor x =
      HostTensor::Of<float>({1, 1, 12, 1}, {1, nan, 2, nan, 3, 3, 3, 1, -inf, -inf, -inf, -inf});
  auto got = RunFusion("window", R"(^bb0(%x: tensor<1x1x12x1xf32>):
    %y:2 = "weft.max_pool"(%x) {window = array<i64: 1, 4>, strides = array<i64: 1, 4>, padding = array<i64: 0, 0, 0, 0>} : (tensor<1x1x12x1xf32>) -> (tensor<1x1x3x1xf32>, tensor<1x1x3x1xi32>)
    "plan.yield"(%y#0, %y#1) : (tensor<1x1x3x1xf32>, tensor<1x1x3x1xi32>) -> ())",
                       {x});
  ASSERT_TRUE(got.ok()) << got.status();
  ExpectEqual((*got)[0], HostTensor::Of<float>({1, 1, 3, 1}, {nan, 3, -inf}));
  ExpectEqual((*got)[1], HostTensor::Of<int32_t>({1, 1, 3, 1}, {1, 0, 0}));
}

TEST(Window, AvgPoolAndItsGradient) {
  ForEachPool([](const PoolCase& pool, HostTensor x, const std::string& element,
                 const std::string& target) {
    for (bool count_padding : {false, true}) {
      reference::Window window{pool.strides, pool.padding, {1, 1}};
      HostTensor want = *reference::AvgPool(x, pool.window, window, count_padding);
      const std::string image = Type(x, element), out = Type(want, element);
      const std::string attributes = absl::StrCat(
          PoolAttributes(pool), ", count_padding = ", count_padding ? "true" : "false");
      auto got = RunFusion(
          "window",
          absl::StrCat("^bb0(%x: ", image, "):\n%y = \"weft.avg_pool\"(%x) {", attributes, "} : (",
                       image, ") -> ", out, "\n\"plan.yield\"(%y) : (", out, ") -> ()"),
          {x}, {}, target);
      ASSERT_TRUE(got.ok()) << got.status();
      const bool exact = element == "f32" || element == "f64";
      auto near = [&](const HostTensor& a, const HostTensor& b) {
        WithType(b.dtype(), [&](auto type) {
          using T = decltype(type);
          for (int64_t i = 0; i < b.num_elements(); ++i) {
            ASSERT_NEAR(static_cast<double>(a.values<T>()[i]),
                        static_cast<double>(b.values<T>()[i]), exact ? 2e-6 : 0.03)
                << i;
          }
        });
      };
      near((*got)[0], want);
      got = RunFusion(
          "window",
          absl::StrCat("^bb0(%d: ", out, "):\n%y = \"weft.avg_pool_grad\"(%d) {image_shape = ",
                       ShapeText(pool.image), ", ", attributes, "} : (", out, ") -> ", image,
                       "\n\"plan.yield\"(%y) : (", image, ") -> ()"),
          {want}, {}, target);
      ASSERT_TRUE(got.ok()) << got.status();
      near((*got)[0],
           *reference::AvgPoolGrad(want, pool.image, pool.window, window, count_padding));
    }
  });
}

TEST(Window, OpenDimensionsAreArguments) {
  HostTensor x = Random<float>({3, 6, 4, 20}, 5);
  auto got = RunFusion("window", R"(^bb0(%x: tensor<?x?x4x20xf32, ["n", "2*h", "", ""]>):
    %y:2 = "weft.max_pool"(%x) {window = array<i64: 2, 2>, strides = array<i64: 2, 2>, padding = array<i64: 0, 0, 0, 0>} : (tensor<?x?x4x20xf32, ["n", "2*h", "", ""]>) -> (tensor<?x?x2x20xf32, ["n", "h", "", ""]>, tensor<?x?x2x20xi32, ["n", "h", "", ""]>)
    "plan.yield"(%y#0) : (tensor<?x?x2x20xf32, ["n", "h", "", ""]>) -> ())",
                       {x}, {{"n", 3}, {"h", 3}});
  ASSERT_TRUE(got.ok()) << got.status();
  ExpectEqual((*got)[0], reference::MaxPool(x, {2, 2}, {{2, 2}, {0, 0, 0, 0}, {1, 1}})->first);
}

const Element kNumbers[] = {{"f32", DataType::kF32}, {"f64", DataType::kF64},
                            {"f16", DataType::kF16}, {"bf16", DataType::kBF16},
                            {"i8", DataType::kI8},   {"ui8", DataType::kU8},
                            {"i32", DataType::kI32}, {"i64", DataType::kI64}};

TEST(Scatter, AddsInOrderAndDropsWhatIsOutOfRange) {
  for (const Element& element : kNumbers) {
    for (const Ints& shape : {Ints{3, 2, 130}, Ints{4}, Ints{7, 0}, Ints{0, 4}}) {
      if (element.dtype != DataType::kF32 && shape.size() != 3) continue;
      SCOPED_TRACE(absl::StrCat(element.name, ShapeText(shape)));
      WithType(element.dtype, [&](auto type) {
        using T = decltype(type);
        HostTensor x = Random<T>(shape, 1);
        HostTensor indices = HostTensor::Of<int64_t>({3, 2}, {3, 0, -1, 3, 99, 2});
        Ints update_shape = {3, 2};
        update_shape.insert(update_shape.end(), shape.begin() + 1, shape.end());
        HostTensor updates = Random<T>(update_shape, 2);
        const std::string a = Type(x, element.name), u = Type(updates, element.name);
        auto got = RunFusion(
            "scatter",
            absl::StrCat("^bb0(%u: ", u, ", %x: ", a,
                         ", %i: tensor<3x2xi64>):\n%y = \"weft.scatter_add\"(%x, %i, %u) : (", a,
                         ", tensor<3x2xi64>, ", u, ") -> ", a, "\n\"plan.yield\"(%y) : (", a,
                         ") -> ()"),
            {updates, x, indices});
        ASSERT_TRUE(got.ok()) << got.status();
        ExpectEqual((*got)[0], *reference::ScatterAdd(x, indices, updates));
      });
    }
  }
}

// More indices and columns than a block of a GPU looks at or computes at once, in every dtype.
TEST(Scatter, ManyIndicesAndColumns) {
  HostTensor indices = *HostTensor::Create(DataType::kI32, {700});
  std::mt19937 engine(3);
  for (int32_t& index : indices.mutable_values<int32_t>()) {
    index = std::uniform_int_distribution<int32_t>(-1, 5)(engine);
  }
  for (const Element& element : kNumbers) {
    for (int64_t columns : {1, 1100, 1104}) {
      SCOPED_TRACE(absl::StrCat(element.name, " ", columns));
      WithType(element.dtype, [&](auto type) {
        using T = decltype(type);
        HostTensor x = Random<T>({5, columns}, 1), updates = Random<T>({700, columns}, 2, 0.5);
        const std::string a = Type(x, element.name), u = Type(updates, element.name);
        auto got = RunFusion(
            "scatter",
            absl::StrCat("^bb0(%u: ", u, ", %x: ", a,
                         ", %i: tensor<700xi32>):\n%y = \"weft.scatter_add\"(%x, %i, %u) : (", a,
                         ", tensor<700xi32>, ", u, ") -> ", a, "\n\"plan.yield\"(%y) : (", a,
                         ") -> ()"),
            {updates, x, indices});
        ASSERT_TRUE(got.ok()) << got.status();
        ExpectEqual((*got)[0], *reference::ScatterAdd(x, indices, updates));
      });
    }
  }
}

TEST(StackPush, ReplacesOneSlice) {
  for (const Element& element : kNumbers) {
    for (const Ints& shape : {Ints{3, 2, 130}, Ints{4}, Ints{7, 0}, Ints{0, 4}}) {
      SCOPED_TRACE(absl::StrCat(element.name, ShapeText(shape)));
      WithType(element.dtype, [&](auto type) {
        using T = decltype(type);
        HostTensor x = Random<T>(shape, 1);
        HostTensor value = Random<T>(Ints(shape.begin() + 1, shape.end()), 2);
        const std::string a = Type(x, element.name), v = Type(value, element.name);
        for (int64_t index : {-1, 0, 2, 3, 99}) {
          auto got = RunFusion(
              "scatter",
              absl::StrCat("^bb0(%v: ", v, ", %i: tensor<i64>, %x: ", a,
                           "):\n%y = \"weft.stack_push\"(%x, %v, %i) : (", a, ", ", v,
                           ", tensor<i64>) -> ", a, "\n\"plan.yield\"(%y) : (", a, ") -> ()"),
              {value, HostTensor::Scalar<int64_t>(index), x});
          ASSERT_TRUE(got.ok()) << got.status();
          ExpectEqual((*got)[0], *reference::StackPush(x, value, index));
        }
      });
    }
  }
}

TEST(Scan, SumsAlongAnyAxisBothWays) {
  int number = 0;
  for (int64_t axis : {0, 1, -1}) {
    for (bool exclusive : {false, true}) {
      for (bool reverse : {false, true}) {
        for (int repeat = 0; repeat < 2; ++repeat) {
          const Element& element = kNumbers[number++ % std::size(kNumbers)];
          SCOPED_TRACE(absl::StrCat(element.name, axis, exclusive, reverse));
          WithType(element.dtype, [&](auto type) {
            using T = decltype(type);
            HostTensor x = Random<T>(repeat == 0 ? Ints{3, 5, 19} : Ints{2, 1, 100}, 4);
            const std::string a = Type(x, element.name);
            auto got = RunFusion(
                "scan",
                absl::StrCat("^bb0(%x: ", a, "):\n%y = \"weft.cumsum\"(%x) {axis = ", axis,
                             " : i64, exclusive = ", exclusive ? "true" : "false",
                             ", reverse = ", reverse ? "true" : "false", "} : (", a, ") -> ", a,
                             "\n\"plan.yield\"(%y) : (", a, ") -> ()"),
                {x});
            ASSERT_TRUE(got.ok()) << got.status();
            ExpectEqual((*got)[0], *reference::CumSum(x, axis, exclusive, reverse));
          });
        }
      }
    }
  }
}

}  // namespace
}  // namespace weft
