#include "tools/common/exit_code.h"

#include <cstdio>
#include <string>

#include "absl/strings/cord.h"

namespace weft::cli {
namespace {

constexpr char kExitCode[] = "weft.exit_code";

absl::Status Marked(absl::Status status, const char* code) {
  // The first mark stays: whoever saw the error first knows best.
  if (!status.ok() && !status.GetPayload(kExitCode)) {
    status.SetPayload(kExitCode, absl::Cord(code));
  }
  return status;
}

}  // namespace

absl::Status AsUsage(const absl::Status& status) { return Marked(status, "2"); }
absl::Status AsBadInput(const absl::Status& status) { return Marked(status, "3"); }
absl::Status UsageError(const std::string& message) {
  return AsUsage(absl::InvalidArgumentError(message));
}

ExitCode ExitCodeOf(const absl::Status& status) {
  if (status.ok()) return kOk;
  const auto payload = status.GetPayload(kExitCode);
  if (!payload) return kRunFailed;
  return *payload == "2" ? kUsage : kBadInput;
}

void PrintError(const absl::Status& status, const char* program) {
  std::string message(status.message());
  // A message from below may hold more lines (a compiler's notes); the first two say what is wrong.
  size_t end = message.find('\n');
  if (end != std::string::npos) end = message.find('\n', end + 1);
  if (end != std::string::npos) message.resize(end);
  std::fprintf(stderr, "%s: %s\n", program, message.c_str());
}

}  // namespace weft::cli
