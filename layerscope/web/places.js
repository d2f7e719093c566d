/* A place that a finding rests on and a row in, whether the row is meant out. */

/* `*` in a layer stands for a number; an empty field narrows nothing. */
export function restsOn(place, row) {
  if (!place.layer && !place.phase && !place.group) return false;
  if (place.phase && place.phase !== row.phase) return false;
  if (place.group && place.group !== row.group) return false;
  return !place.layer || patternOf(place.layer).test(row.layer);
}

function patternOf(layer) {
  const escaped = layer.replace(/[.+?^${}()|[\]\\]/g, "\\$&").replaceAll("*", "\\d+");
  return new RegExp(`^${escaped}$`);
}
