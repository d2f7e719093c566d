/* A window of a trace, as the server sends it, in; lanes of slices that never overlap out: what is
 * drawn, found by time and found by name. Times in ns since the trace's first event. */

/* One lane a level of a row. `at` are the row's slices in this level, in order of start. */
export function lanesOf(window) {
  const lanes = [];
  for (const row of window.rows) {
    const levels = [];
    row.start_ns.forEach((_, index) => (levels[row.level[index]] ??= []).push(index));
    levels.forEach((at, level) => lanes.push({ row, at, first: level === 0, index: lanes.length }));
  }
  return lanes;
}

/* Everything that one slice says of itself; null for none. */
export function sliceOf(window, lane, place) {
  if (!lane || place < 0 || place >= lane.at.length) return null;
  const { row } = lane, index = lane.at[place];
  const named = (number) => (number < 0 ? null : window.names[number]);
  return {
    lane, place, kind: row.kind, title: row.title, name: window.names[row.name[index]],
    start: row.start_ns[index], end: row.start_ns[index] + row.dur_ns[index],
    chosen: row.chosen[index] === 1, layer: named(row.owner[index]), phase: named(row.phase[index]),
    cause: row.cause_ns[index] < 0 ? null : row.cause_ns[index],
  };
}

/* Place of the last slice that begins at or before this time; -1 before the first. */
export function lastBegun(lane, time) {
  const { at, row } = lane;
  let low = 0, high = at.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (row.start_ns[at[middle]] <= time) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/* The slice at a time, or the nearest one within `reach` ns: short ones are hard to meet. */
export function nearest(window, lane, time, reach) {
  const before = lastBegun(lane, time);
  const candidates = [before, before + 1].map((place) => sliceOf(window, lane, place)).filter(Boolean);
  const distance = (slice) => Math.max(slice.start - time, time - slice.end, 0);
  candidates.sort((a, b) => distance(a) - distance(b));
  return candidates.length && distance(candidates[0]) <= reach ? candidates[0] : null;
}

/* All slices whose name holds the text, in order of start; a wait is named for another's layer. */
export function search(window, lanes, text) {
  const wanted = text.trim().toLowerCase();
  if (!wanted) return [];
  const fits = window.names.map((name) => name.toLowerCase().includes(wanted));
  const found = [];
  for (const lane of lanes.filter((one) => one.row.kind !== "wait")) {
    lane.at.forEach((index, place) => {
      if (fits[lane.row.name[index]]) found.push(sliceOf(window, lane, place));
    });
  }
  return found.sort((a, b) => a.start - b.start);
}
