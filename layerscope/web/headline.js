/* A run's summary (and a base's) in; its headline numbers, place and cautions out. */

import { make } from "./dom.js";
import * as format from "./format.js";

const UNITS = { FLOP: format.flops };

function text(number) {
  if (!number || number.value === null || number.value === undefined) return "not measured";
  const [unit, per] = (number.unit || "").split("/");
  const amount = UNITS[unit] ? UNITS[unit](number.value)
    : `${format.digits(number.value)}${unit ? ` ${unit}` : ""}`;
  return per ? `${amount} / ${per}` : amount;
}

function fact(name, value, hint, other) {
  const parts = [make("span", { class: "name" }, name), make("span", { class: "value" }, value)];
  if (other) parts.push(make("span", { class: "other" }, `base ${other}`));
  return make("span", { class: "fact", title: hint }, ...parts);
}

const accountOf = (run) => (run.account || {});
const timeOf = (us) => (us === null || us === undefined ? "not measured"
  : format.time(Math.round(us * 1000)));

export function headline(container, run, base) {
  const names = [["latency", "Latency"], ["energy", "Energy"], ["flops", "FLOPs"],
                 ["wer_value", "WER"]];
  const facts = names.filter(([name]) => name in run.report).map(([name, label]) => {
    const number = run.report[name];
    return fact(label, text(number), number.reason || number.definition || "",
                base && text(base.report[name]));
  });
  facts.unshift(
    fact("Device time, traced batch", timeOf(accountOf(run).device_sum_us),
         "Sum over all device events of the traced batch", base && timeOf(accountOf(base).device_sum_us)),
    fact("Traced window", timeOf(accountOf(run).host_window_us),
         "Under the profiler; slower than the measured latency",
         base && timeOf(accountOf(base).host_window_us)));
  container.replaceChildren(...facts);
}

export function place(run) {
  const { config, environment } = run;
  const parts = [
    config.model, config.weights === "random" ? "random weights" : "", config.batch_size ? `batch ${config.batch_size}` : "",
    config.image_size ? `${config.image_size} px` : "", config.dtype, config.optimization, config.dataset,
    config.device === "cpu" ? environment.cpu_model : environment.gpu_name,
    environment.torch ? `torch ${environment.torch}` : "", run.created_utc,
  ];
  return parts.filter(Boolean).join(" · ");
}

/* What a reader must know before trusting the numbers shown. */
export function cautions(run, base) {
  const said = [];
  for (const [one, label] of [[run, "This run"], [base, "The base"]]) {
    if (!one) continue;
    if (one.problem) said.push(`${label}: ${one.problem}.`);
    else if (!one.account) said.push(`${label} was not traced, so it has no layers.`);
    else if (one.account.status !== "ok") {
      said.push(`${label}: the account does not add up: ${(one.account.failures || []).join("; ")}.`);
    }
    // The page draws no figures, and says in its own place what it lacks beside the batch.
    const absent = Object.entries(one.absent || {})
      .filter(([what]) => !what.startsWith("figure ") && what !== "beside the batch");
    if (absent.length) {
      said.push(`${label} is a captured block; not known: ${
        absent.map(([what, why]) => `${what} (${why})`).join("; ")}.`);
    }
    // How compiled code found its layers, and which rules do not apply.
    for (const note of (one.account && one.account.notes) || []) said.push(`${label}: ${note}.`);
  }
  if (base) {
    const unlike = ["model", "batch_size", "image_size", "max_input_len", "max_new_tokens", "dtype",
                    "optimization", "attention", "fp32_matmul", "dataset", "device", "optimize"]
      // Older records do not have all of them, a capture has few.
      .filter((name) => name in run.config && name in base.config)
      .filter((name) => run.config[name] !== base.config[name])
      .map((name) => `${name} ${base.config[name]} → ${run.config[name]}`);
    if (run.environment.gpu_name !== base.environment.gpu_name) {
      unlike.push(`${base.environment.gpu_name} → ${run.environment.gpu_name}`);
    }
    if (unlike.length) said.push(`Not alike, base → run: ${unlike.join(", ")}.`);
    said.push("One traced batch a side: a single layer's change has no interval.");
  }
  return said.join(" ");
}
