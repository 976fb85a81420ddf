// A field that finds labels while one types, and is used by keyboard alone.

import { el } from "./dom.js";
import { ask } from "./service.js";

export function labelSearch(input, list, onChosen) {
  let found = [];
  let at = -1;
  let running = null;

  function close() {
    list.hidden = true;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
    found = [];
    at = -1;
  }
  function select(to) {
    at = to;
    [...list.children].forEach((node, number) => node.setAttribute("aria-selected", String(number === at)));
    if (at < 0) return input.removeAttribute("aria-activedescendant");
    input.setAttribute("aria-activedescendant", list.children[at].id);
    list.children[at].scrollIntoView({ block: "nearest" });
  }
  function choose(label) {
    input.value = "";
    close();
    onChosen(label);
  }
  async function look() {
    running?.abort();
    running = new AbortController();
    const query = input.value.trim();
    if (!query) return close();
    try {
      const answer = await ask("/v1/labels", { query, limit: 12 }, null, running.signal);
      found = answer.labels;
    } catch (error) {
      if (error.name === "AbortError") return;
      found = [];
    }
    list.replaceChildren(...found.map((label, number) => el("div", {
      role: "option", id: `${list.id}-${number}`, "aria-selected": "false",
      onmousedown: (event) => { event.preventDefault(); choose(label); },
    }, label.name, " ", el("small", null, [label.path.map((one) => one.name).join(" › "), label.description].filter(Boolean).join(" · ").slice(0, 140)))));
    list.hidden = !found.length;
    input.setAttribute("aria-expanded", String(Boolean(found.length)));
    select(found.length ? 0 : -1);
  }

  input.addEventListener("input", look);
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" && found.length) select((at + 1) % found.length);
    else if (event.key === "ArrowUp" && found.length) select((at - 1 + found.length) % found.length);
    else if (event.key === "Enter" && at >= 0) choose(found[at]);
    else if (event.key === "Escape") { input.value = ""; close(); input.blur(); }
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
}
