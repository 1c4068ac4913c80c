#include <cstdint>
#include <numeric>

#include "gtest/gtest.h"
#include "runtime/ptx_emulator/test_kernel.h"

// What lanes do together, and where they part.
namespace weft::ptx {
namespace {

// Lane l of a warp starts with the value 100 + l.
std::vector<uint32_t> OnLanes(const std::string& statements, uint32_t lanes = 32) {
  std::vector<uint32_t> values(lanes);
  std::iota(values.begin(), values.end(), 100);
  return RunRows<uint32_t>(statements, values);
}

TEST(Warp, Shuffles) {
  std::vector<uint32_t> got = OnLanes("shfl.sync.bfly.b32 %d, %a0, 5, 31, -1;");
  for (uint32_t l = 0; l < 32; ++l) EXPECT_EQ(got[l], 100 + (l ^ 5));
  got = OnLanes("shfl.sync.up.b32 %d|%p, %a0, 3, 0, -1; @!%p mov.b32 %d, 7;");
  for (uint32_t l = 0; l < 32; ++l) EXPECT_EQ(got[l], l < 3 ? 7 : 97 + l);
  got = OnLanes("shfl.sync.down.b32 %d|%p, %a0, 4, 31, -1; @!%p mov.b32 %d, 7;");
  for (uint32_t l = 0; l < 32; ++l) EXPECT_EQ(got[l], l + 4 > 31 ? 7 : 104 + l);
  got = OnLanes("shfl.sync.idx.b32 %d, %a0, 6, 31, -1;");
  for (uint32_t l = 0; l < 32; ++l) EXPECT_EQ(got[l], 106u);
  // Segments of 8: mask 0x18 in bits 8 to 12, clamp 31.
  got = OnLanes("shfl.sync.idx.b32 %d, %a0, 2, 0x181f, -1;");
  for (uint32_t l = 0; l < 32; ++l) EXPECT_EQ(got[l], 102 + l / 8 * 8);
  got = OnLanes("shfl.sync.down.b32 %d|%p, %a0, 2, 0x181f, -1; @!%p mov.b32 %d, 0;");
  for (uint32_t l = 0; l < 32; ++l) EXPECT_EQ(got[l], l % 8 >= 6 ? 0 : 102 + l);
  // A part of the warp.
  got = OnLanes(
      "mov.u32 %t0, %laneid; mov.b32 %d, 1; setp.lt.u32 %p, %t0, 16; @%p shfl.sync.bfly.b32 %d, "
      "%a0, 1, 31, 0xffff;");
  for (uint32_t l = 0; l < 32; ++l) EXPECT_EQ(got[l], l < 16 ? 100 + (l ^ 1) : 1);
}

TEST(Warp, VotesMatchesAndReductions) {
  const std::string odd = "and.b32 %t0, %a0, 1; setp.eq.u32 %p, %t0, 1; ";
  EXPECT_EQ(OnLanes(odd + "vote.sync.ballot.b32 %d, %p, -1;")[3], 0xaaaaaaaau);
  EXPECT_EQ(OnLanes(odd + "vote.sync.ballot.b32 %d, !%p, -1;")[3], 0x55555555u);
  EXPECT_EQ(OnLanes(odd + "vote.sync.any.pred %q, %p, -1; selp.b32 %d, 1, 0, %q;")[0], 1u);
  EXPECT_EQ(OnLanes(odd + "vote.sync.all.pred %q, %p, -1; selp.b32 %d, 1, 0, %q;")[0], 0u);
  EXPECT_EQ(OnLanes(odd + "vote.sync.uni.pred %q, %p, -1; selp.b32 %d, 1, 0, %q;")[0], 0u);
  EXPECT_EQ(OnLanes("shr.u32 %t0, %a0, 3; match.any.sync.b32 %d, %t0, -1;")[5],
            0x00000ff0u);  // 104 ... 111 are lanes 4 to 11
  EXPECT_EQ(OnLanes("match.all.sync.b32 %d|%p, 5, -1;")[5], ~0u);
  EXPECT_EQ(OnLanes("match.all.sync.b32 %d|%p, %a0, -1; selp.b32 %d, 1, %d, %p;")[5], 0u);
  EXPECT_EQ(OnLanes("redux.sync.add.u32 %d, %a0, -1;")[9], 32u * 100 + 31 * 16);
  EXPECT_EQ(OnLanes("redux.sync.max.s32 %d, %a0, -1;")[9], 131u);
  EXPECT_EQ(OnLanes("redux.sync.or.b32 %d, %a0, -1;")[9], 255u);
  EXPECT_EQ(
      OnLanes(odd + "@%p activemask.b32 %d; @!%p mov.b32 %d, 1;"),
      OnLanes("and.b32 %t0, %a0, 1; setp.eq.u32 %p, %t0, 1; selp.b32 %d, 0xaaaaaaaa, 1, %p;"));
  const std::vector<uint32_t> elected = OnLanes("elect.sync _|%p, -1; selp.b32 %d, 1, 0, %p;");
  EXPECT_EQ(elected[0], 1u);
  EXPECT_EQ(std::accumulate(elected.begin(), elected.end(), 0u), 1u);
}

// Lanes leave a loop one after the other; behind it they are together again, as a shuffle of the
// whole warp shows.
TEST(Warp, LoopsReconverge) {
  const std::vector<uint32_t> got = OnLanes(R"(
    mov.u32 %t0, %laneid; mov.b32 %t1, 0; mov.b32 %t2, 0;
    LOOP: setp.ge.u32 %p, %t1, %t0; @%p bra DONE;
    add.u32 %t2, %t2, %t1; and.b32 %t3, %t1, 1; setp.eq.u32 %q, %t3, 0; @%q bra EVEN;
    add.u32 %t2, %t2, 100;
    bra NEXT;
    EVEN: add.u32 %t2, %t2, 1000;
    NEXT: add.u32 %t1, %t1, 1; bra LOOP;
    DONE: shfl.sync.bfly.b32 %d, %t2, 1, 31, -1;)");
  for (uint32_t l = 0; l < 32; ++l) {
    uint32_t sum = 0;
    for (uint32_t i = 0; i < (l ^ 1); ++i) sum += i + (i % 2 == 0 ? 1000 : 100);
    EXPECT_EQ(got[l], sum) << l;
  }
}

TEST(Warp, LanesThatEndAreNotWaitedFor) {
  std::vector<uint32_t> values(32, 5);
  TestDevice device;
  device.Load(Header() + R"(.visible .entry k(.param .u64 out) {
    .reg .pred %p; .reg .b32 %r<4>; .reg .b64 %rd<4>;
    mov.u32 %r1, %tid.x; setp.lt.u32 %p, %r1, 8; @%p ret;
    shfl.sync.bfly.b32 %r2, %r1, 1, 31, 0xffffff00;
    ld.param.u64 %rd1, [out]; mul.wide.u32 %rd2, %r1, 4; add.u64 %rd1, %rd1, %rd2; st.global.u32 [%rd1], %r2; exit; })");
  const uint64_t out = device.Buffer(values);
  ASSERT_TRUE(device.Launch("k", {1}, {32}, 0, out).ok());
  const std::vector<uint32_t> got = device.Read<uint32_t>(out, 32);
  for (uint32_t l = 0; l < 32; ++l) EXPECT_EQ(got[l], l < 8 ? 5 : l ^ 1);
}

TEST(Warp, BranchTablesAndCalls) {
  const std::vector<uint32_t> got = OnLanes(R"(
    and.b32 %t0, %a0, 3;
    TABLE: .branchtargets A, B, C, A;
    brx.idx %t0, TABLE;
    A: mov.b32 %d, 10; bra END;
    B: mov.b32 %d, 20; bra END;
    C: mov.b32 %d, 30;
    END: shfl.sync.bfly.b32 %d, %d, 1, 31, -1;)");
  constexpr uint32_t kByValue[] = {10, 20, 30, 10};
  for (uint32_t l = 0; l < 32; ++l) EXPECT_EQ(got[l], kByValue[(100 + (l ^ 1)) & 3]);

  TestDevice device;
  device.Load(Header() + R"(
    .func (.param .b32 result) twice(.param .b32 x) { .reg .pred %p; .reg .b32 %r<4>; ld.param.b32 %r1, [x]; setp.gt.u32 %p, %r1, 5;
      @%p bra BIG; add.u32 %r2, %r1, %r1; st.param.b32 [result], %r2; ret; BIG: st.param.b32 [result], 0; ret; }
    .visible .entry k(.param .u64 out, .param .align 4 .b8 array[16]) {
    .reg .pred %p; .reg .b32 %r<8>; .reg .b64 %rd<8>; .local .align 4 .b8 depot[64];
    mov.u32 %r1, %tid.x;
    { .param .b32 x; .param .b32 result; st.param.b32 [x], %r1; call.uni (result), twice, (x); ld.param.b32 %r2, [result]; }
    setp.lt.u32 %p, %r1, 3; mov.b32 %r3, 0;
    { .param .b32 x; .param .b32 result; st.param.b32 [x], %r2; st.param.b32 [result], 9; @%p call (result), twice, (x); ld.param.b32 %r3, [result]; }
    // Through local memory, by generic addresses, and from the parameter by one in a register.
    mov.b64 %rd1, depot; cvta.local.u64 %rd1, %rd1; and.b32 %r4, %r1, 3; mul.wide.u32 %rd2, %r4, 4; add.u64 %rd3, %rd1, %rd2;
    st.u32 [%rd3+16], %r3; ld.u32 %r5, [%rd3+16];
    mov.b64 %rd4, array; add.u64 %rd4, %rd4, %rd2; ld.param.u32 %r6, [%rd4]; cvta.param.u64 %rd5, %rd4; ld.u32 %r7, [%rd5]; sub.u32 %r7, %r7, %r6;
    add.u32 %r5, %r5, %r6; add.u32 %r5, %r5, %r7;
    ld.param.u64 %rd6, [out]; mul.wide.u32 %rd7, %r1, 4; add.u64 %rd6, %rd6, %rd7; st.global.u32 [%rd6], %r5; ret; })");
  const uint64_t out = device.Unwritten(32 * 4);
  struct {
    uint32_t v[4] = {1000, 2000, 3000, 4000};
  } array;
  const absl::Status status = device.Launch("k", {1}, {32}, 0, out, array);
  ASSERT_TRUE(status.ok()) << status;
  const std::vector<uint32_t> results = device.Read<uint32_t>(out, 32);
  const auto twice = [](uint32_t x) { return x > 5 ? 0 : 2 * x; };
  for (uint32_t t = 0; t < 32; ++t)
    EXPECT_EQ(results[t], (t < 3 ? twice(twice(t)) : 9) + 1000 * (t % 4 + 1)) << t;
}

TEST(Block, BarriersAndReductions) {
  TestDevice device;
  device.Load(Header() + R"(.visible .entry k(.param .u64 out) {
    .reg .pred %p, %q; .reg .b32 %r<10>; .reg .b64 %rd<6>; .shared .align 4 .b8 tile[400];
    mov.u32 %r1, %tid.x; mov.u32 %r9, %ntid.x; mov.u32 %r8, tile; shl.b32 %r2, %r1, 2; add.u32 %r3, %r8, %r2;
    st.shared.u32 [%r3], %r1; bar.sync 0;
    sub.u32 %r4, %r9, %r1; sub.u32 %r4, %r4, 1; shl.b32 %r4, %r4, 2; add.u32 %r4, %r4, %r8; ld.shared.u32 %r5, [%r4];
    setp.lt.u32 %p, %r1, 7; bar.red.popc.u32 %r6, 1, %p; bar.red.or.pred %q, 2, %p; selp.b32 %r7, 1000, 0, %q; add.u32 %r6, %r6, %r7;
    bar.red.and.pred %q, 2, !%p; selp.b32 %r7, 5000, 0, %q; add.u32 %r6, %r6, %r7; mad.lo.u32 %r5, %r6, 65536, %r5;
    ld.param.u64 %rd1, [out]; mul.wide.u32 %rd2, %r1, 4; add.u64 %rd1, %rd1, %rd2; st.global.u32 [%rd1], %r5; ret; })");
  const uint64_t out = device.Unwritten(400);
  const absl::Status status = device.Launch("k", {1}, {100}, 0, out);
  ASSERT_TRUE(status.ok()) << status;
  const std::vector<uint32_t> got = device.Read<uint32_t>(out, 100);
  for (uint32_t t = 0; t < 100; ++t) EXPECT_EQ(got[t], 1007 * 65536 + 99 - t);
}

// Two warps produce, two consume, by named barriers with a number of threads.
TEST(Block, NamedBarriers) {
  TestDevice device;
  device.Load(Header() + R"(.visible .entry k(.param .u64 out) {
    .reg .pred %p; .reg .b32 %r<10>; .reg .b64 %rd<6>; .shared .align 4 .b8 tile[256];
    mov.u32 %r1, %tid.x; and.b32 %r2, %r1, 63; mov.u32 %r8, tile; shl.b32 %r3, %r2, 2; add.u32 %r3, %r8, %r3; mov.b32 %r7, 0; mov.b32 %r9, 0;
    setp.ge.u32 %p, %r1, 64; @%p bra CONSUME;
    PRODUCE: add.u32 %r4, %r2, %r7; st.shared.u32 [%r3], %r4; bar.arrive 1, 128; bar.sync 2, 128;
    add.u32 %r7, %r7, 1; setp.lt.u32 %p, %r7, 4; @%p bra PRODUCE; ret;
    CONSUME: bar.sync 1, 128; xor.b32 %r5, %r3, 4; ld.shared.u32 %r6, [%r5]; add.u32 %r9, %r9, %r6; bar.arrive 2, 128;
    add.u32 %r7, %r7, 1; setp.lt.u32 %p, %r7, 4; @%p bra CONSUME;
    ld.param.u64 %rd1, [out]; mul.wide.u32 %rd2, %r2, 4; add.u64 %rd1, %rd1, %rd2; st.global.u32 [%rd1], %r9; ret; })");
  const uint64_t out = device.Unwritten(256);
  const absl::Status status = device.Launch("k", {1}, {128}, 0, out);
  ASSERT_TRUE(status.ok()) << status;
  const std::vector<uint32_t> got = device.Read<uint32_t>(out, 64);
  for (uint32_t t = 0; t < 64; ++t) EXPECT_EQ(got[t], 4 * (t ^ 1) + 6);
}

TEST(Block, AtomicsOverGridAndThreads) {
  EmulatorOptions options;
  options.threads = 2;
  TestDevice device(options);
  device.Load(Header() + R"(.visible .entry k(.param .u64 out) {
    .reg .pred %p; .reg .b32 %r<10>; .reg .b64 %rd<6>; .shared .align 4 .b8 count[4];
    mov.u32 %r1, %tid.x; setp.eq.u32 %p, %r1, 0; @%p st.shared.u32 [count], 0; bar.sync 0;
    atom.shared.add.u32 %r2, [count], 2; bar.sync 0; ld.shared.u32 %r3, [count];
    ld.param.u64 %rd1, [out];
    red.global.add.u32 [%rd1], %r3; atom.global.max.s32 %r4, [%rd1+4], %r1; atom.global.min.u32 %r4, [%rd1+8], %r1;
    atom.global.inc.u32 %r4, [%rd1+12], 9; red.relaxed.gpu.global.add.f32 [%rd1+16], 0f3F000000; atom.global.or.b32 %r4, [%rd1+20], %r1;
    mov.u32 %r5, %ctaid.x; atom.acq_rel.gpu.global.cas.b32 %r4, [%rd1+24], 77, %r5; atom.global.exch.b32 %r4, [%rd1+28], 5;
    red.global.add.u64 [%rd1+32], 4294967296; red.global.add.f64 [%rd1+40], 0d3FF0000000000000; ret; })");
  const uint64_t out = device.Buffer(std::vector<uint32_t>{0, 0, 50, 0, 0, 0, 77, 0, 0, 0, 0, 0});
  const absl::Status status = device.Launch("k", {3}, {64}, 0, out);
  ASSERT_TRUE(status.ok()) << status;
  const std::vector<uint32_t> got = device.Read<uint32_t>(out, 12);
  EXPECT_EQ(got[0], 3u * 64 * 128);
  EXPECT_EQ(got[1], 63u);
  EXPECT_EQ(got[2], 0u);
  EXPECT_EQ(got[3], 192u % 10);
  EXPECT_EQ(std::bit_cast<float>(got[4]), 96.0f);
  EXPECT_EQ(got[5], 63u);
  EXPECT_LT(got[6], 3u);
  EXPECT_EQ(got[7], 5u);
  EXPECT_EQ(got[9], 192u);
  EXPECT_EQ(device.Read<double>(out + 40, 1)[0], 192.0);
}

}  // namespace
}  // namespace weft::ptx
