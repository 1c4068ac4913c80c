#include "runtime/ptx_emulator/global_traffic.h"

#include <cstdint>

#include "gtest/gtest.h"
#include "runtime/ptx_emulator/test_kernel.h"

namespace weft::ptx {
namespace {

TEST(GlobalTraffic, OfLoadsAndStores) {
  auto count = [](const std::string& statements) {
    TestDevice device;
    device.Load(Cat(Header(),
                    ".visible .entry k(.param .u64 x) { .reg .b32 %t, %r<9>; .reg .b64 "
                    "%x, %o; .shared .align 16 .b8 tile[64];\nld.param.u64 %x, [x]; mov.u32 %t, "
                    "%tid.x; mov.b32 %r1, 0; mov.b32 %r2, 0; mov.b32 %r3, 0; mov.b32 %r4, 0;\n",
                    statements, "\nret;\n}\n"));
    const uint64_t x = device.Buffer(std::vector<uint32_t>(4096));
    EXPECT_EQ(x % 32, 0u);
    const absl::Status status = device.Launch("k", {1}, {32}, 0, x);
    EXPECT_TRUE(status.ok()) << status << statements;
    const GlobalTraffic traffic = device.emulator().global_traffic();
    return std::vector<int64_t>{traffic.sectors, traffic.fewest};
  };
  auto at = [](int stride) { return Cat("mad.wide.u32 %x, %t, ", stride, ", %x; "); };
  using Counts = std::vector<int64_t>;
  const std::string load = "ld.global.b32 %r1, [%x];", store = "st.global.b32 [%x], %r1;";
  for (const std::string& access : {load, store}) {
    EXPECT_EQ(count(at(4) + access), Counts({4, 4}));
    EXPECT_EQ(count(at(8) + access), Counts({8, 4}));
    EXPECT_EQ(count(at(128) + access), Counts({32, 4}));
    // Across the borders of sectors.
    EXPECT_EQ(count("add.u64 %x, %x, 16;" + at(4) + access), Counts({5, 4}));
    // One address for all, and lanes that do not take part.
    EXPECT_EQ(count(access), Counts({1, 1}));
    EXPECT_EQ(count(".reg .pred %p; setp.lt.u32 %p, %t, 3; " + at(128) + "@%p " + access),
              Counts({3, 1}));
    // From the last to the first.
    EXPECT_EQ(count("xor.b32 %t, %t, 31;" + at(4) + access), Counts({4, 4}));
  }
  EXPECT_EQ(count(at(16) + "ld.global.v4.b32 {%r1, %r2, %r3, %r4}, [%x];"), Counts({16, 16}));
  EXPECT_EQ(count(at(2) + "ld.global.u16 %r1, [%x];"), Counts({2, 2}));
  // By generic addresses, which may be of shared memory.
  EXPECT_EQ(count(at(4) + "ld.b32 %r1, [%x];"), Counts({4, 4}));
  EXPECT_EQ(count("mov.u64 %o, tile; cvta.shared.u64 %o, %o; st.b32 [%o], %r1;"), Counts({0, 0}));
}

}  // namespace
}  // namespace weft::ptx
