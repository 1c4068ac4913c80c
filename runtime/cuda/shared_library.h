// Libraries that are found when a program runs.
#ifndef WEFT_RUNTIME_CUDA_SHARED_LIBRARY_H_
#define WEFT_RUNTIME_CUDA_SHARED_LIBRARY_H_

#include <cstddef>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace weft::cuda {

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

// The addresses of its functions, in their order, in the first of these that dlopen loads, which is
// kept until the process ends. FailedPrecondition where there is none, or it is not what it has to
// be: what was expected and found. Thread-safe.
absl::StatusOr<std::vector<void*>> FindFunctions(const SharedLibrary& library,
                                                 const std::vector<std::string>& names);

// The same as a struct of pointers to them.
template <typename Api>
absl::StatusOr<Api> OpenLibrary(const SharedLibrary& library,
                                const std::vector<std::string>& names) {
  const absl::StatusOr<std::vector<void*>> addresses = FindFunctions(library, names);
  if (!addresses.ok()) return addresses.status();
  Api api;
  static_assert(sizeof api % sizeof(void*) == 0);
  memcpy(&api, addresses->data(), sizeof api);
  return api;
}

}  // namespace weft::cuda

#endif  // WEFT_RUNTIME_CUDA_SHARED_LIBRARY_H_
