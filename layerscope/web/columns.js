/* A measure and a view in, the table's columns out. */

import { about, isText } from "./declared.js";
import * as format from "./format.js";

const OWN = new Set(["phase", "layer", "group"]);

const dash = (value, text) => (value === null || value === undefined ? "" : text(value));

function named() {
  const word = (name, label, width, wide = false) => ({
    name, label, width, wide, value: (row) => row[name], text: (row) => row[name],
  });
  const layer = { ...word("layer", "Layer", 0, true), text: (row) =>
    (row.members ? `${row.layer} ×${row.members.length}` : row.layer) };
  return [layer, word("phase", "Phase", 74),
          word("group", "Group", 160)];
}

function number(name, label, value, text, width = 82, hint = "") {
  return { name, label, number: true, width, hint, value, text };
}

function own(name) {
  const value = (row) => row[name] ?? null;
  const { label, means, kind } = about(name);
  const hint = [name, means].filter(Boolean).join(": ");
  if (kind === "text") return { name, label, hint, width: 110, value, text: (row) => row[name] || "" };
  const text = (row) => dash(row[name], (v) => (typeof v === "number" ? shown(name, v) : String(v)));
  return number(name, label, value, text, 108, hint);
}

function shown(name, value) {
  const { kind, unit, digits } = about(name);
  if (name === "roofline_fraction") return `${format.twoDigits(100 * value)} %`;
  if (kind === "time") return (digits === 2 ? format.timeTwo : format.time)(Math.round(value * 1000));
  if (kind === "share") return `${(100 * value).toFixed(1)} %`;
  if (kind === "mebibytes") return format.mebibytes(value);
  if (kind === "integer" && !unit) return value.toLocaleString("en-US");
  return format.metric(value, unit).trim();
}

/* Columns of one run: the measure's first; `all` adds every column of the file. A `whole` of null is
 * not known, and so are the shares of it; `rows` are those shown. */
export function runColumns(table, measure, whole, all, rows = []) {
  const show = (value) => dash(value, measure.format);
  const columns = named();
  if (measure.additive) {
    columns.push(number("self", "Self", (row) => row.self, (row) => show(row.self)));
    if (measure.total) {
      columns.push(number("total", "Total", (row) => row.total, (row) => show(row.total)));
    }
    columns.push(number("share", "Self of all", (row) => row.self,
                        (row) => whole === null ? "" : dash(row.self, (v) => format.percent(v, whole, 2)), 82));
    const share = columns[columns.length - 1];
    // Full where it is the largest: a share of 10 % would hardly be seen.
    const largest = Math.max(...rows.map((row) => row.self ?? 0), 0);
    share.part = (row) => (largest > 0 ? (row.self ?? 0) / largest : 0);
    columns.push({ ...number("sum", "Sum", (row) => row.self, (held) =>
      (whole ? format.percent(held, whole, 1) : ""), 82, "The share of all that the lines down to this one hold"),
                   running: true });
  } else {
    columns.push(number("self", "Peak", (row) => row.self, (row) => show(row.self), 100));
  }
  // How a layer's time is known matters where code was compiled; elsewhere the column is blank.
  const few = table.rows.some((row) => row.attribution) ? ["calls", "attribution"] : ["calls"];
  const file = all ? table.columns.filter((name) => !OWN.has(name)) : few;
  columns.push(...file.filter((name) => table.columns.includes(name)).map((name) =>
    all || isText(name) ? own(name) : { ...own(name), width: 56 }));
  return columns;
}

/* Columns of a comparison; sorting by change puts the largest first, whichever its sign. */
export function changeColumns(measure) {
  const share = (value) => format.signed(value, (v) => `${(100 * v).toFixed(v < 10 ? 1 : 0)} %`);
  return [
    ...named(),
    number("base", "Base", (row) => row.base, (row) =>
      (row.status === "appeared" ? "no row" : measure.format(row.base))),
    number("other", "Run", (row) => row.other, (row) =>
      (row.status === "vanished" ? "no row" : measure.format(row.other))),
    { ...number("change", "Change", (row) => row.change,
                (row) => format.signed(row.change, measure.format), 92,
                "Sort by the size of the change, whichever its sign"),
      rank: (row) => Math.abs(row.change) },
    number("relative", "In %", (row) => row.relative, (row) =>
      dash(row.relative, share), 82),
  ];
}
