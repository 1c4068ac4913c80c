#include "runtime/cuda/shared_library.h"

#include <dlfcn.h>

#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace weft::cuda {
namespace {

// That the library lies in which has the function, with a / at its end; empty where dladdr knows
// none.
std::string FolderOf(void* function) {
  Dl_info info;
  if (dladdr(function, &info) == 0 || info.dli_fname == nullptr) return "";
  const std::string path = info.dli_fname;
  return path.substr(0, path.rfind('/') + 1);
}

// The functions of a library that is there; nullopt, and one more reason, where it is not to be
// used.
std::optional<std::vector<void*>> FunctionsOf(const SharedLibrary& library, const std::string& file,
                                              std::vector<std::string>* reasons) {
  void* handle = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    const char* why = dlerror();
    reasons->push_back(absl::StrCat(file, " cannot be loaded",
                                    why == nullptr ? "" : absl::StrCat(" (", why, ")")));
    return std::nullopt;
  }
  void* const any = dlsym(handle, library.functions.front());
  if (library.parts != nullptr && any != nullptr) {
    const std::string folder = FolderOf(any);
    for (const std::string& part : library.parts(file)) {
      if (dlopen((folder + part).c_str(), RTLD_LAZY | RTLD_LOCAL) != nullptr) continue;
      if (dlopen(part.c_str(), RTLD_LAZY | RTLD_LOCAL) != nullptr) continue;
      const char* why = dlerror();
      reasons->push_back(absl::StrCat("of ", file, " the part ", part, " cannot be loaded",
                                      why == nullptr ? "" : absl::StrCat(" (", why, ")")));
      return std::nullopt;
    }
  }
  // The version comes first: it says why something else is missing.
  if (void* get_version = dlsym(handle, library.get_version); get_version != nullptr) {
    const size_t version = reinterpret_cast<size_t (*)()>(get_version)();
    if (version < library.first_version || version >= library.end_of_versions) {
      reasons->push_back(absl::StrCat(file, " is of version ", library.version_text(version)));
      return std::nullopt;
    }
  }
  std::vector<void*> addresses;
  for (const char* function : library.functions) {
    addresses.push_back(dlsym(handle, function));
    if (addresses.back() == nullptr) {
      reasons->push_back(absl::StrCat(file, " has no function ", function));
      return std::nullopt;
    }
  }
  return addresses;
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
    auto functions = FunctionsOf(library, file, &reasons);
    if (functions) return loaded[file] = *std::move(functions);
  }
  return absl::FailedPreconditionError(absl::StrCat(
      "cuda: expected ", library.name, " ", library.versions, ", but ",
      absl::StrJoin(reasons, ", and "), "; ", library.advice, ", or do without (--gpu-libraries)"));
}

}  // namespace weft::cuda
