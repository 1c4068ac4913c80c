#include "tools/weft/trainer.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tools/common/exit_code.h"
#include "tools/progress/progress.h"
#include "tools/weft/checkpoint_folder.h"
#include "tools/weft/interrupt.h"

namespace weft::cli {
namespace {

// Writing large checkpoints may take one part in so many of the time.
constexpr double kWritingShare = 20;
// Lines about epochs in all.
constexpr int64_t kEpochLines = 20;

// Seconds, from some moment on, whatever happens to the time of day.
double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

class Loop {
 public:
  Loop(Session& session, RowRunner train, Batches batches, std::optional<Evaluation> validation,
       const TrainingOptions& options)
      : session_(session),
        train_(std::move(train)),
        batches_(std::move(batches)),
        validation_(std::move(validation)),
        options_(options),
        folder_(options.checkpoint_folder, options.metadata, options.save_model) {}

  absl::StatusOr<TrainingResult> Run() {
    absl::Status status = options_.resume ? AsBadInput(Resume()) : Initialize();
    if (!status.ok()) return status;
    const InterruptGuard guard;
    status = Compile();
    const double start = Now();
    last_written_ = start;
    int64_t epoch = result_.epochs_before + 1;
    if (status.ok() && epoch <= options_.epochs && !Finished()) status = folder_.Make();
    Progress progress(
        "training",
        (options_.epochs - result_.epochs_before) * batches_.num_batches() - state_.batches);
    for (; status.ok() && epoch <= options_.epochs && !Finished(); ++epoch) {
      status = Epoch(epoch, progress);
    }
    result_.seconds = Now() - start;
    if (status.ok()) {
      // Where nothing was done, what an earlier run left in the folder stays. An epoch whose steps
      // an earlier run did all, and which lacked no more than its validation, is something.
      if (result_.steps > 0 || state_.epochs() > result_.epochs_before) status = Write();
    } else {
      // The failure is what is reported.
      folder_.WriteBestOfFailure(state_).IgnoreError();
    }
    if (!status.ok()) return status;
    // Where all epochs are done, a late signal changes nothing.
    const bool done = state_.epochs() >= options_.epochs || result_.stopped_early;
    result_.signal = done ? 0 : InterruptSignal();
    result_.batches_done = state_.batches;
    result_.best_epoch = state_.best_epoch;
    if (state_.best_epoch > 0 && state_.best_epoch < state_.epochs()) {
      result_.best = std::move(state_.best);
    }
    result_.history = std::move(state_.history);
    return std::move(result_);
  }

 private:
  absl::Status Initialize() {
    auto done = session_.Run("init", {});
    return done.status();
  }

  absl::Status Resume() {
    absl::StatusOr<RunState> state = folder_.Restore(session_);
    if (!state.ok()) return state.status();
    state_ = *std::move(state);
    if (!options_.variables.empty()) {
      absl::Status status = session_.SetVariables(options_.variables);
      if (!status.ok()) return status;
    }
    result_.epochs_before = state_.epochs();
    result_.checkpoint = folder_.last_path();
    const auto now = options_.metadata.find("rows");
    const auto before = state_.metadata.find("rows");
    if (now != options_.metadata.end() && before != state_.metadata.end() &&
        now->second != before->second) {
      std::fprintf(stderr,
                   "resuming with other rows than before (now %s, then %s): rows that trained may "
                   "validate or test now, which flatters the figures\n",
                   now->second.c_str(), before->second.c_str());
    }
    // What an unfinished epoch left in the variables is neither its last epoch's nor its best
    // one's.
    if (state_.batches > 0 && (state_.epochs() >= options_.epochs || PatienceIsOver())) {
      return UsageError(absl::StrCat(
          folder_.last_path(), " is from inside epoch ", state_.epochs() + 1,
          ", which has to be ended: expected --epochs of at least that, and no --patience that is "
          "over, got --epochs ",
          options_.epochs));
    }
    if (state_.batches > 0 && state_.epoch_shape != EpochShape()) {
      std::fprintf(stderr, "resuming with other data or another --batch: epoch %lld begins again\n",
                   static_cast<long long>(result_.epochs_before + 1));
      state_.batches = 0;
      state_.metrics = {};
    }
    if (state_.batches > batches_.num_batches()) {
      return absl::InvalidArgumentError(
          absl::StrCat(folder_.last_path(), ": expected ", batches_.num_batches(),
                       " batches of an epoch at most, got ", state_.batches));
    }
    return absl::OkStatus();
  }

  // What the place in an unfinished epoch is counted in.
  std::string EpochShape() const {
    return absl::StrCat(batches_.num_rows(), " rows by ", batch_size(), ", seed ", options_.seed);
  }

  // So that the time of training holds none of the compiler's.
  absl::Status Compile() {
    const double start = Now();
    batches_.StartEpoch(0);
    const int64_t rows = std::min(batches_.num_rows(), batch_size());
    absl::StatusOr<Call*> call = train_.Prepare(rows);
    if (!call.ok()) return call.status();
    result_.peak_bytes = (*call)->peak_bytes();
    const absl::Status status = validation_ ? validation_->Compile() : absl::OkStatus();
    result_.compile_seconds = Now() - start;
    return status;
  }

  int64_t batch_size() const { return train_.fixed_batch().value_or(options_.batch_size); }

  bool PatienceIsOver() const {
    return options_.patience > 0 && state_.best_epoch > 0 &&
           state_.epochs() - state_.best_epoch >= options_.patience;
  }

  bool Finished() {
    result_.stopped_early = PatienceIsOver();
    return IsInterrupted() || result_.stopped_early;
  }

  absl::Status NotFinite(int64_t epoch) const {
    return absl::FailedPreconditionError(absl::StrCat(
        "the loss is no longer finite in epoch ", epoch, "; a smaller learning rate may help",
        result_.checkpoint.empty() ? ""
                                   : absl::StrCat(" (", result_.checkpoint, " is from before)")));
  }

  // Goes on where the state is, and leaves there what is done of an epoch that a signal cuts short.
  absl::Status Epoch(int64_t epoch, Progress& progress) {
    const double start = Now();
    state_.epoch_shape = EpochShape();
    batches_.StartEpoch(epoch);
    batches_.SkipTo(state_.batches);
    while (!IsInterrupted() && batches_.Next()) {
      absl::StatusOr<Call*> call = train_.Run(batches_);
      if (!call.ok()) return call.status();
      state_.metrics.Add(**call, batches_.batch_rows());
      ++state_.batches;
      ++result_.steps;
      result_.rows += batches_.batch_rows();
      progress.Update(result_.steps, absl::StrCat("epoch ", epoch, "/", options_.epochs, "  ",
                                                  MetricsText(state_.metrics.Means())));
      // A state that is lost already must not replace the one before.
      const bool due = WriteIsDue();
      if ((IsInterrupted() || due) && !state_.metrics.LossIsFinite()) return NotFinite(epoch);
      if (due) {
        if (absl::Status status = Write(); !status.ok()) return status;
      }
    }
    if (!state_.metrics.LossIsFinite()) return NotFinite(epoch);
    EpochMetrics metrics;
    metrics.epoch = epoch;
    metrics.training = state_.metrics.Means();
    if (validation_) {
      progress.Update(result_.steps,
                      absl::StrCat("epoch ", epoch, "/", options_.epochs, "  validation"));
      absl::StatusOr<Metrics> validation = validation_->Run(&IsInterrupted);
      if (!validation.ok()) return validation.status();
      metrics.validation = validation->Means();
    }
    // An epoch that was cut short, be it in its validation, is not in the history.
    if (IsInterrupted()) return absl::OkStatus();
    state_.batches = 0;
    state_.metrics = {};
    if (state_.NoteBest(metrics)) {
      absl::StatusOr<NamedTensors> values = session_.GetVariables();
      if (!values.ok()) return values.status();
      state_.best = *std::move(values);
    }
    const int64_t every = std::max<int64_t>(1, options_.epochs / kEpochLines);
    if (epoch % every == 0 || epoch == options_.epochs || epoch == 1) {
      progress.Line(absl::StrFormat(
          "epoch %d/%d  %s%s  %.2f s", epoch, options_.epochs, MetricsText(metrics.training),
          metrics.validation.empty() ? "" : "  validation: " + MetricsText(metrics.validation),
          Now() - start));
    }
    state_.history.push_back(std::move(metrics));
    return WriteIsDue() ? Write() : absl::OkStatus();
  }

  bool WriteIsDue() const {
    return folder_.exists() && Now() - last_written_ > std::max(options_.checkpoint_every,
                                                                kWritingShare * write_seconds_);
  }

  absl::Status Write() {
    const double start = Now();
    absl::Status status = folder_.Write(session_, state_);
    if (status.ok() && folder_.exists()) result_.checkpoint = folder_.last_path();
    last_written_ = Now();
    write_seconds_ = last_written_ - start;
    return status;
  }

  Session& session_;
  RowRunner train_;
  Batches batches_;
  std::optional<Evaluation> validation_;
  const TrainingOptions& options_;
  CheckpointFolder folder_;
  RunState state_;
  TrainingResult result_;
  double last_written_ = 0, write_seconds_ = 0;
};

}  // namespace

absl::StatusOr<TrainingResult> Train(Session& session, const Rows& training, const Rows& validation,
                                     const TrainingOptions& options) {
  absl::StatusOr<RowRunner> train = RowRunner::Create(session, "train_step");
  if (!train.ok()) return AsBadInput(train.status());
  BatchOptions batch_options;
  const std::optional<int64_t> fixed = train->fixed_batch();
  const int64_t rows = static_cast<int64_t>(training.rows.size());
  if (fixed > rows) {
    return AsBadInput(absl::InvalidArgumentError(absl::StrCat("the model takes batches of ", *fixed,
                                                              " rows, but there are only ", rows,
                                                              " to train on")));
  }
  batch_options.batch_size = fixed.value_or(options.batch_size);
  if (batch_options.batch_size > rows) {
    std::fprintf(stderr,
                 "note: --batch %lld is more than the rows to train on; a step takes all, %lld\n",
                 static_cast<long long>(options.batch_size), static_cast<long long>(rows));
  }
  batch_options.drop_last = true;  // one size of batch: one plan
  batch_options.seed = options.seed;
  absl::StatusOr<Batches> batches =
      Batches::Create(*training.data, training.rows, train->inputs(), batch_options);
  // The data does not fit the model, or the other way round.
  if (!batches.ok()) return AsBadInput(batches.status());
  std::optional<Evaluation> evaluation;
  if (!validation.rows.empty()) {
    absl::StatusOr<Evaluation> created = Evaluation::Create(session, validation);
    if (!created.ok()) return AsBadInput(created.status());
    evaluation = *std::move(created);
  }
  return Loop(session, *std::move(train), *std::move(batches), std::move(evaluation), options)
      .Run();
}

}  // namespace weft::cli
