// Graph files that are wrong in every way there is, given to every command that reads graphs: exit
// code 3, one or two lines that name the file and the node, and nothing written.
#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>

#include <algorithm>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "proto/container.h"
#include "proto/graph.pb.h"
#include "proto/safetensors.h"
#include "tests/cli/cli.h"

namespace weft {
namespace {

using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr char kGood[] = R"(
  versions { producer: 1 min_consumer: 1 }
  name: "small"
  source_files: "model.cc"
  nodes { name: "x" op: "input" op_version: 1 locations { file: 0 line: 3 }
          attrs { name: "dtype" value { dtype: F32 } }
          attrs { name: "name" value { s: "x" } }
          attrs { name: "shape" value { shape { dims { expr: "batch" } dims { size: 4 } } } } }
  nodes { name: "c" op: "constant" op_version: 1 locations { file: 0 line: 4 }
          attrs { name: "value" value { tensor { dtype: F32 shape: 1 shape: 4 raw: "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0" } } } }
  nodes { name: "y" op: "exp" op_version: 1 inputs: "x" locations { file: 0 line: 5 } }
  nodes { name: "s" op: "reduce_sum" op_version: 1 inputs: "y" locations { file: 0 line: 6 }
          attrs { name: "axes" value { ints { values: 1 } } } }
  signatures { name: "f" inputs: "x" outputs { name: "s" value: "s" } }
)";

// The good graph with each first text replaced by the second.
std::string With(const std::vector<std::pair<std::string, std::string>>& changes) {
  std::string text = kGood;
  for (const auto& [from, to] : changes) {
    const size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    text.replace(at, from.size(), to);
  }
  return text;
}

proto::GraphDef Parsed(const std::string& text) {
  proto::GraphDef def;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &def)) << text;
  return def;
}

std::string FileOf(const proto::GraphDef& def) {
  const std::string bytes = def.SerializeAsString();
  return WriteContainer({{"graph", bytes, 6}});
}

// Functions f0 ... f<count-1> that hold a conditional over the next one.
std::string Nested(int count, bool recursive) {
  const std::string predicate =
      "nodes { name: 'p' op: 'constant' op_version: 1 attrs { name: 'value' value { tensor { "
      "dtype: "
      "BOOL raw: '\\001' } } } }";
  const auto cond = [](const std::string& operand, int function) {
    std::string node =
        "nodes { name: 'cond' op: 'cond' op_version: 1 inputs: 'p' inputs: '" + operand + "'";
    for (const char* body : {"else_body", "then_body"}) {
      node += " attrs { name: '" + std::string(body) + "' value { function: 'f" +
              std::to_string(function) + "' } }";
    }
    return node + " }";
  };
  std::string text = kGood + predicate + cond("c", 0);
  for (int i = 0; i < count; ++i) {
    const bool last = i + 1 == count;
    text += "functions { name: 'f" + std::to_string(i) +
            "' arguments { name: 'a' dtype: F32 shape { dims { size: 1 } dims { size: 4 } } } ";
    if (last && !recursive) {
      text += "results: '%a' }\n";
    } else {
      text += predicate + cond("%a", last ? 0 : i + 1) + " results: 'cond' }\n";
    }
  }
  return text;
}

class BadGraph : public CliTest {
 protected:
  // Every command that reads a graph refuses the file.
  void ExpectRefused(const std::string& name, const ::testing::Matcher<std::string>& message) {
    const std::string file = Path(name);
    const std::vector<std::string> before = Files();
    for (const std::string& command :
         {"inspect " + file, "inspect " + file + " --format html -o " + Path("out.html"),
          "run " + file + " --feed x=1 --out " + Path("out.npy"), "bench " + file, "verify " + file,
          "verify " + file + " --inputs in.npz --expected out.npz",
          "train " + file + " --data tools/examples/data/auto_mpg.csv --checkpoint " + Path("run"),
          "compile " + file + " -o " + Path("out.weftpkg"),
          "compile " + file + " --emit shared -o " + Path("out.so"),
          "grad " + file + " --of s --wrt x -o " + Path("out.weft")}) {
      SCOPED_TRACE(command);
      EXPECT_THAT(Fails(3, command), AllOf(HasSubstr(file), message));
    }
    EXPECT_EQ(Files(), before);
  }
};

TEST_F(BadGraph, TheGoodOneIsGood) {
  WriteFile(Path("good.textproto"), kGood);
  EXPECT_THAT(Ok("inspect " + Path("good.textproto")), HasSubstr("signature f"));
  WriteFile(Path("good.weft"), FileOf(Parsed(kGood)));
  EXPECT_THAT(Ok("inspect " + Path("good.weft")), HasSubstr("signature f"));
  WriteFile(Path("nested.weft"), FileOf(Parsed(Nested(5, false))));
  Ok("inspect " + Path("nested.weft"));
}

TEST_F(BadGraph, WellFormedAndWrong) {
  const std::string many(3000, 'n');
  const struct {
    const char* name;
    std::string text;
    ::testing::Matcher<std::string> message;
  } kCases[] = {
      {"unknown_op", With({{"\"exp\"", "\"expp\""}}),
       AllOf(HasSubstr("'expp'; did you mean 'exp'?"), HasSubstr("node 'y' (model.cc:5)"))},
      {"newer_op", With({{"\"exp\" op_version: 1", "\"exp\" op_version: 9"}}),
       AllOf(HasSubstr("use a newer Weft"), HasSubstr("node 'y' (model.cc:5)"))},
      {"newer_file", With({{"min_consumer: 1", "min_consumer: 9"}}), HasSubstr("use a newer Weft")},
      {"cycle", With({{"inputs: \"x\"", "inputs: \"s\""}}),
       AllOf(HasSubstr("'y' <- 's' <- 'y'"), HasSubstr("node 'y' (model.cc:5)"))},
      {"recursion", Nested(3, true), HasSubstr("'f0' -> 'f1' -> 'f2' -> 'f0'")},
      {"deep", Nested(100, false), HasSubstr("nested at most 64 deep")},
      {"dangling_input", With({{"inputs: \"y\"", "inputs: \"yy\""}}),
       AllOf(HasSubstr("'yy'; did you mean 'y'?"), HasSubstr("node 's' (model.cc:6)"))},
      {"dangling_result", With({{"inputs: \"y\"", "inputs: \"y:1\""}}),
       AllOf(HasSubstr("expected one of 1 results of 'y'"), HasSubstr("node 's'"))},
      {"dangling_output", With({{"value: \"s\"", "value: \"t\""}}),
       AllOf(HasSubstr("signature 'f'"), HasSubstr("got 't'"))},
      {"arity", With({{"inputs: \"y\"", "inputs: \"y\" inputs: \"x\""}}),
       AllOf(HasSubstr("expected 1 operand, got 2"), HasSubstr("node 's' (model.cc:6)"))},
      {"attribute_name", With({{"\"axes\"", "\"axis\""}}),
       AllOf(HasSubstr("did you mean 'axes'?"), HasSubstr("node 's' (model.cc:6)"))},
      {"attribute_kind", With({{"ints { values: 1 }", "s: \"1\""}}),
       AllOf(HasSubstr("expected whole numbers"), HasSubstr("node 's' (model.cc:6)"))},
      {"attribute_value", With({{"values: 1", "values: 2"}}),
       AllOf(HasSubstr("(C1)"), HasSubstr("'s' (model.cc:6)"))},
      {"dtype", With({{"dtype: F32", "dtype: I64"}}),
       AllOf(HasSubstr("exp: expected dtype f32"), HasSubstr("'y' (model.cc:5)"))},
      {"dtype_number", With({{"dtype: F32", "dtype: DTYPE_INVALID"}}),
       AllOf(HasSubstr("expected a dtype"), HasSubstr("node 'x' (model.cc:3)"))},
      {"overflow", With({{"size: 4", "size: 4611686018427387904"}}),
       AnyOf(HasSubstr("2^48"), HasSubstr("64 bits"))},
      {"constant_short", With({{"shape: 1 shape: 4", "shape: 2 shape: 4"}}),
       AllOf(HasSubstr("expected 32 bytes of elements"), HasSubstr("node 'c' (model.cc:4)"))},
      {"constant_huge",
       With({{"shape: 1 shape: 4", "shape: 4611686018427387904 shape: 4611686018427387904"}}),
       HasSubstr("node 'c' (model.cc:4)")},
      {"constant_negative", With({{"shape: 1 shape: 4", "shape: -1 shape: -4"}}),
       HasSubstr("node 'c' (model.cc:4)")},
      {"no_name", With({{"name: \"y\"", "name: \"\""}}), HasSubstr("model.cc:5")},
      {"two_names", With({{"name: \"y\"", "name: \"x\""}}),
       AllOf(HasSubstr("unique"), HasSubstr("node 'x' (model.cc:5)"))},
      {"control_characters", With({{"\"exp\"", "\"e\\n\\nx\\033[31mp\\t\""}}),
       HasSubstr("model.cc:5")},
      {"endless_name", With({{"\"exp\"", "\"" + many + "\""}}), HasSubstr("expected a known op")},
  };
  for (const auto& [name, text, message] : kCases) {
    SCOPED_TRACE(name);
    WriteFile(Path(std::string(name) + ".weft"), FileOf(Parsed(text)));
    ExpectRefused(std::string(name) + ".weft", message);
  }
}

TEST_F(BadGraph, Texts) {
  std::string open = "nodes ";
  for (int i = 0; i < 100'000; ++i) open += "{ attrs { value { tensor ";
  const std::pair<const char*, std::string> kCases[] = {
      {"empty.textproto", ""},
      {"word.textproto", "graph"},
      {"deep.textproto", open},
      {"open.textproto", With({{"signatures {", "signatures { {"}})},
      {"field.textproto", With({{"op_version", "op_versoin"}})},
      {"binary.textproto", FileOf(Parsed(kGood))},
  };
  for (const auto& [name, text] : kCases) {
    WriteFile(Path(name), text);
    ExpectRefused(name, HasSubstr("expected"));
  }
}

TEST_F(BadGraph, OtherBytes) {
  std::mt19937 random(5);
  std::string noise(5000, '\0');
  for (char& c : noise) c = static_cast<char>(random());
  const std::string good = FileOf(Parsed(kGood));
  const std::string weights = WriteSafetensors({{"w", HostTensor::Scalar<float>(1)}});
  const std::pair<const char*, std::string> kCases[] = {
      {"empty.weft", ""},
      {"noise.weft", noise},
      {"magic.weft", "WEFTFILE"},
      {"magic_and_noise.weft", "WEFTFILE" + noise},
      {"checkpoint.weft", weights},
      {"sections_of_noise.weft", WriteContainer({{"graph", noise, 6}})},
      {"no_graph.weft", WriteContainer({{"weights", weights, 6}})},
      {"noise_as_weights.weft",
       WriteContainer({{"graph", Parsed(kGood).SerializeAsString(), 6}, {"weights", noise, 6}})},
      {"longer.weft", good + "x"},
  };
  for (const auto& [name, bytes] : kCases) {
    WriteFile(Path(name), bytes);
    ExpectRefused(name, StartsWith("weft: "));
  }
  // A folder, a device, nothing, and what nobody may read.
  std::filesystem::create_directories(Path("folder.weft"));
  ExpectRefused("folder.weft", HasSubstr("a folder"));
  EXPECT_THAT(Fails(3, "inspect /dev/zero"), HasSubstr("a device"));
  EXPECT_THAT(Fails(3, "run " + Path("none.weft")), HasSubstr("none.weft"));
}

TEST_F(BadGraph, TruncatedAndFlipped) {
  const std::string good = FileOf(Parsed(kGood));
  for (size_t i = 0; i < 12; ++i) {
    WriteFile(Path("cut.weft"), good.substr(0, good.size() * i / 12));
    EXPECT_THAT(Fails(3, "inspect " + Path("cut.weft")), HasSubstr("cut.weft"));
    // Between two nodes, the rest is a graph as well.
    std::string text = std::string(kGood).substr(0, sizeof(kGood) * i / 12);
    while (std::count(text.begin(), text.end(), '{') == std::count(text.begin(), text.end(), '}') &&
           !text.empty()) {
      text.pop_back();
    }
    WriteFile(Path("cut.textproto"), text);
    EXPECT_THAT(Fails(3, "inspect " + Path("cut.textproto")), HasSubstr("cut.textproto"));
  }
  std::mt19937 random(6);
  for (int i = 0; i < 24; ++i) {
    // Past the header: padding between sections is checked as well, so every byte counts.
    std::string flipped = good;
    flipped[random() % good.size()] ^= static_cast<char>(1 << random() % 8);
    WriteFile(Path("flipped.weft"), flipped);
    const std::string command = i % 2 == 0 ? "inspect " : "compile -o " + Path("out.weftpkg") + " ";
    EXPECT_THAT(Fails(3, command + Path("flipped.weft")), HasSubstr("flipped.weft"));
  }
  EXPECT_THAT(Files(), ElementsAre("cut.textproto", "cut.weft", "flipped.weft"));
}

}  // namespace
}  // namespace weft
