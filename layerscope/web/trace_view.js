/* A run and what is chosen in the tab in, the trace viewer out: its controls, its window of the trace.
 *
 * traceView(place, { select }) -> { offer(run, {layer, phase}) }
 * The window is fetched when asked for, because the server reads the whole trace the first time.
 */

import { make, options } from "./dom.js";
import * as format from "./format.js";
import { timeline } from "./trace_canvas.js";

const here = (path) => new URL(path, import.meta.url);
const KEYS = "Drag moves, Ctrl with the wheel or W and S zoom, A and D move, a double click or F looks "
  + "at one slice, 0 at all; left and right go from slice to slice.";

export function traceView(place, { select }) {
  document.head.append(make("link", { rel: "stylesheet", href: here("trace.css").href }));
  let run = null, offered = { layer: null, phase: "" }, asked = null, shown = null;
  let call = 0, calls = 0, callShown = false; // callShown: one call is shown, not all of them
  let hits = [], hit = -1;

  const ui = {
    layer: make("input", { type: "checkbox", id: "trace-layer", checked: true, onchange: changed }),
    layerName: make("span", { class: "trace-name" }),
    phase: make("span", { class: "trace-name" }),
    step: make("select", { id: "trace-step", onchange: changed }),
    open: make("button", { type: "button", class: "plain", id: "trace-open", onclick: () => open(0) },
               "Show"),
    before: make("button", { type: "button", class: "plain", id: "trace-before", title: "Call before",
                             onclick: () => open(call - 1) }, "‹"),
    after: make("button", { type: "button", class: "plain", id: "trace-after", title: "Next call",
                            onclick: () => open(call + 1) }, "›"),
    call: make("span", { id: "trace-call" }),
    every: make("button", { type: "button", class: "plain", id: "trace-every",
                            onclick: () => open(null) }, "all calls"),
    search: make("input", { type: "search", id: "trace-search", placeholder: "Find a layer or kernel",
                            "aria-label": "Find in the trace", oninput: find, onkeydown: nextHit }),
    found: make("span", { id: "trace-found", role: "status" }),
    sums: make("p", { class: "sums", id: "trace-sums", role: "status" }),
    drawing: make("div", { class: "trace-drawing", id: "trace-drawing" }),
    tip: make("div", { class: "trace-tip", role: "tooltip", hidden: true }),
    picked: make("p", { class: "sums", id: "trace-picked", "aria-live": "polite" }),
    keys: make("p", { class: "more" }, KEYS),
  };
  ui.chosen = make("div", { class: "bar" },
    make("label", {}, ui.layer, "layer", ui.layerName),
    make("span", {}, "phase ", ui.phase),
    make("label", {}, "step", ui.step), ui.open, ui.before, ui.call, ui.after, ui.every,
    ui.search, ui.found);
  place.replaceChildren(make("h2", {}, "Trace"), ui.chosen, ui.sums, ui.drawing, ui.tip, ui.picked,
                        ui.keys);
  const view = timeline(ui.drawing, { onPick: tell, onHover: point });
  window.layerscopeTrace = view; // tests ask it where a slice is drawn: a canvas does not tell
  const finding = [ui.before, ui.after, ui.call, ui.every, ui.search, ui.found, ui.drawing, ui.keys];
  reveal(false);

  function reveal(yes) {
    for (const part of finding) part.hidden = !yes;
    if (yes) callControls();
  }

  function offer(newRun, choice) {
    if (!run || run.id !== newRun.id || run.created_utc !== newRun.created_utc) {
      options(ui.step, [["", "any"], ...newRun.steps.map((row) =>
        [String(row.step), `${row.step} (${row.phase})`])], "");
      shown = asked = null;
      reveal(false);
      ui.sums.textContent = ui.picked.textContent = "";
    }
    run = newRun;
    offered = choice;
    ui.layer.disabled = !choice.layer;
    ui.layerName.textContent = choice.layer || "any (pick one in the tree or the table)";
    ui.phase.textContent = choice.phase || "any";
    const there = run.files.includes("trace");
    ui.open.disabled = !there;
    ui.open.title = there ? "" : "this run's folder has no trace.json.gz";
    changed();
  }

  /* What would be shown now, as the server is asked for it. */
  function wanted() {
    const choice = {};
    if (ui.layer.checked && offered.layer) choice.layer = offered.layer;
    if (offered.phase) choice.phase = offered.phase;
    if (ui.step.value) choice.step = ui.step.value;
    return choice;
  }

  function changed() {
    const fresh = shown && JSON.stringify(wanted()) === JSON.stringify(shown);
    ui.open.classList.toggle("due", !fresh);
  }

  async function open(number) {
    const choice = wanted();
    // A layer runs many times, one call of it is what can be seen; a phase or step is shown whole.
    const one = number !== null && choice.layer ? { call: String(number) } : {};
    const query = new URLSearchParams({ run: run.id, ...choice, ...one });
    asked = query.toString();
    const mine = asked;
    ui.sums.textContent = "Reading the trace …";
    let text, answer;
    try {
      answer = await fetch(here(`window?${query}`));
      text = await answer.text();
    } catch (problem) {
      text = `The server does not answer (${problem.message}).`;
    }
    if (mine !== asked) return; // overtaken by another choice
    if (!answer || !answer.ok) {
      ui.sums.textContent = text;
      return;
    }
    const window_ = JSON.parse(text);
    shown = choice;
    call = number ?? 0;
    calls = window_.calls;
    callShown = number !== null && Boolean(choice.layer);
    reveal(true);
    view.show(window_);
    tellSums(window_, choice);
    ui.search.value = ui.found.textContent = ui.picked.textContent = "";
    changed();
    place.dataset.window = JSON.stringify([run.id, choice, callShown ? call : null]); // tests wait
  }

  function callControls() {
    const several = Boolean(shown && shown.layer) && calls > 1;
    for (const part of [ui.before, ui.call, ui.after, ui.every]) part.hidden = !several;
    ui.before.disabled = !callShown || call === 0;
    ui.after.disabled = !callShown || call >= calls - 1;
    ui.every.disabled = !callShown;
    ui.call.textContent = callShown ? `call ${call + 1} of ${calls}` : `all ${calls} calls`;
  }

  function tellSums(window_, choice) {
    const name = [choice.layer, choice.phase, choice.step && `step ${choice.step}`].filter(Boolean);
    const parts = [`${name.join(", ") || "the whole trace"}:`,
                   `host ${format.time(window_.host_ns)}`];
    if (window_.device_ns !== null) {
      parts.push(`device ${format.time(window_.device_ns)} in `
        + `${window_.device_events.toLocaleString("en-US")} events`);
    } else parts.push("no device events in this trace");
    parts.push(`window ${format.time(window_.end_ns - window_.start_ns)}`,
               "what does not belong to it is pale");
    if (window_.left_out) {
      parts.push(`${window_.left_out.toLocaleString("en-US")} operators are left out: choose less`);
    }
    ui.sums.textContent = `${parts[0]} ${parts.slice(1).join(" · ")}`;
    ui.sums.dataset.device = String(window_.device_ns);
    ui.sums.dataset.host = String(window_.host_ns);
  }

  // ---- one slice ----------------------------------------------------------------------------------

  function lines(slice) {
    const told = [slice.name, `${slice.title}: ${format.time(slice.end - slice.start)}`];
    if (slice.layer && slice.layer !== slice.name) told.push(`layer ${slice.layer}`);
    if (slice.phase) told.push(`phase ${slice.phase}`);
    if (slice.cause !== null) told.push(`${format.time(slice.start - slice.cause)} after its launch`);
    else if (slice.kind === "kernel") told.push("no launch record");
    return told;
  }

  function point(slice, event) {
    ui.tip.hidden = !slice;
    if (!slice) return;
    ui.tip.replaceChildren(...lines(slice).map((line) => make("div", {}, line)));
    const wide = place.clientWidth, left = event.pageX + 14;
    ui.tip.style.left = `${Math.max(0, Math.min(left, wide - 380))}px`;
    ui.tip.style.top = `${event.pageY + 16}px`;
  }

  function tell(slice) {
    ui.picked.replaceChildren();
    if (!slice) return;
    ui.picked.append(lines(slice).join(" · "));
    const layer = slice.kind === "layer" ? slice.name : slice.layer;
    if (layer) {
      ui.picked.append(" ", make("button", { type: "button", class: "plain", id: "trace-to-layer",
                                             onclick: () => select(layer) }, "select this layer"));
    }
  }

  function find() {
    hits = view.find(ui.search.value);
    hit = -1;
    ui.found.textContent = ui.search.value.trim() ? `${hits.length} found` : "";
  }

  function nextHit(event) {
    if (event.key !== "Enter" || !hits.length) return;
    hit = (hit + (event.shiftKey ? hits.length - 1 : 1)) % hits.length;
    if (hit < 0) hit = hits.length - 1;
    view.pick(hits[hit]);
    ui.found.textContent = `${hit + 1} of ${hits.length}`;
  }

  return { offer };
}
