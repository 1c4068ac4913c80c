// Packages that were written by hand on the emulator, as a device of sessions.
#include "runtime/ptx_emulator/emulator_device.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "proto/container.h"
#include "proto/file.h"
#include "runtime/core/program_for_test.h"
#include "runtime/session.h"
#include "runtime/testing/plan_builder.h"
#include "runtime/testing/test_kernels.h"

namespace weft {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

HostTensor Floats(const std::vector<float>& values) {
  return HostTensor::Of<float>({static_cast<int64_t>(values.size())}, values);
}

absl::StatusOr<std::unique_ptr<Session>> Open(const plan_testing::TestPackage& package,
                                              const ptx::EmulatorOptions& options = {.sm = 80}) {
  SessionOptions session;
  session.threads = 1;
  session.device = *MakeEmulatorDevice(options);
  return Session::FromPackage(package.Bytes(), session);
}

TEST(EmulatorDevice, RunsPlans) {
  plan_testing::TestPackage package = plan_testing::MakeTestPackage();
  plan_testing::AddGpuTarget(&package);
  const auto session = Open(package);
  ASSERT_TRUE(session.ok()) << session.status();
  const auto predict =
      (*session)->Run("predict", {{"x", HostTensor::Of<float>({2, 4}, {1, 2, 3, 4, 5, 6, 7, 8})}});
  ASSERT_TRUE(predict.ok()) << predict.status();
  EXPECT_THAT(predict->at("y").values<float>(), ElementsAre(2.5, 4.5, 6.5, 8.5, 10, 12, 14, 16));
  ASSERT_TRUE((*session)->Run("init", {}).ok());
  const auto step = (*session)->Run("step", {{"d", Floats({1, 2, 3, 4})}});
  ASSERT_TRUE(step.ok()) << step.status();
  EXPECT_EQ(step->at("total").values<float>()[0], 14);
  EXPECT_THAT((*session)->Run("read", {})->at("w").values<float>(), ElementsAre(2, 3, 4, 5));
  const auto count = (*session)->Run("count", {{"limit", HostTensor::Scalar<int64_t>(7)}});
  ASSERT_TRUE(count.ok()) << count.status();
  EXPECT_EQ(count->at("n").values<int64_t>()[0], 7);
}

// The launch of "scale" states so many bytes of scratch, and its kernel uses what lies between
// 99744 and 100000 bytes of the memory that it gets.
plan_testing::TestPackage PackageWithScratch(int64_t bytes) {
  plan_testing::TestPackage package = plan_testing::MakeTestPackage();
  plan_testing::AddGpuTarget(&package);
  Plan& plan = *package.manifest.mutable_targets(1)->mutable_plans(0);
  Formula* size = plan.add_formulas();
  size->set_op(Formula::CONSTANT);
  size->set_value(bytes);
  for (Step& step : *plan.mutable_blocks(0)->mutable_steps()) {
    if (step.label() != "scale") continue;
    step.mutable_launch()->set_scratch(static_cast<uint32_t>(plan.formulas_size() - 1));
  }
  std::string& code = package.code.back().second;
  const std::string header = ".address_size 64\n", sum = "add.rn.f32 %f, %f, %f;\n";
  code.insert(code.find(header) + header.size(), ".extern .shared .align 16 .b8 scratch[];\n");
  code.insert(code.find(sum) + sum.size(),
              "mov.u32 %b, scratch; mad.lo.u32 %b, %t, 4, %b;\n"
              "st.shared.f32 [%b+99744], %f; ld.shared.f32 %f, [%b+99744];\n");
  return package;
}

TEST(EmulatorDevice, ScratchIsSharedMemoryOfABlock) {
  const std::map<std::string, HostTensor> feeds = {
      {"x", HostTensor::Of<float>({2, 4}, {1, 2, 3, 4, 5, 6, 7, 8})}};
  const auto run = [&](int64_t bytes, int sm) -> absl::StatusOr<HostTensor> {
    const auto session = Open(PackageWithScratch(bytes), {.sm = sm});
    if (!session.ok()) return session.status();
    const auto results = (*session)->Run("predict", feeds);
    if (!results.ok()) return results.status();
    return results->at("y");
  };
  const auto result = run(100000, 80);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_THAT(result->values<float>(), ElementsAre(2.5, 4.5, 6.5, 8.5, 10, 12, 14, 16));
  EXPECT_THAT(std::string(run(99712, 80).status().message()),
              AllOf(HasSubstr("writes 4 bytes"), HasSubstr("past the end of scratch (99712 bytes"),
                    HasSubstr("node_scale")));
  // What the device does not have is refused before anything runs.
  for (const auto& [bytes, sm, most] : {std::tuple{200000, 80, "166912"}, {101440, 86, "101376"}}) {
    const absl::Status status = run(bytes, sm).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
    EXPECT_THAT(std::string(status.message()),
                AllOf(HasSubstr("'predict' needs " + std::to_string(bytes) + " bytes of scratch"),
                      HasSubstr(std::string("on this device (emulator) is ") + most),
                      HasSubstr("it is for scale at node_scale")));
  }
}

// Shared memory that the code declares is of the same.
TEST(EmulatorDevice, ScratchBesidesWhatTheCodeDeclares) {
  plan_testing::TestPackage package = PackageWithScratch(101376);
  std::string& code = package.code.back().second;
  const std::string use = "mov.u32 %b, scratch;";
  code.insert(code.find(use), ".shared .align 16 .b8 more[1024]; mov.u32 %b, more;\n");
  const auto session = Open(package, {.sm = 86});
  ASSERT_TRUE(session.ok()) << session.status();
  const absl::Status status =
      (*session)->Run("predict", {{"x", HostTensor::Of<float>({1, 4}, {1, 2, 3, 4})}}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal) << status;
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("at most 100352 bytes of scratch"), HasSubstr("got 101376"),
                    HasSubstr("node_scale")));
}

// Cancelled while a launch goes on: before its commit that ends the run, afterwards nothing does.
TEST(EmulatorDevice, NothingStopsARunThatHasCommitted) {
  constexpr int64_t kCount = 4096;
  const std::shared_ptr<Device> device = *MakeEmulatorDevice({.sm = 80});
  const std::string file = WriteContainer({{"code", plan_testing::TestPtx(), 12}});
  const auto code =
      *device->Load(*Container::Open(Bytes::Of(file, "p.weftpkg")), {.section = "code"});
  const WeftKernel sum = *code->Find({"sum", 0, TEST_TILE});

  plan_testing::PlanBuilder b("step");
  const plan_testing::Dim size = b.Static(kCount);
  const uint32_t x = b.Input("x", DataType::kF32, {size});
  const uint32_t w = b.Variable("w", DataType::kF32, {1}, false, true);
  const uint32_t y = b.Output("y", DataType::kF32, {});
  const uint32_t kernel = b.Kernel("sum", 0), one = b.Constant(1);
  b.Launch(0, kernel, {x, y}, {size.formula}, one);
  b.Commit();
  b.Launch(0, kernel, {x, w}, {size.formula}, one);
  Program program(b.Build(), {sum});
  ASSERT_EQ(program.Create(), WEFT_OK);

  const DeviceMemory ones = *device->Allocate(kCount * sizeof(float));
  const DeviceMemory output = *device->Allocate(sizeof(float));
  const DeviceMemory variable = *device->Allocate(sizeof(float));
  const std::vector<float> values(kCount, 1);
  ASSERT_TRUE(device->CopyIn(ones.data(), values.data(), kCount * sizeof(float)).ok());

  // Cancels in one of its launches.
  struct Canceller {
    const WeftDeviceFunctions* functions;
    void* queue;
    int launches_before = 0;
    uint8_t cancel = 0;
  };
  static const WeftDeviceFunctions functions = {
      [](void* queue, const WeftLaunch* launch) {
        auto* self = static_cast<Canceller*>(queue);
        if (self->launches_before-- == 0) self->cancel = 1;
        return self->functions->launch(self->queue, launch);
      },
      nullptr,
      [](void* queue, void* host, const void* source, int64_t bytes) {
        auto* self = static_cast<Canceller*>(queue);
        return self->functions->read(self->queue, host, source, bytes);
      },
      [](void* queue) {
        auto* self = static_cast<Canceller*>(queue);
        self->functions->commit(self->queue);
      }};
  const auto queue = *device->NewQueue(0);
  for (const int launches_before : {0, 1}) {
    Canceller canceller;
    canceller.launches_before = launches_before;
    program.args.cancel = &canceller.cancel;
    queue->Bind(&program.args);
    canceller.functions = program.args.device;
    canceller.queue = program.args.queue;
    program.args.device = &functions;
    program.args.queue = &canceller;
    const int result = program.Run({ones.data()}, {output.data()}, {variable.data()});
    EXPECT_EQ(result, launches_before == 0 ? WEFT_ERROR_CANCELLED : WEFT_OK);
    EXPECT_TRUE(queue->Finish().ok());
    float written = 0;
    ASSERT_TRUE(device->CopyOut(&written, variable.data(), sizeof(written)).ok());
    EXPECT_EQ(written, launches_before == 0 ? 0 : kCount);
  }
}

// MakeBoxPackage, with another number for size `which` of the tensor that its map is of.
plan_testing::TestPackage PackageWithTensorMap(int which, int64_t number) {
  plan_testing::TestPackage package = plan_testing::MakeBoxPackage();
  Plan& plan = *package.manifest.mutable_targets(0)->mutable_plans(0);
  Formula* formula = plan.add_formulas();
  formula->set_op(Formula::CONSTANT);
  formula->set_value(number);
  plan.mutable_blocks(0)->mutable_steps(0)->mutable_launch()->set_sizes(
      which, static_cast<uint32_t>(plan.formulas_size() - 1));
  return package;
}

HostTensor RowsOf16(int64_t rows) {
  HostTensor x = *HostTensor::Create(DataType::kF32, {rows, 16});
  float next = 0;
  for (float& value : x.mutable_values<float>()) value = next++;
  return x;
}

TEST(EmulatorDevice, TensorMapsAreParameters) {
  const auto session = Open(plan_testing::MakeBoxPackage(), {.sm = 90});
  ASSERT_TRUE(session.ok()) << session.status();
  for (const int64_t rows : {3, 1, 0, 5}) {
    const HostTensor x = RowsOf16(rows);
    const auto y = (*session)->Run("copy", {{"x", x}});
    ASSERT_TRUE(y.ok()) << y.status();
    EXPECT_EQ(y->at("y").ToString(1000), x.ToString(1000));
  }
}

// What a package states is compared with the buffer before anything runs.
TEST(EmulatorDevice, TensorMapsOfOtherMemoryAreRefused) {
  constexpr int kRows = 1, kStride = 2;
  const auto run = [](int which, int64_t number) -> absl::Status {
    const auto session = Open(PackageWithTensorMap(which, number), {.sm = 90});
    if (!session.ok()) return session.status();
    return (*session)->Run("copy", {{"x", RowsOf16(3)}}).status();
  };
  const auto refused = [&](int which, int64_t number, const char* message) {
    const absl::Status status = run(which, number);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_THAT(std::string(status.message()),
                AllOf(HasSubstr("signature 'copy': boxes at node_boxes"),
                      HasSubstr(std::string("expected a tensor map with ") + message)));
  };
  refused(kRows, 4, "a tensor within its buffer");
  refused(kRows, -1, "sizes from 0 to 2147483647");
  refused(kRows, int64_t{1} << 40, "sizes from 0 to 2147483647");
  refused(kStride, 68, "strides that are multiples of 16 bytes");
  refused(kStride, 1 << 20, "a tensor within its buffer");
  // A map of less memory gives zeros for the rest, and one of none is not for use.
  EXPECT_TRUE(run(kRows, 2).ok()) << run(kRows, 2);
  EXPECT_THAT(std::string(run(kRows, 0).message()),
              HasSubstr("tensor map: expected one, got other bytes"));
}

// The kernel has as many as the plan states.
TEST(EmulatorDevice, TensorMapsThatTheKernelDoesNotTake) {
  plan_testing::TestPackage package = plan_testing::MakeBoxPackage();
  Kernel& kernel = *package.manifest.mutable_targets(0)->mutable_plans(0)->mutable_kernels(0);
  const TensorMapParameter map = kernel.maps(0);
  kernel.clear_maps();
  EXPECT_THAT(std::string(Open(package, {.sm = 90}).status().message()),
              HasSubstr("kernel 'boxes': expected a parameter of 8 bytes, got one of 128"));
  *kernel.add_maps() = map;
  std::string& code = package.code[0].second;
  const std::string parameter = ".align 64 .b8 map[128]";
  code.replace(code.find(parameter), parameter.size(), ".u64 map");
  EXPECT_THAT(std::string(Open(package, {.sm = 90}).status().message()),
              HasSubstr("kernel 'boxes': expected a parameter of 128 bytes, got one of 8"));
}

// A kernel without an end is found, also without a deadline.
TEST(EmulatorDevice, StepsAreBounded) {
  plan_testing::TestPackage package = plan_testing::MakeTestPackage();
  plan_testing::AddGpuTarget(&package);
  std::string& code = package.code.back().second;
  const std::string end = "bra Next;\n";
  ASSERT_NE(code.find(end), std::string::npos);
  code.replace(code.find(end), end.size(), "Ever: bra Ever;\n");
  const auto session = Open(package, {.sm = 80, .step_limit = 1000});
  ASSERT_TRUE(session.ok()) << session.status();
  const absl::Status status = (*session)
                                  ->Run("join", {{"x", HostTensor::Of<float>({1, 4}, {1, 2, 3, 4})},
                                                 {"z", HostTensor::Of<float>({1, 2}, {1, 2})}})
                                  .status();
  EXPECT_THAT(std::string(status.message()), HasSubstr("1000 instructions without an end"));
}

}  // namespace
}  // namespace weft
