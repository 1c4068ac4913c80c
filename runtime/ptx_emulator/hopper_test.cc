#include <bit>
#include <cstdint>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/ptx_emulator/tensor_map.h"
#include "runtime/ptx_emulator/test_kernel.h"

// TMA, mbarriers and wgmma of sm_90a, together as a matrix product uses them.
namespace weft::ptx {
namespace {

using testing::HasSubstr;

constexpr uint32_t kRows = 60, kColumns = 16, kDepth = 64;  // of the product; the tile has 64 rows

int Value(int row, int column, int salt) { return (row * 5 + column * 3 + salt) % 7 - 3; }

uint16_t Half(int value) {
  if (value == 0) return 0;
  const int magnitude = std::abs(value);
  const int exponent = std::bit_width(static_cast<unsigned>(magnitude)) - 1;
  return static_cast<uint16_t>((value < 0 ? 0x8000 : 0) | (exponent + 15) << 10 |
                               ((magnitude << (10 - exponent)) & 1023));
}

struct alignas(64) EncodedMap {
  uint8_t bytes[kTensorMapBytes];
};

EncodedMap Map(uint64_t address, uint32_t element_bytes, std::array<uint64_t, 2> sizes,
               std::array<uint32_t, 2> box, uint32_t swizzle) {
  TensorMap map;
  map.address = address;
  map.rank = 2;
  map.element_bytes = element_bytes;
  map.sizes = {sizes[0], sizes[1]};
  map.stride_bytes = {0, sizes[0] * element_bytes};
  map.box = {box[0], box[1]};
  map.swizzle_bytes = swizzle;
  EncodedMap encoded;
  const absl::Status status = EncodeTensorMap(map, &encoded);
  EXPECT_TRUE(status.ok()) << status;
  return encoded;
}

struct Parts {
  std::string init_fence = "fence.mbarrier_init.release.cluster; fence.proxy.async;";
  std::string wait =
      "WAIT: mbarrier.try_wait.parity.shared::cta.b64 %p, [full], 0; @!%p bra WAIT;\n";
  std::string fence = "wgmma.fence.sync.aligned;\n";
  std::string commit = "wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 0;\n";
  std::string expect = "10240";
};

struct Outcome {
  absl::Status status;
  std::vector<Finding> findings;
  std::vector<float> c;
};

// Both operands lie along K, in rows of 128 bytes with their swizzle; four products of depth 16.
Outcome RunProduct(const Parts& parts) {
  std::string text =
      Header() +
      R"(.visible .entry k(.param .align 64 .b8 map_a[128], .param .align 64 .b8 map_b[128], .param .align 64 .b8 map_c[128]) {
    .reg .pred %p, %q, %yes; .reg .b32 %r<20>; .reg .f32 %d<8>; .reg .b64 %rd<20>;
    .shared .align 1024 .b8 a[8192]; .shared .align 1024 .b8 b[2048]; .shared .align 128 .b8 c[4096]; .shared .align 8 .b8 full[8];
    mov.u32 %r1, %tid.x; setp.eq.u32 %q, %r1, 0; setp.eq.u32 %yes, 0, 0;
    mov.b64 %rd1, map_a; cvta.param.u64 %rd1, %rd1; mov.b64 %rd2, map_b; cvta.param.u64 %rd2, %rd2; mov.b64 %rd3, map_c; cvta.param.u64 %rd3, %rd3;
    mov.u32 %r2, full; mov.u32 %r3, a; mov.u32 %r4, b; mov.u32 %r5, c;
    @!%q bra START;
    mbarrier.init.shared::cta.b64 [%r2], 1; )" +
      parts.init_fence + R"(
    mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r2], )" +
      parts.expect + R"(;
    cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%r3], [%rd1, {0, 0}], [%r2];
    cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%r4], [%rd2, {0, 0}], [%r2];
    START: bar.sync 0;
)" + parts.wait +
      R"(
    cvt.u64.u32 %rd4, %r3; shr.u64 %rd4, %rd4, 4; or.b64 %rd4, %rd4, 0x4000004000010000;
    cvt.u64.u32 %rd5, %r4; shr.u64 %rd5, %rd5, 4; or.b64 %rd5, %rd5, 0x4000004000010000;
)";
  for (int i = 0; i < 8; ++i) text += Cat("mov.f32 %d", i, ", 0f3F800000;\n");
  text += parts.fence;
  for (int step = 0; step < 4; ++step) {
    if (step > 0) text += "add.u64 %rd4, %rd4, 2; add.u64 %rd5, %rd5, 2;\n";
    text +=
        "{ .reg .pred p; setp.ne.b32 p, 1, 0;\nwgmma.mma_async.sync.aligned.m64n16k16.f32.f16.f16 "
        "{%d0, %d1, %d2, %d3, %d4, %d5, %d6, %d7}, "
        "%rd4, %rd5, p, 1, 1, 0, 0; }\n";
  }
  text += parts.commit;
  // Each thread puts its values into the tile of C, which goes out as a box.
  text +=
      R"(shr.u32 %r6, %r1, 5; shl.b32 %r6, %r6, 4; and.b32 %r7, %r1, 31; shr.u32 %r8, %r7, 2; add.u32 %r6, %r6, %r8; and.b32 %r7, %r7, 3;
    shl.b32 %r7, %r7, 3; mad.lo.u32 %r8, %r6, 64, %r7; add.u32 %r8, %r8, %r5;
    st.shared.v2.f32 [%r8], {%d0, %d1}; st.shared.v2.f32 [%r8+512], {%d2, %d3}; st.shared.v2.f32 [%r8+32], {%d4, %d5};
    st.shared.v2.f32 [%r8+544], {%d6, %d7}; fence.proxy.async.shared::cta; bar.sync 0; @!%q ret;
    cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%rd3, {0, 0}], [%r5]; cp.async.bulk.commit_group; cp.async.bulk.wait_group 0; ret; })";
  TestDevice device;
  device.Load(text);
  std::vector<uint16_t> a, b;
  for (uint32_t i = 0; i < kRows * kDepth; ++i) a.push_back(Half(Value(i / kDepth, i % kDepth, 1)));
  for (uint32_t i = 0; i < kColumns * kDepth; ++i)
    b.push_back(Half(Value(i / kDepth, i % kDepth, 2)));
  const uint64_t pa = device.Buffer(a, "a"), pb = device.Buffer(b, "b"),
                 pc = device.Buffer(std::vector<float>(kRows * kColumns), "c");
  Outcome outcome;
  outcome.status = device.Launch("k", {1}, {128}, 0, Map(pa, 2, {kDepth, kRows}, {64, 64}, 128),
                                 Map(pb, 2, {kDepth, kColumns}, {64, 16}, 128),
                                 Map(pc, 4, {kColumns, kRows}, {16, 64}, 0));
  outcome.findings = device.findings();
  outcome.c = device.Read<float>(pc, kRows * kColumns);
  return outcome;
}

TEST(Hopper, MatrixProduct) {
  const Outcome outcome = RunProduct({});
  ASSERT_TRUE(outcome.status.ok()) << outcome.status;
  for (uint32_t row = 0; row < kRows; ++row) {
    for (uint32_t column = 0; column < kColumns; ++column) {
      int expected = 1;
      for (uint32_t k = 0; k < kDepth; ++k) expected += Value(row, k, 1) * Value(column, k, 2);
      ASSERT_EQ(outcome.c[row * kColumns + column], expected) << row << " " << column;
    }
  }
}

void ExpectFinding(const Parts& parts, FindingKind kind, const std::string& part) {
  const Outcome outcome = RunProduct(parts);
  EXPECT_FALSE(outcome.status.ok());
  ASSERT_FALSE(outcome.findings.empty());
  EXPECT_EQ(outcome.findings[0].kind, kind) << outcome.findings[0].ToString();
  EXPECT_THAT(outcome.findings[0].ToString(), HasSubstr(part));
}

TEST(Hopper, WhatIsForgottenIsFound) {
  Parts parts;
  parts.wait = "";
  ExpectFinding(parts, FindingKind::kInFlight, "still writes");
  parts = {};
  parts.fence = "";
  ExpectFinding(parts, FindingKind::kMisuse, "wgmma.fence");
  parts = {};
  parts.commit = "wgmma.commit_group.sync.aligned;\n";
  ExpectFinding(parts, FindingKind::kInFlight, "wgmma that was not waited for");
  parts.commit = "";
  ExpectFinding(parts, FindingKind::kInFlight, "wgmma that was not waited for");
  // What copies count at has to be there for them.
  parts = {};
  parts.init_fence = "";
  ExpectFinding(parts, FindingKind::kRace, "of full (8 bytes) which thread 0 wrote");
  for (const char* fence :
       {"fence.mbarrier_init.release.cluster;", "fence.proxy.async.shared::cta;"}) {
    parts.init_fence = fence;
    EXPECT_TRUE(RunProduct(parts).status.ok()) << fence;
  }
  // Bytes that never come.
  parts = {};
  parts.expect = "10244";
  ExpectFinding(parts, FindingKind::kDeadlock, "waits for ever");
}

TEST(Hopper, TensorMapsThatTheDriverRefuses) {
  TensorMap good;
  good.address = 1024;
  good.rank = 2;
  good.element_bytes = 2;
  good.sizes = {64, 10};
  good.stride_bytes = {0, 128};
  good.box = {64, 8};
  good.swizzle_bytes = 128;
  EncodedMap encoded;
  ASSERT_TRUE(EncodeTensorMap(good, &encoded).ok());
  TensorMap read;
  ASSERT_TRUE(DecodeTensorMap(&encoded, &read).ok());
  EXPECT_EQ(read.sizes[1], 10u);
  EXPECT_EQ(read.box[0], 64u);
  encoded.bytes[0] ^= 1;
  EXPECT_FALSE(DecodeTensorMap(&encoded, &read).ok());
  const auto refused = [&](void (*change)(TensorMap&)) {
    TensorMap map = good;
    change(map);
    return !EncodeTensorMap(map, &encoded).ok();
  };
  EXPECT_TRUE(refused([](TensorMap& m) { m.address = 8; }));
  EXPECT_TRUE(refused([](TensorMap& m) { m.rank = 6; }));
  EXPECT_TRUE(refused([](TensorMap& m) { m.stride_bytes[1] = 100; }));
  EXPECT_TRUE(refused([](TensorMap& m) { m.box[0] = 257; }));
  EXPECT_TRUE(refused([](TensorMap& m) { m.box[0] = 128; }));
  EXPECT_TRUE(refused([](TensorMap& m) {
    m.rank = 3;
    m.sizes[2] = 100;
    m.stride_bytes[2] = 1280;
    m.box = {64, 256, 64};
  }));
  EXPECT_TRUE(refused([](TensorMap& m) { m.sizes[0] = 0; }));
}

// A tensor map that a kernel makes up, as Encoded of tensor_map.cc lays it out.
struct MadeUpMap {
  uint64_t magic = 0x50414d524f534e54;
  uint64_t address = 0;
  uint64_t strides[4] = {};
  uint32_t sizes[5] = {};  // less one
  uint16_t box[5] = {};
  uint8_t rank = 1, element_bytes = 1, swizzle = 0;
};

// Moves the box at the coordinates by a map in the kernel's own constant memory, in or out. The
// shared memory that it lies in ends behind `bytes`.
Outcome CopyBox(const MadeUpMap& map, std::string_view coordinates, bool store, int bytes,
                int padding = 0) {
  uint64_t words[16] = {};
  std::memcpy(words, &map, sizeof map);
  std::string text = Header() + ".const .align 64 .b64 map[16] = {";
  for (int i = 0; i < 16; ++i) text += Cat(i == 0 ? "" : ", ", words[i]);
  const std::string dims = Cat(map.rank, "d");
  text += "};\n.visible .entry k() {\n.reg .pred %p; .reg .b32 %r<4>; .reg .b64 %rd<4>;\n";
  text += ".shared .align 8 .b8 full[8];\n";
  if (padding > 0) text += Cat(".shared .align 16 .b8 pad[", padding, "];\n");
  text +=
      Cat(".shared .align 128 .b8 buf[", bytes, "];\n",
          "mov.u64 %rd1, map; cvta.const.u64 %rd1, %rd1; mov.u32 %r1, full; mov.u32 %r2, buf;\n",
          "mbarrier.init.shared.b64 [%r1], 1; fence.proxy.async;\n");
  if (padding > 0) text += "mov.u32 %r3, pad; st.shared.u8 [%r3], 0;\n";
  for (int i = 0; i + 4 <= bytes; i += 4) text += Cat("st.shared.u32 [%r2+", i, "], 7;\n");
  text += "fence.proxy.async;\n";
  text += store ? Cat("cp.async.bulk.tensor.", dims, ".global.shared::cta.bulk_group [%rd1, {",
                      coordinates,
                      "}], [%r2]; cp.async.bulk.commit_group; cp.async.bulk.wait_group 0;\n")
                : Cat("cp.async.bulk.tensor.", dims,
                      ".shared::cluster.global.mbarrier::complete_tx::bytes [%r2], [%rd1, {",
                      coordinates, "}], [%r1];\n");
  TestDevice device;
  device.Load(text + "ret;\n}\n");
  Outcome outcome;
  outcome.status = device.Launch("k", {1}, {1}, 0);
  outcome.findings = device.findings();
  return outcome;
}

// What the driver would refuse is refused where a kernel reads it, too: the sizes of a made up map
// bound how much is copied.
TEST(Hopper, TensorMapsThatAKernelMakesUp) {
  MadeUpMap map;
  map.box[0] = 32;
  for (const bool store : {false, true}) {
    const Outcome good = CopyBox(map, "5000", store, 32);
    EXPECT_TRUE(good.status.ok()) << good.status;
    MadeUpMap odd = map;
    odd.box[0] = 17;
    const Outcome row = CopyBox(odd, "5000", store, 32);
    ASSERT_EQ(row.findings.size(), 1u);
    EXPECT_THAT(row.findings[0].ToString(), HasSubstr("multiple of 16 bytes, got 17"));
    MadeUpMap many = map;
    many.rank = 5;
    many.element_bytes = 0;
    for (uint16_t& box : many.box) box = 65535;
    const Outcome elements = CopyBox(many, "0, 0, 0, 0, 0", store, 32);
    ASSERT_EQ(elements.findings.size(), 1u);
    EXPECT_THAT(elements.findings[0].ToString(), HasSubstr("1, 2, 4 or 8 bytes, got 0"));
  }
  EncodedMap encoded = {};
  TensorMap read;
  const auto refused = [&](void (*change)(MadeUpMap&)) {
    MadeUpMap changed = map;
    change(changed);
    std::memcpy(&encoded, &changed, sizeof changed);
    return !DecodeTensorMap(&encoded, &read).ok();
  };
  EXPECT_FALSE(refused([](MadeUpMap&) {}));
  EXPECT_TRUE(refused([](MadeUpMap& m) { m.rank = 0; }));
  EXPECT_TRUE(refused([](MadeUpMap& m) { m.rank = 6; }));
  EXPECT_TRUE(refused([](MadeUpMap& m) { m.address = 8; }));
  EXPECT_TRUE(refused([](MadeUpMap& m) { m.box[0] = 0; }));
  EXPECT_TRUE(refused([](MadeUpMap& m) { m.box[0] = 272; }));
  EXPECT_TRUE(refused([](MadeUpMap& m) { m.swizzle = 16; }));
  EXPECT_TRUE(refused([](MadeUpMap& m) {
    m.box[0] = 48;
    m.swizzle = 32;
  }));
}

// A swizzle exchanges columns of whole lines: a box that ends within one reaches behind its end.
TEST(Hopper, ASwizzleReachesBehindTheBox) {
  MadeUpMap map;
  map.box[0] = 16;
  map.swizzle = 128;
  for (const bool store : {false, true}) {
    // The row lies at 0x780 (or a multiple of 1024 from there), so that its column is the last of
    // its line.
    const Outcome outside = CopyBox(map, "5000", store, 16, 720);
    EXPECT_FALSE(outside.status.ok());
    ASSERT_FALSE(outside.findings.empty());
    EXPECT_EQ(outside.findings[0].kind, FindingKind::kOutOfBounds);
    EXPECT_THAT(outside.findings[0].ToString(), HasSubstr("16 bytes at 0x7f0 of shared memory"));
    const Outcome inside = CopyBox(map, "5000", store, 128, 720);
    EXPECT_TRUE(inside.status.ok()) << inside.status;
  }
}

// What nobody waits for is bounded: a kernel may issue without end. (What writes to shared memory
// is bounded by it, as two may not write the same byte.)
TEST(Hopper, OperationsThatNobodyWaitsFor) {
  const auto loop = [](std::string_view before, std::string_view body) {
    // Products are of a warpgroup.
    const uint32_t threads = body.starts_with("wgmma.mma") ? 128 : 32;
    TestDevice device;
    device.Load(Cat(Header(), R"(.visible .entry k(.param .u64 x) {
    .reg .pred %p, %q; .reg .b32 %r<9>; .reg .f32 %d<4>; .reg .b64 %rd<4>;
    .shared .align 128 .b8 tile[32768]; .shared .align 8 .b8 full[8];
    ld.param.u64 %rd1, [x]; setp.eq.u32 %q, 0, 0; mov.u32 %r2, tile; mov.u64 %rd2, 1024;
)",
                    before, "mov.u32 %r1, 0;\nL:\n", body,
                    "\nadd.u32 %r1, %r1, 1; setp.lt.u32 %p, %r1, 20000; @%p bra L; ret; }"));
    const uint64_t x = device.Buffer(std::vector<uint8_t>(32768), "x");
    Outcome outcome;
    outcome.status = device.Launch("k", {1}, {threads}, 0, x);
    outcome.findings = device.findings();
    return outcome;
  };
  const std::string start =
      "mov.u32 %r3, %tid.x; setp.eq.u32 %p, %r3, 0;\n@%p mbarrier.init.shared.b64 [full], 1;\n"
      "wgmma.fence.sync.aligned;\n";
  for (const std::string_view body : {
           "cp.async.bulk.global.shared::cta.bulk_group [%rd1], [tile], 32768;",
           "cp.async.commit_group;",
           "cp.async.bulk.commit_group;",
           "cp.async.mbarrier.arrive.noinc.shared.b64 [full];",
           "wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {%d0, %d1, %d2, %d3}, %rd2, %rd2, "
           "%q, 1, 1, 0, 0;",
           "wgmma.commit_group.sync.aligned;",
       }) {
    const Outcome outcome = loop(start, body);
    const bool bounded =
        std::any_of(outcome.findings.begin(), outcome.findings.end(), [&](const Finding& finding) {
          return finding.kind == FindingKind::kMisuse &&
                 finding.message.find("nobody waited for") != std::string::npos;
        });
    EXPECT_TRUE(bounded) << body << "\n" << outcome.status;
  }
}

// Thread 0 lets two copies come, each with an mbarrier of its own; then each warp runs statements,
// in which %w is its number, %r1 the first copy's bytes, `m` the first's mbarrier, `n` the
// second's.
Outcome RunTwoCopies(std::string_view statements) {
  TestDevice device;
  device.Load(Cat(Header(), R"(.visible .entry k(.param .u64 in) {
    .reg .pred %p, %q; .reg .b32 %r<4>, %w; .reg .b64 %rd<4>;
    .shared .align 128 .b8 tile[64]; .shared .align 8 .b8 m[8]; .shared .align 8 .b8 n[8];
    ld.param.u64 %rd1, [in]; mov.u32 %r1, %tid.x; shr.u32 %w, %r1, 5; setp.ne.u32 %p, %r1, 0; mov.u32 %r1, tile;
    @%p bra START;
    mbarrier.init.shared.b64 [m], 1; mbarrier.init.shared.b64 [n], 1; fence.proxy.async;
    mbarrier.arrive.expect_tx.shared.b64 _, [m], 32; mbarrier.arrive.expect_tx.shared.b64 _, [n], 32;
    cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [tile], [%rd1], 32, [m];
    cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [tile+32], [%rd1], 32, [n];
    START: bar.sync 0;
)",
                  statements, "\nret;\n}\n"));
  const uint64_t in = device.Buffer(std::vector<uint32_t>(8, 7));
  Outcome outcome;
  outcome.status = device.Launch("k", {1}, {64}, 0, in);
  outcome.findings = device.findings();
  return outcome;
}

std::string WaitAt(std::string_view mbarrier) {
  return Cat("WAIT_", mbarrier, ": mbarrier.try_wait.parity.shared.b64 %p, [", mbarrier,
             "], 0; @!%p bra WAIT_", mbarrier, ";\n");
}

// What came is there for those who waited for it, or learnt of it from such, and for no others:
// copies may come in any order.
TEST(Hopper, CopiesAreThereForThoseWhoWaited) {
  const std::string read = "ld.shared.u32 %r2, [%r1];\n", other = "ld.shared.u32 %r2, [%r1+32];\n";
  const std::string only_first_warp = "setp.ne.u32 %q, %w, 0; @%q bra GO;\n";
  for (const std::string& good : {WaitAt("m") + read, WaitAt("m") + read + WaitAt("n") + other,
                                  only_first_warp + WaitAt("m") + "GO: bar.sync 0;\n" + read}) {
    const Outcome outcome = RunTwoCopies(good);
    EXPECT_TRUE(outcome.status.ok()) << outcome.status << "\n" << good;
  }
  for (const std::string& bad : {WaitAt("n") + read, WaitAt("m") + other + WaitAt("n"),
                                 WaitAt("n") + "st.shared.u32 [%r1], 1;\n",
                                 only_first_warp + WaitAt("m") + "GO: " + WaitAt("n") + read}) {
    const Outcome outcome = RunTwoCopies(bad);
    ASSERT_FALSE(outcome.findings.empty()) << bad;
    EXPECT_TRUE(outcome.findings[0].kind == FindingKind::kRace ||
                outcome.findings[0].kind == FindingKind::kInFlight)
        << outcome.findings[0].ToString();
  }
  const Outcome outcome = RunTwoCopies(WaitAt("n") + read);
  EXPECT_THAT(outcome.findings[0].ToString(),
              HasSubstr("byte 0 of tile (64 bytes) which an asynchronous copy wrote at PTX line "));
  EXPECT_THAT(outcome.findings[0].ToString(), HasSubstr("no wait for its mbarrier between"));
}

TEST(Hopper, NumbersOfRegisters) {
  const auto run = [](std::string_view statement) {
    Emulator device;
    const absl::StatusOr<int> module =
        device.Load(Cat(Header(), ".visible .entry k() { .reg .pred %p; .reg .b32 %r1;\n",
                        "mov.u32 %r1, %tid.x; setp.eq.u32 %p, %r1, 5;\n", statement, " ret; }"));
    if (!module.ok()) return module.status();
    LaunchOptions options;
    options.block = {128};
    return device.Launch(*device.GetFunction(*module, "k"), options);
  };
  for (const char* good :
       {"setmaxnreg.inc.sync.aligned.u32 232;", "setmaxnreg.dec.sync.aligned.u32 24;"}) {
    EXPECT_TRUE(run(good).ok()) << good;
  }
  for (const char* bad :
       {"setmaxnreg.inc.sync.aligned.u32 260;", "setmaxnreg.inc.sync.aligned.u32 100;",
        "setmaxnreg.dec.sync.aligned.u32 16;", "setmaxnreg.sync.aligned.u32 24;"}) {
    EXPECT_THAT(std::string(run(bad).message()), HasSubstr("a multiple of 8 from 24 to 256"))
        << bad;
  }
  EXPECT_THAT(std::string(run("@%p bra L;\nsetmaxnreg.dec.sync.aligned.u32 24; L:").message()),
              HasSubstr("setmaxnreg needs all 128 threads"));
}

// A plain piece, in and out.
TEST(Hopper, BulkCopies) {
  TestDevice device;
  device.Load(Header() + R"(.visible .entry k(.param .u64 in, .param .u64 out) {
    .reg .pred %p; .reg .b64 %rd<4>; .shared .align 128 .b8 tile[256]; .shared .align 8 .b8 full[8];
    ld.param.u64 %rd1, [in]; ld.param.u64 %rd2, [out];
    mbarrier.init.shared.b64 [full], 1; fence.proxy.async;
    mbarrier.arrive.expect_tx.shared.b64 %rd3, [full], 240;
    cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [tile], [%rd1+16], 240, [full];
    WAIT: mbarrier.test_wait.shared.b64 %p, [full], %rd3; @!%p bra WAIT;
    cp.async.bulk.global.shared::cta.bulk_group [%rd2], [tile+16], 224; cp.async.bulk.commit_group; cp.async.bulk.wait_group.read 0;
    st.shared.u32 [tile+16], 0; cp.async.bulk.wait_group 0; ret; })");
  std::vector<uint8_t> in(256);
  for (size_t i = 0; i < in.size(); ++i) in[i] = static_cast<uint8_t>(3 * i + 1);
  const uint64_t pin = device.Buffer(in), out = device.Unwritten(224);
  const absl::Status status = device.Launch("k", {1}, {1}, 0, pin, out);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(device.Read<uint8_t>(out, 224), std::vector<uint8_t>(in.begin() + 32, in.end()));
}

}  // namespace
}  // namespace weft::ptx
