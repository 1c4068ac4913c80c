// The memory certificate and reproducibility, with compiled models: plans run in memory of exactly
// the size that they state, between pages that nobody may touch, and give the bits that sessions
// with any number of threads give.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "compiler/api.h"
#include "graph/graph.h"
#include "graph/layers/layers.h"
#include "graph/losses/losses.h"
#include "graph/optimizers/optimizers.h"
#include "runtime/core/executor.h"
#include "runtime/cpu/cpu_device.h"
#include "runtime/package.h"
#include "runtime/session.h"
#include "tests/conformance/targets.h"

namespace weft {
namespace {

constexpr unsigned char kCanary = 0xab;

// Memory that starts at a multiple of 64 and ends, but for less than 64 bytes, where a page begins
// that cannot be touched; another such page lies before it.
class GuardedMemory {
 public:
  explicit GuardedMemory(size_t size) : size_(size) {
    const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const size_t rounded = (size + 63) / 64 * 64;
    const size_t data = (rounded + page - 1) / page * page;
    mapped_ = data + 2 * page;
    base_ = static_cast<unsigned char*>(
        mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (base_ == MAP_FAILED) abort();
    mprotect(base_, page, PROT_NONE);
    mprotect(base_ + page + data, page, PROT_NONE);
    first_ = base_ + page;
    last_ = first_ + data;
    start_ = last_ - rounded;
    memset(first_, kCanary, data);
  }
  GuardedMemory(const GuardedMemory&) = delete;
  GuardedMemory& operator=(const GuardedMemory&) = delete;
  ~GuardedMemory() { munmap(base_, mapped_); }

  void* data() const { return start_; }
  size_t size() const { return size_; }
  // Whether nothing was written between the memory and the guards.
  bool Intact() const {
    for (const unsigned char* p = first_; p < last_; ++p) {
      if (p == start_) p += size_;
      if (p < last_ && *p != kCanary) return false;
    }
    return true;
  }

 private:
  size_t size_, mapped_;
  unsigned char *base_, *first_, *last_, *start_;
};

using Guarded = std::unique_ptr<GuardedMemory>;

Guarded Guard(size_t size) { return std::make_unique<GuardedMemory>(size); }

int64_t BytesOf(const WeftInstance* instance, const WeftValue& value) {
  int64_t bytes = SizeOf(static_cast<DataType>(value.dtype));
  for (uint32_t i = 0; i < value.rank; ++i) bytes *= weft_value_dim(instance, &value, i);
  return bytes;
}

std::string Bits(const HostTensor& tensor) {
  return std::string(static_cast<const char*>(tensor.data()), tensor.size_bytes());
}

// A package whose plans run in guarded memory.
class GuardedModel {
 public:
  explicit GuardedModel(std::shared_ptr<const Package> package) : package_(std::move(package)) {
    constants_ = Guard(package_->constants_bytes(0));
    if (constants_->size() > 0) {
      memcpy(constants_->data(), package_->constants(0), constants_->size());
    }
    pool_memory_ = Guard(weft_pool_bytes(2));
    pool_ = weft_pool_start(pool_memory_->data(), 2);
  }
  ~GuardedModel() { weft_pool_stop(pool_); }

  // The outputs' bytes by name.
  std::map<std::string, std::string> Run(const std::string& signature, const NamedTensors& feeds) {
    const WeftPlan& plan = Find(signature);
    std::vector<const int64_t*> shapes;
    std::vector<Guarded> memory;
    std::vector<const void*> inputs;
    for (uint32_t i = 0; i < plan.num_inputs; ++i) {
      const HostTensor& feed = feeds.at(plan.inputs[i].name);
      shapes.push_back(feed.shape().data());
      memory.push_back(Guard(feed.size_bytes()));
      if (feed.size_bytes() > 0) memcpy(memory.back()->data(), feed.data(), feed.size_bytes());
      inputs.push_back(memory.back()->data());
    }
    std::vector<int64_t> symbols(plan.num_symbols);
    weft_bind_symbols(&plan, shapes.data(), symbols.data());
    memory.push_back(Guard(weft_instance_bytes(&plan)));
    WeftInstance* instance = nullptr;
    WeftError error = {};
    EXPECT_EQ(weft_instance_create(&plan, symbols.data(), memory.back()->data(), &instance, &error),
              WEFT_OK);
    std::vector<void*> outputs, variables;
    for (uint32_t i = 0; i < plan.num_outputs; ++i) {
      memory.push_back(Guard(static_cast<size_t>(BytesOf(instance, plan.outputs[i]))));
      outputs.push_back(memory.back()->data());
    }
    const size_t first_output = memory.size() - outputs.size();
    for (uint32_t i = 0; i < plan.num_variables; ++i) {
      Guarded& variable = variables_[plan.variables[i].name];
      if (variable == nullptr) {
        variable = Guard(static_cast<size_t>(BytesOf(instance, plan.variables[i])));
      }
      variables.push_back(variable->data());
    }
    const Guarded arena = Guard(static_cast<size_t>(weft_arena_bytes(instance, 0)));
    const Guarded scratch = Guard(2 * static_cast<size_t>(weft_scratch_bytes(instance, 0)));
    WeftRunArgs args = {};
    args.arena = arena->data();
    args.scratch = scratch->data();
    args.constants = constants_->data();
    args.variables = variables.data();
    args.inputs = inputs.data();
    args.outputs = outputs.data();
    args.pool = pool_;
    args.deadline = INT64_MAX;
    EXPECT_EQ(weft_run(instance, &args, &error), WEFT_OK);
    EXPECT_TRUE(arena->Intact() && scratch->Intact() && constants_->Intact()) << signature;
    for (const Guarded& piece : memory) EXPECT_TRUE(piece->Intact()) << signature;
    for (const auto& [name, variable] : variables_) EXPECT_TRUE(variable->Intact()) << name;
    std::map<std::string, std::string> results;
    for (uint32_t i = 0; i < plan.num_outputs; ++i) {
      const GuardedMemory& output = *memory[first_output + i];
      results[plan.outputs[i].name].assign(static_cast<const char*>(output.data()), output.size());
    }
    return results;
  }

  const std::map<std::string, Guarded>& variables() const { return variables_; }

 private:
  const WeftPlan& Find(const std::string& signature) const {
    for (const LoadedPlan& plan : package_->plans()) {
      if (plan.signature == signature) return plan.tables->plan();
    }
    abort();
  }

  std::shared_ptr<const Package> package_;
  Guarded constants_, pool_memory_;
  WeftPool* pool_;
  std::map<std::string, Guarded> variables_;
};

HostTensor Random(DataType dtype, const std::vector<int64_t>& shape, uint32_t seed) {
  HostTensor tensor = *HostTensor::Create(dtype, shape);
  std::mt19937 random(seed);
  WithType(dtype, [&](auto zero) {
    using T = decltype(zero);
    for (T& value : tensor.mutable_values<T>()) {
      value = static_cast<T>(static_cast<float>(random() % 8));
    }
  });
  return tensor;
}

// Those of this process.
int Threads() {
  int threads = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/task")) {
    threads += entry.is_directory();
  }
  return threads;
}

// Runs signatures in turn, in guarded memory and in sessions, and compares every bit. `shared`:
// launches are large enough for all threads, and have them.
void ExpectContracts(const std::string& target, const Graph& graph,
                     const std::vector<std::string>& signatures,
                     const std::vector<NamedTensors>& feeds, bool shared = false) {
  ASSERT_TRUE(graph.status().ok()) << graph.status();
  CompileOptions options;
  options.targets = {target};
  absl::StatusOr<std::string> bytes = CompilePackage(graph, options);
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  auto package =
      Package::Open(Bytes::Of(*bytes), std::make_shared<SessionDevices>(MakeCpuDevice(1).value()));
  ASSERT_TRUE(package.ok()) << package.status();
  const int threads_before = Threads();
  GuardedModel model(*package);
  std::vector<std::unique_ptr<Session>> sessions;
  for (const int threads : {1, 2, 5}) {
    SessionOptions session_options;
    session_options.threads = threads;
    auto session = Session::FromPackage(*bytes, session_options);
    ASSERT_TRUE(session.ok()) << session.status();
    sessions.push_back(*std::move(session));
  }
  for (const NamedTensors& feed : feeds) {
    for (const std::string& signature : signatures) {
      SCOPED_TRACE(signature);
      NamedTensors needed;
      for (const auto& info : sessions[0]->Signatures()) {
        if (info.name != signature) continue;
        for (const auto& input : info.inputs) needed[input.name] = feed.at(input.name);
      }
      const std::map<std::string, std::string> expected = model.Run(signature, needed);
      for (const auto& session : sessions) {
        auto outputs = session->Run(signature, needed);
        ASSERT_TRUE(outputs.ok()) << outputs.status();
        ASSERT_EQ(outputs->size(), expected.size());
        for (const auto& [name, value] : *outputs) {
          EXPECT_TRUE(Bits(value) == expected.at(name)) << name << " has other bits";
        }
      }
    }
  }
  // Of the guarded model's two threads and the sessions' one, two and five, those that share.
  if (shared) EXPECT_EQ(Threads() - threads_before, 1 + 0 + 1 + 4);
  for (const auto& session : sessions) {
    for (const auto& [name, memory] : model.variables()) {
      auto value = session->GetVariable(name);
      ASSERT_TRUE(value.ok()) << value.status();
      EXPECT_EQ(memcmp(value->data(), memory->data(), memory->size()), 0) << name;
    }
  }
}

using Memory = EachTargetTest;

INSTANTIATE_TEST_SUITE_P(Targets, Memory,
                         testing::Values("cpu:native", "cpu:x86-64-v3", "cpu:x86-64-v4"),
                         NameOfTarget);

TEST_P(Memory, ConvolutionalNetworkThatTrains) {
  Graph graph("cnn");
  Layers layers(graph);
  Tensor image = graph.Input("image", DataType::kF32, {"batch", 9, 9, 3});
  Tensor label = graph.Input("label", DataType::kI64, {"batch"});
  Tensor x = Relu(layers.Conv2D("conv", image, 5, {3, 3}));
  x = MaxPool2D(x, {2, 2});
  Tensor logits = layers.Dense("logits", Flatten(x), 10);
  Tensor loss = Mean(SoftmaxCrossEntropy(logits, label));
  graph.AddSignature("train_step", {{"loss", loss}}, Adam(graph).Minimize(loss));
  graph.AddSignature("predict", {{"p", Softmax(logits)}, {"class", ArgMax(logits, -1)}});
  std::vector<NamedTensors> feeds;
  for (const int64_t batch : {1, 2, 7, 33}) {
    feeds.push_back({{"image", Random(DataType::kF32, {batch, 9, 9, 3}, 1)},
                     {"label", Random(DataType::kI64, {batch}, 2)}});
  }
  ExpectContracts(GetParam(), graph, {"init", "train_step", "predict"}, feeds);
}

TEST_P(Memory, PerceptronWithNormalisation) {
  Graph graph("mlp");
  Layers layers(graph);
  Tensor x = graph.Input("x", DataType::kF32, {"batch", 13});
  Tensor y = Tanh(layers.Dense("first", x, 37));
  y = layers.LayerNorm("norm", y);
  y = layers.Dense("second", y, 3);
  graph.AddSignature("predict", {{"y", Softmax(y)}, {"sum", ReduceSum(y, {0})}});
  std::vector<NamedTensors> feeds;
  for (const int64_t batch : {1, 3, 16, 65, 1000}) {
    feeds.push_back({{"x", Random(DataType::kF32, {batch, 13}, 3)}});
  }
  ExpectContracts(GetParam(), graph, {"init", "predict"}, feeds);
}

TEST_P(Memory, LaunchesThatThreadsShare) {
  Graph graph("wide");
  Layers layers(graph);
  Tensor x = graph.Input("x", DataType::kF32, {"batch", 67});
  Tensor label = graph.Input("label", DataType::kI64, {"batch"});
  Tensor y = layers.LayerNorm("norm", Tanh(layers.Dense("first", x, 301)));
  Tensor logits = layers.Dense("second", y, 10);
  Tensor loss = Mean(SoftmaxCrossEntropy(logits, label));
  graph.AddSignature("train_step", {{"loss", loss}}, Adam(graph).Minimize(loss));
  graph.AddSignature("sums", {{"all", ReduceSum(y * y, {0, 1})},
                              {"rows", ReduceSum(y, {1})},
                              {"columns", ReduceSum(y, {0})},
                              {"largest", ReduceMax(y, {0})},
                              {"y", y}});
  std::vector<NamedTensors> feeds;
  for (const int64_t batch : {1009, 2048}) {
    feeds.push_back({{"x", Random(DataType::kF32, {batch, 67}, 5)},
                     {"label", Random(DataType::kI64, {batch}, 6)}});
  }
  ExpectContracts(GetParam(), graph, {"init", "train_step", "sums"}, feeds, /*shared=*/true);
}

TEST_P(Memory, EveryElementSize) {
  Graph graph("types");
  for (const DataType dtype : {DataType::kF64, DataType::kF16, DataType::kBF16, DataType::kI32,
                               DataType::kI8, DataType::kU8, DataType::kI64}) {
    const std::string name(NameOf(dtype));
    Tensor x = graph.Input(name, dtype, {"n", 5});
    graph.AddSignature("f_" + name, {{"sum", x + x},
                                     {"rows", ReduceMax(x, {1})},
                                     {"columns", ReduceSum(x, {0})},
                                     {"transposed", Transpose(x, {1, 0})},
                                     {"bool", Greater(x, 3)}});
  }
  std::vector<NamedTensors> feeds;
  for (const int64_t n : {0, 1, 2, 13, 64, 101}) {
    NamedTensors feed;
    for (int i = 2; i < kNumDataTypes; ++i) {
      const auto dtype = static_cast<DataType>(i);
      feed[std::string(NameOf(dtype))] = Random(dtype, {n, 5}, static_cast<uint32_t>(i));
    }
    feeds.push_back(std::move(feed));
  }
  ExpectContracts(GetParam(), graph, {"f_f64", "f_f16", "f_bf16", "f_i32", "f_i8", "f_u8", "f_i64"},
                  feeds);
}

}  // namespace
}  // namespace weft
