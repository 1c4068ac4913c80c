// Files that were written by earlier versions still load, and still mean the same.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <memory>
#include <string>

#include "compiler/api.h"
#include "graph/graph.h"
#include "graph/reference/elementwise.h"
#include "proto/file.h"
#include "proto/plan.pb.h"
#include "proto/safetensors.h"
#include "runtime/devices.h"
#include "runtime/session.h"
#include "tests/compat/fixture.h"
#include "tests/conformance/manifest.h"

namespace weft {
namespace {

using ::testing::HasSubstr;

// The folder of the formats' version.
class Compat : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    absl::StatusOr<std::shared_ptr<const Bytes>> file = Bytes::Map(Path("values.safetensors"));
    ASSERT_TRUE(file.ok()) << file.status();
    absl::StatusOr<Safetensors> read = ReadSafetensors((*file)->view(), *file);
    ASSERT_TRUE(read.ok()) << read.status();
    values_.insert(read->tensors.begin(), read->tensors.end());
    ASSERT_EQ(values_.count("out/predict/class"), 1u);
  }
  std::string Path(const std::string& name) const {
    return std::string("tests/compat/") + GetParam() + "/" + name;
  }
  const HostTensor& Value(const std::string& name) { return values_.at(name); }

  // Code of another version may round in another way, a millionth apart.
  static void ExpectNear(const std::string& name, const HostTensor& got,
                         const HostTensor& expected) {
    ASSERT_EQ(got.TypeString(), expected.TypeString()) << name;
    if (!IsFloat(expected.dtype())) {
      EXPECT_EQ(got.ToString(1000), expected.ToString(1000)) << name;
      return;
    }
    const HostTensor x = *reference::Cast(got, DataType::kF64);
    const HostTensor y = *reference::Cast(expected, DataType::kF64);
    for (int64_t i = 0; i < y.num_elements(); ++i) {
      const double a = x.values<double>()[i], b = y.values<double>()[i];
      EXPECT_NEAR(a, b, 1e-6 * (1 + std::fabs(b))) << name << ", element " << i;
    }
  }
  // Everything that the files' model does, from the variables' first values on.
  void ExpectRuns(Session& session) {
    const auto initialised = session.Run("init", {});
    ASSERT_TRUE(initialised.ok()) << initialised.status();
    const absl::StatusOr<NamedTensors> outputs = RunFixture(session, values_);
    ASSERT_TRUE(outputs.ok()) << outputs.status();
    size_t expected = 0;
    for (const auto& [name, value] : values_) expected += name.compare(0, 4, "out/") == 0;
    EXPECT_EQ(outputs->size(), expected);
    for (const auto& [name, value] : *outputs) ExpectNear(name, value, Value(name));
  }
  // What was trained is in the checkpoint: only that is restored, and gives the same predictions.
  void ExpectRestores(Session& session) {
    const auto metadata = session.RestoreCheckpoint(Path("checkpoint.safetensors"));
    ASSERT_TRUE(metadata.ok()) << metadata.status();
    EXPECT_EQ(metadata->at("step"), "1");
    const auto outputs = session.Run("predict", {{"features", Value("in/predict/features")}});
    ASSERT_TRUE(outputs.ok()) << outputs.status();
    for (const auto& [name, value] : *outputs) {
      ExpectNear(name, value, Value("out/predict/" + name));
    }
  }
  void ExpectRunsAndRestores(const absl::StatusOr<Graph>& graph) {
    ASSERT_TRUE(graph.ok()) << graph.status();
    CompileOptions options;
    options.device_targets = {{"cuda:0", "cpu:native"}};
    const absl::StatusOr<std::string> package = CompilePackage(*graph, options);
    ASSERT_TRUE(package.ok()) << package.status();
    for (const bool restore : {false, true}) {
      const auto session = Session::FromPackage(*package, OptionsOfFixture());
      ASSERT_TRUE(session.ok()) << session.status();
      restore ? ExpectRestores(**session) : ExpectRuns(**session);
    }
    // Nodes still know where they were built.
    const auto session = Session::FromPackage(*package, OptionsOfFixture());
    HostTensor infinite = *HostTensor::Create(DataType::kF32, {5, 4});
    infinite.mutable_values<float>()[0] = INFINITY;
    const absl::Status failed =
        (*session)->Run("control", {{"x", infinite}, {"rows", Value("in/control/rows")}}).status();
    EXPECT_THAT(std::string(failed.message()), HasSubstr("write_fixtures.cc:"));
    EXPECT_THAT(std::string(failed.message()), HasSubstr("of the table"));
  }

  NamedTensors values_;
};

TEST_P(Compat, GraphFile) { ExpectRunsAndRestores(Graph::Load(Path("graph.weft"))); }

TEST_P(Compat, TextOfAGraph) { ExpectRunsAndRestores(Graph::Load(Path("graph.textproto"))); }

TEST_P(Compat, Package) {
  for (const bool restore : {false, true}) {
    const auto session = Session::Load(Path("package.weftpkg"), OptionsOfFixture());
    ASSERT_TRUE(session.ok()) << session.status();
    restore ? ExpectRestores(**session) : ExpectRuns(**session);
  }
}

// Kernels that take tensor maps, of matrices and of images, from version 3 on.
TEST(CompatTensorMaps, Package) {
  const auto file = Bytes::Map("tests/compat/v3/product.safetensors");
  ASSERT_TRUE(file.ok()) << file.status();
  const auto values = ReadSafetensors((*file)->view(), *file);
  ASSERT_TRUE(values.ok()) << values.status();
  const std::map<std::string, HostTensor> of(values->tensors.begin(), values->tensors.end());
  constexpr char kPackage[] = "tests/compat/v3/product.weftpkg";
  const auto package = Bytes::Map(kPackage);
  ASSERT_TRUE(package.ok()) << package.status();
  const PackageManifest manifest = ManifestOf(std::string((*package)->view()));
  int maps = 0, of_images = 0;
  for (const Kernel& kernel : manifest.targets(0).plans(0).kernels()) {
    for (const TensorMapParameter& map : kernel.maps()) {
      ++maps;
      of_images += map.lower_corner_size() > 0 ? 1 : 0;
    }
  }
  EXPECT_EQ(maps, 4);
  EXPECT_EQ(of_images, 1);
  const auto session =
      Session::Load(kPackage, {.threads = 1, .device = MakeDevice("emulator:sm_90", 1).value()});
  ASSERT_TRUE(session.ok()) << session.status();
  NamedTensors feeds;
  for (const char* name : {"x", "w", "images", "filter"}) feeds[name] = of.at(name);
  const auto got = (*session)->Run("product", feeds);
  ASSERT_TRUE(got.ok()) << got.status();
  for (const char* name : {"y", "convolved"}) {
    EXPECT_EQ(got->at(name).ToString(1 << 16), of.at(name).ToString(1 << 16)) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(Versions, Compat, testing::Values("v1", "v2", "v3"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace weft
