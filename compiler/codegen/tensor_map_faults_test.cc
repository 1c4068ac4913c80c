// A product by tensor maps with one fault at a time in how its threads and copies wait for one
// another: the emulator finds each, so that a kernel which passes there has none of them.
#include <cstdint>
#include <regex>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "compiler/codegen/test_contraction.h"
#include "compiler/codegen/test_device.h"
#include "compiler/codegen/test_fusion.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace weft {
namespace {

using testing::HasSubstr;

// A product, and the means to run other PTX in its kernel's place. Operands of f32, for tf32, lie
// along the depth.
class MappedProduct {
 public:
  explicit MappedProduct(int64_t depth, DataType dtype = DataType::kF16)
      : fusion_(OneMultiprocessor()) {
    const Product product{{}, kRows, kColumns, depth, false, dtype == DataType::kF32};
    inputs_ = {RandomHalves(dtype, Join({}, kRows, depth, product.ta), 1),
               RandomHalves(dtype, Join({}, depth, kColumns, product.tb), 2)};
    const absl::Status compiled = fusion_.TryText("contraction", ProductBody(product, dtype, ""));
    EXPECT_TRUE(compiled.ok()) << compiled;
  }

  const std::string& ptx() const { return fusion_.ptx(); }

  absl::Status Run(const std::string& ptx) {
    auto device = TestDevice::Emulate(ptx, 90);
    if (!device.ok()) return device.status();
    std::vector<HostTensor> results;
    const auto launch = fusion_.Prepare({}, &results);
    if (!launch.ok()) return launch.status();
    absl::Status status = (*device)->Run(*launch, inputs_, results);
    if (status.ok()) ExpectEqual(results[0], fusion_.Evaluate(inputs_, {})[0]);
    return status;
  }

 private:
  // Several tiles, which one block takes one after the other.
  static constexpr int64_t kRows = 136, kColumns = 264;
  static Target OneMultiprocessor() { return WithOneMultiprocessor(WithTf32("cuda:sm_90a")); }

  TestFusion fusion_;
  std::vector<HostTensor> inputs_;
};

// A text like the pattern, number `which` of them, becomes `by`; what is found then says `finding`.
struct Fault {
  const char* name;
  std::string pattern, by;
  int which;
  const char* finding;
};

std::vector<Fault> Faults() {
  const std::string wait =
      R"(mbarrier\.try_wait\.parity\.shared\.b64\s+(%p\d+), (\[[^\]]*\]), (%r\d+);)";
  const std::string loop = wait + R"(\s*not\.pred\s+%p\d+, %p\d+;\s*@%p\d+ bra\s+\S+;)";
  const std::string other_phase =
      "{ .reg .b32 other; xor.b32 other, $3, 1;\nmbarrier.try_wait.parity.shared.b64 $1, $2, "
      "other; }";
  const std::string once_but_for_warp_0 =
      "$&\n{ .reg .pred others; .reg .b32 t; mov.u32 t, %tid.x; setp.gt.u32 others, t, 31;\n"
      "or.pred $1, $1, others; }";
  const std::string give_back = R"(mbarrier\.arrive\.shared\.b64[^;]*;)";
  const std::string copy = R"(cp\.async\.bulk\.tensor[^;]*;)";
  const std::string readers = R"(mov\.b32\s+(%r\d+), 8;)";
  const std::string bytes = R"(mov\.b32\s+(%r\d+), 49152;)";
  const char* const never = "never written";
  const char* const deadlock = "deadlock";
  const char* const overwritten = "writes byte ";
  // Those who multiply come first in the text, then the thread that brings.
  return {
      {"no wait for bytes", loop, "", 0, never},
      {"no wait for a stage", loop, "", 1, "an mbarrier that expects 0 more"},
      {"a wait for the other phase of bytes", wait, other_phase, 0, never},
      {"a wait for the other phase of a stage", wait, other_phase, 1, deadlock},
      {"one warp alone waits for bytes", wait, once_but_for_warp_0, 0, "was not waited for"},
      {"mbarriers behind no fence", R"(fence\.proxy\.async[^;]*;)", "", 0,
       "no fence.proxy.async between"},
      {"mbarriers behind no barrier", R"(bar\.sync[^;]*;)", "", 0, "no barrier between"},
      {"no stage given back within a tile", give_back, "", 0, deadlock},
      {"no stage given back at a tile's end", give_back, "", 1, deadlock},
      {"stages given back twice", give_back, "$& $&", 0, deadlock},
      {"stages given back before products are done", R"(wgmma\.wait_group\.sync\.aligned\s+1;)",
       "wgmma.wait_group.sync.aligned 7;", 0, overwritten},
      {"sums read before products are done", R"(wgmma\.wait_group\.sync\.aligned\s+0;)", "", 0,
       "a register of a wgmma that was not waited for"},
      {"no fence before products", R"(wgmma\.fence\.sync\.aligned;)", "", 0, "wgmma.fence"},
      {"fewer readers than there are", readers, "mov.b32 $1, 7;", 0, overwritten},
      {"more readers than there are", readers, "mov.b32 $1, 9;", 0, deadlock},
      {"fewer bytes than come", bytes, "mov.b32 $1, 16384;", 0, deadlock},
      {"more bytes than come", bytes, "mov.b32 $1, 65536;", 0, deadlock},
      {"a copy less", copy, "", 1, deadlock},
      {"a copy twice", copy, "$& $&", 1, overwritten},
  };
}

std::string WithFault(const std::string& text, const Fault& fault) {
  const std::regex regex(fault.pattern);
  int which = fault.which;
  for (std::sregex_iterator at(text.begin(), text.end(), regex), end; at != end; ++at) {
    if (which-- > 0) continue;
    const std::string before = text.substr(0, static_cast<size_t>(at->position()));
    return before + at->format(fault.by) + at->suffix().str();
  }
  ADD_FAILURE() << "nothing in the kernel is like " << fault.pattern;
  return text;
}

// In depths of fewer steps than stages, and of more.
TEST(TensorMapFaults, AreFound) {
  for (const int64_t depth : {72, 328}) {
    SCOPED_TRACE(depth);
    MappedProduct product(depth);
    const absl::Status good = product.Run(product.ptx());
    ASSERT_TRUE(good.ok()) << good;
    for (const Fault& fault : Faults()) {
      SCOPED_TRACE(fault.name);
      const absl::Status found = product.Run(WithFault(product.ptx(), fault));
      EXPECT_FALSE(found.ok());
      EXPECT_THAT(std::string(found.message()), HasSubstr(fault.finding));
    }
  }
}

// Elements that are rounded in shared memory, between their copy and their products.
TEST(TensorMapFaults, OfRoundingAreFound) {
  const std::vector<Fault> faults = {
      {"rounded elements behind no fence", R"(fence\.proxy\.async[^;]*;)", "", 1,
       "no fence.proxy.async between"},
      {"rounded elements behind no barrier", R"(bar\.sync\s+1, \d+;)", "", 0, "no barrier between"},
  };
  for (const int64_t depth : {36, 164}) {
    SCOPED_TRACE(depth);
    MappedProduct product(depth, DataType::kF32);
    const absl::Status good = product.Run(product.ptx());
    ASSERT_TRUE(good.ok()) << good;
    for (const Fault& fault : faults) {
      SCOPED_TRACE(fault.name);
      const absl::Status found = product.Run(WithFault(product.ptx(), fault));
      EXPECT_FALSE(found.ok());
      EXPECT_THAT(std::string(found.message()), HasSubstr(fault.finding));
    }
  }
}

}  // namespace
}  // namespace weft
