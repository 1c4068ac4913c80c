// The frame of a kernel: its function, sizes and buffers, and accesses to elements of any dtype.
#ifndef WEFT_COMPILER_CODEGEN_KERNEL_BUILDER_H_
#define WEFT_COMPILER_CODEGEN_KERNEL_BUILDER_H_

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "compiler/codegen/emit.h"
#include "compiler/codegen/scalar_emitter.h"
#include "compiler/codegen/target.h"
#include "compiler/plan_dialect/plan.h"
#include "kernels/code_builder.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "proto/dim_expr.h"

namespace weft {

// A coordinate or an offset. Lane l of a vector has base + l * step, or lane l of `lanes` where
// that is set.
struct Coord {
  mlir::Value base;  // i64
  int64_t step = 0;
  mlir::Value lanes;  // vector of i64

  bool uniform() const { return step == 0 && !lanes; }
};

// Which lanes are to touch memory; a null value means all of them.
struct Guard {
  // Lanes inside the iteration space: the first lane always is.
  mlir::Value tail;
  // A further condition, one for all lanes or each.
  mlir::Value predicate;
};

// Emits into a new function with the fusion's operands and then its results as buffers. For a CPU
// it has the form of runtime/core/kernel_abi.h. For a GPU its parameters are tensor maps, where it
// has some, the buffers' addresses and then the sizes (i64), and it is what one thread does. The
// caller names it.
class KernelBuilder : public CodeBuilder {
 public:
  KernelBuilder(plan::FusionOp fusion, mlir::ModuleOp kernels, const Target& target);

  ScalarEmitter& e() { return e_; }
  const Target& target() const { return target_; }
  mlir::func::FuncOp function() { return function_; }

  bool on_gpu() const { return target_.kind == Target::Kind::kCuda; }

  // The tiles to compute and the thread's scratch; of a CPU.
  mlir::Value tile_begin() { return function_.getArgument(2); }
  mlir::Value tile_end() { return function_.getArgument(3); }
  mlir::Value scratch() { return function_.getArgument(4); }
  // for tile in [tile_begin, tile_end).
  void ForTiles(const std::function<void(mlir::Value tile)>& body) {
    For(tile_begin(), tile_end(), 1, body);
  }
  mlir::Value Buffer(int index) { return buffers_[static_cast<size_t>(index)]; }
  // The buffer that an argument of the fusion's body is read from.
  mlir::Value BufferOf(mlir::Value argument);
  // The buffer of the result that the body yields `value` as; null where it does not.
  mlir::Value ResultBufferOf(mlir::Value value);
  // The value of an expression: a constant, or an element of the kernel's `sizes`.
  mlir::Value Size(const DimExpr& expr);
  // The same, but always an argument: for sizes that code gains nothing from knowing, so that equal
  // work of other sizes is equal code.
  mlir::Value SizeArgument(const DimExpr& expr);

  // While it lives, the value of an open size is taken for a multiple of `factor`, and those of
  // products of it as well: for code that runs where that holds. One at a time.
  class MultipleScope {
   public:
    MultipleScope(KernelBuilder& kernel, const DimExpr& size, int64_t factor) : kernel_(kernel) {
      kernel_.multiple_ = Multiple{size, factor, {}};
    }
    ~MultipleScope() { kernel_.multiple_.reset(); }
    MultipleScope(const MultipleScope&) = delete;

   private:
    KernelBuilder& kernel_;
  };

  // Arithmetic on coordinates, as on scalars; `lanes` is the number of lanes where one has several
  // values.
  using CodeBuilder::Add;
  using CodeBuilder::Div;
  using CodeBuilder::Mul;
  using CodeBuilder::Rem;
  Coord Add(const Coord& x, const Coord& y, int64_t lanes);
  Coord Mul(const Coord& a, mlir::Value factor, int64_t lanes);
  Coord Div(const Coord& a, mlir::Value divisor, int64_t lanes);
  Coord Rem(const Coord& a, mlir::Value divisor, int64_t lanes);
  // As a vector (lanes > 0) or scalar of i64.
  mlir::Value Expand(const Coord& a, int64_t lanes);

  // The element(s) at `offset` (in elements) from `pointer`. Lanes that the guard excludes are
  // zero or undefined. `invariant`: nothing in this kernel writes there.
  Element Load(mlir::Value pointer, DataType dtype, const Coord& offset, int64_t lanes,
               const Guard& guard, bool invariant);
  // `offset` has a step of 1, or x is a scalar. Where `stream` (if not null) holds at run time, a
  // vector without mask goes past the caches; the address is then a multiple of the vector's size,
  // or of 64 bytes.
  void Store(Element x, mlir::Value pointer, const Coord& offset, int64_t lanes, const Guard& guard,
             mlir::Value stream = nullptr);
  // Asks for the cache line of an element, which need not lie in the buffer.
  void Prefetch(mlir::Value pointer, DataType dtype, mlir::Value offset);
  // Whether a pointer is a multiple of 64.
  mlir::Value IsAligned(mlir::Value pointer);
  mlir::Value AreDifferent(mlir::Value pointer, mlir::Value other);
  // `lanes` elements from number `index` on as sums are kept, in f32 for f16 and bf16; and back,
  // rounded. Lanes outside of the mask (null: none) read as 0 and are not written.
  mlir::Value LoadWide(mlir::Value pointer, DataType dtype, mlir::Value index, int64_t lanes,
                       mlir::Value mask);
  void StoreRounded(mlir::Value value, mlir::Value pointer, DataType dtype, mlir::Value index,
                    mlir::Value mask);
  mlir::Value Address(mlir::Value pointer, DataType dtype, mlir::Value offset) {
    return At(pointer, offset, e_.MemoryType(dtype, 0));
  }
  // Of an element at that offset from the start of a buffer, as far as a GPU cares: only what is
  // known to be aligned is accessed by one instruction for several elements.
  static unsigned AlignmentAt(mlir::Value offset, int64_t element_bytes);
  // Of a GPU: memory that the threads of a block share, of that size and of its own, for as long as
  // the block runs; elements and vectors in it by number.
  mlir::Value SharedMemory(int64_t bytes);
  // Of a GPU: the block's scratch (KernelSpec::scratch_bytes), one memory in the whole kernel,
  // aligned to 1024 bytes. It may be larger than the 48 KB that code can declare.
  mlir::Value BlockScratch();
  mlir::Value LoadShared(mlir::Type type, mlir::Value array, mlir::Value index);
  void StoreShared(mlir::Value value, mlir::Value array, mlir::Value index);
  // Of a GPU from compute capability 9.0 on: the address (generic) of a tensor map that the kernel
  // takes, of a tensor in one of its buffers; `map.buffer` is filled in. `numbers`: its sizes and
  // strides, as a TensorMapParameter of proto/plan.proto has them.
  mlir::Value TensorMap(mlir::Value buffer, KernelMap map, const std::vector<DimExpr>& numbers);
  // Conditions, one or per lane; null means true.
  mlir::Value Both(mlir::Value x, mlir::Value y);

  // Ends the function. Equal instructions inside loops that depend on nothing in them are moved
  // out.
  void Finish();
  // The same, and fills in `spec.symbol`, `spec.sizes` and `spec.maps`.
  void Finish(KernelSpec& spec);

  // `sizes` so far.
  const std::vector<DimExpr>& sizes() const { return sizes_; }

 private:
  KernelBuilder(plan::FusionOp fusion, mlir::func::FuncOp function, const Target& target);

  // A number that certainly divides the value.
  static int64_t KnownFactor(mlir::Value value);
  mlir::Value ShuffledReverse(mlir::Value value);
  // A variable of the module in shared memory, made where it is not there yet. One of no bytes is
  // the memory whose size a launch states.
  mlir::Value SharedVariable(const std::string& name, int64_t bytes, unsigned alignment);
  mlir::Value VectorMask(const Guard& guard, int64_t lanes);

  plan::FusionOp fusion_;
  ScalarEmitter e_;
  const Target& target_;
  mlir::func::FuncOp function_;
  Values buffers_;
  std::vector<DimExpr> sizes_;
  std::map<DimExpr, mlir::Value> size_values_;
  struct Multiple {
    DimExpr size;
    int64_t factor;
    std::map<DimExpr, mlir::Value> values;  // of its products
  };
  std::optional<Multiple> multiple_;
  std::vector<KernelMap> maps_;
  std::vector<DimExpr> map_sizes_;
  bool streams_ = false;
  int num_shared_ = 0;
};

}  // namespace weft

#endif  // WEFT_COMPILER_CODEGEN_KERNEL_BUILDER_H_
