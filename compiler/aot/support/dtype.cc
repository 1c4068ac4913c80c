// Element types by number, for C.
#include "proto/dtype.h"

#include "compiler/aot/support/model.h"

namespace {

weft::DataType TypeOf(int32_t dtype) {
  return weft::IsDataType(dtype) ? static_cast<weft::DataType>(dtype) : weft::DataType::kInvalid;
}

}  // namespace

int64_t weft_dtype_bytes(int32_t dtype) { return SizeOf(TypeOf(dtype)); }

const char* weft_dtype_name(int32_t dtype) { return NameOf(TypeOf(dtype)).data(); }
