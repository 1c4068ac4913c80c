#include "tests/compat/fixture.h"

#include "absl/strings/str_cat.h"
#include "runtime/cpu/cpu_device.h"

namespace weft {

const std::vector<std::string>& FixtureSignatures() {
  static const auto* signatures =
      new std::vector<std::string>{"types", "control", "train_step", "predict"};
  return *signatures;
}

SessionOptions OptionsOfFixture() {
  SessionOptions options;
  options.find_device = [](const std::string&) { return MakeCpuDevice(/*threads=*/1); };
  return options;
}

absl::StatusOr<NamedTensors> RunFixture(Session& session, const NamedTensors& values) {
  NamedTensors results;
  for (const std::string& signature : FixtureSignatures()) {
    NamedTensors feeds;
    const std::string prefix = absl::StrCat("in/", signature, "/");
    for (const auto& [name, value] : values) {
      if (name.compare(0, prefix.size(), prefix) == 0) feeds[name.substr(prefix.size())] = value;
    }
    absl::StatusOr<NamedTensors> outputs = session.Run(signature, feeds);
    if (!outputs.ok()) return outputs.status();
    for (auto& [name, value] : *outputs) {
      results[absl::StrCat("out/", signature, "/", name)] = value;
    }
  }
  return results;
}

}  // namespace weft
