#include "runtime/c_api.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "runtime/testing/plan_builder.h"

namespace weft {
namespace {

using ::testing::HasSubstr;

class CApi : public testing::Test {
 protected:
  CApi() {
    const std::string bytes = plan_testing::MakeTestPackage().Bytes();
    session_ = weft_session_from_memory(bytes.data(), bytes.size(), nullptr);
    EXPECT_NE(session_, nullptr) << weft_error_message();
  }
  ~CApi() override { weft_session_free(session_); }
  int RunWithoutInputs(const char* signature) {
    WeftCall* call = weft_session_prepare(session_, signature, nullptr);
    if (call == nullptr) return -1;
    const int status = weft_call_run(call, nullptr);
    weft_call_free(call);
    return status;
  }
  WeftSession* session_;
};

TEST_F(CApi, DescribesSignatures) {
  EXPECT_EQ(weft_c_api_version(), WEFT_C_API_VERSION);
  EXPECT_EQ(weft_session_num_signatures(session_), 6);
  EXPECT_STREQ(weft_session_signature_name(session_, 0), "predict");
  EXPECT_EQ(weft_session_signature_name(session_, 6), nullptr);
  EXPECT_EQ(weft_session_num_inputs(session_, "predict"), 1);
  EXPECT_EQ(weft_session_num_outputs(session_, "init"), 0);
  EXPECT_EQ(weft_session_num_inputs(session_, "none"), -1);
  EXPECT_THAT(weft_error_message(), HasSubstr("no signature 'none'"));
  const WeftValueInfo* x = weft_session_input(session_, "predict", 0);
  ASSERT_NE(x, nullptr);
  EXPECT_STREQ(x->name, "x");
  EXPECT_EQ(x->dtype, WEFT_DTYPE_F32);
  ASSERT_EQ(x->rank, 2);
  EXPECT_STREQ(x->dims[0], "batch");
  EXPECT_STREQ(x->dims[1], "4");
  EXPECT_EQ(weft_session_input(session_, "predict", 1), nullptr);
  EXPECT_STREQ(weft_session_output(session_, "predict", 0)->name, "y");
}

TEST_F(CApi, RunsCalls) {
  const int64_t shape[] = {2, 4};
  const int64_t* shapes[] = {shape};
  WeftCall* call = weft_session_prepare(session_, "predict", shapes);
  ASSERT_NE(call, nullptr) << weft_error_message();
  EXPECT_EQ(weft_call_run(call, nullptr), WEFT_STATUS_FAILED_PRECONDITION);
  EXPECT_THAT(weft_error_message(), HasSubstr("not fed"));
  const float x[8] = {1, 2, 3, 4, 5, 6, 7, 8};
  EXPECT_EQ(weft_call_feed(call, 1, x), WEFT_STATUS_INVALID_ARGUMENT);
  ASSERT_EQ(weft_call_feed(call, 0, x), WEFT_STATUS_OK);
  uint8_t cancel = 1;
  WeftRunOptions options = {sizeof(options), 1000, &cancel};
  EXPECT_EQ(weft_call_run(call, &options), WEFT_STATUS_CANCELLED);
  // A caller that was compiled before `cancel` was added.
  options.struct_size = offsetof(WeftRunOptions, cancel);
  ASSERT_EQ(weft_call_run(call, &options), WEFT_STATUS_OK);
  WeftTensor y;
  ASSERT_EQ(weft_call_output(call, 0, &y), WEFT_STATUS_OK);
  EXPECT_EQ(weft_call_output(call, 1, &y), WEFT_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(y.dtype, WEFT_DTYPE_F32);
  EXPECT_EQ(y.rank, 2);
  EXPECT_EQ(y.shape[0], 2);
  EXPECT_EQ(y.bytes, 32u);
  EXPECT_EQ(static_cast<const float*>(y.data)[0], 2.5f);
  EXPECT_EQ(static_cast<const float*>(y.data)[7], 16.0f);
  EXPECT_GT(weft_call_peak_bytes(call), 0);
  weft_call_free(call);
}

TEST_F(CApi, Variables) {
  float w[4] = {};
  EXPECT_EQ(weft_session_get_variable(session_, "w", w, sizeof(w)),
            WEFT_STATUS_FAILED_PRECONDITION);
  ASSERT_EQ(RunWithoutInputs("init"), WEFT_STATUS_OK);
  ASSERT_EQ(weft_session_get_variable(session_, "w", w, sizeof(w)), WEFT_STATUS_OK);
  EXPECT_EQ(w[3], 1.0f);
  EXPECT_EQ(weft_session_get_variable(session_, "w", w, 3), WEFT_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(weft_session_get_variable(session_, "v", w, 16), WEFT_STATUS_NOT_FOUND);
  const std::string path = testing::TempDir() + "/c_api.safetensors";
  ASSERT_EQ(weft_session_save_checkpoint(session_, path.c_str()), WEFT_STATUS_OK);
  const int64_t shape[] = {4}, wrong[] = {5};
  const float values[5] = {9, 9, 9, 9, 9};
  EXPECT_EQ(weft_session_set_variable(session_, "w", WEFT_DTYPE_F32, 1, wrong, values),
            WEFT_STATUS_INVALID_ARGUMENT);
  EXPECT_EQ(weft_session_set_variable(session_, "w", 99, 1, shape, values),
            WEFT_STATUS_INVALID_ARGUMENT);
  ASSERT_EQ(weft_session_set_variable(session_, "w", WEFT_DTYPE_F32, 1, shape, values),
            WEFT_STATUS_OK);
  ASSERT_EQ(weft_session_get_variable(session_, "w", w, sizeof(w)), WEFT_STATUS_OK);
  EXPECT_EQ(w[0], 9.0f);
  ASSERT_EQ(weft_session_restore_checkpoint(session_, path.c_str()), WEFT_STATUS_OK);
  ASSERT_EQ(weft_session_get_variable(session_, "w", w, sizeof(w)), WEFT_STATUS_OK);
  EXPECT_EQ(w[0], 1.0f);
  EXPECT_EQ(weft_session_restore_checkpoint(session_, "/nowhere"), WEFT_STATUS_NOT_FOUND);
}

TEST(CApiErrors, Loading) {
  EXPECT_EQ(weft_session_load("/nowhere", nullptr), nullptr);
  EXPECT_THAT(weft_error_message(), HasSubstr("/nowhere"));
  EXPECT_EQ(weft_session_from_memory("x", 1, nullptr), nullptr);
  EXPECT_THAT(weft_error_message(), HasSubstr("not a Weft file"));
  weft_session_free(nullptr);
}

}  // namespace
}  // namespace weft
