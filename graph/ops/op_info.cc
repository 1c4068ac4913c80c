#include "graph/ops/op_info.h"

#include <algorithm>

#include "graph/ops/infer.h"
#include "proto/suggest.h"

namespace weft {

#include "graph/ops/op_infos.inc"

bool OpInfo::accepts(DataType dtype) const {
  return std::find(dtypes.begin(), dtypes.end(), dtype) != dtypes.end();
}

const AttrInfo* OpInfo::FindAttribute(std::string_view attribute) const {
  for (const AttrInfo& info : attributes) {
    if (info.name == attribute) return &info;
  }
  return nullptr;
}

absl::Span<const OpInfo> AllOps() { return kOps; }

const OpInfo* FindOp(std::string_view name) {
  if (name.starts_with("weft.")) name.remove_prefix(5);
  auto it = std::lower_bound(std::begin(kOps), std::end(kOps), name,
                             [](const OpInfo& op, std::string_view n) { return op.name < n; });
  return it != std::end(kOps) && it->name == name ? it : nullptr;
}

std::string NearestOp(std::string_view name) {
  std::vector<std::string> names;
  for (const OpInfo& op : kOps) names.emplace_back(op.name);
  return DidYouMean(name, names);
}

}  // namespace weft
