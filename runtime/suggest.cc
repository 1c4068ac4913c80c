#include "runtime/suggest.h"

#include <algorithm>
#include <cstddef>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace weft {
namespace {

// Insertions, deletions and replacements that lead from a to b; long names count as far apart.
size_t EditDistance(std::string_view a, std::string_view b) {
  constexpr size_t kMost = 256;
  if (a.size() > kMost || b.size() > kMost) return kMost;
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

}  // namespace

std::string Suggest(std::string_view name, const std::vector<std::string>& candidates) {
  if (candidates.empty()) return "; there are none";
  const std::string* best = nullptr;
  size_t fewest = std::max<size_t>(2, name.size() / 3) + 1;
  for (const std::string& candidate : candidates) {
    const size_t edits = EditDistance(name, candidate);
    if (edits < fewest && edits < candidate.size()) {
      fewest = edits;
      best = &candidate;
    }
  }
  if (best != nullptr) return absl::StrCat("; did you mean '", *best, "'?");
  constexpr size_t kShown = 8;
  const auto end =
      candidates.begin() + static_cast<std::ptrdiff_t>(std::min(kShown, candidates.size()));
  return absl::StrCat("; there are: ", absl::StrJoin(candidates.begin(), end, ", "),
                      candidates.size() > kShown ? ", ..." : "");
}

}  // namespace weft
