// Two ways agree: compiled code and the reference evaluator give the same values within the op's
// stated tolerance, for every op, dtype and class of shapes, and so do the gradients. The cases
// come from the op table (tests/ops).
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "compiler/api.h"
#include "graph/interpreter.h"
#include "graph/reference/elementwise.h"
#include "gtest/gtest.h"
#include "runtime/session.h"
#include "tests/conformance/targets.h"
#include "tests/conformance/tolerance.h"
#include "tests/ops/op_cases.h"

namespace weft {
namespace {

// How far a gradient in bf16 or f16 may be from the reference, in units of its largest element's
// last place.
constexpr double kNarrowGradientUlps = 4;

// Gradients are compared to kGradientUlps of the tensor's largest element, or of kGradientScale:
// what subtracts from 1, as those of logistic and tanh do, keeps a few roundings of 1 itself.
constexpr double kGradientUlps = 256, kGradientScale = 4 / kGradientUlps;

struct Tolerance {
  double ulps = 0;
  double scale = 0;
  // For gradients: the scale is the largest element where that is more, since sums that cancel
  // leave what was rounded of their terms.
  bool of_largest = false;
};

// Adds what is wrong to the test's failures, once for each tensor.
void ExpectAgree(const HostTensor& compiled, const HostTensor& reference, Tolerance tolerance,
                 const std::string& what) {
  ASSERT_EQ(compiled.dtype(), reference.dtype()) << what;
  ASSERT_EQ(compiled.shape(), reference.shape()) << what;
  if (!IsFloat(reference.dtype())) {
    EXPECT_EQ(compiled.ToString(1 << 20), reference.ToString(1 << 20)) << what;
    return;
  }
  const bool narrow = SizeOf(reference.dtype()) == 2;
  double ulps = tolerance.ulps, scale = tolerance.scale;
  const HostTensor c = *reference::Cast(compiled, DataType::kF64);
  const HostTensor r = *reference::Cast(reference, DataType::kF64);
  if (tolerance.of_largest) {
    for (double y : r.values<double>()) {
      if (std::isfinite(y)) scale = std::max(scale, std::fabs(y));
    }
  }
  if (narrow && tolerance.of_largest) {
    // Each op of a gradient rounds once, and a rounding that is turned goes through the others.
    ulps = kNarrowGradientUlps;
  } else if (narrow) {
    // Computed in f32, whose errors are far below the last place: they can only turn one rounding.
    ulps = std::min(ulps, 1.0);
  }
  for (int64_t i = 0; i < r.num_elements(); ++i) {
    const double x = c.values<double>()[i], y = r.values<double>()[i];
    if (x == y || (std::isnan(x) && std::isnan(y))) continue;
    const double unit = UnitInLastPlace(reference.dtype(), std::max(std::fabs(y), scale));
    if (std::isfinite(x) && std::isfinite(y) && std::fabs(x - y) <= ulps * unit) continue;
    ADD_FAILURE() << what << ": element " << i << " is " << x << ", the reference " << y << ", "
                  << std::fabs(x - y) / unit << " units in the last place apart; allowed are "
                  << ulps << " (`ulps` of the op's `test` in graph/ops)";
    return;
  }
}

// Sizes that open dimensions have in further runs of the code that was compiled for all of them:
// nothing, one, either side of and exactly a vector's width, several vectors.
constexpr Resize kResizes[] = {
    [](int64_t) -> int64_t { return 0; },       [](int64_t) -> int64_t { return 1; },
    [](int64_t size) { return size + 14; },     [](int64_t size) { return (size / 16 + 1) * 16; },
    [](int64_t size) { return 2 * size + 29; },
};
// Beyond this many elements of the inputs, the reference evaluator would take long, or the emulator
// of a GPU, which is far slower.
constexpr int64_t kMaxElements = 40000, kMaxElementsEmulated = 2500;

bool IsTooLarge(const TensorMap& feeds) {
  int64_t elements = 0;
  for (const auto& [name, value] : feeds) elements += value.num_elements();
  static const bool emulated = IsEmulated();
  return elements > (emulated ? kMaxElementsEmulated : kMaxElements);
}

struct Conformance {
  std::string op;
  DataType dtype;

  std::string Name() const { return op + "_" + std::string(NameOf(dtype)); }
};

// Those that the environment's WEFT_TEST_CASES names ("matmul_f16,conv2d_bf16"), or all.
std::vector<Conformance> ConformanceOfTest() {
  std::vector<Conformance> all;
  for (const OpInfo& op : AllOps()) {
    std::set<DataType> dtypes;
    for (const OpCase& c : CasesOf(op)) {
      for (DataType dtype : DTypesOf(c)) dtypes.insert(dtype);
    }
    for (DataType dtype : dtypes) all.push_back({std::string(op.name), dtype});
  }
  const char* names = std::getenv("WEFT_TEST_CASES");
  if (names == nullptr) return all;
  std::vector<Conformance> chosen;
  for (const absl::string_view name : absl::StrSplit(names, ',')) {
    const auto found = std::find_if(all.begin(), all.end(),
                                    [&](const Conformance& each) { return each.Name() == name; });
    if (found == all.end()) {
      std::fprintf(stderr, "WEFT_TEST_CASES: no case is named '%s'\n", std::string(name).c_str());
      std::abort();
    }
    chosen.push_back(*found);
  }
  return chosen;
}

void AddSignature(Graph& graph, const std::string& name, const std::vector<Tensor>& values) {
  std::vector<std::pair<std::string, Tensor>> outputs;
  for (const Tensor& value : values) {
    outputs.emplace_back("y" + std::to_string(outputs.size()), value);
  }
  graph.AddSignature(name, outputs);
}

class ConformanceTest : public TargetTest, public testing::WithParamInterface<Conformance> {};

// One graph for each op and dtype, with signatures for each case: its values and its gradients,
// with sizes known and with open ones.
TEST_P(ConformanceTest, CompiledCodeAgreesWithTheReference) {
  const auto& [op, dtype] = GetParam();
  const OpInfo& info = *FindOp(op);
  Graph graph("conformance");
  struct Run {
    std::string signature, what;
    TensorMap feeds;
    Tolerance tolerance;
  };
  std::vector<Run> runs;
  int cases = 0;
  for (const OpCase& c : CasesOf(info)) {
    const std::vector<DataType> dtypes = DTypesOf(c);
    if (std::find(dtypes.begin(), dtypes.end(), dtype) == dtypes.end()) continue;
    for (bool open : {false, true}) {
      if (open && !CanBeOpen(c)) continue;
      const std::string name = "case" + std::to_string(cases++);
      const std::string what = c.name + (open ? " open" : "");
      const ScopeGuard scope = graph.Scope(name);
      std::vector<Tensor> inputs, floats;
      for (size_t i = 0; i < c.inputs.size(); ++i) {
        inputs.push_back(MakeInput(graph, c, i, dtype, open));
        if (IsFloat(inputs.back().dtype())) floats.push_back(inputs.back());
      }
      auto feeds_of = [&](Resize resize) {
        TensorMap feeds;
        for (size_t i = 0; i < inputs.size(); ++i) {
          feeds[inputs[i].name()] = DrawInput(c, i, dtype, resize);
        }
        return feeds;
      };
      std::vector<TensorMap> feeds = {feeds_of(nullptr)};
      for (Resize resize : kResizes) {
        TensorMap more = open ? feeds_of(resize) : TensorMap();
        if (open && !IsTooLarge(more)) feeds.push_back(std::move(more));
      }
      auto add_runs = [&](const std::string& signature, const std::string& text,
                          Tolerance tolerance) {
        for (const TensorMap& each : feeds) {
          std::string sizes = each.empty() ? "" : " of " + each.begin()->second.TypeString();
          runs.push_back({signature, text + sizes, each, tolerance});
        }
      };
      const std::vector<Tensor> results = c.build(graph, inputs);
      ASSERT_TRUE(graph.status().ok()) << what << ": " << graph.status();
      AddSignature(graph, name, results);
      // A composition of ops may be contracted to multiply-adds.
      const double ulps = std::max<double>(info.test.ulps, c.floats_only ? 8 : 0);
      add_runs(name, what, {ulps, c.floats_only ? 1 : info.test.scale});

      if (info.gradient == GradientKind::kNone || !IsFloat(results[0].dtype()) || floats.empty()) {
        continue;
      }
      // With the values, so that every open dimension has an input that gives its size.
      std::vector<Tensor> all = results;
      for (const Tensor& gradient : Gradients(results[0], floats)) all.push_back(gradient);
      AddSignature(graph, name + "_gradient", all);
      ASSERT_TRUE(graph.status().ok()) << what << ": " << graph.status();
      add_runs(name + "_gradient", what + " gradient", {kGradientUlps, kGradientScale, true});
    }
  }
  ASSERT_TRUE(graph.status().ok()) << graph.status();

  const auto package = CompilePackage(graph, OptionsOfTest());
  ASSERT_TRUE(package.ok()) << package.status();
  const auto session = Session::FromPackage(*package, {.threads = 2, .device = DeviceOfTest()});
  ASSERT_TRUE(session.ok()) << session.status();
  Interpreter interpreter(graph);
  for (const Run& s : runs) {
    // Signatures take what they need: an input whose value does not matter is not among them.
    NamedTensors feeds;
    for (const auto& signature : (*session)->Signatures()) {
      if (signature.name != s.signature) continue;
      for (const auto& input : signature.inputs) feeds[input.name] = s.feeds.at(input.name);
    }
    const auto reference = interpreter.RunSignature(s.signature, s.feeds);
    ASSERT_TRUE(reference.ok()) << s.what << ": " << reference.status();
    const auto compiled = (*session)->Run(s.signature, feeds);
    ASSERT_TRUE(compiled.ok()) << s.what << ": " << compiled.status();
    for (const auto& [output, value] : *reference) {
      ExpectAgree(compiled->at(output), value, s.tolerance, s.what + " " + output);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Ops, ConformanceTest, testing::ValuesIn(ConformanceOfTest()),
                         [](const testing::TestParamInfo<Conformance>& info) {
                           return info.param.Name();
                         });

}  // namespace
}  // namespace weft
