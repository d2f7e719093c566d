/* findings.json in, sentences out; a click on one hands over the rows that it rests on. */

import { make } from "./dom.js";
import * as format from "./format.js";

/* `chosen` is the id of the finding whose rows are shown now. */
export function findingList(container, document_, { chosen, onChoose }) {
  const found = (document_ || {}).findings || [];
  if (!found.length) {
    container.replaceChildren(make("p", { class: "absent" },
      document_ ? "Nothing was found that stands out." : "This run has no findings.json."));
    return;
  }
  container.replaceChildren(make("ol", {}, ...found.map((finding) => {
    const places = finding.rests_on || [];
    const rows = places.some((place) => place.layer || place.phase || place.group);
    const on = finding.id === chosen;
    const sentence = rows
      ? make("button", { type: "button", class: on ? "sentence chosen" : "sentence",
                         title: "Show the rows this rests on", "aria-pressed": String(on),
                         onclick: () => onChoose(on ? null : finding) }, finding.sentence)
      : make("span", {}, finding.sentence);
    const more = [];
    if (finding.try_next) more.push(`Try: ${finding.try_next}.`);
    const saving = finding.saving || {};
    if (saving.saved_ns) {
      more.push(`Saves ${saving.at_most ? "at most " : ""}${(saving.by_ceilings ? format.timeTwo : format.time)(saving.saved_ns)}`
        + (saving.of ? ` of ${saving.of}` : "") + ".");
    }
    const sources = places.filter((place) => place.source).map((place) => place.source);
    if (!rows && sources.length) more.push(`From ${sources.join(", ")}.`);
    return make("li", {}, sentence, make("div", { class: "more", title: saving.basis || "" },
                                         more.join(" ")));
  })));
}
