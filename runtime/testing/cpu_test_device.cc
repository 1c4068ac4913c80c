#include "runtime/testing/test_device.h"

namespace weft {

std::shared_ptr<Device> NewTestDevice() { return nullptr; }

}  // namespace weft
