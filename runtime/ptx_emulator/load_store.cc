#include <cstring>

#include "runtime/ptx_emulator/block.h"
#include "runtime/ptx_emulator/lanes.h"

// ld and st.
namespace weft::ptx {

Space StatementDecoder::TakeSpace() {
  const int space = TakeOneOf({"global", "shared", "shared::cta", "shared::cluster", "local",
                               "param", "param::entry", "param::func", "const"});
  constexpr Space kSpaces[] = {Space::kGlobal, Space::kShared, Space::kShared,
                               Space::kShared, Space::kLocal,  Space::kParam,
                               Space::kParam,  Space::kParam,  Space::kConst};
  return space < 0 ? Space::kGeneric : kSpaces[space];
}

void StatementDecoder::TakeCacheHints(size_t* operands) {
  TakeOneOf({"ca", "cg", "cs", "lu", "cv", "wb", "wt"});
  TakeOneOf({"L1::evict_normal", "L1::evict_unchanged", "L1::evict_first", "L1::evict_last",
             "L1::no_allocate"});
  TakeOneOf({"L2::evict_normal", "L2::evict_first", "L2::evict_last"});
  TakeOneOf({"L2::64B", "L2::128B", "L2::256B"});
  if (Take("L2::cache_hint")) --*operands;  // the policy is the last operand
}

namespace {

// Bytes of the registers of an access, which may be wider than its elements; 0 for what goes
// nowhere. Signed elements extend their sign.
struct Widths {
  uint8_t registers[8] = {};
  bool is_signed = false;
};

void LoadLanes(Warp& warp, const Instruction& instruction, uint32_t mask) {
  const Ref& base = instruction.sources[0];
  warp.RequireDefined(base, mask, "the address");
  const auto& widths = *reinterpret_cast<const Widths*>(instruction.detail);
  const int part = instruction.element_bytes;
  const int bytes = part * instruction.count;
  Block& block = warp.block();
  uint64_t addresses[kWarpSize];
  for (int lane : LanesOf(mask)) {
    std::byte value[32];
    addresses[lane] = warp.AddressOf(instruction, base, lane);
    block.Load(warp, lane, instruction.space, addresses[lane], bytes, value,
               instruction.synchronizing);
    for (int i = 0; i < instruction.count; ++i) {
      const int width = widths.registers[i];
      if (width == 0) continue;
      std::byte* to = warp.Lanes<std::byte>(instruction.results[i]) + lane * width;
      std::memcpy(to, value + i * part, part);
      if (width > part) {
        const bool negative =
            widths.is_signed && (static_cast<uint8_t>(value[i * part + part - 1]) & 0x80) != 0;
        std::memset(to + part, negative ? 0xff : 0, width - part);
      }
    }
  }
  block.CountConflicts(instruction.space, addresses, mask, bytes);
  block.CountTraffic(instruction.space, addresses, mask, bytes);
  warp.DefineResults(instruction, kAllLanes, mask);
}

void StoreLanes(Warp& warp, const Instruction& instruction, uint32_t mask) {
  const Ref& base = instruction.sources[0];
  warp.RequireDefined(base, mask, "the address");
  const auto& widths = *reinterpret_cast<const Widths*>(instruction.detail);
  const int part = instruction.element_bytes;
  const int bytes = part * instruction.count;
  uint32_t defined = kAllLanes;
  for (int i = 0; i < instruction.count; ++i) defined &= warp.Defined(instruction.sources[1 + i]);
  Block& block = warp.block();
  uint64_t addresses[kWarpSize];
  for (int lane : LanesOf(mask)) {
    std::byte value[32];
    for (int i = 0; i < instruction.count; ++i) {
      std::memcpy(value + i * part,
                  warp.Lanes<std::byte>(instruction.sources[1 + i]) + lane * widths.registers[i],
                  part);
    }
    const uint64_t address = addresses[lane] = warp.AddressOf(instruction, base, lane);
    if ((defined >> lane & 1) != 0) {
      block.Store(warp, lane, instruction.space, address, bytes, value, true,
                  instruction.synchronizing);
      continue;
    }
    for (int i = 0; i < instruction.count; ++i) {
      const bool element_defined = (warp.Defined(instruction.sources[1 + i]) >> lane & 1) != 0;
      block.Store(warp, lane, instruction.space, address + i * part, part, value + i * part,
                  element_defined, instruction.synchronizing);
    }
  }
  block.CountConflicts(instruction.space, addresses, mask, bytes);
  block.CountTraffic(instruction.space, addresses, mask, bytes);
}

// What ld and st have in common before their operands.
Type DecodeAccess(StatementDecoder& d, size_t* operands) {
  *operands = d.operand_count();
  Instruction& instruction = d.instruction();
  const int order = d.TakeOneOf({"weak", "volatile", "relaxed", "acquire", "release", "mmio"});
  instruction.synchronizing = order > 0;
  d.TakeOneOf({"cta", "cluster", "gpu", "sys"});
  instruction.space = d.TakeSpace();
  d.Take("nc");
  d.TakeCacheHints(operands);
  const int vector = d.TakeOneOf({"v2", "v4", "v8"});
  instruction.count = static_cast<uint8_t>(vector < 0 ? 1 : 2 << vector);
  const Type type = d.TakeType();
  instruction.element_bytes = static_cast<uint8_t>(SizeOf(type));
  if (SizeOf(type) == 0 || SizeOf(type) * instruction.count > 32)
    d.Fail("expected a type of at most 32 bytes with its vector");
  return type;
}

void DecodeLoad(StatementDecoder& d) {
  d.Take("unified");
  size_t operands = 0;
  const Type type = DecodeAccess(d, &operands);
  const int count = d.instruction().count;
  if (operands != 2) d.Fail("expected a result and an address");
  d.Address(1);
  Widths widths;
  widths.is_signed = IsSigned(type);
  const Operand* results = count > 1 ? d.Elements(0, count) : &d.operand(0);
  if (results == nullptr) return;
  for (int i = 0; i < count; ++i) {
    d.Result(results[i], type, true);
    widths.registers[i] = static_cast<uint8_t>(d.WidthOf(results[i]));
  }
  d.instruction().detail = reinterpret_cast<uint64_t>(d.builder().KeepData(widths));
  d.Execute(&LoadLanes);
}

void DecodeStore(StatementDecoder& d) {
  size_t operands = 0;
  const Type type = DecodeAccess(d, &operands);
  const int count = d.instruction().count;
  if (operands != 2) d.Fail("expected an address and a source");
  d.Address(0);
  Widths widths;
  const Operand* sources = count > 1 ? d.Elements(1, count) : &d.operand(1);
  if (sources == nullptr) return;
  for (int i = 0; i < count; ++i) {
    d.Source(sources[i], type, true);
    const int width = d.WidthOf(sources[i]);
    widths.registers[i] = static_cast<uint8_t>(width == 0 ? SizeOf(type) : width);
  }
  d.instruction().detail = reinterpret_cast<uint64_t>(d.builder().KeepData(widths));
  d.Execute(&StoreLanes);
}

void Nothing(Warp&, const Instruction&, uint32_t) {}

// Hints about caches change no value.
void DecodePrefetch(StatementDecoder& d) {
  d.TakeSpace();
  while (d.TakeOneOf({"L1", "L2", "L2::evict_last", "L2::evict_normal", "L2::128B", "tensormap"}) >=
         0) {
  }
  if (d.operand_count() < 1) d.Fail("expected an address");
  d.Address(0);
  d.Execute(&Nothing);
}

}  // namespace

std::vector<Opcode> LoadStoreOpcodes() {
  return {
      {"ld", DecodeLoad},           {"ldu", DecodeLoad},           {"st", DecodeStore},
      {"prefetch", DecodePrefetch}, {"prefetchu", DecodePrefetch},
  };
}

}  // namespace weft::ptx
