#include "compiler/aot/link.h"

#include <mutex>
#include <set>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "lld/Common/Driver.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/Object/ELFObjectFile.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"

LLD_HAS_DRIVER(elf)

namespace weft {
namespace {

// A folder of this link's own, gone when it ends.
class TemporaryFolder {
 public:
  static absl::StatusOr<TemporaryFolder> Make() {
    llvm::SmallString<128> path;
    if (std::error_code error = llvm::sys::fs::createUniqueDirectory("weft-link", path)) {
      return absl::UnavailableError(absl::StrCat("cannot make a folder for temporary files at ",
                                                 path.str().str(), ": ", error.message(),
                                                 "; set TMPDIR to one that can be written"));
    }
    return TemporaryFolder(path.str().str());
  }
  TemporaryFolder(TemporaryFolder&& other) noexcept : path_(std::move(other.path_)) {
    other.path_.clear();
  }
  ~TemporaryFolder() {
    if (!path_.empty()) llvm::sys::fs::remove_directories(path_);
  }
  std::string File(std::string_view name) const {
    return absl::StrCat(path_, "/", std::string(name));
  }

 private:
  explicit TemporaryFolder(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

absl::Status WriteFile(const std::string& path, std::string_view bytes) {
  std::error_code error;
  llvm::raw_fd_ostream stream(path, error);
  if (!error) {
    stream << llvm::StringRef(bytes.data(), bytes.size());
    stream.close();
    error = stream.error();
    stream.clear_error();
  }
  if (!error) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("cannot write the temporary file ", path, ": ",
                                             error.message(),
                                             "; set TMPDIR to a folder with room"));
}

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  auto buffer = llvm::MemoryBuffer::getFile(path);
  if (buffer) return (*buffer)->getBuffer().str();
  return absl::InternalError(
      absl::StrCat("the linker's output is missing: ", buffer.getError().message()));
}

// lld keeps state of its own in globals.
std::mutex& LinkerMutex() {
  static auto* const mutex = new std::mutex;
  return *mutex;
}

absl::Status RunLinker(const std::vector<std::string>& arguments) {
  std::vector<const char*> argv = {"ld.lld", "-m", "elf_x86_64"};
  for (const std::string& argument : arguments) argv.push_back(argument.c_str());
  std::string messages;
  llvm::raw_string_ostream stream(messages);
  const lld::Result result = lld::lldMain(argv, stream, stream, {{lld::Gnu, &lld::elf::link}});
  if (result.retCode == 0) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("linking failed: ", messages));
}

absl::StatusOr<std::set<std::string>> UndefinedSymbols(std::string_view object) {
  auto file = llvm::object::ObjectFile::createELFObjectFile(
      llvm::MemoryBufferRef(llvm::StringRef(object.data(), object.size()), "object"));
  if (!file) return absl::InternalError(llvm::toString(file.takeError()));
  std::set<std::string> names;
  for (const llvm::object::SymbolRef& symbol : (*file)->symbols()) {
    auto flags = symbol.getFlags();
    auto name = symbol.getName();
    if (!flags) return absl::InternalError(llvm::toString(flags.takeError()));
    if (!name) return absl::InternalError(llvm::toString(name.takeError()));
    if ((*flags & llvm::object::SymbolRef::SF_Undefined) && !name->empty()) {
      names.insert(name->str());
    }
  }
  return names;
}

// Writes to `path` a stand-in for a system library that has these symbols and no content.
absl::Status MakeStandIn(const std::string& path, const std::string& empty_object,
                         const std::string& soname, const std::vector<std::string>& symbols) {
  std::vector<std::string> arguments = {"-shared", "--soname=" + soname, "-o", path, empty_object};
  for (const std::string& symbol : symbols) arguments.push_back("--defsym=" + symbol + "=0");
  return RunLinker(arguments);
}

absl::StatusOr<std::string> Link(std::string_view object, std::vector<std::string> arguments) {
  auto undefined = UndefinedSymbols(object);
  if (!undefined.ok()) return undefined.status();
  std::vector<std::string> c_symbols, thread_symbols;
  for (const std::string& symbol : *undefined) {
    (absl::StartsWith(symbol, "pthread_") ? thread_symbols : c_symbols).push_back(symbol);
  }
  auto folder = TemporaryFolder::Make();
  if (!folder.ok()) return folder.status();
  absl::Status written = WriteFile(folder->File("model.o"), object);
  // lld takes the kind of output from an object file, whatever is in it.
  if (written.ok()) {
    written = WriteFile(folder->File("empty.ld"), "");
  }
  if (!written.ok()) return written;

  std::lock_guard<std::mutex> lock(LinkerMutex());
  arguments.insert(arguments.end(), {"--gc-sections", "--hash-style=gnu", "-z", "now", "-z",
                                     "relro", "-z", "noexecstack", "--build-id=none", "-o",
                                     folder->File("output"), folder->File("model.o")});
  for (const auto& [soname, symbols] :
       {std::pair{std::string("libc.so.6"), &c_symbols},
        std::pair{std::string("libpthread.so.0"), &thread_symbols}}) {
    if (symbols->empty()) continue;
    absl::Status made =
        MakeStandIn(folder->File(soname), folder->File("empty.ld"), soname, *symbols);
    if (!made.ok()) return made;
    arguments.push_back(folder->File(soname));
  }
  absl::Status linked = RunLinker(arguments);
  if (!linked.ok()) return linked;
  return ReadFile(folder->File("output"));
}

}  // namespace

absl::StatusOr<std::string> LinkShared(std::string_view object, std::string_view soname) {
  return Link(object, {"-shared", absl::StrCat("--soname=", std::string(soname))});
}

absl::StatusOr<std::string> LinkProgram(std::string_view object) {
  return Link(object, {"-pie", "--dynamic-linker=/lib64/ld-linux-x86-64.so.2"});
}

}  // namespace weft
