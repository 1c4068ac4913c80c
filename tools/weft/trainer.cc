#include "tools/weft/trainer.h"

#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <iterator>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "proto/file.h"
#include "proto/safetensors.h"
#include "tools/common/exit_code.h"
#include "tools/common/json_text.h"
#include "tools/common/signature_io.h"
#include "tools/progress/progress.h"

namespace weft::cli {
namespace {

// Validation and prediction take this many rows at a time at most.
constexpr int64_t kMaxEvaluationRows = 512;
// Seconds between two checkpoints, besides those at the end.
constexpr double kCheckpointInterval = 10;
// Writing large checkpoints may take one part in so many of the time.
constexpr double kWritingShare = 20;
// Lines about epochs in all.
constexpr int64_t kEpochLines = 20;

// The signal that asks the loop to end; 0: none.
volatile std::sig_atomic_t interrupted = 0;

// Catches Ctrl-C, and what a batch system sends, as long as this lives; a second one ends the
// program as ever.
class InterruptGuard {
 public:
  InterruptGuard() {
    interrupted = 0;
    for (size_t i = 0; i < std::size(kSignals); ++i) {
      before_[i] = std::signal(kSignals[i], [](int signal) {
        interrupted = signal;
        std::signal(signal, SIG_DFL);
      });
    }
  }
  ~InterruptGuard() {
    for (size_t i = 0; i < std::size(kSignals); ++i) std::signal(kSignals[i], before_[i]);
  }

 private:
  static constexpr int kSignals[] = {SIGINT, SIGTERM};
  void (*before_[2])(int);
};

double Now() { return absl::ToDoubleSeconds(absl::Now() - absl::UnixEpoch()); }

// A signature with its calls, one for each number of rows that comes up.
class Caller {
 public:
  static absl::StatusOr<Caller> Create(Session& session, const std::string& signature) {
    absl::StatusOr<Session::SignatureInfo> info = FindSignature(session, signature);
    if (!info.ok()) return info.status();
    std::optional<int64_t> fixed;
    absl::StatusOr<std::vector<BatchInput>> inputs = BatchInputsOf(*info, &fixed);
    if (!inputs.ok()) return inputs.status();
    return Caller(session, signature, *std::move(inputs), fixed);
  }

  const std::vector<BatchInput>& inputs() const { return inputs_; }
  std::optional<int64_t> fixed_batch() const { return fixed_batch_; }

  absl::StatusOr<Call*> Prepare(int64_t rows) {
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

  absl::StatusOr<Call*> Run(const Batches& batches) {
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

 private:
  Caller(Session& session, std::string signature, std::vector<BatchInput> inputs,
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

// Means of a call's float scalars, each batch weighing as many as its rows.
class Metrics {
 public:
  void Add(const Call& call, int64_t rows) {
    for (int i = 0; i < call.num_outputs(); ++i) {
      const HostTensor& output = call.Output(i);
      if (output.rank() != 0 || !IsFloat(output.dtype())) continue;
      WithType(output.dtype(), [&](auto type) {
        using T = decltype(type);
        const T value = *static_cast<const T*>(output.data());
        sums_[call.output_name(i)] += static_cast<double>(value) * static_cast<double>(rows);
      });
    }
    rows_ += rows;
  }
  std::map<std::string, double> Means() const {
    std::map<std::string, double> means;
    for (const auto& [name, sum] : sums_) means[name] = sum / static_cast<double>(rows_);
    return means;
  }
  bool LossIsFinite() const {
    const auto loss = sums_.find("loss");
    return loss == sums_.end() || std::isfinite(loss->second);
  }

  // For the checkpoint of an unfinished epoch; exact.
  std::string Save() const { return JsonText({{"rows", rows_}, {"sums", sums_}}); }
  static std::optional<Metrics> Restore(const std::string& text) {
    const nlohmann::json json = nlohmann::json::parse(text, nullptr, false);
    if (!json.is_object() || !json.contains("rows") || !json["rows"].is_number_integer() ||
        !json.contains("sums") || !json["sums"].is_object()) {
      return std::nullopt;
    }
    Metrics metrics;
    metrics.rows_ = json["rows"];
    for (const auto& [name, sum] : json["sums"].items()) {
      if (!sum.is_number()) return std::nullopt;
      metrics.sums_[name] = sum;
    }
    return metrics;
  }

 private:
  std::map<std::string, double> sums_;
  int64_t rows_ = 0;
};

// What is done of an epoch.
struct PartOfEpoch {
  int64_t batches = 0;
  Metrics metrics;
};

// The largest divisor of `rows` up to the limit, so that one plan serves; where all divisors are
// small, the limit with a rest.
int64_t EvaluationBatch(int64_t rows) {
  if (rows <= 2 * kMaxEvaluationRows) return rows;
  for (int64_t size = kMaxEvaluationRows; size >= kMaxEvaluationRows / 4; --size) {
    if (rows % size == 0) return size;
  }
  return kMaxEvaluationRows;
}

absl::StatusOr<Batches> EvaluationBatches(const Rows& rows, const Caller& caller) {
  BatchOptions options;
  const int64_t count = static_cast<int64_t>(rows.rows.size());
  options.batch_size = caller.fixed_batch().value_or(EvaluationBatch(count));
  options.shuffle = false;
  // A model of fixed size takes whole batches alone.
  options.drop_last = caller.fixed_batch().has_value();
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
  return Batches::Create(*rows.data, rows.rows, caller.inputs(), options);
}

// Means over all batches, or over those before a signal came.
absl::StatusOr<Metrics> RunAll(Caller& caller, Batches& batches, int64_t epoch) {
  Metrics metrics;
  batches.StartEpoch(epoch);
  while (!interrupted && batches.Next()) {
    absl::StatusOr<Call*> call = caller.Run(batches);
    if (!call.ok()) return call.status();
    metrics.Add(**call, batches.batch_rows());
  }
  return metrics;
}

class Loop {
 public:
  Loop(Session& session, Caller train, std::optional<Caller> evaluate, Batches batches,
       std::optional<Batches> validation, const TrainingOptions& options)
      : session_(session),
        train_(std::move(train)),
        evaluate_(std::move(evaluate)),
        batches_(std::move(batches)),
        validation_(std::move(validation)),
        options_(options) {}

  absl::StatusOr<TrainingResult> Run() {
    absl::Status status = options_.resume ? AsBadInput(Resume()) : Initialize();
    if (!status.ok()) return status;
    const InterruptGuard guard;
    status = Compile();
    const double start = Now();
    last_written_ = start;
    int64_t epoch = result_.epochs_before + 1;
    Progress progress(
        "training",
        (options_.epochs - result_.epochs_before) * batches_.num_batches() - part_.batches);
    for (; status.ok() && epoch <= options_.epochs && !Finished(); ++epoch) {
      status = Epoch(epoch, progress);
    }
    result_.seconds = Now() - start;
    if (status.ok()) {
      status = Write();
    } else {
      // What was best before it failed is worth having; the failure is what is reported.
      WriteBest().IgnoreError();
    }
    if (!status.ok()) return status;
    // Where all epochs are done, a late signal changes nothing.
    result_.signal = LastEpoch() < options_.epochs && !result_.stopped_early ? interrupted : 0;
    result_.batches_done = part_.batches;
    if (result_.best_epoch > 0 && result_.best_epoch < LastEpoch()) result_.best = std::move(best_);
    return std::move(result_);
  }

 private:
  std::string Path(const char* file) const {
    return absl::StrCat(options_.checkpoint_folder, "/", file);
  }

  absl::Status Initialize() {
    auto done = session_.Run("init", {});
    return done.status();
  }

  absl::Status Resume() {
    auto metadata = session_.RestoreCheckpoint(Path("last.safetensors"));
    if (metadata.status().code() == absl::StatusCode::kInvalidArgument) {
      return absl::InvalidArgumentError(
          absl::StrCat(metadata.status().message(),
                       "\n(--resume goes on with the model, options and data of the first run)"));
    }
    if (!metadata.ok()) return metadata.status();
    if (!absl::SimpleAtoi((*metadata)["epoch"], &result_.epochs_before)) {
      return absl::InvalidArgumentError(
          absl::StrCat(Path("last.safetensors"), " does not say which epoch it is of"));
    }
    if (absl::SimpleAtoi((*metadata)["batches"], &part_.batches) && part_.batches > 0) {
      const std::optional<Metrics> metrics = Metrics::Restore((*metadata)["metrics"]);
      if (metrics && (*metadata)["epoch_shape"] == EpochShape()) {
        part_.metrics = *metrics;
      } else {
        std::fprintf(stderr,
                     "resuming with other data or another --batch: epoch %lld begins again\n",
                     static_cast<long long>(result_.epochs_before + 1));
        part_ = {};
      }
    }
    absl::StatusOr<std::shared_ptr<const Bytes>> bytes = Bytes::Map(Path("history.json"));
    if (!bytes.ok()) return bytes.status();
    const nlohmann::json json = nlohmann::json::parse((*bytes)->view(), nullptr, false);
    const absl::Status damaged =
        absl::InvalidArgumentError(absl::StrCat(Path("history.json"), " is damaged"));
    if (!json.is_array()) return damaged;
    for (const nlohmann::json& epoch : json) {
      if (!epoch.is_object() || !epoch.contains("epoch") || !epoch["epoch"].is_number_integer()) {
        return damaged;
      }
      EpochMetrics metrics;
      metrics.epoch = epoch["epoch"];
      // What a crash between two files left over is done again.
      if (metrics.epoch > result_.epochs_before) continue;
      for (auto [part, into] : {std::pair("training", &metrics.training),
                                std::pair("validation", &metrics.validation)}) {
        if (!epoch.contains(part) || !epoch[part].is_object()) return damaged;
        for (const auto& [name, value] : epoch[part].items()) {
          if (value.is_number()) (*into)[name] = value;
        }
      }
      NoteBest(metrics);
      result_.history.push_back(std::move(metrics));
    }
    if (result_.best_epoch == 0) return absl::OkStatus();
    bytes = Bytes::Map(Path("best.safetensors"));
    if (!bytes.ok()) return bytes.status();
    absl::StatusOr<Safetensors> best = ReadSafetensors((*bytes)->view(), *bytes);
    if (!best.ok()) return best.status();
    if (best->metadata["epoch"] == absl::StrCat(result_.best_epoch)) {
      best_ = std::move(best->tensors);
    } else {
      // A crash between two files left one that is not of this history: the best is chosen anew.
      result_.best_epoch = 0;
      best_loss_ = std::numeric_limits<double>::infinity();
    }
    return absl::OkStatus();
  }

  // What the place in an unfinished epoch is counted in.
  std::string EpochShape() const {
    return absl::StrCat(batches_.num_rows(), " rows by ", batch_size(), ", seed ", options_.seed);
  }
  int64_t LastEpoch() const { return result_.history.empty() ? 0 : result_.history.back().epoch; }

  // So that the time of training holds none of the compiler's.
  absl::Status Compile() {
    const double start = Now();
    batches_.StartEpoch(0);
    const int64_t rows = std::min(batches_.num_rows(), batch_size());
    absl::StatusOr<Call*> call = train_.Prepare(rows);
    if (!call.ok()) return call.status();
    result_.peak_bytes = (*call)->peak_bytes();
    if (evaluate_) {
      validation_->StartEpoch(0);
      if (validation_->Next()) call = evaluate_->Prepare(validation_->batch_rows());
      if (!call.ok()) return call.status();
    }
    result_.compile_seconds = Now() - start;
    return absl::OkStatus();
  }

  int64_t batch_size() const { return train_.fixed_batch().value_or(options_.batch_size); }

  bool Finished() {
    result_.stopped_early = options_.patience > 0 && result_.best_epoch > 0 &&
                            LastEpoch() - result_.best_epoch >= options_.patience;
    return interrupted || result_.stopped_early;
  }

  absl::Status NotFinite(int64_t epoch) const {
    return absl::FailedPreconditionError(absl::StrCat(
        "the loss is no longer finite in epoch ", epoch, "; a smaller learning rate may help",
        result_.checkpoint.empty() ? ""
                                   : absl::StrCat(" (", result_.checkpoint, " is from before)")));
  }

  // Goes on where part_ is, and leaves there what is done of an epoch that a signal cuts short.
  absl::Status Epoch(int64_t epoch, Progress& progress) {
    const double start = Now();
    batches_.StartEpoch(epoch);
    for (int64_t i = 0; i < part_.batches; ++i) batches_.Next();
    while (!interrupted && batches_.Next()) {
      absl::StatusOr<Call*> call = train_.Run(batches_);
      if (!call.ok()) return call.status();
      part_.metrics.Add(**call, batches_.batch_rows());
      ++part_.batches;
      ++result_.steps;
      result_.rows += batches_.batch_rows();
      progress.Update(result_.steps, absl::StrCat("epoch ", epoch, "/", options_.epochs, "  ",
                                                  MetricsText(part_.metrics.Means())));
      // A state that is lost already must not replace the one before.
      if ((interrupted || WriteIsDue()) && !part_.metrics.LossIsFinite()) return NotFinite(epoch);
      if (WriteIsDue()) {
        if (absl::Status status = Write(); !status.ok()) return status;
      }
    }
    if (!part_.metrics.LossIsFinite()) return NotFinite(epoch);
    EpochMetrics metrics;
    metrics.epoch = epoch;
    metrics.training = part_.metrics.Means();
    if (evaluate_) {
      absl::StatusOr<Metrics> validation = RunAll(*evaluate_, *validation_, epoch);
      if (!validation.ok()) return validation.status();
      metrics.validation = validation->Means();
    }
    // An epoch that was cut short, be it in its validation, is not in the history.
    if (interrupted) return absl::OkStatus();
    part_ = {};
    if (NoteBest(metrics)) {
      absl::StatusOr<NamedTensors> values = session_.GetVariables();
      if (!values.ok()) return values.status();
      best_ = *std::move(values);
      best_is_written_ = false;
    }
    const int64_t every = std::max<int64_t>(1, options_.epochs / kEpochLines);
    if (epoch % every == 0 || epoch == options_.epochs || epoch == 1) {
      progress.Line(absl::StrFormat(
          "epoch %d/%d  %s%s  %.2f s", epoch, options_.epochs, MetricsText(metrics.training),
          metrics.validation.empty() ? "" : "  validation: " + MetricsText(metrics.validation),
          Now() - start));
    }
    result_.history.push_back(std::move(metrics));
    return WriteIsDue() ? Write() : absl::OkStatus();
  }

  // Whether it is the best so far.
  bool NoteBest(const EpochMetrics& metrics) {
    const auto loss = metrics.validation.find("loss");
    if (loss == metrics.validation.end() || !(loss->second < best_loss_)) return false;
    best_loss_ = loss->second;
    result_.best_epoch = metrics.epoch;
    return true;
  }

  bool WriteIsDue() const {
    return !options_.checkpoint_folder.empty() &&
           Now() - last_written_ > std::max(kCheckpointInterval, kWritingShare * write_seconds_);
  }

  absl::Status Write() {
    if (options_.checkpoint_folder.empty()) return absl::OkStatus();
    const double start = Now();
    std::map<std::string, std::string> metadata = options_.metadata;
    metadata["epoch"] = absl::StrCat(LastEpoch());
    // The history first: it may be ahead of the checkpoint, never behind.
    absl::Status status =
        WriteFileAtomically(Path("history.json"), JsonText(HistoryJson(result_.history), 1));
    if (status.ok()) status = WriteBest();
    if (part_.batches > 0) {
      metadata["batches"] = absl::StrCat(part_.batches);
      metadata["metrics"] = part_.metrics.Save();
      metadata["epoch_shape"] = EpochShape();
    }
    if (status.ok()) status = session_.SaveCheckpoint(Path("last.safetensors"), metadata);
    if (status.ok()) result_.checkpoint = Path("last.safetensors");
    last_written_ = Now();
    write_seconds_ = last_written_ - start;
    return status;
  }

  absl::Status WriteBest() {
    if (best_.empty() || best_is_written_ || options_.checkpoint_folder.empty()) {
      return absl::OkStatus();
    }
    std::map<std::string, std::string> metadata = options_.metadata;
    metadata["epoch"] = absl::StrCat(result_.best_epoch);
    best_is_written_ = true;
    return WriteFileAtomically(Path("best.safetensors"), WriteSafetensors(best_, metadata));
  }

  Session& session_;
  Caller train_;
  std::optional<Caller> evaluate_;
  Batches batches_;
  std::optional<Batches> validation_;
  const TrainingOptions& options_;
  TrainingResult result_;
  double best_loss_ = std::numeric_limits<double>::infinity();
  NamedTensors best_;  // of the best epoch so far
  bool best_is_written_ = true;
  PartOfEpoch part_;  // of the epoch at hand
  double last_written_ = 0, write_seconds_ = 0;
};

}  // namespace

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

absl::StatusOr<TrainingResult> Train(Session& session, const Rows& training, const Rows& validation,
                                     const TrainingOptions& options) {
  absl::StatusOr<Caller> train = Caller::Create(session, "train_step");
  if (!train.ok()) return train.status();
  BatchOptions batch_options;
  const int64_t fixed = train->fixed_batch().value_or(0);
  const int64_t rows = static_cast<int64_t>(training.rows.size());
  if (fixed > rows) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the model takes batches of ", fixed, " rows, but there are only ", rows, " to train on"));
  }
  batch_options.batch_size = fixed > 0 ? fixed : options.batch_size;
  batch_options.drop_last = true;  // one size of batch: one plan
  batch_options.seed = options.seed;
  absl::StatusOr<Batches> batches =
      Batches::Create(*training.data, training.rows, train->inputs(), batch_options);
  if (!batches.ok()) return batches.status();
  std::optional<Caller> evaluate;
  std::optional<Batches> evaluation;
  if (!validation.rows.empty()) {
    absl::StatusOr<Caller> caller = Caller::Create(session, "eval_step");
    if (!caller.ok()) return caller.status();
    absl::StatusOr<Batches> created = EvaluationBatches(validation, *caller);
    if (!created.ok()) return created.status();
    evaluate = *std::move(caller);
    evaluation = *std::move(created);
  }
  return Loop(session, *std::move(train), std::move(evaluate), *std::move(batches),
              std::move(evaluation), options)
      .Run();
}

absl::StatusOr<std::map<std::string, double>> Evaluate(Session& session, const Rows& rows) {
  absl::StatusOr<Caller> caller = Caller::Create(session, "eval_step");
  if (!caller.ok()) return caller.status();
  absl::StatusOr<Batches> batches = EvaluationBatches(rows, *caller);
  if (!batches.ok()) return batches.status();
  interrupted = 0;
  absl::StatusOr<Metrics> metrics = RunAll(*caller, *batches, 0);
  if (!metrics.ok()) return metrics.status();
  return metrics->Means();
}

nlohmann::json HistoryJson(const std::vector<EpochMetrics>& history) {
  nlohmann::json epochs = nlohmann::json::array();
  for (const EpochMetrics& epoch : history) {
    epochs.push_back(
        {{"epoch", epoch.epoch}, {"training", epoch.training}, {"validation", epoch.validation}});
  }
  return epochs;
}

std::string MetricsText(const std::map<std::string, double>& metrics) {
  std::string text;
  if (const auto loss = metrics.find("loss"); loss != metrics.end()) {
    absl::StrAppendFormat(&text, "loss %.4g", loss->second);
  }
  for (const auto& [name, value] : metrics) {
    if (name == "loss") continue;
    absl::StrAppendFormat(&text, "%s%s %.4g", text.empty() ? "" : ", ", name, value);
  }
  return text;
}

absl::StatusOr<NamedTensors> Predict(Session& session, const std::string& signature,
                                     const Rows& rows) {
  absl::StatusOr<Caller> caller = Caller::Create(session, signature);
  if (!caller.ok()) return caller.status();
  // A model of fixed size gets the last row again until its batch is full; what it says to those is
  // dropped.
  const int64_t count = static_cast<int64_t>(rows.rows.size());
  BatchOptions options;
  options.batch_size = caller->fixed_batch().value_or(EvaluationBatch(count));
  options.shuffle = false;
  std::vector<int64_t> padded = rows.rows;
  while (caller->fixed_batch() && padded.size() % options.batch_size != 0) {
    padded.push_back(rows.rows.back());
  }
  absl::StatusOr<Batches> batches =
      Batches::Create(*rows.data, std::move(padded), caller->inputs(), options);
  if (!batches.ok()) return batches.status();
  NamedTensors results;
  int64_t done = 0;
  while (batches->Next()) {
    absl::StatusOr<Call*> call = caller->Run(*batches);
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

}  // namespace weft::cli
