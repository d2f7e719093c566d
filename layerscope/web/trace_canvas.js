/* Lanes of slices in, a timeline on a canvas out: drawn, zoomed, moved, pointed at.
 *
 * timeline(place, {onPick, onHover}) -> { show(window), view(), look(start, end), pick(slice),
 *   find(text), box(slice), slices(kind) }
 */

import { make } from "./dom.js";
import * as format from "./format.js";
import { lanesOf, lastBegun, nearest, search, sliceOf } from "./trace_lanes.js";

const GUTTER = 176, AXIS = 22, LANE = 17, GAP = 5;
const LEAST_NS = 200; // the deepest zoom: a fifth of a microsecond across
// Told apart by colour-blind readers too; a phase has one colour wherever it is drawn.
const PHASES = { vision: "#56b4e9", audio: "#d55e00", qformer: "#cc79a7", projection: "#f0e442",
                 encoder: "#e69f00", prefill: "#009e73", decode: "#0072b2", forward: "#0072b2", other: "#999999" };
const HIT = "#d00060";
const KINDS = { operator: "#c8ced6", launch: "#7d8894", wait: "#f6ddcf" };
const DARK = ["#0072b2", "#009e73", "#7d8894"]; // a name on them is white
const SOLID = ["phase", "step", "wait"];

export function timeline(place, { onPick, onHover }) {
  const canvas = make("canvas", { tabIndex: 0, role: "img", "aria-label": "Trace" });
  place.replaceChildren(canvas);
  const pen = canvas.getContext("2d");
  let window_ = null, lanes = [], tops = [], height = 0, from = 0, to = 1;
  let picked = null, hovered = null, found = [], waiting = false; // found: per lane, its places

  const width = () => Math.max(300, place.clientWidth);
  const across = () => width() - GUTTER;
  const scale = () => across() / (to - from);
  const xOf = (time) => GUTTER + (time - from) * scale();
  const timeAt = (x) => from + (x - GUTTER) / scale();

  function show(window) {
    window_ = window;
    lanes = lanesOf(window);
    tops = [];
    height = AXIS;
    for (const lane of lanes) {
      height += lane.first ? GAP : 0;
      tops.push(height);
      height += LANE;
    }
    height += GAP;
    picked = hovered = null;
    found = [];
    look(window.start_ns, window.end_ns);
  }

  function look(start, end) {
    const whole = window_.end_ns - window_.start_ns, margin = whole * 0.02;
    const size = Math.min(Math.max(end - start, LEAST_NS), whole + 2 * margin || LEAST_NS);
    const least = window_.start_ns - margin, most = Math.max(least, window_.end_ns + margin - size);
    from = Math.min(Math.max(start, least), most);
    to = from + size;
    draw();
  }

  // ---- drawing ------------------------------------------------------------------------------------

  function draw() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      paint();
    });
  }

  function paint() {
    if (!window_) return;
    const ratio = globalThis.devicePixelRatio || 1;
    canvas.style.width = `${width()}px`;
    canvas.style.height = `${height}px`;
    canvas.width = width() * ratio;
    canvas.height = height * ratio;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.font = "11px system-ui, sans-serif";
    pen.textBaseline = "middle";
    pen.fillStyle = "#fff";
    pen.fillRect(0, 0, width(), height);
    let drawn = 0;
    lanes.forEach((lane, index) => { drawn += paintLane(lane, tops[index]); });
    paintAxis();
    paintTitles();
    for (const slice of [hovered, picked]) if (slice) outline(slice);
    canvas.dataset.drawn = String(drawn); // slices that can be seen
  }

  /* Slices that lie in a pixel already drawn are jumped over, not visited: what a lane costs follows
   * its width on the screen. Returns how many were drawn. */
  function paintLane(lane, top) {
    const { row, at } = lane, hits = found[lane.index];
    let place = Math.max(0, lastBegun(lane, from)), drawn = 0;
    while (place < at.length && row.start_ns[at[place]] <= to) {
      const index = at[place], start = row.start_ns[index], end = start + row.dur_ns[index];
      const left = Math.max(GUTTER, xOf(start)), right = Math.min(width(), xOf(end));
      place += 1;
      if (end < from) continue;
      drawn += 1;
      const size = Math.max(1, right - left - (right - left > 3 ? 0.5 : 0));
      // Neighbours differ a little, so that their border shows; what is not chosen is pale.
      const own = row.chosen[index] || row.kind === "wait";
      pen.globalAlpha = (own ? 1 : 0.35) * (place % 2 || SOLID.includes(row.kind) ? 1 : 0.82);
      pen.fillStyle = colourOf(row, index);
      pen.fillRect(left, top, size, LANE - 1);
      if (size > 26) label(textOf(row, index), row, left, top, size);
      if (right - left < 1) place = Math.max(place, lastBegun(lane, timeAt(left + 1)));
    }
    pen.globalAlpha = 1;
    pen.fillStyle = HIT;
    for (const hit of hits ?? []) {
      const index = at[hit], left = xOf(row.start_ns[index]);
      if (left < GUTTER || left > width()) continue;
      pen.fillRect(left, top + LANE - 4, Math.max(2, row.dur_ns[index] * scale()), 3);
    }
    return drawn;
  }

  function colourOf(row, index) {
    if (KINDS[row.kind]) return KINDS[row.kind];
    return PHASES[window_.names[row.phase[index]]] || "#8da0b3";
  }

  function textOf(row, index) {
    const name = window_.names[row.name[index]];
    return row.kind === "kernel" ? name.replace(/^void /, "") : name;
  }

  /* As much of a name as fits: of a layer its end, which tells it from its neighbours. */
  function label(name, row, left, top, size) {
    const room = size - 6;
    let text = name;
    if (row.kind === "layer" || row.kind === "wait") {
      const parts = name.split(".");
      while (parts.length > 1 && pen.measureText(text).width > room) {
        parts.shift();
        text = `…${parts.join(".")}`;
      }
    }
    if (pen.measureText(text).width > room) {
      let kept = Math.floor((text.length * room) / pen.measureText(text).width) - 1;
      kept = Math.max(0, kept);
      text = kept > 1 ? `${text.slice(0, kept)}…` : "";
    }
    if (!text) return;
    const pale = pen.globalAlpha < 0.5;
    pen.fillStyle = DARK.includes(pen.fillStyle) && !pale ? "#fff" : "#111";
    pen.globalAlpha = pale ? 0.5 : 1;
    pen.fillText(text, left + 3, top + LANE / 2);
  }

  function paintAxis() {
    pen.fillStyle = "#fff";
    pen.fillRect(0, 0, width(), AXIS - 2);
    const step = niceStep((to - from) / Math.max(2, across() / 110));
    pen.strokeStyle = "#e0e0e0";
    pen.fillStyle = "#555";
    for (let time = Math.ceil((from - window_.start_ns) / step) * step; time + window_.start_ns <= to;
      time += step) {
      const x = Math.round(xOf(time + window_.start_ns)) + 0.5;
      if (x < GUTTER) continue;
      pen.beginPath();
      pen.moveTo(x, AXIS - 6);
      pen.lineTo(x, height);
      pen.globalAlpha = 0.4;
      pen.stroke();
      pen.globalAlpha = 1;
      pen.fillText(format.time(Math.round(time)), x + 3, AXIS / 2 - 2);
    }
  }

  function niceStep(least) {
    const power = 10 ** Math.floor(Math.log10(least));
    return [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= least);
  }

  function paintTitles() {
    pen.fillStyle = "#fff";
    pen.fillRect(0, 0, GUTTER - 2, height);
    pen.fillStyle = "#333";
    lanes.forEach((lane, index) => {
      if (lane.first) pen.fillText(lane.row.title, 2, tops[index] + LANE / 2, GUTTER - 8);
    });
  }

  function outline(slice) {
    const { x, y, width: wide, height: high } = box(slice);
    if (x + wide < GUTTER || x > width()) return;
    pen.strokeStyle = "#000";
    pen.lineWidth = slice === picked ? 2 : 1;
    pen.strokeRect(Math.max(GUTTER, x) + 0.5, y + 0.5,
                   Math.max(2, Math.min(wide, width() - x)) - 1, high - 2);
    pen.lineWidth = 1;
    if (slice.cause !== null) cause(slice);
  }

  /* From a device event to the launch that caused it. */
  function cause(slice) {
    const at = lanes.findIndex((lane) => lane.row.kind === "launch");
    if (at < 0) return;
    pen.strokeStyle = HIT;
    pen.beginPath();
    pen.moveTo(Math.max(GUTTER, xOf(slice.cause)), tops[at] + LANE / 2);
    pen.lineTo(Math.max(GUTTER, xOf(slice.start)), box(slice).y);
    pen.stroke();
  }

  function box(slice) {
    const x = xOf(slice.start);
    return { x, y: tops[slice.lane.index], width: (slice.end - slice.start) * scale(),
             height: LANE };
  }

  // ---- hands --------------------------------------------------------------------------------------

  function sliceAt(event) {
    const index = tops.findIndex((top) => event.offsetY >= top && event.offsetY < top + LANE);
    if (index < 0 || event.offsetX < GUTTER) return null;
    return nearest(window_, lanes[index], timeAt(event.offsetX), 3 / scale());
  }

  function pick(slice) {
    picked = slice;
    if (slice && (slice.end < from || slice.start > to)) {
      const middle = (slice.start + slice.end) / 2, half = (to - from) / 2;
      look(middle - half, middle + half);
    }
    onPick(slice);
    draw();
  }

  function zoom(factor, around = (from + to) / 2) {
    const size = (to - from) * factor;
    look(around - (around - from) * factor, around - (around - from) * factor + size);
  }

  const move = (share) => look(from + (to - from) * share, to + (to - from) * share);
  const lookAt = (slice) => {
    const margin = Math.max((slice.end - slice.start) * 0.1, LEAST_NS / 2);
    look(slice.start - margin, slice.end + margin);
  };

  let held = null;
  canvas.addEventListener("pointerdown", (event) => {
    if (!window_) return;
    held = { x: event.offsetX, from, to, moved: false };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!window_) return;
    if (held) {
      held.moved ||= Math.abs(event.offsetX - held.x) > 3;
      const by = (event.offsetX - held.x) / scale();
      if (held.moved) look(held.from - by, held.to - by);
      return;
    }
    const slice = sliceAt(event);
    const same = slice && hovered && slice.lane === hovered.lane && slice.place === hovered.place;
    hovered = slice;
    onHover(slice, event);
    if (!same) draw();
  });
  canvas.addEventListener("pointerup", (event) => {
    if (held && !held.moved) pick(sliceAt(event));
    held = null;
  });
  canvas.addEventListener("pointerleave", () => {
    hovered = null;
    onHover(null);
    draw();
  });
  canvas.addEventListener("dblclick", (event) => {
    const slice = window_ && sliceAt(event);
    if (slice) lookAt(slice);
  });
  canvas.addEventListener("wheel", (event) => {
    if (!window_ || !(event.ctrlKey || event.metaKey)) return; // a plain wheel scrolls the page
    event.preventDefault();
    zoom(Math.exp(event.deltaY * 0.003), timeAt(event.offsetX));
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    if (!window_ || event.ctrlKey || event.metaKey || event.altKey) return;
    const act = {
      w: () => zoom(0.7), s: () => zoom(1 / 0.7), a: () => move(-0.2), d: () => move(0.2),
      f: () => picked && lookAt(picked), 0: () => look(window_.start_ns, window_.end_ns),
      Escape: () => look(window_.start_ns, window_.end_ns),
      ArrowLeft: () => step(-1), ArrowRight: () => step(1),
    }[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });

  function step(by) {
    const next = picked ? sliceOf(window_, picked.lane, picked.place + by)
                        : sliceOf(window_, lanes[0], 0);
    if (next) pick(next);
  }

  function find(text) {
    const slices = search(window_, lanes, text);
    found = [];
    for (const slice of slices) (found[slice.lane.index] ??= new Set()).add(slice.place);
    draw();
    return slices;
  }

  function slices(kind) {
    return lanes.filter((lane) => lane.row.kind === kind)
      .flatMap((lane) => lane.at.map((_, at) => sliceOf(window_, lane, at)));
  }

  new ResizeObserver(draw).observe(place);
  return { show, look, pick, find, box, slices, view: () => [from, to], canvas };
}
