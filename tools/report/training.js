'use strict';
// Draws the training report from the JSON in the page: TrainingReport in page.h names its fields.
function number(v) {
  if (v === null || !isFinite(v)) return '–';
  const a = Math.abs(v);
  if (a !== 0 && (a < 1e-3 || a >= 1e6)) return v.toExponential(2);
  return String(+v.toPrecision(4));
}
function card(parent, title, ...children) {
  const c = element('div', {class: 'card'}, element('h2', {}, title), ...children);
  document.getElementById(parent).append(c);
  return c;
}

const judged = data.judged || 'Validation rows only', tip = document.getElementById('tip');
function showTip(event, text) {
  tip.textContent = text;
  tip.style.display = 'block';
  tip.style.left = Math.min(event.clientX + 12, innerWidth - tip.offsetWidth - 8) + 'px';
  tip.style.top = event.clientY + 12 + 'px';
}
const hideTip = () => { tip.style.display = 'none'; };

// Round values that split [low, high] into about `count` parts.
function ticks(low, high, count) {
  const raw = (high - low) / count, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map(m => m * power).find(s => s >= raw) || raw;
  const out = [];
  for (let t = Math.ceil(low / step) * step; t <= high + step * 1e-9; t += step) out.push(+t.toPrecision(12));
  return out;
}

// 1, 2, 5, 10, 20 ... within [low, high]; all digits where that is less than a decade.
function logarithmicTicks(low, high) {
  const digits = high / low < 10 ? [1, 2, 3, 4, 5, 6, 7, 8, 9] : high / low < 1e4 ? [1, 2, 5] : [1], out = [];
  for (let p = Math.floor(Math.log10(low)); p <= Math.log10(high); ++p) {
    for (const d of digits) if (d * 10 ** p >= low && d * 10 ** p <= high) out.push(d * 10 ** p);
  }
  return out;
}

// One chart: lines [{name, color, x: [], y: []}].
function chart(title, lines, logarithmic) {
  lines = lines.filter(l => l.y.some(v => v !== null && isFinite(v)));
  if (!lines.length) return;
  const W = 520, H = 280, L = 54, R = 12, T = 10, B = 34;
  const all = lines.flatMap(l => l.y.filter(v => v !== null && isFinite(v) && (!logarithmic || v > 0)));
  let low = Math.min(...all), high = Math.max(...all);
  const f = logarithmic ? Math.log10 : v => v;
  if (high === low) { high += Math.abs(high) * .1 || 1; low -= Math.abs(low) * .1 || 0; }
  const xs = lines.flatMap(l => l.x), x0 = Math.min(...xs), x1 = Math.max(...xs, x0 + 1e-9);
  const pad = (f(high) - f(low)) * .04;
  const y0 = f(low) - pad, y1 = f(high) + pad;
  const X = x => L + (x - x0) / (x1 - x0) * (W - L - R);
  const Y = y => T + (1 - (f(y) - y0) / (y1 - y0)) * (H - T - B);
  const s = svg('svg', {viewBox: `0 0 ${W} ${H}`, role: 'img', 'aria-label': `${title} by epoch`});
  const marks = logarithmic ? logarithmicTicks(10 ** y0, 10 ** y1) : ticks(y0, y1, 5);
  for (const t of marks) {
    s.append(svg('line', {class: 'axis', x1: L, x2: W - R, y1: Y(t), y2: Y(t)}));
    s.append(svg('text', {x: L - 8, y: Y(t) + 4, 'text-anchor': 'end'}, number(+t.toPrecision(3))));
  }
  for (const t of ticks(x0, x1, 6).filter(Number.isInteger)) {
    s.append(svg('text', {x: X(t), y: H - B + 18, 'text-anchor': 'middle'}, t));
  }
  s.append(svg('text', {x: (L + W - R) / 2, y: H - 2, 'text-anchor': 'middle'}, 'epoch'));
  if (data.best_epoch) {
    s.append(svg('line', {class: 'best', x1: X(data.best_epoch), x2: X(data.best_epoch), y1: T, y2: H - B}));
    s.append(svg('text', {x: X(data.best_epoch) + (data.best_epoch > (x0 + x1) / 2 ? -5 : 5), y: T + 10, 'text-anchor': data.best_epoch > (x0 + x1) / 2 ? 'end' : 'start'}, 'best'));
  }
  for (const l of lines) {
    const points = l.x.map((x, i) => [x, l.y[i]]).filter(p => p[1] !== null && isFinite(p[1]) && (!logarithmic || p[1] > 0));
    s.append(svg('polyline', {fill: 'none', stroke: `var(--${l.color})`, 'stroke-width': 2, 'stroke-linejoin': 'round',
      points: points.map(p => X(p[0]).toFixed(1) + ',' + Y(p[1]).toFixed(1)).join(' ')}));
    if (points.length === 1) s.append(svg('circle', {cx: X(points[0][0]), cy: Y(points[0][1]), r: 3, fill: `var(--${l.color})`}));
  }
  const cursor = svg('line', {class: 'axis', y1: T, y2: H - B, visibility: 'hidden'});
  s.append(cursor);
  s.addEventListener('mousemove', e => {
    const box = s.getBoundingClientRect();
    const x = x0 + ((e.clientX - box.left) / box.width * W - L) / (W - L - R) * (x1 - x0);
    const at = Math.round(Math.min(Math.max(x, x0), x1));
    cursor.setAttribute('x1', X(at)); cursor.setAttribute('x2', X(at)); cursor.setAttribute('visibility', 'visible');
    const rows = lines.map(l => { const i = l.x.indexOf(at); return i < 0 ? null : `${l.name} ${number(l.y[i])}`; });
    showTip(e, [`epoch ${at}`, ...rows.filter(Boolean)].join('\n'));
  });
  s.addEventListener('mouseleave', () => { cursor.setAttribute('visibility', 'hidden'); hideTip(); });
  const legend = element('div', {class: 'legend'});
  for (const l of lines) legend.append(element('span', {}, element('i', {style: `background: var(--${l.color})`}), l.name));
  card('charts', title, s, legend);
}

document.getElementById('title').textContent = data.title;
document.getElementById('subtitle').textContent = data.subtitle;
document.title = data.title;
for (const t of data.tiles) {
  document.getElementById('tiles').append(element('div', {class: 'tile'}, element('b', {}, t.value), element('span', {}, t.label)));
}

const epochs = data.history.map(h => h.epoch);
const names = new Set(data.history.flatMap(h => [...Object.keys(h.training), ...Object.keys(h.validation)]));
for (const name of ['loss', ...[...names].filter(n => n !== 'loss')]) {
  if (!names.has(name)) continue;
  const line = (part, color) => ({name: part, color, x: epochs, y: data.history.map(h => h[part][name] ?? null)});
  chart(name[0].toUpperCase() + name.slice(1), [line('training', 'accent'), line('validation', 'warm')], name === 'loss');
}

if (data.confusion) {
  const {classes, counts} = data.confusion, table = element('table', {class: 'matrix'});
  const head = element('tr', {}, element('th', {}, ''));
  for (const c of classes) head.append(element('th', {scope: 'col'}, c));
  table.append(head);
  counts.forEach((row, i) => {
    const total = row.reduce((a, b) => a + b, 0) || 1;
    const tr = element('tr', {}, element('th', {scope: 'row'}, classes[i]));
    row.forEach((n, j) => {
      const share = n / total, color = i === j ? 'good' : 'warm';
      const strength = n === 0 ? 0 : i === j ? 12 + 55 * share : 25 + 60 * share;
      const td = element('td', {style: `background: color-mix(in srgb, var(--${color}) ${strength.toFixed(0)}%, var(--track))`}, n || '·');
      td.addEventListener('mousemove', e => showTip(e, `${n} of ${total} that are ${classes[i]}\nwere taken for ${classes[j]}`));
      td.addEventListener('mouseleave', hideTip);
      tr.append(td);
    });
    table.append(tr);
  });
  card('results', 'Confusion matrix', element('div', {class: 'scroll'}, table),
    element('p', {class: 'soft note'}, `Rows: what it is. Columns: what the model says. ${judged}.`));
}

if (data.scatter) {
  const W = 520, H = 380, L = 54, B = 40, T = 10, R = 12, all = data.scatter.flat();
  const low = Math.min(...all), high = Math.max(...all), span = high - low || 1;
  const X = v => L + (v - low) / span * (W - L - R), Y = v => T + (1 - (v - low) / span) * (H - T - B);
  const s = svg('svg', {viewBox: `0 0 ${W} ${H}`, role: 'img', 'aria-label': 'Predicted against true'});
  for (const t of ticks(low, high, 5)) {
    s.append(svg('line', {class: 'axis', x1: L, x2: W - R, y1: Y(t), y2: Y(t)}), svg('text', {x: L - 8, y: Y(t) + 4, 'text-anchor': 'end'}, number(t)),
      svg('text', {x: X(t), y: H - B + 18, 'text-anchor': 'middle'}, number(t)));
  }
  s.append(svg('line', {x1: X(low), y1: Y(low), x2: X(high), y2: Y(high), stroke: 'var(--soft)', 'stroke-dasharray': '5 5'}));
  for (const [truth, predicted] of data.scatter) {
    const dot = svg('circle', {cx: X(truth), cy: Y(predicted), r: 3.2, fill: 'var(--accent)', 'fill-opacity': .55});
    dot.addEventListener('mousemove', e => showTip(e, `true ${number(truth)}\npredicted ${number(predicted)}`));
    dot.addEventListener('mouseleave', hideTip);
    s.append(dot);
  }
  s.append(svg('text', {x: (L + W) / 2, y: H - 2, 'text-anchor': 'middle'}, `true ${data.target || 'value'}`));
  card('results', 'Predicted against true', s, element('p', {class: 'soft note'}, `On the dashed line both are equal. ${judged}.`));
}

if (data.samples && data.samples.length) {
  const box = element('div', {class: 'samples'});
  for (const sample of data.samples) {
    const canvas = element('canvas', {width: sample.width, height: sample.height, role: 'img', 'aria-label': `image of ${sample.truth}`});
    const context = canvas.getContext('2d'), image = context.createImageData(sample.width, sample.height);
    sample.pixels.forEach((v, i) => { const g = 255 - v; image.data.set([g, g, g, 255], 4 * i); });
    context.putImageData(image, 0, 0);
    const right = sample.truth === sample.predicted;
    const said = element('div', right ? {} : {class: 'wrong'}, right ? sample.predicted : `${sample.predicted}, is ${sample.truth}`);
    const sure = element('div', {class: 'soft'}, sample.probability === null ? '' : (100 * sample.probability).toFixed(0) + ' %');
    box.append(element('div', {class: 'sample'}, canvas, said, sure));
  }
  card('results', 'Mistaken and least certain', box, element('p', {class: 'soft note'}, `What the model says, and how sure it is. ${judged}.`));
}

for (const group of data.facts) {
  const table = element('table', {class: 'facts'});
  for (const [label, value] of group.rows) table.append(element('tr', {}, element('td', {}, label), element('td', {}, value)));
  card('facts', group.title, table);
}
