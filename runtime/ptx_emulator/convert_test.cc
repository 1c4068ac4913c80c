#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include "gtest/gtest.h"
#include "runtime/ptx_emulator/test_kernel.h"

namespace weft::ptx {
namespace {

TEST(Convert, Integers) {
  EXPECT_EQ(RunRows<int64_t>("cvt.s64.s32 %d, %a0;", std::vector<int32_t>{-5, 7}),
            (std::vector<int64_t>{-5, 7}));
  EXPECT_EQ(RunRows<uint64_t>("cvt.u64.u32 %d, %a0;", std::vector<uint32_t>{0xfffffffb})[0],
            0xfffffffbu);
  EXPECT_EQ(RunRows<uint32_t>("cvt.u32.u64 %d, %a0;", std::vector<uint64_t>{0x123456789abcdef0})[0],
            0x9abcdef0u);
  EXPECT_EQ(RunRows<int32_t>("cvt.s32.s8 %d, %a0;", std::vector<int32_t>{0x1ff, 0x7f}),
            (std::vector<int32_t>{-1, 127}));
  EXPECT_EQ(RunRows<uint32_t>("cvt.u32.u8 %d, %a0;", std::vector<uint16_t>{0x1ff})[0], 0xffu);
  EXPECT_EQ(RunRows<int16_t>("cvt.s16.s8 %d, %a0;", std::vector<uint16_t>{0x80})[0], -128);
  EXPECT_EQ(RunRows<int32_t>("cvt.sat.s8.s32 %d, %a0;", std::vector<int32_t>{300, -300, 5}),
            (std::vector<int32_t>{127, -128, 5}));
  EXPECT_EQ(RunRows<uint32_t>("cvt.sat.u16.s32 %d, %a0;", std::vector<int32_t>{-1, 70000})[1],
            65535u);
}

TEST(Convert, FloatsToIntegers) {
  const std::vector<float> a = {2.5f, -2.5f, 3.5f, 1e20f, -1e20f, NAN, -0.5f};
  constexpr int32_t kMax = std::numeric_limits<int32_t>::max(),
                    kMin = std::numeric_limits<int32_t>::min();
  EXPECT_EQ(RunRows<int32_t>("cvt.rzi.s32.f32 %d, %a0;", a),
            (std::vector<int32_t>{2, -2, 3, kMax, kMin, 0, 0}));
  EXPECT_EQ(RunRows<int32_t>("cvt.rni.s32.f32 %d, %a0;", a),
            (std::vector<int32_t>{2, -2, 4, kMax, kMin, 0, 0}));
  EXPECT_EQ(RunRows<int32_t>("cvt.rmi.s32.f32 %d, %a0;", a),
            (std::vector<int32_t>{2, -3, 3, kMax, kMin, 0, -1}));
  EXPECT_EQ(RunRows<int32_t>("cvt.rpi.s32.f32 %d, %a0;", a),
            (std::vector<int32_t>{3, -2, 4, kMax, kMin, 0, 0}));
  EXPECT_EQ(RunRows<uint32_t>("cvt.rzi.u32.f32 %d, %a0;", a),
            (std::vector<uint32_t>{2, 0, 3, ~0u, 0, 0, 0}));
  EXPECT_EQ(RunRows<int64_t>("cvt.rzi.s64.f64 %d, %a0;",
                             std::vector<double>{-1e300, 123456789012345.75})[1],
            123456789012345);
  EXPECT_EQ(RunRows<uint16_t>("cvt.rzi.u16.f32 %d, %a0;", std::vector<float>{70000, -1}),
            (std::vector<uint16_t>{65535, 0}));
  EXPECT_EQ(RunRows<int32_t>("cvt.rzi.s32.f16 %d, %a0;", std::vector<uint16_t>{0x4500})[0], 5);
}

TEST(Convert, IntegersToFloats) {
  const std::vector<int32_t> a = {16777217, -16777219, 7};
  EXPECT_EQ(RunRows<float>("cvt.rn.f32.s32 %d, %a0;", a),
            (std::vector<float>{16777216, -16777220, 7}));
  EXPECT_EQ(RunRows<float>("cvt.rz.f32.s32 %d, %a0;", a),
            (std::vector<float>{16777216, -16777218, 7}));
  EXPECT_EQ(RunRows<float>("cvt.rp.f32.s32 %d, %a0;", a),
            (std::vector<float>{16777218, -16777218, 7}));
  EXPECT_EQ(RunRows<double>("cvt.rn.f64.u32 %d, %a0;", std::vector<uint32_t>{0xffffffff})[0],
            4294967295.0);
  const std::vector<uint64_t> large = {(uint64_t{1} << 63) + (uint64_t{1} << 39) + 1};
  // Halfway but for the last bit: rounding by way of double would lose it.
  EXPECT_EQ(RunRows<float>("cvt.rn.f32.u64 %d, %a0;", large)[0], 0x1p63f + 0x1p40f);
  EXPECT_EQ(RunRows<uint16_t>("cvt.rn.f16.s32 %d, %a0;", std::vector<int32_t>{2049, 70000}),
            (std::vector<uint16_t>{0x6800, 0x7c00}));
  EXPECT_EQ(RunRows<uint16_t>("cvt.rn.f16.u16 %d, %a0;", std::vector<uint16_t>{3})[0], 0x4200);
}

TEST(Convert, Floats) {
  EXPECT_EQ(RunRows<double>("cvt.f64.f32 %d, %a0;", std::vector<float>{0.1f})[0], double{0.1f});
  EXPECT_EQ(RunRows<float>("cvt.rn.f32.f64 %d, %a0;", std::vector<double>{0.1})[0], 0.1f);
  EXPECT_EQ(RunRows<float>("cvt.rz.f32.f64 %d, %a0;", std::vector<double>{0.1})[0],
            std::nextafter(0.1f, 0.0f));
  EXPECT_EQ(
      RunRows<float>("cvt.f32.f16 %d, %a0;", std::vector<uint16_t>{0x3555, 0x0001, 0xfc00}),
      (std::vector<float>{0.333251953125f, 0x1p-24f, -std::numeric_limits<float>::infinity()}));
  EXPECT_EQ(RunRows<uint16_t>("cvt.rn.f16.f32 %d, %a0;",
                              std::vector<float>{1.0f / 3, 65519.9f, 65520.0f, 0x1p-25f, 0x1.8p-25f,
                                                 1 + 0x1p-11f}),
            (std::vector<uint16_t>{0x3555, 0x7bff, 0x7c00, 0x0000, 0x0001, 0x3c00}));
  EXPECT_EQ(RunRows<uint16_t>("cvt.rz.f16.f32 %d, %a0;", std::vector<float>{1e9f, -1.9999f}),
            (std::vector<uint16_t>{0x7bff, 0xbfff}));
  EXPECT_EQ(RunRows<uint16_t>("cvt.rn.bf16.f32 %d, %a0;",
                              std::vector<float>{1 + 0x1p-8f, 1 + 0x1.8p-8f, 0x1.ffp127f}),
            (std::vector<uint16_t>{0x3f80, 0x3f81, 0x7f80}));
  EXPECT_EQ(RunRows<float>("cvt.f32.bf16 %d, %a0;", std::vector<uint16_t>{0x4049})[0], 3.140625f);
  EXPECT_EQ(RunRows<uint32_t>("cvt.rn.f16x2.f32 %d, %a0, %a1;", std::vector<float>{2},
                              std::vector<float>{1})[0],
            0x40003c00u);
  EXPECT_EQ(RunRows<uint32_t>("cvt.rn.relu.bf16x2.f32 %d, %a0, %a1;", std::vector<float>{-2},
                              std::vector<float>{1})[0],
            0x00003f80u);
  EXPECT_EQ(
      RunRows<float>("cvt.rna.tf32.f32 %d, %a0;", std::vector<float>{1 + 0x1p-11f, 1 + 0x1p-12f}),
      (std::vector<float>{1 + 0x1p-10f, 1}));
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(RunRows<uint32_t>("cvt.rna.tf32.f32 %d, %a0;",
                              std::vector<float>{-1 - 0x3p-11f, 0x1.ffdp127f, 0x1.ffep127f,
                                                 -infinity, -0.0f, 0x3p-138f, NAN}),
            (std::vector<uint32_t>{0xbf804000u, 0x7f7fe000u, 0x7f800000u, 0xff800000u, 0x80000000u,
                                   0x00002000u, 0x7fffffffu}));
  EXPECT_EQ(RunRows<float>("cvt.rni.f32.f32 %d, %a0;", std::vector<float>{2.5f, -0.2f, 3.5f}),
            (std::vector<float>{2, -0.0f, 4}));
  EXPECT_EQ(RunRows<float>("cvt.rmi.f32.f32 %d, %a0;", std::vector<float>{2.5f, -0.2f})[1], -1.0f);
  EXPECT_EQ(RunRows<float>("cvt.sat.f32.f32 %d, %a0;", std::vector<float>{-1, 0.5, 2, NAN}),
            (std::vector<float>{0, 0.5, 1, 0}));
  EXPECT_EQ(RunRows<float>("cvt.ftz.f32.f32 %d, %a0;", std::vector<float>{0x1p-140f})[0], 0.0f);
  EXPECT_EQ(
      RunRows<uint16_t>("cvt.rn.satfinite.e4m3x2.f32 %d, %a0, %a1;",
                        std::vector<float>{1.0f, 1000.0f}, std::vector<float>{-0.5f, 0x1p-9f}),
      (std::vector<uint16_t>{0x38b0, 0x7e01}));
  EXPECT_EQ(RunRows<uint32_t>("cvt.rn.f16x2.e4m3x2 %d, %a0;", std::vector<uint16_t>{0x38b0})[0],
            0x3c00b800u);
  EXPECT_EQ(RunRows<uint16_t>("cvt.rn.satfinite.e5m2x2.f32 %d, %a0, %a1;", std::vector<float>{1.0f},
                              std::vector<float>{1e9f})[0],
            0x3c7bu);
}

}  // namespace
}  // namespace weft::ptx
