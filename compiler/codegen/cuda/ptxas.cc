#include "compiler/codegen/cuda/ptxas.h"

#include <cstdlib>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "compiler/nameless_file.h"
#include "llvm/Support/Program.h"

namespace weft {
namespace {

// Of what the program prints, in a message.
constexpr size_t kMaxShownBytes = 1000;

struct Ended {
  int exit_code = 0;
  std::string output, words;
};

absl::StatusOr<Ended> Run(const std::string& ptxas, std::string_view ptx, const Target& target) {
  absl::StatusOr<NamelessFile> input = NamelessFile::Of(ptx);
  if (!input.ok()) return input.status();
  absl::StatusOr<NamelessFile> output = NamelessFile::Of(""), words = NamelessFile::Of("");
  if (!output.ok()) return output.status();
  if (!words.ok()) return words.status();
  const std::string arch = "-arch=" + target.cpu, from = input->path(), to = output->path(),
                    log = words->path();
  const llvm::StringRef arguments[] = {ptxas, arch, "-o", to, from};
  const std::optional<llvm::StringRef> redirects[] = {llvm::StringRef(), log, log};
  std::string why;
  Ended ended;
  ended.exit_code = llvm::sys::ExecuteAndWait(ptxas, arguments, /*Env=*/std::nullopt, redirects,
                                              /*SecondsToWait=*/0, /*MemoryLimit=*/0, &why);
  if (ended.exit_code < 0) {
    return absl::FailedPreconditionError(
        absl::StrCat(ptxas, ": cannot be run: ", why, "; expected CUDA's ptxas"));
  }
  for (auto [file, text] : {std::pair(&*output, &ended.output), std::pair(&*words, &ended.words)}) {
    absl::StatusOr<std::string> bytes = file->Read();
    if (!bytes.ok()) return bytes.status();
    *text = *std::move(bytes);
  }
  // It names files by paths that nobody knows.
  ended.words = absl::StrReplaceAll(ended.words, {{from, "the PTX"}, {"\n", "; "}});
  ended.words = std::string(absl::StripSuffix(ended.words, "; ").substr(0, kMaxShownBytes));
  return ended;
}

}  // namespace

std::string FindPtxas() {
  for (const char* variable : {"CUDA_HOME", "CUDA_PATH"}) {
    const char* folder = std::getenv(variable);
    if (folder == nullptr || *folder == '\0') continue;
    const std::string there = absl::StrCat(folder, "/bin");
    if (auto path = llvm::sys::findProgramByName("ptxas", {there})) return *path;
  }
  if (auto path = llvm::sys::findProgramByName("ptxas")) return *path;
  if (auto path = llvm::sys::findProgramByName("ptxas", {"/usr/local/cuda/bin"})) return *path;
  return "";
}

absl::StatusOr<std::optional<std::string>> AssemblePtx(const std::string& ptxas,
                                                       std::string_view ptx, const Target& target) {
  absl::StatusOr<Ended> ended = Run(ptxas, ptx, target);
  if (!ended.ok()) return ended.status();
  if (ended->exit_code == 0 && absl::StartsWith(ended->output,
                                                "\x7f"
                                                "ELF")) {
    return std::optional(std::move(ended->output));
  }
  // Whether it is the code or the generation: what it makes of none. Its language's version is the
  // least that has the generation.
  const char* const version = target.generation_only ? "8.0"
                              : target.sm >= 90      ? "7.8"
                              : target.sm >= 80      ? "7.0"
                                                     : "6.0";
  absl::StatusOr<Ended> of_none = Run(
      ptxas, absl::StrCat(".version ", version, "\n.target ", target.cpu, "\n.address_size 64\n"),
      target);
  if (!of_none.ok()) return of_none.status();
  if (of_none->exit_code != 0 && absl::StrContains(of_none->words, "gpu-name")) {
    return std::optional<std::string>();
  }
  if (of_none->exit_code != 0 || !absl::StartsWith(of_none->output,
                                                   "\x7f"
                                                   "ELF")) {
    return absl::FailedPreconditionError(
        absl::StrCat(ptxas, ": is not CUDA's ptxas, or a broken one: ",
                     of_none->words.empty() ? "it made no ELF image" : of_none->words));
  }
  return absl::InternalError(absl::StrCat(
      ptxas, " refuses the PTX for ", target.name, ": ",
      ended->words.empty() ? absl::StrCat("exit code ", ended->exit_code) : ended->words));
}

}  // namespace weft
