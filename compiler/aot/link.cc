#include "compiler/aot/link.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <mutex>
#include <new>
#include <set>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "compiler/nameless_file.h"
#include "lld/Common/Driver.h"
#include "llvm/Object/ELFObjectFile.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/raw_ostream.h"

LLD_HAS_DRIVER(elf)

namespace weft {
namespace {

// What tables and headers add to an object, generously.
constexpr size_t kMoreThanTheObject = size_t{1} << 20;

// lld keeps state of its own in globals.
std::mutex& LinkerMutex() {
  static auto* const mutex = new std::mutex;
  return *mutex;
}

// What lld makes of its arguments, of about `size` bytes. It would write a file under another name
// and rename that, but what is no file it writes to: a pipe.
absl::StatusOr<std::string> RunLinker(std::vector<std::string> arguments, size_t size) {
  std::string output, chunk(size_t{1} << 20, '\0');
  output.reserve(size);
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) {
    return absl::UnavailableError(absl::StrCat("cannot make a pipe: ", strerror(errno)));
  }
  // Whatever happens, it reads to the end: lld waits for a pipe that is full.
  bool out_of_memory = false;
  std::thread reader;
  try {
    reader = std::thread([&, from = ends[0]] {
      while (true) {
        const ssize_t got = read(from, chunk.data(), chunk.size());
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;
        try {
          if (!out_of_memory) output.append(chunk.data(), static_cast<size_t>(got));
        } catch (const std::bad_alloc&) {
          out_of_memory = true;
        }
      }
    });
  } catch (const std::system_error& error) {
    close(ends[0]);
    close(ends[1]);
    return absl::UnavailableError(absl::StrCat("cannot start a thread for linking: ", error.what(),
                                               "; allow this process more threads"));
  }
  arguments.insert(arguments.end(), {"-o", NamelessFile::PathOf(ends[1])});
  std::vector<const char*> argv = {"ld.lld", "-m", "elf_x86_64"};
  for (const std::string& argument : arguments) argv.push_back(argument.c_str());
  std::string messages;
  llvm::raw_string_ostream stream(messages);
  const lld::Result result = lld::lldMain(argv, stream, stream, {{lld::Gnu, &lld::elf::link}});
  close(ends[1]);
  reader.join();
  close(ends[0]);
  if (out_of_memory) return absl::ResourceExhaustedError("no memory for what is linked");
  if (result.retCode == 0) return output;
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

// A stand-in for a system library that has these symbols and no content.
absl::StatusOr<NamelessFile> MakeStandIn(const NamelessFile& empty_object,
                                         const std::string& soname,
                                         const std::vector<std::string>& symbols) {
  std::vector<std::string> arguments = {"-shared", "--soname=" + soname, empty_object.path()};
  for (const std::string& symbol : symbols) arguments.push_back("--defsym=" + symbol + "=0");
  absl::StatusOr<std::string> library = RunLinker(std::move(arguments), 0);
  if (!library.ok()) return library.status();
  return NamelessFile::Of(*library);
}

absl::StatusOr<std::string> Link(std::string_view object, std::vector<std::string> arguments) {
  auto undefined = UndefinedSymbols(object);
  if (!undefined.ok()) return undefined.status();
  std::vector<std::string> c_symbols, thread_symbols;
  for (const std::string& symbol : *undefined) {
    (absl::StartsWith(symbol, "pthread_") ? thread_symbols : c_symbols).push_back(symbol);
  }
  absl::StatusOr<NamelessFile> model = NamelessFile::Of(object);
  if (!model.ok()) return model.status();
  // lld takes the kind of output from an object file, whatever is in it.
  absl::StatusOr<NamelessFile> empty = NamelessFile::Of("");
  if (!empty.ok()) return empty.status();

  std::lock_guard<std::mutex> lock(LinkerMutex());
  arguments.insert(arguments.end(),
                   {"--gc-sections", "--hash-style=gnu", "-z", "now", "-z", "relro", "-z",
                    "noexecstack", "--build-id=none", model->path()});
  std::vector<NamelessFile> libraries;
  for (const auto& [soname, symbols] :
       {std::pair{std::string("libc.so.6"), &c_symbols},
        std::pair{std::string("libpthread.so.0"), &thread_symbols}}) {
    if (symbols->empty()) continue;
    absl::StatusOr<NamelessFile> library = MakeStandIn(*empty, soname, *symbols);
    if (!library.ok()) return library.status();
    arguments.push_back(library->path());
    libraries.push_back(*std::move(library));
  }
  return RunLinker(std::move(arguments), object.size() + kMoreThanTheObject);
}

}  // namespace

absl::StatusOr<std::string> LinkShared(std::string_view object, std::string_view soname) {
  return Link(object, {"-shared", absl::StrCat("--soname=", std::string(soname))});
}

absl::StatusOr<std::string> LinkProgram(std::string_view object) {
  return Link(object, {"-pie", "--dynamic-linker=/lib64/ld-linux-x86-64.so.2"});
}

}  // namespace weft
