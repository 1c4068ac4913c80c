#include "kernels/cpu/contraction_panels.h"

#include "kernels/cpu/transpose.h"
#include "mlir/IR/BuiltinTypes.h"

namespace weft::cpu {

using mlir::Value;
using Values = CodeBuilder::Values;

Value PanelCopier::LoadVector(Value pointer, mlir::Type element, Value mask) {
  Value x = k_.LoadAt(pointer, mlir::VectorType::get({lanes_}, element), mask);
  return element == c_.element ? x : c_.widen(x);
}

Value PanelCopier::LoadScalar(Value pointer, mlir::Type element) {
  Value x = k_.LoadAt(pointer, element);
  return element == c_.element ? x : c_.widen(x);
}

void PanelCopier::CopyPanels(Value source, Value stride, const Panels& panels, Value first,
                             Value count, Value depth, Value columns) {
  const int64_t panel = panels.vectors * lanes_;
  Values masks(panels.vectors);
  if (columns != nullptr) {
    for (int64_t v = 0; v < panels.vectors; ++v) {
      masks[v] = k_.Mask(k_.Sub(columns, k_.Add(k_.Mul(first, panel), v * lanes_)), lanes_);
    }
  }
  // Row by row: consecutive memory is read together.
  k_.For(depth, [&](Value d) {
    Value row = k_.At(source, k_.Mul(d, stride), c_.stored);
    k_.For(count, [&](Value i) {
      Value p = k_.Add(first, i);
      Value from = k_.At(row, k_.Mul(p, panel), c_.stored);
      Value offset = k_.Add(k_.Mul(p, panels.panel_elements), k_.Mul(d, panel));
      Value to = k_.At(panels.to, offset, c_.element);
      for (int64_t v = 0; v < panels.vectors; ++v) {
        k_.StoreAt(LoadVector(k_.At(from, v * lanes_, c_.stored), c_.stored, masks[v]),
                   k_.At(to, v * lanes_, c_.element));
      }
    });
  });
}

void PanelCopier::TransposePanels(Value source, Value stride, const Panels& panels, Value depth,
                                  Value columns) {
  const int64_t panel = panels.vectors * lanes_;
  auto constant = CodeBuilder::ConstantOf(depth);
  const bool whole = constant && *constant % lanes_ == 0;
  Value last = k_.Sub(columns, 1);
  // In squares of lanes x lanes.
  k_.For(k_.Mul(k_.CeilDiv(columns, panel), panels.vectors), [&](Value strip) {
    Value first_column = k_.Mul(strip, lanes_);
    Values starts;
    for (int64_t i = 0; i < lanes_; ++i) {
      Value column = k_.Min(k_.Add(first_column, i), last);
      starts.push_back(k_.At(source, k_.Mul(column, stride), c_.stored));
    }
    Value place = k_.Add(k_.Mul(k_.Div(strip, panels.vectors), panels.panel_elements),
                         k_.Mul(k_.Rem(strip, panels.vectors), lanes_));
    Value to = k_.At(panels.to, place, c_.element);
    k_.For(k_.CeilDiv(depth, lanes_), [&](Value square) {
      Value d = k_.Mul(square, lanes_);
      Value mask = whole ? nullptr : k_.Mask(k_.Sub(depth, d), lanes_);
      Values vectors;
      for (Value start : starts) {
        vectors.push_back(LoadVector(k_.At(start, d, c_.stored), c_.stored, mask));
      }
      TransposeSquare(k_.b(), vectors);
      Value out = k_.At(to, k_.Mul(d, panel), c_.element);
      for (int64_t i = 0; i < lanes_; ++i) {
        k_.StoreAt(vectors[i], k_.At(out, i * panel, c_.element));
      }
    });
  });
}

void PanelCopier::CopyStrips(Value source, Value stride, Value to, int64_t strip,
                             int64_t strip_elements, Value depth, Value rows) {
  auto stored = mlir::VectorType::get({strip}, c_.stored);
  Value whole = k_.Div(rows, strip), rest = k_.Rem(rows, strip);
  k_.For(depth, [&](Value d) {
    Value from = k_.At(source, k_.Mul(d, stride), c_.stored);
    Value into = k_.At(to, k_.Mul(d, strip), c_.element);
    auto copy = [&](Value i, Value row, mlir::Type type) {
      Value x = k_.LoadAt(k_.At(from, row, c_.stored), type);
      k_.StoreAt(c_.stored == c_.element ? x : c_.widen(x), k_.At(into, i, c_.element));
    };
    k_.For(whole, [&](Value i) { copy(k_.Mul(i, strip_elements), k_.Mul(i, strip), stored); });
    k_.For(rest, [&](Value r) {
      copy(k_.Add(k_.Mul(whole, strip_elements), r), k_.Add(k_.Mul(whole, strip), r), c_.stored);
    });
  });
}

}  // namespace weft::cpu
