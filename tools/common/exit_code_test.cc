#include "tools/common/exit_code.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace weft::cli {
namespace {

using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

std::string Printed(const std::string& message) {
  testing::internal::CaptureStderr();
  PrintError(absl::InternalError(message));
  return testing::internal::GetCapturedStderr();
}

TEST(PrintError, IsAtMostTwoLines) {
  EXPECT_EQ(Printed("what is wrong"), "weft: what is wrong\n");
  EXPECT_EQ(Printed("what is wrong\nwhere\nand more"), "weft: what is wrong\nwhere\n");
  EXPECT_EQ(Printed("what is wrong\n"), "weft: what is wrong\n");
}

// Names from a file may hold anything; C1's control characters are of two bytes.
TEST(PrintError, IsWhatATerminalMerelyShows) {
  EXPECT_EQ(Printed("'a\x1b[2J\r\x7f\xc2\x9b' é"), "weft: 'a\\x1b[2J\\x0d\\x7f\\xc2\\x9b' é\n");
  EXPECT_EQ(Printed("'\x9b'\nx\xc2\x85"), "weft: '\\x9b'\nx\\xc2\\x85\n");
}

TEST(PrintError, LeavesOutTheMiddleOfALongMessage) {
  const std::string printed = Printed("begins" + std::string(100'000, 'x') + "at node 'n'");
  EXPECT_LT(printed.size(), 1600u);
  EXPECT_THAT(printed, AllOf(StartsWith("weft: begins"), HasSubstr(" ... "), EndsWith("'n'\n")));
}

// A file is invalid, or the machine cannot do with it what others can.
TEST(ExitCode, OfFiles) {
  EXPECT_EQ(ExitCodeOf(OfFile(absl::OkStatus())), kOk);
  for (const absl::Status& status :
       {absl::InvalidArgumentError("damaged"), absl::DataLossError("checksum"),
        absl::NotFoundError("no such file"),
        absl::FailedPreconditionError("no code for the cpu")}) {
    EXPECT_EQ(ExitCodeOf(OfFile(status)), kBadInput) << status;
  }
  for (const absl::Status& status :
       {absl::ResourceExhaustedError("no memory"), absl::InternalError("the driver's compiler"),
        absl::UnavailableError("the driver is too old")}) {
    EXPECT_EQ(ExitCodeOf(OfFile(status)), kRunFailed) << status;
  }
}

}  // namespace
}  // namespace weft::cli
