#include "graph/ops/nearest.h"

#include <algorithm>
#include <cstddef>

namespace weft {
namespace {

constexpr size_t kMaxLength = 256;

// Levenshtein's distance, one row at a time; stops at `limit`.
size_t Distance(std::string_view a, std::string_view b, size_t limit) {
  if (std::max(a.size(), b.size()) - std::min(a.size(), b.size()) >= limit) return limit;
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0]++;
    size_t smallest = row[0];
    for (size_t j = 1; j <= b.size(); ++j) {
      size_t substituted = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substituted});
      smallest = std::min(smallest, row[j]);
    }
    if (smallest >= limit) return limit;
  }
  return std::min(row.back(), limit);
}

}  // namespace

std::string DidYouMean(std::string_view name, const std::vector<std::string_view>& candidates) {
  if (name.empty() || name.size() > kMaxLength) return "";
  size_t best = std::max<size_t>(name.size() / 3, 1) + 1;
  std::string_view nearest;
  for (std::string_view candidate : candidates) {
    if (candidate.size() > kMaxLength) continue;
    size_t distance = Distance(name, candidate, best);
    if (distance < best) {
      best = distance;
      nearest = candidate;
    }
  }
  return nearest.empty() ? "" : ", did you mean '" + std::string(nearest) + "'?";
}

}  // namespace weft
