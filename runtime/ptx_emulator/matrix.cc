#include <cstring>
#include <vector>

#include "runtime/ptx_emulator/block.h"
#include "runtime/ptx_emulator/float_formats.h"
#include "runtime/ptx_emulator/lanes.h"

// mma.sync, and the loads and stores of 8x8 matrices that feed it.
//
// A warp holds a matrix in fragments: eight groups of four lanes. With g = lane / 4 and t = lane %
// 4, an operand of A with E elements to a register of 32 bits (for f64: one to a register) holds,
// in register r, row g (plus 8 for each odd r) and columns t * E ... plus 4 * E for each further
// pair of registers; B the same by columns of the product; C and D rows g and g + 8, columns 2t and
// 2t + 1.
namespace weft::ptx {
namespace {

struct Shape {
  int m = 0, n = 0, k = 0;
};

struct Mma {
  Shape shape;
  Type a = Type::kNone, b = Type::kNone, c = Type::kNone, d = Type::kNone;
  int a_registers = 0, b_registers = 0, c_registers = 0, d_registers = 0;
  bool saturate = false;
};

int ElementsPerRegister(Type type) { return type == Type::kF64 ? 1 : 4 / SizeOf(type); }

double Element(Type type, uint64_t bits, int index) {
  switch (type) {
    case Type::kF64:
      return std::bit_cast<double>(bits);
    case Type::kTf32:
      return TruncateToTensorFloat(static_cast<uint32_t>(bits));
    case Type::kF16:
      return HalfToFloat(static_cast<uint16_t>(bits >> (16 * index)));
    case Type::kBf16:
      return BfloatToFloat(static_cast<uint16_t>(bits >> (16 * index)));
    case Type::kE4m3:
      return E4m3ToFloat(static_cast<uint8_t>(bits >> (8 * index)));
    case Type::kE5m2:
      return E5m2ToFloat(static_cast<uint8_t>(bits >> (8 * index)));
    case Type::kS8:
      return static_cast<int8_t>(bits >> (8 * index));
    default:
      return static_cast<uint8_t>(bits >> (8 * index));
  }
}

uint64_t RegisterBits(Warp& warp, const Ref& ref, int lane, bool wide) {
  return wide ? warp.Lanes<uint64_t>(ref)[lane] : warp.Lanes<uint32_t>(ref)[lane];
}

// Where C and D keep element i of a lane.
int AccumulatorRow(int lane, int i) { return lane / 4 + 8 * (i / 2); }
int AccumulatorColumn(int lane, int i) { return lane % 4 * 2 + i % 2; }

// The sum of all products and c, rounded once. The hardware keeps fewer bits on the way, in a way
// that NVIDIA does not document: this is the value that it approximates.
void Multiply(Warp& warp, const Instruction& instruction, uint32_t mask) {
  const auto& mma = *reinterpret_cast<const Mma*>(instruction.detail);
  if (mask != kAllLanes) {
    warp.Report(FindingKind::kMisuse, -1, "a matrix instruction needs all 32 threads of the warp");
    return;
  }
  const Shape& s = mma.shape;
  double a[16][32] = {}, b[32][8] = {};
  const Ref* source = instruction.sources;
  const int a_elements = ElementsPerRegister(mma.a), b_elements = ElementsPerRegister(mma.b);
  const int rows_per_pair = s.m == 16 ? 2 : 1;
  const bool wide = mma.a == Type::kF64;
  for (int r = 0; r < mma.a_registers; ++r, ++source) {
    for (int lane = 0; lane < kWarpSize; ++lane) {
      const uint64_t bits = RegisterBits(warp, *source, lane, wide);
      const int row = lane / 4 + (r % rows_per_pair) * 8;
      const int column = lane % 4 * a_elements + r / rows_per_pair * 4 * a_elements;
      for (int e = 0; e < a_elements; ++e) a[row][column + e] = Element(mma.a, bits, e);
    }
  }
  for (int r = 0; r < mma.b_registers; ++r, ++source) {
    for (int lane = 0; lane < kWarpSize; ++lane) {
      const uint64_t bits = RegisterBits(warp, *source, lane, wide);
      const int row = lane % 4 * b_elements + r * 4 * b_elements;
      for (int e = 0; e < b_elements; ++e) b[row + e][lane / 4] = Element(mma.b, bits, e);
    }
  }
  double c[16][8];
  const int accumulators = s.m == 16 ? 4 : 2;
  for (int lane = 0; lane < kWarpSize; ++lane) {
    for (int i = 0; i < accumulators; ++i) {
      double& value = c[AccumulatorRow(lane, i)][AccumulatorColumn(lane, i)];
      switch (mma.c) {
        case Type::kF16:
          value = HalfToFloat(
              static_cast<uint16_t>(warp.Lanes<uint32_t>(source[i / 2])[lane] >> (16 * (i % 2))));
          break;
        case Type::kF64:
          value = warp.Lanes<double>(source[i])[lane];
          break;
        case Type::kS32:
          value = warp.Lanes<int32_t>(source[i])[lane];
          break;
        default:
          value = warp.Lanes<float>(source[i])[lane];
      }
    }
  }
  for (int row = 0; row < s.m; ++row) {
    for (int k = 0; k < s.k; ++k) {
      const double left = a[row][k];
      for (int column = 0; column < s.n; ++column) c[row][column] += left * b[k][column];
    }
  }
  uint32_t defined = warp.SourcesDefined(instruction);
  // Every result depends on the values of many lanes.
  defined = defined == kAllLanes ? kAllLanes : 0;
  for (int lane = 0; lane < kWarpSize; ++lane) {
    uint32_t packed = 0;
    for (int i = 0; i < accumulators; ++i) {
      const double value = c[AccumulatorRow(lane, i)][AccumulatorColumn(lane, i)];
      switch (mma.d) {
        case Type::kF16:
          packed = i % 2 == 0 ? DoubleToHalf(value) : packed | uint32_t{DoubleToHalf(value)} << 16;
          if (i % 2 == 1) warp.Lanes<uint32_t>(instruction.results[i / 2])[lane] = packed;
          break;
        case Type::kF64:
          warp.Lanes<double>(instruction.results[i])[lane] = value;
          break;
        case Type::kS32: {
          const double limited = value > 0x7fffffff      ? 0x7fffffff
                                 : value < -0x80000000p0 ? -0x80000000p0
                                                         : value;
          warp.Lanes<int32_t>(instruction.results[i])[lane] =
              mma.saturate
                  ? static_cast<int32_t>(limited)
                  : static_cast<int32_t>(static_cast<uint32_t>(static_cast<int64_t>(value)));
          break;
        }
        default:
          warp.Lanes<float>(instruction.results[i])[lane] = static_cast<float>(value);
      }
    }
  }
  warp.DefineResults(instruction, defined, mask);
}

Type RegisterTypeOf(Type type) { return type == Type::kF64 ? Type::kF64 : Type::kB32; }

int AccumulatorRegisters(Type type, int m) {
  const int values = m == 16 ? 4 : 2;
  return type == Type::kF16 ? values / 2 : values;
}

bool IsKnownShape(const Mma& mma) {
  const Shape& s = mma.shape;
  if (s.n != 8) return false;
  if (mma.a == Type::kF64)
    return mma.b == mma.a && mma.c == mma.a && mma.d == mma.a && s.m == 8 && s.k == 4;
  if (s.m != 16) return false;
  const bool single = mma.c == Type::kF32 && mma.d == Type::kF32;
  switch (mma.a) {
    case Type::kF16:
      return mma.b == mma.a && (s.k == 8 || s.k == 16) &&
             (mma.c == Type::kF32 || mma.c == Type::kF16) &&
             (mma.d == Type::kF32 || mma.d == Type::kF16);
    case Type::kBf16:
      return mma.b == mma.a && single && (s.k == 8 || s.k == 16);
    case Type::kTf32:
      return mma.b == mma.a && single && (s.k == 4 || s.k == 8);
    case Type::kE4m3:
    case Type::kE5m2:
      return (mma.b == Type::kE4m3 || mma.b == Type::kE5m2) && single && s.k == 32;
    case Type::kS8:
    case Type::kU8:
      return (mma.b == Type::kS8 || mma.b == Type::kU8) && mma.c == Type::kS32 &&
             mma.d == Type::kS32 && (s.k == 16 || s.k == 32);
    default:
      return false;
  }
}

void DecodeMma(StatementDecoder& d) {
  Mma mma;
  if (!d.Take("sync")) d.Fail("expected .sync");
  d.Take("aligned");
  constexpr std::pair<std::string_view, Shape> kShapes[] = {{"m8n8k4", {8, 8, 4}},
                                                            {"m16n8k4", {16, 8, 4}},
                                                            {"m16n8k8", {16, 8, 8}},
                                                            {"m16n8k16", {16, 8, 16}},
                                                            {"m16n8k32", {16, 8, 32}}};
  for (const auto& [name, shape] : kShapes) {
    if (d.Take(name)) mma.shape = shape;
  }
  if (!d.Take("row") || !d.Take("col")) d.Fail("expected .row.col");
  mma.saturate = d.Take("satfinite");
  mma.d = d.TakeType();
  mma.a = d.TakeType();
  mma.b = d.TakeType();
  mma.c = d.TakeType();
  if (!IsKnownShape(mma)) return d.Fail("not a shape for these types");
  const Shape& s = mma.shape;
  mma.a_registers = s.m * s.k / kWarpSize / ElementsPerRegister(mma.a);
  mma.b_registers = s.n * s.k / kWarpSize / ElementsPerRegister(mma.b);
  mma.c_registers = AccumulatorRegisters(mma.c, s.m);
  mma.d_registers = AccumulatorRegisters(mma.d, s.m);
  d.ExpectOperands(4, 4);
  const int counts[] = {mma.d_registers, mma.a_registers, mma.b_registers, mma.c_registers};
  const Type types[] = {mma.d, mma.a, mma.b, mma.c};
  for (int i = 0; i < 4; ++i) {
    // A vector of one may stand without braces.
    const Operand* elements =
        counts[i] == 1 && !d.IsVector(i) ? &d.operand(i) : d.Elements(i, counts[i]);
    if (elements == nullptr) return;
    for (int e = 0; e < counts[i]; ++e) {
      if (i == 0) {
        d.Result(elements[e], RegisterTypeOf(types[i]));
      } else {
        d.Source(elements[e], RegisterTypeOf(types[i]));
      }
    }
  }
  d.instruction().detail = reinterpret_cast<uint64_t>(d.builder().KeepData(mma));
  d.Execute(&Multiply);
}

// The eight rows of 16 bytes of matrix i come from the addresses of lanes 8i to 8i + 7. Lane l has
// elements 2(l%4) and 2(l%4)+1 of row l/4, transposed: of column l/4.
template <bool Store>
void MoveMatrices(Warp& warp, const Instruction& instruction, uint32_t mask) {
  if (mask != kAllLanes) {
    warp.Report(FindingKind::kMisuse, -1, "a matrix instruction needs all 32 threads of the warp");
    return;
  }
  Block& block = warp.block();
  const bool transposed = instruction.detail != 0;
  const Ref& base = instruction.sources[0];
  const int count = instruction.count;
  const uint32_t addressing = count == 4 ? kAllLanes : (1u << (8 * count)) - 1;
  warp.RequireDefined(base, addressing, "the address");
  uint64_t addresses[kWarpSize];
  for (int lane = 0; lane < 8 * count; ++lane) {
    addresses[lane] = warp.AddressOf(instruction, base, lane);
  }
  block.CountConflicts(instruction.space, addresses, addressing, 16);
  for (int matrix = 0; matrix < count; ++matrix) {
    uint16_t rows[8][8];
    const Ref& fragment = Store ? instruction.sources[1 + matrix] : instruction.results[matrix];
    uint32_t* lanes = warp.Lanes<uint32_t>(fragment);
    const auto element = [&](int lane, int half) -> uint16_t& {
      const int along = lane % 4 * 2 + half;
      return transposed ? rows[along][lane / 4] : rows[lane / 4][along];
    };
    if (Store) {
      for (int lane = 0; lane < kWarpSize; ++lane) {
        element(lane, 0) = static_cast<uint16_t>(lanes[lane]);
        element(lane, 1) = static_cast<uint16_t>(lanes[lane] >> 16);
      }
    }
    const bool defined = !Store || warp.Defined(fragment) == kAllLanes;
    for (int row = 0; row < 8; ++row) {
      const int lane = matrix * 8 + row;
      const uint64_t address = addresses[lane];
      if (Store) {
        block.Store(warp, lane, instruction.space, address, 16, rows[row], defined);
      } else {
        block.Load(warp, lane, instruction.space, address, 16, rows[row]);
      }
    }
    if (!Store) {
      for (int lane = 0; lane < kWarpSize; ++lane)
        lanes[lane] = element(lane, 0) | uint32_t{element(lane, 1)} << 16;
    }
  }
  warp.DefineResults(instruction, kAllLanes, mask);
}

template <bool Store>
void DecodeMoveMatrices(StatementDecoder& d) {
  Instruction& instruction = d.instruction();
  if (!d.Take("sync")) d.Fail("expected .sync");
  d.Take("aligned");
  if (!d.Take("m8n8")) d.Fail("expected .m8n8");
  const int count = d.TakeOneOf({"x1", "x2", "x4"});
  instruction.detail = d.Take("trans") ? 1 : 0;
  instruction.space = d.TakeSpace();
  if (count < 0 || d.TakeType() != Type::kB16) return d.Fail("expected .x1, .x2 or .x4, and .b16");
  if (instruction.space != Space::kShared && instruction.space != Space::kGeneric)
    d.Fail("expected .shared");
  instruction.count = static_cast<uint8_t>(1 << count);
  d.ExpectOperands(2, 2);
  d.Address(Store ? 0 : 1);
  const size_t fragment = Store ? 1 : 0;
  const Operand* elements = count == 0 && !d.IsVector(fragment)
                                ? &d.operand(fragment)
                                : d.Elements(fragment, instruction.count);
  if (elements == nullptr) return;
  for (int i = 0; i < instruction.count; ++i) {
    if (Store) {
      d.Source(elements[i], Type::kB32);
    } else {
      d.Result(elements[i], Type::kB32);
    }
  }
  d.Execute(&MoveMatrices<Store>);
}

}  // namespace

std::vector<Opcode> MatrixOpcodes() {
  return {
      {"mma", DecodeMma},
      {"ldmatrix", DecodeMoveMatrices<false>},
      {"stmatrix", DecodeMoveMatrices<true>},
  };
}

}  // namespace weft::ptx
