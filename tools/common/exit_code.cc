#include "tools/common/exit_code.h"

#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>
#include <new>
#include <string>
#include <vector>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "proto/printable.h"

namespace weft::cli {
namespace {

constexpr char kExitCode[] = "weft.exit_code";

absl::Status Marked(absl::Status status, int code) {
  // The first mark stays: whoever saw the error first knows best.
  if (!status.ok() && !status.GetPayload(kExitCode)) {
    const std::string text = absl::StrCat(code);
    status.SetPayload(kExitCode, absl::Cord(text));
  }
  return status;
}

}  // namespace

absl::Status AsUsage(const absl::Status& status) { return Marked(status, kUsage); }
absl::Status AsBadInput(const absl::Status& status) { return Marked(status, kBadInput); }
absl::Status OfDevice(const absl::Status& status) {
  return absl::IsInvalidArgument(status) ? AsUsage(status) : status;
}

absl::Status OfFile(const absl::Status& status) {
  const bool machine =
      absl::IsResourceExhausted(status) || absl::IsInternal(status) || absl::IsUnavailable(status);
  return machine ? status : AsBadInput(status);
}

absl::Status UsageError(const std::string& message) {
  return AsUsage(absl::InvalidArgumentError(message));
}

absl::Status InterruptedError(const std::string& message, int signal) {
  return Marked(absl::CancelledError(message), kInterrupted + signal);
}

int ExitCodeOf(const absl::Status& status) {
  if (status.ok()) return kOk;
  const auto payload = status.GetPayload(kExitCode);
  int code = kRunFailed;
  if (payload && !absl::SimpleAtoi(std::string(*payload), &code)) code = kRunFailed;
  return code;
}

absl::Status Reworded(const absl::Status& status, const std::string& message) {
  absl::Status reworded(status.code(), message);
  status.ForEachPayload(
      [&](absl::string_view url, const absl::Cord& payload) { reworded.SetPayload(url, payload); });
  return reworded;
}

void PrintError(const absl::Status& status, const char* program) {
  constexpr size_t kMaxLength = 1500;  // of a line
  // A message from below may hold more lines (a compiler's notes); the first two say what is wrong.
  const std::vector<std::string> lines = absl::StrSplit(status.message(), '\n');
  std::string message = Printable(lines[0], kMaxLength);
  if (lines.size() > 1 && !lines[1].empty())
    absl::StrAppend(&message, "\n", Printable(lines[1], kMaxLength));
  std::fprintf(stderr, "%s: %s\n", program, message.c_str());
}

int Finish(const std::function<absl::Status()>& run, const char* program) {
  // A file that passes the limit on sizes is an error of the write, as a full disk is.
  std::signal(SIGXFSZ, SIG_IGN);
  absl::Status status;
  try {
    status = run();
  } catch (const std::bad_alloc&) {
    status = absl::ResourceExhaustedError("there is not enough memory");
  } catch (const std::exception& error) {
    // Nothing of ours throws; what the standard library or a third one does is no reason to abort.
    status = absl::InternalError(absl::StrCat("failed unexpectedly: ", error.what()));
  }
  const bool flushed = std::fflush(stdout) == 0;
  if ((!flushed || std::ferror(stdout) != 0) && status.ok()) {
    status = absl::ResourceExhaustedError(absl::StrCat(
        "cannot write to standard output", flushed ? "" : ": ", flushed ? "" : strerror(errno)));
  }
  if (!status.ok()) PrintError(status, program);
  // Whoever gave up waiting does not wait for what threads are still at either.
  if (absl::IsDeadlineExceeded(status)) _exit(ExitCodeOf(status));
  return ExitCodeOf(status);
}

}  // namespace weft::cli
