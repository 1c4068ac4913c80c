// Which processors a run of a test compiles for.
#ifndef WEFT_TESTS_CONFORMANCE_TARGETS_H_
#define WEFT_TESTS_CONFORMANCE_TARGETS_H_

#include <cstdlib>

#include "absl/strings/str_split.h"
#include "compiler/api.h"

namespace weft {

// For the targets that the environment's WEFT_TEST_TARGETS names, separated by commas; where there
// is none, for this machine's processor.
inline CompileOptions OptionsOfTest() {
  CompileOptions options;
  if (const char* targets = std::getenv("WEFT_TEST_TARGETS"); targets != nullptr) {
    options.targets = absl::StrSplit(targets, ',');
  }
  return options;
}

}  // namespace weft

#endif  // WEFT_TESTS_CONFORMANCE_TARGETS_H_
