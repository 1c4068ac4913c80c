#include <cstring>

#include "runtime/ptx_emulator/block.h"
#include "runtime/ptx_emulator/lanes.h"

// Moves, packing of vectors into registers, clocks, and addresses between spaces.
namespace weft::ptx {
namespace {

template <class T>
T Copy(T a) {
  return a;
}

struct Wide {
  uint64_t low, high;
};

void CopyPredicate(Warp& warp, const Instruction& instruction, uint32_t mask) {
  warp.StorePredicate(instruction.results[0], warp.Predicate(instruction.sources[0]), mask);
  warp.DefineResults(instruction, warp.SourcesDefined(instruction), mask);
}

// d = {a, b, ...}: parts of `element_bytes`.
void Pack(Warp& warp, const Instruction& instruction, uint32_t mask) {
  const int part = instruction.element_bytes;
  const int whole = part * instruction.source_count;
  auto* result = warp.Lanes<std::byte>(instruction.results[0]);
  for (int i = 0; i < instruction.source_count; ++i) {
    const auto* source = warp.Lanes<std::byte>(instruction.sources[i]);
    for (int lane : LanesOf(mask))
      std::memcpy(result + lane * whole + i * part, source + lane * part, part);
  }
  warp.DefineResults(instruction, warp.SourcesDefined(instruction), mask);
}

// {a, b, ...} = s.
void Unpack(Warp& warp, const Instruction& instruction, uint32_t mask) {
  const int part = instruction.element_bytes;
  const int whole = part * instruction.result_count;
  std::byte source[16 * kWarpSize];
  std::memcpy(source, warp.Lanes<std::byte>(instruction.sources[0]), whole * kWarpSize);
  for (int i = 0; i < instruction.result_count; ++i) {
    auto* result = warp.Lanes<std::byte>(instruction.results[i]);
    for (int lane : LanesOf(mask))
      std::memcpy(result + lane * part, source + lane * whole + i * part, part);
  }
  warp.DefineResults(instruction, warp.SourcesDefined(instruction), mask);
}

// Clocks count instructions, so that they are the same in each run.
void ReadClock(Warp& warp, const Instruction& instruction, uint32_t mask) {
  const auto clock = static_cast<uint64_t>(warp.block().steps());
  if (instruction.element_bytes == 8) {
    uint64_t values[kWarpSize];
    for (uint64_t& value : values) value = clock;
    warp.Store(instruction.results[0], values, mask);
  } else {
    uint32_t values[kWarpSize];
    for (uint32_t& value : values)
      value = static_cast<uint32_t>(instruction.detail != 0 ? clock >> 32 : clock);
    warp.Store(instruction.results[0], values, mask);
  }
  warp.DefineResults(instruction, kAllLanes, mask);
}

Type BitsOf(int bytes) {
  switch (bytes) {
    case 2:
      return Type::kB16;
    case 4:
      return Type::kB32;
    case 8:
      return Type::kB64;
    default:
      return Type::kB128;
  }
}

void DecodeMove(StatementDecoder& d) {
  const Type type = d.TakeType();
  d.ExpectOperands(2, 2);
  if (type == Type::kPred) {
    d.Result(0, type);
    d.Source(1, type);
    return d.Execute(&CopyPredicate);
  }
  const int bytes = SizeOf(type);
  for (int side = 0; side < 2; ++side) {
    if (!d.IsVector(side)) continue;
    const size_t count = d.operand(side).elements.size();
    if ((count != 2 && count != 4) || bytes / static_cast<int>(count) < 2)
      return d.Fail("expected a vector of 2 or 4 parts of at least 16 bits");
    const Operand* elements = d.Elements(side, count);
    const Type part = BitsOf(bytes / static_cast<int>(count));
    d.instruction().element_bytes = static_cast<uint8_t>(SizeOf(part));
    if (side == 0) {
      for (size_t i = 0; i < count; ++i) d.Result(elements[i], part);
      d.Source(1, type);
      return d.Execute(&Unpack);
    }
    d.Result(0, type);
    for (size_t i = 0; i < count; ++i) d.Source(elements[i], part);
    return d.Execute(&Pack);
  }
  d.Result(0, type);
  const Operand& source = d.operand(1);
  if (source.kind == Operand::Kind::kSpecial) {
    const bool is_clock = source.name == "%clock" || source.name == "%clock_hi" ||
                          source.name == "%clock64" || source.name == "%globaltimer" ||
                          source.name == "%globaltimer_lo" || source.name == "%globaltimer_hi";
    if (is_clock) {
      d.instruction().element_bytes = static_cast<uint8_t>(bytes);
      d.instruction().detail = source.name.ends_with("_hi") ? 1 : 0;
      if (bytes < 4) d.Fail("expected a type of 32 or 64 bits");
      return d.Execute(&ReadClock);
    }
  }
  d.Source(1, type);
  if (bytes == 16) return d.Execute(Map<&Copy<Wide>>);
  d.Execute(ForBits(bytes, 2, []<class T>(T) { return Map<&Copy<T>>; }));
}

template <uint64_t Window>
uint64_t ToGeneric(uint64_t address) {
  return address + Window;
}
template <uint64_t Window>
uint64_t FromGeneric(uint64_t address) {
  return address - Window;
}
// cvta.shared: own to generic address; cvta.to.shared: back.
void DecodeConvertAddress(StatementDecoder& d) {
  const bool back = d.Take("to");
  const int space = d.TakeOneOf(
      {"global", "const", "param", "shared", "shared::cta", "shared::cluster", "local"});
  const Type type = d.TakeType();
  d.ExpectOperands(2, 2);
  if (space < 0 || type != Type::kU64) d.Fail("expected a space and .u64");
  d.Result(0, type);
  d.Source(1, type);
  if (space <= 2) return d.Execute(Map<&Copy<uint64_t>>);
  if (space == 6)
    return d.Execute(back ? Map<&FromGeneric<kLocalWindow>> : Map<&ToGeneric<kLocalWindow>>);
  d.Execute(back ? Map<&FromGeneric<kSharedWindow>> : Map<&ToGeneric<kSharedWindow>>);
}

void IsSpace(Warp& warp, const Instruction& instruction, uint32_t mask) {
  const uint64_t* address = warp.Lanes<uint64_t>(instruction.sources[0]);
  uint32_t bits = 0;
  for (int l = 0; l < kWarpSize; ++l)
    bits |= uint32_t{Block::Classify(Space::kGeneric, address[l]).first == instruction.space} << l;
  warp.StorePredicate(instruction.results[0], bits, mask);
  warp.DefineResults(instruction, warp.SourcesDefined(instruction), mask);
}

void DecodeIsSpace(StatementDecoder& d) {
  const int space = d.TakeOneOf({"global", "shared", "shared::cta", "local", "param"});
  constexpr Space kSpaces[] = {Space::kGlobal, Space::kShared, Space::kShared, Space::kLocal,
                               Space::kParam};
  if (space < 0) return d.Fail("expected a space");
  d.instruction().space = kSpaces[space];
  d.ExpectOperands(2, 2);
  d.Result(0, Type::kPred);
  d.Source(1, Type::kU64);
  d.Execute(&IsSpace);
}

// The address of a block's shared memory in its cluster: of one block, so nothing changes.
void DecodeMapAddress(StatementDecoder& d) {
  d.TakeOneOf({"shared::cluster"});
  const Type type = d.TakeType();
  d.ExpectOperands(3, 3);
  d.Result(0, type);
  d.Source(1, type);
  d.Execute(ForBits(SizeOf(type), 4, []<class T>(T) { return Map<&Copy<T>>; }));
}

}  // namespace

std::vector<Opcode> MoveOpcodes() {
  return {
      {"mov", DecodeMove},
      {"cvta", DecodeConvertAddress},
      {"isspacep", DecodeIsSpace},
      {"mapa", DecodeMapAddress},
  };
}

}  // namespace weft::ptx
