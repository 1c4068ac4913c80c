#include "runtime/ptx_emulator/launch_state.h"

#include <algorithm>
#include <utility>

namespace weft::ptx {

bool EndsLaunch(FindingKind kind) {
  return kind == FindingKind::kBarrierDivergence || kind == FindingKind::kDeadlock ||
         kind == FindingKind::kStepLimit || kind == FindingKind::kTrap;
}

void AddFinding(std::vector<Finding>& findings, Finding finding) {
  for (Finding& known : findings) {
    if (known.kind == finding.kind && known.ptx_line == finding.ptx_line &&
        known.instruction == finding.instruction) {
      known.occurrences += finding.occurrences;
      return;
    }
  }
  if (findings.size() < kMaxFindings) findings.push_back(std::move(finding));
}

void LaunchState::EndAt(uint64_t block) {
  uint64_t known = end;
  while (block < known && !end.compare_exchange_weak(known, block)) {
  }
}

void LaunchState::Fail(absl::Status status) {
  EndAt(0);
  std::lock_guard<std::mutex> lock(mutex_);
  failure.Update(std::move(status));
}

void LaunchState::Set(int worker, uint64_t block) {
  current_[worker] = block;
  moved_on_.notify_all();
}

void LaunchState::AskInterrupt() {
  if (interrupt == nullptr || end.load(std::memory_order_relaxed) == 0) return;
  if (absl::Status status = interrupt(); !status.ok()) Fail(std::move(status));
}

std::optional<uint64_t> LaunchState::NextBlock(int worker) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (next_ >= std::min(grid.Count(), end.load())) {
    Set(worker, kNoBlock);
    return std::nullopt;
  }
  Set(worker, next_);
  return next_++;
}

void LaunchState::Leave(int worker) {
  std::lock_guard<std::mutex> lock(mutex_);
  Set(worker, kNoBlock);
}

void LaunchState::AddFindings(int worker, std::vector<Finding> found) {
  if (found.empty()) return;
  std::unique_lock<std::mutex> lock(mutex_);
  const uint64_t block = current_[worker];
  moved_on_.wait(lock,
                 [&] { return *std::min_element(current_.begin(), current_.end()) == block; });
  if (block >= end) return;
  for (Finding& finding : found) {
    const auto after =
        std::upper_bound(notes.begin(), notes.end(), finding.ptx_line,
                         [](int line, const SourceNote& note) { return line < note.first_line; });
    if (after != notes.begin()) {
      const SourceNote& note = *std::prev(after);
      finding.op = note.op;
      if (!note.file.empty()) {
        finding.file = note.file;
        finding.source_line = note.line;
      }
    }
    AddFinding(findings, std::move(finding));
  }
  if (findings.size() == kMaxFindings) EndAt(block + 1);
}

}  // namespace weft::ptx
