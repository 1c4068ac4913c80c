// The panel beside the graph: what is selected, what was found, or the graph as a whole.
function link(item, note) {
  const a = element('a', {tabindex: 0, role: 'button'}, item.path);
  a.addEventListener('click', () => show(item));
  a.addEventListener('keydown', e => { if (e.key === 'Enter') show(item); });
  return note ? [a, `  ${note}`] : a;
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
const mono = text => text ? element('span', {class: 'mono'}, text) : '';
const costRows = t => [['Work', t.flops ? amount(t.flops) + 'FLOP' : ''], ['Traffic', t.bytes ? amount(t.bytes) + 'B read and written' : '']];
const percent = (part, whole) => { const p = whole ? 100 * part / whole : 0; return p < 0.1 && p > 0 ? '< 0.1 %' : `${p.toFixed(1)} %`; };
function share(part, whole) {
  const bar = element('div', {class: 'bar'}, element('i', {style: `width: ${whole ? (100 * part / whole).toFixed(1) : 0}%`}));
  return element('div', {}, `${percent(part, whole)} of what is shown`, bar);
}
const KEYS = [['drag, Shift + arrows', 'move'], ['wheel, + -', 'zoom'], ['0', 'see all of it'], ['click', 'details'], ['arrows', 'to the next box'],
  ['⊕, double click, Enter', 'open or close a scope'], ['/', 'find; Enter for the next'], ['Esc', 'select nothing']];

function describeGraph() {
  details.append(element('h2', {}, data.name || 'graph'), rows([['Nodes shown', shown.size], ...costRows(root.total), ['Costs at', data.sizes]]));
  const most = [...byName.values()].filter(leaf => shown.has(leaf.path) && leaf.node.flops > 0).sort((a, b) => b.node.flops - a.node.flops).slice(0, 6);
  details.append(...list('Most work', most.map(leaf => link(leaf, percent(leaf.node.flops, root.total.flops)))));
  for (const s of data.signatures) {
    details.append(...list(`Signature ${s.name}`, [...s.inputs.map(i => `${i.name}  ${i.type}`), ...s.outputs.map(o => `→ ${o.name}  ${o.type}`),
      `${amount(s.variable_bytes)}B of variables, ${amount(s.constant_bytes)}B of constants`,
      `about ${amount(s.activation_bytes_estimate)}B of activations: each result until its last use; fusion needs less`]));
  }
  details.append(...list('Variables', data.variables.map(v => `${v.name}  ${v.type}${v.device ? ` on ${v.device}` : ''}${v.trainable ? '' : ' (not trained)'}`)));
  const keys = element('table', {class: 'keys'});
  for (const [key, does] of KEYS) keys.append(element('tr', {}, element('td', {}, element('kbd', {}, key)), element('td', {}, does)));
  details.append(element('h3', {}, 'Keys and mouse'), keys);
}
function describeScope(item) {
  const ops = new Map();
  for (const leaf of everything(item)) if (!leaf.scope) ops.set(leaf.node.op, (ops.get(leaf.node.op) || 0) + 1);
  details.append(element('h2', {}, item.path), rows([[item.bundle ? 'In a row' : 'Scope of', `${item.total.nodes} nodes`], ...costRows(item.total), ['Share of work', share(item.total.flops, root.total.flops)]]));
  details.append(...list('Ops in it', [...ops].sort((a, b) => b[1] - a[1]).map(([op, n]) => `${n} × ${op}`)));
}
function describeNode(item) {
  const n = item.node, dot = element('i', {style: `display:inline-block;width:.75em;height:.75em;border-radius:3px;margin-right:.4em;background:${color(n.family)}`});
  details.append(element('h2', {}, n.name));
  details.append(rows([['Op', element('span', {}, dot, n.op)], [n.results.length > 1 ? 'Results' : 'Result', n.results.join('\n')], ['Part', item.phase === 'forward' ? '' : item.phase],
    ['Source', mono(n.source)], ['Gradient of', mono(n.forward)], ...costRows(item.total), ['Formula', n.flops_text ? mono(n.flops_text + ' FLOP') : ''],
    ['Share of work', n.flops ? share(n.flops, root.total.flops) : '']]));
  details.append(...list('Attributes', n.attributes.map(([k, v]) => `${k} = ${v}`)));
  const type = (source, reference) => source.node.results[+(reference.match(/:(\d+)$/) || [0, 0])[1]] || '';
  details.append(...list('Inputs', n.inputs.map(i => { const source = producer(i); return source && shown.has(source.path) ? link(source, type(source, i)) : i; })));
  details.append(...list('Used by', [...item.users].filter(u => shown.has(u.path)).map(u => link(u))));
}
function describe(item) {
  details.replaceChildren();
  if (item?.scope) describeScope(item);
  else if (item) describeNode(item);
  else if (found.length) details.append(...list(`Found ${found.length}`, found.map(leaf => link(leaf, leaf.node.results.join(', ')))));
  else describeGraph();
  details.scrollTop = 0;
}
