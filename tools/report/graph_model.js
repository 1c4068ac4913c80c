// The graph as a tree of boxes: scopes by name; forward, gradient and update where there are gradients; bundles where a level has too
// many boxes to lay out or to read. GraphView in page.h names the fields of the page's JSON.
const MOST_CHILDREN = 150, BUNDLE = 100;

const byName = new Map();
for (const node of data.nodes) byName.set(node.name, {node, name: node.name.slice(node.name.lastIndexOf('/') + 1), path: node.name, users: new Set()});
const producer = reference => byName.get(reference.replace(/:\d+$/, ''));
for (const leaf of byName.values()) {
  leaf.sources = [...new Set(leaf.node.inputs.map(producer).filter(Boolean))];
  for (const source of leaf.sources) source.users.add(leaf);
}

// Gradient nodes know their forward node. What depends on them without being one, and what serves that alone, is the update.
{
  const leaves = [...byName.values()];
  for (const leaf of leaves) {
    const gradient = leaf.node.forward || leaf.path.split('/').slice(0, -1).includes('gradients');
    leaf.phase = gradient ? 'gradient' : leaf.node.op === 'assign' || leaf.sources.some(s => s.phase !== 'forward') ? 'update' : 'forward';
  }
  for (const leaf of leaves.reverse()) {
    if (leaf.phase === 'forward' && leaf.users.size && [...leaf.users].every(u => u.phase === 'update')) leaf.phase = 'update';
  }
}
// The scope that a source line builds in, where it is one: gradients carry their forward node's line.
const scopeOfLine = new Map();
for (const leaf of byName.values()) {
  const at = leaf.path.indexOf('/');
  if (leaf.phase !== 'forward' || !leaf.node.source) continue;
  const scope = at > 0 ? leaf.path.slice(0, at) : '', known = scopeOfLine.get(leaf.node.source);
  scopeOfLine.set(leaf.node.source, known === undefined || known === scope ? scope : '');
}

// Where a node stands in the tree.
function placeOf(leaf, staged) {
  const parts = leaf.path.split('/');
  if (!staged) return parts;
  if (leaf.phase !== 'gradient') return [leaf.phase, ...parts];
  const own = parts.slice(parts.indexOf('gradients') + 1), scope = scopeOfLine.get(leaf.node.forward);
  return own.length === 1 && scope ? ['gradient', scope, ...own] : ['gradient', ...own];
}

function bundled(scope) {
  const n = scope.children.length;
  if (n > MOST_CHILDREN) {
    const size = Math.ceil(n / Math.min(MOST_CHILDREN, Math.ceil(n / BUNDLE))), groups = [];
    for (let i = 0; i < n; i += size) {
      const children = scope.children.slice(i, i + size), first = children[0].name, last = children[children.length - 1].name;
      groups.push({scope: true, bundle: true, name: `${first} … ${last}`, path: `${scope.path}${first} … ${last}`, children});
    }
    scope.children = groups;
  }
  for (const child of scope.children) {
    child.parent = scope;
    child.depth = scope.depth + 1;
    if (child.scope) bundled(child);
  }
}

// The tree of the nodes named in `shown`, with totals, and on each level the edges between its boxes.
function treeOf(shown) {
  const root = {scope: true, name: '', path: '', open: true, children: [], parent: null, depth: 0};
  const leaves = [...byName.values()].filter(leaf => shown.has(leaf.path)), staged = leaves.some(leaf => leaf.phase === 'gradient');
  const scopes = new Map([['', root]]);
  for (const leaf of leaves) {
    const parts = placeOf(leaf, staged);
    let at = root, path = '';
    for (const part of parts.slice(0, -1)) {
      path += part + '/';
      if (!scopes.has(path)) {
        scopes.set(path, {scope: true, name: part, path, children: [], open: false});
        at.children.push(scopes.get(path));
      }
      at = scopes.get(path);
    }
    at.children.push(leaf);
  }
  bundled(root);
  const total = item => {
    item.edges = new Map();
    item.laid = null;
    item.total = {nodes: 1, flops: item.node?.flops || 0, bytes: item.node?.bytes || 0};
    if (item.scope) item.total = item.children.map(total).reduce((t, c) => ({nodes: t.nodes + c.nodes, flops: t.flops + c.flops, bytes: t.bytes + c.bytes}), {nodes: 0, flops: 0, bytes: 0});
    return item.total;
  };
  total(root);
  // An edge between leaves stands between the boxes that hold them on the deepest level where these are two.
  const ids = new Map();
  const id = item => { if (!ids.has(item)) ids.set(item, ids.size); return ids.get(item); };
  for (const leaf of leaves) {
    for (const source of leaf.sources) {
      if (!shown.has(source.path)) continue;
      let a = source, b = leaf;
      while (a.depth > b.depth) a = a.parent;
      while (b.depth > a.depth) b = b.parent;
      while (a.parent !== b.parent) { a = a.parent; b = b.parent; }
      const key = `${id(a)},${id(b)}`, edges = a.parent.edges;
      if (!edges.has(key)) edges.set(key, {from: a, to: b, ends: []});
      edges.get(key).ends.push([source, leaf]);
    }
  }
  return root;
}

function* everything(item) { yield item; if (item.scope) for (const child of item.children) yield* everything(child); }
const inside = (leaf, item) => { for (let at = leaf; at; at = at.parent) if (at === item) return true; return false; };
