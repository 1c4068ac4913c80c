// Golden values: inputs and outputs that a package carries, to check itself with wherever it runs.
#ifndef WEFT_TOOLS_COMMON_GOLDEN_H_
#define WEFT_TOOLS_COMMON_GOLDEN_H_

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/file.h"
#include "runtime/session.h"

namespace weft::cli {

struct Golden {
  std::string signature;
  NamedTensors inputs, outputs;
  // Whether f32 is multiplied in tf32, which keeps as many bits as f16, by code for a GPU.
  bool tf32 = false;
};

// Those in a package's section "golden". kBadInput where the file is damaged or the section holds
// no outputs; kUsage where there is no such section, with how to make one.
absl::StatusOr<Golden> ReadGolden(const std::string& path);

// For a session with these options: `golden->tf32` is no more where all of the package runs on a
// processor, be it that a name of a GPU stands for it. `find_device` is set. Errors:
// DevicesOfPackage.
absl::Status ForDevices(std::shared_ptr<const Bytes> package, const SessionOptions& options,
                        Golden* golden);
// The same for a package file. Also kBadInput.
absl::Status ForDevices(const std::string& path, const SessionOptions& options, Golden* golden);

// The package with such a section, in place of one that it had.
absl::StatusOr<std::string> WithGolden(std::string_view package, const Golden& golden);

// Elements agree where |a - b| <= absolute + relative * |b|.
struct Tolerance {
  double relative = 0, absolute = 0;
};

// Appends to `text` how far each output of `expected` is from that of `results`, as a line of text
// or JSON. Without a tolerance, elements have to agree up to the rounding of their dtype in sums,
// measured by the largest element of the output: 1e-9 of it for f64, 1e-4 for f32, 1e-2 for f16 and
// for f32 with `expected.tf32`, 5e-2 for bf16, not at all for others. FailedPrecondition where one
// differs, InvalidArgument where there is none, or nothing to compare; `model` is what messages
// call the model.
absl::Status CompareOutputs(const NamedTensors& results, const Golden& expected,
                            const std::optional<Tolerance>& tolerance, bool json,
                            const std::string& model, std::string* text);

// Runs the signature of golden values and compares.
absl::Status CheckGolden(Session& session, const Golden& golden,
                         const std::optional<Tolerance>& tolerance, bool json,
                         const std::string& model, std::string* text,
                         const RunOptions& options = {});

}  // namespace weft::cli

#endif  // WEFT_TOOLS_COMMON_GOLDEN_H_
