/* The text of a layers.csv in, rows with exact amounts out; two tables in, their differences out. */

import { about, isText } from "./declared.js";
import * as format from "./format.js";

/* What can be switched between. `scale` makes the file's decimals whole (µs to ns), so that sums are
 * exact; `absent` says what would make a missing column. */
export const MEASURES = [
  { id: "device", label: "Device time", self: "gpu_self_us", total: "gpu_total_us", scale: 1000,
    additive: true, format: format.time,
    absent: "the trace holds no device events (a run on the CPU)" },
  { id: "host", label: "Host time", self: "cpu_self_us", total: "cpu_total_us", scale: 1000,
    additive: true, format: format.time, absent: "the trace holds no layer ranges" },
  { id: "flops", label: "FLOPs", self: "flops_self", total: "flops_total", scale: 1,
    additive: true, spreads: true, format: format.flops, absent: "the run has no counting pass" },
  { id: "bytes", label: "Bytes", self: "bytes_self", scale: 1,
    additive: true, format: format.bytes, absent: "the run has no counting pass" },
  { id: "energy", label: "Energy", self: "energy_j", scale: 1,
    additive: true, format: format.joules, absent: "energy was not measured by layer in this run" },
  { id: "memory", label: "Memory", self: "memory_peak_mib", scale: 1,
    additive: false, format: format.mebibytes, absent: "peak memory was not recorded by layer" },
];

/* RFC 4180: quoted cells may hold commas, quotes and line ends. */
export function parseCsv(text) {
  const lines = [];
  let line = [], at = 0;
  while (at < text.length) {
    let cell = "";
    if (text[at] === '"') {
      let end = at + 1;
      for (;;) {
        const quote = text.indexOf('"', end);
        if (quote < 0) throw new Error("a quoted cell does not end; the file was cut short");
        cell += text.slice(end, quote);
        end = quote + 1;
        if (text[end] !== '"') break;
        cell += '"';
        end += 1;
      }
      at = end;
    } else {
      let end = at;
      while (end < text.length && !",\r\n".includes(text[end])) end += 1;
      cell = text.slice(at, end);
      at = end;
    }
    line.push(cell);
    if (text[at] === ",") {
      at += 1;
      if (at === text.length) line.push("");
      continue;
    }
    while (text[at] === "\r" || text[at] === "\n") at += 1;
    lines.push(line);
    line = [];
  }
  if (line.length) lines.push(line);
  return lines;
}

/* {columns, rows}: a row maps every column to its value, null where the cell is blank. */
export function readTable(text) {
  const [columns, ...lines] = parseCsv(text);
  if (!columns || !columns.includes("layer") || !columns.includes("phase")) {
    throw new Error("layers.csv has no columns layer and phase");
  }
  const rows = lines.map((cells, index) => {
    if (cells.length !== columns.length) {
      throw new Error(`layers.csv, row ${index + 2}: ${cells.length} cells, not ${columns.length}`);
    }
    const row = {};
    columns.forEach((name, i) => {
      if (isText(name)) row[name] = cells[i];
      else row[name] = cells[i] === "" ? null : Number(cells[i]);
      if (Number.isNaN(row[name])) row[name] = cells[i]; // a column of words that is new to us
    });
    return row;
  });
  return { columns, rows };
}

export const key = (row) => `${row.layer}\n${row.phase}`;

export function has(table, measure) {
  return table.rows.some((row) => row[measure.self] !== null && row[measure.self] !== undefined);
}

export function amount(row, measure) {
  const value = row[measure.self];
  if (value === null || value === undefined) return null;
  return measure.scale === 1 ? value : Math.round(value * measure.scale);
}

/* The total of a row as its file states it; null where the file has no such column. */
export function totalOf(row, measure) {
  const value = measure.total ? row[measure.total] : null;
  if (value === null || value === undefined) return null;
  return measure.scale === 1 ? value : Math.round(value * measure.scale);
}

/* Rows for the icicle and the table: those of the phase, each with `self` and `total`. */
export function rowsOf(table, measure, phase) {
  return table.rows.filter((row) => !phase || row.phase === phase)
    .map((row) => ({ ...row, self: amount(row, measure), total: totalOf(row, measure) }));
}

const ALWAYS_KNOWN = new Set(["params"]); // a layer has them in one of its phases

/* What rows of one kind hold together in a column: sums need all their parts. */
function together(name, members) {
  const values = members.map((row) => row[name] ?? null);
  const known = values.filter((value) => value !== null);
  const { kind, adds } = about(name);
  if (!known.length) return isText(name) ? "" : null;
  if (adds) return known.length === values.length || ALWAYS_KNOWN.has(name) ? add(known) : null;
  if (kind === "mebibytes") return Math.max(...known);
  return values.every((value) => value === values[0]) ? values[0] : isText(name) ? "" : null;
}

const add = (values) => values.reduce((a, b) => a + b, 0);

/* Microseconds have three decimals: sums of them as sums of their nanoseconds. */
function exact(name, value) {
  return value !== null && about(name).kind === "time" ? Math.round(value * 1000) / 1000 : value;
}

/* Rows by kind and phase, each with `members`; a row alone stays what it is. */
export function fold(rows, columns, measure) {
  const held = new Map();
  for (const row of rows) {
    const name = `${row.layer_kind || row.layer}\n${row.phase}`;
    if (held.has(name)) held.get(name).push(row);
    else held.set(name, [row]);
  }
  return [...held.values()].map((members) =>
    (members.length > 1 ? foldedRow(members, columns, measure) : members[0]));
}

function foldedRow(members, columns, measure) {
  const row = Object.fromEntries(columns.map((name) => [name, exact(name, together(name, members))]));
  const of = (name) => {
    const values = members.map((one) => one[name] ?? null);
    if (values.includes(null)) return null;
    return measure.additive ? add(values) : Math.max(...values);
  };
  Object.assign(row, quotients(row), { members, layer: members[0].layer_kind, phase: members[0].phase,
                                       self: of("self"), total: of("total") });
  if ("change" in members[0]) {
    const [base, other] = [of("base"), of("other")];
    const all = new Set(members.map((one) => one.status));
    Object.assign(row, { base, other, change: other - base, self: other,
                         relative: base > 0 ? (other - base) / base : null,
                         status: all.size === 1 ? members[0].status : "both" });
  }
  return row;
}

/* What is divided once its parts are summed. */
function quotients(row) {
  const time = row.gpu_self_us ?? row.op_self_us ?? null;
  const ratio = (part, whole) => (part === null || part === undefined || !whole ? null : part / whole);
  return {
    intensity: ratio(row.flops_self, row.bytes_self),
    tflops_per_s: time ? ratio(row.flops_self, time * 1e6) : null,
    gb_per_s: time ? ratio(row.bytes_self, time * 1e3) : null,
    roofline_fraction: time ? ratio(row.roofline_us, time) : null,
  };
}

export function phasesOf(table) {
  return [...new Set(table.rows.map((row) => row.phase))];
}

export function sum(rows, measure) {
  const amounts = rows.map((row) => row.self).filter((value) => value !== null);
  return measure.additive ? amounts.reduce((a, b) => a + b, 0) : Math.max(0, ...amounts);
}

/* Whether a layer's own amount is not known, so that every sum over it is "at least". */
export const isPartial = (rows, measure) => Boolean(measure.spreads)
  && rows.some((row) => row.self === null && !row.layer.startsWith("("));

/* Rows of both sides by (layer, phase) with `base`, `other` and `change`, largest change first.
 * A side without the row holds nothing there; where a side has it and did not measure it there is
 * no change to state, so no row. */
export function compare(base, other) {
  const before = new Map(base.map((row) => [key(row), row]));
  const after = new Map(other.map((row) => [key(row), row]));
  const rows = [];
  for (const name of new Set([...after.keys(), ...before.keys()])) {
    const old = before.get(name), now = after.get(name);
    if ((old && old.self === null) || (now && now.self === null)) continue;
    const from = old ? old.self ?? 0 : 0, to = now ? now.self ?? 0 : 0;
    rows.push({ ...(now || old), self: to, base: from, other: to, change: to - from,
                relative: from > 0 ? (to - from) / from : null,
                status: old && now ? "both" : old ? "vanished" : "appeared" });
  }
  return rows.sort((a, b) => Math.abs(b.change) - Math.abs(a.change)
    || (a.layer < b.layer ? -1 : a.layer > b.layer ? 1 : 0));
}
