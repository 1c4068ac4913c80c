#include "runtime/cuda/graph_cache.h"

#include <algorithm>
#include <utility>

#include "runtime/cuda/driver.h"

namespace weft::cuda {
namespace {

// Lists of work kept, the ones longest unused go first: a plan has one, and one more for each value
// that the host looks at.
constexpr size_t kMaxEntries = 32;
// A graph of one launch costs what the launch does.
constexpr int64_t kMinSize = 2;
// Of a node, in the driver and on the GPU; nothing states it.
constexpr int64_t kBytesOfNode = 1024;

}  // namespace

GraphCache::Entry* GraphCache::Find(const Work& work, uint64_t hash) {
  for (size_t i = 0; i < entries_.size(); ++i) {
    const size_t at = (next_ + i) % entries_.size();
    Entry& entry = entries_[at];
    if (entry.hash != hash) continue;
    if (entry.graph != nullptr && !(entry.work == work)) continue;
    next_ = at + 1;
    return &entry;
  }
  return nullptr;
}

void GraphCache::Remember(const DriverApi& api, uint64_t hash) {
  if (entries_.size() == kMaxEntries) {
    const auto oldest =
        std::min_element(entries_.begin(), entries_.end(),
                         [](const Entry& a, const Entry& b) { return a.last_use < b.last_use; });
    Drop(api, *oldest);
    entries_.erase(oldest);
  }
  Entry& entry = entries_.emplace_back();
  entry.hash = hash;
  entry.last_use = ++uses_;
  next_ = entries_.size();
}

Issued GraphCache::Start(const DriverApi& api, const Work& work, CUstream stream) {
  if (work.size() < kMinSize) return work.Issue(api, stream);
  const uint64_t hash = work.Hash();
  Entry* entry = Find(work, hash);
  if (entry == nullptr) {
    Issued issued = work.Issue(api, stream);
    if (issued.result == CUDA_SUCCESS) Remember(api, hash);
    return issued;
  }
  entry->last_use = ++uses_;
  Issued issued;
  if (entry->graph == nullptr && !entry->refused) {
    issued.result = Capture(api, work, stream, *entry);
  }
  if (entry->graph != nullptr) {
    issued.result = api.cuGraphLaunch(entry->graph, stream);
    if (issued.result == CUDA_SUCCESS) {
      issued.size = work.size();
      issued.launches = work.launches();
      return issued;
    }
    // Nothing of it was started.
    Drop(api, *entry);
    entry->refused = true;
  }
  return EndsContext(issued.result, /*waiting=*/false) ? issued : work.Issue(api, stream);
}

CUresult GraphCache::Capture(const DriverApi& api, const Work& work, CUstream stream,
                             Entry& entry) {
  while (nodes_ + work.size() > kMaxNodes) {
    Entry* oldest = nullptr;
    for (Entry& other : entries_) {
      if (other.graph == nullptr) continue;
      if (oldest == nullptr || other.last_use < oldest->last_use) oldest = &other;
    }
    if (oldest == nullptr) {
      entry.refused = true;
      return CUDA_SUCCESS;
    }
    Drop(api, *oldest);
  }
  // What other threads call meanwhile is no matter of the capture's.
  CUresult result = api.cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
  if (result == CUDA_SUCCESS) {
    result = work.Issue(api, stream).result;
    CUgraph graph = nullptr;
    // Also after an error: the stream captures until then.
    const CUresult ended = api.cuStreamEndCapture(stream, &graph);
    if (result == CUDA_SUCCESS) result = ended;
    if (result == CUDA_SUCCESS) {
      result = api.cuGraphInstantiateWithFlags(&entry.graph, graph, 0);
      if (result != CUDA_SUCCESS) entry.graph = nullptr;
    }
    if (graph != nullptr) (void)api.cuGraphDestroy(graph);
  }
  entry.refused = result != CUDA_SUCCESS;
  if (result == CUDA_SUCCESS) {
    entry.work = work;
    nodes_ += work.size();
  }
  return result;
}

void GraphCache::Drop(const DriverApi& api, Entry& entry) {
  if (entry.graph == nullptr) return;
  nodes_ -= entry.work.size();
  // The driver keeps a graph that is under way until it is done.
  (void)api.cuGraphExecDestroy(entry.graph);
  entry.graph = nullptr;
  entry.work = Work();
}

int64_t GraphCache::bytes() const { return nodes_ * kBytesOfNode; }

void GraphCache::Clear(const DriverApi& api) {
  for (Entry& entry : entries_) Drop(api, entry);
  entries_.clear();
}

}  // namespace weft::cuda
