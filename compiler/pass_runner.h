// Runs passes: the one place that knows about leaving a pass out, timing, dumps, and verification.
#ifndef WEFT_COMPILER_PASS_RUNNER_H_
#define WEFT_COMPILER_PASS_RUNNER_H_

#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "mlir/IR/Operation.h"

namespace weft {

struct CompileOptions;

// One for each compilation; not thread-safe.
class PassRunner {
 public:
  // `options` must outlive the runner. `prefix` goes before pass names in dumps, such as
  // "train_step/".
  PassRunner(const CompileOptions& options, std::string prefix)
      : options_(options), prefix_(std::move(prefix)) {}

  // Whether the pass changed anything.
  using Pass = std::function<absl::StatusOr<bool>()>;
  // An optimisation: left out where the options say so. `root` holds what the pass may change; it
  // is verified afterwards and dumped. After a failure, nothing runs any more.
  void Optional(std::string_view name, mlir::Operation* root, const Pass& pass);
  // A lowering, without which there is no plan.
  void Required(std::string_view name, mlir::Operation* root, const Pass& pass);
  // A condition that holds between two phases.
  void Check(const std::function<absl::Status()>& check);

  // Whether the options leave the pass in, for optimisations that are part of a lowering.
  bool Enabled(std::string_view name) const;
  // The first failure; of a pass of ours, it names the pass.
  const absl::Status& status() const { return status_; }
  // Names of the passes that changed something, in the order in which they ran.
  const std::vector<std::string>& changed() const { return changed_; }

 private:
  const CompileOptions& options_;
  std::string prefix_;
  std::vector<std::string> changed_;
  absl::Status status_;
};

// InvalidArgument where CompileOptions::disabled_passes has a name that is none, with the nearest.
absl::Status CheckDisabledPasses(const CompileOptions& options);
// All names of optional passes, for help texts and for tests of each.
const std::vector<std::string>& OptionalPasses();

}  // namespace weft

#endif  // WEFT_COMPILER_PASS_RUNNER_H_
