// Loops that read operands across, against the reference evaluator; and how a GPU accesses memory
// there.
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "compiler/codegen/test_fusion.h"
#include "gmock/gmock.h"

namespace weft {
namespace {

TEST(Transpose, OfEveryDType) {
  for (DataType dtype : kEveryDType) {
    SCOPED_TRACE(NameOf(dtype));
    TestFusion f;
    mlir::Value x = f.Input(dtype, {"b", "5", "3", "20"});
    f.Finish("loop", {f.Op("transpose", {x}, "permutation = array<i64: 0, 2, 1, 3>")});
    f.Check({{"b", 4}});
    TestFusion g;
    x = g.Input(dtype, {"37", "n"});
    g.Finish("loop", {g.Op("transpose", {x}, "permutation = array<i64: 1, 0>")});
    g.Check({{"n", 41}});
    g.Check({{"n", 200}});
  }
}

TEST(Transpose, AroundTheBlocks) {
  for (const std::string& target : TestTargets()) {
    for (DataType dtype : {DataType::kF32, DataType::kF64, DataType::kBF16, DataType::kBool}) {
      SCOPED_TRACE(std::string(NameOf(dtype)) + target);
      TestFusion f(target);
      f.Finish("loop",
               {f.Op("transpose", {f.Input(dtype, {"n", "m"})}, "permutation = array<i64: 1, 0>")});
      for (int64_t n : {1, 7, 31, 32, 64, 65, 130}) {
        for (int64_t m : {1, 16, 33, 64, 127}) f.Check({{"n", n}, {"m", m}});
      }
      TestFusion g(target);
      g.Finish("loop", {g.Op("transpose", {g.Input(dtype, {"3", "48", "n", "40"})},
                             "permutation = array<i64: 0, 3, 2, 1>")});
      for (int64_t n : {0, 1, 5}) g.Check({{"n", n}});
    }
  }
}

// On a GPU, neighbouring threads access neighbouring elements of operands and of results, and no
// bank of shared memory twice.
TEST(Transpose, OfAGpuTouchNoSectorTwice) {
  if (!TestsGpu()) GTEST_SKIP() << "of a GPU";
  struct Case {
    std::vector<std::string> shape;
    std::string permutation;
    Symbols symbols;
  };
  for (const Case& c : std::vector<Case>{{{"96", "160"}, "1, 0", {}},
                                         {{"n", "m"}, "1, 0", {{"n", 64}, {"m", 160}}},
                                         {{"n", "64", "128"}, "0, 2, 1", {{"n", 2}}},
                                         {{"64", "3", "n", "32"}, "3, 2, 1, 0", {{"n", 2}}},
                                         {{"2", "64", "4", "32"}, "0, 2, 3, 1", {}}}) {
    for (DataType dtype : kEveryDType) {
      SCOPED_TRACE(absl::StrCat(absl::StrJoin(c.shape, " "), ", ", c.permutation, " ",
                                std::string(NameOf(dtype))));
      TestFusion f;
      mlir::Value x = f.Input(dtype, c.shape);
      f.Finish("loop", {f.Op("transpose", {x},
                             absl::StrCat("permutation = array<i64: ", c.permutation, ">"))});
      f.Check(c.symbols);
      f.ExpectNoSectorTwice();
      EXPECT_EQ(f.bank_conflicts().value_or(0), 0);
    }
  }
}

// The terms of what transposed_reads.h says that it costs where a kernel that reduces reads across,
// and where the operand is transposed before: which sectors the accesses of a warp touch. Nothing
// here has caches, as that formula has none, so it does not show which of the two is faster.
TEST(Transpose, CostsASectorForEachElementThatAReductionReadsAcross) {
  if (!TestsGpu()) GTEST_SKIP() << "of a GPU";
  constexpr int64_t kSide = 256, kElements = kSide * kSide;
  const std::string turn = "permutation = array<i64: 1, 0>";
  const std::vector<std::string> shape = {"256", "256"};
  for (const char* kind : {"row", "column"}) {
    for (const DataType dtype : {DataType::kF32, DataType::kF16, DataType::kF64}) {
      SCOPED_TRACE(absl::StrCat(kind, " ", std::string(NameOf(dtype))));
      const std::string axes = kind == std::string("row") ? "array<i64: 1>" : "array<i64: 0>";
      TestFusion across, turned, along;
      mlir::Value x = across.Op("transpose", {across.Input(dtype, shape)}, turn);
      across.Finish(kind, {across.Op("reduce_max", {x}, "axes = " + axes)});
      turned.Finish("loop", {turned.Op("transpose", {turned.Input(dtype, shape)}, turn)});
      along.Finish(kind, {along.Op("reduce_max", {along.Input(dtype, shape)}, "axes = " + axes)});
      for (TestFusion* f : {&across, &turned, &along}) f->Check({});
      if (!across.sectors()) continue;
      // Beside the elements there are the results, each in one sector at most.
      EXPECT_GE(*across.sectors(), kElements);
      EXPECT_LE(*across.sectors(), kElements + kSide);
      const int64_t apart = *turned.sectors() + *along.sectors();
      EXPECT_GE(32 * apart, 3 * SizeOf(dtype) * kElements);
      EXPECT_LE(32 * (apart - kSide), 3 * SizeOf(dtype) * kElements);
    }
  }
}

// A thread takes as many narrow elements at once as are 4 bytes, of several dtypes in one tile too.
TEST(Transpose, OfAGpuAccessWords) {
  if (!TestsGpu()) GTEST_SKIP() << "of a GPU";
  const std::string turn = "permutation = array<i64: 1, 0>";
  TestFusion f;
  mlir::Value x = f.Input(DataType::kF16, {"192", "128"});
  mlir::Value y = f.Input(DataType::kF32, {"128", "192"});
  mlir::Value wide = f.Op("cast", {f.Op("transpose", {x}, turn)}, "dtype = f32");
  f.Finish("loop", {f.Op("add", {wide, y})});
  f.Check({});
  f.ExpectNoSectorTwice();
  for (const std::string& access : f.GlobalAccesses()) {
    EXPECT_THAT(access, testing::AnyOf("b32", "v2.b32", "v2.b16", "b64"));
  }
  // Where rows have an odd number of elements, one by one.
  TestFusion odd;
  odd.Finish("loop", {odd.Op("transpose", {odd.Input(DataType::kF16, {"33", "65"})}, turn)});
  odd.Check({});
  EXPECT_THAT(odd.GlobalAccesses(), testing::Each("b16"));
}

// Operands that are read across, in place, and both, and only in part.
TEST(Transpose, AmongOtherWork) {
  for (const std::string& target : TestTargets()) {
    TestFusion f(target);
    mlir::Value x = f.Input(DataType::kF32, {"b", "70", "70"}),
                y = f.Input(DataType::kF32, {"b", "70", "70"});
    mlir::Value bias = f.Input(DataType::kF32, {"70", "1"}),
                wide = f.Input(DataType::kF64, {"70", "70"});
    const std::string turn = "permutation = array<i64: 0, 2, 1>",
                      shape = "shape = [\"b\", \"70\", \"70\"]";
    mlir::Value sum = f.Op("add", {f.Op("transpose", {x}, turn), f.Op("mul", {x, y})});
    sum = f.Op("sub", {sum, f.Op("broadcast", {bias}, shape)});
    mlir::Value w = f.Op("transpose", {wide}, "permutation = array<i64: 1, 0>");
    sum = f.Op("add", {sum, f.Op("cast", {f.Op("broadcast", {w}, shape)}, "dtype = f32")});
    mlir::Value part = f.Op("slice", {x},
                            "starts = [\"0\", \"0\", \"0\"], limits = [\"b\", \"70\", \"35\"], "
                            "steps = array<i64: 1, 1, 1>");
    part = f.Op("concat", {part, part}, "axis = 2");
    f.Finish("loop", {f.Op("add", {sum, f.Op("transpose", {part}, turn)}), f.Op("neg", {y})});
    for (int64_t b : {0, 1, 3}) f.Check({{"b", b}});
  }
}

}  // namespace
}  // namespace weft
