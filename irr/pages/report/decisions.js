// The section on decisions: how true probabilities are, what cut-offs give, and how large the returned sets are.

/** A plane with shares from 0 to 1 on both axes, and what places a point on it. */
function plane(words, across, up) {
  const { width, height, left, right, top, bottom } = CHART;
  const x = (share) => left + (width - left - right) * share;
  const y = (share) => height - bottom - (height - top - bottom) * share;
  const chart = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": words });
  for (const share of [0, 0.25, 0.5, 0.75, 1]) {
    chart.append(
      svg("line", { class: "grid", x1: left, x2: width - right, y1: y(share), y2: y(share) }),
      svg("text", { x: left - 8, y: y(share) + 4, "text-anchor": "end" }, points(share, 0)),
      svg("text", { x: x(share), y: height - bottom + 19, "text-anchor": "middle" }, points(share, 0)));
  }
  chart.append(
    svg("text", { x: (left + width - right) / 2, y: height - 2, "text-anchor": "middle" }, across),
    svg("text", { x: left, y: top - 4 }, up));
  const path = (places) => places.map(([a, b], i) => `${i ? "L" : "M"}${x(a).toFixed(1)},${y(b).toFixed(1)}`).join("");
  return { chart, x, y, path };
}

function reliabilityChart(sets) {
  const words = sets.bins.map((bin) => `${points(bin.probability)} predicted, ${points(bin.right)} right`).join("; ");
  const { chart, x, y, path } = plane(`Reliability: ${words}`, "probability, in percent", "right, in percent");
  chart.append(svg("path", { class: "other", d: path([[0, 0], [1, 1]]) }),
    svg("path", { class: "curve", d: path(sets.bins.map((bin) => [bin.probability, bin.right])) }));
  for (const bin of sets.bins) {
    chart.append(svg("circle", { class: "dot", cx: x(bin.probability), cy: y(bin.right), r: 4 },
      svg("title", null, `${points(bin.probability)} predicted, ${points(bin.right)} right, ${count(bin.labels)} labels`)));
  }
  return chart;
}

function cutOffChart(sets) {
  const { chart, x, y, path } = plane("Precision and recall by cut-off; the table beside has the numbers",
    "cut-off on probability, in percent", "precision (line) and recall (dashes), in percent");
  chart.append(
    svg("path", { class: "curve", d: path(sets.cutoffs.filter((c) => c.size > 0).map((c) => [c.cut_off, c.precision])) }),
    svg("path", { class: "other", d: path(sets.cutoffs.map((c) => [c.cut_off, c.recall])) }));
  if (sets.cut_off !== null) {
    const at = x(sets.cut_off);
    chart.append(svg("line", { class: "probe", x1: at, x2: at, y1: y(0), y2: y(1) }),
      svg("text", { class: "value", x: at + 6, y: y(0) - 8 }, `chosen: ${points(sets.cut_off)}`));
  }
  return chart;
}

function decisionsSection(data) {
  const { sets } = data;
  const chosen = Object.entries(sets.decision).map(([name, value]) => (value === true ? name : `${name} ${value}`)).join(", ").replace("_", " ") || "the best ten labels of each text";
  const cell = ([mean, low, high]) => el("td", { class: "n", title: `${points(low)} – ${points(high)}` }, points(mean));
  const row = (name, of) => el("tr", null, el("td", null, name), ["precision", "recall", "f1"].map((key) => cell(of[key])));
  const single = (of) => Object.fromEntries(Object.entries(of).map(([key, value]) => [key, [value, value, value]]));
  const [error, low, high] = sets.calibration_error;
  const sizes = sets.sizes.map(([size, returned, gold]) => el("tr", null,
    el("td", null, size), el("td", { class: "n" }, count(returned)), el("td", { class: "n" }, count(gold))));
  const cuts = sets.cutoffs.map((c) => el("tr", null, el("td", null, points(c.cut_off, 0)),
    [c.precision, c.recall, c.f1].map((value) => el("td", { class: "n" }, points(value))),
    el("td", { class: "n" }, c.size.toFixed(2)), el("td", { class: "n" }, count(c.abstained))));
  return el("section", { id: "decisions" },
    el("h2", null, "Decisions"),
    el("p", { class: "note" }, `Labels returned: ${chosen}. ${sets.mean_size.toFixed(2)} a text, ${sets.mean_gold.toFixed(2)} gold; ${many(sets.abstained, "text", "texts")} without labels. `
      + `Expected calibration error ${error.toFixed(3)} (${low.toFixed(3)} – ${high.toFixed(3)}), over the first ten labels of each text in ten bins of equal size.`),
    sets.promise && el("p", null, el("strong", null, `Promised ${sets.promise.name} ${points(sets.promise.promised, 0)} %, measured ${points(sets.promise.kept[0])} % (${points(sets.promise.kept[1])} – ${points(sets.promise.kept[2])}).`)),
    table(null, ["mean over", "#precision", "#recall", "#F1"], [row("all labels (micro)", sets.micro), row("texts (example)", sets.example), row("labels (macro)", single(sets.macro))]),
    el("div", { class: "pair" },
      el("figure", null, el("h3", null, "Are probabilities true?"), reliabilityChart(sets)),
      el("figure", null, el("h3", null, "What other cut-offs give"), cutOffChart(sets))),
    el("details", null, el("summary", null, "Cut-offs as numbers"),
      table(null, ["cut-off, %", "#precision", "#recall", "#F1", "#labels a text", "#texts without"], cuts)),
    el("details", null, el("summary", null, "How many labels texts got, and have"),
      table(null, ["labels", "#texts that got so many", "#texts whose gold has so many"], sizes)));
}
