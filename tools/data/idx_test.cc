#include "tools/data/idx.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace weft {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using std::string_literals::operator""s;

TEST(Idx, ReadsEachType) {
  EXPECT_THAT(ReadIdx("\0\0\x08\x01\0\0\0\x02\x07\xff"s)->values<uint8_t>(), ElementsAre(7, 255));
  EXPECT_THAT(ReadIdx("\0\0\x09\x01\0\0\0\x01\xff"s)->values<int8_t>(), ElementsAre(-1));
  EXPECT_THAT(ReadIdx("\0\0\x0b\x01\0\0\0\x02\x01\x02\xff\xfe"s)->values<int32_t>(),
              ElementsAre(258, -2));
  EXPECT_THAT(ReadIdx("\0\0\x0c\x01\0\0\0\x01\0\x01\0\0"s)->values<int32_t>(), ElementsAre(65536));
  EXPECT_THAT(ReadIdx("\0\0\x0d\x01\0\0\0\x01\x3f\x80\0\0"s)->values<float>(), ElementsAre(1.0f));
  EXPECT_THAT(ReadIdx("\0\0\x0e\x01\0\0\0\x01\xc0\0\0\0\0\0\0\0"s)->values<double>(),
              ElementsAre(-2.0));
}

TEST(Idx, ShapeComesFromTheHeader) {
  const auto images = ReadIdx(
      "\0\0\x08\x03\0\0\0\x01\0\0\0\x02\0\0\0\x03"
      "abcdef"s);
  ASSERT_TRUE(images.ok()) << images.status();
  EXPECT_EQ(images->TypeString(), "u8[1, 2, 3]");
}

TEST(Idx, Errors) {
  EXPECT_FALSE(LooksLikeIdx("\0\0\x07\x01\0\0\0\x01"s));
  EXPECT_FALSE(LooksLikeIdx("a,b,c,d,e\n"));
  EXPECT_FALSE(ReadIdx("\0\0\x08"s).ok());
  EXPECT_THAT(ReadIdx("\0\0\x08\x03\0\0\0\x01"s).status().message(), HasSubstr("cut short"));
  EXPECT_THAT(ReadIdx("\0\0\x08\x01\0\0\0\x03"
                      "ab"s)
                  .status()
                  .message(),
              HasSubstr("promises 3 elements of 1 bytes, but 2 bytes follow"));
  // A product that overflows allocates nothing.
  EXPECT_FALSE(ReadIdx("\0\0\x08\x03\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"s).ok());
}

}  // namespace
}  // namespace weft
