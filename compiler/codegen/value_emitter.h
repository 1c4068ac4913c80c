// Any element of any value in a fusion's body, as code.
#ifndef WEFT_COMPILER_CODEGEN_VALUE_EMITTER_H_
#define WEFT_COMPILER_CODEGEN_VALUE_EMITTER_H_

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <vector>

#include "absl/status/status.h"
#include "compiler/codegen/kernel_builder.h"
#include "mlir/IR/Operation.h"
#include "proto/dim_expr.h"

namespace weft {

// Where an element of a tensor is: coordinates whose extents multiply to its number of elements, in
// row-major order. The extents need not be the tensor's dimensions: several dimensions may go by
// one coordinate, or one by several, so that a reshape is no change at all. Extents of 1 are left
// out.
struct IndexEntry {
  DimExpr extent;
  Coord coord;
  // The coordinate of the iteration space (its place in what SplitSpace gave) that this is,
  // unchanged; -1 where it is none or nobody needs to know. Lanes along the last such coordinate
  // begin at multiples of their number.
  int root = -1;
};
using Index = std::vector<IndexEntry>;

// Emits values at an index, operand by operand down to the fusion's operands in memory, computing
// nothing twice at one place. In a dry run it emits nothing, and finds out which coordinates the
// body needs.
class ValueEmitter {
 public:
  // Argument i of the body is buffer i of the kernel. The body's ops must be ones that a `loop`
  // fusion may hold (emit.h); the hook is asked first for each value, and stands for those that
  // are not.
  explicit ValueEmitter(KernelBuilder* kernel);

  using Hook = std::function<std::optional<Element>(mlir::Value, Index&)>;
  void set_hook(Hook hook) { hook_ = std::move(hook); }
  // Lanes of coordinates that differ from lane to lane; 0 for scalars only.
  void set_lanes(int64_t lanes) { lanes_ = lanes; }
  int64_t lanes() const { return lanes_; }

  // Splits of `space` (extents of the iteration's coordinates) that let `visit`, which calls
  // Evaluate on the index it gets, do without divisions wherever possible. Coordinates are not
  // split where nothing asks for it, so that loops are few and long. Every product of the last
  // extents of `space` is one of the result as well. `visit` is called at most 24 times.
  std::vector<DimExpr> SplitSpace(std::vector<DimExpr> space,
                                  const std::function<void(const Index&)>& visit);

  // The element of `value` at `index`, uniform or with lanes. Index and guard are those of the
  // place where it is emitted.
  Element Evaluate(mlir::Value value, Index index, const Guard& guard);
  // The offset in elements from the tensor's start.
  Coord Offset(const Index& index);
  // Puts an end between coordinates wherever those after it have a product of `suffixes`, each of
  // which divides, or is divided by, each other one; positions of the first coordinates after them,
  // in the order of `suffixes`. All are 0 once it has failed.
  std::vector<size_t> Boundaries(Index& index, const std::vector<DimExpr>& suffixes);
  // All coordinates as one.
  IndexEntry Merged(const Index& index, size_t begin, size_t end);

  // Values remembered while it lives are forgotten at its end: one for each loop body or branch,
  // whose values do not reach outside.
  class Scope {
   public:
    explicit Scope(ValueEmitter& emitter) : emitter_(emitter) { emitter_.memo_.emplace_back(); }
    ~Scope() { emitter_.memo_.pop_back(); }

   private:
    ValueEmitter& emitter_;
  };

  // Of the last dry run: operands all of whose elements are read at the index of the iteration
  // only, and whether some index was computed per lane.
  bool ReadInPlace(int operand) const { return !moved_operands_.count(operand); }
  bool has_lane_index() const { return has_lane_index_; }
  // Where it read operands: each operand and index once. Entries have no coordinates; those that
  // are coordinates of the iteration space unchanged have their roots.
  const std::vector<std::pair<int, Index>>& reads() const { return reads_; }
  // Whether some boundary could not be made, since products of coordinates where the shapes of one
  // kernel meet are too long for expressions. Then what was emitted is of no use: emitters stop
  // after SplitSpace.
  bool failed() const { return failed_; }
  // Ops that the last dry run met.
  const std::set<mlir::Operation*>& visited() const { return visited_; }

 private:
  friend class Scope;
  // One of them; moves others, but leaves those there that nest with it.
  size_t Boundary(Index& index, const DimExpr& suffix);
  // Forgets what was found; the index of an iteration over `space`.
  Index BeginDryRun(const std::vector<DimExpr>& space);
  using Key =
      std::tuple<const void*, const void*, const void*, int64_t,
                 std::vector<std::tuple<const void*, int64_t, const void*>>, std::vector<DimExpr>>;

  Element EvaluateOp(mlir::Operation* op, Index& index, const Guard& guard);
  Element EvaluateArgument(mlir::BlockArgument argument, const Index& index, const Guard& guard);
  Element EvaluateElementwise(mlir::Operation* op, const Index& index, const Guard& guard);
  Element EvaluateSlice(mlir::Operation* op, Index& index, const Guard& guard);
  Element EvaluatePad(mlir::Operation* op, Index& index, const Guard& guard);
  Element EvaluateCut(mlir::Operation* op, Index& index, const Guard& guard);
  Element EvaluateConcat(mlir::Operation* op, Index& index, const Guard& guard);
  Element EvaluateGather(mlir::Operation* op, Index& index, const Guard& guard);
  Element EvaluateOneHot(mlir::Operation* op, Index& index, const Guard& guard);
  Element EvaluateRandom(mlir::Operation* op, const Index& index, const Guard& guard);
  Index BroadcastIndex(mlir::Operation* op, Index& index);
  Index TransposeIndex(mlir::Operation* op, Index& index);
  // The coordinate of dimension `dim` of a tensor of that shape, as one; positions of its entries.
  struct Dimension {
    size_t begin, end;
    Coord coord;
  };
  Dimension DimensionAt(Index& index, const Shape& shape, size_t dim);
  // Replaces it; entries after it keep their positions if the extent is not 1.
  void Replace(Index& index, const Dimension& dimension, const DimExpr& extent, const Coord& coord);
  Element Zero(DataType dtype);
  Element AsElement(const Coord& coord, DataType dtype);
  // The i64 coordinate that an index value is, and whether it lies in [0, size).
  struct Position {
    Coord coord;
    mlir::Value valid;
  };
  Position CheckedPosition(Element index, mlir::Value size);
  mlir::Value Within(const Coord& coord, mlir::Value low, mlir::Value high);

  KernelBuilder* kernel_;
  Hook hook_;
  int64_t lanes_ = 0;
  bool dry_ = false;
  std::vector<std::map<Key, Element>> memo_;
  // A dry run's findings.
  std::vector<std::pair<int, DimExpr>> splits_;
  size_t num_roots_ = 0;
  int last_root_ = -1;
  std::set<int> moved_operands_;
  std::set<mlir::Operation*> visited_;
  bool has_lane_index_ = false;
  bool failed_ = false;
  std::vector<std::pair<int, Index>> reads_;
};

}  // namespace weft

#endif  // WEFT_COMPILER_CODEGEN_VALUE_EMITTER_H_
