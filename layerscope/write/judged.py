"""An examined run in, its findings and figures in its folder out."""

from __future__ import annotations

from pathlib import Path

from layerscope.joules.layer_energy import LayerEnergy
from layerscope.records import CountedWork, RunRecord
from layerscope.records.finding import Findings
from layerscope.report import figures
from layerscope.runs.examine import Examined
from layerscope.runs.judge import findings_of, write_findings


def judge(
    examined: Examined,
    record: RunRecord,
    by_layer: LayerEnergy | None,
    folder: Path,
    work: CountedWork | None = None,
) -> tuple[Findings, dict[str, str]]:
    """The findings of a run, written too; beside them role -> file name."""
    seen = findings_of(examined.account, examined.idle, record, by_layer, work)
    return seen, write_findings(seen, folder)


def write_figures(
    examined: Examined, record: RunRecord, by_layer: LayerEnergy | None, folder: Path
) -> figures.Figures:
    """Draw what was measured, and say why what is not drawn is not."""
    return figures.write_figures(
        examined.account,
        folder,
        idle=examined.idle,
        ceilings=record.ceilings,
        name=record.name,
        layer_energy=by_layer,
    )
