/* The view of sweeps: a number of a cell, or of a group of layers, against one of the sweep's axes. */

import { download, make, options } from "./dom.js";
import { absentMeasures, amountOf, lineOf, linesOf, missing, nameOf, readSweep, seriesOf,
         shownMeasures } from "./sweep_data.js";
import { sweepChart } from "./sweep_chart.js";
import { table } from "./table.js";

/* read(path, query) -> text; onOpen(run id) shows a cell's run; onCount(n) is told of how many sweeps
 * there are. Returns {look()}, which reads the list anew. */
export function sweepView(container, { read, onOpen, onCount }) {
  const chosen = { sweep: null, measure: "", axis: "", line: "", group: "", phase: "", log: false,
                   cell: null };
  let sweeps = [], listed = "", shownKey = "", sweep = null, measure = null, series = [];
  const parts = build();

  function build() {
    const select = (name) => make("select", { id: `sweep-${name}`, onchange: () => {
      chosen[name] = ui[name].value;
      if (name === "sweep") show();
      else draw();
    } });
    const ui = {};
    for (const name of ["sweep", "measure", "axis", "line", "group", "phase"]) ui[name] = select(name);
    ui.log = make("input", { type: "checkbox", id: "sweep-log", onchange: () => {
      chosen.log = ui.log.checked;
      draw();
    } });
    ui.open = make("button", { type: "button", class: "plain", id: "sweep-open",
                               onclick: () => open(chosen.cell) }, "Open this cell's run");
    ui.csv = make("button", { type: "button", class: "plain", id: "sweep-csv", onclick: saveCsv },
                  "CSV");
    for (const name of ["note", "chart", "missing", "list", "sums"]) {
      ui[name] = make("div", { id: `sweep-${name}` });
    }
    ui.note.className = "note";
    ui.note.setAttribute("role", "status");
    ui.missing.className = "more";
    ui.sums.className = "sums";
    ui.labels = {};
    const label = (text, name) => (ui.labels[name] = make("label", {}, text, ui[name]));
    ui.body = make("div", {},
      make("div", { class: "bar" }, label("Show", "measure"), label("against", "axis"),
           label("cells with", "line"), label("group", "group"), label("phase", "phase"),
           label("logarithmic", "log")),
      make("div", { class: "two sweep" },
        make("section", {}, ui.chart, ui.missing),
        make("section", {}, make("div", { class: "bar tools" }, ui.csv, ui.open), ui.list, ui.sums)));
    container.replaceChildren(make("div", { class: "bar" }, label("Sweep", "sweep")), ui.note, ui.body);
    ui.table = table(ui.list, { onSelect: pick, label: "Cells; up and down select one" });
    return ui;
  }

  async function look() {
    const text = await read("sweeps", {});
    if (text === listed) return;
    listed = text;
    sweeps = JSON.parse(text);
    onCount(sweeps.length);
    chosen.sweep = options(parts.sweep, sweeps.map((one) => [one.id, titleOf(one)]), chosen.sweep);
    await show();
  }

  const titleOf = (one) => `${one.name} (${one.cells} cells)`;

  async function show() {
    const summary = sweeps.find((one) => one.id === chosen.sweep);
    const key = summary ? `${summary.id}\n${summary.written_ns}\n${summary.problem}` : "";
    if (key === shownKey) return;
    shownKey = key;
    sweep = null;
    parts.body.hidden = true;
    if (!summary) return;
    if (summary.problem) {
      say(`${summary.id}: ${summary.problem}.`);
    } else if (!summary.files.includes("table")) {
      say("This sweep has no tables yet: they are written when its command ends. Its finished cells "
        + "are among the runs.");
    } else {
      try {
        const [cells, groups] = await Promise.all(["table", "groups"].map((name) =>
          (summary.files.includes(name) ? read("sweep_file", { sweep: summary.id, name }) : "")));
        if (shownKey !== key) return; // overtaken by another choice
        sweep = readSweep(summary, cells, groups);
        fill();
      } catch (problem) {
        shownKey = "";
        say(`${summary.id}: ${problem.message}.`);
        return;
      }
    }
    document.body.dataset.sweep = summary.id; // what a test waits for
  }

  function fill() {
    const measures = shownMeasures(sweep);
    const absent = absentMeasures(sweep).map((one) => `${one.label} is absent: ${one.reason}`);
    say([...absent, sweep.groups.length ? "" : "No table by group of layers."].filter(Boolean).join(" "));
    parts.body.hidden = !measures.length || !sweep.axes.length;
    if (!sweep.axes.length) say("This sweep has one cell and no axis.");
    if (!measures.length) say("No cell of this sweep has a number; the reasons stand in its table.");
    if (parts.body.hidden) return;
    const named = (one) => (one.of === "group" ? `${one.label} by group` : one.label);
    chosen.measure = options(parts.measure, measures.map((one) => [one.id, named(one)]), chosen.measure);
    chosen.axis = options(parts.axis, sweep.axes.map((axis) => [axis, axis]), chosen.axis);
    draw();
  }

  function say(text) {
    parts.note.textContent = text;
  }

  // ---- drawing ------------------------------------------------------------------------------------

  function draw() {
    measure = shownMeasures(sweep).find((one) => one.id === chosen.measure);
    const grouped = measure.of === "group";
    parts.labels.group.hidden = parts.labels.phase.hidden = !grouped;
    if (grouped) {
      const all = (names) => [["", "all"], ...names.map((name) => [name, name])];
      chosen.group = options(parts.group, all(sweep.groups), chosen.group);
      chosen.phase = options(parts.phase, all(sweep.phases), chosen.phase);
    }
    // One line a group needs the other axes to stand still.
    const everyGroup = grouped && chosen.group === "";
    const lines = linesOf(sweep, chosen.axis);
    const pairs = lines.map((line, index) => [String(index), line || "nothing else varied"]);
    chosen.line = options(parts.line, everyGroup || lines.length === 1 ? pairs
      : [["", "all"], ...pairs], chosen.line);
    parts.labels.line.hidden = lines.length === 1;
    drawChart();
    drawTable();
  }

  const what = () => ({
    measure, axis: chosen.axis, group: measure.of === "group" ? chosen.group : "",
    phase: measure.of === "group" ? chosen.phase : "",
    line: chosen.line === "" ? null : linesOf(sweep, chosen.axis)[Number(chosen.line)],
  });

  function drawChart() {
    series = seriesOf(sweep, what());
    const values = [...new Set(series.flatMap((one) => one.points.map((point) => point.x)))];
    const numeric = sweep.numeric[chosen.axis];
    if (numeric) values.sort((a, b) => a - b);
    if (!values.length) {
      parts.chart.replaceChildren(make("p", { class: "absent" }, "Nothing was measured here."));
      parts.log.disabled = true;
    } else {
      const { positive } = sweepChart(parts.chart, series, {
        axis: chosen.axis, numeric, values, format: measure.format, label: measure.label,
        log: chosen.log, selected: chosen.cell, say: pointText, onSelect: pick, onOpen: open,
      });
      parts.log.disabled = !positive;
    }
    parts.missing.replaceChildren(...missing(sweep, what()).map(([reason, cells]) =>
      make("p", {}, `Not drawn, ${reason}: ${cells.map((cell) => nameOf(sweep, cell)).join("; ")}`)));
  }

  function pointText(point, one) {
    const { low, high } = point;
    const range = low === null || high === null ? ""
      : ` [${measure.format(low)}, ${measure.format(high)}]`;
    const of = measure.of === "group" ? `${chosen.group || one.name}: ` : "";
    return `${nameOf(sweep, point.cell)}: ${of}${measure.format(point.y)}${range}`;
  }

  function drawTable() {
    const { line } = what();
    const rows = sweep.cells
      .filter((cell) => line === null || lineOf(sweep, cell, chosen.axis) === line)
      .map((cell) => ({ layer: cell.id, cell }));
    const before = parts.table.order();
    const columns = columnsOf();
    const kept = columns.some((column) => column.name === before.name) && before.name !== "";
    parts.table.show(columns, rows, kept ? null : { name: chosen.axis, down: false });
    parts.table.select(chosen.cell);
    parts.open.disabled = !runOf(chosen.cell);
    const found = rows.map((row) => amountOf(row.cell, measure, what())).filter((one) => one !== null);
    parts.sums.textContent = `${rows.length} cells, ${found.length} with a number`;
  }

  function columnsOf() {
    const show = (value) => (value === null ? "–" : measure.format(value));
    const figure = (name, label, value, hint = "") =>
      ({ name, label, number: true, width: Math.max(84, Math.min(180, 8 * label.length + 24)), hint,
         value: (row) => value(row.cell), text: (row) => show(value(row.cell)) });
    // The chart's axis comes first and takes the room that is left.
    const axes = [chosen.axis, ...sweep.axes.filter((axis) => axis !== chosen.axis)];
    const columns = axes.map((axis) => ({
      name: axis, label: axis, width: Math.max(70, 8 * axis.length + 24), number: sweep.numeric[axis],
      value: (row) => row.cell.at[axis], text: (row) => String(row.cell.at[axis]) }));
    if (measure.of === "group" && chosen.group === "") {
      columns.push(figure("sum", "Sum", (cell) => amountOf(cell, measure, { phase: chosen.phase }),
                          "Over all groups and buckets"));
      columns.push(...series.map((one) => figure(one.name, one.name, (cell) => {
        const point = one.points.find((at) => at.cell === cell);
        return point ? point.y : null;
      })));
    } else {
      columns.push(figure("value", measure.label, (cell) => amountOf(cell, measure, what())));
      if (measure.low) {
        const end = (column) => (cell) => (cell.record[column] === "" ? null : Number(cell.record[column]));
        columns.push(figure("low", "Low", end(measure.low), "Lower end of the interval: 95 %, of times only from 24 batches on"),
                     figure("high", "High", end(measure.high), "Upper end of the interval: 95 %, of times only from 24 batches on"));
      }
    }
    columns.push({ name: "status", label: "Status", width: 120, value: (row) => row.cell.record.status,
                   text: (row) => row.cell.record.status });
    return columns;
  }

  // ---- what the user does ---------------------------------------------------------------------------

  function pick(id) {
    chosen.cell = id;
    drawChart();
    parts.table.select(id);
    parts.open.disabled = !runOf(id);
  }

  function runOf(id) {
    const cell = sweep.cells.find((one) => one.id === id);
    if (!cell || !cell.record.folder) return null;
    return chosen.sweep === "." ? cell.record.folder : `${chosen.sweep}/${cell.record.folder}`;
  }

  function open(id) {
    const run = runOf(id);
    if (run) onOpen(run);
  }

  function saveCsv() {
    const columns = parts.table.columns();
    const quoted = (value) => {
      const text = value === null || value === undefined ? "" : String(value);
      return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    };
    const unit = measure.unit.replace("/", "_per_");
    const plainColumns = new Set(["status", ...sweep.axes]);
    const header = columns.map((column) =>
      (plainColumns.has(column.name) || !unit ? column.name : `${column.name} (${unit})`));
    const lines = [["cell", ...header], ...parts.table.rows().map((row) =>
      [row.cell.id, ...columns.map((column) => column.value(row))])];
    download(`${chosen.measure}.csv`, lines.map((line) => line.map(quoted).join(",")).join("\n") + "\n",
             "text/csv");
  }

  return { look };
}
