// CUDA graphs of work that comes again.
#ifndef WEFT_RUNTIME_CUDA_GRAPH_CACHE_H_
#define WEFT_RUNTIME_CUDA_GRAPH_CACHE_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "runtime/cuda/context.h"
#include "runtime/cuda/work.h"

namespace weft::cuda {

// A plan's runs, and the iterations of its loops, give a queue the same work over and over: the
// same kernels with the same sizes at the same addresses. The first time it is given to the stream
// one by one; the second time it is captured; then one call starts it. What differs in anything is
// other work. One thread at a time, with the context current.
class GraphCache {
 public:
  GraphCache() = default;
  GraphCache(const GraphCache&) = delete;
  GraphCache& operator=(const GraphCache&) = delete;

  absl::Status Start(Context& context, const Work& work, CUstream stream);
  // To be called before the end.
  void Clear(const DriverApi& api);

 private:
  struct Entry {
    Work work;
    CUgraphExec graph = nullptr;  // null: seen once
    uint64_t last_use = 0;
  };
  Entry* Find(const Work& work);
  absl::Status Capture(Context& context, CUstream stream, Entry& entry);

  std::vector<Entry> entries_;
  uint64_t uses_ = 0;
  size_t next_ = 0;  // after the entry that was found last: work comes in the same order
};

}  // namespace weft::cuda

#endif  // WEFT_RUNTIME_CUDA_GRAPH_CACHE_H_
