"""`Optimization`: what carries out a remedy; and all of them, found by their files.

Each stands in a file of its own in `layerscope/optimizations`, named as its remedy's is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from layerscope.config.optimize import spelling_of
from layerscope.core.errors import EnvironmentProblem
from layerscope.core.listing import declared_in
from layerscope.core.remedy import closed, remedies
from layerscope.core.run_config import RunConfig

if TYPE_CHECKING:
    from torch import nn

OPTIMIZATIONS = "layerscope.optimizations"


class Refused(EnvironmentProblem):
    """An optimization that cannot run here.

    Attributes:
        name: of the optimization; "" where it is not known.
        why: without the option that stands before it.
    """

    def __init__(self, message: str, *, name: str = "", why: str = "") -> None:
        super().__init__(message)
        self.name, self.why = name, why


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a run is prepared and run; each optimization says what it changes of an eager one's.

    Attributes:
        text_multiple: texts are padded to a multiple of so many tokens, so that there are few shapes.
        static_cache: keys and values have tensors of one size, kept from batch to batch.
        host_ahead: greedy search of our own, whose host does not wait for each step.
        longest_warm_up: warm-ups go to the length limit, whatever the answer.
        cuda_graphs: compiled graphs are captured; the first capture is noted.
        compiled: parts of the model run compiled, so that passes count and compare with them set aside.
        tuned: graphs with a product of one row are tuned by coordinate descent.
        attention: transformers' name of the attention to load the model with, in each part that has it.
    """

    text_multiple: int = 1
    static_cache: bool = False
    host_ahead: bool = False
    longest_warm_up: bool = False
    cuda_graphs: bool = False
    compiled: bool = False
    tuned: bool = False
    attention: str = ""

    def with_changes(self, other: Plan) -> Plan:
        """Both plans' changes.

        Raises:
            ValueError: they set the same thing to different values.
        """
        changed: dict[str, Any] = {}
        for field in dataclasses.fields(Plan):
            ours, theirs = getattr(self, field.name), getattr(other, field.name)
            if theirs == field.default:
                continue
            if ours not in (field.default, theirs):
                raise ValueError(f"{field.name} is to be {ours} and {theirs}")
            changed[field.name] = theirs
        return dataclasses.replace(self, **changed)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a refusal may look at; each is asked before a model is loaded, and again with it.

    Attributes:
        architecture: transformers' configuration of the model.
        model: None before it is loaded.
    """

    config: RunConfig
    architecture: Any
    model: nn.Module | None = None

    @property
    def device(self) -> str:
        """`cuda` or `cpu`: where the model is, or will be."""
        if self.model is None:
            return self.config.device
        parameter = next(self.model.parameters(), None)
        return self.config.device if parameter is None else parameter.device.type


@dataclass(frozen=True, kw_only=True)
class Applying:
    """What an optimization is applied to: the run's configuration, its whole plan, the model."""

    config: RunConfig
    plan: Plan
    model: nn.Module


def _never(asked: Asked) -> str | None:
    """Runs everywhere."""
    return None


def _nothing(applying: Applying) -> AbstractContextManager[object]:
    """The plan says it all."""
    return nullcontext()


@dataclass(frozen=True, kw_only=True)
class Optimization:
    """How a remedy is carried out.

    Attributes:
        plan: what it changes in how a run is prepared and run.
        refusal: one line on why it cannot run here, None where it can.
        applied: inside the context it holds; whatever it sets in torch or on the model is put back at
            its end, whichever way that comes. What the context gives, passes find by its name.
    """

    plan: Plan = Plan()
    refusal: Callable[[Asked], str | None] = _never
    applied: Callable[[Applying], AbstractContextManager[object]] = _nothing


@cache
def optimizations() -> Mapping[str, Optimization]:
    """Name -> optimization, for every remedy.

    Raises:
        TypeError: a remedy without an optimization, or the other way round.
    """
    declared = declared_in(OPTIMIZATIONS, "OPTIMIZATION")
    found: dict[str, Optimization] = {name.replace("_", "-"): it for name, it in declared.items()}
    alone = found.keys() ^ remedies().keys()
    if alone:
        raise TypeError(
            f"{', '.join(sorted(alone))}: a file is missing, either in layerscope/remedies or in "
            "layerscope/optimizations."
        )
    return found


def plan_of(config: RunConfig) -> Plan:
    """What all of a run's optimizations change together."""
    known, plan = optimizations(), Plan()
    for name in config.optimizations:
        plan = plan.with_changes(_known(known, name).plan)
    return plan


def refuse(asked: Asked) -> None:
    """Refuse a run that one of its optimizations cannot take part in.

    Raises:
        Refused: naming the optimization as the run's options spell it, and why.
    """
    known = optimizations()
    for name in closed(asked.config.optimizations):
        why = _known(known, name).refusal(asked)
        if why is not None:
            raise Refused(f"{spelling_of(asked.config, name)}: {why}", name=name, why=why)


@contextmanager
def applied(applying: Applying) -> Iterator[Mapping[str, object]]:
    """Inside, all of a run's optimizations are applied: name -> what its context gave.

    They are taken back in the opposite order, whichever way the block ends.
    """
    known = optimizations()
    with ExitStack() as taken_back:
        yield {
            name: taken_back.enter_context(_known(known, name).applied(applying))
            for name in closed(applying.config.optimizations)
        }


def _known(known: Mapping[str, Optimization], name: str) -> Optimization:
    if name not in known:
        raise EnvironmentProblem(f"--optimize {name}: this layerscope has no such optimization.")
    return known[name]
