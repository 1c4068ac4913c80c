#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>

#include "runtime/ptx_emulator/block.h"
#include "runtime/ptx_emulator/float_formats.h"
#include "runtime/ptx_emulator/lanes.h"

// atom and red. Lanes act one after the other, in the order of their numbers.
namespace weft::ptx {
namespace {

// The value after, from the bits of the value before and of the operands.
using Update = uint64_t (*)(uint64_t old, uint64_t operand, uint64_t second);

template <class T>
T FromBits(uint64_t bits) {
  T value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
template <class T>
uint64_t ToBits(T value) {
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  return bits;
}

template <class T>
uint64_t AddTo(uint64_t old, uint64_t operand, uint64_t) {
  return ToBits<T>(FromBits<T>(old) + FromBits<T>(operand));
}
uint64_t AddHalf(uint64_t old, uint64_t operand, uint64_t) {
  return DoubleToHalf(AddToOdd(HalfToFloat(static_cast<uint16_t>(old)),
                               HalfToFloat(static_cast<uint16_t>(operand))));
}
uint64_t AddBfloat(uint64_t old, uint64_t operand, uint64_t) {
  return DoubleToBfloat(AddToOdd(BfloatToFloat(static_cast<uint16_t>(old)),
                                 BfloatToFloat(static_cast<uint16_t>(operand))));
}
template <Update F>
uint64_t Pair(uint64_t old, uint64_t operand, uint64_t) {
  return F(old & 0xffff, operand & 0xffff, 0) | F(old >> 16 & 0xffff, operand >> 16 & 0xffff, 0)
                                                    << 16;
}
template <class T>
uint64_t Smaller(uint64_t old, uint64_t operand, uint64_t) {
  return ToBits<T>(std::min(FromBits<T>(old), FromBits<T>(operand)));
}
template <class T>
uint64_t Larger(uint64_t old, uint64_t operand, uint64_t) {
  return ToBits<T>(std::max(FromBits<T>(old), FromBits<T>(operand)));
}
uint64_t And(uint64_t old, uint64_t operand, uint64_t) { return old & operand; }
uint64_t Or(uint64_t old, uint64_t operand, uint64_t) { return old | operand; }
uint64_t Xor(uint64_t old, uint64_t operand, uint64_t) { return old ^ operand; }
uint64_t Exchange(uint64_t, uint64_t operand, uint64_t) { return operand; }
uint64_t CompareAndSwap(uint64_t old, uint64_t operand, uint64_t second) {
  return old == operand ? second : old;
}
// Up to the operand, then zero; and down from it.
uint64_t Increment(uint64_t old, uint64_t operand, uint64_t) {
  return old >= operand ? 0 : old + 1;
}
uint64_t Decrement(uint64_t old, uint64_t operand, uint64_t) {
  return old == 0 || old > operand ? operand : old - 1;
}

template <class T>
uint64_t Apply(std::byte* at, Update update, uint64_t operand, uint64_t second) {
  std::atomic_ref<T> value(*reinterpret_cast<T*>(at));
  T old = value.load();
  while (!value.compare_exchange_weak(old, static_cast<T>(update(old, operand, second)))) {
  }
  return old;
}

uint64_t ApplyBytes(std::byte* at, int bytes, Update update, uint64_t operand, uint64_t second) {
  switch (bytes) {
    case 2:
      return Apply<uint16_t>(at, update, operand, second);
    case 4:
      return Apply<uint32_t>(at, update, operand, second);
    default:
      return Apply<uint64_t>(at, update, operand, second);
  }
}

struct Detail {
  Update update = nullptr;
  int operands = 1;  // for each element
};

void Run(Warp& warp, const Instruction& instruction, uint32_t mask) {
  const Ref& base = instruction.sources[0];
  warp.RequireDefined(base, mask, "the address");
  const auto& detail = *reinterpret_cast<const Detail*>(instruction.detail);
  const int bytes = instruction.element_bytes;
  const auto read = [&](int source, int lane) {
    uint64_t bits = 0;
    std::memcpy(&bits, warp.Lanes<std::byte>(instruction.sources[source]) + lane * bytes, bytes);
    return bits;
  };
  for (int i = 1; i < instruction.source_count; ++i)
    warp.RequireDefined(instruction.sources[i], mask, "the operand of an atomic operation");
  for (int lane : LanesOf(mask)) {
    const uint64_t address = warp.AddressOf(instruction, base, lane);
    for (int i = 0; i < instruction.count; ++i) {
      std::byte* at =
          warp.block().Atomic(warp, lane, instruction.space, address + i * bytes, bytes);
      uint64_t old = 0;
      if (at != nullptr) {
        old = ApplyBytes(at, bytes, detail.update, read(1 + i * detail.operands, lane),
                         detail.operands > 1 ? read(2, lane) : 0);
      }
      if (instruction.result_count > 0)
        std::memcpy(warp.Lanes<std::byte>(instruction.results[i]) + lane * bytes, &old, bytes);
    }
  }
  warp.DefineResults(instruction, kAllLanes, mask);
}

Update UpdateFor(int operation, Type type) {
  const int bytes = SizeOf(type);
  const bool plain_bits = IsBits(type) && (bytes == 4 || bytes == 8);
  switch (operation) {
    case 0:  // add
      switch (type) {
        case Type::kU32:
        case Type::kS32:
          return &AddTo<uint32_t>;
        case Type::kU64:
        case Type::kS64:
          return &AddTo<uint64_t>;
        case Type::kF32:
          return &AddTo<float>;
        case Type::kF64:
          return &AddTo<double>;
        case Type::kF16:
          return &AddHalf;
        case Type::kBf16:
          return &AddBfloat;
        case Type::kF16x2:
          return &Pair<&AddHalf>;
        case Type::kBf16x2:
          return &Pair<&AddBfloat>;
        default:
          return nullptr;
      }
    case 1:  // min
    case 2:  // max
      switch (type) {
        case Type::kU32:
          return operation == 1 ? &Smaller<uint32_t> : &Larger<uint32_t>;
        case Type::kS32:
          return operation == 1 ? &Smaller<int32_t> : &Larger<int32_t>;
        case Type::kU64:
          return operation == 1 ? &Smaller<uint64_t> : &Larger<uint64_t>;
        case Type::kS64:
          return operation == 1 ? &Smaller<int64_t> : &Larger<int64_t>;
        default:
          return nullptr;
      }
    case 3:
      return plain_bits ? &And : nullptr;
    case 4:
      return plain_bits ? &Or : nullptr;
    case 5:
      return plain_bits ? &Xor : nullptr;
    case 6:
      return plain_bits ? &Exchange : nullptr;
    case 7:
      return plain_bits || type == Type::kB16 ? &CompareAndSwap : nullptr;
    case 8:
      return type == Type::kU32 ? &Increment : nullptr;
    case 9:
      return type == Type::kU32 ? &Decrement : nullptr;
    default:
      return nullptr;
  }
}

template <bool HasResult>
void Decode(StatementDecoder& d) {
  size_t operands = d.operand_count();
  Instruction& instruction = d.instruction();
  d.TakeOneOf({"relaxed", "acquire", "release", "acq_rel"});
  d.TakeOneOf({"cta", "cluster", "gpu", "sys"});
  instruction.space = d.TakeSpace();
  const int operation =
      d.TakeOneOf({"add", "min", "max", "and", "or", "xor", "exch", "cas", "inc", "dec"});
  d.Take("noftz");
  d.TakeCacheHints(&operands);
  const int vector = d.TakeOneOf({"v2", "v4", "v8"});
  instruction.count = static_cast<uint8_t>(vector < 0 ? 1 : 2 << vector);
  const Type type = d.TakeType();
  instruction.element_bytes = static_cast<uint8_t>(SizeOf(type));
  Detail detail;
  detail.update = UpdateFor(operation, type);
  detail.operands = operation == 7 ? 2 : 1;
  if (detail.update == nullptr) return d.Fail("expected an operation and a type that it is for");
  const size_t first = HasResult ? 1 : 0;
  if (operands != first + 1 + detail.operands)
    return d.Fail("expected an address and the operation's operands");
  d.Address(first);
  if (instruction.count > 1) {
    if (IsFloat(type) == false || detail.operands > 1)
      return d.Fail("expected vectors only of floats");
    const Operand* sources = d.Elements(first + 1, instruction.count);
    const Operand* results = HasResult ? d.Elements(0, instruction.count) : sources;
    if (sources == nullptr || results == nullptr) return;
    for (int i = 0; i < instruction.count; ++i) {
      d.Source(sources[i], type);
      if (HasResult) d.Result(results[i], type);
    }
  } else {
    for (int i = 0; i < detail.operands; ++i) d.Source(first + 1 + i, type);
    if (HasResult) d.Result(0, type);
  }
  instruction.detail = reinterpret_cast<uint64_t>(d.builder().KeepData(detail));
  d.Execute(&Run);
}

}  // namespace

std::vector<Opcode> AtomicOpcodes() { return {{"atom", Decode<true>}, {"red", Decode<false>}}; }

}  // namespace weft::ptx
