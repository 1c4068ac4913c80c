// The public surface of the runtime. Start with Session (session.h). Devices other than this
// processor: devices.h, or hardware_devices.h without the emulator. From C: c_api.h.
#ifndef WEFT_RUNTIME_API_H_
#define WEFT_RUNTIME_API_H_

#include "runtime/session.h"

#endif  // WEFT_RUNTIME_API_H_
