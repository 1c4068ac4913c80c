// Fusions of kinds row and column against the reference evaluator.
#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"
#include "compiler/codegen/test_fusion.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace weft {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

const char* const kReductions[] = {"reduce_sum", "reduce_prod", "reduce_max", "reduce_min"};

TEST(Row, ReductionsOfEveryDType) {
  int i = 0;
  for (DataType dtype : {DataType::kF32, DataType::kF64, DataType::kF16, DataType::kBF16,
                         DataType::kI8, DataType::kU8, DataType::kI32, DataType::kI64}) {
    for (const char* reduction : kReductions) {
      SCOPED_TRACE(absl::StrCat(std::string(NameOf(dtype)), " ", reduction));
      TestFusion f(TestTargets()[i++ % TestTargets().size()]);
      mlir::Value x = f.Input(dtype, {"rows", "columns"});
      f.Finish("row", {f.Op(reduction, {x}, "axes = array<i64: 1>")});
      for (int64_t columns : {0, 1, 7, 64, 133}) {
        f.Check({{"rows", 5}, {"columns", columns}}, IsFloat(dtype) ? 64 : 0, 8, 0, 2);
      }
      f.Check({{"rows", 0}, {"columns", 3}});
    }
  }
}

TEST(Row, PlacesOfTheLargestAndSmallest) {
  for (const char* op : {"argmax", "argmin"}) {
    for (DataType dtype : {DataType::kF32, DataType::kI32, DataType::kF64}) {
      TestFusion f;
      mlir::Value x = f.Input(dtype, {"rows", "columns"});
      f.Finish("row", {f.Op(op, {x}, "axis = 1")});
      // Whole numbers tie often.
      for (int64_t columns : {1, 10, 200}) f.Check({{"rows", 9}, {"columns", columns}});
    }
    TestFusion f;
    mlir::Value x = f.Input(DataType::kF32, {"4", "20"});
    f.Finish("row", {f.Op(op, {x}, "axis = 1")});
    auto inputs = f.RandomInputs({});
    auto values = inputs[0].mutable_values<float>();
    values[3] = values[12] = std::numeric_limits<float>::quiet_NaN();
    for (int i = 20; i < 40; ++i) values[i] = -std::numeric_limits<float>::infinity();
    for (int i = 40; i < 60; ++i) values[i] = std::numeric_limits<float>::infinity();
    f.CheckOn(inputs, {});
  }
}

TEST(Row, PlaceAmongNothing) {
  TestFusion f;
  f.Finish("row", {f.Op("argmax", {f.Input(DataType::kF32, {"rows", "columns"})}, "axis = 1")});
  f.Check({{"rows", 3}, {"columns", 0}});
}

TEST(Row, NothingAtAll) {
  for (const char* rows : {"0", "3"}) {
    TestFusion f;
    mlir::Value x = f.Input(DataType::kF32, {rows, "0"});
    f.Finish("row", {f.Op("reduce_max", {x}, "axes = array<i64: 1>")});
    f.Check({});
    TestFusion g;
    x = g.Input(DataType::kF32, {"0", rows, "4"});
    g.Finish("column", {g.Op("reduce_max", {x}, "axes = array<i64: 1>")});
    g.Check({});
    TestFusion h;
    x = h.Input(DataType::kF32, {rows, "0", "4"});
    h.Finish("column", {h.Op("reduce_max", {x}, "axes = array<i64: 1>")});
    h.Check({});
  }
}

// As many paths as no program could take one by one, before and after a reduction.
TEST(Row, ValuesUsedTwiceAreComputedOnce) {
  TestFusion f;
  mlir::Value y = f.Input(DataType::kF32, {"batch", "50"});
  for (int i = 0; i < 40; ++i) y = f.Op("minimum", {f.Op("mul", {y, y}), y});
  mlir::Value max = f.Op("reduce_max", {y}, "axes = array<i64: 1>, keep_dims = true");
  f.Finish("row", {f.Op("sub", {y, f.Op("broadcast", {max}, "shape = [\"batch\", \"50\"]")})});
  f.Check({{"batch", 7}});
}

TEST(Row, Softmax) {
  for (const std::string& target : TestTargets()) {
    for (bool open : {false, true}) {
      TestFusion f(target);
      const char* columns = open ? "columns" : "37";
      mlir::Value x = f.Input(DataType::kF32, {"batch", "6", columns});
      const std::string shape = absl::StrCat("shape = [\"batch\", \"6\", \"", columns, "\"]");
      mlir::Value max = f.Op("reduce_max", {x}, "axes = array<i64: 2>, keep_dims = true");
      mlir::Value shifted = f.Op("sub", {x, f.Op("broadcast", {max}, shape)});
      mlir::Value exp = f.Op("exp", {shifted});
      mlir::Value sum = f.Op("reduce_sum", {exp}, "axes = array<i64: 2>, keep_dims = true");
      mlir::Value y = f.Op("div", {exp, f.Op("broadcast", {sum}, shape)});
      f.Finish("row", {y, f.Op("log", {sum})});
      f.Check({{"batch", 3}, {"columns", 37}}, 64, 1);
      f.Check({{"batch", 0}, {"columns", 37}}, 64, 1);
      if (open) f.Check({{"batch", 1}, {"columns", 1000}}, 64, 1);
    }
  }
}

// Softmax, layer norm and cross-entropy of rows of all lengths: those that stay in registers, that
// warps share, and blocks, and with accesses to several elements at a time.
TEST(Row, NormalizationsOfAnyWidth) {
  int i = 0;
  for (int width : {1, 5, 32, 100, 640, 1000, 3000, 4096, 20000}) {
    for (bool open : {false, true}) {
      for (const std::string& target : TestTargets()) {
        const DataType dtype = ++i % 3 == 0 ? DataType::kF16 : DataType::kF32;
        const std::string columns = open ? "columns" : absl::StrCat(width);
        SCOPED_TRACE(absl::StrCat(columns, " ", std::string(NameOf(dtype)), " ", target));
        const Symbols symbols = {{"rows", width > 500 ? 2 : 11}, {"columns", width}};
        const std::string shape = absl::StrCat("shape = [\"rows\", \"", columns, "\"]");
        const std::string axes = "axes = array<i64: 1>, keep_dims = true";

        TestFusion softmax(target);
        mlir::Value x = softmax.Input(dtype, {"rows", columns.c_str()});
        mlir::Value max = softmax.Op("reduce_max", {x}, axes);
        mlir::Value e =
            softmax.Op("exp", {softmax.Op("sub", {x, softmax.Op("broadcast", {max}, shape)})});
        mlir::Value sum = softmax.Op("reduce_sum", {e}, axes);
        softmax.Finish("row", {softmax.Op("div", {e, softmax.Op("broadcast", {sum}, shape)}), max});
        softmax.Check(symbols, 64, 0.01);

        TestFusion norm(target);
        x = norm.Input(DataType::kF32, {"rows", columns.c_str()});
        mlir::Value scale = norm.Input(DataType::kF32, {columns.c_str()});
        mlir::Value residual = norm.Input(DataType::kF32, {"rows", columns.c_str()});
        mlir::Value count = norm.Constant(DataType::kF32, width);
        auto mean = [&](mlir::Value value) {
          value = norm.Op("reduce_sum", {value}, axes);
          return norm.Op("div",
                         {value, norm.Op("broadcast", {count}, "shape = [\"rows\", \"1\"]")});
        };
        mlir::Value shifted = norm.Op("sub", {x, norm.Op("broadcast", {mean(x)}, shape)});
        mlir::Value variance = mean(norm.Op("mul", {shifted, shifted}));
        mlir::Value epsilon = norm.Op("broadcast", {norm.Constant(DataType::kF32, 0.01)},
                                      "shape = [\"rows\", \"1\"]");
        mlir::Value factor = norm.Op("rsqrt", {norm.Op("add", {variance, epsilon})});
        mlir::Value y = norm.Op("mul", {shifted, norm.Op("broadcast", {factor}, shape)});
        y = norm.Op("mul", {y, norm.Op("broadcast", {scale}, shape)});
        norm.Finish("row", {norm.Op("add", {y, residual}), variance});
        norm.Check(symbols, 64, 1);

        TestFusion loss(target);
        x = loss.Input(DataType::kF32, {"rows", columns.c_str()});
        mlir::Value labels = loss.Input(DataType::kI32, {"rows"});
        max = loss.Op("reduce_max", {x}, axes);
        shifted = loss.Op("sub", {x, loss.Op("broadcast", {max}, shape)});
        sum = loss.Op("log", {loss.Op("reduce_sum", {loss.Op("exp", {shifted})}, axes)});
        mlir::Value logs = loss.Op("sub", {shifted, loss.Op("broadcast", {sum}, shape)});
        mlir::Value hot =
            loss.Op("one_hot", {labels}, absl::StrCat("depth = \"", columns, "\", dtype = f32"));
        loss.Finish("row", {loss.Op("neg", {loss.Op("reduce_sum", {loss.Op("mul", {logs, hot})},
                                                    "axes = array<i64: 1>")}),
                            loss.Op("argmax", {x}, "axis = 1")});
        loss.Check(symbols, 64, 8, 0, 5);
      }
    }
  }
}

// As loops: the kernel finds out whether rows of open length hold a whole number of accesses.
TEST(Row, OpenRowsOfAGpuAreReadBy16Bytes) {
  if (!TestsGpu()) GTEST_SKIP() << "of GPUs";
  TestFusion f;
  mlir::Value x = f.Input(DataType::kF32, {"n", "2", "m"});
  mlir::Value scale = f.Input(DataType::kF32, {"2", "m"});
  const std::string shape = "shape = [\"n\", \"2\", \"m\"]";
  mlir::Value scaled = f.Op("mul", {x, f.Op("broadcast", {scale}, shape)});
  mlir::Value sum = f.Op("reduce_sum", {scaled}, "axes = array<i64: 1, 2>, keep_dims = true");
  f.Finish("row", {f.Op("sub", {scaled, f.Op("broadcast", {sum}, shape)}), sum});
  for (int64_t m : {0, 1, 3, 4, 64, 65, 400, 2050, 3000}) {
    f.Check({{"n", 3}, {"m", m}}, 64, 64);
  }
  // Of each pass, one of whole accesses and one of elements; and the sum.
  const std::vector<std::string> accesses = f.GlobalAccesses();
  EXPECT_EQ(std::count(accesses.begin(), accesses.end(), "v4.b32"), 5);
  EXPECT_EQ(std::count(accesses.begin(), accesses.end(), "b32"), 5 + 2);
}

TEST(Row, ShortRowsOfAGpuAreReadOnce) {
  if (!TestsGpu()) GTEST_SKIP() << "of GPUs";
  for (const auto& [columns, accesses] : {std::pair("640", 5), {"1024", 8}, {"4096", 4}}) {
    TestFusion f;
    const std::string shape = absl::StrCat("shape = [\"n\", \"", columns, "\"]");
    mlir::Value x = f.Input(DataType::kF32, {"n", columns});
    mlir::Value max = f.Op("reduce_max", {x}, "axes = array<i64: 1>, keep_dims = true");
    mlir::Value e = f.Op("exp", {f.Op("sub", {x, f.Op("broadcast", {max}, shape)})});
    mlir::Value sum = f.Op("reduce_sum", {e}, "axes = array<i64: 1>, keep_dims = true");
    f.Finish("row", {f.Op("div", {e, f.Op("broadcast", {sum}, shape)})});
    EXPECT_EQ(f.GlobalAccesses(),
              std::vector<std::string>(static_cast<size_t>(2 * accesses), "v4.b32"))
        << columns;
  }
}

TEST(Row, Bools) {
  for (const char* op : {"reduce_and", "reduce_or"}) {
    for (const char* columns : {"7", "32", "640", "2000", "n"}) {
      TestFusion row, column;
      row.Finish("row", {row.Op(op, {row.Input(DataType::kBool, {"5", columns})},
                                "axes = array<i64: 1>")});
      column.Finish("column", {column.Op(op, {column.Input(DataType::kBool, {"3", "40", columns})},
                                         "axes = array<i64: 1>")});
      for (TestFusion* f : {&row, &column}) {
        std::vector<HostTensor> inputs = f->RandomInputs({{"n", 70}});
        f->CheckOn(inputs, {{"n", 70}});
        // All alike but for one.
        for (bool& x : inputs[0].mutable_values<bool>()) x = op == std::string("reduce_and");
        inputs[0].mutable_values<bool>()[6] ^= true;
        f->CheckOn(inputs, {{"n", 70}});
      }
    }
  }
}

// Two functions in a chain: more lanes than others have, in rows that they divide and others, kept
// in scratch.
TEST(Row, FunctionsOfFunctions) {
  for (const std::string& target : TestTargets()) {
    for (const char* columns : {"5", "300", "320", "1024", "columns"}) {
      SCOPED_TRACE(absl::StrCat(columns, " ", target));
      TestFusion f(target);
      mlir::Value x = f.Input(DataType::kF32, {"batch", columns});
      const std::string shape = absl::StrCat("shape = [\"batch\", \"", columns, "\"]");
      mlir::Value exp = f.Op("exp", {f.Op("tanh", {x})});
      mlir::Value sum = f.Op("reduce_sum", {exp}, "axes = array<i64: 1>, keep_dims = true");
      f.Finish("row", {f.Op("div", {exp, f.Op("broadcast", {sum}, shape)})});
      f.Check({{"batch", 3}, {"columns", 130}}, 64, 1);
    }
  }
}

TEST(Row, SeveralDimensionsAndOperandsOfRowsAndColumns) {
  TestFusion f;
  mlir::Value x = f.Input(DataType::kF32, {"3", "n", "5", "7"});
  mlir::Value scale = f.Input(DataType::kF32, {"7"});
  mlir::Value shift = f.Input(DataType::kF32, {"3", "n", "1", "1"});
  const std::string shape = "shape = [\"3\", \"n\", \"5\", \"7\"]";
  mlir::Value scaled = f.Op("mul", {x, f.Op("broadcast", {scale}, shape)});
  mlir::Value moved = f.Op("add", {scaled, f.Op("broadcast", {shift}, shape)});
  f.Finish("row", {f.Op("reduce_sum", {moved}, "axes = array<i64: 2, 3>"), moved});
  f.Check({{"n", 4}}, 32, 8);
}

TEST(Row, EverythingToOneNumber) {
  TestFusion f;
  mlir::Value x = f.Input(DataType::kF32, {"n", "50"});
  f.Finish("row", {f.Op("reduce_sum", {f.Op("mul", {x, x})}, "axes = array<i64: 0, 1>")});
  for (int64_t n : {0, 1, 70}) f.Check({{"n", n}}, 64, 64);
}

TEST(Column, Reductions) {
  int i = 0;
  for (DataType dtype : {DataType::kF32, DataType::kF64, DataType::kBF16, DataType::kI32}) {
    for (const char* reduction : kReductions) {
      SCOPED_TRACE(absl::StrCat(std::string(NameOf(dtype)), " ", reduction));
      TestFusion f(TestTargets()[i++ % TestTargets().size()]);
      mlir::Value x = f.Input(dtype, {"outer", "n", "inner"});
      f.Finish("column", {f.Op(reduction, {x}, "axes = array<i64: 1>")});
      for (int64_t inner : {1, 9, 64, 130}) {
        f.Check({{"outer", 3}, {"n", 6}, {"inner", inner}}, IsFloat(dtype) ? 64 : 0, 8, 0, 2);
      }
      f.Check({{"outer", 2}, {"n", 0}, {"inner", 5}});
      f.Check({{"outer", 0}, {"n", 4}, {"inner", 5}});
      f.Check({{"outer", 2}, {"n", 4}, {"inner", 0}});
    }
  }
}

// Sums of millions of floats, as exact as a few roundings allow.
TEST(Row, LongSumsStayAccurate) {
  const int64_t n = (1 << 22) + 5;
  for (const std::string& target : TestTargets()) {
    TestFusion row(target);
    row.Finish("row",
               {row.Op("reduce_sum", {row.Input(DataType::kF32, {"n"})}, "axes = array<i64: 0>")});
    row.Check({{"n", n}}, 6, 0, 0, 1);
    TestFusion column(target);
    mlir::Value x = column.Input(DataType::kF32, {"n", "3"});
    column.Finish("column", {column.Op("reduce_sum", {x}, "axes = array<i64: 0>"),
                             column.Op("reduce_max", {x}, "axes = array<i64: 0>")});
    column.Check({{"n", n / 4}}, 64, 0, 0, 1);
  }
}

// Where the reduced dimensions are several loops, whatever is open, and where columns are added up
// in pieces: a sum of equal numbers, whose roundings all go in one direction.
TEST(Row, LongSumsOfSeveralLoopsStayAccurate) {
  struct Case {
    const char* kind;
    std::vector<std::string> domain, bias;
    const char *shape, *axes;
  };
  const Case cases[] = {
      {"row", {"2", "60000", "4"}, {"4"}, R"(["2", "60000", "4"])", "1, 2"},
      {"row", {"2", "n", "4"}, {"4"}, R"(["2", "n", "4"])", "1, 2"},
      {"row", {"2", "n", "m"}, {"m"}, R"(["2", "n", "m"])", "1, 2"},
      {"row", {"2", "m", "n"}, {"n"}, R"(["2", "m", "n"])", "1, 2"},
      {"row", {"2", "300", "50", "9"}, {"50", "1"}, R"(["2", "300", "50", "9"])", "1, 2, 3"},
      {"row", {"1", "150001", "1"}, {"1"}, R"(["1", "150001", "1"])", "1, 2"},
      {"column", {"2", "200", "600", "3"}, {"600", "1"}, R"(["2", "200", "600", "3"])", "1, 2"},
      {"column", {"2", "n", "m", "3"}, {"m", "1"}, R"(["2", "n", "m", "3"])", "1, 2"},
      {"column", {"1", "40001", "32"}, {"32"}, R"(["1", "40001", "32"])", "1"},
      {"column", {"1", "n", "32"}, {"32"}, R"(["1", "n", "32"])", "1"},
      {"column", {"2", "500", "60", "32"}, {"60", "1"}, R"(["2", "500", "60", "32"])", "1, 2"},
      {"column", {"2", "n", "m", "32"}, {"m", "1"}, R"(["2", "n", "m", "32"])", "1, 2"},
  };
  int i = 0;
  for (const Case& c : cases) {
    SCOPED_TRACE(absl::StrCat(c.kind, " ", c.shape));
    TestFusion f(TestTargets()[static_cast<size_t>(i++) % TestTargets().size()]);
    mlir::Value x = f.Input(DataType::kF32, c.domain), bias = f.Input(DataType::kF32, c.bias);
    bias = f.Op("broadcast", {bias}, absl::StrCat("shape = ", c.shape));
    f.Finish(c.kind, {f.Op("reduce_sum", {f.Op("add", {x, bias})},
                           absl::StrCat("axes = array<i64: ", c.axes, ">"))});
    const Symbols symbols = {{"n", 20001}, {"m", 5}};
    std::vector<HostTensor> inputs = f.RandomInputs(symbols);
    for (float& element : inputs[0].mutable_values<float>()) element = 0.1f;
    for (float& element : inputs[1].mutable_values<float>()) element = 0;
    f.CheckOn(inputs, symbols, 32);
  }
}

// What waits in scratch from pass to pass takes no more of it than fits the caches, however long
// rows turn out to be.
TEST(Row, ScratchOfOpenRowsIsBounded) {
  if (TestsGpu()) GTEST_SKIP() << "a GPU keeps values in registers";
  for (const std::string& target : TestTargets()) {
    TestFusion f(target);
    mlir::Value x = f.Input(DataType::kF32, {"n", "m"});
    mlir::Value e = f.Op("exp", {x});
    mlir::Value sum = f.Op("reduce_sum", {e}, "axes = array<i64: 1>, keep_dims = true");
    f.Finish("row", {f.Op("div", {e, f.Op("broadcast", {sum}, "shape = [\"n\", \"m\"]")})});
    EXPECT_GT(*f.spec().scratch_bytes.Evaluate({{"n", 2}, {"m", 100}}), 400);
    EXPECT_LE(*f.spec().scratch_bytes.Evaluate({{"n", 2}, {"m", 5000000}}), 140000);
    for (int64_t columns : {32768, 32769, 40000}) f.Check({{"n", 2}, {"m", columns}}, 64, 1);
  }
}

TEST(Row, PastTheCaches) {
  if (TestsGpu()) GTEST_SKIP() << "a GPU's caches are its own affair";
  for (const std::string& target : TestTargets()) {
    TestFusion f(WithoutCaches(target));
    const std::string shape = "shape = [\"50\", \"320\"]";
    mlir::Value x = f.Input(DataType::kF32, {"50", "320"});
    mlir::Value max = f.Op("reduce_max", {x}, "axes = array<i64: 1>, keep_dims = true");
    mlir::Value exp = f.Op("exp", {f.Op("sub", {x, f.Op("broadcast", {max}, shape)})});
    mlir::Value sum = f.Op("reduce_sum", {exp}, "axes = array<i64: 1>, keep_dims = true");
    f.Finish("row", {f.Op("div", {exp, f.Op("broadcast", {sum}, shape)})});
    EXPECT_NE(f.text().find("nontemporal"), std::string::npos);
    EXPECT_NE(f.text().find("sfence"), std::string::npos);
    f.Check({}, 64, 1);
  }
}

// Rows so long that their columns are added up in pieces.
TEST(Column, ManyColumns) {
  for (const std::string& target : TestTargets()) {
    for (DataType dtype : {DataType::kF32, DataType::kF16, DataType::kI8, DataType::kI64}) {
      SCOPED_TRACE(absl::StrCat(std::string(NameOf(dtype)), target));
      TestFusion f(target);
      mlir::Value x = f.Input(dtype, {"outer", "n", "inner"});
      mlir::Value sum = f.Op("reduce_sum", {x}, "axes = array<i64: 1>");
      mlir::Value max = f.Op("reduce_max", {f.Op("add", {x, x})}, "axes = array<i64: 1>");
      f.Finish("column", {f.Op("add", {sum, sum}), max});
      for (int64_t inner : {1, 63, 512, 700, 2100}) {
        for (int64_t n : {0, 1, 7, 8, 23}) {
          f.Check({{"outer", 2}, {"n", n}, {"inner", inner}}, IsFloat(dtype) ? 64 : 0, 8);
        }
      }
    }
    TestFusion f(target);
    mlir::Value x = f.Input(DataType::kF32, {"20", "30", "1100"}),
                bias = f.Input(DataType::kF32, {"30", "1"});
    x = f.Op("add", {x, f.Op("broadcast", {bias}, "shape = [\"20\", \"30\", \"1100\"]")});
    f.Finish("column", {f.Op("reduce_sum", {x}, "axes = array<i64: 0, 1>")});
    f.Check({}, 64, 8);
  }
}

TEST(Column, WorkBeforeAndAfterAndSeveralResults) {
  for (const std::string& target : TestTargets()) {
    TestFusion f(target);
    mlir::Value x = f.Input(DataType::kF32, {"batch", "4", "4", "20"});
    mlir::Value bias = f.Input(DataType::kF32, {"20"});
    mlir::Value old = f.Input(DataType::kF32, {"20"});
    mlir::Value moved =
        f.Op("add", {x, f.Op("broadcast", {bias}, "shape = [\"batch\", \"4\", \"4\", \"20\"]")});
    mlir::Value sum = f.Op("reduce_sum", {moved}, "axes = array<i64: 0, 1, 2>");
    mlir::Value max = f.Op("reduce_max", {x}, "axes = array<i64: 0, 1, 2>");
    f.Finish("column", {f.Op("add", {sum, old}), f.Op("tanh", {max})});
    for (int64_t batch : {0, 1, 9}) f.Check({{"batch", batch}}, 64, 8);
  }
}

TEST(Column, PlaceOfTheLargest) {
  TestFusion f;
  mlir::Value x = f.Input(DataType::kF32, {"5", "n", "33"});
  f.Finish("column", {f.Op("argmax", {x}, "axis = 1")});
  for (int64_t n : {1, 17}) f.Check({{"n", n}});
}

// So many columns that threads of a GPU take several at a time.
TEST(Column, WideAccesses) {
  for (DataType dtype : {DataType::kF32, DataType::kF64, DataType::kF16}) {
    TestFusion f;
    mlir::Value x = f.Input(dtype, {"2", "9", "131072"});
    f.Finish("column",
             {f.Op("reduce_sum", {x}, "axes = array<i64: 1>"), f.Op("argmin", {x}, "axis = 1")});
    f.Check({}, 64, 8);
  }
}

// The kernel finds out whether columns of an open number are whole accesses, in every row, and
// enough of them to keep a GPU busy.
TEST(Column, OpenColumnsOfAGpuAreReadBy16Bytes) {
  if (!TestsGpu()) GTEST_SKIP() << "of GPUs";
  for (const auto& [dtype, access, lanes] :
       {std::tuple(DataType::kF32, "v4.b32", 4), {DataType::kF64, "v2.b64", 2}}) {
    for (const bool times_four : {false, true}) {
      TestFusion f;
      const char* columns = times_four ? "4*m" : "m";
      mlir::Value x = f.Input(dtype, {"n", "5", columns});
      mlir::Value scale = f.Input(dtype, {columns}), row = f.Input(dtype, {"5", "1"});
      const std::string shape = absl::StrCat("shape = [\"n\", \"5\", \"", columns, "\"]");
      mlir::Value scaled = f.Op("mul", {x, f.Op("broadcast", {scale}, shape)});
      scaled = f.Op("add", {scaled, f.Op("broadcast", {row}, shape)});
      f.Finish("column", {f.Op("reduce_sum", {scaled}, "axes = array<i64: 1>")});
      // Of x, the scale and the sum, and one of elements of each and of the row.
      const std::vector<std::string> accesses = f.GlobalAccesses();
      EXPECT_EQ(std::count(accesses.begin(), accesses.end(), access), 3);
      const int64_t enough = 1024 * 32 * lanes / (times_four ? 4 : 1);
      for (const auto& [n, m] : std::vector<std::pair<int64_t, int64_t>>{{1, enough},
                                                                         {2, enough / 2},
                                                                         {1, enough - 4},
                                                                         {2, enough / 2 + 1},
                                                                         {3, 7},
                                                                         {3, 0}}) {
        SCOPED_TRACE(absl::StrCat(std::string(NameOf(dtype)), " ", columns, " ", n, " ", m));
        const Symbols symbols = {{"n", n}, {"m", m}};
        f.Check(symbols, 64, 8);
        const int64_t all = times_four ? 4 * m : m;
        const bool whole = n * all >= 1024 * 32 * lanes && all % lanes == 0;
        const int64_t width = 32 * (whole ? lanes : 1);
        EXPECT_EQ(*f.spec().tiles.Evaluate(symbols), n * ((all + width - 1) / width));
      }
    }
  }
}

// The passes leave no such fusion to the code generator, so this one is made by hand.
TEST(Column, AGpusKernelHasNoMoreSharedMemoryThanEveryDriverGives) {
  const auto maxima = [](TestFusion& f, int count) {
    mlir::Value x = f.Input(DataType::kF64, {"n", "40"}), sum = x;
    std::vector<mlir::Value> results;
    for (int i = 0; i < count; ++i) {
      sum = f.Op("add", {sum, x});
      results.push_back(f.Op("reduce_max", {sum}, "axes = array<i64: 0>"));
    }
    return f.TryFinish("column", results);
  };
  TestFusion many("cuda:sm_80");
  const absl::Status refused = maxima(many, 25);  // of 256 shares of 8 bytes
  EXPECT_EQ(refused.code(), absl::StatusCode::kUnimplemented) << refused;
  EXPECT_THAT(std::string(refused.message()),
              AllOf(HasSubstr("at most 49152 bytes of a GPU's shared memory"),
                    HasSubstr("got 25 that take 51200")));
  TestFusion fewer("cuda:sm_80");
  const absl::Status status = maxima(fewer, 24);
  ASSERT_TRUE(status.ok()) << status;
  fewer.Check({{"n", 9}});
}

}  // namespace
}  // namespace weft
