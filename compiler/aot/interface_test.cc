#include "compiler/aot/interface.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "compiler/aot/artifact_fixture.h"
#include "proto/plan.pb.h"

namespace weft {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

void AddValue(google::protobuf::RepeatedPtrField<PackageValue>* values, const std::string& name,
              DataType dtype, const std::vector<std::string>& shape) {
  PackageValue* value = values->Add();
  value->set_name(name);
  value->set_dtype(static_cast<int32_t>(dtype));
  for (const std::string& dim : shape) value->add_shape(dim);
}

PackageManifest Manifest(const std::string& name, const std::string& signature) {
  PackageManifest manifest;
  manifest.set_name(name);
  manifest.add_signatures()->set_name(signature);
  return manifest;
}

std::string Problem(const PackageManifest& manifest) {
  auto interface = MakeInterface(manifest);
  EXPECT_EQ(interface.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(interface.status().message());
}

TEST(Interface, NamesAreThoseOfC) {
  PackageManifest manifest = Manifest("digits", "predict");
  PackageSignature* signature = manifest.mutable_signatures(0);
  AddValue(signature->mutable_inputs(), "encoder/tokens:0", DataType::kI64, {"batch", "2*length"});
  AddValue(signature->mutable_inputs(), "int", DataType::kF16, {"batch", "width"});
  AddValue(signature->mutable_inputs(), "batch", DataType::kBool, {});
  AddValue(signature->mutable_outputs(), "int", DataType::kF32, {"batch", "10"});
  AddValue(signature->mutable_outputs(), "2nd", DataType::kF64, {"10"});
  auto interface = MakeInterface(manifest);
  ASSERT_TRUE(interface.ok()) << interface.status();
  const Interface::Signature& predict = interface->signatures[0];
  EXPECT_THAT(predict.symbols, ElementsAre("batch", "length", "width"));
  EXPECT_EQ(predict.inputs[0].parameter, "encoder_tokens_0");
  EXPECT_EQ(predict.inputs[1].parameter, "int_");
  EXPECT_EQ(predict.inputs[2].parameter, "batch_2");
  EXPECT_EQ(predict.outputs[0].parameter, "int__2");
  EXPECT_EQ(predict.outputs[1].parameter, "_2nd");
  EXPECT_EQ(predict.outputs[1].bytes_function, "");
  const std::string header = WriteHeader(*interface);
  EXPECT_THAT(header,
              HasSubstr("int digits_predict(digits_model* model, int64_t batch, int64_t length, "
                        "int64_t width, const int64_t* encoder_tokens_0, const uint16_t* int_, "
                        "const uint8_t* batch_2, float* int__2, double* _2nd);"));
  EXPECT_THAT(header, HasSubstr("encoder_tokens_0: i64[batch, 2*length] (encoder/tokens:0)"));
  EXPECT_THAT(header, HasSubstr("int64_t digits_predict_int__2_bytes(digits_model* model, "
                                "int64_t batch, int64_t length, int64_t width);"));
}

// The keywords, as the standards list them (C11 6.4.1, C23 6.4.1, C++20 and C++26 [lex.key]), and
// GNU's.
constexpr char kKeywords[] =
    "auto break case char const continue default do double else enum extern float for goto if "
    "inline int long register restrict return short signed sizeof static struct switch typedef "
    "union unsigned void volatile while _Alignas _Alignof _Atomic _Bool _Complex _Generic "
    "_Imaginary _Noreturn _Static_assert _Thread_local "
    "alignas alignof bool constexpr false nullptr static_assert thread_local true typeof "
    "typeof_unqual _BitInt _Decimal128 _Decimal32 _Decimal64 "
    "asm catch char8_t char16_t char32_t class concept consteval constinit const_cast co_await "
    "co_return co_yield decltype delete dynamic_cast explicit export friend mutable namespace new "
    "noexcept operator private protected public reinterpret_cast requires static_cast template "
    "this throw try typeid typename using virtual wchar_t contract_assert "
    "and and_eq bitand bitor compl not not_eq or or_eq xor xor_eq "
    "__asm__ __attribute__ __const __inline __restrict __typeof__ __volatile__ __func__";
// What the header says itself, or other headers before it.
constexpr char kOthers[] =
    "model int8_t int16_t int32_t int64_t uint8_t uint16_t uint32_t uint64_t size_t ptrdiff_t "
    "errno NULL EOF stdin stdout stderr words words_model words_run WORDS_OK";
const char* const kCompilers[] = {"clang-22 -std=c99 -x c",        "clang-22 -std=gnu99 -x c",
                                  "clang-22 -std=gnu11 -x c",      "clang-22 -std=c23 -x c",
                                  "clang-22 -std=gnu23 -x c",      "clang++-22 -std=c++11 -x c++",
                                  "clang++-22 -std=c++17 -x c++",  "clang++-22 -std=gnu++20 -x c++",
                                  "clang++-22 -std=gnu++26 -x c++"};

std::set<std::string> WordsOf(const std::string& text) {
  std::istringstream words(text);
  return {std::istream_iterator<std::string>(words), {}};
}

using InterfaceHeader = ArtifactFixture;

// Names of inputs, outputs and dimensions are whatever they are in the graph.
TEST_F(InterfaceHeader, CompilesWhateverTheWords) {
  std::set<std::string> words = WordsOf(kKeywords);
  words.merge(WordsOf(kOthers));
  for (const char* compiler : kCompilers) {
    const Outcome macros = Shell(absl::StrCat(
        compiler,
        " -include stdint.h -dM -E /dev/null | sed 's/#define \\([A-Za-z0-9_]*\\).*/\\1/'"));
    ASSERT_EQ(macros.code, 0) << macros.text;
    words.merge(WordsOf(macros.text));
  }
  ASSERT_TRUE(words.count("linux") && words.count("INT64_MAX") && words.count("__linux__"));
  // As inputs, as outputs (of which some have a function), and as dimensions where they can be.
  PackageManifest manifest = Manifest("words", "inputs");
  manifest.add_signatures()->set_name("outputs");
  manifest.add_signatures()->set_name("dims");
  for (const std::string& word : words) {
    AddValue(manifest.mutable_signatures(0)->mutable_inputs(), word, DataType::kF16, {"n"});
    AddValue(manifest.mutable_signatures(1)->mutable_outputs(), word, DataType::kI64, {"n"});
    AddValue(manifest.mutable_signatures(2)->mutable_inputs(), absl::StrCat("of/", word),
             DataType::kU8, {word});
  }
  const auto interface = MakeInterface(manifest);
  ASSERT_TRUE(interface.ok()) << interface.status();
  for (const Interface::Signature& signature : interface->signatures) {
    EXPECT_EQ(signature.inputs.size() + signature.outputs.size(), words.size());
  }
  std::ofstream(File("words.h")) << WriteHeader(*interface);
  std::ofstream(File("program.c")) << "#include <errno.h>\n#include <stdio.h>\n"
                                      "#include \"words.h\"\n"
                                      "int main(void) { return WORDS_OK; }\n";
  for (const char* compiler : kCompilers) {
    const Outcome compiled = Shell(absl::StrCat(
        compiler, " -Wall -Wextra -Werror -fsyntax-only -I ", folder(), " ", File("program.c")));
    EXPECT_EQ(compiled.code, 0) << compiler << "\n" << compiled.text.substr(0, 2000);
  }
}

TEST(Interface, NamesThatEndCommentsDoNot) {
  PackageManifest manifest = Manifest("m", "predict");
  AddValue(manifest.mutable_signatures(0)->mutable_inputs(), "a*/b/*\n#error", DataType::kF32, {});
  PackageVariable* variable = manifest.add_variables();
  variable->set_name("*/ int x;");
  variable->set_dtype(static_cast<int32_t>(DataType::kF32));
  auto interface = MakeInterface(manifest);
  ASSERT_TRUE(interface.ok()) << interface.status();
  const std::string header = WriteHeader(*interface);
  EXPECT_EQ(header.find("a*/"), std::string::npos);
  EXPECT_EQ(header.find("*/ int x"), std::string::npos);
  EXPECT_EQ(header.find("\n#error"), std::string::npos);
}

TEST(Interface, NamesThatDoNotSuitAreErrors) {
  EXPECT_THAT(Problem(Manifest("", "predict")), HasSubstr("model's name ''"));
  EXPECT_THAT(Problem(Manifest("2nd", "predict")), HasSubstr("name the graph so"));
  EXPECT_THAT(Problem(Manifest("double", "predict")), HasSubstr("no word of the language"));
  EXPECT_THAT(Problem(Manifest("m", "to predict")), HasSubstr("signature 'to predict'"));
  EXPECT_THAT(Problem(Manifest("m", "create")),
              HasSubstr("a C function m_create, which every model has too"));
  EXPECT_THAT(Problem(Manifest("M", "OK")), HasSubstr("a C function M_OK, which every model has"));
  EXPECT_THAT(Problem(Manifest("co_await", "predict")), HasSubstr("no word of the language"));
  EXPECT_TRUE(MakeInterface(Manifest("linux", "predict")).ok());
  PackageManifest two = Manifest("m", "predict");
  two.add_signatures()->set_name("predict_peak_bytes");
  EXPECT_THAT(Problem(two), HasSubstr("which signature 'predict' has too"));
}

}  // namespace
}  // namespace weft
