// Copies of a contraction's operands, in the order in which its register tile reads them.
#ifndef WEFT_KERNELS_CPU_CONTRACTION_PANELS_H_
#define WEFT_KERNELS_CPU_CONTRACTION_PANELS_H_

#include <cstdint>

#include "kernels/code_builder.h"
#include "kernels/cpu/contraction.h"

namespace weft::cpu {

// Emits copies from the operands' elements in memory to those that are added up (`stored` and
// `element` of Contraction).
class PanelCopier {
 public:
  PanelCopier(CodeBuilder& builder, const Contraction& contraction, int64_t lanes)
      : k_(builder), c_(contraction), lanes_(lanes) {}

  // Panels of a matrix: [panel][depth][vectors * lanes], `panel_elements` from one to the next.
  struct Panels {
    mlir::Value to;
    int64_t vectors, panel_elements;
  };

  // `count` panels from number `first` on, of a matrix whose rows are contiguous: row d starts at
  // source + d * stride. With `columns`, those past it read as 0.
  void CopyPanels(mlir::Value source, mlir::Value stride, const Panels& panels, mlir::Value first,
                  mlir::Value count, mlir::Value depth, mlir::Value columns = nullptr);

  // All panels of a matrix whose columns are contiguous: column j starts at source + j * stride.
  // Columns past the last repeat it. Writes up to a whole vector of depth more.
  void TransposePanels(mlir::Value source, mlir::Value stride, const Panels& panels,
                       mlir::Value depth, mlir::Value columns);

  // A matrix of which `rows` are neighbours in memory (step d of depth starts at source + d *
  // stride), as strips of `strip` rows: [strip][depth][row], `strip_elements` from one to the next.
  void CopyStrips(mlir::Value source, mlir::Value stride, mlir::Value to, int64_t strip,
                  int64_t strip_elements, mlir::Value depth, mlir::Value rows);

  // A vector or scalar in memory, as numbers that are added up.
  mlir::Value LoadVector(mlir::Value pointer, mlir::Type element, mlir::Value mask = nullptr);
  mlir::Value LoadScalar(mlir::Value pointer, mlir::Type element);

 private:
  CodeBuilder& k_;
  const Contraction& c_;
  int64_t lanes_;
};

}  // namespace weft::cpu

#endif  // WEFT_KERNELS_CPU_CONTRACTION_PANELS_H_
