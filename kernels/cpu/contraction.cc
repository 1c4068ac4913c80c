#include "kernels/cpu/contraction.h"

#include <algorithm>

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/TypeUtilities.h"

namespace weft::cpu {
namespace {

using mlir::Value;
using Values = CodeBuilder::Values;

int64_t RoundUp(int64_t x, int64_t multiple) { return (x + multiple - 1) / multiple * multiple; }

// Elements from one panel in scratch to the next; copying in blocks of lanes writes a little more
// than the depth.
int64_t ScratchPanel(const ContractionSchedule& s) {
  return RoundUp(s.pass_depth(), s.lanes) * s.panel();
}

// Where the parts of scratch start, in bytes.
struct ScratchLayout {
  ScratchLayout(const ContractionSchedule& s, int64_t element_bytes) {
    int64_t at = 0;
    auto take = [&](int64_t bytes) {
      int64_t start = at;
      at = RoundUp(at + bytes, 64);
      return start;
    };
    panels = take(ScratchPanel(s) * (s.column_block / s.panel()) * element_bytes);
    partials = take(s.row_block * s.column_block * element_bytes);
    rows = take(s.row_block * 8);
    segments = take(s.segment_block * 8);
    total = at;
  }
  int64_t panels, partials, rows, segments, total;
};

// Emits one tile. Values named block_* belong to the tile, those named pass_* to one block of
// depth.
class Emitter {
 public:
  Emitter(CodeBuilder& builder, const Contraction& contraction, const ContractionSchedule& schedule,
          Value scratch)
      : k_(builder), c_(contraction), s_(schedule) {
    ScratchLayout layout(schedule, ElementBytes(c_.element));
    mlir::Type byte = k_.b().getI8Type();
    panels_ = k_.At(scratch, layout.panels, byte);
    partials_ = k_.At(scratch, layout.partials, byte);
    row_table_ = k_.At(scratch, layout.rows, byte);
    segment_table_ = k_.At(scratch, layout.segments, byte);
    vector_ = mlir::VectorType::get({s_.lanes}, c_.element);
    one_segment_ = CodeBuilder::IsConstant(c_.segments, 1);
    affine_ = !c_.left_row;
    auto columns = CodeBuilder::ConstantOf(c_.columns);
    whole_panels_ = columns && *columns % s_.panel() == 0;
    transposed_ = !c_.right_in_panels && !CodeBuilder::IsConstant(c_.right_column_stride, 1);
  }

  void Tile(Value tile) {
    Value column_blocks = k_.CeilDiv(c_.columns, s_.column_block);
    Value row_blocks = k_.CeilDiv(c_.rows, s_.row_block);
    column0_ = k_.Mul(k_.Rem(tile, column_blocks), s_.column_block);
    Value rest = k_.Div(tile, column_blocks);
    row0_ = k_.Mul(k_.Rem(rest, row_blocks), s_.row_block);
    batch_ = CodeBuilder::IsConstant(c_.batches, 1) ? k_.I64(0) : k_.Div(rest, row_blocks);
    block_rows_ = BlockSize(c_.rows, row0_, s_.row_block);
    block_columns_ = BlockSize(c_.columns, column0_, s_.column_block);

    left_ = k_.At(c_.left, c_.left_base(batch_), c_.stored);
    if (c_.left_along_columns) left_ = k_.At(left_, column0_, c_.stored);
    if (affine_) {
      left_ = k_.At(left_, k_.Mul(row0_, c_.left_row_stride), c_.stored);
    } else {
      k_.For(block_rows_, [&](Value i) {
        k_.StoreAt(c_.left_row(k_.Add(row0_, i)), k_.At(row_table_, i, k_.b().getI64Type()));
      });
    }
    right_ = k_.At(c_.right, c_.right_base(batch_), c_.stored);

    Value depth_blocks = k_.Max(k_.CeilDiv(c_.depth, s_.depth_block), k_.I64(1));
    Value segment_blocks = k_.Max(k_.CeilDiv(c_.segments, s_.segment_block), k_.I64(1));
    Value passes = k_.Mul(depth_blocks, segment_blocks);
    k_.For(passes, [&](Value pass) {
      first_ = k_.Equal(pass, k_.I64(0));
      last_ = k_.Equal(pass, k_.Add(passes, -1));
      if (CodeBuilder::IsConstant(passes, 1)) last_ = first_ = k_.Equal(passes, passes);
      Pass(k_.Mul(k_.Div(pass, depth_blocks), s_.segment_block),
           k_.Mul(k_.Rem(pass, depth_blocks), s_.depth_block));
    });
  }

 private:
  // min(size - first, block), as a constant where all blocks are of one size.
  Value BlockSize(Value size, Value first, int64_t block) {
    if (auto constant = CodeBuilder::ConstantOf(size)) {
      if (*constant > 0 && *constant % block == 0) return k_.I64(block);
      if (*constant < block) return size;
    }
    return k_.Min(k_.Sub(size, first), k_.I64(block));
  }

  // Adds one block of depth to all of the tile.
  void Pass(Value segment0, Value depth0) {
    segments_ = BlockSize(c_.segments, segment0, s_.segment_block);
    depth_ = BlockSize(c_.depth, depth0, s_.depth_block);
    Value into_segment = k_.Mul(depth0, c_.left_depth_stride);
    pass_left_ = left_;
    if (one_segment_) {
      pass_left_ = k_.At(left_, into_segment, c_.stored);
    } else {
      k_.For(segments_, [&](Value s) {
        k_.StoreAt(k_.Add(c_.left_segment(k_.Add(segment0, s)), into_segment),
                   k_.At(segment_table_, s, k_.b().getI64Type()));
      });
    }
    // Where the pass starts and ends as `right` counts depth.
    Value first_depth = k_.Add(k_.Mul(segment0, c_.depth), depth0);
    Value pass_depth = k_.Mul(segments_, depth_);
    Value panels = k_.CeilDiv(block_columns_, s_.panel());

    panel_element_ = c_.element;
    if (c_.right_in_panels) {
      panel_element_ = c_.stored;
      Value panel_size = k_.Mul(k_.Mul(c_.segments, c_.depth), s_.panel());
      Value first_panel = k_.Div(column0_, s_.panel());
      Value start = k_.Mul(first_depth, s_.panel());
      k_.For(panels, [&](Value p) {
        Value offset = k_.Add(k_.Mul(k_.Add(first_panel, p), panel_size), start);
        Rows(p, k_.At(right_, offset, c_.stored), k_.I64(s_.panel()));
      });
      return;
    }
    Value source = k_.At(right_, k_.Mul(first_depth, c_.right_depth_stride), c_.stored);
    source = k_.At(source, k_.Mul(column0_, c_.right_column_stride), c_.stored);
    if (transposed_) {
      TransposePanels(source, panels, pass_depth);
      k_.For(panels, [&](Value p) { Rows(p, ScratchPanelAt(p), k_.I64(s_.panel())); });
      return;
    }
    // A matrix as wide as a panel is one; a depthwise filter is used once per row of the tile.
    const bool is_panel =
        whole_panels_ && CodeBuilder::IsConstant(c_.right_depth_stride, s_.panel());
    if (is_panel || c_.left_along_columns) {
      panel_element_ = c_.stored;
      k_.For(panels, [&](Value p) {
        Rows(p, k_.At(source, k_.Mul(p, s_.panel()), c_.stored), c_.right_depth_stride);
      });
      return;
    }
    // Few rows read `right` where it is, but for a last panel that is not whole.
    const int64_t pack_rows = c_.stored == c_.element ? s_.pack_rows : 0;
    Value copy = k_.Less(k_.I64(pack_rows - 1), block_rows_);
    if (pack_rows == 0) copy = k_.Equal(k_.I64(0), k_.I64(0));
    Value whole = whole_panels_ ? panels : k_.Div(block_columns_, s_.panel());
    k_.If(copy, [&] { CopyPanels(source, k_.I64(0), whole, pass_depth, /*masked=*/false); });
    if (!whole_panels_) {
      k_.If(k_.Less(whole, panels),
            [&] { CopyPanels(source, whole, k_.I64(1), pass_depth, /*masked=*/true); });
    }
    k_.For(panels, [&](Value p) {
      Value in_scratch = copy;
      if (!whole_panels_) {
        in_scratch = mlir::arith::OrIOp::create(k_.b(), copy, k_.Equal(p, whole));
      }
      Value there = k_.At(source, k_.Mul(p, s_.panel()), c_.stored);
      Rows(p, k_.Select(in_scratch, ScratchPanelAt(p), there),
           k_.Select(in_scratch, k_.I64(s_.panel()), c_.right_depth_stride));
    });
  }

  Value ScratchPanelAt(Value p) { return k_.At(panels_, k_.Mul(p, ScratchPanel(s_)), c_.element); }

  // Copies `count` panels from panel `first` on, row by row: consecutive memory is read together.
  void CopyPanels(Value source, Value first, Value count, Value depth, bool masked) {
    Values masks(s_.vectors);
    if (masked) masks = Masks(first);
    k_.For(depth, [&](Value d) {
      Value row = k_.At(source, k_.Mul(d, c_.right_depth_stride), c_.stored);
      k_.For(count, [&](Value i) {
        Value p = k_.Add(first, i);
        Value from = k_.At(row, k_.Mul(p, s_.panel()), c_.stored);
        Value to = k_.At(ScratchPanelAt(p), k_.Mul(d, s_.panel()), c_.element);
        for (int64_t v = 0; v < s_.vectors; ++v) {
          Value loaded = LoadWide(k_.At(from, v * s_.lanes, c_.stored), c_.stored, masks[v]);
          k_.StoreAt(loaded, k_.At(to, v * s_.lanes, c_.element));
        }
      });
    });
  }

  // The same for a matrix whose columns are contiguous, in squares of lanes x lanes. Columns past
  // the last repeat it: what is computed from them is not stored.
  void TransposePanels(Value source, Value panels, Value depth) {
    auto constant = CodeBuilder::ConstantOf(depth);
    const bool whole = constant && *constant % s_.lanes == 0;
    Value last = k_.Add(block_columns_, -1);
    k_.For(k_.Mul(panels, s_.vectors), [&](Value strip) {
      Value first_column = k_.Mul(strip, s_.lanes);
      Values columns;
      for (int64_t i = 0; i < s_.lanes; ++i) {
        Value column = k_.Min(k_.Add(first_column, i), last);
        columns.push_back(k_.At(source, k_.Mul(column, c_.right_column_stride), c_.stored));
      }
      Value to = k_.At(ScratchPanelAt(k_.Div(strip, s_.vectors)),
                       k_.Mul(k_.Rem(strip, s_.vectors), s_.lanes), c_.element);
      k_.For(k_.CeilDiv(depth, s_.lanes), [&](Value square) {
        Value d = k_.Mul(square, s_.lanes);
        Value mask = whole ? nullptr : k_.Mask(k_.Sub(depth, d), s_.lanes);
        Values vectors;
        for (Value column : columns) {
          vectors.push_back(LoadWide(k_.At(column, d, c_.stored), c_.stored, mask));
        }
        Transpose(vectors);
        Value place = k_.At(to, k_.Mul(d, s_.panel()), c_.element);
        for (int64_t i = 0; i < s_.lanes; ++i) {
          k_.StoreAt(vectors[i], k_.At(place, i * s_.panel(), c_.element));
        }
      });
    });
  }

  // Transposes a square held in `rows` by exchanging the off-diagonal halves of ever smaller
  // squares.
  void Transpose(Values& rows) {
    const int64_t n = s_.lanes;
    for (int64_t distance = n / 2; distance > 0; distance /= 2) {
      llvm::SmallVector<int64_t> low, high;
      for (int64_t l = 0; l < n; ++l) {
        low.push_back((l & distance) == 0 ? l : n + l - distance);
        high.push_back((l & distance) == 0 ? l + distance : n + l);
      }
      for (int64_t i = 0; i < n; ++i) {
        if (i & distance) continue;
        Value a = rows[i], b = rows[i + distance];
        rows[i] = mlir::vector::ShuffleOp::create(k_.b(), a, b, low);
        rows[i + distance] = mlir::vector::ShuffleOp::create(k_.b(), a, b, high);
      }
    }
  }

  // Which lanes of each vector of panel `p` are columns; null where all are.
  Values Masks(Value p) {
    Values masks(s_.vectors);
    if (whole_panels_) return masks;
    for (int64_t v = 0; v < s_.vectors; ++v) {
      masks[v] =
          k_.Mask(k_.Sub(block_columns_, k_.Add(k_.Mul(p, s_.panel()), v * s_.lanes)), s_.lanes);
    }
    return masks;
  }

  // All rows of the tile by one panel: whole register tiles, then ever smaller ones.
  void Rows(Value p, Value panel, Value panel_stride) {
    panel_ = panel;
    panel_stride_ = panel_stride;
    panel_column_ = k_.Mul(p, s_.panel());
    masks_ = Masks(p);
    Value row = k_.I64(0);
    Value left = block_rows_;
    for (int64_t size = s_.row_tile; size > 0; size /= 2) {
      Value count = k_.Div(left, size);
      // What remains after whole register tiles is one tile where it is known.
      if (auto rest = CodeBuilder::ConstantOf(left); rest && *rest < size) {
        if (*rest > 0) RegisterTile(*rest, row);
        break;
      }
      Value start = row;
      k_.For(count, [&](Value i) { RegisterTile(size, k_.Add(start, k_.Mul(i, size))); });
      row = k_.Add(row, k_.Mul(count, size));
      left = k_.Sub(left, k_.Mul(count, size));
    }
  }

  // `row` and `panel_column_` count from the start of the tile.
  void RegisterTile(int64_t rows, Value row) {
    Values pointers;
    Value base = pass_left_;
    if (c_.left_along_columns) base = k_.At(base, panel_column_, c_.stored);
    auto row_stride =
        affine_ ? CodeBuilder::ConstantOf(c_.left_row_stride) : std::optional<int64_t>();
    if (affine_) {
      base = k_.At(base, k_.Mul(row, c_.left_row_stride), c_.stored);
      for (int64_t r = 0; r < (row_stride ? 1 : rows); ++r) {
        pointers.push_back(k_.At(base, k_.Mul(c_.left_row_stride, r), c_.stored));
      }
    } else {
      for (int64_t r = 0; r < rows; ++r) {
        Value entry = k_.At(row_table_, k_.Add(row, r), k_.b().getI64Type());
        pointers.push_back(k_.At(base, k_.LoadAt(entry, k_.b().getI64Type()), c_.stored));
      }
    }

    std::vector<mlir::Type> types(rows * s_.vectors, vector_);
    Value partial =
        k_.At(partials_, k_.Add(k_.Mul(panel_column_, s_.row_block), k_.Mul(row, s_.panel())),
              c_.element);
    Values acc = k_.If(
        first_, types, [&] { return Values(types.size(), k_.Zero(vector_)); },
        [&] {
          Values loaded;
          for (size_t i = 0; i < types.size(); ++i) {
            loaded.push_back(k_.LoadAt(k_.At(partial, i * s_.lanes, c_.element), vector_));
          }
          return loaded;
        });

    // Carried: the accumulators, and the row of the panel that comes next.
    acc.push_back(panel_);
    auto run = [&](Value offset, mlir::ValueRange carried) {
      Values starts;
      for (Value pointer : pointers) {
        starts.push_back(offset == nullptr ? pointer : k_.At(pointer, offset, c_.stored));
      }
      return k_.For(
          depth_, Values(carried.begin(), carried.end()),
          [&](Value d, mlir::ValueRange sums) { return Step(rows, row_stride, starts, d, sums); });
    };
    if (one_segment_) {
      acc = run(nullptr, acc);
    } else {
      acc = k_.For(segments_, acc, [&](Value s, mlir::ValueRange carried) {
        Value entry = k_.At(segment_table_, s, k_.b().getI64Type());
        return run(k_.LoadAt(entry, k_.b().getI64Type()), carried);
      });
    }
    acc.pop_back();

    k_.If(
        last_, [&] { Finish(rows, row, acc); },
        [&] {
          for (size_t i = 0; i < acc.size(); ++i) {
            k_.StoreAt(acc[i], k_.At(partial, i * s_.lanes, c_.element));
          }
        });
  }

  // One step of depth: loads a row of the panel, and multiplies it by one element of each row.
  Values Step(int64_t rows, std::optional<int64_t> row_stride, const Values& starts, Value d,
              mlir::ValueRange carried) {
    Values next(carried.begin(), carried.end());
    Value panel = next.back();
    Values right;
    for (int64_t v = 0; v < s_.vectors; ++v) {
      Value mask = c_.left_along_columns ? masks_[v] : nullptr;
      right.push_back(LoadWide(k_.At(panel, v * s_.lanes, panel_element_), panel_element_, mask));
    }
    Value offset = k_.Mul(d, c_.left_depth_stride);
    Values at;
    for (Value start : starts) at.push_back(k_.At(start, offset, c_.stored));
    for (int64_t r = 0; r < rows; ++r) {
      Value from = row_stride ? k_.At(at[0], r * *row_stride, c_.stored) : at[r];
      Value element;
      if (!c_.left_along_columns) {
        element = k_.Splat(LoadWideScalar(from, c_.stored), s_.lanes);
      }
      for (int64_t v = 0; v < s_.vectors; ++v) {
        Value x = element;
        if (c_.left_along_columns) {
          x = LoadWide(k_.At(from, v * s_.lanes, c_.stored), c_.stored, masks_[v]);
        }
        Value& sum = next[r * s_.vectors + v];
        sum = MultiplyAdd(x, right[v], sum);
      }
    }
    next.back() = k_.At(panel, panel_stride_, panel_element_);
    return next;
  }

  mlir::VectorType VectorOf(mlir::Type element) {
    return mlir::VectorType::get({s_.lanes}, element);
  }

  // Numbers as those that are added up: a vector, or a scalar.
  Value LoadWide(Value pointer, mlir::Type element, Value mask) {
    return Widened(k_.LoadAt(pointer, VectorOf(element), mask), element);
  }
  Value LoadWideScalar(Value pointer, mlir::Type element) {
    return Widened(k_.LoadAt(pointer, element), element);
  }
  Value Widened(Value x, mlir::Type element) { return element == c_.element ? x : c_.widen(x); }

  Value MultiplyAdd(Value x, Value y, Value sum) {
    if (mlir::isa<mlir::FloatType>(c_.element)) {
      return mlir::math::FmaOp::create(k_.b(), x, y, sum);
    }
    Value product = mlir::arith::MulIOp::create(k_.b(), x, y);
    return mlir::arith::AddIOp::create(k_.b(), sum, product);
  }

  // Runs the epilogue on finished sums and stores its results.
  void Finish(int64_t rows, Value row, const Values& acc) {
    Value first_row = k_.Add(row0_, row);
    Value first_column = k_.Add(column0_, panel_column_);
    std::vector<Values> operand_rows, result_rows;
    for (const EpilogueAccess& access : c_.operands) {
      operand_rows.push_back(RowPointers(access, rows, first_row, first_column));
    }
    for (const EpilogueAccess& access : c_.results) {
      result_rows.push_back(RowPointers(access, rows, first_row, first_column));
    }
    // What does not depend on the row, or not on the column, is loaded once.
    std::vector<Values> of_row(c_.operands.size()), of_column(c_.operands.size());
    for (size_t i = 0; i < c_.operands.size(); ++i) {
      const EpilogueAccess& access = c_.operands[i];
      if (access.row || !CodeBuilder::IsConstant(access.row_stride, 0)) continue;
      for (int64_t v = 0; v < s_.vectors; ++v) {
        of_column[i].push_back(LoadOperand(access, operand_rows[i][0], v));
      }
    }
    for (int64_t r = 0; r < rows; ++r) {
      for (size_t i = 0; i < c_.operands.size(); ++i) {
        if (c_.operands[i].along_columns || !of_column[i].empty()) continue;
        of_row[i].assign(1, LoadOperand(c_.operands[i], operand_rows[i][r], 0));
      }
      for (int64_t v = 0; v < s_.vectors; ++v) {
        Values operands;
        for (size_t i = 0; i < c_.operands.size(); ++i) {
          operands.push_back(!of_column[i].empty() ? of_column[i][v]
                             : !of_row[i].empty()
                                 ? of_row[i][0]
                                 : LoadOperand(c_.operands[i], operand_rows[i][r], v));
        }
        Values results = c_.epilogue(acc[r * s_.vectors + v], operands);
        for (size_t i = 0; i < c_.results.size(); ++i) {
          k_.StoreAt(results[i], k_.At(result_rows[i][r], v * s_.lanes, c_.results[i].element),
                     masks_[v]);
        }
      }
    }
  }

  // Where each row of the register tile starts in a buffer of the epilogue.
  Values RowPointers(const EpilogueAccess& access, int64_t rows, Value first_row,
                     Value first_column) {
    Value base = k_.At(access.pointer, access.base(batch_), access.element);
    if (access.along_columns) base = k_.At(base, first_column, access.element);
    if (!access.row) base = k_.At(base, k_.Mul(first_row, access.row_stride), access.element);
    Values pointers;
    for (int64_t r = 0; r < rows; ++r) {
      Value offset = access.row ? access.row(k_.Add(first_row, r)) : k_.Mul(access.row_stride, r);
      pointers.push_back(k_.At(base, offset, access.element));
    }
    return pointers;
  }

  Value LoadOperand(const EpilogueAccess& access, Value row, int64_t v) {
    if (access.along_columns) {
      return k_.LoadAt(k_.At(row, v * s_.lanes, access.element), VectorOf(access.element),
                       masks_[v]);
    }
    return k_.Splat(k_.LoadAt(row, access.element), s_.lanes);
  }

  CodeBuilder& k_;
  const Contraction& c_;
  const ContractionSchedule& s_;
  mlir::VectorType vector_;
  bool one_segment_, affine_, whole_panels_, transposed_;
  Value panels_, partials_, row_table_, segment_table_;
  Value row0_, column0_, batch_, block_rows_, block_columns_, left_, right_;
  Value first_, last_, segments_, depth_, pass_left_;
  mlir::Type panel_element_;  // f16 and bf16 only where the panel is read in place
  Value panel_, panel_stride_, panel_column_;
  Values masks_;
};

}  // namespace

int64_t ContractionScratch(const ContractionSchedule& schedule, int64_t element_bytes) {
  return ScratchLayout(schedule, element_bytes).total;
}

void EmitContraction(CodeBuilder& builder, const Contraction& contraction,
                     const ContractionSchedule& schedule, Value begin, Value end, Value scratch) {
  Emitter emitter(builder, contraction, schedule, scratch);
  builder.For(builder.Sub(end, begin), [&](Value i) { emitter.Tile(builder.Add(begin, i)); });
}

}  // namespace weft::cpu
