#include "runtime/package_cache.h"

#include <algorithm>
#include <exception>
#include <new>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

namespace weft {
namespace {

// Compilations under way at once that nobody may wait for any more.
constexpr int kMaxThreads = 8;
constexpr std::string_view kDoing = "the plan for these shapes was being compiled";

void Join(std::vector<std::thread> threads) {
  for (std::thread& thread : threads) thread.join();
}

}  // namespace

PackageCache::~PackageCache() {
  std::unique_lock<std::mutex> lock(mutex_);
  while (jobs_with_thread_ > 0) changed_.wait(lock);
  lock.unlock();
  Join(std::move(ended_));
}

PackageCache::Made PackageCache::Get(const std::string& key, Make make, const RunLimits& limits) {
  std::unique_lock<std::mutex> lock(mutex_);
  std::shared_ptr<Job> job;
  while (job == nullptr) {
    const auto found = entries_.find(key);
    if (found != entries_.end() && found->second.package != nullptr) {
      found->second.last_used = ++clock_;
      return found->second.package;
    }
    if (found != entries_.end()) {
      job = found->second.job;
      break;
    }
    if (absl::Status status = limits.Check(kDoing); !status.ok()) return status;
    if (!limits.any()) {
      job = entries_[key].job = std::make_shared<Job>();
      lock.unlock();
      Do(key, job, make);
      return job->made;
    }
    if (jobs_with_thread_ >= kMaxThreads) {
      limits.Wait(changed_, lock);
      continue;
    }
    job = std::make_shared<Job>();
    if (absl::Status status = StartThread(key, job, std::move(make)); !status.ok()) return status;
  }
  while (!job->done) {
    if (absl::Status status = limits.Check(kDoing); !status.ok()) return status;
    limits.Wait(changed_, lock);
  }
  std::vector<std::thread> ended = std::move(ended_);
  ended_.clear();
  lock.unlock();
  Join(std::move(ended));
  return job->made;
}

absl::Status PackageCache::StartThread(const std::string& key, const std::shared_ptr<Job>& job,
                                       Make make) {
  ended_.reserve(ended_.size() + static_cast<size_t>(jobs_with_thread_) + 1);
  entries_[key].job = job;
  ++jobs_with_thread_;
  try {
    // It waits for the mutex before it touches job->thread.
    job->thread = std::thread([this, key, job, make = std::move(make)] { Do(key, job, make); });
  } catch (const std::exception& error) {
    entries_.erase(key);
    --jobs_with_thread_;
    return absl::ResourceExhaustedError(
        absl::StrCat("cannot start a thread to compile on: ", error.what()));
  }
  return absl::OkStatus();
}

void PackageCache::Do(const std::string& key, const std::shared_ptr<Job>& job, const Make& make) {
  Made made = absl::ResourceExhaustedError("no memory to compile the plan");
  try {
    made = make();
  } catch (const std::bad_alloc&) {
  } catch (const std::exception& error) {
    made = absl::InternalError(absl::StrCat("the planner threw an exception: ", error.what()));
  } catch (...) {
    made = absl::InternalError("the planner threw an exception");
  }
  std::lock_guard<std::mutex> lock(mutex_);
  if (made.ok()) {
    Entry& entry = entries_[key];
    entry.job = nullptr;
    entry.package = *made;
    entry.made = entry.last_used = ++clock_;
    DropOldest();
  } else {
    entries_.erase(key);
  }
  job->made = std::move(made);
  job->done = true;
  if (job->thread.joinable()) {
    ended_.push_back(std::move(job->thread));
    --jobs_with_thread_;
  }
  changed_.notify_all();
}

void PackageCache::Touch(const Package* package) {
  std::lock_guard<std::mutex> lock(mutex_);
  for (auto& [key, entry] : entries_) {
    if (entry.package.get() == package) entry.last_used = ++clock_;
  }
}

void PackageCache::DropOldest() {
  while (entries_.size() > capacity_) {
    auto oldest = entries_.end();
    for (auto entry = entries_.begin(); entry != entries_.end(); ++entry) {
      if (entry->second.package == nullptr) continue;
      if (oldest == entries_.end() || entry->second.last_used < oldest->second.last_used) {
        oldest = entry;
      }
    }
    if (oldest == entries_.end()) return;
    entries_.erase(oldest);
  }
}

std::vector<std::shared_ptr<const Package>> PackageCache::All() const {
  std::lock_guard<std::mutex> lock(mutex_);
  std::vector<const Entry*> entries;
  for (const auto& [key, entry] : entries_) {
    if (entry.package != nullptr) entries.push_back(&entry);
  }
  std::sort(entries.begin(), entries.end(),
            [](const Entry* a, const Entry* b) { return a->made < b->made; });
  std::vector<std::shared_ptr<const Package>> packages;
  for (const Entry* entry : entries) packages.push_back(entry->package);
  return packages;
}

}  // namespace weft
