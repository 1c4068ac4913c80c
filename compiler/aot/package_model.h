// A compiled package as an artifact needs it: read, verified, and put in order.
#ifndef WEFT_COMPILER_AOT_PACKAGE_MODEL_H_
#define WEFT_COMPILER_AOT_PACKAGE_MODEL_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "compiler/aot/interface.h"
#include "proto/container.h"
#include "proto/host_tensor.h"
#include "runtime/plan_tables.h"

namespace weft {

struct PackageModel {
  struct Plan {
    std::unique_ptr<PlanTables> tables;
    // For each symbol of the plan, which of the signature's; for each variable, which of the
    // model's.
    std::vector<uint32_t> symbols, variables;
    // Symbols of the signature that have one value in this plan.
    std::map<uint32_t, int64_t> fixed;
  };
  struct Target {
    std::string name;
    std::vector<std::string> features;  // instruction sets that a processor must have
    std::string_view code;
    // For each signature of the interface: its plans, specialised ones first, the general one last.
    std::vector<std::vector<Plan>> signatures;
  };

  Interface interface;
  std::vector<Target> targets;  // those of more features first
  std::string_view constants;
  // First values of variables, by name.
  std::map<std::string, HostTensor> values;
  std::shared_ptr<const Bytes> bytes;  // what the views point into

  // Error: InvalidArgument where the package is malformed, lacks a plan with open dimensions for a
  // signature, or its names do not suit C.
  static absl::StatusOr<PackageModel> Read(const Container& package);
};

// That artifacts have no nodes on another device than their processor, as `node` is: "node 'x'".
absl::Status PlacedElsewhere(const std::string& node, const std::string& device);

}  // namespace weft

#endif  // WEFT_COMPILER_AOT_PACKAGE_MODEL_H_
