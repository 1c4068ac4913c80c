#include "proto/core/crc32.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <random>
#include <vector>

namespace weft {
namespace {

TEST(Crc32, KnownValueAndContinuation) {
  EXPECT_EQ(Crc32("123456789"), 0xcbf43926u);
  EXPECT_EQ(Crc32("6789", Crc32("12345")), 0xcbf43926u);
  EXPECT_EQ(Crc32("", 5), 5u);
}

TEST(Crc32, IsThatOfZip) {
  std::mt19937 random(5);
  for (size_t size = 1; size < 400; ++size) {
    std::vector<char> bytes(size);  // of exactly this size, so that a sanitizer sees more
    for (char& byte : bytes) byte = static_cast<char>(random());
    const auto before = static_cast<uint32_t>(random());
    EXPECT_EQ(Crc32({bytes.data(), size}, before),
              crc32_z(before, reinterpret_cast<const Bytef*>(bytes.data()), size))
        << size;
  }
}

}  // namespace
}  // namespace weft
