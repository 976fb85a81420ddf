// The page of a draft: its facts, a map of the texts, the labels with their texts, overlaps, texts without a label.

const data = JSON.parse(document.getElementById("data").textContent);
const SIZE = 640;
const color = (number) => `hsl(${(number * 137.508) % 360} 55% 50%)`;

function head() {
  return el("header", null,
    el("p", { class: "eyebrow" }, "irr draft"),
    el("h1", null, data.title),
    el("ul", { class: "facts" },
      el("li", null, many(data.labels.length, "label", "labels")),
      el("li", null, many(data.texts, "text", "texts")),
      el("li", null, `${count(data.distinct)} distinct`),
      el("li", null, `irr ${data.version}`)),
    el("p", { class: "lead" },
      el("strong", null, percent(data.covered)), " of the texts are in a label; ",
      `${many(data.left_in_all, "distinct text was", "distinct texts were")} left over.`));
}

const place = (value) => (SIZE / 2) * (1 + 0.96 * value);

function map() {
  const shown = el("p", { class: "facts", "aria-live": "polite" }, "Point at a text, or choose a label below, to see its label.");
  const dots = data.map.map(([x, y, of]) => svg("circle", {
    cx: place(x), cy: place(-y), r: 3, fill: of < 0 ? "var(--wrong)" : color(of), "data-of": of,
    onmouseenter: () => mark(of),
  }));
  const plot = svg("svg", { viewBox: `0 0 ${SIZE} ${SIZE}`, role: "img", style: "width:100%;max-width:640px",
    "aria-label": "The texts by the two main directions of their vectors; near means alike" }, dots);
  mark = (of) => {
    shown.textContent = of < 0 ? "left over" : data.labels[of].name;
    for (const dot of dots) {
      const own = Number(dot.dataset.of) === of;
      dot.setAttribute("opacity", own ? 1 : 0.15);
      dot.setAttribute("r", own ? 4.5 : 3);
    }
  };
  return el("section", { id: "map" }, el("h2", null, "Map"),
    el("p", null, "Every dot is a text. Two dimensions of many are shown: what is far apart here differs; what is near may differ, too."),
    plot, shown);
}
let mark = () => {};

function labels() {
  const field = el("input", { type: "search", "aria-label": "Find a label or a text", placeholder: "Find a label or a text" });
  const items = data.labels.map((label, number) => el("details", null,
    el("summary", { onclick: () => mark(number) }, el("strong", null, label.name), ` · ${many(label.count, "text", "texts")}`,
      label.share === null ? "" : ` · ${percent(label.share)}`),
    label.aliases.length ? el("p", null, `also: ${label.aliases.join(", ")}`) : null,
    label.parents.length ? el("p", null, `under: ${label.parents.join(", ")}`) : null,
    label.description ? el("p", null, label.description) : null,
    el("ul", null, label.texts.map((text) => el("li", null, text))),
    el("p", { class: "mono" }, label.id)));
  field.addEventListener("input", () => {
    const wanted = field.value.toLowerCase();
    items.forEach((item, number) => {
      const label = data.labels[number];
      item.hidden = ![label.name, ...label.aliases, ...label.texts].some((text) => text.toLowerCase().includes(wanted));
    });
  });
  return el("section", { id: "texts" }, el("h2", null, "Labels and their texts"), field, items);
}

function overlaps() {
  const rows = data.overlaps.map(({ a, b, similarity }) => el("tr", null,
    el("td", null, data.labels[a].name), el("td", null, data.labels[b].name), el("td", { class: "n" }, similarity.toFixed(2))));
  return el("section", { id: "overlaps" }, el("h2", null, "Overlaps"),
    el("p", null, "Labels whose texts are nearest to each other: look whether they are one."),
    table({}, ["label", "label", "#similarity"], rows));
}

function leftOver() {
  const more = data.left_in_all - data.left.length;
  return el("section", { id: "left" }, el("h2", null, "Left over"),
    data.left.length ? el("ul", null, data.left.map((text) => el("li", null, text))) : el("p", null, "Nothing."),
    more > 0 ? el("p", null, `and ${count(more)} more`) : null);
}

document.getElementById("page").append(head(), map(), labels(), overlaps(), leftOver());
