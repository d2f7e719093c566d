/* The report's own part of its module: the tables in #rows in, the icicle with its choices out.
 *
 * `icicle` and `restsOn` stand above in the same module. The page works without all of this; what needs it is
 * hidden until it runs. Data becomes text, never HTML.
 */
const held = JSON.parse(document.getElementById("rows").textContent);
let shownTable = held.tables[0];
const place = Object.fromEntries(held.columns.map((name, at) => [name, at]));
const textOf = (row, name) => held.texts[name][row[place[name]]];
const valueOf = (row, name) => (name in place ? row[place[name]] : null);

const COUNTS = new Set(["calls", "kernels", "params"]);
const grouped = (value, digits) => value.toLocaleString("en-US",
  { minimumFractionDigits: digits, maximumFractionDigits: digits });
const scaled = (value, unit) => {
  for (const [scale, prefix] of [[1e15, "P"], [1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (Math.abs(value) >= scale) return `${(value / scale).toPrecision(4)} ${prefix}${unit}`;
  }
  return `${value} ${unit}`;
};
const time = (ns) => (ns >= 1e6 ? `${grouped(ns / 1e6, 3)} ms` : `${grouped(ns / 1e3, 3)} µs`);

/* A number of this column as text; `held.about` says its kind and unit. */
function shownIn(name, value) {
  const { kind, unit, digits } = held.about[name];
  if (name === "roofline_fraction") return `${Number((100 * value).toPrecision(2))} %`;
  if (kind === "time") return time(digits ? Number(value.toPrecision(digits)) : value);
  if (kind === "mebibytes") return `${grouped(value / 2 ** 20, 1)} MiB`;
  if (kind === "integer") return unit ? scaled(value, unit) : grouped(value, 0);
  return `${Number(value.toPrecision(4))} ${unit}`.trim();
}

// What can be drawn: what adds up over the layers, and peaks, which do not.
const MEASURES = held.columns.filter((name) => held.about[name].kind !== "text" && name !== "modelled_ns"
    && (held.about[name].adds || held.about[name].kind === "mebibytes"))
  .map((name) => ({ name, label: held.about[name].label, format: (value) => shownIn(name, value),
                    additive: held.about[name].adds, spreads: name === "flops_self" }))
  // Times first; counts, which every table has, last.
  .sort((a, b) => Number(COUNTS.has(a.name)) - Number(COUNTS.has(b.name)));
// What this table measured: a sweep may hold runs with a device and without.
const measured = (measure) => shownTable.rows.some((row) => row[place[measure.name]] !== null);

const measureChoice = document.getElementById("measure");
const phaseChoice = document.getElementById("phase");
const cellChoice = document.getElementById("cell"); // in the report of a sweep alone

function option(value, text) {
  const element = document.createElement("option");
  element.value = value;
  element.textContent = text;
  return element;
}

function chosen() {
  return MEASURES.find((measure) => measure.name === measureChoice.value) || MEASURES[0];
}

function rowsShown() {
  const measure = chosen(), phase = phaseChoice.value;
  return shownTable.rows
    .filter((row) => !phase || textOf(row, "phase") === phase)
    .map((row) => ({
      layer: textOf(row, "layer"), phase: textOf(row, "phase"), group: textOf(row, "group"),
      layer_kind: "layer_kind" in held.texts ? textOf(row, "layer_kind") : "", depth: valueOf(row, "depth"), self: valueOf(row, measure.name), total: null, row,
    }));
}

/* What the tooltip says below the totals: all columns of one row, or the phases of several. */
function details(node) {
  const measure = chosen();
  if (node.rows.length > 1) {
    const phases = new Map();
    for (const item of node.rows) {
      const before = phases.get(item.phase) ?? null;
      const both = measure.additive ? (before ?? 0) + (item.self ?? 0) : Math.max(before ?? 0, item.self ?? 0);
      phases.set(item.phase, item.self === null ? before : both);
    }
    return [...phases].map(([phase, self]) => [phase, self === null ? "not measured" : measure.format(self)]);
  }
  const own = new Set(["layer", "depth", measure.name]);
  return node.rows.flatMap(({ row }) => held.columns.filter((name) => !own.has(name)).map((name) => {
    const { label, kind } = held.about[name];
    if (kind === "text") return [label, textOf(row, name)];
    const value = valueOf(row, name);
    return [label, value === null || (name === "kernels" && !shownTable.device) ? "" : shownIn(name, value)];
  }).filter(([, text]) => text !== ""));
}

if (MEASURES.length) {
  const offerMeasures = () => {
    const wanted = measureChoice.value;
    const there = MEASURES.filter(measured);
    measureChoice.replaceChildren(...there.map((measure) => option(measure.name, measure.label)));
    measureChoice.value = (there.find((measure) => measure.name === wanted) || there[0]).name;
  };
  offerMeasures();
  const phases = held.texts.phase.filter((phase) => phase);
  phaseChoice.append(option("", "all"), ...phases.map((phase) => option(phase, phase)));
  const view = icicle(document.getElementById("icicle"), rowsShown(),
    { measure: chosen(), details, wholeName: "whole run" });
  const redraw = () => view.update(rowsShown(), { measure: chosen() });
  measureChoice.addEventListener("change", redraw);
  phaseChoice.addEventListener("change", redraw);
  if (cellChoice) {
    cellChoice.append(...held.tables.map((table, at) => option(String(at), table.name)));
    cellChoice.addEventListener("change", () => {
      shownTable = held.tables[Number(cellChoice.value)];
      offerMeasures();
      redraw();
    });
  }
  /* The nearest layer that all of these are in, or that one is; "" for the whole. */
  const above = (layers) => {
    if (!layers.length) return "";
    const paths = layers.map((layer) => layer.split("."));
    let length = 0;
    while (paths.every((path) => path.length > length && path[length] === paths[0][length])) length += 1;
    return paths[0].slice(0, length).join(".");
  };
  const whole = () => {
    phaseChoice.value = "";
    view.search("");
    redraw();
    view.zoom("");
  };
  document.getElementById("reset").addEventListener("click", whole);
  document.getElementById("controls").addEventListener("submit", (event) => event.preventDefault());
  document.getElementById("controls").hidden = false;
  for (const button of document.querySelectorAll(".show")) {
    button.hidden = false;
    button.addEventListener("click", () => {
      whole();
      const places = JSON.parse(button.dataset.places);
      const meant = new Set(places.map((place) => place.phase));
      const [phase] = meant;
      if (meant.size === 1 && phases.includes(phase)) phaseChoice.value = phase;
      redraw();
      const layers = view.mark((row) => places.some((place) => restsOn(place, row)));
      view.zoom(above(layers));
      if (layers.length) view.select(layers[0]);
      document.getElementById("icicle").scrollIntoView({ block: "center" });
    });
  }
}

/* An arrow before each kind that stands for several layers; it shows them below. */
function unfold(line, arrow) {
  if (arrow.getAttribute("aria-expanded") === "true") {
    while (line.nextElementSibling && line.nextElementSibling.classList.contains("member")) {
      line.nextElementSibling.remove();
    }
    arrow.setAttribute("aria-expanded", "false");
    arrow.textContent = "▸";
    return;
  }
  const time = "gpu_self_ns" in place ? "gpu_self_ns" : "op_self_ns";
  const own = (row) => valueOf(row, time) ?? 0;
  const members = held.tables[0].rows
    .filter((row) => textOf(row, "layer_kind") === line.dataset.kind && textOf(row, "phase") === line.dataset.phase)
    .sort((a, b) => own(b) - own(a));
  const whole = held.tables[0].rows.reduce((sum, row) => sum + own(row), 0);
  const cells = line.children.length;
  line.after(...members.map((row) => {
    const made = document.createElement("tr");
    made.className = "member";
    const name = document.createElement("th");
    name.scope = "row";
    name.textContent = textOf(row, "layer");
    made.append(name);
    for (let at = 1; at < cells; at += 1) made.append(document.createElement("td"));
    // Time, share and what is held down to here are the last three columns; the last stays blank.
    made.children[cells - 3].textContent = grouped(own(row) / 1e6, 3);
    made.children[cells - 2].textContent = `${(100 * own(row) / whole).toFixed(2)} %`;
    return made;
  }));
  arrow.setAttribute("aria-expanded", "true");
  arrow.textContent = "▾";
}

for (const line of document.querySelectorAll("tr[data-kind]")) {
  if (Number(line.dataset.layers) < 2) continue;
  const arrow = document.createElement("button");
  arrow.type = "button";
  arrow.className = "arrow";
  arrow.textContent = "▸";
  arrow.title = `Show its ${line.dataset.layers} layers`;
  arrow.setAttribute("aria-expanded", "false");
  arrow.addEventListener("click", () => unfold(line, arrow));
  line.firstElementChild.prepend(arrow);
}
