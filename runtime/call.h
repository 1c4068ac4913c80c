// A plan at given shapes, with its memory: the inside of weft::Call.
#ifndef WEFT_RUNTIME_CALL_H_
#define WEFT_RUNTIME_CALL_H_

#include <atomic>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "runtime/core/executor.h"
#include "runtime/device.h"
#include "runtime/memory.h"
#include "runtime/package.h"
#include "runtime/session.h"
#include "runtime/variables.h"

namespace weft {

// What the calls of a session share; it lives until the last of them is gone.
struct SessionState {
  SessionState(const SessionOptions& session_options, std::shared_ptr<Device> session_device)
      : options(session_options), device(session_device), variables(std::move(session_device)) {}

  const SessionOptions options;
  const std::shared_ptr<Device> device;
  Variables variables;
  std::atomic<bool> profiling{false};
};

using Shapes = std::vector<std::vector<int64_t>>;

class PreparedCall final : public Call {
 public:
  // The plan at shapes of its inputs. Errors as in Session::Prepare.
  static absl::StatusOr<std::unique_ptr<PreparedCall>> Create(
      std::shared_ptr<SessionState> state, std::shared_ptr<const Package> package,
      const LoadedPlan& plan, const Shapes& shapes);
  ~PreparedCall() override = default;

  int num_inputs() const override { return static_cast<int>(inputs_.size()); }
  int num_outputs() const override { return static_cast<int>(outputs_.size()); }
  const std::string& input_name(int index) const override { return inputs_[index].name; }
  const std::string& output_name(int index) const override { return outputs_[index].name; }
  absl::Status Feed(int index, const HostTensor& tensor) override;
  absl::Status Run(const RunOptions& options) override;
  const HostTensor& Output(int index) const override { return outputs_[index].tensor; }
  int64_t peak_bytes() const override { return peak_bytes_; }

  const Package& package() const { return *package_; }
  // Gives an output away: the next Run writes to new memory. For Session::Run.
  HostTensor TakeOutput(int index);
  // Forgets the feeds, so that their memory is not kept.
  void DropFeeds();

 private:
  struct InputSlot {
    std::string name;
    DataType dtype;
    std::vector<int64_t> shape;
    HostTensor tensor;  // as fed; kInvalid before that
    // Where the tensor is misaligned or overlaps an output: its elements are copied here by Run.
    HostTensor staging;
    bool staged = false;
    DeviceMemory on_device;  // where that is not the host: copied here instead
  };
  struct OutputSlot {
    std::string name;
    DataType dtype;
    std::vector<int64_t> shape;
    HostTensor tensor;
    DeviceMemory on_device;
  };

  PreparedCall() = default;
  absl::Status Instantiate(const Shapes& shapes);
  absl::Status AllocateMemory();
  absl::Status BindVariables();
  // Everything that Run does while it holds the lock on the variables.
  absl::Status RunLocked(const RunOptions& options);
  absl::Status BindAddresses();
  // Waits for the device; for results as well if `outputs`.
  absl::Status Finish(bool outputs);
  absl::Status ErrorOf(int result, const WeftError& error, const absl::Status& finished) const;

  std::shared_ptr<SessionState> state_;
  std::shared_ptr<const Package> package_;
  const LoadedPlan* plan_ = nullptr;
  const WeftPlan* tables_ = nullptr;
  Pages instance_memory_;
  DeviceMemory arena_;
  std::unique_ptr<DeviceQueue> queue_;
  WeftInstance* instance_ = nullptr;
  int64_t peak_bytes_ = 0;
  std::vector<InputSlot> inputs_;
  std::vector<OutputSlot> outputs_;
  std::vector<Variable*> variables_;
  VariablesLock::Mode lock_mode_ = VariablesLock::Mode::kNone;
  // Filled anew by each run.
  std::vector<const void*> input_addresses_;
  std::vector<void*> output_addresses_, variable_addresses_;
};

// Whether the plan takes these shapes; the error tells why not.
absl::Status CheckShapes(const WeftPlan& plan, const Shapes& shapes);

}  // namespace weft

#endif  // WEFT_RUNTIME_CALL_H_
