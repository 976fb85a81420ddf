// Makes elements and formats figures. Data only ever becomes text, never markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== false) node.append(child);
  }
  return node;
}

export const $ = (id) => document.getElementById(id);
export const el = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
export const svg = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

const points = (share, digits = 1) => (100 * share).toFixed(digits);
export const percent = (share) => `${(100 * share).toFixed(share > 0 && share < 0.0995 ? 1 : 0)} %`;
const signed = (share) => {
  const value = points(Math.abs(share));
  return value === "0.0" ? "0.0" : `${share < 0 ? "−" : "+"}${value}`;
};
export const count = (number) => number.toLocaleString("en");
const many = (number, one, more) => `${count(number)} ${number === 1 ? one : more}`;
const METRIC_NAMES = { rp: "RP", p: "P", recall: "Recall", ndcg: "nDCG", mrr: "MRR" };
const metricName = (name) => {
  const [metric, k] = name.split("@");
  return (METRIC_NAMES[metric] || metric) + (k ? `@${k}` : "");
};

function table(attributes, heads, rows) {
  const head = heads.map((h) => el("th", { scope: "col", class: h.startsWith("#") ? "n" : null }, h.replace("#", "")));
  return el("table", attributes, el("thead", null, el("tr", null, head)), el("tbody", null, rows));
}
