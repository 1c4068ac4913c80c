#include "kernels/cpu/contraction.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "kernels/cpu/contraction_panels.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

namespace weft::cpu {
namespace {

using mlir::Value;
using Values = CodeBuilder::Values;

int64_t RoundUp(int64_t x, int64_t multiple) { return (x + multiple - 1) / multiple * multiple; }

// Elements from one panel in scratch to the next; turning in blocks of lanes writes a little more
// than the depth.
int64_t ScratchPanel(const ContractionSchedule& s) {
  return RoundUp(s.pass_depth(), s.lanes) * s.panel();
}

// Elements from one strip of copied rows to the next; a vector more than they need, since strips
// that lie a power of two apart would meet in one set of the cache.
int64_t ScratchStrip(const ContractionSchedule& s) { return s.row_tile * s.pass_depth() + s.lanes; }

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
    const int64_t sums = s.one_pass ? 0 : s.most_rows * s.column_block;
    partials = take(std::max(sums, s.pack_rows * s.few_rows_columns) * element_bytes);
    copy = take(s.copy_rows / s.row_tile * ScratchStrip(s) * element_bytes);
    rows = take(s.most_rows * 8);
    segments = take(s.segment_block * 8);
    total = at;
  }
  int64_t panels, partials, copy, rows, segments, total;
};

// Values named block_* belong to the tiles that are done together, those named pass_* to one block
// of depth.
class Emitter {
 public:
  Emitter(CodeBuilder& builder, const Contraction& contraction, const ContractionSchedule& schedule,
          Value scratch)
      : k_(builder),
        c_(contraction),
        s_(schedule),
        copier_(builder, contraction, schedule.lanes),
        i64_(builder.b().getI64Type()) {
    ScratchLayout layout(schedule, ElementBytes(c_.element));
    mlir::Type byte = k_.b().getI8Type();
    panels_ = k_.At(scratch, layout.panels, byte);
    partials_ = k_.At(scratch, layout.partials, byte);
    copy_ = k_.At(scratch, layout.copy, byte);
    row_table_ = k_.At(scratch, layout.rows, byte);
    segment_table_ = k_.At(scratch, layout.segments, byte);
    vector_ = mlir::VectorType::get({s_.lanes}, c_.element);
    one_segment_ = CodeBuilder::IsConstant(c_.segments, 1);
    affine_ = !c_.left_line;
    auto columns = CodeBuilder::ConstantOf(c_.columns);
    whole_panels_ = columns && *columns % s_.panel() == 0;
    transposed_ = !c_.right_in_panels && !CodeBuilder::IsConstant(c_.right_column_stride, 1);
    may_be_few_ =
        s_.few_rows_depth > 0 && !c_.right_in_panels && !transposed_ && c_.stored == c_.element;
    few_ = may_be_few_ ? k_.Less(c_.rows, k_.I64(s_.pack_rows)) : Value();
    // A last panel that is not whole is copied to scratch, which has no more than a column block's.
    joins_blocks_ = may_be_few_ && s_.few_rows_columns > s_.column_block && whole_panels_ &&
                    CodeBuilder::IsConstant(c_.batches, 1);
  }

  void Tiles(Value begin, Value end) {
    Value row_blocks = k_.Max(k_.CeilDiv(c_.rows, s_.row_block), 1);
    Value column_blocks = k_.Max(k_.CeilDiv(c_.columns, s_.column_block), 1);
    // The blocks of rows that have the same columns; where rows are few, several blocks of columns.
    Value first_strip = k_.Div(begin, row_blocks), last_strip = k_.CeilDiv(end, row_blocks);
    Value together = k_.I64(1);
    if (joins_blocks_) {
      together = k_.Select(few_, k_.I64(s_.few_rows_columns / s_.column_block), together);
    }
    k_.For(k_.CeilDiv(k_.Sub(last_strip, first_strip), together), [&](Value i) {
      Value strip = k_.Add(first_strip, k_.Mul(i, together));
      Value first = k_.I64(0), last = c_.rows;
      if (!CodeBuilder::IsConstant(row_blocks, 1)) {
        Value before = k_.Mul(strip, row_blocks);
        first = k_.Mul(k_.Max(k_.Sub(begin, before), 0), s_.row_block);
        last = k_.Min(k_.Mul(k_.Sub(end, before), s_.row_block), last);
      }
      column0_ = k_.Mul(k_.Rem(strip, column_blocks), s_.column_block);
      batch_ = CodeBuilder::IsConstant(c_.batches, 1) ? k_.I64(0) : k_.Div(strip, column_blocks);
      block_columns_ = BlockSize(c_.columns, column0_, s_.column_block);
      if (joins_blocks_) {
        Value blocks = k_.Min(together, k_.Sub(last_strip, strip));
        block_columns_ =
            k_.Min(k_.Sub(c_.columns, column0_), k_.Mul(blocks, k_.I64(s_.column_block)));
      }
      k_.For(first, last, s_.most_rows,
             [&](Value row0) { Block(row0, k_.Min(k_.Sub(last, row0), s_.most_rows)); });
    });
  }

 private:
  // min(size - first, block), as a constant where all blocks are of one size.
  Value BlockSize(Value size, Value first, int64_t block) {
    if (auto constant = CodeBuilder::ConstantOf(size)) {
      if (*constant > 0 && *constant % block == 0) return k_.I64(block);
      if (*constant < block) return size;
    }
    return k_.Min(k_.Sub(size, first), block);
  }

  void Block(Value row0, Value rows) {
    row0_ = row0;
    block_rows_ = rows;
    left_ = k_.At(c_.left, c_.left_base(batch_), c_.stored);
    if (c_.left_along_columns) left_ = k_.At(left_, column0_, c_.stored);
    if (affine_) {
      left_ = k_.At(left_, k_.Mul(row0_, c_.left_row_stride), c_.stored);
    } else {
      FillRowTable();
    }
    right_ = k_.At(c_.right, c_.right_base(batch_), c_.stored);

    depth_block_ = k_.I64(s_.depth_block);
    if (may_be_few_) depth_block_ = k_.Select(few_, k_.I64(s_.few_rows_depth), depth_block_);
    Value depth_blocks = k_.Max(k_.CeilDiv(c_.depth, depth_block_), 1);
    Value segment_blocks = k_.Max(k_.CeilDiv(c_.segments, s_.segment_block), 1);
    Value passes = s_.one_pass && !may_be_few_ ? k_.I64(1) : k_.Mul(depth_blocks, segment_blocks);
    k_.For(passes, [&](Value pass) {
      first_ = k_.Equal(pass, k_.I64(0));
      last_ = k_.Equal(pass, k_.Sub(passes, 1));
      Pass(k_.Mul(k_.Div(pass, depth_blocks), s_.segment_block),
           k_.Mul(k_.Rem(pass, depth_blocks), depth_block_));
    });
  }

  // Offsets of the block's rows, without a division for each.
  void FillRowTable() {
    Value line = k_.Div(row0_, c_.left_line_rows), place = k_.Rem(row0_, c_.left_line_rows);
    Value offset = k_.Add(c_.left_line(line), k_.Mul(place, c_.left_row_stride));
    k_.For(block_rows_, {offset, place, line}, [&](Value i, mlir::ValueRange now) {
      k_.StoreAt(now[0], k_.At(row_table_, i, i64_));
      Value next = k_.Add(now[1], 1);
      return k_.If(
          k_.Equal(next, c_.left_line_rows), {i64_, i64_, i64_},
          [&] {
            Value next_line = k_.Add(now[2], 1);
            return Values{c_.left_line(next_line), k_.I64(0), next_line};
          },
          [&] { return Values{k_.Add(now[0], c_.left_row_stride), next, now[2]}; });
    });
  }

  // Adds one block of depth to all of the block.
  void Pass(Value segment0, Value depth0) {
    segments_ = BlockSize(c_.segments, segment0, s_.segment_block);
    depth_ = may_be_few_ ? k_.Min(k_.Sub(c_.depth, depth0), depth_block_)
                         : BlockSize(c_.depth, depth0, s_.depth_block);
    Value into_segment = k_.Mul(depth0, c_.left_depth_stride);
    pass_left_ = left_;
    if (one_segment_) {
      pass_left_ = k_.At(left_, into_segment, c_.stored);
    } else {
      k_.For(segments_, [&](Value s) {
        k_.StoreAt(k_.Add(c_.left_segment(k_.Add(segment0, s)), into_segment),
                   k_.At(segment_table_, s, i64_));
      });
    }
    // Where the pass starts and ends as `right` counts depth.
    SetPanels(k_.Add(k_.Mul(segment0, c_.depth), depth0), k_.Mul(segments_, depth_));

    left_element_ = c_.stored;
    left_depth_stride_ = c_.left_depth_stride;
    left_first_ = k_.I64(0);
    if (s_.copy_rows == 0) return RowTiles(k_.I64(0), block_rows_);
    Value source = pass_left_;
    pass_left_ = copy_;
    left_element_ = c_.element;
    left_depth_stride_ = k_.I64(s_.row_tile);
    k_.For(k_.I64(0), block_rows_, s_.copy_rows, [&](Value first) {
      Value rows = k_.Min(k_.Sub(block_rows_, first), s_.copy_rows);
      copier_.CopyStrips(k_.At(source, first, c_.stored), c_.left_depth_stride, copy_, s_.row_tile,
                         ScratchStrip(s_), depth_, rows);
      left_first_ = first;
      RowTiles(first, rows);
    });
  }

  // Brings `depth` rows of right from number `first` on into panels, where they do not lie in some.
  void SetPanels(Value first, Value depth) {
    num_panels_ = k_.CeilDiv(block_columns_, s_.panel());
    panel_stride_ = k_.I64(s_.panel());
    if (c_.right_in_panels) {
      panel_element_ = c_.stored;
      Value size = k_.Mul(k_.Mul(c_.segments, c_.depth), s_.panel());
      Value first_panel = k_.Div(column0_, s_.panel());
      panel_at_ = [=, this](Value p) {
        Value offset = k_.Add(k_.Mul(k_.Add(first_panel, p), size), k_.Mul(first, s_.panel()));
        return k_.At(right_, offset, c_.stored);
      };
      return;
    }
    Value source = k_.At(right_, k_.Mul(first, c_.right_depth_stride), c_.stored);
    source = k_.At(source, k_.Mul(column0_, c_.right_column_stride), c_.stored);
    auto in_place = [=, this](Value p) { return k_.At(source, k_.Mul(p, s_.panel()), c_.stored); };
    const PanelCopier::Panels scratch = {panels_, s_.vectors, ScratchPanel(s_)};
    auto in_scratch = [=, this](Value p) {
      return k_.At(panels_, k_.Mul(p, scratch.panel_elements), c_.element);
    };
    // A matrix as wide as a panel is one; a depthwise filter is used once per row of the tile.
    const bool is_panel =
        whole_panels_ && CodeBuilder::IsConstant(c_.right_depth_stride, s_.panel());
    if (!transposed_ && (is_panel || c_.left_along_columns)) {
      panel_element_ = c_.stored;
      panel_stride_ = c_.right_depth_stride;
      panel_at_ = in_place;
      return;
    }
    panel_element_ = c_.element;
    panel_at_ = in_scratch;
    if (transposed_) {
      copier_.TransposePanels(source, c_.right_column_stride, scratch, depth, block_columns_);
      return;
    }
    // Few rows read right where it is, but for a last panel that is not whole.
    Value copy = c_.stored == c_.element ? k_.Less(k_.I64(s_.pack_rows - 1), block_rows_)
                                         : k_.Less(k_.I64(0), k_.I64(1));
    Value whole = whole_panels_ ? num_panels_ : k_.Div(block_columns_, s_.panel());
    k_.If(copy, [&] {
      copier_.CopyPanels(source, c_.right_depth_stride, scratch, k_.I64(0), whole, depth);
    });
    if (!whole_panels_) {
      k_.If(k_.Less(whole, num_panels_), [&] {
        copier_.CopyPanels(source, c_.right_depth_stride, scratch, whole, k_.I64(1), depth,
                           block_columns_);
      });
    }
    if (CodeBuilder::IsConstant(copy, 1)) return;
    auto is_copied = [=, this](Value p) -> Value {
      if (whole_panels_) return copy;
      return mlir::arith::OrIOp::create(k_.b(), copy, k_.Equal(p, whole));
    };
    panel_at_ = [=, this](Value p) {
      panel_stride_ = k_.Select(is_copied(p), k_.I64(s_.panel()), c_.right_depth_stride);
      return k_.Select(is_copied(p), in_scratch(p), in_place(p));
    };
  }

  // Which lanes of each vector of panel `p` are columns; null where all are.
  Values Masks(Value p) {
    Values masks(s_.vectors);
    if (whole_panels_) return masks;
    for (int64_t v = 0; v < s_.vectors; ++v) {
      Value before = k_.Add(k_.Mul(p, s_.panel()), v * s_.lanes);
      masks[v] = k_.Mask(k_.Sub(block_columns_, before), s_.lanes);
    }
    return masks;
  }

  // Rows [first, first + count) of the block.
  void RowTiles(Value first, Value count) {
    Value whole = k_.Div(count, s_.row_tile);
    k_.For(whole, [&](Value i) { RowTile(s_.row_tile, k_.Add(first, k_.Mul(i, s_.row_tile))); });
    Value done = k_.Mul(whole, s_.row_tile);
    Value row = k_.Add(first, done), left = k_.Sub(count, done);
    if (auto rows = CodeBuilder::ConstantOf(c_.rows)) {
      // Only the matrix's last rows do not fill a tile.
      const int64_t rest = *rows % s_.row_tile;
      if (rest > 0) k_.If(k_.Less(k_.I64(0), left), [&] { RowTile(rest, row); });
      return;
    }
    const auto most = static_cast<uint64_t>(std::max<int64_t>(s_.row_tile - 1, 0));
    for (auto size = static_cast<int64_t>(std::bit_floor(most)); size > 0; size /= 2) {
      Value tiles = k_.Div(left, size);
      k_.For(tiles, [&](Value i) { RowTile(size, k_.Add(row, k_.Mul(i, size))); });
      row = k_.Add(row, k_.Mul(tiles, size));
      left = k_.Sub(left, k_.Mul(tiles, size));
    }
  }

  // Rows of one register tile, `row` counting from the start of the block, by all panels.
  void RowTile(int64_t rows, Value row) {
    fixed_row_stride_ =
        affine_ ? CodeBuilder::ConstantOf(c_.left_row_stride) : std::optional<int64_t>();
    Values pointers;
    if (s_.copy_rows > 0) {
      // Strips of row_tile rows, in which rows are neighbours.
      fixed_row_stride_ = 1;
      Value copied = k_.Sub(row, left_first_);
      Value strip = k_.Add(k_.Mul(k_.Div(copied, s_.row_tile), ScratchStrip(s_)),
                           k_.Rem(copied, s_.row_tile));
      pointers.push_back(k_.At(pass_left_, strip, left_element_));
    } else if (affine_) {
      Value base =
          k_.At(pass_left_, k_.Mul(k_.Sub(row, left_first_), c_.left_row_stride), left_element_);
      for (int64_t r = 0; r < (fixed_row_stride_ ? 1 : rows); ++r) {
        pointers.push_back(k_.At(base, k_.Mul(c_.left_row_stride, r), left_element_));
      }
    } else {
      for (int64_t r = 0; r < rows; ++r) {
        Value entry = k_.At(row_table_, k_.Add(row, r), i64_);
        pointers.push_back(k_.At(pass_left_, k_.LoadAt(entry, i64_), left_element_));
      }
    }
    k_.For(num_panels_, [&](Value p) { RegisterTile(rows, row, p, pointers); });
  }

  void RegisterTile(int64_t rows, Value row, Value p, Values pointers) {
    panel_column_ = k_.Mul(p, s_.panel());
    masks_ = Masks(p);
    if (c_.left_along_columns) {
      for (Value& pointer : pointers) pointer = k_.At(pointer, panel_column_, left_element_);
    }
    std::vector<mlir::Type> types(rows * s_.vectors, vector_);
    Value width = k_.I64(s_.column_block);
    if (joins_blocks_) width = k_.Select(few_, k_.I64(s_.few_rows_columns), width);
    Value partial =
        k_.At(partials_, k_.Add(k_.Mul(row, width), k_.Mul(panel_column_, rows)), c_.element);
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
    acc.push_back(panel_at_(p));
    auto run = [&](Value offset, mlir::ValueRange carried) {
      Values starts;
      for (Value pointer : pointers) {
        starts.push_back(offset == nullptr ? pointer : k_.At(pointer, offset, left_element_));
      }
      return k_.For(depth_, Values(carried.begin(), carried.end()),
                    [&](Value d, mlir::ValueRange sums) { return Step(rows, starts, d, sums); });
    };
    if (one_segment_) {
      acc = run(nullptr, acc);
    } else {
      acc = k_.For(segments_, acc, [&](Value s, mlir::ValueRange carried) {
        return run(k_.LoadAt(k_.At(segment_table_, s, i64_), i64_), carried);
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
  Values Step(int64_t rows, const Values& starts, Value d, mlir::ValueRange carried) {
    Values next(carried.begin(), carried.end());
    Value panel = next.back();
    Values right;
    for (int64_t v = 0; v < s_.vectors; ++v) {
      Value mask = c_.left_along_columns ? masks_[v] : nullptr;
      right.push_back(
          copier_.LoadVector(k_.At(panel, v * s_.lanes, panel_element_), panel_element_, mask));
    }
    Value offset = k_.Mul(d, left_depth_stride_);
    Values at;
    for (Value start : starts) at.push_back(k_.At(start, offset, left_element_));
    for (int64_t r = 0; r < rows; ++r) {
      Value from = fixed_row_stride_ ? k_.At(at[0], r * *fixed_row_stride_, left_element_) : at[r];
      Value element;
      if (!c_.left_along_columns) {
        element = k_.Splat(copier_.LoadScalar(from, left_element_), s_.lanes);
      }
      for (int64_t v = 0; v < s_.vectors; ++v) {
        Value x = element;
        if (c_.left_along_columns) {
          x = copier_.LoadVector(k_.At(from, v * s_.lanes, left_element_), left_element_,
                                 masks_[v]);
        }
        Value& sum = next[r * s_.vectors + v];
        sum = MultiplyAdd(x, right[v], sum);
      }
    }
    next.back() = k_.At(panel, panel_stride_, panel_element_);
    return next;
  }

  Value MultiplyAdd(Value x, Value y, Value sum) {
    if (mlir::isa<mlir::FloatType>(c_.element)) {
      return mlir::math::FmaOp::create(k_.b(), x, y, sum);
    }
    return mlir::arith::AddIOp::create(k_.b(), sum, mlir::arith::MulIOp::create(k_.b(), x, y));
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
      return k_.LoadAt(k_.At(row, v * s_.lanes, access.element),
                       mlir::VectorType::get({s_.lanes}, access.element), masks_[v]);
    }
    return k_.Splat(k_.LoadAt(row, access.element), s_.lanes);
  }

  CodeBuilder& k_;
  const Contraction& c_;
  const ContractionSchedule& s_;
  PanelCopier copier_;
  mlir::Type i64_;
  mlir::VectorType vector_;
  bool one_segment_, affine_, whole_panels_, transposed_;
  // Whether rows may turn out few when the kernel runs, whether they are (if they may), and whether
  // blocks of columns are then done together.
  bool may_be_few_, joins_blocks_;
  Value few_, depth_block_;
  Value panels_, partials_, copy_, row_table_, segment_table_;
  Value row0_, column0_, batch_, block_rows_, block_columns_, left_, right_;
  Value first_, last_, segments_, depth_;
  // Left as the pass reads it: from row left_first_ on where it is copied, else from row 0.
  Value pass_left_, left_first_, left_depth_stride_;
  mlir::Type left_element_;
  std::optional<int64_t> fixed_row_stride_;
  // Right as the pass reads it.
  Value num_panels_, panel_stride_;
  std::function<Value(Value p)> panel_at_;
  mlir::Type panel_element_;
  Value panel_column_;
  Values masks_;
};

}  // namespace

int64_t ContractionScratch(const ContractionSchedule& schedule, int64_t element_bytes) {
  return ScratchLayout(schedule, element_bytes).total;
}

void EmitContraction(CodeBuilder& builder, const Contraction& contraction,
                     const ContractionSchedule& schedule, Value begin, Value end, Value scratch) {
  Emitter(builder, contraction, schedule, scratch).Tiles(begin, end);
}

}  // namespace weft::cpu
