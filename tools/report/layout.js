// Layered layout (Sugiyama): ranks by longest path, order by barycentres, places by pulling towards neighbours.
// `boxes`: [{width, height}], `edges`: [[from, to]] between indices. Sets x, y (left top) of each box; returns {width, height,
// paths}, where a path is the points that an edge passes, in the order of `edges`.
function layoutLayers(boxes, edges) {
  const GAP_X = 18, GAP_Y = 34, n = boxes.length;
  if (!n) return {width: 0, height: 0, paths: []};
  const out = Array.from({length: n}, () => []), into = Array.from({length: n}, () => []);
  // Edges that close a cycle are turned around: grouping nodes into scopes makes cycles. An explicit stack: graphs are deep.
  const all = Array.from({length: n}, () => []);
  edges.forEach(([a, b], i) => { if (a !== b) all[a].push([b, i]); });
  const state = new Uint8Array(n), turned = new Uint8Array(edges.length);
  for (let root = 0; root < n; ++root) {
    if (state[root]) continue;
    const stack = [[root, 0]];
    state[root] = 1;
    while (stack.length) {
      const top = stack[stack.length - 1], [v] = top;
      if (top[1] < all[v].length) {
        const [w, i] = all[v][top[1]++];
        if (state[w] === 1) turned[i] = 1;
        else if (state[w] === 0) { state[w] = 1; stack.push([w, 0]); }
      } else { state[v] = 2; stack.pop(); }
    }
  }
  edges.forEach(([a, b], i) => {
    if (a === b) return;
    const [p, q] = turned[i] ? [b, a] : [a, b];
    out[p].push(q); into[q].push(p);
  });
  // Ranks: longest path from the sources; then sources move down to just above their first user, which keeps edges short.
  const rank = new Int32Array(n), waiting = into.map(e => e.length), ready = [];
  waiting.forEach((w, v) => { if (!w) ready.push(v); });
  const order = [];
  while (ready.length) {
    const v = ready.pop();
    order.push(v);
    for (const w of out[v]) { rank[w] = Math.max(rank[w], rank[v] + 1); if (--waiting[w] === 0) ready.push(w); }
  }
  for (let i = order.length - 1; i >= 0; --i) {
    const v = order[i];
    if (!into[v].length && out[v].length) rank[v] = Math.min(...out[v].map(w => rank[w])) - 1;
  }
  // A long edge passes each layer between through a place of its own.
  const cells = boxes.map((b, i) => ({box: i, width: b.width, height: b.height, up: [], down: []}));
  const layers = [];
  const put = (cell, r) => { cell.rank = r; (layers[r] = layers[r] || []).push(cell); };
  for (const v of [...Array(n).keys()].sort((a, b) => rank[a] - rank[b] || a - b)) put(cells[v], rank[v]);
  const chains = edges.map(([a, b], i) => {
    if (a === b) return null;
    const [p, q] = turned[i] ? [b, a] : [a, b], chain = [cells[p]];
    for (let r = rank[p] + 1; r < rank[q]; ++r) { const c = {box: -1, width: 6, height: 0, up: [], down: []}; put(c, r); chain.push(c); }
    chain.push(cells[q]);
    for (let k = 1; k < chain.length; ++k) { chain[k - 1].down.push(chain[k]); chain[k].up.push(chain[k - 1]); }
    return chain;
  });
  for (let r = 0; r < layers.length; ++r) layers[r] = layers[r] || [];
  const number = layer => layer.forEach((c, i) => { c.at = i; });
  layers.forEach(number);
  for (let sweep = 0; sweep < 8; ++sweep) {
    const downwards = sweep % 2 === 0;
    for (let k = 0; k < layers.length; ++k) {
      const layer = layers[downwards ? k : layers.length - 1 - k];
      for (const c of layer) {
        const near = downwards ? c.up : c.down;
        c.key = near.length ? near.reduce((s, d) => s + d.at, 0) / near.length : c.at;
      }
      layer.sort((a, b) => a.key - b.key);
      number(layer);
    }
  }
  // Places: start left to right, then pull each towards the middle of its neighbours without overlap.
  for (const layer of layers) { let x = 0; for (const c of layer) { c.x = x; x += c.width + GAP_X; } }
  const middle = c => c.x + c.width / 2;
  for (let round = 0; round < 12; ++round) {
    const downwards = round % 2 === 0;
    for (let k = 0; k < layers.length; ++k) {
      const layer = layers[downwards ? k : layers.length - 1 - k];
      const wish = layer.map(c => {
        const near = downwards ? c.up : c.down;
        if (!near.length) return c.x;
        const m = near.map(middle).sort((a, b) => a - b), h = m.length >> 1;
        return (m.length % 2 ? m[h] : (m[h - 1] + m[h]) / 2) - c.width / 2;
      });
      // Blocks of cells that push each other move as one to the mean of their wishes.
      const blocks = [];
      layer.forEach((c, i) => {
        let block = {cells: [c], width: c.width, sum: wish[i], offsets: [0]};
        while (blocks.length) {
          const last = blocks[blocks.length - 1];
          if (last.sum / last.cells.length + last.width + GAP_X <= block.sum / block.cells.length) break;
          blocks.pop();
          const shift = last.width + GAP_X;
          block = {cells: last.cells.concat(block.cells), width: shift + block.width, sum: last.sum + block.sum - shift * block.cells.length,
            offsets: last.offsets.concat(block.offsets.map(o => o + shift))};
        }
        blocks.push(block);
      });
      for (const b of blocks) b.cells.forEach((c, i) => { c.x = b.sum / b.cells.length + b.offsets[i]; });
    }
  }
  let left = Infinity, right = -Infinity, y = 0;
  for (const layer of layers) {
    const height = Math.max(0, ...layer.map(c => c.height));
    for (const c of layer) { c.y = y + (height - c.height) / 2; left = Math.min(left, c.x); right = Math.max(right, c.x + c.width); }
    y += height + GAP_Y;
  }
  for (const layer of layers) for (const c of layer) c.x -= left;
  cells.forEach((c, i) => { boxes[i].x = c.x; boxes[i].y = c.y; });
  const paths = chains.map((chain, i) => {
    if (!chain) return [];
    const points = [[middle(chain[0]), chain[0].y + chain[0].height]];
    for (const c of chain.slice(1, -1)) points.push([middle(c), c.y]);
    const last = chain[chain.length - 1];
    points.push([middle(last), last.y]);
    return turned[i] ? points.reverse() : points;
  });
  return {width: right - left, height: y - GAP_Y, paths};
}
