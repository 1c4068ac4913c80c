#include "runtime/cuda/shared_library.h"

#include <dlfcn.h>

#include <map>
#include <mutex>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace weft::cuda {
namespace {

absl::Status Refused(const SharedLibrary& library, const std::string& file,
                     const std::string& what) {
  return absl::FailedPreconditionError(
      absl::StrCat("cuda: expected ", library.name, " ", library.versions, ", but ", file, " ",
                   what, "; ", library.advice, ", or do without (--gpu-libraries)"));
}

}  // namespace

absl::StatusOr<std::vector<void*>> FindFunctions(const SharedLibrary& library,
                                                 const std::vector<std::string>& names) {
  // Those that were loaded stay: what they hold of a GPU is theirs.
  static std::mutex& mutex = *new std::mutex;
  static auto& loaded = *new std::map<std::string, std::vector<void*>>;
  const std::lock_guard<std::mutex> lock(mutex);
  std::vector<std::string> reasons;
  for (const std::string& file : names) {
    if (const auto found = loaded.find(file); found != loaded.end()) return found->second;
    void* handle = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) {
      const char* why = dlerror();
      reasons.push_back(why == nullptr ? file : why);
      continue;
    }
    // The version comes first: it says why something else is missing.
    if (void* get_version = dlsym(handle, library.get_version); get_version != nullptr) {
      const size_t version = reinterpret_cast<size_t (*)()>(get_version)();
      if (version < library.first_version || version >= library.end_of_versions) {
        return Refused(library, file,
                       absl::StrCat("is of version ", library.version_text(version)));
      }
    }
    std::vector<void*> addresses;
    for (const char* function : library.functions) {
      addresses.push_back(dlsym(handle, function));
      if (addresses.back() == nullptr) {
        return Refused(library, file, absl::StrCat("has no function ", function));
      }
    }
    return loaded[file] = std::move(addresses);
  }
  return Refused(library, absl::StrJoin(names, ", "),
                 absl::StrCat("cannot be loaded (", absl::StrJoin(reasons, "; "), ")"));
}

}  // namespace weft::cuda
