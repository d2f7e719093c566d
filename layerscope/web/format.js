/* Numbers to text: one place for units, so that the same amount reads the same everywhere. */

const METRIC = [[1e15, "P"], [1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]];

export function time(ns) {
  const size = Math.abs(ns);
  if (size >= 1e9) return `${digits(ns / 1e9)} s`;
  if (size >= 1e6) return `${digits(ns / 1e6)} ms`;
  if (size >= 1e3) return `${digits(ns / 1e3)} µs`;
  return `${ns} ns`;
}

export const flops = (value) => metric(value, "FLOP");
export const bytes = (value) => metric(value, "B");
export const mebibytes = (value) => `${digits(value)} MiB`;

export function joules(value) {
  const size = Math.abs(value);
  if (size >= 1 || size === 0) return `${digits(value)} J`;
  return size >= 1e-3 ? `${digits(value * 1e3)} mJ` : `${digits(value * 1e6)} µJ`;
}

export function metric(value, unit) {
  for (const [size, prefix] of METRIC) {
    if (Math.abs(value) >= size) return `${digits(value / size)} ${prefix}${unit}`;
  }
  return `${digits(value)} ${unit}`;
}

/* Four significant digits, without an exponent. */
export function digits(value) {
  const size = Math.abs(value);
  if (Number.isInteger(value) && size < 10_000) return String(value);
  if (size >= 1000) return Math.round(value).toLocaleString("en-US");
  if (size >= 999.95) return value.toFixed(0); // what would round to five digits
  return value.toFixed(size >= 100 ? 1 : size >= 10 ? 2 : 3);
}

/* The two digits that a number resting on measured ceilings deserves. */
export function twoDigits(value) {
  return value === 0 ? "0" : Number(value.toPrecision(2)).toLocaleString("en-US", { maximumSignificantDigits: 2 });
}

/* The same in units of time. */
export function timeTwo(ns) {
  return time(Number(ns.toPrecision(2))).replace(/(\.\d*?)0+(?= )/, "$1").replace(". ", " ");
}

export function percent(part, whole, places = 1) {
  return whole > 0 ? `${((100 * part) / whole).toFixed(places)} %` : "–";
}

export function signed(value, format) {
  if (value === 0) return format(0);
  return `${value > 0 ? "+" : "−"}${format(Math.abs(value))}`;
}
