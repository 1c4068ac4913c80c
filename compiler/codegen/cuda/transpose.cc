#include "compiler/codegen/cuda/transpose.h"

#include <algorithm>

#include "compiler/codegen/cuda/thread.h"
#include "compiler/codegen/cuda/transposed_reads.h"
#include "graph/ir/dialect.h"
#include "graph/ir/types.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

namespace weft {

using mlir::Value;

namespace {

// Rows of a tile that the threads of a block go through side by side.
constexpr int64_t kRows = kThreadsPerBlock / kWarp;

// Of neighbours that may come from different operands, each is computed alone.
bool ChoosesByElement(mlir::Operation* op) { return mlir::isa<ir::PadOp, ir::ConcatOp>(op); }

}  // namespace

std::optional<TransposedLoop> TransposedLoop::Find(FusionEmitter& f,
                                                   const std::vector<DimExpr>& split) {
  TransposedLoop loop(f, split);
  for (size_t i = 0; i < split.size(); ++i) {
    if (split[i].Constant() != 1) loop.along_ = static_cast<int>(i);
  }
  // Most threads of a narrow tile would have nothing to do.
  auto is_wide = [&](int root) {
    return Estimate(split[static_cast<size_t>(root)]) >= kNarrowestTransposed;
  };
  if (loop.along_ < 0 || !is_wide(loop.along_)) return std::nullopt;
  for (const auto& [number, index] : f.values.reads()) {
    std::vector<int> roots;
    for (const IndexEntry& entry : index) roots.push_back(entry.root);
    // Of coordinates of the iteration alone, so that any of its points is an element.
    if (roots.empty() || llvm::is_contained(roots, -1) || roots.back() == loop.along_ ||
        !llvm::is_contained(roots, loop.along_) || !is_wide(roots.back())) {
      continue;
    }
    // Of the first one's coordinate; others that lie otherwise are read as they are.
    if (loop.across_ < 0) loop.across_ = roots.back();
    if (roots.back() != loop.across_) continue;
    const bool known = llvm::any_of(loop.operands_, [&](const Operand& operand) {
      return operand.number == number && operand.roots == roots;
    });
    if (!known) loop.operands_.push_back({number, roots, {}});
  }
  if (loop.operands_.empty()) return std::nullopt;
  loop.ChooseLanes();
  int64_t bytes = 0;
  for (size_t i = 0; i < loop.operands_.size(); ++i) {
    bytes += loop.TileBytes(loop.operands_[i]);
    if (bytes > kMaxSharedBytes) loop.operands_.resize(i);
  }
  return loop;
}

void TransposedLoop::ChooseLanes() {
  int64_t narrowest = 4;
  for (const Operand& operand : operands_) {
    narrowest = std::min<int64_t>(narrowest, SizeOf(DTypeOf(operand)));
  }
  for (Value result : f_.results) {
    narrowest = std::min<int64_t>(narrowest, SizeOf(ir::DataTypeOf(result)));
  }
  if (f_.values.has_lane_index() || llvm::any_of(f_.values.visited(), ChoosesByElement)) return;
  for (lanes_ = 4 / narrowest; lanes_ > 1; lanes_ /= 2) {
    int64_t bytes = 0;
    for (const Operand& operand : operands_) bytes += TileBytes(operand);
    if (bytes <= kMaxSharedBytes &&
        DimExpr::DivideExactly(split_[static_cast<size_t>(along_)], lanes_) &&
        DimExpr::DivideExactly(split_[static_cast<size_t>(across_)], lanes_)) {
      return;
    }
  }
}

int64_t TransposedLoop::Side() const { return kWarp * lanes_; }

int64_t TransposedLoop::Pitch(const Operand& operand) const {
  return (kWarp + 1) * std::max<int64_t>(lanes_, 4 / SizeOf(DTypeOf(operand)));
}

int64_t TransposedLoop::TileBytes(const Operand& operand) const {
  return Side() * Pitch(operand) * SizeOf(DTypeOf(operand));
}

DataType TransposedLoop::DTypeOf(const Operand& operand) const {
  return ir::DataTypeOf(f_.fusion.getInputs()[static_cast<unsigned>(operand.number)]);
}

Index TransposedLoop::IndexAt(const std::vector<int>& roots,
                              const std::vector<Coord>& coords) const {
  Index index;
  for (int root : roots) {
    const size_t i = static_cast<size_t>(root);
    index.push_back({split_[i], coords[i], coords[i].step != 0 ? root : -1});
  }
  return index;
}

Element TransposedLoop::FromTile(const Operand& operand, Value thread, Value row) {
  KernelBuilder& kernel = f_.kernel;
  const DataType dtype = DTypeOf(operand);
  const mlir::Type element = kernel.e().MemoryType(dtype, 0);
  const int64_t pitch = Pitch(operand);
  auto load = [&](int64_t lane) {
    Value line = kernel.Add(thread, lane * kWarp);
    return kernel.LoadShared(element, operand.tile, kernel.Add(kernel.Mul(line, pitch), row));
  };
  if (lanes_ == 1) return kernel.e().FromMemory(load(0), dtype);
  Value all = kernel.Zero(kernel.e().MemoryType(dtype, lanes_));
  for (int64_t lane = 0; lane < lanes_; ++lane) {
    all = mlir::vector::InsertOp::create(kernel.b(), load(lane), all, lane);
  }
  return kernel.e().FromMemory(all, dtype);
}

void TransposedLoop::Emit(const std::function<void(const Index&, int64_t lanes)>& compute) {
  KernelBuilder& kernel = f_.kernel;
  const size_t along = static_cast<size_t>(along_), across = static_cast<size_t>(across_);
  const int64_t side = Side(), lanes = lanes_ == 1 ? 0 : lanes_, step = lanes == 0 ? 0 : 1;
  // Blocks go over the tiles of the two coordinates and, around them, all the others.
  std::vector<int> roots;  // of the results' index
  std::vector<size_t> others;
  std::vector<DimExpr> extents;
  for (size_t i = 0; i < split_.size(); ++i) {
    if (split_[i].Constant() == 1) continue;
    roots.push_back(static_cast<int>(i));
    if (i == along || i == across) continue;
    others.push_back(i);
    extents.push_back(split_[i]);
  }
  extents.push_back(DimExpr::CeilDiv(split_[across], side));
  extents.push_back(DimExpr::CeilDiv(split_[along], side));
  f_.spec.tiles = NumElements(extents);
  const Index block = f_.IndexOf(BlockInGrid(kernel), extents);
  std::vector<Coord> coords(split_.size());
  for (size_t i = 0; i < others.size(); ++i) coords[others[i]] = block[i].coord;
  Value first_across = kernel.Mul(block[others.size()].coord.base, side);
  Value first_along = kernel.Mul(block[others.size() + 1].coord.base, side);
  Value thread = ThreadInBlock(kernel);
  Value x = kernel.Rem(thread, kWarp), y = kernel.Div(thread, kWarp);
  Value num_along = kernel.Size(split_[along]), num_across = kernel.Size(split_[across]);

  // Threads past an edge copy what is at the edge once more: they need not be told apart, and all
  // of a thread's loads are on their way before the first is waited for.
  auto within = [&](Value at, size_t root, Value size, int64_t together) {
    const auto known = split_[root].Constant();
    return known && *known % side == 0 ? at : kernel.Min(at, kernel.Sub(size, together));
  };
  f_.values.set_lanes(lanes);
  std::vector<Element> elements;
  for (int64_t row = 0; row < side; row += kRows) {
    Value at = kernel.Add(first_along, kernel.Add(y, row));
    coords[along] = {within(at, along, num_along, 1), 0, {}};
    at = kernel.Add(first_across, kernel.Mul(x, lanes_));
    coords[across] = {within(at, across, num_across, lanes_), step, {}};
    for (const Operand& operand : operands_) {
      const Coord offset = f_.values.Offset(IndexAt(operand.roots, coords));
      elements.push_back(kernel.Load(kernel.Buffer(operand.number), DTypeOf(operand), offset, lanes,
                                     {}, /*invariant=*/true));
    }
  }
  // Rows that one thread reads later, side by side, lie apart from one another, and those that
  // neighbours read lie together.
  size_t next = 0;
  for (Operand& operand : operands_) operand.tile = kernel.SharedMemory(TileBytes(operand));
  for (int64_t row = 0; row < side; row += kRows) {
    Value line = kernel.Add(y, row);
    line = kernel.Add(kernel.Mul(kernel.Rem(line, lanes_), kWarp), kernel.Div(line, lanes_));
    for (const Operand& operand : operands_) {
      kernel.StoreShared(kernel.e().ToMemory(elements[next++]), operand.tile,
                         kernel.Add(kernel.Mul(line, Pitch(operand) / lanes_), x));
    }
  }
  Barrier(kernel);

  Value row;  // of the tile, which this thread computes
  f_.values.set_hook([&](Value value, Index& index) -> std::optional<Element> {
    auto argument = mlir::dyn_cast<mlir::BlockArgument>(value);
    if (!argument) return std::nullopt;
    for (const Operand& operand : operands_) {
      if (operand.number != static_cast<int>(argument.getArgNumber())) continue;
      bool same = operand.roots.size() == index.size();
      for (size_t i = 0; i < index.size() && same; ++i) {
        const Coord& expected = coords[static_cast<size_t>(operand.roots[i])];
        same = index[i].coord.base == expected.base && index[i].coord.step == expected.step;
      }
      if (same) return FromTile(operand, x, row);
    }
    return std::nullopt;
  });
  for (int64_t first = 0; first < side; first += kRows) {
    row = kernel.Add(y, first);
    Value at_across = kernel.Add(first_across, row);
    Value at_along = kernel.Add(first_along, kernel.Mul(x, lanes_));
    Value inside;
    auto check = [&](Value at, size_t root, Value size) {
      const auto known = split_[root].Constant();
      if (!known || *known % side != 0) inside = kernel.Both(inside, kernel.Less(at, size));
    };
    check(at_across, across, num_across);
    check(at_along, along, num_along);
    coords[across] = {at_across, 0, {}};
    coords[along] = {at_along, step, {}};
    auto emit = [&] { compute(IndexAt(roots, coords), lanes); };
    if (inside) {
      kernel.If(inside, emit);
    } else {
      emit();
    }
  }
  f_.values.set_hook({});
}

}  // namespace weft
