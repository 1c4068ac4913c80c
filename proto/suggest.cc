#include "proto/suggest.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "proto/printable.h"

namespace weft {
namespace {

constexpr size_t kMaxListed = 8;
// Comparing takes time in the product of the lengths, and names may come from files.
constexpr size_t kMaxLength = 256;

// Edits between two names: the optimal string alignment distance, row by row.
size_t Distance(std::string_view a, std::string_view b) {
  std::vector<size_t> before_last(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        row[j] = std::min(row[j], before_last[j - 2] + 1);
      }
    }
    std::swap(before_last, last);
    std::swap(last, row);
  }
  return last[b.size()];
}

}  // namespace

std::string Nearest(std::string_view name, const std::vector<std::string>& candidates) {
  if (name.size() > kMaxLength) return "";
  const std::string typed = absl::AsciiStrToLower(std::string(name));
  size_t best = typed.size() / 3 + 1;
  std::string nearest;
  for (const std::string& candidate : candidates) {
    if (candidate.size() > typed.size() + best || typed.size() > candidate.size() + best) continue;
    const size_t distance = Distance(typed, absl::AsciiStrToLower(candidate));
    if (distance >= typed.size()) continue;  // nothing of what was typed is in it
    if (distance < best || (distance == best && nearest.empty())) {
      best = distance;
      nearest = candidate;
    }
  }
  return nearest;
}

std::string DidYouMean(std::string_view name, const std::vector<std::string>& candidates) {
  const std::string nearest = Nearest(name, candidates);
  return nearest.empty() ? "" : absl::StrCat("; did you mean '", Printable(nearest), "'?");
}

std::string Suggestion(std::string_view name, const std::vector<std::string>& candidates) {
  const std::string nearest = DidYouMean(name, candidates);
  if (!nearest.empty()) return nearest;
  if (candidates.empty()) return "; there is none";
  const size_t count = std::min(candidates.size(), kMaxListed);
  const auto printable = [](std::string* text, const std::string& candidate) {
    text->append(Printable(candidate));
  };
  return absl::StrCat(
      "; there is ", absl::StrJoin(candidates.begin(), candidates.begin() + count, ", ", printable),
      candidates.size() > count ? absl::StrCat(" and ", candidates.size() - count, " more") : "");
}

}  // namespace weft
