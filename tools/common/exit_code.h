// How the command line programs end.
#ifndef WEFT_TOOLS_COMMON_EXIT_CODE_H_
#define WEFT_TOOLS_COMMON_EXIT_CODE_H_

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "runtime/core/executor.h"

namespace weft::cli {

// What the program returns to the shell; kInterrupted plus a signal's number where one ended it.
enum ExitCode { kOk = 0, kRunFailed = 1, kUsage = 2, kBadInput = 3, kInterrupted = 128 };

// Marks an error so that it ends the program with that code; what a status says otherwise does not
// matter. An error that nobody marked is kRunFailed.
absl::Status AsUsage(const absl::Status& status);
absl::Status AsBadInput(const absl::Status& status);
absl::Status UsageError(const std::string& message);
// What making a device of --device gave: a name that is none is wrong usage, a GPU that cannot be
// used is not.
absl::Status OfDevice(const absl::Status& status);
// What opening a file with a device gave: what the machine refuses (memory, the GPU's driver) is no
// fault of the file, everything else is.
absl::Status OfFile(const absl::Status& status);
absl::Status InterruptedError(const std::string& message, int signal);
int ExitCodeOf(const absl::Status& status);
// The error in other words; how it ends the program stays.
absl::Status Reworded(const absl::Status& status, const std::string& message);

// "weft: what went wrong": one line to standard error, two at most, and not too long ones. What
// names from a file may hold is escaped where a terminal would obey it.
void PrintError(const absl::Status& status, const char* program = "weft");

// Runs a command to its end: prints its error, and gives what main returns. Running out of memory,
// an exception, and a standard output that cannot be written to are errors as well.
int Finish(const std::function<absl::Status()>& run, const char* program = "weft");

// What --threads takes at most.
inline constexpr int kMaxThreads = WEFT_MAX_THREADS;

}  // namespace weft::cli

#endif  // WEFT_TOOLS_COMMON_EXIT_CODE_H_
