// Calls the service. A judgment is sent until the service has acknowledged it.

import { $ } from "./dom.js";

const WAIT = 700;
const AWAY = "the service does not answer";
let token = sessionStorage.getItem("irr token") || "";

// Headers hold bytes; the service reads those of UTF-8.
const bytes = (text) => String.fromCharCode(...new TextEncoder().encode(text));

export const newKey = () => [...crypto.getRandomValues(new Uint8Array(16))].map((b) => b.toString(16).padStart(2, "0")).join("");

export function tell(message) {
  $("message").hidden = !message;
  if ($("message").textContent !== message) $("message").textContent = message;
}

function askForToken() {
  $("token-form").hidden = false;
  $("token").focus();
  return new Promise((done) => {
    $("token-form").addEventListener("submit", (event) => {
      event.preventDefault();
      token = $("token").value.trim();
      sessionStorage.setItem("irr token", token);
      $("token-form").hidden = true;
      done();
    }, { once: true });
  });
}

// A refusal of what was asked; a service that is away is asked again.
export class Refused extends Error {}

export async function ask(path, parameters, body, signal) {
  const query = new URLSearchParams(Object.entries(parameters || {}).filter(([, v]) => v !== null && v !== undefined));
  for (;;) {
    let answer;
    try {
      answer = await fetch(`${path}?${query}`, {
        method: body ? "POST" : "GET",
        headers: { ...(token && { Authorization: `Bearer ${bytes(token)}` }), ...(body && { "Content-Type": "application/json" }) },
        body: body && JSON.stringify(body),
        cache: "no-store",
        signal,
      });
      if (answer.ok) {
        const reply = await answer.json();
        tell("");
        return reply;
      }
    } catch (error) {
      if (error.name === "AbortError") throw error;
      answer = null;
    }
    if (answer && answer.status === 401) {
      tell("The service wants a token.");
      await askForToken();
    } else if (answer && answer.status < 500 && answer.status !== 429) {
      throw new Refused(await reason(answer));
    } else {
      const why = answer ? await reason(answer) : AWAY;
      tell(body ? `Not saved yet: ${why}. Trying again; leave this page open.` : `No answer yet: ${why}. Trying again.`);
      await new Promise((done) => setTimeout(done, WAIT));
    }
  }
}

async function reason(answer) {
  try {
    const reply = await answer.json();
    return reply.error?.message || reply.detail?.[0]?.msg || reply.detail || answer.statusText || AWAY;
  } catch {
    return answer.statusText || AWAY;
  }
}
