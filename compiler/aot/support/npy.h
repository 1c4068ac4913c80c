// NumPy's .npy files in artifacts, where there is no C++ library; proto/npy.h is for everything
// else.
#ifndef WEFT_COMPILER_AOT_SUPPORT_NPY_H_
#define WEFT_COMPILER_AOT_SUPPORT_NPY_H_

#include <stddef.h>
#include <stdint.h>

#include "compiler/aot/support/file.h"

namespace weft::aot {

constexpr int kMaxNpyRank = 64;

struct Npy {
  int32_t dtype;  // weft.DType
  int rank;
  int64_t shape[kMaxNpyRank];
  const char* data;  // in the file's bytes
  int64_t bytes;
  // How the elements lie there: with the first index running fastest; with the last byte first.
  bool fortran_order;
  bool big_endian;
};

// Reads what proto/npy.h reads, elements as they lie in the file. bf16 is '<V2'. Returns null, or
// what is wrong.
const char* ReadNpy(const char* bytes, size_t size, Npy* npy);

// Writes `npy.bytes` bytes to `elements`: in C order and in this machine's byte order.
void CopyElements(const Npy& npy, char* elements);

// Writes a file atomically. Returns 0 or an errno.
int WriteNpy(const char* path, const Npy& npy);

}  // namespace weft::aot

#endif  // WEFT_COMPILER_AOT_SUPPORT_NPY_H_
