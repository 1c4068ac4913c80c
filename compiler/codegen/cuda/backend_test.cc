#include "compiler/codegen/cuda/backend.h"

#include "compiler/codegen/llvm_lowering.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/OwningOpRef.h"
#include "mlir/Parser/Parser.h"

namespace weft {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// y[i] = sqrt(x[i]) * x[i] + x[i], four elements to a thread.
constexpr char kKernel[] = R"(
func.func @four(%x: !llvm.ptr, %y: !llvm.ptr, %n: i64) attributes {passthrough = [["nvvm.reqntid", "128"]]} {
  %thread = nvvm.read.ptx.sreg.tid.x : i32
  %block = nvvm.read.ptx.sreg.ctaid.x : i32
  %threads = nvvm.read.ptx.sreg.ntid.x : i32
  %first = arith.muli %block, %threads : i32
  %i32 = arith.addi %first, %thread : i32
  %i = arith.extui %i32 : i32 to i64
  %four = arith.constant 4 : i64
  %at = arith.muli %i, %four : i64
  %inside = arith.cmpi slt, %at, %n : i64
  scf.if %inside {
    %p = llvm.getelementptr %x[%at] : (!llvm.ptr, i64) -> !llvm.ptr, f32
    %v = llvm.load %p {alignment = 16 : i64} : !llvm.ptr -> vector<4xf32>
    %r = math.sqrt %v : vector<4xf32>
    %s = arith.mulf %r, %v : vector<4xf32>
    %t = arith.addf %s, %v : vector<4xf32>
    %q = llvm.getelementptr %y[%at] : (!llvm.ptr, i64) -> !llvm.ptr, f32
    llvm.store %t, %q {alignment = 16 : i64} : vector<4xf32>, !llvm.ptr
  }
  return
})";

class PtxBackendTest : public ::testing::Test {
 protected:
  PtxBackendTest() {
    PrepareContext(&context_);
    context_.loadDialect<mlir::NVVM::NVVMDialect>();
  }

  absl::StatusOr<std::string> Compile(const std::string& text, const std::string& target) {
    auto module = mlir::parseSourceString<mlir::ModuleOp>(text, &context_);
    EXPECT_TRUE(module);
    return CompileToPtx(*module, *Target::Parse(target));
  }

  mlir::MLIRContext context_;
};

TEST_F(PtxBackendTest, AKernelIsAnEntryWithWideAccessesToGlobalMemory) {
  auto ptx = Compile(kKernel, "cuda:sm_80");
  ASSERT_TRUE(ptx.ok()) << ptx.status();
  EXPECT_THAT(*ptx, HasSubstr(".target sm_80"));
  EXPECT_THAT(*ptx, HasSubstr(".version 7.0"));
  EXPECT_THAT(*ptx, HasSubstr(".visible .entry four("));
  EXPECT_THAT(*ptx, HasSubstr(".reqntid 128"));
  EXPECT_THAT(*ptx, HasSubstr("ld.global.v4"));
  EXPECT_THAT(*ptx, HasSubstr("st.global.v4"));
  EXPECT_THAT(*ptx, HasSubstr("sqrt.rn.f32"));
}

TEST_F(PtxBackendTest, AProductAndASumAreRoundedEach) {
  auto ptx = Compile(kKernel, "cuda:sm_70");
  ASSERT_TRUE(ptx.ok()) << ptx.status();
  EXPECT_THAT(*ptx, HasSubstr("mul.rn.f32"));
  EXPECT_THAT(*ptx, HasSubstr("add.rn.f32"));
  EXPECT_THAT(*ptx, Not(HasSubstr("fma.rn.f32")));
}

TEST_F(PtxBackendTest, EachGenerationHasTheLowestVersionThatKnowsIt) {
  for (const auto& [target, version] :
       std::vector<std::pair<std::string, std::string>>{{"cuda:sm_70", ".version 6.0"},
                                                        {"cuda:sm_80", ".version 7.0"},
                                                        {"cuda:sm_90", ".version 7.8"},
                                                        {"cuda:sm_90a", ".version 8.0"}}) {
    auto ptx = Compile(kKernel, target);
    ASSERT_TRUE(ptx.ok()) << ptx.status();
    EXPECT_THAT(*ptx, HasSubstr(version)) << target;
    EXPECT_THAT(*ptx, HasSubstr(".target " + target.substr(5) + "\n"));
  }
}

TEST_F(PtxBackendTest, ACallToNothingIsAnError) {
  const std::string text = R"(
    func.func private @__nv_expf(f32) -> f32
    func.func @caller(%x: !llvm.ptr) {
      %v = llvm.load %x : !llvm.ptr -> f32
      %e = func.call @__nv_expf(%v) : (f32) -> f32
      llvm.store %e, %x : f32, !llvm.ptr
      return
    })";
  auto ptx = Compile(text, "cuda:sm_80");
  EXPECT_EQ(ptx.status().code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(ptx.status().message()), HasSubstr("__nv_expf"));
}

TEST_F(PtxBackendTest, ACpuTargetIsRefused) {
  auto ptx = Compile(kKernel, "cpu:x86-64-v3");
  EXPECT_EQ(ptx.status().code(), absl::StatusCode::kInternal);
}

}  // namespace
}  // namespace weft
