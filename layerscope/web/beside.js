/* What the host does before each batch in, a small table out: it lies outside every sum of the page. */

import { make } from "./dom.js";
import * as format from "./format.js";

const timeOf = (us) => (us === null ? "not measured" : format.time(Math.round(us * 1000)));

/* `run.beside_batch`: [{phase, host_us, share_of_generate, batches, reason}]; empty where unknown. */
export function besideBatch(container, run, base) {
  const rows = run.beside_batch || [];
  if (!rows.length) {
    const why = (run.absent || {})["beside the batch"];
    container.replaceChildren(...(why ? [make("p", { class: "absent" }, `Beside the batch: ${why}.`)] : []));
    return;
  }
  const before = new Map(((base || {}).beside_batch || []).map((row) => [row.phase, row]));
  const head = ["beside the batch", "host time", "of generate()", ...(base ? ["base"] : [])];
  container.replaceChildren(make("table", {},
    make("caption", {}, "Host time before generate()" + (rows[0].batches > 1
      ? `, median of ${rows[0].batches} batches` : "") + "; in no sum of the account"),
    make("thead", {}, make("tr", {}, ...head.map((name) => make("th", { scope: "col" }, name)))),
    make("tbody", {}, ...rows.map((row) => {
      const other = before.get(row.phase);
      const share = row.share_of_generate === null ? "" : format.percent(row.share_of_generate, 1);
      return make("tr", { title: row.reason || "" },
        make("th", { scope: "row" }, row.phase),
        make("td", {}, row.host_us === null ? `not measured: ${row.reason}` : timeOf(row.host_us)),
        make("td", {}, share),
        ...(base ? [make("td", {}, other ? timeOf(other.host_us) : "not measured")] : []));
    }))));
}
