'use strict';
// What the pages have in common: their data, and elements.
const data = JSON.parse(document.getElementById('data').textContent);

function filled(e, attributes, children) {
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
  e.append(...children);
  return e;
}
const element = (tag, attributes = {}, ...children) => filled(document.createElement(tag), attributes, children);
const svg = (tag, attributes = {}, ...children) => filled(document.createElementNS('http://www.w3.org/2000/svg', tag), attributes, children);
