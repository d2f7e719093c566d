/* A sweep's tables in; what can be drawn of it, and the lines to draw, out. */

import { parseCsv } from "./account.js";
import * as format from "./format.js";

const BEFORE = { batch: "batch_size" }; // columns as older files call them
const MOST_GROUPS = 7; // lines that can be told apart; the others are summed into one

const seconds = (value) => format.time(Math.round(value * 1e9));
const microseconds = (value) => format.time(Math.round(value * 1e3));
const plain = (value) => format.digits(value);

/* Numbers of a whole cell: columns of sweep.csv. */
const METRICS = [
  { id: "latency", label: "Latency of a batch", column: "latency_s", low: "latency_low_s",
    high: "latency_high_s", reason: "latency_absent_because", unit: "s", format: seconds },
  { id: "samples_per_s", label: "Samples per second", column: "samples_per_s",
    reason: "latency_absent_because", unit: "1/s", format: plain },
  { id: "first_token", label: "Time to first token", column: "first_token_s",
    low: "first_token_low_s", high: "first_token_high_s", reason: "first_token_absent_because",
    unit: "s", format: seconds },
  { id: "energy", label: "Energy per sample", column: "energy_j_per_sample",
    low: "energy_low_j_per_sample", high: "energy_high_j_per_sample",
    reason: "energy_absent_because", unit: "J", format: format.joules },
  { id: "wer", label: "WER", column: "wer_value", low: "wer_value_low", high: "wer_value_high",
    reason: "wer_value_absent_because", unit: "", format: plain },
  { id: "flops", label: "FLOPs of a batch", column: "flops_per_batch", unit: "FLOP",
    format: format.flops },
  { id: "flops_per_sample", label: "FLOPs per sample", column: "flops_per_sample", unit: "FLOP",
    format: format.flops },
  { id: "device", label: "Device time, traced batch", column: "device_sum_us", unit: "us",
    format: microseconds },
  { id: "memory", label: "Peak memory", column: "memory_peak_bytes", unit: "bytes",
    format: format.bytes },
  { id: "kv_cache", label: "KV cache", column: "kv_cache_bytes", unit: "bytes",
    format: format.bytes },
].map((metric) => ({ ...metric, of: "cell" }));

/* Sums over layers: columns of sweep_groups.csv. */
const PARTS = [
  { id: "group_device", label: "Device time", column: "gpu_self_us", unit: "us",
    format: microseconds },
  { id: "group_operators", label: "Time inside operators", column: "op_self_us", unit: "us",
    format: microseconds },
  { id: "group_host", label: "Host time", column: "cpu_self_us", unit: "us", format: microseconds },
  { id: "group_flops", label: "FLOPs", column: "flops_self", unit: "FLOP", format: format.flops },
  { id: "group_bytes", label: "Bytes", column: "bytes_self", unit: "bytes", format: format.bytes },
  { id: "group_energy", label: "Energy", column: "energy_j", unit: "J", format: format.joules },
].map((measure) => ({ ...measure, of: "group" }));

function records(text) {
  const [written, ...lines] = parseCsv(text);
  const names = written.map((name) => BEFORE[name] || name);
  return lines.map((line, index) => {
    if (line.length !== names.length) {
      throw new Error(`row ${index + 2}: ${line.length} cells, not ${names.length}`);
    }
    return Object.fromEntries(names.map((name, i) => [name, line[i]]));
  });
}

const number = (text) => (text === "" || text === undefined ? null : Number(text));

/* {axes, together, cells, groups, phases}: a cell maps each axis to its value, a number where every
 * cell's is one; its `record` is its line of sweep.csv, `parts` its lines of sweep_groups.csv. */
export function readSweep(summary, tableText, groupsText) {
  const lines = records(tableText);
  const axes = summary.axes.filter((axis) => lines.length && axis in lines[0]);
  const cells = lines.map((record) => ({ id: record.cell, record, parts: [], at: {} }));
  const numeric = {};
  for (const axis of axes) {
    const texts = lines.map((record) => record[axis]);
    numeric[axis] = texts.every((text) => text !== "" && Number.isFinite(Number(text)));
    cells.forEach((cell, i) => { cell.at[axis] = numeric[axis] ? Number(texts[i]) : texts[i]; });
  }
  const byId = new Map(cells.map((cell) => [cell.id, cell]));
  for (const part of groupsText ? records(groupsText) : []) {
    const cell = byId.get(part.cell);
    if (cell) cell.parts.push(part);
  }
  const every = cells.flatMap((cell) => cell.parts);
  return { axes, together: summary.together, numeric, cells,
           groups: [...new Set(every.map((part) => part.group))].sort(),
           phases: [...new Set(every.map((part) => part.phase))] };
}

/* What this sweep has a number of, cells' own first. */
export function shownMeasures(sweep) {
  const has = (list, column) => list.some((one) => number(one[column]) !== null);
  const records_ = sweep.cells.map((cell) => cell.record);
  const parts = sweep.cells.flatMap((cell) => cell.parts);
  return [...METRICS.filter((metric) => has(records_, metric.column)),
          ...PARTS.filter((measure) => has(parts, measure.column))];
}

/* Metrics that no cell has, with the first reason that one gives. */
export function absentMeasures(sweep) {
  const shown = new Set(shownMeasures(sweep));
  return METRICS.filter((metric) => !shown.has(metric)).map((metric) => ({
    label: metric.label,
    reason: sweep.cells.map((cell) => cell.record[metric.reason]).find(Boolean) || "",
  })).filter((metric) => metric.reason);
}

export const nameOf = (sweep, cell) =>
  sweep.axes.map((axis) => `${axis}=${cell.at[axis]}`).join(" ") || cell.id;

/* The values of the axes that stay the same along a line against `axis`, as words. */
export function lineOf(sweep, cell, axis) {
  const moved = sweep.together.includes(axis) ? sweep.together : [axis];
  return sweep.axes.filter((name) => !moved.includes(name))
    .map((name) => `${name}=${cell.at[name]}`).join(" ");
}

export const linesOf = (sweep, axis) =>
  [...new Set(sweep.cells.map((cell) => lineOf(sweep, cell, axis)))];

/* A cell's amount of one group, or of all groups, in one phase or in all; null: not measured. */
export function amountOf(cell, measure, { group = "", phase = "" } = {}) {
  if (measure.of === "cell") return number(cell.record[measure.column]);
  const values = cell.parts
    .filter((part) => (!group || part.group === group) && (!phase || part.phase === phase))
    .map((part) => number(part[measure.column])).filter((value) => value !== null);
  return values.length ? values.reduce((sum, value) => sum + value, 0) : null;
}

const interval = (cell, measure) => (measure.low
  ? [number(cell.record[measure.low]), number(cell.record[measure.high])] : [null, null]);

function point(sweep, cell, axis, value, measure) {
  const [low, high] = interval(cell, measure);
  return { cell, x: cell.at[axis], y: value, low, high };
}

/* [{name, points}]: one line for each setting of the other axes; or, of all groups, one line for
 * each of the largest groups and one for the sum of the others. */
export function seriesOf(sweep, { measure, axis, line, group, phase }) {
  const cells = sweep.cells.filter((cell) => line === null || lineOf(sweep, cell, axis) === line);
  const order = (points) => (sweep.numeric[axis] ? points.sort((a, b) => a.x - b.x) : points);
  if (measure.of === "group" && group === "") {
    return groupSeries(sweep, cells, { measure, axis, phase, order });
  }
  const found = new Map();
  for (const cell of cells) {
    const value = amountOf(cell, measure, { group, phase });
    if (value === null) continue;
    const name = lineOf(sweep, cell, axis);
    if (!found.has(name)) found.set(name, []);
    found.get(name).push(point(sweep, cell, axis, value, measure));
  }
  return [...found].map(([name, points]) => ({ name, points: order(points) }));
}

function groupSeries(sweep, cells, { measure, axis, phase, order }) {
  const most = (group) =>
    Math.max(0, ...cells.map((cell) => amountOf(cell, measure, { group, phase }) ?? 0));
  const groups = sweep.groups.map((name) => [name, most(name)]).filter(([, value]) => value > 0)
    .sort((a, b) => b[1] - a[1]).map(([name]) => name);
  const drawn = groups.length > MOST_GROUPS + 1 ? groups.slice(0, MOST_GROUPS) : groups;
  const rest = groups.slice(drawn.length);
  const series = drawn.map((name) => ({ name, members: [name] }));
  if (rest.length) series.push({ name: `the other ${rest.length} groups`, members: rest });
  return series.map(({ name, members }) => ({
    name, members,
    points: order(cells.filter((cell) => cell.parts.length).map((cell) => point(sweep, cell, axis,
      members.reduce((sum, group) => sum + (amountOf(cell, measure, { group, phase }) ?? 0), 0),
      measure))),
  }));
}

/* Cells that a chart cannot show, by reason: [[reason, cells]]. */
export function missing(sweep, { measure, axis, line, group, phase }) {
  const found = new Map();
  for (const cell of sweep.cells) {
    if (line !== null && lineOf(sweep, cell, axis) !== line) continue;
    if (amountOf(cell, measure, { group, phase }) !== null) continue;
    const { record } = cell;
    const reason = record.reason || record[measure.reason]
      || (measure.of === "group" && !cell.parts.length ? "no layer table" : "not measured");
    if (!found.has(reason)) found.set(reason, []);
    found.get(reason).push(cell);
  }
  return [...found];
}
