#include "compiler/pass_runner.h"

#include <algorithm>
#include <chrono>

#include "absl/strings/str_cat.h"
#include "compiler/api.h"
#include "compiler/passes/diagnostics.h"
#include "llvm/Support/raw_ostream.h"
#include "mlir/IR/OperationSupport.h"
#include "mlir/IR/Verifier.h"
#include "proto/suggest.h"

namespace weft {
namespace {

std::string Print(mlir::Operation* root) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  mlir::OpPrintingFlags flags;
  flags.elideLargeElementsAttrs(16).enableDebugInfo(true, /*prettyForm=*/true).useLocalScope();
  root->print(stream, flags);
  return text;
}

// MLIR's verifier reports through diagnostics; the first becomes the status.
absl::Status Verify(std::string_view pass, mlir::Operation* root) {
  const FirstError error(root->getContext());
  if (llvm::succeeded(mlir::verify(root))) return absl::OkStatus();
  return absl::InternalError(
      absl::StrCat("invalid IR after pass '", std::string(pass), "': ", error.text()));
}

}  // namespace

bool PassRunner::Enabled(std::string_view name) const {
  const std::vector<std::string>& disabled = options_.disabled_passes;
  return std::find(disabled.begin(), disabled.end(), name) == disabled.end();
}

void PassRunner::Optional(std::string_view name, mlir::Operation* root, const Pass& pass) {
  if (Enabled(name)) Required(name, root, pass);
}

void PassRunner::Required(std::string_view name, mlir::Operation* root, const Pass& pass) {
  if (!status_.ok()) return;
  const auto start = std::chrono::steady_clock::now();
  const FirstError error(root->getContext());
  absl::StatusOr<bool> changed = pass();
  // Of an op that could not be made.
  if (changed.ok() && !error.text().empty()) changed = absl::InternalError(error.text());
  if (!changed.ok()) {
    // Faults of the graph or the options already say where; ours need the pass.
    status_ = absl::IsInternal(changed.status())
                  ? absl::InternalError(absl::StrCat("pass '", std::string(name),
                                                     "' failed: ", changed.status().message()))
                  : changed.status();
    return;
  }
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  if (options_.timing) options_.timing(absl::StrCat(prefix_, std::string(name)), seconds.count());
  if (*changed) {
    changed_.emplace_back(name);
    status_ = Verify(name, root);
  }
  if (options_.dump) options_.dump(absl::StrCat(prefix_, std::string(name)), Print(root));
}

void PassRunner::Check(const std::function<absl::Status()>& check) {
  if (status_.ok()) status_ = check();
}

const std::vector<std::string>& OptionalPasses() {
  static const auto& names = *new std::vector<std::string>{
      "absorb_padding",
      "cse",
      "dce",
      "fold",
      "fuse",
      "in_place",
      "merge_loops",
      "merge_kernels",
      "pack",
      "rematerialize",
      "reuse",
      "schedule",
      "simplify",
      "split_contractions",
      "split_kernels",
      "split_reductions",
      "split_transposes",
  };
  return names;
}

absl::Status CheckDisabledPasses(const CompileOptions& options) {
  const std::vector<std::string>& names = OptionalPasses();
  for (const std::string& disabled : options.disabled_passes) {
    if (std::find(names.begin(), names.end(), disabled) != names.end()) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("there is no pass '", disabled, "' to disable", Suggestion(disabled, names)));
  }
  return absl::OkStatus();
}

}  // namespace weft
