// Element types by number.
#include "compiler/aot/support/model.h"

int64_t weft_dtype_bytes(int32_t dtype) {
  constexpr int8_t kBytes[] = {0, 1, 1, 1, 4, 8, 2, 2, 4, 8};
  return dtype >= 0 && dtype < 10 ? kBytes[dtype] : 0;
}

const char* weft_dtype_name(int32_t dtype) {
  constexpr const char* kNames[] = {"invalid", "bool", "i8",   "u8",  "i32",
                                    "i64",     "f16",  "bf16", "f32", "f64"};
  return kNames[dtype >= 0 && dtype < 10 ? dtype : 0];
}
