/* What the server says of each column of a layer table: its kind, label, unit and meaning. */

const told = new Map();

/* `columns`: [{name, kind, label, unit, digits, adds, means}], once, before a table is read. */
export function declare(columns) {
  for (const column of columns) told.set(column.name, column);
}

const UNKNOWN = { kind: "", label: "", unit: "", digits: null, adds: false, means: "" };

/* What is known of a column; of one that another version wrote, nothing but its name. */
export const about = (name) => told.get(name) || { ...UNKNOWN, label: name };

export const isText = (name) => about(name).kind === "text";
