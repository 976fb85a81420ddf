// The charts: intervals on a track, the curve of RP@k, and a bar in parts.

/** A dot with its interval between `from` and `to`; with a tick at `zero`, if that is given. */
function whisker(mean, low, high, from, to, zero, kind) {
  const place = (value) => `${Math.max(0, Math.min(100, (100 * (value - from)) / (to - from || 1)))}%`;
  const line = el("i");
  line.style.left = place(low);
  line.style.right = `${100 - parseFloat(place(high))}%`;
  const dot = el("b");
  dot.style.left = place(mean);
  const tick = zero === undefined ? null : el("u");
  if (tick) tick.style.left = place(zero);
  return el("span", { class: `whisker ${kind || ""}`, "aria-hidden": "true" }, tick, line, dot);
}

const CHART = { width: 520, height: 300, left: 34, right: 26, top: 14, bottom: 38 };

/** RP@k over k on a logarithmic axis, with its interval and another run's curve, if there is one. */
function curveChart(curve, other) {
  const { width, height, left, right, top, bottom } = CHART;
  const depth = curve.length;
  const lowest = Math.min(...curve.map((c) => c.low), ...(other || [1]));
  const floor = Math.max(0, Math.floor(10 * lowest - 0.5) / 10);
  const x = (k) => left + ((width - left - right) * Math.log(k)) / Math.log(depth);
  const y = (share) => height - bottom - ((height - top - bottom) * (share - floor)) / (1 - floor);
  const path = (values) => values.map((v, i) => `${i ? "L" : "M"}${x(i + 1).toFixed(1)},${y(v).toFixed(1)}`).join("");
  const band = path(curve.map((c) => c.high)) + curve.map((c, i) => [x(i + 1), y(c.low)]).reverse()
    .map(([a, b]) => `L${a.toFixed(1)},${b.toFixed(1)}`).join("") + "Z";
  const chart = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": curveInWords(curve) });
  const step = 1 - floor > 0.55 ? 0.2 : 0.1;
  for (let share = 1; share > floor - 0.001; share -= step) {
    chart.append(
      svg("line", { class: "grid", x1: left, x2: width - right, y1: y(share), y2: y(share) }),
      svg("text", { x: left - 8, y: y(share) + 4, "text-anchor": "end" }, Math.round(100 * share)),
    );
  }
  const ticks = [1, 2, 3, 5, 10, 20, 30, 50].filter((k) => k <= depth);
  for (const k of ticks) chart.append(svg("text", { x: x(k), y: height - bottom + 19, "text-anchor": "middle" }, k));
  chart.append(
    svg("text", { x: (left + width - right) / 2, y: height - 2, "text-anchor": "middle" }, "k, the number of labels looked at"),
    svg("path", { class: "band", d: band }),
    other ? svg("path", { class: "other", d: path(other.slice(0, depth)) }) : "",
    svg("path", { class: "curve", d: path(curve.map((c) => c.mean)) }),
  );
  for (const k of [1, 5, 10, 50].filter((k) => k <= depth)) {
    const share = curve[k - 1].mean;
    chart.append(
      svg("circle", { class: "dot", cx: x(k), cy: y(share), r: 5 }),
      svg("text", { class: "value", x: x(k) + (k === 1 ? 4 : 0), y: y(share) - 12, "text-anchor": k === 1 ? "start" : "middle" }, points(share)),
    );
  }
  chart.append(probe(chart, curve, other, x, y));
  return chart;
}

/** What the pointer stands on: a line at its k with the values there. */
function probe(chart, curve, other, x, y) {
  const line = svg("line", { class: "probe", y1: CHART.top, y2: CHART.height - CHART.bottom });
  const value = svg("text", { class: "value", y: CHART.height - CHART.bottom - 8 });
  const group = svg("g", { visibility: "hidden" }, line, value);
  chart.addEventListener("pointermove", (event) => {
    const box = chart.getBoundingClientRect();
    const at = ((event.clientX - box.left) * CHART.width) / box.width;
    const share = (at - CHART.left) / (CHART.width - CHART.left - CHART.right);
    const k = Math.max(1, Math.min(curve.length, Math.round(curve.length ** share)));
    const late = share > 0.6;
    line.setAttribute("x1", x(k));
    line.setAttribute("x2", x(k));
    value.setAttribute("x", x(k) + (late ? -8 : 8));
    value.setAttribute("text-anchor", late ? "end" : "start");
    value.textContent = `k = ${k}: ${points(curve[k - 1].mean)}${other && other[k - 1] !== undefined ? `; the other ${points(other[k - 1])}` : ""}`;
    group.setAttribute("visibility", "visible");
  });
  chart.addEventListener("pointerleave", () => group.setAttribute("visibility", "hidden"));
  return group;
}

function curveInWords(curve) {
  const at = [1, 5, 10, 50].filter((k) => k <= curve.length).map((k) => `${points(curve[k - 1].mean)} at ${k}`);
  return `RP@k by k: ${at.join(", ")}`;
}

/** One bar whose parts are as long as their counts; a part names itself where there is room. */
function partsBar(parts) {
  const all = parts.reduce((sum, part) => sum + part.count, 0);
  const bar = el("div", { class: "bar", role: "img", "aria-label": parts.map((p) => `${p.name}: ${percent(p.count / all)}`).join(", ") });
  for (const part of parts.filter((p) => p.count)) {
    const share = part.count / all;
    const wide = share > 0.17 ? `${part.name} ${percent(share)}` : share > 0.06 ? percent(share) : "";
    const piece = el("span", { class: part.kind, title: `${part.name}: ${count(part.count)}` }, wide);
    piece.style.flexGrow = part.count;
    piece.style.flexBasis = 0;
    bar.append(piece);
  }
  return bar;
}
