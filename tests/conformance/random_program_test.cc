// Compiled random programs give exactly what the reference evaluator gives, values of variables
// included, with all passes and with each pass left out. A failure names the seed:
// MakeRandomProgram(seed, steps, open, rows) makes the program again.
#include "tests/conformance/random_program.h"

#include <memory>
#include <string>
#include <vector>

#include "compiler/api.h"
#include "compiler/pass_runner.h"
#include "gtest/gtest.h"
#include "runtime/session.h"
#include "tests/conformance/check_program.h"
#include "tests/conformance/targets.h"

namespace weft {
namespace {

constexpr int64_t kRows[] = {4, 0, 1, 3, 7};

void Compare(uint64_t seed, bool open, const CompileOptions& options) {
  const int num_steps = 8 + static_cast<int>(seed % 20);
  const int64_t rows = open ? kRows[seed % std::size(kRows)] : kRows[0];
  SCOPED_TRACE("seed " + std::to_string(seed) + ", " + std::to_string(num_steps) + " steps" +
               (open ? ", open " + std::to_string(rows) : "") +
               (options.disabled_passes.empty() ? "" : ", without " + options.disabled_passes[0]));
  const RandomProgram program = MakeRandomProgram(seed, num_steps, open, rows);
  ASSERT_TRUE(program.graph.status().ok()) << program.graph.status();
  const auto package = CompilePackage(program.graph, options);
  ASSERT_TRUE(package.ok()) << package.status();
  const auto session = Session::FromPackage(*package, {.threads = 2, .device = DeviceOfTest()});
  ASSERT_TRUE(session.ok()) << session.status();
  ExpectRunsOfReference(**session, program, open);
}

// So many seeds from `first` on, or fewer on an emulated GPU. Returns the one after them.
uint64_t CompareSeeds(uint64_t first, int seeds, int emulated_seeds,
                      const std::vector<std::string>& disabled_passes) {
  CompileOptions options = OptionsOfTest();
  options.disabled_passes = disabled_passes;
  const uint64_t end = first + static_cast<uint64_t>(IsEmulated() ? emulated_seeds : seeds);
  for (uint64_t seed = first; seed < end; ++seed) Compare(seed, seed % 2 == 0, options);
  return end;
}

TEST(RandomPrograms, CompiledEqualTheReference) { CompareSeeds(1, 60, 16, {}); }

TEST(RandomPrograms, EachPassMayBeLeftOut) {
  uint64_t seed = 1001;
  for (const std::string& pass : OptionalPasses()) seed = CompareSeeds(seed, 4, 1, {pass});
}

TEST(RandomPrograms, AllPassesMayBeLeftOut) { CompareSeeds(2001, 20, 6, OptionalPasses()); }

}  // namespace
}  // namespace weft
