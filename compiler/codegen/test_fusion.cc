#include "compiler/codegen/test_fusion.h"

#include <time.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <random>
#include <type_traits>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "compiler/codegen/llvm_lowering.h"
#include "graph/ir/dialect.h"
#include "graph/ir/types.h"
#include "graph/ops/evaluate.h"
#include "graph/ops/infer.h"
#include "graph/ops/op_info.h"
#include "llvm/Support/raw_ostream.h"
#include "mlir/AsmParser/AsmParser.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Parser/Parser.h"

namespace weft {
namespace {

// Time that this thread ran: what else the machine does counts little.
double ThreadSeconds() {
  timespec time;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

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

std::optional<int64_t> TestFusion::sectors() const {
  const std::optional<ptx::GlobalTraffic> traffic = device_->global_traffic();
  return traffic ? std::optional<int64_t>(traffic->sectors) : std::nullopt;
}

void TestFusion::ExpectNoSectorTwice() const {
  const std::optional<ptx::GlobalTraffic> traffic = device_->global_traffic();
  if (!traffic) return;
  EXPECT_GT(traffic->sectors, 0);
  EXPECT_EQ(traffic->sectors, traffic->fewest);
}

Target WithoutCaches(const std::string& name) {
  Target target = *Target::Parse(name);
  target.l3_bytes = 1024;
  return target;
}

Target WithTf32(const std::string& name) {
  Target target = *Target::Parse(name);
  target.tf32 = target.HasTf32();
  return target;
}

Target WithOneMultiprocessor(Target target) {
  target.multiprocessors = 1;
  return target;
}

const std::vector<std::string>& TestTargets() {
  static const std::vector<std::string>* const targets = [] {
    const char* list = std::getenv("WEFT_TEST_TARGETS");
    return new std::vector<std::string>(
        absl::StrSplit(list != nullptr ? list : "cpu:native,cpu:x86-64-v3", ','));
  }();
  return *targets;
}

bool TestsGpu() { return absl::StartsWith(TestTargets().front(), "cuda:"); }

TestFusion::TestFusion(const Target& target) : target_(target) {
  PrepareContext(&context_);
  context_.loadDialect<ir::WeftDialect, plan::PlanDialect, mlir::func::FuncDialect>();
  // The op around a parsed body.
  context_.allowUnregisteredDialects();
  graph_ = mlir::ModuleOp::create(mlir::UnknownLoc::get(&context_));
  block_ = std::make_unique<mlir::Block>();
}

mlir::Value TestFusion::Input(DataType dtype, const std::vector<std::string>& shape) {
  Shape dims;
  for (const std::string& dim : shape) dims.push_back(*DimExpr::Parse(dim));
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

// Operands come from a function around the fusion.
void TestFusion::MakeFusion(const std::string& kind, mlir::Block& body, mlir::ValueRange results) {
  mlir::OpBuilder b(&context_);
  const mlir::Location location = mlir::UnknownLoc::get(&context_);
  b.setInsertionPointToEnd(graph_->getBody());
  auto function = mlir::func::FuncOp::create(b, location, "graph",
                                             b.getFunctionType(body.getArgumentTypes(), {}));
  mlir::Block* entry = function.addEntryBlock();
  b.setInsertionPointToEnd(entry);
  fusion_ = plan::FusionOp::create(b, location, results.getTypes(), entry->getArguments(), kind);
  mlir::func::ReturnOp::create(b, location);
  mlir::Block* inside = fusion_.body();
  std::vector<mlir::Value> yielded(results.begin(), results.end());
  for (auto [from, to] : llvm::zip(body.getArguments(), inside->getArguments())) {
    std::replace(yielded.begin(), yielded.end(), mlir::Value(from), mlir::Value(to));
    from.replaceAllUsesWith(to);
  }
  inside->getOperations().splice(inside->end(), body.getOperations());
  b.setInsertionPointToEnd(inside);
  plan::YieldOp::create(b, location, yielded);
}

absl::Status TestFusion::Compile() {
  if (mlir::failed(mlir::verify(*graph_))) return absl::InvalidArgumentError("not a valid fusion");
  const double start = ThreadSeconds();
  mlir::OwningOpRef<mlir::ModuleOp> kernels =
      mlir::ModuleOp::create(mlir::UnknownLoc::get(&context_));
  auto spec = EmitKernel(fusion_, target_, *kernels);
  if (!spec.ok()) return spec.status();
  spec_ = *spec;
  const double emitted = ThreadSeconds() - start;
  if (mlir::failed(mlir::verify(*kernels))) return absl::InternalError("the kernel is not valid");
  llvm::raw_string_ostream(text_) << *kernels;
  const bool print = std::getenv("WEFT_TEST_PRINT_KERNEL") != nullptr;
  if (print) std::printf("%s\n", text_.c_str());
  const double compile_start = ThreadSeconds();
  auto device = TestDevice::Compile(*kernels, target_);
  if (!device.ok()) return device.status();
  compile_seconds_ = emitted + ThreadSeconds() - compile_start;
  device_ = *std::move(device);
  if (print) std::printf("%s\n", device_->ptx().c_str());
  return absl::OkStatus();
}

void TestFusion::Finish(const std::string& kind, std::vector<mlir::Value> results) {
  const absl::Status status = TryFinish(kind, std::move(results));
  ASSERT_TRUE(status.ok()) << status;
}

absl::Status TestFusion::TryFinish(const std::string& kind, std::vector<mlir::Value> results) {
  MakeFusion(kind, *block_, results);
  return Compile();
}

absl::Status TestFusion::TryText(const std::string& kind, const std::string& body) {
  // Verified once it is in place: a yield belongs into a fusion.
  mlir::ParserConfig config(&context_, /*verifyAfterParse=*/false);
  auto parsed = mlir::parseSourceString<mlir::ModuleOp>(
      absl::StrCat("\"test.fusion\"() ({\n", body, "\n}) : () -> ()"), config);
  if (!parsed) return absl::InvalidArgumentError("the body does not parse");
  mlir::Block& block = parsed->getBody()->front().getRegion(0).front();
  mlir::Operation* yield = block.getTerminator();
  const std::vector<mlir::Value> results(yield->operand_begin(), yield->operand_end());
  yield->erase();
  MakeFusion(kind, block, results);
  return Compile();
}

std::vector<std::string> TestFusion::GlobalAccesses() const {
  std::vector<std::string> types;
  for (absl::string_view line : absl::StrSplit(ptx(), '\n')) {
    for (absl::string_view access : {"ld.global.", "st.global."}) {
      const size_t at = line.find(access);
      if (at == line.npos) continue;
      absl::string_view type = line.substr(at + access.size());
      if (absl::StartsWith(type, "nc.")) type.remove_prefix(3);
      types.emplace_back(type.substr(0, type.find_first_of(" \t")));
      // Whether a byte gets a sign makes no difference.
      if (types.back() == "s8") types.back() = "b8";
    }
  }
  return types;
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
        if (tensor.dtype() == DataType::kU8) value = std::fabs(value);
        if constexpr (std::is_same_v<T, bool>) {
          x = value > (low + high) / 2;
        } else if constexpr (std::is_integral_v<T>) {
          using Limits = std::numeric_limits<T>;
          x = static_cast<T>(std::clamp(std::floor(value), static_cast<double>(Limits::lowest()),
                                        static_cast<double>(Limits::max())));
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

absl::StatusOr<TestDevice::Launch> TestFusion::Prepare(const Symbols& symbols,
                                                       std::vector<HostTensor>* results) {
  for (mlir::Value result : fusion_.getOuts()) {
    auto tensor = HostTensor::Create(ir::DataTypeOf(result), Sizes(ir::ShapeOf(result), symbols));
    if (!tensor.ok()) return tensor.status();
    std::memset(tensor->mutable_data(), 0xA5, tensor->size_bytes());
    results->push_back(*std::move(tensor));
  }
  TestDevice::Launch launch;
  launch.symbol = spec_.symbol;
  launch.maps = spec_.maps;
  for (const DimExpr& size : spec_.sizes) {
    absl::StatusOr<int64_t> value = size.Evaluate(symbols);
    if (!value.ok()) return value.status();
    launch.sizes.push_back(*value);
  }
  absl::StatusOr<int64_t> tiles = spec_.tiles.Evaluate(symbols),
                          scratch = spec_.scratch_bytes.Evaluate(symbols);
  if (!tiles.ok()) return tiles.status();
  if (!scratch.ok()) return scratch.status();
  launch.tiles = *tiles;
  launch.max_blocks = spec_.shares_tiles ? target_.multiprocessors : INT64_MAX;
  launch.block_threads = spec_.block_threads;
  launch.scratch_bytes = *scratch;
  launch.shared.assign(results->size(), -1);
  return launch;
}

absl::StatusOr<std::vector<HostTensor>> TestFusion::TryRun(const std::vector<HostTensor>& inputs,
                                                           const Symbols& symbols) {
  if (device_ == nullptr) return absl::InternalError("no kernel");
  std::vector<HostTensor> results;
  auto prepared = Prepare(symbols, &results);
  if (!prepared.ok()) return prepared.status();
  const TestDevice::Launch launch = *prepared;
  if (absl::Status status = device_->Run(launch, inputs, results); !status.ok()) return status;
  std::vector<HostTensor> again;
  for (const HostTensor& result : results) again.push_back(result.Clone());
  auto same = [&](const TestDevice::Launch& other, const char* otherwise) -> absl::Status {
    for (HostTensor& tensor : again) std::memset(tensor.mutable_data(), 0x5A, tensor.size_bytes());
    if (absl::Status status = device_->Run(other, inputs, again); !status.ok()) return status;
    for (size_t i = 0; i < results.size(); ++i) {
      if (std::memcmp(results[i].data(), again[i].data(), again[i].size_bytes()) != 0) {
        return absl::InternalError(absl::StrCat("result ", i, " has other bits ", otherwise));
      }
    }
    return absl::OkStatus();
  };
  if (target_.kind == Target::Kind::kCpu && launch.tiles > 1) {
    TestDevice::Launch other = launch;
    other.one_by_one = true;
    absl::Status status = same(other, "if tiles run one by one");
    if (!status.ok()) return status;
  }
  TestDevice::Launch sharing = launch;
  std::vector<bool> taken(inputs.size());
  bool shares = false;
  for (const auto& [operand, result] : spec_.may_share) {
    int& place = sharing.shared[static_cast<size_t>(result)];
    if (place >= 0 || taken[static_cast<size_t>(operand)]) continue;
    place = operand;
    taken[static_cast<size_t>(operand)] = shares = true;
  }
  if (shares) {
    absl::Status status = same(sharing, "where results lie in operands' buffers");
    if (!status.ok()) return status;
  }
  return results;
}

std::vector<HostTensor> TestFusion::Run(const std::vector<HostTensor>& inputs,
                                        const Symbols& symbols) {
  auto results = TryRun(inputs, symbols);
  if (results.ok()) return *std::move(results);
  ADD_FAILURE() << results.status();
  return {};
}

void TestFusion::Time(const std::vector<HostTensor>& inputs, const Symbols& symbols,
                      FusionTiming* timing) {
  timing->compile_seconds = compile_seconds_;
  timing->flops = spec_.flops.Evaluate(symbols).value_or(0);
  timing->bytes = spec_.bytes.Evaluate(symbols).value_or(0);
  std::vector<HostTensor> results;
  auto launch = Prepare(symbols, &results);
  WeftKernel run = kernel();
  if (!launch.ok() || run == nullptr) return;
  std::vector<void*> buffers;
  for (const HostTensor& input : inputs) buffers.push_back(const_cast<void*>(input.data()));
  for (HostTensor& result : results) buffers.push_back(result.mutable_data());
  auto scratch = HostTensor::Create(DataType::kU8, {launch->scratch_bytes});
  // Several launches in a row where one is short beside what reading the clock takes.
  int64_t launches = 1;
  for (int i = 0; i < timing->repeats; ++i) {
    const double start = ThreadSeconds();
    for (int64_t j = 0; j < launches; ++j) {
      run(buffers.data(), launch->sizes.data(), 0, launch->tiles, scratch->mutable_data());
    }
    const double seconds = (ThreadSeconds() - start) / static_cast<double>(launches);
    if (i == 0 || seconds < timing->seconds) timing->seconds = seconds;
    if (i == 0) launches = 1 + static_cast<int64_t>(1e-4 / std::max(seconds, 1e-7));
  }
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

absl::StatusOr<std::vector<HostTensor>> RunFusion(const std::string& kind, const std::string& body,
                                                  const std::vector<HostTensor>& inputs,
                                                  const Symbols& symbols, const std::string& target,
                                                  FusionTiming* timing) {
  absl::StatusOr<Target> parsed = Target::Parse(target);
  if (!parsed.ok()) return parsed.status();
  return RunFusion(kind, body, inputs, symbols, *parsed, timing);
}

absl::StatusOr<std::vector<HostTensor>> RunFusion(const std::string& kind, const std::string& body,
                                                  const std::vector<HostTensor>& inputs,
                                                  const Symbols& symbols, const Target& target,
                                                  FusionTiming* timing) {
  TestFusion fusion(target);
  if (absl::Status status = fusion.TryText(kind, body); !status.ok()) return status;
  auto results = fusion.TryRun(inputs, symbols);
  if (results.ok() && timing != nullptr) fusion.Time(inputs, symbols, timing);
  return results;
}

}  // namespace weft
