// Loops against the reference evaluator: what moves elements, and every element type.
#include <sys/mman.h>

#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "compiler/codegen/test_fusion.h"
#include "gmock/gmock.h"
#include "graph/ops/op_info.h"

namespace weft {
namespace {

constexpr DataType kFloats[] = {DataType::kF32, DataType::kF64, DataType::kF16, DataType::kBF16};
constexpr DataType kInts[] = {DataType::kI8, DataType::kU8, DataType::kI32, DataType::kI64};

std::string Cast(DataType dtype) {
  const std::string name = dtype == DataType::kBool ? "i1"
                           : dtype == DataType::kU8 ? "ui8"
                                                    : std::string(NameOf(dtype));
  return "dtype = " + name;
}

TEST(Loop, EveryElementwiseOpWithinItsTolerance) {
  for (const OpInfo& op : AllOps()) {
    if (!op.elementwise) continue;
    for (DataType dtype : op.dtypes) {
      SCOPED_TRACE(std::string(op.name) + " " + std::string(NameOf(dtype)));
      const bool casts = op.result_dtype == "attribute";
      for (DataType to : kEveryDType) {
        if (!casts && to != dtype) continue;
        TestFusion f;
        std::vector<mlir::Value> operands;
        for (const OperandInfo& operand : op.operands) {
          operands.push_back(f.Input(operand.name == "condition" ? DataType::kBool : dtype, {"n"}));
        }
        f.Finish("loop", {f.Op(std::string(op.name), operands, casts ? Cast(to) : "")});
        // Narrow floats are computed in f32, whose errors can only turn one rounding.
        const bool narrow = to == DataType::kF16 || to == DataType::kBF16;
        f.Check({{"n", 75}}, narrow ? std::min(op.test.ulps, 1) : op.test.ulps, op.test.scale,
                op.test.low, op.test.high);
      }
    }
  }
}

TEST(Loop, AccessesOfAGpuAreOf16BytesWhereTheyMayBe) {
  if (!TestsGpu()) GTEST_SKIP() << "of GPUs";
  for (DataType dtype : kEveryDType) {
    SCOPED_TRACE(NameOf(dtype));
    const std::string wide = SizeOf(dtype) == 8 ? "v2.b64" : "v4.b32";
    const char* const op = dtype == DataType::kBool ? "or" : "maximum";
    // With a row and a column that all read, and beginning inside of longer rows.
    TestFusion known;
    mlir::Value x = known.Input(dtype, {"n", "672"});
    const std::string shape = "shape = [\"n\", \"640\"]";
    x = known.Op("slice", {x},
                 "starts = [\"0\", \"32\"], limits = [\"n\", \"672\"], steps = array<i64: 1, 1>");
    x = known.Op(op, {x, known.Op("broadcast", {known.Input(dtype, {"640"})}, shape)});
    mlir::Value column = known.Input(dtype, {"n", "1"});
    known.Finish("loop", {known.Op(op, {x, known.Op("broadcast", {column}, shape)})});
    known.Check({{"n", 3}});
    // The column's is of one element.
    const std::string one = absl::StrCat("b", 8 * SizeOf(dtype));
    EXPECT_THAT(known.GlobalAccesses(), testing::UnorderedElementsAre(wide, wide, one, wide));
    // The last elements of an open size are accessed one by one.
    TestFusion open;
    open.Finish("loop", {open.Op(op, {open.Input(dtype, {"n"}), open.Input(dtype, {"n"})})});
    open.Check({{"n", 1000}});
    EXPECT_THAT(open.GlobalAccesses(),
                testing::UnorderedElementsAre(wide, wide, wide, one, one, one));
  }
}

// Rows of open length: accesses of 16 bytes where a row holds a whole number of them, which the
// kernel finds out, and else of elements.
TEST(Loop, OpenRowsOfAGpuAreAccessedBy16BytesWhereTheyMayBe) {
  if (!TestsGpu()) GTEST_SKIP() << "of a GPU";
  for (DataType dtype : {DataType::kF32, DataType::kF16, DataType::kF64}) {
    SCOPED_TRACE(NameOf(dtype));
    const std::string shape = "shape = [\"n\", \"m\"]";
    TestFusion f;
    mlir::Value x = f.Input(dtype, {"n", "m"});
    mlir::Value bias = f.Op("broadcast", {f.Input(dtype, {"m"})}, shape);
    mlir::Value column = f.Op("broadcast", {f.Input(dtype, {"n", "1"})}, shape);
    mlir::Value sum = f.Op("add", {f.Op("add", {x, bias}), column});
    f.Finish("loop", {sum, f.Op("mul", {sum, x})});
    const std::string wide = SizeOf(dtype) == 8 ? "v2.b64" : "v4.b32";
    const std::string one = absl::StrCat("b", 8 * SizeOf(dtype));
    std::vector<std::string> expected(4, wide);
    expected.insert(expected.end(), 6, one);
    EXPECT_THAT(f.GlobalAccesses(), testing::UnorderedElementsAreArray(expected));
    for (int64_t m : {0, 1, 2, 4, 7, 8, 64, 100, 160}) f.Check({{"n", 13}, {"m", m}});
    // All of what is moved is in whole sectors, but for the column, of which some rows share one.
    TestFusion plain;
    plain.Finish("loop",
                 {plain.Op("add", {plain.Input(dtype, {"n", "m"}),
                                   plain.Op("broadcast", {plain.Input(dtype, {"m"})}, shape)})});
    plain.Check({{"n", 4}, {"m", 512}});
    plain.ExpectNoSectorTwice();
  }
}

TEST(Loop, OpenSizeOfAnyLength) {
  TestFusion f;
  mlir::Value x = f.Input(DataType::kF32, {"n"}), y = f.Input(DataType::kF32, {"n"});
  f.Finish("loop", {f.Op("add", {f.Op("mul", {x, y}), y}), f.Op("sub", {x, y})});
  EXPECT_THAT(f.spec().sizes, testing::ElementsAre(DimExpr::Symbol("n")));
  EXPECT_EQ(f.spec().may_share.size(), 4u);
  for (int64_t n : {0, 1, 15, 16, 63, 64, 65, 1000, 16384, 16385, 100003}) f.Check({{"n", n}});
}

TEST(Loop, ArithmeticOfEveryDType) {
  for (const std::string& target : TestTargets()) {
    for (DataType dtype : kEveryDType) {
      if (dtype == DataType::kBool) continue;
      SCOPED_TRACE(std::string(NameOf(dtype)) + target);
      TestFusion f(target);
      mlir::Value x = f.Input(dtype, {"n"}), y = f.Input(dtype, {"n"});
      std::vector<mlir::Value> results = {
          f.Op("add", {x, y}),     f.Op("sub", {x, y}),
          f.Op("mul", {x, y}),     f.Op("div", {x, y}),
          f.Op("rem", {x, y}),     f.Op("maximum", {x, y}),
          f.Op("minimum", {x, y}), f.Op("clamp", {x, f.Op("minimum", {x, y}), y})};
      if (dtype != DataType::kU8) {
        for (const char* op : {"neg", "abs", "sign"}) results.push_back(f.Op(op, {x}));
      }
      f.Finish("loop", results);
      f.Check({{"n", 333}}, 0, 0, -8, 8);
    }
  }
}

TEST(Loop, IntegersAtTheirEnds) {
  for (DataType dtype : kInts) {
    SCOPED_TRACE(NameOf(dtype));
    TestFusion f;
    mlir::Value x = f.Input(dtype, {"36"}), y = f.Input(dtype, {"36"});
    f.Finish("loop",
             {f.Op("div", {x, y}), f.Op("rem", {x, y}), f.Op("add", {x, y}), f.Op("mul", {x, y}),
              f.Op("less", {x, y}), f.Op("cast", {x}, "dtype = f32"), f.Op("and", {x, y}),
              f.Op("or", {x, y}), f.Op("xor", {x, y}), f.Op("not", {x})});
    std::vector<HostTensor> inputs = f.RandomInputs({});
    WithType(dtype, [&](auto type) {
      using T = decltype(type);
      if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
        const T special[] = {std::numeric_limits<T>::min(),
                             std::numeric_limits<T>::max(),
                             static_cast<T>(-1),
                             0,
                             1,
                             7};
        for (int i = 0; i < 36; ++i) {
          inputs[0].mutable_values<T>()[i] = special[i / 6];
          inputs[1].mutable_values<T>()[i] = special[i % 6];
        }
      }
      return 0;
    });
    f.CheckOn(inputs, {});
  }
}

TEST(Loop, FloatFunctionsOfEveryFloat) {
  for (DataType dtype : kFloats) {
    SCOPED_TRACE(NameOf(dtype));
    TestFusion f;
    mlir::Value x = f.Input(dtype, {"n"}), y = f.Input(dtype, {"n"});
    std::vector<mlir::Value> results;
    for (const char* op : {"exp", "expm1", "log", "log1p", "sin", "cos", "tanh", "logistic", "erf",
                           "sqrt", "rsqrt", "reciprocal", "floor", "ceil", "round", "trunc"}) {
      results.push_back(f.Op(op, {x}));
    }
    results.push_back(f.Op("pow", {x, y}));
    results.push_back(f.Op("atan2", {x, y}));
    results.push_back(f.Op("is_finite", {f.Op("log", {x})}));
    f.Finish("loop", results);
    f.Check({{"n", 500}}, 6, 0.125, 0.1, 4);
  }
}

// Division by one number for many lanes, which takes a shorter way where it gives the same bits.
TEST(Loop, QuotientsByOneNumber) {
  for (const std::string& target : TestTargets()) {
    TestFusion f(target);
    mlir::Value x = f.Input(DataType::kF32, {"rows", "512"}),
                d = f.Input(DataType::kF32, {"rows", "1"});
    f.Finish("loop", {f.Op("div", {x, f.Op("broadcast", {d}, "shape = [\"rows\", \"512\"]")})});
    const int64_t rows = 2000;
    std::vector<HostTensor> inputs = f.RandomInputs({{"rows", rows}}, 0.5, 2);
    const float inf = std::numeric_limits<float>::infinity();
    const float special[] = {
        0,      -0.0f,    inf,     -inf,          std::numeric_limits<float>::quiet_NaN(),
        1e-45f, 1e-38f,   3e38f,   0x1.fffffep0f, -1,
        3,      0x1p-72f, 0x1p96f, 0x1p-30f};
    auto xs = inputs[0].mutable_values<float>(), ds = inputs[1].mutable_values<float>();
    uint32_t random = 1;
    for (int64_t row = 0; row < rows; ++row) {
      auto next = [&] { return random = random * 1664525 + 1013904223; };
      // Fractions of all kinds; some rows with exponents from far and wide, some with special ones.
      ds[row] = std::ldexp(1.0f + static_cast<float>(next() >> 9) * 0x1p-23f,
                           row % 3 == 0 ? static_cast<int>(next() >> 24) - 140 : 0);
      if (row % 7 == 0) ds[row] = special[static_cast<size_t>(row / 7) % std::size(special)];
      for (int64_t c = 0; c < 512; ++c) {
        float& value = xs[row * 512 + c];
        value = std::ldexp(1.0f + static_cast<float>(next() >> 9) * 0x1p-23f,
                           row % 5 == 0 ? static_cast<int>(next() >> 24) - 140 : 0);
        if (row % 11 == 0 && c % 100 == 7) value = special[next() >> 28 & 7];
      }
    }
    f.CheckOn(inputs, {{"rows", rows}});
  }
}

TEST(Loop, NanRules) {
  TestFusion f;
  mlir::Value x = f.Input(DataType::kF32, {"9"}), y = f.Input(DataType::kF32, {"9"});
  std::vector<mlir::Value> results = {
      f.Op("maximum", {x, y}), f.Op("minimum", {x, y}), f.Op("sign", {x}),
      f.Op("maximum", {x, f.Op("broadcast", {f.Constant(DataType::kF32, 0)}, "shape = [\"9\"]")})};
  for (const char* op : {"equal", "not_equal", "less", "less_equal", "greater", "greater_equal"}) {
    results.push_back(f.Op(op, {x, y}));
  }
  for (const char* type : {"i1", "i8", "ui8", "i32", "i64"}) {
    results.push_back(f.Op("cast", {x}, std::string("dtype = ") + type));
  }
  f.Finish("loop", results);
  const float nan = std::numeric_limits<float>::quiet_NaN(),
              inf = std::numeric_limits<float>::infinity();
  const std::vector<float> a = {nan, 1, nan, inf, -inf, 3e9f, -3e9f, 300, -0.5f};
  const std::vector<float> b = {1, nan, nan, 0, 0, -1, 1, 2, -0.5f};
  f.CheckOn({HostTensor::Of<float>({9}, a), HostTensor::Of<float>({9}, b)}, {});
}

TEST(Loop, CastsBetweenAllDTypes) {
  for (DataType from : kEveryDType) {
    SCOPED_TRACE(NameOf(from));
    TestFusion f;
    mlir::Value x = f.Input(from, {"n"});
    std::vector<mlir::Value> results;
    for (DataType to : kEveryDType) results.push_back(f.Op("cast", {x}, Cast(to)));
    f.Finish("loop", results);
    f.Check({{"n", 133}}, 0, 0, -300, 300);
  }
}

TEST(Loop, BroadcastsOfRowsColumnsAndScalars) {
  TestFusion f;
  mlir::Value x = f.Input(DataType::kF32, {"batch", "7", "33"});
  mlir::Value row = f.Input(DataType::kF32, {"33"}),
              column = f.Input(DataType::kF32, {"batch", "1", "1"});
  mlir::Value middle = f.Input(DataType::kF32, {"7", "1"}), scalar = f.Input(DataType::kF32, {});
  const std::string shape = "shape = [\"batch\", \"7\", \"33\"]";
  mlir::Value y = f.Op("add", {x, f.Op("broadcast", {row}, shape)});
  y = f.Op("mul", {y, f.Op("broadcast", {column}, shape)});
  y = f.Op("sub", {y, f.Op("broadcast", {middle}, shape)});
  y = f.Op("add", {y, f.Op("broadcast", {scalar}, shape)});
  f.Finish("loop", {y});
  EXPECT_EQ(f.spec().may_share.size(), 1u);
  for (int64_t batch : {0, 1, 5, 200}) f.Check({{"batch", batch}});
}

TEST(Loop, BiasOfManySizes) {
  for (const char* width : {"1", "2", "3", "10", "16", "31", "64", "65", "100", "1000"}) {
    SCOPED_TRACE(width);
    for (const std::string& target : TestTargets()) {
      TestFusion f(target);
      mlir::Value x = f.Input(DataType::kF32, {"n", width}),
                  bias = f.Input(DataType::kF32, {width});
      const std::string shape = std::string("shape = [\"n\", \"") + width + "\"]";
      f.Finish("loop",
               {f.Op("maximum", {f.Op("add", {x, f.Op("broadcast", {bias}, shape)}),
                                 f.Op("broadcast", {f.Constant(DataType::kF32, 0)}, shape)})});
      f.Check({{"n", 37}});
    }
  }
}

// Results that go past the caches, with and without the alignment that this needs.
TEST(Loop, PastTheCaches) {
  if (TestsGpu()) GTEST_SKIP() << "a GPU's caches are its own affair";
  for (const std::string& target : TestTargets()) {
    for (DataType dtype : {DataType::kF32, DataType::kF64, DataType::kBF16, DataType::kU8}) {
      SCOPED_TRACE(std::string(NameOf(dtype)) + target);
      TestFusion f(WithoutCaches(target));
      mlir::Value x = f.Input(dtype, {"65536"}), y = f.Input(dtype, {"65536"});
      f.Finish("loop", {f.Op("add", {x, y})});
      EXPECT_THAT(f.text(), testing::HasSubstr("nontemporal"));
      EXPECT_THAT(f.text(), testing::HasSubstr("sfence"));
      EXPECT_THAT(f.text(), testing::HasSubstr("prefetch"));
      f.Check({});
      TestFusion g(WithoutCaches(target));
      x = g.Input(dtype, {"70", "320"}), y = g.Input(dtype, {"320"});
      g.Finish("loop", {g.Op("add", {x, g.Op("broadcast", {y}, "shape = [\"70\", \"320\"]")})});
      g.Check({});
      TestFusion h(WithoutCaches(target));
      h.Finish("loop", {h.Op("transpose", {h.Input(dtype, {"256", "192"})},
                             "permutation = array<i64: 1, 0>")});
      EXPECT_THAT(h.text(), testing::HasSubstr("nontemporal"));
      h.Check({});
    }
    // Odd addresses, and the operand's own buffer.
    TestFusion f(WithoutCaches(target));
    f.Finish("loop", {f.Op("neg", {f.Input(DataType::kF32, {"32768"})})});
    std::vector<float> from(32768 + 16), to(32768 + 16);
    for (size_t i = 0; i < from.size(); ++i) from[i] = static_cast<float>(i);
    for (int64_t shift = 0; shift < 16; ++shift) {
      void* buffers[] = {from.data(), to.data() + shift};
      const int64_t size = 32768;
      f.kernel()(buffers, &size, 0, 2, nullptr);
      for (int64_t i = 0; i < size; ++i)
        ASSERT_EQ(to[static_cast<size_t>(i + shift)], -from[static_cast<size_t>(i)]);
    }
    void* same[] = {from.data(), from.data()};
    const int64_t size = 32768;
    f.kernel()(same, &size, 0, 2, nullptr);
    for (int64_t i = 0; i < size; ++i)
      ASSERT_EQ(from[static_cast<size_t>(i)], -static_cast<float>(i));
  }
}

TEST(Loop, ReshapeOfTransposeNeedsNoDivision) {
  TestFusion f;
  mlir::Value x = f.Input(DataType::kF32, {"b", "4", "seq", "16"});
  mlir::Value t = f.Op("transpose", {x}, "permutation = array<i64: 0, 2, 1, 3>");
  mlir::Value y = f.Op("reshape", {t}, "shape = [\"b\", \"seq\", \"64\"]");
  f.Finish("loop", {f.Op("exp", {y})});
  f.Check({{"b", 3}, {"seq", 5}}, 4);
}

TEST(Loop, ReshapesThatCrossDimensions) {
  TestFusion f;
  mlir::Value x = f.Input(DataType::kF32, {"6", "35"});
  mlir::Value t = f.Op("transpose", {x}, "permutation = array<i64: 1, 0>");
  mlir::Value y = f.Op("reshape", {t}, "shape = [\"21\", \"10\"]");
  f.Finish("loop", {f.Op("transpose", {y}, "permutation = array<i64: 1, 0>")});
  f.Check({});
}

// Of 120 elements seen as two shapes whose dimensions do not nest, each repeats some; the first is
// also what gathers, slices and transposes look through.
TEST(Loop, ReshapesThatCrossRepeatedDimensions) {
  const std::vector<std::vector<int>> shapes = {{6, 4, 5},  {4, 6, 5},    {8, 15},      {3, 8, 5},
                                                {2, 12, 5}, {5, 2, 3, 4}, {10, 2, 2, 3}};
  const auto text = [](const std::vector<int>& dims) {
    std::string list;
    for (int dim : dims) list += (list.empty() ? "\"" : ", \"") + std::to_string(dim) + "\"";
    return "shape = [" + list + "]";
  };
  for (size_t s = 0; s < shapes.size(); ++s) {
    // Each choice of dimensions that are repeated.
    for (unsigned mask = 1; mask + 1 < 1u << shapes[s].size(); ++mask) {
      SCOPED_TRACE(text(shapes[s]) + " mask " + std::to_string(mask));
      TestFusion f;
      std::vector<mlir::Value> terms;
      for (size_t other : {s, (s + 1) % shapes.size(), (s + 3) % shapes.size()}) {
        std::vector<std::string> kept;
        for (size_t i = 0; i < shapes[other].size(); ++i) {
          kept.push_back((mask >> i & 1) != 0 ? "1" : std::to_string(shapes[other][i]));
        }
        mlir::Value x = f.Input(DataType::kI32, kept);
        x = f.Op("broadcast", {x}, text(shapes[other]));
        terms.push_back(f.Op("reshape", {x}, text({4, 30})));
      }
      mlir::Value y = f.Op("add", {f.Op("add", {terms[0], terms[1]}), terms[2]});
      y = f.Op("transpose", {y}, "permutation = array<i64: 1, 0>");
      y = f.Op("reshape", {y}, text({3, 8, 5}));
      f.Finish("loop", {f.Op("reverse", {y}, "axes = array<i64: 1>")});
      f.Check({}, 0, 0, -1000, 1000);
    }
  }
}

TEST(Loop, GatherAmongReshapedRepeatedDimensions) {
  TestFusion f;
  mlir::Value x = f.Input(DataType::kF32, {"2", "1", "2"}),
              indices = f.Input(DataType::kI32, {"5", "17"});
  x = f.Op("reshape", {f.Op("broadcast", {x}, "shape = [\"2\", \"6\", \"2\"]")},
           "shape = [\"1\", \"3\", \"8\"]");
  f.Finish("loop", {f.Op("gather", {x, indices}, "axis = 1")});
  f.Check({}, 0, 0, 0, 3);
}

TEST(Loop, SlicesPadsReversesAndConcats) {
  for (DataType dtype : {DataType::kF32, DataType::kBF16, DataType::kU8, DataType::kBool}) {
    SCOPED_TRACE(NameOf(dtype));
    TestFusion f;
    mlir::Value x = f.Input(dtype, {"b", "9", "40"});
    f.Finish("loop", {f.Op("slice", {x},
                           "starts = [\"0\", \"2\", \"3\"], limits = [\"b\", \"8\", \"39\"], steps "
                           "= array<i64: 1, 2, 1>")});
    f.Check({{"b", 3}});
    TestFusion g;
    x = g.Input(dtype, {"b", "9", "40"});
    mlir::Value s = g.Op("slice", {x},
                         "starts = [\"0\", \"0\", \"3\"], limits = [\"b\", \"9\", \"39\"], steps = "
                         "array<i64: 1, 1, 3>");
    g.Finish("loop", {g.Op("reverse", {s}, "axes = array<i64: 0, 2>")});
    g.Check({{"b", 3}});
    TestFusion h;
    x = h.Input(dtype, {"b", "5", "20"});
    mlir::Value value = h.Input(dtype, {});
    h.Finish("loop", {h.Op("pad", {x, value},
                           "low = [\"1\", \"0\", \"3\"], high = [\"0\", \"2\", \"5\"], interior = "
                           "array<i64: 0, 1, 2>")});
    h.Check({{"b", 3}});
    TestFusion k;
    x = k.Input(dtype, {"b", "5", "20"});
    mlir::Value y = k.Input(dtype, {"b", "5", "7"}), z = k.Input(dtype, {"b", "5", "0"});
    mlir::Value w = k.Input(dtype, {"n", "5", "27"});
    mlir::Value c = k.Op("concat", {x, z, y}, "axis = 2");
    k.Finish("loop", {k.Op("concat", {c, w}, "axis = 0")});
    k.Check({{"b", 3}, {"n", 2}});
    k.Check({{"b", 3}, {"n", 0}});
  }
}

// Rows that end a little after a register does: whole registers of their vector read nothing, and
// the memory there is not theirs.
TEST(Loop, RowsPaddedAtTheirEnds) {
  for (const std::string& target : TestTargets()) {
    for (DataType dtype : {DataType::kI32, DataType::kF64, DataType::kBF16, DataType::kU8}) {
      for (int columns = 5; columns < 70; columns = columns * 5 / 4) {
        SCOPED_TRACE(target + std::string(NameOf(dtype)) + std::to_string(columns));
        TestFusion f(target);
        mlir::Value x = f.Input(dtype, {"3", "2", std::to_string(columns)}),
                    value = f.Input(dtype, {});
        f.Finish("loop",
                 {f.Op("pad", {x, value},
                       "low = [\"1\", \"1\", \"1\"], high = [\"0\", \"1\", \"2\"], interior = "
                       "array<i64: 0, 0, 0>")});
        f.Check({});
      }
    }
  }
}

TEST(Loop, ImagePaddedAtItsBorders) {
  TestFusion f;
  mlir::Value x = f.Input(DataType::kF32, {"n", "6", "5", "24"});
  f.Finish("loop", {f.Op("pad", {x, f.Constant(DataType::kF32, 0)},
                         "low = [\"0\", \"1\", \"1\", \"0\"], high = [\"0\", \"1\", \"2\", \"0\"], "
                         "interior = array<i64: 0, 0, 0, 0>")});
  f.Check({{"n", 3}});
}

TEST(Loop, GatherWithIndicesOutside) {
  for (DataType dtype : {DataType::kF32, DataType::kF16, DataType::kI64}) {
    for (int axis : {0, 1, 2}) {
      SCOPED_TRACE(std::string(NameOf(dtype)) + std::to_string(axis));
      TestFusion f;
      mlir::Value x = f.Input(dtype, {"6", "v", "33"}),
                  indices = f.Input(DataType::kI32, {"4", "n"});
      f.Finish("loop", {f.Op("gather", {x, indices}, "axis = " + std::to_string(axis))});
      f.Check({{"v", 7}, {"n", 5}}, 0, 0, -3, 10);
      f.Check({{"v", 0}, {"n", 5}}, 0, 0, -3, 10);
    }
  }
}

TEST(Loop, IotaOneHotAndDimSize) {
  TestFusion f;
  mlir::Value labels = f.Input(DataType::kI32, {"n"});
  mlir::Value hot = f.Op("one_hot", {labels}, "depth = \"10\", dtype = f32");
  mlir::Value count = f.Op("iota", {}, "shape = [\"n\", \"10\"], axis = 1, dtype = f32");
  mlir::Value rows = f.Op("iota", {}, "shape = [\"n\", \"10\"], axis = 0, dtype = f32");
  mlir::Value size = f.Op("broadcast", {f.Op("dim_size", {}, "expr = \"n\", dtype = f32")},
                          "shape = [\"n\", \"10\"]");
  f.Finish("loop", {f.Op("add", {f.Op("mul", {hot, count}), f.Op("div", {rows, size})})});
  f.Check({{"n", 30}}, 1, 0, -2, 12);
}

TEST(Loop, Random) {
  for (DataType dtype : kFloats) {
    SCOPED_TRACE(NameOf(dtype));
    TestFusion f;
    mlir::Value stream = f.Input(DataType::kI64, {});
    const std::string attributes = "seed = 4000000000, shape = [\"n\", \"3\"], " + Cast(dtype);
    f.Finish("loop", {f.Op("random_uniform", {stream}, attributes),
                      f.Op("random_normal", {stream}, attributes)});
    f.CheckOn({HostTensor::Scalar<int64_t>(0x123456789abcLL)}, {{"n", 101}}, 16, 1);
  }
  TestFusion f;
  f.Finish("loop", {f.Op("random_bits", {f.Input(DataType::kI64, {})},
                         "seed = 7, shape = [\"n\"], dtype = i32")});
  f.CheckOn({HostTensor::Scalar<int64_t>(-5)}, {{"n", 301}});
}

// As many paths from the result to the operand as no program could take one by one.
TEST(Loop, ValuesUsedTwiceAreComputedOnce) {
  TestFusion f;
  mlir::Value y = f.Input(DataType::kF32, {"batch", "3", "5"});
  mlir::Value row = f.Input(DataType::kF32, {"5"});
  y = f.Op("add", {y, f.Op("broadcast", {row}, "shape = [\"batch\", \"3\", \"5\"]")});
  for (int i = 0; i < 45; ++i) y = f.Op("minimum", {f.Op("mul", {y, y}), y});
  f.Finish("loop", {y});
  f.Check({{"batch", 7}});
}

// Each op wants boundaries of its own: the splits end, and what is left is divided.
TEST(Loop, BoundariesWithoutEnd) {
  TestFusion f;
  mlir::Value x = f.Input(DataType::kF32, {"batch", "2520", "n"});
  std::vector<mlir::Value> sums;
  for (const char* from : {"2,1260", "3,840", "4,630", "5,504", "6,420", "7,360", "8,315", "9,280",
                           "10,252", "12,210", "14,180", "15,168", "18,140", "20,126", "21,120"}) {
    const std::string text = from, outer = text.substr(0, text.find(',')),
                      inner = text.substr(text.find(',') + 1);
    mlir::Value y =
        f.Op("reshape", {x}, "shape = [\"batch\", \"" + outer + "\", \"" + inner + "\", \"n\"]");
    y = f.Op("transpose", {y}, "permutation = array<i64: 2, 0, 3, 1>");
    sums.push_back(f.Op("reshape", {y}, "shape = [\"batch\", \"2520\", \"n\"]"));
  }
  mlir::Value sum = sums[0];
  for (size_t i = 1; i < sums.size(); ++i) sum = f.Op("add", {sum, sums[i]});
  f.Finish("loop", {sum});
  for (int64_t n : {1, 3}) f.Check({{"batch", 2}, {"n", n}});
}

// Boundaries of four shapes meet in one kernel, and between two of them lies a product of
// dimensions that are neighbours in none: too long an expression, so that there is no kernel.
TEST(Loop, ProductsThatAreTooLongAreErrors) {
  for (const size_t length : {size_t{1}, size_t{100}}) {
    const std::string a(length, 'a'), b = "min(" + a + ",k)";
    const std::string A = a + "-" + b, B = a + "+" + b, C = a + "*" + a + "+" + b + "*" + b,
                      D = a + "*" + a + "*" + a + "*" + a + "+" + b + "*" + b + "*" + b + "*" + b;
    auto shape = [](const std::vector<std::string>& dims) {
      std::vector<std::string> texts;
      for (const std::string& dim : dims) texts.push_back(DimExpr::Parse(dim)->Text());
      return "shape = [\"" + absl::StrJoin(texts, "\", \"") + "\"]";
    };
    // Of "tiles", boundaries can be made, but a coordinate has no number.
    for (const std::string kind : {"loop", "row", "column", "tiles"}) {
      SCOPED_TRACE(absl::StrCat(kind, " ", length));
      TestFusion f;
      mlir::Value x = f.Input(DataType::kI32, {D, "1", "1", "1"});
      mlir::Value row = f.Input(DataType::kI32, {B, "1"});
      x = f.Op("broadcast", {x}, shape({D, B, A, C}));
      x = f.Op("reshape", {x}, shape({"(" + B + ")*(" + D + ")", A, C}));
      x = f.Op("transpose", {x}, "permutation = array<i64: 2, 1, 0>");
      x = f.Op("reshape", {x}, shape({C, A, B, D}));
      mlir::Value y = f.Op("add", {f.Op("broadcast", {row}, shape({C, A, B, D})), x});
      if (kind == "tiles") y = x;
      if (kind == "row") y = f.Op("reduce_sum", {y}, "axes = array<i64: 3>");
      if (kind == "column") y = f.Op("reduce_sum", {y}, "axes = array<i64: 0>");
      const absl::Status status = f.TryFinish(kind == "tiles" ? "loop" : kind, {y});
      if (length == 1) {
        ASSERT_TRUE(status.ok()) << status;
        for (const int64_t k : {0, 1, 2}) f.Check({{a, 2}, {"k", k}}, 0, 0, -99, 99);
        continue;
      }
      EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
      EXPECT_THAT(std::string(status.message()),
                  testing::AllOf(testing::HasSubstr("of at most 4096 characters, got longer ones"),
                                 testing::HasSubstr("shorter names")));
    }
  }
}

TEST(Loop, NothingAtAll) {
  for (const char* shape : {"0", "7"}) {
    TestFusion f;
    mlir::Value x = f.Input(DataType::kF32, {"n", shape, "0", "5"});
    f.Finish("loop", {f.Op("transpose", {x}, "permutation = array<i64: 3, 0, 1, 2>")});
    EXPECT_EQ(f.spec().tiles, DimExpr(0));
    f.Check({{"n", 3}});
  }
}

// The last tile of more elements than 32 bits count; only its pages are ever touched.
TEST(Loop, MoreThan32BitsOfElements) {
  if (TestsGpu()) GTEST_SKIP() << "no emulator launches 38 billion threads";
  const int64_t rows = (int64_t{1} << 28) + 3, n = rows * 9;
  TestFusion flat, bias, turned;
  mlir::Value x = flat.Input(DataType::kF32, {"n", "9"});
  flat.Finish("loop", {flat.Op("neg", {x})});
  x = bias.Input(DataType::kF32, {"n", "9"});
  mlir::Value b = bias.Input(DataType::kF32, {"9"});
  bias.Finish("loop", {bias.Op("add", {x, bias.Op("broadcast", {b}, "shape = [\"n\", \"9\"]")})});
  x = turned.Input(DataType::kF32, {"9", "n"});
  turned.Finish("loop", {turned.Op("transpose", {x}, "permutation = array<i64: 1, 0>")});

  auto map = [&] {
    return static_cast<float*>(mmap(nullptr, static_cast<size_t>(4 * n), PROT_READ | PROT_WRITE,
                                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  };
  float *in = map(), *out = map();
  ASSERT_NE(in, MAP_FAILED);
  ASSERT_NE(out, MAP_FAILED);
  float biases[9] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
  for (TestFusion* f : {&flat, &bias, &turned}) {
    const bool is_turned = f == &turned;
    for (int64_t c = 0; c < 9; ++c) {
      in[is_turned ? c * rows + rows - 1 : n - 9 + c] = 0.5f + static_cast<float>(c);
    }
    std::vector<int64_t> sizes;
    for (const DimExpr& size : f->spec().sizes) sizes.push_back(*size.Evaluate({{"n", rows}}));
    const int64_t tiles = *f->spec().tiles.Evaluate({{"n", rows}});
    std::vector<char> scratch(
        static_cast<size_t>(*f->spec().scratch_bytes.Evaluate({{"n", rows}})) + 64);
    void* buffers[3] = {in, out, out};
    if (f == &bias) buffers[1] = biases;
    char* aligned = scratch.data() + (64 - reinterpret_cast<uintptr_t>(scratch.data()) % 64) % 64;
    f->kernel()(buffers, sizes.data(), tiles - 1, tiles, aligned);
    for (int64_t c = 0; c < 9; ++c) {
      const float value = 0.5f + static_cast<float>(c);
      EXPECT_EQ(out[n - 9 + c], f == &flat ? -value : f == &bias ? value + biases[c] : value);
    }
  }
  munmap(in, static_cast<size_t>(4 * n));
  munmap(out, static_cast<size_t>(4 * n));
}

TEST(Loop, CastsOfNumbersBetweenOthers) {
  const std::vector<double> values = {
      16777217,  -16777219, 2147483647, -2147483648.0, 9007199254740993.0, 1e18,   -9.2e18, 2049,
      65519.996, 65520,     1e-8,       -3e-8,         5.9604645e-8,       1e-40,  257.5,   256.5,
      0.5,       1.5,       2.5,        -0.5,          -254.9999,          3.4e38, 3.5e38,  -1e300};
  for (DataType from : {DataType::kF64, DataType::kF32, DataType::kI64, DataType::kI32}) {
    SCOPED_TRACE(NameOf(from));
    TestFusion f;
    mlir::Value x = f.Input(from, {"24"});
    std::vector<mlir::Value> results;
    for (DataType to : kEveryDType) results.push_back(f.Op("cast", {x}, Cast(to)));
    f.Finish("loop", results);
    std::vector<HostTensor> inputs = f.RandomInputs({});
    WithType(from, [&](auto type) {
      using T = decltype(type);
      if constexpr (std::is_arithmetic_v<T>) {
        const double high = static_cast<double>(std::numeric_limits<T>::max());
        for (size_t i = 0; i < values.size(); ++i) {
          const bool fits = std::is_floating_point_v<T> || std::fabs(values[i]) < high;
          inputs[0].mutable_values<T>()[i] = fits ? static_cast<T>(values[i]) : T(77);
        }
      }
      return 0;
    });
    f.CheckOn(inputs, {});
  }
}

// Four positions share a block of random words, however the loop walks over them.
TEST(Loop, RandomInAnyLoop) {
  for (const std::string& target : TestTargets()) {
    std::vector<HostTensor> flat;
    for (const char* width : {"24", "12", "8", "3", "1"}) {
      SCOPED_TRACE(std::string(width) + target);
      TestFusion f(target);
      mlir::Value stream = f.Input(DataType::kI64, {}), bias = f.Input(DataType::kF32, {width});
      const std::string shape = std::string("shape = [\"n\", \"") + width + "\"]";
      mlir::Value wide = f.Op("broadcast", {bias}, shape);
      mlir::Value uniform = f.Op("random_uniform", {stream}, "seed = 9, dtype = f32, " + shape);
      mlir::Value normal = f.Op("random_normal", {stream}, "seed = 9, dtype = f32, " + shape);
      mlir::Value bits = f.Op("random_bits", {stream}, "seed = 9, dtype = i32, " + shape);
      f.Finish("loop", {f.Op("add", {uniform, wide}), f.Op("add", {normal, wide}), bits});
      const int64_t columns = std::stoi(width), rows = 120 / columns;
      std::vector<HostTensor> inputs = f.RandomInputs({{"n", rows}}, 0, 0);
      inputs[0] = HostTensor::Scalar<int64_t>(0x123456789abcLL);
      const std::vector<HostTensor> got = f.Run(inputs, {{"n", rows}});
      const std::vector<HostTensor> want = f.Evaluate(inputs, {{"n", rows}});
      for (size_t i : {0u, 2u}) {
        EXPECT_EQ(std::memcmp(got[i].data(), want[i].data(), want[i].size_bytes()), 0);
      }
      if (flat.empty()) flat = got;
      for (size_t i = 0; i < got.size(); ++i) {
        EXPECT_EQ(std::memcmp(got[i].data(), flat[i].data(), flat[i].size_bytes()), 0) << i;
      }
    }
  }
}

TEST(Loop, SelectWithScalarsAndBools) {
  TestFusion f;
  mlir::Value c = f.Input(DataType::kBool, {"n"}), d = f.Input(DataType::kBool, {"n"});
  mlir::Value x = f.Input(DataType::kI64, {"n"}), y = f.Input(DataType::kI64, {"n"});
  f.Finish("loop", {f.Op("select", {f.Op("xor", {c, f.Op("not", {d})}), x, y}),
                    f.Op("less", {c, d}), f.Op("select", {c, d, c})});
  f.Check({{"n", 99}});
}

TEST(Loop, FillsOfConstants) {
  for (DataType dtype : kEveryDType) {
    TestFusion f;
    f.Finish("loop", {f.Op("broadcast", {f.Constant(dtype, 1)}, "shape = [\"n\", \"3\"]")});
    f.Check({{"n", 50}});
  }
  TestFusion scalar;
  scalar.Finish("loop", {scalar.Op("exp", {scalar.Input(DataType::kF64, {})})});
  scalar.Check({}, 4);
}

// The passes leave no such fusion to the code generator, so this one is made by hand.
TEST(Loop, AGpusKernelHasNoMoreParametersThanEveryDriverTakes) {
  const auto sum_of = [](TestFusion& f, int operands) {
    mlir::Value sum = f.Input(DataType::kF32, {"7"});
    for (int i = 1; i < operands; ++i) {
      sum = f.Op("add", {sum, f.Input(DataType::kF32, {"7"})});
    }
    return f.TryFinish("loop", {sum});
  };
  TestFusion many("cuda:sm_80");
  const absl::Status refused = sum_of(many, 544);
  EXPECT_EQ(refused.code(), absl::StatusCode::kUnimplemented) << refused;
  EXPECT_THAT(std::string(refused.message()),
              ::testing::HasSubstr("at most 544 tensors and sizes for cuda:sm_80, got one of 545"));
  TestFusion fewer("cuda:sm_80");
  const absl::Status status = sum_of(fewer, 540);
  ASSERT_TRUE(status.ok()) << status;
  fewer.Check({});
}

}  // namespace
}  // namespace weft
