// How threads of a GPU kernel access the buffers.
#ifndef WEFT_COMPILER_CODEGEN_CUDA_ACCESS_H_
#define WEFT_COMPILER_CODEGEN_CUDA_ACCESS_H_

#include <cstdint>
#include <functional>

#include "compiler/codegen/fusion_emitter.h"

namespace weft {

// The most bytes that one access of a thread moves.
inline constexpr int64_t kAccessBytes = 16;

// Elements that one thread accesses at once along the innermost coordinate, which has that extent
// and is coordinate `last` of the iteration: 16 bytes of the widest dtype that the last dry run
// met, where that is possible and all accesses are aligned; else 0, one element by scalar code.
// `one_row`: no other coordinate is outside of it, so that a part of an access may be left at its
// end.
int64_t LanesPerThread(const FusionEmitter& f, const DimExpr& extent, int last, bool one_row);

// Code for rows of an extent that holds a whole number of accesses, or may at run time: accesses to
// several elements are aligned in all rows, or in none but the first.
class RowAccesses {
 public:
  // `last` as above; `around`, the product of all extents of the space, of which expressions are
  // made with the extent in another form: where they would be too long, accesses are of one
  // element. Those of an open extent are so as well where `around` turns out to be less than
  // `least` whole ones.
  RowAccesses(const FusionEmitter& f, const DimExpr& extent, int last, const DimExpr& around,
              int64_t least = 0);

  // From here on, all accesses are of one element.
  void Forgo();
  // Of an access; 0 where there are none of several.
  int64_t lanes() const { return lanes_; }
  // Accesses to a row: of several elements each where they may be, else of one.
  const DimExpr& number() const { return number_; }
  // Whether sizes choose between whole accesses and such of one element.
  bool IsOpen() const { return lanes_ > 0 && (least_ > 0 || !IsMultiple()); }
  // Emits `emit(lanes)`, once, or where IsOpen for both cases, of which all threads take one;
  // values that were remembered before are there as well, and those of one case not in the other.
  void Emit(FusionEmitter& f, const std::function<void(int64_t lanes)>& emit) const;

 private:
  // Whether the extent is known to hold a whole number of accesses.
  bool IsMultiple() const { return DimExpr::DivideExactly(extent_, lanes_).has_value(); }

  DimExpr extent_, number_, around_;
  int64_t lanes_ = 0, least_ = 0;
};

}  // namespace weft

#endif  // WEFT_COMPILER_CODEGEN_CUDA_ACCESS_H_
