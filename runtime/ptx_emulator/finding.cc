#include "runtime/ptx_emulator/finding.h"

#include "absl/strings/str_format.h"
#include "runtime/ptx_emulator/text.h"

namespace weft::ptx {
namespace {

std::string Show(const Dim3& position) {
  return absl::StrFormat("(%u,%u,%u)", position.x, position.y, position.z);
}

}  // namespace

std::string_view FindingKindName(FindingKind kind) {
  switch (kind) {
    case FindingKind::kOutOfBounds:
      return "out of bounds";
    case FindingKind::kUseAfterFree:
      return "use after free";
    case FindingKind::kReadOnly:
      return "write to read-only memory";
    case FindingKind::kMisaligned:
      return "misaligned access";
    case FindingKind::kUninitializedMemory:
      return "read of uninitialised memory";
    case FindingKind::kUndefinedValue:
      return "use of an undefined value";
    case FindingKind::kRace:
      return "race";
    case FindingKind::kInFlight:
      return "access during an asynchronous operation";
    case FindingKind::kBarrierDivergence:
      return "divergence at a barrier";
    case FindingKind::kDeadlock:
      return "deadlock";
    case FindingKind::kStepLimit:
      return "step limit";
    case FindingKind::kTrap:
      return "trap";
    case FindingKind::kMisuse:
      return "misuse";
  }
  return "unknown";
}

std::string Finding::ToString() const {
  std::string text =
      Cat(FindingKindName(kind), " in kernel ", kernel, ", PTX line ", ptx_line, " (", instruction,
          "), block ", Show(block), ", thread ", Show(thread), ": ", message);
  if (!op.empty() || !file.empty()) {
    text += Cat("; from ", op);
    if (!file.empty()) text += Cat(op.empty() ? "" : " ", "(", file, ":", source_line, ")");
  }
  if (occurrences > 1) text += Cat(" [", occurrences, " times]");
  return text;
}

}  // namespace weft::ptx
