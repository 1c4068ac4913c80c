#include "tests/ops/op_cases.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "graph/ir/op_call.h"
#include "graph/reference/elementwise.h"

namespace weft {
namespace {

using Sizes = std::vector<int64_t>;
using Inputs = std::vector<Tensor>;
using Kind = InputSpec::Kind;

// splitmix64: plain and the same everywhere.
class Draws {
 public:
  explicit Draws(uint64_t seed) : state_(seed) {}
  // In [0, 1).
  double Next() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return static_cast<double>((z ^ (z >> 31)) >> 11) * 0x1p-53;
  }

 private:
  uint64_t state_;
};

uint64_t HashOf(const std::string& text) {  // FNV-1a
  uint64_t hash = 0xcbf29ce484222325u;
  for (char c : text) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3u;
  return hash;
}

InputSpec Data(Sizes shape) { return {.shape = std::move(shape)}; }
InputSpec Data(Sizes shape, double low, double high) {
  return {std::move(shape), Kind::kData, low, high};
}
InputSpec Index(Sizes shape, double low, double high) {
  return {std::move(shape), Kind::kIndex, low, high};
}
InputSpec Scalar64(double low, double high) { return {{}, Kind::kI64, low, high}; }
InputSpec Flags(Sizes shape) { return {.shape = std::move(shape), .kind = Kind::kBool}; }

Shape Dims(const Sizes& sizes) { return Shape(sizes.begin(), sizes.end()); }

// The list as it grows: Add(op, variant, inputs, function of the inputs).
class CaseList {
 public:
  template <typename F>
  OpCase& Add(const std::string& op, const std::string& variant, std::vector<InputSpec> inputs,
              F function) {
    OpCase c;
    c.name = absl::StrCat(op, "/", variant);
    c.op = op;
    c.inputs = std::move(inputs);
    c.build = [function](Graph& graph, const Inputs& x) {
      if constexpr (std::is_invocable_r_v<std::vector<Tensor>, F, Graph&, const Inputs&>) {
        return std::vector<Tensor>(function(graph, x));
      } else if constexpr (std::is_invocable_v<F, Graph&, const Inputs&>) {
        return std::vector<Tensor>{function(graph, x)};
      } else {
        return std::vector<Tensor>{function(x)};
      }
    };
    cases_.push_back(std::move(c));
    return cases_.back();
  }
  std::vector<OpCase> Take() { return std::move(cases_); }

 private:
  std::vector<OpCase> cases_;
};

void AddElementwise(CaseList& list) {
  list.Add("clamp", "between", {Data({3, 5}), Data({3, 5}, -1.5, -0.5), Data({3, 5}, 0.5, 1.5)},
           [](const Inputs& x) { return Clamp(x[0], x[1], x[2]); });
  list.Add("clamp", "scalar_bounds", {Data({17})},
           [](const Inputs& x) { return Clamp(x[0], 0.0, 1.0); });
  for (DataType to :
       {DataType::kF64, DataType::kF32, DataType::kF16, DataType::kBF16, DataType::kI8,
        DataType::kU8, DataType::kI32, DataType::kI64, DataType::kBool}) {
    list.Add("cast", absl::StrCat("to_", std::string(NameOf(to))), {Data({3, 5}, -300, 300)},
             [to](const Inputs& x) { return Cast(x[0], to); })
        .gradient = to == DataType::kF64;
  }
}

void AddReductions(CaseList& list) {
  using Function = Tensor (*)(Operand, const std::vector<int64_t>&, bool);
  const std::pair<const char*, Function> reductions[] = {
      {"reduce_sum", ReduceSum}, {"reduce_prod", ReduceProd}, {"reduce_max", ReduceMax},
      {"reduce_min", ReduceMin}, {"reduce_and", ReduceAnd},   {"reduce_or", ReduceOr}};
  struct Variant {
    const char* name;
    Sizes shape;
    std::vector<int64_t> axes;
    bool keep_dims;
  };
  const Variant variants[] = {{"last", {3, 5}, {-1}, false},
                              {"first", {3, 5}, {0}, false},
                              {"middle_kept", {2, 3, 4}, {1}, true},
                              {"outer_and_inner", {2, 3, 2}, {0, 2}, false},
                              {"all", {7}, {0}, false},
                              {"none", {2, 3}, {}, false},
                              {"long_rows", {5, 131}, {1}, false},
                              {"long_columns", {131, 37}, {0}, true},
                              {"many", {3, 5003}, {0, 1}, false},
                              {"no_elements", {2, 0}, {1}, false},
                              {"no_rows", {0, 5}, {1}, false},
                              {"no_columns", {3, 0, 4}, {1}, false},
                              {"one_element", {1, 1}, {1}, false},
                              {"more_than_a_group", {2, 19}, {1}, false},
                              {"groups_of_both", {1, 2, 17}, {1, 2}, true}};
  for (const auto& [op, function] : reductions) {
    for (const Variant& v : variants) {
      const int64_t size = v.shape[0] * v.shape.back();
      if (op == std::string("reduce_prod") && size > 10000) continue;  // out of range
      list.Add(op, v.name, {Data(v.shape)},
               [function = function, v](const Inputs& x) {
                 return function(x[0], v.axes, v.keep_dims);
               })
          .gradient = size < 100;
    }
  }
  // Elements that are 0, where a product's gradient cannot be the product divided by the element.
  for (int64_t zeros : {1, 2}) {
    list.Add("reduce_prod", absl::StrCat("zeros", zeros), {Data({2, zeros}, 0, 0), Data({2, 3})},
             [](const Inputs& x) { return ReduceProd(Concat({x[1], x[0]}, 1), {1}); });
  }
  for (int64_t axis : {0, 1, -1}) {
    list.Add("argmax", absl::StrCat("axis", axis), {Data({3, 5, 2})},
             [axis](const Inputs& x) { return ArgMax(x[0], axis, axis == 1); });
    list.Add("argmin", absl::StrCat("axis", axis), {Data({3, 5, 2})},
             [axis](const Inputs& x) { return ArgMin(x[0], axis, axis == 1); });
  }
  list.Add("argmax", "flat", {Data({7})}, [](const Inputs& x) { return ArgMax(x[0], 0); });
  list.Add("argmin", "flat", {Data({7})}, [](const Inputs& x) { return ArgMin(x[0], 0); });
  list.Add("argmax", "no_rows", {Data({0, 5})}, [](const Inputs& x) { return ArgMax(x[0], 1); });
  list.Add("argmin", "no_rows", {Data({0, 5})}, [](const Inputs& x) { return ArgMin(x[0], 1); });
  list.Add("cumsum", "nothing", {Data({2, 0, 3})}, [](const Inputs& x) { return CumSum(x[0], 1); });
  for (bool exclusive : {false, true}) {
    for (bool reverse : {false, true}) {
      list.Add(
          "cumsum", absl::StrCat(exclusive ? "exclusive" : "inclusive", reverse ? "_reverse" : ""),
          {Data({2, 5, 3})},
          [exclusive, reverse](const Inputs& x) { return CumSum(x[0], 1, exclusive, reverse); });
    }
  }
}

void AddMatMul(CaseList& list) {
  for (bool ta : {false, true}) {
    for (bool tb : {false, true}) {
      const std::string name = absl::StrCat(ta ? "ta_" : "", tb ? "tb_" : "", "2d");
      const Sizes a = ta ? Sizes{4, 3} : Sizes{3, 4}, b = tb ? Sizes{5, 4} : Sizes{4, 5};
      auto multiply = [ta, tb](const Inputs& x) { return MatMul(x[0], x[1], ta, tb); };
      list.Add("matmul", name, {Data(a), Data(b)}, multiply);
      Sizes batch_a = {2}, batch_b = {2};
      batch_a.insert(batch_a.end(), a.begin(), a.end());
      batch_b.insert(batch_b.end(), b.begin(), b.end());
      list.Add("matmul", name + "_batch", {Data(batch_a), Data(batch_b)}, multiply);
      list.Add("matmul", name + "_shared", {Data(batch_a), Data(b)}, multiply);
    }
  }
  auto plain = [](const Inputs& x) { return MatMul(x[0], x[1]); };
  list.Add("matmul", "vector", {Data({1, 7}), Data({7, 1})}, plain);
  list.Add("matmul", "no_contraction", {Data({2, 0}), Data({0, 3})}, plain);
  list.Add("matmul", "no_rows", {Data({0, 3}), Data({3, 2})}, plain);
  list.Add("matmul", "no_columns", {Data({2, 3}), Data({3, 0})}, plain);
  list.Add("matmul", "no_batch", {Data({0, 2, 3}), Data({0, 3, 2})}, plain);
  list.Add("matmul", "no_batch_shared", {Data({0, 2, 3}), Data({3, 2})}, plain);
  list.Add("matmul", "rank4", {Data({2, 2, 2, 3}), Data({2, 2, 3, 2})}, plain);
  list.Add("matmul", "blocks", {Data({67, 130}), Data({130, 75})}, plain).gradient = false;
  list.Add("matmul", "blocks_shared", {Data({3, 17, 40}), Data({40, 33})}, plain).gradient = false;
  list.Add("matmul", "blocks_transposed", {Data({2, 40, 70}), Data({2, 51, 40})},
           [](const Inputs& x) { return MatMul(x[0], x[1], true, true); })
      .gradient = false;
  list.Add("matmul", "one_column", {Data({21, 7}), Data({7, 1})}, plain);
  list.Add("matmul", "odd_a_transposed", {Data({7, 13}), Data({7, 19})},
           [](const Inputs& x) { return MatMul(x[0], x[1], true, false); })
      .gradient = false;
  list.Add("matmul", "odd_b_transposed", {Data({9, 21}), Data({17, 21})},
           [](const Inputs& x) { return MatMul(x[0], x[1], false, true); })
      .gradient = false;
  list.Add("matmul", "odd_batches", {Data({3, 11, 5}), Data({3, 1, 11})},
           [](const Inputs& x) { return MatMul(x[0], x[1], true, true); })
      .gradient = false;
}

void AddConvolutions(CaseList& list) {
  struct Variant {
    const char* name;
    Sizes image, filter, output;
    std::vector<int64_t> strides, padding, dilations;
    int64_t groups;
  };
  const Variant variants[] = {
      {"same", {1, 4, 4, 2}, {3, 3, 2, 2}, {1, 4, 4, 2}, {1, 1}, {1, 1, 1, 1}, {1, 1}, 1},
      {"strided", {2, 5, 6, 1}, {3, 2, 1, 2}, {2, 2, 2, 2}, {2, 3}, {0, 1, 1, 0}, {1, 1}, 1},
      {"dilated", {1, 5, 6, 1}, {2, 2, 1, 1}, {1, 3, 4, 1}, {1, 1}, {0, 0, 0, 0}, {2, 2}, 1},
      {"grouped", {1, 3, 3, 4}, {2, 2, 2, 2}, {1, 2, 2, 2}, {1, 1}, {0, 0, 0, 0}, {1, 1}, 2},
      {"depthwise", {1, 3, 3, 3}, {2, 2, 1, 3}, {1, 3, 3, 3}, {1, 1}, {1, 0, 0, 1}, {1, 1}, 3},
      {"no_batch", {0, 3, 3, 2}, {2, 2, 2, 2}, {0, 2, 2, 2}, {1, 1}, {0, 0, 0, 0}, {1, 1}, 1},
      {"no_channels", {2, 3, 3, 0}, {2, 2, 0, 2}, {2, 2, 2, 2}, {1, 1}, {0, 0, 0, 0}, {1, 1}, 1},
      {"no_outputs", {2, 3, 3, 2}, {2, 2, 2, 0}, {2, 2, 2, 0}, {1, 1}, {0, 0, 0, 0}, {1, 1}, 1},
      {"pointwise", {2, 2, 3, 3}, {1, 1, 3, 2}, {2, 2, 3, 2}, {1, 1}, {0, 0, 0, 0}, {1, 1}, 1},
      {"blocks", {2, 9, 11, 17}, {3, 3, 17, 37}, {2, 9, 11, 37}, {1, 1}, {1, 1, 1, 1}, {1, 1}, 1},
      {"blocks_strided",
       {1, 14, 14, 8},
       {3, 3, 8, 50},
       {1, 7, 7, 50},
       {2, 2},
       {0, 1, 0, 1},
       {1, 1},
       1},
      {"odd_groups", {2, 7, 5, 6}, {3, 2, 3, 10}, {2, 3, 2, 10}, {3, 2}, {1, 2, 0, 1}, {1, 2}, 2},
      {"groups_to_one", {2, 6, 5, 6}, {2, 3, 2, 3}, {2, 5, 3, 3}, {1, 2}, {0, 1, 1, 1}, {2, 1}, 3},
      {"multiplier", {1, 5, 6, 3}, {3, 3, 1, 6}, {1, 5, 6, 6}, {1, 1}, {1, 1, 1, 1}, {1, 1}, 3},
      {"wide_depthwise",
       {1, 6, 7, 35},
       {3, 3, 1, 35},
       {1, 3, 4, 35},
       {2, 2},
       {1, 1, 1, 1},
       {1, 1},
       35},
      {"odd_dilations",
       {1, 11, 10, 5},
       {3, 3, 5, 7},
       {1, 4, 4, 7},
       {3, 2},
       {2, 1, 1, 2},
       {2, 3},
       1},
  };
  for (const Variant& v : variants) {
    int64_t elements = 1;
    for (int64_t size : v.image) elements *= size;
    const bool small = elements < 200;
    OpCase& conv =
        list.Add("conv2d", v.name, {Data(v.image), Data(v.filter)}, [v](const Inputs& x) {
          return Conv2D(x[0], x[1], v.strides, v.padding, v.dilations, v.groups);
        });
    conv.gradient = small;
    // Batch and pixels; the gradients of this case are the other two ops with open dimensions.
    conv.open = {{0, 1, 2}, {}};
    list.Add("conv2d_input_grad", v.name, {Data(v.output), Data(v.filter)},
             [v](const Inputs& x) {
               return Conv2DInputGrad(x[0], x[1], Dims(v.image), v.strides, v.padding, v.dilations,
                                      v.groups);
             })
        .gradient = small;
    list.Add("conv2d_filter_grad", v.name, {Data(v.image), Data(v.output)},
             [v](const Inputs& x) {
               return Conv2DFilterGrad(x[0], x[1], {v.filter[0], v.filter[1]}, v.strides, v.padding,
                                       v.dilations, v.groups);
             })
        .gradient = small;
  }
}

void AddPooling(CaseList& list) {
  struct Variant {
    const char* name;
    Sizes image, output;
    std::vector<int64_t> window, strides, padding;
  };
  const Variant variants[] = {
      {"even", {1, 4, 4, 2}, {1, 2, 2, 2}, {2, 2}, {2, 2}, {0, 0, 0, 0}},
      {"overlapping", {1, 5, 4, 1}, {1, 3, 4, 1}, {3, 2}, {2, 1}, {1, 1, 0, 1}},
      {"whole", {2, 3, 2, 1}, {2, 1, 1, 1}, {3, 2}, {1, 1}, {0, 0, 0, 0}},
      {"channels", {1, 4, 3, 19}, {1, 2, 2, 19}, {3, 2}, {1, 1}, {0, 0, 0, 0}},
      {"no_batch", {0, 4, 3, 2}, {0, 2, 2, 2}, {3, 2}, {1, 1}, {0, 0, 0, 0}},
      {"no_pixels", {1, 0, 3, 2}, {1, 1, 2, 2}, {2, 2}, {1, 1}, {1, 1, 0, 0}},
  };
  for (const Variant& v : variants) {
    const std::vector<std::vector<int>> open = {{0, 1, 2}};
    list.Add("max_pool", v.name, {Data(v.image)},
             [v](Graph&, const Inputs& x) {
               const auto result = MaxPool(x[0], v.window, v.strides, v.padding);
               return Inputs{result.y, result.index};
             })
        .open = open;
    const int64_t places = v.window[0] * v.window[1];
    list.Add("max_unpool", v.name, {Data(v.output), Index(v.output, 0, places - 1)},
             [v](const Inputs& x) {
               return MaxUnpool(x[0], x[1], Dims(v.image), v.window, v.strides, v.padding);
             });
    list.Add(
        "max_pool_at", v.name, {Data(v.image), Index(v.output, 0, places - 1)},
        [v](const Inputs& x) { return MaxPoolAt(x[0], x[1], v.window, v.strides, v.padding); });
    for (bool count_padding : {false, true}) {
      const std::string name = absl::StrCat(v.name, count_padding ? "_counted" : "");
      list.Add("avg_pool", name, {Data(v.image)},
               [v, count_padding](const Inputs& x) {
                 return AvgPool(x[0], v.window, v.strides, v.padding, count_padding);
               })
          .open = open;
      list.Add("avg_pool_grad", name, {Data(v.output)}, [v, count_padding](const Inputs& x) {
        return AvgPoolGrad(x[0], Dims(v.image), v.window, v.strides, v.padding, count_padding);
      });
    }
  }
}

void AddShapes(CaseList& list) {
  list.Add("reshape", "merge", {Data({2, 3, 4})},
           [](const Inputs& x) { return Reshape(x[0], {x[0].dim(0) * x[0].dim(1), x[0].dim(2)}); })
      .open = {{0, 1, 2}};
  list.Add("reshape", "split", {Data({5, 12})},
           [](const Inputs& x) { return Reshape(x[0], {x[0].dim(0), DimExpr(3), DimExpr(4)}); })
      .open = {{0}};
  list.Add("reshape", "nothing", {Data({0, 4})},
           [](const Inputs& x) { return Reshape(x[0], Dims({2, 0, 2})); });
  list.Add("reshape", "to_scalar", {Data({1, 1})},
           [](const Inputs& x) { return Reshape(x[0], {}); });
  list.Add("transpose", "rotate", {Data({2, 3, 4})},
           [](const Inputs& x) { return Transpose(x[0], {2, 0, 1}); });
  list.Add("transpose", "swap", {Data({5, 3})},
           [](const Inputs& x) { return Transpose(x[0], {1, 0}); });
  list.Add("transpose", "nothing", {Data({0, 3})},
           [](const Inputs& x) { return Transpose(x[0], {1, 0}); });
  list.Add("broadcast", "new_and_repeated", {Data({2, 1, 3})},
           [](const Inputs& x) {
             return Broadcast(x[0], {DimExpr(2), x[0].dim(0), DimExpr(4), x[0].dim(2)});
           })
      .open = {{0, 2}};
  list.Add("broadcast", "nothing", {Data({1, 3})},
           [](const Inputs& x) { return Broadcast(x[0], Dims({0, 3})); });
  list.Add("broadcast", "scalar", {Data({})},
           [](const Inputs& x) { return Broadcast(x[0], Dims({3, 2})); });
  list.Add("broadcast", "ones_stay", {Data({1, 3})},
           [](const Inputs& x) { return Broadcast(x[0], Dims({1, 3})); });
  list.Add("concat", "last", {Data({2, 3}), Data({2, 1}), Data({2, 0})},
           [](const Inputs& x) { return Concat({x[0], x[1], x[2]}, -1); });
  list.Add("concat", "first", {Data({1, 3}), Data({2, 3})},
           [](const Inputs& x) { return Concat({x[0], x[1], x[0]}, 0); });
  list.Add("slice", "steps", {Data({3, 7})},
           [](const Inputs& x) {
             return Slice(x[0], Dims({1, 0}),
                          {x[0].dim(0), DimExpr::Max(x[0].dim(1) - DimExpr(1), 0)}, {1, 3});
           })
      .open = {{0, 1}};
  list.Add("slice", "every_other", {Data({7})},
           [](const Inputs& x) { return Slice(x[0], Dims({0}), {x[0].dim(0)}, {2}); })
      .open = {{0}};
  list.Add("slice", "start_and_step", {Data({8, 5})},
           [](const Inputs& x) {
             return Slice(x[0], Dims({2, 1}), {x[0].dim(0), x[0].dim(1)}, {3, 4});
           })
      .open = {{0, 1}};
  list.Add("slice", "empty", {Data({3, 4})},
           [](const Inputs& x) { return Slice(x[0], Dims({3, 1}), Dims({3, 4}), {1, 2}); });
  list.Add("pad", "all_sides", {Data({2, 3}), Data({})},
           [](const Inputs& x) { return Pad(x[0], x[1], Dims({1, 0}), Dims({0, 2}), {0, 2}); })
      .open = {{0, 1}, {}};
  list.Add("pad", "interior", {Data({3, 2}), Data({})},
           [](const Inputs& x) { return Pad(x[0], x[1], Dims({2, 1}), Dims({0, 3}), {1, 2}); })
      .open = {{0, 1}, {}};
  list.Add("pad", "of_nothing", {Data({0, 2}), Data({})},
           [](const Inputs& x) { return Pad(x[0], x[1], Dims({1, 1}), Dims({1, 0}), {3, 0}); });
  list.Add("reverse", "two", {Data({2, 3, 2})},
           [](const Inputs& x) { return Reverse(x[0], {0, -1}); });
  list.Add("reverse", "nothing", {Data({0, 3})},
           [](const Inputs& x) { return Reverse(x[0], {0, 1}); });
  // Added to the input, which gives the size.
  list.Add("iota", "rows", {Data({3}, 0, 9)},
           [](Graph& graph, const Inputs& x) {
             return Iota(graph, {x[0].dim(0), DimExpr(4)}, 0, x[0].dtype()) +
                    Reshape(x[0], {x[0].dim(0), DimExpr(1)});
           })
      .open = {{0}};
  list.Add("dim_size", "known", {},
           [](Graph& graph, const Inputs&) { return DimSize(graph, DimExpr(7), DataType::kI64); });
  // Added to the input, which gives the size.
  list.Add("dim_size", "of_an_input", {Data({3}, 0, 9)},
           [](Graph& graph, const Inputs& x) {
             return x[0] +
                    Cast(DimSize(graph, x[0].dim(0) * DimExpr(2) + DimExpr(1), DataType::kI32),
                         x[0].dtype());
           })
      .open = {{0}};
  list.Add("constant", "matrix", {Data({2})}, [](Graph& graph, const Inputs& x) {
    return Cast(graph.Constant(HostTensor::Of<double>({2}, {1.5, -2})), x[0].dtype());
  });
}

void AddIndexing(CaseList& list) {
  // Indices reach outside, where they name nothing.
  list.Add("gather", "rows", {Data({4, 3}), Index({2, 3}, -1, 4)},
           [](const Inputs& x) { return Gather(x[0], x[1], 0); });
  list.Add("gather", "inner", {Data({2, 4, 3}), Index({5}, -1, 4)},
           [](const Inputs& x) { return Gather(x[0], x[1], 1); });
  list.Add("gather", "scalar_last", {Data({2, 4}), Scalar64(2, 2)},
           [](const Inputs& x) { return Gather(x[0], x[1], -1); });
  auto rows = [](const Inputs& x) { return Gather(x[0], x[1], 0); };
  list.Add("gather", "from_nothing", {Data({0, 3}), Index({4}, -1, 1)}, rows);
  list.Add("gather", "no_indices", {Data({4, 3}), Index({0}, 0, 0)}, rows);
  list.Add("gather", "no_columns", {Data({4, 0}), Index({2}, 0, 3)}, rows);
  list.Add("scatter_add", "rows", {Data({4, 2}), Index({3, 2}, -1, 4), Data({3, 2, 2})},
           [](const Inputs& x) { return ScatterAdd(x[0], x[1], x[2]); });
  list.Add("scatter_add", "elements", {Data({5}), Index({7}, 0, 4), Data({7})},
           [](const Inputs& x) { return ScatterAdd(x[0], x[1], x[2]); });
  auto add = [](const Inputs& x) { return ScatterAdd(x[0], x[1], x[2]); };
  list.Add("scatter_add", "to_nothing", {Data({0, 2}), Index({3}, -1, 1), Data({3, 2})}, add);
  list.Add("scatter_add", "no_indices", {Data({4, 2}), Index({0}, 0, 0), Data({0, 2})}, add);
  list.Add("scatter_add", "no_columns", {Data({4, 0}), Index({3}, 0, 3), Data({3, 0})}, add);
  list.Add("one_hot", "rows", {Index({2, 3}, -1, 5), Data({})},
           [](const Inputs& x) { return OneHot(x[0], DimExpr(5), x[1].dtype()); })
      .open = {{0, 1}, {}};
  list.Add("one_hot", "no_depth", {Index({2}, -1, 1), Data({})},
           [](const Inputs& x) { return OneHot(x[0], DimExpr(0), x[1].dtype()); });
}

void AddRandom(CaseList& list) {
  auto dims = [](const Inputs& x) { return x[1].shape(); };
  // Added to the input, which gives the sizes.
  list.Add(
          "random_uniform", "any", {Scalar64(-9, 9), Data({5, 3})},
          [dims](const Inputs& x) { return RandomUniform(x[0], 17, dims(x), x[1].dtype()) + x[1]; })
      .open = {{}, {0, 1}};
  list.Add("random_normal", "any", {Scalar64(-9, 9), Data({5, 3})},
           [dims](const Inputs& x) { return RandomNormal(x[0], 17, dims(x), x[1].dtype()) + x[1]; })
      .open = {{}, {0, 1}};
  list.Add("random_bits", "any", {Scalar64(-9, 9)},
           [](const Inputs& x) { return RandomBits(x[0], 17, Dims({7}), DataType::kI32); });
}

void AddState(CaseList& list) {
  // Inputs stand in every graph; here one is the op under test.
  list.Add("input", "passed_on", {Data({2, 3})}, [](const Inputs& x) { return x[0]; }).open = {
      {0, 1}};
  list.Add("assign", "value", {Data({2, 3})}, [](Graph& graph, const Inputs& x) {
    Variable v = graph.AddVariable("v", ZerosLike(Full(graph, x[0].dtype(), x[0].shape(), 0)));
    return v.Assign(x[0]);
  });
  list.Add("check_numerics", "fine", {Data({3})},
           [](const Inputs& x) { return CheckNumerics(x[0], "case"); })
      .open = {{0}};
  list.Add("print", "few", {Data({3})}, [](const Inputs& x) { return Print(x[0], "case", 2); });
  list.Add("assert", "holds", {Data({3}), Scalar64(0, 9)},
           [](const Inputs& x) { return Assert(Equal(x[1], x[1]), x[0], "case"); });
}

void AddControlFlow(CaseList& list) {
  // x -> x * y + c, four times: a carried float, a captured one, a counter.
  auto power = [](Graph& graph, const Inputs& x) {
    Tensor zero = graph.Constant(HostTensor::Scalar<int64_t>(0));
    std::vector<Tensor> results = While(
        {zero, x[0]}, [](const Inputs& v) { return Less(v[0], 4.0); },
        [&](const Inputs& v) { return Inputs{v[0] + 1.0, v[1] * x[1] + x[0]}; }, 6);
    return Inputs{results.at(1)};
  };
  for (int64_t size : {3, 0}) {
    OpCase& c = list.Add("while", size == 0 ? "power_of_nothing" : "power",
                         {Data({size}), Data({size})}, power);
    c.floats_only = true;
    c.open = {{0}, {0}};
  }
  // The number of iterations depends on the data; one carried value feeds another.
  list.Add("while", "until", {Data({}, 0.5, 0.9), Data({2})},
           [](Graph&, const Inputs& x) {
             std::vector<Tensor> results = While(
                 {x[0], x[1]}, [](const Inputs& v) { return Less(v[0], 3.0); },
                 [](const Inputs& v) { return Inputs{v[0] * 2.0, v[1] * v[0]}; }, 5);
             return Inputs{results.at(1)};
           })
      .floats_only = true;
  list.Add("while", "never", {Data({2})},
           [](Graph&, const Inputs& x) {
             return While(
                 {x[0]}, [](const Inputs& v) { return Less(ReduceSum(v[0], {0}), -100.0); },
                 [](const Inputs& v) { return Inputs{v[0] * v[0]}; }, 3);
           })
      .floats_only = true;
  // Values change places three times: for every dtype.
  list.Add("while", "exchange", {Data({3}), Data({3})}, [](Graph& graph, const Inputs& x) {
    Tensor zero = graph.Constant(HostTensor::Scalar<int64_t>(0));
    std::vector<Tensor> results = While(
        {x[0], zero, x[1]}, [](const Inputs& v) { return Less(v[1], 3.0); },
        [](const Inputs& v) { return Inputs{v[2], v[1] + 1.0, v[0]}; }, 3);
    return Inputs{results.at(0), results.at(2)};
  });
  // A stack that is pushed on, and what was pushed read: by its gradient as well.
  list.Add("while", "stack", {Data({2}, 0.5, 1), Data({3, 2}, 0.5, 1)},
           [](Graph& graph, const Inputs& x) {
             Tensor zero = graph.Constant(HostTensor::Scalar<int64_t>(0));
             std::vector<Tensor> results = While(
                 {zero, x[1], ReduceSum(x[0], {0})},
                 [](const Inputs& v) { return Less(v[0], 3.0); },
                 [&](const Inputs& v) {
                   Tensor stack = StackPush(v[1], x[0] * v[2], v[0]);
                   Tensor y = v[2] + ReduceSum(stack * stack, {0, 1}) * 0.125;
                   return Inputs{v[0] + 1.0, stack, y};
                 },
                 3);
             return Inputs{results.at(2)};
           })
      .floats_only = true;
  // The same stack read from one iteration on to the next alone.
  list.Add("while", "stack_of_before", {Data({}, 0.5, 1), Data({3}, 0.5, 1)},
           [](Graph& graph, const Inputs& x) {
             Tensor zero = graph.Constant(HostTensor::Scalar<int64_t>(0));
             std::vector<Tensor> results = While(
                 {zero, x[1], x[0]}, [](const Inputs& v) { return Less(v[0], 3.0); },
                 [](const Inputs& v) {
                   return Inputs{v[0] + 1.0, StackPush(v[1], v[2] * v[2], v[0]),
                                 v[2] + ReduceSum(v[1] * v[1], {0}) * 0.25};
                 },
                 3);
             return Inputs{results.at(2)};
           })
      .floats_only = true;
  // The predicate is fed, so that it is known at run time alone.
  for (double taken : {1, 0}) {
    list.Add("cond", taken ? "then" : "else", {Data({2}), Data({2}), Scalar64(taken, taken)},
             [](const Inputs& x) {
               return Cond(
                   Equal(x[2], 1.0), [&] { return Inputs{x[0] * x[1] * x[1]}; },
                   [&] { return Inputs{x[1] * x[1] * x[1]}; })[0];
             })
        .floats_only = true;
    list.Add("cond", taken ? "first" : "second", {Data({2}), Data({2}), Scalar64(taken, taken)},
             [](Graph&, const Inputs& x) {
               return Cond(
                   Equal(x[2], 1.0), [&] { return Inputs{x[0], x[1]}; },
                   [&] { return Inputs{x[1], x[1]}; });
             })
        .open = {{0}, {0}, {}};
  }
  // A loop within a branch within a loop.
  list.Add("while", "nested", {Data({2}, 0.5, 1.5)},
           [](Graph& graph, const Inputs& x) {
             Tensor zero = graph.Constant(HostTensor::Scalar<int64_t>(0));
             std::vector<Tensor> results = While(
                 {zero, x[0]}, [](const Inputs& v) { return Less(v[0], 2.0); },
                 [&](const Inputs& v) {
                   Tensor y = Cond(
                       Equal(v[0], 0.0), [&] { return Inputs{v[1] * x[0]}; },
                       [&] {
                         return While(
                             {v[1]},
                             [](const Inputs& w) { return Less(ReduceMax(w[0], {0}), 4.0); },
                             [&](const Inputs& w) { return Inputs{w[0] * 1.5 + x[0]}; }, 8);
                       })[0];
                   return Inputs{v[0] + 1.0, y};
                 },
                 3);
             return Inputs{results.at(1)};
           })
      .floats_only = true;
  // The true gradient of x * y * y, given by hand; an index passes through both.
  list.Add("custom_gradient", "by_hand", {Data({3}), Data({3}), Index({2}, 0, 9)},
           [](Graph&, const Inputs& inputs) {
             return CustomGradient(
                 inputs, [](const Inputs& x) { return Inputs{x[0] * x[1] * x[1], x[2]}; },
                 [](const Inputs& x, const Inputs& y, const Inputs& dy) {
                   return Inputs{dy[0] * x[1] * x[1], dy[0] * x[0] * x[1] * 2.0, y[1]};
                 });
           })
      .floats_only = true;
  // One within the body of another, in a loop.
  list.Add("custom_gradient", "nested", {Data({2}, 0.8, 0.95)},
           [](Graph&, const Inputs& inputs) {
             auto cube = [](const Inputs& x) {
               auto square = [](const Inputs& v) { return Inputs{v[0] * v[0]}; };
               auto adjoint = [](const Inputs& v, const Inputs&, const Inputs& dy) {
                 return Inputs{dy[0] * v[0] * 2.0};
               };
               return Inputs{CustomGradient({x[0]}, square, adjoint)[0] * x[0]};
             };
             auto adjoint = [](const Inputs& x, const Inputs& y, const Inputs& dy) {
               return Inputs{dy[0] * y[0] / x[0] * 3.0};
             };
             return While(
                 inputs, [](const Inputs& v) { return Greater(ReduceSum(v[0], {0}), 0.6); },
                 [&](const Inputs& v) { return CustomGradient(v, cube, adjoint); }, 9);
           })
      .floats_only = true;
  for (int64_t index : {0, 2, 3}) {
    list.Add("stack_push", absl::StrCat("at", index),
             {Data({3, 2}), Data({2}),
              Scalar64(static_cast<double>(index), static_cast<double>(index))},
             [](const Inputs& x) { return StackPush(x[0], x[1], x[2]); })
        .open = {{1}, {0}, {}};
  }
}

const std::vector<OpCase>& StructuredCases() {
  static const auto* cases = [] {
    CaseList list;
    AddElementwise(list);
    AddReductions(list);
    AddMatMul(list);
    AddConvolutions(list);
    AddPooling(list);
    AddShapes(list);
    AddIndexing(list);
    AddRandom(list);
    AddState(list);
    AddControlFlow(list);
    return new std::vector<OpCase>(list.Take());
  }();
  return *cases;
}

// Every operand of one shape, for each class of shapes: no element, one, a prime, several vectors
// and a rest, several dimensions, more than a tile. The large ones would take finite differences
// long.
std::vector<OpCase> ElementwiseCases(const OpInfo& op) {
  const std::pair<const char*, Sizes> shapes[] = {
      {"scalar", {}},     {"none", {0}},     {"one", {1}},          {"prime", {13}},
      {"matrix", {3, 7}}, {"vectors", {67}}, {"rows", {5, 2, 131}}, {"large", {37, 1031}}};
  std::vector<OpCase> cases;
  for (const auto& [name, shape] : shapes) {
    OpCase c;
    c.gradient = shape.empty() || shape.back() < 20;
    c.name = absl::StrCat(std::string(op.name), "/", name);
    c.op = std::string(op.name);
    for (const OperandInfo& operand : op.operands) {
      c.inputs.push_back(operand.name == "condition" ? Flags(shape) : Data(shape));
    }
    const int index = op.index;
    c.build = [index](Graph&, const Inputs& x) {
      ir::OpCall call(index);
      for (const Tensor& operand : x) call.Take(operand);
      return call.Build();
    };
    cases.push_back(std::move(c));
  }
  return cases;
}

}  // namespace

const std::vector<std::pair<std::string, std::string>>& OpsWithoutCases() {
  static const auto* ops = new std::vector<std::pair<std::string, std::string>>{
      {"graph", "holds a graph"},
      {"variable", "declares; has no value"},
      {"read_variable", "stands in the cases of assign"},
      {"initializer", "declares; has no value"},
      {"signature", "declares; has no value"},
      {"yield", "ends the bodies in the cases of while and cond"}};
  return *ops;
}

std::vector<OpCase> CasesOf(const OpInfo& op) {
  std::vector<OpCase> cases;
  for (const OpCase& c : StructuredCases()) {
    if (c.op == op.name) cases.push_back(c);
  }
  if (cases.empty() && op.elementwise) return ElementwiseCases(op);
  return cases;
}

namespace {

bool NamesNoSizes(const OpCase& c) {
  const OpInfo* info = FindOp(c.op);
  return info->elementwise || info->family == "reduction" || c.op == "matmul" ||
         c.op == "transpose" || c.op == "reverse" || c.op == "gather" || c.op == "scatter_add" ||
         c.op == "concat";
}

bool IsOpen(const OpCase& c, size_t input, int64_t axis) {
  if (c.inputs[input].shape[axis] <= 1) return false;
  if (!c.open) return NamesNoSizes(c);
  const std::vector<int>& axes = (*c.open)[input];
  return std::find(axes.begin(), axes.end(), axis) != axes.end();
}

}  // namespace

HostTensor DrawInput(const OpCase& c, size_t index, DataType dtype, Resize resize) {
  const InputSpec& spec = c.inputs[index];
  const TestInfo& test = FindOp(c.op)->test;
  double low = spec.low.value_or(test.low), high = spec.high.value_or(test.high);
  const bool whole = spec.kind == Kind::kIndex || spec.kind == Kind::kI64 || IsInteger(dtype);
  if (spec.kind == Kind::kIndex) dtype = DataType::kI32;
  if (spec.kind == Kind::kI64) dtype = DataType::kI64;
  if (spec.kind == Kind::kBool) dtype = DataType::kBool;
  if (whole) high = std::floor(high) + 1 - 1e-9;  // so that floor(draw) reaches the end
  Sizes shape = spec.shape;
  for (size_t axis = 0; axis < shape.size(); ++axis) {
    if (resize != nullptr && IsOpen(c, index, static_cast<int64_t>(axis))) {
      shape[axis] = resize(shape[axis]);
    }
  }
  HostTensor values = *HostTensor::Create(DataType::kF64, shape);
  Draws draws(HashOf(c.name) + index);
  for (double& value : values.mutable_values<double>()) {
    value = low + (high - low) * draws.Next();
    if (whole) value = std::floor(value);
    if (dtype == DataType::kBool) value = value > (low + high) / 2;
  }
  return *reference::Cast(values, dtype);
}

bool CanBeOpen(const OpCase& c) {
  if (!c.open) return NamesNoSizes(c);
  for (size_t i = 0; i < c.inputs.size(); ++i) {
    for (size_t axis = 0; axis < c.inputs[i].shape.size(); ++axis) {
      if (IsOpen(c, i, static_cast<int64_t>(axis))) return true;
    }
  }
  return false;
}

Tensor MakeInput(Graph& graph, const OpCase& c, size_t index, DataType dtype, bool open) {
  const HostTensor value = DrawInput(c, index, dtype);
  std::vector<Graph::Dim> dims;
  for (int64_t axis = 0; axis < value.rank(); ++axis) {
    const int64_t size = value.shape()[axis];
    dims.push_back(open && IsOpen(c, index, axis)
                       ? Graph::Dim(DimExpr::Symbol(absl::StrCat("s", size)))
                       : Graph::Dim(size));
  }
  return graph.Input(absl::StrCat("x", index), value.dtype(), dims);
}

std::vector<DataType> DTypesOf(const OpCase& c) {
  std::vector<DataType> dtypes;
  for (DataType dtype : FindOp(c.op)->dtypes) {
    if (!c.floats_only || IsFloat(dtype)) dtypes.push_back(dtype);
  }
  return dtypes;
}

}  // namespace weft
