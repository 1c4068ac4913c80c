// Runs packages, and, where a planner is given, graphs. See runtime/api.h for the whole public
// surface.
#ifndef WEFT_RUNTIME_SESSION_H_
#define WEFT_RUNTIME_SESSION_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/host_tensor.h"
#include "runtime/run_options.h"

namespace weft {

class Device;
class PlanRequest;  // proto/plan.proto

struct SessionOptions {
  int threads = 0;  // 0: one per core; above 1024 counts as 1024
  // Plans kept that were compiled for particular shapes, and prepared calls kept, of packages too:
  // at most so many of each; the one longest unused goes first. Below 1 counts as 1.
  int max_cached_plans = 64;
  // Arena and scratch of a run's shapes are kept for the next run of the same shapes, and so are
  // copies of feeds where they had to be made, and on a device outputs, pinned memory of the host
  // and graphs (runtime/cuda/README.md); altogether so many bytes. Those longest unused go first,
  // but what the run that ended last holds stays, however much.
  int64_t max_cached_bytes = int64_t{1} << 30;
  // The sum of Call::peak_bytes of all calls that run, were prepared, or are kept never passes
  // this; 0: no limit. What is kept makes room; where that is not enough, a run is refused with
  // ResourceExhausted. Workspaces of libraries on a GPU count as well: where there is no room to
  // measure with one, it is done without; where there is none for one that was chosen, the call is
  // refused. Variables, constants and tensors are not counted, nor what a run that was given up
  // still holds on a GPU until its work there ends.
  int64_t max_memory_bytes = 0;
  // Where plans run and variables live (runtime/device.h); null: this processor, with `threads`.
  std::shared_ptr<Device> device = nullptr;
  // Gives the devices that nodes and variables are placed on (Graph::WithDevice), by the names that
  // the graph has for them: "cuda:0". Asked for each once, by one thread at a time, but not for
  // what was compiled to be on `device`, as "cpu" is for a processor; may give one device for
  // several names. Where it is null, or gives NotFound, nodes of the name that `device`
  // has itself (Device::name()) are there, those of "cpu" on this processor, and with any other
  // name a package is refused: FailedPrecondition, or that NotFound. FailedPrecondition also where
  // it gives null and no error.
  std::function<absl::StatusOr<std::shared_ptr<Device>>(const std::string& name)> find_device =
      nullptr;
};

using NamedTensors = std::map<std::string, HostTensor>;

// One prepared way to call a signature with feeds of given shapes: plan, arena and output tensors
// stand ready. On processors, Run allocates nothing from the second time on (but for feeds that it
// copies, once); on a GPU from the third on, since the second makes its graph (what the driver
// allocates is not known). One thread at a time may use a Call; many Calls of one session may run
// at once. A Call may outlive its Session.
class Call {
 public:
  virtual ~Call() = default;
  // Names and types as declared; the index is what Feed and Output take.
  virtual int num_inputs() const = 0;
  virtual int num_outputs() const = 0;
  virtual const std::string& input_name(int index) const = 0;
  virtual const std::string& output_name(int index) const = 0;
  // Uses the tensor's elements in place until the next Feed of that input; only elements that are
  // not aligned to 64 bytes, or that lie in one of the Call's outputs, are copied by each Run.
  // InvalidArgument where dtype or shape is not that of the Call.
  virtual absl::Status Feed(int index, const HostTensor& tensor) = 0;
  // FailedPrecondition where an input was not fed, a variable has no value, or an assertion of the
  // graph does not hold; DeadlineExceeded; Cancelled; OutOfRange where a loop passes its limit;
  // ResourceExhausted where memory for a copy is short; Internal where a device fails: variables
  // that the run assigns may then have no value.
  virtual absl::Status Run(const RunOptions& options = {}) = 0;
  // Overwritten by the next Run.
  virtual const HostTensor& Output(int index) const = 0;
  // Exact bytes of arena and scratch that the plan needs with these shapes (the certificate), on
  // all of its devices together, and on the host for the largest value that crosses between two of
  // them which both are elsewhere.
  virtual int64_t peak_bytes() const = 0;
};

// Time spent in one step of a plan, over all runs since profiling was switched on.
struct StepProfile {
  std::string signature;
  std::string label;     // what it computes: "fusion(add, relu)", "matmul"
  std::string node;      // graph nodes in it
  std::string location;  // "file:line" of the first
  // Where libraries may compute it (runtime/cuda/README.md): what does, at the sizes that were
  // prepared last, and what was measured. Else empty.
  std::string way;
  int64_t runs = 0;
  double seconds = 0;  // of a loop or branch: with what is in it
  double bytes = 0;    // read and written, per run
  double flops = 0;    // per run
};

// Thread-safe. A child that is forked may use a session that has no GPU if no function of it was
// under way on another thread at that moment; the child's runs use one thread each where the
// parent's had begun to use others. A session with a GPU only the parent can use
// (runtime/cuda/cuda_device.h). Variables live here and start undefined: run `init`, restore a
// checkpoint, or use a package that holds values. Using an undefined variable is
// FailedPrecondition, naming it. A run that assigns variables has them to itself: other runs that
// read or assign any wait, in the order in which they came.
class Session {
 public:
  // A package file, or its bytes (copied). The file stays mapped as long as the session or a call
  // prepared by it lives: put another in its place by renaming, never by writing to it (install and
  // mv do, cp and > do not). What is written to it would change results after the checksums were
  // verified, and where it becomes shorter, the process ends (SIGBUS).
  //
  // Errors: InvalidArgument or DataLoss where it is no package or a damaged one;
  // FailedPrecondition where it asks for a newer runtime, or no target of it suits the devices;
  // what a device refuses is Unavailable (its driver is too old), ResourceExhausted, Internal, or
  // PermissionDenied (the system executes no code in memory); what find_device says; of a path also
  // errors of files (proto/file.h).
  static absl::StatusOr<std::unique_ptr<Session>> Load(const std::string& path,
                                                       const SessionOptions& options = {});
  static absl::StatusOr<std::unique_ptr<Session>> FromPackage(std::string_view bytes,
                                                              const SessionOptions& options = {});
  // A graph, through a compiler: weft::MakePlanner(graph) of compiler/api.h. The planner is called
  // from several threads, and once with an empty request (proto/plan.proto). Errors: those of the
  // planner, and of FromPackage.
  using Planner = std::function<absl::StatusOr<std::string>(const PlanRequest&)>;
  static absl::StatusOr<std::unique_ptr<Session>> WithPlanner(Planner planner,
                                                              const SessionOptions& options = {});
  // Waits for what is still being compiled.
  virtual ~Session() = default;

  // Runs a signature: `feeds` must name each of its inputs and nothing else. Returns its outputs.
  // Errors, beside those of Call::Run: NotFound where there is no such signature, or the package
  // has no plan for it; InvalidArgument where feeds do not fit it; OutOfRange where a size is out
  // of bounds; ResourceExhausted where memory is short (max_memory_bytes too); those of the
  // planner, and of opening what it made.
  virtual absl::StatusOr<NamedTensors> Run(const std::string& signature, const NamedTensors& feeds,
                                           const RunOptions& options = {}) = 0;
  // The same, into `*outputs`: where it holds a tensor of an output's name, dtype and shape already
  // (of HostTensor::Create and no view, aligned to 64 bytes, and apart from the other outputs), its
  // elements are overwritten, and seen by its copies; otherwise a new tensor takes that place.
  // `feeds` may be `*outputs`, which carries a state on. After an error elements may have been
  // overwritten, and nothing else changes. From the second run on with the same dtypes and shapes,
  // and outputs as the run before left them, nothing is allocated (but for feeds that are not
  // aligned to 64 bytes, once), on this thread or another, as long as the session keeps what the
  // run needs (SessionOptions) and variables have memory of their own. That is so on processors; on
  // a GPU from the third run on, since the second makes its graph (what the driver allocates is not
  // known).
  virtual absl::Status RunInto(const std::string& signature, const NamedTensors& feeds,
                               NamedTensors* outputs, const RunOptions& options = {});
  // Runs whatever `fetches` and `targets` (names of graph nodes) need. Only with a planner, else
  // FailedPrecondition. NotFound where there is no such node; InvalidArgument where none is named;
  // other errors as above.
  virtual absl::StatusOr<std::vector<HostTensor>> Run(const NamedTensors& feeds,
                                                      const std::vector<std::string>& fetches,
                                                      const std::vector<std::string>& targets = {},
                                                      const RunOptions& options = {}) = 0;
  // Prepares a signature for feeds of these shapes (in the order of its inputs). Errors as of Run,
  // but for what happens in a run alone; Internal where a device fails.
  virtual absl::StatusOr<std::unique_ptr<Call>> Prepare(
      const std::string& signature, const std::vector<std::vector<int64_t>>& shapes) = 0;

  struct ValueInfo {
    std::string name;
    DataType dtype;
    std::vector<std::string> dims;  // "batch", "784"
  };
  struct SignatureInfo {
    std::string name;
    std::vector<ValueInfo> inputs, outputs;
  };
  virtual std::vector<SignatureInfo> Signatures() const = 0;

  // Variables by name; NotFound where there is none of that name. Reading copies;
  // FailedPrecondition where one that is read has no value. Setting sets all or none;
  // InvalidArgument where dtype or shape is not the variable's. ResourceExhausted where memory for
  // a copy is short, Internal where a device fails.
  virtual absl::StatusOr<NamedTensors> GetVariables() = 0;
  virtual absl::StatusOr<HostTensor> GetVariable(const std::string& name);
  virtual absl::Status SetVariables(const NamedTensors& values) = 0;
  // Writes all variables to a safetensors file with a checksum, atomically; `metadata` goes with
  // them, in UTF-8 (else InvalidArgument). Reads them back: every variable must be there with its
  // type (InvalidArgument), and what else is in the file is left alone. A file that is malformed
  // (InvalidArgument), or whose checksum differs (DataLoss), changes nothing, nor does any other
  // error. Until it returns, nobody may write to the file that is read; SaveCheckpoint of any
  // process puts a new one in its place, which is fine. Other errors: those of variables above, and
  // of files (proto/file.h).
  virtual absl::Status SaveCheckpoint(const std::string& path,
                                      const std::map<std::string, std::string>& metadata = {}) = 0;
  virtual absl::StatusOr<std::map<std::string, std::string>> RestoreCheckpoint(
      const std::string& path) = 0;

  // Whether runs that begin from here on measure each step, at which they wait for the devices.
  // Clears the sums where it was off and is switched on.
  virtual void EnableProfiling(bool on) = 0;
  // The sums: of each step that was run then, of the plans that the session still keeps.
  virtual std::vector<StepProfile> Profile() const = 0;
};

}  // namespace weft

#endif  // WEFT_RUNTIME_SESSION_H_
