#include "runtime/package_cache.h"

#include <algorithm>
#include <utility>

namespace weft {

absl::StatusOr<std::shared_ptr<const Package>> PackageCache::Get(const std::string& key,
                                                                 const Make& make) {
  std::unique_lock<std::mutex> lock(mutex_);
  for (auto found = entries_.find(key); found != entries_.end(); found = entries_.find(key)) {
    if (found->second.package != nullptr) {
      found->second.last_used = ++clock_;
      return found->second.package;
    }
    made_.wait(lock);
  }
  entries_[key];  // others wait for it from now on
  lock.unlock();
  absl::StatusOr<std::shared_ptr<const Package>> package = make();
  lock.lock();
  if (package.ok()) {
    Entry& entry = entries_[key];
    entry.package = *package;
    entry.made = entry.last_used = ++clock_;
    DropOldest();
  } else {
    entries_.erase(key);
  }
  made_.notify_all();
  return package;
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
