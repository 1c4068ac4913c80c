#include "compiler/codegen/target.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace weft {
namespace {

using ::testing::HasSubstr;

TEST(Target, LevelsImplyFeaturesAndWidth) {
  auto v3 = Target::Parse("cpu:x86-64-v3");
  ASSERT_TRUE(v3.ok()) << v3.status();
  EXPECT_TRUE(v3->Has("avx2"));
  EXPECT_TRUE(v3->Has("fma"));
  EXPECT_FALSE(v3->Has("avx512f"));
  EXPECT_EQ(v3->vector_bits, 256);
  EXPECT_EQ(v3->vector_registers, 16);
  EXPECT_EQ(v3->Lanes(4), 8);

  auto v4 = Target::Parse("cpu:x86-64-v4");
  ASSERT_TRUE(v4.ok()) << v4.status();
  EXPECT_TRUE(v4->Has("avx512vl"));
  EXPECT_EQ(v4->vector_bits, 512);
  EXPECT_EQ(v4->vector_registers, 32);
  EXPECT_EQ(v4->Lanes(8), 8);
}

TEST(Target, FeaturesAreAdded) {
  auto target = Target::Parse("cpu:x86-64-v4+avx512vnni+avx512bf16");
  ASSERT_TRUE(target.ok()) << target.status();
  EXPECT_TRUE(target->Has("avx512vnni"));
  EXPECT_TRUE(target->Has("avx512bf16"));
  EXPECT_FALSE(Target::Parse("cpu:x86-64-v4")->Has("avx512vnni"));
}

TEST(Target, CachesAreNamed) {
  const auto target = Target::Parse("cpu:x86-64-v3+l1=48K+avx512f+l2=1280K+l3=32M");
  ASSERT_TRUE(target.ok()) << target.status();
  EXPECT_EQ(target->l1_bytes, 48 << 10);
  EXPECT_EQ(target->l2_bytes, 1280 << 10);
  EXPECT_EQ(target->l3_bytes, 32 << 20);
  EXPECT_TRUE(target->Has("avx512f"));
  EXPECT_EQ(target->features, "+avx512f");
  // The code generator asks these fields alone.
  EXPECT_EQ(Target::Parse("cpu:native+l2=1M")->l2_bytes, 1 << 20);
  for (const char* cache : {"l2", "l2=", "l2=K", "l2=0K", "l2=1G", "l2=-1M", "l4=1M", "l2=1.5M",
                            "l2=3K", "l2=2000M", "l2=99999999999999999999K", "l2=1048576M"}) {
    EXPECT_EQ(Target::Parse(std::string("cpu:x86-64-v3+") + cache).status().code(),
              absl::StatusCode::kInvalidArgument)
        << cache;
  }
}

TEST(Target, NativeIsThisMachine) {
  if (!__builtin_cpu_supports("avx2")) GTEST_SKIP() << "this machine has no AVX2";
  auto target = Target::Parse("cpu:native");
  ASSERT_TRUE(target.ok()) << target.status();
  EXPECT_EQ(target->Has("avx512f"), __builtin_cpu_supports("avx512f") != 0);
  EXPECT_GE(target->l1_bytes, 16 << 10);
  EXPECT_GT(target->l2_bytes, target->l1_bytes);
}

TEST(Target, GenerationsOfGpus) {
  auto target = Target::Parse("cuda:sm_90a");
  ASSERT_TRUE(target.ok()) << target.status();
  EXPECT_EQ(target->kind, Target::Kind::kCuda);
  EXPECT_EQ(target->sm, 90);
  EXPECT_TRUE(target->generation_only);
  EXPECT_FALSE(Target::Parse("cuda:sm_90")->generation_only);
  EXPECT_EQ(Target::Parse("cuda:sm_70")->sm, 70);
}

TEST(Target, ErrorsSayWhatIsExpected) {
  for (const char* name : {"", "cuda:", "cuda:80", "cuda:sm_60", "cuda:sm_80a", "cpu", "gpu:sm_90",
                           "cpu:x86-64-v9", "cpu:x86-64-v3+avx1024", "cpu:x86-64-v3+", "cpu:"}) {
    const bool gpu = std::string_view(name).substr(0, 4) == "cuda";
    auto target = Target::Parse(name);
    EXPECT_EQ(target.status().code(), absl::StatusCode::kInvalidArgument) << name;
    EXPECT_THAT(std::string(target.status().message()),
                HasSubstr(gpu ? "expected cuda:sm_70" : "expected cpu:native"))
        << name;
  }
}

}  // namespace
}  // namespace weft
