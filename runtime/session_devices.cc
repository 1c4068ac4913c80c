#include "runtime/session_devices.h"

#include "absl/strings/str_cat.h"
#include "runtime/cpu/cpu_device.h"

namespace weft {

absl::StatusOr<std::shared_ptr<Device>> SessionDevices::Get(const std::string& name) {
  if (name.empty()) return main_;
  const std::lock_guard<std::mutex> lock(mutex_);
  std::shared_ptr<Device>& known = by_name_[name];
  if (known != nullptr) return known;
  absl::StatusOr<std::shared_ptr<Device>> made = absl::FailedPreconditionError(
      absl::StrCat("the session has no device of that name (SessionOptions::find_device), only ",
                   std::string(main_->name()), main_->name() == "cpu" ? "" : " and cpu"));
  if (find_ != nullptr) made = find_(name);
  if (made.ok() && *made == nullptr) {
    made = absl::FailedPreconditionError(
        "the session's find_device (SessionOptions) gave no device for that name, and no error");
  }
  if (find_ == nullptr || absl::IsNotFound(made.status())) {
    if (name == main_->name()) {
      made = main_;
    } else if (name == "cpu") {
      made = MakeCpuDevice(threads_);
    }
  }
  if (made.ok()) known = *made;
  return made;
}

}  // namespace weft
