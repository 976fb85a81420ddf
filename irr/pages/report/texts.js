// The texts: filtered, sorted, a page at a time, each with its gold and its answer side by side.

const PAGE = 20;
const HAN = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}]/u;

/** Where a query's words stand in a text; words may have other signs between them there. */
function places(text, query) {
  const words = query.split(/\s+/).filter(Boolean).map((word) => word.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&"));
  if (!words.length) return [];
  const [before, after] = HAN.test(query) ? ["", ""] : ["(?<![\\p{L}\\p{N}])", "(?![\\p{L}\\p{N}])"];
  const pattern = new RegExp(before + words.join("[^\\p{L}\\p{N}]*") + after, "giu");
  return [...text.matchAll(pattern)].map((found) => [found.index, found.index + found[0].length]);
}

/** The labels of a text with why each was proposed and what it is: right, missed or wrong. */
function matchedLabels(text) {
  const right = new Set(text.gold.map((gold) => gold.label));
  const labels = text.top.map(({ label, matches }) => ({ label, matches, kind: right.has(label) ? "right" : "wrong" }));
  for (const { label, matches, nearest } of text.gold) {
    const own = matches.length ? matches : nearest && nearest.query ? [{ kind: "span", query: nearest.query }] : [];
    if (own.length) labels.push({ label, matches: own, kind: "missed" });
  }
  return labels;
}

/** The text with a mark around the words that matched labels; marks know their labels. */
function markedText(text) {
  const spans = [];
  for (const { label, matches, kind } of matchedLabels(text)) {
    for (const match of matches) {
      if (match.kind === "text" || match.query === null) continue;
      for (const [start, end] of places(text.text, match.query)) spans.push({ start, end, label, kind });
    }
  }
  const edges = [...new Set([0, text.text.length, ...spans.flatMap((s) => [s.start, s.end])])].sort((a, b) => a - b);
  const node = el("p", { class: "body" });
  for (let i = 0; i + 1 < edges.length; i++) {
    const words = text.text.slice(edges[i], edges[i + 1]);
    const over = spans.filter((s) => s.start <= edges[i] && s.end >= edges[i + 1]);
    if (!over.length) node.append(words);
    else {
      const kind = ["right", "missed", "wrong"].find((k) => over.some((s) => s.kind === k));
      const mark = el("mark", { class: kind }, words);
      mark.labels = new Set(over.map((s) => s.label));
      node.append(mark);
    }
  }
  if (text.cut) node.append(el("span", { class: "soft" }, ` … and ${count(text.cut)} more characters`));
  return node;
}

/** In words, why a label was proposed. */
function why(matches, nearest, outcome, data) {
  const words = (kind, query) => (kind === "text" ? (query === null ? "the whole text" : `the passage “${query}”`) : `the ${kind} “${query}”`);
  const lines = matches.map(({ kind, query, entry, score }) => el("div", null,
    `${words(kind, query)} → ${entry === null ? "its name" : `“${entry}”`}`, score !== null && `, ${score.toFixed(2)}`));
  if (nearest) {
    const { query, rank } = nearest;
    lines.push(el("div", null, `Alone, ${query === null ? "the whole text" : `“${query}”`} puts it at ${rank}; all queries together put it below candidate ${data.facts.pool}.`));
  }
  if (outcome === "unmatched") lines.push(el("div", null, "No query alone has it among its first ten."));
  return lines.length ? lines : [el("div", null, "Nothing is known of it.")];
}

function labelItem(data, body, { label, mark, where, kind, reason, prefix }) {
  const { id, name } = data.labels[label];
  const item = el("li", { class: kind });
  const light = (on) => {
    const marks = [...body.querySelectorAll("mark")];
    const hit = on && marks.some((m) => m.labels.has(label));
    body.classList.toggle("lit", hit);
    for (const m of marks) m.classList.toggle("on", hit && m.labels.has(label));
  };
  const button = el("button", {
    type: "button", class: "label", "aria-expanded": "false", title: id,
    onmouseenter: () => light(true), onmouseleave: () => light(false), onfocus: () => light(true), onblur: () => light(false),
    onclick: () => {
      const open = button.getAttribute("aria-expanded") === "true";
      button.setAttribute("aria-expanded", String(!open));
      if (open) item.lastChild.remove();
      else item.append(el("div", { class: "why" }, reason()));
    },
  }, el("span", { class: "mark", "aria-hidden": "true" }, mark), el("span", { class: "name" }, name), el("span", { class: "where" }, prefix && el("span", { class: "skip" }, prefix), where));
  return (item.append(button), item);
}

function textCard(data, text) {
  const meaning = outcomes(data);
  const body = markedText(text);
  if (text.text.length > 900) body.setAttribute("tabindex", "0");
  const right = new Set(text.gold.map((gold) => gold.label));
  const gold = text.gold.map(({ label, outcome: kind, rank, matches, nearest }) => {
    const own = matches.length || kind === "unretrieved" ? matches : (text.top.find((found) => found.label === label) || { matches: [] }).matches;
    return labelItem(data, body, {
      label, kind: `is-${kind}`, mark: kind === "found" ? "✓" : kind === "low" ? "↓" : "✕",
      where: rank ? `rank ${rank}` : meaning[kind].short, reason: () => why(own, nearest, kind, data),
    });
  });
  const top = text.top.map(({ label, score, matches }, i) => labelItem(data, body, {
    label, kind: right.has(label) ? "is-found" : "", mark: i + 1, where: right.has(label) ? "✓" : score.toFixed(2),
    prefix: right.has(label) ? "right " : "", reason: () => why(matches, null, "", data),
  }));
  return el("li", { class: "text" },
    el("header", null, el("h3", null, text.id),
      el("span", null, many(text.text.split(/\s+/).filter(Boolean).length, "word", "words")),
      el("span", null, many(text.queries, "query", "queries")),
      el("span", { class: "n" },
        data.comparisons.filter((c) => c.differences[text.id]).map((c) => el("span", { class: c.differences[text.id] > 0 ? "good" : "bad" }, `${signed(c.differences[text.id])} against ${c.name}  `)),
        text.rp === undefined ? "no gold" : ["RP@10 ", el("strong", null, points(text.rp, 0))])),
    body,
    text.error && el("p", { class: "problem" }, `Not answered: ${text.error}`),
    (text.fallbacks || []).map((line) => el("p", { class: "problem" }, `Without the language model, ${line}`)),
    el("div", { class: "labels" },
      el("div", null, el("h4", null, "Gold"), gold.length ? el("ol", null, gold) : el("p", { class: "soft" }, "none")),
      el("div", null, el("h4", null, "Predicted, best first"), el("ol", null, top))));
}

/** What a text can be filtered by: a name, and whether a text has it. */
function filters(data) {
  const has = (kind) => (text) => text.gold.some((gold) => gold.outcome === kind);
  const lost = (text) => text.gold.some((gold) => gold.outcome !== "found");
  return [
    ["all", "All", () => true],
    ["found", "All found", (text) => text.gold.length > 0 && !lost(text)],
    ["low", "Ranked too low", has("low")],
    ["unretrieved", "Outside the candidates", has("unretrieved")],
    ["unmatched", "No query matches", has("unmatched")],
    ["first", "First label wrong", (text) => text.gold.length > 0 && text.top.length > 0 && !text.gold.some((gold) => gold.label === text.top[0].label)],
    ["unanswered", "Not answered", (text) => Boolean(text.error)],
    ["fallback", "Without the model", (text) => Boolean(text.fallbacks)],
    ["nogold", "No gold", (text) => text.gold.length === 0],
    ...data.comparisons.flatMap((c, place) => [
      [`better ${place}`, `Better than ${c.name}`, (text) => c.differences[text.id] > 0],
      [`worse ${place}`, `Worse than ${c.name}`, (text) => c.differences[text.id] < 0],
    ]),
  ];
}

function orders(data) {
  const rp = (text, none) => (text.rp === undefined ? none : text.rp);
  const lost = (text) => text.gold.filter((gold) => gold.outcome !== "found").length;
  return [
    ["file", "as in the file", null],
    ["worst", "lowest RP@10 first", (a, b) => rp(a, 2) - rp(b, 2)],
    ["best", "highest RP@10 first", (a, b) => rp(b, -1) - rp(a, -1)],
    ["lost", "most gold lost first", (a, b) => lost(b) - lost(a)],
    ...(data.sets ? [["unsure", "least sure first", (a, b) => (b.unsure ?? -1) - (a.unsure ?? -1)]] : []),
    ["long", "longest first", (a, b) => b.text.length + (b.cut || 0) - a.text.length - (a.cut || 0)],
    ["short", "shortest first", (a, b) => a.text.length - b.text.length],
    ...data.comparisons.flatMap((c, place) => {
      const difference = (text) => c.differences[text.id] || 0;
      return [
        [`loss ${place}`, `largest loss against ${c.name} first`, (a, b) => difference(a) - difference(b)],
        [`gain ${place}`, `largest gain against ${c.name} first`, (a, b) => difference(b) - difference(a)],
      ];
    }),
  ];
}
