#include <cstring>
#include <utility>

#include "runtime/ptx_emulator/async.h"
#include "runtime/ptx_emulator/block.h"
#include "runtime/ptx_emulator/lanes.h"
#include "runtime/ptx_emulator/racing_bytes.h"
#include "runtime/ptx_emulator/text.h"

// cp.async and its groups; bulk copies have a file of their own.
namespace weft::ptx {
namespace {

// sources: global address, shared address, and where given the number of bytes to read, or a
// predicate that says to read none.
constexpr uint64_t kHasSourceBytes = 1, kHasIgnore = 2, kIgnoreNegated = 4;

struct Detail {
  int64_t global_offset = 0;
  uint64_t options = 0;
};

void CopyAsync(Warp& warp, const Instruction& instruction, uint32_t mask) {
  const auto& detail = *reinterpret_cast<const Detail*>(instruction.detail);
  Block& block = warp.block();
  warp.RequireDefined(instruction.sources[0], mask, "the address of the source");
  warp.RequireDefined(instruction.sources[1], mask, "the address of the destination");
  if (instruction.source_count > 2)
    warp.RequireDefined(instruction.sources[2], mask, "the number of bytes of the source");
  const int bytes = instruction.element_bytes;
  uint64_t addresses[kWarpSize];
  for (int lane : LanesOf(mask)) {
    addresses[lane] = warp.AddressOf(instruction, instruction.sources[1], lane);
    const uint64_t to = Block::Classify(Space::kShared, addresses[lane]).second;
    const uint64_t from = warp.Lanes<uint64_t>(instruction.sources[0])[lane] +
                          static_cast<uint64_t>(detail.global_offset);
    if (!block.CheckShared(warp, lane, to, bytes, bytes, true)) continue;
    AsyncCopies::Copy copy;
    copy.shared = static_cast<uint32_t>(to);
    copy.bytes = copy.source_bytes = bytes;
    if ((detail.options & kHasSourceBytes) != 0) {
      const uint32_t given = warp.Lanes<uint32_t>(instruction.sources[2])[lane];
      if (given > static_cast<uint32_t>(bytes)) {
        warp.Report(FindingKind::kMisuse, lane, Cat("copies ", given, " bytes of ", bytes));
        continue;
      }
      copy.source_bytes = static_cast<int>(given);
    } else if ((detail.options & kHasIgnore) != 0) {
      const bool ignore = (warp.Predicate(instruction.sources[2]) >> lane & 1) !=
                          ((detail.options & kIgnoreNegated) != 0 ? 1u : 0u);
      if (ignore) copy.source_bytes = 0;
    }
    if (copy.source_bytes > 0) {
      if (!block.CheckAlignment(warp, lane, Space::kGlobal, from, bytes)) continue;
      const Block::GlobalBytes source = block.Global(warp, lane, from, copy.source_bytes, false);
      if (source.data == nullptr) continue;
      if (!NoneIsZero(source.written, copy.source_bytes)) {
        std::string where = block.launch().memory.Describe(from);
        warp.Report(FindingKind::kUninitializedMemory, lane,
                    Cat("copies ", copy.source_bytes, " bytes that were never written, ", where),
                    from, where);
      }
      copy.source = source.data;
      copy.holder = block.Holder(warp);
    }
    block.async().Issue(warp, lane, std::move(copy));
  }
  block.CountConflicts(Space::kShared, addresses, mask, bytes);
}

void Commit(Warp& warp, const Instruction&, uint32_t mask) {
  for (int lane : LanesOf(mask)) warp.block().async().Commit(warp, lane);
}

void Wait(Warp& warp, const Instruction& instruction, uint32_t mask) {
  for (int lane : LanesOf(mask))
    warp.block().async().Wait(warp, lane,
                              static_cast<int>(static_cast<int64_t>(instruction.detail)));
}

// The mbarrier counts an arrival when the copies that the thread issued so far are there.
void ArriveAfterCopies(Warp& warp, const Instruction& instruction, uint32_t mask) {
  Block& block = warp.block();
  warp.RequireDefined(instruction.sources[0], mask, "the address");
  for (int lane : LanesOf(mask)) {
    const uint64_t address = warp.AddressOf(instruction, instruction.sources[0], lane);
    const auto at = static_cast<uint32_t>(Block::Classify(instruction.space, address).second);
    AsyncCopies::Mbarrier* barrier = block.async().Find(warp, lane, at);
    if (barrier == nullptr) continue;
    // Without .noinc the arrival is one that the barrier did not count on.
    if (instruction.detail == 0) ++barrier->pending;
    block.async().ArriveWhenCopied(warp, lane, at);
  }
}

void DecodeAsync(StatementDecoder& d) {
  Instruction& instruction = d.instruction();
  if (d.Take("commit_group")) {
    d.ExpectOperands(0, 0);
    return d.Execute(&Commit);
  }
  if (d.Take("wait_all")) {
    d.ExpectOperands(0, 0);
    instruction.detail = static_cast<uint64_t>(int64_t{-1});
    return d.Execute(&Wait);
  }
  if (d.Take("wait_group")) {
    d.ExpectOperands(1, 1);
    const int64_t groups = d.Immediate(0);
    if (groups < 0 || groups > 1 << 20) d.Fail("expected a number of groups");
    instruction.detail = static_cast<uint64_t>(groups);
    return d.Execute(&Wait);
  }
  if (d.Take("mbarrier")) {
    if (!d.Take("arrive")) d.Fail("expected .arrive");
    instruction.detail = d.Take("noinc") ? 1 : 0;
    instruction.space = d.TakeSpace();
    d.Take("b64");
    d.ExpectOperands(1, 1);
    d.Address(0);
    return d.Execute(&ArriveAfterCopies);
  }
  size_t operands = d.operand_count();
  const int cache = d.TakeOneOf({"ca", "cg"});
  const int target = d.TakeOneOf({"shared", "shared::cta"});
  if (cache < 0 || target < 0 || !d.Take("global"))
    return d.Fail("expected .ca or .cg, .shared and .global");
  d.TakeCacheHints(&operands);
  instruction.space = Space::kShared;
  if (operands < 3 || operands > 4)
    return d.Fail("expected two addresses, a size, and at most a size of the source");
  Detail detail;
  d.Address(1);
  detail.global_offset = instruction.offset;
  if (instruction.short_address) d.Fail("expected a 64-bit address of the source");
  d.Address(0);
  const int64_t bytes = d.Immediate(2);
  if (bytes != 16 && (cache == 1 || (bytes != 4 && bytes != 8)))
    d.Fail("expected 16 bytes, or with .ca also 4 or 8");
  instruction.element_bytes = static_cast<uint8_t>(bytes);
  if (operands == 4) {
    const Operand& last = d.operand(3);
    const bool is_predicate =
        last.kind == Operand::Kind::kNot || d.RegisterType(last) == Type::kPred;
    if (is_predicate) {
      detail.options = kHasIgnore | (d.PredicateSource(last) ? kIgnoreNegated : 0);
    } else {
      detail.options = kHasSourceBytes;
      d.Source(3, Type::kU32);
    }
  }
  instruction.detail = reinterpret_cast<uint64_t>(d.builder().KeepData(detail));
  d.Execute(&CopyAsync);
}

void DecodeCopy(StatementDecoder& d) {
  if (!d.Take("async")) return d.Fail("expected cp.async");
  if (d.Take("bulk")) return DecodeBulkCopy(d);

  DecodeAsync(d);
}

}  // namespace

std::vector<Opcode> AsyncCopyOpcodes() { return {{"cp", DecodeCopy}}; }

}  // namespace weft::ptx
