#include "runtime/c_api.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <limits>
#include <new>
#include <string>

#include "runtime/testing/plan_builder.h"

namespace {
// When positive, so many allocations of this thread succeed, and all after them fail.
thread_local long allocations_left = 0;
}  // namespace

void* operator new(size_t size) {
  if (allocations_left > 0 && --allocations_left == 0) {
    allocations_left = 1;  // and the next
    throw std::bad_alloc();
  }
  void* memory = malloc(size);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
void* operator new(size_t size, const std::nothrow_t&) noexcept {
  try {
    return operator new(size);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}
void operator delete(void* memory) noexcept { free(memory); }
void operator delete(void* memory, size_t) noexcept { free(memory); }

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
  EXPECT_THAT(weft_error_message(), HasSubstr("expected an index of a signature below 6, got 6"));
  EXPECT_EQ(weft_session_signature_name(session_, -1), nullptr);
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
  // Time that is left of a deadline may be less than none.
  options.timeout_seconds = -0.5;
  EXPECT_EQ(weft_call_run(call, &options), WEFT_STATUS_DEADLINE_EXCEEDED);
  options.timeout_seconds = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(weft_call_run(call, &options), WEFT_STATUS_INVALID_ARGUMENT);
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

// A package of which something is placed on a device by name.
TEST(CApiDevices, AreGivenByName) {
  plan_testing::TestPackage package = plan_testing::MakeTestPackage();
  TargetPlans* target = package.manifest.mutable_targets(0);
  TargetPlans* placed = target->add_devices();
  placed->set_device("cuda:0");
  placed->set_node("there");
  placed->set_target(target->target());
  placed->set_code_section(target->code_section());
  const std::string bytes = package.Bytes();
  const std::string path = testing::TempDir() + "/devices.weftpkg";
  std::ofstream(path, std::ios::binary) << bytes;
  WeftSessionOptions options = {};
  options.struct_size = sizeof(options);
  // In place of the GPU, which has no code in it, if this machine has one.
  const WeftNamedDevice named[] = {{"cuda:0", "cpu"}, {"cuda:1", "cpu"}};
  options.named_devices = named;
  const auto refused = [&](const char* message) {
    EXPECT_EQ(weft_session_from_memory(bytes.data(), bytes.size(), &options), nullptr);
    EXPECT_THAT(weft_error_message(), HasSubstr(message));
    EXPECT_EQ(weft_session_load(path.c_str(), &options), nullptr);
    EXPECT_THAT(weft_error_message(), HasSubstr(message));
  };
  refused("node 'there' is placed on 'cuda:0'");
  options.num_named_devices = 1;
  for (const char* device : {static_cast<const char*>(nullptr), "cpu"}) {
    options.device = device;
    for (const bool file : {false, true}) {
      WeftSession* session = file ? weft_session_load(path.c_str(), &options)
                                  : weft_session_from_memory(bytes.data(), bytes.size(), &options);
      ASSERT_NE(session, nullptr) << weft_error_message();
      WeftCall* call = weft_session_prepare(session, "init", nullptr);
      ASSERT_NE(call, nullptr) << weft_error_message();
      EXPECT_EQ(weft_call_run(call, nullptr), WEFT_STATUS_OK) << weft_error_message();
      weft_call_free(call);
      weft_session_free(session);
    }
  }
  options.num_named_devices = 2;
  refused("are placed on (cuda:0), got 'cuda:1'");
  // A caller that was compiled before there were devices.
  options.struct_size = offsetof(WeftSessionOptions, device);
  refused("node 'there' is placed on 'cuda:0'");
  options.struct_size = sizeof(options);
  options.num_named_devices = 1;
  options.device = "gpu";
  refused("device 'gpu': expected cpu, or cuda:0");
  options.device = nullptr;
  const WeftNamedDevice twice[] = {{"cuda:0", "cpu"}, {"cuda:0", "cpu"}, {"cuda:0", nullptr}};
  options.named_devices = twice;
  options.num_named_devices = 2;
  refused("expected one device for 'cuda:0', got two");
  options.named_devices = twice + 2;
  options.num_named_devices = 1;
  refused("expected the name of a device, got NULL");
  options.named_devices = nullptr;
  refused("expected devices, got NULL");
}

TEST_F(CApi, RefusesNull) {
  const int64_t shape[] = {2, 4}, empty[] = {0, 4};
  const int64_t* shapes[] = {shape};
  const float values[4] = {};
  WeftCall* call = weft_session_prepare(session_, "predict", shapes);
  ASSERT_NE(call, nullptr);
  const auto refused = [](int status, const char* message) {
    EXPECT_EQ(status, WEFT_STATUS_INVALID_ARGUMENT);
    EXPECT_THAT(weft_error_message(), HasSubstr(message));
  };
  refused(weft_call_feed(call, 0, nullptr), "expected elements, got NULL");
  refused(weft_call_feed(nullptr, 0, values), "expected a call");
  refused(weft_call_run(nullptr, nullptr), "expected a call");
  refused(weft_call_output(call, 0, nullptr), "expected a place for the output");
  EXPECT_EQ(weft_call_peak_bytes(nullptr), -1);
  weft_call_free(call);
  refused(weft_session_set_variable(session_, "w", WEFT_DTYPE_F32, 1, shape + 1, nullptr),
          "expected elements, got NULL");
  refused(weft_session_set_variable(session_, "w", WEFT_DTYPE_F32, 1, nullptr, values),
          "expected a shape");
  refused(weft_session_set_variable(session_, nullptr, WEFT_DTYPE_F32, 1, shape + 1, values),
          "expected the name of a variable");
  ASSERT_EQ(RunWithoutInputs("init"), WEFT_STATUS_OK);
  refused(weft_session_get_variable(session_, "w", nullptr, 16), "expected a place");
  refused(weft_session_get_variable(nullptr, "w", nullptr, 16), "expected a session");
  refused(weft_session_save_checkpoint(session_, nullptr), "expected a path");
  refused(weft_session_restore_checkpoint(session_, nullptr), "expected a path");
  EXPECT_EQ(weft_session_prepare(session_, "predict", nullptr), nullptr);
  EXPECT_THAT(weft_error_message(), HasSubstr("expected a shape for each input"));
  EXPECT_EQ(weft_session_prepare(session_, nullptr, shapes), nullptr);
  EXPECT_EQ(weft_session_num_inputs(nullptr, "predict"), -1);
  EXPECT_EQ(weft_session_num_signatures(nullptr), -1);
  EXPECT_EQ(weft_session_signature_name(nullptr, 0), nullptr);
  EXPECT_EQ(weft_session_load(nullptr, nullptr), nullptr);
  EXPECT_EQ(weft_session_from_memory(nullptr, 5, nullptr), nullptr);
  // Without elements there is nothing to point to.
  shapes[0] = empty;
  call = weft_session_prepare(session_, "predict", shapes);
  ASSERT_NE(call, nullptr);
  EXPECT_EQ(weft_call_feed(call, 0, nullptr), WEFT_STATUS_OK);
  EXPECT_EQ(weft_call_run(call, nullptr), WEFT_STATUS_OK);
  weft_call_free(call);
}

// Whichever allocation fails, entry points return, with a status, and everything can be used after.
// Loading is left out: protobuf's parser does not survive it.
TEST_F(CApi, NoExceptionLeaves) {
  const std::string path = testing::TempDir() + "/no_memory.safetensors";
  const int64_t shape[] = {2, 4};
  const int64_t* shapes[] = {shape};
  alignas(64) const float values[9] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
  float w[4];
  WeftCall* call = nullptr;
  WeftTensor output;
  const auto prepare = [&] {
    if (call == nullptr) call = weft_session_prepare(session_, "predict", shapes);
    return call != nullptr;
  };
  const struct {
    const char* name;
    std::function<bool()> run;
  } cases[] = {
      {"prepare", prepare},
      {"feed", [&] { return weft_call_feed(call, 0, values + 1) == WEFT_STATUS_OK; }},
      {"run", [&] { return weft_call_run(call, nullptr) == WEFT_STATUS_OK; }},
      {"output", [&] { return weft_call_output(call, 0, &output) == WEFT_STATUS_OK; }},
      {"init", [&] { return RunWithoutInputs("init") == WEFT_STATUS_OK; }},
      {"get", [&] { return weft_session_get_variable(session_, "w", w, 16) == WEFT_STATUS_OK; }},
      {"set",
       [&] {
         return weft_session_set_variable(session_, "w", WEFT_DTYPE_F32, 1, shape + 1, values) ==
                WEFT_STATUS_OK;
       }},
      {"save",
       [&] { return weft_session_save_checkpoint(session_, path.c_str()) == WEFT_STATUS_OK; }},
      {"restore",
       [&] { return weft_session_restore_checkpoint(session_, path.c_str()) == WEFT_STATUS_OK; }},
      {"error", [&] { return weft_session_num_inputs(session_, "none") == -1; }},
  };
  for (const auto& test : cases) {
    SCOPED_TRACE(test.name);
    bool done = false;
    for (long n = 1; !done && n < 100000; ++n) {
      allocations_left = n;
      done = test.run();
      allocations_left = 0;
      if (!done) EXPECT_STREQ(weft_error_message(), "no memory");
    }
    EXPECT_TRUE(done);
  }
  EXPECT_EQ(w[0], 1.0f);
  EXPECT_EQ(static_cast<const float*>(output.data)[7], 18.0f);
  weft_call_free(call);
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
