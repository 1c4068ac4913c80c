// The graph view: scopes open and close, the view moves and zooms, a click or a key shows what a node is.
const MOST_DRAWN = 2500;  // boxes that "Open all" draws: more would neither be read nor be quick
const view = document.getElementById('view'), details = document.getElementById('details'), status = document.getElementById('status');
const world = svg('g');
view.append(world);

function amount(v) {
  if (!v) return '0';
  const units = ['', 'k', 'M', 'G', 'T'];
  let u = 0;
  while (v >= 1000 && u < 4) { v /= 1000; ++u; }
  return (v >= 100 || u === 0 ? v.toFixed(0) : v.toFixed(1)) + ' ' + units[u];
}
const FAMILIES = {elementwise: 'element-wise', linear_algebra: 'matrix product', convolution: 'convolution, pooling', reduction: 'reduction',
  shape: 'shape', indexing: 'indexing', state: 'input, variable, effect', control_flow: 'control flow', random: 'random'};
const HUES = {linear_algebra: 'linear', control_flow: 'control'};
const color = family => `var(--${HUES[family] || (FAMILIES[family] ? family : 'shape')})`;

let root = null, shown = new Set(), selected = null, found = [], foundAt = -1, drawn = [];

// Sizes and places.
const measure = document.createElement('canvas').getContext('2d'), font = getComputedStyle(document.body).fontFamily;
function textWidth(text, size, weight) {
  measure.font = `${weight} ${size}px ${font}`;
  return measure.measureText(text).width;
}
const short = (text, n) => text.length > n ? text.slice(0, n - 1) + '…' : text;
function labels(item) {
  if (item.scope) return [short(item.name, 40), `${item.total.nodes} nodes${item.total.flops ? `, ${amount(item.total.flops)}FLOP` : ''}`];
  return [item.name.startsWith(item.node.op) ? short(item.name, 34) : item.node.op + '  ' + short(item.name, 26), short(item.node.results.join(', '), 40)];
}
function size(item) {
  if (item.scope && item.open) {
    item.children.forEach(size);
    if (!item.laid) {
      const index = new Map(item.children.map((c, i) => [c, i])), edges = [...item.edges.values()];
      item.laid = layoutLayers(item.children, edges.map(e => [index.get(e.from), index.get(e.to)]));
      edges.forEach((e, i) => { e.points = item.laid.paths[i]; });
    }
    item.inset = item === root ? 0 : 14;
    item.head = item === root ? 0 : 30;
    const title = item === root ? 0 : textWidth(labels(item)[0], 12.5, 600) + 60;
    item.width = Math.max(item.laid.width, title - 2 * item.inset) + 2 * item.inset;
    item.height = item.laid.height + item.head + item.inset;
    item.shift = (item.width - item.laid.width) / 2;
    return;
  }
  const [name, sub] = labels(item);
  item.width = Math.max(textWidth(name, 12.5, 600), textWidth(sub, 10.5, 400)) + (item.scope ? 46 : 22);
  item.height = 40;
}

function curve(points) {
  let d = `M${points[0][0].toFixed(1)},${points[0][1].toFixed(1)}`;
  for (let i = 1; i < points.length; ++i) {
    const [x0, y0] = points[i - 1], [x1, y1] = points[i], m = (y0 + y1) / 2;
    d += `C${x0.toFixed(1)},${m.toFixed(1)} ${x1.toFixed(1)},${m.toFixed(1)} ${x1.toFixed(1)},${y1.toFixed(1)}`;
  }
  return d;
}
function drawItem(item, parent) {
  const kind = ['node', item.scope && 'scope', item.scope && !item.open && 'closed', item.bundle && 'bundle'].filter(Boolean).join(' ');
  const g = svg('g', {transform: `translate(${item.x.toFixed(1)},${item.y.toFixed(1)})`, class: kind});
  const box = svg('rect', {width: item.width, height: item.height, rx: item.scope ? 9 : 6}), [name, sub] = labels(item);
  g.append(box);
  if (!item.scope) {
    const c = color(item.node.family);
    box.setAttribute('style', `fill: color-mix(in srgb, ${c} var(--fill), var(--card)); stroke: ${c}`);
    g.append(svg('text', {class: 'name', x: 11, y: 17}, name), svg('text', {class: 'sub', x: 11, y: 31}, sub));
  } else {
    const plus = svg('g', {class: 'plus', transform: `translate(${item.width - 17},${item.open ? 15 : item.height / 2})`});
    plus.append(svg('circle', {r: 9}), svg('path', {d: item.open ? 'M-4,0H4' : 'M-4,0H4M0,-4V4'}), svg('title', {}, item.open ? 'close' : 'open'));
    plus.addEventListener('click', e => { e.stopPropagation(); toggle(item); });
    g.append(svg('text', {class: item.open ? 'title' : 'name', x: 11, y: item.open ? 20 : 17}, name));
    if (!item.open) g.append(svg('text', {class: 'sub', x: 11, y: 31}, sub));
    g.append(plus);
    if (item.open) drawInside(item, g);
  }
  // How much of the work is in it, at a glance.
  const part = root.total.flops ? item.total.flops / root.total.flops : 0;
  if (part > 0.01 && !(item.scope && item.open)) {
    g.append(svg('rect', {class: 'cost', x: 6, y: item.height - 4, width: ((item.width - 12) * part).toFixed(1), height: 2.5, rx: 1.2}));
  }
  g.addEventListener('click', e => { e.stopPropagation(); if (!moved) select(item); });
  g.addEventListener('dblclick', e => { e.stopPropagation(); if (item.scope) toggle(item); });
  item.drawn = g;
  drawn.push(item);
  parent.append(g);
}
function drawInside(item, parent) {
  const inner = svg('g', {transform: `translate(${(item.shift || 0).toFixed(1)},${item.head})`});
  for (const edge of item.edges.values()) {
    const more = edge.ends.length > 12 ? `\nand ${edge.ends.length - 12} more` : '';
    edge.drawn = svg('path', {class: 'edge', d: curve(edge.points), 'marker-end': 'url(#arrow)'},
      svg('title', {}, edge.ends.slice(0, 12).map(([a, b]) => `${a.path} → ${b.path}`).join('\n') + more));
    inner.append(edge.drawn);
  }
  for (const child of item.children) drawItem(child, inner);
  parent.append(inner);
}
function draw() {
  for (const item of drawn) item.drawn = null;
  drawn = [];
  size(root);
  const arrow = svg('marker', {id: 'arrow', viewBox: '0 0 8 8', refX: 7.5, refY: 4, markerWidth: 6, markerHeight: 6, orient: 'auto'},
    svg('path', {d: 'M0,1L8,4L0,7z', fill: 'var(--soft)'}));
  world.replaceChildren(svg('defs', {}, arrow));
  drawInside(root, world);
  light();
}
// What is selected, its edges, and what was found: in itself, or in a closed scope.
function light() {
  const marked = new Set();
  for (const leaf of found) for (let at = leaf; at; at = at.parent) marked.add(at);
  for (const item of drawn) {
    item.drawn.classList.toggle('selected', item === selected);
    item.drawn.classList.toggle('found', marked.has(item) && !(item.scope && item.open));
  }
  for (const item of [root, ...drawn.filter(i => i.scope && i.open)]) {
    for (const e of item.edges.values()) e.drawn?.classList.toggle('lit', !!selected && e.ends.some(([a, b]) => inside(a, selected) !== inside(b, selected)));
  }
}

// The view: what part of the world is seen.
let scale = 1, x = 0, y = 0, moved = false;
const place = () => world.setAttribute('transform', `translate(${x},${y}) scale(${scale})`);
function fit() {
  const box = view.getBoundingClientRect();
  scale = Math.min(1.4, (box.width - 40) / root.width, (box.height - 40) / root.height);
  x = (box.width - root.width * scale) / 2; y = Math.max(20, (box.height - root.height * scale) / 2);
  place();
}
// Text too small to read helps nobody: a tall graph starts at its top instead.
function fitReadably() {
  fit();
  if (scale >= 0.6) return;
  scale = 0.8; x = (view.clientWidth - root.width * scale) / 2; y = 20;
  place();
}
function zoom(factor, px = view.clientWidth / 2, py = view.clientHeight / 2) {
  const next = Math.min(6, Math.max(0.01, scale * factor));
  x = px - (px - x) * next / scale; y = py - (py - y) * next / scale; scale = next;
  place();
}
// Where the item's left top is in the world.
function position(item) {
  let px = 0, py = 0;
  for (let at = item; at && at !== root; at = at.parent) { px += at.x + (at.parent.shift || 0); py += at.y + at.parent.head; }
  return [px, py];
}
function center(item) {
  const [px, py] = position(item), box = view.getBoundingClientRect();
  if (scale < 0.5) scale = 0.9;
  x = box.width / 2 - (px + item.width / 2) * scale; y = box.height / 2 - (py + item.height / 2) * scale;
  place();
}
function reveal(item) {
  const box = view.getBoundingClientRect(), at = item.drawn?.firstChild.getBoundingClientRect();
  if (!at || at.left < box.left || at.top < box.top || at.right > box.right || at.bottom > box.bottom) center(item);
}
function stale(item) { for (let at = item.parent; at; at = at.parent) at.laid = null; }
function toggle(item) {
  const [bx, by] = position(item);
  item.open = !item.open;
  stale(item);
  draw();
  // The item stays where it was on the screen.
  const [ax, ay] = position(item);
  x += (bx - ax) * scale; y += (by - ay) * scale;
  place();
}
function show(item) {
  for (let at = item.parent; at; at = at.parent) if (!at.open) { at.open = true; stale(at); }
  draw();
  center(item);
  select(item);
}
function select(item) {
  selected = item;
  light();
  describe(item);
}
// Level by level, as far as that can be drawn.
function openAll() {
  let boxes = root.children.length, left = 0;
  for (let level = root.children; level.length; level = level.flatMap(i => i.scope && i.open ? i.children : [])) {
    for (const item of level) {
      if (!item.scope) continue;
      item.laid = null;
      item.open = boxes + item.children.length <= MOST_DRAWN;
      if (item.open) boxes += item.children.length; else ++left;
    }
  }
  root.laid = null;
  draw();
  fit();
  status.textContent = left ? `${left} of the largest scopes stay closed` : '';
}
function closeAll() {
  for (const item of everything(root)) if (item !== root && item.open) { item.open = false; stale(item); }
  draw();
  fitReadably();
}
function choose(signature) {
  const s = data.signatures.find(s => s.name === signature);
  shown = s ? new Set(s.nodes) : new Set(byName.keys());
  root = treeOf(shown);
  // A small graph is shown whole.
  if (shown.size <= 40) for (const item of everything(root)) if (item.scope) item.open = true;
  selected = null;
  search();
  draw();
  fitReadably();
}

view.addEventListener('wheel', e => {
  e.preventDefault();
  const box = view.getBoundingClientRect();
  zoom(Math.exp(-e.deltaY * (e.deltaMode === 1 ? 0.05 : 0.0015)), e.clientX - box.left, e.clientY - box.top);
}, {passive: false});
view.addEventListener('pointerdown', e => {
  if (e.button !== 0) return;
  moved = false;
  let lastX = e.clientX, lastY = e.clientY, travelled = 0;
  const move = m => {
    travelled += Math.abs(m.clientX - lastX) + Math.abs(m.clientY - lastY);
    if (travelled > 4) { moved = true; view.classList.add('moving'); }
    x += m.clientX - lastX; y += m.clientY - lastY; lastX = m.clientX; lastY = m.clientY;
    place();
  };
  const up = () => { removeEventListener('pointermove', move); removeEventListener('pointerup', up); view.classList.remove('moving'); };
  addEventListener('pointermove', move);
  addEventListener('pointerup', up);
});
view.addEventListener('click', () => { if (!moved) select(null); });

// From the selected box to a neighbour: along its edges, or beside it.
function step(key) {
  const siblings = selected.parent.children, edges = [...selected.parent.edges.values()], mid = i => i.x + i.width / 2;
  const candidates = key === 'ArrowDown' ? edges.filter(e => e.from === selected).map(e => e.to) : key === 'ArrowUp' ? edges.filter(e => e.to === selected).map(e => e.from)
    : siblings.filter(i => i !== selected && Math.abs(i.y - selected.y) < 60 && (key === 'ArrowLeft' ? mid(i) < mid(selected) : mid(i) > mid(selected)));
  candidates.sort((a, b) => Math.abs(mid(a) - mid(selected)) - Math.abs(mid(b) - mid(selected)));
  if (!candidates.length) return;
  select(candidates[0]);
  reveal(candidates[0]);
}
addEventListener('keydown', e => {
  if (e.target.tagName === 'INPUT' || e.target.tagName === 'SELECT' || e.ctrlKey || e.metaKey || e.altKey) return;
  const arrow = {ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60]}[e.key];
  const act = arrow ? () => { if (selected && selected.drawn && !e.shiftKey) step(e.key); else { x += arrow[0]; y += arrow[1]; place(); } }
    : {'+': () => zoom(1.25), '=': () => zoom(1.25), '-': () => zoom(0.8), '0': fit, '/': () => searchBox.focus(), Escape: () => select(null),
      Enter: e.target === view || e.target === document.body ? () => { if (selected?.scope) toggle(selected); } : null}[e.key];
  if (act) { act(); e.preventDefault(); }
});

const searchBox = document.getElementById('search');
function search() {
  const words = searchBox.value.toLowerCase().split(/\s+/).filter(Boolean);
  foundAt = -1;
  found = !words.length ? [] : [...byName.values()].filter(leaf => {
    leaf.text ||= `${leaf.path} ${leaf.node.op} ${leaf.node.results.join(' ')} ${leaf.node.source}`.toLowerCase();
    return shown.has(leaf.path) && words.every(w => leaf.text.includes(w));
  });
  status.textContent = words.length ? `${found.length} found` : '';
  describe(selected);
}
searchBox.addEventListener('input', () => { selected = null; search(); light(); });
searchBox.addEventListener('keydown', e => {
  if (e.key === 'Escape') { searchBox.value = ''; search(); light(); view.focus(); }
  if (e.key !== 'Enter' || !found.length) return;
  foundAt = (foundAt + (e.shiftKey ? found.length - 1 : 1) + (foundAt < 0 && e.shiftKey ? 1 : 0)) % found.length;
  show(found[foundAt]);
  status.textContent = `${foundAt + 1} of ${found.length}`;
});

document.getElementById('title').textContent = data.name || 'graph';
document.title = `${data.name || 'graph'} – graph`;
const chooser = document.getElementById('signature');
chooser.append(element('option', {value: ''}, 'everything'));
for (const s of data.signatures) chooser.append(element('option', {value: s.name}, s.name));
chooser.value = ['predict', 'eval_step'].find(n => data.signatures.some(s => s.name === n)) || '';
chooser.addEventListener('change', () => choose(chooser.value));
document.getElementById('open').addEventListener('click', openAll);
document.getElementById('close').addEventListener('click', closeAll);
document.getElementById('fit').addEventListener('click', fit);
const families = new Set(data.nodes.map(n => n.family));
for (const [family, label] of Object.entries(FAMILIES)) {
  if (families.has(family)) document.getElementById('legend').append(element('span', {}, element('i', {style: `background: ${color(family)}`}), label));
}
choose(chooser.value);
