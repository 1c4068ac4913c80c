// The rows that tools/gpu_check.sh measures on a GPU, at small sizes on the emulated one: each is
// written, compiled and run, and none is written that is not measured.
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/cli/cli.h"

namespace weft {
namespace {

class CliGpuRows : public CliTest {
 protected:
  Ended Table() const {
    return Run(
        "python3 tests/benchmarks/gpu_table.py --device emulator:sm_80 --weft tools/weft "
        "--rounds 1 --seconds 0.001 --python " +
        Path("none") + " --folder " + folder_.string() + " --results " + Path("figures.json"));
  }
};

TEST_F(CliGpuRows, AllAreWrittenAndRun) {
  const Ended written = Run("tests/benchmarks/gpu_workloads --small " + folder_.string());
  ASSERT_EQ(written.code, 0) << written.err;
  std::vector<std::string> graphs = Files();
  const Ended table = Table();
  EXPECT_EQ(table.code, 0) << table.err;
  const nlohmann::json figures =
      nlohmann::json::parse(ReadFile(Path("figures.json")), nullptr, /*allow_exceptions=*/false);
  ASSERT_TRUE(figures.contains("rows")) << table.out << table.err;
  std::vector<std::string> rows;
  for (const auto& [row, figure] : figures["rows"].items()) {
    EXPECT_TRUE(figure["ms"]["weft"].is_number()) << row << "\n" << table.err;
    EXPECT_TRUE(figure["ms"]["torch"].is_null()) << row;
    rows.push_back(row + ".weft");
  }
  std::sort(rows.begin(), rows.end());
  EXPECT_EQ(rows, graphs);
}

// A row that cannot be measured is an error of the whole.
TEST_F(CliGpuRows, OneThatIsMissingIsSaid) {
  const Ended table = Table();
  EXPECT_EQ(table.code, 1);
  EXPECT_NE(table.err.find("weft conv_bf16_gradients: "), std::string::npos) << table.err;
}

}  // namespace
}  // namespace weft
