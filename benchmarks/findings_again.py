"""A committed run judged again, each finding beside what the runs after it measured, out as one CSV.

    python benchmarks/findings_again.py --trace xl_b16_eager_h200.trace.json.gz

The committed folders hold no trace. At batch 16 gaps and operators come from a trace of the same
configuration on the same device (its device time differs by 0.3 %); rows, rates, latency and joules are
the folder's. At batch 1 waiting stays as the run wrote it. What a layer took afterwards is read
from the tables of the optimization modes beside the folders.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
from pathlib import Path

from layerscope.findings import Evidence, find
from layerscope.findings.places import rows_of
from layerscope.records import RunRecord, load
from layerscope.records.finding import Finding
from layerscope.runs.examine import beside_of, examine, workings_of
from layerscope.runs.run import Run
from layerscope.runs.table_alone import account_of_table

H200 = Path(__file__).parents[1] / "docs" / "results" / "h200"
HEADER = (
    "run", "finding", "sentence", "try", "promise", "promised_ms", "measured_ms", "measured_in",
)  # fmt: skip


# (promise, promised ms, measured ms, where)
Told = tuple[str, float | None, float | None, str]


def evidence_of(folder: Path, trace: Path) -> Evidence:
    """The folder's rows and record, with the trace's gaps, operators and steps."""
    record = load(folder)
    account, record = account_of_table(folder, record)
    seen = examine(workings_of(trace, beside_of(record, None, None)), trace)
    account = dataclasses.replace(
        account,
        operators=seen.account.operators,
        kernels=seen.account.kernels,
        steps=seen.account.steps,
        attention=seen.account.attention,
    )
    return Evidence(
        account=account,
        idle=seen.idle,
        record=record,
        ceilings=record.ceilings,
        first_call_us=record.first_call_us,
    )


class After:
    """What the runs that followed the advice measured, ms."""

    def __init__(self, batch: int, base: Run, found: tuple[Finding, ...]) -> None:
        self.batch, self.base, self.found = batch, base, found
        self.modes = _table(H200 / "modes" / f"modes-b{batch}.csv")
        self.layers = _table(H200 / "modes" / f"layers-b{batch}.csv")

    def of(self, finding: Finding) -> list[Told]:
        """(promise, promised ms, measured ms, where) of each currency that was measured."""
        saved = _ms(finding.saving.saved_ns)
        if finding.id.startswith("launch-bound"):
            phases = [f for f in self.found if f.id.startswith("launch-bound")]
            both = sum(f.saving.saved_ns or 0 for f in phases) / 1e6
            took = self._mode("latency_s", "eager") - self._mode("latency_s", "cudagraphs")
            where = (
                f"modes-b{self.batch}.csv: eager less cudagraphs, all launch-bound phases together"
            )
            return [("latency now", both, 1000 * took, where)]
        if finding.id == "fp32-islands":
            return self._tf32(finding)
        if finding.id == "attention-math-kernel" and self.batch == 16:
            where = "transformers-5.24/sizes.csv: all device time, 5.17 less 5.24"
            before = (self.base.account.table.whole.device_sum_ns or 0) / 1e6
            return [("device time", saved, before - _newer_device_ms(), where)]
        if finding.id == "attention-math-kernel" or finding.id.startswith("below-roofline"):
            where = f"layers-b{self.batch}.csv: these layers, eager less compile"
            return [("device time", saved, self._rows(finding), where)] if saved else []
        return []

    def _mode(self, column: str, optimization: str, fp32: str = "highest") -> float:
        wanted = {"optimization": optimization, "fp32_matmul": fp32, "tuned": "0"}
        (row,) = [r for r in self.modes if all(r[k] == v for k, v in wanted.items())]
        return float(row[column])

    def _rows(self, finding: Finding) -> float:
        """What the finding's layers took in eager mode beyond what they took compiled."""
        keys = {
            (row.layer, row.phase)
            for place in finding.rests_on
            for row in rows_of(place, self.base.account.table.rows)
        }
        mine = [r for r in self.layers if (r["layer"], r["phase"]) in keys]
        return sum(float(r["eager_us"] or 0) - float(r["compile_us"] or 0) for r in mine) / 1000

    def _tf32(self, finding: Finding) -> list[Told]:
        saved, worth = _ms(finding.saving.saved_ns), finding.saving.worth
        if self.batch == 1:
            took = [self._mode("device_sum_ms", "cudagraphs", fp32) for fp32 in ("highest", "high")]
            where = "modes-b1.csv: device time, cudagraphs less cudagraphs with TF32"
            return [("device time", saved, took[0] - took[1], where)]
        then = Run.open(H200 / "xl-b16-fp32-matmul-high")
        wo = [
            sum(r.gpu_self_ns or 0 for r in run.account.table.rows if r.layer.endswith(".wo")) / 1e6
            for run in (self.base, then)
        ]
        first = [_first_token_ms(run.record) for run in (self.base, then)]
        where = "xl-b16-eager less xl-b16-fp32-matmul-high: "
        return [
            ("device time", saved, wo[0] - wo[1], f"{where}`wo`"),
            ("latency now", _ms(worth.now_ns if worth else None), first[0] - first[1],
             f"{where}time to first token, since the rest waits for the host"),
        ]  # fmt: skip


def main() -> None:
    """Judge the runs again and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trace", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=H200 / "findings_again.csv")
    asked = parser.parse_args()
    with asked.out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEADER)
        for batch in (16, 1):
            name = f"xl-b{batch}-eager"
            run = Run.open(H200 / name)
            written = run.findings.seen if run.findings is not None else ()
            found = find(evidence_of(H200 / name, asked.trace)) if batch == 16 else written
            after = After(batch, run, found)
            for finding in found:
                for told in after.of(finding) or [("", None, None, "")]:
                    writer.writerow([name, *_line(finding, told)])


def _line(finding: Finding, told: Told) -> list[str]:
    promise, promised, measured, where = told
    numbers = ["" if value is None else f"{value:.3f}" for value in (promised, measured)]
    return [finding.id, finding.sentence, finding.try_next, promise, *numbers, where]


def _newer_device_ms() -> float:
    wanted = {"batch": "16", "image_size": "224", "max_input_len": "200"}
    (row,) = [r for r in _sizes() if all(r[k] == v for k, v in wanted.items())]
    return float(row["device_sum_us"]) / 1000


def _ms(ns: int | None) -> float | None:
    return None if ns is None else ns / 1e6


def _first_token_ms(record: RunRecord | None) -> float:
    assert record is not None
    times = sorted(s.generate_ns for s in record.first_token)
    return times[len(times) // 2] / 1e6


def _table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def _sizes() -> list[dict[str, str]]:
    return _table(H200 / "transformers-5.24" / "sizes.csv")


if __name__ == "__main__":
    main()
