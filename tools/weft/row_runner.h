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
  std::string files = "";  // what messages call them, where they are not of the training data
};

// A signature with its calls, one for each number of rows that comes up.
class RowRunner {
 public:
  // InvalidArgument where the signature does not take rows (BatchInputsOf).
  static absl::StatusOr<RowRunner> Create(Session& session, const std::string& signature);

  const std::vector<BatchInput>& inputs() const { return inputs_; }
  // Rows of a batch, where the model takes no other number; 1 or more.
  std::optional<int64_t> fixed_batch() const { return fixed_batch_; }
  const Session::SignatureInfo& signature() const { return signature_; }

  // Compiles what a batch of so many rows needs; the session keeps that, and no memory is held.
  absl::Status Compile(int64_t rows);
  // The call for so many rows; it stays the runner's.
  absl::StatusOr<Call*> Prepare(int64_t rows);
  // Feeds the batch at hand and runs.
  absl::StatusOr<Call*> Run(const Batches& batches);

 private:
  absl::StatusOr<std::unique_ptr<Call>> NewCall(int64_t rows);
  RowRunner(Session& session, Session::SignatureInfo signature, std::vector<BatchInput> inputs,
            std::optional<int64_t> fixed)
      : session_(&session),
        signature_(std::move(signature)),
        inputs_(std::move(inputs)),
        fixed_batch_(fixed) {}

  Session* session_;
  Session::SignatureInfo signature_;
  std::vector<BatchInput> inputs_;
  std::optional<int64_t> fixed_batch_;
  std::map<int64_t, std::unique_ptr<Call>> calls_;
};

// eval_step over rows in order, as often as wanted.
class Evaluation {
 public:
  // Everything that can be wrong with rows and model: InvalidArgument where they do not fit, or are
  // fewer than the one batch size that the model takes. The rest of rows that fill no such batch is
  // left out, which is said on standard error.
  static absl::StatusOr<Evaluation> Create(Session& session, const Rows& rows);

  // Compiles what its batches need.
  absl::Status Compile();
  // Means over all batches, or over those before `stop` becomes true, with the session's variables
  // as they are.
  absl::StatusOr<Metrics> Run(bool (*stop)() = nullptr);

 private:
  Evaluation(RowRunner runner, Batches batches)
      : runner_(std::move(runner)), batches_(std::move(batches)) {}

  RowRunner runner_;
  Batches batches_;
};

// A signature over rows in order, whose outputs are put together.
class Prediction {
 public:
  // InvalidArgument where rows and model do not fit; other errors, naming the output, where one is
  // too large for all rows. An output that begins with the batch and yet has no rows of one size is
  // left out, which is said on standard error.
  static absl::StatusOr<Prediction> Create(Session& session, const std::string& signature,
                                           const Rows& rows);

  // Compiles what its batches need.
  absl::Status Compile();
  // Each output that is declared as [batch, ...] with a row of fixed size: [rows, ...].
  absl::StatusOr<NamedTensors> Run();

 private:
  using Shapes = std::map<std::string, std::vector<int64_t>>;
  Prediction(RowRunner runner, Batches batches, int64_t rows, Shapes shapes)
      : runner_(std::move(runner)),
        batches_(std::move(batches)),
        rows_(rows),
        shapes_(std::move(shapes)) {}
  // A tensor for each output that is kept, not filled yet.
  absl::StatusOr<NamedTensors> Results() const;

  RowRunner runner_;
  Batches batches_;
  int64_t rows_;
  Shapes shapes_;  // of the outputs that are kept
};

// Rows in order, as the inputs of a signature want them.
absl::StatusOr<NamedTensors> GatherRows(const Session& session, const std::string& signature,
                                        const Rows& rows);

// Inputs of a signature as batches want them. Error: InvalidArgument where one has an open
// dimension besides the first, or takes no rows at all. `fixed_batch` is set where the first is a
// number, 1 or more.
absl::StatusOr<std::vector<BatchInput>> BatchInputsOf(const Session::SignatureInfo& signature,
                                                      std::optional<int64_t>* fixed_batch);

}  // namespace weft::cli

#endif  // WEFT_TOOLS_WEFT_ROW_RUNNER_H_
