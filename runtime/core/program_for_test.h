// For tests of the executor: plans with their memory, and pools of threads.
#ifndef WEFT_RUNTIME_CORE_PROGRAM_FOR_TEST_H_
#define WEFT_RUNTIME_CORE_PROGRAM_FOR_TEST_H_

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <utility>
#include <vector>

#include "runtime/core/executor.h"
#include "runtime/plan_tables.h"
#include "runtime/testing/plan_builder.h"

namespace weft {

struct AlignedFree {
  void operator()(void* memory) const { free(memory); }
};
using Memory = std::unique_ptr<void, AlignedFree>;

inline Memory Allocate(int64_t bytes) {
  const size_t rounded = (static_cast<size_t>(bytes) + 127) / 64 * 64;
  return Memory(aligned_alloc(64, rounded));
}

class Pool {
 public:
  explicit Pool(int threads) : memory_(Allocate(static_cast<int64_t>(weft_pool_bytes(threads)))) {
    pool_ = weft_pool_start(memory_.get(), threads);
  }
  ~Pool() { weft_pool_stop(pool_); }
  WeftPool* get() const { return pool_; }

 private:
  Memory memory_;
  WeftPool* pool_;
};

// A plan with its memory, run with addresses given by the test.
class Program {
 public:
  explicit Program(const Plan& plan, std::vector<WeftKernel> kernels = {}) {
    auto tables = PlanTables::Build(plan, {1 << 20}, 1 << 20);
    EXPECT_TRUE(tables.ok()) << tables.status();
    tables_ = *std::move(tables);
    tables_->SetKernels(kernels);
  }
  int Create(std::vector<int64_t> symbols = {}) {
    memory_ = Allocate(static_cast<int64_t>(weft_instance_bytes(&plan())));
    const int result =
        weft_instance_create(&plan(), symbols.data(), memory_.get(), &instance_, &error_);
    if (result == WEFT_OK) arena_ = Allocate(weft_arena_bytes(instance_, 0));
    return result;
  }
  int Run(std::vector<const void*> inputs, std::vector<void*> outputs,
          std::vector<void*> variables = {}) {
    args.arena = arena_.get();
    const int threads = args.pool == nullptr ? 1 : weft_pool_threads(args.pool);
    scratch_ = Allocate(weft_scratch_bytes(instance_, 0) * threads);
    args.scratch = scratch_.get();
    args.inputs = inputs.data();
    args.outputs = outputs.data();
    args.variables = variables.data();
    return weft_run(instance_, &args, &error_);
  }
  const WeftPlan& plan() const { return tables_->plan(); }
  WeftInstance* instance() const { return instance_; }
  const WeftError& error() const { return error_; }

  WeftRunArgs args = [] {
    WeftRunArgs args = {};
    args.deadline = INT64_MAX;
    return args;
  }();

 private:
  std::unique_ptr<PlanTables> tables_;
  Memory memory_, arena_, scratch_;
  WeftInstance* instance_ = nullptr;
  WeftError error_ = {};
};

// y = a + b over n elements, said to cost enough for all threads.
inline Plan AddPlan(int64_t n) {
  plan_testing::PlanBuilder b("add");
  const plan_testing::Dim size = b.Static(n);
  const uint32_t a = b.Input("a", DataType::kF32, {size});
  const uint32_t c = b.Input("b", DataType::kF32, {size});
  const uint32_t y = b.Output("y", DataType::kF32, {size});
  b.Launch(0, b.Kernel("add", 0), {a, c, y}, {size.formula}, b.Tiles(size.formula),
           {b.Constant(1 << 30), 0, 0});
  return b.Build();
}

}  // namespace weft

#endif  // WEFT_RUNTIME_CORE_PROGRAM_FOR_TEST_H_
