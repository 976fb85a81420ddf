// The review page: shows one text at a time, takes the judgment of a person, and goes on.

import { $, count, el, percent } from "./dom.js";
import { drawProgress } from "./progress.js";
import { labelSearch } from "./search.js";
import { Refused, ask, newKey, tell } from "./service.js";

const ORDERS = [
  ["unsure", "unsure first"], ["random", "random, for honest figures"], ["different", "most different"],
  ["label", "of one label"], ["listed", "as listed"], ["second", "second opinion"],
];
const KEYS = [
  ["j k ↓ ↑", "next, previous label"], ["a", "accept the label"], ["r", "reject the label"], ["1 – 9, 0", "accept label 1 – 10"],
  ["/", "add a label"], ["m", "write a note"], ["s", "save, next text"], ["n", "none fits"], ["u", "unsure"],
  ["z", "undo the last judgment"], ["t", "to the text"], ["Esc", "leave a field"],
];

// Milliseconds until texts that the program has yet to read are asked for again.
const WAIT = 1500;
// Labels whose words are always marked.
const FIRST = 3;
const state = { text: null, labels: [], current: 0, judgments: new Map(), began: 0, busy: false, orderLabel: null };

const reviewer = () => $("reviewer").value.trim();
const order = () => $("order").value;
const remember = (name, value) => localStorage.setItem(`irr review ${name}`, value);
const recall = (name) => localStorage.getItem(`irr review ${name}`);
const say = (line) => { $("status").textContent = line; };

// The judgment of each label on the page: "yes", "no" or nothing.
const accepted = () => state.labels.filter((label) => state.judgments.get(label.id) === "yes").map((label) => label.id);
const rejected = () => state.labels.filter((label) => state.judgments.get(label.id) === "no").map((label) => label.id);

function show(answer) {
  const text = answer.text;
  state.text = text;
  state.judgments = new Map();
  state.current = 0;
  state.began = performance.now();
  $("note").value = "";
  if (!text) {
    state.labels = [];
    $("where").textContent = "";
    $("body").replaceChildren(emptyReason(answer.progress));
    if (reads(answer.progress)) setTimeout(() => { if (!state.text && !state.busy) start(); }, WAIT);
  } else {
    state.labels = [...text.proposals, ...text.others];
    const before = text.judgment ? text.judgment.labels : text.given;
    for (const id of before || []) state.judgments.set(id, "yes");
    if (text.judgment) $("note").value = text.judgment.note || "";
    $("where").textContent = [`id ${text.id}`, text.error, ...text.fallbacks].filter(Boolean).join(" · ");
  }
  draw();
  drawProgress(answer.progress);
}

const reads = (progress) => progress.known < progress.texts && ["unsure", "label"].includes(order());
const emptyReason = (progress) => (reads(progress)
  ? `The program has read ${count(progress.known)} of ${count(progress.texts)} texts: wait, or choose another order.`
  : "No text of this order is left.");

function draw() {
  drawText();
  $("labels").replaceChildren(...state.labels.map(row));
  drawVerdicts();
}

function drawText() {
  if (!state.text) return;
  // Places count characters, as Python does; strings here count halves of some.
  const characters = Array.from(state.text.text);
  const strength = new Uint8Array(characters.length);
  state.labels.forEach((label, number) => {
    // The words of all labels together would be nearly all words.
    if (number !== state.current && number >= FIRST && state.judgments.get(label.id) !== "yes") return;
    for (const [start, end] of label.words || []) {
      for (let at = start; at < end; at++) strength[at] = Math.max(strength[at], number === state.current ? 2 : 1);
    }
  });
  const parts = [];
  for (let start = 0; start < characters.length;) {
    let end = start;
    while (end < characters.length && strength[end] === strength[start]) end++;
    const piece = characters.slice(start, end).join("");
    parts.push(strength[start] ? el("mark", { class: strength[start] === 2 ? "on" : null }, piece) : piece);
    start = end;
  }
  $("body").replaceChildren(...parts);
}

function row(label, number) {
  const judgment = state.judgments.get(label.id);
  const finding = state.text.findings.find((one) => one.label === label.id);
  const given = (state.text.given || []).includes(label.id);
  const more = [label.aliases.length ? `also: ${label.aliases.join("; ")}` : "", label.description || ""].filter(Boolean).join(" — ");
  const button = (kind, value, word) => el("button", {
    type: "button", class: kind, "aria-pressed": String(judgment === value), "aria-label": `${word} ${label.name}`,
    onclick: () => { state.current = number; mark(label.id, value); },
  }, word);
  return el("li", { class: [judgment || "", number === state.current ? "current" : ""].join(" ").trim(), onclick: () => move(number) },
    el("span", { class: "key" }, number < 10 ? el("kbd", null, String((number + 1) % 10)) : ""),
    el("div", null,
      label.path.length ? el("div", { class: "above" }, label.path.map((one) => one.name).join(" › ")) : null,
      el("div", { class: "name" }, label.name),
      finding ? el("div", { class: "finding" }, `${finding.kind === "wrong" ? "Given, and probably wrong" : "Probably missing"} (${percent(finding.suspicion)})${finding.why ? `: ${finding.why}` : ""}`)
        : given ? el("div", { class: "above" }, "given") : null,
      more ? el("div", { class: "more" }, more) : null),
    el("div", { class: "side" },
      el("span", { class: "p", title: "probability, or score" }, label.probability !== null && label.probability !== undefined ? percent(label.probability) : label.score !== undefined && label.score !== null ? label.score.toFixed(2) : ""),
      button("accept", "yes", "Accept"), button("reject", "no", "Reject")));
}

function drawVerdicts() {
  const none = !accepted().length;
  const off = !state.text || state.busy;
  const button = (key, word, action, disabled, kind) => el("button", { type: "button", class: kind, disabled, onclick: action }, `${word} `, el("kbd", { "aria-hidden": "true" }, key));
  $("verdicts").replaceChildren(
    button("s", "Save", () => judge("labels"), off || none, "main"),
    button("n", "None fits", () => judge("none_fits"), off),
    button("u", "Unsure", () => judge("unsure"), off),
    button("z", "Undo", undo, state.busy));
}

function move(to) {
  if (!state.labels.length) return;
  state.current = Math.max(0, Math.min(state.labels.length - 1, to));
  [...$("labels").children].forEach((node, number) => node.classList.toggle("current", number === state.current));
  $("labels").children[state.current].scrollIntoView({ block: "nearest" });
  drawText();
}

function mark(id, value) {
  if (state.judgments.get(id) === value) state.judgments.delete(id);
  else state.judgments.set(id, value);
  const label = state.labels.find((one) => one.id === id);
  say(`${label.name}: ${{ yes: "accepted", no: "rejected" }[state.judgments.get(id)] || "open"}`);
  const focused = document.activeElement?.getAttribute("aria-label");
  draw();
  if (focused) [...document.querySelectorAll("#labels button")].find((node) => node.getAttribute("aria-label") === focused)?.focus();
}

function add(label) {
  if (!state.text) return;
  if (!state.labels.some((one) => one.id === label.id)) state.labels.push({ ...label, score: undefined });
  state.current = state.labels.findIndex((one) => one.id === label.id);
  if (state.judgments.get(label.id) !== "yes") mark(label.id, "yes");
  $("add").blur();
}

// One thing at a time: a key that is pressed twice judges once.
async function alone(work) {
  if (state.busy) return;
  if (!reviewer()) {
    tell("Write your name first: judgments are kept by who made them.");
    $("reviewer").focus();
    return;
  }
  state.busy = true;
  drawVerdicts();
  try {
    await work();
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    tell(error.message);
  } finally {
    state.busy = false;
    drawVerdicts();
  }
}

const who = () => ({ reviewer: reviewer() });
const where = () => ({ ...who(), order: order(), label: order() === "label" ? state.orderLabel : null });
const next = async () => show(await ask("/v1/review/next", where()));

function judge(verdict) {
  if (!state.text || (verdict === "labels" && !accepted().length)) return undefined;
  return alone(async () => {
    const labels = verdict === "labels" ? accepted() : [];
    await ask("/v1/review/judgments", null, {
      key: newKey(), ...who(), text_id: state.text.id, verdict, labels, rejected: rejected(),
      note: $("note").value, order: state.text.order, seconds: (performance.now() - state.began) / 1000,
    });
    say(`Saved: ${{ labels: `${labels.length} ${labels.length === 1 ? "label" : "labels"}`, none_fits: "none fits", unsure: "unsure" }[verdict]}.`);
    await next();
  });
}

const undo = () => alone(async () => {
  const answer = await ask("/v1/review/undo", null, { key: newKey(), ...who() });
  show(answer);
  say("Taken back.");
});

const start = () => alone(async () => {
  if (order() === "label" && !state.orderLabel) {
    say("Choose the label whose texts you want.");
    $("order-label").focus();
    return;
  }
  await next();
});

const ACTIONS = {
  j: () => move(state.current + 1), k: () => move(state.current - 1),
  ArrowDown: () => move(state.current + 1), ArrowUp: () => move(state.current - 1),
  a: () => state.labels.length && mark(state.labels[state.current].id, "yes"),
  r: () => state.labels.length && mark(state.labels[state.current].id, "no"),
  s: () => judge("labels"), n: () => judge("none_fits"), u: () => judge("unsure"), z: undo,
  "/": () => $("add").focus(), m: () => $("note").focus(), t: () => $("body").focus(),
  "?": () => { $("help").open = !$("help").open; },
};

function onKey(event) {
  const field = event.target.closest("input, select");
  if (event.key === "Escape" && field) field.blur();
  if (field || !$("shortcuts").checked || event.ctrlKey || event.altKey || event.metaKey || event.repeat && !/^[jk]$|^Arrow/.test(event.key)) return;
  if (event.key.startsWith("Arrow") && event.target.closest("#body")) return;
  const digit = /^[0-9]$/.test(event.key) ? (Number(event.key) + 9) % 10 : -1;
  if (digit >= 0 && digit < state.labels.length) {
    move(digit);
    mark(state.labels[digit].id, "yes");
  } else if (ACTIONS[event.key]) ACTIONS[event.key]();
  else return;
  event.preventDefault();
}

function orderChanged() {
  remember("order", order());
  $("label-of-order").hidden = order() !== "label";
  return start();
}

$("order").append(...ORDERS.map(([value, name]) => el("option", { value }, name)));
$("keys").append(...KEYS.map(([key, what]) => el("div", null, el("dt", null, el("kbd", null, key)), el("dd", null, what))));
$("reviewer").value = recall("reviewer") || "";
if (ORDERS.some(([value]) => value === recall("order"))) $("order").value = recall("order");
$("label-of-order").hidden = order() !== "label";
$("shortcuts").checked = recall("shortcuts") !== "off";
$("shortcuts").addEventListener("change", () => remember("shortcuts", $("shortcuts").checked ? "on" : "off"));
$("reviewer").addEventListener("change", () => { remember("reviewer", reviewer()); start(); });
$("order").addEventListener("change", orderChanged);
for (const id of ["note", "reviewer"]) {
  $(id).addEventListener("keydown", (event) => { if (event.key === "Enter") $(id).blur(); });
}
labelSearch($("add"), $("add-options"), add);
labelSearch($("order-label"), $("order-label-options"), (label) => {
  state.orderLabel = label.id;
  $("order-label").placeholder = label.name;
  $("order-label").blur();
  start();
});
document.addEventListener("keydown", onKey);
drawVerdicts();
start();
