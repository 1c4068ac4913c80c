// The bytes of a .npy file; proto/npy.h is for tensors.
#ifndef WEFT_PROTO_CORE_NPY_FORMAT_H_
#define WEFT_PROTO_CORE_NPY_FORMAT_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "proto/core/format_error.h"

namespace weft {

struct NpyTensor {
  DataType dtype;
  size_t rank;
  int64_t shape[kMaxFileRank];
  std::string_view elements;  // in the file's bytes
  // How the elements lie there: with the first index running fastest; with the last byte first.
  bool fortran_order;
  bool big_endian;

  bool InOrder() const { return !fortran_order && !big_endian; }
};

// Reads versions 1 to 3.
FormatError ParseNpy(std::string_view bytes, NpyTensor* npy);

// Writes as many bytes as there are in `npy.elements`, in C order and in this machine's byte order.
void CopyNpyElements(const NpyTensor& npy, char* elements);

// The header of a file of format version 1.0, which elements in C order and little endian are to
// follow. Returns its size, at most MaxNpyHeaderBytes(rank). The dtype must not be kInvalid.
size_t WriteNpyHeader(DataType dtype, const int64_t* shape, size_t rank, char* header);
constexpr size_t MaxNpyHeaderBytes(size_t rank) { return 160 + 22 * rank; }

}  // namespace weft

#endif  // WEFT_PROTO_CORE_NPY_FORMAT_H_
