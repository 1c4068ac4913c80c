#include "proto/container.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <string>

#include "proto/core/crc32.h"

namespace weft {
namespace {

std::string Sample() {
  static const std::string big(5000, 'w');
  return WriteContainer({{"graph", "hello", 6}, {"code.x86-64-v3", big, 12}, {"empty", "", 6}});
}

TEST(Container, RoundTrip) {
  auto container = Container::Open(Bytes::Of(Sample()));
  ASSERT_TRUE(container.ok()) << container.status();
  EXPECT_EQ(container->Names(), (std::vector<std::string>{"graph", "code.x86-64-v3", "empty"}));
  EXPECT_EQ(container->Section("graph").value(), "hello");
  EXPECT_EQ(container->Section("code.x86-64-v3").value(), std::string(5000, 'w'));
  EXPECT_EQ(container->Offset("code.x86-64-v3").value() % 4096, 0u);
  EXPECT_EQ(container->Section("empty").value(), "");
  EXPECT_TRUE(container->Has("graph"));
  EXPECT_FALSE(container->Has("grap"));
  EXPECT_EQ(container->Section("none").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(container->Offset("none").status().code(), absl::StatusCode::kNotFound);
  // Written again, it is the same file.
  EXPECT_EQ(WriteContainer(container->Sections()), Sample());
}

TEST(Container, WithoutSections) {
  auto container = Container::Open(Bytes::Of(WriteContainer({})));
  ASSERT_TRUE(container.ok()) << container.status();
  EXPECT_TRUE(container->Names().empty());
}

TEST(Container, ThroughAFile) {
  const std::string path = testing::TempDir() + "/container_test.weft";
  ASSERT_TRUE(WriteContainerFile(path, {{"a", "1", 6}, {"b", "2", 12}}).ok());
  auto bytes = Bytes::Map(path);
  ASSERT_TRUE(bytes.ok());
  EXPECT_EQ((*bytes)->view(), WriteContainer({{"a", "1", 6}, {"b", "2", 12}}));
  auto container = Container::Open(*bytes);
  ASSERT_TRUE(container.ok());
  EXPECT_EQ(container->Section("b").value(), "2");
}

// Every byte of the file is covered by a check, whichever is flipped.
TEST(Container, EveryFlippedBitIsNoticed) {
  const std::string good = Sample();
  for (size_t i = 0; i < good.size(); ++i) {
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ (1 << (i % 8)));
    auto container = Container::Open(Bytes::Of(bad));
    if (!container.ok()) {
      EXPECT_EQ(container.status().code(), absl::StatusCode::kInvalidArgument);
      continue;
    }
    bool noticed = false;
    for (const std::string& name : container->Names()) {
      auto section = container->Section(name);
      if (!section.ok()) {
        EXPECT_EQ(section.status().code(), absl::StatusCode::kDataLoss);
        noticed = true;
      }
    }
    EXPECT_TRUE(noticed) << "byte " << i;
  }
}

TEST(Container, EveryTruncationIsNoticed) {
  const std::string good = Sample();
  for (size_t size = 0; size < good.size(); ++size) {
    EXPECT_FALSE(Container::Open(Bytes::Of(good.substr(0, size))).ok()) << size;
  }
  EXPECT_FALSE(Container::Open(Bytes::Of(good + "x")).ok());
}

// With the table's checksum made right again, the bounds still hold.
TEST(Container, LyingTablesAreRefused) {
  const std::string good = Sample();
  std::mt19937_64 random(1);
  int accepted = 0;
  for (int round = 0; round < 20000; ++round) {
    std::string bad = good;
    const size_t at = 32 + random() % (3 * 64);
    uint64_t value = random() % 3 == 0 ? ~uint64_t{0} >> (random() % 64) : random() % 256;
    memcpy(&bad[at], &value, std::min<size_t>(8, bad.size() - at));
    const uint32_t crc = Crc32(std::string_view(bad).substr(32, 3 * 64));
    memcpy(&bad[24], &crc, sizeof(crc));
    auto container = Container::Open(Bytes::Of(bad));
    if (!container.ok()) continue;
    ++accepted;
    for (const std::string& name : container->Names()) {
      auto section = container->Section(name);
      if (section.ok()) EXPECT_LE(section->size(), bad.size());
    }
  }
  EXPECT_LT(accepted, 20000);
}

TEST(Container, SaysWhichFile) {
  auto container = Container::Open(Bytes::Of("nonsense", "model.weft"));
  EXPECT_EQ(std::string(container.status().message()).find("model.weft: "), 0u);
}

TEST(ContainerDeathTest, RefusesBadNamesAsBugs) {
  EXPECT_DEATH(WriteContainer({{"", "x", 6}}), "");
  EXPECT_DEATH(WriteContainer({{"a b", "x", 6}}), "");
  EXPECT_DEATH(WriteContainer({{"a", "x", 6}, {"a", "y", 6}}), "");
  EXPECT_DEATH(WriteContainer({{std::string(32, 'a'), "x", 6}}), "");
}

}  // namespace
}  // namespace weft
