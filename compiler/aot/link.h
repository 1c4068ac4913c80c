// From an object to a file that the system's loader takes, by lld in this process: the machine
// needs no linker, no compiler and no files of a C library's development package.
#ifndef WEFT_COMPILER_AOT_LINK_H_
#define WEFT_COMPILER_AOT_LINK_H_

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace weft {

// What the object leaves undefined is looked for in libc.so.6, or in libpthread.so.0 for names that
// begin with "pthread_", when the file is loaded: without a version of the symbol, so that the file
// does not depend on the C library of the machine that made it. Both files load on glibc for
// x86-64. Thread-safe, one link at a time. Temporary files (in TMPDIR, or in memory) have no names,
// so that nothing is left where the process is ended. Error: Internal, with what the linker says;
// Unavailable where there is no room for those files.

// A shared library that exports the object's default-visible symbols. `soname` is the name by which
// programs linked with it will look for it.
absl::StatusOr<std::string> LinkShared(std::string_view object, std::string_view soname);
// A program, position-independent, that starts at the object's symbol _start.
absl::StatusOr<std::string> LinkProgram(std::string_view object);

}  // namespace weft

#endif  // WEFT_COMPILER_AOT_LINK_H_
