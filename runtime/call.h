// A plan at given shapes, with its memory: the inside of weft::Call.
#ifndef WEFT_RUNTIME_CALL_H_
#define WEFT_RUNTIME_CALL_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "runtime/core/executor.h"
#include "runtime/device.h"
#include "runtime/limits.h"
#include "runtime/memory.h"
#include "runtime/memory_budget.h"
#include "runtime/package.h"
#include "runtime/session.h"
#include "runtime/session_devices.h"
#include "runtime/variables.h"

namespace weft {

// What the calls of a session share; it lives until the last of them is gone.
struct SessionState {
  SessionState(const SessionOptions& session_options,
               std::shared_ptr<SessionDevices> session_devices)
      : options(session_options),
        devices(session_devices),
        variables(std::move(session_devices)),
        memory(session_options.max_memory_bytes) {}

  const SessionOptions options;
  const std::shared_ptr<SessionDevices> devices;
  Variables variables;
  MemoryBudget memory;
  std::atomic<bool> profiling{false};
};

using Shapes = std::vector<std::vector<int64_t>>;

class PreparedCall final : public Call {
 public:
  // The plan at shapes of its inputs, without memory so far. Errors as in Session::Prepare.
  static absl::StatusOr<std::unique_ptr<PreparedCall>> Create(
      std::shared_ptr<SessionState> state, std::shared_ptr<const Package> package,
      const LoadedPlan& plan, const Shapes& shapes);
  // To be called once, before anything else. After ResourceExhausted it may be called again, when
  // other calls are gone. Cancelled or DeadlineExceeded where the limits ended a wait.
  absl::Status Allocate(const RunLimits& limits);
  ~PreparedCall() override;

  int num_inputs() const override { return static_cast<int>(inputs_.size()); }
  int num_outputs() const override { return static_cast<int>(outputs_.size()); }
  const std::string& input_name(int index) const override { return inputs_[index].name; }
  const std::string& output_name(int index) const override { return outputs_[index].name; }
  absl::Status Feed(int index, const HostTensor& tensor) override;
  absl::Status Run(const RunOptions& options) override { return Run(RunLimits(options)); }
  absl::Status Run(const RunLimits& limits);
  const HostTensor& Output(int index) const override { return outputs_[index].tensor; }
  int64_t peak_bytes() const override { return peak_bytes_; }

  const Package& package() const { return *package_; }
  // Outputs' tensors, where there are none. Run does it as well.
  absl::Status AllocateOutputs();
  // For feeds that the device cannot use where they lie.
  absl::Status AllocateStaging();
  // All bytes that stay with the call: peak_bytes, copies of feeds and outputs, and what its queue
  // keeps.
  int64_t held_bytes() const;
  // For Session::Run, around it and Feed: lets an output be written to a tensor of the caller's,
  // where that has its type and lies well; and gives the output to the caller, or, after an error,
  // what was lent.
  void LendOutput(int index, HostTensor* tensor);
  void ReturnOutput(int index, bool ran, HostTensor* tensor);
  // Forgets feeds and outputs, so that their memory is not kept.
  void DropTensors();

 private:
  struct InputSlot {
    std::string name;
    DataType dtype;
    std::vector<int64_t> shape;
    HostTensor tensor;  // as fed; kInvalid before that
    // Where the tensor is misaligned or overlaps an output: its elements are copied here by Run.
    HostTensor staging;
    bool staged = false;
    size_t place = 0;
    DeviceMemory on_device;  // where that is not the host: copied here instead
  };
  struct OutputSlot {
    std::string name;
    DataType dtype;
    std::vector<int64_t> shape;
    HostTensor tensor;
    bool lent = false;
    size_t place = 0;
    DeviceMemory on_device;
  };
  // What the call has on one of the plan's devices.
  struct Place {
    Device* device;
    DeviceMemory arena;
    std::unique_ptr<DeviceQueue> own_queue;  // null where another place on the device has it
    DeviceQueue* queue;
  };

  PreparedCall() = default;
  absl::Status Instantiate(const Shapes& shapes);
  absl::Status SetPeak();
  absl::Status AllocateMemory(const RunLimits& limits);
  absl::Status BindVariables();
  // Everything that Run does while it holds the lock on the variables.
  absl::Status RunLocked(const RunLimits& limits);
  absl::Status BindAddresses();
  // After an error of Finish: whether a device that has variables which the run assigns may have
  // written them. What the others were given writes none.
  bool MayHaveWritten() const;
  // The first place that is on the same device as this one.
  size_t FirstOnDevice(size_t place) const;
  // Of one thread, for all places on that device.
  int64_t ScratchOn(const Device* device) const;
  Device& device_of(const InputSlot& input) const { return *places_[input.place].device; }
  Device& device_of(const OutputSlot& output) const { return *places_[output.place].device; }
  // Memory of the host for copies between two devices that are elsewhere.
  int64_t BytesBetween() const;
  // An error of memory, with what takes most of it.
  absl::Status NoMemory(const absl::Status& status) const;
  // Waits for the devices; for results as well if `outputs`. Sets failed_ where there is an error.
  absl::Status Finish(bool outputs);
  absl::Status ErrorOf(int result, const WeftError& error, const absl::Status& finished) const;

  std::shared_ptr<SessionState> state_;
  std::shared_ptr<const Package> package_;
  const LoadedPlan* plan_ = nullptr;
  const WeftPlan* tables_ = nullptr;
  Pages instance_memory_;
  std::vector<Place> places_;  // as the plan counts devices
  Pages between_;
  size_t failed_ = 0;  // the place that an error of Finish is about
  WeftInstance* instance_ = nullptr;
  int64_t peak_bytes_ = 0;
  bool counted_ = false;  // in the session's budget
  std::vector<InputSlot> inputs_;
  std::vector<OutputSlot> outputs_;
  std::vector<SessionVariable*> variables_;
  VariablesLock::Mode lock_mode_ = VariablesLock::Mode::kNone;
  // Filled anew by each run.
  std::vector<const void*> input_addresses_;
  std::vector<void*> output_addresses_, variable_addresses_;
  std::unique_ptr<WeftRunArgs[]> others_;
};

// Whether the plan takes these shapes; the error tells why not.
absl::Status CheckShapes(const PlanTables& tables, const Shapes& shapes);

}  // namespace weft

#endif  // WEFT_RUNTIME_CALL_H_
