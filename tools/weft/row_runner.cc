#include "tools/weft/row_runner.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "tools/common/signature_io.h"

namespace weft::cli {
namespace {

// Validation and prediction take this many rows at a time at most.
constexpr int64_t kMaxEvaluationRows = 512;

// The largest divisor of `rows` up to the limit, so that one plan serves; where all divisors are
// small, the limit with a rest.
int64_t EvaluationBatch(int64_t rows) {
  if (rows <= 2 * kMaxEvaluationRows) return rows;
  for (int64_t size = kMaxEvaluationRows; size >= kMaxEvaluationRows / 4; --size) {
    if (rows % size == 0) return size;
  }
  return kMaxEvaluationRows;
}

}  // namespace

absl::StatusOr<RowRunner> RowRunner::Create(Session& session, const std::string& signature) {
  absl::StatusOr<Session::SignatureInfo> info = FindSignature(session, signature);
  if (!info.ok()) return info.status();
  std::optional<int64_t> fixed;
  absl::StatusOr<std::vector<BatchInput>> inputs = BatchInputsOf(*info, &fixed);
  if (!inputs.ok()) return inputs.status();
  return RowRunner(session, signature, *std::move(inputs), fixed);
}

absl::StatusOr<Call*> RowRunner::Prepare(int64_t rows) {
  std::unique_ptr<Call>& call = calls_[rows];
  if (call) return call.get();
  std::vector<std::vector<int64_t>> shapes;
  for (const BatchInput& input : inputs_) {
    shapes.push_back({rows});
    shapes.back().insert(shapes.back().end(), input.row_shape.begin(), input.row_shape.end());
  }
  absl::StatusOr<std::unique_ptr<Call>> prepared = session_->Prepare(signature_, shapes);
  if (!prepared.ok()) return prepared.status();
  call = *std::move(prepared);
  return call.get();
}

absl::StatusOr<Call*> RowRunner::Run(const Batches& batches) {
  absl::StatusOr<Call*> call = Prepare(batches.batch_rows());
  if (!call.ok()) return call.status();
  absl::Status status;
  for (int i = 0; i < (*call)->num_inputs() && status.ok(); ++i) {
    status = (*call)->Feed(i, batches.feeds().at((*call)->input_name(i)));
  }
  if (status.ok()) status = (*call)->Run();
  if (!status.ok()) return status;
  return *call;
}

absl::StatusOr<Batches> EvaluationBatches(const Rows& rows, const RowRunner& runner) {
  BatchOptions options;
  const int64_t count = static_cast<int64_t>(rows.rows.size());
  options.batch_size = runner.fixed_batch().value_or(EvaluationBatch(count));
  options.shuffle = false;
  // A model of fixed size takes whole batches alone.
  options.drop_last = runner.fixed_batch().has_value();
  if (count < options.batch_size) {
    return absl::InvalidArgumentError(absl::StrCat("the model takes batches of ",
                                                   options.batch_size, " rows, but there are only ",
                                                   count, " to evaluate"));
  }
  if (options.drop_last && count % options.batch_size > 0) {
    std::fprintf(stderr, "the model takes batches of %lld rows: %lld of %lld are left out\n",
                 static_cast<long long>(options.batch_size),
                 static_cast<long long>(count % options.batch_size), static_cast<long long>(count));
  }
  return Batches::Create(*rows.data, rows.rows, runner.inputs(), options);
}

absl::StatusOr<Metrics> RunAll(RowRunner& runner, Batches& batches, int64_t epoch, bool (*stop)()) {
  Metrics metrics;
  batches.StartEpoch(epoch);
  while (!(stop && stop()) && batches.Next()) {
    absl::StatusOr<Call*> call = runner.Run(batches);
    if (!call.ok()) return call.status();
    metrics.Add(**call, batches.batch_rows());
  }
  return metrics;
}

absl::StatusOr<std::map<std::string, double>> Evaluate(Session& session, const Rows& rows) {
  absl::StatusOr<RowRunner> runner = RowRunner::Create(session, "eval_step");
  if (!runner.ok()) return runner.status();
  absl::StatusOr<Batches> batches = EvaluationBatches(rows, *runner);
  if (!batches.ok()) return batches.status();
  absl::StatusOr<Metrics> metrics = RunAll(*runner, *batches, 0);
  if (!metrics.ok()) return metrics.status();
  return metrics->Means();
}

absl::StatusOr<NamedTensors> Predict(Session& session, const std::string& signature,
                                     const Rows& rows) {
  absl::StatusOr<RowRunner> runner = RowRunner::Create(session, signature);
  if (!runner.ok()) return runner.status();
  // A model of fixed size gets the last row again until its batch is full; what it says to those is
  // dropped.
  const int64_t count = static_cast<int64_t>(rows.rows.size());
  BatchOptions options;
  options.batch_size = runner->fixed_batch().value_or(EvaluationBatch(count));
  options.shuffle = false;
  std::vector<int64_t> padded = rows.rows;
  while (runner->fixed_batch() && padded.size() % options.batch_size != 0) {
    padded.push_back(rows.rows.back());
  }
  absl::StatusOr<Batches> batches =
      Batches::Create(*rows.data, std::move(padded), runner->inputs(), options);
  if (!batches.ok()) return batches.status();
  NamedTensors results;
  int64_t done = 0;
  while (batches->Next()) {
    absl::StatusOr<Call*> call = runner->Run(*batches);
    if (!call.ok()) return call.status();
    const int64_t wanted = std::min(batches->batch_rows(), count - done);
    for (int i = 0; i < (*call)->num_outputs(); ++i) {
      const HostTensor& part = (*call)->Output(i);
      if (part.rank() == 0 || part.shape()[0] != batches->batch_rows()) continue;
      HostTensor& whole = results[(*call)->output_name(i)];
      if (whole.rank() == 0) {
        std::vector<int64_t> shape = part.shape();
        shape[0] = count;
        absl::StatusOr<HostTensor> made = HostTensor::Create(part.dtype(), shape);
        if (!made.ok()) return made.status();
        whole = *std::move(made);
      }
      const size_t row_bytes = part.size_bytes() / static_cast<size_t>(part.shape()[0]);
      std::memcpy(static_cast<char*>(whole.mutable_data()) + static_cast<size_t>(done) * row_bytes,
                  part.data(), static_cast<size_t>(wanted) * row_bytes);
    }
    done += wanted;
  }
  return results;
}

absl::StatusOr<NamedTensors> GatherRows(const Session& session, const std::string& signature,
                                        const Rows& rows) {
  absl::StatusOr<Session::SignatureInfo> info = FindSignature(session, signature);
  if (!info.ok()) return info.status();
  std::optional<int64_t> fixed;
  absl::StatusOr<std::vector<BatchInput>> inputs = BatchInputsOf(*info, &fixed);
  if (!inputs.ok()) return inputs.status();
  BatchOptions options;
  options.batch_size = static_cast<int64_t>(rows.rows.size());
  options.shuffle = false;
  absl::StatusOr<Batches> batches = Batches::Create(*rows.data, rows.rows, *inputs, options);
  if (!batches.ok()) return batches.status();
  batches->Next();
  return batches->feeds();
}

absl::StatusOr<std::vector<BatchInput>> BatchInputsOf(const Session::SignatureInfo& signature,
                                                      std::optional<int64_t>* fixed_batch) {
  std::vector<BatchInput> inputs;
  std::string batch;
  for (const Session::ValueInfo& value : signature.inputs) {
    const absl::Status bad = absl::InvalidArgumentError(absl::StrCat(
        "input '", value.name, "' of ", signature.name, " is ", TypeText(value),
        ", but data is fed row by row: expected one open dimension, the same first one for all"));
    if (value.dims.empty() || (!batch.empty() && value.dims[0] != batch)) return bad;
    batch = value.dims[0];
    BatchInput input{value.name, value.dtype, {}};
    for (size_t i = 1; i < value.dims.size(); ++i) {
      int64_t dim = 0;
      if (!absl::SimpleAtoi(value.dims[i], &dim)) return bad;
      input.row_shape.push_back(dim);
    }
    inputs.push_back(std::move(input));
  }
  int64_t size = 0;
  *fixed_batch = absl::SimpleAtoi(batch, &size) ? std::optional<int64_t>(size) : std::nullopt;
  return inputs;
}

}  // namespace weft::cli
