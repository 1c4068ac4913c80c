#include "runtime/ptx_emulator/launch_state.h"

#include <algorithm>
#include <utility>

namespace weft::ptx {
namespace {

// Enough to see what is wrong; a kernel that goes on from there is broken throughout.
constexpr size_t kMaxFindings = 64;

bool EndsLaunch(FindingKind kind) {
  return kind == FindingKind::kBarrierDivergence || kind == FindingKind::kDeadlock ||
         kind == FindingKind::kStepLimit || kind == FindingKind::kTrap;
}

}  // namespace

void LaunchState::Report(Finding finding) {
  std::lock_guard<std::mutex> lock(mutex);
  if (EndsLaunch(finding.kind)) stop = true;
  for (Finding& known : findings) {
    if (known.kind == finding.kind && known.ptx_line == finding.ptx_line &&
        known.instruction == finding.instruction) {
      ++known.occurrences;
      return;
    }
  }
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
  findings.push_back(std::move(finding));
  if (findings.size() == kMaxFindings) stop = true;
}

}  // namespace weft::ptx
