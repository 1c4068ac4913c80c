// Libraries that are found when a program runs.
#ifndef WEFT_RUNTIME_CUDA_SHARED_LIBRARY_H_
#define WEFT_RUNTIME_CUDA_SHARED_LIBRARY_H_

#include <cstddef>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"

namespace weft::cuda {

class Context;

// What a library has to be.
struct SharedLibrary {
  const char* name;      // "cuBLASLt"
  const char* versions;  // that suit, in words: "12 or 13"
  // The same, as the library counts them.
  size_t first_version, end_of_versions;
  std::string (*version_text)(size_t version);
  // Tells the version: size_t().
  const char* get_version;
  const char* advice;  // what to do where it is not that
  std::span<const char* const> functions;
  // What a file of it loads later, and ends the process where it is not there: file names. Looked
  // for beside it, and then as dlopen does. Null: nothing.
  std::vector<std::string> (*parts)(const std::string& file) = nullptr;
};

// Begins to use the first of these that dlopen loads, which is kept until the process ends, that is
// what it has to be, and that `begin` takes, given the addresses of its functions in their order.
// FailedPrecondition where there is none: what was expected, and what each is instead, or why
// `begin` does not take it. Another error of `begin` is returned as it is. Thread-safe.
absl::Status BeginWithFunctions(
    const SharedLibrary& library, const std::vector<std::string>& names,
    absl::FunctionRef<absl::Status(const std::vector<void*>& functions)> begin);

// The same with a struct of pointers to them: absl::Status(const Api&).
template <typename Api, typename Begin>
absl::Status BeginWithLibrary(const SharedLibrary& library, const std::vector<std::string>& names,
                              const Begin& begin) {
  return BeginWithFunctions(library, names, [&](const std::vector<void*>& functions) {
    Api api;
    static_assert(sizeof api % sizeof(void*) == 0);
    memcpy(&api, functions.data(), sizeof api);
    return begin(api);
  });
}

// Why `begin` does not take a library that refused to be begun with in a context:
// FailedPrecondition, or ResourceExhausted where that was for want of memory.
absl::Status NotBegun(const Context& context, const SharedLibrary& library, size_t version,
                      const char* said, bool for_want_of_memory);

}  // namespace weft::cuda

#endif  // WEFT_RUNTIME_CUDA_SHARED_LIBRARY_H_
