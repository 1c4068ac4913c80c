#include "compiler/codegen/cpu/backend.h"

#include <chrono>
#include <cmath>
#include <iostream>
#include <numeric>

#include "compiler/codegen/cpu/loaded_image.h"
#include "compiler/codegen/llvm_lowering.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/OwningOpRef.h"
#include "mlir/Parser/Parser.h"

namespace weft {
namespace {

using ::testing::HasSubstr;

// y[i] = sqrt(x[i]) * 2 + (i < 8 ? 1 : 0), whole vectors only, with a loop and a constant vector.
constexpr char kKernel[] = R"(
func.func @NAME(%buffers: !llvm.ptr, %sizes: !llvm.ptr, %begin: i64, %end: i64, %scratch: !llvm.ptr) {
  %x = llvm.load %buffers : !llvm.ptr -> !llvm.ptr
  %p = llvm.getelementptr %buffers[1] : (!llvm.ptr) -> !llvm.ptr, !llvm.ptr
  %y = llvm.load %p : !llvm.ptr -> !llvm.ptr
  %one = arith.constant 1 : i64
  %two = arith.constant dense<2.0> : vector<8xf32>
  %step = arith.constant dense<[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]> : vector<8xf32>
  scf.for %i = %begin to %end step %one : i64 {
    %px = llvm.getelementptr %x[%i] : (!llvm.ptr, i64) -> !llvm.ptr, !llvm.array<8 x f32>
    %v = llvm.load %px {alignment = 4 : i64} : !llvm.ptr -> vector<8xf32>
    %r = math.sqrt %v : vector<8xf32>
    %s = math.fma %r, %two, %step : vector<8xf32>
    %py = llvm.getelementptr %y[%i] : (!llvm.ptr, i64) -> !llvm.ptr, !llvm.array<8 x f32>
    llvm.store %s, %py {alignment = 4 : i64} : vector<8xf32>, !llvm.ptr
  }
  return
})";

std::string Kernel(const std::string& name) {
  std::string text = kKernel;
  return text.replace(text.find("NAME"), 4, name);
}

class BackendTest : public ::testing::Test {
 protected:
  BackendTest() { PrepareContext(&context_); }

  mlir::OwningOpRef<mlir::ModuleOp> Parse(const std::string& text) {
    auto module = mlir::parseSourceString<mlir::ModuleOp>(text, &context_);
    EXPECT_TRUE(module);
    return module;
  }
  Target V3() { return *Target::Parse("cpu:x86-64-v3"); }

  mlir::MLIRContext context_;
};

TEST_F(BackendTest, ModulesAreCompiledByThreadsAndLinkedIntoOneImage) {
  if (!__builtin_cpu_supports("avx2")) GTEST_SKIP() << "this machine has no AVX2";
  std::vector<mlir::OwningOpRef<mlir::ModuleOp>> owners;
  std::vector<mlir::ModuleOp> modules;
  for (int i = 0; i < 8; ++i) {
    owners.push_back(Parse(Kernel("kernel" + std::to_string(i))));
    modules.push_back(*owners.back());
  }
  const auto start = std::chrono::steady_clock::now();
  auto objects = CompileToObjects(modules, V3(), 2);
  ASSERT_TRUE(objects.ok()) << objects.status();
  auto image = LinkImage(*objects);
  ASSERT_TRUE(image.ok()) << image.status();
  std::cout
      << "8 kernels: "
      << std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count()
      << " ms\n";
  ASSERT_EQ(image->symbols.size(), 8u);

  LoadedImage loaded(*image);
  for (int k = 0; k < 8; ++k) {
    WeftKernel kernel = loaded.Find("kernel" + std::to_string(k));
    ASSERT_NE(kernel, nullptr);
    std::vector<float> x(64), y(64, -1);
    std::iota(x.begin(), x.end(), 0.0f);
    void* buffers[] = {x.data(), y.data()};
    kernel(buffers, nullptr, 1, 7, nullptr);
    for (int i = 0; i < 64; ++i) {
      const float expected = i < 8 || i >= 56 ? -1 : std::fma(std::sqrt(x[i]), 2.0f, i % 8);
      EXPECT_EQ(y[i], expected) << i;
    }
  }
}

// A context that takes no locks, as a graph's: types and constants that each module brings along
// are made in it by several threads at once.
TEST(CompileToObjectsTest, ThreadsMayShareAContextWithoutThreading) {
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  PrepareContext(&context);
  for (int round = 0; round < 4; ++round) {
    std::vector<mlir::OwningOpRef<mlir::ModuleOp>> owners;
    std::vector<mlir::ModuleOp> modules;
    for (int i = 0; i < 16; ++i) {
      std::string text;
      for (int k = 0; k < 8; ++k) {
        const int number = 128 * round + 8 * i + k;
        std::string kernel = Kernel("kernel" + std::to_string(number));
        kernel.replace(kernel.find("<2.0>"), 5, "<" + std::to_string(number) + ".5>");
        text += kernel;
      }
      owners.push_back(mlir::parseSourceString<mlir::ModuleOp>(text, &context));
      ASSERT_TRUE(owners.back());
      modules.push_back(*owners.back());
    }
    auto objects = CompileToObjects(modules, *Target::Parse("cpu:x86-64-v3"), 8);
    ASSERT_TRUE(objects.ok()) << objects.status();
    EXPECT_FALSE(context.isMultithreadingEnabled());
    auto image = LinkImage(*objects);
    ASSERT_TRUE(image.ok()) << image.status();
    EXPECT_EQ(image->symbols.size(), 128u);
  }
}

TEST_F(BackendTest, SameModuleSameBytes) {
  auto first = CompileToObject(*Parse(Kernel("kernel")), V3());
  auto second = CompileToObject(*Parse(Kernel("kernel")), V3());
  ASSERT_TRUE(first.ok());
  ASSERT_TRUE(second.ok());
  EXPECT_EQ(*first, *second);
}

TEST_F(BackendTest, TextsShowTheTarget) {
  auto assembly = CompileToAssembly(*Parse(Kernel("kernel")), V3());
  ASSERT_TRUE(assembly.ok());
  EXPECT_THAT(*assembly, HasSubstr("vfmadd"));
  EXPECT_THAT(*assembly, HasSubstr("ymm"));
  auto llvm = CompileToLlvmText(*Parse(Kernel("kernel")), V3());
  ASSERT_TRUE(llvm.ok());
  EXPECT_THAT(*llvm, HasSubstr("no-builtins"));
}

TEST_F(BackendTest, RoundingToBf16IsInline) {
  auto object = CompileToObject(*Parse(R"(
    func.func @round(%p: !llvm.ptr) {
      %v = llvm.load %p : !llvm.ptr -> f32
      %b = arith.truncf %v : f32 to bf16
      llvm.store %b, %p : bf16, !llvm.ptr
      %w = llvm.load %p : !llvm.ptr -> vector<16xf32>
      %c = arith.truncf %w : vector<16xf32> to vector<16xbf16>
      llvm.store %c, %p : vector<16xbf16>, !llvm.ptr
      return
    })"),
                                V3());
  ASSERT_TRUE(object.ok()) << object.status();
  auto image = LinkImage({*object});
  EXPECT_TRUE(image.ok()) << image.status();
}

// Bytes beside it stay as they are.
TEST_F(BackendTest, OneLaneOfATruncatedVectorIsStored) {
  if (!__builtin_cpu_supports("avx512bw")) GTEST_SKIP() << "this machine has no AVX-512";
  auto object = CompileToObject(*Parse(R"(
    func.func @kernel(%buffers: !llvm.ptr, %sizes: !llvm.ptr, %begin: i64, %end: i64, %scratch: !llvm.ptr) {
      %x = llvm.load %buffers : !llvm.ptr -> !llvm.ptr
      %slot = llvm.getelementptr %buffers[8] : (!llvm.ptr) -> !llvm.ptr, i8
      %y = llvm.load %slot : !llvm.ptr -> !llvm.ptr
      %v = llvm.load %x {alignment = 4 : i64} : !llvm.ptr -> vector<16xi32>
      %first = arith.constant dense<[true, false, false, false, false, false, false, false, false, false, false, false, false, false, false, false]> : vector<16xi1>
      %third = arith.constant dense<[false, false, true, false, false, false, false, false, false, false, false, false, false, false, false, false]> : vector<16xi1>
      %h = arith.trunci %v : vector<16xi32> to vector<16xi16>
      llvm.intr.masked.store %h, %y, %first {alignment = 2 : i32} : vector<16xi16>, vector<16xi1> into !llvm.ptr
      %after = llvm.getelementptr %y[32] : (!llvm.ptr) -> !llvm.ptr, i8
      %b = arith.trunci %v : vector<16xi32> to vector<16xi8>
      llvm.intr.masked.store %b, %after, %third {alignment = 1 : i32} : vector<16xi8>, vector<16xi1> into !llvm.ptr
      return
    })"),
                                *Target::Parse("cpu:x86-64-v4"));
  ASSERT_TRUE(object.ok()) << object.status();
  auto image = LinkImage({*object});
  ASSERT_TRUE(image.ok()) << image.status();
  LoadedImage loaded(*image);
  std::vector<int32_t> x(16, 0x03030303);
  std::vector<unsigned char> y(64, 7), want(64, 7);
  want[0] = want[1] = want[34] = 3;
  void* buffers[] = {x.data(), y.data()};
  loaded.Find("kernel")(buffers, nullptr, 0, 1, nullptr);
  EXPECT_EQ(y, want);
}

TEST_F(BackendTest, CallOutOfTheImageIsAnError) {
  auto object = CompileToObject(*Parse(R"(
    func.func @exponential(%p: !llvm.ptr) {
      %v = llvm.load %p : !llvm.ptr -> f32
      %e = math.exp %v : f32
      llvm.store %e, %p : f32, !llvm.ptr
      return
    })"),
                                V3());
  ASSERT_TRUE(object.ok()) << object.status();
  auto image = LinkImage({*object});
  EXPECT_EQ(image.status().code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(image.status().message()), HasSubstr("expf"));
}

TEST_F(BackendTest, WritableDataIsAnError) {
  auto object = CompileToObject(*Parse(R"(
    llvm.mlir.global internal @counter(0 : i64) : i64
    func.func @count() {
      %p = llvm.mlir.addressof @counter : !llvm.ptr
      %v = llvm.load volatile %p : !llvm.ptr -> i64
      llvm.store volatile %v, %p : i64, !llvm.ptr
      return
    })"),
                                V3());
  ASSERT_TRUE(object.ok()) << object.status();
  EXPECT_EQ(LinkImage({*object}).status().code(), absl::StatusCode::kInternal);
}

TEST_F(BackendTest, TwoKernelsOfOneNameAreAnError) {
  auto object = CompileToObject(*Parse(Kernel("same")), V3());
  ASSERT_TRUE(object.ok());
  auto image = LinkImage({*object, *object});
  EXPECT_THAT(std::string(image.status().message()), HasSubstr("same"));
}

TEST_F(BackendTest, UnknownOpIsAnError) {
  context_.allowUnregisteredDialects();
  auto module = Parse(R"(func.func @odd() { "odd.op"() : () -> () return })");
  auto object = CompileToObject(*module, V3());
  EXPECT_THAT(std::string(object.status().message()), HasSubstr("odd.op"));
}

}  // namespace
}  // namespace weft
