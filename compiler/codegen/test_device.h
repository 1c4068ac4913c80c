// For tests: runs compiled kernels, on this processor or, those for a GPU, on its emulator; where
// the environment's WEFT_TEST_DEVICE names a GPU ("cuda:0"), on that.
#ifndef WEFT_COMPILER_CODEGEN_TEST_DEVICE_H_
#define WEFT_COMPILER_CODEGEN_TEST_DEVICE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "compiler/codegen/emit.h"
#include "compiler/codegen/target.h"
#include "mlir/IR/BuiltinOps.h"
#include "proto/host_tensor.h"
#include "runtime/core/kernel_abi.h"
#include "runtime/ptx_emulator/global_traffic.h"
#include "runtime/tensor_map.h"

namespace weft {

class TestDevice {
 public:
  // Consumes the kernels. Error: what the target's backend says.
  static absl::StatusOr<std::unique_ptr<TestDevice>> Compile(mlir::ModuleOp kernels,
                                                             const Target& target);
  // The emulator of a GPU of compute capability sm / 10, with kernels in PTX.
  static absl::StatusOr<std::unique_ptr<TestDevice>> Emulate(std::string ptx, int sm);
  virtual ~TestDevice() = default;

  struct Launch {
    std::string symbol;
    std::vector<int64_t> sizes;  // and those of tensor maps
    std::vector<KernelMap> maps;
    int64_t tiles = 0;
    int64_t max_blocks = INT64_MAX;  // of a GPU: that share the tiles
    int block_threads = 0;
    int64_t scratch_bytes = 0;
    // For each result the operand in whose buffer it lies; -1 for none.
    std::vector<int> shared;
    // Tiles one by one, from the last to the first, as no order is promised.
    bool one_by_one = false;
  };
  // Runs a kernel on copies of the inputs and fills the results. Error: it touches memory outside
  // its buffers, or breaks another rule that the device can see; on the emulator that is also
  // writing an operand, leaving a result unwritten, or a race.
  virtual absl::Status Run(const Launch& launch, const std::vector<HostTensor>& inputs,
                           std::vector<HostTensor>& results) = 0;

  // The kernel as a function of this process; null on a GPU.
  virtual WeftKernel Find(const std::string& symbol) const = 0;
  // Of a GPU; and passes over the banks of shared memory that all runs lost to conflicts.
  const std::string& ptx() const { return ptx_; }
  virtual std::optional<int64_t> bank_conflicts() const { return std::nullopt; }
  // Sectors of 32 bytes that accesses to global memory touched, and the fewest that could be.
  virtual std::optional<ptx::GlobalTraffic> global_traffic() const { return std::nullopt; }

 protected:
  std::string ptx_;
};

}  // namespace weft

#endif  // WEFT_COMPILER_CODEGEN_TEST_DEVICE_H_
