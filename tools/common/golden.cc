#include "tools/common/golden.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "proto/container.h"
#include "proto/file.h"
#include "proto/json_quote.h"
#include "proto/safetensors.h"
#include "runtime/package.h"
#include "tools/common/compare.h"
#include "tools/common/exit_code.h"
#include "tools/common/not_finite.h"
#include "tools/common/signature_io.h"

namespace weft::cli {
namespace {

constexpr char kSection[] = "golden";
constexpr char kIn[] = "in/", kOut[] = "out/";
// In the metadata.
constexpr char kSignature[] = "signature", kTf32[] = "tf32";

bool IsGpu(const Device& device) { return absl::StartsWith(device.target(), "cuda:"); }

double RoundingOf(DataType dtype, bool tf32) {
  if (tf32 && dtype == DataType::kF32) dtype = DataType::kF16;
  switch (dtype) {
    case DataType::kF64:
      return 1e-9;
    case DataType::kF32:
      return 1e-4;
    case DataType::kF16:
      return 1e-2;
    case DataType::kBF16:
      return 5e-2;
    default:
      return 0;
  }
}

double LargestOf(const HostTensor& tensor) {
  double largest = 0;
  WithType(tensor.dtype(), [&](auto type) {
    using T = decltype(type);
    const T* values = static_cast<const T*>(tensor.data());
    for (int64_t i = 0; i < tensor.num_elements(); ++i) {
      const double value = std::abs(static_cast<double>(values[i]));
      if (std::isfinite(value)) largest = std::max(largest, value);
    }
  });
  return largest;
}

std::string JsonNumber(double value) {
  const char* name = NotFiniteName(value);
  return name == nullptr ? absl::StrCat(value) : absl::StrCat("\"", name, "\"");
}

std::string JsonOf(const Comparison& comparison) {
  return absl::StrCat("{\"agrees\":", comparison.agrees ? "true" : "false",
                      ",\"max_abs\":", JsonNumber(comparison.max_absolute),
                      ",\"max_rel\":", JsonNumber(comparison.max_relative),
                      ",\"differing\":", comparison.differing, "}");
}

}  // namespace

absl::StatusOr<Golden> ReadGolden(const std::string& path) {
  absl::StatusOr<std::shared_ptr<const Bytes>> bytes = Bytes::Map(path);
  if (!bytes.ok()) return AsBadInput(bytes.status());
  absl::StatusOr<Container> container = Container::Open(*bytes);
  if (!container.ok()) return AsBadInput(container.status());
  const std::string remedy = absl::StrCat(
      path, " carries no golden values; weft compile --golden INPUTS puts them into a package");
  if (!container->Has(kSection)) return UsageError(remedy);
  absl::StatusOr<std::string_view> section = container->Section(kSection);
  if (!section.ok()) return AsBadInput(section.status());
  absl::StatusOr<Safetensors> file = ReadSafetensors(*section, *bytes);
  if (!file.ok()) {
    return AsBadInput(
        absl::Status(file.status().code(), absl::StrCat(path, ": ", file.status().message())));
  }
  Golden golden;
  golden.signature = file->metadata[kSignature];
  golden.tf32 = file->metadata.count(kTf32) > 0;
  for (const auto& [name, tensor] : file->tensors) {
    if (name.rfind(kIn, 0) == 0) golden.inputs[name.substr(sizeof(kIn) - 1)] = tensor;
    if (name.rfind(kOut, 0) == 0) golden.outputs[name.substr(sizeof(kOut) - 1)] = tensor;
  }
  if (golden.outputs.empty()) return AsBadInput(absl::InvalidArgumentError(remedy));
  return golden;
}

absl::Status ForDevices(std::shared_ptr<const Bytes> package, const SessionOptions& options,
                        Golden* golden) {
  if (!golden->tf32 || IsGpu(*options.device)) return absl::OkStatus();
  const absl::StatusOr<std::set<std::string>> placed = DevicesOfPackage(std::move(package));
  if (!placed.ok()) return placed.status();
  for (const std::string& name : *placed) {
    // What is wrong with one says whoever opens the package.
    const absl::StatusOr<std::shared_ptr<Device>> device = options.find_device(name);
    if (device.ok() && IsGpu(**device)) return absl::OkStatus();
  }
  golden->tf32 = false;
  return absl::OkStatus();
}

absl::Status ForDevices(const std::string& path, const SessionOptions& options, Golden* golden) {
  if (!golden->tf32) return absl::OkStatus();
  absl::StatusOr<std::shared_ptr<const Bytes>> bytes = Bytes::Map(path);
  return AsBadInput(bytes.ok() ? ForDevices(*std::move(bytes), options, golden) : bytes.status());
}

absl::StatusOr<std::string> WithGolden(std::string_view package, const Golden& golden) {
  absl::StatusOr<Container> container = Container::Open(Bytes::Of(package));
  if (!container.ok()) return container.status();
  std::vector<SectionToWrite> sections = container->Sections();
  std::erase_if(sections, [](const SectionToWrite& each) { return each.name == kSection; });
  NamedTensors tensors;
  for (const auto& [name, tensor] : golden.inputs) tensors.emplace(kIn + name, tensor);
  for (const auto& [name, tensor] : golden.outputs) tensors.emplace(kOut + name, tensor);
  std::map<std::string, std::string> metadata = {{kSignature, golden.signature}};
  if (golden.tf32) metadata[kTf32] = "allowed";
  const std::string bytes = WriteSafetensors(tensors, metadata);
  sections.push_back({kSection, bytes});
  return WriteContainer(sections);
}

absl::Status CompareOutputs(const NamedTensors& results, const Golden& expected,
                            const std::optional<Tolerance>& tolerance, bool json,
                            const std::string& model, std::string* text) {
  if (expected.outputs.empty()) {
    return AsBadInput(absl::InvalidArgumentError(
        absl::StrCat(model, ": there are no reference outputs to compare with")));
  }
  std::vector<std::string> failed, fields;
  for (const auto& [name, reference] : expected.outputs) {
    const auto found = results.find(name);
    if (found == results.end()) {
      return AsBadInput(
          absl::InvalidArgumentError(absl::StrCat(model, " has no output '", name, "'")));
    }
    Tolerance allowed;
    if (tolerance) {
      allowed = *tolerance;
    } else if (const double rounding = RoundingOf(reference.dtype(), expected.tf32); rounding > 0) {
      allowed.absolute = rounding * LargestOf(reference);
    }
    const Comparison comparison =
        Compare(found->second, reference, allowed.relative, allowed.absolute);
    if (!comparison.agrees) failed.push_back(name);
    if (json) {
      fields.push_back(absl::StrCat(JsonQuote(name), ":", JsonOf(comparison)));
    } else {
      absl::StrAppend(text, name, ": ", comparison.Text(), "\n");
    }
  }
  if (json) {
    absl::StrAppend(text, "{\"agrees\":", failed.empty() ? "true" : "false", ",\"outputs\":{",
                    absl::StrJoin(fields, ","), "}}\n");
  }
  if (failed.empty()) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(model, ": ", absl::StrJoin(failed, ", "),
                                                    failed.size() == 1 ? " differs" : " differ",
                                                    " from the reference"));
}

absl::Status CheckGolden(Session& session, const Golden& golden,
                         const std::optional<Tolerance>& tolerance, bool json,
                         const std::string& model, std::string* text, const RunOptions& options) {
  absl::StatusOr<NamedTensors> results = session.Run(golden.signature, golden.inputs, options);
  if (absl::IsInvalidArgument(results.status()) || absl::IsNotFound(results.status())) {
    // They are of another model than the one that they came with.
    return AsBadInput(absl::InvalidArgumentError(
        absl::StrCat(model, ": the golden values do not fit: ", results.status().message())));
  }
  if (!results.ok()) return WithHint(results.status());
  return CompareOutputs(*results, golden, tolerance, json, model, text);
}

}  // namespace weft::cli
