#include "compiler/codegen/pack.h"

#include <numeric>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "compiler/codegen/kernel_builder.h"
#include "compiler/plan_dialect/plan.h"
#include "graph/ir/types.h"

namespace weft {

using mlir::Value;

absl::StatusOr<KernelSpec> EmitPack(plan::FusionOp fusion, const Target& target,
                                    mlir::ModuleOp kernels) {
  auto op = llvm::dyn_cast<plan::PackOp>(fusion.body()->front());
  if (!op || !llvm::isa<mlir::BlockArgument>(op.getX())) {
    return absl::InternalError(absl::StrCat(
        "pack fusion: expected one plan.pack of an operand, at ", ir::Describe(fusion.getLoc())));
  }
  // The result is [batch..., groups, panels, k, panel].
  const Shape shape = ir::ShapeOf(op.getX()), packed = ir::ShapeOf(op.getY());
  const bool transpose = op.getTranspose();
  const int64_t panel_size = static_cast<int64_t>(op.getPanel());
  const int64_t groups_size = static_cast<int64_t>(op.getGroups());
  const DimExpr rows = NumElements(packed, 0, packed.empty() ? 0 : packed.size() - 1);
  const DimExpr all_columns = transpose ? shape[shape.size() - 2] : shape.back();
  constexpr int64_t kRowsPerTile = 256;

  KernelBuilder k(fusion, kernels, target);
  const DataType dtype = ir::DataTypeOf(op.getX());
  mlir::Type element = k.b().getIntegerType(static_cast<unsigned>(8 * SizeOf(dtype)));
  Value from = k.BufferOf(op.getX()), to = k.Buffer(static_cast<int>(fusion->getNumOperands()));
  Value depth = k.Size(packed[packed.size() - 2]), panels = k.Size(packed[packed.size() - 3]);
  Value row_count = k.Size(rows), matrix_columns = k.Size(all_columns);
  Value groups = k.I64(groups_size), columns = k.Div(matrix_columns, groups_size);
  const int64_t lanes = std::gcd(panel_size, int64_t{16});

  Value first = k.Mul(k.tile_begin(), kRowsPerTile);
  Value last = k.Min(k.Mul(k.tile_end(), kRowsPerTile), row_count);
  k.For(first, last, 1, [&](Value row) {
    Value d = k.Rem(row, depth), rest = k.Div(row, depth);
    Value column = k.Mul(k.Rem(rest, panels), panel_size);
    rest = k.Div(rest, panels);
    Value group = k.Rem(rest, groups), batch = k.Div(rest, groups);
    Value matrix = k.At(from, k.Mul(k.Mul(batch, depth), matrix_columns), element);
    Value out = k.At(to, k.Mul(row, panel_size), element);
    if (transpose) {
      k.For(k.I64(panel_size), [&](Value j) {
        Value at = k.Add(column, j);
        Value value = k.If(
            k.Less(at, columns), element,
            [&] {
              Value place = k.At(matrix, k.Add(k.Mul(at, depth), d), element);
              return CodeBuilder::Values{k.LoadAt(place, element)};
            },
            [&] { return CodeBuilder::Values{k.Zero(element)}; })[0];
        k.StoreAt(value, k.At(out, j, element));
      });
      return;
    }
    Value start = k.Add(k.Mul(d, matrix_columns), k.Add(k.Mul(group, columns), column));
    Value source = k.At(matrix, start, element);
    auto type = mlir::VectorType::get({lanes}, element);
    for (int64_t j = 0; j < panel_size; j += lanes) {
      Value mask = k.Mask(k.Sub(columns, k.Add(column, j)), lanes);
      k.StoreAt(k.LoadAt(k.At(source, j, element), type, mask), k.At(out, j, element));
    }
  });
  KernelSpec spec;
  k.Finish(spec);
  spec.tiles = DimExpr::CeilDiv(rows, kRowsPerTile);
  spec.scratch_bytes = 0;
  spec.flops = 0;
  spec.bytes = (NumElements(shape) + NumElements(packed)) * DimExpr(SizeOf(dtype));
  return spec;
}

}  // namespace weft
