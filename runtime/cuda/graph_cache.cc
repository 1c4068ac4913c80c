#include "runtime/cuda/graph_cache.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"

namespace weft::cuda {
namespace {

// Lists of work kept, the ones longest unused go first: a plan has one, and one more for each value
// that the host looks at.
constexpr size_t kMaxEntries = 32;
// A graph of one launch costs what the launch does.
constexpr int64_t kMinSize = 2;

absl::Status IssueError(Context& context, CUresult result, const Launches& failed) {
  const std::string what = failed.Describe();
  return context.StatusOf(result, what.empty() ? "starting a copy" : "launching " + what);
}

}  // namespace

GraphCache::Entry* GraphCache::Find(const Work& work) {
  for (size_t i = 0; i < entries_.size(); ++i) {
    const size_t at = (next_ + i) % entries_.size();
    if (!(entries_[at].work == work)) continue;
    next_ = at + 1;
    return &entries_[at];
  }
  return nullptr;
}

absl::Status GraphCache::Start(Context& context, const Work& work, CUstream stream) {
  const DriverApi& api = context.api();
  Entry* entry = work.size() < kMinSize ? nullptr : Find(work);
  if (entry == nullptr) {
    Launches failed;
    const CUresult result = work.Issue(api, stream, &failed);
    if (result != CUDA_SUCCESS) return IssueError(context, result, failed);
    if (work.size() < kMinSize) return absl::OkStatus();
    if (entries_.size() == kMaxEntries) {
      const auto oldest =
          std::min_element(entries_.begin(), entries_.end(),
                           [](const Entry& a, const Entry& b) { return a.last_use < b.last_use; });
      // The driver keeps a graph that is under way until it is done.
      if (oldest->graph != nullptr) (void)api.cuGraphExecDestroy(oldest->graph);
      entries_.erase(oldest);
    }
    entries_.push_back({work, nullptr, ++uses_});
    next_ = entries_.size();
    return absl::OkStatus();
  }
  entry->last_use = ++uses_;
  if (entry->graph == nullptr) {
    if (absl::Status status = Capture(context, stream, *entry); !status.ok()) return status;
  }
  return context.StatusOf(api.cuGraphLaunch(entry->graph, stream),
                          absl::StrCat("launching a graph, ", work.launches().Describe()));
}

absl::Status GraphCache::Capture(Context& context, CUstream stream, Entry& entry) {
  const DriverApi& api = context.api();
  // What other threads call meanwhile is no matter of the capture's.
  absl::Status status =
      context.StatusOf(api.cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL),
                       "beginning to capture a graph");
  if (!status.ok()) return status;
  Launches failed;
  const CUresult issued = entry.work.Issue(api, stream, &failed);
  if (issued != CUDA_SUCCESS) status = IssueError(context, issued, failed);
  CUgraph graph = nullptr;
  // Also after an error: the stream captures until then.
  const CUresult ended = api.cuStreamEndCapture(stream, &graph);
  if (status.ok()) status = context.StatusOf(ended, "capturing a graph");
  if (status.ok()) {
    status = context.StatusOf(api.cuGraphInstantiateWithFlags(&entry.graph, graph, 0),
                              absl::StrCat("making a graph of ", entry.work.size(), " nodes"));
    if (!status.ok()) entry.graph = nullptr;
  }
  if (graph != nullptr) (void)api.cuGraphDestroy(graph);
  return status;
}

void GraphCache::Clear(const DriverApi& api) {
  for (const Entry& entry : entries_) {
    if (entry.graph != nullptr) (void)api.cuGraphExecDestroy(entry.graph);
  }
  entries_.clear();
}

}  // namespace weft::cuda
