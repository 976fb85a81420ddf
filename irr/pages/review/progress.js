// Shows how far the review is, and how the estimate of precision narrows.

import { $, count, el, percent, svg } from "./dom.js";

const [WIDTH, HEIGHT, LEFT, BOTTOM, TOP] = [640, 150, 44, 24, 8];

export function drawProgress(progress) {
  const facts = [
    ["judged", `${count(progress.judged)} of ${count(progress.texts)}`],
    ["by you", count(progress.mine)],
    ["texts an hour", progress.an_hour === null ? "–" : count(Math.round(progress.an_hour))],
    ["unsure", count(progress.unsure)],
    ["chosen by chance", count(progress.random)],
  ];
  if (progress.known < progress.texts) facts.push(["read by the program", `${count(progress.known)} of ${count(progress.texts)}`]);
  if (progress.shared) facts.push([`agreement on ${count(progress.shared)}`, progress.alpha === null ? "–" : `α ${progress.alpha.toFixed(2)}`]);
  $("figures").replaceChildren(...facts.map(([name, value]) => el("div", null, el("dt", null, name), el("dd", null, value))));
  drawCurve(progress.precision);
}

function drawCurve(points) {
  $("curve").hidden = !points.length;
  if (!points.length) return;
  const last = points[points.length - 1];
  $("curve-caption").textContent = `Precision of the labels that the program returns: ${percent(last.mean)}, between ${percent(last.low)} and ${percent(last.high)} (95 %), by ${count(last.texts)} texts that chance chose.`;
  const x = (texts) => LEFT + (WIDTH - LEFT - 8) * (last.texts === 1 ? 1 : (texts - 1) / (last.texts - 1));
  const y = (share) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - share);
  const path = (value) => points.map((p) => `${x(p.texts).toFixed(1)},${y(value(p)).toFixed(1)}`);
  const band = [...path((p) => p.high), ...path((p) => p.low).reverse()].join(" ");
  $("chart").replaceChildren(
    ...[0, 0.5, 1].map((share) => [
      svg("line", { class: "grid", x1: LEFT, x2: WIDTH - 8, y1: y(share), y2: y(share) }),
      svg("text", { x: LEFT - 6, y: y(share) + 4, "text-anchor": "end" }, percent(share)),
    ]).flat(),
    svg("polygon", { class: "band", points: band }),
    svg("polyline", { class: "line", points: path((p) => p.mean).join(" ") }),
    svg("text", { x: WIDTH - 8, y: HEIGHT - 6, "text-anchor": "end" }, `${count(last.texts)} texts`));
}
