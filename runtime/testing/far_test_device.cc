#include "runtime/testing/far_device.h"
#include "runtime/testing/test_device.h"

namespace weft {

std::shared_ptr<Device> NewTestDevice() { return std::make_shared<FarDevice>(); }

}  // namespace weft
