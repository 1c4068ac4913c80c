#include "proto/pages.h"

#include <cerrno>
#include <cstdint>
#include <filesystem>
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

// A machine's files, as far as they say what memory is left.
class Available : public testing::Test {
 protected:
  void Write(const std::string& path, const std::string& text) {
    const std::filesystem::path file = root_ + path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  void SetUp() override {
    root_ =
        testing::TempDir() + "/" + testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(root_);
    Write("/proc/meminfo", "MemTotal: 16000 kB\nMemAvailable:    8000 kB\nSwapFree: 0 kB\n");
  }
  uint64_t InKilobytes() const { return AvailableMemory(root_) >> 10; }

  std::string root_;
};

TEST_F(Available, OfTheMachine) {
  EXPECT_EQ(InKilobytes(), 8000u);
  EXPECT_GT(AvailableMemory(), 0u);
}

TEST_F(Available, OfGroupsInGroups) {
  Write("/proc/self/cgroup", "0::/slice/of:it/unit\n");
  Write("/sys/fs/cgroup/slice/of:it/unit/memory.max", "max\n");
  EXPECT_EQ(InKilobytes(), 8000u);
  Write("/sys/fs/cgroup/slice/memory.max", "6144000\n");
  Write("/sys/fs/cgroup/slice/memory.current", "2048000\n");
  EXPECT_EQ(InKilobytes(), 4000u);
  Write("/sys/fs/cgroup/slice/memory.stat", "anon 1\ninactive_file 1024000\nactive_file 5\n");
  EXPECT_EQ(InKilobytes(), 5000u);
  Write("/sys/fs/cgroup/slice/of:it/unit/memory.max", "1024000\n");
  EXPECT_EQ(InKilobytes(), 1000u);
  Write("/sys/fs/cgroup/slice/of:it/unit/memory.current", "9999999\n");
  EXPECT_EQ(InKilobytes(), 0u);
}

// The path is the one outside; inside, the group is the root of all.
TEST_F(Available, OfAContainerThatSeesItselfAsTheRoot) {
  Write("/proc/self/cgroup", "0::/../../outside\n");
  Write("/sys/fs/cgroup/memory.max", "2048000\n");
  EXPECT_EQ(InKilobytes(), 2000u);
}

TEST_F(Available, OfTheFirstVersionOfGroups) {
  Write("/proc/self/cgroup", "5:cpu,cpuacct:/x\n4:memory:/x/y\n0::/\n");
  Write("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  Write("/sys/fs/cgroup/memory/x/y/memory.limit_in_bytes", "3072000\n");
  Write("/sys/fs/cgroup/memory/x/y/memory.usage_in_bytes", "2048000\n");
  Write("/sys/fs/cgroup/memory/x/y/memory.stat", "inactive_file 1\ntotal_inactive_file 512000\n");
  EXPECT_EQ(InKilobytes(), 1500u);
}

}  // namespace
}  // namespace weft
