#include "compiler/aot/interface.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

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
  PackageManifest two = Manifest("m", "predict");
  two.add_signatures()->set_name("predict_peak_bytes");
  EXPECT_THAT(Problem(two), HasSubstr("which signature 'predict' has too"));
}

}  // namespace
}  // namespace weft
