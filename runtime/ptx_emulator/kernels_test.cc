#include <cmath>
#include <cstdint>
#include <memory>
#include <random>

#include "gtest/gtest.h"
#include "llvm/AsmParser/Parser.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Support/SourceMgr.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Support/raw_ostream.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/Target/TargetOptions.h"
#include "llvm/TargetParser/Triple.h"
#include "runtime/ptx_emulator/test_kernel.h"

// Whole kernels, from LLVM IR by LLVM's NVPTX back end, as the compiler's are.
namespace weft::ptx {
namespace {

std::string CompileToPtx(const std::string& ir, const std::string& cpu) {
  static const bool initialized = [] {
    LLVMInitializeNVPTXTarget();
    LLVMInitializeNVPTXTargetInfo();
    LLVMInitializeNVPTXTargetMC();
    LLVMInitializeNVPTXAsmPrinter();
    return true;
  }();
  EXPECT_TRUE(initialized);
  llvm::LLVMContext context;
  llvm::SMDiagnostic diagnostic;
  std::unique_ptr<llvm::Module> module = llvm::parseAssemblyString(ir, diagnostic, context);
  if (module == nullptr) {
    ADD_FAILURE() << diagnostic.getMessage().str() << " at line " << diagnostic.getLineNo() << ": "
                  << diagnostic.getLineContents().str();
    return "";
  }
  const llvm::Triple triple("nvptx64-nvidia-cuda");
  std::string error;
  const llvm::Target* target = llvm::TargetRegistry::lookupTarget(triple, error);
  EXPECT_NE(target, nullptr) << error;
  std::unique_ptr<llvm::TargetMachine> machine(
      target->createTargetMachine(triple, cpu, "", llvm::TargetOptions(), llvm::Reloc::PIC_));
  module->setTargetTriple(triple);
  module->setDataLayout(machine->createDataLayout());
  llvm::SmallString<0> text;
  llvm::raw_svector_ostream stream(text);
  llvm::legacy::PassManager passes;
  EXPECT_FALSE(
      machine->addPassesToEmitFile(passes, stream, nullptr, llvm::CodeGenFileType::AssemblyFile));
  passes.run(*module);
  return text.str().str();
}

constexpr char kDeclarations[] = R"(
declare i32 @llvm.nvvm.read.ptx.sreg.tid.x()
declare i32 @llvm.nvvm.read.ptx.sreg.tid.y()
declare i32 @llvm.nvvm.read.ptx.sreg.ntid.x()
declare i32 @llvm.nvvm.read.ptx.sreg.ctaid.x()
declare i32 @llvm.nvvm.read.ptx.sreg.ctaid.y()
declare void @llvm.nvvm.barrier0()
declare float @llvm.nvvm.shfl.sync.bfly.f32(i32, float, i32, i32)
declare float @llvm.nvvm.ex2.approx.f(float)
declare float @llvm.maxnum.f32(float, float)
)";

class Kernels : public testing::TestWithParam<const char*> {
 protected:
  void Load(const std::string& ir) {
    ptx_ = CompileToPtx(kDeclarations + ir, GetParam());
    device_.Load(ptx_);
  }
  template <class... P>
  void Launch(std::string_view kernel, Dim3 grid, Dim3 block, const P&... parameters) {
    const absl::Status status = device_.Launch(kernel, grid, block, 0, parameters...);
    ASSERT_TRUE(status.ok()) << status << "\n" << ptx_;
  }

  std::vector<float> Random(size_t count) {
    std::vector<float> values(count);
    for (float& value : values)
      value = static_cast<float>(static_cast<int>(random_() % 2001) - 1000) / 256.0f;
    return values;
  }

  std::mt19937 random_{11};
  TestDevice device_;
  std::string ptx_;
};

TEST_P(Kernels, VectorAddWithTail) {
  Load(R"(
define ptx_kernel void @add(ptr addrspace(1) %a, ptr addrspace(1) %b, ptr addrspace(1) %c, i32 %n) {
  %t = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %d = call i32 @llvm.nvvm.read.ptx.sreg.ntid.x()
  %k = call i32 @llvm.nvvm.read.ptx.sreg.ctaid.x()
  %kd = mul i32 %k, %d
  %g = add i32 %kd, %t
  %i = mul i32 %g, 4
  %last = add i32 %i, 3
  %whole = icmp slt i32 %last, %n
  br i1 %whole, label %vector, label %tail
vector:
  %pa = getelementptr float, ptr addrspace(1) %a, i32 %i
  %pb = getelementptr float, ptr addrspace(1) %b, i32 %i
  %pc = getelementptr float, ptr addrspace(1) %c, i32 %i
  %va = load <4 x float>, ptr addrspace(1) %pa, align 16
  %vb = load <4 x float>, ptr addrspace(1) %pb, align 16
  %vc = fadd <4 x float> %va, %vb
  store <4 x float> %vc, ptr addrspace(1) %pc, align 16
  ret void
tail:
  %j = phi i32 [ %i, %0 ], [ %jn, %body ]
  %more = icmp slt i32 %j, %n
  br i1 %more, label %body, label %done
body:
  %qa = getelementptr float, ptr addrspace(1) %a, i32 %j
  %qb = getelementptr float, ptr addrspace(1) %b, i32 %j
  %qc = getelementptr float, ptr addrspace(1) %c, i32 %j
  %xa = load float, ptr addrspace(1) %qa
  %xb = load float, ptr addrspace(1) %qb
  %xc = fadd float %xa, %xb
  store float %xc, ptr addrspace(1) %qc
  %jn = add i32 %j, 1
  br label %tail
done:
  ret void
})");
  for (const uint32_t n : {1u, 3u, 4u, 509u, 512u, 1030u}) {
    const std::vector<float> a = Random(n), b = Random(n);
    const uint64_t pa = device_.Buffer(a), pb = device_.Buffer(b), pc = device_.Unwritten(n * 4);
    Launch("add", {(n + 511) / 512}, {128}, pa, pb, pc, n);
    const std::vector<float> c = device_.Read<float>(pc, n);
    for (uint32_t i = 0; i < n; ++i) ASSERT_EQ(c[i], a[i] + b[i]);
    EXPECT_EQ(*device_.emulator().memory().CountUnwritten(pc, n * 4), 0u);
  }
}

// One block of 256 threads: shuffles within warps, shared memory between them.
TEST_P(Kernels, BlockReduction) {
  Load(R"(
@part = internal addrspace(3) global [8 x float] poison, align 4
define ptx_kernel void @sum(ptr addrspace(1) %x, ptr addrspace(1) %out, i32 %n) {
entry:
  %t = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  br label %loop
loop:
  %i = phi i32 [ %t, %entry ], [ %in, %body ]
  %s = phi float [ 0.0, %entry ], [ %sn, %body ]
  %more = icmp slt i32 %i, %n
  br i1 %more, label %body, label %warp
body:
  %p = getelementptr float, ptr addrspace(1) %x, i32 %i
  %v = load float, ptr addrspace(1) %p
  %sn = fadd float %s, %v
  %in = add i32 %i, 256
  br label %loop
warp:
  %a1 = call float @llvm.nvvm.shfl.sync.bfly.f32(i32 -1, float %s, i32 16, i32 31)
  %b1 = fadd float %s, %a1
  %a2 = call float @llvm.nvvm.shfl.sync.bfly.f32(i32 -1, float %b1, i32 8, i32 31)
  %b2 = fadd float %b1, %a2
  %a3 = call float @llvm.nvvm.shfl.sync.bfly.f32(i32 -1, float %b2, i32 4, i32 31)
  %b3 = fadd float %b2, %a3
  %a4 = call float @llvm.nvvm.shfl.sync.bfly.f32(i32 -1, float %b3, i32 2, i32 31)
  %b4 = fadd float %b3, %a4
  %a5 = call float @llvm.nvvm.shfl.sync.bfly.f32(i32 -1, float %b4, i32 1, i32 31)
  %b5 = fadd float %b4, %a5
  %lane = and i32 %t, 31
  %w = lshr i32 %t, 5
  %first = icmp eq i32 %lane, 0
  br i1 %first, label %store, label %meet
store:
  %q = getelementptr float, ptr addrspace(3) @part, i32 %w
  store float %b5, ptr addrspace(3) %q
  br label %meet
meet:
  call void @llvm.nvvm.barrier0()
  %small = icmp slt i32 %t, 32
  br i1 %small, label %last, label %done
last:
  %has = icmp slt i32 %t, 8
  br i1 %has, label %read, label %join
read:
  %r = getelementptr float, ptr addrspace(3) @part, i32 %t
  %rv = load float, ptr addrspace(3) %r
  br label %join
join:
  %c0 = phi float [ 0.0, %last ], [ %rv, %read ]
  %d1 = call float @llvm.nvvm.shfl.sync.bfly.f32(i32 -1, float %c0, i32 4, i32 31)
  %c1 = fadd float %c0, %d1
  %d2 = call float @llvm.nvvm.shfl.sync.bfly.f32(i32 -1, float %c1, i32 2, i32 31)
  %c2 = fadd float %c1, %d2
  %d3 = call float @llvm.nvvm.shfl.sync.bfly.f32(i32 -1, float %c2, i32 1, i32 31)
  %c3 = fadd float %c2, %d3
  %zero = icmp eq i32 %t, 0
  br i1 %zero, label %write, label %done
write:
  store float %c3, ptr addrspace(1) %out
  br label %done
done:
  ret void
})");
  for (const uint32_t n : {1u, 255u, 1000u, 4099u}) {
    const std::vector<float> x = Random(n);
    const uint64_t px = device_.Buffer(x), out = device_.Unwritten(4);
    Launch("sum", {1}, {256}, px, out, n);
    double expected = 0;
    for (float value : x) expected += value;
    EXPECT_NEAR(device_.Read<float>(out, 1)[0], expected, 1e-3);
  }
}

TEST_P(Kernels, TransposeThroughSharedMemory) {
  Load(R"(
@tile = internal addrspace(3) global [32 x [33 x float]] poison, align 4
define ptx_kernel void @transpose(ptr addrspace(1) %in, ptr addrspace(1) %out, i32 %rows, i32 %columns) {
entry:
  %tx = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %ty = call i32 @llvm.nvvm.read.ptx.sreg.tid.y()
  %bx = call i32 @llvm.nvvm.read.ptx.sreg.ctaid.x()
  %by = call i32 @llvm.nvvm.read.ptx.sreg.ctaid.y()
  %c0 = mul i32 %bx, 32
  %r0 = mul i32 %by, 32
  %c = add i32 %c0, %tx
  br label %read
read:
  %i = phi i32 [ %ty, %entry ], [ %in1, %next ]
  %r = add i32 %r0, %i
  %okr = icmp slt i32 %r, %rows
  %okc = icmp slt i32 %c, %columns
  %ok = and i1 %okr, %okc
  br i1 %ok, label %load, label %next
load:
  %ro = mul i32 %r, %columns
  %o = add i32 %ro, %c
  %p = getelementptr float, ptr addrspace(1) %in, i32 %o
  %v = load float, ptr addrspace(1) %p
  %q = getelementptr [32 x [33 x float]], ptr addrspace(3) @tile, i32 0, i32 %i, i32 %tx
  store float %v, ptr addrspace(3) %q
  br label %next
next:
  %in1 = add i32 %i, 8
  %again = icmp slt i32 %in1, 32
  br i1 %again, label %read, label %meet
meet:
  call void @llvm.nvvm.barrier0()
  %oc = add i32 %r0, %tx
  br label %write
write:
  %j = phi i32 [ %ty, %meet ], [ %jn, %wnext ]
  %or = add i32 %c0, %j
  %wr = icmp slt i32 %or, %columns
  %wc = icmp slt i32 %oc, %rows
  %w = and i1 %wr, %wc
  br i1 %w, label %store, label %wnext
store:
  %s = getelementptr [32 x [33 x float]], ptr addrspace(3) @tile, i32 0, i32 %tx, i32 %j
  %sv = load float, ptr addrspace(3) %s
  %wo = mul i32 %or, %rows
  %wi = add i32 %wo, %oc
  %d = getelementptr float, ptr addrspace(1) %out, i32 %wi
  store float %sv, ptr addrspace(1) %d
  br label %wnext
wnext:
  %jn = add i32 %j, 8
  %wagain = icmp slt i32 %jn, 32
  br i1 %wagain, label %write, label %done
done:
  ret void
})");
  const uint32_t rows = 45, columns = 70;
  const std::vector<float> in = Random(rows * columns);
  const uint64_t pin = device_.Buffer(in), out = device_.Unwritten(in.size() * 4);
  Launch("transpose", {3, 2}, {32, 8}, pin, out, rows, columns);
  const std::vector<float> got = device_.Read<float>(out, in.size());
  for (uint32_t r = 0; r < rows; ++r) {
    for (uint32_t c = 0; c < columns; ++c) ASSERT_EQ(got[c * rows + r], in[r * columns + c]);
  }
}

// A warp for each row.
TEST_P(Kernels, SoftmaxOfRows) {
  std::string ir = R"(
define ptx_kernel void @softmax(ptr addrspace(1) %x, ptr addrspace(1) %y, i32 %n) {
entry:
  %t = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %row = call i32 @llvm.nvvm.read.ptx.sreg.ctaid.x()
  %start = mul i32 %row, %n
  br label %scan
scan:
  %i = phi i32 [ %t, %entry ], [ %i1, %sbody ]
  %m = phi float [ 0xFFF0000000000000, %entry ], [ %m1, %sbody ]
  %smore = icmp slt i32 %i, %n
  br i1 %smore, label %sbody, label %w
sbody:
  %so = add i32 %start, %i
  %sp = getelementptr float, ptr addrspace(1) %x, i32 %so
  %sv = load float, ptr addrspace(1) %sp
  %m1 = call float @llvm.maxnum.f32(float %m, float %sv)
  %i1 = add i32 %i, 32
  br label %scan
w:
)";
  const auto reduce = [&](const std::string& name, const std::string& from, bool maximum) {
    std::string value = from;
    for (int step = 16; step > 0; step /= 2) {
      const std::string next = Cat("%", name, step);
      ir += Cat("  ", next, "s = call float @llvm.nvvm.shfl.sync.bfly.f32(i32 -1, float ", value,
                ", i32 ", step, ", i32 31)\n");
      ir += maximum ? Cat("  ", next, " = call float @llvm.maxnum.f32(float ", value, ", float ",
                          next, "s)\n")
                    : Cat("  ", next, " = fadd float ", value, ", ", next, "s\n");
      value = next;
    }
    return value;
  };
  const std::string top = reduce("max", "%m", true);
  const auto expand = [&](const std::string& prefix, const std::string& value) {
    std::string text = "%_d = fsub float " + value + ", " + top +
                       "\n  %_l = fmul float %_d, 0x3FF7154760000000\n  %_e = call float "
                       "@llvm.nvvm.ex2.approx.f(float %_l)\n";
    for (size_t at = 0; (at = text.find("%_", at)) != text.npos;) text.replace(at, 2, "%" + prefix);
    return "  " + text;
  };
  ir += R"(  br label %total
total:
  %j = phi i32 [ %t, %w ], [ %j1, %tbody ]
  %s = phi float [ 0.0, %w ], [ %s1, %tbody ]
  %tmore = icmp slt i32 %j, %n
  br i1 %tmore, label %tbody, label %w2
tbody:
  %to = add i32 %start, %j
  %tp = getelementptr float, ptr addrspace(1) %x, i32 %to
  %tv = load float, ptr addrspace(1) %tp
)" + expand("t", "%tv") +
        R"(  %s1 = fadd float %s, %te
  %j1 = add i32 %j, 32
  br label %total
w2:
)";
  const std::string sum = reduce("sum", "%s", false);
  ir += R"(  br label %out
out:
  %k = phi i32 [ %t, %w2 ], [ %k1, %obody ]
  %omore = icmp slt i32 %k, %n
  br i1 %omore, label %obody, label %done
obody:
  %oo = add i32 %start, %k
  %op = getelementptr float, ptr addrspace(1) %x, i32 %oo
  %ov = load float, ptr addrspace(1) %op
)" + expand("o", "%ov") +
        "  %oq = fdiv float %oe, " + sum + R"(
  %or = getelementptr float, ptr addrspace(1) %y, i32 %oo
  store float %oq, ptr addrspace(1) %or
  %k1 = add i32 %k, 32
  br label %out
done:
  ret void
})";
  Load(ir);
  const uint32_t rows = 5, n = 77;
  const std::vector<float> x = Random(rows * n);
  const uint64_t px = device_.Buffer(x), py = device_.Unwritten(x.size() * 4);
  Launch("softmax", {rows}, {32}, px, py, n);
  const std::vector<float> y = device_.Read<float>(py, x.size());
  for (uint32_t r = 0; r < rows; ++r) {
    double total = 0;
    for (uint32_t i = 0; i < n; ++i) total += std::exp(static_cast<double>(x[r * n + i]));
    for (uint32_t i = 0; i < n; ++i)
      ASSERT_NEAR(y[r * n + i], std::exp(static_cast<double>(x[r * n + i])) / total, 1e-5);
  }
}

// Element formats of the matrix kernel: values are multiples of 1/8 of small magnitude, exact in
// all of them.
struct Format {
  const char* name;
  uint32_t bytes;
  uint32_t (*bits)(float);
  const char* call;
};

uint32_t HalfBits(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if (value == 0) return 0;
  return (bits >> 16 & 0x8000) | (((bits >> 23 & 255) - 112) << 10) | (bits >> 13 & 1023);
}

// C = A * B^T: a warp for each tile of 16 by 8, staged through shared memory, 32 bytes of every row
// at a time. The fragments of f16, bf16 (k 16) and tf32 (k 8) have the same places in bytes.
TEST_P(Kernels, MatmulOnTensorCores) {
  if (std::string(GetParam()) == "sm_70") GTEST_SKIP() << "the shapes are those of sm_80";
  const Format kFormats[] = {
      {"f16", 2, HalfBits,
       "call {float, float, float, float} @llvm.nvvm.mma.m16n8k16.row.col.f32.f32(<2 x half> %A0, "
       "<2 x half> %A1, <2 x half> %A2, <2 x half> %A3, "
       "<2 x half> %B0, <2 x half> %B1, float %c0, float %c1, float %c2, float %c3)"},
      {"bf16", 2, [](float value) { return std::bit_cast<uint32_t>(value) >> 16; },
       "call {float, float, float, float} @llvm.nvvm.mma.m16n8k16.row.col.bf16(i32 %A0, i32 %A1, "
       "i32 %A2, i32 %A3, i32 %B0, i32 %B1, float %c0, "
       "float %c1, float %c2, float %c3)"},
      {"tf32", 4, [](float value) { return std::bit_cast<uint32_t>(value); },
       "call {float, float, float, float} @llvm.nvvm.mma.m16n8k8.row.col.tf32(i32 %A0, i32 %A1, "
       "i32 %A2, i32 %A3, i32 %B0, i32 %B1, float %c0, "
       "float %c1, float %c2, float %c3)"},
  };
  for (const Format& format : kFormats) {
    SCOPED_TRACE(format.name);
    const bool is_half = format.name == std::string("f16");
    const std::string fragment = is_half ? "<2 x half>" : "i32";
    std::string ir = R"(
@sa = internal addrspace(3) global [512 x i8] poison, align 16
@sb = internal addrspace(3) global [256 x i8] poison, align 16
define ptx_kernel void @matmul(ptr addrspace(1) %a, ptr addrspace(1) %b, ptr addrspace(1) %c, i32 %kbytes, i32 %n) {
entry:
  %t = call i32 @llvm.nvvm.read.ptx.sreg.tid.x()
  %bx = call i32 @llvm.nvvm.read.ptx.sreg.ctaid.x()
  %by = call i32 @llvm.nvvm.read.ptx.sreg.ctaid.y()
  %row0 = mul i32 %by, 16
  %col0 = mul i32 %bx, 8
  %ar = lshr i32 %t, 1
  %ab0 = and i32 %t, 1
  %ab = mul i32 %ab0, 16
  %arow = add i32 %row0, %ar
  %arowb = mul i32 %arow, %kbytes
  %astart = add i32 %arowb, %ab
  %br = lshr i32 %t, 2
  %bb0 = and i32 %t, 3
  %bb = mul i32 %bb0, 8
  %brow = add i32 %col0, %br
  %browb = mul i32 %brow, %kbytes
  %bstart = add i32 %browb, %bb
  %t16 = mul i32 %t, 16
  %t8 = mul i32 %t, 8
  %pa = getelementptr i8, ptr addrspace(3) @sa, i32 %t16
  %pb = getelementptr i8, ptr addrspace(3) @sb, i32 %t8
  %g = lshr i32 %t, 2
  %l = and i32 %t, 3
  %g32 = mul i32 %g, 32
  %l4 = mul i32 %l, 4
  %f = add i32 %g32, %l4
  br label %loop
loop:
  %k = phi i32 [ 0, %entry ], [ %k1, %loop ]
)";
    for (int i = 0; i < 4; ++i)
      ir += Cat("  %c", i, " = phi float [ 0.0, %entry ], [ %n", i, ", %loop ]\n");
    ir += R"(  %ao = add i32 %astart, %k
  %bo = add i32 %bstart, %k
  %ga = getelementptr i8, ptr addrspace(1) %a, i32 %ao
  %gb = getelementptr i8, ptr addrspace(1) %b, i32 %bo
  %va = load <4 x i32>, ptr addrspace(1) %ga, align 16
  %vb = load <2 x i32>, ptr addrspace(1) %gb, align 8
  store <4 x i32> %va, ptr addrspace(3) %pa, align 16
  store <2 x i32> %vb, ptr addrspace(3) %pb, align 8
  call void @llvm.nvvm.barrier0()
)";
    for (int r = 0; r < 6; ++r) {
      const bool is_a = r < 4;
      const int offset = is_a ? r % 2 * 256 + r / 2 * 16 : (r - 4) * 16;
      const std::string name = is_a ? Cat("A", r) : Cat("B", r - 4);
      ir += Cat("  %o", name, " = add i32 %f, ", offset, "\n  %p", name,
                " = getelementptr i8, ptr addrspace(3) @s", is_a ? "a" : "b", ", i32 %o", name,
                "\n  %", name, " = load ", fragment, ", ptr addrspace(3) %p", name, ", align 4\n");
    }
    ir += Cat("  %d = ", format.call, "\n");
    for (int i = 0; i < 4; ++i)
      ir += Cat("  %n", i, " = extractvalue {float, float, float, float} %d, ", i, "\n");
    ir += R"(  call void @llvm.nvvm.barrier0()
  %k1 = add i32 %k, 32
  %more = icmp slt i32 %k1, %kbytes
  br i1 %more, label %loop, label %out
out:
  %orow = add i32 %row0, %g
  %ocol0 = mul i32 %l, 2
  %ocol = add i32 %col0, %ocol0
  %oro = mul i32 %orow, %n
  %oi = add i32 %oro, %ocol
  %n8 = mul i32 %n, 8
  %oj = add i32 %oi, %n8
  %po = getelementptr float, ptr addrspace(1) %c, i32 %oi
  %pq = getelementptr float, ptr addrspace(1) %c, i32 %oj
  %x0 = insertelement <2 x float> poison, float %n0, i32 0
  %x1 = insertelement <2 x float> %x0, float %n1, i32 1
  store <2 x float> %x1, ptr addrspace(1) %po, align 8
  %y0 = insertelement <2 x float> poison, float %n2, i32 0
  %y1 = insertelement <2 x float> %y0, float %n3, i32 1
  store <2 x float> %y1, ptr addrspace(1) %pq, align 8
  ret void
}
)";
    // The declaration of the intrinsic is its call with types alone.
    std::string declaration = format.call;
    declaration.replace(0, 4, "declare");
    std::string types;
    for (size_t at = 0; at < declaration.size(); ++at) {
      if (declaration[at] == '%') {
        while (at < declaration.size() && declaration[at] != ',' && declaration[at] != ')') ++at;
      }
      types += declaration[at];
    }
    Load(ir + types + "\n");
    const uint32_t m = 32, n = 24, k = 64;
    const auto random = [&](size_t count) {
      std::vector<float> values(count);
      for (float& value : values)
        value = static_cast<float>(static_cast<int>(random_() % 33) - 16) / 8.0f;
      return values;
    };
    const std::vector<float> a = random(m * k), b = random(n * k);
    const auto encode = [&](const std::vector<float>& values) {
      std::vector<uint8_t> bytes(values.size() * format.bytes);
      for (size_t i = 0; i < values.size(); ++i) {
        const uint32_t bits = format.bits(values[i]);
        std::memcpy(bytes.data() + i * format.bytes, &bits, format.bytes);
      }
      return bytes;
    };
    const uint64_t pa = device_.Buffer(encode(a)), pb = device_.Buffer(encode(b)),
                   pc = device_.Unwritten(m * n * 4);
    Launch("matmul", {n / 8, m / 16}, {32}, pa, pb, pc, k * format.bytes, n);
    const std::vector<float> c = device_.Read<float>(pc, m * n);
    for (uint32_t i = 0; i < m; ++i) {
      for (uint32_t j = 0; j < n; ++j) {
        float expected = 0;
        for (uint32_t x = 0; x < k; ++x) expected += a[i * k + x] * b[j * k + x];
        ASSERT_EQ(c[i * n + j], expected) << i << " " << j;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Targets, Kernels, testing::Values("sm_70", "sm_80", "sm_90", "sm_90a"));

}  // namespace
}  // namespace weft::ptx
