// Loops on a GPU whose results are contiguous along one coordinate and some of whose operands along
// another.
#ifndef WEFT_COMPILER_CODEGEN_CUDA_TRANSPOSE_H_
#define WEFT_COMPILER_CODEGEN_CUDA_TRANSPOSE_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "compiler/codegen/fusion_emitter.h"

namespace weft {

// Square tiles over those two coordinates. A block copies its tile of each operand that lies across
// into shared memory, in the order of the operand, and computes the results in theirs: neighbouring
// threads access neighbouring elements on either side. Behind the 32 words of a tile's row there is
// one more, so that threads along a row and threads down a column both touch each bank once.
class TransposedLoop {
 public:
  // `split`: the space of the dry run before, roots being places in it. Nothing where no operand is
  // worth it: none lies across, or what would be a tile is narrow.
  static std::optional<TransposedLoop> Find(FusionEmitter& f, const std::vector<DimExpr>& split);

  // Emits the loop, and its number of tiles; `compute` gets the index of elements to compute and
  // store, and their lanes.
  void Emit(const std::function<void(const Index&, int64_t lanes)>& compute);

 private:
  struct Operand {
    int number;
    std::vector<int> roots;  // of its index
    mlir::Value tile;        // in shared memory
  };

  TransposedLoop(FusionEmitter& f, const std::vector<DimExpr>& split) : f_(f), split_(split) {}
  // As many neighbours to a thread as are 4 bytes of the narrowest dtype, if tiles then fit.
  void ChooseLanes();
  int64_t Side() const;  // of a tile, in elements
  // From one row of a tile to the next, in elements.
  int64_t Pitch(const Operand& operand) const;
  int64_t TileBytes(const Operand& operand) const;
  DataType DTypeOf(const Operand& operand) const;
  Index IndexAt(const std::vector<int>& roots, const std::vector<Coord>& coords) const;
  // Its element at the place of the tile's row `row` along `across_` for this thread.
  Element FromTile(const Operand& operand, mlir::Value thread, mlir::Value row);

  FusionEmitter& f_;
  std::vector<DimExpr> split_;
  int along_ = -1;   // the root along which results are contiguous
  int across_ = -1;  // and that of the operands
  std::vector<Operand> operands_;
  int64_t lanes_ = 1;
};

}  // namespace weft

#endif  // WEFT_COMPILER_CODEGEN_CUDA_TRANSPOSE_H_
