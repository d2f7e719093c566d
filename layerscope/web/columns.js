/* A measure and a view in, the table's columns out. */

import * as format from "./format.js";

const EXTRA = {
  calls: "Calls", kernels: "Kernels", params: "Parameters", dtype: "dtype", bound: "Bound",
  intensity: "FLOP/B", roofline_fraction: "Of roofline", module: "Class", gpu_share: "Device share",
};
const WORDS = new Set(["phase", "layer", "module", "group", "dtype", "bound", "attribution",
                       "energy_source"]);
const OWN = new Set(["phase", "layer", "group"]);
const EXACT = new Set(["calls", "kernels", "depth", "params"]);

const dash = (value, text) => (value === null || value === undefined ? "" : text(value));

function named() {
  const word = (name, label, width, wide = false) => ({
    name, label, width, wide, value: (row) => row[name], text: (row) => row[name],
  });
  return [word("layer", "Layer", 0, true), word("phase", "Phase", 74),
          word("group", "Group", 160)];
}

function number(name, label, value, text, width = 82, hint = "") {
  return { name, label, number: true, width, hint, value, text };
}

function own(name) {
  const value = (row) => row[name] ?? null;
  const label = EXTRA[name] || name;
  if (WORDS.has(name)) return { name, label, width: 110, value, text: (row) => row[name] || "" };
  const text = (row) => dash(row[name], (v) =>
    typeof v !== "number" ? String(v)
      : EXACT.has(name) ? v.toLocaleString("en-US")
        : name === "roofline_us" ? format.timeTwo(Math.round(v * 1000))
          : name === "roofline_fraction" ? `${format.twoDigits(100 * v)} %`
            : name.endsWith("_us") ? format.time(Math.round(v * 1000))
              : name === "gpu_share" ? `${(100 * v).toFixed(1)} %`
                : format.metric(v, "").trim());
  return number(name, label, value, text, 108, `Sort by ${name}`);
}

/* Columns of one run: the measure's first; `all` adds every column of the file. A `whole` of null is
 * not known, and so are the shares of it. */
export function runColumns(table, measure, whole, all) {
  const show = (value) => dash(value, measure.format);
  const columns = named();
  if (measure.additive) {
    columns.push(number("self", "Self", (row) => row.self, (row) => show(row.self)));
    if (measure.total) {
      columns.push(number("total", "Total", (row) => row.total, (row) => show(row.total)));
    }
    columns.push(number("share", "Self of all", (row) => row.self,
                        (row) => whole === null ? "" : dash(row.self, (v) => format.percent(v, whole, 2)), 82));
  } else {
    columns.push(number("self", "Peak", (row) => row.self, (row) => show(row.self), 100));
  }
  // How a layer's time is known matters where code was compiled; elsewhere the column is blank.
  const few = table.rows.some((row) => row.attribution) ? ["calls", "attribution"] : ["calls"];
  const file = all ? table.columns.filter((name) => !OWN.has(name)) : few;
  columns.push(...file.filter((name) => table.columns.includes(name)).map((name) =>
    all || WORDS.has(name) ? own(name) : { ...own(name), width: 56 }));
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
