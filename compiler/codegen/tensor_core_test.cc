// Contractions of f16 and bf16 on tensor cores: what instructions they become, and every way of
// their operands to shared memory. contraction_test has more shapes, for every dtype and device.
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <limits>
#include <sstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "compiler/codegen/test_contraction.h"
#include "compiler/codegen/test_fusion.h"
#include "gmock/gmock.h"
#include "graph/reference/kernels.h"
#include "gtest/gtest.h"

namespace weft {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

const DataType kNarrow[] = {DataType::kF16, DataType::kBF16};
const char* const kTargets[] = {"cuda:sm_80", "cuda:sm_90a"};

std::string PtxOf(const Product& p, DataType dtype, const std::string& target,
                  const std::string& open = "") {
  TestFusion fusion(target);
  const absl::Status compiled = fusion.TryText("contraction", ProductBody(p, dtype, open));
  EXPECT_TRUE(compiled.ok()) << compiled;
  return compiled.ok() ? fusion.ptx() : "";
}

int CountOf(const std::string& text, const std::string& part) {
  int count = 0;
  for (size_t at = text.find(part); at != text.npos; at = text.find(part, at + 1)) ++count;
  return count;
}

TEST(TensorCore, LargeProductsAreMatrixInstructionsOnAsynchronousCopies) {
  const Product large{{}, 4096, 4096, 4096};
  const std::string ptx = PtxOf(large, DataType::kBF16, "cuda:sm_80");
  EXPECT_THAT(ptx, HasSubstr(".reqntid 256"));
  // A warp's part of the tile is 4 by 4 products, twice in a step of depth.
  EXPECT_EQ(CountOf(ptx, "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32"), 32);
  // All copies are of 16 bytes and none needs a size of its own, as the tiles divide the matrices.
  EXPECT_THAT(ptx, HasSubstr("cp.async.cg.shared.global"));
  EXPECT_THAT(ptx, AllOf(Not(HasSubstr("cp.async.ca")), Not(HasSubstr("ld.global"))));
  EXPECT_THAT(ptx, AllOf(HasSubstr("cp.async.commit_group"), HasSubstr("cp.async.wait_group")));
  // A's rows lie along the depth, B's along the columns.
  EXPECT_EQ(CountOf(ptx, "ldmatrix.sync.aligned.m8n8.x4.shared.b16"), 8);
  EXPECT_EQ(CountOf(ptx, "ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16"), 4);
  // Results are rounded and stored 16 bytes at a time.
  EXPECT_EQ(CountOf(ptx, "st.global"), CountOf(ptx, "st.global.v4.b32"));
  EXPECT_EQ(CountOf(ptx, "st.global"), 8);
  EXPECT_THAT(PtxOf(large, DataType::kF16, "cuda:sm_90a"),
              HasSubstr("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32"));
}

TEST(TensorCore, OthersAreMultiplyAdds) {
  const Product large{{}, 1024, 1024, 1024};
  for (const std::string& ptx :
       {PtxOf(large, DataType::kF32, "cuda:sm_90a"), PtxOf(large, DataType::kF64, "cuda:sm_80"),
        PtxOf(large, DataType::kBF16, "cuda:sm_70")}) {
    EXPECT_THAT(ptx, AllOf(HasSubstr("fma.rn"), Not(HasSubstr("mma.sync"))));
  }
}

TEST(TensorCore, CopiesAreAsWideAsRowsAreAligned) {
  auto ptx = [](int64_t n, int64_t k, const char* open = "") {
    return PtxOf({{}, 64, n, k, false, true}, DataType::kF16, "cuda:sm_80", open);
  };
  EXPECT_THAT(ptx(64, 72), AllOf(HasSubstr("cp.async.cg"), Not(HasSubstr("cp.async.ca"))));
  EXPECT_THAT(ptx(64, 76), AllOf(HasSubstr("], 8, "), Not(HasSubstr("cp.async.cg"))));
  EXPECT_THAT(ptx(64, 74), AllOf(HasSubstr("], 4, "), Not(HasSubstr("cp.async.cg"))));
  EXPECT_THAT(ptx(64, 75), AllOf(HasSubstr("ld.global"), Not(HasSubstr("cp.async.ca")),
                                 Not(HasSubstr("cp.async.cg"))));
  // Which it is may be known no sooner than the kernel runs.
  EXPECT_THAT(ptx(64, 72, "k"), AllOf(HasSubstr("ld.global"), HasSubstr("cp.async.cg")));
  EXPECT_THAT(ptx(64, 72, "m"), AllOf(HasSubstr("cp.async.cg"), Not(HasSubstr("ld.global"))));
}

// Of each dtype and target in turn, with each operand lying either way.
TEST(TensorCore, SizesBesideTheTiles) {
  const int64_t sizes[][3] = {
      {64, 64, 64}, {32, 32, 16}, {16, 8, 16},  {33, 31, 17}, {1, 1, 1},      {5, 40, 1},
      {40, 5, 33},  {96, 72, 40}, {70, 66, 42}, {65, 68, 44}, {130, 24, 200}, {1, 100, 131},
  };
  int i = 0;
  for (const auto& [m, n, k] : sizes) {
    for (bool ta : {false, true}) {
      for (bool tb : {false, true}) {
        CheckProduct({{}, m, n, k, ta, tb}, kNarrow[i % 2], kTargets[i / 2 % 2]);
        ++i;
      }
    }
    ++i;
  }
}

TEST(TensorCore, Batches) {
  int i = 0;
  for (bool ta : {false, true}) {
    for (bool tb : {false, true}) {
      CheckProduct({{3}, 24, 40, 48, ta, tb}, kNarrow[i % 2], kTargets[i / 2 % 2]);
      CheckProduct({{2, 2}, 11, 13, 9, ta, tb}, kNarrow[i % 2], kTargets[i / 2 % 2]);
      CheckProduct({{3}, 24, 40, 48, ta, tb, true}, kNarrow[++i % 2], kTargets[i / 2 % 2]);
      CheckProduct({{2}, 40, 16, 24, ta, tb}, kNarrow[i % 2], kTargets[0], "b");
    }
  }
}

// The same code for sizes whose rows are aligned and for others.
TEST(TensorCore, OpenSizes) {
  int i = 0;
  for (const char* open : {"m", "n", "k", "mnk", "mk"}) {
    for (bool transposed : {false, true}) {
      for (int64_t size : {0, 1, 8, 24, 37}) {
        CheckProduct({{}, size + 3, size + 8, size, transposed, transposed}, kNarrow[i % 2],
                     kTargets[0], open);
        CheckProduct({{}, size, size, size + 16, transposed, !transposed}, kNarrow[i % 2],
                     kTargets[1], open);
        ++i;
      }
    }
  }
  CheckProduct({{3}, 24, 40, 48}, DataType::kF16, kTargets[0], "bmnk");
  CheckProduct({{3}, 25, 41, 49, true, true}, DataType::kBF16, kTargets[0], "bmnk");
  CheckProduct({{3}, 20, 32, 40}, DataType::kBF16, kTargets[0], "bm");
}

// Each shape of tile, more steps of depth than stages, and tiles that are not whole.
TEST(TensorCore, EveryTile) {
  CheckProduct({{}, 1000, 1016, 168}, DataType::kBF16, kTargets[0]);
  CheckProduct({{}, 1016, 504, 104, true, true}, DataType::kF16, kTargets[0]);
  CheckProduct({{}, 60, 8192, 104}, DataType::kBF16, kTargets[0]);
  CheckProduct({{}, 500, 512, 168, false, true}, DataType::kF16, kTargets[0]);
  CheckProduct({{}, 30, 4096, 168}, DataType::kBF16, kTargets[0]);
  CheckProduct({{}, 30, 60, 400}, DataType::kF16, kTargets[0]);
}

// Copies and loads of fragments touch each bank once, however the operands lie.
TEST(TensorCore, NoBankConflicts) {
  for (const auto& [m, n, k] :
       {std::array<int64_t, 3>{1024, 1024, 64}, std::array<int64_t, 3>{512, 512, 64},
        std::array<int64_t, 3>{64, 64, 64}}) {
    for (bool ta : {false, true}) {
      for (bool tb : {false, true}) {
        SCOPED_TRACE(absl::StrCat(m, " ", n, " ", k, " ", ta, " ", tb));
        TestFusion fusion(kTargets[0]);
        const Product p{{}, m, n, k, ta, tb};
        ASSERT_TRUE(fusion.TryText("contraction", ProductBody(p, DataType::kF16, "")).ok());
        const HostTensor a = RandomHalves(DataType::kF16, Join({}, m, k, ta), 1);
        const HostTensor b = RandomHalves(DataType::kF16, Join({}, k, n, tb), 2);
        ASSERT_TRUE(fusion.TryRun({a, b}, {}).ok());
        EXPECT_EQ(fusion.bank_conflicts(), 0);
      }
    }
  }
}

// What stands for depth that is not there is zero, on both sides: an infinity stays in its row and
// column.
TEST(TensorCore, InfinitiesStayWhereTheyAre) {
  constexpr int64_t kRows = 20, kColumns = 24;
  for (int64_t depth : {3, 8, 17, 36}) {
    for (bool ta : {false, true}) {
      for (bool tb : {false, true}) {
        SCOPED_TRACE(absl::StrCat(depth, " ", ta, " ", tb));
        HostTensor a = RandomHalves(DataType::kBF16, Join({}, kRows, depth, ta), 1);
        HostTensor b = RandomHalves(DataType::kBF16, Join({}, depth, kColumns, tb), 2);
        const float infinity = std::numeric_limits<float>::infinity();
        const int64_t last = depth - 1;
        a.mutable_values<BF16>()[static_cast<size_t>(ta ? last * kRows + 5 : 5 * depth + last)] =
            BF16(infinity);
        b.mutable_values<BF16>()[static_cast<size_t>(tb ? 7 * depth : 7)] = BF16(infinity);
        auto got = RunFusion("contraction",
                             ProductBody({{}, kRows, kColumns, depth, ta, tb}, DataType::kBF16, ""),
                             {a, b}, {}, kTargets[0]);
        ASSERT_TRUE(got.ok()) << got.status();
        for (int64_t row = 0; row < kRows; ++row) {
          for (int64_t column = 0; column < kColumns; ++column) {
            if (row == 5 || column == 7) continue;
            ASSERT_TRUE(std::isfinite(static_cast<float>(
                (*got)[0].values<BF16>()[static_cast<size_t>(row * kColumns + column)])))
                << row << " " << column;
          }
        }
      }
    }
  }
}

// bias, an activation and a residual, as f32 and as bf16, in the kernel of the product.
TEST(TensorCore, Epilogue) {
  for (const int64_t columns : {64, 36, 50, 33}) {
    SCOPED_TRACE(columns);
    const HostTensor a = RandomHalves(DataType::kBF16, {45, 40}, 1);
    const HostTensor b = RandomHalves(DataType::kBF16, {40, columns}, 2);
    const HostTensor bias = RandomHalves(DataType::kBF16, {columns}, 3);
    const HostTensor residual = RandomHalves(DataType::kBF16, {45, columns}, 4);
    TestFusion fusion("cuda:sm_80");
    const std::string n = absl::StrCat(columns);
    const std::string y = "tensor<45x" + n + "xbf16>", wide = "tensor<45x" + n + "xf32>";
    const std::string body = absl::StrCat(
        "^bb0(%a: tensor<45x40xbf16>, %b: tensor<40x", n, "xbf16>, %bias: tensor<", n,
        "xbf16>, %residual: ", y,
        "):\n%s = \"weft.matmul\"(%a, %b) : (tensor<45x40xbf16>, tensor<40x", n, "xbf16>) -> ", y,
        "\n%r = \"weft.reshape\"(%bias) {shape = [\"1\", \"", n, "\"]} : (tensor<", n,
        "xbf16>) -> tensor<1x", n, "xbf16>\n%v = \"weft.broadcast\"(%r) {shape = [\"45\", \"", n,
        "\"]} : (tensor<1x", n, "xbf16>) -> ", y, "\n%t = \"weft.add\"(%s, %v) : (", y, ", ", y,
        ") -> ", y, "\n%u = \"weft.abs\"(%t) : (", y, ") -> ", y,
        "\n%z = \"weft.add\"(%u, %residual) : (", y, ", ", y, ") -> ", y,
        "\n%w = \"weft.cast\"(%t) {dtype = f32} : (", y, ") -> ", wide,
        "\n\"plan.yield\"(%z, %w) : (", y, ", ", wide, ") -> ()");
    const absl::Status compiled = fusion.TryText("contraction", body);
    ASSERT_TRUE(compiled.ok()) << compiled;
    EXPECT_THAT(fusion.ptx(), HasSubstr("mma.sync"));
    const std::vector<HostTensor> inputs = {a, b, bias, residual};
    const auto got = fusion.TryRun(inputs, {});
    ASSERT_TRUE(got.ok()) << got.status();
    const std::vector<HostTensor> want = fusion.Evaluate(inputs, {});
    ExpectEqual((*got)[0], want[0]);
    ExpectEqual((*got)[1], want[1]);
  }
}

// Where the toolkit's assembler is at hand, it takes the kernels for the generation they are for,
// and all that a thread has under way stays in registers.
TEST(TensorCore, TheAssemblerKeepsAllInRegisters) {
  if (std::system("ptxas --version > /dev/null 2>&1") != 0) GTEST_SKIP() << "no ptxas";
  struct Case {
    Product product;
    const char* open = "";
  };
  int i = 0;
  for (const Case& c :
       {Case{{{}, 4096, 4096, 4096}}, Case{{{}, 4096, 4096, 4096, true, true}},
        Case{{{}, 4096, 4096, 4100, false, true}}, Case{{{}, 4096, 512, 333}},
        Case{{{}, 512, 512, 512}}, Case{{{}, 64, 64, 64, true}}, Case{{{2}, 64, 64, 64}, "bmnk"}}) {
    for (const char* target : kTargets) {
      SCOPED_TRACE(absl::StrCat(i, " ", target));
      const std::string path = absl::StrCat(testing::TempDir(), "/kernel", i++, ".ptx");
      std::ofstream(path) << PtxOf(c.product, kNarrow[i % 2], target, c.open);
      const std::string command = absl::StrCat("ptxas -v -arch=", target + 5, " -o ", path,
                                               ".cubin ", path, " > ", path, ".log 2>&1");
      const int exit = std::system(command.c_str());
      std::stringstream log;
      log << std::ifstream(path + ".log").rdbuf();
      EXPECT_EQ(exit, 0) << log.str();
      EXPECT_THAT(log.str(), AllOf(HasSubstr("0 bytes spill stores"), HasSubstr("Used ")));
      std::cout << log.str();
    }
  }
}

}  // namespace
}  // namespace weft
