// Import of graphs that are well-formed messages and wrong in every other way: random changes of
// fields of a good graph. Whatever comes, import gives a graph that the verifier accepts and that
// can be written and read again, or InvalidArgument.
#include <google/protobuf/message.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <random>

#include "graph/graph.h"
#include "graph/ir/graph_impl.h"
#include "mlir/IR/Verifier.h"
#include "proto/graph.pb.h"

namespace weft {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

Graph Seed() {
  Graph g("seed");
  Tensor x = g.Input("x", DataType::kF32, {"batch", 8});
  Variable w = g.AddVariable("w", HostTensor::Of<float>({2}, {1, 2}));
  Variable step = g.AddVariable("step", HostTensor::Scalar<int64_t>(0), false);
  std::vector<Tensor> loop = While(
      {step.Read(), x}, [&](const std::vector<Tensor>& c) { return Less(c[0], 10); },
      [&](const std::vector<Tensor>& c) -> std::vector<Tensor> {
        return {c[0] + 1, Cond(
                              Greater(c[0], 2), [&] { return std::vector<Tensor>{c[1] * 2.0}; },
                              [&] { return std::vector<Tensor>{c[1] + x}; })[0]};
      },
      10);
  Tensor image = Reshape(loop[1], {-1, 2, 2, 2});
  MaxPoolResult pooled = MaxPool(image, {2, 2}, {1, 1}, {1, 0, 0, 1});
  Tensor cut = Slice(Concat({x, loop[1]}, 1), {0, 2}, {x.dim(0), 10}, {1, 3});
  Tensor padded = Pad(cut, 0, {0, 1}, {1, 0}, {0, 2});
  Tensor noise = RandomUniform(step, 7, padded.shape(), DataType::kF32);
  Tensor y = MatMul(padded + noise, padded, false, true);
  Tensor picked = Gather(y, ArgMax(y, 0), 1);
  g.AddSignature("predict", {{"y", picked}, {"where", pooled.index}});
  g.AddSignature("train", {{"hot", OneHot(ArgMax(x, 1), 8, DataType::kF16)}},
                 {step.Assign(step.Read() + 1), w.Assign(w.Read() * 0.5)});
  EXPECT_TRUE(g.status().ok()) << g.status();
  return g;
}

class Mutator {
 public:
  explicit Mutator(uint64_t seed) : rng_(seed) {}

  void Mutate(proto::GraphDef* def) {
    for (int i = 1 + Pick(3); i > 0; --i) {
      Message* message = def;
      // Down a random path; the deeper the message, the likelier it is the one to change.
      for (int depth = 1; Pick(6) >= depth / 2; ++depth) {
        Message* child = RandomChild(message);
        if (child == nullptr) break;
        message = child;
      }
      ChangeField(def, message);
    }
  }

 private:
  int Pick(int n) { return static_cast<int>(rng_() % static_cast<uint64_t>(n)); }

  Message* RandomChild(Message* message) {
    std::vector<const FieldDescriptor*> fields;
    message->GetReflection()->ListFields(*message, &fields);
    std::erase_if(fields,
                  [](auto* f) { return f->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE; });
    if (fields.empty()) return nullptr;
    const FieldDescriptor* field = fields[Pick(static_cast<int>(fields.size()))];
    const auto* reflection = message->GetReflection();
    if (!field->is_repeated()) return reflection->MutableMessage(message, field);
    return reflection->MutableRepeatedMessage(message, field,
                                              Pick(reflection->FieldSize(*message, field)));
  }

  int64_t Number() {
    constexpr int64_t kNumbers[] = {0,  1,       2,         3,         7,        -1,
                                    -2, 1 << 20, INT32_MAX, INT64_MAX, INT64_MIN};
    return kNumbers[Pick(std::size(kNumbers))];
  }
  // A text that is used elsewhere in the graph, or none that is.
  std::string Text(const proto::GraphDef& def) {
    switch (Pick(5)) {
      case 0: {
        constexpr const char* kTexts[] = {"",
                                          "%arg0",
                                          "x:1",
                                          "floordiv(batch,0)",
                                          "n-1",
                                          "max(batch,3)",
                                          "batch*batch*9999999999",
                                          "no"};
        return kTexts[Pick(std::size(kTexts))];
      }
      case 1:
        if (def.functions_size() == 0) return "f";
        return def.functions(Pick(def.functions_size())).name();
      default: {
        if (def.nodes_size() == 0) return "n";
        const proto::NodeDef& node = def.nodes(Pick(def.nodes_size()));
        return Pick(2) == 0 ? node.name() : node.op();
      }
    }
  }

  void ChangeField(proto::GraphDef* def, Message* message) {
    const auto* descriptor = message->GetDescriptor();
    const auto* reflection = message->GetReflection();
    const FieldDescriptor* field = descriptor->field(Pick(descriptor->field_count()));
    if (field->is_repeated()) {
      int size = reflection->FieldSize(*message, field);
      int what = Pick(3);
      if (what == 0 && size > 0) {
        reflection->SwapElements(message, field, Pick(size), Pick(size));
        if (Pick(2) == 0) reflection->RemoveLast(message, field);
        return;
      }
      if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
        Message* added = reflection->AddMessage(message, field);
        if (size > 0) added->CopyFrom(reflection->GetRepeatedMessage(*message, field, Pick(size)));
      } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_STRING) {
        if (size > 0 && what == 1) {
          reflection->SetRepeatedString(message, field, Pick(size), Text(*def));
        } else {
          reflection->AddString(message, field, Text(*def));
        }
      } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_INT64) {
        if (size > 0 && what == 1) {
          reflection->SetRepeatedInt64(message, field, Pick(size), Number());
        } else {
          reflection->AddInt64(message, field, Number());
        }
      }
      return;
    }
    switch (field->cpp_type()) {
      case FieldDescriptor::CPPTYPE_INT32:
        reflection->SetInt32(message, field, static_cast<int32_t>(Number()));
        break;
      case FieldDescriptor::CPPTYPE_INT64:
        reflection->SetInt64(message, field, Number());
        break;
      case FieldDescriptor::CPPTYPE_DOUBLE:
        reflection->SetDouble(message, field, static_cast<double>(Number()));
        break;
      case FieldDescriptor::CPPTYPE_BOOL:
        reflection->SetBool(message, field, Pick(2) == 0);
        break;
      case FieldDescriptor::CPPTYPE_ENUM:
        reflection->SetEnumValue(message, field, Pick(12));
        break;
      case FieldDescriptor::CPPTYPE_STRING:
        reflection->SetString(message, field, Text(*def));
        break;
      default:
        if (Pick(4) == 0)
          reflection->ClearField(message, field);
        else
          reflection->MutableMessage(message, field);
    }
  }

  std::mt19937_64 rng_;
};

TEST(Mutation, ImportNeverFails) {
  absl::StatusOr<GraphDef> good = Seed().ToGraphDef();
  ASSERT_TRUE(good.ok());
  const char* env = std::getenv("WEFT_MUTATIONS");
  int count = env != nullptr ? std::atoi(env) : 1500;
  int accepted = 0, refused = 0;
  for (int seed = 0; seed < count; ++seed) {
    SCOPED_TRACE(seed);
    proto::GraphDef def = *good;
    Mutator(seed).Mutate(&def);
    absl::StatusOr<Graph> graph = Graph::FromGraphDef(def);
    if (!graph.ok()) {
      ++refused;
      // A size that cannot be may come from the arithmetic of shapes.
      EXPECT_TRUE(absl::IsInvalidArgument(graph.status()) || absl::IsOutOfRange(graph.status()))
          << graph.status();
      EXPECT_LT(graph.status().message().size(), 4000u);
      continue;
    }
    ++accepted;
    ASSERT_TRUE(mlir::succeeded(mlir::verify(*graph->impl()->module)));
    absl::StatusOr<GraphDef> once = graph->ToGraphDef();
    ASSERT_TRUE(once.ok()) << once.status();
    absl::StatusOr<Graph> again = Graph::FromGraphDef(*once);
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_EQ(again->ToGraphDef()->SerializeAsString(), once->SerializeAsString());
  }
  EXPECT_GT(accepted, count / 50);
  EXPECT_GT(refused, count / 4);
}

}  // namespace
}  // namespace weft
