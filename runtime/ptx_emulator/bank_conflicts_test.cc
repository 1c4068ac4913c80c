#include <cstdint>

#include "gtest/gtest.h"
#include "runtime/ptx_emulator/test_kernel.h"

namespace weft::ptx {
namespace {

TEST(BankConflicts, OfStoresLoadsCopiesAndFragments) {
  auto count = [](const std::string& statements) {
    TestDevice device;
    device.Load(Cat(Header(),
                    ".visible .entry k(.param .u64 x) { .reg .b32 %t, %r<9>; .reg .b64 "
                    "%x; .shared .align 128 .b8 tile[4096];\nld.param.u64 %x, [x]; mov.u32 %t, "
                    "%tid.x; mov.u32 %r0, tile; mov.b32 %r1, 0; mov.b32 %r2, 0; mov.b32 %r3, 0; "
                    "mov.b32 %r4, 0;\n",
                    statements, "\nret;\n}\n"));
    const uint64_t x = device.Buffer(std::vector<uint32_t>(64));
    const absl::Status status = device.Launch("k", {1}, {32}, 0, x);
    EXPECT_TRUE(status.ok()) << status << statements;
    return device.emulator().bank_conflicts();
  };
  auto at = [](int stride) { return Cat("mad.lo.u32 %r0, %t, ", stride, ", %r0; "); };
  const std::string word = "st.shared.b32 [%r0], %r1;";
  EXPECT_EQ(count(at(4) + word), 0);
  EXPECT_EQ(count(at(8) + word), 1);
  EXPECT_EQ(count(at(128) + word), 31);
  EXPECT_EQ(count(at(124) + word), 0);
  // One word for all is given to all.
  EXPECT_EQ(count("st.shared.b32 [tile], %r1; bar.warp.sync -1; ld.shared.b32 %r2, [tile];"), 0);
  // Lanes that do not take part need no bank.
  EXPECT_EQ(count(".reg .pred %p; setp.lt.u32 %p, %t, 3; " + at(128) + "@%p " + word), 2);
  // Eight lanes with 16 bytes each take all banks.
  const std::string four = "st.shared.v4.b32 [%r0], {%r1, %r2, %r3, %r4};";
  EXPECT_EQ(count(at(16) + four), 0);
  EXPECT_EQ(count(at(32) + four), 4);
  EXPECT_EQ(count(at(128) + four), 28);
  const std::string copy = "cp.async.cg.shared.global [%r0], [%x], 16;";
  EXPECT_EQ(count(at(16) + copy), 0);
  EXPECT_EQ(count(at(64) + copy), 12);
  const std::string matrices =
      "bar.warp.sync -1; ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r1, %r2, %r3, %r4}, [%r0];";
  EXPECT_EQ(count(at(16) + four + matrices), 0);
  EXPECT_EQ(count(at(128) + four + matrices), 56);
}

}  // namespace
}  // namespace weft::ptx
