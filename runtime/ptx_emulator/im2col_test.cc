#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/ptx_emulator/tensor_map.h"
#include "runtime/ptx_emulator/test_kernel.h"

// Copies of pixels of windows of images (TMA, im2col).
namespace weft::ptx {
namespace {

using testing::HasSubstr;

constexpr uint32_t kChannels = 24, kBox = 16, kWindows = 24;
constexpr uint32_t kBytes = kBox * kWindows * 2;

struct alignas(64) EncodedMap {
  uint8_t bytes[kTensorMapBytes];
};

// Sizes of an image along what windows go over, innermost first, and what the map says of them.
struct Images {
  std::vector<uint64_t> sizes;
  std::vector<int32_t> lower, upper;
  std::vector<uint32_t> strides;
  uint64_t count = 3;

  size_t rank() const { return sizes.size() + 2; }
  std::vector<uint64_t> shape() const {
    std::vector<uint64_t> all = {kChannels};
    all.insert(all.end(), sizes.begin(), sizes.end());
    all.push_back(count);
    return all;
  }
  size_t elements() const {
    size_t product = 1;
    for (const uint64_t size : shape()) product *= size;
    return product;
  }
};

TensorMap MapOf(const Images& images, uint64_t address) {
  TensorMap map;
  map.address = address;
  map.rank = static_cast<int>(images.rank());
  map.element_bytes = 2;
  uint64_t stride = 2;
  for (size_t i = 0; i < images.rank(); ++i) {
    map.sizes[i] = images.shape()[i];
    map.stride_bytes[i] = i == 0 ? 0 : stride;
    stride *= map.sizes[i];
  }
  map.box = {kBox, kWindows};
  map.im2col = true;
  for (size_t i = 0; i < images.sizes.size(); ++i) {
    map.lower_corner[i] = images.lower[i];
    map.upper_corner[i] = images.upper[i];
    map.element_strides[i] = images.strides[i];
  }
  return map;
}

std::string Numbers(const std::vector<int32_t>& numbers) {
  std::string text;
  for (const int32_t number : numbers) text += Cat(text.empty() ? "" : ", ", number);
  return text;
}

struct Outcome {
  absl::Status status;
  std::vector<Finding> findings;
  std::vector<uint16_t> box;
};

// Copies the box at the coordinates, of a map of rank or another. Element i of the images is i + 1.
Outcome Copy(const Images& images, const std::vector<int32_t>& at,
             const std::vector<int32_t>& offsets,
             std::optional<TensorMap> (*other)(TensorMap) = nullptr, bool tiled = false) {
  const std::string mode = tiled ? "" : ".im2col", pixel = Cat(", {", Numbers(offsets), "}");
  TestDevice device;
  device.Load(Cat(Header(), R"(.visible .entry k(.param .align 64 .b8 map[128], .param .u64 out) {
    .reg .pred %p; .reg .b64 %rd<4>;
    .shared .align 128 .b8 tile[)",
                  kBytes, R"(]; .shared .align 8 .b8 full[8];
    ld.param.u64 %rd1, [out]; mov.b64 %rd2, map; cvta.param.u64 %rd2, %rd2;
    mbarrier.init.shared.b64 [full], 1; fence.proxy.async;
    mbarrier.arrive.expect_tx.shared.b64 %rd3, [full], )",
                  kBytes, ";\ncp.async.bulk.tensor.", at.size(), "d.shared::cluster.global", mode,
                  ".mbarrier::complete_tx::bytes [tile], [%rd2, {", Numbers(at), "}], [full]",
                  tiled ? "" : pixel, R"(;
    WAIT: mbarrier.test_wait.shared.b64 %p, [full], %rd3; @!%p bra WAIT;
    cp.async.bulk.global.shared::cta.bulk_group [%rd1], [tile], )",
                  kBytes, "; cp.async.bulk.commit_group; cp.async.bulk.wait_group 0; ret; }"));
  std::vector<uint16_t> values(images.elements());
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<uint16_t>(i + 1);
  const uint64_t in = device.Buffer(values, "images"), out = device.Unwritten(kBytes);
  TensorMap map = MapOf(images, in);
  if (other != nullptr) map = *other(map);
  EncodedMap encoded;
  const absl::Status status = EncodeTensorMap(map, &encoded);
  EXPECT_TRUE(status.ok()) << status;
  Outcome outcome;
  outcome.status = device.Launch("k", {1}, {1}, 0, encoded, out);
  outcome.findings = device.findings();
  if (outcome.status.ok()) outcome.box = device.Read<uint16_t>(out, kBox * kWindows);
  return outcome;
}

// All windows of the images in their order, from those that begin in the first image on.
std::vector<std::vector<int64_t>> WindowsOf(const Images& images, uint64_t count) {
  std::vector<std::vector<int64_t>> windows;
  for (uint64_t image = 0; image < count; ++image) {
    std::vector<std::vector<int64_t>> of_image = {{}};
    for (size_t i = images.sizes.size(); i-- > 0;) {
      std::vector<std::vector<int64_t>> more;
      const int64_t last = static_cast<int64_t>(images.sizes[i]) - 1 + images.upper[i];
      for (const std::vector<int64_t>& rest : of_image) {
        for (int64_t at = images.lower[i]; at <= last; at += images.strides[i]) {
          more.push_back(rest);
          more.back().insert(more.back().begin(), at);
        }
      }
      of_image = more;
    }
    for (std::vector<int64_t>& window : of_image) {
      window.push_back(static_cast<int64_t>(image));
      windows.push_back(window);
    }
  }
  return windows;
}

void ExpectPixels(const Images& images, int32_t channel, size_t first,
                  const std::vector<int32_t>& offsets) {
  SCOPED_TRACE(Cat("channel ", channel, ", window ", first, ", offsets ", Numbers(offsets)));
  const auto windows = WindowsOf(images, images.count + kWindows);
  std::vector<int32_t> at = {channel};
  for (const int64_t x : windows[first]) at.push_back(static_cast<int32_t>(x));
  const Outcome outcome = Copy(images, at, offsets);
  ASSERT_TRUE(outcome.status.ok()) << outcome.status;
  const std::vector<uint64_t> shape = images.shape();
  for (uint32_t r = 0; r < kWindows; ++r) {
    for (uint32_t c = 0; c < kBox; ++c) {
      std::vector<int64_t> place = {channel + int64_t{c}};
      for (size_t i = 0; i + 1 < images.rank(); ++i) {
        place.push_back(windows[first + r][i] + (i < offsets.size() ? offsets[i] : 0));
      }
      bool inside = true;
      uint64_t element = 0;
      for (size_t i = images.rank(); i-- > 0;) {
        inside = inside && place[i] >= 0 && place[i] < static_cast<int64_t>(shape[i]);
        element = element * shape[i] + static_cast<uint64_t>(place[i]);
      }
      ASSERT_EQ(outcome.box[r * kBox + c], inside ? static_cast<uint16_t>(element + 1) : 0)
          << r << " " << c;
    }
  }
}

TEST(Im2col, PixelsOfWindows) {
  // 3 x 2 windows of an image with 1 around it, and then with strides and dilations.
  const Images padded = {{5, 4}, {-1, -1}, {-1, 0}, {1, 1}};
  const Images strided = {{7, 6}, {-2, 0}, {-1, -1}, {3, 2}};
  for (const Images& images : {padded, strided}) {
    for (const size_t first : {0, 2, 7, 12}) {
      ExpectPixels(images, 0, first, {0, 0});
      ExpectPixels(images, 16, first, {2, 1});
      ExpectPixels(images, 8, first, {1, 0});
      ExpectPixels(images, 8, first, {255, 255});
    }
  }
  // Lines, and what has a depth.
  ExpectPixels({{40}, {-3}, {1}, {8}}, 0, 3, {5});
  ExpectPixels({{40}, {-3}, {1}, {1}}, 8, 30, {65535});
  ExpectPixels({{3, 4, 2}, {-1, 0, -1}, {-1, 0, 0}, {1, 2, 1}}, 0, 5, {1, 2, 1});
}

void ExpectMisuse(const Outcome& outcome, const std::string& part) {
  EXPECT_FALSE(outcome.status.ok());
  ASSERT_FALSE(outcome.findings.empty());
  EXPECT_EQ(outcome.findings[0].kind, FindingKind::kMisuse);
  EXPECT_THAT(outcome.findings[0].ToString(), HasSubstr(part));
}

TEST(Im2col, WhatIsNotDefinedIsFound) {
  const Images images = {{5, 4}, {-1, -1}, {-1, 0}, {1, 1}};
  EXPECT_TRUE(Copy(images, {0, 3, 3, 0}, {0, 0}).status.ok());
  ExpectMisuse(Copy(images, {0, 4, 0, 0}, {0, 0}), "a window from -1 to 3 along dimension 1");
  ExpectMisuse(Copy(images, {0, -2, 0, 0}, {0, 0}), "got one at -2");
  ExpectMisuse(Copy(images, {0, 0, 4, 0}, {0, 0}), "a window from -1 to 3 along dimension 2");
  ExpectMisuse(Copy(images, {0, 0, 0, 0}, {256, 0}), "offsets below 256, got 256");
  ExpectMisuse(Copy({{3, 4, 2}, {0, 0, 0}, {0, 0, 0}, {1, 1, 1}}, {0, 0, 0, 0, 0}, {0, 32, 0}),
               "offsets below 32, got 32");
  // Each mode is of maps of its own.
  ExpectMisuse(Copy(images, {0, 0, 0, 0}, {}, nullptr, /*tiled=*/true),
               "4 dimensions of a tensor map of 4 (im2col)");
  ExpectMisuse(Copy(images, {0, 0, 0, 0}, {0, 0},
                    [](TensorMap map) -> std::optional<TensorMap> {
                      map.im2col = false;
                      map.box = {kBox, 6, 2, 2};
                      return map;
                    }),
               "4 dimensions (im2col) of a tensor map of 4");
  ExpectMisuse(Copy(images, {0, 0, 0}, {0}), "3 dimensions (im2col) of a tensor map of 4");
}

TEST(Im2col, TextThatIsRefused) {
  const auto refused = [](const std::string& instruction) {
    Emulator emulator;
    return !emulator
                .Load(Cat(Header(),
                          ".visible .entry k() {\n.reg .b64 %rd<4>; .shared .align 128 "
                          ".b8 tile[64]; .shared .align 8 .b8 full[8];\n",
                          instruction, "\nret; }"))
                .ok();
  };
  const std::string load = "d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes [tile], ";
  EXPECT_FALSE(refused("cp.async.bulk.tensor.3" + load + "[%rd1, {0, 0, 0}], [full], {0};"));
  EXPECT_TRUE(refused("cp.async.bulk.tensor.3" + load + "[%rd1, {0, 0, 0}], [full];"));
  EXPECT_TRUE(refused("cp.async.bulk.tensor.3" + load + "[%rd1, {0, 0, 0}], [full], {0, 0};"));
  EXPECT_TRUE(refused("cp.async.bulk.tensor.2" + load + "[%rd1, {0, 0}], [full], {0};"));
  EXPECT_TRUE(
      refused("cp.async.bulk.tensor.3d.global.shared::cta.im2col.bulk_group [%rd1, {0, 0, 0}], "
              "[tile];"));
}

TEST(Im2col, TensorMapsThatTheDriverRefuses) {
  const Images images = {{5, 4}, {-128, 0}, {127, -3}, {8, 1}};
  const TensorMap good = MapOf(images, 1024);
  EncodedMap encoded;
  ASSERT_TRUE(EncodeTensorMap(good, &encoded).ok());
  TensorMap read;
  ASSERT_TRUE(DecodeTensorMap(&encoded, &read).ok());
  EXPECT_TRUE(read.im2col);
  EXPECT_EQ(read.box, good.box);
  EXPECT_EQ(read.lower_corner, good.lower_corner);
  EXPECT_EQ(read.upper_corner, good.upper_corner);
  EXPECT_EQ(read.element_strides, good.element_strides);
  const auto refused = [&](void (*change)(TensorMap&)) {
    TensorMap map = good;
    change(map);
    return !EncodeTensorMap(map, &encoded).ok();
  };
  EXPECT_TRUE(refused([](TensorMap& m) { m.rank = 2; }));
  EXPECT_TRUE(refused([](TensorMap& m) { m.lower_corner[0] = -129; }));
  EXPECT_TRUE(refused([](TensorMap& m) { m.upper_corner[0] = 128; }));
  EXPECT_TRUE(refused([](TensorMap& m) { m.upper_corner[1] = -4; }));
  EXPECT_TRUE(refused([](TensorMap& m) { m.element_strides[0] = 9; }));
  EXPECT_TRUE(refused([](TensorMap& m) { m.element_strides[1] = 0; }));
  EXPECT_TRUE(refused([](TensorMap& m) { m.box[0] = 257; }));
  EXPECT_TRUE(refused([](TensorMap& m) { m.box[1] = 1025; }));
  EXPECT_FALSE(refused([](TensorMap& m) { m.box[1] = 1024; }));
}

}  // namespace
}  // namespace weft::ptx
