"""Two sides in, their comparison out: environments, headline numbers, layers, and what limits them."""

from __future__ import annotations

from layerscope.core.errors import DataError
from layerscope.differences.energy_by_unit import energy_changes
from layerscope.differences.environment import differences
from layerscope.differences.headline import Subject, headline_changes
from layerscope.differences.layers import compare_layers
from layerscope.records.comparison import Comparison, Difference, LayerComparison
from layerscope.records.run_record import RunRecord

ONE_RUN_A_SIDE = (
    "one run a side: a change of the host between the two runs looks like a difference between them, "
    "and nothing inside a run can tell (on a shared host 30 % was seen between equal runs). For a "
    "claim, run BASE and OTHER in turn, several times each, and see that the verdict stays."
)
_UNKNOWN_ENVIRONMENTS = (
    "at least one side is a bare trace: the environments are unknown and nothing was repeated, so "
    "no significance stands behind the layers below."
)


def compare(base: Subject, other: Subject) -> Comparison:
    """Compare two sides as far as both have what it takes.

    Raises:
        DataError: they have neither records nor traced layers in common.
    """
    layers, layers_absent = _layers(base, other)
    if base.record is None or other.record is None:
        if layers is None:
            raise DataError(f"{base.name} and {other.name}: nothing to compare: {layers_absent}.")
        lacking = " and ".join(side.name for side in (base, other) if side.record is None)
        return Comparison(
            base=base.name,
            other=other.name,
            differences=(),
            metrics=(),
            metrics_absent=f"no run record beside {lacking}",
            layers=layers,
            cautions=(_UNKNOWN_ENVIRONMENTS,),
        )
    unlike = differences(base.record, other.record)
    return Comparison(
        base=base.name,
        other=other.name,
        differences=unlike,
        metrics=headline_changes(
            base.record, other.record, base.table, other.table, base.traced_ns, other.traced_ns
        ),
        layers=layers,
        layers_absent=layers_absent,
        energy=energy_changes(base.energy, other.energy),
        cautions=(ONE_RUN_A_SIDE, *_work_cautions(base.record, other.record, unlike)),
    )


def _layers(base: Subject, other: Subject) -> tuple[LayerComparison | None, str]:
    if base.table is None or other.table is None:
        reasons = [f"{s.name}: {s.table_absent}" for s in (base, other) if s.table is None]
        return None, "; ".join(reasons)
    try:
        return compare_layers(base.table, other.table), ""
    except DataError as error:
        return None, str(error).rstrip(".")


def _work_cautions(
    base: RunRecord, other: RunRecord, unlike: tuple[Difference, ...]
) -> tuple[str, ...]:
    found = []
    if base == other:
        found.append("BASE and OTHER are the same run.")
    one, two = base.batch_size, other.batch_size
    blocks = [
        label for label, run in (("BASE", base), ("OTHER", other)) if run.captured is not None
    ]
    if blocks:
        found.append(
            f"{' and '.join(blocks)}: a captured block, whose batches and samples nobody counted; "
            "whether both sides did the same work is not known."
        )
    elif one != two:
        found.append(
            f"the batches hold {one} and {two} samples: latency, time to first token, FLOPs, device "
            "and host time are per batch; energy is per sample."
        )
    names = [item.name for item in unlike if item.kind == "work" and item.name != "batch_size"]
    if names:
        found.append(f"the runs were asked for different work ({', '.join(names)}).")
    lengths = [_tokens(run) for run in (base, other)]
    if lengths[0] and lengths[1] and lengths[0] != lengths[1] and not names and one == two:
        found.append(
            f"the answers' lengths differ ({lengths[0]} and {lengths[1]} new tokens in all): part of "
            "a change of latency may be that."
        )
    return tuple(found)


def _tokens(run: RunRecord) -> int:
    """New tokens over the batches of the data, each once."""
    return sum(
        sum(sample.new_tokens) for sample in run.latency if not sample.warmup and sample.repeat == 0
    )
