// What libraries are to the tuner: contractions that they have, and ways of doing these.
#ifndef WEFT_RUNTIME_CUDA_LIBRARY_H_
#define WEFT_RUNTIME_CUDA_LIBRARY_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "runtime/contraction.h"
#include "runtime/cuda/library_calls.h"

namespace weft::cuda {

// A contraction at the sizes of a call; it has sums (HasSums).
struct ContractionAtSizes {
  const LaunchContraction& contraction;
  ContractionSizes sizes;
  uint32_t num_buffers = 0;  // of the launch
  // What the addresses of the operands and of the result are multiples of, at the least: bytes,
  // a power of two. Of an addend and a bias that are not there: any.
  uint32_t left_alignment = 0, right_alignment = 0, addend_alignment = 0, bias_alignment = 0,
           result_alignment = 0;
};

// One way of a library to do a contraction, as a value: of use to all calls of it on the same GPU.
struct LibraryAlgorithm {
  std::array<uint64_t, 8> words = {};  // whatever the library tells it from others by
  int32_t id = 0;                      // the library's number, for people
  size_t workspace_bytes = 0;
};

// What a library needs for the calls of one queue, which others have no part in while graphs are
// made or replayed. Ends behind work that was given up.
class LibraryHandle {
 public:
  virtual ~LibraryHandle() = default;
};

// A library that can be used in a GPU's context. Thread-safe.
class Library {
 public:
  virtual ~Library() = default;
  virtual const char* name() const = 0;
  virtual bool Computes(LaunchContraction::Kind kind) const = 0;
  // What it cannot even be asked for of a contraction of such a kind, in words that follow "has
  // none"; null where it can.
  virtual const char* Lacks(const ContractionAtSizes& at) const = 0;
  // The best ways to do what it does not lack, by what the library thinks, at most so many, each
  // with so much workspace at most. None where it has nothing for that.
  virtual std::vector<LibraryAlgorithm> Algorithms(const ContractionAtSizes& at, int most,
                                                   size_t max_workspace_bytes) const = 0;
  // Null where the library refuses. This has to stay.
  virtual std::unique_ptr<LibraryHandle> NewHandle() const = 0;
  // The call that does it so, of one queue; null where the library refuses. It starts with a
  // workspace at `*workspace`, a multiple of 256, where it needs one; the caller keeps that, the
  // handle, and this.
  virtual std::unique_ptr<LibraryCall> CallOf(const ContractionAtSizes& at,
                                              const LibraryAlgorithm& algorithm,
                                              const CUdeviceptr* workspace,
                                              LibraryHandle& handle) const = 0;
};

}  // namespace weft::cuda

#endif  // WEFT_RUNTIME_CUDA_LIBRARY_H_
