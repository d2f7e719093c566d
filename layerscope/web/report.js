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

const grouped = (value, digits) => value.toLocaleString("en-US",
  { minimumFractionDigits: digits, maximumFractionDigits: digits });
const scaled = (value, unit) => {
  for (const [scale, prefix] of [[1e15, "P"], [1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (Math.abs(value) >= scale) return `${(value / scale).toPrecision(4)} ${prefix}${unit}`;
  }
  return `${value} ${unit}`;
};
const time = (ns) => (ns >= 1e6 ? `${grouped(ns / 1e6, 3)} ms` : `${grouped(ns / 1e3, 3)} µs`);

const MEASURES = [
  { name: "gpu", label: "device time", format: time, additive: true },
  { name: "cpu", label: "host time", format: time, additive: true },
  { name: "op", label: "time inside operators", format: time, additive: true },
  { name: "flops", label: "FLOPs", format: (value) => scaled(value, "FLOP"), additive: true,
    spreads: true },
  { name: "bytes", label: "bytes", format: (value) => scaled(value, "B"), additive: true },
  { name: "energy", label: "energy", format: (value) => `${value.toPrecision(4)} J`, additive: true },
  { name: "memory", label: "peak memory", format: (value) => `${grouped(value / 2 ** 20, 1)} MiB`,
    additive: false },
].filter((measure) => measure.name in place);
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
      depth: valueOf(row, "depth"), self: valueOf(row, measure.name), total: null, row,
    }));
}

/* What the tooltip says below the totals: all columns of one row, or the phases of several. */
function details(node) {
  const measure = chosen();
  if (node.rows.length > 1) {
    return node.rows.map((item) =>
      [item.phase, item.self === null ? "not measured" : measure.format(item.self)]);
  }
  return node.rows.flatMap(({ row, phase, group }) => {
    const lines = [["phase", phase], ["module", textOf(row, "module")], ["group", group]];
    lines.push(["calls", grouped(valueOf(row, "calls"), 0)]);
    if (shownTable.device) lines.push(["device events", grouped(valueOf(row, "kernels"), 0)]);
    for (const other of MEASURES) {
      const value = valueOf(row, other.name);
      if (other !== measure && value !== null) lines.push([`self ${other.label}`, other.format(value)]);
    }
    const fraction = valueOf(row, "roofline");
    if (fraction !== null) lines.push(["of its roofline", `${Number((100 * fraction).toPrecision(2))} %`]);
    lines.push(["dtype", textOf(row, "dtype")], ["bound by", textOf(row, "bound")]);
    return lines.filter(([, text]) => text !== "");
  });
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
