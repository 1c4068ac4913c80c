#include "runtime/cuda/shared_library.h"

#include <dlfcn.h>

#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "runtime/cuda/context.h"

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

// The same; they stay, and so does the library: what it holds of a GPU is its own.
const std::vector<void*>* LoadedFunctions(const SharedLibrary& library, const std::string& file,
                                          std::vector<std::string>* reasons) {
  static std::mutex& mutex = *new std::mutex;
  static auto& loaded = *new std::map<std::string, std::vector<void*>>;
  const std::lock_guard<std::mutex> lock(mutex);
  const auto found = loaded.find(file);
  if (found != loaded.end()) return &found->second;
  std::optional<std::vector<void*>> functions = FunctionsOf(library, file, reasons);
  return functions ? &loaded.emplace(file, *std::move(functions)).first->second : nullptr;
}

}  // namespace

absl::Status BeginWithFunctions(
    const SharedLibrary& library, const std::vector<std::string>& names,
    absl::FunctionRef<absl::Status(const std::vector<void*>& functions)> begin) {
  std::vector<std::string> reasons;
  for (const std::string& file : names) {
    const std::vector<void*>* functions = LoadedFunctions(library, file, &reasons);
    if (functions == nullptr) continue;
    absl::Status begun = begin(*functions);
    if (!absl::IsFailedPrecondition(begun)) return begun;
    reasons.push_back(absl::StrCat(file, " cannot be used (", begun.message(), ")"));
  }
  return absl::FailedPreconditionError(absl::StrCat(
      "cuda: expected ", library.name, " ", library.versions, ", but ",
      absl::StrJoin(reasons, ", and "), "; ", library.advice, ", or do without (--gpu-libraries)"));
}

absl::Status NotBegun(const Context& context, const SharedLibrary& library, size_t version,
                      const char* said, bool for_want_of_memory) {
  const std::string what = absl::StrCat(context.name(), ": ", library.name, " ",
                                        library.version_text(version), " says ", said);
  if (for_want_of_memory) {
    return absl::ResourceExhaustedError(
        absl::StrCat(what, "; free memory of the GPU, or do without (--gpu-libraries)"));
  }
  return absl::FailedPreconditionError(
      absl::StrCat(what, ", the driver is for CUDA ", VersionText(context.driver().version())));
}

}  // namespace weft::cuda
