#include "runtime/cuda/ptx_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace weft::cuda {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

std::string Refusal(std::string_view bytes) {
  const absl::Status status = ReadPtxText(bytes).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  return std::string(status.message());
}

TEST(PtxText, VersionAndThreads) {
  const auto text = ReadPtxText(R"(// made by Zo\xc3\xab
/* .version 1.0 */ .version 8.0
.target sm_90a
.visible .entry one(.param .u64 p)
.reqntid 128
{ // .reqntid 7
  .pragma ".entry no .reqntid 9";
  ret;
}
.entry any() { ret; }
.visible .entry three() .maxnreg 32 .reqntid 8,/* y */4, 2 .minnctapersm 1 { ret; }
)");
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_EQ(text->version, "8.0");
  EXPECT_THAT(text->required_threads, ElementsAre(Pair("one", 128), Pair("three", 64)));
}

TEST(PtxText, WhatIsNone) {
  EXPECT_THAT(Refusal(""), HasSubstr("begins with .version, got ''"));
  EXPECT_THAT(Refusal("// .version 8.0"), HasSubstr("got ''"));
  EXPECT_THAT(Refusal("/* .version 8.0"), HasSubstr("got ''"));
  EXPECT_THAT(Refusal(".target sm_80\n.version 8.0"), HasSubstr("got '.target'"));
  EXPECT_THAT(Refusal("\xb1\x43\x62\x46"), HasSubstr("got '\\261'"));
  EXPECT_THAT(Refusal(std::string_view(".version 8.0\0", 13)), HasSubstr("a byte of 0 at 12"));
  EXPECT_THAT(Refusal(".version 8.0\n\x01"), HasSubstr("a byte of 1 at 13"));
}

// What ends in the middle of anything is the driver's to refuse.
TEST(PtxText, Ends) {
  const std::string whole = ".version 8.0 .entry k() .reqntid 8, 4 { .pragma \"a\"; /* x */ }";
  for (size_t size = 8; size < whole.size(); ++size) {
    EXPECT_TRUE(ReadPtxText(whole.substr(0, size)).ok()) << size;
  }
}

}  // namespace
}  // namespace weft::cuda
