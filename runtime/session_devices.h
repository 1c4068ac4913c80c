// The devices of a session: the one that it runs on, and those that nodes of its graph name.
#ifndef WEFT_RUNTIME_SESSION_DEVICES_H_
#define WEFT_RUNTIME_SESSION_DEVICES_H_

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "runtime/device.h"

namespace weft {

// Thread-safe.
class SessionDevices {
 public:
  using Find = std::function<absl::StatusOr<std::shared_ptr<Device>>(const std::string& name)>;
  // `threads` are those of a processor that has to be made; `find` as SessionOptions::find_device.
  explicit SessionDevices(std::shared_ptr<Device> main, Find find = nullptr, int threads = 0)
      : main_(std::move(main)), find_(std::move(find)), threads_(threads) {}

  const std::shared_ptr<Device>& main() const { return main_; }
  // The device of that name; main() for none. Each is made once. `find` comes before what there is
  // by default, main() under its own name and "cpu".
  absl::StatusOr<std::shared_ptr<Device>> Get(const std::string& name);

 private:
  const std::shared_ptr<Device> main_;
  const Find find_;
  const int threads_;
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<Device>> by_name_;
};

}  // namespace weft

#endif  // WEFT_RUNTIME_SESSION_DEVICES_H_
