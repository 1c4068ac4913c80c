#include <bit>
#include <cstdint>
#include <limits>
#include <random>

#include "gtest/gtest.h"
#include "runtime/ptx_emulator/test_kernel.h"

// Integer instructions against the same computed in 128 bits.
namespace weft::ptx {
namespace {

template <class T>
std::vector<T> Samples(size_t count, unsigned seed) {
  std::mt19937_64 random(seed);
  const T corners[] = {0,
                       1,
                       static_cast<T>(-1),
                       2,
                       31,
                       32,
                       63,
                       std::numeric_limits<T>::min(),
                       std::numeric_limits<T>::max(),
                       0x55,
                       static_cast<T>(-7)};
  std::vector<T> values;
  for (size_t i = 0; i < count; ++i) {
    const uint64_t bits = random();
    values.push_back(i % 3 == 0 ? corners[bits % std::size(corners)]
                                : static_cast<T>(bits >> (random() % 60)));
  }
  return values;
}

constexpr size_t kRows = 300;

template <class R, class A, class F>
void Binary(const std::string& instruction, F expected) {
  SCOPED_TRACE(instruction);
  const std::vector<A> a = Samples<A>(kRows, 1), b = Samples<A>(kRows, 2);
  const std::vector<R> results = RunRows<R>(instruction + " %d, %a0, %a1;", a, b);
  for (size_t i = 0; i < results.size(); ++i) {
    ASSERT_EQ(results[i],
              static_cast<R>(expected(static_cast<__int128>(a[i]), static_cast<__int128>(b[i]))))
        << +a[i] << ", " << +b[i];
  }
}

template <class T>
void Arithmetic(const std::string& type) {
  constexpr int kBits = 8 * sizeof(T);
  using Wide = __int128;
  Binary<T, T>("add." + type, [](Wide a, Wide b) { return a + b; });
  Binary<T, T>("sub." + type, [](Wide a, Wide b) { return a - b; });
  Binary<T, T>("mul.lo." + type, [](Wide a, Wide b) {
    return static_cast<unsigned __int128>(a) * static_cast<unsigned __int128>(b);
  });
  Binary<T, T>("mul.hi." + type, [](Wide a, Wide b) {
    return std::is_signed_v<T> ? (a * b) >> kBits
                               : static_cast<Wide>((static_cast<unsigned __int128>(a) *
                                                    static_cast<unsigned __int128>(b)) >>
                                                   kBits);
  });
  Binary<T, T>("min." + type, [](Wide a, Wide b) { return std::min(a, b); });
  Binary<T, T>("max." + type, [](Wide a, Wide b) { return std::max(a, b); });
  Binary<T, T>("div." + type, [](Wide a, Wide b) { return b == 0 ? Wide{-1} : a / b; });
  Binary<T, T>("rem." + type, [](Wide a, Wide b) { return b == 0 ? a : a % b; });
  Binary<T, T>("and.b" + std::to_string(kBits), [](Wide a, Wide b) { return a & b; });
  Binary<T, T>("or.b" + std::to_string(kBits), [](Wide a, Wide b) { return a | b; });
  Binary<T, T>("xor.b" + std::to_string(kBits), [](Wide a, Wide b) { return a ^ b; });
}

TEST(Integer, Arithmetic) {
  Arithmetic<uint16_t>("u16");
  Arithmetic<int16_t>("s16");
  Arithmetic<uint32_t>("u32");
  Arithmetic<int32_t>("s32");
  Arithmetic<uint64_t>("u64");
  Arithmetic<int64_t>("s64");
}

TEST(Integer, WideProducts) {
  Binary<uint32_t, uint16_t>("mul.wide.u16", [](__int128 a, __int128 b) { return a * b; });
  Binary<int32_t, int16_t>("mul.wide.s16", [](__int128 a, __int128 b) { return a * b; });
  Binary<uint64_t, uint32_t>("mul.wide.u32", [](__int128 a, __int128 b) { return a * b; });
  Binary<int64_t, int32_t>("mul.wide.s32", [](__int128 a, __int128 b) { return a * b; });
  const std::vector<int32_t> a = {3, -4, 1 << 30}, b = {5, 6, 4};
  const std::vector<int64_t> c = {100, -1, 7};
  EXPECT_EQ(RunRows<int64_t>("mad.wide.s32 %d, %a0, %a1, %a2;", a, b, c),
            (std::vector<int64_t>{115, -25, (int64_t{1} << 32) + 7}));
  EXPECT_EQ(RunRows<int32_t>("mad.lo.s32 %d, %a0, %a1, %a0;", a, b),
            (std::vector<int32_t>{18, -28, 1 << 30}));
  EXPECT_EQ(RunRows<int32_t>("mad.hi.s32 %d, %a0, %a1, 1;", a, b), (std::vector<int32_t>{1, 0, 2}));
}

// 128 bits in two halves.
TEST(Integer, CarryChains) {
  const std::vector<uint64_t> a = Samples<uint64_t>(kRows, 3), b = Samples<uint64_t>(kRows, 4),
                              c = Samples<uint64_t>(kRows, 5), d = Samples<uint64_t>(kRows, 6);
  const auto wide = [](uint64_t low, uint64_t high) {
    return static_cast<unsigned __int128>(high) << 64 | low;
  };
  const std::vector<uint64_t> sums = RunRows<uint64_t>(
      ".reg .b64 %low; add.cc.u64 %low, %a0, %a1; addc.u64 %d, %a2, %a3; xor.b64 %d, %d, %low;", a,
      b, c, d);
  const std::vector<uint64_t> differences = RunRows<uint64_t>(
      ".reg .b64 %low; sub.cc.u64 %low, %a0, %a1; subc.u64 %d, %a2, %a3; xor.b64 %d, %d, %low;", a,
      b, c, d);
  for (size_t i = 0; i < kRows; ++i) {
    const auto sum = wide(a[i], c[i]) + wide(b[i], d[i]);
    EXPECT_EQ(sums[i], static_cast<uint64_t>(sum >> 64) ^ static_cast<uint64_t>(sum));
    const auto difference = wide(a[i], c[i]) - wide(b[i], d[i]);
    EXPECT_EQ(differences[i],
              static_cast<uint64_t>(difference >> 64) ^ static_cast<uint64_t>(difference));
  }
  // The high half of a product of 64 bits from parts of 32, as compilers write it.
  const std::vector<uint64_t> highs =
      RunRows<uint64_t>(R"(.reg .b32 %x, %y, %u, %v, %r0, %r1, %r2, %r3;
    mov.b64 {%x, %y}, %a0; mov.b64 {%u, %v}, %a1;
    mul.lo.u32 %r0, %x, %u; mul.hi.u32 %r1, %x, %u;
    mad.lo.cc.u32 %r1, %x, %v, %r1; madc.hi.u32 %r2, %x, %v, 0;
    mad.lo.cc.u32 %r1, %y, %u, %r1; madc.hi.cc.u32 %r2, %y, %u, %r2; addc.u32 %r3, 0, 0;
    mad.lo.cc.u32 %r2, %y, %v, %r2; madc.hi.u32 %r3, %y, %v, %r3;
    mov.b64 %d, {%r2, %r3};)",
                        a, b);
  for (size_t i = 0; i < kRows; ++i) {
    EXPECT_EQ(highs[i], static_cast<uint64_t>((static_cast<unsigned __int128>(a[i]) * b[i]) >> 64));
  }
}

TEST(Integer, SaturationSignAndDotProducts) {
  const std::vector<int32_t> a = {std::numeric_limits<int32_t>::max(),
                                  std::numeric_limits<int32_t>::min(), 5},
                             b = {1, -1, -9};
  EXPECT_EQ(RunRows<int32_t>("add.sat.s32 %d, %a0, %a1;", a, b),
            (std::vector<int32_t>{a[0], a[1], -4}));
  EXPECT_EQ(RunRows<int32_t>("sub.sat.s32 %d, %a0, %a1;", a, b),
            (std::vector<int32_t>{a[0] - 1, a[1] + 1, 14}));
  EXPECT_EQ(RunRows<int32_t>("abs.s32 %d, %a0;", a), (std::vector<int32_t>{a[0], a[1], 5}));
  EXPECT_EQ(RunRows<int32_t>("neg.s32 %d, %a0;", a), (std::vector<int32_t>{-a[0], a[1], -5}));
  EXPECT_EQ(RunRows<int32_t>("sad.s32 %d, %a0, %a1, 10;", b, b),
            (std::vector<int32_t>{10, 10, 10}));
  EXPECT_EQ(RunRows<int32_t>("sad.s32 %d, %a1, %a0, 1;", std::vector<int32_t>{3, -3},
                             std::vector<int32_t>{-3, 4}),
            (std::vector<int32_t>{7, 8}));
  const std::vector<uint32_t> bytes = {0x01ff7f80};
  const std::vector<uint32_t> other = {0x02030405};
  // Signed: 1*2 - 1*3 + 127*4 - 128*5; unsigned: 1*2 + 255*3 + 127*4 + 128*5.
  EXPECT_EQ(RunRows<int32_t>("dp4a.s32.s32 %d, %a0, %a1, 1000;", bytes, other)[0],
            1000 + 2 - 3 + 508 - 640);
  EXPECT_EQ(RunRows<int32_t>("dp4a.u32.u32 %d, %a0, %a1, 1000;", bytes, other)[0],
            1000 + 2 + 765 + 508 + 640);
  EXPECT_EQ(RunRows<int32_t>("mul24.lo.u32 %d, %a0, 2;", std::vector<uint32_t>{0xff000003})[0], 6);
}

TEST(Integer, Pairs) {
  const std::vector<uint32_t> a = {0xffff0001}, b = {0x00010003};
  EXPECT_EQ(RunRows<uint32_t>("add.u16x2 %d, %a0, %a1;", a, b)[0], 0x00000004u);
  EXPECT_EQ(RunRows<uint32_t>("add.s16x2 %d, %a0, %a1;", a, b)[0], 0x00000004u);
  EXPECT_EQ(RunRows<uint32_t>("min.s16x2 %d, %a0, %a1;", a, b)[0], 0xffff0001u);
  EXPECT_EQ(RunRows<uint32_t>("min.u16x2 %d, %a0, %a1;", a, b)[0], 0x00010001u);
  EXPECT_EQ(RunRows<uint32_t>("max.s16x2 %d, %a0, %a1;", a, b)[0], 0x00010003u);
  EXPECT_EQ(RunRows<uint32_t>("max.u16x2 %d, %a0, %a1;", a, b)[0], 0xffff0003u);
}

TEST(Bits, Shifts) {
  const std::vector<uint32_t> by = {0, 1, 31, 32, 33, 64, 200};
  const std::vector<int32_t> value(by.size(), static_cast<int32_t>(0x80000003u));
  EXPECT_EQ(RunRows<uint32_t>("shl.b32 %d, %a0, %a1;", value, by),
            (std::vector<uint32_t>{0x80000003, 6, 0x80000000, 0, 0, 0, 0}));
  EXPECT_EQ(RunRows<uint32_t>("shr.u32 %d, %a0, %a1;", value, by),
            (std::vector<uint32_t>{0x80000003, 0x40000001, 1, 0, 0, 0, 0}));
  EXPECT_EQ(RunRows<uint32_t>("shr.s32 %d, %a0, %a1;", value, by),
            (std::vector<uint32_t>{0x80000003, 0xc0000001, ~0u, ~0u, ~0u, ~0u, ~0u}));
  const std::vector<uint16_t> half(by.size(), 0x8001);
  EXPECT_EQ(RunRows<uint16_t>("shr.s16 %d, %a0, %a1;", half, by),
            (std::vector<uint16_t>{0x8001, 0xc000, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff}));
  const std::vector<uint32_t> low(by.size(), 0x01234567), high(by.size(), 0x89abcdef);
  for (const bool left : {true, false}) {
    for (const bool wrap : {true, false}) {
      const std::vector<uint32_t> got = RunRows<uint32_t>(
          Cat("shf.", left ? "l" : "r", wrap ? ".wrap" : ".clamp", ".b32 %d, %a0, %a1, %a2;"), low,
          high, by);
      for (size_t i = 0; i < by.size(); ++i) {
        const uint32_t n = wrap ? by[i] & 31 : std::min(by[i], 32u);
        // n = 0 and n = 32 spelled out: shifts of 32 bits by 32 have no value in C++.
        const uint32_t expected = left ? (n == 0    ? high[i]
                                          : n == 32 ? low[i]
                                                    : high[i] << n | low[i] >> (32 - n))
                                       : (n == 0    ? low[i]
                                          : n == 32 ? high[i]
                                                    : low[i] >> n | high[i] << (32 - n));
        EXPECT_EQ(got[i], expected) << left << wrap << by[i];
      }
    }
  }
}

// The bit-by-bit definition of the PTX manual.
template <class T>
T ExtractBits(T a, uint32_t position, uint32_t length) {
  constexpr uint32_t kTop = 8 * sizeof(T) - 1;
  using U = std::make_unsigned_t<T>;
  const auto bit = [&](uint32_t i) { return static_cast<U>(static_cast<U>(a) >> i & 1); };
  const U sign =
      !std::is_signed_v<T> || length == 0 ? 0 : bit(std::min(position + length - 1, kTop));
  U result = 0;
  for (uint32_t i = 0; i <= kTop; ++i)
    result |= static_cast<U>(i < length && position + i <= kTop ? bit(position + i) : sign) << i;
  return static_cast<T>(result);
}

template <class T>
void BitFields(const std::string& type, const std::string& bits) {
  std::vector<T> a = Samples<T>(kRows, 8), b = Samples<T>(kRows, 9);
  std::vector<uint32_t> position, length;
  std::mt19937 random(5);
  for (size_t i = 0; i < kRows; ++i) {
    position.push_back(random() % (i % 5 == 0 ? 256 : 8 * sizeof(T) + 2));
    length.push_back(random() % (i % 7 == 0 ? 256 : 8 * sizeof(T) + 2));
  }
  const std::vector<T> extracted =
      RunRows<T>("bfe." + type + " %d, %a0, %a1, %a2;", a, position, length);
  const std::vector<T> inserted =
      RunRows<T>("bfi." + bits + " %d, %a0, %a1, %a2, %a3;", a, b, position, length);
  for (size_t i = 0; i < kRows; ++i) {
    EXPECT_EQ(extracted[i], ExtractBits(a[i], position[i], length[i]))
        << a[i] << " " << position[i] << " " << length[i];
    using U = std::make_unsigned_t<T>;
    U expected = static_cast<U>(b[i]);
    for (uint32_t bit = 0; bit < length[i] && position[i] + bit < 8 * sizeof(T); ++bit) {
      const U mask = U{1} << (position[i] + bit);
      expected = (static_cast<U>(a[i]) >> bit & 1) != 0 ? expected | mask : expected & ~mask;
    }
    EXPECT_EQ(static_cast<U>(inserted[i]), expected);
  }
}

TEST(Bits, Fields) {
  BitFields<uint32_t>("u32", "b32");
  BitFields<int32_t>("s32", "b32");
  BitFields<uint64_t>("u64", "b64");
  BitFields<int64_t>("s64", "b64");
}

TEST(Bits, CountsAndPermutations) {
  const std::vector<uint32_t> v = {0, 1, 0x80000000, 0xffffffff, 0x00f00010};
  EXPECT_EQ(RunRows<uint32_t>("popc.b32 %d, %a0;", v), (std::vector<uint32_t>{0, 1, 1, 32, 5}));
  EXPECT_EQ(RunRows<uint32_t>("clz.b32 %d, %a0;", v), (std::vector<uint32_t>{32, 31, 0, 0, 8}));
  EXPECT_EQ(RunRows<uint32_t>("brev.b32 %d, %a0;", v),
            (std::vector<uint32_t>{0, 0x80000000, 1, 0xffffffff, 0x08000f00}));
  EXPECT_EQ(RunRows<uint32_t>("bfind.u32 %d, %a0;", v),
            (std::vector<uint32_t>{~0u, 0, 31, 31, 23}));
  EXPECT_EQ(RunRows<uint32_t>("bfind.s32 %d, %a0;", v),
            (std::vector<uint32_t>{~0u, 0, 30, ~0u, 23}));
  EXPECT_EQ(RunRows<uint32_t>("bfind.shiftamt.u32 %d, %a0;", v),
            (std::vector<uint32_t>{~0u, 31, 0, 0, 8}));
  EXPECT_EQ(RunRows<uint32_t>("popc.b64 %d, %a0;", std::vector<uint64_t>{~uint64_t{0} - 1})[0],
            63u);
  EXPECT_EQ(RunRows<uint32_t>("not.b32 %d, %a0;", v)[4], ~0x00f00010u);
  EXPECT_EQ(RunRows<uint32_t>("cnot.b32 %d, %a0;", v), (std::vector<uint32_t>{1, 0, 0, 0, 0}));
  const std::vector<uint32_t> a(5, 0x83828180), b(5, 0x07060504);
  const std::vector<uint32_t> selectors = {0x3210, 0x7654, 0x0123, 0x8888, 0x5410};
  EXPECT_EQ(RunRows<uint32_t>("prmt.b32 %d, %a0, %a1, %a2;", a, b, selectors),
            (std::vector<uint32_t>{0x83828180, 0x07060504, 0x80818283, 0xffffffff, 0x05048180}));
  EXPECT_EQ(RunRows<uint32_t>("prmt.b32.f4e %d, %a0, %a1, %a2;", a, b,
                              std::vector<uint32_t>{0, 1, 2, 3, 5})[1],
            0x04838281u);
  for (const int table : {0x80, 0xfe, 0x96, 0xe8, 0x1b}) {
    const uint32_t x = 0xf0f0cc37, y = 0x1234aaaa, z = 0x0ff055f1;
    uint32_t expected = 0;
    for (int bit = 0; bit < 32; ++bit) {
      const int row = (x >> bit & 1) << 2 | (y >> bit & 1) << 1 | (z >> bit & 1);
      expected |= static_cast<uint32_t>(table >> row & 1) << bit;
    }
    EXPECT_EQ(
        RunRows<uint32_t>(Cat("lop3.b32 %d, %a0, %a1, %a2, ", table, ";"), std::vector<uint32_t>{x},
                          std::vector<uint32_t>{y}, std::vector<uint32_t>{z})[0],
        expected);
  }
  EXPECT_EQ(RunRows<uint32_t>("bmsk.clamp.b32 %d, %a0, 4;", std::vector<uint32_t>{0, 3, 30, 40}),
            (std::vector<uint32_t>{15, 0x78, 0xc0000000, 0}));
}

TEST(Compare, IntegersAndSelection) {
  const std::vector<int32_t> a = {-1, 0, 5, 7}, b = {1, 0, 4, 7};
  const auto compare = [&](const std::string& comparison) {
    return RunRows<uint32_t>("setp." + comparison + " %p, %a0, %a1; selp.b32 %d, 1, 0, %p;", a, b);
  };
  EXPECT_EQ(compare("lt.s32"), (std::vector<uint32_t>{1, 0, 0, 0}));
  EXPECT_EQ(compare("lt.u32"), (std::vector<uint32_t>{0, 0, 0, 0}));
  EXPECT_EQ(compare("hi.u32"), (std::vector<uint32_t>{1, 0, 1, 0}));
  EXPECT_EQ(compare("ge.s32"), (std::vector<uint32_t>{0, 1, 1, 1}));
  EXPECT_EQ(compare("eq.b32"), (std::vector<uint32_t>{0, 1, 0, 1}));
  EXPECT_EQ(compare("ne.s32"), (std::vector<uint32_t>{1, 0, 1, 0}));
  EXPECT_EQ(RunRows<uint32_t>("setp.lt.s32 %p|%q, %a0, %a1; selp.b32 %t0, 1, 0, %p; selp.b32 %d, "
                              "2, 0, %q; add.u32 %d, %d, %t0;",
                              a, b),
            (std::vector<uint32_t>{1, 2, 2, 2}));
  EXPECT_EQ(
      RunRows<uint32_t>(
          "setp.ge.s32 %q, %a0, 5; setp.lt.or.s32 %p, %a0, %a1, !%q; selp.b32 %d, 1, 0, %p;", a, b),
      (std::vector<uint32_t>{1, 1, 0, 0}));
  EXPECT_EQ(RunRows<uint32_t>("set.lt.u32.s32 %d, %a0, %a1;", a, b),
            (std::vector<uint32_t>{~0u, 0, 0, 0}));
  EXPECT_EQ(RunRows<float>("set.lt.f32.s32 %d, %a0, %a1;", a, b), (std::vector<float>{1, 0, 0, 0}));
  EXPECT_EQ(RunRows<int32_t>("slct.s32.s32 %d, 10, 20, %a0;", a),
            (std::vector<int32_t>{20, 10, 10, 10}));
  // Predicates as values.
  EXPECT_EQ(RunRows<uint32_t>("setp.lt.s32 %p, %a0, %a1; setp.gt.s32 %q, %a0, %a1; or.pred %p, %p, "
                              "%q; not.pred %p, %p; mov.pred %q, -1; "
                              "and.pred %p, %p, %q; xor.pred %p, %p, %q; selp.b32 %d, 1, 0, %p;",
                              a, b),
            (std::vector<uint32_t>{1, 0, 1, 0}));
}

TEST(Move, VectorsAndSpecialRegisters) {
  EXPECT_EQ(
      RunRows<uint64_t>(
          ".reg .b16 %h<4>; mov.b64 {%h0, %h1, %h2, %h3}, %a0; mov.b64 %d, {%h3, %h2, %h1, %h0};",
          std::vector<uint64_t>{0x0123456789abcdef})[0],
      0xcdef89ab45670123u);
  EXPECT_EQ(RunRows<uint32_t>("{ .reg .b16 tmp; mov.b32 {_, tmp}, %a0; mov.b32 %d, {tmp, tmp}; }",
                              std::vector<uint32_t>{0x12345678})[0],
            0x12341234u);
  const std::vector<uint32_t> rows(96, 0);
  const std::vector<uint32_t> got = RunRows<uint32_t>(
      "mov.u32 %t0, %laneid; mov.u32 %t1, %warpid; mov.u32 %t2, %lanemask_lt; popc.b32 %t2, %t2; "
      "sub.u32 %t0, %t0, %t2; shl.b32 %d, %t1, 8; "
      "or.b32 %d, %d, %t0; or.b32 %d, %d, %a0;",
      rows);
  for (size_t i = 0; i < rows.size(); ++i) EXPECT_EQ(got[i], i / 32 % 2 << 8) << i;
  EXPECT_EQ(RunRows<uint64_t>("mov.u64 %d, %clock64; mov.u64 %base, %clock64; setp.ge.u64 %p, "
                              "%base, %d; selp.b64 %d, 1, 0, %p;",
                              rows)[0],
            1u);
}

}  // namespace
}  // namespace weft::ptx
