#include <bit>
#include <cmath>
#include <cstdint>
#include <random>

#include "gtest/gtest.h"
#include "runtime/ptx_emulator/test_kernel.h"

// Matrix instructions. The fragments are laid out here as the PTX manual's figures say, lane by
// lane, and the product is computed plainly.
namespace weft::ptx {
namespace {

constexpr int kLanes = 32;

// Small integers are exact in every format.
int Value(int row, int column, int salt) { return (row * 7 + column * 3 + salt) % 9 - 4; }

uint32_t Bits(const std::string& type, int value) {
  if (type == "f16") {
    if (value == 0) return 0;
    const int magnitude = std::abs(value);
    const int exponent = std::bit_width(static_cast<unsigned>(magnitude)) - 1;
    return (value < 0 ? 0x8000u : 0u) | static_cast<uint32_t>(exponent + 15) << 10 |
           static_cast<uint32_t>((magnitude << (10 - exponent)) & 1023);
  }
  const uint32_t bits = std::bit_cast<uint32_t>(static_cast<float>(value));
  if (type == "bf16") return bits >> 16;
  if (type == "tf32") return bits | 0x1fff;  // the tensor core must not look at these
  return static_cast<uint32_t>(value) & 0xff;
}

struct Case {
  std::string shape;
  int k;
  std::string type;         // of A and B
  std::string accumulator;  // of C and D
  int a_registers, b_registers;
};

// Register r, element e of lane l of A: the manual's groups and threads.
struct Position {
  int row, column;
};
Position PositionInA(int l, int r, int e, int per_register) {
  return {l / 4 + (r % 2) * 8, l % 4 * per_register + e + r / 2 * per_register * 4};
}
Position PositionInB(int l, int r, int e, int per_register) {
  return {l % 4 * per_register + e + r * per_register * 4, l / 4};
}

std::string Names(const char* prefix, int first, int count) {
  std::string text = "{";
  for (int i = 0; i < count; ++i) text += Cat(i == 0 ? "" : ", ", prefix, first + i);
  return text + "}";
}

TEST(Mma, AllShapes) {
  const Case kCases[] = {
      {"m16n8k8", 8, "tf32", "f32", 4, 2},   {"m16n8k4", 4, "tf32", "f32", 2, 1},
      {"m16n8k16", 16, "f16", "f32", 4, 2},  {"m16n8k8", 8, "f16", "f32", 2, 1},
      {"m16n8k16", 16, "bf16", "f32", 4, 2}, {"m16n8k8", 8, "bf16", "f32", 2, 1},
      {"m16n8k32", 32, "s8", "s32", 4, 2},   {"m16n8k16", 16, "s8", "s32", 2, 1},
  };
  for (const Case& test : kCases) {
    SCOPED_TRACE(test.shape + test.type);
    const int per_register = test.type == "tf32" ? 1 : test.type == "s8" ? 4 : 2;
    const int width = 32 / per_register;
    std::vector<uint32_t> in;  // register-major
    const int inputs = test.a_registers + test.b_registers + 4;
    for (int r = 0; r < inputs; ++r) {
      for (int l = 0; l < kLanes; ++l) {
        uint32_t bits = 0;
        if (r >= test.a_registers + test.b_registers) {
          const int i = r - test.a_registers - test.b_registers;
          const int value = Value(l / 4 + i / 2 * 8, l % 4 * 2 + i % 2, 5);
          bits = test.accumulator == "f32" ? std::bit_cast<uint32_t>(static_cast<float>(value))
                                           : static_cast<uint32_t>(value);
        } else {
          for (int e = 0; e < per_register; ++e) {
            const bool is_a = r < test.a_registers;
            const Position at = is_a ? PositionInA(l, r, e, per_register)
                                     : PositionInB(l, r - test.a_registers, e, per_register);
            bits |= Bits(test.type, Value(at.row, at.column, is_a ? 1 : 2)) << (e * width);
          }
        }
        in.push_back(bits);
      }
    }
    std::string text = Header() +
                       ".visible .entry k(.param .u64 in, .param .u64 out) {\n.reg .b32 %r<20>, "
                       "%d<4>; .reg .b64 %rd<4>;\n"
                       "mov.u32 %r19, %tid.x; mul.wide.u32 %rd1, %r19, 4; ld.param.u64 %rd2, [in]; "
                       "add.u64 %rd2, %rd2, %rd1; "
                       "ld.param.u64 %rd3, [out]; add.u64 %rd3, %rd3, %rd1;\n";
    for (int r = 0; r < inputs; ++r)
      text += Cat("ld.global.b32 %r", r, ", [%rd2+", r * 128, "];\n");
    text +=
        Cat("mma.sync.aligned.", test.shape, ".row.col.", test.accumulator, ".", test.type, ".",
            test.type, ".", test.accumulator, " ", Names("%d", 0, 4), ", ",
            Names("%r", 0, test.a_registers), ", ", Names("%r", test.a_registers, test.b_registers),
            ", ", Names("%r", test.a_registers + test.b_registers, 4), ";\n");
    for (int i = 0; i < 4; ++i) text += Cat("st.global.b32 [%rd3+", i * 128, "], %d", i, ";\n");
    TestDevice device;
    device.Load(text + "ret; }");
    const uint64_t input = device.Buffer(in), out = device.Unwritten(4 * 128);
    const absl::Status status = device.Launch("k", {1}, {32}, 0, input, out);
    ASSERT_TRUE(status.ok()) << status;
    const std::vector<uint32_t> got = device.Read<uint32_t>(out, 4 * kLanes);
    for (int l = 0; l < kLanes; ++l) {
      for (int i = 0; i < 4; ++i) {
        const int row = l / 4 + i / 2 * 8, column = l % 4 * 2 + i % 2;
        int expected = Value(row, column, 5);
        for (int k = 0; k < test.k; ++k) expected += Value(row, k, 1) * Value(k, column, 2);
        const uint32_t bits = got[i * kLanes + l];
        EXPECT_EQ(test.accumulator == "f32" ? std::bit_cast<float>(bits)
                                            : static_cast<float>(static_cast<int32_t>(bits)),
                  static_cast<float>(expected));
      }
    }
  }
}

TEST(Mma, HalfAccumulatorsAndDoubles) {
  // A of ones: each result is the column's sum of B and c.
  const std::vector<uint32_t> lanes(32, 0);
  const std::vector<uint32_t> got = RunRows<uint32_t>(
      ".reg .b32 %e; mov.b32 %t0, 0x3c003c00; mma.sync.aligned.m16n8k8.row.col.f16.f16.f16.f16 "
      "{%d, %e}, {%t0, %t0}, {%t0}, {%a0, %a0};",
      lanes);
  for (uint32_t value : got) EXPECT_EQ(value, 0x48004800u);  // 8
  std::vector<double> a(32), b(32);
  for (int l = 0; l < 32; ++l) {
    a[l] = Value(l / 4, l % 4, 1) + 0.1;
    b[l] = Value(l % 4, l / 4, 2);
  }
  const std::vector<double> sums = RunRows<double>(
      ".reg .b64 %e; mov.b64 %base, 0; mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%e, %d}, "
      "{%a0}, {%a1}, {%base, %base};",
      a, b);
  for (int l = 0; l < 32; ++l) {
    double expected = 0;
    for (int k = 0; k < 4; ++k) expected += (Value(l / 4, k, 1) + 0.1) * Value(k, l % 4 * 2 + 1, 2);
    EXPECT_NEAR(sums[l], expected, 1e-12);
  }
}

TEST(Ldmatrix, FragmentsPlainAndTransposed) {
  for (const bool transposed : {false, true}) {
    SCOPED_TRACE(transposed);
    TestDevice device;
    // Element (row, column) of matrix m is 1000 m + 10 row + column; its rows lie 48 bytes apart,
    // so that rows are found by address alone.
    device.Load(Cat(
        Header(),
        R"(.visible .entry k(.param .u64 in, .param .u64 out) { .reg .pred %p; .reg .b32 %r<20>; .reg .b64 %rd<8>; .reg .b16 %h;
      .shared .align 16 .b8 tile[1536]; .shared .align 16 .b8 back[1536];
      mov.u32 %r1, %tid.x; ld.param.u64 %rd1, [in]; mov.u32 %r3, tile; mov.u32 %r4, 0;
      L: mad.lo.u32 %r5, %r4, 32, %r1; mul.wide.u32 %rd2, %r5, 2; add.u64 %rd2, %rd1, %rd2; ld.global.b16 %h, [%rd2]; shl.b32 %r6, %r5, 1; add.u32 %r6, %r6, %r3;
      st.shared.b16 [%r6], %h; add.u32 %r4, %r4, 1; setp.lt.u32 %p, %r4, 24; @%p bra L;
      bar.sync 0; mad.lo.u32 %r7, %r1, 48, %r3;
      ldmatrix.sync.aligned.m8n8.x4)",
        transposed ? ".trans" : "", R"(.shared.b16 {%r8, %r9, %r10, %r11}, [%r7];
      mov.u32 %r12, back; mad.lo.u32 %r12, %r1, 48, %r12;
      stmatrix.sync.aligned.m8n8.x4)",
        transposed ? ".trans" : "", R"(.shared.b16 [%r12], {%r8, %r9, %r10, %r11}; bar.warp.sync -1;
      ld.shared.v2.b32 {%r13, %r14}, [%r12+8];
      ld.param.u64 %rd3, [out]; mul.wide.u32 %rd4, %r1, 24; add.u64 %rd3, %rd3, %rd4;
      st.global.v2.b32 [%rd3], {%r8, %r9}; st.global.v2.b32 [%rd3+8], {%r10, %r11}; st.global.v2.b32 [%rd3+16], {%r13, %r14}; ret; })"));
    std::vector<uint16_t> in(24 * 32);
    for (int m = 0; m < 4; ++m) {
      for (int row = 0; row < 8; ++row) {
        for (int column = 0; column < 8; ++column)
          in[(m * 8 + row) * 24 + column] = static_cast<uint16_t>(1000 * m + 10 * row + column);
      }
    }
    const uint64_t input = device.Buffer(in), out = device.Unwritten(32 * 24);
    const absl::Status status = device.Launch("k", {1}, {32}, 0, input, out);
    ASSERT_TRUE(status.ok()) << status;
    const std::vector<uint32_t> got = device.Read<uint32_t>(out, 32 * 6);
    for (int l = 0; l < 32; ++l) {
      for (int m = 0; m < 4; ++m) {
        const int first = l / 4, second = l % 4 * 2;
        const uint32_t low = 1000 * m + (transposed ? 10 * second + first : 10 * first + second);
        EXPECT_EQ(got[l * 6 + m], low | (low + (transposed ? 10 : 1)) << 16);
      }
      // stmatrix is the inverse.
      const uint32_t base = 1000 * (l / 8) + 10 * (l % 8) + 4;
      EXPECT_EQ(got[l * 6 + 4], base | (base + 1) << 16);
      EXPECT_EQ(got[l * 6 + 5], (base + 2) | (base + 3) << 16);
    }
  }
}

TEST(AsyncCopy, ZeroFillAndGroups) {
  TestDevice device;
  device.Load(
      Header() +
      R"(.visible .entry k(.param .u64 in, .param .u64 out) { .reg .pred %p; .reg .b32 %r<20>; .reg .b64 %rd<8>;
    .shared .align 16 .b8 tile[1024];
    mov.u32 %r1, %tid.x; ld.param.u64 %rd1, [in]; mul.wide.u32 %rd2, %r1, 16; add.u64 %rd2, %rd1, %rd2; mov.u32 %r3, tile; shl.b32 %r4, %r1, 4; add.u32 %r4, %r3, %r4;
    min.u32 %r5, %r1, 16; cp.async.cg.shared.global.L2::128B [%r4], [%rd2], 16, %r5; cp.async.commit_group;
    setp.eq.u32 %p, %r1, 7; cp.async.ca.shared.global [%r4+512], [%rd2], 8, %p; cp.async.commit_group;
    cp.async.wait_group 1; ld.shared.v2.b32 {%r6, %r7}, [%r4+8]; cp.async.wait_group 0; ld.shared.b32 %r8, [%r4+512];
    ld.param.u64 %rd3, [out]; add.u64 %rd3, %rd3, %rd2; sub.u64 %rd3, %rd3, %rd1; st.global.v4.b32 [%rd3], {%r6, %r7, %r8, %r5}; ret; })");
  std::vector<uint8_t> in(512);
  for (size_t i = 0; i < in.size(); ++i) in[i] = static_cast<uint8_t>(i * 5 + 1);
  const uint64_t input = device.Buffer(in), out = device.Unwritten(512);
  const absl::Status status = device.Launch("k", {1}, {32}, 0, input, out);
  ASSERT_TRUE(status.ok()) << status;
  const std::vector<uint8_t> got = device.Read<uint8_t>(out, 512);
  for (int l = 0; l < 32; ++l) {
    for (int i = 0; i < 8; ++i)
      EXPECT_EQ(got[l * 16 + i], 8 + i < std::min(l, 16) ? in[l * 16 + 8 + i] : 0) << l << " " << i;
    for (int i = 0; i < 4; ++i)
      EXPECT_EQ(got[l * 16 + 8 + i], l == 7 ? 0 : in[l * 16 + i]) << l << " " << i;
  }
}

// A phase ends when all have arrived and all announced bytes are there; its waiters are behind what
// came before.
TEST(Mbarrier, Phases) {
  TestDevice device;
  device.Load(
      Header() +
      R"(.visible .entry k(.param .u64 in, .param .u64 out) { .reg .pred %p, %q; .reg .b32 %r<20>; .reg .b64 %rd<8>;
    .shared .align 8 .b8 full[8]; .shared .align 16 .b8 tile[256];
    mov.u32 %r1, %tid.x; and.b32 %r2, %r1, 31; shl.b32 %r2, %r2, 2; mov.u32 %r3, tile; add.u32 %r4, %r3, %r2; setp.eq.u32 %p, %r1, 0;
    @%p mbarrier.init.shared.b64 [full], 33; bar.sync 0;
    setp.ge.u32 %q, %r1, 32; @%q bra WAIT;
    st.shared.u32 [%r4], %r1; ld.param.u64 %rd1, [in]; mul.wide.u32 %rd2, %r1, 4; add.u64 %rd1, %rd1, %rd2;
    cp.async.ca.shared.global [%r4+128], [%rd1], 4; cp.async.mbarrier.arrive.noinc.shared.b64 [full];
    @%p mbarrier.arrive.shared.b64 %rd3, [full]; ret;
    WAIT: mbarrier.try_wait.parity.shared.b64 %p, [full], 0; @!%p bra WAIT;
    ld.shared.u32 %r5, [%r4+128]; mov.b32 %r6, 0; setp.eq.u32 %q, %r2, 0; @%q ld.shared.u32 %r6, [tile]; add.u32 %r5, %r5, %r6;
    mbarrier.test_wait.parity.shared.b64 %q, [full], 1; selp.b32 %r7, 1000, 0, %q; add.u32 %r5, %r5, %r7;
    ld.param.u64 %rd4, [out]; mul.wide.u32 %rd5, %r2, 1; add.u64 %rd4, %rd4, %rd5; st.global.u32 [%rd4], %r5; ret; })");
  std::vector<uint32_t> in(32);
  for (uint32_t i = 0; i < 32; ++i) in[i] = 50 + i;
  const uint64_t input = device.Buffer(in), out = device.Unwritten(128);
  const absl::Status status = device.Launch("k", {1}, {64}, 0, input, out);
  ASSERT_TRUE(status.ok()) << status;
  // The phase of parity 1 is the one that runs now: it has not ended.
  const std::vector<uint32_t> got = device.Read<uint32_t>(out, 32);
  for (uint32_t i = 0; i < 32; ++i) EXPECT_EQ(got[i], 50 + i);
}

// Who waited for a phase knows what came before its end, not what others did since, although they
// have arrived again.
TEST(Mbarrier, AWaitIsForOnePhase) {
  const auto run = [](std::string_view read) {
    TestDevice device;
    device.Load(Cat(Header(),
                    R"(.visible .entry k() { .reg .pred %p, %q; .reg .b32 %r<4>; .reg .b64 %rd<4>;
    .shared .align 8 .b8 full[8]; .shared .align 16 .b8 tile[8];
    mov.u32 %r1, %tid.x; setp.ne.u32 %p, %r1, 0; @%p bra START;
    mbarrier.init.shared.b64 [full], 2; st.shared.u32 [tile+4], 0;
    START: bar.sync 0; setp.eq.u32 %p, %r1, 32; @%p bra SECOND; setp.ne.u32 %p, %r1, 0; @%p ret;
    st.shared.u32 [tile], 1; mbarrier.arrive.shared.b64 %rd1, [full];
    W1: mbarrier.try_wait.parity.shared.b64 %q, [full], 0; @!%q bra W1;
    st.shared.u32 [tile+4], 1; mbarrier.arrive.shared.b64 %rd1, [full]; ret;
    SECOND: mbarrier.arrive.shared.b64 %rd1, [full]; mov.u32 %r2, 0;
    LATER: add.u32 %r2, %r2, 1; setp.lt.u32 %q, %r2, 10000; @%q bra LATER;
    W2: mbarrier.try_wait.parity.shared.b64 %q, [full], 0; @!%q bra W2;
    ld.shared.u32 %r3, [)",
                    read, "]; ret; }"));
    return device.Launch("k", {1}, {64}, 0);
  };
  EXPECT_TRUE(run("tile").ok());
  EXPECT_THAT(std::string(run("tile+4").message()),
              testing::HasSubstr("byte 4 of tile (8 bytes) which thread 0 wrote"));
}

}  // namespace
}  // namespace weft::ptx
