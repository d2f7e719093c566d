/* Rows, steps and ceilings in; a phase bar, the decoder's steps and a roofline scatter out. */

import { make, svg } from "./dom.js";
import * as format from "./format.js";

/* One segment a phase; a click filters by it. `phases`: [[name, amount]]. */
export function phaseBar(container, phases, { measure, chosen, onChoose }) {
  const whole = phases.reduce((total, [, value]) => total + value, 0);
  const shown = phases.filter(([, value]) => value > 0);
  container.replaceChildren(...shown.map(([name, value]) => {
    const text = `${name} ${measure.format(value)} (${format.percent(value, whole)})`;
    const segment = make("button", {
      type: "button", class: name === chosen ? "segment chosen" : "segment", title: text,
      "aria-pressed": String(name === chosen), onclick: () => onChoose(name === chosen ? "" : name),
    }, text);
    segment.style.flexGrow = String(whole > 0 ? value / whole : 0);
    return segment;
  }));
}

/* Host and device time of each decoder step. `steps`: [{step, phase, gpu_total_us,
 * cpu_total_us, kernels}]. */
export function decoderSteps(container, steps) {
  const W = 520, H = 200, left = 58, bottom = 24, top = 8;
  const most = Math.max(...steps.map((one) => Math.max(one.cpu_total_us ?? 0, one.gpu_total_us ?? 0)));
  if (!steps.length || most <= 0) {
    container.replaceChildren(make("p", { class: "absent" }, "No decoder step was traced."));
    return;
  }
  const slot = (W - left) / steps.length, wide = Math.max(1, slot * 0.38);
  const y = (us) => H - bottom - ((H - bottom - top) * us) / most;
  const parts = [];
  for (const share of [0, 0.5, 1]) {
    const at = y(most * share);
    parts.push(svg("line", { x1: left, x2: W, y1: at, y2: at, class: "grid" }),
               svg("text", { x: left - 6, y: at + 4, class: "tick end" },
                   format.time(Math.round(most * share * 1000))));
  }
  steps.forEach((one, i) => {
    const x = left + slot * i + slot * 0.1;
    const bar = (value, offset, name) => {
      if (value === null) return;
      const text = `step ${one.step} (${one.phase}): ${name} ${format.time(Math.round(value * 1000))}`;
      parts.push(svg("rect", { x: x + offset, y: y(value), width: wide, class: name,
                               height: Math.max(0, H - bottom - y(value)) },
                     svg("title", {}, text)));
    };
    bar(one.cpu_total_us, 0, "host");
    bar(one.gpu_total_us, wide, "device");
    if (i % Math.ceil(steps.length / 20) === 0) {
      parts.push(svg("text", { x: x + wide, y: H - 8, class: "tick middle" }, String(one.step)));
    }
  });
  const device = steps.some((one) => one.gpu_total_us !== null);
  container.replaceChildren(
    svg("svg", { viewBox: `0 0 ${W} ${H}`, role: "img",
                 "aria-label": "Host and device time of each decoder step" }, ...parts),
    make("p", { class: "key" }, make("span", { class: "swatch host" }), "host time ",
         ...(device ? [make("span", { class: "swatch device" }), "device time "] : []),
         "by decoder step; traced, so the host is slower than in the measured runs"));
}

/* [[names, TFLOP/s]]: rates that would be drawn on one another share a line. */
function roofsOf(ceilings) {
  const rates = Object.entries((ceilings || {}).matmul_flops_per_s || {})
    .filter(([, rate]) => rate > 0).sort((a, b) => b[1] - a[1]);
  const roofs = [];
  for (const [name, rate] of rates) {
    const last = roofs[roofs.length - 1];
    if (last && rate / 1e12 > 0.9 * last[1]) last[0] += `, ${name}`;
    else roofs.push([name, rate / 1e12]);
  }
  return roofs;
}

const MOST_POINTS = 1500; // more would only lie on one another

/* Rate against arithmetic intensity, both logarithmic, under the measured ceilings. Returns
 * select(layer), which marks a layer's points without drawing the others again. */
export function roofline(container, rows, ceilings, { selected, colourOf, onSelect }) {
  const usable = rows.filter((row) => row.intensity > 0 && row.tflops_per_s > 0);
  if (!usable.length) {
    container.replaceChildren(make("p", { class: "absent" },
      "No roofline: it needs layers with counted FLOPs and bytes and a time."));
    return () => {};
  }
  const time = (row) => row.gpu_self_us ?? row.cpu_self_us ?? 0;
  const points = [...usable].sort((a, b) => time(b) - time(a)).slice(0, MOST_POINTS);
  const W = 520, H = 300, left = 58, bottom = 36, top = 10;
  const roofs = roofsOf(ceilings);
  const copy = ((ceilings || {}).copy_bytes_per_s || 0) / 1e12; // TB/s
  const decades = (values) => [Math.floor(Math.log10(Math.min(...values))),
                               Math.ceil(Math.log10(Math.max(...values)) + 1e-9)];
  const [x0, x1] = decades(points.map((row) => row.intensity));
  const [y0, y1] = decades([...points.map((row) => row.tflops_per_s), ...roofs.map((one) => one[1])]);
  const x = (value) => left + ((W - left - 24) * (Math.log10(value) - x0)) / Math.max(1, x1 - x0);
  const y = (value) => H - bottom - ((H - bottom - top) * (Math.log10(value) - y0))
    / Math.max(1, y1 - y0);
  const parts = [];
  for (let power = x0; power <= x1; power += 1) {
    parts.push(svg("line", { x1: x(10 ** power), x2: x(10 ** power), y1: top, y2: H - bottom,
                             class: "grid" }),
               svg("text", { x: x(10 ** power), y: H - bottom + 14, class: "tick middle" },
                   power < 0 ? (10 ** power).toFixed(-power) : String(10 ** power)));
  }
  for (let power = y0; power <= y1; power += 1) {
    parts.push(svg("line", { x1: left, x2: W - 24, y1: y(10 ** power), y2: y(10 ** power),
                             class: "grid" }),
               svg("text", { x: left - 6, y: y(10 ** power) + 4, class: "tick end" },
                   format.metric(10 ** power * 1e12, "")));
  }
  parts.push(svg("text", { x: W - 8, y: H - 4, class: "tick end" }, "FLOP per byte"),
             svg("text", { x: left + 4, y: top + 10, class: "tick" }, "FLOP/s"));
  roofs.forEach(([name, rate], i) => {
    // A label stands above its line, or below it where the line above is too close.
    const below = i > 0 && y(rate) - y(roofs[i - 1][1]) < 16;
    const knee = copy > 0 ? Math.max(rate / copy, 10 ** x0) : 10 ** x0;
    if (knee > 10 ** x1) return;
    parts.push(svg("line", { x1: x(knee), x2: W - 24, y1: y(rate), y2: y(rate), class: "roof" }),
               svg("text", { x: W - 26, y: y(rate) + (below ? 12 : -4), class: "tick end" }, `${name} matmul`));
  });
  if (copy > 0) {
    const from = Math.max(10 ** x0, 10 ** y0 / copy);
    const to = Math.min(10 ** x1, Math.max(10 ** y0, ...roofs.map((one) => one[1])) / copy);
    if (to > from) {
      parts.push(svg("line", { x1: x(from), y1: y(from * copy), x2: x(to), y2: y(to * copy),
                               class: "roof" }));
    }
  }
  const longest = time(points[0]) || 1;
  const circles = new Map();
  for (const row of points) {
    const text = `${row.layer} (${row.phase}): ${format.digits(row.intensity)} FLOP/B, `
      + `${format.metric(row.tflops_per_s * 1e12, "FLOP/s")}, ${row.bound || "bound unknown"}`;
    const circle = svg("circle", {
      cx: x(row.intensity), cy: y(row.tflops_per_s), r: 2 + 6 * Math.sqrt(time(row) / longest),
      fill: colourOf(row.group), class: "point", onclick: () => onSelect(row.layer),
    }, svg("title", {}, text));
    parts.push(circle);
    for (const name of new Set([row.layer, row.layer_kind || row.layer])) {
      if (!circles.has(name)) circles.set(name, []);
      circles.get(name).push(circle);
    }
  }
  let marked = [];
  function select(layer) {
    for (const circle of marked) circle.classList.remove("chosen");
    marked = circles.get(layer) || [];
    for (const circle of marked) circle.classList.add("chosen");
  }
  select(selected);
  const undrawn = usable.length - points.length;
  container.replaceChildren(
    svg("svg", { viewBox: `0 0 ${W} ${H}`, role: "img",
                 "aria-label": "Roofline: rate against FLOPs per byte, one point a layer and phase" },
        ...parts),
    make("p", { class: "key" },
      "One point a layer and phase, area by its time, colour as in the icicle. "
      + (roofs.length ? "Lines: ceilings measured on this device. " : "No ceilings were measured. ")
      + (undrawn ? `${undrawn} rows with less time are not drawn.` : "")));
  return select;
}
