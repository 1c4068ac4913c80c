#include "proto/parse_message.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstddef>
#include <limits>
#include <string>

#include "proto/plan.pb.h"

namespace weft {
namespace {

TEST(ParseMessage, WholeOnesAlone) {
  PackageManifest manifest;
  manifest.set_name("digits");
  const std::string bytes = manifest.SerializeAsString();
  PackageManifest read;
  ASSERT_TRUE(ParseMessage(bytes, &read));
  EXPECT_EQ(read.name(), "digits");
  EXPECT_TRUE(ParseMessage("", &read));
  EXPECT_EQ(read.name(), "");
  testing::internal::CaptureStderr();
  EXPECT_FALSE(ParseMessage(bytes.substr(0, bytes.size() - 1), &read));
  EXPECT_FALSE(ParseMessage("\xff", &read));
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

// Sizes that are negative as an int, and those that wrap around to small ones.
TEST(ParseMessage, TwoGigabytesAndMore) {
  constexpr size_t kLimit = static_cast<size_t>(std::numeric_limits<int>::max());
  constexpr size_t kSize = size_t{1} << 33;
  // Not a byte of it is touched.
  void* memory =
      mmap(nullptr, kSize, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  for (const size_t size : {kLimit + 1, 2 * kLimit + 2, 2 * kLimit + 3, kSize}) {
    PackageManifest manifest;
    EXPECT_FALSE(ParseMessage({static_cast<const char*>(memory), size}, &manifest)) << size;
  }
  munmap(memory, kSize);
}

}  // namespace
}  // namespace weft
