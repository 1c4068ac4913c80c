#include "compiler/codegen/test_fusion.h"

#include <sys/mman.h>

#include <cmath>
#include <cstring>
#include <random>

#include "graph/ir/dialect.h"
#include "graph/ir/types.h"
#include "graph/ops/evaluate.h"
#include "graph/ops/infer.h"
#include "graph/ops/op_info.h"
#include "llvm/Support/raw_ostream.h"
#include "mlir/AsmParser/AsmParser.h"

namespace weft {
namespace {

// Memory that ends where a page that cannot be touched begins.
class GuardedMemory {
 public:
  explicit GuardedMemory(size_t size) : pages_((size + 4095) / 4096 * 4096 + 4096) {
    base_ = static_cast<char*>(
        mmap(nullptr, pages_ + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    mprotect(base_ + pages_, 4096, PROT_NONE);
    std::memset(base_, 0x5a, pages_);
    data_ = base_ + pages_ - size;
  }
  GuardedMemory(const GuardedMemory&) = delete;
  ~GuardedMemory() { munmap(base_, pages_ + 4096); }
  char* data() { return data_; }
  bool FrontIntact() const {
    for (const char* p = base_; p < data_; ++p) {
      if (*p != 0x5a) return false;
    }
    return true;
  }

 private:
  size_t pages_;
  char* base_;
  char* data_;
};

std::vector<int64_t> Sizes(const Shape& shape, const Symbols& symbols) {
  std::vector<int64_t> sizes;
  for (const DimExpr& dim : shape) sizes.push_back(*dim.Evaluate(symbols));
  return sizes;
}

double ValueAt(const HostTensor& tensor, int64_t i) {
  return WithType(tensor.dtype(), [&](auto type) {
    return static_cast<double>(tensor.values<decltype(type)>()[i]);
  });
}

double UlpOf(DataType dtype, double x) {
  if (!IsFloat(dtype)) return 1;
  int exponent;
  std::frexp(std::fabs(x), &exponent);
  const int digits = dtype == DataType::kF64   ? 53
                     : dtype == DataType::kF32 ? 24
                     : dtype == DataType::kF16 ? 11
                                               : 8;
  const int lowest = dtype == DataType::kF64 ? -1021 : dtype == DataType::kF16 ? -13 : -125;
  return std::ldexp(1.0, std::max(exponent, lowest) - digits);
}

}  // namespace

Target WithoutCaches(const std::string& name) {
  Target target = *Target::Parse(name);
  target.l3_bytes = 1024;
  return target;
}

TestFusion::TestFusion(const Target& target) : target_(target) {
  context_.loadDialect<ir::WeftDialect, plan::PlanDialect>();
  module_ = std::make_unique<TestModule>(context_, target_);
  graph_ = mlir::ModuleOp::create(mlir::UnknownLoc::get(&context_));
  block_ = std::make_unique<mlir::Block>();
}

mlir::Value TestFusion::Input(DataType dtype, std::initializer_list<const char*> shape) {
  Shape dims;
  for (const char* dim : shape) dims.push_back(*DimExpr::Parse(dim));
  return block_->addArgument(ir::MakeTensorType(&context_, dtype, dims),
                             mlir::UnknownLoc::get(&context_));
}

mlir::Value TestFusion::Op(const std::string& name, std::vector<mlir::Value> operands,
                           const std::string& attributes, int result) {
  const OpInfo* info = FindOp(name);
  auto dictionary =
      mlir::cast<mlir::DictionaryAttr>(mlir::parseAttribute("{" + attributes + "}", &context_));
  // Defaults, as the builder puts them.
  mlir::NamedAttrList list(dictionary);
  mlir::Builder builder(&context_);
  for (const AttrInfo& attribute : info->attributes) {
    if (!attribute.has_default || list.get(attribute.name)) continue;
    if (attribute.kind == AttrKind::kBool) {
      list.set(attribute.name, builder.getBoolAttr(attribute.default_int != 0));
    } else if (attribute.kind == AttrKind::kInt) {
      list.set(attribute.name, builder.getI64IntegerAttr(attribute.default_int));
    } else {
      list.set(attribute.name, builder.getStringAttr(attribute.default_string));
    }
  }
  dictionary = list.getDictionary(&context_);
  std::vector<TensorType> types;
  for (mlir::Value operand : operands) {
    types.push_back({ir::DataTypeOf(operand), ir::ShapeOf(operand)});
  }
  InferContext infer(*info, types, Attributes(dictionary.getAsOpaquePointer()));
  const absl::Status status = info->infer(infer);
  if (!status.ok()) {
    ADD_FAILURE() << status;
    std::abort();
  }
  for (const auto& changed : infer.new_attributes()) {
    if (auto* number = std::get_if<int64_t>(&changed.value)) {
      list.set(changed.name, builder.getI64IntegerAttr(*number));
    } else if (auto* numbers = std::get_if<std::vector<int64_t>>(&changed.value)) {
      list.set(changed.name, builder.getDenseI64ArrayAttr(*numbers));
    } else {
      list.set(changed.name, ir::DimArrayAttr(&context_, std::get<Shape>(changed.value)));
    }
  }
  mlir::OperationState state(mlir::UnknownLoc::get(&context_), "weft." + name);
  state.addOperands(operands);
  for (const TensorType& type : infer.results()) {
    state.addTypes(ir::MakeTensorType(&context_, type.dtype, type.shape));
  }
  state.addAttributes(list.getAttrs());
  mlir::Operation* op = mlir::Operation::create(state);
  block_->push_back(op);
  return op->getResult(result);
}

mlir::Value TestFusion::Constant(DataType dtype, double value) {
  std::string bytes(SizeOf(dtype), '\0');
  WithType(dtype, [&](auto type) {
    const auto element = static_cast<decltype(type)>(static_cast<float>(value));
    std::memcpy(bytes.data(), &element, sizeof element);
    return 0;
  });
  mlir::OperationState state(mlir::UnknownLoc::get(&context_), "weft.constant");
  mlir::Attribute splat = ir::SplatAttrOf(&context_, dtype, {}, bytes.data());
  state.addAttribute("value", splat);
  state.addTypes(ir::MakeTensorType(&context_, dtype, {}));
  mlir::Operation* op = mlir::Operation::create(state);
  block_->push_back(op);
  return op->getResult(0);
}

void TestFusion::Finish(const std::string& kind, std::vector<mlir::Value> results) {
  mlir::OpBuilder b(&context_);
  const mlir::Location location = mlir::UnknownLoc::get(&context_);
  // Operands come from a function around the fusion.
  b.setInsertionPointToEnd(graph_->getBody());
  auto function = mlir::func::FuncOp::create(b, location, "graph",
                                             b.getFunctionType(block_->getArgumentTypes(), {}));
  mlir::Block* entry = function.addEntryBlock();
  b.setInsertionPointToEnd(entry);
  std::vector<mlir::Type> types;
  for (mlir::Value result : results) types.push_back(result.getType());
  fusion_ = plan::FusionOp::create(b, location, types, entry->getArguments(), kind);
  mlir::Block* body = fusion_.body();
  for (auto [from, to] : llvm::zip(block_->getArguments(), body->getArguments())) {
    for (mlir::Value& result : results) {
      if (result == from) result = to;
    }
    from.replaceAllUsesWith(to);
  }
  body->getOperations().splice(body->end(), block_->getOperations());
  b.setInsertionPointToEnd(body);
  plan::YieldOp::create(b, location, results);
  auto spec = EmitKernel(fusion_, target_, module_->module());
  ASSERT_TRUE(spec.ok()) << spec.status();
  spec_ = *spec;
  llvm::raw_string_ostream(text_) << module_->module();
  if (getenv("WEFT_TEST_PRINT_KERNEL") != nullptr) std::printf("%s\n", text_.c_str());
  module_->Compile();
}

std::vector<int64_t> TestFusion::ResultBytes(const Symbols& symbols) {
  std::vector<int64_t> bytes;
  for (mlir::Value result : fusion_.getOuts()) {
    bytes.push_back(*NumElements(ir::ShapeOf(result)).Evaluate(symbols) *
                    SizeOf(ir::DataTypeOf(result)));
  }
  return bytes;
}

std::vector<HostTensor> TestFusion::RandomInputs(const Symbols& symbols, double low, double high,
                                                 int seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<double> distribution(low, high);
  std::vector<HostTensor> inputs;
  for (mlir::Value argument : fusion_.body()->getArguments()) {
    HostTensor tensor =
        *HostTensor::Create(ir::DataTypeOf(argument), Sizes(ir::ShapeOf(argument), symbols));
    WithType(tensor.dtype(), [&](auto type) {
      using T = decltype(type);
      for (T& x : tensor.mutable_values<T>()) {
        double value = distribution(random);
        if (!IsFloat(tensor.dtype())) value = std::floor(value);
        if (tensor.dtype() == DataType::kU8) value = std::fabs(value);
        if constexpr (std::is_same_v<T, bool>) {
          x = value > (low + high) / 2;
        } else {
          x = static_cast<T>(static_cast<float>(value));
        }
      }
      return 0;
    });
    inputs.push_back(tensor);
  }
  return inputs;
}

std::vector<HostTensor> TestFusion::Run(const std::vector<HostTensor>& inputs,
                                        const Symbols& symbols) {
  std::vector<HostTensor> outputs;
  WeftKernel run = kernel();
  if (run == nullptr) {
    ADD_FAILURE() << "no kernel";
    return outputs;
  }
  std::vector<int64_t> sizes = Sizes(spec_.sizes, symbols);
  const int64_t tiles = *spec_.tiles.Evaluate(symbols);
  const int64_t scratch_bytes = *spec_.scratch_bytes.Evaluate(symbols);
  for (int pass = 0; pass < 2; ++pass) {
    std::vector<std::unique_ptr<GuardedMemory>> memory;
    std::vector<void*> buffers;
    auto add = [&](size_t size) {
      memory.push_back(std::make_unique<GuardedMemory>(size));
      buffers.push_back(memory.back()->data());
    };
    for (const HostTensor& input : inputs) {
      add(input.size_bytes());
      std::memcpy(buffers.back(), input.data(), input.size_bytes());
    }
    std::vector<HostTensor> results;
    for (mlir::Value result : fusion_.getOuts()) {
      results.push_back(
          *HostTensor::Create(ir::DataTypeOf(result), Sizes(ir::ShapeOf(result), symbols)));
      add(results.back().size_bytes());
    }
    GuardedMemory scratch((scratch_bytes + 63) / 64 * 64);
    if (pass == 0) {
      run(buffers.data(), sizes.data(), 0, tiles, scratch.data());
    } else {
      for (int64_t i = tiles; i-- > 0;) run(buffers.data(), sizes.data(), i, i + 1, scratch.data());
    }
    EXPECT_TRUE(scratch.FrontIntact());
    for (auto& part : memory) EXPECT_TRUE(part->FrontIntact());
    for (size_t i = 0; i < results.size(); ++i) {
      std::memcpy(results[i].mutable_data(), buffers[inputs.size() + i], results[i].size_bytes());
      if (pass == 1) {
        EXPECT_EQ(std::memcmp(results[i].data(), outputs[i].data(), results[i].size_bytes()), 0)
            << "tiles depend on each other";
      }
    }
    outputs = results;
  }
  return outputs;
}

std::vector<HostTensor> TestFusion::Evaluate(const std::vector<HostTensor>& inputs,
                                             const Symbols& symbols) {
  llvm::DenseMap<mlir::Value, HostTensor> values;
  for (auto [argument, input] : llvm::zip(fusion_.body()->getArguments(), inputs)) {
    values[argument] = input;
  }
  for (mlir::Operation& op : fusion_.body()->without_terminator()) {
    std::vector<HostTensor> operands;
    for (mlir::Value operand : op.getOperands()) operands.push_back(values[operand]);
    std::vector<TensorType> types;
    for (mlir::Value result : op.getResults()) {
      types.push_back({ir::DataTypeOf(result), ir::ShapeOf(result)});
    }
    const OpInfo* info = FindOp(op.getName().getStringRef().str());
    EvaluateContext c(*info, operands, Attributes(op.getAttrDictionary().getAsOpaquePointer()),
                      types, symbols);
    const absl::Status status = EvaluateOf(*info)(c);
    EXPECT_TRUE(status.ok()) << status;
    for (auto [result, value] : llvm::zip(op.getResults(), c.results())) values[result] = value;
  }
  std::vector<HostTensor> results;
  for (mlir::Value value : fusion_.yield()->getOperands()) results.push_back(values[value]);
  return results;
}

void TestFusion::Check(const Symbols& symbols, double ulps, double scale, double low, double high) {
  CheckOn(RandomInputs(symbols, low, high), symbols, ulps, scale);
}

void TestFusion::CheckOn(const std::vector<HostTensor>& inputs, const Symbols& symbols, double ulps,
                         double scale) {
  if (kernel() == nullptr) {
    ADD_FAILURE() << "no kernel";
    return;
  }
  const std::vector<HostTensor> got = Run(inputs, symbols), want = Evaluate(inputs, symbols);
  ASSERT_EQ(got.size(), want.size());
  for (size_t r = 0; r < got.size(); ++r) {
    int64_t wrong = 0;
    for (int64_t i = 0; i < got[r].num_elements(); ++i) {
      const double a = ValueAt(got[r], i), b = ValueAt(want[r], i);
      if (a == b || (std::isnan(a) && std::isnan(b))) continue;
      if (std::fabs(a - b) <= ulps * UlpOf(got[r].dtype(), std::max(std::fabs(b), scale))) continue;
      if (++wrong <= 3) {
        ADD_FAILURE() << "result " << r << " element " << i << " of " << got[r].TypeString()
                      << ": expected " << b << ", got " << a;
      }
    }
    EXPECT_EQ(wrong, 0);
  }
}

}  // namespace weft
