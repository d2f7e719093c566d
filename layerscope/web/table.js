/* Rows and columns in, a table of any length out: it holds only the lines that can be seen.
 *
 * columns: [{name, label, width, value(row), text(row), number, wide}], widths in pixels; the first
 * column takes what is left; `part(row)`, 0 to 1, is drawn as a bar behind the text, and a `running`
 * column gets the sum of `self` down to its line. A row's `members` are shown by its arrow. Selecting a line tells `onSelect`;
 * `select(layer)` marks a layer's lines and brings the first one into view.
 */

import { make } from "./dom.js";

const LINE = 24; // pixels; the same as in layers.css
const LEAST_FIRST = 210; // pixels that the first column keeps, however many stand beside it
const SPARE = 8; // lines kept above and below what is seen, so that scrolling shows no gap

export function table(container, { onSelect, label = "Layers; up and down select a line" }) {
  let columns = [], rows = [], sorted = [], open = new Set(), downTo = new Map(), order = { name: "", down: true }, selected = null;
  const head = make("div", { class: "line head", role: "row" });
  const body = make("div", { class: "lines" });
  const scroll = make("div", { class: "scroll", role: "table", tabIndex: 0,
                               "aria-label": label }, head, body);
  container.replaceChildren(scroll);

  function sort() {
    const column = columns.find((one) => one.name === order.name) || columns[0];
    const sign = order.down ? -1 : 1;
    const rank = column.rank || column.value;
    const inOrder = (some) => [...some].sort((a, b) => {
      const x = rank(a), y = rank(b);
      // What was not measured stands last, whichever way the column is sorted.
      if (x === null || y === null) return (x === null ? 1 : 0) - (y === null ? 1 : 0);
      return x === y ? 0 : sign * (x < y ? -1 : 1);
    });
    const tops = inOrder(rows);
    let held = 0;
    downTo = new Map(tops.map((row) => [row, held += row.self ?? 0]));
    sorted = tops.flatMap((row) =>
      (row.members && open.has(nameOf(row)) ? [row, ...inOrder(row.members)] : [row]));
  }

  const nameOf = (row) => `${row.layer}\n${row.phase}`;

  /* Whether this line is the chosen layer, or stands for it. */
  const isChosen = (row) => selected !== null && (row.layer === selected || row.layer_kind === selected
    || Boolean(row.members && row.members.some((one) => one.layer === selected)));

  function arrow(row) {
    const isOpen = open.has(nameOf(row));
    return make("button", {
      type: "button", class: "arrow", "aria-expanded": String(isOpen), tabIndex: -1,
      title: isOpen ? "Fold its layers" : `Show its ${row.members.length} layers`,
      onclick: (event) => {
        event.stopPropagation();
        unfold(row, !isOpen);
      },
    }, isOpen ? "▾" : "▸");
  }

  function unfold(row, now) {
    if (now) open.add(nameOf(row));
    else open.delete(nameOf(row));
    refresh();
  }

  function drawHead() {
    head.replaceChildren(...columns.map((column) => {
      const on = column.name === order.name;
      const cell = make("div", { class: cellClass(column), role: "columnheader" },
        make("button", { type: "button", title: column.hint || `Sort by ${column.label}`,
                         onclick: () => sortBy(column) },
             column.label + (on ? (order.down ? " ▾" : " ▴") : "")));
      cell.setAttribute("aria-sort", on ? (order.down ? "descending" : "ascending") : "none");
      return cell;
    }));
  }

  function sortBy(column) {
    const again = column.name === order.name;
    order = { ...order, name: column.name, down: again ? !order.down : Boolean(column.number) };
    refresh();
  }

  const cellClass = (column) => `cell${column.number ? " number" : ""}${column.wide ? " wide" : ""}`;

  function drawLines() {
    const first = Math.max(0, Math.floor(scroll.scrollTop / LINE) - SPARE);
    const count = Math.ceil(scroll.clientHeight / LINE) + 2 * SPARE;
    body.replaceChildren(...sorted.slice(first, first + count).map((row, i) => {
      const chosen = isChosen(row);
      const line = make("div", { class: chosen ? "line chosen" : "line", role: "row",
                                 onclick: () => choose(row.layer) });
      line.style.top = `${(first + i) * LINE}px`;
      line.setAttribute("aria-selected", String(chosen));
      for (const column of columns) {
        // What the lines down to this one hold together; a block inside a kind has no part in that.
        const text = column.running ? (downTo.has(row) ? column.text(downTo.get(row)) : "") : column.text(row);
        // The end of an FQN tells layers apart, so a long one loses its beginning.
        const inside = column.wide ? make("bdi", {}, text) : text;
        const cell = make("div", { class: cellClass(column), role: "cell",
                                   title: column.wide ? text : "" }, inside);
        if (column.part) {
          const full = `${(100 * column.part(row)).toFixed(2)}%`;
          cell.style.background = `linear-gradient(to right, #cfe0ee ${full}, transparent ${full})`;
        }
        if (column.wide && row.members) line.append(make("div", { class: "unfolds" }, arrow(row), cell));
        else line.append(cell);
      }
      return line;
    }));
  }

  function choose(layer) {
    selected = layer;
    drawLines();
    onSelect(layer);
  }

  function refresh() {
    sort();
    body.style.height = `${sorted.length * LINE}px`;
    drawHead();
    drawLines();
  }

  function reveal(index) {
    const top = index * LINE, room = scroll.clientHeight - 2 * LINE;
    if (top < scroll.scrollTop || top > scroll.scrollTop + room) {
      scroll.scrollTop = Math.max(0, top - room / 2);
    }
    drawLines();
  }

  scroll.addEventListener("scroll", drawLines);
  scroll.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const here = sorted.find((row) => row.members && row.layer === selected);
    if (here && ["ArrowRight", "ArrowLeft"].includes(event.key)) {
      event.preventDefault();
      unfold(here, event.key === "ArrowRight");
      return;
    }
    if (!step || event.target !== scroll || !sorted.length) return;
    event.preventDefault();
    const at = sorted.findIndex((row) => row.layer === selected);
    let next = Math.min(sorted.length - 1, Math.max(0, at + step));
    // One layer may have several lines in a row; a step goes to another layer.
    while (sorted[next].layer === selected && sorted[next + step]) next += step;
    choose(sorted[next].layer);
    reveal(next);
  });
  new ResizeObserver(drawLines).observe(scroll);

  return {
    show(newColumns, newRows, newOrder) {
      columns = newColumns;
      rows = newRows;
      if (newOrder) order = newOrder;
      else if (!columns.some((column) => column.name === order.name)) {
        order = { name: columns[0].name, down: false };
      }
      const widths = columns.slice(1).map((column) => column.width);
      scroll.style.setProperty("--widths", widths.map((width) => `${width}px`).join(" "));
      const least = widths.reduce((a, b) => a + b, LEAST_FIRST);
      scroll.style.setProperty("--least", `${least}px`);
      refresh();
    },
    select(layer) {
      selected = layer;
      const named = sorted.findIndex((row) => row.layer === layer);
      const index = named >= 0 ? named : sorted.findIndex(isChosen);
      if (index >= 0) reveal(index);
      else drawLines();
    },
    rows: () => sorted,
    columns: () => columns,
    order: () => order,
  };
}
