"""Says in a line of JSON which GPU the driver has under a number, or on standard error why none can be used, and then exits with 1.

  gpu_info.py ORDINAL
"""
import ctypes
import json
import sys


def fail(why):
    print(f"no GPU: {why}", file=sys.stderr)
    sys.exit(1)


ordinal = int(sys.argv[1])
try:
    driver = ctypes.CDLL("libcuda.so.1")
except OSError as error:
    fail(f"the driver's library cannot be loaded ({error}); install NVIDIA's driver")


def ask(function, *arguments):
    code = getattr(driver, function)(*arguments)
    if code == 0:
        return
    text = ctypes.c_char_p()
    driver.cuGetErrorString(code, ctypes.byref(text))
    fail(f"{function} says {code}: {(text.value or b'unknown error').decode()}")


def number(function, *arguments):
    value = ctypes.c_int()
    ask(function, ctypes.byref(value), *arguments)
    return value.value


ask("cuInit", 0)
count = number("cuDeviceGetCount")
if ordinal >= count:
    fail(f"expected one of {count} GPUs, counted from 0, got number {ordinal}")
device = number("cuDeviceGet", ordinal)
name = ctypes.create_string_buffer(256)
ask("cuDeviceGetName", name, len(name), device)
memory = ctypes.c_size_t()
ask("cuDeviceTotalMem_v2", ctypes.byref(memory), device)
version = number("cuDriverGetVersion")
# CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR.
capability = 10 * number("cuDeviceGetAttribute", 75, device) + number("cuDeviceGetAttribute", 76, device)
print(json.dumps({"name": name.value.decode(), "capability": capability, "cuda": f"{version // 1000}.{version % 1000 // 10}", "memory": memory.value}))
