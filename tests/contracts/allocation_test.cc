// After the first run of a compiled model nothing is allocated, whatever it is made of.
#include <gtest/gtest.h>

#include <string>

#include "compiler/api.h"
#include "runtime/session.h"
#include "runtime/testing/count_allocations.h"
#include "tests/contracts/small_network.h"

namespace weft {
namespace {

TEST(Allocations, NoneInTheSecondRunOfACompiledModel) {
  const absl::StatusOr<std::string> package = CompilePackage(SmallNetwork(), {});
  ASSERT_TRUE(package.ok()) << package.status();
  const auto session = Session::FromPackage(*package, {.threads = 2});
  ASSERT_TRUE(session.ok()) << session.status();
  ASSERT_TRUE((*session)->Run("init", {}).ok());
  // As small as can be, and with launches that threads share.
  for (const int64_t batch : {1, 256}) {
    for (const std::string signature : {"train_step", "predict", "halve"}) {
      NamedTensors feeds = FeedsOfSmallNetwork(batch), outputs;
      if (signature != "train_step") feeds.erase("label");
      const absl::Status first = (*session)->RunInto(signature, feeds, &outputs);
      ASSERT_TRUE(first.ok()) << first;
      const long before = AllocationCount();
      bool ok = true;
      for (int i = 0; i < 5; ++i) ok = ok && (*session)->RunInto(signature, feeds, &outputs).ok();
      const long counted = AllocationCount() - before;
      EXPECT_TRUE(ok);
      EXPECT_EQ(counted, 0) << signature << " of " << batch;
    }
  }
}

}  // namespace
}  // namespace weft
