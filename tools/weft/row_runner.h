// Runs signatures over rows of a data set, batch by batch.
#ifndef WEFT_TOOLS_WEFT_ROW_RUNNER_H_
#define WEFT_TOOLS_WEFT_ROW_RUNNER_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/session.h"
#include "tools/data/batches.h"
#include "tools/data/dataset.h"
#include "tools/weft/metrics.h"

namespace weft::cli {

// Rows of a data set.
struct Rows {
  const DataSet* data = nullptr;
  std::vector<int64_t> rows;
};

// A signature with its calls, one for each number of rows that comes up.
class RowRunner {
 public:
  // InvalidArgument where the signature does not take rows (BatchInputsOf).
  static absl::StatusOr<RowRunner> Create(Session& session, const std::string& signature);

  const std::vector<BatchInput>& inputs() const { return inputs_; }
  // Rows of a batch, where the model takes no other number.
  std::optional<int64_t> fixed_batch() const { return fixed_batch_; }

  // The call for so many rows; it stays the runner's.
  absl::StatusOr<Call*> Prepare(int64_t rows);
  // Feeds the batch at hand and runs.
  absl::StatusOr<Call*> Run(const Batches& batches);

 private:
  RowRunner(Session& session, std::string signature, std::vector<BatchInput> inputs,
            std::optional<int64_t> fixed)
      : session_(&session),
        signature_(std::move(signature)),
        inputs_(std::move(inputs)),
        fixed_batch_(fixed) {}

  Session* session_;
  std::string signature_;
  std::vector<BatchInput> inputs_;
  std::optional<int64_t> fixed_batch_;
  std::map<int64_t, std::unique_ptr<Call>> calls_;
};

// Rows in order, in batches of a size that suits evaluation. A model of a fixed batch size leaves
// out the rest of the rows, which is said on standard error; InvalidArgument where that is all.
absl::StatusOr<Batches> EvaluationBatches(const Rows& rows, const RowRunner& runner);

// Means over all batches, or over those before `stop` becomes true.
absl::StatusOr<Metrics> RunAll(RowRunner& runner, Batches& batches, int64_t epoch,
                               bool (*stop)() = nullptr);

// Metrics of eval_step over rows, with the session's variables as they are.
absl::StatusOr<std::map<std::string, double>> Evaluate(Session& session, const Rows& rows);

// Runs a signature over rows in order, and gives each output with rows put together: [rows, ...].
// Outputs without a batch dimension are left out.
absl::StatusOr<NamedTensors> Predict(Session& session, const std::string& signature,
                                     const Rows& rows);

// Rows in order, as the inputs of a signature want them.
absl::StatusOr<NamedTensors> GatherRows(const Session& session, const std::string& signature,
                                        const Rows& rows);

// Inputs of a signature as batches want them. Error: InvalidArgument where one has an open
// dimension besides the first. `fixed_batch` is set where the first is a number.
absl::StatusOr<std::vector<BatchInput>> BatchInputsOf(const Session::SignatureInfo& signature,
                                                      std::optional<int64_t>* fixed_batch);

}  // namespace weft::cli

#endif  // WEFT_TOOLS_WEFT_ROW_RUNNER_H_
