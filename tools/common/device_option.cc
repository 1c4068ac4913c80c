#include "tools/common/device_option.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/file.h"
#include "runtime/package.h"
#include "tools/common/exit_code.h"

namespace weft::cli {

absl::StatusOr<SessionOptions> SessionOptionsOf(const std::string& device, int threads,
                                                DeviceMaker make, DeviceNames* named) {
  std::string main = "cpu";
  for (size_t begin = 0; begin <= device.size();) {
    const size_t end = std::min(device.find(',', begin), device.size());
    const std::string part = device.substr(begin, end - begin);
    const size_t equals = part.find('=');
    if (equals == std::string::npos) {
      if (begin > 0) {
        return UsageError(
            absl::StrCat("--device: expected NAME=DEVICE after the first device, such as "
                         "cpu,cuda:0=cuda:1, got '",
                         part, "'"));
      }
      main = part;
    } else if (const std::string name = part.substr(0, equals);
               !named->emplace(name, part.substr(equals + 1)).second) {
      return UsageError(absl::StrCat("--device: expected one device for '", name,
                                     "', got a second one, '", part.substr(equals + 1), "'"));
    }
    begin = end + 1;
  }
  SessionOptions options;
  options.threads = threads;
  if (absl::Status status = SetDevices(main, *named, make, &options); !status.ok()) {
    return OfDevice(status);
  }
  options.find_device = [main, find = options.find_device](const std::string& name) {
    absl::StatusOr<std::shared_ptr<Device>> found = find(name);
    if (found.ok()) return found;
    return absl::StatusOr<std::shared_ptr<Device>>(
        Reworded(found.status(), absl::StrCat(found.status().message(), "; --device ", main, ",",
                                              name, "=DEVICE puts another one in its place")));
  };
  return options;
}

absl::Status CheckDeviceNames(const char* option, const DeviceNames& named,
                              const std::set<std::string>& placed, const std::string& model) {
  absl::Status status = CheckNames(named, placed, model);
  return status.ok() ? status : UsageError(absl::StrCat(option, ": ", status.message()));
}

absl::Status CheckDeviceNames(const DeviceNames& named, const std::string& package) {
  if (named.empty()) return absl::OkStatus();
  absl::StatusOr<std::shared_ptr<const Bytes>> bytes = Bytes::Map(package);
  if (!bytes.ok()) return AsBadInput(bytes.status());
  const absl::StatusOr<std::set<std::string>> placed = DevicesOfPackage(*std::move(bytes));
  if (!placed.ok()) return AsBadInput(placed.status());
  return CheckDeviceNames("--device", named, *placed, package);
}

}  // namespace weft::cli
