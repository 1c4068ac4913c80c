#include "graph/ops/constraint_cases.h"

#include "graph/ops/op_info.h"

namespace weft {
namespace {

using Ints = std::vector<int64_t>;
using Cases = std::vector<ConstraintCase>;
using Tensors = std::vector<Tensor>;

Shape Dims(const std::vector<std::string>& texts) {
  Shape shape;
  for (const std::string& text : texts) shape.push_back(*DimExpr::Parse(text));
  return shape;
}

std::string In(DataType dtype, const char* shape) {
  return std::string(weft::NameOf(dtype)) + shape;
}

// All element-wise ops follow from their entries.
void AddElementwise(Cases& cases) {
  for (const OpInfo& op : AllOps()) {
    if (!op.elementwise) continue;
    std::string name(op.name);
    DataType dtype = op.dtypes[0], other = op.dtypes[op.dtypes.size() > 1 ? 1 : 0];
    size_t first = op.operands[0].name == "condition" ? 1 : 0;
    std::vector<std::string> good(op.operands.size(), In(dtype, "[batch, 3]"));
    if (first == 1) good[0] = "bool[batch, 3]";
    std::vector<std::pair<std::string, AttributeValue>> attributes;
    std::string result = In(op.result_dtype == "bool" ? DataType::kBool : dtype, "[batch, 3]");
    if (op.result_dtype == "attribute") {
      attributes.emplace_back("dtype", DataType::kBF16);
      result = "bf16[batch, 3]";
    }
    cases.push_back({name, 0, good, attributes, {result}});
    if (op.constraints.empty()) continue;
    int number = 1;
    if (first == 1) {
      std::vector<std::string> bad = good;
      bad[0] = "i32[batch, 3]";
      cases.push_back({name, number++, bad, attributes});
    }
    std::vector<std::string> dtypes = good, shapes = good;
    dtypes.back() = In(other, "[batch, 3]");
    shapes.back() = In(dtype, "[batch, 1]");
    cases.push_back({name, number++, dtypes, attributes});
    cases.push_back({name, number++, shapes, attributes});
  }
}

void AddReductions(Cases& cases) {
  for (const OpInfo& op : AllOps()) {
    if (op.family != "reduction") continue;
    std::string name(op.name), x = In(op.dtypes[0], "[batch, 3, 4]");
    if (op.FindAttribute("axes") != nullptr) {
      cases.push_back({name, 0, {x}, {{"axes", Ints{-1, 0}}}, {In(op.dtypes[0], "[3]")}});
      cases.push_back({name, 1, {x}, {{"axes", Ints{3}}}});
      cases.push_back({name, 2, {x}, {{"axes", Ints{1, -2}}}});
    } else if (name == "cumsum") {
      cases.push_back({name, 0, {x}, {{"axis", int64_t{-1}}}, {x}});
      cases.push_back({name, 1, {x}, {{"axis", int64_t{-4}}}});
    } else {
      cases.push_back(
          {name, 0, {x}, {{"axis", int64_t{1}}, {"keep_dims", true}}, {"i64[batch, 1, 4]"}});
      cases.push_back({name, 1, {x}, {{"axis", int64_t{3}}}});
      cases.push_back({name, 2, {"f32[batch, 0]"}, {{"axis", int64_t{1}}}});
    }
  }
}

void AddMatMul(Cases& cases) {
  cases.push_back({"matmul",
                   0,
                   {"f32[batch, 2, 3]", "f32[batch, 4, 3]"},
                   {{"transpose_b", true}},
                   {"f32[batch, 2, 4]"}});
  cases.push_back({"matmul", 1, {"f32[2, 3]", "f64[3, 4]"}});
  cases.push_back({"matmul", 2, {"f32[5, 2, 3]", "f32[1, 5, 3, 4]"}});
  cases.push_back({"matmul", 3, {"f32[batch, 2, 3]", "f32[5, 3, 4]"}});
  cases.push_back({"matmul", 4, {"f32[2, 3]", "f32[3, 4]"}, {{"transpose_a", true}}});
}

void AddConvolutions(Cases& cases) {
  using Attributes = std::vector<std::pair<std::string, AttributeValue>>;
  // Images [n, 9, 8, 6], filters [3, 2, 3, 4] in 2 groups, output [n, 5, 4, 4].
  const Attributes good = {{"strides", Ints{2, 2}},
                           {"padding", Ints{1, 1, 0, 1}},
                           {"dilations", Ints{1, 1}},
                           {"groups", int64_t{2}}};
  auto with = [](Attributes attributes, const std::string& name, AttributeValue value) {
    for (auto& [key, old] : attributes) {
      if (key == name) {
        old = std::move(value);
        return attributes;
      }
    }
    attributes.emplace_back(name, std::move(value));
    return attributes;
  };
  std::string x = "f32[n, 9, 8, 6]", filter = "f32[3, 2, 3, 4]", dy = "f32[n, 5, 4, 4]";
  struct Op {
    const char* name;
    std::string a, b, result;
    Attributes attributes;
  } ops[] = {
      {"conv2d", x, filter, dy, good},
      {"conv2d_input_grad", dy, filter, x, with(good, "image_shape", Dims({"n", "9", "8", "6"}))},
      {"conv2d_filter_grad", x, dy, filter, with(good, "filter_size", Ints{3, 2})}};
  for (const Op& op : ops) {
    cases.push_back({op.name, 0, {op.a, op.b}, op.attributes, {op.result}});
    cases.push_back({op.name, 1, {op.a, "f64" + op.b.substr(3)}, op.attributes});
    cases.push_back({op.name, 2, {op.a, op.b}, with(op.attributes, "strides", Ints{0, 1})});
    cases.push_back({op.name, 3, {op.a, op.b}, with(op.attributes, "groups", int64_t{4})});
    if (op.result != x) {
      cases.push_back({op.name, 5, {op.a, op.b}, with(op.attributes, "dilations", Ints{9, 1})});
    } else {
      cases.push_back({op.name, 5, {op.a, op.b}, with(op.attributes, "dilations", Ints{1, 20})});
    }
  }
  cases.push_back({"conv2d", 2, {x, "f32[0, 2, 3, 4]"}, good, {}, nullptr, "filter"});
  const int64_t far = (int64_t{1} << 30) + 1;
  cases.push_back(
      {"conv2d", 2, {x, filter}, with(good, "strides", Ints{1, far}), {}, nullptr, "stride"});
  cases.push_back(
      {"conv2d", 2, {x, filter}, with(good, "dilations", Ints{far, 1}), {}, nullptr, "dilation"});
  cases.push_back({"conv2d",
                   2,
                   {x, filter},
                   with(good, "padding", Ints{0, 0, 0, far}),
                   {},
                   nullptr,
                   "padding"});
  cases.push_back({"conv2d", 4, {x, "f32[3, 2, 3, 5]"}, good});
  cases.push_back({"conv2d_input_grad", 4, {dy, "f32[3, 2, 3, 5]"}, ops[1].attributes});
  cases.push_back({"conv2d_filter_grad", 4, {x, "f32[n, 5, 4, 5]"}, ops[2].attributes});
  cases.push_back({"conv2d_input_grad", 6, {"f32[n, 5, 5, 4]", filter}, ops[1].attributes});
  cases.push_back({"conv2d_filter_grad", 6, {x, "f32[n, 5, 5, 4]"}, ops[2].attributes});

  // Images [n, 9, 8, 6], windows [n, 5, 4, 6].
  const Attributes pool = {
      {"window", Ints{3, 2}}, {"strides", Ints{2, 2}}, {"padding", Ints{1, 1, 0, 0}}};
  Attributes pool_grad = with(pool, "image_shape", Dims({"n", "9", "8", "6"}));
  Attributes bad_image = with(pool, "image_shape", Dims({"n", "9", "6"}));
  Attributes small_image = with(pool, "image_shape", Dims({"n", "0", "8", "6"}));
  std::string y = "f32[n, 5, 4, 6]", index = "i32[n, 5, 4, 6]";
  struct Pool {
    const char* name;
    std::vector<std::string> operands, results;
  } pools[] = {{"max_pool", {x}, {y, index}},
               {"avg_pool", {x}, {y}},
               {"max_pool_at", {x, index}, {y}},
               {"max_unpool", {y, index}, {x}},
               {"avg_pool_grad", {y}, {x}}};
  for (const Pool& op : pools) {
    bool gradient = op.results[0] == x;
    const Attributes& attributes = gradient ? pool_grad : pool;
    cases.push_back({op.name, 0, op.operands, attributes, op.results});
    std::vector<std::string> rank = op.operands, small = op.operands;
    if (!gradient) {
      rank[0] = "f32[n, 9, 6]";
      small[0] = "f32[n, 0, 8, 6]";
    }
    cases.push_back({op.name, 1, rank, gradient ? bad_image : pool});
    cases.push_back({op.name, 2, op.operands, with(attributes, "padding", Ints{3, 0, 0, 0})});
    cases.push_back({op.name,
                     2,
                     op.operands,
                     with(attributes, "window", Ints{1 << 16, 1 << 15}),
                     {},
                     nullptr,
                     "window"});
    cases.push_back({op.name, 3, small, gradient ? small_image : pool});
  }
  cases.push_back({"max_pool_at", 4, {x, "i64[n, 5, 4, 6]"}, pool});
  cases.push_back({"max_unpool", 4, {y, "i32[n, 5, 4, 5]"}, pool_grad});
  cases.push_back({"avg_pool_grad", 4, {x}, pool_grad});
}

void AddShapes(Cases& cases) {
  std::string x = "f32[batch, 2, 6]";
  cases.push_back({"reshape", 0, {x}, {{"shape", Dims({"4*batch", "0-1"})}}, {"f32[4*batch, 3]"}});
  cases.push_back({"reshape", 1, {x}, {{"shape", Dims({"batch", "13"})}}});
  cases.push_back({"reshape", 2, {x}, {{"shape", Dims({"0-1", "0-1"})}}});
  cases.push_back({"transpose", 0, {x}, {{"permutation", Ints{2, 0, 1}}}, {"f32[6, batch, 2]"}});
  cases.push_back({"transpose", 1, {x}, {{"permutation", Ints{2, 0, 2}}}});
  cases.push_back({"broadcast",
                   0,
                   {"f32[3, 1]"},
                   {{"shape", Dims({"batch", "3", "n"})}},
                   {"f32[batch, 3, n]"}});
  cases.push_back({"broadcast", 1, {x}, {{"shape", Dims({"2", "6"})}}});
  cases.push_back({"broadcast", 2, {x}, {{"shape", Dims({"batch", "2", "7"})}}});
  cases.push_back(
      {"concat", 0, {x, "f32[batch, n, 6]"}, {{"axis", int64_t{-2}}}, {"f32[batch, n+2, 6]"}});
  cases.push_back({"concat", 1, {}, {{"axis", int64_t{0}}}});
  cases.push_back({"concat", 2, {x, "f64[batch, 2, 6]"}, {{"axis", int64_t{0}}}});
  cases.push_back({"concat", 3, {x, x}, {{"axis", int64_t{3}}}});
  cases.push_back({"concat", 4, {x, "f32[batch, 3, 6]"}, {{"axis", int64_t{0}}}});
  cases.push_back({"slice",
                   0,
                   {x},
                   {{"starts", Dims({"1", "0", "1"})},
                    {"limits", Dims({"batch", "2", "6"})},
                    {"steps", Ints{1, 1, 2}}},
                   {"f32[max(0,batch-1), 2, 3]"}});
  cases.push_back(
      {"slice",
       1,
       {x},
       {{"starts", Dims({"0", "0"})}, {"limits", Dims({"batch", "2"})}, {"steps", Ints{1, 1}}}});
  cases.push_back({"slice",
                   2,
                   {x},
                   {{"starts", Dims({"0", "0", "0"})},
                    {"limits", Dims({"32", "2", "6"})},
                    {"steps", Ints{1, 1, 1}}}});
  cases.push_back({"slice",
                   3,
                   {x},
                   {{"starts", Dims({"0", "0", "0"})},
                    {"limits", Dims({"batch", "2", "6"})},
                    {"steps", Ints{1, 0, 1}}}});
  cases.push_back({"pad",
                   0,
                   {x, "f32[]"},
                   {{"low", Dims({"0", "1", "0"})},
                    {"high", Dims({"n", "0", "2"})},
                    {"interior", Ints{0, 2, 0}}},
                   {"f32[batch+n, 5, 8]"}});
  cases.push_back({"pad",
                   1,
                   {x, "f32[1]"},
                   {{"low", Dims({"0", "1", "0"})},
                    {"high", Dims({"n", "0", "2"})},
                    {"interior", Ints{0, 2, 0}}}});
  cases.push_back({"pad",
                   2,
                   {x, "f32[]"},
                   {{"low", Dims({"0", "n-1", "0"})},
                    {"high", Dims({"n", "0", "2"})},
                    {"interior", Ints{0, 2, 0}}}});
  cases.push_back({"reverse", 0, {x}, {{"axes", Ints{0, -1}}}, {x}});
  cases.push_back({"reverse", 1, {x}, {{"axes", Ints{0, -3}}}});
  cases.push_back({"iota",
                   0,
                   {},
                   {{"shape", Dims({"n", "3"})}, {"axis", int64_t{1}}, {"dtype", DataType::kI32}},
                   {"i32[n, 3]"}});
  cases.push_back({"iota",
                   1,
                   {},
                   {{"shape", Dims({"n", "3"})}, {"axis", int64_t{2}}, {"dtype", DataType::kI32}}});
  cases.push_back(
      {"dim_size", 0, {}, {{"expr", std::string("2*n")}, {"dtype", DataType::kI64}}, {"i64[]"}});
}

void AddIndexing(Cases& cases) {
  std::string x = "f32[5, batch, 2]";
  cases.push_back({"gather", 0, {x, "i32[7, 8]"}, {{"axis", int64_t{1}}}, {"f32[5, 7, 8, 2]"}});
  cases.push_back({"gather", 1, {x, "f32[7, 8]"}, {{"axis", int64_t{1}}}});
  cases.push_back({"gather", 2, {x, "i32[7, 8]"}, {{"axis", int64_t{3}}}});
  cases.push_back({"scatter_add", 0, {x, "i64[n]", "f32[n, batch, 2]"}, {}, {x}});
  cases.push_back({"scatter_add", 1, {x, "u8[n]", "f32[n, batch, 2]"}});
  cases.push_back({"scatter_add", 2, {x, "i64[n]", "f32[n, 5, 2]"}});
  cases.push_back({"one_hot",
                   0,
                   {"u8[batch]"},
                   {{"depth", std::string("10")}, {"dtype", DataType::kF32}},
                   {"f32[batch, 10]"}});
  cases.push_back(
      {"one_hot", 1, {"bool[batch]"}, {{"depth", std::string("10")}, {"dtype", DataType::kF32}}});
  cases.push_back(
      {"one_hot", 2, {"u8[batch]"}, {{"depth", std::string("n-1")}, {"dtype", DataType::kF32}}});
}

void AddRandom(Cases& cases) {
  for (const char* op : {"random_uniform", "random_normal", "random_bits"}) {
    DataType dtype = std::string(op) == "random_bits" ? DataType::kI32 : DataType::kF16;
    auto attributes = [&](int64_t seed) {
      return std::vector<std::pair<std::string, AttributeValue>>{
          {"seed", seed}, {"shape", Dims({"n", "3"})}, {"dtype", dtype}};
    };
    cases.push_back({op, 0, {"i64[]"}, attributes(7), {In(dtype, "[n, 3]")}});
    cases.push_back({op, 1, {"i32[]"}, attributes(7)});
    cases.push_back({op, 2, {"i64[]"}, attributes(int64_t{1} << 32)});
  }
}

Tensor X(Graph& g) { return g.Input("x", DataType::kF32, {"batch"}); }
Variable V(Graph& g) { return g.AddVariable("v", HostTensor::Scalar(1.0f)); }

void AddState(Cases& cases) {
  cases.push_back({"check_numerics", 0, {"f32[n]"}, {}, {"f32[n]"}});
  cases.push_back({"print", 0, {"i8[n]"}, {{"message", std::string("x")}}, {"i8[n]"}});
  cases.push_back({"assert", 0, {"bool[]", "u8[n]"}, {{"message", std::string("x")}}, {"u8[n]"}});
  cases.push_back({"assert", 1, {"bool[1]", "u8[n]"}, {{"message", std::string("x")}}});
  auto build = [&](const char* op, int constraint, std::function<void(Graph&)> f) {
    cases.push_back({op, constraint, {}, {}, {}, std::move(f)});
  };
  build("input", 2, [](Graph& g) {
    Cond(
        Full(g, DataType::kBool, {}, 1), [&] { return Tensors{X(g)}; },
        [&] { return Tensors{Full(g, DataType::kF32, {}, 1)}; });
  });
  build("assign", 1, [](Graph& g) { V(g).Assign(X(g)); });
  build("assign", 2, [](Graph& g) {
    Variable v = V(g);
    g.AddSignature("f", {}, {v.Assign(v.Read() + 1), v.Assign(v.Read() + 2)});
  });
  build("initializer", 3, [](Graph& g) { g.AddVariable("w", ReduceSum(X(g), {0})); });
  build("signature", 1, [](Graph& g) {
    Tensor x = X(g);
    g.AddSignature("f", {{"y", x}});
    g.AddSignature("f", {{"y", x}});
  });
  build("signature", 4, [](Graph& g) {
    Tensor x = X(g);
    g.AddSignature("f", {{"y", x}, {"y", x}});
  });
  build("signature", 5, [](Graph& g) {
    g.AddSignature("f", {{"y", Iota(g, {DimExpr::Symbol("k")}, 0, DataType::kF32)}});
  });
}

void AddControlFlow(Cases& cases) {
  auto build = [&](const char* op, int constraint, std::function<void(Graph&)> f) {
    cases.push_back({op, constraint, {}, {}, {}, std::move(f)});
  };
  auto holds = [](const Tensors& c) { return Less(ReduceSum(c[0], {0}), 3); };
  auto same = [](const Tensors& c) { return c; };
  build("while", 1, [=](Graph& g) { While({X(g)}, [](const Tensors& c) { return c[0]; }, same); });
  build("while", 2, [=](Graph& g) {
    While({X(g)}, holds, [](const Tensors& c) { return Tensors{Cast(c[0], DataType::kF64)}; });
  });
  build("while", 3, [=](Graph& g) { While({X(g)}, holds, same, -1); });
  build("cond", 1, [](Graph& g) {
    Tensor x = X(g);
    Cond(x, [&] { return Tensors{x}; }, [&] { return Tensors{x}; });
  });
  build("cond", 2, [](Graph& g) {
    Tensor x = X(g);
    Cond(
        Full(g, DataType::kBool, {}, 1), [&] { return Tensors{x}; },
        [&] { return Tensors{ReduceSum(x, {0})}; });
  });
  auto first = [](const Tensors& x) { return Tensors{x[0]}; };
  build("custom_gradient", 2, [=](Graph& g) {
    CustomGradient({X(g)}, first, [](const Tensors&, const Tensors&, const Tensors& dy) {
      return Tensors{ReduceSum(dy[0], {0})};
    });
  });
  cases.push_back({"stack_push", 0, {"f32[9, n]", "f32[n]", "i64[]"}, {}, {"f32[9, n]"}});
  cases.push_back({"stack_push", 1, {"f32[9, n]", "f32[n]", "i32[]"}});
  cases.push_back({"stack_push", 2, {"f32[9, n]", "f32[9]", "i64[]"}});
}

}  // namespace

std::string NameOf(const ConstraintCase& c) {
  std::string name = c.constraint == 0 ? c.op : c.op + "_c" + std::to_string(c.constraint);
  return c.part.empty() ? name : name + "_" + c.part;
}

const std::vector<ConstraintCase>& ConstraintCases() {
  static const auto* const kCases = [] {
    auto* cases = new Cases;
    AddElementwise(*cases);
    AddReductions(*cases);
    AddMatMul(*cases);
    AddConvolutions(*cases);
    AddShapes(*cases);
    AddIndexing(*cases);
    AddRandom(*cases);
    AddState(*cases);
    AddControlFlow(*cases);
    return cases;
  }();
  return *kCases;
}

}  // namespace weft
