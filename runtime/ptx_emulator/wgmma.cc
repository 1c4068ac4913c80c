#include "runtime/ptx_emulator/wgmma.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "runtime/ptx_emulator/block.h"
#include "runtime/ptx_emulator/float_formats.h"
#include "runtime/ptx_emulator/lanes.h"
#include "runtime/ptx_emulator/tensor_map.h"
#include "runtime/ptx_emulator/text.h"

// wgmma: products of a warpgroup, 64 rows of which each of its four warps has 16.
namespace weft::ptx {
namespace {

struct Shape {
  int n = 0, k = 0;
  Type a = Type::kNone, b = Type::kNone, d = Type::kNone;
  bool a_in_registers = false;
  bool a_transposed = false, b_transposed = false;
  int a_sign = 1, b_sign = 1;
  int accumulators = 0;  // registers
};

const Shape& ShapeOf(const Instruction& instruction) {
  return *reinterpret_cast<const Shape*>(instruction.detail);
}

// Where an element of an operand lies in shared memory, from its descriptor. `row` is along M or N,
// `k` along K. The canonical layouts are those of the PTX manual, in units of 16 bytes: without a
// swizzle core matrices of 8 rows of 16 bytes; with one rows of its 32, 64 or 128 bytes, eight to
// a group. "Leading" and "stride" are the descriptor's two distances.
uint32_t AddressOf(uint64_t descriptor, bool transposed, int element_bytes, int row, int k) {
  const uint32_t start = (descriptor & 0x3fff) << 4;
  const uint32_t leading = (descriptor >> 16 & 0x3fff) << 4;
  const uint32_t stride = (descriptor >> 32 & 0x3fff) << 4;
  constexpr uint32_t kSwizzles[] = {0, 128, 64, 32};
  const uint32_t width = kSwizzles[descriptor >> 62];
  const int per_chunk = 16 / element_bytes;
  uint32_t offset = 0;
  if (!transposed && width == 0) {
    offset =
        row % 8 * 16 + row / 8 * stride + k / per_chunk * leading + k % per_chunk * element_bytes;
  } else if (!transposed) {
    offset = row % 8 * width + row / 8 * stride + k * element_bytes;
  } else if (width == 0) {
    offset =
        row % per_chunk * element_bytes + row / per_chunk * stride + k % 8 * 16 + k / 8 * leading;
  } else {
    const int per_row = static_cast<int>(width) / element_bytes;
    offset =
        row % per_row * element_bytes + row / per_row * leading + k % 8 * width + k / 8 * stride;
  }
  return Swizzle(start + offset, width);
}

double Element(Type type, const std::byte* at) {
  uint32_t bits = 0;
  std::memcpy(&bits, at, SizeOf(type));
  switch (type) {
    case Type::kF16:
      return HalfToFloat(static_cast<uint16_t>(bits));
    case Type::kBf16:
      return BfloatToFloat(static_cast<uint16_t>(bits));
    case Type::kTf32:
      return TruncateToTensorFloat(bits);
    case Type::kE4m3:
      return E4m3ToFloat(static_cast<uint8_t>(bits));
    case Type::kE5m2:
      return E5m2ToFloat(static_cast<uint8_t>(bits));
    case Type::kS8:
      return static_cast<int8_t>(bits);
    default:
      return static_cast<uint8_t>(bits);
  }
}

int FirstRow(const Warp& warp) { return warp.index() % 4 * 16; }

// Collects, once each, the 16-byte pieces that a product reads.
void CollectReads(uint64_t descriptor, bool transposed, Type type, int first_row, int rows,
                  int columns, std::vector<uint32_t>& reads) {
  const int bytes = SizeOf(type);
  const int step = 16 / bytes;
  for (int row = 0; row < rows; row += transposed ? step : 1) {
    for (int k = 0; k < columns; k += transposed ? 1 : step)
      reads.push_back(AddressOf(descriptor, transposed, bytes, first_row + row, k));
  }
}

bool CheckReads(Warp& warp, const std::vector<uint32_t>& reads) {
  Block& block = warp.block();
  SharedMemory& shared = block.shared();
  for (uint32_t address : reads) {
    if (!block.CheckShared(warp, 0, address, 16, 16, false)) return false;
    if (!shared.Written(address, 16)) {
      warp.Report(FindingKind::kUninitializedMemory, 0,
                  Cat("multiplies bytes that were never written, ", shared.Describe(address)),
                  address);
    }
    block.ReportRace(warp, 0, address,
                     shared.AsyncRead(block.order(), block.Accessor(warp, 0), address, 16));
  }
  return true;
}

// Whether the other warps of the warpgroup, as far as they have come, issue the same product.
bool CheckAgreement(Warp& warp, const WarpgroupProducts::Product& product) {
  Block& block = warp.block();
  constexpr int kWarps = WarpgroupAgreement::kWarps;
  const int first = warp.index() / kWarps * kWarps, rank = warp.index() - first;
  if (static_cast<uint32_t>(first + kWarps) * kWarpSize > block.thread_count()) {
    warp.Report(FindingKind::kMisuse, -1,
                Cat("a product of a warpgroup, of which the block, of ", block.thread_count(),
                    " threads, has no whole one here: expected a multiple of 128 threads"));
    return false;
  }
  WarpgroupAgreement& agreement = block.agreement(first / kWarps);
  if (agreement.Ahead(rank) >= static_cast<int64_t>(WarpgroupProducts::kMaxUnderWay)) {
    warp.Report(FindingKind::kMisuse, -1,
                Cat("expected the warps of a warpgroup at the same product, got one that is ",
                    WarpgroupProducts::kMaxUnderWay, " products ahead"));
    block.EndLaunch();
    return false;
  }
  const WarpgroupAgreement::Product* other =
      agreement.Add(rank, {product.instruction, product.a, product.b});
  if (other == nullptr) return true;
  warp.Report(FindingKind::kMisuse, -1,
              other->instruction != product.instruction
                  ? Cat("another warp of the warpgroup is at the product of PTX line ",
                        other->instruction->line)
                  : std::string("another warp of the warpgroup has other matrix descriptors"));
  return false;
}

void Issue(Warp& warp, const Instruction& instruction, uint32_t mask) {
  const Shape& shape = ShapeOf(instruction);
  if (mask != kAllLanes)
    return warp.Report(FindingKind::kMisuse, -1,
                       "a matrix instruction needs all 32 threads of the warp");
  if (!warp.products().fenced()) {
    warp.Report(FindingKind::kMisuse, -1,
                "registers were written since the last wgmma.fence, which has to come between");
  }
  WarpgroupProducts::Product product;
  product.instruction = &instruction;
  const Ref* source = instruction.sources;
  const uint32_t scale = warp.Predicate(source[0]);
  warp.RequireDefined(source[0], mask, "the predicate of a product");
  product.accumulate = (scale & 1) != 0;
  ++source;
  if (shape.a_in_registers) {
    for (int r = 0; r < 4; ++r) {
      const uint32_t* lanes = warp.Lanes<uint32_t>(source[r]);
      product.a_registers.insert(product.a_registers.end(), lanes, lanes + kWarpSize);
    }
    source += 4;
  } else {
    warp.RequireDefined(*source, mask, "a matrix descriptor");
    product.a = warp.Lanes<uint64_t>(*source++)[0];
    CollectReads(product.a, shape.a_transposed, shape.a, FirstRow(warp), 16, shape.k,
                 product.reads);
  }
  warp.RequireDefined(*source, mask, "a matrix descriptor");
  product.b = warp.Lanes<uint64_t>(*source)[0];
  CollectReads(product.b, shape.b_transposed, shape.b, 0, shape.n, shape.k, product.reads);
  for (uint64_t descriptor : {product.a, product.b}) {
    if ((descriptor >> 49 & 7) != 0) {
      return warp.Report(FindingKind::kMisuse, -1,
                         "a matrix descriptor with a base offset; expected the start to be aligned "
                         "to the swizzle's pattern");
    }
  }
  if (!CheckAgreement(warp, product) || !CheckReads(warp, product.reads) ||
      !warp.products().MayBegin(warp)) {
    return;
  }
  for (uint32_t address : product.reads) warp.block().shared().BeginAsync(address, 16, false);
  if (product.accumulate) {
    for (int i = 0; i < instruction.result_count; ++i)
      warp.RequireDefined(instruction.results[i], mask, "an accumulator");
  } else {
    // They have values for the products that follow, and for others from the wait on.
    warp.DefineResults(instruction, kAllLanes, mask);
  }
  warp.products().Issue(warp, std::move(product));
}

void Fence(Warp& warp, const Instruction&, uint32_t) { warp.products().Fence(); }

void Commit(Warp& warp, const Instruction&, uint32_t) { warp.products().Commit(warp); }

void Wait(Warp& warp, const Instruction& instruction, uint32_t) {
  warp.products().Wait(warp, static_cast<int>(instruction.detail));
}

bool TakeShape(StatementDecoder& d, Shape* shape) {
  const std::string_view text = d.TakeNext();
  const size_t n = text.find('n'), k = text.find('k');
  return text.starts_with("m64n") && k != text.npos &&
         ParseNumber(text.substr(n + 1, k - n - 1), &shape->n) &&
         ParseNumber(text.substr(k + 1), &shape->k);
}

void DecodeProduct(StatementDecoder& d) {
  Instruction& instruction = d.instruction();
  Shape shape;
  d.Take("sync");
  d.Take("aligned");
  if (!TakeShape(d, &shape) || shape.n < 8 || shape.n > 256 || shape.n % 8 != 0)
    return d.Fail("expected a shape m64nNkK with N of 8 to 256");
  d.Take("satfinite");
  shape.d = d.TakeType();
  shape.a = d.TakeType();
  shape.b = d.TakeType();
  const bool is_short = (shape.a == Type::kF16 || shape.a == Type::kBf16) && shape.b == shape.a;
  const bool is_eight = (shape.a == Type::kE4m3 || shape.a == Type::kE5m2) &&
                        (shape.b == Type::kE4m3 || shape.b == Type::kE5m2);
  const bool is_integer = (shape.a == Type::kS8 || shape.a == Type::kU8) &&
                          (shape.b == Type::kS8 || shape.b == Type::kU8);
  const bool is_tf32 = shape.a == Type::kTf32 && shape.b == shape.a;
  const bool result_fits =
      is_integer
          ? shape.d == Type::kS32
          : shape.d == Type::kF32 || (shape.d == Type::kF16 && (shape.a == Type::kF16 || is_eight));
  const int k = is_short ? 16 : is_tf32 ? 8 : is_eight || is_integer ? 32 : 0;
  if (k == 0 || shape.k != k || !result_fits) return d.Fail("not a shape for these types");
  shape.accumulators = shape.d == Type::kF16 ? shape.n / 4 : shape.n / 2;
  const size_t immediates = is_short ? 4 : is_integer ? 0 : 2;
  shape.a_in_registers = d.IsVector(1);
  // With A in registers it cannot be transposed, and the flag is left out.
  const size_t given = is_short && shape.a_in_registers ? 3 : immediates;
  if (d.operand_count() != 4 + given) return d.Fail(Cat("expected ", 4 + given, " operands"));
  const Operand* results = d.Elements(0, shape.accumulators);
  if (results == nullptr) return;
  for (int i = 0; i < shape.accumulators; ++i) d.Result(results[i], Type::kB32);
  if (d.PredicateSource(d.operand(3))) return d.Fail("expected a predicate that is not negated");
  if (shape.a_in_registers) {
    const Operand* a = d.Elements(1, 4);
    if (a == nullptr) return;
    for (int i = 0; i < 4; ++i) d.Source(a[i], Type::kB32);
  } else {
    d.Source(1, Type::kB64);
  }
  d.Source(2, Type::kB64);
  if (given > 0) {
    shape.a_sign = static_cast<int>(d.Immediate(4));
    shape.b_sign = static_cast<int>(d.Immediate(5));
    if (std::abs(shape.a_sign) != 1 || std::abs(shape.b_sign) != 1)
      return d.Fail("expected scales of 1 or -1");
  }
  if (given == 3) shape.b_transposed = d.Immediate(6) != 0;
  if (given == 4) {
    shape.a_transposed = d.Immediate(6) != 0;
    shape.b_transposed = d.Immediate(7) != 0;
  }
  instruction.is_product = true;
  instruction.detail = reinterpret_cast<uint64_t>(d.builder().KeepData(shape));
  d.Execute(&Issue);
}

void DecodeWarpgroup(StatementDecoder& d) {
  if (d.Take("mma_async")) return DecodeProduct(d);
  const int kind = d.TakeOneOf({"fence", "commit_group", "wait_group"});
  d.Take("sync");
  d.Take("aligned");
  d.ExpectOperands(kind == 2 ? 1 : 0, kind == 2 ? 1 : 0);
  if (kind == 0) d.Execute(&Fence);
  if (kind == 1) d.Execute(&Commit);
  if (kind != 2) return;
  const int64_t groups = d.Immediate(0);
  if (groups < 0 || groups > 7) return d.Fail("expected 0 to 7 groups");
  d.instruction().detail = static_cast<uint64_t>(groups);
  d.Execute(&Wait);
}

}  // namespace

const WarpgroupAgreement::Product* WarpgroupAgreement::Add(int rank, const Product& product) {
  const int64_t position = issued_[static_cast<size_t>(rank)]++ - first_;
  if (position == static_cast<int64_t>(products_.size())) products_.push_back(product);
  differs_ = products_[static_cast<size_t>(position)];
  while (!products_.empty() && *std::min_element(issued_.begin(), issued_.end()) > first_) {
    products_.pop_front();
    ++first_;
  }
  return differs_ == product ? nullptr : &differs_;
}

int64_t WarpgroupAgreement::Ahead(int rank) const {
  return issued_[static_cast<size_t>(rank)] - *std::min_element(issued_.begin(), issued_.end());
}

void WarpgroupProducts::Reset() { *this = WarpgroupProducts(); }

void WarpgroupProducts::Issue(Warp& warp, Product product) {
  if (marked_.empty()) marked_.resize(warp.kernel().id_count);
  for (int i = 0; i < product.instruction->result_count; ++i)
    ++marked_[product.instruction->results[i].id];
  ++under_way_;
  open_.push_back(std::move(product));
}

bool WarpgroupProducts::MayBegin(Warp& warp) {
  if (under_way_ + groups_.size() < kMaxUnderWay) return true;
  warp.Report(FindingKind::kMisuse, -1,
              Cat("expected at most ", kMaxUnderWay,
                  " matrix products and groups of a warp that nobody waited for"));
  warp.block().EndLaunch();
  return false;
}

void WarpgroupProducts::Commit(Warp& warp) {
  if (MayBegin(warp)) groups_.push_back(std::exchange(open_, {}));
}

void WarpgroupProducts::Wait(Warp& warp, int groups) {
  while (static_cast<int>(groups_.size()) > groups) {
    for (const Product& product : groups_.front()) Complete(warp, product);
    groups_.pop_front();
  }
}

bool WarpgroupProducts::Touches(const Instruction& instruction) const {
  const auto marked = [&](const Ref* refs, int count) {
    return std::any_of(refs, refs + count, [&](const Ref& r) { return marked_[r.id] != 0; });
  };
  return marked(instruction.sources, instruction.source_count) ||
         marked(instruction.results, instruction.result_count);
}

void WarpgroupProducts::Complete(Warp& warp, const Product& product) {
  const Instruction& instruction = *product.instruction;
  const Shape& shape = ShapeOf(instruction);
  Block& block = warp.block();
  SharedMemory& shared = block.shared();
  for (uint32_t address : product.reads) {
    shared.EndAsync(address, 16, false);
    // It may have been read as late as now: what writes there next has to come after the wait.
    block.ReportRace(warp, 0, address,
                     shared.AsyncRead(block.order(), block.Accessor(warp, 0), address, 16));
  }
  for (int i = 0; i < instruction.result_count; ++i) --marked_[instruction.results[i].id];
  --under_way_;
  double a[16][32];
  const int a_bytes = SizeOf(shape.a), b_bytes = SizeOf(shape.b);
  if (shape.a_in_registers) {
    const int per_register = 4 / a_bytes;
    for (int r = 0; r < 4; ++r) {
      for (int lane = 0; lane < kWarpSize; ++lane) {
        const uint32_t bits = product.a_registers[r * kWarpSize + lane];
        for (int e = 0; e < per_register; ++e) {
          a[lane / 4 + r % 2 * 8][lane % 4 * per_register + e + r / 2 * 4 * per_register] =
              Element(shape.a, reinterpret_cast<const std::byte*>(&bits) + e * a_bytes);
        }
      }
    }
  } else {
    for (int row = 0; row < 16; ++row) {
      for (int k = 0; k < shape.k; ++k)
        a[row][k] = Element(shape.a, shared.data(AddressOf(product.a, shape.a_transposed, a_bytes,
                                                           FirstRow(warp) + row, k),
                                                 a_bytes));
    }
  }
  const double sign = shape.a_sign * shape.b_sign;
  std::vector<double> b(size_t(shape.k) * shape.n);
  for (int column = 0; column < shape.n; ++column) {
    for (int k = 0; k < shape.k; ++k) {
      b[k * shape.n + column] =
          sign *
          Element(shape.b, shared.data(AddressOf(product.b, shape.b_transposed, b_bytes, column, k),
                                       b_bytes));
    }
  }
  std::vector<double> sums(size_t(16) * shape.n, 0.0);
  for (int row = 0; row < 16; ++row) {
    for (int k = 0; k < shape.k; ++k) {
      for (int column = 0; column < shape.n; ++column)
        sums[row * shape.n + column] += a[row][k] * b[k * shape.n + column];
    }
  }
  // Lane l has rows l/4 and l/4 + 8, and of each 8 columns the two from 2 (l%4).
  for (int lane = 0; lane < kWarpSize; ++lane) {
    for (int i = 0; i < shape.n / 2; ++i) {
      const int row = lane / 4 + i / 2 % 2 * 8;
      const int column = i / 4 * 8 + lane % 4 * 2 + i % 2;
      const double sum = sums[row * shape.n + column];
      if (shape.d == Type::kF32) {
        float& value = warp.Lanes<float>(instruction.results[i])[lane];
        value = static_cast<float>(sum + (product.accumulate ? double{value} : 0.0));
      } else if (shape.d == Type::kS32) {
        int32_t& value = warp.Lanes<int32_t>(instruction.results[i])[lane];
        value = static_cast<int32_t>(static_cast<uint32_t>(static_cast<int64_t>(sum)) +
                                     (product.accumulate ? static_cast<uint32_t>(value) : 0u));
      } else {
        uint16_t& value = warp.Lanes<uint16_t>(instruction.results[i / 2])[lane * 2 + i % 2];
        value = DoubleToHalf(sum + (product.accumulate ? double{HalfToFloat(value)} : 0.0));
      }
    }
  }
  warp.DefineResults(instruction, kAllLanes, kAllLanes);
}

std::vector<Opcode> WarpgroupOpcodes() { return {{"wgmma", DecodeWarpgroup}}; }

}  // namespace weft::ptx
