// The graph view: scopes open and close, the view moves and zooms, a click shows what a node is. GraphView in page.h names the fields of the page's JSON.
const data = JSON.parse(document.getElementById('data').textContent);
const SVG = 'http://www.w3.org/2000/svg';
const view = document.getElementById('view'), details = document.getElementById('details'), world = document.createElementNS(SVG, 'g');
view.append(world);

function element(tag, attributes = {}, ...children) {
  const e = document.createElement(tag);
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
  e.append(...children);
  return e;
}
function svg(tag, attributes = {}, text) {
  const e = document.createElementNS(SVG, tag);
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
  if (text !== undefined) e.textContent = text;
  return e;
}
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

// The tree of scopes: every node is a leaf at the end of its path.
const root = {path: '', name: '', children: new Map(), parent: null, open: true, scope: true};
const byName = new Map();
for (const node of data.nodes) {
  const parts = node.name.split('/');
  let at = root;
  for (const part of parts.slice(0, -1)) {
    let child = at.children.get(part + '/');
    if (!child) at.children.set(part + '/', child = {path: at.path + part + '/', name: part, children: new Map(), parent: at, open: false, scope: true});
    at = child;
  }
  const leaf = {node, name: parts[parts.length - 1], path: node.name, parent: at, users: new Set()};
  at.children.set(leaf.name, leaf);
  byName.set(node.name, leaf);
}
const producer = reference => byName.get(reference.replace(/:\d+$/, ''));
for (const leaf of byName.values()) for (const input of leaf.node.inputs) producer(input)?.users.add(leaf);

let selected = null, shown = new Set(byName.keys()), found = new Set();

function choose(signature) {
  const s = data.signatures.find(s => s.name === signature);
  shown = s ? new Set(s.nodes) : new Set(byName.keys());
  for (const leaf of byName.values()) leaf.visible = shown.has(leaf.path);
  const mark = item => item.visible = item.scope ? [...item.children.values()].map(mark).some(Boolean) : item.visible;
  mark(root);
  count(root);
}
// Totals of a scope over the nodes that are shown.
function count(item) {
  if (!item.scope) { item.total = {nodes: 1, flops: item.node.flops || 0, bytes: item.node.bytes || 0}; return item.total; }
  item.total = {nodes: 0, flops: 0, bytes: 0};
  for (const child of item.children.values()) {
    if (!child.visible) continue;
    const t = count(child);
    item.total.nodes += t.nodes; item.total.flops += t.flops; item.total.bytes += t.bytes;
  }
  return item.total;
}

const measure = document.createElement('canvas').getContext('2d');
function textWidth(text, size, weight) {
  measure.font = `${weight} ${size}px ${getComputedStyle(document.body).fontFamily}`;
  return measure.measureText(text).width;
}
const short = (text, n) => text.length > n ? text.slice(0, n - 1) + '…' : text;
function labels(item) {
  if (item.scope) return [short(item.name, 34), `${item.total.nodes} nodes${item.total.flops ? `, ${amount(item.total.flops)}FLOP` : ''}`];
  return [item.name.startsWith(item.node.op) ? short(item.name, 34) : item.node.op + '  ' + short(item.name, 26), short(item.node.results.join(', '), 40)];
}
function size(item) {
  if (item.scope && item.open) {
    const children = [...item.children.values()].filter(c => c.visible);
    children.forEach(size);
    const index = new Map(children.map((c, i) => [c, i])), edges = new Map();
    // An edge between leaves stands, at this level, between the children that hold them.
    const within = leaf => { let at = leaf; while (at && at.parent !== item) at = at.parent; return at; };
    for (const name of shown) {
      const leaf = byName.get(name), to = within(leaf);
      if (!to) continue;
      for (const input of leaf.node.inputs) {
        const source = producer(input), from = source?.visible ? within(source) : null;
        if (!from || from === to) continue;
        const key = index.get(from) + ',' + index.get(to);
        if (!edges.has(key)) edges.set(key, {from, to, ends: []});
        edges.get(key).ends.push([source, leaf]);
      }
    }
    item.edges = [...edges.values()];
    const laid = layoutLayers(children, item.edges.map(e => [index.get(e.from), index.get(e.to)]));
    item.edges.forEach((e, i) => { e.points = laid.paths[i]; });
    item.inset = item === root ? 0 : 14;
    item.head = item === root ? 0 : 30;
    const title = item === root ? 0 : textWidth(labels(item)[0], 12.5, 600) + 60;
    item.width = Math.max(laid.width, title - 2 * item.inset) + 2 * item.inset;
    item.height = laid.height + item.head + item.inset;
    item.shift = (item.width - laid.width) / 2;
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
  const g = svg('g', {transform: `translate(${item.x.toFixed(1)},${item.y.toFixed(1)})`, class: item.scope ? 'node scope' + (item.open ? '' : ' closed') : 'node'});
  const rect = svg('rect', {width: item.width, height: item.height, rx: item.scope ? 9 : 6});
  g.append(rect);
  const [name, sub] = labels(item);
  if (!item.scope) {
    const c = color(item.node.family);
    rect.setAttribute('style', `fill: color-mix(in srgb, ${c} var(--fill), var(--card)); stroke: ${c}`);
    g.append(svg('text', {class: 'name', x: 11, y: 17}, name), svg('text', {class: 'sub', x: 11, y: 31}, sub));
  } else {
    const middle = item.open ? 15 : item.height / 2;
    const plus = svg('g', {class: 'plus', transform: `translate(${item.width - 17},${middle})`});
    plus.append(svg('circle', {r: 9}), svg('path', {d: item.open ? 'M-4,0H4' : 'M-4,0H4M0,-4V4'}), svg('title', {}, item.open ? 'close' : 'open'));
    plus.addEventListener('click', e => { e.stopPropagation(); toggle(item); });
    g.append(svg('text', {class: item.open ? 'title' : 'name', x: 11, y: item.open ? 20 : 17}, name));
    if (!item.open) g.append(svg('text', {class: 'sub', x: 11, y: 31}, sub));
    g.append(plus);
    if (item.open) drawInside(item, g);
  }
  g.addEventListener('click', e => { e.stopPropagation(); if (!moved) select(item); });
  g.addEventListener('dblclick', e => { e.stopPropagation(); if (item.scope) toggle(item); });
  if (found.has(item.path) || (item.scope && !item.open && [...found].some(f => f.startsWith(item.path)))) g.classList.add('found');
  item.drawn = g;
  parent.append(g);
}
function drawInside(item, parent) {
  const inner = svg('g', {transform: `translate(${(item.shift || 0).toFixed(1)},${item.head})`});
  for (const edge of item.edges) {
    edge.drawn = svg('path', {class: 'edge', d: curve(edge.points), 'marker-end': 'url(#arrow)'});
    edge.drawn.append(svg('title', {}, edge.ends.slice(0, 12).map(([a, b]) => `${a.path} → ${b.path}`).join('\n') + (edge.ends.length > 12 ? `\nand ${edge.ends.length - 12} more` : '')));
    inner.append(edge.drawn);
  }
  for (const child of item.children.values()) if (child.visible) drawItem(child, inner);
  parent.append(inner);
}
function draw() {
  for (const item of everything(root)) { item.drawn = null; }
  size(root);
  world.replaceChildren();
  const defs = svg('defs'), marker = svg('marker', {id: 'arrow', viewBox: '0 0 8 8', refX: 7.5, refY: 4, markerWidth: 6, markerHeight: 6, orient: 'auto'});
  marker.append(svg('path', {d: 'M0,1L8,4L0,7z', fill: 'var(--soft)'}));
  defs.append(marker);
  world.append(defs);
  drawInside(root, world);
  light();
}
function* everything(item) { yield item; if (item.scope) for (const c of item.children.values()) yield* everything(c); }

// The view: what part of the world is seen.
let scale = 1, x = 0, y = 0, moved = false;
const place = () => world.setAttribute('transform', `translate(${x},${y}) scale(${scale})`);
function fit() {
  const box = view.getBoundingClientRect();
  scale = Math.min(1.4, (box.width - 40) / root.width, (box.height - 40) / root.height);
  x = (box.width - root.width * scale) / 2; y = Math.max(20, (box.height - root.height * scale) / 2);
  place();
}
view.addEventListener('wheel', e => {
  e.preventDefault();
  const box = view.getBoundingClientRect(), px = e.clientX - box.left, py = e.clientY - box.top;
  const factor = Math.exp(-e.deltaY * (e.deltaMode === 1 ? 0.05 : 0.0015)), next = Math.min(6, Math.max(0.02, scale * factor));
  x = px - (px - x) * next / scale; y = py - (py - y) * next / scale; scale = next;
  place();
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
addEventListener('keydown', e => {
  if (e.target.tagName === 'INPUT' || e.target.tagName === 'SELECT') return;
  const box = view.getBoundingClientRect();
  const zoom = f => { x = box.width / 2 - (box.width / 2 - x) * f; y = box.height / 2 - (box.height / 2 - y) * f; scale *= f; };
  const act = {'+': () => zoom(1.25), '-': () => zoom(0.8), '0': fit, ArrowLeft: () => { x += 60; }, ArrowRight: () => { x -= 60; },
    ArrowUp: () => { y += 60; }, ArrowDown: () => { y -= 60; }, Escape: () => select(null)}[e.key];
  if (act) { act(); place(); e.preventDefault(); }
});

// Where the item's left top is in the world.
function position(item) {
  let px = 0, py = 0;
  for (let at = item; at && at !== root; at = at.parent) { px += at.x + (at.parent.shift || 0); py += at.y + at.parent.head; }
  return [px, py];
}
function toggle(item) {
  const [bx, by] = position(item);
  item.open = !item.open;
  draw();
  // The item stays where it was on the screen.
  const [ax, ay] = position(item);
  x += (bx - ax) * scale; y += (by - ay) * scale;
  place();
}
function show(item) {
  for (let at = item.parent; at; at = at.parent) at.open = true;
  draw();
  const [px, py] = position(item), box = view.getBoundingClientRect();
  if (scale < 0.5) scale = 0.9;
  x = box.width / 2 - (px + item.width / 2) * scale; y = box.height / 2 - (py + item.height / 2) * scale;
  place();
  select(item);
}
function select(item) {
  selected = item;
  light();
  describe(item);
}
const inside = (leaf, item) => { for (let at = leaf; at; at = at.parent) if (at === item) return true; return false; };
function light() {
  for (const item of everything(root)) {
    if (item.drawn) item.drawn.classList.toggle('selected', item === selected);
    if (item.scope && item.open && item.edges) {
      for (const e of item.edges) e.drawn?.classList.toggle('lit', !!selected && e.ends.some(([a, b]) => inside(a, selected) !== inside(b, selected)));
    }
  }
}

function link(item) {
  const a = element('a', {tabindex: 0, role: 'button'}, item.path);
  a.addEventListener('click', () => show(item));
  a.addEventListener('keydown', e => { if (e.key === 'Enter') show(item); });
  return a;
}
function rows(pairs) {
  const table = element('table');
  for (const [k, v] of pairs) if (v !== '' && v !== null && v !== undefined) table.append(element('tr', {}, element('td', {}, k), element('td', {}, v)));
  return table;
}
function list(title, items) {
  if (!items.length) return [];
  const ul = element('ul');
  for (const i of items.slice(0, 60)) ul.append(element('li', {}, ...[].concat(i)));
  if (items.length > 60) ul.append(element('li', {class: 'soft'}, `and ${items.length - 60} more`));
  return [element('h3', {}, title), ul];
}
const costRows = t => [['Work', t.flops ? amount(t.flops) + 'FLOP' : ''], ['Traffic', t.bytes ? amount(t.bytes) + 'B read and written' : '']];
function share(part, whole) {
  const p = whole ? 100 * part / whole : 0, bar = element('div', {class: 'bar'}, element('i', {style: `width: ${p.toFixed(1)}%`}));
  return element('div', {}, `${p < 0.1 && p > 0 ? '< 0.1' : p.toFixed(1)} % of what is shown`, bar);
}
function describe(item) {
  details.replaceChildren();
  if (!item) {
    details.append(element('h2', {}, data.name || 'graph'), rows([['Nodes shown', shown.size], ...costRows(root.total), ['Sizes', data.sizes]]));
    for (const s of data.signatures) {
      details.append(...list(`Signature ${s.name}`, [...s.inputs.map(i => `${i.name}  ${i.type}`), ...s.outputs.map(o => `→ ${o.name}  ${o.type}`)]));
    }
    details.append(...list('Variables', data.variables.map(v => `${v.name}  ${v.type}${v.trainable ? '' : ' (not trained)'}`)));
    details.append(element('p', {class: 'soft'}, 'Drag to move, wheel to zoom, click for details, double click or ⊕ to open a scope.'));
    return;
  }
  if (item.scope) {
    const ops = new Map();
    for (const leaf of everything(item)) if (!leaf.scope && leaf.visible) ops.set(leaf.node.op, (ops.get(leaf.node.op) || 0) + 1);
    details.append(element('h2', {}, item.path), rows([['Scope of', `${item.total.nodes} nodes`], ...costRows(item.total), ['Share of work', share(item.total.flops, root.total.flops)]]));
    details.append(...list('Ops in it', [...ops].sort((a, b) => b[1] - a[1]).map(([op, n]) => `${n} × ${op}`)));
    return;
  }
  const n = item.node, c = color(n.family);
  const op = element('span', {}, element('i', {style: `display:inline-block;width:.75em;height:.75em;border-radius:3px;margin-right:.4em;background:${c}`}), n.op);
  details.append(element('h2', {}, n.name));
  details.append(rows([['Op', op], ['Result', n.results.join('\n')], ['Source', element('span', {class: 'mono'}, n.source)], ['Forward', n.forward ? element('span', {class: 'mono'}, n.forward) : ''],
    ...costRows(item.total), ['Formula', n.flops_text ? element('span', {class: 'mono'}, n.flops_text + ' FLOP') : ''], ['Share of work', n.flops ? share(n.flops, root.total.flops) : '']]));
  details.append(...list('Attributes', n.attributes.map(([k, v]) => `${k} = ${v}`)));
  details.append(...list('Inputs', n.inputs.map(i => { const p = producer(i); return p ? [link(p), `  ${p.node.results[+(i.match(/:(\d+)$/) || [0, 0])[1]] || ''}`] : i; })));
  details.append(...list('Used by', [...item.users].filter(u => u.visible).map(u => link(u))));
}

document.getElementById('title').textContent = data.name || 'graph';
document.title = `${data.name || 'graph'} – graph`;
const chooser = document.getElementById('signature');
chooser.append(element('option', {value: ''}, 'everything'));
for (const s of data.signatures) chooser.append(element('option', {value: s.name}, s.name));
const first = ['predict', 'eval_step'].find(n => data.signatures.some(s => s.name === n)) || '';
chooser.value = first;
chooser.addEventListener('change', () => { choose(chooser.value); select(null); draw(); fit(); });
const setAll = open => { for (const item of everything(root)) if (item.scope) item.open = open || item === root; draw(); fit(); };
document.getElementById('open').addEventListener('click', () => setAll(true));
document.getElementById('close').addEventListener('click', () => setAll(false));
document.getElementById('fit').addEventListener('click', fit);
document.getElementById('search').addEventListener('input', e => {
  const words = e.target.value.toLowerCase().split(/\s+/).filter(Boolean);
  found = new Set();
  if (words.length) {
    for (const leaf of byName.values()) {
      const text = `${leaf.path} ${leaf.node.op} ${leaf.node.results.join(' ')} ${leaf.node.source}`.toLowerCase();
      if (leaf.visible && words.every(w => text.includes(w))) found.add(leaf.path);
    }
  }
  document.getElementById('status').textContent = words.length ? `${found.size} found` : '';
  draw();
});
document.getElementById('search').addEventListener('keydown', e => { if (e.key === 'Enter' && found.size) show(byName.get([...found][0])); });
const families = new Set(data.nodes.map(n => n.family));
for (const [family, label] of Object.entries(FAMILIES)) {
  if (families.has(family)) document.getElementById('legend').append(element('span', {}, element('i', {style: `background: ${color(family)}`}), label));
}
choose(first);
// A small graph is shown whole.
if (shown.size <= 40) for (const item of everything(root)) if (item.scope) item.open = true;
draw();
fit();
// Text too small to read helps nobody: a tall graph starts at its top instead.
if (scale < 0.6) {
  scale = 0.8; x = (view.clientWidth - root.width * scale) / 2; y = 20;
  place();
}
describe(null);
