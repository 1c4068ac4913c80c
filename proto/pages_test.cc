#include "proto/pages.h"

#include <cerrno>
#include <cstdint>
#include <fstream>
#include <string>

#include "gtest/gtest.h"

namespace weft {
namespace {

// Bytes of address space that this process has mapped.
size_t MappedBytes() {
  std::ifstream file("/proc/self/statm");
  size_t pages = 0;
  file >> pages;
  return pages * 4096;
}

TEST(Pages, AreZerosThatCanBeWritten) {
  for (size_t size :
       {size_t{1}, size_t{5000}, 2 * kLargePage - 1, 2 * kLargePage, 3 * kLargePage + 12345}) {
    char* data = static_cast<char*>(MapZeroPages(size));
    ASSERT_NE(data, nullptr);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(data) % (size < 2 * kLargePage ? 4096 : kLargePage), 0u);
    for (size_t i = 0; i < size; i += 4096) ASSERT_EQ(data[i], 0);
    ASSERT_EQ(data[size - 1], 0);
    data[0] = data[size - 1] = 1;
    UnmapPages(data, size);
  }
}

TEST(Pages, NothingStaysMapped) {
  const size_t before = MappedBytes();
  for (int i = 0; i < 100; ++i) {
    const size_t size = 2 * kLargePage + 4096 * static_cast<size_t>(i) + 1;
    void* data = MapZeroPages(size);
    ASSERT_NE(data, nullptr);
    EXPECT_LE(MappedBytes(), before + size + 4096 + kLargePage / 2);
    UnmapPages(data, size);
  }
  EXPECT_LT(MappedBytes(), before + kLargePage);
}

TEST(Pages, WhatIsTooMuchIsNull) {
  errno = 0;
  EXPECT_EQ(MapZeroPages(SIZE_MAX - 100), nullptr);
  EXPECT_EQ(errno, ENOMEM);
}

}  // namespace
}  // namespace weft
