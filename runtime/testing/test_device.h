// The device that a test is linked for: tests of what all devices do are written once.
#ifndef WEFT_RUNTIME_TESTING_TEST_DEVICE_H_
#define WEFT_RUNTIME_TESTING_TEST_DEVICE_H_

#include <memory>

#include "runtime/device.h"

namespace weft {

// Null for this processor, as in SessionOptions.
std::shared_ptr<Device> NewTestDevice();

}  // namespace weft

#endif  // WEFT_RUNTIME_TESTING_TEST_DEVICE_H_
