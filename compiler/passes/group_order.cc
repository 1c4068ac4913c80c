#include "compiler/passes/group_order.h"

#include <algorithm>

namespace weft {
namespace {

// Edges that a search looks at in each direction.
constexpr int kMostSteps = 8192;
// Distance of labels at first: room for what moves between two groups.
constexpr int kLabelBits = 32;
// A range of 2^i labels that holds more than (2 / kCrowded)^i groups is not spread, but part of a
// larger one is.
constexpr double kCrowded = 1.5;

}  // namespace

GroupOrder::GroupOrder(int num_nodes, const std::vector<std::pair<int, int>>& edges)
    : successors_(MakeEdges(num_nodes, edges, /*forward=*/true)),
      predecessors_(MakeEdges(num_nodes, edges, /*forward=*/false)) {
  const size_t size = static_cast<size_t>(num_nodes);
  group_of_.resize(size);
  members_.resize(size);
  // The last entry is the end of the list, which is a ring.
  next_.resize(size + 1);
  previous_.resize(size + 1);
  label_.resize(size + 1);
  for (int i = 0; i < num_nodes; ++i) {
    group_of_[static_cast<size_t>(i)] = i;
    members_[static_cast<size_t>(i)] = {i};
  }
  for (int i = 0; i <= num_nodes; ++i) {
    next_[static_cast<size_t>(i)] = i == num_nodes ? 0 : i + 1;
    previous_[static_cast<size_t>(i)] = i == 0 ? num_nodes : i - 1;
    label_[static_cast<size_t>(i)] = (static_cast<uint64_t>(i) + 1) << kLabelBits;
  }
}

GroupOrder::Edges GroupOrder::MakeEdges(int num_nodes,
                                        const std::vector<std::pair<int, int>>& edges,
                                        bool forward) {
  Edges made;
  made.begin.resize(static_cast<size_t>(num_nodes) + 1);
  made.to.resize(edges.size());
  auto from = [&](const std::pair<int, int>& edge) {
    return static_cast<size_t>(forward ? edge.first : edge.second);
  };
  for (const auto& edge : edges) ++made.begin[from(edge) + 1];
  for (size_t i = 1; i < made.begin.size(); ++i) made.begin[i] += made.begin[i - 1];
  std::vector<int64_t> next = made.begin;
  for (const auto& edge : edges) {
    made.to[static_cast<size_t>(next[from(edge)]++)] = forward ? edge.second : edge.first;
  }
  return made;
}

GroupOrder::Step GroupOrder::Advance(Front& front, const Front& other) {
  const int group = front.group == 0 ? front.from : front.reached[front.group - 1];
  const std::vector<int>& members = members_[static_cast<size_t>(group)];
  const Edges& edges = front.forward ? successors_ : predecessors_;
  const size_t node = static_cast<size_t>(members[front.member]);
  if (edges.begin[node] + static_cast<int64_t>(front.edge) == edges.begin[node + 1]) {
    front.edge = 0;
    if (++front.member < members.size()) return Step::kMore;
    front.member = 0;
    return ++front.group <= front.reached.size() ? Step::kMore : Step::kEnd;
  }
  const int next = GroupOf(edges.to[static_cast<size_t>(edges.begin[node]) + front.edge++]);
  if (next == group) return Step::kMore;
  if (next == front.to) return front.group == 0 ? Step::kMore : Step::kFound;
  // What lies past the other end leads nowhere.
  if (front.forward ? Before(front.to, next) : Before(next, front.to)) return Step::kMore;
  if (!front.seen.insert(next).second) return Step::kMore;
  const std::pair<int, int> rest =
      front.forward ? std::pair(next, front.to) : std::pair(front.to, next);
  if (other.seen.contains(next) || leads_to_.contains(rest)) return Step::kFound;
  front.reached.push_back(next);
  return Step::kMore;
}

// From both ends in turn, so that it is over when the smaller of the two sides is.
GroupOrder::Found GroupOrder::Search(int first, int last) {
  if (unknown_.contains({first, last})) return {.apart = true};
  Front down{.from = first, .to = last, .forward = true};
  Front up{.from = last, .to = first, .forward = false};
  for (int i = 0; i < kMostSteps; ++i) {
    for (Front* front : {&down, &up}) {
      switch (Advance(*front, front == &down ? up : down)) {
        case Step::kMore:
          continue;
        case Step::kEnd:
          return {.forward = front->forward, .between = std::move(front->reached)};
        case Step::kFound:
          leads_to_.insert({first, last});
          return {.apart = true};
      }
    }
  }
  unknown_.insert({first, last});
  return {.apart = true};
}

bool GroupOrder::AreApart(int a, int b) {
  return Before(a, b) ? Search(a, b).apart : Search(b, a).apart;
}

void GroupOrder::Merge(int into, int from) {
  const int first = Before(into, from) ? into : from, last = first == into ? from : into;
  Found found = Search(first, last);
  // What follows the first comes to stand behind the last, or what the last follows before the
  // first; then the two can be in one place.
  std::sort(found.between.begin(), found.between.end(), [&](int a, int b) { return Before(a, b); });
  int place = found.forward ? last : previous_[static_cast<size_t>(first)];
  uint64_t parts = found.between.size() + 1;
  for (int group : found.between) {
    Unlink(group);
    LinkAfter(place, group, parts--);
    place = group;
  }
  if ((found.forward ? last : first) == from) {
    Unlink(into);
    LinkAfter(from, into, 2);
  }
  Unlink(from);
  std::vector<int>& members = members_[static_cast<size_t>(into)];
  for (int node : members_[static_cast<size_t>(from)]) {
    group_of_[static_cast<size_t>(node)] = into;
    members.push_back(node);
  }
  members_[static_cast<size_t>(from)] = {};
}

void GroupOrder::Unlink(int group) {
  const size_t i = static_cast<size_t>(group);
  next_[static_cast<size_t>(previous_[i])] = next_[i];
  previous_[static_cast<size_t>(next_[i])] = previous_[i];
}

void GroupOrder::LinkAfter(int place, int group, uint64_t parts) {
  auto low = [&] { return place == End() ? 0 : label_[static_cast<size_t>(place)]; };
  auto gap = [&] { return label_[static_cast<size_t>(next_[static_cast<size_t>(place)])] - low(); };
  if (gap() < 2) Spread(place == End() ? next_[static_cast<size_t>(place)] : place);
  const size_t i = static_cast<size_t>(group);
  label_[i] = low() + std::max<uint64_t>(1, gap() / parts);
  next_[i] = next_[static_cast<size_t>(place)];
  previous_[i] = place;
  previous_[static_cast<size_t>(next_[i])] = group;
  next_[static_cast<size_t>(place)] = group;
}

// Bender and others, "Two simplified algorithms for maintaining order in a list": what lies in the
// smallest range of labels that is not crowded is spread over it.
void GroupOrder::Spread(int place) {
  const uint64_t label = label_[static_cast<size_t>(place)];
  int low = place, high = place;
  uint64_t count = 1;
  double most = 1;
  for (int bits = 1;; ++bits) {
    const uint64_t size = uint64_t{1} << bits, begin = label & ~(size - 1);
    most *= 2 / kCrowded;
    auto inside = [&](int group) { return label_[static_cast<size_t>(group)] - begin < size; };
    for (int i; (i = previous_[static_cast<size_t>(low)]) != End() && inside(i); ++count) low = i;
    for (int i; high != End() && inside(i = next_[static_cast<size_t>(high)]); ++count) high = i;
    if (4 * count > size || static_cast<double>(count) > most) continue;
    const uint64_t step = size / count;
    uint64_t next = begin + step / 2;
    for (int i = low;; i = next_[static_cast<size_t>(i)]) {
      label_[static_cast<size_t>(i)] = next;
      next += step;
      if (i == high) return;
    }
  }
}

}  // namespace weft
