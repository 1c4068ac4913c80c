#include "tools/weft/checkpoint_folder.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "proto/file.h"
#include "proto/safetensors.h"
#include "tools/common/json_text.h"
#include "tools/common/outputs.h"

namespace weft::cli {
namespace {

constexpr char kLast[] = "last.safetensors", kBest[] = "best.safetensors",
               kHistory[] = "history.json", kModel[] = "model.weft";
// What the metadata of last.safetensors calls the metrics of its last whole epoch.
constexpr char kEpochMetrics[] = "epoch_metrics";

// Whether nobody writes to the file any more that is called so besides its target's name:
// ".tmp.<process>.<number>" (proto/core/atomic_file.cc). A number says nothing of processes of
// other machines and containers, which may share the folder, so the file is old as well.
bool IsLeftOver(std::string_view ending, std::filesystem::file_time_type written) {
  constexpr std::chrono::hours kOld(1);
  if (std::filesystem::file_time_type::clock::now() - written < kOld) return false;
  constexpr std::string_view kTemporary = ".tmp.";
  if (ending.substr(0, kTemporary.size()) != kTemporary) return false;
  ending.remove_prefix(kTemporary.size());
  const size_t dot = std::min(ending.find('.'), ending.size());
  int process = 0;
  unsigned number = 0;
  const auto text = [](std::string_view part) {
    return absl::string_view(part.data(), part.size());
  };
  if (!absl::SimpleAtoi(text(ending.substr(0, dot)), &process) || process <= 0 ||
      !absl::SimpleAtoi(text(ending.substr(std::min(dot + 1, ending.size()))), &number)) {
    return false;
  }
  return process == getpid() || (kill(process, 0) != 0 && errno == ESRCH);
}

}  // namespace

bool RunState::NoteBest(const EpochMetrics& epoch) {
  const auto loss_of = [](const EpochMetrics& metrics) {
    const auto loss = metrics.validation.find("loss");
    return loss == metrics.validation.end() ? std::numeric_limits<double>::infinity()
                                            : loss->second;
  };
  const double lowest = best_epoch > 0 ? loss_of(history[static_cast<size_t>(best_epoch) - 1])
                                       : std::numeric_limits<double>::infinity();
  if (!(loss_of(epoch) < lowest)) return false;
  best_epoch = epoch.epoch;
  best_is_written_ = false;
  return true;
}

std::string CheckpointFolder::Path(const char* file) const {
  return absl::StrCat(folder_, "/", file);
}

std::string CheckpointFolder::last_path() const { return Path(kLast); }

std::string CheckpointFolder::model_path() const { return Path(kModel); }

std::vector<std::string> CheckpointFolder::Files() const {
  if (!exists()) return {};
  return {Path(kLast), Path(kBest), Path(kHistory), Path(kModel)};
}

absl::StatusOr<RunState> CheckpointFolder::Restore(Session& session) const {
  auto metadata = session.RestoreCheckpoint(last_path());
  if (metadata.status().code() == absl::StatusCode::kInvalidArgument) {
    return absl::InvalidArgumentError(
        absl::StrCat(metadata.status().message(),
                     "\n(--resume goes on with the model, options and data of the first run)"));
  }
  if (!metadata.ok()) return metadata.status();
  int64_t epochs = 0;
  if (!absl::SimpleAtoi((*metadata)["epoch"], &epochs) || epochs < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(last_path(), " does not say which epoch it is of"));
  }
  absl::StatusOr<std::shared_ptr<const Bytes>> bytes = Bytes::Load(Path(kHistory));
  if (!bytes.ok()) return bytes.status();
  std::optional<std::vector<EpochMetrics>> history =
      HistoryFrom(nlohmann::json::parse((*bytes)->view(), nullptr, false));
  if (!history) return absl::InvalidArgumentError(absl::StrCat(Path(kHistory), " is damaged"));
  // It may be ahead of the checkpoint, never behind.
  if (epochs > 0 && (history->empty() || history->back().epoch < epochs)) {
    return absl::InvalidArgumentError(
        absl::StrCat(Path(kHistory), " is damaged, or of another run than ", last_path(),
                     ", one of which was cut short; to begin anew, leave out --resume"));
  }
  RunState state;
  for (EpochMetrics& epoch : *history) {
    // What a crash between two files left over is done again.
    if (epoch.epoch > epochs) break;
    state.NoteBest(epoch);
    state.history.push_back(std::move(epoch));
  }
  // That of another run over the same model would be taken for this one's.
  if (const auto metrics = metadata->find(kEpochMetrics);
      metrics != metadata->end() && metrics->second != MetricsOf(state, epochs)) {
    return absl::InvalidArgumentError(
        absl::StrCat(Path(kHistory), " is of another run than ", last_path(),
                     ", one of which was cut short; to begin anew, leave out --resume"));
  }
  if (const auto batches = metadata->find("batches");
      batches != metadata->end() &&
      (!absl::SimpleAtoi(batches->second, &state.batches) || state.batches < 0)) {
    return absl::InvalidArgumentError(
        absl::StrCat(last_path(), ": expected a number of batches, got '", batches->second, "'"));
  }
  if (state.batches > 0) {
    const std::optional<Metrics> metrics = Metrics::Restore((*metadata)["metrics"]);
    if (!metrics) {
      return absl::InvalidArgumentError(
          absl::StrCat(last_path(), " has no metrics of its unfinished epoch"));
    }
    state.metrics = *metrics;
    state.epoch_shape = (*metadata)["epoch_shape"];
  }
  state.metadata = *std::move(metadata);
  if (state.best_epoch == 0) return state;
  if (absl::Status status = RestoreBest(session, state); !status.ok()) return status;
  return state;
}

std::string CheckpointFolder::MetricsOf(const RunState& state, int64_t number) {
  for (const EpochMetrics& epoch : state.history) {
    if (epoch.epoch == number) return JsonText(HistoryJson({epoch}));
  }
  return "";
}

absl::Status CheckpointFolder::RestoreBest(Session& session, RunState& state) const {
  const std::string path = Path(kBest);
  absl::StatusOr<std::shared_ptr<const Bytes>> bytes = Bytes::Load(path);
  if (!bytes.ok()) return bytes.status();
  absl::StatusOr<Safetensors> best = ReadSafetensors((*bytes)->view(), *bytes);
  if (!best.ok()) {
    return absl::Status(best.status().code(), absl::StrCat(path, ": ", best.status().message()));
  }
  if (best->metadata["epoch"] != absl::StrCat(state.best_epoch) ||
      best->metadata["metrics"] != MetricsOf(state, state.best_epoch)) {
    // A crash between two files, or a run that failed, left one that is not of this history: the
    // best is chosen anew.
    state.best_epoch = 0;
    return absl::OkStatus();
  }
  // Hours may pass before the session is given these.
  absl::StatusOr<NamedTensors> variables = session.GetVariables();
  if (!variables.ok()) return variables.status();
  for (const auto& [name, value] : *variables) {
    const auto found = best->tensors.find(name);
    if (found == best->tensors.end()) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": has no value for variable '", name, "'"));
    }
    if (found->second.dtype() != value.dtype() || found->second.shape() != value.shape()) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": variable '", name, "': expected ",
                                                     value.TypeString(), ", got ",
                                                     found->second.TypeString()));
    }
    // Not a view of the file, which may change meanwhile.
    state.best[name] = found->second.Clone();
  }
  state.best_is_written_ = true;
  return absl::OkStatus();
}

absl::Status CheckpointFolder::Make() const {
  return exists() ? MakeFolder(folder_) : absl::OkStatus();
}

absl::Status CheckpointFolder::Write(Session& session, RunState& state) {
  if (!exists()) return absl::OkStatus();
  std::map<std::string, std::string> metadata = metadata_;
  metadata["epoch"] = absl::StrCat(state.epochs());
  if (state.epochs() > 0) metadata[kEpochMetrics] = MetricsOf(state, state.epochs());
  if (state.batches > 0) {
    metadata["batches"] = absl::StrCat(state.batches);
    metadata["metrics"] = state.metrics.Save();
    metadata["epoch_shape"] = state.epoch_shape;
  }
  // The history first: it may be ahead of the checkpoint, never behind.
  absl::Status status = Begin();
  if (status.ok()) {
    status = WriteFileAtomically(Path(kHistory), JsonText(HistoryJson(state.history), 1));
  }
  if (status.ok()) status = WriteBest(state);
  if (status.ok()) status = SaveModel();
  if (status.ok()) status = session.SaveCheckpoint(last_path(), metadata);
  return status;
}

absl::Status CheckpointFolder::WriteBest(RunState& state) {
  if (!exists() || state.best.empty() || state.best_is_written_) return absl::OkStatus();
  std::map<std::string, std::string> metadata = metadata_;
  metadata["epoch"] = absl::StrCat(state.best_epoch);
  metadata["metrics"] = MetricsOf(state, state.best_epoch);
  absl::Status status = Begin();
  if (status.ok()) {
    status = WriteFileAtomically(Path(kBest), WriteSafetensors(state.best, metadata));
  }
  state.best_is_written_ = status.ok();
  return status.ok() ? SaveModel() : status;
}

absl::Status CheckpointFolder::WriteBestOfFailure(RunState& state) {
  std::error_code error;
  if (!begun_ && std::filesystem::exists(last_path(), error)) return absl::OkStatus();
  return WriteBest(state);
}

absl::Status CheckpointFolder::Begin() {
  if (begun_) return absl::OkStatus();
  absl::Status status = Make();
  begun_ = status.ok();
  // A file that stays, for whatever reason, is in nobody's way.
  std::error_code error;
  std::filesystem::directory_iterator entry(folder_, error);
  for (; !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    const std::string name = entry->path().filename();
    for (const std::string_view target : {kLast, kBest, kHistory, kModel}) {
      if (std::string_view(name).substr(0, target.size()) != target) continue;
      std::error_code ignored;
      const auto written = std::filesystem::last_write_time(entry->path(), ignored);
      if (!ignored && IsLeftOver(std::string_view(name).substr(target.size()), written)) {
        std::filesystem::remove(entry->path(), ignored);
      }
    }
  }
  return status;
}

absl::Status CheckpointFolder::SaveModel() {
  if (!save_model_) return absl::OkStatus();
  absl::Status status = save_model_();
  if (status.ok()) save_model_ = nullptr;
  return status;
}

}  // namespace weft::cli
