"""The replay pass: the chosen layers of the traced batch run again and again for their energy."""

from __future__ import annotations

from collections.abc import Sequence

from layerscope.core.errors import EnvironmentProblem
from layerscope.core.units import size_text
from layerscope.measure.clock import SystemClock
from layerscope.measure.latency import synchronize
from layerscope.measure.replay.capture import memory_budget
from layerscope.measure.replay.choose import choose_units
from layerscope.measure.replay.held_unit import (
    HeldUnit,
    Overwriting,
    Stage,
    capture_units,
    cold_units,
)
from layerscope.measure.replay.schedule import Bench, Playable, replay_units
from layerscope.passes.draft import Draft, known
from layerscope.passes.meters import meters_of
from layerscope.passes.session import Session
from layerscope.records import EnergyAbsent
from layerscope.records.layer_energy import ReplayChoice, ReplayRecord, ReplayUnit, read_choice


def replay(session: Session, draft: Draft) -> None:
    """Replay the chosen layers; the account says what ran, how often, in which phase.

    The rest power of whole batches is the idle power of the layers too.
    """
    choice = read_choice(known(session.config.energy_per_layer))
    draft.replay = _replayed(session, draft, choice)


def _replayed(session: Session, draft: Draft, choice: ReplayChoice) -> ReplayRecord:
    whole, device = draft.whole, session.config.device
    if whole is None:
        reason = known(draft.energy).reason or "no energy window of whole batches"
        return ReplayRecord(choice=choice, reason=reason)
    rows = known(draft.examined).account.table.rows
    units = choose_units(rows, choice, draft.regions, session.model.record.roles)
    if not units:
        return ReplayRecord(choice=choice, reason="no module of the chosen parts did any work")
    with meters_of(device, SystemClock()) as found:
        if isinstance(found.meters, EnergyAbsent):
            return ReplayRecord(choice=choice, reason=found.meters.reason)
        bench = Bench(
            meters=found.meters,
            clock=SystemClock(),
            synchronize=lambda: synchronize(device),
            idle_w=whole.idle_w,
            states=found.states,
        )
        return _play(bench, units, choice, session, draft)


def _play(
    bench: Bench,
    units: Sequence[ReplayUnit],
    choice: ReplayChoice,
    session: Session,
    draft: Draft,
) -> ReplayRecord:
    config, generator, model = session.config, session.generator, session.model.model
    inputs = session.inputs(draft.batches[0].batch)
    budget, memory = memory_budget(config.device)
    with session.progress.task("capture the layers' inputs", 1) as advance:
        try:
            captured = capture_units(units, model, lambda: generator(inputs), budget)
        except EnvironmentProblem as problem:
            # The measured run is whole without it: no memory for the batch beside its inputs.
            return ReplayRecord(choice=choice, memory=memory, reason=str(problem))
        advance(1)
    stage = Stage(
        model=model,
        device=config.device,
        generate=lambda: generator(inputs),
        captured=captured,
        budget_bytes=budget,
        compiled=frozenset(draft.regions),
    )
    playables = _playables(units, choice, stage)
    with session.progress.task("replay layers for their energy", 2 * len(playables)) as advance:
        done = replay_units(
            playables, bench, limit_s=config.energy_limit_s, seed=config.seed, advance=advance
        )
    return ReplayRecord(
        choice=choice,
        sources=tuple(meter.source for meter in bench.meters),
        seed=config.seed,
        limit_s=config.energy_limit_s,
        spent_s=done.spent_s,
        memory=f"{size_text(captured.held_bytes, 'MiB')} held of {memory}",
        stopped=done.stopped,
        units=done.units,
        reason=done.lost,
    )


def _playables(units: Sequence[ReplayUnit], choice: ReplayChoice, stage: Stage) -> list[Playable]:
    playables: list[Playable] = [HeldUnit(unit, stage) for unit in units]
    for unit in cold_units(units) if choice.cold else ():
        alone = unit.role == "overwrite"
        playables.append(Overwriting(unit, stage.device) if alone else HeldUnit(unit, stage))
    return playables
