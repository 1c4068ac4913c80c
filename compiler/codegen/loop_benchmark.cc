// Time of element-wise, moving, reducing and pooling kernels on one thread of this machine, beside
// a copy of as many bytes: prints milliseconds, asserts nothing. With an argument, only the rows
// whose names hold it.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <functional>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "compiler/codegen/test_fusion.h"

namespace weft {
namespace {

// Seconds of this thread's own time, so that other processes count less.
double Now() {
  timespec time;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

// Median of a few calls, in milliseconds.
double TimeOf(const std::function<void()>& call) {
  std::vector<double> times;
  call();
  for (int i = 0; i < 7; ++i) {
    const double start = Now();
    call();
    times.push_back(1e3 * (Now() - start));
  }
  std::sort(times.begin(), times.end());
  return times[3];
}

struct Buffer {
  explicit Buffer(int64_t bytes)
      : data(std::aligned_alloc(64, static_cast<size_t>((bytes + 127) / 64 * 64))) {
    std::memset(data, 0, static_cast<size_t>(bytes));
  }
  Buffer(const Buffer&) = delete;
  ~Buffer() { std::free(data); }
  void* data;
};

// What memcpy needs to read half of the bytes and write as many.
double CopyTime(int64_t bytes) {
  Buffer from(bytes / 2), to(bytes / 2);
  return TimeOf([&] {
    std::memcpy(to.data, from.data, static_cast<size_t>(bytes / 2));
    asm volatile("" : : "r"(to.data) : "memory");
  });
}

class Benchmark {
 public:
  Benchmark(std::string filter, std::string target)
      : filter_(std::move(filter)), target_(std::move(target)) {}

  // `build` makes the fusion; traffic is what it states.
  void Row(const std::string& name, const std::function<void(TestFusion&)>& build,
           const Symbols& symbols = {}) {
    if (!absl::StrContains(name, filter_)) return;
    TestFusion f(target_);
    const double start = Now();
    build(f);
    const double compile = 1e3 * (Now() - start);
    std::vector<HostTensor> inputs = f.RandomInputs(symbols);
    std::vector<void*> buffers;
    for (HostTensor& input : inputs) buffers.push_back(input.mutable_data());
    std::vector<std::unique_ptr<Buffer>> outputs;
    for (int64_t size : f.ResultBytes(symbols)) {
      outputs.push_back(std::make_unique<Buffer>(size));
      buffers.push_back(outputs.back()->data);
    }
    std::vector<int64_t> sizes;
    for (const DimExpr& size : f.spec().sizes) sizes.push_back(*size.Evaluate(symbols));
    const int64_t tiles = *f.spec().tiles.Evaluate(symbols);
    const int64_t bytes = *f.spec().bytes.Evaluate(symbols);
    Buffer scratch(*f.spec().scratch_bytes.Evaluate(symbols));
    const double time =
        TimeOf([&] { f.kernel()(buffers.data(), sizes.data(), 0, tiles, scratch.data); });
    const double copy = CopyTime(bytes);
    std::printf("%-44s %8.3f ms  %6.1f GB/s  %5.2f of a copy  (%lld tiles, compiled in %.0f ms)\n",
                name.c_str(), time, static_cast<double>(bytes) / time / 1e6, time / copy,
                static_cast<long long>(tiles), compile);
  }

 private:
  std::string filter_, target_;
};

using Value = mlir::Value;
constexpr int64_t k16M = 1 << 24;

Value Softmax(TestFusion& f, Value x, const std::string& shape) {
  Value max = f.Op("reduce_max", {x}, "axes = array<i64: 1>, keep_dims = true");
  Value e = f.Op("exp", {f.Op("sub", {x, f.Op("broadcast", {max}, shape)})});
  Value sum = f.Op("reduce_sum", {e}, "axes = array<i64: 1>, keep_dims = true");
  return f.Op("div", {e, f.Op("broadcast", {sum}, shape)});
}

Value LayerNorm(TestFusion& f, Value x, Value scale, Value shift, const std::string& shape,
                double columns) {
  auto wide = [&](Value v) { return f.Op("broadcast", {v}, shape); };
  auto rows = [&](double v) {
    return f.Op("broadcast", {f.Constant(DataType::kF32, v)}, "shape = [\"4096\", \"1\"]");
  };
  auto mean = [&](Value v) {
    return f.Op("mul", {f.Op("reduce_sum", {v}, "axes = array<i64: 1>, keep_dims = true"),
                        rows(1 / columns)});
  };
  Value centered = f.Op("sub", {x, wide(mean(x))});
  Value variance = mean(f.Op("mul", {centered, centered}));
  Value factor = f.Op("rsqrt", {f.Op("add", {variance, rows(1e-5)})});
  Value y = f.Op("mul", {f.Op("mul", {centered, wide(factor)}), wide(scale)});
  return f.Op("add", {y, wide(shift)});
}

void Elementwise(Benchmark& b) {
  const Symbols n = {{"n", k16M}};
  b.Row("tanh(sigmoid(x*x+x))*x, 16777216", [](TestFusion& f) {
    Value x = f.Input(DataType::kF32, {"16777216"});
    Value y = f.Op("logistic", {f.Op("add", {f.Op("mul", {x, x}), x})});
    f.Finish("loop", {f.Op("mul", {f.Op("tanh", {y}), x})});
  });
  for (const char* op : {"neg", "exp", "log", "tanh", "erf", "sin"}) {
    b.Row(
        std::string(op) + ", 16 M",
        [&](TestFusion& f) { f.Finish("loop", {f.Op(op, {f.Input(DataType::kF32, {"n"})})}); }, n);
  }
  b.Row("neg, 16777216", [](TestFusion& f) {
    f.Finish("loop", {f.Op("neg", {f.Input(DataType::kF32, {"16777216"})})});
  });
  b.Row("add, 16777216", [](TestFusion& f) {
    Value x = f.Input(DataType::kF32, {"16777216"}), y = f.Input(DataType::kF32, {"16777216"});
    f.Finish("loop", {f.Op("add", {x, y})});
  });
  b.Row("neg, bf16, 16 M", [](TestFusion& f) {
    f.Finish("loop", {f.Op("neg", {f.Input(DataType::kBF16, {"16777216"})})});
  });
  b.Row("bias and relu 4096 x 4096", [](TestFusion& f) {
    const std::string shape = "shape = [\"4096\", \"4096\"]";
    Value x = f.Input(DataType::kF32, {"4096", "4096"}), bias = f.Input(DataType::kF32, {"4096"});
    Value zero = f.Op("broadcast", {f.Constant(DataType::kF32, 0)}, shape);
    f.Finish("loop", {f.Op("maximum", {f.Op("add", {x, f.Op("broadcast", {bias}, shape)}), zero})});
  });
  for (const char* op : {"random_uniform", "random_normal"}) {
    b.Row(std::string(op) + ", 16 M", [&](TestFusion& f) {
      f.Finish("loop", {f.Op(op, {f.Input(DataType::kI64, {})},
                             "seed = 7, shape = [\"16777216\"], dtype = f32")});
    });
  }
}

void Transpose(Benchmark& b, const char* name, DataType dtype,
               const std::vector<std::string>& shape, const char* permutation) {
  b.Row(name, [&](TestFusion& f) {
    Value x = f.Input(dtype, shape);
    f.Finish("loop", {f.Op("transpose", {x},
                           "permutation = array<i64: " + std::string(permutation) + ">")});
  });
}

void Moves(Benchmark& b) {
  Transpose(b, "transpose 4096 x 4096", DataType::kF32, {"4096", "4096"}, "1, 0");
  Transpose(b, "transpose 4097 x 4095", DataType::kF32, {"4097", "4095"}, "1, 0");
  Transpose(b, "transpose f64 4096 x 2048", DataType::kF64, {"4096", "2048"}, "1, 0");
  Transpose(b, "transpose bf16 4096 x 4096", DataType::kBF16, {"4096", "4096"}, "1, 0");
  Transpose(b, "transpose u8 4096 x 4096", DataType::kU8, {"4096", "4096"}, "1, 0");
  Transpose(b, "transpose NHWC to NCHW 64 x 56 x 56 x 64", DataType::kF32, {"64", "56", "56", "64"},
            "0, 3, 1, 2");
  Transpose(b, "transpose NCHW to NHWC 64 x 64 x 56 x 56", DataType::kF32, {"64", "64", "56", "56"},
            "0, 2, 3, 1");
  Transpose(b, "transpose heads 8 x 512 x 8 x 64", DataType::kF32, {"8", "512", "8", "64"},
            "0, 2, 1, 3");
  Transpose(b, "transpose heads 8 x 8 x 512 x 64, keys", DataType::kF32, {"8", "512", "8", "64"},
            "0, 2, 3, 1");
}

void Reductions(Benchmark& b) {
  b.Row("softmax 4096 x 4096", [](TestFusion& f) {
    Value x = f.Input(DataType::kF32, {"4096", "4096"});
    f.Finish("row", {Softmax(f, x, "shape = [\"4096\", \"4096\"]")});
  });
  for (const auto& [rows, columns] : {std::pair(4096, 4096), {512, 32768}, {512, 32784}}) {
    b.Row(absl::StrCat("softmax open, ", rows, " x ", columns),
          [](TestFusion& f) {
            Value x = f.Input(DataType::kF32, {"n", "m"});
            f.Finish("row", {Softmax(f, x, "shape = [\"n\", \"m\"]")});
          },
          {{"n", rows}, {"m", columns}});
  }
  b.Row("softmax 16384 x 512", [](TestFusion& f) {
    Value x = f.Input(DataType::kF32, {"16384", "512"});
    f.Finish("row", {Softmax(f, x, "shape = [\"16384\", \"512\"]")});
  });
  b.Row("layer norm 4096 x 1024", [](TestFusion& f) {
    Value x = f.Input(DataType::kF32, {"4096", "1024"});
    Value scale = f.Input(DataType::kF32, {"1024"}), shift = f.Input(DataType::kF32, {"1024"});
    f.Finish("row", {LayerNorm(f, x, scale, shift, "shape = [\"4096\", \"1024\"]", 1024)});
  });
  b.Row("row sums 4096 x 4096", [](TestFusion& f) {
    Value x = f.Input(DataType::kF32, {"4096", "4096"});
    f.Finish("row", {f.Op("reduce_sum", {x}, "axes = array<i64: 1>")});
  });
  b.Row("row sums open, 65536 x 16",
        [](TestFusion& f) {
          Value x = f.Input(DataType::kF32, {"n", "m"});
          f.Finish("row", {f.Op("reduce_sum", {x}, "axes = array<i64: 1>")});
        },
        {{"n", 65536}, {"m", 16}});
  b.Row("row sums with a bias 16 x 200000 x 4", [](TestFusion& f) {
    Value x = f.Input(DataType::kF32, {"16", "200000", "4"});
    Value bias =
        f.Op("broadcast", {f.Input(DataType::kF32, {"4"})}, "shape = [\"16\", \"200000\", \"4\"]");
    f.Finish("row", {f.Op("reduce_sum", {f.Op("add", {x, bias})}, "axes = array<i64: 1, 2>")});
  });
  b.Row("column sums 4096 x 1024", [](TestFusion& f) {
    Value x = f.Input(DataType::kF32, {"4096", "1024"});
    f.Finish("column", {f.Op("reduce_sum", {x}, "axes = array<i64: 0>")});
  });
  b.Row("column sums open, 64 x 1024",
        [](TestFusion& f) {
          Value x = f.Input(DataType::kF32, {"n", "m"});
          f.Finish("column", {f.Op("reduce_sum", {x}, "axes = array<i64: 0>")});
        },
        {{"n", 64}, {"m", 1024}});
  b.Row("column sums 4096 x 4096", [](TestFusion& f) {
    Value x = f.Input(DataType::kF32, {"4096", "4096"});
    f.Finish("column", {f.Op("reduce_sum", {x}, "axes = array<i64: 0>")});
  });
  b.Row("column sums 524288 x 32", [](TestFusion& f) {
    Value x = f.Input(DataType::kF32, {"524288", "32"});
    f.Finish("column", {f.Op("reduce_sum", {x}, "axes = array<i64: 0>")});
  });
}

void Pool(Benchmark& b, const char* name, const char* op, bool of_image, bool places) {
  b.Row(name, [&](TestFusion& f) {
    const std::string attributes =
        "window = array<i64: 2, 2>, strides = array<i64: 2, 2>, padding = array<i64: 0, 0, 0, 0>";
    std::vector<Value> operands = {of_image ? f.Input(DataType::kF32, {"128", "28", "28", "32"})
                                            : f.Input(DataType::kF32, {"128", "14", "14", "32"})};
    if (absl::StrContains(op, "unpool") || absl::StrContains(op, "pool_at")) {
      operands.push_back(f.Input(DataType::kI32, {"128", "14", "14", "32"}));
    }
    const std::string shape = of_image ? "" : ", image_shape = [\"128\", \"28\", \"28\", \"32\"]";
    Value y = f.Op(op, operands, attributes + shape);
    std::vector<Value> results = {y};
    if (places) results.push_back(y.getDefiningOp()->getResult(1));
    f.Finish("window", results);
  });
}

void Windows(Benchmark& b) {
  Pool(b, "max_pool 128 x 28 x 28 x 32", "max_pool", true, false);
  Pool(b, "max_pool with places", "max_pool", true, true);
  Pool(b, "max_pool_at", "max_pool_at", true, false);
  Pool(b, "max_unpool", "max_unpool", false, false);
  Pool(b, "avg_pool", "avg_pool", true, false);
  Pool(b, "avg_pool_grad", "avg_pool_grad", false, false);
}

}  // namespace
}  // namespace weft

int main(int argc, char** argv) {
  weft::Benchmark b(argc > 1 ? argv[1] : "", argc > 2 ? argv[2] : "cpu:native");
  weft::Elementwise(b);
  weft::Moves(b);
  weft::Reductions(b);
  weft::Windows(b);
}
