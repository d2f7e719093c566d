/* Lines against an axis in, a chart with intervals out. */

import { make, svg } from "./dom.js";

// Okabe and Ito's palette, and a mark each, so that lines are told apart without colour too.
const COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#4D4D4D",
                 "#8a7a00"];
const MARKS = [
  (x, y, r) => `M${x - r} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0`,
  (x, y, r) => `M${x - r} ${y - r}h${2 * r}v${2 * r}h${-2 * r}z`,
  (x, y, r) => `M${x} ${y - 1.2 * r}L${x + 1.2 * r} ${y + r}L${x - 1.2 * r} ${y + r}z`,
  (x, y, r) => `M${x} ${y - 1.4 * r}L${x + 1.4 * r} ${y}L${x} ${y + 1.4 * r}L${x - 1.4 * r} ${y}z`,
];
const colourOf = (index) => COLOURS[index % COLOURS.length];
const markOf = (index) =>
  MARKS[(index + Math.floor(index / COLOURS.length)) % MARKS.length];

const W = 900, H = 380, LEFT = 84, RIGHT = 20, TOP = 14, BOTTOM = 44;

/* Round steps between 0 and the most; in a logarithmic scale 1, 2 and 5 of each decade. */
export function ticksOf(least, most, log) {
  if (!log) {
    const rough = most / 6, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((one) => one * power).find((one) => one >= rough) || 10 * power;
    return Array.from({ length: Math.floor(most / step + 1e-9) + 1 }, (_, i) => i * step);
  }
  const ticks = [];
  const decades = Math.log10(most / least);
  for (let power = Math.floor(Math.log10(least)); power <= Math.ceil(Math.log10(most)); power += 1) {
    for (const one of decades > 4 ? [1] : [1, 2, 5]) ticks.push(one * 10 ** power);
  }
  return ticks.filter((tick) => tick >= least * 0.999 && tick <= most * 1.001);
}

/* series: [{name, points: [{cell, x, y, low, high}]}]; `say(point, series)` is a point's tooltip. */
export function sweepChart(container, series, { axis, numeric, values, format, label, log, selected,
                                                say, onSelect, onOpen }) {
  const points = series.flatMap((one) => one.points);
  const positive = numeric && points.every((point) => point.x > 0 && point.y > 0);
  const logarithmic = log && positive;
  const ends = points.flatMap((point) => [point.y, point.low ?? point.y, point.high ?? point.y]);
  const most = Math.max(...ends) * (logarithmic ? 1.15 : 1.06) || 1;
  const least = logarithmic ? Math.min(...ends.filter((end) => end > 0)) / 1.15 : 0;
  const scale = (value, from, to) => (logarithmic
    ? (Math.log(value) - Math.log(from)) / (Math.log(to) - Math.log(from) || 1)
    : (value - from) / (to - from || 1));
  const first = values[0], last = values[values.length - 1];
  const inset = 26; // so that the outer points' marks and intervals stand clear of the edge
  const across = W - LEFT - RIGHT - 2 * inset;
  const x = (value) => LEFT + inset + across * (numeric
    ? (first === last ? 0.5 : scale(value, first, last))
    : (values.indexOf(value) + 0.5) / values.length);
  const y = (value) => H - BOTTOM - (H - BOTTOM - TOP) * scale(Math.max(value, least), least, most);

  const drawn = [];
  for (const tick of ticksOf(least || 1, most, logarithmic)) {
    drawn.push(svg("line", { x1: LEFT, x2: W - RIGHT, y1: y(tick), y2: y(tick), class: "grid" }),
               svg("text", { x: LEFT - 7, y: y(tick) + 4, class: "tick end" },
                   tick === 0 ? "0" : format(tick)));
  }
  let free = -Infinity;
  for (const value of values) {
    drawn.push(svg("line", { x1: x(value), x2: x(value), y1: H - BOTTOM, y2: H - BOTTOM + 4,
                             class: "roof" }));
    const text = String(value), half = 3.2 * text.length + 4;
    if (x(value) - half < free) continue; // would stand on its neighbour
    free = x(value) + half;
    drawn.push(svg("text", { x: x(value), y: H - BOTTOM + 17, class: "tick middle" }, text));
  }
  drawn.push(svg("text", { x: (LEFT + W - RIGHT) / 2, y: H - 6, class: "tick middle name" }, axis));

  series.forEach((one, index) => {
    const colour = colourOf(index);
    if (numeric && one.points.length > 1) {
      const path = one.points.map((point) => `${x(point.x)},${y(point.y)}`).join(" ");
      drawn.push(svg("polyline", { points: path, class: "series", stroke: colour }));
    }
    for (const point of one.points) {
      const at = x(point.x);
      if (point.low !== null && point.high !== null && point.high > point.low) {
        drawn.push(svg("path", { class: "series", stroke: colour,
          d: `M${at - 4} ${y(point.low)}h8M${at - 4} ${y(point.high)}h8`
            + `M${at} ${y(point.low)}V${y(point.high)}` }));
      }
      const chosen = point.cell.id === selected;
      const text = say(point, one);
      drawn.push(svg("path", {
        d: markOf(index)(at, y(point.y), chosen ? 7 : 4.5), fill: colour, tabindex: 0, role: "button",
        class: chosen ? "mark chosen" : "mark", "aria-label": text, "data-cell": point.cell.id,
        onclick: () => onSelect(point.cell.id), ondblclick: () => onOpen(point.cell.id),
        onkeydown: (event) => {
          if (event.key === "Enter") onOpen(point.cell.id);
          else if (event.key === " ") onSelect(point.cell.id);
          else return;
          event.preventDefault();
        },
      }, svg("title", {}, text)));
    }
  });

  const key = series.filter((one) => one.name).map((one, index) =>
    make("span", { class: "entry" },
      svg("svg", { viewBox: "0 0 12 12", width: 12, height: 12, "aria-hidden": "true" },
        svg("path", { d: markOf(index)(6, 6, 4), fill: colourOf(index) })), one.name));
  container.replaceChildren(
    svg("svg", { viewBox: `0 0 ${W} ${H}`, role: "group", "aria-label": `${label} against ${axis}` },
        ...drawn),
    make("p", { class: "key entries" }, ...key));
  return { logarithmic, positive };
}
