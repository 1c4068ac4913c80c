#include <cstdint>
#include <future>
#include <thread>
#include <utility>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/ptx_emulator/test_kernel.h"

// Each check by a kernel that breaks what it checks, and by one beside it that does not.
namespace weft::ptx {
namespace {

using testing::HasSubstr;

constexpr char kDeclarations[] =
    ".reg .pred %p, %q; .reg .b32 %r<10>, %tid; .reg .b16 %h; .reg .b64 %rd<10>, %x; .shared "
    ".align 16 .b8 tile[512]; .shared .align 8 .b8 other[8];\n"
    "ld.param.u64 %x, [x]; mov.u32 %tid, %tid.x; mul.wide.u32 %rd1, %tid, 4; add.u64 %rd1, %x, "
    "%rd1;\n"
    "mov.u32 %r1, tile; shl.b32 %r2, %tid, 2; add.u32 %r1, %r1, %r2;\n";

struct Outcome {
  absl::Status status;
  std::vector<Finding> findings;
};

// The kernel gets the address of x, 64 words that hold their number; %rd1 is that of the thread's
// word, %r1 that of its word of the shared tile. The statements begin on line 8.
Outcome RunKernel(std::string_view statements, Dim3 block = {64}, EmulatorOptions options = {},
                  std::vector<Region> (*regions)(uint64_t) = nullptr) {
  options.step_limit = 200000;
  TestDevice device(options);
  device.Load(Cat(Header(), ".visible .entry k(.param .u64 x) {\n", kDeclarations, statements,
                  "\nret;\n}\n"),
              {{.first_line = 1, .op = "first", .file = "a.py", .line = 1},
               {.first_line = 7, .op = "softmax_3", .file = "model.py", .line = 42}});
  std::vector<uint32_t> values(64);
  for (uint32_t i = 0; i < 64; ++i) values[i] = i;
  const uint64_t x = device.Buffer(values, "x");
  if (regions != nullptr) device.launch_options.regions = regions(x);
  Outcome outcome;
  outcome.status = device.Launch("k", {1}, block, 0, x);
  outcome.findings = device.findings();
  return outcome;
}

void ExpectFinding(std::string_view statements, FindingKind kind, std::vector<std::string> parts,
                   Dim3 block = {64}) {
  SCOPED_TRACE(statements);
  const Outcome outcome = RunKernel(statements, block);
  EXPECT_FALSE(outcome.status.ok());
  // Warps run one after the other, so that what races may also read what is not written yet.
  std::string all;
  bool found = false;
  for (const Finding& finding : outcome.findings) {
    const std::string text = finding.ToString();
    EXPECT_THAT(text, HasSubstr("kernel k, PTX line "));
    bool fits = finding.kind == kind;
    for (const std::string& part : parts) fits &= text.find(part) != text.npos;
    found |= fits;
    all += text + "\n";
  }
  EXPECT_TRUE(found) << all;
}

void ExpectClean(std::string_view statements, Dim3 block = {64}) {
  SCOPED_TRACE(statements);
  const Outcome outcome = RunKernel(statements, block);
  EXPECT_TRUE(outcome.status.ok()) << outcome.status;
  EXPECT_TRUE(outcome.findings.empty());
}

TEST(Checks, Bounds) {
  ExpectFinding("ld.global.u32 %r3, [%rd1+4];", FindingKind::kOutOfBounds,
                {"PTX line 8 (ld.global.u32), block (0,0,0), thread (63,0,0)", "reads 4 bytes",
                 "0 bytes past the end of x (256 bytes)", "from softmax_3 (model.py:42)"});
  ExpectFinding("st.global.u32 [%rd1+-4], %tid;", FindingKind::kOutOfBounds,
                {"thread (0,0,0)", "writes 4 bytes"});
  ExpectFinding("ld.u32 %r3, [8];", FindingKind::kOutOfBounds, {"0x8", "in no allocation"});
  ExpectFinding("ld.shared.u32 %r3, [%r1+512];", FindingKind::kOutOfBounds,
                {"0 bytes past the end of tile (512 bytes)"});
  ExpectFinding("ld.shared.u32 %r3, [0];", FindingKind::kOutOfBounds, {"in no variable"});
  ExpectFinding(".local .align 4 .b8 depot[8]; mov.u64 %rd2, depot; ld.local.u32 %r3, [%rd2+8];",
                FindingKind::kOutOfBounds, {"depot"});
  ExpectFinding("ld.param.u32 %r3, [x+8];", FindingKind::kOutOfBounds, {"parameters"});
  // The last bytes of an allocation, by a vector that goes past them.
  ExpectFinding("ld.global.v4.u32 {%r3, %r4, %r5, %r6}, [%x+248];", FindingKind::kMisaligned,
                {"16 bytes"});
  ExpectClean("ld.global.v4.u32 {%r3, %r4, %r5, %r6}, [%x+240];");
}

TEST(Checks, EveryFindingOnce) {
  const Outcome outcome =
      RunKernel("ld.global.u32 %r3, [%rd1+128]; ld.global.u32 %r3, [%rd1+252];");
  ASSERT_EQ(outcome.findings.size(), 1u) << "two instructions on one line";
  EXPECT_EQ(outcome.findings[0].occurrences, 32 + 63);
  const Outcome two = RunKernel("ld.global.u32 %r3, [%rd1+128];\nld.global.u32 %r3, [%rd1+252];");
  ASSERT_EQ(two.findings.size(), 2u);
  EXPECT_THAT(std::string(two.status.message()), HasSubstr("and 1 more finding"));
}

TEST(Checks, RegionsOfALaunch) {
  const auto lend = [](uint64_t x) {
    return std::vector<Region>{{x + 128, 128, "weights", false}, {x, 64, "input", true}};
  };
  const auto run = [&](std::string_view statements, Dim3 block) {
    return RunKernel(statements, block, {}, lend);
  };
  EXPECT_TRUE(
      run("ld.global.u32 %r3, [%rd1]; st.global.u32 [%rd1], %r3; ld.global.u32 %r3, [%rd1+128];",
          {16})
          .status.ok());
  EXPECT_THAT(std::string(run("ld.global.u32 %r3, [%rd1];", {17}).status.message()),
              HasSubstr("4 bytes past the end of input (64 bytes)"));
  EXPECT_EQ(run("st.global.u32 [%rd1+128], %tid;", {1}).findings[0].kind, FindingKind::kReadOnly);
}

TEST(Checks, FreedAndConstantMemory) {
  TestDevice device;
  device.Load(
      Header() +
      ".const .b32 table = 7;\n.visible .entry k(.param .u64 x) { .reg .b64 %x; .reg .b32 %r; "
      "ld.param.u64 %x, [x]; ld.u32 %r, [%x]; ret; }\n"
      ".visible .entry w() { .reg .b64 %x; mov.u64 %x, table; st.global.u32 [%x], 1; ret; }");
  const uint64_t x = device.Buffer(std::vector<uint32_t>{1}, "gone");
  EXPECT_TRUE(device.Launch("k", {1}, {1}, 0, x).ok());
  ASSERT_TRUE(device.emulator().Free(x).ok());
  EXPECT_FALSE(device.emulator().Free(x).ok());
  EXPECT_FALSE(device.Launch("k", {1}, {1}, 0, x).ok());
  EXPECT_EQ(device.findings()[0].kind, FindingKind::kUseAfterFree);
  EXPECT_THAT(device.findings()[0].message, HasSubstr("gone (4 bytes, freed)"));
  device.emulator().ClearFindings();
  EXPECT_FALSE(device.Launch("w", {1}, {1}, 0).ok());
  EXPECT_EQ(device.findings()[0].kind, FindingKind::kReadOnly);
}

// A launch that is lent some of the memory reads the constants of its own module besides, and those
// of no other.
TEST(Checks, ConstantsOfAnotherModule) {
  TestDevice device;
  const std::string text =
      Header() +
      ".const .b32 table = 7;\n"
      ".visible .entry own() { .reg .b32 %r; ld.const.u32 %r, [table]; ret; }\n"
      ".visible .entry k(.param .u64 x) { .reg .b64 %x; .reg .b32 %r; ld.param.u64 %x, [x]; "
      "ld.u32 %r, [%x]; ret; }";
  const int other = *device.emulator().Load(text);
  const uint64_t table = device.emulator().GetGlobal(other, "table")->first;
  device.Load(text);
  const uint64_t x = device.Buffer(std::vector<uint32_t>{1}, "x");
  EXPECT_TRUE(device.Launch("k", {1}, {1}, 0, table).ok());
  device.launch_options.regions = {{x, 4, "x"}};
  EXPECT_TRUE(device.Launch("k", {1}, {1}, 0, x).ok());
  EXPECT_TRUE(device.Launch("own", {1}, {1}, 0).ok());
  EXPECT_FALSE(device.Launch("k", {1}, {1}, 0, table).ok());
  ASSERT_EQ(device.findings().size(), 1u);
  EXPECT_EQ(device.findings()[0].kind, FindingKind::kOutOfBounds);
  EXPECT_THAT(device.findings()[0].message, HasSubstr("which is byte 0 of table"));
}

// What is known of freed allocations is bounded: the last are named, the others are nowhere.
TEST(Memory, FreedAllocationsAreForgottenInTime) {
  GlobalMemory memory(1 << 20);
  const uint64_t first = *memory.Allocate(16, "first");
  ASSERT_TRUE(memory.Free(first).ok());
  EXPECT_THAT(memory.Describe(first + 4), HasSubstr("first (16 bytes, freed)"));
  uint64_t last = 0, most = 0;
  for (size_t i = 0; i < 4 * GlobalMemory::kMaxFreed; ++i) {
    last = *memory.Allocate(16, "last");
    ASSERT_TRUE(memory.Free(last).ok());
    EXPECT_FALSE(memory.Free(last).ok());
    if (i == GlobalMemory::kMaxFreed) most = memory.used();
    if (i > GlobalMemory::kMaxFreed) ASSERT_EQ(memory.used(), most);
  }
  EXPECT_TRUE(memory.Find(last)->freed);
  EXPECT_EQ(memory.Find(first), nullptr);
  EXPECT_THAT(memory.Describe(last), HasSubstr("freed"));
  char byte = 0;
  for (const uint64_t address : {first, last}) {
    EXPECT_EQ(memory.Read(address, &byte, 1).code(), absl::StatusCode::kOutOfRange);
  }
}

// The limit is one of all that the memory takes: what is empty takes some as well, and names.
TEST(Memory, TheLimitCountsAll) {
  for (const uint64_t bytes : {0, 1, 10'000}) {
    GlobalMemory memory(1 << 20);
    const std::string name(1000, 'n');
    uint64_t count = 0;
    while (memory.Allocate(bytes, name).ok()) ASSERT_LT(++count, (1u << 20) / 2000);
    EXPECT_LE(memory.used(), 1u << 20);
    EXPECT_GT(memory.used() + 2 * bytes + 4000, 1u << 20);
  }
  // What is forgotten makes room, and all of it comes back.
  GlobalMemory memory(1 << 20);
  for (int i = 0; i < 100; ++i) {
    const absl::StatusOr<uint64_t> address = memory.Allocate(500'000, "large");
    ASSERT_TRUE(address.ok()) << i << address.status();
    EXPECT_FALSE(memory.Allocate(500'000, "another").ok());
    ASSERT_TRUE(memory.Free(*address).ok());
  }
  EXPECT_FALSE(memory.Allocate(1 << 19, "half").ok());
  EXPECT_FALSE(memory.Allocate(UINT64_MAX, "all").ok());
}

// Addresses are never used twice, and end where generic ones mean other memory.
TEST(Memory, AddressesEnd) {
  constexpr uint64_t kFirst = kSharedWindow - 3 * 8192;
  GlobalMemory memory(1 << 20, {}, kFirst);
  uint64_t count = 0;
  for (;;) {
    const absl::StatusOr<uint64_t> address = memory.Allocate(4096, "x");
    if (!address.ok()) {
      EXPECT_EQ(address.status().code(), absl::StatusCode::kResourceExhausted);
      EXPECT_THAT(std::string(address.status().message()), HasSubstr("used up"));
      break;
    }
    ASSERT_LE(*address + 4096, kSharedWindow);
    ASSERT_TRUE(memory.Free(*address).ok());
    ASSERT_LE(++count, 3u);
  }
  EXPECT_EQ(count, 3u);
}

constexpr char kEndless[] =
    ".visible .entry endless() { L: bra L; }\n"
    ".visible .entry k() { ret; }\n";

TEST(Launch, IsInterrupted) {
  TestDevice device;
  device.Load(Header() + kEndless);
  int asked = 0;
  device.launch_options.interrupt = [&] {
    return ++asked < 3 ? absl::OkStatus() : absl::CancelledError("enough");
  };
  const absl::Status status = device.Launch("endless", {5}, {64}, 0);
  EXPECT_EQ(status, absl::CancelledError("enough"));
  EXPECT_EQ(asked, 3);
  EXPECT_TRUE(device.findings().empty());
  // Between blocks as well, each of which is short.
  asked = 0;
  EXPECT_EQ(device.Launch("k", {100}, {1}, 0), absl::CancelledError("enough"));
  EXPECT_EQ(asked, 3);
}

// One launch does not wait for another to end, nor do allocations and modules.
TEST(Launch, GoesOnBesideOthers) {
  TestDevice device;
  device.Load(Header() + kEndless);
  std::promise<void> started, done;
  const std::shared_future<void> is_done = done.get_future().share();
  bool first = true;
  LaunchOptions options;
  options.block = {32};
  options.interrupt = [&] {
    if (std::exchange(first, false)) started.set_value();
    is_done.wait();
    return absl::CancelledError("enough");
  };
  Emulator& emulator = device.emulator();
  const auto [module, function] = [&] {
    const int loaded = *emulator.Load(Header() + kEndless);
    return std::pair(loaded, *emulator.GetFunction(loaded, "endless"));
  }();
  absl::Status status;
  std::thread other([&] { status = emulator.Launch(function, options); });
  started.get_future().wait();
  EXPECT_TRUE(device.Launch("k", {1}, {32}, 0).ok());
  const uint64_t x = *emulator.Allocate(8, "x");
  EXPECT_TRUE(emulator.Free(x).ok());
  EXPECT_TRUE(emulator.Unload(module).ok());  // what is under way keeps it
  done.set_value();
  other.join();
  EXPECT_EQ(status, absl::CancelledError("enough"));
}

TEST(Checks, Alignment) {
  ExpectFinding("ld.global.u32 %r3, [%x+2];", FindingKind::kMisaligned, {"4 bytes", "byte 2 of x"});
  ExpectFinding("st.shared.v2.b32 [%r1+4], {%tid, %tid};", FindingKind::kMisaligned, {"8 bytes"});
}

TEST(Checks, UninitializedMemory) {
  ExpectFinding("ld.shared.u32 %r3, [%r1];", FindingKind::kUninitializedMemory, {"byte 0 of tile"});
  ExpectFinding(".local .align 4 .b8 depot[8]; ld.local.u32 %r3, [depot];",
                FindingKind::kUninitializedMemory, {"local"});
  ExpectFinding("atom.shared.add.u32 %r3, [other], 1;", FindingKind::kUninitializedMemory,
                {"other"});
  TestDevice device;
  device.Load(Header() +
              ".visible .entry k(.param .u64 x) { .reg .b64 %x; .reg .b32 %r; ld.param.u64 %x, "
              "[x]; ld.u32 %r, [%x+4]; ret; }");
  const uint64_t x = device.Unwritten(8, "arena");
  EXPECT_EQ(*device.emulator().memory().CountUnwritten(x, 8), 8u);
  EXPECT_FALSE(device.Launch("k", {1}, {1}, 0, x).ok());
  EXPECT_EQ(device.findings()[0].kind, FindingKind::kUninitializedMemory);
  EXPECT_THAT(device.findings()[0].message, HasSubstr("byte 4 of arena"));
  ASSERT_TRUE(device.emulator().Fill(x, 0, 8).ok());
  EXPECT_TRUE(device.Launch("k", {1}, {1}, 0, x).ok());
  ASSERT_TRUE(device.emulator().memory().MarkUnwritten(x, 8).ok());
  EXPECT_FALSE(device.Launch("k", {1}, {1}, 0, x).ok());
}

TEST(Checks, UndefinedRegisters) {
  ExpectFinding("add.u64 %rd2, %rd3, %x; ld.global.u32 %r3, [%rd2];", FindingKind::kUndefinedValue,
                {"address"});
  ExpectFinding("@%p add.u32 %r3, %r3, 1;", FindingKind::kUndefinedValue, {"predicate"});
  ExpectFinding("setp.eq.u32 %p, %r5, 1; @%p bra L; add.u32 %r3, %tid, 1; L:",
                FindingKind::kUndefinedValue, {"predicate"});
  // Through memory: what an undefined value was stored to was not written.
  ExpectFinding("st.shared.u32 [%r1], %r5; ld.shared.u32 %r6, [%r1];",
                FindingKind::kUninitializedMemory, {"tile"});
  // A shuffle from a lane that is not there.
  ExpectFinding(
      "setp.lt.u32 %p, %tid, 16; @!%p ret; shfl.sync.down.b32 %r3, %tid, 16, 31, 0xffff; "
      "setp.eq.u32 %q, %r3, 1; @%q bra L; L:",
      FindingKind::kUndefinedValue, {"predicate"});
  // Undefined values that decide nothing are what LLVM leaves where a program does not care.
  ExpectClean(
      "mov.b32 %r3, %r4; add.u32 %r3, %r3, 1; setp.eq.u32 %p, %tid, 99; selp.b32 %r5, %r3, %tid, "
      "%p; setp.gt.u32 %q, %r5, 1; @%q bra L; L:");
}

TEST(Checks, Races) {
  const std::string neighbour = "xor.b32 %r3, %r2, 4; mov.u32 %r4, tile; add.u32 %r4, %r4, %r3; ";
  const std::string across = "xor.b32 %r3, %r2, 128; mov.u32 %r4, tile; add.u32 %r4, %r4, %r3; ";
  ExpectFinding("st.shared.u32 [%r1], %tid;\n" + across + "ld.shared.u32 %r5, [%r4];",
                FindingKind::kRace,
                {"reads byte 0 of tile", "thread 0 wrote at PTX line 8", "no barrier"});
  ExpectClean("st.shared.u32 [%r1], %tid; bar.sync 0; " + across + "ld.shared.u32 %r5, [%r4];");
  // Within a warp a barrier of the warp is enough, and needed.
  ExpectFinding("st.shared.u32 [%r1], %tid; " + neighbour + "ld.shared.u32 %r5, [%r4];",
                FindingKind::kRace, {"reads"});
  ExpectClean("st.shared.u32 [%r1], %tid; bar.warp.sync -1; " + neighbour +
              "ld.shared.u32 %r5, [%r4];");
  ExpectFinding(
      "st.shared.u32 [%r1], %tid; bar.warp.sync -1; " + across + "ld.shared.u32 %r5, [%r4];",
      FindingKind::kRace, {"reads"});
  // Read, then overwritten without a barrier.
  ExpectFinding("st.shared.u32 [%r1], %tid; bar.sync 0; " + across +
                    "ld.shared.u32 %r5, [%r4];\nst.shared.u32 [%r1], 5;",
                FindingKind::kRace, {"writes"});
  ExpectClean("st.shared.u32 [%r1], %tid; bar.sync 0; " + across +
              "ld.shared.u32 %r5, [%r4]; bar.sync 0; st.shared.u32 [%r1], 5;");
  // All warps read a word, then one writes it.
  ExpectFinding(
      "st.shared.u32 [%r1], %tid; bar.sync 0; ld.shared.u32 %r5, [tile+8]; setp.eq.u32 %p, %tid, "
      "2; @%p st.shared.u32 [tile+8], 5;",
      FindingKind::kRace, {"writes"});
  // Different values from several threads; the same value is no race.
  ExpectFinding("st.shared.u32 [other], %tid;", FindingKind::kRace, {"writes byte 0 of other"});
  ExpectClean("st.shared.u32 [other], 5;");
  // Atomics may meet; a plain read among them may not.
  const std::string zero = "setp.eq.u32 %p, %tid, 0; @%p st.shared.u32 [other], 0; bar.sync 0; ";
  ExpectClean(zero +
              "atom.shared.add.u32 %r3, [other], 1; bar.sync 0; ld.shared.u32 %r4, [other];");
  ExpectFinding(
      zero +
          "atom.shared.add.u32 %r3, [other], 1; setp.eq.u32 %p, %tid, 63; @%p ld.shared.u32 %r4, "
          "[other]; setp.eq.u32 %p, %tid, 0; @%p st.shared.u32 [other], 9;",
      FindingKind::kRace, {"other"});
  // Neighbouring bytes are not the same byte.
  ExpectClean(
      "mov.u32 %r3, tile; add.u32 %r3, %r3, %tid; cvt.u16.u32 %h, %tid; st.shared.u8 [%r3], %h;");
}

TEST(Checks, BarrierDivergence) {
  ExpectFinding("setp.lt.u32 %p, %tid, 5; @%p bra L; bar.sync 0; L:",
                FindingKind::kBarrierDivergence, {"bar.sync", "27 others"});
  ExpectFinding("setp.lt.u32 %p, %tid, 5; @%p bar.sync 0;", FindingKind::kBarrierDivergence,
                {"5 others"});
  ExpectFinding("setp.lt.u32 %p, %tid, 5; @%p bra L; bar.sync 0; bra M; L: bar.sync 0; M:",
                FindingKind::kBarrierDivergence, {});
  ExpectFinding("setp.lt.u32 %p, %tid, 5; @%p bar.warp.sync -1;", FindingKind::kBarrierDivergence,
                {"warp"});
  // Lanes that ended are not missing; where the block waits for all of them that is a deadlock,
  // found as one.
  ExpectFinding("setp.lt.u32 %p, %tid, 5; @%p ret; bar.sync 0;", FindingKind::kDeadlock,
                {"59 of 64 threads arrived, 5 of the block's 64 ended"});
  ExpectFinding("setp.lt.u32 %p, %tid, 32; @%p ret; bar.sync 0;", FindingKind::kDeadlock,
                {"32 of 64"});
  // barrier.sync without .aligned may be reached apart.
  ExpectClean("setp.lt.u32 %p, %tid, 5; @%p bra L; barrier.sync 0; bra M; L: barrier.sync 0; M:");
}

TEST(Checks, DeadlockLoopsAndTraps) {
  ExpectFinding("setp.lt.u32 %p, %tid, 32; @%p bar.sync 1; @!%p bar.sync 2;",
                FindingKind::kDeadlock, {"barrier 1", "32 of 64"});
  ExpectFinding("L: bra L;", FindingKind::kStepLimit, {"200000 instructions"});
  ExpectFinding("setp.eq.u32 %p, %tid, 3; @%p trap;", FindingKind::kTrap, {"thread (3,0,0)"});
  ExpectFinding("bar.sync 0, 33;", FindingKind::kMisuse, {"multiple of 32"});
  ExpectFinding("shfl.sync.bfly.b32 %r3, %tid, 1, 31, 1;", FindingKind::kMisuse,
                {"does not name the thread's own lane"});
  ExpectFinding("setp.lt.u32 %p, %tid, 3; @%p shfl.sync.bfly.b32 %r3, %tid, 1, 31, -1;",
                FindingKind::kMisuse, {"names lane 3, which is not here"});
  ExpectFinding("setp.lt.u32 %p, %tid, 3; @%p bra.uni L; L:", FindingKind::kMisuse, {".uni"});
}

TEST(Checks, AsynchronousCopies) {
  const std::string copy = "cp.async.ca.shared.global [%r1], [%rd1], 4; ";
  ExpectFinding(copy + "ld.shared.u32 %r3, [%r1];", FindingKind::kInFlight,
                {"reads byte 0 of tile", "not waited for"});
  ExpectFinding(copy + "cp.async.commit_group; ld.shared.u32 %r3, [%r1];", FindingKind::kInFlight,
                {});
  ExpectFinding(copy + "st.shared.u32 [%r1], 3;", FindingKind::kInFlight, {"writes"});
  // A group more may be under way: it is this one.
  ExpectFinding(copy + "cp.async.commit_group; cp.async.wait_group 1; ld.shared.u32 %r3, [%r1];",
                FindingKind::kInFlight, {});
  ExpectClean(copy + "cp.async.commit_group; cp.async.wait_group 0; ld.shared.u32 %r3, [%r1];");
  ExpectClean(copy + "cp.async.wait_all; ld.shared.u32 %r3, [%r1];");
  // Waiting is for one's own copies: for others' a barrier is needed.
  const std::string across =
      "xor.b32 %r3, %r2, 128; mov.u32 %r4, tile; add.u32 %r4, %r4, %r3; ld.shared.u32 %r5, [%r4];";
  ExpectFinding(copy + "cp.async.wait_all; " + across, FindingKind::kRace, {"reads"});
  ExpectClean(copy + "cp.async.wait_all; bar.sync 0; " + across);
  ExpectFinding("cp.async.cg.shared.global [tile], [%x+248], 16;", FindingKind::kMisaligned, {});
  ExpectFinding("cp.async.ca.shared.global [%r1], [%rd1+4], 4;", FindingKind::kOutOfBounds,
                {"past the end of x"});
}

// A ring of two stages, as kernels that multiply matrices have it: what may go wrong between the
// copies to it, the loads of fragments, and the barriers.
TEST(Checks, CopiesThatOvertakeTheLoadsOfFragments) {
  // Warp w copies its 128 bytes of a stage; both load all 256 of it, as two matrices.
  auto copy = [](int stage) {
    return Cat("cp.async.ca.shared.global [%r1+", 256 * stage,
               "], [%rd1], 4; cp.async.commit_group; ");
  };
  auto load = [](int stage) {
    return Cat("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%r5, %r6}, [%r4+", 256 * stage, "]; ");
  };
  const std::string address =
      "and.b32 %r3, %tid, 15; shl.b32 %r3, %r3, 4; mov.u32 %r4, tile; add.u32 %r4, %r4, %r3; ";
  const std::string wait_1 = "cp.async.wait_group 1; ", wait_0 = "cp.async.wait_group 0; ",
                    barrier = "bar.sync 0; ";
  ExpectClean(address + copy(0) + copy(1) + wait_1 + barrier + load(0) + wait_0 + barrier +
              copy(0) + load(1) + wait_0 + barrier + load(0));
  // The first stage is filled again while the other warp may still load from it.
  ExpectFinding(address + copy(0) + copy(1) + wait_1 + barrier + load(0) + wait_0 + copy(0),
                FindingKind::kRace, {"writes", "read"});
  // Too few groups are waited for.
  ExpectFinding(address + copy(0) + copy(1) + wait_1 + barrier + load(1), FindingKind::kInFlight,
                {"reads", "not waited for"});
  // The other warp's part of the stage may not be there yet.
  ExpectFinding(address + copy(0) + wait_0 + load(0), FindingKind::kRace, {});
  ExpectFinding(address + copy(0) + barrier + wait_0 + load(0), FindingKind::kRace, {});
}

TEST(Checks, LaunchesThatNoDeviceCanMake) {
  TestDevice device;
  device.Load(Header() +
              ".visible .entry k(.param .u64 x) .maxntid 256 { .shared .b8 s[1024]; .reg .b64 %x; "
              "mov.u64 %x, s; ret; }\n"
              ".visible .entry e() .reqntid 32, 2 { ret; }\n.visible .entry f() { ret; }");
  const auto message = [&](std::string_view kernel, Dim3 grid, Dim3 block, uint32_t shared,
                           auto... parameters) {
    const absl::Status status = device.Launch(kernel, grid, block, shared, parameters...);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    return std::string(status.message());
  };
  const uint64_t x = 0;
  EXPECT_THAT(message("f", {1}, {1025}, 0), HasSubstr("1 to 1024 threads"));
  EXPECT_THAT(message("f", {1}, {32, 33}, 0), HasSubstr("1 to 1024 threads"));
  EXPECT_THAT(message("f", {1}, {0}, 0), HasSubstr("1 to 1024 threads"));
  EXPECT_THAT(message("f", {1, 65536}, {1}, 0), HasSubstr("65535"));
  EXPECT_THAT(message("k", {1}, {257}, 0, x), HasSubstr(".maxntid"));
  EXPECT_THAT(message("k", {1}, {32}, 48 << 10, x), HasSubstr("49152 bytes of shared memory"));
  EXPECT_THAT(message("k", {1}, {32}, 0), HasSubstr("1 parameters"));
  EXPECT_THAT(message("e", {1}, {64}, 0), HasSubstr(".reqntid"));
  EXPECT_TRUE(device.Launch("e", {1}, {32, 2}, 0).ok());
  EXPECT_THAT(message("k", {1}, {32}, 300 << 10, x),
              HasSubstr("232448 bytes of shared memory on sm_90"));
  EXPECT_TRUE(device.Launch("f", {1}, {32}, 227 << 10).ok());
  EXPECT_FALSE(device.emulator().Load(Header("sm_100")).ok());
  EXPECT_TRUE(
      absl::IsResourceExhausted(device.emulator().Allocate(uint64_t{1} << 40, "arena").status()));
}

}  // namespace
}  // namespace weft::ptx
