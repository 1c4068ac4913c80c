// Compiled graphs on the device of NVIDIA's driver, with a driver made for tests behind it
// (runtime/cuda/testing): they give what the emulator gives, bit for bit, in the first run, in the
// one that is captured as a graph, and when that is replayed; and whatever the device took, it
// gives back.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "compiler/api.h"
#include "graph/graph.h"
#include "runtime/cuda/testing/test_driver.h"
#include "runtime/devices.h"
#include "runtime/session.h"
#include "tests/contracts/small_network.h"
#include "tests/ops/op_cases.h"

namespace weft {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

std::string PackageOf(const Graph& graph, const std::string& ptxas = "") {
  CompileOptions options;
  options.targets = {"cuda:sm_80"};
  options.ptxas = ptxas;
  return CompilePackage(graph, options).value();
}

std::unique_ptr<Session> Open(const std::string& package, std::shared_ptr<Device> device) {
  return Session::FromPackage(package, {.threads = 1, .device = std::move(device)}).value();
}

void ExpectSameBits(const NamedTensors& a, const NamedTensors& b, const std::string& what) {
  ASSERT_EQ(a.size(), b.size()) << what;
  for (const auto& [name, value] : b) {
    const HostTensor& other = a.at(name);
    ASSERT_EQ(other.shape(), value.shape()) << what << " " << name;
    EXPECT_TRUE(value.size_bytes() == 0 ||
                memcmp(other.data(), value.data(), value.size_bytes()) == 0)
        << what << " " << name << ": " << other.ToString(20) << "\n"
        << value.ToString(20);
  }
}

class CudaTest : public testing::Test {
 protected:
  CudaTest() {
    cuda::ConfigureFakeDriver();
    device_ = cuda::FakeCudaDevice().value();
  }
  ~CudaTest() override {
    device_ = nullptr;
    EXPECT_EQ(cuda::LeftInFakeDriver(), "");
    EXPECT_EQ(cuda::FakeDriverComplains(), "");
  }

  // A session on the driver, and one on the emulator, of the same package.
  struct Both {
    std::unique_ptr<Session> driver, emulator;
  };
  Both OpenBoth(const std::string& package) {
    return {Open(package, device_), Open(package, MakeDevice("emulator:sm_80", 1).value())};
  }

  std::shared_ptr<Device> device_;
};

// The driver makes the tensor maps of each launch, of the addresses that its operands have.
TEST(CudaTestOfSm90, ProductsByTensorMaps) {
  cuda::ConfigureFakeDriver({.sm = 90});
  Graph graph("product");
  Tensor x = graph.Input("x", DataType::kBF16, {"rows", 64}),
         w = graph.Input("w", DataType::kBF16, {64, 576});
  Tensor y = Relu(MatMul(x, w));
  graph.AddSignature("f", {{"y", y}, {"z", MatMul(y, Transpose(w, {1, 0}))}});
  CompileOptions options;
  options.targets = {"cuda:sm_90a"};
  const std::string package = CompilePackage(graph, options).value();
  {
    const auto driver = Open(package, cuda::FakeCudaDevice().value());
    const auto emulator = Open(package, MakeDevice("emulator:sm_90", 1).value());
    for (const int64_t rows : {70, 3, 70, 70, 70}) {
      HostTensor a = *HostTensor::Create(DataType::kBF16, {rows, 64});
      HostTensor b = *HostTensor::Create(DataType::kBF16, {64, 576});
      int i = 0;
      for (HostTensor* tensor : {&a, &b}) {
        for (BF16& value : tensor->mutable_values<BF16>()) {
          value = BF16(static_cast<float>(i++ * 5 % 17 - 8) / 16);
        }
      }
      const auto got = driver->Run("f", {{"x", a}, {"w", b}});
      const auto want = emulator->Run("f", {{"x", a}, {"w", b}});
      ASSERT_TRUE(got.ok()) << got.status();
      ASSERT_TRUE(want.ok()) << want.status();
      ExpectSameBits(*got, *want, "f");
    }
    EXPECT_GT(cuda::CountInFakeDriver().graph_launches, 0);
  }
  EXPECT_EQ(cuda::LeftInFakeDriver(), "");
  EXPECT_EQ(cuda::FakeDriverComplains(), "");
}

// And those of convolutions, whose windows have strides, pixels between theirs, and padding that no
// kernel writes: all are other ones for lines and for columns.
TEST(CudaTestOfSm90, ConvolutionsByTensorMaps) {
  cuda::ConfigureFakeDriver({.sm = 90});
  Graph graph("convolution");
  Tensor x = graph.Input("x", DataType::kBF16, {"images", 24, 20, 64}),
         w = graph.Input("w", DataType::kBF16, {3, 4, 64, 640});
  graph.AddSignature("f", {{"y", Conv2D(x, w, {2, 1}, {2, 0, 1, 5}, {1, 3})}});
  ASSERT_TRUE(graph.status().ok()) << graph.status();
  CompileOptions options;
  options.targets = {"cuda:sm_90a"};
  const std::string package = CompilePackage(graph, options).value();
  CompileOptions whole = options;
  whole.disabled_passes = {"absorb_padding"};
  {
    const auto driver = Open(package, cuda::FakeCudaDevice().value());
    const auto emulator = Open(package, MakeDevice("emulator:sm_90", 1).value());
    const auto padded =
        Open(CompilePackage(graph, whole).value(), MakeDevice("emulator:sm_90", 1).value());
    for (const int64_t images : {1, 0}) {
      HostTensor a = *HostTensor::Create(DataType::kBF16, {images, 24, 20, 64});
      HostTensor b = *HostTensor::Create(DataType::kBF16, {3, 4, 64, 640});
      int i = 0;
      for (HostTensor* tensor : {&a, &b}) {
        for (BF16& value : tensor->mutable_values<BF16>()) {
          value = BF16(static_cast<float>(i++ * 5 % 17 - 8) / 16);
        }
      }
      const auto got = driver->Run("f", {{"x", a}, {"w", b}});
      const auto want = emulator->Run("f", {{"x", a}, {"w", b}});
      const auto other = padded->Run("f", {{"x", a}, {"w", b}});
      ASSERT_TRUE(got.ok()) << got.status();
      ASSERT_TRUE(want.ok()) << want.status();
      ASSERT_TRUE(other.ok()) << other.status();
      ExpectSameBits(*got, *want, "f");
      ExpectSameBits(*got, *other, "f");
    }
  }
  EXPECT_EQ(cuda::LeftInFakeDriver(), "");
  EXPECT_EQ(cuda::FakeDriverComplains(), "");
}

TEST_F(CudaTest, MachineCodeIsLoadedBesideItsText) {
  const std::string package = PackageOf(SmallNetwork(), "runtime/cuda/testing/fake_ptxas");
  const Both both = OpenBoth(package);
  EXPECT_EQ(cuda::CountInFakeDriver().machine_code, 1);
  for (Session* session : {both.driver.get(), both.emulator.get()}) {
    ASSERT_TRUE(session->Run("init", {}).ok());
  }
  const auto a = both.driver->Run("train_step", FeedsOfSmallNetwork(4));
  const auto b = both.emulator->Run("train_step", FeedsOfSmallNetwork(4));
  ASSERT_TRUE(a.ok()) << a.status();
  ASSERT_TRUE(b.ok()) << b.status();
  ExpectSameBits(*a, *b, "a step");
  // As long as somebody has the package, so does the driver.
  EXPECT_EQ(cuda::CountInFakeDriver().modules, 1);
}

TEST_F(CudaTest, TrainingIsTheEmulatorsBitForBit) {
  const Both both = OpenBoth(PackageOf(SmallNetwork()));
  for (Session* session : {both.driver.get(), both.emulator.get()}) {
    const auto init = session->Run("init", {});
    ASSERT_TRUE(init.ok()) << init.status();
  }
  for (const int64_t batch : {4, 4, 4, 7, 4, 7, 7}) {
    const std::string what = "batch of " + std::to_string(batch);
    const auto a = both.driver->Run("train_step", FeedsOfSmallNetwork(batch));
    const auto b = both.emulator->Run("train_step", FeedsOfSmallNetwork(batch));
    ASSERT_TRUE(a.ok()) << a.status();
    ASSERT_TRUE(b.ok()) << b.status();
    ExpectSameBits(*a, *b, what);
    ExpectSameBits(*both.driver->GetVariables(), *both.emulator->GetVariables(), what);
  }
  const cuda::FakeDriverCounts counts = cuda::CountInFakeDriver();
  EXPECT_EQ(counts.captures, 2);
  EXPECT_EQ(counts.graph_launches, 5);
  NamedTensors feeds = FeedsOfSmallNetwork(3);
  feeds.erase("label");
  for (const char* signature : {"predict", "halve", "halve", "predict"}) {
    const auto a = both.driver->Run(signature, feeds), b = both.emulator->Run(signature, feeds);
    ASSERT_TRUE(a.ok()) << a.status();
    ASSERT_TRUE(b.ok()) << b.status();
    ExpectSameBits(*a, *b, signature);
  }
}

// One case of each op.
TEST_F(CudaTest, EveryOpIsTheEmulatorsBitForBit) {
  Graph graph("ops");
  std::vector<std::pair<std::string, NamedTensors>> runs;
  for (const OpInfo& op : AllOps()) {
    const std::vector<OpCase> cases = CasesOf(op);
    if (cases.empty()) continue;
    const OpCase& c = cases.front();
    const std::vector<DataType> dtypes = DTypesOf(c);
    const bool f32 = std::find(dtypes.begin(), dtypes.end(), DataType::kF32) != dtypes.end();
    const DataType dtype = f32 ? DataType::kF32 : dtypes.front();
    const std::string name(op.name);
    const ScopeGuard scope = graph.Scope(name);
    std::vector<Tensor> inputs;
    NamedTensors feeds;
    for (size_t i = 0; i < c.inputs.size(); ++i) {
      inputs.push_back(MakeInput(graph, c, i, dtype, false));
      feeds[inputs.back().name()] = DrawInput(c, i, dtype);
    }
    std::vector<std::pair<std::string, Tensor>> outputs;
    for (const Tensor& result : c.build(graph, inputs)) {
      outputs.emplace_back("y" + std::to_string(outputs.size()), result);
    }
    ASSERT_TRUE(graph.status().ok()) << graph.status();
    graph.AddSignature(name, outputs);
    runs.emplace_back(name, std::move(feeds));
  }
  ASSERT_TRUE(graph.status().ok()) << graph.status();
  ASSERT_GT(runs.size(), 80);
  const Both both = OpenBoth(PackageOf(graph));
  for (const Session::SignatureInfo& signature : both.driver->Signatures()) {
    const auto run = std::find_if(runs.begin(), runs.end(),
                                  [&](const auto& r) { return r.first == signature.name; });
    if (run == runs.end()) continue;  // init
    NamedTensors feeds;
    for (const auto& input : signature.inputs) feeds[input.name] = run->second.at(input.name);
    const auto expected = both.emulator->Run(signature.name, feeds);
    ASSERT_TRUE(expected.ok()) << signature.name << ": " << expected.status();
    for (int i = 0; i < 3; ++i) {
      const auto got = both.driver->Run(signature.name, feeds);
      ASSERT_TRUE(got.ok()) << signature.name << ": " << got.status();
      ExpectSameBits(*got, *expected, signature.name);
    }
  }
}

Graph Layer() {
  Graph graph("layer");
  Tensor x = graph.Input("x", DataType::kF32, {"n", 40});
  HostTensor weights = *HostTensor::Create(DataType::kF32, {40});
  float next = 0;
  for (float& weight : weights.mutable_values<float>()) weight = next += 0.025f;
  Tensor w = graph.Constant(weights);
  graph.AddSignature("run", {{"y", Softmax(CumSum(Exp(x * w), 1))}});
  EXPECT_TRUE(graph.status().ok()) << graph.status();
  return graph;
}

NamedTensors FeedOfLayer(int64_t n, float first) {
  HostTensor x = *HostTensor::Create(DataType::kF32, {n, 40});
  for (float& value : x.mutable_values<float>()) value = first += 0.01f;
  return {{"x", x}};
}

TEST_F(CudaTest, SessionsAndThreadsShareAGpu) {
  const std::string package = PackageOf(Layer());
  const auto reference = Open(package, MakeDevice("emulator:sm_80", 1).value());
  const auto shared = Open(package, device_);
  std::vector<std::thread> threads;
  std::vector<std::vector<NamedTensors>> results(4);
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      const auto own = Open(package, device_);
      for (int i = 0; i < 8; ++i) {
        Session& session = i % 2 == 0 ? *shared : *own;
        auto run = session.Run("run", FeedOfLayer(1 + (t + i) % 3, static_cast<float>(t)));
        ASSERT_TRUE(run.ok()) << run.status();
        results[static_cast<size_t>(t)].push_back(*std::move(run));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (int t = 0; t < 4; ++t) {
    for (int i = 0; i < 8; ++i) {
      const auto expected =
          reference->Run("run", FeedOfLayer(1 + (t + i) % 3, static_cast<float>(t)));
      ASSERT_TRUE(expected.ok()) << expected.status();
      ExpectSameBits(results[static_cast<size_t>(t)][static_cast<size_t>(i)], *expected,
                     "thread " + std::to_string(t));
    }
  }
}

TEST_F(CudaTest, AnErrorOfAKernelNamesNodeAndLine) {
  {
    const auto session = Open(PackageOf(Layer()), device_);
    cuda::ConfigureFakeDriver({.fail_kernel = 1});
    // Each step is waited for then.
    session->EnableProfiling(true);
    const auto failed = session->Run("run", FeedOfLayer(2, 0));
    EXPECT_EQ(failed.status().code(), absl::StatusCode::kInternal);
    EXPECT_THAT(std::string(failed.status().message()),
                AllOf(HasSubstr("the cuda:0 failed: cuda:0 (Emulated GPU, sm_80): running"),
                      HasSubstr("exp"), HasSubstr("cuda_test.cc:"),
                      HasSubstr("CUDA_ERROR_ILLEGAL_ADDRESS")));
    const auto later = session->Run("run", FeedOfLayer(2, 0));
    EXPECT_THAT(std::string(later.status().message()), HasSubstr("started anew"));
  }
  cuda::ConfigureFakeDriver();
}

TEST_F(CudaTest, MemoryThatIsShortNamesWhatItIsFor) {
  const auto session = Open(PackageOf(Layer()), device_);
  ASSERT_TRUE(session->Run("run", FeedOfLayer(2, 0)).ok());
  // The session gives back what other shapes hold, and tries again: once is not enough.
  cuda::ConfigureFakeDriver({.fail_allocation = 1});
  EXPECT_TRUE(session->Run("run", FeedOfLayer(50, 0)).ok());
  cuda::ConfigureFakeDriver({.no_memory = true});
  const auto failed = session->Run("run", FeedOfLayer(100, 0));
  EXPECT_EQ(failed.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(
      std::string(failed.status().message()),
      AllOf(HasSubstr("signature 'run' needs"), HasSubstr("bytes of memory in one piece"),
            HasSubstr("are free"), HasSubstr("the largest part is"), HasSubstr("cuda_test.cc:")));
  cuda::ConfigureFakeDriver();
  EXPECT_TRUE(session->Run("run", FeedOfLayer(100, 0)).ok());
}

TEST_F(CudaTest, MemoryOfConstantsAndVariablesIsNamed) {
  const std::string package = PackageOf(Layer());
  cuda::ConfigureFakeDriver({.no_memory = true});
  EXPECT_THAT(std::string(Session::FromPackage(package, {.device = device_}).status().message()),
              AllOf(HasSubstr("bytes of constants on the cuda:0: cuda:0"), HasSubstr("are free")));
  Graph graph("state");
  Variable v = graph.AddVariable("v", *HostTensor::Create(DataType::kF32, {100}));
  graph.AddSignature("get", {{"y", v.Read() + 1.0f}});
  cuda::ConfigureFakeDriver();
  const auto session = Open(PackageOf(graph), device_);
  cuda::ConfigureFakeDriver({.no_memory = true});
  EXPECT_THAT(
      std::string(
          session->SetVariables({{"v", *HostTensor::Create(DataType::kF32, {100})}}).message()),
      HasSubstr("variable 'v': cuda:0 (Emulated GPU, sm_80): expected 400 bytes"));
}

// "set" writes its variable, after work that is under way for long.
class CudaStateTest : public CudaTest {
 protected:
  CudaStateTest() {
    Graph graph("state");
    Tensor x = graph.Input("x", DataType::kF32, {"n"});
    Variable v = graph.AddVariable("v", *HostTensor::Create(DataType::kF32, {100}));
    Variable w = graph.AddVariable("w", *HostTensor::Create(DataType::kF32, {50}));
    const Tensor total = ReduceSum(x, {0});
    graph.AddSignature("set", {{"sum", ReduceSum(Exp(x), {0})}},
                       {v.Assign(CumSum(Broadcast(total, {DimExpr(100)}), 0)),
                        w.Assign(CumSum(Broadcast(total, {DimExpr(50)}), 0))});
    graph.AddSignature("get", {{"y", Exp(v.Read()) + ReduceSum(x, {0})}});
    EXPECT_TRUE(graph.status().ok()) << graph.status();
    session_ = Open(PackageOf(graph), device_);
    EXPECT_TRUE(session_->Run("set", Feed(0.25f)).ok());
  }

  static NamedTensors Feed(float value, int64_t n = 1) {
    return {{"x", HostTensor::Of<float>({n}, std::vector<float>(static_cast<size_t>(n), value))}};
  }
  // The GPU is busy from now on, and a run with these options cancelled when it waits for it.
  RunOptions CancelledWhenItWaits() {
    asked_ = false;
    cuda::ConfigureFakeDriver({.busy = true, .asked = &asked_});
    RunOptions options;
    options.cancel = &asked_;
    return options;
  }
  float First() {
    const auto values = session_->GetVariable("v");
    EXPECT_TRUE(values.ok()) << values.status();
    return values.ok() ? values->values<float>()[0] : 0;
  }

  std::atomic<bool> asked_ = false;
  std::unique_ptr<Session> session_;
};

TEST_F(CudaStateTest, LimitsEndRunsThatWriteNoVariables) {
  const auto late = session_->Run("get", Feed(5), CancelledWhenItWaits());
  EXPECT_EQ(late.status().code(), absl::StatusCode::kCancelled) << late.status();
  EXPECT_THAT(std::string(late.status().message()),
              HasSubstr("before the end of what was started on the device"));
  // It reads the variable, whenever it comes to that; it is the old value, and the next writer
  // comes after it.
  EXPECT_TRUE(session_->Run("set", Feed(1)).ok());
  EXPECT_EQ(First(), 1);
}

// Before they write: so they end in time, too, and change nothing.
TEST_F(CudaStateTest, LimitsEndRunsThatWriteVariables) {
  for (const int64_t n : {1, 1, 1, 3}) {  // the same again, and other shapes
    const auto late = session_->Run("set", Feed(7, n), CancelledWhenItWaits());
    EXPECT_EQ(late.status().code(), absl::StatusCode::kCancelled) << late.status();
    EXPECT_THAT(std::string(late.status().message()), HasSubstr("signature 'set'"));
    EXPECT_EQ(cuda::CountInFakeDriver().blocked, 0);
    RunOptions soon;
    soon.deadline = absl::Now() + absl::Milliseconds(10);
    EXPECT_EQ(session_->Run("set", Feed(7, n), soon).status().code(),
              absl::StatusCode::kDeadlineExceeded);
    EXPECT_EQ(cuda::CountInFakeDriver().blocked, 0);
  }
  cuda::ConfigureFakeDriver();
  EXPECT_EQ(First(), 0.25f);
  ASSERT_TRUE(session_->Run("set", Feed(1)).ok());
  EXPECT_EQ(First(), 1);
}

// A run that is given up stops nobody from preparing calls for other shapes.
TEST_F(CudaStateTest, OtherShapesArePreparedMeanwhile) {
  EXPECT_EQ(session_->Run("get", Feed(5), CancelledWhenItWaits()).status().code(),
            absl::StatusCode::kCancelled);
  for (int64_t n = 2; n < 40; ++n) {
    EXPECT_EQ(session_->Run("get", Feed(5, n), CancelledWhenItWaits()).status().code(),
              absl::StatusCode::kCancelled);
    EXPECT_EQ(cuda::CountInFakeDriver().blocked, 0);
  }
}

// What the driver refuses before anything was started costs no variable its value: neither a graph
// that it cannot make (then the run goes on without), nor a launch.
TEST_F(CudaStateTest, RefusalsCostNoVariables) {
  const cuda::FakeDriverOptions refusals[] = {
      {.fail_capture = 1}, {.fail_instantiate = 1}, {.fail_graph_launch = 1}, {.no_pinned = true}};
  int64_t n = 1;
  for (const cuda::FakeDriverOptions& refusal : refusals) {
    ++n;
    for (int i = 1; i < 5; ++i) {
      cuda::ConfigureFakeDriver(i > 1 ? refusal : cuda::FakeDriverOptions());
      const auto run = session_->Run("set", Feed(static_cast<float>(i), n));
      ASSERT_TRUE(run.ok()) << run.status();
      cuda::ConfigureFakeDriver();
      EXPECT_EQ(First(), static_cast<float>(i * n));
    }
  }
  cuda::ConfigureFakeDriver();
  ASSERT_TRUE(session_->Run("set", Feed(4, n = 19)).ok());
  const int64_t launches = cuda::CountInFakeDriver().launches;
  ASSERT_GE(launches, 3);
  cuda::ConfigureFakeDriver({.fail_launch = 1});
  const auto refused = session_->Run("set", Feed(3, 20));
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(refused.status().message()),
              AllOf(HasSubstr("LAUNCH_OUT_OF_RESOURCES"), Not(HasSubstr("no value"))));
  cuda::ConfigureFakeDriver();
  EXPECT_EQ(First(), static_cast<float>(4 * n));
  // One of the two was written.
  cuda::ConfigureFakeDriver({.fail_launch = launches});
  const auto lost = session_->Run("set", Feed(3, 21));
  EXPECT_THAT(std::string(lost.status().message()), HasSubstr("no value"));
  EXPECT_EQ(session_->GetVariable("v").status().code(), absl::StatusCode::kFailedPrecondition);
  cuda::ConfigureFakeDriver();
}

// Also of a GPU beside the processor that the session runs on, which has none of them.
TEST_F(CudaTest, RefusalsCostNoVariablesOfPlacedNodes) {
  Graph graph("state");
  Tensor x = graph.Input("x", DataType::kF32, {"n"}), set;
  {
    const ScopeGuard there = graph.WithDevice("cuda:0");
    Variable v = graph.AddVariable("v", *HostTensor::Create(DataType::kF32, {100}));
    set = v.Assign(CumSum(Broadcast(ReduceSum(x, {0}), {DimExpr(100)}), 0));
  }
  graph.AddSignature("set", {{"here", Exp(x)}}, {set});
  ASSERT_TRUE(graph.status().ok()) << graph.status();
  CompileOptions compile;
  compile.device_targets = {{"cuda:0", "cuda:sm_80"}};
  SessionOptions options;
  options.threads = 1;
  options.find_device = [&](const std::string&) { return device_; };
  const auto session = Session::FromPackage(CompilePackage(graph, compile).value(), options);
  ASSERT_TRUE(session.ok()) << session.status();
  const auto feed = [](int64_t n) {
    return NamedTensors{
        {"x", HostTensor::Of<float>({n}, std::vector<float>(static_cast<size_t>(n), 2))}};
  };
  ASSERT_TRUE((*session)->Run("set", feed(1)).ok());
  cuda::ConfigureFakeDriver({.fail_launch = 1});
  const absl::Status refused = (*session)->Run("set", feed(3)).status();
  cuda::ConfigureFakeDriver();
  EXPECT_EQ(refused.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(refused.message()),
              AllOf(HasSubstr("LAUNCH_OUT_OF_RESOURCES"), Not(HasSubstr("no value"))));
  const auto kept = (*session)->GetVariable("v");
  ASSERT_TRUE(kept.ok()) << kept.status();
  EXPECT_EQ(kept->values<float>()[0], 2);
}

// What is on the session's own GPU by name, and what is there anyway, is on one: nothing goes
// through the host.
TEST_F(CudaTest, NodesOfItsNameAreOnTheSessionsGpu) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {"n", 8});
  Tensor first = Exp(x), second;
  {
    const ScopeGuard there = graph.WithDevice("cuda:0");
    second = ReduceSum(first, {0}) * 2.0;
  }
  graph.AddSignature("run", {{"y", first + second}});
  ASSERT_TRUE(graph.status().ok()) << graph.status();
  const std::string package = PackageOf(graph);
  const auto session = Open(package, device_);
  SessionOptions emulated;
  emulated.device = MakeDevice("emulator:sm_80", 1).value();
  emulated.find_device = [&](const std::string&) { return emulated.device; };
  const auto reference = Session::FromPackage(package, emulated);
  ASSERT_TRUE(reference.ok()) << reference.status();
  const NamedTensors feeds = {
      {"x", HostTensor::Of<float>({2, 8}, {1, 2, 3, 4, 5, 6, 7, 8, 8, 7, 6, 5, 4, 3, 2, 1})}};
  const auto expected = (*reference)->Run("run", feeds);
  ASSERT_TRUE(expected.ok()) << expected.status();
  for (int i = 0; i < 3; ++i) {
    cuda::ConfigureFakeDriver();
    const auto results = session->Run("run", feeds);
    ASSERT_TRUE(results.ok()) << results.status();
    ExpectSameBits(*results, *expected, std::to_string(i));
    const cuda::FakeDriverCounts counts = cuda::CountInFakeDriver();
    EXPECT_EQ(counts.copied_in, 64);
    EXPECT_EQ(counts.copied_out, 64);
    EXPECT_EQ(counts.graph_launches, i == 0 ? 0 : 1);
  }
}

// A run with limits gives the outputs of both GPUs or of none.
TEST_F(CudaTest, WhatEndsARunLeavesNoneOfItsOutputs) {
  Graph graph;
  Tensor x = graph.Input("x", DataType::kF32, {"n"});
  Tensor there;
  {
    const ScopeGuard scope = graph.WithDevice("cuda:1");
    there = x * 2.0;
  }
  graph.AddSignature("run", {{"here", x + 1.0}, {"there", there}});
  ASSERT_TRUE(graph.status().ok()) << graph.status();
  SessionOptions options;
  options.device = device_;
  options.find_device = [](const std::string&) { return cuda::FakeCudaDevice(); };
  const auto session = Session::FromPackage(PackageOf(graph), options);
  ASSERT_TRUE(session.ok()) << session.status();
  const NamedTensors feeds = {{"x", HostTensor::Of<float>({3}, {1, 2, 3})}};
  std::atomic<bool> stop = false;
  // The first copy to the host is of `x`, on its way to the other GPU, the second of one output.
  const struct {
    cuda::FakeDriverOptions driver;
    bool ends;
  } cases[] = {{{.copied = &stop, .copied_at = 2}, false},
               {{.copied = &stop, .copied_at = 1}, true},
               {{.copied = &stop, .copied_at = 2}, false},
               {{.busy = true, .asked = &stop}, true}};
  for (const auto& each : cases) {
    NamedTensors outputs;
    for (const char* name : {"here", "there"}) {
      outputs[name] = *HostTensor::Create(DataType::kF32, {3});
      for (float& value : outputs[name].mutable_values<float>()) value = -1;
    }
    stop = false;
    cuda::ConfigureFakeDriver(each.driver);
    RunOptions run;
    run.cancel = &stop;
    const absl::Status status = (*session)->RunInto("run", feeds, &outputs, run);
    EXPECT_TRUE(stop.load());
    EXPECT_EQ(status.code(), each.ends ? absl::StatusCode::kCancelled : absl::StatusCode::kOk);
    EXPECT_THAT(outputs["here"].values<float>(),
                each.ends ? ElementsAre(-1, -1, -1) : ElementsAre(2, 3, 4));
    EXPECT_THAT(outputs["there"].values<float>(),
                each.ends ? ElementsAre(-1, -1, -1) : ElementsAre(2, 4, 6));
  }
  cuda::ConfigureFakeDriver();
}

TEST_F(CudaTest, PackagesForLaterGpusAreRefused) {
  CompileOptions options;
  options.targets = {"cuda:sm_90", "cpu:x86-64-v3"};
  const auto session =
      Session::FromPackage(CompilePackage(Layer(), options).value(), {.device = device_});
  EXPECT_EQ(session.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(
      std::string(session.status().message()),
      AllOf(HasSubstr("no code for the cuda:0 here"),
            HasSubstr("cuda:sm_90 is newer than cuda:sm_80"), HasSubstr("--target cuda:sm_80")));
}

}  // namespace
}  // namespace weft
