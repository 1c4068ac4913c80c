#include "tools/weft/row_runner.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tools/common/exit_code.h"
#include "tools/common/signature_io.h"

namespace weft::cli {
namespace {

// Rows that validation and prediction take at a time, but that twice as many are still taken at
// once.
constexpr int64_t kEvaluationRows = 512;
// Rows that fill up the last batch of a model of fixed size.
constexpr int64_t kMaxPadding = int64_t{1} << 20;

// All rows, where they are few. Of more, the largest divisor of their number up to the limit, so
// that one plan serves; where all divisors are small, the limit with a rest.
int64_t EvaluationBatch(int64_t rows) {
  if (rows <= 2 * kEvaluationRows) return rows;
  for (int64_t size = kEvaluationRows; size >= kEvaluationRows / 4; --size) {
    if (rows % size == 0) return size;
  }
  return kEvaluationRows;
}

absl::Status InFiles(const Rows& rows, const absl::Status& status) {
  if (rows.files.empty()) return status;
  return Reworded(status, absl::StrCat(rows.files, ": ", status.message()));
}

// Batches of rows for a signature; errors name the files that the rows are from.
absl::StatusOr<Batches> BatchesOf(const Rows& rows, std::vector<int64_t> order,
                                  const RowRunner& runner, const BatchOptions& options) {
  absl::StatusOr<Batches> batches =
      Batches::Create(*rows.data, std::move(order), runner.inputs(), options);
  return batches.ok() ? std::move(batches) : InFiles(rows, batches.status());
}

// "output 'p' of predict".
std::string OutputText(const std::string& output, const Session::SignatureInfo& signature) {
  return absl::StrCat("output '", output, "' of ", signature.name);
}

// The outputs of a signature that have a row for each row of its inputs, as shapes: [rows, ...].
// What is declared decides: the size at hand may be equal by chance.
std::map<std::string, std::vector<int64_t>> RowOutputs(const Session::SignatureInfo& signature,
                                                       int64_t rows) {
  std::map<std::string, std::vector<int64_t>> outputs;
  if (signature.inputs.empty()) return outputs;
  const std::string& batch = signature.inputs[0].dims[0];
  for (const Session::ValueInfo& output : signature.outputs) {
    if (output.dims.empty() || output.dims[0] != batch) continue;
    std::vector<int64_t> shape = {rows};
    for (size_t i = 1; i < output.dims.size(); ++i) {
      if (int64_t dim = 0; absl::SimpleAtoi(output.dims[i], &dim)) shape.push_back(dim);
    }
    if (shape.size() < output.dims.size()) {
      std::fprintf(stderr, "%s is left out: its rows are not of one size, as its type is %s\n",
                   OutputText(output.name, signature).c_str(), TypeText(output).c_str());
      continue;
    }
    outputs[output.name] = std::move(shape);
  }
  return outputs;
}

absl::Status CompileAll(RowRunner& runner, const Batches& batches) {
  for (const int64_t rows : batches.sizes()) {
    if (absl::Status status = runner.Compile(rows); !status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<RowRunner> RowRunner::Create(Session& session, const std::string& signature) {
  absl::StatusOr<Session::SignatureInfo> info = FindSignature(session, signature);
  if (!info.ok()) return info.status();
  std::optional<int64_t> fixed;
  absl::StatusOr<std::vector<BatchInput>> inputs = BatchInputsOf(*info, &fixed);
  if (!inputs.ok()) return inputs.status();
  return RowRunner(session, *std::move(info), *std::move(inputs), fixed);
}

absl::StatusOr<std::unique_ptr<Call>> RowRunner::NewCall(int64_t rows) {
  std::vector<std::vector<int64_t>> shapes;
  for (const BatchInput& input : inputs_) {
    shapes.push_back({rows});
    shapes.back().insert(shapes.back().end(), input.row_shape.begin(), input.row_shape.end());
  }
  return session_->Prepare(signature_.name, shapes);
}

absl::Status RowRunner::Compile(int64_t rows) { return NewCall(rows).status(); }

absl::StatusOr<Call*> RowRunner::Prepare(int64_t rows) {
  std::unique_ptr<Call>& call = calls_[rows];
  if (call) return call.get();
  absl::StatusOr<std::unique_ptr<Call>> prepared = NewCall(rows);
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

absl::StatusOr<Evaluation> Evaluation::Create(Session& session, const Rows& rows) {
  absl::StatusOr<RowRunner> runner = RowRunner::Create(session, "eval_step");
  if (!runner.ok()) return runner.status();
  BatchOptions options;
  const int64_t count = static_cast<int64_t>(rows.rows.size());
  options.batch_size = runner->fixed_batch().value_or(EvaluationBatch(count));
  options.shuffle = false;
  // A model of fixed size takes whole batches alone.
  options.drop_last = runner->fixed_batch().has_value();
  if (count < options.batch_size) {
    return InFiles(rows, absl::InvalidArgumentError(
                             absl::StrCat("the model takes batches of ", options.batch_size,
                                          " rows, but there are only ", count, " to evaluate")));
  }
  absl::StatusOr<Batches> batches = BatchesOf(rows, rows.rows, *runner, options);
  if (!batches.ok()) return batches.status();
  if (options.drop_last && count % options.batch_size > 0) {
    std::fprintf(stderr, "the model takes batches of %lld rows: %lld of %lld are left out\n",
                 static_cast<long long>(options.batch_size),
                 static_cast<long long>(count % options.batch_size), static_cast<long long>(count));
  }
  return Evaluation(*std::move(runner), *std::move(batches));
}

absl::Status Evaluation::Compile() { return CompileAll(runner_, batches_); }

absl::StatusOr<Metrics> Evaluation::Run(bool (*stop)()) {
  Metrics metrics;
  batches_.StartEpoch(0);
  while (!(stop && stop()) && batches_.Next()) {
    absl::StatusOr<Call*> call = runner_.Run(batches_);
    if (!call.ok()) return call.status();
    metrics.Add(**call, batches_.batch_rows());
  }
  return metrics;
}

absl::StatusOr<Prediction> Prediction::Create(Session& session, const std::string& signature,
                                              const Rows& rows) {
  absl::StatusOr<RowRunner> runner = RowRunner::Create(session, signature);
  if (!runner.ok()) return runner.status();
  // A model of fixed size gets the last row again until its batch is full; what it says to those is
  // dropped.
  const int64_t count = static_cast<int64_t>(rows.rows.size());
  BatchOptions options;
  options.batch_size = runner->fixed_batch().value_or(std::max<int64_t>(EvaluationBatch(count), 1));
  options.shuffle = false;
  std::vector<int64_t> padded = rows.rows;
  if (const int64_t rest = count % options.batch_size; runner->fixed_batch() && rest > 0) {
    const int64_t padding = options.batch_size - rest;
    if (padding > kMaxPadding) {
      return InFiles(rows, absl::InvalidArgumentError(absl::StrCat(
                               "the model takes batches of ", options.batch_size,
                               " rows, but there are only ", count, " to run ", signature, " on")));
    }
    padded.insert(padded.end(), static_cast<size_t>(padding), rows.rows.back());
  }
  absl::StatusOr<Batches> batches = BatchesOf(rows, std::move(padded), *runner, options);
  if (!batches.ok()) return batches.status();
  auto shapes = RowOutputs(runner->signature(), count);
  Prediction prediction(*std::move(runner), *std::move(batches), count, std::move(shapes));
  if (absl::StatusOr<NamedTensors> fits = prediction.Results(); !fits.ok()) return fits.status();
  return prediction;
}

absl::Status Prediction::Compile() { return CompileAll(runner_, batches_); }

absl::StatusOr<NamedTensors> Prediction::Results() const {
  NamedTensors results;
  for (const Session::ValueInfo& output : runner_.signature().outputs) {
    const auto shape = shapes_.find(output.name);
    if (shape == shapes_.end()) continue;
    absl::StatusOr<HostTensor> tensor = HostTensor::Create(output.dtype, shape->second);
    if (!tensor.ok()) {
      return Reworded(tensor.status(), absl::StrCat(OutputText(output.name, runner_.signature()),
                                                    ", ", TypeText(output), ", for ", rows_,
                                                    " rows: ", tensor.status().message()));
    }
    results[output.name] = *std::move(tensor);
  }
  return results;
}

absl::StatusOr<NamedTensors> Prediction::Run() {
  absl::StatusOr<NamedTensors> results = Results();
  if (!results.ok()) return results;
  int64_t done = 0;
  batches_.StartEpoch(0);
  while (batches_.Next()) {
    absl::StatusOr<Call*> call = runner_.Run(batches_);
    if (!call.ok()) return call.status();
    const int64_t wanted = std::min(batches_.batch_rows(), rows_ - done);
    for (int i = 0; i < (*call)->num_outputs(); ++i) {
      const auto whole = results->find((*call)->output_name(i));
      if (whole == results->end()) continue;
      const HostTensor& part = (*call)->Output(i);
      std::vector<int64_t> expected = whole->second.shape();
      expected[0] = batches_.batch_rows();
      // What is copied is measured by what was declared.
      if (part.dtype() != whole->second.dtype() || part.shape() != expected) {
        return absl::InternalError(
            absl::StrCat(OutputText(whole->first, runner_.signature()), ": expected ",
                         std::string(NameOf(whole->second.dtype())), "[",
                         absl::StrJoin(expected, ", "), "], got ", part.TypeString()));
      }
      const size_t row_bytes = part.size_bytes() / static_cast<size_t>(expected[0]);
      std::memcpy(
          static_cast<char*>(whole->second.mutable_data()) + static_cast<size_t>(done) * row_bytes,
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
  if (*fixed_batch && size < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("input '", signature.inputs[0].name, "' of ", signature.name, " is ",
                     TypeText(signature.inputs[0]), ", which takes no rows of data"));
  }
  return inputs;
}

}  // namespace weft::cli
