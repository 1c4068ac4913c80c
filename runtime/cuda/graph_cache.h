// CUDA graphs of work that comes again.
#ifndef WEFT_RUNTIME_CUDA_GRAPH_CACHE_H_
#define WEFT_RUNTIME_CUDA_GRAPH_CACHE_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "runtime/cuda/driver_api.h"
#include "runtime/cuda/work.h"

namespace weft::cuda {

// A plan's runs, and the iterations of its loops, give a queue the same work over and over: the
// same kernels with the same sizes at the same addresses. The first time it is given to the stream
// one by one; the second time it is captured; then one call starts it. What differs in anything is
// other work. What the driver makes no graph of (for want of memory, say) goes one by one always.
// One thread at a time, with the context current.
class GraphCache {
 public:
  // Of all graphs together: each node takes memory of the driver and of the GPU.
  static constexpr int64_t kMaxNodes = 4096;

  GraphCache() = default;
  GraphCache(const GraphCache&) = delete;
  GraphCache& operator=(const GraphCache&) = delete;

  // Gives the work to a stream, or what comes before an error.
  Issued Start(const DriverApi& api, const Work& work, CUstream stream);
  // What graphs take, about.
  int64_t bytes() const;
  // To be called before the end.
  void Clear(const DriverApi& api);

 private:
  struct Entry {
    uint64_t hash = 0;
    bool refused = false;  // no graph is made of it
    // Both empty until it has come twice.
    Work work;
    CUgraphExec graph = nullptr;
    uint64_t last_use = 0;
  };
  Entry* Find(const Work& work, uint64_t hash);
  void Remember(const DriverApi& api, uint64_t hash);
  // Makes a graph of the work for the entry, or lets `refused` say that there is none.
  CUresult Capture(const DriverApi& api, const Work& work, CUstream stream, Entry& entry);
  void Drop(const DriverApi& api, Entry& entry);

  std::vector<Entry> entries_;
  int64_t nodes_ = 0;
  uint64_t uses_ = 0;
  size_t next_ = 0;  // after the entry that was found last: work comes in the same order
};

}  // namespace weft::cuda

#endif  // WEFT_RUNTIME_CUDA_GRAPH_CACHE_H_
