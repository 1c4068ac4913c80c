#include <bit>

#include "runtime/ptx_emulator/async.h"
#include "runtime/ptx_emulator/block.h"
#include "runtime/ptx_emulator/lanes.h"

// Barriers of blocks and warps, mbarriers, and fences.
namespace weft::ptx {
namespace {

void Nothing(Warp&, const Instruction&, uint32_t) {}

// Between accesses of threads and those of asynchronous operations.
void ProxyFence(Warp& warp, const Instruction&, uint32_t mask) {
  Block& block = warp.block();
  const bool all_lanes = mask == warp.live();
  if (!all_lanes) block.shared().FenceWrites(block.order(), warp.index(), mask);
  block.order().Fence(warp.index(), all_lanes);
}

// By those who made mbarriers: then copies may count there.
void MbarrierFence(Warp& warp, const Instruction&, uint32_t mask) {
  warp.block().async().FenceInits(warp, mask);
}

// Any other fence orders the memory accesses of one thread; lanes and warps run here in an order in
// which that is so already.
void DecodeFence(StatementDecoder& d) {
  bool proxy = false, to_async = false, elsewhere = false, of_mbarriers = false;
  while (!d.PeekNext().empty()) {
    const std::string_view next = d.TakeNext();
    constexpr std::string_view kKnown[] = {"sc",
                                           "acq_rel",
                                           "acquire",
                                           "release",
                                           "cta",
                                           "cluster",
                                           "gpu",
                                           "sys",
                                           "gl",
                                           "proxy",
                                           "alias",
                                           "async",
                                           "async::global",
                                           "async::shared::cta",
                                           "async::shared::cluster",
                                           "async::generic",
                                           "tensormap::generic",
                                           "mbarrier_init",
                                           "sync_restrict::shared::cta",
                                           "sync_restrict::shared::cluster",
                                           "global",
                                           "shared::cta"};
    bool known = false;
    for (std::string_view name : kKnown) known |= name == next;
    if (!known) return d.Fail("expected a kind of fence or its scope");
    proxy |= next == "proxy";
    to_async |= next == "async" || next.starts_with("async::shared::");
    elsewhere |= next == "global";
    of_mbarriers |= next == "mbarrier_init";
  }
  if (of_mbarriers) return d.Execute(&MbarrierFence);
  d.Execute(proxy && to_async && !elsewhere ? &ProxyFence : &Nothing);
}

void WarpBarrier(Warp& warp, const Instruction& instruction, uint32_t mask) {
  const uint32_t* members = warp.Lanes<uint32_t>(instruction.sources[0]);
  warp.RequireDefined(instruction.sources[0], mask, "the mask of members");
  for (int lane : LanesOf(mask)) {
    if ((members[lane] & warp.live() & ~mask) != 0 || (members[lane] >> lane & 1) == 0) {
      warp.Report(FindingKind::kBarrierDivergence, lane,
                  "the threads that the mask names are not all at this barrier of the warp");
      return;
    }
  }
  warp.block().order().Advance(warp.index());
}

void DecodeBarrierOfBlock(StatementDecoder& d) {
  Instruction& instruction = d.instruction();
  d.Take("cta");
  const int kind = d.TakeOneOf({"sync", "arrive", "red"});
  // "bar" is aligned by itself.
  instruction.uniform = d.Take("aligned") || d.name() == "bar";
  instruction.control = Control::kBarrier;
  if (kind < 0) return d.Fail("expected .sync, .arrive or .red");
  BarrierOperation operation = kind == 0 ? BarrierOperation::kSync : BarrierOperation::kArrive;
  size_t first = 0;
  size_t count = d.operand_count();
  if (kind == 2) {
    const int reduction = d.TakeOneOf({"popc", "and", "or"});
    const Type type = d.TakeType();
    constexpr BarrierOperation kReductions[] = {BarrierOperation::kCount, BarrierOperation::kAnd,
                                                BarrierOperation::kOr};
    if (reduction < 0 || type != (reduction == 0 ? Type::kU32 : Type::kPred))
      return d.Fail("expected .popc.u32, .and.pred or .or.pred");
    operation = kReductions[reduction];
    d.ExpectOperands(3, 4);
    if (count < 3) return;
    d.Result(0, type);
    first = 1;
    --count;
  } else {
    d.ExpectOperands(kind == 1 ? 2 : 1, 2);
  }
  instruction.detail = static_cast<uint64_t>(operation);
  if (count == 0) return;
  d.Source(first, Type::kU32);
  if (count - first == 2 || (kind == 2 && count == 3)) {
    d.Source(first + 1, Type::kU32);
    instruction.detail |= 0x100;
  }
  if (kind == 2 && d.PredicateSource(d.operand(count))) instruction.detail |= 0x200;
}

// bar and barrier.
void DecodeBarrier(StatementDecoder& d) {
  Instruction& instruction = d.instruction();
  if (d.Take("warp")) {
    if (!d.Take("sync")) d.Fail("expected .sync");
    d.ExpectOperands(1, 1);
    d.Source(0, Type::kB32);
    return d.Execute(&WarpBarrier);
  }
  if (d.Take("cluster")) {
    const int kind = d.TakeOneOf({"arrive", "wait"});
    d.TakeOneOf({"release", "relaxed", "acquire"});
    instruction.uniform = d.Take("aligned");
    d.ExpectOperands(0, 0);
    if (kind < 0) return d.Fail("expected .arrive or .wait");
    // All threads both arrive and wait; that the block is at the wait is that it has arrived.
    if (kind == 0) return d.Execute(&Nothing);
    Operand number;
    number.kind = Operand::Kind::kInteger;
    number.value = kClusterBarrier;
    d.Source(number, Type::kU32);
    instruction.detail = static_cast<uint64_t>(BarrierOperation::kSync) | 0x400;
    instruction.control = Control::kBarrier;
    return;
  }
  DecodeBarrierOfBlock(d);
}

void DecodeNothing(StatementDecoder& d) {
  while (!d.PeekNext().empty()) d.TakeNext();
  d.Execute(&Nothing);
}

// How many registers there are makes no difference here.
void SetRegisters(Warp& warp, const Instruction&, uint32_t mask) {
  if (mask == kAllLanes) return;
  warp.Report(FindingKind::kMisuse, -1, "setmaxnreg needs all 128 threads of the warpgroup");
}

void DecodeRegisters(StatementDecoder& d) {
  const int action = d.TakeOneOf({"inc", "dec"});
  d.Take("sync");
  d.Take("aligned");
  d.Take("u32");
  d.ExpectOperands(1, 1);
  const int64_t count = d.Immediate(0);
  if (action < 0 || count < 24 || count > 256 || count % 8 != 0)
    return d.Fail("expected .inc or .dec, and a multiple of 8 from 24 to 256");
  d.Execute(&SetRegisters);
}

void Sleep(Warp& warp, const Instruction&, uint32_t) { warp.Yield(); }

void DecodeSleep(StatementDecoder& d) {
  d.Take("u32");
  d.ExpectOperands(1, 1);
  d.Source(0, Type::kU32);
  d.Execute(&Sleep);
}

// mbarriers: sources[0] is the address.
uint32_t SharedAddress(Warp& warp, const Instruction& instruction, int lane) {
  const uint64_t address = warp.AddressOf(instruction, instruction.sources[0], lane);
  return static_cast<uint32_t>(Block::Classify(instruction.space, address).second);
}

void MbarrierInit(Warp& warp, const Instruction& instruction, uint32_t mask) {
  warp.RequireDefined(instruction.sources[0], mask, "the address");
  warp.RequireDefined(instruction.sources[1], mask, "the count of an mbarrier");
  for (int lane : LanesOf(mask)) {
    warp.block().async().Init(warp, lane, SharedAddress(warp, instruction, lane),
                              warp.Lanes<uint32_t>(instruction.sources[1])[lane]);
  }
}

void MbarrierInvalidate(Warp& warp, const Instruction& instruction, uint32_t mask) {
  warp.RequireDefined(instruction.sources[0], mask, "the address");
  for (int lane : LanesOf(mask))
    warp.block().async().Invalidate(warp, lane, SharedAddress(warp, instruction, lane));
}

// Instruction::detail of arrivals.
constexpr uint64_t kDrop = 1, kHasCount = 2, kHasTransactions = 4;

void MbarrierArrive(Warp& warp, const Instruction& instruction, uint32_t mask) {
  warp.RequireDefined(instruction.sources[0], mask, "the address");
  int next = 1;
  const uint32_t* transactions = (instruction.detail & kHasTransactions) != 0
                                     ? warp.Lanes<uint32_t>(instruction.sources[next++])
                                     : nullptr;
  const uint32_t* counts = (instruction.detail & kHasCount) != 0
                               ? warp.Lanes<uint32_t>(instruction.sources[next++])
                               : nullptr;
  for (int i = 1; i < instruction.source_count; ++i)
    warp.RequireDefined(instruction.sources[i], mask, "the count of an mbarrier");
  uint64_t tokens[kWarpSize] = {};
  for (int lane : LanesOf(mask)) {
    tokens[lane] = warp.block().async().Arrive(
        warp, lane, SharedAddress(warp, instruction, lane), counts != nullptr ? counts[lane] : 1,
        transactions != nullptr ? transactions[lane] : 0, (instruction.detail & kDrop) != 0);
  }
  if (instruction.result_count > 0) warp.Store(instruction.results[0], tokens, mask);
  warp.DefineResults(instruction, kAllLanes, mask);
}

template <bool Complete>
void MbarrierTransactions(Warp& warp, const Instruction& instruction, uint32_t mask) {
  warp.RequireDefined(instruction.sources[0], mask, "the address");
  warp.RequireDefined(instruction.sources[1], mask, "the number of bytes");
  const uint32_t* bytes = warp.Lanes<uint32_t>(instruction.sources[1]);
  for (int lane : LanesOf(mask)) {
    const uint32_t address = SharedAddress(warp, instruction, lane);
    if (Complete) {
      warp.block().async().CompleteTransactions(address, bytes[lane]);
    } else {
      warp.block().async().ExpectTransactions(warp, lane, address, bytes[lane]);
    }
  }
}

template <bool Parity>
void MbarrierWait(Warp& warp, const Instruction& instruction, uint32_t mask) {
  warp.RequireDefined(instruction.sources[0], mask, "the address");
  warp.RequireDefined(instruction.sources[1], mask, "the phase of an mbarrier");
  uint32_t done = 0;
  AsyncCopies& async = warp.block().async();
  for (int lane : LanesOf(mask)) {
    const uint32_t address = SharedAddress(warp, instruction, lane);
    const bool is_done =
        Parity ? async.TestWaitParity(warp, lane, address,
                                      warp.Lanes<uint32_t>(instruction.sources[1])[lane])
               : async.TestWait(warp, lane, address,
                                warp.Lanes<uint64_t>(instruction.sources[1])[lane]);
    done |= uint32_t{is_done} << lane;
  }
  if (done != mask) warp.Yield();
  warp.StorePredicate(instruction.results[0], done, mask);
  warp.DefineResults(instruction, kAllLanes, mask);
}

void DecodeMbarrier(StatementDecoder& d) {
  Instruction& instruction = d.instruction();
  const int kind = d.TakeOneOf({"init", "inval", "arrive", "arrive_drop", "test_wait", "try_wait",
                                "expect_tx", "complete_tx"});
  const bool expect = kind == 2 || kind == 3 ? d.Take("expect_tx") : false;
  const bool parity = d.Take("parity");
  d.TakeOneOf({"release", "acquire", "relaxed"});
  d.TakeOneOf({"cta", "cluster"});
  d.Take("noComplete");
  instruction.space = d.TakeSpace();
  const bool typed = d.Take("b64");
  if (kind < 0 || (!typed && kind < 6))
    return d.Fail("expected an operation of mbarriers and .b64");
  switch (kind) {
    case 0:
      d.ExpectOperands(2, 2);
      d.Address(0);
      d.Source(1, Type::kU32);
      return d.Execute(&MbarrierInit);
    case 1:
      d.ExpectOperands(1, 1);
      d.Address(0);
      return d.Execute(&MbarrierInvalidate);
    case 2:
    case 3: {
      d.ExpectOperands(1, 4);
      // The token is left out for a barrier of the cluster.
      const size_t first = d.operand(0).kind == Operand::Kind::kAddress ? 0 : 1;
      if (first == 1) d.Result(0, Type::kB64);
      d.Address(first);
      instruction.detail = kind == 3 ? kDrop : 0;
      const size_t rest = d.operand_count() - first - 1;
      if (expect) instruction.detail |= kHasTransactions;
      if (expect ? rest != 1 : rest > 1) return d.Fail("expected one count after the address");
      if (rest == 1) d.Source(first + 1, Type::kU32);
      if (!expect && rest == 1) instruction.detail |= kHasCount;
      return d.Execute(&MbarrierArrive);
    }
    case 4:
    case 5:
      d.ExpectOperands(3, 4);  // the fourth bounds the time of try_wait, which fails here at once
      d.Result(0, Type::kPred);
      d.Address(1);
      d.Source(2, parity ? Type::kU32 : Type::kB64);
      return d.Execute(parity ? &MbarrierWait<true> : &MbarrierWait<false>);
    default:
      d.ExpectOperands(2, 2);
      d.Address(0);
      d.Source(1, Type::kU32);
      return d.Execute(kind == 6 ? &MbarrierTransactions<false> : &MbarrierTransactions<true>);
  }
}

}  // namespace

std::vector<Opcode> SynchronizationOpcodes() {
  return {
      {"bar", DecodeBarrier},          {"barrier", DecodeBarrier},
      {"fence", DecodeFence},          {"membar", DecodeFence},
      {"nanosleep", DecodeSleep},      {"griddepcontrol", DecodeNothing},
      {"setmaxnreg", DecodeRegisters}, {"pmevent", DecodeNothing},
      {"mbarrier", DecodeMbarrier},
  };
}

}  // namespace weft::ptx
