/* The tab's page: its parts, what is chosen in them, and who is told when that changes. */

import { MEASURES, compare, fold, has, isPartial, phasesOf, readTable, rowsOf, sum } from "./account.js";
import { besideBatch } from "./beside.js";
import { decoderSteps, phaseBar, roofline } from "./charts.js";
import { changeColumns, runColumns } from "./columns.js";
import { about, declare } from "./declared.js";
import { download, make, options } from "./dom.js";
import { findingList } from "./findings.js";
import * as format from "./format.js";
import { cautions, headline, place } from "./headline.js";
import { icicle } from "./icicle.js";
import { openInPerfetto } from "./perfetto.js";
import { restsOn } from "./places.js";
import { sweepView } from "./sweep.js";
import { table } from "./table.js";
import { traceView } from "./trace_view.js";

const here = (path) => new URL(path, import.meta.url);
const LOOK_AGAIN_MS = 5000;
const LESS = "#0072b2", MORE = "#d55e00", SAME = "#e6e6e6"; // told apart by colour-blind readers too

// `wanted` is the measure asked for; `measure` is the one shown where a run does not have it.
const chosen = { run: null, base: null, phase: "", wanted: MEASURES[0], measure: MEASURES[0], layer: null, zoom: null,
                 group: "", text: "", finding: null, all: false, perBlock: false };
let runs = [], listed = "", run = null, base = null, parts, sweeps, tree = null, rows = [];
let markInRoofline = () => {};
const loaded = new Map();

export async function render() {
  const sheet = make("link", { rel: "stylesheet", href: here("layers.css").href });
  await new Promise((resolve) => {
    sheet.onload = resolve;
    sheet.onerror = resolve;
    document.head.append(sheet);
  });
  parts = build();
  sweeps = sweepView(parts.sweeps, {
    read: (name, query) => read(here(`${name}?${new URLSearchParams(query)}`)),
    onOpen: openRun, onCount: (count) => {
      parts.views.hidden = count === 0;
      if (count === 0) showView("runs");
    },
  });
  showView("runs");
  for (const change of ["online", "offline"]) {
    window.addEventListener(change, () => { if (run) links(); });
  }
  try {
    declare(JSON.parse(await read(here("columns"))));
  } catch (problem) {
    say(`What the columns hold could not be read: ${problem.message}.`);
  }
  await look();
}

// ---- the page's parts -----------------------------------------------------------------------------

function build() {
  const ui = {
    run: make("select", { id: "run", onchange: () => choose({ run: ui.run.value }) }),
    base: make("select", { id: "base", onchange: () => choose({ base: ui.base.value || null }) }),
    phase: make("select", { id: "phase", onchange: () => choosePhase(ui.phase.value) }),
    group: make("select", { id: "group", onchange: () => {
      chosen.group = ui.group.value;
      showTable();
    } }),
    all: make("input", { type: "checkbox", id: "all", onchange: () => {
      chosen.all = ui.all.checked;
      showTable();
    } }),
    perBlock: make("input", { type: "checkbox", id: "per-block", onchange: () => {
      chosen.perBlock = ui.perBlock.checked;
      showTable();
    } }),
    measure: make("div", { class: "switch", id: "measure", role: "group", "aria-label": "Measure" }),
    perfetto: make("button", { type: "button", class: "plain", id: "perfetto", onclick: perfetto },
                   "Open in Perfetto"),
    trace: make("a", { class: "plain", id: "trace", download: "" }, "Trace file"),
    csv: make("button", { type: "button", class: "plain", id: "csv", onclick: saveCsv }, "CSV"),
    chip: make("button", { type: "button", class: "chip", id: "chip",
                           title: "Show all rows again", onclick: () => pickFinding(null) }),
  };
  for (const name of ["body", "headline", "where", "note", "phases", "beside", "icicle", "table", "sums", "findings",
                      "roofline", "steps"]) {
    ui[name] = make("div", { id: name });
  }
  ui.headline.className = "head-line";
  ui.where.className = "where";
  ui.note.className = "note";
  ui.note.setAttribute("role", "status");
  ui.phases.className = "phases";
  ui.beside.className = "beside";
  ui.findings.className = "findings";
  ui.sums.className = "sums";
  ui.views = make("div", { class: "switch views", role: "group", "aria-label": "View", hidden: true },
    ...["Runs", "Sweeps"].map((name) =>
      make("button", { type: "button", id: `view-${name.toLowerCase()}`,
                       onclick: () => showView(name.toLowerCase()) }, name)));
  ui.runs = make("section", { id: "runs" },
    make("div", { class: "bar" },
      make("label", {}, "Run", ui.run), make("label", {}, "Base to compare with", ui.base),
      ui.perfetto, ui.trace),
    ui.headline, ui.where, ui.note, ui.body);
  ui.sweeps = make("section", { id: "sweeps", hidden: true });
  document.body.replaceChildren(make("main", { class: "page" }, ui.views, ui.runs, ui.sweeps));
  ui.body.hidden = true; // until there is a run to fill it
  ui.body.append(
    make("div", { class: "bar" }, ui.measure, make("label", {}, "Phase", ui.phase)),
    ui.phases, ui.beside,
    make("div", { class: "two" },
      make("section", {}, ui.icicle),
      make("section", {},
        make("div", { class: "bar", id: "tools" }, make("label", {}, "Group", ui.group),
             make("label", {}, ui.perBlock, "each block"), make("label", {}, ui.all, "all columns"), ui.csv, ui.chip),
        ui.table, ui.sums)),
    make("div", { class: "three" },
      make("section", {}, make("h2", {}, "Findings"), ui.findings),
      make("section", {}, make("h2", {}, "Roofline"), ui.roofline),
      make("section", {}, make("h2", {}, "Decoder steps"), ui.steps)),
    make("section", { id: "trace-section" }));
  ui.viewer = traceView(ui.body.lastChild, { select: (layer) => select(layer, "trace") });
  ui.list = table(ui.table, { onSelect: (layer) => select(layer, "table") });
  return ui;
}

function showView(name) {
  for (const view of ["runs", "sweeps"]) {
    parts[view].hidden = view !== name;
    document.getElementById(`view-${view}`).setAttribute("aria-pressed", String(view === name));
  }
}

/* A sweep's cell, chosen in the view of sweeps. */
function openRun(id) {
  showView("runs");
  if (!runs.some((one) => one.id === id)) {
    say(`${id}: not among the runs; its folder may have been moved.`);
    return;
  }
  parts.run.value = id;
  choose({ run: id });
}

// ---- runs and their files -------------------------------------------------------------------------

/* The runs there are, now and every few seconds: new ones appear while TensorBoard runs. */
async function look() {
  try {
    const text = await read(here("runs"));
    if (text !== listed) {
      listed = text;
      runs = JSON.parse(text);
      await listRuns();
    }
  } catch (problem) {
    say(`The list of runs could not be read: ${problem.message}.`);
  }
  try {
    await sweeps.look();
  } catch (problem) {
    say(`The list of sweeps could not be read: ${problem.message}.`);
  }
  setTimeout(look, LOOK_AGAIN_MS);
}

async function listRuns() {
  const pairs = runs.map((one) => [one.id, one.problem ? `${one.name} (unreadable)` : one.name]);
  const before = [chosen.run, chosen.base].join("\n");
  chosen.run = options(parts.run, pairs, chosen.run) || null;
  chosen.base = options(parts.base, [["", "none"], ...pairs], chosen.base || "") || null;
  if (!runs.length) say("No run below the log folder yet; `layerscope profile` makes one.");
  else if (!run || before !== [chosen.run, chosen.base].join("\n")) await show();
}

async function read(address) {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`);
  return answer.text();
}

function fileOf(summary, name) {
  if (!summary.files.includes(name)) return null;
  return read(here(`file?${new URLSearchParams({ run: summary.id, name })}`));
}

/* A run's tables, kept while its record stays the same; the last few are enough to go to and fro. */
async function load(id) {
  const summary = runs.find((one) => one.id === id);
  const kept = `${id}\n${summary.created_utc}`;
  if (!loaded.has(kept)) {
    const [layers, steps, findings] =
      await Promise.all(["layers", "steps", "findings"].map((name) => fileOf(summary, name)));
    loaded.set(kept, {
      ...summary,
      table: layers ? readTable(layers) : { columns: [], rows: [] },
      steps: steps ? readSteps(steps) : [],
      findings: findings ? JSON.parse(findings) : null,
    });
    if (loaded.size > 6) loaded.delete(loaded.keys().next().value);
  }
  return loaded.get(kept);
}

const STEP_COLUMNS_BEFORE = { gpu_us: "gpu_total_us", cpu_us: "cpu_total_us" }; // of older files

function readSteps(text) {
  // The same form as the layers' file but for its columns, which the reader asks for by name.
  const [written, ...lines] = text.trim().split(/\r?\n/).map((line) => line.split(","));
  const columns = written.map((name) => STEP_COLUMNS_BEFORE[name] || name);
  const cell = (value) => (value === "" ? null : Number.isNaN(Number(value)) ? value : Number(value));
  return lines.map((line) => Object.fromEntries(columns.map((name, i) => [name, cell(line[i])])));
}

// ---- choices --------------------------------------------------------------------------------------

async function choose(change) {
  Object.assign(chosen, change, { finding: null });
  await show();
}

async function show() {
  const asked = [chosen.run, chosen.base];
  try {
    const both = await Promise.all(asked.map((id) => (id ? load(id) : null)));
    if (asked[0] !== chosen.run || asked[1] !== chosen.base) return; // overtaken by another choice
    [run, base] = both;
  } catch (problem) {
    say(`${chosen.run}: ${problem.message}.`);
    return;
  }
  const phases = phasesOf(run.table);
  chosen.phase = options(parts.phase, [["", "all"], ...phases.map((name) => [name, name])],
                         chosen.phase);
  chosen.measure = [chosen.wanted, ...MEASURES].find(usable) || chosen.wanted;
  parts.body.hidden = false;
  headline(parts.headline, run, base);
  parts.where.textContent = place(run);
  say(cautions(run, base));
  links();
  draw();
  document.body.dataset.shown = JSON.stringify(asked); // what a test waits for
}

const usable = (measure) => absent(measure) === "";

function absent(measure) {
  if (!has(run.table, measure)) return measure.absent;
  return base && !has(base.table, measure) ? `in the base, ${measure.absent}` : "";
}

function choosePhase(phase) {
  chosen.phase = phase;
  parts.phase.value = phase;
  chosen.finding = null;
  draw();
}

function pickFinding(finding) {
  chosen.finding = finding;
  chosen.group = "";
  if (finding) {
    chosen.phase = parts.phase.value = "";
    chosen.zoom = null;
    if (tree) tree.zoom(null);
  }
  draw();
  if (finding && tree) {
    const rowsMeant = tree.mark((row) => finding.rests_on.some((place_) => restsOn(place_, row)));
    select(rowsMeant.length ? rowsMeant[0] : null, "finding");
  }
}

function select(layer, from) {
  chosen.layer = layer;
  if (from !== "icicle" && tree) tree.select(layer);
  if (from !== "table") parts.list.select(layer);
  markInRoofline(layer);
  offer();
}

/* A kind is no layer of the trace: the first of its layers stands for it there. */
function offer() {
  const row = run.table.rows.find((one) => one.layer === chosen.layer || one.layer_kind === chosen.layer);
  parts.viewer.offer(run, { ...chosen, layer: row ? row.layer : chosen.layer });
}

function say(text) {
  parts.note.textContent = text;
}

// ---- drawing --------------------------------------------------------------------------------------

function draw() {
  const { measure, phase } = chosen;
  const mine = rowsOf(run.table, measure, phase);
  rows = base ? compare(rowsOf(base.table, measure, phase), mine) : mine;
  drawMeasures();
  drawPhases();
  besideBatch(parts.beside, run, base);
  drawIcicle();
  showTable();
  findingList(parts.findings, run.findings, {
    chosen: chosen.finding ? chosen.finding.id : null, onChoose: pickFinding,
  });
  drawRoofline();
  decoderSteps(parts.steps, run.steps);
  offer();
}

function drawMeasures() {
  parts.measure.replaceChildren(...MEASURES.map((measure) => {
    const reason = absent(measure);
    return make("button", {
      type: "button", id: `measure-${measure.id}`, disabled: reason !== "",
      title: reason ? `Absent: ${reason}.` : measure.label,
      "aria-pressed": String(measure === chosen.measure),
      onclick: () => {
        chosen.measure = chosen.wanted = measure;
        draw();
      },
    }, measure.label);
  }));
}

function drawPhases() {
  const { measure } = chosen;
  const every = rowsOf(run.table, measure, "");
  const amounts = phasesOf(run.table).map((name) =>
    [name, sum(every.filter((row) => row.phase === name), measure)]);
  parts.phases.hidden = !measure.additive;
  phaseBar(parts.phases, amounts, { measure, chosen: chosen.phase, onChoose: choosePhase });
}

function drawIcicle() {
  const { measure } = chosen;
  // Vanished rows hold nothing in this run; the table alone shows them.
  const inTree = base ? order(rows) : rows;
  const settings = {
    measure: { label: measure.label.toLowerCase(), format: measure.format, additive: measure.additive,
               spreads: measure.spreads },
    details, onZoom: zoomed, onSelect: (layer) => select(layer, "icicle"),
    onSearch: (text) => {
      chosen.text = text.trim().toLowerCase();
      showTable();
    },
    colour: base ? changeColour() : undefined,
    legend: base ? [["less than in the base", LESS], ["the same", SAME], ["more", MORE]] : undefined,
  };
  if (tree) tree.update(inTree, settings);
  else {
    tree = icicle(parts.icicle, inTree, settings);
    window.layerscopeIcicle = tree; // tests ask it where a layer is drawn: a canvas does not tell
  }
  tree.select(chosen.layer);
}

/* Compared rows in the order of the run's own table, so that the tree keeps its shape. */
function order(compared) {
  const index = new Map(run.table.rows.map((row, i) => [`${row.layer}\n${row.phase}`, i]));
  const at = (row) => index.get(`${row.layer}\n${row.phase}`) ?? index.size;
  return [...compared].sort((a, b) => at(a) - at(b));
}

/* From the base's amount to the run's, of the layer and all below it: blue less, orange more. */
function changeColour() {
  const known = new Map();
  const both = (node) => {
    if (!known.has(node)) {
      const amounts = [0, 0];
      for (const row of node.rows) {
        amounts[0] += row.base;
        amounts[1] += row.other;
      }
      for (const child of node.children) both(child).forEach((value, i) => { amounts[i] += value; });
      known.set(node, amounts);
    }
    return known.get(node);
  };
  return (node) => {
    const [from, to] = both(node);
    const most = Math.max(from, to);
    const share = most > 0 ? (to - from) / most : 0;
    return blend(SAME, share < 0 ? LESS : MORE, Math.min(1, Math.abs(share) * 1.5));
  };
}

function blend(from, to, share) {
  const part = (colour, at) => parseInt(colour.slice(at, at + 2), 16);
  return `#${[1, 3, 5].map((at) => Math.round(part(from, at) + (part(to, at) - part(from, at)) * share)
    .toString(16).padStart(2, "0")).join("")}`;
}

/* A layer's columns for the tooltip: its one row in full, or what it takes in each phase. */
function details(node) {
  const { measure } = chosen;
  if (base) {
    return fold(node.rows, run.table.columns, measure).map((row) => [row.phase,
      `${measure.format(row.base)} → ${measure.format(row.other)} `
      + `(${format.signed(row.change, measure.format)})`]);
  }
  const lines = [], inPhases = fold(node.rows, run.table.columns, measure);
  for (const row of inPhases) {
    const cells = runColumns(run.table, measure, 0, true)
      .filter((column) => run.table.columns.includes(column.name)
        && !["layer", "phase", "group", "layer_kind"].includes(column.name) && row[column.name] !== null)
      .map((column) => [about(column.name).label, column.text(row)]).filter(([, text]) => text !== "");
    if (inPhases.length === 1) lines.push(["phase", row.phase], ["group", row.group], ...cells);
    else lines.push([row.phase, cells.map(([name, text]) => `${name} ${text}`).join(", ")]);
  }
  return lines;
}

function zoomed(layer) {
  chosen.zoom = layer;
  showTable();
}

function drawRoofline() {
  const at = chosen.phase ? run.table.rows.filter((row) => row.phase === chosen.phase)
                          : run.table.rows;
  markInRoofline = roofline(parts.roofline, at, run.ceilings, {
    selected: chosen.layer, colourOf: tree.colourOf, onSelect: (layer) => select(layer, "roofline"),
  });
}

// ---- the table ------------------------------------------------------------------------------------

/* Rows below the zoomed layer, of the group, the search and the finding that are chosen. */
function shownRows() {
  const { zoom, group, text, finding } = chosen;
  const node = zoom ? tree.node(zoom) : null;
  const below = node && node.parent ? layersBelow(node) : null;
  return rows.filter((row) => (!below || below.has(row.layer)) && (!group || row.group === group)
    && (!text || `${row.layer}\n${row.layer_kind}`.toLowerCase().includes(text))
    && (!finding || finding.rests_on.some((one) => restsOn(one, row))));
}

function layersBelow(node, layers = new Set()) {
  for (const layer of node.layers) layers.add(layer);
  for (const child of node.children) layersBelow(child, layers);
  return layers;
}

function showTable() {
  const { measure } = chosen;
  const whole = sum(rows, measure);
  const groups = [...new Set(rows.map((row) => row.group))].sort();
  chosen.group = options(parts.group, [["", "all"], ...groups.map((name) => [name, name])],
                         chosen.group);
  const shown = shownRows();
  const lines_ = chosen.perBlock ? shown : fold(shown, run.table.columns, measure);
  const columns = base ? changeColumns(measure) : runColumns(run.table, measure,
    isPartial(rows, measure) ? null : whole, chosen.all, lines_);
  const wanted = base ? "change" : "self";
  const before = parts.list.order();
  const kept = columns.some((column) => column.name === before.name)
    && Boolean(before.compared) === Boolean(base);
  parts.list.show(columns, lines_,
                  kept ? null : { name: wanted, down: true, compared: Boolean(base) });
  parts.list.select(chosen.layer);
  parts.all.disabled = Boolean(base);
  parts.chip.textContent = chosen.finding ? `rows of “${chosen.finding.id}” ✕` : "";
  const total = sum(shown, measure);
  parts.sums.dataset.sum = String(total);
  const count = (some) => some.length.toLocaleString("en-US");
  const lines = [lines_.length < shown.length ? `${count(lines_)} kinds in ${count(shown)} rows`
    : `${count(shown)} rows`];
  if (measure.additive) {
    if (isPartial(rows, measure)) lines.push(`self at least ${measure.format(total)}; some is not known`);
    else lines.push(`self ${measure.format(total)} of ${measure.format(whole)}`
      + ` (${format.percent(total, whole)})`);
  } else lines.push(`highest peak ${measure.format(total)}; peaks do not add up`);
  if (base) {
    const change = shown.reduce((sum_, row) => sum_ + row.change, 0);
    parts.sums.dataset.change = String(change);
    if (measure.additive) lines.push(`change ${format.signed(change, measure.format)}`);
  }
  parts.sums.textContent = lines.join(" · ");
}

function saveCsv() {
  const shown = parts.list.rows();
  const names = base ? ["phase", "layer", "module", "group", "base", "other", "change", "relative"]
                     : [...run.table.columns];
  if (shown.some((row) => row.members)) names.push("layers");
  const cell = (value) => {
    const text = value === null || value === undefined ? "" : String(value);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const unit = base ? exactUnit(chosen.measure) : "";
  const header = names.map((name) => (["base", "other", "change"].includes(name) ? name + unit : name));
  const lines = [header, ...shown.map((row) => names.map((name) =>
    (name === "layers" ? (row.members || [row]).length : row[name])))];
  download("layers.csv", lines.map((line) => line.map(cell).join(",")).join("\n") + "\n", "text/csv");
}

const exactUnit = (measure) => ({ device: "_ns", host: "_ns", flops: "_flop", bytes: "_bytes",
                                  energy: "_j", memory: "_mib" })[measure.id];

// ---- the trace ------------------------------------------------------------------------------------

const traceAddress = () => here(`trace?${new URLSearchParams({ run: run.id })}`);

function links() {
  const there = run.files.includes("trace");
  parts.trace.hidden = !there;
  parts.trace.href = there ? traceAddress().href : "";
  parts.trace.download = `${run.name}.trace.json.gz`;
  const reason = !there ? "this run's folder has no trace.json.gz"
    : navigator.onLine ? "" : "ui.perfetto.dev needs a network";
  parts.perfetto.disabled = reason !== "";
  parts.perfetto.title = reason || "The trace goes from this page to the viewer's window, not uploaded";
}

async function perfetto() {
  try {
    await openInPerfetto(here(`perfetto?${new URLSearchParams({ run: run.id })}`), run.name);
  } catch (problem) {
    say(`Perfetto: ${problem.message}.`);
  }
}
