#include <sys/resource.h>

#include <algorithm>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/pages.h"
#include "runtime/ptx_emulator/test_kernel.h"

// What of a launch is not the kernel's: host threads, and the host's memory.
namespace weft::ptx {
namespace {

using testing::HasSubstr;

// Blocks of which the first take longest; some read outside of x, and some trap.
constexpr char kManyFindings[] = R"(.visible .entry k(.param .u64 x) {
.reg .pred %p; .reg .b32 %b, %i, %r, %v; .reg .b64 %x;
ld.param.u64 %x, [x]; mov.u32 %b, %ctaid.x; rem.u32 %r, %b, 40; sub.u32 %i, 40, %r; mul.lo.u32 %i, %i, 50;
WAIT: sub.u32 %i, %i, 1; setp.ne.u32 %p, %i, 0; @%p bra WAIT;
rem.u32 %r, %b, 5; setp.eq.u32 %p, %r, 2;
@%p ld.global.u32 %v, [%x+8];
rem.u32 %r, %b, 3; setp.eq.u32 %p, %r, 1;
@%p ld.global.u32 %v, [%x+4];
rem.u32 %r, %b, 50; setp.eq.u32 %p, %r, 49; setp.gt.and.u32 %p, %b, 100, %p;
@%p trap;
ret;
})";

TEST(Launch, FindingsDoNotDependOnThreads) {
  const auto run = [](int threads, uint32_t blocks) {
    TestDevice device({.threads = threads});
    device.Load(Header() + kManyFindings);
    const uint64_t x = device.Buffer(std::vector<uint32_t>{1}, "x");
    const absl::Status status = device.Launch("k", {blocks}, {32}, 0, x);
    std::vector<std::string> texts = {std::string(status.message())};
    for (const Finding& finding : device.findings()) texts.push_back(finding.ToString());
    return texts;
  };
  for (const uint32_t blocks : {90, 1000}) {
    const std::vector<std::string> expected = run(1, blocks);
    ASSERT_EQ(expected.size(), blocks == 90 ? 3u : 4u) << testing::PrintToString(expected);
    EXPECT_THAT(expected[1],
                testing::AllOf(HasSubstr("line 11"), HasSubstr("block (1,0,0)"),
                               HasSubstr(blocks == 90 ? "[960 times]" : "[1600 times]")));
    EXPECT_THAT(expected[2], testing::AllOf(HasSubstr("line 9"), HasSubstr("block (2,0,0)")));
    if (blocks == 1000) EXPECT_THAT(expected[3], HasSubstr("block (149,0,0)"));
    for (int round = 0; round < 20; ++round) ASSERT_EQ(run(8, blocks), expected);
  }
}

// Local memory counts, for each block that runs at a time.
TEST(Launch, LocalMemoryIsWithinTheLimit) {
  TestDevice device({.memory_bytes = 128 << 20, .threads = 64});
  device.Load(Header() + ".visible .entry k() { .local .align 16 .b8 depot[500000]; ret; }");
  const uint64_t before = device.emulator().memory().used();
  const absl::Status large = device.Launch("k", {64}, {1024}, 0);
  EXPECT_EQ(large.code(), absl::StatusCode::kResourceExhausted) << large;
  EXPECT_THAT(std::string(large.message()),
              testing::AllOf(HasSubstr("local memory of a block of 1024 threads of k"),
                             HasSubstr("of 134217728 are in use")));
  // Of these there is room for three.
  const absl::Status small = device.Launch("k", {64}, {32}, 0);
  EXPECT_TRUE(small.ok()) << small;
  EXPECT_EQ(device.emulator().memory().used(), before);
}

// What a text of a few bytes may take is what the machine has, by half.
TEST(Launch, MemoryIsBoundedByWhatTheHostHas) {
  const uint64_t available = AvailableMemory();
  Emulator device;
  EXPECT_LE(device.memory().limit(), std::min(available, uint64_t{32} << 30));
  std::string text = Header();
  for (int i = 0; i < 17; ++i) text += Cat(".global .b8 x", i, "[1073741824];\n");
  const absl::Status status = device.Load(text).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("that the host had left"));
  EXPECT_LT(device.memory().used(), 1u << 20);
}

// What a copy under way reads or writes may be freed before it is waited for: the bytes stay until
// then, and count.
TEST(Launch, CopiesUnderWayKeepTheirMemory) {
  // So large that the host's memory is unmapped as soon as it is freed.
  constexpr uint64_t kLarge = 64 << 20;
  const auto run = [](std::string_view copy, std::string_view wait) {
    SCOPED_TRACE(copy);
    TestDevice device({.memory_bytes = uint64_t{1} << 30});
    // Thread 0 has x, thread 1 has y, which the same instruction touches last.
    device.Load(Cat(Header(), R"(.visible .entry k(.param .u64 x, .param .u64 y, .param .u64 out) {
    .reg .pred %p, %first; .reg .b32 %r<5>; .reg .b64 %rd<6>;
    .shared .align 16 .b8 tile[32]; .shared .align 8 .b8 full[8];
    ld.param.u64 %rd1, [x]; ld.param.u64 %rd2, [y]; ld.param.u64 %rd3, [out];
    mov.u32 %r1, %tid.x; setp.eq.u32 %first, %r1, 0; @!%first mov.u64 %rd1, %rd2;
    shl.b32 %r2, %r1, 4; mov.u32 %r3, tile; add.u32 %r3, %r3, %r2;
)",
                    copy, R"(
    mov.u32 %r4, 0; L: add.u32 %r4, %r4, 1; setp.lt.u32 %p, %r4, 10000; @%p bra L;
)",
                    wait, R"(
    ld.shared.u32 %r4, [%r3]; shl.b32 %r2, %r1, 2; cvt.u64.u32 %rd4, %r2; add.u64 %rd3, %rd3, %rd4;
    st.global.u32 [%rd3], %r4; ret; })"));
    GlobalMemory& memory = device.emulator().memory();
    const uint64_t x = device.Unwritten(kLarge, "x");
    EXPECT_TRUE(device.emulator().Fill(x, 1, kLarge).ok());
    const uint64_t y = device.Buffer(std::vector<uint32_t>(4, 2), "y"), out = device.Unwritten(8);
    const uint64_t before = memory.used();
    int asked = 0;
    device.launch_options.interrupt = [&] {
      // The copies are issued before, and waited for long after.
      if (++asked != 3) return absl::OkStatus();
      EXPECT_TRUE(device.emulator().Free(x).ok());
      EXPECT_GE(memory.used(), before);
      return absl::OkStatus();
    };
    const absl::Status status = device.Launch("k", {1}, {2}, 0, x, y, out);
    EXPECT_TRUE(status.ok()) << status;
    EXPECT_GT(asked, 4);
    EXPECT_LT(memory.used(), before - 2 * kLarge + (1 << 20));
    std::vector<uint32_t> values = device.Read<uint32_t>(out, 2);
    const std::vector<uint32_t> stored = device.Read<uint32_t>(y, 4);
    values.insert(values.end(), stored.begin(), stored.end());
    return values;
  };
  const std::vector<uint32_t> loaded = {0x01010101, 2, 2, 2, 2, 2};
  EXPECT_EQ(run("cp.async.ca.shared.global [%r3], [%rd1], 16; cp.async.commit_group;",
                "cp.async.wait_group 0;"),
            loaded);
  EXPECT_EQ(run("@%first mbarrier.init.shared.b64 [full], 1;\n"
                "@%first mbarrier.arrive.expect_tx.shared.b64 _, [full], 32;\n"
                "@%first fence.proxy.async; bar.warp.sync -1; "
                "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes "
                "[%r3], [%rd1], 16, [full];",
                "WAIT: mbarrier.try_wait.parity.shared::cta.b64 %p, [full], 0; @!%p bra WAIT;"),
            loaded);
  EXPECT_EQ(run("add.u32 %r4, %r1, 5; st.shared.v4.b32 [%r3], {%r4, %r4, %r4, %r4};\n"
                "fence.proxy.async.shared::cta; cp.async.bulk.global.shared::cta.bulk_group "
                "[%rd1], [%r3], 16; cp.async.bulk.commit_group;",
                "cp.async.bulk.wait_group 0;"),
            (std::vector<uint32_t>{5, 6, 6, 6, 6, 6}));
}

// Of whoever is asked whether to go on, for instance: it ends the launch, whichever thread it is
// on.
TEST(Launch, ExceptionsAreErrors) {
  for (const int threads : {1, 4}) {
    TestDevice device({.threads = threads});
    device.Load(Header() + ".visible .entry k() { ret; }");
    device.launch_options.interrupt = []() -> absl::Status {
      throw std::length_error("longer than can be");
    };
    const absl::Status status = device.Launch("k", {64}, {32}, 0);
    EXPECT_EQ(status.code(), absl::StatusCode::kInternal) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("launch of k: longer than can be"));
    device.launch_options.interrupt = nullptr;
    EXPECT_TRUE(device.Launch("k", {64}, {32}, 0).ok());
  }
}

// A sanitizer ends the program where memory is short.
#if !__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer)

// The address space that the process may take besides what it has, while it lives.
class AddressSpace {
 public:
  explicit AddressSpace(uint64_t more) {
    unsigned long long pages = 0;
    FILE* const file = std::fopen("/proc/self/statm", "r");
    EXPECT_EQ(std::fscanf(file, "%llu", &pages), 1);
    std::fclose(file);
    EXPECT_EQ(getrlimit(RLIMIT_AS, &before_), 0);
    const rlimit limit = {pages * 4096 + more, before_.rlim_max};
    EXPECT_EQ(setrlimit(RLIMIT_AS, &limit), 0);
  }
  ~AddressSpace() { EXPECT_EQ(setrlimit(RLIMIT_AS, &before_), 0); }

 private:
  rlimit before_ = {};
};

TEST(Launch, GoesOnWithTheThreadsThatThereAre) {
  TestDevice device({.threads = 256});
  device.Load(Header() + R"(.visible .entry k(.param .u64 x) {
    .reg .b32 %b; .reg .b64 %x, %at; ld.param.u64 %x, [x]; mov.u32 %b, %ctaid.x;
    mul.wide.u32 %at, %b, 4; add.u64 %at, %at, %x; st.global.u32 [%at], %b; ret; })");
  constexpr uint32_t kBlocks = 1000;
  const uint64_t x = device.Unwritten(4 * kBlocks);
  absl::Status status;
  {
    // Stacks for some threads, not for all.
    const AddressSpace limit(64 << 20);
    status = device.Launch("k", {kBlocks}, {1}, 0, x);
  }
  ASSERT_TRUE(status.ok()) << status;
  const std::vector<uint32_t> values = device.Read<uint32_t>(x, kBlocks);
  for (uint32_t i = 0; i < kBlocks; ++i) ASSERT_EQ(values[i], i);
}

TEST(Launch, TooLittleMemoryForABlockIsAnError) {
  for (const int threads : {1, 4}) {
    TestDevice device({.memory_bytes = uint64_t{16} << 30, .threads = threads});
    device.Load(Header() + ".visible .entry k() { .local .align 16 .b8 depot[500000]; ret; }");
    absl::Status status;
    {
      const AddressSpace limit(256 << 20);
      status = device.Launch("k", {8}, {1024}, 0);
    }
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("launch of k"));
    EXPECT_TRUE(device.Launch("k", {8}, {32}, 0).ok());
  }
}

#endif

}  // namespace
}  // namespace weft::ptx
