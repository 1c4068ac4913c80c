// Graphs that are large and right: 200,000 nodes in a line, and a constant of 32 TiB that is one
// number, are inspected, compiled and run.
#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>

#include <cmath>
#include <string>

#include "proto/container.h"
#include "proto/graph.pb.h"
#include "proto/npy.h"
#include "tests/cli/cli.h"

namespace weft {
namespace {

using ::testing::HasSubstr;

constexpr int kNodes = 200'000;

// Square roots, negations and absolute values in turn: no two neighbours can be made one.
proto::GraphDef Line() {
  proto::GraphDef def;
  def.mutable_versions()->set_producer(1);
  def.mutable_versions()->set_min_consumer(1);
  def.set_name("line");
  proto::NodeDef* x = def.add_nodes();
  x->set_name("x");
  x->set_op("input");
  x->set_op_version(1);
  proto::NamedAttr* dtype = x->add_attrs();
  dtype->set_name("dtype");
  dtype->mutable_value()->set_dtype(proto::F32);
  proto::NamedAttr* name = x->add_attrs();
  name->set_name("name");
  name->mutable_value()->set_s("x");
  proto::NamedAttr* shape = x->add_attrs();
  shape->set_name("shape");
  shape->mutable_value()->mutable_shape()->add_dims()->set_expr("n");
  for (int i = 0; i < kNodes; ++i) {
    proto::NodeDef* node = def.add_nodes();
    node->set_name("n" + std::to_string(i));
    node->set_op(i % 3 == 0 ? "sqrt" : i % 3 == 1 ? "neg" : "abs");
    node->set_op_version(1);
    node->add_inputs(def.nodes(i).name());
  }
  proto::SignatureDef* signature = def.add_signatures();
  signature->set_name("predict");
  signature->add_inputs("x");
  proto::SignatureDef::Output* y = signature->add_outputs();
  y->set_name("y");
  y->set_value("n" + std::to_string(kNodes - 1));
  return def;
}

using LargeGraph = CliTest;

TEST_F(LargeGraph, IsInspectedCompiledAndRun) {
  const std::string graph = Line().SerializeAsString();
  const std::string model = Path("line.weft"), x = Path("x.npy");
  WriteFile(model, WriteContainer({{"graph", graph, 6}}));
  WriteFile(x, WriteNpy(HostTensor::Of<float>({4}, {0, 1, 0.5f, 1e30f})));
  EXPECT_THAT(Ok("inspect " + model), HasSubstr("200001 nodes"));
  Ok("compile " + model + " --target cpu:x86-64-v3 -o " + Path("line.weftpkg"));
  const Ended package = Run("tools/weft-run " + Path("line.weftpkg") + " --feed x=" + x);
  EXPECT_EQ(package.code, 0) << package.err;
  // So many roots make 1 of everything but 0; the line ends with neg.
  EXPECT_EQ(package.out, "y f32[4] [-0, -1, -1, -1]\n");
  EXPECT_EQ(Ok("run " + model + " --feed x=" + x), package.out);
}

TEST_F(LargeGraph, OneNumberInALargeShapeTakesNoMemory) {
  proto::GraphDef def;
  ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(R"(
    versions { producer: 1 min_consumer: 1 }
    name: "large"
    nodes { name: "c" op: "constant" op_version: 1
            attrs { name: "value" value { tensor { dtype: F32 shape: 8796093022208
                                                   raw: "\000\000\200\077" } } } }
    nodes { name: "e" op: "neg" op_version: 1 inputs: "c" }
    nodes { name: "s" op: "slice" op_version: 1 inputs: "e"
            attrs { name: "limits" value { shape { dims { size: 1002 } } } }
            attrs { name: "starts" value { shape { dims { size: 1000 } } } }
            attrs { name: "steps" value { ints { values: 1 } } } }
    signatures { name: "f" outputs { name: "s" value: "s" } })",
                                                            &def));
  const std::string graph = def.SerializeAsString(), model = Path("large.weft");
  WriteFile(model, WriteContainer({{"graph", graph, 6}}));
  Ok("inspect " + model);
  EXPECT_EQ(Ok("run " + model), "s f32[2] [-1, -1]\n");
  Ok("compile " + model + " --target cpu:x86-64-v3 -o " + Path("large.weftpkg"));
  EXPECT_LT(std::filesystem::file_size(Path("large.weftpkg")), 100'000u);
}

}  // namespace
}  // namespace weft
