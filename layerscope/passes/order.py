"""The passes of a run, in their order, and when each of them runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from layerscope.passes.account import account, energy_by_layer, further_traces, kinds
from layerscope.passes.answers import answers
from layerscope.passes.ceilings import ceilings
from layerscope.passes.count import count
from layerscope.passes.draft import Draft
from layerscope.passes.eager_guard import eager_guard
from layerscope.passes.energy import energy
from layerscope.passes.findings import findings
from layerscope.passes.first_token import first_token
from layerscope.passes.headline import headline
from layerscope.passes.latency import latency
from layerscope.passes.optimized import optimized
from layerscope.passes.power import power
from layerscope.passes.provenance import provenance
from layerscope.passes.quality import quality
from layerscope.passes.replay import replay
from layerscope.passes.session import Session
from layerscope.passes.tables import tables
from layerscope.passes.tensorboard import tensorboard, torch_tb_profiler
from layerscope.passes.trace import trace
from layerscope.passes.warm_up import warm_up
from layerscope.passes.write import write


@dataclass(frozen=True)
class Pass:
    """A pass, and whether it runs, given what the run holds and what was found before it.

    Attributes:
        told: whether it is reported while it runs; others take no time worth a line.
    """

    run: Callable[[Session, Draft], None]
    when: Callable[[Session, Draft], bool]
    told: bool = True


def always(session: Session, draft: Draft) -> bool:
    """In every run."""
    return True


def traced(session: Session, draft: Draft) -> bool:
    """Unless `--no-trace` was given."""
    return session.config.trace


def traced_again(session: Session, draft: Draft) -> bool:
    """Where a batch is traced more than once."""
    return session.config.trace and session.config.traces > 1


def whole(session: Session, draft: Draft) -> bool:
    """Unless `--quick` was given."""
    return not session.config.quick


def compiled(session: Session, draft: Draft) -> bool:
    """Where parts of the model run compiled."""
    return session.compiled is not None


def compiled_and_greedy(session: Session, draft: Draft) -> bool:
    """Where parts run compiled, and an answer is one beam, so that tokens can be told apart."""
    return session.compiled is not None and session.config.num_beams == 1


def metered_on_cuda(session: Session, draft: Draft) -> bool:
    """On CUDA, where the energy counter could be read."""
    read = draft.energy is not None and draft.energy.reason is None
    return session.config.device == "cuda" and read


def asked_for_layers(session: Session, draft: Draft) -> bool:
    """With `--energy-per-layer`, unless `--no-trace` was given."""
    return session.config.trace and session.config.energy_per_layer is not None


def traced_alone(session: Session, draft: Draft) -> bool:
    """Traced whole, and no cell of a sweep: the plugin starts a process for each such file."""
    return whole(session, draft) and session.config.trace and session.destination.step is None


# A pass that needs what another one finds stands behind it. The profiled batch comes after all that
# is measured without a profiler; replay needs the account to know what ran how often.
PASSES: tuple[Pass, ...] = (
    Pass(warm_up, always),
    Pass(latency, always),
    Pass(first_token, whole),
    Pass(energy, always),
    Pass(power, metered_on_cuda),
    Pass(answers, always, told=False),
    Pass(quality, always, told=False),
    Pass(trace, traced),
    Pass(count, always),
    Pass(eager_guard, compiled_and_greedy),
    Pass(optimized, compiled, told=False),
    Pass(ceilings, traced),
    Pass(provenance, compiled, told=False),
    Pass(account, traced),
    Pass(further_traces, traced_again),
    Pass(kinds, traced, told=False),
    Pass(replay, asked_for_layers),
    Pass(energy_by_layer, asked_for_layers, told=False),
    Pass(tables, traced, told=False),
    Pass(torch_tb_profiler, traced_alone),
    Pass(headline, always, told=False),
    Pass(write, always, told=False),
    Pass(findings, traced),
    Pass(tensorboard, always, told=False),
)


def told_from(passes: Sequence[Pass], session: Session, draft: Draft) -> int:
    """How many of these passes will be reported, as far as is known now."""
    return sum(each.told and _may_run(each, session, draft) for each in passes)


def _may_run(each: Pass, session: Session, draft: Draft) -> bool:
    if each.when is metered_on_cuda and draft.energy is None:
        return session.config.device == "cuda"  # whether the counter can be read is not known yet
    return each.when(session, draft)
