// The sections above the texts: scores, lost labels, comparison, groups and confused pairs.

/** What each outcome of a gold label means, in which stage it is lost, and what can be done. */
function outcomes(data) {
  const { pool } = data.facts;
  const { settings } = data.setup;
  const terms = data.costs.infer.calls > 0;
  const ranked = data.costs.rank.calls > 0;
  return {
    unanswered: {
      name: "Not answered", stage: "texts without an answer", short: "not answered",
      what: "The text was answered with an error.",
      help: "Read the errors of these texts.",
    },
    unmatched: {
      name: "No query matches", stage: "infer", short: "no query matches",
      what: "None of the queries nearest to the label, asked alone, has it among its first ten.",
      help: "Give these labels aliases or descriptions in the words of your texts"
        + (terms ? ", give the model in infer examples of your own (a task of your own)." : "; try a language model in infer (--infer-lm) or another encoder."),
    },
    unretrieved: {
      name: "Outside the candidates", stage: "retrieve", short: "no candidate",
      what: `A query, asked alone, has the label among its first ten; all together put it below candidate ${pool}.`,
      help: settings["retrieve.candidates"] < pool
        ? "Try other weights (--set retrieve.text_weight=1, retrieve.span_weight, retrieve.alias_margin …) on a dev set, or run irr optimize."
        : "Raise the number of candidates (--set retrieve.candidates=100), or try other weights (--set retrieve.text_weight=1, retrieve.span_weight, retrieve.alias_margin …) on a dev set, or run irr optimize.",
    },
    low: {
      name: "Ranked too low", stage: "rank", short: "below 10",
      what: "The label is a candidate, but not among the first ten.",
      help: ranked
        ? "Try a stronger language model in rank, another --rank-method or another weight (--set rank.listwise_weight=4)."
        : "Put a language model into rank (--rank-lm), or give labels a prior.",
    },
    found: { name: "Found", stage: "", short: "found", what: "The label is among the first ten.", help: "" },
  };
}

function headSection(data) {
  const { facts } = data;
  const all = data.funnel.reduce((sum, part) => sum + part.labels, 0);
  const found = data.funnel.find((part) => part.outcome === "found").labels;
  const rp = data.metrics.find((metric) => metric.name === "rp@10");
  const worst = worstStage(data);
  const lead = el("p", { class: "lead" },
    el("strong", null, `RP@10 is ${points(rp.mean)}`), ` (95 % interval ${points(rp.low)} – ${points(rp.high)}). `,
    `Of ${many(all, "gold label", "gold labels")}, ${percent(found / all)} are among the first ten of their text. `,
    worst
      ? ["Most is to be won in ", el("strong", null, worst.stage), `: ${worst.words} If that lost nothing, RP@10 would be ${points(rp.mean + worst.gain)}.`]
      : "Nothing is lost.");
  return el("header", null,
    el("p", { class: "eyebrow" }, "irr evaluation"),
    el("h1", null, data.title),
    el("ul", { class: "facts" },
      el("li", null, many(facts.texts, "text", "texts")),
      el("li", null, many(facts.labels, "label", "labels")),
      el("li", null, data.setup.models.encoder.split("/").pop()),
      el("li", null, data.costs.infer.calls + data.costs.rank.calls ? "with a language model" : "no language model"),
      el("li", null, `${(facts.texts / facts.seconds).toFixed(1)} texts a second`),
      facts.errors > 0 && el("li", { class: "bad" }, `${many(facts.errors, "text", "texts")} with an error`),
      facts.fallbacks > 0 && el("li", { class: "bad" }, `${count(facts.fallbacks)} without the language model`),
      facts.without_gold > 0 && el("li", null, `${count(facts.without_gold)} without gold, in no mean`),
      facts.program && el("li", null, "program ", el("code", { title: facts.program }, facts.program.slice(0, 12)))),
    lead);
}

/** The stage whose losses cost most, in words; nothing if none is lost. */
function worstStage(data) {
  const meaning = outcomes(data);
  const { outcome, labels, gain } = data.funnel.filter((part) => part.outcome !== "found").reduce((a, b) => (b.gain > a.gain ? b : a));
  if (!labels) return null;
  const are = labels === 1 ? "1 label is" : `${count(labels)} labels are`;
  const words = {
    unanswered: `${are} lost because their texts were answered with an error.`,
    unmatched: `${are} matched by no query.`,
    unretrieved: `${are} matched by a query, but not among the ${data.facts.pool} candidates.`,
    low: `${are} among the ${data.facts.pool} candidates, but below rank 10.`,
  };
  return { outcome, gain, stage: meaning[outcome].stage, words: words[outcome] };
}

function scoresSection(data) {
  const main = new Set(["rp@5", "rp@10", "rp@50"]);
  const rows = data.metrics.map(({ name, mean, low, high }) => el("tr", { class: main.has(name) ? "main" : null },
    el("td", null, metricName(name)),
    el("td", { class: "n" }, points(mean)),
    el("td", { class: "n soft" }, `${points(low)} – ${points(high)}`),
    el("td", null, whisker(mean, low, high, 0, 1))));
  const other = data.comparisons.length && data.comparisons[0].curve;
  const numbers = table(null, ["k", "#RP@k", "#95 % interval"], data.curve.map(({ mean, low, high }, i) => el("tr", null,
    el("td", null, i + 1), el("td", { class: "n" }, points(mean)), el("td", { class: "n soft" }, `${points(low)} – ${points(high)}`))));
  return el("section", { id: "scores" },
    el("h2", null, "Scores"),
    el("p", { class: "note" }, "Means over texts with gold, in percent. The line around each dot is its 95 % interval. The curve is RP@k for every k."),
    el("div", { class: "pair" },
      table(null, ["metric", "#mean", "#95 % interval", "0 to 100"], rows),
      el("figure", null,
        other && el("ul", { class: "legend" },
          el("li", null, el("span", { class: "key" }), "this evaluation"),
          el("li", null, el("span", { class: "key other" }), data.comparisons[0].name)),
        curveChart(data.curve, other),
        el("details", null, el("summary", null, "The curve as numbers"), el("div", { class: "scroll", tabindex: "0" }, numbers)))));
}

function funnelSection(data, show) {
  const meaning = outcomes(data);
  const all = data.funnel.reduce((sum, part) => sum + part.labels, 0);
  const worst = worstStage(data);
  const order = [...data.funnel].reverse(); // found first, then back through the stages
  const rows = order.map(({ outcome, labels, gain }) => {
    const m = meaning[outcome];
    return el("tr", { class: worst && worst.outcome === outcome ? "worst" : null },
      el("td", null, el("span", { class: "stage" }, el("span", { class: `swatch ${outcome}` }), m.name),
        m.stage && el("span", { class: "soft" }, `lost in ${m.stage}`)),
      el("td", null, el("p", null, m.what), m.help && labels > 0 && el("p", null, m.help)),
      el("td", { class: "n", "data-name": "labels" }, count(labels)),
      el("td", { class: "n", "data-name": "share" }, percent(labels / all)),
      el("td", { class: "n strong", "data-name": "RP@10 could gain" }, outcome === "found" ? "" : signed(gain)),
      el("td", null, labels > 0 && el("button", { class: "link", type: "button", onclick: () => show(outcome), "aria-label": `Show the texts: ${m.name}` }, "texts")));
  });
  const { up, down } = data.moved;
  return el("section", { id: "funnel" },
    el("h2", null, "Where gold labels are lost"),
    el("p", { class: "note" }, `A query has to match a gold label, retrieval has to put it among the ${data.facts.pool} candidates, and it has to be ranked among the first ten. `
      + "“Could gain” is what RP@10 would rise by, in points, if this stage alone lost nothing."),
    partsBar(order.map(({ outcome, labels }) => ({ name: meaning[outcome].name, kind: outcome, count: labels }))),
    table({ class: "funnel wide" }, ["gold label", "what that means, and what can help", "#labels", "#share", "#could gain", ""], rows),
    data.facts.reranked && el("p", { class: "note", style: "margin-top:12px" },
      `Rank brought ${many(up, "gold label", "gold labels")} into the first ten, and moved ${count(down)} out of it.`));
}

function groupsSection(data) {
  const chart = (title, unit, groups) => groups.length > 0 && el("div", null,
    el("h3", null, title),
    el("table", { class: "groups" },
      el("caption", null, unit),
      el("tbody", null, groups.map(({ name, size, mean, low, high }) => el("tr", null,
        el("td", null, name),
        el("td", { class: "n soft", title: `${count(size)}` }, count(size)),
        el("td", null, whisker(mean, low, high, 0, 1)),
        el("td", { class: "n", title: `${points(low)} – ${points(high)}` }, points(mean)))))));
  const { frequency, length, depth } = data.groups;
  return el("section", { id: "groups" },
    el("h2", null, "For which labels and texts"),
    el("p", { class: "note" }, "The count is that of gold labels, or of texts; small groups have wide intervals."),
    el("div", { class: "three" },
      chart("How often the label is gold here", "share of its gold found in the first ten", frequency),
      chart("Length of the text", "RP@10", length),
      chart("Depth in the hierarchy", "share of gold found in the first ten; level 1 is the top", depth)));
}

function pairsSection(data, showPair) {
  if (!data.pairs.length) return null;
  const label = (number) => el("span", { title: data.labels[number].id }, data.labels[number].name);
  const row = (pair) => {
    const { gold, wrong, texts, missed, similarity } = pair;
    return el("tr", null,
      el("td", { "data-name": "gold:" }, label(gold)),
      el("td", { "data-name": "above it:" }, label(wrong)),
      el("td", { class: "n", "data-name": "likeness" }, similarity.toFixed(2)),
      el("td", { class: "n", "data-name": "missed" }, count(missed)),
      el("td", { class: "n" }, el("button", { class: "link", type: "button", onclick: () => showPair(pair) }, many(texts.length, "text", "texts"))));
  };
  const body = el("tbody", null, data.pairs.slice(0, 12).map(row));
  const rest = data.pairs.slice(12);
  const more = rest.length > 0 && el("p", null, el("button", {
    class: "link", type: "button",
    onclick: (event) => { body.append(...rest.map(row)); event.target.parentNode.remove(); },
  }, `Show ${count(rest.length)} more${data.pairs_in_all > data.pairs.length ? `, of ${count(data.pairs_in_all)} in all` : ""}`));
  const head = ["gold label", "wrong label above it", "#likeness", "#missed", "#in"].map((h) => el("th", { scope: "col", class: h[0] === "#" ? "n" : null }, h.replace("#", "")));
  return el("section", { id: "pairs" },
    el("h2", null, "Confused pairs"),
    el("p", { class: "note" }, "A gold label, and of the wrong labels ranked above it (among the first ten) the one whose name is most like it. "
      + "Likeness is the encoder’s, 1 at most; pairs near 1 may be one label twice in the label space. Sorted by texts times likeness. “Missed” counts the texts where the gold label is not among the first ten."),
    el("table", { class: "wide" }, el("thead", null, el("tr", null, head)), body), more);
}

function compareSection(data, show) {
  return el("section", { id: "compare" }, data.comparisons.map((comparison) => comparisonPart(data, comparison, show)));
}

function comparisonPart(data, comparison, show) {
  const ours = Object.fromEntries(data.metrics.map(({ name, mean }) => [name, mean]));
  const widest = Math.max(...comparison.metrics.flatMap(({ low, high }) => [Math.abs(low), Math.abs(high)]), 0.01);
  const real = (low, high, p) => p < 0.05 && (low > 0 || high < 0);
  const kind = (low, high, p) => (!real(low, high, p) ? "open" : low > 0 ? "good" : "bad");
  const rows = comparison.metrics.map(({ name, baseline, mean, low, high, p }) => el("tr", { class: name === "rp@10" ? "main" : null },
    el("td", null, metricName(name)),
    el("td", { class: "n", "data-name": "this evaluation" }, points(ours[name])),
    el("td", { class: "n soft", "data-name": comparison.name }, points(baseline)),
    el("td", { class: `n ${kind(low, high, p)}`, "data-name": "difference" }, signed(mean)),
    el("td", { class: "n soft", "data-name": "95 % interval" }, `${signed(low)} – ${signed(high)}`),
    el("td", { class: "n", "data-name": "p" }, p < 0.001 ? "< 0.001" : p.toFixed(3)),
    el("td", null, whisker(mean, low, high, -widest, widest, 0, kind(low, high, p)))));
  const { mean, low, high, p } = comparison.metrics.find((metric) => metric.name === "rp@10");
  const values = Object.values(comparison.differences);
  const better = values.filter((d) => d > 0).length;
  const worse = values.filter((d) => d < 0).length;
  const verdict = real(low, high, p)
    ? `This evaluation is ${mean > 0 ? "better" : "worse"} by ${points(Math.abs(mean))} points of RP@10, more than chance explains (p ${p < 0.001 ? "< 0.001" : `= ${p.toFixed(3)}`}).`
    : `The difference of ${signed(mean)} points of RP@10 may be chance (p = ${p.toFixed(3)}).`;
  const place = data.comparisons.indexOf(comparison);
  return el("div", null,
    el("h2", null, `Against ${comparison.name}`),
    el("p", { class: "note" }, el("strong", null, verdict), " Paired bootstrap over texts, 10,000 resamples; differences in points.",
      comparison.program === data.facts.program ? " Both evaluations are of one and the same program." : ""),
    table({ class: "wide" }, ["metric", "#this evaluation", `#${comparison.name}`, "#difference", "#95 % interval", "#p", `worse ←  ${points(widest, 0)} points  → better`], rows),
    el("p", { class: "note", style: "margin-top:12px" },
      el("button", { class: "link", type: "button", onclick: () => show(`better ${place}`) }, `${many(better, "text is", "texts are")} better`), ", ",
      el("button", { class: "link", type: "button", onclick: () => show(`worse ${place}`) }, `${count(worse)} worse`),
      `, ${count(values.length - better - worse)} the same, by RP@10.`));
}

function foot(data) {
  const { facts } = data;
  const cost = Object.entries(data.costs).filter(([, c]) => c.calls).map(([stage, c]) =>
    [el("dt", null, `calls in ${stage}`), el("dd", null, `${count(c.calls)}, ${count(c.prompt_tokens)} prompt tokens (${count(c.cached_tokens)} cached), ${count(c.completion_tokens)} completion tokens`)]);
  return el("footer", null,
    el("p", null, "RP@k = |gold ∩ first k| / min(k, |gold|), a label counted once, averaged over the texts with gold. Intervals are 95 % percentile bootstraps over texts, seeded. "
      + "This page holds its data and loads nothing."),
    el("details", null, el("summary", null, "Program and settings"),
      el("dl", null,
        el("dt", null, "irr"), el("dd", null, data.setup.irr),
        el("dt", null, "gold"), el("dd", null, data.setup.gold),
        el("dt", null, "labels"), el("dd", null, `${data.setup.labels.file}, ${count(data.setup.labels.count)}`),
        Object.entries(data.setup.models).map(([role, model]) => [el("dt", null, role), el("dd", null, model || "no language model")]),
        el("dt", null, "examples"), el("dd", null, `${count(data.setup.examples.count)}, ${count(data.setup.examples.left_out)} of them among these texts`),
        el("dt", null, "program"), el("dd", { class: "mono" }, facts.program || "not known"),
        el("dt", null, "queries a text"), el("dd", null, (facts.asked / facts.texts).toFixed(1)),
        cost,
        Object.entries(data.setup.settings).map(([name, value]) => [el("dt", null, name), el("dd", null, Array.isArray(value) ? value.join(", ") : String(value))]))));
}
