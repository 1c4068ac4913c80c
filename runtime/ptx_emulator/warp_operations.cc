#include <algorithm>
#include <bit>
#include <cstring>

#include "absl/strings/str_format.h"
#include "runtime/ptx_emulator/block.h"
#include "runtime/ptx_emulator/lanes.h"

// Shuffles, votes, matches, and reductions between the lanes of a warp.
namespace weft::ptx {
namespace {

// The lanes that take part: those that the mask names, which have to be exactly the ones that are
// here.
void CheckMembers(Warp& warp, const Ref& ref, uint32_t mask) {
  warp.RequireDefined(ref, mask, "the mask of members");
  const uint32_t* members = warp.Lanes<uint32_t>(ref);
  for (int lane : LanesOf(mask)) {
    if ((members[lane] >> lane & 1) == 0) {
      warp.Report(
          FindingKind::kMisuse, lane,
          absl::StrFormat("the mask of members, 0x%08x, does not name the thread's own lane",
                          members[lane]));
      return;
    }
    const uint32_t missing = members[lane] & warp.live() & ~mask;
    if (missing != 0) {
      warp.Report(FindingKind::kMisuse, lane,
                  absl::StrFormat("the mask of members, 0x%08x, names lane %d, which is not here",
                                  members[lane], std::countr_zero(missing)));
      return;
    }
  }
}

enum class Shuffle { kUp, kDown, kButterfly, kIndex };

template <Shuffle S>
void ShuffleLanes(Warp& warp, const Instruction& instruction, uint32_t mask) {
  CheckMembers(warp, instruction.sources[3], mask);
  const uint32_t* values = warp.Lanes<uint32_t>(instruction.sources[0]);
  const uint32_t* b = warp.Lanes<uint32_t>(instruction.sources[1]);
  const uint32_t* c = warp.Lanes<uint32_t>(instruction.sources[2]);
  warp.RequireDefined(instruction.sources[1], mask, "the lane of a shuffle");
  uint32_t results[kWarpSize] = {};
  uint32_t in_range = 0;
  uint32_t defined = 0;
  const uint32_t values_defined = warp.Defined(instruction.sources[0]);
  for (int lane : LanesOf(mask)) {
    const int by = static_cast<int>(b[lane] & 31);
    const int segment = static_cast<int>(c[lane] >> 8 & 31);
    const int clamp = static_cast<int>(c[lane] & 31);
    const int limit = (lane & segment) | (clamp & ~segment);
    int from = lane;
    bool within = false;
    switch (S) {
      case Shuffle::kUp:
        from = lane - by;
        within = from >= limit;
        break;
      case Shuffle::kDown:
        from = lane + by;
        within = from <= limit;
        break;
      case Shuffle::kButterfly:
        from = lane ^ by;
        within = from <= limit;
        break;
      case Shuffle::kIndex:
        from = (lane & segment) | (by & ~segment);
        within = from <= limit;
        break;
    }
    if (!within) from = lane;
    in_range |= uint32_t{within} << lane;
    // What a lane that takes no part would give is not defined.
    if ((mask >> from & 1) != 0) defined |= (values_defined >> from & 1) << lane;
    results[lane] = values[from];
  }
  warp.Store(instruction.results[0], results, mask);
  warp.SetDefined(instruction.results[0], defined, mask);
  if (instruction.result_count > 1) {
    warp.StorePredicate(instruction.results[1], in_range, mask);
    warp.SetDefined(instruction.results[1], kAllLanes, mask);
  }
}

void DecodeShuffle(StatementDecoder& d) {
  if (!d.Take("sync")) d.Fail("expected .sync");
  const int mode = d.TakeOneOf({"up", "down", "bfly", "idx"});
  if (d.TakeType() != Type::kB32 || mode < 0)
    d.Fail("expected .up, .down, .bfly or .idx, and .b32");
  d.ExpectOperands(5, 5);
  const Operand& result = d.operand(0);
  if (result.kind == Operand::Kind::kPair) {
    d.Result(result.elements[0], Type::kB32);
    d.Result(result.elements[1], Type::kPred);
  } else {
    d.Result(0, Type::kB32);
  }
  for (int i = 1; i < 5; ++i) d.Source(i, Type::kB32);
  constexpr Execute kModes[] = {&ShuffleLanes<Shuffle::kUp>, &ShuffleLanes<Shuffle::kDown>,
                                &ShuffleLanes<Shuffle::kButterfly>, &ShuffleLanes<Shuffle::kIndex>};
  if (mode >= 0) d.Execute(kModes[mode]);
}

enum class Vote { kAll, kAny, kUniform, kBallot };

template <Vote V>
void VoteLanes(Warp& warp, const Instruction& instruction, uint32_t mask) {
  CheckMembers(warp, instruction.sources[1], mask);
  warp.RequireDefined(instruction.sources[0], mask, "the predicate of a vote");
  uint32_t votes = warp.Predicate(instruction.sources[0]);
  if (instruction.detail != 0) votes = ~votes;
  const uint32_t* members = warp.Lanes<uint32_t>(instruction.sources[1]);
  uint32_t truth = 0;
  uint32_t ballots[kWarpSize] = {};
  for (int lane : LanesOf(mask)) {
    const uint32_t who = members[lane] & mask;
    const uint32_t yes = votes & who;
    ballots[lane] = yes;
    const bool result = V == Vote::kAll   ? yes == who
                        : V == Vote::kAny ? yes != 0
                                          : yes == who || yes == 0;
    truth |= uint32_t{result} << lane;
  }
  if (V == Vote::kBallot) {
    warp.Store(instruction.results[0], ballots, mask);
  } else {
    warp.StorePredicate(instruction.results[0], truth, mask);
  }
  warp.DefineResults(instruction, kAllLanes, mask);
}

void DecodeVote(StatementDecoder& d) {
  if (!d.Take("sync")) d.Fail("expected .sync");
  const int mode = d.TakeOneOf({"all", "any", "uni", "ballot"});
  const Type type = d.TakeType();
  d.ExpectOperands(3, 3);
  if (mode < 0 || type != (mode == 3 ? Type::kB32 : Type::kPred))
    d.Fail("expected .all, .any, .uni with .pred, or .ballot with .b32");
  d.Result(0, type);
  d.instruction().detail = d.PredicateSource(d.operand(1)) ? 1 : 0;
  d.Source(2, Type::kB32);
  constexpr Execute kModes[] = {&VoteLanes<Vote::kAll>, &VoteLanes<Vote::kAny>,
                                &VoteLanes<Vote::kUniform>, &VoteLanes<Vote::kBallot>};
  if (mode >= 0) d.Execute(kModes[mode]);
}

// For each lane the mask of those with its value; with All: the mask of members if they agree, else
// none.
template <class T, bool All>
void MatchLanes(Warp& warp, const Instruction& instruction, uint32_t mask) {
  CheckMembers(warp, instruction.sources[1], mask);
  warp.RequireDefined(instruction.sources[0], mask, "the value of a match");
  const T* values = warp.Lanes<T>(instruction.sources[0]);
  const uint32_t* members = warp.Lanes<uint32_t>(instruction.sources[1]);
  uint32_t results[kWarpSize] = {};
  uint32_t agree = 0;
  for (int lane : LanesOf(mask)) {
    uint32_t same = 0;
    for (int other : LanesOf(mask & members[lane]))
      same |= uint32_t{values[other] == values[lane]} << other;
    const bool all = same == (mask & members[lane]);
    results[lane] = All ? (all ? same : 0) : same;
    agree |= uint32_t{all} << lane;
  }
  warp.Store(instruction.results[0], results, mask);
  if (instruction.result_count > 1) warp.StorePredicate(instruction.results[1], agree, mask);
  warp.DefineResults(instruction, kAllLanes, mask);
}

void DecodeMatch(StatementDecoder& d) {
  const int mode = d.TakeOneOf({"any", "all"});
  if (!d.Take("sync") || mode < 0) d.Fail("expected .any or .all, and .sync");
  const Type type = d.TakeType();
  d.ExpectOperands(3, 3);
  const Operand& result = d.operand(0);
  if (result.kind == Operand::Kind::kPair) {
    if (mode == 0) d.Fail("expected no predicate with .any");
    d.Result(result.elements[0], Type::kB32);
    d.Result(result.elements[1], Type::kPred);
  } else {
    d.Result(0, Type::kB32);
  }
  d.Source(1, type);
  d.Source(2, Type::kB32);
  if (type == Type::kB32)
    d.Execute(mode == 1 ? &MatchLanes<uint32_t, true> : &MatchLanes<uint32_t, false>);
  if (type == Type::kB64)
    d.Execute(mode == 1 ? &MatchLanes<uint64_t, true> : &MatchLanes<uint64_t, false>);
}

void ActiveMask(Warp& warp, const Instruction& instruction, uint32_t mask) {
  uint32_t results[kWarpSize];
  std::fill(results, results + kWarpSize, mask);
  warp.Store(instruction.results[0], results, mask);
  warp.DefineResults(instruction, kAllLanes, mask);
}

void DecodeActiveMask(StatementDecoder& d) {
  if (d.TakeType() != Type::kB32) d.Fail("expected .b32");
  d.ExpectOperands(1, 1);
  d.Result(0, Type::kB32);
  d.Execute(&ActiveMask);
}

template <class T, T (*F)(T, T)>
void ReduceLanes(Warp& warp, const Instruction& instruction, uint32_t mask) {
  CheckMembers(warp, instruction.sources[1], mask);
  const T* values = warp.Lanes<T>(instruction.sources[0]);
  const uint32_t* members = warp.Lanes<uint32_t>(instruction.sources[1]);
  T results[kWarpSize] = {};
  uint32_t defined = 0;
  for (int lane : LanesOf(mask)) {
    const uint32_t who = members[lane] & mask;
    T total = values[std::countr_zero(who | 1u << lane)];
    bool first = true;
    for (int other : LanesOf(who)) {
      total = first ? values[other] : F(total, values[other]);
      first = false;
    }
    results[lane] = total;
    defined |= uint32_t{(who & ~warp.Defined(instruction.sources[0])) == 0} << lane;
  }
  warp.Store(instruction.results[0], results, mask);
  warp.DefineResults(instruction, defined, mask);
}

template <class T>
T Sum(T a, T b) {
  return a + b;
}
template <class T>
T Smaller(T a, T b) {
  return std::min(a, b);
}
template <class T>
T Larger(T a, T b) {
  return std::max(a, b);
}
uint32_t And(uint32_t a, uint32_t b) { return a & b; }
uint32_t Or(uint32_t a, uint32_t b) { return a | b; }
uint32_t Xor(uint32_t a, uint32_t b) { return a ^ b; }

void DecodeReduce(StatementDecoder& d) {
  if (!d.Take("sync")) d.Fail("expected .sync");
  const int operation = d.TakeOneOf({"add", "min", "max", "and", "or", "xor"});
  const Type type = d.TakeType();
  d.ExpectOperands(3, 3);
  d.Result(0, type);
  d.Source(1, type);
  d.Source(2, Type::kB32);
  const bool is_signed = type == Type::kS32;
  if (operation >= 0 && operation < 3 && (is_signed || type == Type::kU32)) {
    constexpr Execute kSigned[] = {&ReduceLanes<uint32_t, &Sum<uint32_t>>,
                                   &ReduceLanes<int32_t, &Smaller<int32_t>>,
                                   &ReduceLanes<int32_t, &Larger<int32_t>>};
    constexpr Execute kUnsigned[] = {&ReduceLanes<uint32_t, &Sum<uint32_t>>,
                                     &ReduceLanes<uint32_t, &Smaller<uint32_t>>,
                                     &ReduceLanes<uint32_t, &Larger<uint32_t>>};
    d.Execute(is_signed ? kSigned[operation] : kUnsigned[operation]);
  }
  constexpr Execute kBits[] = {&ReduceLanes<uint32_t, &And>, &ReduceLanes<uint32_t, &Or>,
                               &ReduceLanes<uint32_t, &Xor>};
  if (operation >= 3 && type == Type::kB32) d.Execute(kBits[operation - 3]);
}

// One lane of the members is chosen: the first.
void Elect(Warp& warp, const Instruction& instruction, uint32_t mask) {
  CheckMembers(warp, instruction.sources[0], mask);
  const uint32_t* members = warp.Lanes<uint32_t>(instruction.sources[0]);
  uint32_t leaders[kWarpSize] = {};
  uint32_t is_leader = 0;
  for (int lane : LanesOf(mask)) {
    leaders[lane] = static_cast<uint32_t>(std::countr_zero((members[lane] & mask) | 1u << lane));
    is_leader |= uint32_t{leaders[lane] == static_cast<uint32_t>(lane)} << lane;
  }
  warp.Store(instruction.results[0], leaders, mask);
  warp.StorePredicate(instruction.results[1], is_leader, mask);
  warp.DefineResults(instruction, kAllLanes, mask);
}

void DecodeElect(StatementDecoder& d) {
  if (!d.Take("sync")) d.Fail("expected .sync");
  d.ExpectOperands(2, 2);
  const Operand& result = d.operand(0);
  if (result.kind != Operand::Kind::kPair)
    return d.Fail("expected a register and a predicate: d|p");
  d.Result(result.elements[0], Type::kB32);
  d.Result(result.elements[1], Type::kPred);
  d.Source(1, Type::kB32);
  d.Execute(&Elect);
}

}  // namespace

std::vector<Opcode> WarpOpcodes() {
  return {
      {"shfl", DecodeShuffle},          {"vote", DecodeVote},    {"match", DecodeMatch},
      {"activemask", DecodeActiveMask}, {"redux", DecodeReduce}, {"elect", DecodeElect},
  };
}

}  // namespace weft::ptx
