// Writes plans and packages by hand, for tests of the runtime.
#ifndef WEFT_RUNTIME_TESTING_PLAN_BUILDER_H_
#define WEFT_RUNTIME_TESTING_PLAN_BUILDER_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "proto/dtype.h"
#include "proto/host_tensor.h"
#include "proto/plan.pb.h"

namespace weft::plan_testing {

// A dimension: a formula and how it was declared.
struct Dim {
  uint32_t formula;
  std::string name;
};

// Ids are indices: of formulas, buffers, kernels, blocks.
class PlanBuilder {
 public:
  explicit PlanBuilder(const std::string& signature);

  uint32_t Constant(int64_t value);
  Dim Static(int64_t size);
  // The size of dimension `dim` of input `input`.
  Dim Symbol(const std::string& name, uint32_t input, uint32_t dim);
  uint32_t Op(Formula::Op op, uint32_t a, uint32_t b);
  uint32_t Add(uint32_t a, uint32_t b) { return Op(Formula::ADD, a, b); }
  uint32_t Mul(uint32_t a, uint32_t b) { return Op(Formula::MUL, a, b); }
  // Tiles of TEST_TILE elements.
  uint32_t Tiles(uint32_t elements);

  // Each returns the value's buffer.
  uint32_t Input(const std::string& name, DataType dtype, const std::vector<Dim>& shape);
  uint32_t Output(const std::string& name, DataType dtype, const std::vector<Dim>& shape);
  uint32_t Variable(const std::string& name, DataType dtype, const std::vector<int64_t>& shape,
                    bool read, bool assigned);
  uint32_t Arena(uint32_t size, const std::vector<uint32_t>& below = {});
  uint32_t ConstantBuffer(uint64_t offset, uint32_t size);

  uint32_t Kernel(const std::string& name, uint64_t code_offset);
  uint32_t Block();  // the entry, block 0, is there from the start

  // The last of `buffers` is what it writes.
  struct LaunchCost {
    uint32_t bytes = 0, flops = 0, scratch = 0;  // formulas; 0 is the constant 0
  };
  Step& Launch(uint32_t block, uint32_t kernel, const std::vector<uint32_t>& buffers,
               const std::vector<uint32_t>& sizes, uint32_t tiles, LaunchCost cost);
  Step& Launch(uint32_t block, uint32_t kernel, const std::vector<uint32_t>& buffers,
               const std::vector<uint32_t>& sizes, uint32_t tiles) {
    return Launch(block, kernel, buffers, sizes, tiles, LaunchCost());
  }
  Step& Copy(uint32_t block, uint32_t source, uint32_t destination, uint32_t size);
  Step& While(uint32_t block, uint32_t condition_block, uint32_t condition, uint32_t body_block,
              int64_t max_iterations = 0);
  Step& Cond(uint32_t block, uint32_t predicate, uint32_t then_block, uint32_t else_block);
  Step& Assert(uint32_t block, uint32_t condition, const std::string& message);
  Step& Print(uint32_t block, uint32_t value, DataType dtype, const std::vector<uint32_t>& shape,
              const std::string& message, int64_t limit);

  // The next step of the entry block is the first that writes variables.
  void Commit();
  // The plan so far; without a Commit, it writes no variable.
  const Plan& Build();
  Plan& plan() { return plan_; }

 private:
  uint32_t SizeOfValue(DataType dtype, const std::vector<Dim>& shape);
  PlanValue* Describe(PlanValue* value, const std::string& name, DataType dtype,
                      const std::vector<Dim>& shape);
  Buffer* AddBuffer(Buffer::Space space, uint32_t size);
  Step& AddStep(uint32_t block);

  Plan plan_;
  bool committed_ = false;
};

// Declares a signature of the manifest as the plan has it.
void AddSignature(const Plan& plan, PackageManifest* manifest);

// The image of the kernels of test_kernels.h; those of the plans below as PTX, for blocks of
// TEST_TILE threads.
std::string TestCode();
std::string TestPtx();

// What a package is made of; each piece may be damaged before it is put together.
struct TestPackage {
  PackageManifest manifest;
  std::string constants;
  std::map<std::string, HostTensor> weights;
  std::vector<std::pair<std::string, std::string>> code;  // section, bytes
  std::string Bytes() const;
};

// A package for every x86-64-v3 processor, with variable w f32[4] (undefined) and:
//   predict:  x f32[batch, 4]              -> y = 2 x of the same shape, plus 0.5 in the first row
//   init:                                  w = 1
//   step:     d f32[4]                     -> total = the sum of d + w;  w = d + w
//   read:                                  -> w
//   join:     x f32[batch, 4], z f32[batch, 2]   -> s = the sum of x
//   count:    limit i64                    -> n = limit, by a loop of at most 1000 iterations
TestPackage MakeTestPackage();
// Besides, the same plans for GPUs, cuda:sm_80.
void AddGpuTarget(TestPackage* package);

// A package for GPUs, cuda:sm_90, with copy: x f32[rows, 16] -> y, the same, by a kernel that takes
// a tensor map (box_kernel.h). The sizes of its launch are those of the map: 16, rows, and 64.
TestPackage MakeBoxPackage();

}  // namespace weft::plan_testing

#endif  // WEFT_RUNTIME_TESTING_PLAN_BUILDER_H_
