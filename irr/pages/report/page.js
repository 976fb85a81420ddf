// Puts the page together and keeps the view of the texts: a filter, an order, a search, a page.

function textsSection(data) {
  const state = { filter: "all", order: "file", words: "", pair: null, page: 0 };
  const every = filters(data);
  const counts = Object.fromEntries(every.map(([key, , test]) => [key, data.texts.filter(test).length]));
  const haystacks = new Map();
  const haystack = (text) => {
    if (!haystacks.has(text)) {
      const labels = [...text.gold, ...text.top].map((found) => found.label);
      haystacks.set(text, [text.id, text.text, ...labels.flatMap((label) => [data.labels[label].id, data.labels[label].name])].join("\n").toLowerCase());
    }
    return haystacks.get(text);
  };
  const list = el("ol", { class: "texts" });
  const chips = el("div", { class: "chips", role: "group", "aria-label": "Filter by kind of error" });
  const status = el("span", { role: "status", "aria-live": "polite" });
  const turn = (by) => () => { state.page += by; draw(); section.scrollIntoView(); };
  const back = el("button", { type: "button", onclick: turn(-1) }, "Back");
  const next = el("button", { type: "button", onclick: turn(1) }, "Next");
  const search = el("input", {
    type: "search", placeholder: "Find in texts, labels and ids", "aria-label": "Find in texts, labels and ids",
    oninput: () => { state.words = search.value.trim().toLowerCase(); state.page = 0; draw(); },
  });
  const order = el("select", { "aria-label": "Order", onchange: () => { state.order = order.value; state.page = 0; draw(); } },
    orders(data).map(([key, name]) => el("option", { value: key }, name)));

  function chosen() {
    const test = every.find(([key]) => key === state.filter)[2];
    const base = state.pair ? state.pair.texts.map((number) => data.texts[number]) : data.texts;
    const texts = base.filter((text) => test(text) && (!state.words || haystack(text).includes(state.words)));
    const compare = orders(data).find(([key]) => key === state.order)[2];
    return compare ? [...texts].sort(compare) : texts;
  }

  function drawChips() {
    const chip = (name, size, pressed, onclick) => el("button", { type: "button", class: "chip", "aria-pressed": String(pressed), onclick }, name, el("small", null, size));
    const shown = every.filter(([key]) => key === "all" || counts[key] > 0);
    chips.replaceChildren(...shown.map(([key, name]) => chip(name, count(counts[key]), state.filter === key, () => {
      Object.assign(state, { filter: key, page: 0 });
      draw();
      [...chips.children][shown.findIndex(([k]) => k === key)].focus();
    })));
    if (state.pair) {
      const { gold, wrong } = state.pair;
      chips.append(chip(`${data.labels[gold].name} / ${data.labels[wrong].name}`, "✕", true, () => { Object.assign(state, { pair: null, page: 0 }); draw(); }));
    }
  }

  function draw() {
    const texts = chosen();
    const pages = Math.max(1, Math.ceil(texts.length / PAGE));
    state.page = Math.max(0, Math.min(state.page, pages - 1));
    const first = state.page * PAGE;
    const part = texts.slice(first, first + PAGE);
    drawChips();
    list.replaceChildren(...part.map((text) => textCard(data, text)));
    if (!part.length) list.append(el("li", { class: "nothing" }, "No text is like that."));
    status.textContent = part.length ? `${count(first + 1)} – ${count(first + part.length)} of ${many(texts.length, "text", "texts")}` : "no texts";
    back.disabled = state.page === 0;
    next.disabled = state.page >= pages - 1;
  }

  const key = (kind, words, meaning) => el("li", null, el("span", { class: "body" }, el("mark", { class: kind }, words)), ` ${meaning}`);
  const section = el("section", { id: "texts", tabindex: "-1" },
    el("h2", null, "Texts"),
    el("p", { class: "note" }, "Marks show the words that matched a label. Point at a label to see its own words; open it to see the matches."),
    el("ul", { class: "key-list" },
      key("right", "matched", "a right label"),
      key("missed", "matched", "a gold label that was lost"),
      key("wrong", "matched", "a wrong label only")),
    el("div", { class: "tools" }, search, order),
    chips,
    list,
    el("div", { class: "pager" }, back, next, status));
  draw();
  const to = (change) => {
    search.value = "";
    Object.assign(state, { filter: "all", words: "", pair: null, page: 0 }, change);
    draw();
    section.scrollIntoView();
    section.focus({ preventScroll: true });
  };
  return { section, show: (filter) => to({ filter }), showPair: (pair) => to({ pair }) };
}

const data = JSON.parse(document.getElementById("data").textContent);
const texts = textsSection(data);
const sections = [
  ["Scores", scoresSection(data)],
  ["Lost labels", funnelSection(data, texts.show)],
  data.comparisons.length ? ["Comparison", compareSection(data, texts.show)] : null,
  data.sets ? ["Decisions", decisionsSection(data)] : null,
  ["Groups", groupsSection(data)],
  data.pairs.length ? ["Confused pairs", pairsSection(data, texts.showPair)] : null,
  ["Texts", texts.section],
].filter(Boolean);
document.getElementById("page").replaceChildren(
  headSection(data),
  el("nav", { "aria-label": "Sections" }, el("ul", null, sections.map(([name, node]) => el("li", null, el("a", { href: `#${node.id}` }, name))))),
  el("main", null, sections.map(([, node]) => node)),
  foot(data),
);
