#include "runtime/cuda/launches.h"

#include "absl/strings/str_cat.h"
#include "runtime/blame.h"

namespace weft::cuda {

void Launches::Add(const Launches& more) {
  if (count == 0) first = more.first;
  if (more.count > 0) last = more.last;
  count += more.count;
}

std::string Launches::Describe() const {
  if (count == 0) return "";
  if (count == 1) return PlaceOfStep(*first);
  return absl::StrCat("one of ", count, " launches, from ", PlaceOfStep(*first), " to ",
                      PlaceOfStep(*last),
                      " (with profiling, weft run --profile, each is waited for and named)");
}

}  // namespace weft::cuda
