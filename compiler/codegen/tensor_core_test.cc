// Contractions of f16, bf16 and tf32 on tensor cores: what instructions they become, and every way
// of their operands to shared memory. contraction_test has more shapes, for every dtype and device.
#include <array>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <limits>
#include <optional>
#include <random>
#include <set>
#include <sstream>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "compiler/codegen/cuda/tensor_tiling.h"
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
using testing::UnorderedElementsAre;

// What tensor cores multiply: f32 where tf32 is allowed.
const DataType kDTypes[] = {DataType::kF16, DataType::kBF16, DataType::kF32};
const char* const kTargets[] = {"cuda:sm_80", "cuda:sm_90a"};

// The targets with tf32; and the last as a GPU on which small results have tiles of warpgroups.
const std::vector<Target>& TargetsToRun() {
  static const auto* const targets = new std::vector<Target>{
      WithTf32(kTargets[0]), WithTf32(kTargets[1]), WithOneMultiprocessor(WithTf32(kTargets[1]))};
  return *targets;
}

void Check(const Product& p, DataType dtype, const std::string& target,
           const std::string& open = "") {
  CheckProduct(p, dtype, WithTf32(target), open);
}

std::string PtxOf(const std::string& body, const Target& target) {
  TestFusion fusion(target);
  const absl::Status compiled = fusion.TryText("contraction", body);
  EXPECT_TRUE(compiled.ok()) << compiled;
  return compiled.ok() ? fusion.ptx() : "";
}
std::string PtxOf(const Product& p, DataType dtype, const Target& target,
                  const std::string& open = "") {
  return PtxOf(ProductBody(p, dtype, open), target);
}
std::string PtxOf(const Product& p, DataType dtype, const std::string& target,
                  const std::string& open = "") {
  return PtxOf(p, dtype, *Target::Parse(target), open);
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
  // The stages are more than code can declare.
  EXPECT_THAT(ptx, HasSubstr(".extern .shared .align 1024 .b8 block_scratch[]"));
  // A warp's part of the tile is 4 by 8 products, twice in a step of depth.
  EXPECT_EQ(CountOf(ptx, "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32"), 64);
  // All copies are of 16 bytes and none needs a size of its own, as the tiles divide the matrices.
  EXPECT_THAT(ptx, HasSubstr("cp.async.cg.shared.global"));
  EXPECT_THAT(ptx, AllOf(Not(HasSubstr("cp.async.ca")), Not(HasSubstr("ld.global"))));
  EXPECT_THAT(ptx, AllOf(HasSubstr("cp.async.commit_group"), HasSubstr("cp.async.wait_group")));
  // A's rows lie along the depth, B's along the columns.
  EXPECT_EQ(CountOf(ptx, "ldmatrix.sync.aligned.m8n8.x4.shared.b16"), 8);
  EXPECT_EQ(CountOf(ptx, "ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16"), 8);
  // Results are rounded and stored 16 bytes at a time.
  EXPECT_EQ(CountOf(ptx, "st.global"), CountOf(ptx, "st.global.v4.b32"));
  EXPECT_EQ(CountOf(ptx, "st.global"), 16);
  EXPECT_THAT(PtxOf(large, DataType::kF16, "cuda:sm_90"),
              HasSubstr("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32"));
}

// Tensor maps want rows of a multiple of 16 bytes: what has others is copied by all threads.
TEST(TensorCore, LargeProductsOfSm90aAreOfWarpgroups) {
  const std::string ptx = PtxOf({{}, 4096, 4096, 4100}, DataType::kBF16, "cuda:sm_90a");
  // 64 steps of depth; what threads copied is for asynchronous operations before the barrier.
  EXPECT_EQ(CountOf(ptx, "wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16"), 4);
  const size_t loop = ptx.find("fence.proxy.async.shared::cta");
  ASSERT_NE(loop, ptx.npos);
  EXPECT_LT(ptx.find("bar.sync", loop), ptx.find("wgmma.mma_async", loop));
  EXPECT_THAT(ptx, HasSubstr("wgmma.wait_group.sync.aligned \t1"));
  EXPECT_THAT(ptx, AllOf(HasSubstr("cp.async.cg.shared.global"), Not(HasSubstr("ldmatrix")),
                         Not(HasSubstr("mma.sync")), Not(HasSubstr("cp.async.bulk"))));
  EXPECT_THAT(PtxOf({{}, 65536, 128, 4096}, DataType::kF16, "cuda:sm_90a"),
              HasSubstr("wgmma.mma_async.sync.aligned.m64n128k16.f32.f16.f16"));
  // A row of 32 of them is half of a warpgroup's.
  EXPECT_THAT(PtxOf({{}, 32, 8192, 4096}, DataType::kF16, "cuda:sm_90a"),
              AllOf(HasSubstr("mma.sync"), Not(HasSubstr("wgmma"))));
}

constexpr char kBoxCopy[] = "cp.async.bulk.tensor.2d.shared::cluster.global";

// One warpgroup besides brings boxes of the operands: those of whole matrices, or of batches of
// them.
TEST(TensorCore, TensorMapsBringWhatLiesInRowsOf16Bytes) {
  for (const bool ta : {false, true}) {
    for (const bool tb : {false, true}) {
      SCOPED_TRACE(absl::StrCat(ta, " ", tb));
      const std::string ptx = PtxOf({{}, 4096, 4096, 4096, ta, tb}, DataType::kBF16, "cuda:sm_90a");
      EXPECT_THAT(ptx, AllOf(HasSubstr(".reqntid 384"), HasSubstr(".minnctapersm 1"),
                             HasSubstr("setmaxnreg.inc")));
      EXPECT_EQ(CountOf(ptx, ".param .align 64 .b8 "), 2);
      // A tile of 128 x 256 in panels of 64, where those are not rows of the depth.
      EXPECT_EQ(CountOf(ptx, kBoxCopy), (ta ? 2 : 1) + (tb ? 1 : 4));
      EXPECT_EQ(CountOf(ptx, "wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16"), 4);
      EXPECT_THAT(ptx, AllOf(HasSubstr("mbarrier.try_wait.parity"),
                             HasSubstr("mbarrier.arrive.expect_tx"), Not(HasSubstr("cp.async.c")),
                             Not(HasSubstr("cp.async.wait_group")), Not(HasSubstr("ld.global"))));
    }
  }
  const auto maps = [](const Product& p, DataType dtype, const Target& target,
                       const std::string& open = "") {
    TestFusion fusion(target);
    const absl::Status compiled = fusion.TryText("contraction", ProductBody(p, dtype, open));
    EXPECT_TRUE(compiled.ok()) << compiled;
    EXPECT_EQ(fusion.spec().maps.empty(), fusion.ptx().find("cp.async.bulk") == std::string::npos);
    return fusion.spec().maps;
  };
  const Target target = *Target::Parse("cuda:sm_90a");
  const DataType f16 = DataType::kF16;
  const std::vector<KernelMap> two = maps({{}, 4096, 4096, 4096, true, true}, f16, target);
  ASSERT_EQ(two.size(), 2u);
  EXPECT_EQ(two[0], (KernelMap{0, 2, 128, 2, {64, 64}}));
  EXPECT_EQ(two[1], (KernelMap{1, 2, 128, 2, {64, 256}}));
  const std::vector<KernelMap> three = maps({{8}, 4096, 4096, 4096}, f16, target);
  ASSERT_EQ(three.size(), 2u);
  EXPECT_EQ(three[0], (KernelMap{0, 2, 128, 3, {64, 128, 1}}));
  EXPECT_EQ(three[1], (KernelMap{1, 2, 128, 3, {64, 64, 1}}));
  // One right operand for all of the batch.
  const std::vector<KernelMap> shared =
      maps({{8}, 4096, 4096, 4096, false, false, true}, f16, target);
  ASSERT_EQ(shared.size(), 2u);
  EXPECT_EQ(shared[0].rank, 2u);
  EXPECT_EQ(shared[1].rank, 2u);
  EXPECT_EQ(maps({{8}, 4096, 4096, 4096, true, false, true}, f16, target)[1].rank, 2u);
  // Open sizes, as long as strides are known well enough.
  for (const char* open : {"m", "b", "bm"}) {
    EXPECT_EQ(maps({{8}, 4096, 4096, 4096}, f16, target, open).size(), 2u) << open;
  }
  EXPECT_EQ(maps({{}, 4096, 4096, 4096, true, false}, f16, target, "k").size(), 2u);
  EXPECT_EQ(maps({{}, 4096, 4096, 4096, false, true}, f16, target, "mn").size(), 2u);
  for (const char* open : {"n", "k"}) {
    EXPECT_EQ(maps({{}, 4096, 4096, 4096}, f16, target, open).size(), 0u) << open;
  }
  for (const Product& p : {Product{{}, 4096, 4096, 4100}, Product{{}, 4096, 4100, 4096},
                           Product{{}, 4100, 4096, 4096, true}, Product{{}, 32, 4096, 4096},
                           Product{{}, 4096, 4096, 0}}) {
    EXPECT_EQ(maps(p, f16, target).size(), 0u) << p.m << " " << p.n << " " << p.k;
  }
  EXPECT_EQ(maps({{}, 4096, 4096, 4096}, f16, *Target::Parse("cuda:sm_90")).size(), 0u);
  EXPECT_EQ(maps({{}, 4096, 4096, 4096}, DataType::kF32, WithTf32("cuda:sm_90a")).size(), 0u);
  // Windows that are pixels.
  EXPECT_THAT(PtxOf(ConvBody({{8, 56, 56, 64}, {1, 1, 64, 1024}}, f16, "n"), target),
              HasSubstr(kBoxCopy));
}

constexpr char kPixelCopy[] =
    "cp.async.bulk.tensor.4d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes";

// A pixel of each window of a tile comes by one copy, which has zeros for what is outside of the
// image; of a filter's gradient, one for each 64 rows, which are channels of one pixel.
TEST(TensorCore, TensorMapsBringWindows) {
  const Target target = *Target::Parse("cuda:sm_90a");
  const auto maps = [&](const std::string& body, const Target& on) {
    TestFusion fusion(on);
    const absl::Status compiled = fusion.TryText("contraction", body);
    EXPECT_TRUE(compiled.ok()) << compiled;
    EXPECT_EQ(fusion.spec().maps.empty(), fusion.ptx().find("im2col") == std::string::npos);
    return fusion.spec().maps;
  };
  const Conv conv{{8, 56, 60, 64}, {3, 5, 64, 256}, {2, 1}, {1, 3}, 1, {1, 0, 4, 6}};
  const DataType f16 = DataType::kF16;
  const std::vector<KernelMap> two = maps(ConvBody(conv, f16, ""), target);
  ASSERT_EQ(two.size(), 2u);
  EXPECT_EQ(two[0], (KernelMap{0, 2, 128, 4, {64, 128}, true, {-4, -1}, {-6, -2}, {1, 2}}));
  EXPECT_EQ(two[1], (KernelMap{1, 2, 128, 3, {64, 64, 1}}));
  const std::string ptx = PtxOf(ConvBody(conv, f16, ""), target);
  EXPECT_EQ(CountOf(ptx, kPixelCopy), 1);
  EXPECT_EQ(CountOf(ptx, "cp.async.bulk.tensor.3d"), 4);
  EXPECT_EQ(CountOf(ptx, "wgmma.mma_async.sync.aligned.m64n256k16.f32.f16.f16"), 4);
  EXPECT_THAT(ptx, AllOf(Not(HasSubstr("cp.async.c")), Not(HasSubstr("ld.global"))));

  Conv wide = conv;
  wide.image[3] = wide.filter[2] = 512;
  const std::vector<KernelMap> grad = maps(FilterGradBody(wide, f16, ""), target);
  ASSERT_EQ(grad.size(), 2u);
  EXPECT_EQ(grad[0].rank, 4u);
  EXPECT_EQ(grad[0].box, (std::array<uint32_t, 5>{64, 64}));
  EXPECT_EQ(grad[1].rank, 2u);
  const std::string of_grad = PtxOf(FilterGradBody(wide, f16, "n"), target);
  EXPECT_GE(CountOf(of_grad, kPixelCopy), 1);
  EXPECT_THAT(of_grad, AllOf(HasSubstr(kBoxCopy), Not(HasSubstr("cp.async.c"))));

  // Where a map cannot have it, or much of it would be zeros, threads copy.
  const auto forward = [&](const Conv& other, DataType dtype = DataType::kBF16) {
    return maps(ConvBody(other, dtype, ""), WithTf32("cuda:sm_90a")).size();
  };
  const Ints image = {8, 56, 56, 64};
  EXPECT_EQ(forward({image, {3, 3, 64, 256}}), 2u);
  EXPECT_EQ(forward({{8, 56, 56, 48}, {3, 3, 48, 256}}), 2u);
  EXPECT_EQ(forward({{8, 56, 56, 40}, {3, 3, 40, 256}}), 0u);
  EXPECT_EQ(forward({{8, 56, 56, 60}, {3, 3, 60, 256}}), 0u);
  EXPECT_EQ(forward({image, {3, 3, 64, 250}}), 0u);
  EXPECT_EQ(forward({image, {3, 3, 64, 256}, {8, 1}}), 2u);
  EXPECT_EQ(forward({image, {3, 3, 64, 256}, {9, 1}}), 0u);
  EXPECT_EQ(forward({{8, 300, 56, 64}, {2, 3, 64, 256}, {1, 1}, {128, 1}}), 2u);
  EXPECT_EQ(forward({{8, 300, 56, 64}, {2, 3, 64, 256}, {1, 1}, {129, 1}}), 0u);
  EXPECT_EQ(forward({image, {3, 3, 32, 256}, {1, 1}, {1, 1}, 2}), 0u);
  EXPECT_EQ(forward({image, {3, 3, 64, 256}}, DataType::kF32), 0u);
  EXPECT_EQ(maps(ConvBody({image, {3, 3, 64, 256}}, f16, "n"), *Target::Parse("cuda:sm_90")).size(),
            0u);
  // Rows of a gradient are no panels of one pixel.
  EXPECT_EQ(maps(FilterGradBody({{8, 56, 56, 96}, {3, 3, 96, 256}}, f16, "n"), target).size(), 0u);
}

// What only copies of maps can pad is refused elsewhere.
TEST(TensorCore, PaddingIsForTensorMaps) {
  const Conv conv{{2, 6, 7, 64}, {3, 3, 64, 64}, {1, 1}, {1, 1}, 1, {1, 1, 1, 1}};
  for (const Target& target : TargetsToRun()) {
    TestFusion fusion(target);
    const absl::Status status = fusion.TryText("contraction", ConvBody(conv, DataType::kF16, "n"));
    EXPECT_EQ(status.ok(), target.multiprocessors == 1) << status;
    if (!status.ok()) EXPECT_THAT(std::string(status.message()), HasSubstr("with padding"));
  }
}

TEST(TensorCore, OthersAreMultiplyAdds) {
  const Product large{{}, 1024, 1024, 1024};
  for (const std::string& ptx :
       {PtxOf(large, DataType::kF32, "cuda:sm_90a"), PtxOf(large, DataType::kF64, "cuda:sm_80"),
        PtxOf(large, DataType::kF64, WithTf32("cuda:sm_80")),
        PtxOf(large, DataType::kF32, WithTf32("cuda:sm_70")),
        PtxOf(large, DataType::kBF16, "cuda:sm_70")}) {
    EXPECT_THAT(ptx, AllOf(HasSubstr("fma.rn"), Not(HasSubstr("mma.sync"))));
  }
}

TEST(TensorCore, Tf32) {
  const Product large{{}, 4096, 4096, 4096};
  const std::string warps = PtxOf(large, DataType::kF32, WithTf32("cuda:sm_80"));
  EXPECT_THAT(warps, HasSubstr(".reqntid 256"));
  EXPECT_EQ(CountOf(warps, "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32"), 64);
  // Fragments are rounded: of 64 rows and as many columns, twice in a step of depth.
  EXPECT_EQ(CountOf(warps, "cvt.rna.tf32.f32"), 2 * 2 * 16);
  EXPECT_EQ(CountOf(warps, "ldmatrix.sync.aligned.m8n8.x4.shared.b16"), 16);
  // A's rows lie along the depth, B's are turned by copies of one element.
  EXPECT_THAT(warps, AllOf(HasSubstr("cp.async.cg.shared.global"), HasSubstr("], 4;"),
                           Not(HasSubstr(".trans")), Not(HasSubstr("ld.global"))));
  const Product along{{}, 4096, 4096, 4096, false, true};
  EXPECT_THAT(PtxOf(along, DataType::kF32, WithTf32("cuda:sm_90")),
              AllOf(HasSubstr("cp.async.cg.shared.global"), Not(HasSubstr("cp.async.ca"))));

  // B's rows are turned by threads. All are rounded in shared memory: 48 KB a stage, 256 threads.
  const std::string groups = PtxOf(large, DataType::kF32, WithTf32("cuda:sm_90a"));
  EXPECT_EQ(CountOf(groups, "wgmma.mma_async.sync.aligned.m64n256k8.f32.tf32.tf32"), 4);
  EXPECT_EQ(CountOf(groups, "cvt.rna.tf32.f32"), 48);
  EXPECT_LT(groups.find("cvt.rna.tf32.f32"), groups.find("fence.proxy.async.shared::cta"));
  EXPECT_THAT(groups, Not(HasSubstr("cp.async.bulk")));

  // Copies of boxes leave them as they are: the threads that multiply round all of a stage between
  // the wait for its bytes and a barrier of their own.
  const std::string mapped = PtxOf(along, DataType::kF32, WithTf32("cuda:sm_90a"));
  EXPECT_EQ(CountOf(mapped, kBoxCopy), 2);
  EXPECT_EQ(CountOf(mapped, "wgmma.mma_async.sync.aligned.m64n256k8.f32.tf32.tf32"), 4);
  EXPECT_EQ(CountOf(mapped, "cvt.rna.tf32.f32"), 48);
  const size_t rounded = mapped.rfind("cvt.rna.tf32.f32");
  const size_t fence = mapped.find("fence.proxy.async.shared::cta", rounded);
  const size_t barrier = mapped.find("bar.sync", fence);
  EXPECT_LT(barrier, mapped.find("wgmma.mma_async", barrier));
  EXPECT_EQ(mapped.find("wgmma.mma_async"), mapped.find("wgmma.mma_async", barrier));
  EXPECT_THAT(mapped.substr(barrier, 40), HasSubstr("1, 256;"));
  // Rows that no box begins at.
  EXPECT_THAT(PtxOf({{}, 4096, 4096, 4098, false, true}, DataType::kF32, WithTf32("cuda:sm_90a")),
              AllOf(HasSubstr("wgmma"), Not(HasSubstr("cp.async.bulk"))));
}

std::vector<float> RandomNormal(size_t count, unsigned seed) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(engine);
  return values;
}

// To 11 significant bits, to nearest, ties away from zero.
float RoundToTf32(float x) {
  return std::bit_cast<float>((std::bit_cast<uint32_t>(x) + 0x1000u) & 0xffffe000u);
}

// Operands are rounded to nearest, and nothing is lost besides what adding up eight products at a
// time in f32 loses.
TEST(TensorCore, Tf32IsAsExactAsItSays) {
  constexpr int64_t kRows = 72, kColumns = 52, kDepth = 84;
  const std::vector<float> a = RandomNormal(kRows * kDepth, 1);
  const std::vector<float> b = RandomNormal(kDepth * kColumns, 2);
  std::vector<float> a_turned(a.size()), b_turned(b.size());
  for (int64_t k = 0; k < kDepth; ++k) {
    for (int64_t i = 0; i < kRows; ++i) a_turned[k * kRows + i] = a[i * kDepth + k];
    for (int64_t j = 0; j < kColumns; ++j) b_turned[j * kDepth + k] = b[k * kColumns + j];
  }
  for (const Target& target : TargetsToRun()) {
    for (bool ta : {false, true}) {
      for (bool tb : {false, true}) {
        SCOPED_TRACE(absl::StrCat(target.name, " ", target.multiprocessors, " ", ta, " ", tb));
        const HostTensor left =
            HostTensor::Of<float>(Join({}, kRows, kDepth, ta), ta ? a_turned : a);
        const HostTensor right =
            HostTensor::Of<float>(Join({}, kDepth, kColumns, tb), tb ? b_turned : b);
        const auto got = RunFusion(
            "contraction", ProductBody({{}, kRows, kColumns, kDepth, ta, tb}, DataType::kF32, ""),
            {left, right}, {}, target);
        ASSERT_TRUE(got.ok()) << got.status();
        bool rounded_down = false;
        for (int64_t i = 0; i < kRows; ++i) {
          for (int64_t j = 0; j < kColumns; ++j) {
            double rounded = 0, exact = 0, magnitudes = 0;
            for (int64_t k = 0; k < kDepth; ++k) {
              const float x = a[i * kDepth + k], y = b[k * kColumns + j];
              rounded += double{RoundToTf32(x)} * double{RoundToTf32(y)};
              exact += double{x} * double{y};
              magnitudes += std::fabs(double{x} * double{y});
            }
            const double value = (*got)[0].values<float>()[i * kColumns + j];
            // Of each operand 2^-11, and of each partial sum 2^-24; these are no larger than the
            // magnitudes of rounded products.
            constexpr double kOperands = 0x1p-10 + 0x1p-22;
            constexpr double kAdding = (kDepth + 7) / 8 * 0x1p-24 * (1 + kOperands);
            ASSERT_LE(std::fabs(value - rounded), kAdding * magnitudes) << i << " " << j;
            ASSERT_LE(std::fabs(value - exact), (kOperands + kAdding) * magnitudes);
            rounded_down |= std::fabs(value - exact) > kAdding * magnitudes;
          }
        }
        // It is not f32 by accident.
        EXPECT_TRUE(rounded_down);
      }
    }
  }
}

// Without tf32, each sum is that of one multiply-add after the other, to the last bit.
TEST(TensorCore, F32StaysExactUnlessTf32IsAllowed) {
  constexpr int64_t kRows = 40, kColumns = 36, kDepth = 75;
  const std::vector<float> a = RandomNormal(kRows * kDepth, 1);
  const std::vector<float> b = RandomNormal(kDepth * kColumns, 2);
  for (const char* target : kTargets) {
    const auto got = RunFusion(
        "contraction", ProductBody({{}, kRows, kColumns, kDepth}, DataType::kF32, ""),
        {HostTensor::Of<float>({kRows, kDepth}, a), HostTensor::Of<float>({kDepth, kColumns}, b)},
        {}, target);
    ASSERT_TRUE(got.ok()) << got.status();
    for (int64_t i = 0; i < kRows; ++i) {
      for (int64_t j = 0; j < kColumns; ++j) {
        float sum = 0;
        for (int64_t k = 0; k < kDepth; ++k) {
          sum = std::fma(a[i * kDepth + k], b[k * kColumns + j], sum);
        }
        ASSERT_EQ((*got)[0].values<float>()[i * kColumns + j], sum) << i << " " << j;
      }
    }
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
        Check({{}, m, n, k, ta, tb}, kDTypes[i % 3], kTargets[i / 2 % 2]);
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
      Check({{3}, 24, 40, 48, ta, tb}, kDTypes[i % 3], kTargets[i / 2 % 2]);
      Check({{2, 2}, 11, 13, 9, ta, tb}, kDTypes[i % 3], kTargets[i / 2 % 2]);
      ++i;
      Check({{3}, 24, 40, 48, ta, tb, true}, kDTypes[i % 3], kTargets[i / 2 % 2]);
      Check({{2}, 40, 16, 24, ta, tb}, kDTypes[i % 3], kTargets[0], "b");
    }
  }
}

// The same code for sizes whose rows are aligned and for others.
TEST(TensorCore, OpenSizes) {
  int i = 0;
  for (const std::string open : {"m", "n", "k", "mnk", "mk"}) {
    for (bool transposed : {false, true}) {
      for (int64_t size : {0, 1, 8, 24, 37}) {
        // The others say enough of sizes that are known.
        if (open.size() == 1 && (size == 1 || size == 8)) continue;
        Check({{}, size + 3, size + 8, size, transposed, transposed}, kDTypes[i % 3], kTargets[0],
              open);
        CheckProduct({{}, size, size, size + 16, transposed, !transposed}, kDTypes[i % 3],
                     TargetsToRun()[1 + i % 2], open);
        ++i;
      }
    }
  }
  Check({{3}, 24, 40, 48}, DataType::kF16, kTargets[0], "bmnk");
  Check({{3}, 25, 41, 49, true, true}, DataType::kBF16, kTargets[0], "bmnk");
  Check({{3}, 20, 32, 40}, DataType::kBF16, kTargets[0], "bm");
}

// Each shape of tile, with so many steps of depth that each stage is filled again, and tiles that
// are not whole. Of the dtypes, of one size, in turn.
void CheckEveryTile(const std::vector<DataType>& dtypes) {
  struct Case {
    std::pair<int64_t, int64_t> tile;
    const char* target;
    Product product;
  };
  const char* const warps = kTargets[0];
  const char* const groups = kTargets[1];
  const int64_t element_bytes = SizeOf(dtypes.front());
  size_t i = 0;
  for (const Case& c :
       {Case{{128, 256}, warps, {{}, 130, 136, 136}},
        Case{{256, 128}, warps, {{2}, 136, 72, 136, true, true}},
        Case{{128, 128}, warps, {{2}, 72, 68, 136}},
        Case{{128, 64}, warps, {{}, 184, 8, 136, true, true}},
        Case{{64, 128}, warps, {{2}, 8, 100, 136}},
        Case{{64, 64}, warps, {{2}, 40, 8, 168, false, true}},
        Case{{32, 64}, warps, {{2}, 6, 40, 168}}, Case{{32, 32}, warps, {{2}, 6, 24, 168, true}},
        Case{{128, 256}, groups, {{}, 130, 136, 264}},
        Case{{256, 128}, groups, {{2}, 168, 40, 264, true, true}},
        Case{{128, 128}, groups, {{2}, 72, 100, 264, false, true}},
        Case{{128, 64}, groups, {{2}, 72, 40, 264, true, false}},
        Case{{64, 128}, groups, {{2}, 34, 104, 264, false, true}},
        Case{{64, 128}, groups, {{2}, 34, 100, 263, false, false}},
        Case{{64, 64}, groups, {{2}, 40, 24, 264, true, true}},
        Case{{64, 64}, groups, {{3}, 40, 22, 270}}, Case{{32, 64}, groups, {{2}, 6, 40, 168}},
        Case{{32, 32}, groups, {{2}, 6, 24, 168, true}}}) {
    SCOPED_TRACE(absl::StrCat(c.target, " ", c.tile.first, " x ", c.tile.second));
    const Target target = WithOneMultiprocessor(WithTf32(c.target));
    Product p = c.product;
    p.k = p.k * 2 / element_bytes;
    ContractionShape shape;
    shape.batches = p.batch.empty() ? 1 : p.batch[0];
    shape.segments = 1;
    shape.rows = p.m;
    shape.columns = p.n;
    shape.depth = p.k;
    const TensorTiling tiling = ChooseTensorTiling(shape, element_bytes, target);
    EXPECT_EQ(std::pair(tiling.rows, tiling.columns), c.tile);
    EXPECT_EQ(tiling.warpgroups, c.target == groups && tiling.rows >= 64);
    EXPECT_GT(p.k, tiling.stages * tiling.depth());
    // More than one tile, and the last ones not whole.
    EXPECT_GT((p.batch.empty() ? 1 : p.batch[0]) * ((p.m + tiling.rows - 1) / tiling.rows) *
                  ((p.n + tiling.columns - 1) / tiling.columns),
              1);
    EXPECT_NE(p.m % tiling.rows, 0);
    EXPECT_NE(p.n % tiling.columns, 0);
    CheckProduct(p, dtypes[i++ % dtypes.size()], target);
  }
}

TEST(TensorCore, EveryTile) { CheckEveryTile({DataType::kF16, DataType::kBF16}); }
TEST(TensorCore, EveryTileOfTf32) { CheckEveryTile({DataType::kF32}); }

// The product by tensor maps, on a GPU of so many multiprocessors; of f32, of tf32.
void CheckMapped(const Product& p, DataType dtype, int64_t multiprocessors,
                 const std::string& open = "") {
  SCOPED_TRACE(absl::StrCat(multiprocessors, " multiprocessors"));
  Target target = WithTf32(kTargets[1]);
  target.multiprocessors = multiprocessors;
  EXPECT_THAT(PtxOf(p, dtype, target, open), HasSubstr("cp.async.bulk.tensor"));
  CheckProduct(p, dtype, target, open);
}

// Blocks that take one tile after the other, several of them and one; depths of part of a stage, of
// one, and of more than all stages; each operand either way, and sizes that no box divides.
TEST(TensorCore, TilesOneAfterTheOther) {
  int i = 0;
  for (const bool ta : {false, true}) {
    for (const bool tb : {false, true}) {
      for (const int64_t depth : {8, 56, 64, 72, 264}) {
        CheckMapped({{}, 136, 264, depth, ta, tb}, i % 2 == 0 ? DataType::kF16 : DataType::kBF16,
                    1 + i % 3);
        ++i;
      }
      CheckMapped({{3}, 72, 72, 72, ta, tb}, DataType::kF16, 2);
      CheckMapped({{2}, 72, 72, 72, ta, tb, true}, DataType::kBF16, 2);
      CheckMapped({{2, 2}, 40, 104, 40, ta, tb}, DataType::kF16, 1);
    }
  }
  // More blocks than tiles.
  CheckMapped({{}, 72, 72, 136}, DataType::kF16, 3);
  // What need not be a multiple of anything.
  CheckMapped({{}, 67, 72, 136}, DataType::kF16, 1);
  CheckMapped({{}, 72, 67, 136, false, true}, DataType::kBF16, 1);
  CheckMapped({{}, 72, 72, 133, true, false}, DataType::kF16, 1);
  CheckMapped({{}, 1, 1, 64, false, true}, DataType::kF16, 1, "mn");
}

// Those of f32 lie along the depth.
TEST(TensorCore, TilesOfTf32OneAfterTheOther) {
  const DataType f32 = DataType::kF32;
  int i = 0;
  for (const int64_t depth : {4, 28, 32, 36, 132}) {
    CheckMapped({{}, 136, 260, depth, false, true}, f32, 1 + i++ % 3);
  }
  CheckMapped({{3}, 72, 72, 36, false, true}, f32, 2);
  CheckMapped({{2}, 72, 72, 36, false, true, true}, f32, 2);
  CheckMapped({{}, 67, 73, 68, false, true}, f32, 1);
  for (const int64_t size : {0, 1, 67}) {
    CheckMapped({{}, size, size + 3, 64, false, true}, f32, 1, "mn");
  }
}

TEST(TensorCore, TilesOfOpenSizesOneAfterTheOther) {
  for (const int64_t size : {0, 1, 67, 200}) {
    CheckMapped({{}, size, 72, 136}, DataType::kF16, 1, "m");
    CheckMapped({{}, 72, size, 136, false, true}, DataType::kBF16, 2, "n");
    CheckMapped({{}, size, size + 3, 64, false, true}, DataType::kF16, 1, "mn");
    // Without depth, sums are 0.
    CheckMapped({{}, 136, 72, size, true, false}, DataType::kBF16, 2, "k");
  }
  for (const int64_t batches : {0, 1, 3}) {
    CheckMapped({{batches}, 40, 72, 72}, DataType::kF16, 1, "b");
    CheckMapped({{batches}, 67, 72, 72, false, true}, DataType::kF16, 2, "bm");
  }
}

// Values whose sums are rounded, and in which the order of depth shows.
TEST(TensorCore, TheSameBitsOnAnyNumberOfBlocks) {
  const std::vector<float> values = RandomNormal(200 * 328 + 328 * 200, 1);
  HostTensor a = *HostTensor::Create(DataType::kF16, {200, 328});
  HostTensor b = *HostTensor::Create(DataType::kF16, {328, 200});
  size_t next = 0;
  for (F16& x : a.mutable_values<F16>()) x = F16(values[next++]);
  for (F16& x : b.mutable_values<F16>()) x = F16(values[next++]);
  std::optional<HostTensor> first;
  for (const int64_t multiprocessors : {1, 2, 5, 9}) {
    Target target = *Target::Parse(kTargets[1]);
    target.multiprocessors = multiprocessors;
    const auto got = RunFusion("contraction", ProductBody({{}, 200, 200, 328}, DataType::kF16, ""),
                               {a, b}, {}, target);
    ASSERT_TRUE(got.ok()) << got.status();
    if (!first) first = (*got)[0];
    ExpectEqual((*got)[0], *first);
  }
}

// Convolutions by tensor maps, and with as many channels as panels have the filter's gradient.
void CheckMappedConv(const Conv& conv, DataType dtype, int64_t multiprocessors,
                     const std::string& open) {
  SCOPED_TRACE(absl::StrCat(multiprocessors, " multiprocessors"));
  Target target = *Target::Parse(kTargets[1]);
  target.multiprocessors = multiprocessors;
  EXPECT_THAT(PtxOf(ConvBody(conv, dtype, open), target), HasSubstr(kPixelCopy));
  CheckConvForward(conv, dtype, target, open);
  if (conv.image[3] % 64 != 0) return;
  EXPECT_THAT(PtxOf(FilterGradBody(conv, dtype, open), target), HasSubstr(kPixelCopy));
  CheckFilterGrad(conv, dtype, target, open);
}

// There is no map of an image without pixels, whose windows are zeros alone.
TEST(TensorCore, ImagesWithoutPixels) {
  const Target target = WithOneMultiprocessor(*Target::Parse(kTargets[1]));
  Conv conv = {{8, 0, 8, 64}, {3, 3, 64, 256}, {1, 1}, {1, 1}, 1, {2, 2, 1, 1}};
  for (const std::string& body :
       {ConvBody(conv, DataType::kBF16, ""), FilterGradBody(conv, DataType::kBF16, "")}) {
    TestFusion fusion(target);
    EXPECT_THAT(std::string(fusion.TryText("contraction", body).message()),
                HasSubstr("a convolution with padding"));
  }
  // There are none.
  conv.padding = {1, 1, 1, 1};
  CheckConvForward(conv, DataType::kBF16, target, "");
}

// Windows that overlap, lie apart, leave pixels out, and reach beyond the image, on each side as
// far as on no other; tiles that begin and end anywhere in lines and images, several to a block;
// and channels that are no multiple of a step.
TEST(TensorCore, ConvolutionsByTensorMaps) {
  const DataType f16 = DataType::kF16, bf16 = DataType::kBF16;
  CheckMappedConv({{2, 6, 7, 64}, {3, 3, 64, 24}}, f16, 1, "");
  CheckMappedConv({{3, 9, 10, 64}, {3, 2, 64, 40}, {2, 1}, {1, 2}}, bf16, 2, "n");
  CheckMappedConv({{2, 5, 6, 64}, {1, 1, 64, 16}, {2, 3}}, f16, 1, "n");
  CheckMappedConv({{3, 9, 9, 128}, {2, 2, 128, 72}}, bf16, 2, "n");
  CheckMappedConv({{1, 5, 5, 96}, {3, 3, 96, 72}}, f16, 1, "");
  CheckMappedConv({{2, 5, 6, 56}, {2, 2, 56, 16}}, bf16, 1, "n");
  // Padding, as far as windows of nothing else, and of 1 pixel.
  CheckMappedConv({{2, 6, 7, 64}, {3, 3, 64, 24}, {1, 1}, {1, 1}, 1, {1, 1, 1, 1}}, f16, 1, "n");
  CheckMappedConv({{2, 6, 5, 64}, {3, 4, 64, 16}, {2, 3}, {2, 1}, 1, {3, 0, 1, 2}}, bf16, 2, "n");
  CheckMappedConv({{3, 3, 4, 56}, {2, 2, 56, 24}, {1, 1}, {1, 1}, 1, {0, 3, 2, 0}}, f16, 1, "");
  CheckMappedConv({{2, 3, 3, 64}, {1, 1, 64, 16}, {2, 2}, {1, 1}, 1, {1, 1, 2, 1}}, f16, 1, "n");
  // No image.
  CheckMappedConv({{0, 6, 7, 64}, {3, 3, 64, 24}}, f16, 1, "n");
}

// Lines and columns of open sizes: a step of depth of a filter's gradient passes the end of a
// column, of a line, of several images, or of none; and there are no windows.
TEST(TensorCore, ConvolutionsOfOpenSizesByTensorMaps) {
  const DataType f16 = DataType::kF16, bf16 = DataType::kBF16;
  CheckMappedConv({{31, 4, 5, 64}, {3, 3, 64, 24}}, f16, 1, "nhw");
  CheckMappedConv({{3, 9, 10, 64}, {3, 2, 64, 40}, {2, 1}, {1, 2}}, bf16, 2, "nhw");
  CheckMappedConv({{2, 3, 70, 64}, {2, 1, 64, 16}}, f16, 1, "hw");
  CheckMappedConv({{2, 70, 3, 64}, {1, 2, 64, 16}}, bf16, 1, "nh");
  CheckMappedConv({{5, 65, 2, 64}, {2, 2, 64, 16}}, f16, 1, "hw");
  CheckMappedConv({{2, 6, 7, 64}, {3, 3, 64, 24}, {2, 1}, {1, 1}, 1, {1, 1, 0, 2}}, f16, 1, "hw");
  CheckMappedConv({{2, 5, 6, 56}, {2, 2, 56, 16}}, bf16, 2, "w");
  CheckMappedConv({{2, 2, 7, 64}, {3, 3, 64, 24}}, f16, 1, "nhw");
  CheckMappedConv({{2, 7, 2, 64}, {3, 3, 64, 24}}, bf16, 1, "hw");
}

// A thread that brings windows divides by open sizes once a tile, not in each step.
TEST(TensorCore, StepsOfWindowsDivideNothing) {
  const Conv conv{{8, 56, 56, 64}, {3, 3, 64, 256}, {2, 1}};
  for (const std::string& body :
       {ConvBody(conv, DataType::kBF16, "nhw"), FilterGradBody(conv, DataType::kBF16, "nhw")}) {
    const std::string ptx = PtxOf(body, WithOneMultiprocessor(*Target::Parse(kTargets[1])));
    EXPECT_THAT(ptx, HasSubstr("div."));
    const size_t copy = ptx.find(kPixelCopy);
    ASSERT_NE(copy, ptx.npos);
    // The loop around it: the first branch behind it that goes to a label before it.
    size_t begin = ptx.npos, end = copy;
    while (begin == ptx.npos) {
      constexpr char kLabel[] = "$L__BB0_";
      end = ptx.find(kLabel, end + 1);
      ASSERT_NE(end, ptx.npos);
      const std::string label = ptx.substr(end, ptx.find_first_of(";:", end) - end);
      const size_t target = ptx.find("\n" + label + ":");
      if (target < copy) begin = target;
    }
    const std::string loop = ptx.substr(begin, end - begin);
    EXPECT_THAT(loop, AllOf(HasSubstr("mbarrier.try_wait"), HasSubstr("mbarrier.arrive.expect_tx"),
                            Not(HasSubstr("div.")), Not(HasSubstr("rem."))));
  }
}

// An infinity is multiplied with nothing but the elements of its windows and of the filter, though
// zeros stand for channels beside it.
TEST(TensorCore, InfinitiesStayInTheirWindows) {
  const Conv conv{{2, 6, 7, 56}, {2, 2, 56, 40}};
  const Target target = TargetsToRun()[2];
  HostTensor x = RandomHalves(DataType::kBF16, conv.image, 1);
  HostTensor f = RandomHalves(DataType::kBF16, conv.filter, 2);
  const BF16 infinity(std::numeric_limits<float>::infinity());
  // The last channel of a pixel, and the first of the window's second.
  x.mutable_values<BF16>()[7 * 56 + 55] = infinity;
  f.mutable_values<BF16>()[56 * 40 + 5] = infinity;
  const std::string body = ConvBody(conv, DataType::kBF16, "");
  EXPECT_THAT(PtxOf(body, target), HasSubstr(kPixelCopy));
  const auto got = RunFusion("contraction", body, {x, f}, {}, target);
  ASSERT_TRUE(got.ok()) << got.status();
  const HostTensor want =
      *reference::Conv2D(x, f, {conv.strides, conv.padding, conv.dilations}, conv.groups);
  size_t finite = 0;
  for (size_t i = 0; i < want.values<BF16>().size(); ++i) {
    const bool is_finite = std::isfinite(static_cast<float>(want.values<BF16>()[i]));
    ASSERT_EQ(std::isfinite(static_cast<float>((*got)[0].values<BF16>()[i])), is_finite) << i;
    finite += is_finite ? 1 : 0;
  }
  EXPECT_GT(finite, want.values<BF16>().size() / 2);
}

// Windows whose lines lie in one piece and others, groups, pixels without a neighbour; channels
// that allow each width of copies; and the gradient of each filter, whose rows are the neighbours.
TEST(TensorCore, Convolutions) {
  int i = 0;
  for (const Conv& conv :
       {Conv{{2, 6, 7, 16}, {3, 3, 16, 24}}, Conv{{1, 9, 9, 16}, {3, 2, 16, 40}, {2, 1}, {1, 2}},
        Conv{{1, 5, 6, 32}, {2, 2, 16, 48}, {1, 1}, {1, 1}, 2},
        Conv{{1, 5, 6, 6}, {2, 2, 3, 10}, {1, 1}, {1, 1}, 2}, Conv{{2, 7, 5, 12}, {2, 3, 12, 20}},
        Conv{{1, 6, 5, 6}, {3, 3, 6, 10}}, Conv{{1, 9, 8, 1}, {3, 3, 1, 5}},
        Conv{{2, 5, 5, 24}, {1, 1, 24, 16}}, Conv{{3, 5, 5, 16}, {1, 1, 8, 16}, {1, 1}, {1, 1}, 2},
        Conv{{2, 5, 6, 8}, {1, 1, 8, 16}, {2, 3}}}) {
    CheckConv(conv, kDTypes[i % 3], TargetsToRun()[i / 2 % 3], "");
    CheckConv(conv, kDTypes[(i + 1) % 3], TargetsToRun()[(i / 2 + 1) % 3], "n");
    ++i;
  }
  // As many channels as a chunk has elements, or a multiple: all copies are whole chunks.
  EXPECT_THAT(
      PtxOf(ConvBody({{2, 6, 7, 16}, {3, 3, 16, 24}}, DataType::kF16, "n"),
            *Target::Parse(kTargets[0])),
      AllOf(HasSubstr("cp.async.cg"), Not(HasSubstr("cp.async.ca")), Not(HasSubstr("ld.global"))));
}

// Copies and loads of fragments touch each bank once, however the operands lie.
TEST(TensorCore, NoBankConflicts) {
  struct Case {
    const char* target;
    Product product;
  };
  for (auto [name, p] :
       {Case{kTargets[0], {{}, 72, 136, 64}}, Case{kTargets[0], {{}, 136, 72, 64}},
        Case{kTargets[0], {{}, 72, 72, 64}}, Case{kTargets[0], {{}, 40, 40, 64}},
        Case{kTargets[0], {{}, 8, 24, 64}}, Case{kTargets[1], {{}, 72, 136, 64}},
        Case{kTargets[1], {{}, 168, 40, 64}}, Case{kTargets[1], {{}, 40, 24, 64}}}) {
    const Target target = WithOneMultiprocessor(WithTf32(name));
    for (bool ta : {false, true}) {
      for (bool tb : {false, true}) {
        for (DataType dtype : {DataType::kF16, DataType::kF32}) {
          SCOPED_TRACE(absl::StrCat(name, " ", p.m, " ", p.n, " ", p.k, " ", ta, " ", tb, " ",
                                    ElementText(dtype)));
          TestFusion fusion(target);
          p.ta = ta;
          p.tb = tb;
          ASSERT_TRUE(fusion.TryText("contraction", ProductBody(p, dtype, "")).ok());
          const HostTensor a = RandomHalves(dtype, Join(p.batch, p.m, p.k, ta), 1);
          const HostTensor b = RandomHalves(dtype, Join(p.batch, p.k, p.n, tb), 2);
          ASSERT_TRUE(fusion.TryRun({a, b}, {}).ok());
          EXPECT_EQ(fusion.bank_conflicts().value_or(0), 0);
        }
      }
    }
  }
}

// What stands for depth that is not there is zero, on both sides: an infinity stays in its row and
// column.
TEST(TensorCore, InfinitiesStayWhereTheyAre) {
  constexpr int64_t kRows = 24, kColumns = 24;
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
        for (const Target& target : {TargetsToRun()[0], TargetsToRun()[2]}) {
          auto got = RunFusion(
              "contraction", ProductBody({{}, kRows, kColumns, depth, ta, tb}, DataType::kBF16, ""),
              {a, b}, {}, target);
          ASSERT_TRUE(got.ok()) << got.status();
          for (int64_t row = 0; row < kRows; ++row) {
            for (int64_t column = 0; column < kColumns; ++column) {
              const size_t at = static_cast<size_t>(row * kColumns + column);
              ASSERT_EQ(std::isfinite(static_cast<float>((*got)[0].values<BF16>()[at])),
                        row != 5 && column != 7)
                  << row << " " << column;
            }
          }
        }
      }
    }
  }
}

// bias, an activation and a residual, as f32 and as bf16, in the kernel of the product.
void CheckEpilogue(const Target& target, const char* instruction) {
  for (const int64_t columns : {64, 36, 50, 33, 136}) {
    SCOPED_TRACE(columns);
    const HostTensor a = RandomHalves(DataType::kBF16, {45, 40}, 1);
    const HostTensor b = RandomHalves(DataType::kBF16, {40, columns}, 2);
    const HostTensor bias = RandomHalves(DataType::kBF16, {columns}, 3);
    const HostTensor residual = RandomHalves(DataType::kBF16, {45, columns}, 4);
    TestFusion fusion(target);
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
    EXPECT_THAT(fusion.ptx(), HasSubstr(instruction));
    const std::vector<HostTensor> inputs = {a, b, bias, residual};
    const auto got = fusion.TryRun(inputs, {});
    ASSERT_TRUE(got.ok()) << got.status();
    const std::vector<HostTensor> want = fusion.Evaluate(inputs, {});
    ExpectEqual((*got)[0], want[0]);
    ExpectEqual((*got)[1], want[1]);
  }
}

TEST(TensorCore, Epilogue) { CheckEpilogue(TargetsToRun()[0], "mma.sync"); }
TEST(TensorCore, EpilogueOfWarpgroups) { CheckEpilogue(TargetsToRun()[2], "wgmma.mma_async"); }

// Where the toolkit's assembler is at hand, it takes the kernels for the generation they are for,
// all that a thread has under way stays in registers, and it says of nothing that it gave that up.
TEST(TensorCore, TheAssemblerKeepsAllInRegisters) {
  if (std::system("ptxas --version > /dev/null 2>&1") != 0) GTEST_SKIP() << "no ptxas";
  int i = 0, of_windows = 0;
  std::set<std::string> threads_with_maps;
  for (const std::string& body :
       {ProductBody({{}, 4096, 4096, 4096}, DataType::kF16, ""),
        ProductBody({{}, 4096, 4096, 4096, true, true}, DataType::kBF16, ""),
        ProductBody({{}, 4096, 4096, 4100, false, true}, DataType::kF16, ""),
        ProductBody({{}, 4096, 512, 333}, DataType::kBF16, ""),
        ProductBody({{}, 512, 512, 512}, DataType::kF16, ""),
        ProductBody({{}, 64, 64, 64, true}, DataType::kBF16, ""),
        ProductBody({{2}, 64, 64, 64}, DataType::kF16, "bmnk"),
        ProductBody({{}, 65536, 128, 4096, false, true}, DataType::kBF16, ""),
        ProductBody({{}, 64, 8192, 4096}, DataType::kF16, ""),
        ProductBody({{8}, 512, 512, 512, true, false}, DataType::kF16, "k"),
        ConvBody({{8, 56, 56, 64}, {3, 3, 64, 256}}, DataType::kBF16, "n"),
        FilterGradBody({{8, 56, 56, 64}, {3, 3, 64, 256}, {2, 2}}, DataType::kBF16, "n"),
        ConvBody({{8, 56, 56, 64}, {3, 3, 64, 4096}, {2, 1}}, DataType::kF16, "nhw"),
        FilterGradBody({{8, 56, 56, 64}, {3, 3, 64, 4096}, {2, 1}}, DataType::kF16, "nhw"),
        ConvBody({{8, 56, 56, 3}, {7, 7, 3, 64}, {2, 2}}, DataType::kF16, "n"),
        ProductBody({{}, 4096, 4096, 4096}, DataType::kF32, ""),
        ProductBody({{}, 4096, 4096, 4096, true, true}, DataType::kF32, ""),
        ProductBody({{}, 4096, 512, 333, false, true}, DataType::kF32, ""),
        ProductBody({{}, 4096, 4096, 4096, false, true}, DataType::kF32, ""),
        ProductBody({{2}, 64, 64, 64}, DataType::kF32, "bmnk"),
        ConvBody({{8, 56, 56, 64}, {3, 3, 64, 256}}, DataType::kF32, "n"),
        ConvBody({{8, 56, 56, 3}, {7, 7, 3, 64}, {2, 2}}, DataType::kF32, "n")}) {
    for (const char* target : kTargets) {
      SCOPED_TRACE(absl::StrCat(i, " ", target));
      const std::string path = absl::StrCat(testing::TempDir(), "/kernel", i++, ".ptx");
      const std::string ptx = PtxOf(body, WithTf32(target));
      std::ofstream(path) << ptx;
      if (ptx.find("cp.async.bulk") != ptx.npos) {
        const size_t at = ptx.find(".reqntid ");
        threads_with_maps.insert(ptx.substr(at, ptx.find('\n', at) - at));
      }
      of_windows += ptx.find(kPixelCopy) != ptx.npos ? 1 : 0;
      const std::string command = absl::StrCat("ptxas -v -arch=", target + 5, " -o ", path,
                                               ".cubin ", path, " > ", path, ".log 2>&1");
      const int exit = std::system(command.c_str());
      std::stringstream log;
      log << std::ifstream(path + ".log").rdbuf();
      EXPECT_EQ(exit, 0) << log.str();
      EXPECT_THAT(log.str(), AllOf(HasSubstr("0 bytes spill stores"), HasSubstr("Used "),
                                   Not(HasSubstr("Potential Performance Loss"))));
      std::cout << log.str();
    }
  }
  // Of one and of two warpgroups that multiply.
  EXPECT_THAT(threads_with_maps, UnorderedElementsAre(".reqntid 256", ".reqntid 384"));
  EXPECT_GE(of_windows, 2);
}

}  // namespace
}  // namespace weft
