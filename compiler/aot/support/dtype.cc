// Element types by number, for C, and types as text.
#include "proto/dtype.h"

#include <stdio.h>

#include "compiler/aot/support/instance.h"
#include "compiler/aot/support/model.h"

namespace {

weft::DataType TypeOf(int32_t dtype) {
  return weft::IsDataType(dtype) ? static_cast<weft::DataType>(dtype) : weft::DataType::kInvalid;
}

}  // namespace

namespace weft::aot {

void WriteType(int32_t dtype, const int64_t* shape, size_t rank, char (&text)[kMaxTypeText]) {
  // Once it is cut off, `size` stays at the end.
  size_t size = 0;
  const auto add = [&](int written) {
    size += static_cast<size_t>(written);
    if (size >= sizeof(text)) size = sizeof(text) - 1;
  };
  add(snprintf(text, sizeof(text), "%s[", weft_dtype_name(dtype)));
  for (size_t i = 0; i < rank; ++i) {
    add(snprintf(text + size, sizeof(text) - size, "%s%lld", i == 0 ? "" : ", ",
                 static_cast<long long>(shape[i])));
  }
  snprintf(text + size, sizeof(text) - size, "]");
}

}  // namespace weft::aot

int64_t weft_dtype_bytes(int32_t dtype) { return SizeOf(TypeOf(dtype)); }

const char* weft_dtype_name(int32_t dtype) { return NameOf(TypeOf(dtype)).data(); }
