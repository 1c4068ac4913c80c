#include "proto/core/crc32.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <random>
#include <vector>

namespace weft {
namespace {

// Both ways to it.
constexpr decltype(&Crc32) kWays[] = {&Crc32, &Crc32ByTable};

TEST(Crc32, KnownValueAndContinuation) {
  for (const auto crc32 : kWays) {
    EXPECT_EQ(crc32("123456789", 0), 0xcbf43926u);
    EXPECT_EQ(crc32("6789", crc32("12345", 0)), 0xcbf43926u);
    EXPECT_EQ(crc32("", 5), 5u);
  }
  EXPECT_EQ(Crc32("123456789"), 0xcbf43926u);
}

uint32_t OfZip(const std::vector<char>& bytes, size_t begin, uint32_t before) {
  return static_cast<uint32_t>(
      crc32_z(before, reinterpret_cast<const Bytef*>(bytes.data()) + begin, bytes.size() - begin));
}

TEST(Crc32, IsThatOfZip) {
  std::mt19937 random(5);
  for (size_t size = 1; size < 400; ++size) {
    std::vector<char> bytes(size);  // of exactly this size, so that a sanitizer sees more
    for (char& byte : bytes) byte = static_cast<char>(random());
    const auto before = static_cast<uint32_t>(random());
    for (const auto crc32 : kWays) {
      EXPECT_EQ(crc32({bytes.data(), size}, before), OfZip(bytes, 0, before)) << size;
    }
  }
}

// Wherever the bytes begin.
TEST(Crc32, TakesAnyAddress) {
  std::mt19937 random(6);
  for (const size_t size : {1, 15, 16, 63, 64, 65, 127, 128, 129, 1000}) {
    for (size_t begin = 0; begin < 64; ++begin) {
      std::vector<char> bytes(begin + size);
      for (char& byte : bytes) byte = static_cast<char>(random());
      const auto before = static_cast<uint32_t>(random());
      for (const auto crc32 : kWays) {
        EXPECT_EQ(crc32({bytes.data() + begin, size}, before), OfZip(bytes, begin, before))
            << size << " bytes from " << begin;
      }
    }
  }
}

}  // namespace
}  // namespace weft
