#include "compiler/aot/package_model.h"

#include <algorithm>
#include <functional>
#include <map>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "proto/parse_message.h"
#include "proto/plan.pb.h"
#include "proto/safetensors.h"
#include "runtime/cpu_features.h"

namespace weft {
namespace {

absl::Status Malformed(std::string_view problem) {
  return absl::InvalidArgumentError(absl::StrCat("package: ", std::string(problem)));
}

// The instruction sets that a target's code may use, without what only tunes.
absl::StatusOr<std::vector<std::string>> FeaturesOf(const TargetPlans& wire) {
  std::vector<std::string> features(wire.features().begin(), wire.features().end());
  if (features.empty()) features = FeaturesOfTarget(wire.target());
  features.erase(std::remove_if(features.begin(), features.end(),
                                [](const std::string& f) { return !CpuHas(f).has_value(); }),
                 features.end());
  if (!features.empty()) return features;
  return Malformed(absl::StrCat("target '", wire.target(), "' does not say what it needs"));
}

absl::StatusOr<PackageModel::Plan> ReadPlan(const weft::Plan& wire, const Interface& interface,
                                            const Interface::Signature& signature,
                                            uint64_t code_bytes, uint64_t constants_bytes) {
  PackageModel::Plan plan;
  auto tables = PlanTables::Build(wire, {code_bytes}, constants_bytes);
  if (!tables.ok()) return tables.status();
  plan.tables = *std::move(tables);
  const auto symbol_index = [&](const std::string& name) -> absl::StatusOr<uint32_t> {
    const auto& symbols = signature.symbols;
    const auto found = std::find(symbols.begin(), symbols.end(), name);
    if (found != symbols.end()) return static_cast<uint32_t>(found - symbols.begin());
    return Malformed(absl::StrCat("a plan of signature '", signature.name, "' has a dimension '",
                                  name, "' that no input has"));
  };
  for (const std::string& name : wire.symbols()) {
    auto index = symbol_index(name);
    if (!index.ok()) return index.status();
    plan.symbols.push_back(*index);
  }
  for (const auto& [name, value] : wire.specialization()) {
    auto index = symbol_index(name);
    if (!index.ok()) return index.status();
    plan.fixed[*index] = value;
  }
  for (const PlanValue& variable : wire.variables()) {
    const auto found =
        std::find_if(interface.variables.begin(), interface.variables.end(),
                     [&](const Interface::Variable& v) { return v.name == variable.name(); });
    if (found == interface.variables.end()) {
      return Malformed(absl::StrCat("signature '", signature.name, "' uses a variable '",
                                    variable.name(), "' that the manifest lacks"));
    }
    plan.variables.push_back(static_cast<uint32_t>(found - interface.variables.begin()));
  }
  // Entry points pass tensors by position.
  const auto same_names = [](const auto& list, const std::vector<Interface::Tensor>& tensors) {
    return std::equal(list.begin(), list.end(), tensors.begin(), tensors.end(),
                      [](const PlanValue& value, const Interface::Tensor& tensor) {
                        return value.name() == tensor.name &&
                               value.dtype() == static_cast<int32_t>(tensor.dtype);
                      });
  };
  if (!same_names(wire.inputs(), signature.inputs) ||
      !same_names(wire.outputs(), signature.outputs)) {
    return Malformed(absl::StrCat("a plan of signature '", signature.name,
                                  "' has other inputs or outputs than the manifest"));
  }
  return plan;
}

absl::StatusOr<PackageModel::Target> ReadTarget(const Container& package, const TargetPlans& wire,
                                                const Interface& interface,
                                                uint64_t constants_bytes) {
  if (!absl::StartsWith(wire.target(), "cpu:")) {
    return absl::InvalidArgumentError(
        absl::StrCat("target '", wire.target(),
                     "': objects, shared libraries and executables run on processors alone; name a "
                     "cpu: target, or make a package"));
  }
  if (wire.devices_size() > 0) {
    const TargetPlans& placed = wire.devices(0);
    const std::string& at = placed.location();
    return PlacedElsewhere(absl::StrCat("node '", placed.node(), "'", at.empty() ? "" : " (", at,
                                        at.empty() ? "" : ")"),
                           placed.device());
  }
  PackageModel::Target target;
  target.name = wire.target();
  auto features = FeaturesOf(wire);
  if (!features.ok()) return features.status();
  target.features = *std::move(features);
  auto code = package.Section(wire.code_section());
  if (!code.ok()) return code.status();
  target.code = *code;
  for (const Interface::Signature& signature : interface.signatures) {
    // More specialised plans first, otherwise as in the file.
    std::multimap<size_t, PackageModel::Plan, std::greater<>> plans;
    for (const weft::Plan& plan_wire : wire.plans()) {
      if (plan_wire.signature() != signature.name) continue;
      auto plan = ReadPlan(plan_wire, interface, signature, code->size(), constants_bytes);
      if (!plan.ok()) return plan.status();
      const size_t fixed = plan->fixed.size();
      plans.emplace(fixed, *std::move(plan));
    }
    if (plans.empty() || plans.rbegin()->first != 0) {
      return Malformed(absl::StrCat("signature '", signature.name, "' has no plan for ",
                                    wire.target(), " that keeps its dimensions open"));
    }
    std::vector<PackageModel::Plan>& in_order = target.signatures.emplace_back();
    for (auto& [fixed, plan] : plans) in_order.push_back(std::move(plan));
  }
  return target;
}

}  // namespace

absl::StatusOr<PackageModel> PackageModel::Read(const Container& package) {
  PackageModel model;
  model.bytes = package.bytes();
  auto manifest_bytes = package.Section("manifest");
  if (!manifest_bytes.ok()) return manifest_bytes.status();
  PackageManifest manifest;
  if (!ParseMessage(*manifest_bytes, &manifest)) {
    return Malformed("the manifest is malformed");
  }
  auto interface = MakeInterface(manifest);
  if (!interface.ok()) return interface.status();
  model.interface = *std::move(interface);
  if (model.interface.signatures.empty()) {
    return Malformed("the model has no signature, so there is nothing to call; add one");
  }
  if (package.Has("constants")) {
    auto constants = package.Section("constants");
    if (!constants.ok()) return constants.status();
    model.constants = *constants;
  }
  if (package.Has("weights")) {
    auto weights = package.Section("weights");
    if (!weights.ok()) return weights.status();
    auto tensors = ReadSafetensors(*weights, model.bytes);
    if (!tensors.ok()) return tensors.status();
    for (const PackageVariable& variable : manifest.variables()) {
      if (!variable.has_value()) continue;
      const auto tensor = tensors->tensors.find(variable.name());
      if (tensor == tensors->tensors.end() ||
          static_cast<int32_t>(tensor->second.dtype()) != variable.dtype() ||
          !std::equal(variable.shape().begin(), variable.shape().end(),
                      tensor->second.shape().begin(), tensor->second.shape().end())) {
        return Malformed(
            absl::StrCat("variable '", variable.name(),
                         "' has no first value of its dtype and shape in the weights"));
      }
      model.values.emplace(variable.name(), tensor->second);
    }
  }
  // The target that asks for most first, otherwise as in the file.
  std::multimap<size_t, PackageModel::Target, std::greater<>> targets;
  for (const TargetPlans& wire : manifest.targets()) {
    auto target = ReadTarget(package, wire, model.interface, model.constants.size());
    if (!target.ok()) return target.status();
    const size_t features = target->features.size();
    targets.emplace(features, *std::move(target));
  }
  if (targets.empty()) return Malformed("there is code for no target");
  for (auto& [features, target] : targets) model.targets.push_back(std::move(target));
  return model;
}

absl::Status PlacedElsewhere(const std::string& node, const std::string& device) {
  return absl::InvalidArgumentError(absl::StrCat(
      node, " is placed on '", device,
      "': objects, shared libraries and executables run on one processor; make a package, or have "
      "devices ignored (CompileOptions::ignore_devices, --ignore-devices)"));
}

}  // namespace weft
