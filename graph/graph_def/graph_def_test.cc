#include <gmock/gmock.h>
#include <google/protobuf/stubs/logging.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "graph/graph.h"
#include "graph/graph_def/format.h"
#include "graph/graph_def/upgrade.h"
#include "proto/graph.pb.h"

namespace weft {
namespace {

using testing::AllOf;
using testing::HasSubstr;

// A graph with everything that a file can hold.
Graph Everything() {
  Graph g("everything");
  Tensor x = g.Input("x", DataType::kF32, {"batch", 8});
  Tensor n = g.Input("n", DataType::kI64, {});
  std::vector<float> ramp(8 * 64);
  for (size_t i = 0; i < ramp.size(); ++i) ramp[i] = static_cast<float>(i) * 0.01f;
  Variable w = g.AddVariable("w", HostTensor::Of<float>({8, 64}, ramp));
  Variable step = g.AddVariable("step", HostTensor::Scalar<int64_t>(0), false);
  auto scope = g.Scope("layer");
  Tensor h = Tanh(MatMul(x, w)).Named("h");
  {
    auto again = g.Recompute("again");
    h = Exp(h) + Gradients(Exp(h * h), {h})[0];
  }
  std::vector<Tensor> loop = While(
      {Full(g, DataType::kI64, {}, 0), h},
      [&](const std::vector<Tensor>& c) { return Less(c[0], n); },
      [&](const std::vector<Tensor>& c) -> std::vector<Tensor> {
        return {c[0] + 1, Cond(
                              Greater(c[0], 2), [&] { return std::vector<Tensor>{c[1] * 2.0}; },
                              [&] { return std::vector<Tensor>{c[1] + h}; })[0]};
      },
      10);
  MaxPoolResult pooled = MaxPool(Reshape(loop[1], {-1, 8, 8, 1}), {2, 2}, {2, 2}, {0, 0, 0, 0});
  Tensor noisy = pooled.y + RandomUniform(step, 7, pooled.y.shape(), DataType::kF32);
  Tensor mask = g.Constant(HostTensor::Of<bool>({3}, {true, false, true}));
  Tensor checked = CheckNumerics(noisy, "noisy");
  g.AddSignature("predict", {{"y", checked}, {"where", pooled.index}});
  g.AddSignature("train", {{"mask", ReduceOr(mask, {0})}},
                 {step.Assign(step.Read() + 1), w.Assign(w.Read() * 0.5)});
  return g;
}

std::string Message(const absl::Status& status) { return std::string(status.message()); }

std::string Bytes(const Graph& graph) {
  absl::StatusOr<GraphDef> def = graph.ToGraphDef();
  EXPECT_TRUE(def.ok()) << def.status();
  return def.ok() ? def->SerializeAsString() : "";
}

// In a file whose name is in Latin-1; at the end of this one.
SourceLocation InLatin1();

std::string TempPath(const std::string& name) { return testing::TempDir() + "/" + name; }

TEST(GraphDef, CodeAndFileGiveEqualGraphs) {
  Graph g = Everything();
  ASSERT_TRUE(g.status().ok()) << g.status();
  EXPECT_EQ(Bytes(g), Bytes(Everything()));
  absl::StatusOr<GraphDef> def = g.ToGraphDef();
  absl::StatusOr<Graph> back = Graph::FromGraphDef(*def);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(Bytes(*back), Bytes(g));
  EXPECT_EQ(back->SignatureNames(), g.SignatureNames());
  EXPECT_EQ(back->NumNodes(), g.NumNodes());
  EXPECT_EQ(ToString(back->Find("layer/h").shape()), "[batch, 64]");
  absl::StatusOr<Graph> clone = g.Clone();
  ASSERT_TRUE(clone.ok());
  EXPECT_EQ(Bytes(*clone), Bytes(g));
  // Built further after loading.
  Tensor more = Exp(back->Find("layer/h"));
  EXPECT_TRUE(more.valid()) << back->status();
}

TEST(GraphDef, TextAndFiles) {
  Graph g = Everything();
  absl::StatusOr<std::string> text = g.ToText();
  ASSERT_TRUE(text.ok());
  absl::StatusOr<Graph> from_text = Graph::FromText(*text);
  ASSERT_TRUE(from_text.ok()) << from_text.status();
  EXPECT_EQ(Bytes(*from_text), Bytes(g));
  for (const char* name : {"g.weft", "g.textproto"}) {
    std::string path = TempPath(name);
    ASSERT_TRUE(g.Save(path).ok());
    absl::StatusOr<Graph> loaded = Graph::Load(path);
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    EXPECT_EQ(Bytes(*loaded), Bytes(g));
    std::remove(path.c_str());
  }
  EXPECT_EQ(Graph::Load(TempPath("none.weft")).status().code(), absl::StatusCode::kNotFound);
  EXPECT_FALSE(g.Save("/nowhere/g.weft").ok());
}

// Every file that is written can be read, wherever the names of source files come from.
TEST(GraphDef, SourceNamesAreUtf8) {
  Graph g;
  Tensor x = g.Input("x", DataType::kF32, {4}, InLatin1());
  Tensor dx = Gradients(Exp(x * x), {x}, {}, InLatin1())[0];
  g.AddSignature("f", {{"dx", dx}}, {}, InLatin1());
  ASSERT_TRUE(g.status().ok()) << g.status();
  for (const char* name : {"latin.weft", "latin.textproto"}) {
    const std::string path = TempPath(name);
    ASSERT_TRUE(g.Save(path).ok());
    absl::StatusOr<Graph> loaded = Graph::Load(path);
    ASSERT_TRUE(loaded.ok()) << name << ": " << loaded.status();
    EXPECT_THAT(loaded->ToGraphDef()->source_files(), testing::Contains("caf\\xe9.cc"));
    EXPECT_EQ(Bytes(*loaded), Bytes(g));
    std::remove(path.c_str());
  }
  // From elsewhere they are refused, as other text is.
  GraphDef def = *g.ToGraphDef();
  def.set_source_files(0, "caf\351.cc");
  EXPECT_THAT(Message(Graph::FromGraphDef(def).status()),
              HasSubstr("source files in UTF-8, got 'caf\\xe9.cc'"));
  EXPECT_THAT(Message(Graph::FromText("versions { producer: 1 min_consumer: 1 } name: 'g'\n"
                                      "source_files: 'caf\\351.cc'")
                          .status()),
              HasSubstr("UTF-8"));
  def = *g.ToGraphDef();
  def.mutable_nodes(0)->mutable_locations(0)->set_function("f\351");
  EXPECT_THAT(Message(Graph::FromGraphDef(def).status()),
              AllOf(HasSubstr("in UTF-8"), HasSubstr("node '")));
  def = *g.ToGraphDef();
  def.mutable_signatures(0)->mutable_locations(0)->set_function("f\351");
  EXPECT_THAT(Message(Graph::FromGraphDef(def).status()), HasSubstr("signature 'f'"));
}

TEST(GraphDef, TextErrorsSayWhere) {
  EXPECT_THAT(Message(Graph::FromText("name: 'g'\nnodes { nam: 'x' }").status()),
              HasSubstr("line 2"));
}

TEST(GraphDef, AGraphWithAnErrorIsNotWritten) {
  Graph g;
  Exp(g.Input("x", DataType::kI32, {}));
  EXPECT_FALSE(g.ToGraphDef().ok());
  EXPECT_FALSE(g.Save(TempPath("bad.weft")).ok());
  EXPECT_FALSE(std::ifstream(TempPath("bad.weft")).good());
}

TEST(GraphDef, LargeConstantsGoIntoTheWeightsSection) {
  Graph g = Everything();
  graph_def::Weights weights;
  absl::StatusOr<GraphDef> def = graph_def::Export(*g.impl(), &weights);
  ASSERT_TRUE(def.ok());
  ASSERT_EQ(weights.size(), 1u);
  EXPECT_EQ(weights.begin()->first, "w.initial");
  graph_def::Weights same;
  EXPECT_EQ(g.ToGraphDef(&same)->SerializeAsString(), def->SerializeAsString());
  EXPECT_EQ(same.size(), 1u);
  EXPECT_FALSE(graph_def::Import(*def).ok());  // without the weights
  HostTensor other = *HostTensor::Create(DataType::kF32, {8, 63});
  EXPECT_THAT(Message(graph_def::Import(*def, {{"w.initial", other}}).status()),
              HasSubstr("got f32[8, 63]"));
}

constexpr char kSmall[] = R"(
  versions { producer: 1 min_consumer: 1 } name: "g"
  source_files: "model.cc"
  nodes { name: "x" op: "input" op_version: 1 locations { file: 0 line: 3 }
          attrs { name: "dtype" value { dtype: F32 } }
          attrs { name: "name" value { s: "x" } }
          attrs { name: "shape" value { shape { dims { expr: "batch" } dims { size: 4 } } } } }
  nodes { name: "y" op: "exp" op_version: 1 inputs: "x" locations { file: 0 line: 4 } }
  nodes { name: "c" op: "constant" op_version: 1 locations { file: 0 line: 5 }
          attrs { name: "value" value { tensor { dtype: F32 shape: 2 raw: "\0\0\0\0\0\0\0\0" } } } }
  nodes { name: "s" op: "reduce_sum" op_version: 1 inputs: "y"
          attrs { name: "axes" value { ints { values: -1 } } } }
  variables { name: "v" dtype: F32 shape { dims { size: 2 } } initializer: "c" trainable: true }
  signatures { name: "f" inputs: "x" outputs { name: "s" value: "s" }
               locations { file: 0 line: 6 } }
)";

proto::GraphDef Small() {
  proto::GraphDef def;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(kSmall, &def));
  return def;
}

// What import says to the small graph after `change`.
template <typename F>
std::string Refusal(F change) {
  proto::GraphDef def = Small();
  change(def);
  absl::Status status = Graph::FromGraphDef(def).status();
  if (!status.ok()) EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  return Message(status);
}

TEST(Import, TheSmallGraphIsGood) {
  EXPECT_EQ(Refusal([](proto::GraphDef&) {}), "");
  // Any order of nodes; it is put right.
  EXPECT_EQ(Refusal([](proto::GraphDef& def) { def.mutable_nodes()->SwapElements(0, 3); }), "");
}

TEST(Import, Versions) {
  EXPECT_THAT(Refusal([](auto& def) { def.mutable_versions()->set_min_consumer(99); }),
              HasSubstr("use a newer Weft"));
  EXPECT_THAT(Refusal([](auto& def) { def.clear_versions(); }), HasSubstr("producer version"));
  EXPECT_THAT(Refusal([](auto& def) { def.mutable_nodes(1)->set_op_version(7); }),
              AllOf(HasSubstr("use a newer Weft"), HasSubstr("node 'y' (model.cc:4)")));
  EXPECT_THAT(Refusal([](auto& def) { def.mutable_nodes(1)->set_op_version(0); }),
              HasSubstr("that can be read"));
}

TEST(Import, UnknownOps) {
  EXPECT_THAT(Refusal([](auto& def) { def.mutable_nodes(1)->set_op("expp"); }),
              AllOf(HasSubstr("'expp'; did you mean 'exp'?"), HasSubstr("model.cc:4")));
  for (const char* op :
       {"variable", "signature", "graph", "yield", "initializer", "weft.exp", ""}) {
    EXPECT_NE(Refusal([&](auto& def) { def.mutable_nodes(1)->set_op(op); }), "") << op;
  }
}

TEST(Import, Names) {
  EXPECT_THAT(Refusal([](auto& def) { def.mutable_nodes(1)->set_name("x"); }), HasSubstr("unique"));
  EXPECT_THAT(Refusal([](auto& def) { def.mutable_nodes(1)->set_name("a b"); }),
              HasSubstr("printable"));
  EXPECT_THAT(Refusal([](auto& def) { def.mutable_nodes(1)->set_name(std::string(600, 'a')); }),
              HasSubstr("512"));
  EXPECT_THAT(Refusal([](auto& def) { def.set_name(""); }), HasSubstr("graph's name"));
}

// What a file says is shown in one line that a terminal can show, whatever it is.
TEST(Import, MessagesAreOneLine) {
  const std::string wild = "a\n\x1b[2J\xff";
  const std::string messages[] = {
      Refusal([&](auto& def) { def.mutable_nodes(1)->set_name(wild); }),
      Refusal([&](auto& def) { def.mutable_nodes(3)->set_inputs(0, wild); }),
      Refusal([&](auto& def) { def.mutable_nodes(1)->set_op(wild); }), Refusal([&](auto& def) {
        def.set_source_files(0, wild), def.mutable_nodes(1)->add_inputs("x");
      }),
      // Found when nodes are built.
      Refusal([&](auto& def) {
        def.set_source_files(0, wild);
        def.mutable_nodes(0)->mutable_attrs(0)->mutable_value()->set_dtype(proto::I32);
      }),
      Message(Graph::FromText("name: '" + wild).status())};
  for (const std::string& message : messages) {
    EXPECT_NE(message, "");
    for (char c : message) EXPECT_TRUE(c >= ' ' && c <= '~') << message;
  }
  const std::string long_one =
      Refusal([&](auto& def) { def.mutable_nodes(1)->set_op(std::string(1 << 20, 'e')); });
  EXPECT_LT(long_one.size(), 1100u);
  EXPECT_THAT(long_one, AllOf(HasSubstr("known op"), HasSubstr("node 'y' (model.cc:4)")));
}

TEST(Import, input_c1) {
  EXPECT_THAT(Refusal([](auto& def) {
                def.mutable_nodes(0)->mutable_attrs(1)->mutable_value()->set_s("z");
              }),
              HasSubstr("input: expected the node's name as attribute 'name', got 'z' (C1)"));
}

TEST(Import, References) {
  EXPECT_THAT(Refusal([](auto& def) { def.mutable_nodes(3)->set_inputs(0, "yy"); }),
              HasSubstr("got 'yy'; did you mean 'y'?"));
  for (const char* bad : {"y:1", "y:", "y:-1", "y:x", "y:99999999999", "%arg0", "", ":0"}) {
    EXPECT_NE(Refusal([&](auto& def) { def.mutable_nodes(3)->set_inputs(0, bad); }), "") << bad;
  }
}

TEST(Import, ArityAndAttributes) {
  EXPECT_THAT(Refusal([](auto& def) { def.mutable_nodes(1)->add_inputs("x"); }),
              HasSubstr("exp: expected 1 operand, got 2"));
  EXPECT_THAT(Refusal([](auto& def) { def.mutable_nodes(3)->clear_attrs(); }),
              HasSubstr("expected an attribute 'axes'"));
  EXPECT_THAT(Refusal([](auto& def) { def.mutable_nodes(3)->mutable_attrs(0)->set_name("axis"); }),
              HasSubstr("did you mean 'axes'?"));
  EXPECT_THAT(Refusal([](auto& def) {
                def.mutable_nodes(3)->mutable_attrs(0)->mutable_value()->set_s("1");
              }),
              HasSubstr("attribute 'axes': expected whole numbers"));
  EXPECT_THAT(
      Refusal([](auto& def) { *def.mutable_nodes(3)->add_attrs() = def.nodes(3).attrs(0); }),
      HasSubstr("'axes' once"));
  EXPECT_THAT(Refusal([](auto& def) {
                def.mutable_nodes(3)->mutable_attrs(0)->mutable_value()->mutable_ints()->set_values(
                    0, 2);
              }),
              HasSubstr("(C1)"));
}

TEST(Import, Recompute) {
  auto marked = [](const std::string& node, auto set) {
    GraphDef def = *Everything().ToGraphDef();
    for (proto::NodeDef& each : *def.mutable_nodes()) {
      if (each.name() != node) continue;
      proto::NamedAttr* attr = each.add_attrs();
      attr->set_name("weft.recompute");
      set(attr->mutable_value());
    }
    const absl::Status status = Graph::FromGraphDef(def).status();
    return status.ok() ? "" : Message(status);
  };
  auto text = [](const char* mark) {
    return [mark](proto::AttrValue* value) { value->set_s(mark); };
  };
  EXPECT_EQ(marked("layer/matmul", text("a/b")), "");
  EXPECT_EQ(marked("layer/matmul", text("a:2")), "");
  for (const char* bad :
       {"", ":1", "a:", "a:0", "a:-1", "a:01", "a:1:2", "a b", "a:9", "a:99999999999"}) {
    EXPECT_THAT(marked("layer/matmul", text(bad)),
                AllOf(HasSubstr("expected the name of a scope"), HasSubstr("node 'layer/matmul'")))
        << bad;
  }
  EXPECT_THAT(marked("layer/matmul", [](proto::AttrValue* value) { value->set_b(true); }),
              HasSubstr("expected the name of a scope"));
  EXPECT_THAT(marked("x", text("a")), HasSubstr("input: expected no attribute 'weft.recompute'"));
  EXPECT_THAT(marked("w.initial", text("a")), HasSubstr("cannot be computed again"));
}

TEST(Import, Devices) {
  auto placed = [](const std::string& node, auto set) {
    GraphDef def = *Everything().ToGraphDef();
    for (proto::NodeDef& each : *def.mutable_nodes()) {
      if (each.name() != node) continue;
      proto::NamedAttr* attr = each.add_attrs();
      attr->set_name("weft.device");
      set(attr->mutable_value());
    }
    const absl::Status status = Graph::FromGraphDef(def).status();
    return status.ok() ? "" : Message(status);
  };
  auto text = [](const char* device) {
    return [device](proto::AttrValue* value) { value->set_s(device); };
  };
  for (const char* good : {"cpu", "cuda:0", "cuda:17"}) {
    EXPECT_EQ(placed("layer/matmul", text(good)), "");
    EXPECT_EQ(placed("x", text(good)), "");
  }
  for (const char* bad : {"", "gpu", "cuda:", "cuda:x", "cuda:01", "cuda:99999", "cpu:0"}) {
    EXPECT_THAT(
        placed("layer/matmul", text(bad)),
        AllOf(HasSubstr("expected a device, 'cpu' or 'cuda:0'"), HasSubstr("node 'layer/matmul'")))
        << bad;
  }
  EXPECT_THAT(placed("layer/matmul", [](proto::AttrValue* value) { value->set_b(true); }),
              HasSubstr("got no string"));
  GraphDef def = *Everything().ToGraphDef();
  for (proto::NodeDef& node : *def.mutable_nodes()) {
    if (node.op() != "read_variable") continue;
    proto::NamedAttr* attr = node.add_attrs();
    attr->set_name("weft.device");
    attr->mutable_value()->set_s("cpu");
  }
  EXPECT_THAT(Message(Graph::FromGraphDef(def).status()),
              HasSubstr("on an op that runs where its variable lives"));
  def = *Everything().ToGraphDef();
  def.mutable_variables(0)->set_device("gpu");
  EXPECT_THAT(Message(Graph::FromGraphDef(def).status()),
              AllOf(HasSubstr("variable '"), HasSubstr("expected a device"), HasSubstr("'gpu'")));
}

// A scope that is opened after loading is not one of the file's.
TEST(Import, RecomputeScopesStayApart) {
  absl::StatusOr<Graph> g = Graph::FromGraphDef(*Everything().ToGraphDef());
  ASSERT_TRUE(g.ok()) << g.status();
  auto layer = g->Scope("layer");
  auto again = g->Recompute("again");
  Tensor y = Exp(g->Find("layer/h"));
  ASSERT_TRUE(y.valid()) << g->status();
  absl::StatusOr<GraphDef> def = g->ToGraphDef();
  ASSERT_TRUE(def.ok()) << def.status();
  const proto::NodeDef& last = def->nodes(def->nodes_size() - 1);
  ASSERT_EQ(last.name(), y.name());
  ASSERT_EQ(last.attrs_size(), 1);
  EXPECT_EQ(last.attrs(0).value().s(), "layer/again_1");
}

TEST(Import, DTypesAndShapes) {
  auto set_dtype = [](int number) {
    return [number](proto::GraphDef& def) {
      def.mutable_nodes(0)->mutable_attrs(0)->mutable_value()->set_dtype(
          static_cast<proto::DType>(number));
    };
  };
  EXPECT_THAT(Refusal(set_dtype(0)), HasSubstr("expected a dtype"));
  EXPECT_THAT(Refusal(set_dtype(77)), HasSubstr("expected a dtype"));
  EXPECT_THAT(Refusal(set_dtype(5)), HasSubstr("exp: expected dtype f32"));
  auto set_dim = [](auto f) {
    return [f](proto::GraphDef& def) {
      f(def.mutable_nodes(0)->mutable_attrs(2)->mutable_value()->mutable_shape()->mutable_dims(1));
    };
  };
  EXPECT_NE(Refusal(set_dim([](auto* dim) { dim->set_size(-4); })), "");
  EXPECT_NE(Refusal(set_dim([](auto* dim) { dim->set_expr("2*"); })), "");
  EXPECT_NE(Refusal(set_dim([](auto* dim) { dim->clear_kind(); })), "");
  EXPECT_NE(Refusal(set_dim([](auto* dim) { dim->set_size(INT64_MAX); })), "");
  EXPECT_NE(Refusal(set_dim([](auto* dim) { dim->set_expr("n-1"); })), "");
  EXPECT_THAT(Refusal([](proto::GraphDef& def) {
                auto* shape =
                    def.mutable_nodes(0)->mutable_attrs(2)->mutable_value()->mutable_shape();
                for (int i = 0; i < 8; ++i) shape->add_dims()->set_size(int64_t{1} << 40);
              }),
              HasSubstr("2^48"));
}

TEST(Import, ConstantsThatLie) {
  auto tensor = [](auto f) {
    return [f](proto::GraphDef& def) {
      f(def.mutable_nodes(2)->mutable_attrs(0)->mutable_value()->mutable_tensor());
    };
  };
  EXPECT_THAT(Refusal(tensor([](auto* t) { t->set_raw("abc"); })),
              HasSubstr("expected 8 bytes of elements"));
  EXPECT_THAT(Refusal(tensor([](auto* t) { t->set_shape(0, 3); })), HasSubstr("12 bytes"));
  EXPECT_NE(Refusal(tensor([](auto* t) { t->set_shape(0, -1); })), "");
  EXPECT_NE(Refusal(tensor([](auto* t) {
              t->set_shape(0, INT64_MAX);
              t->add_shape(INT64_MAX);
            })),
            "");
  EXPECT_NE(Refusal(tensor([](auto* t) {
              t->set_raw(std::string(4, '\0'));
              t->set_shape(0, int64_t{1} << 60);
            })),
            "");
  EXPECT_NE(Refusal(tensor([](auto* t) { t->clear_data(); })), "");
  EXPECT_NE(Refusal(tensor([](auto* t) { t->set_weight("none"); })), "");
  EXPECT_THAT(Refusal(tensor([](auto* t) {
                t->set_dtype(proto::BOOL);
                t->set_raw("\x02\x01");
              })),
              HasSubstr("bools of 0 or 1"));
  // One element stands for all.
  EXPECT_EQ(Refusal(tensor([](auto* t) { t->set_raw(std::string(4, '\0')); })), "");
}

TEST(Import, CyclesAreNamedNodeByNode) {
  EXPECT_THAT(Refusal([](proto::GraphDef& def) { def.mutable_nodes(1)->set_inputs(0, "s"); }),
              HasSubstr("2 nodes in a circle: 'y' <- 's' <- 'y'"));
  EXPECT_THAT(Refusal([](proto::GraphDef& def) { def.mutable_nodes(1)->set_inputs(0, "y"); }),
              HasSubstr("1 nodes in a circle: 'y' <- 'y'"));
}

TEST(Import, Variables) {
  EXPECT_NE(Refusal([](auto& def) { *def.add_variables() = def.variables(0); }), "");
  EXPECT_NE(Refusal([](auto& def) { def.mutable_variables(0)->set_initializer("cc"); }), "");
  EXPECT_NE(Refusal([](auto& def) { def.mutable_variables(0)->clear_initializer(); }), "");
  EXPECT_NE(Refusal([](auto& def) {
              def.mutable_variables(0)->mutable_shape()->mutable_dims(0)->set_expr("n");
            }),
            "");
}

TEST(Import, initializer_c1) {
  EXPECT_THAT(Refusal([](auto& def) {
                def.mutable_variables(0)->mutable_shape()->mutable_dims(0)->set_size(3);
              }),
              HasSubstr("(C1)"));
}

TEST(Import, initializer_c3) {
  EXPECT_THAT(Refusal([](auto& def) { def.mutable_variables(0)->set_initializer("y"); }),
              HasSubstr("(C3)"));
}

TEST(Import, signature_c1) {
  EXPECT_THAT(Refusal([](auto& def) { *def.add_signatures() = def.signatures(0); }),
              HasSubstr("(C1)"));
}

TEST(Import, signature_c2) {
  EXPECT_THAT(Refusal([](auto& def) { def.mutable_signatures(0)->set_inputs(0, "y"); }),
              HasSubstr("(C2)"));
  EXPECT_THAT(Refusal([](auto& def) { def.mutable_signatures(0)->add_inputs("x"); }),
              HasSubstr("(C2)"));
}

TEST(Import, signature_c3) {
  const std::string refusal = Refusal([](auto& def) { def.mutable_signatures(0)->clear_inputs(); });
  EXPECT_THAT(refusal, HasSubstr("(C3)"));
  EXPECT_THAT(refusal, HasSubstr("model.cc:6"));
}

TEST(Import, signature_c4) {
  EXPECT_THAT(Refusal([](auto& def) {
                *def.mutable_signatures(0)->add_outputs() = def.signatures(0).outputs(0);
              }),
              HasSubstr("(C4)"));
}

TEST(Import, Signatures) {
  EXPECT_THAT(Refusal([](auto& def) { def.mutable_signatures(0)->add_targets("nothing"); }),
              HasSubstr("signature 'f' (model.cc:6)"));
  EXPECT_NE(Refusal([](auto& def) { def.mutable_signatures(0)->set_name("init"); }), "");
  EXPECT_THAT(Refusal([](auto& def) {
                for (int i = 0; i < 300; ++i) {
                  *def.add_signatures() = def.signatures(0);
                  def.mutable_signatures(i + 1)->set_name(absl::StrCat("f", i));
                }
              }),
              HasSubstr("at most 256 signatures"));
}

// A chain of cond nodes in functions: f0 uses f1 uses ... ; the last is plain.
proto::GraphDef Nested(int depth, bool twice, bool recursive) {
  proto::GraphDef def = Small();
  auto add_cond = [](proto::NodeDef* node, const std::string& name, const std::string& x,
                     const std::string& function) {
    node->set_name(name);
    node->set_op("cond");
    node->set_op_version(1);
    node->add_inputs("p");
    node->add_inputs(x);
    for (const char* body : {"else_body", "then_body"}) {
      proto::NamedAttr* attr = node->add_attrs();
      attr->set_name(body);
      attr->mutable_value()->set_function(function);
    }
  };
  auto add_predicate = [](proto::NodeDef* node) {
    node->set_name("p");
    node->set_op("constant");
    node->set_op_version(1);
    proto::NamedAttr* attr = node->add_attrs();
    attr->set_name("value");
    attr->mutable_value()->mutable_tensor()->set_dtype(proto::BOOL);
    attr->mutable_value()->mutable_tensor()->set_raw(std::string(1, '\1'));
  };
  add_predicate(def.add_nodes());
  add_cond(def.add_nodes(), "top", "c", "f0");
  for (int i = 0; i < depth; ++i) {
    proto::FunctionDef* f = def.add_functions();
    f->set_name(absl::StrCat("f", i));
    proto::FunctionDef::Argument* a = f->add_arguments();
    a->set_name("a");
    a->set_dtype(proto::F32);
    a->mutable_shape()->add_dims()->set_size(2);
    f->add_results("%a");
    if (i + 1 == depth && !recursive) continue;
    add_predicate(f->add_nodes());
    std::string next = absl::StrCat("f", (i + 1) % depth);
    add_cond(f->add_nodes(), "inner", "%a", next);
    if (twice) add_cond(f->add_nodes(), "inner2", "%a", next);
    f->set_results(0, "inner");
  }
  return def;
}

TEST(Import, Functions) {
  // Each use of a body is a copy: 2^5 leaves here.
  absl::Status good = Graph::FromGraphDef(Nested(5, false, false)).status();
  EXPECT_TRUE(good.ok()) << good;
  EXPECT_THAT(Message(Graph::FromGraphDef(Nested(3, false, true)).status()),
              HasSubstr("'f0' -> 'f1' -> 'f2' -> 'f0'"));
  EXPECT_THAT(Message(Graph::FromGraphDef(Nested(100, false, false)).status()),
              HasSubstr("nested at most 64 deep"));
  EXPECT_THAT(Message(Graph::FromGraphDef(Nested(40, true, false)).status()),
              HasSubstr("with all uses of functions"));
  proto::GraphDef def = Nested(2, false, false);
  def.mutable_nodes(5)->mutable_attrs(0)->mutable_value()->set_function("f9");
  EXPECT_THAT(Message(Graph::FromGraphDef(def).status()),
              HasSubstr("to name a function, got 'f9'"));
  def = Nested(2, false, false);
  def.mutable_nodes(5)->mutable_attrs()->RemoveLast();
  EXPECT_THAT(Message(Graph::FromGraphDef(def).status()), HasSubstr("an attribute 'then_body'"));
  def = Nested(2, false, false);
  def.mutable_functions(1)->mutable_arguments(0)->set_dtype(proto::F64);
  EXPECT_THAT(Message(Graph::FromGraphDef(def).status()), HasSubstr("(C2)"));
  def = Nested(2, false, false);
  *def.mutable_functions(0)->add_nodes() = def.nodes(0);
  EXPECT_THAT(Message(Graph::FromGraphDef(def).status()), HasSubstr("in the graph itself"));
}

TEST(Import, NamesOfFunctions) {
  for (const char* name : {"", "f0"}) {
    proto::GraphDef def = Nested(2, false, false);
    def.mutable_functions(1)->set_name(name);
    EXPECT_THAT(Message(Graph::FromGraphDef(def).status()),
                HasSubstr(absl::StrCat("function '", name,
                                       "': expected names that are unique and not empty")));
  }
  proto::GraphDef def = Nested(2, false, false);
  *def.mutable_functions(0)->add_arguments() = def.functions(0).arguments(0);
  EXPECT_THAT(Message(Graph::FromGraphDef(def).status()),
              HasSubstr("function 'f0': expected argument names that are unique, got a second "
                        "'a'"));
}

// Refused by their number, before the first is looked at.
TEST(Import, NumberOfNodes) {
  proto::GraphDef def = Small();
  def.mutable_nodes()->Reserve(graph_def::kMaxNodes + 1);
  while (def.nodes_size() <= graph_def::kMaxNodes) def.add_nodes();
  EXPECT_THAT(Message(Graph::FromGraphDef(def).status()), HasSubstr("at most 2000000 nodes"));
}

TEST(Import, UpgradesOldNodes) {
  static constexpr graph_def::Upgrader kUpgraders[] = {
      {"old_exp", 1,
       [](proto::NodeDef* node) {
         node->set_op("exp");
         node->set_op_version(0);
       }},
      {"exp", 0, [](proto::NodeDef* node) { node->set_op_version(1); }},
      {"circle", 1, [](proto::NodeDef*) {}},
  };
  proto::NodeDef node;
  node.set_op("old_exp");
  node.set_op_version(1);
  ASSERT_TRUE(graph_def::Upgrade(&node, kUpgraders).ok());
  EXPECT_EQ(node.op(), "exp");
  EXPECT_EQ(node.op_version(), 1);
  node.set_op("circle");
  EXPECT_FALSE(graph_def::Upgrade(&node, kUpgraders).ok());
}

TEST(Import, DamagedFiles) {
  Graph g = Everything();
  std::string path = TempPath("damaged.weft");
  ASSERT_TRUE(g.Save(path).ok());
  std::ifstream in(path, std::ios::binary);
  std::string bytes((std::istreambuf_iterator<char>(in)), {});
  auto load = [&](const std::string& content) {
    std::ofstream(path, std::ios::binary) << content;
    return Graph::Load(path).status();
  };
  ASSERT_TRUE(load(bytes).ok());
  for (size_t size = 0; size < bytes.size(); size += 197) {
    absl::Status status = load(bytes.substr(0, size));
    ASSERT_FALSE(status.ok()) << size;
    ASSERT_THAT(Message(status), HasSubstr("damaged.weft"));
  }
  for (size_t at = 0; at < bytes.size(); at += 41) {
    std::string flipped = bytes;
    flipped[at] ^= 0x10;
    EXPECT_FALSE(load(flipped).ok()) << at;
  }
  google::protobuf::LogSilencer silencer;
  // The same in the wire form, where no checksum stands before the checks.
  std::string wire = Bytes(g);
  for (size_t at = 0; at < wire.size(); at += 11) {
    std::string flipped = wire;
    flipped[at] ^= static_cast<char>(1 << (at % 8));
    proto::GraphDef def;
    if (def.ParseFromString(flipped)) Graph::FromGraphDef(def).status().IgnoreError();
  }
  std::remove(path.c_str());
}

TEST(Import, TwoHundredThousandNodesInALine) {
  constexpr int kCount = 200'000;
  proto::GraphDef def = Small();
  std::string last = "x";
  // Backwards in the file, so that the order has to be found.
  std::vector<proto::NodeDef> nodes(kCount);
  for (int i = 0; i < kCount; ++i) {
    nodes[i].set_name(absl::StrCat("n", i));
    nodes[i].set_op("neg");
    nodes[i].set_op_version(1);
    nodes[i].add_inputs(last);
    last = nodes[i].name();
  }
  for (auto it = nodes.rbegin(); it != nodes.rend(); ++it) *def.add_nodes() = *it;
  def.mutable_signatures(0)->mutable_outputs(0)->set_value(last);
  auto start = std::chrono::steady_clock::now();
  {
    absl::StatusOr<Graph> graph = Graph::FromGraphDef(def);
    ASSERT_TRUE(graph.ok()) << graph.status();
    EXPECT_EQ(graph->NumNodes(), kCount + 4);
    absl::StatusOr<GraphDef> back = graph->ToGraphDef();
    ASSERT_TRUE(back.ok());
    EXPECT_EQ(back->nodes_size(), kCount + 4);
  }
  std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  std::printf("imported, exported and destroyed in %.2f s\n", seconds.count());
}

// Last: lines count anew from here.
#line 1 "caf\351.cc"
SourceLocation InLatin1() { return SourceLocation::current(); }

}  // namespace
}  // namespace weft
