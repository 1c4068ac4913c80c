#include "tools/weft/compile_golden.h"

#include <cstdio>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "graph/interpreter.h"
#include "proto/file.h"
#include "runtime/device.h"
#include "runtime/session.h"
#include "tools/common/exit_code.h"
#include "tools/common/golden.h"
#include "tools/common/signature_io.h"

namespace weft::cli {

absl::StatusOr<std::string> AddGolden(const Graph& graph, const CompileOptions& options,
                                      const SessionOptions& here,
                                      const std::vector<std::string>& inputs,
                                      const std::string& package) {
  absl::StatusOr<std::unique_ptr<Session>> session = Session::FromPackage(package, here);
  if (!session.ok()) {
    return Reworded(session.status(),
                    absl::StrCat("--golden runs the package here: ", session.status().message()));
  }
  absl::StatusOr<Session::SignatureInfo> signature = FindSignature(
      **session, options.signatures.size() == 1 ? options.signatures[0] : std::string());
  if (!signature.ok()) return signature.status();
  Golden golden;
  golden.signature = signature->name;
  absl::StatusOr<NamedTensors> feeds = ReadFeeds(inputs, signature->inputs);
  if (!feeds.ok()) return feeds.status();
  golden.inputs = *std::move(feeds);
  Interpreter interpreter(graph);
  interpreter.variables() = options.variables;
  absl::StatusOr<TensorMap> outputs = interpreter.RunSignature(golden.signature, golden.inputs);
  if (!outputs.ok()) return WithHint(outputs.status());
  golden.outputs = *std::move(outputs);
  if (golden.outputs.empty()) {
    return UsageError(absl::StrCat("signature '", golden.signature,
                                   "' has no outputs, so --golden has nothing to compare with"));
  }
  const bool tf32 = options.matmul_precision == MatmulPrecision::kTf32;
  golden.tf32 = tf32;
  const absl::Status known = ForDevices(Bytes::Of(package), here, &golden);
  if (!known.ok()) return known;
  std::string text;
  absl::Status agrees =
      CheckGolden(**session, golden, std::nullopt, /*json=*/false, "the compiled package", &text);
  if (!agrees.ok()) {
    std::fputs(text.c_str(), stderr);
    return agrees;
  }
  // Also where a processor was to meet the tolerance of f32.
  golden.tf32 = tf32;
  return WithGolden(package, golden);
}

}  // namespace weft::cli
