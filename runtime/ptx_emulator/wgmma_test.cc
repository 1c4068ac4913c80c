// wgmma on shared memory that threads wrote: a product of ones, and what is found when the order
// between threads, registers and the product is not kept.
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/ptx_emulator/test_kernel.h"

namespace weft::ptx {
namespace {

using testing::AllOf;
using testing::Each;
using testing::HasSubstr;

// A kernel of two warpgroups: 64 x 64 and 16 x 64 ones in shared memory, of which the first
// warpgroup computes the product, 16 columns of 64 in each row. The parts that order it can be left
// out.
struct Parts {
  std::string copy = "";  // instead of stores
  std::string proxy_fence = "fence.proxy.async;\n";
  std::string barrier = "bar.sync 0;\n";
  std::string fence = "wgmma.fence.sync.aligned;\n";
  std::string before = "";  // each product
  std::string scale = "setp.eq.u32 %scale, 0, 0;\n";
  std::string commit = "wgmma.commit_group.sync.aligned;\n";
  std::string meanwhile = "";
  std::string wait = "wgmma.wait_group.sync.aligned 0;\n";
  std::string after = "";
  std::string skip = "setp.ge.u32 %p, %r1, 128;\n@%p bra.uni DONE;\n";
  uint32_t threads = 256;
};

struct Outcome {
  absl::Status status;
  std::vector<Finding> findings;
  std::vector<float> sums;
};

Outcome RunParts(const Parts& parts) {
  std::string text = Header() + R"(.visible .entry k(.param .u64 out, .param .u64 ones) {
.reg .pred %p, %q, %scale; .reg .b32 %r<10>; .reg .f32 %d<8>; .reg .b64 %rd<8>;
.shared .align 1024 .b8 tile[12288];
ld.param.u64 %rd1, [out]; ld.param.u64 %rd6, [ones];
mov.u32 %r1, %tid.x; mov.u32 %r2, tile; shl.b32 %r3, %r1, 4; add.u32 %r3, %r3, %r2;
mov.u32 %r4, 0x3c003c00;
cvt.u64.u32 %rd4, %r2; shr.u64 %rd4, %rd4, 4; or.b64 %rd4, %rd4, 0x4000004000010000;
add.u64 %rd5, %rd4, 512;
)";
  for (int i = 0; i < 3; ++i) {
    text += parts.copy.empty()
                ? Cat("st.shared.v4.u32 [%r3+", i * 4096, "], {%r4, %r4, %r4, %r4};\n")
                : Cat("cp.async.cg.shared.global [%r3+", i * 4096, "], [%rd6], 16;\n");
  }
  text += parts.copy + parts.proxy_fence + parts.barrier + parts.skip;
  for (int i = 0; i < 8; ++i) text += Cat("mov.f32 %d", i, ", 0f00000000;\n");
  text += parts.scale + parts.fence;
  for (int step = 0; step < 4; ++step) {
    text += Cat(parts.before,
                "wgmma.mma_async.sync.aligned.m64n16k16.f32.f16.f16 {%d0, %d1, %d2, %d3, %d4, %d5, "
                "%d6, %d7}, %rd4, %rd5, %scale, 1, 1, 0, 0;\n",
                "add.u64 %rd4, %rd4, 2; add.u64 %rd5, %rd5, 2; setp.eq.u32 %scale, 0, 0;\n");
  }
  text += parts.commit + parts.meanwhile + parts.wait + parts.after;
  text += "mul.wide.u32 %rd2, %r1, 32; add.u64 %rd2, %rd2, %rd1;\n";
  text += "st.global.v4.f32 [%rd2], {%d0, %d1, %d2, %d3};\n";
  text += "st.global.v4.f32 [%rd2+16], {%d4, %d5, %d6, %d7};\nDONE: ret;\n}\n";
  TestDevice device;
  device.Load(text, {{.first_line = 1, .op = "matmul_2", .file = "model.py", .line = 42}});
  const uint64_t out = device.Buffer(std::vector<float>(1024)),
                 ones = device.Buffer(std::vector<uint32_t>(4, 0x3c003c00));
  Outcome outcome;
  outcome.status = device.Launch("k", {1}, {parts.threads}, 0, out, ones);
  outcome.findings = device.findings();
  outcome.sums = device.Read<float>(out, 1024);
  return outcome;
}

void ExpectProduct(const Parts& parts) {
  const Outcome outcome = RunParts(parts);
  ASSERT_TRUE(outcome.status.ok()) << outcome.status;
  EXPECT_THAT(outcome.sums, Each(64));
}

void ExpectFinding(const Parts& parts, FindingKind kind, const std::string& part) {
  SCOPED_TRACE(part);
  const Outcome outcome = RunParts(parts);
  EXPECT_FALSE(outcome.status.ok());
  ASSERT_FALSE(outcome.findings.empty());
  EXPECT_EQ(outcome.findings[0].kind, kind) << outcome.findings[0].ToString();
  EXPECT_THAT(outcome.findings[0].ToString(),
              AllOf(HasSubstr(part), HasSubstr("kernel k, PTX line "),
                    HasSubstr("from matmul_2 (model.py:42)")));
}

const char kCopied[] = "cp.async.commit_group;\ncp.async.wait_group 0;\n";

TEST(Wgmma, ProductOfWhatThreadsWrote) {
  ExpectProduct({});
  ExpectProduct({.copy = kCopied});
  // The first product of a sum need not read its registers.
  ExpectProduct({.scale = "setp.ne.u32 %scale, 0, 0;\n"});
  // A fence after the barrier lies between as well.
  ExpectProduct({.proxy_fence = "", .barrier = "bar.sync 0;\nfence.proxy.async;\n"});
  ExpectProduct({.proxy_fence = "fence.proxy.async.shared::cta;\n"});
}

TEST(Wgmma, WhatThreadsWroteHasToPassAProxyFence) {
  const std::string text = "with no fence.proxy.async between";
  ExpectFinding({.proxy_fence = ""}, FindingKind::kRace, text);
  ExpectFinding({.copy = kCopied, .proxy_fence = ""}, FindingKind::kRace, text);
  // Other fences, and those of some threads or before the write, are none.
  ExpectFinding({.proxy_fence = "fence.acq_rel.cta;\n"}, FindingKind::kRace, text);
  ExpectFinding({.proxy_fence = "fence.proxy.async.global;\n"}, FindingKind::kRace, text);
  ExpectFinding({.proxy_fence = "setp.eq.u32 %p, %r1, 0;\n@%p fence.proxy.async;\n"},
                FindingKind::kRace, text);
  ExpectFinding({.copy = "cp.async.commit_group;\nfence.proxy.async;\ncp.async.wait_group 0;\n",
                 .proxy_fence = ""},
                FindingKind::kRace, text);
  ExpectFinding({.proxy_fence = "fence.proxy.async;\nst.shared.u32 [%r3], %r4;\n"},
                FindingKind::kRace, text);
}

TEST(Wgmma, WhatOthersWroteNeedsABarrier) {
  ExpectFinding({.barrier = ""}, FindingKind::kRace, "with no barrier between");
  ExpectFinding({.copy = "cp.async.commit_group;\n"}, FindingKind::kInFlight, "still writes");
}

TEST(Wgmma, RegistersHaveToBeFenced) {
  ExpectFinding({.fence = ""}, FindingKind::kMisuse, "since the last wgmma.fence");
  ExpectFinding({.before = "mov.f32 %d3, 0f00000000;\n"}, FindingKind::kMisuse,
                "since the last wgmma.fence");
}

TEST(Wgmma, RegistersBelongToTheProductUntilItIsWaitedFor) {
  const std::string text = "uses a register of a wgmma that was not waited for";
  ExpectFinding({.meanwhile = "add.f32 %d0, %d0, %d0;\n"}, FindingKind::kInFlight, text);
  ExpectFinding({.meanwhile = "st.global.f32 [%rd1], %d7;\n"}, FindingKind::kInFlight, text);
  ExpectFinding({.meanwhile = "mov.f32 %d0, 0f00000000;\n"}, FindingKind::kInFlight, text);
  ExpectFinding({.wait = ""}, FindingKind::kInFlight, text);
  ExpectFinding({.wait = "wgmma.wait_group.sync.aligned 1;\n"}, FindingKind::kInFlight, text);
  // What is in no group is not waited for.
  ExpectFinding({.commit = ""}, FindingKind::kInFlight, text);
}

// Somebody fills the stage anew.
TEST(Wgmma, StagesBelongToTheProductUntilItIsWaitedFor) {
  const std::string copy = "cp.async.cg.shared.global [%r3], [%rd6], 16;\n";
  for (const std::string& refill :
       {std::string("st.shared.v4.u32 [%r3], {%r4, %r4, %r4, %r4};\n"), copy + kCopied}) {
    SCOPED_TRACE(refill);
    ExpectProduct({.after = "bar.sync 1, 128;\n" + refill});
    ExpectFinding({.meanwhile = refill}, FindingKind::kInFlight, "still reads");
    // The second warpgroup, with no order between it and the product; with a barrier after which
    // the product goes on; and after the wait.
    const auto others = [&](const std::string& before, const std::string& barrier) {
      const std::string text = before + "bra.uni END;\nOTHERS:\n" + barrier + refill;
      return text + "bra.uni DONE;\nEND:\n";
    };
    const std::string skip = "setp.ge.u32 %p, %r1, 128;\n@%p bra.uni OTHERS;\n";
    ExpectFinding({.after = others("", ""), .skip = skip}, FindingKind::kRace, "which thread");
    ExpectFinding(
        {.meanwhile = "bar.sync 1;\n", .after = others("", "bar.sync 1;\n"), .skip = skip},
        FindingKind::kInFlight, "still reads");
    ExpectProduct({.after = others("bar.sync 1;\n", "bar.sync 1;\n"), .skip = skip});
    // The second warp fills what the first has waited for, as it happens here; no barrier says so.
    const std::string second =
        "setp.lt.u32 %p, %r1, 32;\nsetp.ge.u32 %q, %r1, 64;\nor.pred %p, %p, %q;\n"
        "@%p bra.uni END;\n" +
        refill + "END:\n";
    ExpectFinding({.meanwhile = "bar.sync 1, 128;\n", .after = second}, FindingKind::kRace,
                  "which thread");
    ExpectProduct({.after = "bar.sync 1, 128;\n" + second});
  }
}

TEST(Wgmma, WarpgroupsAreFourWarps) {
  const std::string small = "setp.ge.u32 %p, %r1, 96;\n@%p bra.uni DONE;\n";
  ExpectFinding({.skip = "", .threads = 96}, FindingKind::kMisuse, "a multiple of 128 threads");
  ExpectFinding({.skip = small}, FindingKind::kMisuse, "ended 4 products of its warpgroup after");
  ExpectFinding({.before = "setp.lt.u32 %q, %r1, 32;\n@%q add.u64 %rd5, %rd5, 2;\n"},
                FindingKind::kMisuse, "other matrix descriptors");
}

}  // namespace
}  // namespace weft::ptx
